"""What a model or a regime needs of its data, and the sentence for data that are otherwise.

Rows are known by what they can do (`live_rows`), so that `data`, which calls these, is not needed here.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.numerics import frame as frames
from collapse_jax.numerics.frame import Frame
from collapse_jax.types import Array, PyTree
from collapse_jax.validation import is_concrete


def need_rows(data: Any, regime: str, remedy: str) -> None:
    """Refuse a data set without single points.

    Raises:
        TypeError: `data` is not `Samples`.
    """
    if not hasattr(data, "live_rows"):
        raise TypeError(f"`{regime}` must see single points, got {kind_of(data)}; {remedy}.")


def need_array(data: Any, model: str, what: str, *, ndim: int, integers: bool = False) -> None:
    """Refuse data that are not rows of one array.

    Args:
        data: what a model is given.
        model: its name.
        what: it is fitted to.
        ndim: of the array, rows counted.
        integers: it holds labels, not measurements.

    Raises:
        TypeError: they have no rows, or rows of another kind.
        ValueError: the array has another number of axes.
    """
    if not hasattr(data, "live_rows"):
        raise TypeError(f"{model} is fitted to {what}, got {kind_of(data)}; give it rows, as_samples(x).")
    if not isinstance(data.x, jax.Array) or data.x.ndim != ndim:
        shape = jax.tree.map(jnp.shape, data.x)
        raise ValueError(f"{model} is fitted to {what}, got rows of shape {shape}; pass one array of {ndim} axes.")
    if jnp.issubdtype(data.x.dtype, jnp.integer) != integers and integers:
        raise TypeError(f"{model} is fitted to {what}, got {data.x.dtype}; make the rows integers.")


def need_data_units(data: Any, model: str) -> None:
    """Refuse rows in a frame of their own, for what reads data units.

    Raises:
        ValueError: they are in a frame: their offset or scale is one that JAX's floats do not hold.
    """
    frame = getattr(data, "frame", None)
    if frame is None:
        return
    told = "a column of the data"
    if is_concrete(frame.log_scale):
        origin = np.sum(np.asarray(frame.origin, np.float64), axis=0)
        scale = np.exp(np.asarray(frame.log_scale, np.float64))
        column = int(((origin != 0) | (scale != 1)).argmax())
        told = f"column {column} of the data, around {origin[column]:.6g} in units of {scale[column]:.3g},"
    raise ValueError(
        f"{told} is more than {frame.log_scale.dtype} can hold in data units, which {model} reads; subtract an offset "
        "and divide by a scale first."
    )


def points_of(data: Any, model: str) -> tuple[Array, Array]:
    """Return rows of coordinates as floats, zeros where they are empty, and their weights.

    Raises:
        TypeError: the data have no rows.
        ValueError: the rows are not vectors.
    """
    need_array(data, model, "points, a row of coordinates each", ndim=2)
    rows: Any = data.live_rows()
    return rows if jnp.issubdtype(rows.dtype, jnp.floating) else rows.astype(data.weight.dtype), data.weight


def start_frame(real: Any, dim: int, dtype: jnp.dtype | None = None) -> Frame:
    """Return the frame that real data bring, or that of data units."""
    frame = getattr(real, "frame", None)
    return frames.data_frame(dim, dtype) if frame is None else frame


def pooled(first: Any, other: Any) -> None:
    """Refuse to pool data of two kinds.

    Raises:
        TypeError: one are rows and the other a statistic, or statistics of another kind.
        ValueError: they are of other dimensions.
    """
    if type(first) is not type(other):
        raise TypeError(
            f"real and synthetic data must be of one kind to be pooled, got {kind_of(first)} and {kind_of(other)}; "
            "draw the real data as the model draws its own."
        )
    here, there = _built(first), _built(other)
    if here != there:
        raise ValueError(
            f"real and synthetic data must be built alike to be pooled, got shapes {here} and {there}; draw the real "
            "data as the model draws its own."
        )


def _built(data: Any) -> PyTree:
    """Return the shape of a row, or of a statistic."""
    if hasattr(data, "live_rows"):
        return jax.tree.map(lambda leaf: jnp.shape(leaf)[1:], data.x)
    return jax.tree.map(jnp.shape, data._replace(frame=None))


def kind_of(data: Any) -> str:
    """Return what data are, for a sentence.

    >>> kind_of(3)
    'int'
    """
    return "single points (Samples)" if hasattr(data, "live_rows") else type(data).__name__
