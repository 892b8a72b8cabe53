"""Log-likelihoods of text under an OPT: for scoring, for perplexity by the published protocols, and for training.

`weighted_nll` is the one place where logits of a whole batch would be held: it goes through rows in chunks, and
makes its gradient on the way, so that neither pass keeps more than one chunk.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from collapse_jax.networks.opt.config import OPTConfig
from collapse_jax.networks.opt.model import hidden_states, logits, with_mask
from collapse_jax.types import Array, ArrayLike, Key, Params
from collapse_jax.validation import check_count

CHUNK = 512  # rows of logits at a time: of a vocabulary of 2,048 they fit a core's cache

_MOST_ROWS = 1024  # of tokens that are scored at a time


class Texts(NamedTuple):
    """A minibatch of texts.

    Attributes:
        tokens: padded left or right, or not at all.
        mask: true where there is text.
        weight: of each text in the loss, 1 on average over the batch.
    """

    tokens: Int[Array, "batch length"]
    mask: Bool[Array, "batch length"]
    weight: Float[Array, " batch"]


class LogLoss(NamedTuple):
    """How badly a model predicts a text.

    Attributes:
        nats: -log p, summed over the predicted tokens.
        num_tokens: that were predicted.
    """

    nats: Float[Array, ""]
    num_tokens: Int[Array, ""]

    @property
    def per_token(self) -> Array:
        """Nats a token; its exponential is the perplexity."""
        return self.nats / self.num_tokens

    @property
    def perplexity(self) -> Array:
        """Exp of the mean nats a token."""
        return jnp.exp(self.per_token)

    def per_byte(self, num_bytes: int) -> Array:
        """Return nats a byte, which compares between vocabularies.

        Args:
            num_bytes: of the predicted text.
        """
        return self.nats / num_bytes


def token_log_probs(
    config: OPTConfig,
    params: Params,
    tokens: Int[ArrayLike, "batch length"],
    mask: Bool[ArrayLike, "batch length"] | None = None,
) -> Float[Array, "batch length-1"]:
    """Return log p of every token but the first given those before it, nats; 0 where there is no text.

    Args:
        config: of the model.
        params: its weights.
        tokens: texts.
        mask: true where there is text; default everywhere.

    Raises:
        ValueError: a text longer than the model's positions.
    """
    tokens, mask = with_mask(tokens, mask)
    hidden = hidden_states(config, params, tokens, mask)[:, :-1]
    counted = mask[:, 1:] & mask[:, :-1]
    rows = hidden.reshape(-1, hidden.shape[-1])
    nll = jax.lax.map(
        lambda row: _nll(config, params, row[0][None], row[1][None])[0],
        (rows, tokens[:, 1:].reshape(-1)),
        batch_size=CHUNK,
    )
    return jnp.where(counted, -nll.reshape(counted.shape), 0.0)


def sequence_log_probs(
    config: OPTConfig,
    params: Params,
    tokens: Int[ArrayLike, "batch length"],
    mask: Bool[ArrayLike, "batch length"] | None = None,
) -> Float[Array, " batch"]:
    """Return log p of each text given its first token, nats.

    Args:
        config: of the model.
        params: its weights.
        tokens: texts.
        mask: true where there is text; default everywhere.

    Raises:
        ValueError: a text longer than the model's positions.
    """
    return jnp.sum(token_log_probs(config, params, tokens, mask), axis=1)


def block_log_loss(
    config: OPTConfig,
    params: Params,
    stream: Int[ArrayLike, " total"],
    length: int = 64,
    batch_size: int = 32,
) -> LogLoss:
    """Return the log-loss of a text cut into blocks; a block's first token is not predicted.

    Args:
        config: of the model.
        params: its weights.
        stream: tokens of the whole text; what is left after the last block is not looked at.
        length: of a block, tokens; the published protocol has 64.
        batch_size: most blocks at a time.

    Raises:
        ValueError: the text is shorter than a block, or a block longer than the model's positions.
    """
    return sliding_log_loss(config, params, stream, length, length - 1, batch_size, step=length)


def sliding_log_loss(
    config: OPTConfig,
    params: Params,
    stream: Int[ArrayLike, " total"],
    length: int,
    stride: int,
    batch_size: int = 32,
    *,
    step: int | None = None,
) -> LogLoss:
    """Return the log-loss of a text seen through a window that moves by `stride` tokens.

    Each window predicts its last `stride` tokens only, which thus have at least `length - stride` tokens before
    them; the first window predicts all of its own.

    Args:
        config: of the model.
        params: its weights.
        stream: tokens of the whole text; what is left after the last window is not looked at.
        length: of the window, tokens.
        stride: tokens that a window predicts; less than `length`.
        batch_size: most windows at a time.
        step: by how much the window moves; default `stride`.

    Raises:
        ValueError: the text is shorter than a window, `stride` is not below `length`, or a window is longer than the
            model's positions.
    """
    check_count("length", length, minimum=2)
    check_count("stride", stride)
    if stride >= length:
        raise ValueError(f"`stride` must be less than `length`, got {stride} and {length}; lower it.")
    text = np.asarray(stream)
    if text.shape[0] < length:
        raise ValueError(
            f"a text of {text.shape[0]} tokens is shorter than one block of {length}; give more text, or "
            "shorter blocks."
        )
    starts = np.arange(0, text.shape[0] - length + 1, stride if step is None else step)
    windows = text[starts[:, None] + np.arange(length)]
    counted = _sliding(starts, length, stride)
    total = jax.jit(partial(_windows_nll, config, batch_size=batch_size))(params, windows, counted[None])
    return LogLoss(total[0], jnp.asarray(int(counted.sum())))


def protocol_log_losses(
    config: OPTConfig, params: Params, stream: Int[ArrayLike, " total"], block: int, long: int, batch_size: int = 32
) -> tuple[LogLoss, LogLoss, LogLoss]:
    """Return the log-losses of a text in blocks, in long blocks, and through a long window that moves by half of it.

    What a window's first half predicts is what that half predicts as a block, and every other window is a long block:
    where a block is half as long as the window, one pass over the text gives all three.

    Args:
        config: of the model.
        params: its weights.
        stream: tokens of the whole text.
        block: length of a block, tokens.
        long: length of a long block and of the window, tokens.
        batch_size: most windows at a time.

    Raises:
        ValueError: the text is shorter than a long block, or that is longer than the model's positions.
    """
    text, step = np.asarray(stream), long // 2
    if long % 2 or block != step or text.shape[0] < long:
        return (
            block_log_loss(config, params, text, block, batch_size),
            block_log_loss(config, params, text, long, batch_size),
            sliding_log_loss(config, params, text, long, step, batch_size),
        )
    starts = np.arange(0, text.shape[0] - block + 1, block)  # the last window is half empty
    windows = np.pad(text, (0, long))[starts[:, None] + np.arange(long)]
    whole = (starts + long <= text.shape[0])[:, None]
    predicted = np.arange(1, long)[None]
    counted = np.stack([
        (predicted < block) & (starts >= 0)[:, None],
        whole & (starts % long == 0)[:, None] & (predicted > 0),
        whole & _sliding(starts, long, step),
    ])  # fmt: skip
    totals = jax.jit(partial(_windows_nll, config, batch_size=batch_size))(params, windows, counted)
    blocks, long_blocks, window = (LogLoss(totals[i], jnp.asarray(int(counted[i].sum()))) for i in range(3))
    return blocks, long_blocks, window


def _sliding(starts: np.ndarray, length: int, stride: int) -> np.ndarray:
    """Return which predictions of windows count, [windows, length - 1]: the last `stride`, and all of the first."""
    return (starts == 0)[:, None] | (np.arange(1, length) >= length - stride)[None]


def language_loss(config: OPTConfig) -> Callable[[Key, Params, Texts], tuple[Array, dict[str, Array]]]:
    """Return the loss of `training.train` for an OPT: mean nats a token, each text weighted.

    The loss of a minibatch is sum(weight * nats) over the texts, divided by how many tokens are predicted. It is the
    mean of its parts' losses (`num_parts` of `training.train`) where every part predicts as many tokens: padded texts
    should be sorted or dealt out by length first. Weights are meant to be 1 on average over the batch. Dropout is on
    where `config` has any.

    Args:
        config: of the model.
    """
    drops = max(config.dropout, config.attention_dropout) > 0

    def loss(key: Key, params: Params, texts: Texts) -> tuple[Array, dict[str, Array]]:
        hidden = hidden_states(config, params, texts.tokens, texts.mask, key if drops else None)[:, :-1]
        counted = (texts.mask[:, 1:] & texts.mask[:, :-1]).astype(hidden.dtype)
        weight = counted * texts.weight[:, None].astype(hidden.dtype)
        flat = hidden.reshape(-1, hidden.shape[-1])
        embedding = params["tokens"]["embedding"]
        nats = weighted_nll(config, flat, embedding, texts.tokens[:, 1:].reshape(-1), weight.reshape(-1))
        value = nats / jnp.maximum(jnp.sum(counted), 1.0)
        return value, {"loss": value}

    return loss


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def weighted_nll(
    config: OPTConfig,
    hidden: Float[Array, "rows embed"],
    embedding: Float[Array, "vocab embed"],
    targets: Int[Array, " rows"],
    weight: Float[Array, " rows"],
) -> Float[Array, ""]:
    """Return the sum of weight * -log p(target), nats, without the logits of all rows at once.

    Only the derivatives by `hidden` and `embedding` are offered.

    Args:
        config: of the model.
        hidden: what the head reads.
        embedding: of tokens, which is the head.
        targets: the tokens that came.
        weight: of each row; 0 drops it.
    """

    def chunk(total: Array, rows: tuple) -> tuple[Array, None]:
        hidden, targets, weight = rows
        nll = _nll(config, {"tokens": {"embedding": embedding}}, hidden, targets)
        return total + jnp.sum(weight * nll), None

    zero = jnp.zeros((), jnp.promote_types(hidden.dtype, jnp.float32))
    return jax.lax.scan(chunk, zero, _chunks(hidden, targets, weight))[0]


def _forward(config: OPTConfig, hidden: Array, embedding: Array, targets: Array, weight: Array) -> tuple:
    """Return the sum and its gradients: d/dlogits = weight * (p - one at the target), chunk by chunk."""

    def chunk(carry: tuple[Array, Array], rows: tuple) -> tuple[tuple[Array, Array], Array]:
        total, by_embedding = carry
        hidden, targets, weight = rows
        scores = logits(config, {"tokens": {"embedding": embedding}}, hidden)
        log_total = jax.nn.logsumexp(scores, axis=-1, keepdims=True)
        hit = jnp.arange(scores.shape[-1])[None] == targets[:, None]
        nll = log_total[:, 0] - jnp.sum(jnp.where(hit, scores, 0.0), axis=-1)
        by_scores = weight[:, None] * (jnp.exp(scores - log_total) - hit)
        narrow = by_scores.astype(hidden.dtype)
        by_hidden = jnp.matmul(narrow, embedding.astype(hidden.dtype), precision=config.precision)
        more = jnp.matmul(
            narrow.T, hidden, precision=config.precision, preferred_element_type=embedding.dtype
        )
        return (total + jnp.sum(weight * nll), by_embedding + more), by_hidden

    zero = jnp.zeros((), jnp.promote_types(hidden.dtype, jnp.float32))
    (total, by_embedding), by_hidden = jax.lax.scan(
        chunk, (zero, jnp.zeros_like(embedding)), _chunks(hidden, targets, weight)
    )
    by_hidden = by_hidden.reshape(-1, hidden.shape[1])[: hidden.shape[0]]
    return total, (by_hidden, by_embedding)


def _backward(config: OPTConfig, gradients: tuple[Array, Array], cotangent: Array) -> tuple:
    by_hidden, by_embedding = gradients
    return cotangent.astype(by_hidden.dtype) * by_hidden, cotangent * by_embedding, None, None


weighted_nll.defvjp(_forward, _backward)


def _chunks(*rows: Array) -> tuple[Array, ...]:
    """Return arrays of one length as [num_chunks, rows of a chunk, ...], with rows of zeros at the end."""
    size = min(CHUNK, rows[0].shape[0])

    def cut(rows: Array) -> Array:
        padded = jnp.pad(rows, ((0, -rows.shape[0] % size), *((0, 0),) * (rows.ndim - 1)))
        return padded.reshape(-1, size, *rows.shape[1:])

    return tuple(cut(array) for array in rows)


def _nll(config: OPTConfig, params: Params, hidden: Array, targets: Array) -> Array:
    """Return -log p(target) of each row, nats."""
    scores = logits(config, params, hidden)
    hit = jnp.arange(scores.shape[-1])[None] == targets[:, None]
    return jax.nn.logsumexp(scores, axis=-1) - jnp.sum(jnp.where(hit, scores, 0.0), axis=-1)


def _windows_nll(
    config: OPTConfig, params: Params, windows: Array, counted: Array, *, batch_size: int
) -> Array:
    """Return the summed nats of the predictions that count in all windows, for each of the kinds of `counted`.

    Windows are scored so many at a time as fit a core's cache with what the layers make of them.

    Args:
        config: of the model.
        params: its weights.
        windows: tokens, [windows, length].
        counted: [kinds, windows, length - 1].
        batch_size: most windows at a time.
    """
    (num, length), kinds = windows.shape, counted.shape[0]
    size = max(min(batch_size, num, _MOST_ROWS // length), 1)
    missing = -num % size  # windows of which nothing counts
    windows = jnp.pad(windows, ((0, missing), (0, 0)))
    counted = jnp.pad(counted, ((0, 0), (0, missing), (0, 0)))
    wide = jnp.promote_types(config.dtype, jnp.float32)

    def add(total: Array, batch: tuple[Array, Array]) -> tuple[Array, None]:
        tokens, counts = batch
        hidden = hidden_states(config, params, tokens)[:, :-1]
        nats = jax.lax.map(
            lambda rows: _nll(config, params, *rows),
            _chunks(hidden.reshape(-1, hidden.shape[-1]), tokens[:, 1:].reshape(-1)),
        ).reshape(-1)[: counts.shape[0]]
        return total + jnp.matmul(nats, counts.astype(wide), precision=jax.lax.Precision.HIGHEST), None

    batches = windows.reshape(-1, size, length), counted.reshape(kinds, -1, size * (length - 1)).transpose(1, 2, 0)
    return jax.lax.scan(add, jnp.zeros(kinds, wide), batches)[0]
