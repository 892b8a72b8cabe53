r"""Moving coordinates: x = location + U diag(exp(log_scale)) y, with U unit lower triangular.

Variance falls by hundreds of orders of magnitude over a long chain, far below the rounding of its
mean. Families that can be whitened therefore draw and fit in the coordinates y of the current model,
in which it has mean 0 and covariance 1, and carry this map to data units beside their parameters. A
scalar scale is not enough: directions die at different rates, and the condition number of one matrix
would stop at 1/eps. What a regime stores follows by the *relative* map of one generation, `shift` and
`ratio`; subtracting two absolute locations would lose everything. Data far from 0 for their spread bring an origin
of their own, from which locations are counted: no location could be written as a sum with it. Used by `data`,
`intake` and `models`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from collapse_jax.numerics import triangular
from collapse_jax.types import Array

_HIGHEST = jax.lax.Precision.HIGHEST  # TF32 or bfloat16 products would compound over generations


class Frame(NamedTuple):
    """Coordinates of one generation, and how they follow from the previous generation's.

    Attributes:
        location: of the local origin, data units, counted from `origin`.
        log_scale: log of the diagonal, nats.
        unit_tril: unit lower triangle; its columns are scaled by exp(log_scale).
        shift: this origin in the previous frame's coordinates.
        ratio: this frame's axes in the previous frame's coordinates, lower triangular.
        origin: data units, as a sum of three numbers, largest first, since one does not hold it; the same for the
            whole chain. None means 0.
    """

    location: Float[Array, " dim"]
    log_scale: Float[Array, " dim"]
    unit_tril: Float[Array, "dim dim"]
    shift: Float[Array, " dim"]
    ratio: Float[Array, "dim dim"]
    origin: Float[Array, "3 dim"] | None = None


def data_frame(dim: int, dtype: jnp.dtype | None = None) -> Frame:
    """Return the frame of plain data units: origin 0, axes 1.

    >>> data_frame(2).log_scale
    Array([0., 0.], dtype=float32)
    """
    zeros, eye = jnp.zeros(dim, dtype), jnp.eye(dim, dtype=dtype)
    return Frame(zeros, zeros, eye, zeros, eye)


def advance(frame: Frame, shift: Float[Array, " dim"], ratio: Float[Array, "dim dim"]) -> Frame:
    """Return the frame with origin `shift` and axes `ratio` (lower triangular) in `frame`'s coordinates.

    The factors of a diagonal multiply, so its logs add; U follows from
    U'[:, j] = sum_k U[:, k] exp(log_scale[k] - log_scale[j]) ratio[k, j] / ratio[j, j].
    """
    diagonal = jax.lax.optimization_barrier(jnp.diagonal(ratio))  # XLA's logarithm has other bits in other shapes
    log_scale = frame.log_scale + jnp.log(diagonal)
    # the upper triangle is masked before exp, where a large difference would overflow: inf * 0 = NaN
    gap = jnp.where(ratio == 0, 0.0, frame.log_scale[:, None] - frame.log_scale[None, :])
    unit_tril = jnp.matmul(frame.unit_tril, jnp.exp(gap) * ratio / diagonal[None, :], precision=_HIGHEST)
    unit_tril = jnp.where(jnp.eye(diagonal.shape[0], dtype=bool), 1.0, unit_tril)  # rounding must not pile up
    location = frame.location + jnp.matmul(axes(frame), shift, precision=_HIGHEST)
    return Frame(location, log_scale, unit_tril, shift, ratio, frame.origin)


def axes(frame: Frame) -> Float[Array, "dim dim"]:
    """Return the lower triangular matrix from local to data units; it underflows once the chain has collapsed."""
    return frame.unit_tril * jnp.exp(frame.log_scale)[None, :]


def to_data_units(frame: Frame, local: Float[Array, "num dim"]) -> Float[Array, "num dim"]:
    """Return points given in local coordinates in data units."""
    points = frame.location[None, :] + jnp.matmul(local, axes(frame).T, precision=_HIGHEST)
    return points if frame.origin is None else jnp.sum(frame.origin, axis=0)[None] + points


def location(frame: Frame) -> Float[Array, " dim"]:
    """Return the local origin in data units, rounded to them."""
    return frame.location if frame.origin is None else jnp.sum(frame.origin, axis=0) + frame.location


def gap(frame: Frame, other: Frame) -> Float[Array, " dim"]:
    """Return by how much the origin of `other` lies beyond that of `frame`, data units."""
    none = jnp.zeros((3, other.location.shape[0]), other.location.dtype)
    beyond = (none if other.origin is None else other.origin) - (none if frame.origin is None else frame.origin)
    return (beyond[0] + beyond[1]) + beyond[2]


def to_local(frame: Frame, points: Float[Array, "num dim"]) -> Float[Array, "num dim"]:
    """Return points given in data units in local coordinates (infinite once the frame has collapsed)."""
    points = points if frame.origin is None else points - jnp.sum(frame.origin, axis=0)[None]
    centred = jnp.matmul(points - frame.location[None, :], triangular.inverse(frame.unit_tril).T, precision=_HIGHEST)
    return centred * jnp.exp(-frame.log_scale)[None, :]


def enter(frame: Frame, local: Float[Array, "num dim"], own: Frame | None) -> Float[Array, "num dim"]:
    """Return points given in the coordinates of `own`, by default data units, in those of `frame`.

    The two origins are subtracted from each other first: they may be large, the points' distances from them not.
    """
    if own is None:
        return to_local(frame, local)
    points = to_data_units(own._replace(origin=None), local) + gap(frame, own)[None]
    return to_local(frame._replace(origin=None), points)


def follow(frame: Frame, points: Float[Array, "num dim"]) -> Float[Array, "num dim"]:
    """Return points of the previous frame's coordinates in this frame's."""
    return follow_columns(frame, (points - frame.shift[None, :]).T).T


def follow_columns(frame: Frame, columns: Float[Array, "dim num"]) -> Float[Array, "dim num"]:
    """Return differences of points, as columns, of the previous frame's coordinates in this frame's.

    Entries at the rounding of the terms that they are sums of become exact zeros: along a direction without
    spread everything cancels, and what is left of it must not count as spread when data are pooled.
    """
    diagonal = jnp.diagonal(frame.ratio)[:, None]
    columns = _divided(columns, diagonal)
    if columns.shape[0] == 1:
        return columns
    back = triangular.inverse(frame.ratio) * diagonal.T  # of unit diagonal: what divides has been divided above
    back = jnp.where(jnp.eye(columns.shape[0], dtype=bool), 1.0, back)
    moved = jnp.matmul(back, columns, precision=_HIGHEST)
    terms = jnp.matmul(jnp.abs(back), jnp.abs(columns), precision=_HIGHEST)
    return jnp.where(jnp.abs(moved) > 30 * jnp.finfo(moved.dtype).eps * terms, moved, 0.0)


def _divided(columns: Float[Array, "dim num"], scale: Float[Array, "dim 1"]) -> Float[Array, "dim num"]:
    """Return columns / scale, rounded to no side where the scale is near 1.

    XLA divides many numbers by one as a product with its reciprocal, and 1 / (1 - k eps) is rounded up for every odd
    k: a store that moves in each generation would grow by 1e-8 a time, which a billion points can tell.
    """
    gap = 1 - scale  # exact between 1/2 and 2
    return jnp.where(jnp.abs(gap) < 0.5, columns + columns * (gap / scale), columns / scale)


def log_total_variance(
    frame: Frame, factor: Float[Array, "dim num"] | Float[Array, " dim"]
) -> Float[Array, ""]:
    """Return log tr C, nats, of the covariance C = factor factor' in local coordinates.

    The largest scale is taken out before anything is exponentiated, so nothing underflows.

    Args:
        frame: the local coordinates.
        factor: of the covariance; of a diagonal one its diagonal is enough.
    """
    top = jnp.max(frame.log_scale)
    scaled = frame.unit_tril * jnp.exp(frame.log_scale - top)[None, :]
    spread = scaled * factor[None, :] if factor.ndim == 1 else jnp.matmul(scaled, factor, precision=_HIGHEST)
    return 2 * top + jnp.log(jnp.sum(spread**2))
