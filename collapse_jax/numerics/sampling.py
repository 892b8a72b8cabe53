"""Which rows: indices drawn by weight, and without replacement.

On CPUs a draw costs what its random numbers and its sort cost, so a small part of a large pool is drawn in time
proportional to the part.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, UInt

from collapse_jax.types import Array, Key

_SPARSE = 4  # a pool with this many slots for each row that is wanted is large
_WIDTH = 16  # slots counted together


def distinct_indices(key: Key, weight: Float[Array, " num_rows"], num: int) -> Int[Array, " num"]:
    """Return `num` indices of rows with weight, uniform and without replacement while they last.

    A request for more than there are goes on with another round of all of them.

    >>> sorted(distinct_indices(jax.random.key(0), jnp.array([1.0, 0.0, 1.0]), 4).tolist())
    [0, 0, 2, 2]
    """
    num_rows = weight.shape[0]
    rounds = -(-num // num_rows)
    noise = jax.random.uniform(key, (rounds, num_rows))
    orders = jnp.argsort(jnp.where(weight > 0, noise, 2.0), axis=1)  # empty slots last
    num_live = jnp.maximum(jnp.sum(weight > 0), 1)
    position = jnp.arange(num)
    return orders[(position // num_live) % rounds, position % num_live]


def weighted_indices(key: Key, weight: Float[Array, " num_rows"], num: int) -> Int[Array, " num"]:
    """Return `num` indices drawn with probability proportional to `weight`, one uniform each.

    An index of weight 0 is never drawn.

    >>> weighted_indices(jax.random.key(0), jnp.array([0.0, 1.0, 0.0]), 3).tolist()
    [1, 1, 1]
    """
    edges = jnp.cumsum(weight)
    points = jax.random.uniform(key, (num,), weight.dtype) * edges[-1]
    # sums are rounded, so a point may land in an empty row: it goes to the live row before, or to the first
    live = weight > 0
    row = jnp.arange(weight.shape[0])
    before = jax.lax.cummax(jnp.where(live, row, jnp.argmax(live)))
    if weight.shape[0] <= 8:
        # before[number of edges passed] as a sum over edges: on CPUs a gather would cost many times as much
        passed = jnp.where(points[None, :] >= edges[:-1, None], jnp.diff(before)[:, None], 0)
        return before[0] + jnp.sum(passed, axis=0)
    indices = jnp.searchsorted(edges, points, side="right")
    return before[jnp.minimum(indices, weight.shape[0] - 1)]


@partial(jax.jit, static_argnames="num")  # a loop outside of a program is compiled at each call
def live_indices(key: Key, live: Bool[Array, " num_slots"], num: int) -> Int[Array, " num"]:
    """Return `num` indices of slots that live, each at most once; where fewer live, dead ones follow.

    Every set of `num` is as likely as every other, to 1 part in 2^32 / num_slots.

    >>> sorted(live_indices(jax.random.key(0), jnp.array([True, False, True]), 2).tolist())
    [0, 2]
    """
    if live.shape[0] < _SPARSE * num:
        noise = jax.random.uniform(key, live.shape)
        # dead ones sort last: below every uniform draw
        return jax.lax.top_k(jnp.where(live, noise, -1.0), num)[1]
    return _slots_of(live, _distinct_ranks(key, jnp.sum(live), num, live.shape[0]))


def distinct_flags(key: Key, live: Bool[Array, " num_slots"], num: Array) -> Bool[Array, " num_slots"]:
    """Return flags of `num` slots that live, a traced number; of all of them where fewer live.

    Every set of `num` is as likely as every other, to 1 part in 2^31 / num_slots. The slots with the least of random
    numbers are found by bisection, which on CPUs takes a tenth of a sort.

    >>> distinct_flags(jax.random.key(0), jnp.array([True, False, True]), jnp.asarray(2)).tolist()
    [True, False, True]
    """
    noise = jnp.where(live, jax.random.bits(key, live.shape, jnp.uint32) >> 1, jnp.uint32(2**32 - 1))
    num = jnp.minimum(num, jnp.sum(live))
    edge = least_with(noise, num)
    below, at_edge = noise < edge, noise == edge
    return below | (at_edge & (jnp.cumsum(at_edge) <= num - jnp.sum(below)))


def least_with(values: UInt[Array, " num_slots"], num: Array) -> UInt[Array, ""]:
    """Return the `num`-th smallest of values below 2^31, 0 for none; found by bisection.

    >>> int(least_with(jnp.array([5, 3, 9], jnp.uint32), jnp.asarray(2)))
    5
    """

    def halve(place: Array, least: Array) -> Array:
        higher = least | (jnp.uint32(1) << (30 - place).astype(jnp.uint32))
        return jnp.where(jnp.sum(values < higher) < num, higher, least)

    return jax.lax.fori_loop(0, 31, halve, jnp.uint32(0))


def _distinct_ranks(key: Key, num_live: Int[Array, ""], num: int, num_slots: int) -> Int[Array, " num"]:
    """Return `num` of 0, 1, ..., num_live - 1, each at most once; where there are fewer, others follow.

    Of many, three times as many are drawn as are wanted, and the first of each kind kept, in the order of the draw;
    if these are too few, all are drawn again: no rank is favoured by that. Of few, all are put in random order.
    """
    candidates, is_few = jnp.arange(3 * num), num_live <= 2 * num

    def draw(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        attempt, _, _, _ = carry
        bits = jax.random.bits(jax.random.fold_in(key, attempt), candidates.shape, jnp.uint32)
        ranks = (bits % jnp.maximum(num_live, 1).astype(jnp.uint32)).astype(jnp.int32)
        owner = jnp.zeros(num_slots, jnp.int32).at[ranks].max(candidates.astype(jnp.int32))
        kept = jnp.cumsum(owner[ranks] == candidates)
        chosen = ranks[jnp.searchsorted(kept, jnp.arange(1, num + 1))]
        return attempt + 1, bits, chosen, is_few | (kept[-1] >= num)

    begin = (0, jnp.zeros(candidates.shape, jnp.uint32), jnp.zeros(num, jnp.int32), False)
    _, bits, many, _ = jax.lax.while_loop(lambda carry: ~carry[3], draw, jax.tree.map(jnp.asarray, begin))
    noise = (bits[: 2 * num] >> 1).astype(jnp.int32)
    few = jax.lax.top_k(jnp.where(jnp.arange(2 * num) < num_live, noise, -1), num)[1]
    return jnp.where(is_few, few, many)


def _slots_of(live: Bool[Array, " num_slots"], ranks: Int[Array, " num"]) -> Int[Array, " num"]:
    """Return the slots of the live rows of these ranks; of a rank that no row has, some dead slot."""
    blocks = jnp.pad(live, (0, -live.shape[0] % _WIDTH)).reshape(-1, _WIDTH).astype(jnp.int32)
    upto = jnp.cumsum(jnp.sum(blocks, axis=1))
    block = jnp.minimum(jnp.searchsorted(upto, ranks, side="right"), blocks.shape[0] - 1)
    before = upto[block] - jnp.sum(blocks[block], axis=1)
    inside = jnp.cumsum(blocks[block], axis=1) > (ranks - before)[:, None]
    return jnp.where(ranks < upto[-1], block * _WIDTH + jnp.argmax(inside, axis=1), jnp.argmin(live))
