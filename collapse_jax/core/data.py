"""Data sets: pytrees that regimes can merge, weight, store and move between frames.

A data set is any pytree class with `num_rows`, `total_weight`, `merge`, `scale`, `reserve`, `append`
and `follow`; regimes are written against these alone, so one regime serves every model.

`Samples` holds rows with frequency weights: 2 = twice the point, 0 = an empty slot, whose content is
never read. `Stream` holds no rows at all: it draws new ones from a model whenever it is asked.
Networks read either through `minibatch`.
"""

from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from collapse_jax.core.data_checks import need_data_units, pooled
from collapse_jax.core.intake import Rows, as_floats, check_finite, counted, is_traced, read_rows
from collapse_jax.core.streams import Blend, Stream, as_column
from collapse_jax.numerics import frame as frames
from collapse_jax.numerics.frame import Frame
from collapse_jax.numerics.sampling import weighted_indices
from collapse_jax.types import Array, ArrayLike, Key, PyTree
from collapse_jax.validation import LARGEST_SIZE, is_concrete, shown


class Data(Protocol):
    """What a regime may ask of any data set."""

    @property
    def num_rows(self) -> int:
        """Number of slots, static; 0 for a data set without rows."""
        ...

    @property
    def total_weight(self) -> Array:
        """Sum of the weights: the number of points the data stand for."""
        ...

    def merge(self, other: Any) -> Any:
        """Return both data sets as one."""
        ...

    def scale(self, factor: ArrayLike) -> Any:
        """Return the same data with every weight multiplied by `factor`."""
        ...

    def reserve(self, capacity: int) -> Any:
        """Return the same data with empty slots up to `capacity` rows."""
        ...

    def append(self, batch: Any, start: Int[Array, ""]) -> Any:
        """Return the store with `batch` written into the slots from `start` on."""
        ...

    def follow(self, frame: Frame) -> Any:
        """Return the data in the coordinates of `frame`, the successor of their own."""
        ...


def follow_frame(stored: PyTree, frame: Frame) -> PyTree:
    """Return a pytree in which every data set has moved to `frame`, the successor of its own."""
    return jax.tree.map(
        lambda node: node.follow(frame) if hasattr(node, "follow") else node,
        stored,
        is_leaf=lambda node: hasattr(node, "follow"),
    )


class Samples(NamedTuple):
    """Rows with frequency weights.

    Attributes:
        x: a pytree of arrays whose first axis counts rows.
        weight: shape [num_rows], how many points each row stands for.
        frame: the coordinates of `x`, for models that carry a frame; None means data units.
    """

    x: PyTree
    weight: Float[Array, " num_rows"]
    frame: Frame | None = None

    @property
    def num_rows(self) -> int:
        """Number of slots, empty ones included."""
        return int(self.weight.shape[0])

    @property
    def total_weight(self) -> Array:
        """Number of points the rows stand for."""
        return jnp.sum(self.weight)

    def live_rows(self) -> PyTree:
        """Return `x` with zeros in the empty slots, whatever they held."""
        live = self.weight > 0
        return jax.tree.map(lambda a: jnp.where(as_column(live, a), a, jnp.zeros_like(a)), self.x)

    def take(self, indices: Int[Array, " num"]) -> "Samples":
        """Return the rows at `indices` with their weights."""
        return self._replace(x=jax.tree.map(lambda a: a[indices], self.x), weight=self.weight[indices])

    def minibatch(self, key: Key, num_rows: int) -> PyTree:
        """Return `num_rows` rows drawn with probability proportional to weight."""
        indices = weighted_indices(key, self.weight, num_rows)
        return jax.tree.map(lambda a: a[indices], self.x)

    def merge(self, other: "Samples") -> "Samples":
        """Return the rows of both; they must be in the same frame."""
        if isinstance(other, Stream | Blend):
            return other.merge(self)
        pooled(self, other)
        return self._replace(
            x=jax.tree.map(lambda a, b: jnp.concatenate([a, b]), self.x, other.x),
            weight=jnp.concatenate([self.weight, other.weight]),
        )

    def scale(self, factor: ArrayLike) -> "Samples":
        """Return the same rows, each standing for `factor` times as many points."""
        return self._replace(weight=(self.weight * factor).astype(self.weight.dtype))

    def reserve(self, capacity: int) -> "Samples":
        """Return the same rows followed by empty slots, `capacity` in all."""
        extra = capacity - self.num_rows
        if extra < 0:
            raise ValueError(f"`capacity` must be at least the {self.num_rows} rows held, got {capacity}.")

        def pad(array: Array) -> Array:
            return jnp.concatenate([array, jnp.zeros((extra, *array.shape[1:]), array.dtype)])

        return self._replace(x=jax.tree.map(pad, self.x), weight=pad(self.weight))

    def append(self, batch: "Samples", start: Int[Array, ""]) -> "Samples":
        """Return the store with `batch` in the slots from `start` on; the caller has checked the room."""
        pooled(self, batch)
        write = partial(jax.lax.dynamic_update_slice_in_dim, start_index=start, axis=0)
        return self._replace(
            x=jax.tree.map(write, self.x, batch.x), weight=write(self.weight, batch.weight), frame=batch.frame
        )

    def follow(self, frame: Frame) -> "Samples":
        """Return the rows in the coordinates of `frame`, the successor of their own."""
        return self._replace(x=frames.follow(frame, self.x), frame=frame)

    def enter(self, frame: Frame | None) -> "Samples":
        """Return rows given in data units, or in a frame of their own, in the coordinates of `frame`.

        Raises:
            ValueError: rows that data units do not hold are to be in those.
        """
        if frame is None:
            need_data_units(self, "this model")
            return self
        return self._replace(x=frames.enter(frame, self.x, self.frame), frame=frame)


