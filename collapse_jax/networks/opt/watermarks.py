"""Watermarks that a decoder writes into text, and the test that finds them there.

A secret and the last `window` tokens c give each word w of the vocabulary 32 bits, by a hash in integers, which decoder
and detector compute anew whenever they need them; v = bits / 2^32 is uniform, and independent for every k-gram (c, w):

    green list:  scores_w + boost where v_w < green_share     a green word counts 1
    Gumbel:      the word of largest scores_w - log(-log(1 - v_w)) alone     a word counts -log v_w

Under any other secret the counts of different k-grams are Bernoulli(green_share), or exponential of mean 1, whatever
the text: their sum is binomial, or Gamma, and its tail is an exact p-value, if no k-gram counts twice and none that
stood in the prompt. `sample` marks, after temperature and nucleus; `detect_watermark` tests.

References: Kirchenbauer et al. (2023), "A watermark for large language models"; Aaronson (2022), "My AI safety lecture
for UT Effective Altruism"; Sander et al. (2024), "Watermarking makes language models radioactive".
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int, UInt32
from scipy import special

from collapse_jax.types import Array, ArrayLike
from collapse_jax.validation import (
    check_count,
    check_fraction,
    check_kind,
    check_numbers,
    check_positive,
    is_concrete,
    shown,
)

NO_TOKEN = -1  # in a context, where the text has not begun
_START, _OTHER = 0x9E3779B9, 0x85EBCA6B  # so that the two words of state begin apart


class Watermark(NamedTuple):
    """A way to mark text, from `green_list` or `gumbel`.

    Attributes:
        secret: whoever knows it can find the mark.
        window: how many tokens before a word its bits depend on.
        mark: scores and bits of the vocabulary -> scores from which the next token is drawn.
        score: bits of k-grams, uint32 [num] -> what each counts, float64 [num].
        tail: the sum of n scores, and n -> p-value and z.
    """

    secret: ArrayLike
    window: int
    mark: Callable[[Float[Array, "rows vocab"], UInt32[Array, "rows vocab"]], Float[Array, "rows vocab"]]
    score: Callable[[np.ndarray], np.ndarray]
    tail: Callable[[float, int], tuple[float, float]]


class Evidence(NamedTuple):
    """What `detect_watermark` finds.

    Attributes:
        p_value: probability of so large a sum, or a larger one, under a secret that had no part in the text; 0 below
            1e-308.
        z: the sum in standard deviations from its mean under such a secret.
        score: of a k-gram, on average: the share of green words, or of -log v (nats), which is 1 without a watermark.
        num_scored: different k-grams that count.
    """

    p_value: float
    z: float
    score: float
    num_scored: int


def green_list(
    secret: ArrayLike, green_share: float = 0.25, boost: ArrayLike = 3.0, window: int = 2
) -> Watermark:
    """Return the watermark that makes green words likelier.

    Each word is green with probability `green_share` in each context, for itself: the number of green words varies a
    little, by which the p-value is exact. Green words of total probability g come to have
    `theory.watermarks.green_mass(g, boost)`.

    Args:
        secret: integer below 2^32; it may be traced.
        green_share: share of the vocabulary that is green, between 0 and 1.
        boost: nats that are added to the scores of green words; 0 changes nothing.
        window: tokens that colour the next word; with 0 the same words are green everywhere.

    Raises:
        ValueError: a setting out of range.

    Reference: Kirchenbauer et al. (2023), algorithm 2; Sander et al. (2024) for these settings.
    """
    check_count("secret", secret, minimum=0, maximum=2**32 - 1), check_fraction("green_share", green_share)
    check_positive("boost", boost, or_zero=True), check_count("window", window, minimum=0)
    limit = round(float(green_share) * 2**32)
    if not 0 < limit < 2**32:
        raise ValueError(f"`green_share` must lie between 0 and 1, got {shown(green_share)}; 0.25 is usual.")
    share = limit / 2**32

    def mark(scores: Array, bits: Array) -> Array:
        return jnp.where(bits < jnp.uint32(limit), scores + jnp.asarray(boost, scores.dtype), scores)

    def score(bits: np.ndarray) -> np.ndarray:
        return (bits < np.uint32(limit)).astype(float)

    def tail(total: float, num: int) -> tuple[float, float]:
        p_value = special.betainc(total, num - total + 1, share) if total > 0 else 1.0
        return float(p_value), float((total - num * share) / np.sqrt(num * share * (1 - share)))

    return Watermark(secret, window, mark, score, tail)


def gumbel(secret: ArrayLike, window: int = 4) -> Watermark:
    """Return the watermark that draws by Gumbel's trick with hashed numbers: secret and context determine the token.

    Over secrets a token has the model's own probability. Under one secret the same context is always followed by the
    same token, so that a short window leads into a cycle: `theory.watermarks.key_cycle_length`.

    Args:
        secret: integer below 2^32; it may be traced.
        window: tokens on which the next one depends, at least 1.

    Raises:
        ValueError: a setting out of range.

    Reference: Aaronson (2022); `theory.watermarks.gumbel_score` for what a token counts on average.
    """
    check_count("secret", secret, minimum=0, maximum=2**32 - 1), check_count("window", window)

    def mark(scores: Array, bits: Array) -> Array:
        # the smallest v decide, and in float32 those are the exact ones; 1 itself would make a word impossible
        v = jnp.minimum((bits.astype(jnp.float32) + 0.5) * 2.0**-32, 1 - 2.0**-24)
        best = jnp.argmax(scores - jnp.log(-jnp.log1p(-v)).astype(scores.dtype), axis=-1, keepdims=True)
        return jnp.where(jnp.arange(scores.shape[-1])[None] == best, jnp.zeros_like(scores), -jnp.inf)

    def score(bits: np.ndarray) -> np.ndarray:
        return -np.log((bits.astype(float) + 0.5) / 2**32)

    def tail(total: float, num: int) -> tuple[float, float]:
        return float(special.gammaincc(num, total)), float((total - num) / np.sqrt(num))

    return Watermark(secret, window, mark, score, tail)


def check_watermark(watermark: Watermark | None) -> Watermark | None:
    """Return `watermark`, which is one or None.

    Raises:
        TypeError: it is something else.
    """
    if watermark is not None:
        check_kind("watermark", watermark, Watermark, "green_list(secret=1) gives one")
    return watermark


def apply_watermark(
    watermark: Watermark, scores: Float[Array, "rows vocab"], context: Int[Array, "rows window"]
) -> Float[Array, "rows vocab"]:
    """Return scores from which the next token is to be drawn.

    Args:
        watermark: from `green_list` or `gumbel`.
        scores: logits or log-probabilities of the next token.
        context: the `window` tokens before it, the newest last; `NO_TOKEN` where the text has not begun.
    """
    words = jnp.arange(scores.shape[-1])[None]
    return watermark.mark(scores, _bits(watermark.secret, context, words))


def detect_watermark(
    watermark: Watermark,
    tokens: Int[ArrayLike, "num length"],
    mask: Bool[ArrayLike, "num length"] | None = None,
    prompt_length: int = 0,
) -> Evidence:
    """Return the evidence in texts, taken together, for a watermark with this secret.

    A token counts if the `window` tokens before it are there too, and once together with them, however often texts
    repeat that. Prompts do not count, nor what a text copies from its own.

    Args:
        watermark: as the texts may have been marked.
        tokens: texts, each after its prompt, if that is known, as in `jnp.concatenate([prompts, found.tokens], 1)`.
        mask: true where there is text, false in padding on either side; default everywhere.
        prompt_length: columns that hold prompts.

    Raises:
        TypeError: `tokens` are no integers, or `mask` no flags.
        ValueError: shapes that do not fit, or no column left to score.

    Reference: Kirchenbauer et al. (2023), equation 3; Sander et al. (2024), section 4, for what may count.

    >>> texts = np.random.default_rng(0).integers(0, 50_000, (20, 64))
    >>> found = detect_watermark(green_list(secret=1), texts)
    >>> found.num_scored, found.p_value > 0.001
    (1240, True)
    """
    check_kind("watermark", watermark, Watermark, "green_list(secret=1) gives one")
    known, present = _texts(tokens, mask)
    check_count("prompt_length", prompt_length, minimum=0)
    first, length = max(watermark.window, prompt_length), known.shape[1]
    if first >= length:
        raise ValueError(
            f"texts of {length} tokens leave none to score after a prompt of {prompt_length} and a window of "
            f"{watermark.window}; give longer ones."
        )
    grams = np.lib.stride_tricks.sliding_window_view(known, watermark.window + 1, axis=1)
    whole = np.lib.stride_tricks.sliding_window_view(present, watermark.window + 1, axis=1).all(axis=-1)
    rows, places = np.nonzero(whole)
    different, index = np.unique(grams[whole], axis=0, return_inverse=True)
    index = index.reshape(-1)
    is_new = places + watermark.window >= prompt_length
    in_row = rows * len(different) + index
    copied = np.isin(in_row, in_row[~is_new])
    scored = different[np.unique(index[is_new & ~copied])]
    if len(scored) == 0:
        return Evidence(1.0, 0.0, 0.0, 0)
    counts = watermark.score(_bits_of(watermark.secret, scored))
    p_value, z = watermark.tail(float(counts.sum()), len(scored))
    return Evidence(p_value, z, float(counts.mean()), len(scored))


def _texts(tokens: ArrayLike, mask: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens and where they are text, both [num, length]."""
    known = check_numbers("tokens", tokens)
    if not is_concrete(known):
        raise TypeError(
            "a watermark is looked for in texts that are there; call detect_watermark outside jit."
        )
    if known.dtype.kind not in "iu":
        raise TypeError(f"`tokens` must be integers, got {known.dtype}; give what `sample` wrote.")
    if known.ndim != 2:
        raise ValueError(f"`tokens` must be [num, length], got shape {known.shape}; one row for each text.")
    present = np.ones(known.shape, bool) if mask is None else np.asarray(mask)
    if present.dtype != bool:
        raise TypeError(
            f"`mask` must be true or false, got {present.dtype}; for example tokens != pad_token."
        )
    if present.shape != known.shape:
        raise ValueError(
            f"`mask` must have the shape of `tokens`, {known.shape}, got {present.shape}; one flag a token."
        )
    return known.astype(np.int32), present


