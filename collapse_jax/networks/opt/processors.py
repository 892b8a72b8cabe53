"""What stands between a model's scores and the choice of a token, one function each.

The semantics are those of transformers' `generate`: scores are logits when tokens are sampled or chosen
greedily, log-probabilities in a beam search; what is forbidden has score -inf.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from collapse_jax.types import Array, ArrayLike, Key

_CHUNK = 64  # scores that share a maximum in `top_k`


def forbid(scores: Float[Array, "*rows vocab"], token: int, when: ArrayLike) -> Float[Array, "*rows vocab"]:
    """Return scores in which `token` is impossible, if `when`."""
    banned = (jnp.arange(scores.shape[-1]) == token) & when
    return jnp.where(banned, -jnp.inf, scores)


def penalise_repetition(
    scores: Float[Array, "*rows vocab"], seen: Bool[Array, "*rows vocab"], penalty: ArrayLike
) -> Float[Array, "*rows vocab"]:
    """Return scores in which a seen token's is divided by `penalty` if positive, multiplied if negative.

    Args:
        scores: logits or log-probabilities.
        seen: true where a token occurs in the prompt or in what was generated.
        penalty: 1 changes nothing; more than 1 makes repetition rarer.

    Reference: Keskar et al. (2019), CTRL, section 4.1.
    """
    return jnp.where(seen, jnp.where(scores < 0, scores * penalty, scores / penalty), scores)


def forbid_repeated_ngrams(
    scores: Float[Array, "rows vocab"], tokens: Int[Array, "rows length"], length: ArrayLike, size: int
) -> Float[Array, "rows vocab"]:
    """Return scores in which a token that would end an n-gram that is already there is impossible.

    Args:
        scores: of the next token.
        tokens: prompt and generated tokens; those from `length` on are not looked at.
        length: how many tokens there are.
        size: n.
    """
    num_windows = tokens.shape[1] - size + 1
    if num_windows < 1:
        return scores
    # the last n - 1 tokens; where there are fewer than n tokens no window is complete and none counts
    suffix = jax.lax.dynamic_slice_in_dim(tokens, jnp.maximum(length - size + 1, 0), max(size - 1, 1), axis=1)
    repeated = jnp.broadcast_to(jnp.arange(num_windows) + size <= length, (tokens.shape[0], num_windows))
    for place in range(size - 1):
        repeated &= tokens[:, place : place + num_windows] == suffix[:, place, None]
    rows = jnp.arange(tokens.shape[0])[:, None]
    banned = jnp.zeros(scores.shape, bool).at[rows, tokens[:, size - 1 :]].max(repeated)
    return jnp.where(banned, -jnp.inf, scores)


def keep_top_k(scores: Float[Array, "rows vocab"], k: int) -> Float[Array, "rows vocab"]:
    """Return scores in which all but the k largest are impossible; what equals the k-th stays."""
    smallest = top_k(scores, min(k, scores.shape[-1]))[0][..., -1:]
    return jnp.where(scores < smallest, -jnp.inf, scores)


def keep_top_p(scores: Float[Array, "rows vocab"], p: ArrayLike) -> Float[Array, "rows vocab"]:
    """Return scores of the nucleus: the most probable tokens whose probabilities first reach p.

    Reference: Holtzman et al. (2020), "The Curious Case of Neural Text Degeneration".
    """
    ordered = jnp.sort(scores, axis=-1)
    below = jnp.cumsum(jax.nn.softmax(ordered, axis=-1), axis=-1)
    dropped = jnp.sum(below <= 1 - p, axis=-1, keepdims=True)
    # the most probable token stays, whatever p is
    last = jnp.minimum(dropped, scores.shape[-1] - 1)
    return jnp.where(scores < jnp.take_along_axis(ordered, last, axis=-1), -jnp.inf, scores)


def warp(
    scores: Float[Array, "rows vocab"], temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> Float[Array, "rows vocab"]:
    """Return scores to draw from: over `temperature`, then the k largest, then the nucleus of these.

    Args:
        scores: logits.
        temperature: below 1 the probable becomes more so.
        top_k: 0 means all.
        top_p: 1 means all.
    """
    scores = scores / temperature
    scores = keep_top_k(scores, top_k) if top_k else scores
    return keep_top_p(scores, top_p) if top_p < 1.0 else scores


def draw(key: Key, scores: Float[Array, "rows vocab"]) -> Int[Array, " rows"]:
    """Return a token for each row, with probability softmax(scores); one uniform number a row.

    The inverse of the distribution function is found in two steps, among blocks of tokens and within one: a running
    sum over the whole vocabulary, or a random number for each of its tokens, would cost more than the model.
    """
    rows, vocab = scores.shape
    size = max(int(vocab**0.5), 1)
    probs = jnp.exp(scores - jnp.max(scores, axis=-1, keepdims=True))
    blocks = jnp.pad(probs, ((0, 0), (0, -vocab % size))).reshape(rows, -1, size)
    mass = jnp.sum(blocks, axis=-1)
    target = jax.random.uniform(key, (rows, 1), scores.dtype) * jnp.sum(mass, axis=-1, keepdims=True)
    block, rest = _invert(mass, target)
    within, _ = _invert(jnp.take_along_axis(blocks, block[:, :, None], axis=1)[:, 0], rest)
    return (block * size + within)[:, 0].astype(jnp.int32)


def top_k(x: Float[Array, "rows num"], k: int) -> tuple[Float[Array, "rows k"], Int[Array, "rows k"]]:
    """Return the k largest of each row, in order, and their places; of equals the first.

    The k largest lie in the k chunks of largest maxima, and a maximum is much cheaper than a sort.
    """
    rows, num = x.shape
    if num <= 2 * k * _CHUNK:
        values, places = jax.lax.top_k(x, k)
        return values, places
    lowest = jnp.asarray(-jnp.inf, x.dtype)
    chunks = jax.lax.pad(x, lowest, ((0, 0, 0), (0, -num % _CHUNK, 0))).reshape(rows, -1, _CHUNK)
    best = jnp.sort(
        jax.lax.top_k(jnp.max(chunks, axis=-1), k)[1], axis=-1
    )  # in order, so that the first of equals wins
    values, places = jax.lax.top_k(jnp.take_along_axis(chunks, best[:, :, None], axis=1).reshape(rows, -1), k)
    chunk = jnp.take_along_axis(best, places // _CHUNK, axis=-1)
    return values, chunk * _CHUNK + places % _CHUNK


def _invert(mass: Float[Array, "rows num"], target: Float[Array, "rows 1"]) -> tuple[Array, Array]:
    """Return where the running sum of `mass` passes `target`, [rows, 1], and what of the target is left there."""
    sums = jnp.cumsum(mass, axis=-1)
    passed = jnp.sum(sums <= target, axis=-1, keepdims=True)
    # rounding may carry the target past the end, and nothing of mass 0 may be chosen
    last = jnp.max(jnp.where(mass > 0, jnp.arange(mass.shape[-1])[None], 0), axis=-1, keepdims=True)
    place = jnp.minimum(passed, last)
    before = jnp.take_along_axis(sums, place, axis=-1) - jnp.take_along_axis(mass, place, axis=-1)
    return place, jnp.maximum(target - before, 0.0)