def as_samples(x: PyTree, weight: Any = None) -> Samples:
    """Return rows as a data set, each standing for one point unless `weight` says otherwise.

    Args:
        x: numbers, first axis = rows: a list, an array of any number type, a data frame of pandas or polars, an
            xarray, a tensor; or a pytree of them. Read in float64, cast to JAX's default float; whole numbers below
            2^24 stay whole, as labels and tokens must. Where a column of a table needs it, offset and scale are
            taken out before the cast, into a frame.
        weight: shape [num_rows], non-negative, how many points each row stands for; default 1. Weights that sum to 1
            are shares: they count for (sum w)^2 / sum w^2 points in all (Kish).

    Raises:
        ValueError: no rows, rows of unequal number, missing, NaN or infinite values, values that JAX's floats cannot
            hold or tell apart, a negative weight, a total weight of 0, or of less than 2 where it is not 1.
        TypeError: text, dates, complex numbers, or no table at all.

    >>> as_samples([[0.0, 1.0], [2.0, 3.0]]).num_rows
    2
    >>> as_samples([[1.7e9], [1.7e9 + 2]]).x  # about the origin of a frame
    Array([[-1.],
           [ 1.]], dtype=float32)
    """
    x = jax.tree.map(_read, {} if x is None else x, is_leaf=_is_table)
    leaves, tree = jax.tree.flatten(x, is_leaf=lambda node: isinstance(node, Rows))
    shapes = [leaf.values.shape if isinstance(leaf, Rows) else leaf.shape for leaf in leaves]
    lengths = {shape[0] if shape else 0 for shape in shapes}
    if len(lengths) != 1 or 0 in lengths or any(0 in shape for shape in shapes):
        raise ValueError(
            f"data need rows, the same number in every array, got {sorted(lengths)}; pass [num_rows, ...]."
        )
    num_rows = lengths.pop()
    if weight is None:
        live, counts = np.ones(num_rows, bool), jnp.ones(num_rows)
    elif is_traced(weight):
        live, counts = np.ones(num_rows, bool), jnp.asarray(weight, jnp.result_type(float))
        if counts.shape != (num_rows,):
            raise ValueError(f"`weight` must have shape ({num_rows},), one per row, got {counts.shape}.")
    else:
        known = counted(weight, num_rows)
        live, counts = known > 0, jnp.asarray(known, jnp.result_type(float))
    movable = jax.tree_util.treedef_is_leaf(tree)
    held = [_held(leaf, live, movable) for leaf in leaves]
    return Samples(jax.tree.unflatten(tree, [array for array, _ in held]), counts, held[0][1])


def _is_table(node: Any) -> bool:
    return isinstance(node, list | np.ndarray) or hasattr(node, "to_numpy") or hasattr(node, "data_vars")


def _read(given: Any) -> Any:
    return given if is_traced(given) else read_rows(given)


def _held(rows: Any, live: np.ndarray, movable: bool) -> tuple[Array, Frame | None]:
    """Return rows as JAX holds them, and their frame."""
    if not isinstance(rows, Rows):
        return (rows.astype(jnp.result_type(float)) if jnp.issubdtype(rows.dtype, jnp.floating) else rows), None
    check_finite(rows, live)
    values = rows.values
    whole = values.dtype.kind in "biu"
    largest = max(abs(int(values[live].min())), abs(int(values[live].max()))) if whole else 0
    if whole and (values.ndim == 1 or largest <= 2**24):
        if largest > LARGEST_SIZE:
            raise ValueError(f"data hold whole numbers that JAX's 32 bits do not, {shown(values)}; make them floats.")
        return jnp.asarray(values), None
    array, frame = as_floats(rows, live, movable=movable)
    return jnp.asarray(array), frame


def check_samples(samples: Samples) -> None:
    """Refuse data that no model can be fitted to; tracers pass.

    Raises:
        ValueError: as `as_samples`.
    """
    if not is_concrete(samples.weight):
        return
    weight = np.asarray(samples.weight)
    if not np.all(np.isfinite(weight)) or np.any(weight < 0):
        raise ValueError("`weight` must be finite and non-negative; 0 marks a row to ignore.")
    if weight.sum() == 0:
        raise ValueError(
            "the total `weight` of the data is 0, so there is nothing to fit; give some row a positive weight."
        )
    for leaf in jax.tree.leaves(samples.x):
        if is_concrete(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating):
            bad = ~np.isfinite(np.asarray(leaf)).reshape(len(weight), -1).all(axis=1) & (weight > 0)
            if bad.any():
                raise ValueError(
                    f"data hold NaN or infinite values in {bad.sum()} of {len(weight)} rows "
                    f"(first: row {int(bad.argmax())}); remove or impute them."
                )
