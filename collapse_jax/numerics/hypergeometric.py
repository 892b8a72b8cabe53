"""Hypergeometric counts: of balls drawn without replacement, how many are good; `jax.random` has no such draw.

    P(k) = C(good, k) C(bad, drawn - k) / C(good + bad, drawn)

New here: ratios of uniforms for many lanes in one loop, right in float32 for a million balls and in float64 for 1e15.

Reference: Stadlober (1990), "The ratio of uniforms approach for generating discrete random variates".
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from collapse_jax.numerics.hypergeometric_law import Law, half_digits, law_of, log_ratio
from collapse_jax.numerics.threefry import written_out
from collapse_jax.types import Array, ArrayLike, Key
from collapse_jax.validation import check_float32_count, is_concrete, shown

_FEW = 16  # balls up to which they are drawn one by one
_MOST = 2**50 - 2  # balls of which float64 finds the mode


def hypergeometric(
    key: Key, num_good: ArrayLike, num_bad: ArrayLike, num_drawn: ArrayLike
) -> Float[Array, "*shape"]:
    """Return how many of `num_drawn` balls are good, drawn without replacement from good and bad ones.

    Args:
        key: random key.
        num_good: whole numbers of any shape; all three are broadcast together, and may be traced.
        num_bad: whole numbers.
        num_drawn: whole numbers, at most `num_good + num_bad`.

    Returns:
        Whole numbers as floats, shape [*shape]; NaN where traced numbers are what would raise.

    Raises:
        ValueError: more balls than float32 can count (x64 counts 2^50); numbers that are negative or not whole; more
            drawn than there are. Tracers pass.

    Reference: Stadlober (1990), whose hat is NumPy's too.

    >>> hypergeometric(jax.random.key(0), jnp.array([5.0, 0.0, 3.0]), 4.0, jnp.array([9.0, 2.0, 0.0])).tolist()
    [5.0, 0.0, 0.0]
    """
    _check(num_good, num_bad, num_drawn)
    good, bad, drawn = jnp.broadcast_arrays(
        *(jnp.asarray(part, float) for part in (num_good, num_bad, num_drawn))
    )
    return _draw(key, good, bad, drawn).astype(_float_of(num_good, num_bad, num_drawn))


def multivariate_hypergeometric(key: Key, counts: ArrayLike, num_drawn: ArrayLike) -> Float[Array, "*cells"]:
    """Return how many balls of each cell are among `num_drawn`, drawn without replacement from all cells.

    Cells are halved until each is alone; a level of halves is one draw of `hypergeometric`.

    Args:
        key: random key.
        counts: balls in each cell, whole numbers, shape [*cells]; may be traced.
        num_drawn: one whole number, at most their sum; may be traced.

    Returns:
        Whole numbers as floats, shape [*cells], of sum `num_drawn`, none above its cell's count; NaN where traced
        numbers are what would raise.

    Raises:
        ValueError: as for `hypergeometric`; the balls of all cells are counted together.

    >>> multivariate_hypergeometric(jax.random.key(0), jnp.array([2.0, 0.0, 3.0]), 5.0).tolist()
    [2.0, 0.0, 3.0]
    """
    _check(counts, 0.0)
    if is_concrete(counts):
        _check(np.sum(np.asarray(counts, np.float64)), 0.0, num_drawn)
    drawn = _draw_cells(key, jnp.asarray(counts, float), jnp.asarray(num_drawn, float))
    return drawn.astype(_float_of(counts, num_drawn))


def _check(num_good: ArrayLike, num_bad: ArrayLike, num_drawn: ArrayLike | None = None) -> None:
    """Refuse numbers that are no numbers of balls, as far as they are known."""
    for value in (num_good, num_bad, num_drawn):
        if value is None or not is_concrete(value):
            continue
        known = np.asarray(value, np.float64)
        if not np.all((known >= 0) & (known == np.floor(known)) & np.isfinite(known)):
            raise ValueError(
                f"numbers of balls must be whole and not negative, got {shown(value)}; round them."
            )
    if not (is_concrete(num_good) and is_concrete(num_bad)):
        return
    total = np.asarray(num_good, np.float64) + np.asarray(num_bad, np.float64)
    if check_float32_count(int(np.max(total, initial=0))) > _MOST:
        raise ValueError(
            f"there must be at most {_MOST:,} balls, got {shown(np.max(total))}; count in larger units."
        )
    if num_drawn is not None and is_concrete(num_drawn) and np.any(np.asarray(num_drawn, np.float64) > total):
        raise ValueError(
            f"`num_drawn` must be at most the number of balls, {shown(total)}, got {shown(num_drawn)}; draw fewer."
        )


def _float_of(*values: ArrayLike) -> np.dtype:
    """Return the type of the floats among the values, else the default one."""
    kind = jnp.result_type(*values)
    return kind if jnp.issubdtype(kind, jnp.floating) else jnp.result_type(float)


@jax.jit
def _draw_cells(key: Key, counts: Array, num_drawn: Array) -> Array:
    """Return what is drawn of each cell: of all, of both halves, of their halves, ...

    A loop over levels is compiled once for all of them: for the first six, then for two at a time.
    """
    num_levels = max(counts.size - 1, 0).bit_length()
    cells = jnp.pad(counts.ravel(), (0, 2**num_levels - counts.size))  # at least one
    is_drawable = (num_drawn >= 0) & (num_drawn <= jnp.sum(cells))
    drawn = jnp.where(is_drawable, num_drawn, jnp.nan)[None]
    ends = [*range(6 + num_levels % 2, num_levels, 2), num_levels]
    for begin, end in zip([0, *ends], ends if num_levels else []):
        width = 2 ** (end - 1)
        levels = range(begin, end)
        halves = [jnp.sum(cells.reshape(2 ** (level + 1), -1), axis=1).reshape(-1, 2) for level in levels]
        padded = jnp.stack([jnp.pad(pair, ((0, width - pair.shape[0]), (0, 0))) for pair in halves])

        def split(drawn: Array, level: tuple[Array, Array], width: int = width) -> tuple[Array, None]:
            number, pair = level
            first = _draw(jax.random.fold_in(key, number), pair[:, 0], pair[:, 1], drawn[:width])
            return jnp.stack([first, drawn[:width] - first], axis=1).ravel(), None

        drawn = jnp.pad(drawn, (0, 2 * width - drawn.size))
        drawn, _ = jax.lax.scan(split, drawn, (jnp.array(levels), padded))
    return drawn[: counts.size].reshape(counts.shape)


@jax.jit  # a loop outside of a program is compiled at each call
def _draw(key: Key, good: Array, bad: Array, drawn: Array) -> Array:
    """Return the good ones among those drawn: by symmetry the rarer colour is counted in the smaller part."""
    total = good + bad
    most = 2.0 ** (2 * half_digits(total)) - 2
    is_law = (good >= 0) & (bad >= 0) & (drawn >= 0) & (drawn <= total) & (total <= most)
    total = jnp.where(is_law, total, 0)
    rarer = jnp.where(is_law, jnp.minimum(good, bad), 0)
    smaller = jnp.where(is_law, jnp.minimum(drawn, total - drawn), 0)
    count = _common(key, total, jnp.minimum(rarer, smaller), jnp.maximum(rarer, smaller))
    count = jnp.where(good > bad, smaller - count, count)
    count = jnp.where(drawn > smaller, good - count, count)
    return jnp.where(is_law, count, jnp.nan)


def _common(key: Key, total: Array, few: Array, many: Array) -> Array:
    """Return how many of `few` balls of `total` are among `many` others chosen at random; `few` <= `many` <= half.

    Up to 16 are looked at one by one, a ball each round of the loop; of more a count is proposed each round.
    """
    by_ratio = few > _FEW
    law = law_of(
        *(jnp.where(by_ratio, value, some * (_FEW + 1)) for value, some in ((total, 4), (few, 1), (many, 1)))
    )
    key = written_out(key)  # the same bits sooner

    def look(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        turn, count, is_done = carry
        first, second = _uniforms(jax.random.fold_in(key, turn), total.shape)
        offset, is_taken = _proposed(law, first, second)
        is_hit = first * (total - turn) < many - count  # of those left, whose number is exact
        new = jnp.where(by_ratio, law.mode + offset, count + is_hit)
        count = jnp.where(is_done, count, new)  # what was proposed and not taken is replaced by what is
        return turn + 1, count, is_done | jnp.where(by_ratio, is_taken, turn + 1 >= few)

    begin = jnp.zeros((), jnp.int32), jnp.zeros_like(total), few <= 0
    return jax.lax.while_loop(lambda carry: jnp.any(~carry[2]), look, begin)[1]


def _proposed(law: Law, first: Array, second: Array) -> tuple[Array, Bool[Array, "..."]]:
    """Return a count less the mode, proposed by two uniforms, and whether it is taken."""
    offset = jnp.floor(law.centre + law.width * (second - 0.5) / first)
    is_inside = (offset >= -law.mode) & (offset <= law.most - law.mode)
    offset = jnp.where(is_inside, offset, 0)
    return offset, is_inside & (2 * jnp.log(first) <= log_ratio(law, offset))


def _uniforms(key: Key, shape: tuple[int, ...]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Return two uniforms each; the first, in (0, 1], has all its digits however small it is."""
    kind = jnp.zeros((), float).dtype
    num_bits = 32 if kind == jnp.float32 else 64
    words = jax.random.bits(key, (2, *shape), f"uint{num_bits}").astype(kind) * 2.0**-num_bits
    first = words[0] + words[1] * 2.0**-num_bits  # the second goes on where the first ends
    return jnp.maximum(first, jnp.finfo(kind).tiny), words[1]
