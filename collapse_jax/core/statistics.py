"""Sufficient statistics as data sets: a generation then costs O(1) in M, exactly.

A model that draws statistics draws the statistic of M virtual points directly, from its exact law; merging
two of them is what pooling their points would give. So `accumulate()` is a merge and takes O(1) memory.
A regime that must see single points refuses them when the chain is built.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from collapse_jax.core.data import Samples
from collapse_jax.core.data_checks import kind_of, points_of, pooled
from collapse_jax.numerics import frame as frames
from collapse_jax.numerics import triangular
from collapse_jax.numerics.frame import Frame
from collapse_jax.types import Array, ArrayLike, PyTree

_HIGHEST = jax.lax.Precision.HIGHEST


class Moments(NamedTuple):
    """Weight, mean and scatter of points.

    Attributes:
        weight: how many points the moments stand for.
        mean: in the coordinates of `frame`.
        factor: lower triangular; factor @ factor.T is the sum of squares about the mean. A factor, not the
            matrix, so that fewer points than dimensions stay exactly rank-deficient.
        frame: coordinates; None means data units.
    """

    weight: Float[Array, ""]
    mean: Float[Array, " dim"]
    factor: Float[Array, "dim dim"]
    frame: Frame | None = None

    @property
    def num_rows(self) -> int:
        """No slots: a store of moments needs no room."""
        return 0

    @property
    def total_weight(self) -> Array:
        """How many points the moments stand for."""
        return self.weight

    def merge(self, other: "Moments") -> "Moments":
        """Return the moments of the pooled points.

        Reference: Chan, Golub and LeVeque (1983), on factors.
        """
        pooled(self, other)
        total = self.weight + other.weight
        other = other.scale(_rounded(self.weight, other.weight, total))
        share = other.weight / jnp.where(total > 0, total, 1.0)
        gap = other.mean - self.mean
        between = gap * jnp.sqrt(self.weight * share)
        columns = jnp.concatenate([other.factor, between[:, None]], axis=1)
        factor = triangular.widen_factor(self.factor, columns)
        return Moments(total, self.mean + share * gap, factor, self.frame)

    def scale(self, factor: ArrayLike) -> "Moments":
        """Return the moments of points each standing for `factor` times as many."""
        return self._replace(weight=self.weight * factor, factor=self.factor * jnp.sqrt(factor))

    def reserve(self, capacity: int) -> "Moments":
        """Return the moments as they are: they need no room."""
        return self

    def append(self, batch: "Moments", start: Int[Array, ""]) -> "Moments":
        """Return the moments with those of `batch` merged in."""
        return self.merge(batch)

    def follow(self, frame: Frame) -> "Moments":
        """Return the moments in the coordinates of `frame`, the successor of their own."""
        mean = frames.follow_columns(frame, (self.mean - frame.shift)[:, None])[:, 0]
        return Moments(self.weight, mean, frames.follow_columns(frame, self.factor), frame)

    def enter(self, frame: Frame | None) -> "Moments":
        """Return moments given in data units in the coordinates of `frame`."""
        if frame is None:
            return self
        back = triangular.inverse(frame.unit_tril) * jnp.exp(-frame.log_scale)[:, None]
        mean = self.mean if frame.origin is None else self.mean - jnp.sum(frame.origin, axis=0)
        mean = jnp.matmul(back, mean - frame.location, precision=_HIGHEST)
        return Moments(self.weight, mean, jnp.matmul(back, self.factor, precision=_HIGHEST), frame)


class Sums(NamedTuple):
    """Statistics that add when points are pooled: counts, totals, normal equations.

    Attributes:
        weight: how many points they are over.
        values: any pytree of sums over those points.
        frame: for scale families, the unit of `values` (one dimension).
    """

    weight: Float[Array, ""]
    values: PyTree
    frame: Frame | None = None

    @property
    def num_rows(self) -> int:
        """No slots: a store of sums needs no room."""
        return 0

    @property
    def total_weight(self) -> Array:
        """How many points the sums are over."""
        return self.weight

    def merge(self, other: "Sums") -> "Sums":
        """Return the sums over the pooled points."""
        pooled(self, other)
        total = self.weight + other.weight
        other = other.scale(_rounded(self.weight, other.weight, total))
        values = jax.tree.map(jnp.add, self.values, other.values)
        return Sums(total, values, self.frame)

    def scale(self, factor: ArrayLike) -> "Sums":
        """Return the sums over points each standing for `factor` times as many."""
        return Sums(self.weight * factor, jax.tree.map(lambda a: a * factor, self.values), self.frame)

    def reserve(self, capacity: int) -> "Sums":
        """Return the sums as they are: they need no room."""
        return self

    def append(self, batch: "Sums", start: Int[Array, ""]) -> "Sums":
        """Return the sums with those of `batch` added."""
        return self.merge(batch)

    def follow(self, frame: Frame) -> "Sums":
        """Return the sums in units of the new scale."""
        return Sums(self.weight, jax.tree.map(lambda a: a / frame.ratio[0, 0], self.values), frame)

    def enter(self, frame: Frame | None) -> "Sums":
        """Return sums given in data units in units of `frame`'s scale."""
        if frame is None:
            return self
        return Sums(self.weight, jax.tree.map(lambda a: a * jnp.exp(-frame.log_scale[0]), self.values), frame)


def _rounded(weight: Array, added: Array, total: Array) -> Array:
    """Return the share of `added` that the rounded sum of weights holds: 1 as long as the sum is exact.

    A pool of 1e13 points cannot count 1e9 more in float32: it takes up 3e-4 too many or too few in each generation,
    always to the same side. A batch that counts for as much as the pool grew leaves its mean and variance right.
    """
    return jnp.where(added > 0, (total - weight) / jnp.where(added > 0, added, 1.0), 1.0)


def need_sums(data: Any, like: PyTree, model: str) -> None:
    """Refuse what is not sums built as `like`.

    Raises:
        TypeError: it is something else: single points, or another statistic.
        ValueError: the sums have other shapes.
    """
    if not isinstance(data, Sums):
        raise TypeError(f"{model} is fitted to Sums, got {kind_of(data)}; draw real data by the sampler of its family.")
    found, wanted = jax.tree.map(jnp.shape, data.values), jax.tree.map(jnp.shape, like)
    if found != wanted:
        raise ValueError(f"{model} is fitted to sums of shape {wanted}, got {found}; make model and real data agree.")


def moments_of(samples: Samples) -> Moments:
    """Return the moments of rows [num_rows, dim], honouring their weights.

    Raises:
        ValueError: the rows are not vectors.
    """
    rows, weight = points_of(samples, "a Gaussian")
    dim = rows.shape[1]
    total = jnp.sum(weight)
    # a vector for each coordinate: over many lanes XLA fuses its sums with what made the points, 3x faster
    columns = [rows[:, axis] for axis in range(dim)] if dim <= triangular.UNROLLED else [rows.T]
    along = weight if dim <= triangular.UNROLLED else weight[None, :]
    divisor, spread = jnp.where(total > 0, total, 1.0), jnp.sqrt(along)
    means = [jnp.sum(along * column, axis=-1, keepdims=True) / divisor for column in columns]
    centred = [jnp.atleast_2d(spread * (column - mean)) for column, mean in zip(columns, means)]
    factor = triangular.join_factors(jnp.concatenate(centred), max_rank=rows.shape[0] - 1)
    return Moments(total, jnp.concatenate(means).reshape(dim), factor, samples.frame)
