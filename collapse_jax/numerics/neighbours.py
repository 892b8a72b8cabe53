"""Which points lie within reach of which, how far a point's neighbours are, and which rows are the same."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from collapse_jax.types import Array

_HIGHEST = jax.lax.Precision.HIGHEST
_FEW_COLUMNS = 32  # up to here differences are squared one by one, which rounds least
_BLOCK = 128  # drawn rows that are compared with all of the training rows at a time


def squared_distances(
    one: Float[Array, "num dim"], other: Float[Array, "num_2 dim"]
) -> tuple[Float[Array, "num num_2"], Array]:
    """Return the squared distances of all pairs, and how far rounding may move them apart."""
    if one.shape[1] <= _FEW_COLUMNS:
        total = jnp.zeros((one.shape[0], other.shape[0]), one.dtype)
        for column in range(one.shape[1]):
            total = total + (one[:, column][:, None] - other[:, column][None, :]) ** 2
        return total, jnp.zeros((), one.dtype)
    middle = jnp.mean(one, axis=0)[None]
    one, other = one - middle, other - middle
    squares = jnp.sum(one**2, axis=1), jnp.sum(other**2, axis=1)
    products = jnp.matmul(one, other.T, precision=_HIGHEST)
    distances = jnp.maximum(squares[0][:, None] + squares[1][None, :] - 2 * products, 0.0)
    return distances, 8 * jnp.finfo(one.dtype).eps * jnp.maximum(jnp.max(squares[0]), jnp.max(squares[1]))


def squared_reach(rows: Float[Array, "num dim"], num_neighbours: int) -> Float[Array, " num"]:
    """Return the squared distance of each point to its k-th nearest neighbour; itself is the nearest."""
    nearest, _ = jax.lax.top_k(-squared_distances(rows, rows)[0], num_neighbours + 1)
    return -nearest[:, -1]


def reached_by(
    centres: Float[Array, "num dim"], squared_reach: Float[Array, " num"], points: Float[Array, "num_2 dim"]
) -> Bool[Array, "num num_2"]:
    """Return which centres reach which points; rounding must not keep a centre from what is where it is."""
    distances, rounding = squared_distances(centres, points)
    return distances <= squared_reach[:, None] + rounding


def share_of_copies(
    training: Float[Array, "num dim"], drawn: Float[Array, "num_2 dim"], ratio: Any, kept: Bool[Array, " num"]
) -> Float[Array, ""]:
    """Return the share of copies of the rows that are `kept`; a missing second one is infinitely far."""
    num_nearest = min(8, training.shape[0])

    def is_copy(point: Array) -> Array:
        distances = jnp.where(kept, squared_distances(training, point[None])[0][:, 0], jnp.inf)
        negative, places = jax.lax.top_k(-distances, num_nearest)
        # of a copy all digits of the distance may be rounding: the nearest ones are measured again
        again = jnp.sum((training[places] - point[None]) ** 2, axis=1)
        exact = jnp.sort(jnp.where(jnp.isfinite(negative), again, jnp.inf))
        second = exact[1] if num_nearest > 1 else jnp.inf
        return exact[0] < ratio**2 * second

    return jnp.mean(jax.lax.map(is_copy, drawn, batch_size=_BLOCK))


def first_of_its_kind(rows: Array, live: Bool[Array, " num"] | None = None) -> Bool[Array, " num"]:
    """Return which rows are the first of those that are equal to them, told by 64 bits of a sum of their bits.

    Whole numbers add up to the same in any order, so equal rows agree in every bit of it.
    """
    num = rows.shape[0]
    live = jnp.ones(num, bool) if live is None else live
    if rows.dtype.itemsize < 4:
        rows = rows.astype(jnp.float32)
    rows = jnp.where(rows == 0, jnp.zeros_like(rows), rows)  # -0 is 0
    words = jax.lax.bitcast_convert_type(rows, jnp.uint32).reshape(num, -1)  # two of each in double precision
    dim = words.shape[1]
    factors = np.random.default_rng(0).integers(0, 2**32, (2, dim), dtype=np.uint32) | np.uint32(1)
    first, second = (jnp.sum(_stirred(words * factor[None]), axis=1, dtype=jnp.uint32) for factor in factors)
    order = jnp.lexsort((second, first, ~live))
    sums = jnp.stack([first, second])[:, order]
    is_new = jnp.concatenate([jnp.ones(1, bool), jnp.any(sums[:, 1:] != sums[:, :-1], axis=0)])
    return jnp.zeros(num, bool).at[order].set(is_new) & live


def _stirred(words: Array) -> Array:
    """Return 32 bits that each depend on all 32 given ones (the finalizer of MurmurHash 3)."""
    words = (words ^ (words >> 16)) * jnp.uint32(0x85EBCA6B)
    words = (words ^ (words >> 13)) * jnp.uint32(0xC2B2AE35)
    return words ^ (words >> 16)