def _bits_of(secret: ArrayLike, grams: Int[np.ndarray, "num size"]) -> np.ndarray:
    """Return the bits of k-grams, uint32 [num]; a power of two at a time, so that few shapes are compiled."""
    num = len(grams)
    padded = jnp.asarray(np.pad(grams, ((0, (1 << (num - 1).bit_length()) - num), (0, 0))))
    return np.asarray(_compiled_bits(jnp.asarray(secret, jnp.uint32), padded[:, :-1], padded[:, -1:]))[
        :num, 0
    ]


def _bits(
    secret: ArrayLike, context: Int[Array, "rows window"], words: Int[Array, "some num"]
) -> UInt32[Array, "rows num"]:
    """Return what the secret makes of each context with each of its words; `words` has a row for each context, or one.

    Two words of state take in one token after the other: order counts, and no table over contexts is held.
    """
    first = jnp.broadcast_to(jnp.asarray(secret).astype(jnp.uint32), (context.shape[0], 1))
    one, two = _mixed(first + jnp.uint32(_START)), _mixed(first ^ jnp.uint32(_OTHER))
    for place in range(context.shape[1]):
        one = _mixed(one + context[:, place, None].astype(jnp.uint32))
        two = _mixed(two ^ one)
    return _mixed(two + _mixed(one ^ words.astype(jnp.uint32)))


def _mixed(x: UInt32[Array, "rows num"]) -> UInt32[Array, "rows num"]:
    """Return words each of whose bits depends on every bit of x, one to one.

    Reference: Wellons (2018), hash-prospector, triple32.
    """
    for shift, factor in ((17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB)):
        x = (x ^ (x >> jnp.uint32(shift))) * jnp.uint32(factor)
    return x ^ (x >> jnp.uint32(14))


_compiled_bits = jax.jit(_bits)
