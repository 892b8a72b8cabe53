"""The hypergeometric law seen from its mode: nothing in it cancels, so that float32 is right for a million balls.

Of `few` balls among `total`, k are among `many` others with a probability in which four factorials depend on k,

    P(k) ~ 1 / [k! (total - few - many + k)! (few - k)! (many - k)!]

Called by `collapse_jax.numerics.hypergeometric`.

Reference: Stadlober (1990), whose hat is taken; Loader (2000), "Fast and accurate computation of binomial
probabilities".
"""

import functools
import math
from typing import NamedTuple

import jax.numpy as jnp

from collapse_jax.types import Array

_SIGNS = (1.0, 1.0, -1.0, -1.0)  # how the four go with k
_WIDTH = (2 * math.sqrt(2 / math.e), 3 - 2 * math.sqrt(3 / math.e))  # the hat: of a deviation, and more
_TABLE = [math.lgamma(z) - (z - 0.5) * math.log(z) + z - 0.5 * math.log(2 * math.pi) for z in range(1, 17)]


class Law(NamedTuple):
    """The law of the count of `few` in `many`, seen from its mode.

    Attributes:
        most: `few`.
        mode: the likeliest count; of two the larger.
        centre: mean + 1/2 - mode.
        width: of the hat.
        starts: the four numbers at the mode, plus 1.
        slope: the logarithm by which the products of their first and of their last two differ.
        tails: Stirling's tails of the four, added.
    """

    most: Array
    mode: Array
    centre: Array
    width: Array
    starts: tuple[Array, ...]
    slope: Array
    tails: Array


def law_of(total: Array, few: Array, many: Array) -> Law:
    """Return the law for 16 < few <= many <= total / 2."""
    guess = jnp.floor((few + 1) / (total + 2) * (many + 1))  # right but for rounding, by at most 1
    excess = _difference(guess, total + 2, few + 1, many + 1)
    over, under = excess > 0, excess <= -(total + 2)
    mode = guess - over + under
    excess = excess + (total + 2) * (under * 1.0 - over)
    from_mean = excess - 2 * mode + few + many + 1  # mode x total - few x many
    starts = mode + 1, total - few - many + mode + 1, few - mode + 1, many - mode + 1
    gap = from_mean + total - 2 * few - 2 * many + 4 * mode  # starts[0] starts[1] - starts[2] starts[3]
    variance = few / total * many * ((total - few) / total) * ((total - many) / (total - 1))
    width = _WIDTH[0] * jnp.sqrt(variance + 0.5) + _WIDTH[1]
    narrow = 1 - 2 * from_mean / total  # covers P(k) / P(0) <= r^k / k! of a mode of 0 and a `few` above 16
    return Law(
        most=few,
        mode=mode,
        centre=0.5 - from_mean / total,
        width=jnp.where(mode == 0, jnp.minimum(width, narrow), width),
        starts=starts,
        slope=jnp.log1p(gap / starts[2] / starts[3]),
        tails=functools.reduce(jnp.add, map(_stirling_tail, starts)),
    )


def log_ratio(law: Law, offset: Array) -> Array:
    """Return log P(mode + offset) - log P(mode): differences of Stirling's series, term by term.

    log Gamma(z + d) - log Gamma(z) is [(z + d) log(1 + d / z) - d] + d log z - log(1 + d / z) / 2 and tails. Over the
    four, the second terms add up to offset x slope; the brackets, all of one sign, are found as in Loader (2000).
    """
    ratio, others = jnp.ones_like(offset), law.tails - offset * law.slope
    for sign, start in zip(_SIGNS, law.starts):
        step, end = sign * offset, start + sign * offset
        ratio = ratio * (end / start)
        others = others - _bracket(step, start, end) - _stirling_tail(end)
    return 0.5 * jnp.log(ratio) + others


def _bracket(step: Array, start: Array, end: Array) -> Array:
    """Return end log(end / start) - step, where end = start + step, without cancellation."""
    half = step / (start + end)  # log(end / start) = 2 artanh(half)
    square = half * half
    powers = jnp.zeros_like(half)
    for number in range(13 if half.dtype == jnp.float32 else 25, 1, -2):
        powers = 1 / number + square * powers
    near = step * half + 2 * end * half * square * powers
    return jnp.where(square < 0.04, near, end * jnp.log(end / start) - step)


def _stirling_tail(z: Array) -> Array:
    """Return log Gamma(z) - (z - 1/2) log z + z - log(2 pi) / 2 of whole numbers: from a table up to 16."""
    table = jnp.array(_TABLE, z.dtype)[jnp.clip(z, 1, len(_TABLE)).astype(jnp.int32) - 1]
    square = 1 / (z * z)
    series = (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square / 1680))) / z
    return jnp.where(z > len(_TABLE), series, table)


def _difference(a: Array, b: Array, c: Array, d: Array) -> Array:
    """Return a b - c d, exact if small: by halves of the digits of whole numbers, so that nothing is rounded."""
    unit = 2.0 ** half_digits(a)
    (a1, a0), (b1, b0), (c1, c0), (d1, d0) = ((jnp.floor(x / unit), x % unit) for x in (a, b, c, d))
    return unit * (unit * (a1 * b1 - c1 * d1) + (a1 * b0 + a0 * b1 - c1 * d0 - c0 * d1)) + (a0 * b0 - c0 * d0)


def half_digits(like: Array) -> int:
    """Return half of the binary digits that numbers of balls may have in a type of floats."""
    return 10 if like.dtype == jnp.float32 else 25
