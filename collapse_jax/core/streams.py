"""Data without rows: what is drawn anew from a model whenever it is read, alone or beside rows."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from collapse_jax.types import Array, ArrayLike, Key, Params, PyTree


@partial(jax.tree_util.register_dataclass, data_fields=["params", "weight"], meta_fields=["draw"])
class Stream:
    """A data set without rows: `minibatch` draws new ones from `params`, standing for `weight` points."""

    def __init__(self, draw: Callable[[Key, Params, int], PyTree], params: Params, weight: PyTree) -> None:
        self.draw, self.params, self.weight = draw, params, weight

    num_rows = 0

    @property
    def total_weight(self) -> Array:
        """Number of points the stream stands for beside other data."""
        return jnp.asarray(self.weight)

    def minibatch(self, key: Key, num_rows: int) -> PyTree:
        """Return `num_rows` new rows."""
        return self.draw(key, self.params, num_rows)

    def merge(self, other: Any) -> "Blend":
        """Return a data set whose minibatches come from both, in proportion to their weights."""
        return Blend(self, other)

    def scale(self, factor: ArrayLike) -> "Stream":
        """Return the same stream standing for `factor` times as many points."""
        return Stream(self.draw, self.params, self.weight * jnp.asarray(factor))


class Blend(NamedTuple):
    """Two data sets read together: each row of a minibatch comes from one, by their total weights."""

    first: Any
    second: Any

    @property
    def num_rows(self) -> int:
        """Number of stored rows."""
        return self.first.num_rows + self.second.num_rows

    @property
    def total_weight(self) -> Array:
        """Number of points both stand for."""
        return self.first.total_weight + self.second.total_weight

    def minibatch(self, key: Key, num_rows: int) -> PyTree:
        """Return `num_rows` rows of either."""
        key_choice, key_first, key_second = jax.random.split(key, 3)
        share = self.first.total_weight / self.total_weight
        from_first = jax.random.uniform(key_choice, (num_rows,)) < share
        rows = self.first.minibatch(key_first, num_rows), self.second.minibatch(key_second, num_rows)
        return jax.tree.map(lambda a, b: jnp.where(as_column(from_first, a), a, b), *rows)

    def merge(self, other: Any) -> "Blend":
        """Return the three data sets as one."""
        return Blend(self, other)

    def scale(self, factor: ArrayLike) -> "Blend":
        """Return both, scaled."""
        return Blend(self.first.scale(factor), self.second.scale(factor))


def as_column(flags: Array, like: Array) -> Array:
    """Return `flags` with trailing axes of length 1, to broadcast against rows of `like`."""
    return flags.reshape(flags.shape + (1,) * (like.ndim - 1))
