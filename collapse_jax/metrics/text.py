"""What is recorded of a generation of a language model: how well it predicts real text, and what it writes.

A snapshot's params must have `weights`, as `models.language` has. Log-losses are in nats.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from collapse_jax.core.protocol import Metric, Snapshot
from collapse_jax.networks.in_turn import in_turn
from collapse_jax.networks.opt.config import OPTConfig
from collapse_jax.networks.opt.model import hidden_states, logits
from collapse_jax.networks.opt.scoring import protocol_log_losses, token_log_probs
from collapse_jax.types import Array, ArrayLike, Key, Params
from collapse_jax.validation import check_count

DIRECTIONS = ("from the truth", "of what was written")
PROTOCOLS = ("blocks of 64", "long blocks", "sliding window")
_BATCH = 64  # blocks scored at a time


def log_loss_metric(
    name: str, config: OPTConfig, stream: Int[ArrayLike, " total"], block: int = 64
) -> Metric:
    """Return the log-loss of a real text by three protocols, nats a token: `PROTOCOLS`.

    The published protocol has blocks of 64; long blocks fill the model's positions; the window does, too, and moves
    by half its length.

    Args:
        name: of the metric.
        config: of the model.
        stream: tokens of the text.
        block: length of a short block.

    Raises:
        ValueError: the text is shorter than a long block.
    """
    text, long = np.asarray(stream), min(config.max_positions, 1024)

    @in_turn
    def scored(weights: Params) -> Array:
        scores = protocol_log_losses(config, weights, text, block, long, _BATCH)
        return jnp.stack([score.per_token for score in scores])

    return Metric(name, ("protocol",), "nats a token", lambda key, s: scored(s.params.weights))


def generated_nats(config: OPTConfig) -> Metric:
    """Return the metric `generated_nats`: nats a token of each generated block under model 0, block by block."""

    def measure(key: Key, snapshot: Snapshot) -> Array:
        return _block_nats(config, snapshot.origin.weights, snapshot.synthetic.x)

    return Metric("generated_nats", ("text",), "nats a token", measure)


def divergences(config: OPTConfig, truth: Params, held_out: Int[ArrayLike, "num_blocks length"]) -> Metric:
    """Return the metric `divergence` from a model that is the truth, nats a token, over all next tokens exactly.

    Its two directions: KL(truth || model g) on text of the truth, and KL(model g || truth) on what model g wrote.

    Args:
        config: of both models.
        truth: weights of the true one.
        held_out: text that it wrote.
    """
    blocks = jnp.asarray(held_out)

    def log_p(weights: Params, block: Array) -> Array:
        hidden = hidden_states(config, weights, block[None])
        return jax.nn.log_softmax(logits(config, weights, hidden)[0])

    def divergence(one: Params, other: Params, texts: Array) -> Array:
        def of_block(block: Array) -> Array:
            log_one = log_p(one, block)
            return jnp.mean(jnp.sum(jnp.exp(log_one) * (log_one - log_p(other, block)), axis=-1))

        return jnp.mean(jax.lax.map(of_block, texts, batch_size=_BATCH))

    def measure(key: Key, snapshot: Snapshot) -> Array:
        weights = snapshot.params.weights
        own = divergence(weights, truth, snapshot.synthetic.x)
        return jnp.stack([divergence(truth, weights, blocks), own])

    return Metric("divergence", ("direction",), "nats a token", measure)


def band_log_probs(
    config: OPTConfig,
    held_out: Int[ArrayLike, "num_blocks length"],
    training: Int[ArrayLike, "*shape"],
    num_bands: int = 5,
) -> Metric:
    """Return the metric `band_log_probs`: mean log p of real held-out tokens, by how common they are.

    Bands hold equally many of the held-out tokens, from the rarest in the training text to the commonest.

    Args:
        config: of the model.
        held_out: real blocks.
        training: tokens of the real training text, which say how common a token is.
        num_bands: how many.
    """
    check_count("num_bands", num_bands)
    blocks = np.asarray(held_out)
    counts = np.bincount(np.asarray(training).ravel(), minlength=config.vocab_size)
    common = counts[blocks[:, 1:]]
    edges = np.quantile(common, np.linspace(0, 1, num_bands + 1)[1:-1])
    band = np.searchsorted(edges, common, side="right")
    share = np.stack([band == index for index in range(num_bands)]).astype(np.float32)
    share /= np.maximum(share.sum(axis=(1, 2), keepdims=True), 1)

    def measure(key: Key, snapshot: Snapshot) -> Array:
        scores = -_all_nats(config, snapshot.params.weights, jnp.asarray(blocks))
        return jnp.einsum("bnl,nl->b", share, scores, precision=jax.lax.Precision.HIGHEST)

    return Metric("band_log_probs", ("band",), "nats", measure)


def forgotten_words(training: Int[ArrayLike, "num_blocks length"]) -> Metric:
    """Return the metric `forgotten`: the share of the real text's different tokens that a generation never writes.

    Args:
        training: the blocks that model 0 learnt; as many as a generation writes, so that the shares compare.
    """
    known = np.unique(np.asarray(training))

    def measure(key: Key, snapshot: Snapshot) -> Array:
        return 1 - jnp.mean(jnp.isin(known, snapshot.synthetic.x))

    return Metric("forgotten", (), "1", measure)


def diversity_metrics(vocab_size: int, num_shown: int = 4) -> tuple[Metric, ...]:
    """Return what a generation's own words say.

    Args:
        vocab_size: of the model.
        num_shown: blocks that are kept as they are.

    Returns:
        `vocabulary` (different tokens written), `entropy` of the tokens' frequencies (nats), `distinct` (share of
        different ones among all pairs, triples, quadruples), `repetition` (share of a block's quadruples that were in
        the block before) and `texts` (tokens of the first blocks).
    """

    def frequencies(snapshot: Snapshot) -> Array:
        tokens = snapshot.synthetic.x.reshape(-1)
        return jnp.zeros(vocab_size).at[tokens].add(1.0) / tokens.shape[0]

    def entropy(key: Key, snapshot: Snapshot) -> Array:
        share = frequencies(snapshot)
        return -jnp.sum(jax.scipy.special.xlogy(share, share))

    def distinct(key: Key, snapshot: Snapshot) -> Array:
        shares = []
        for order in (2, 3, 4):
            codes = jnp.sort(_ngram_codes(snapshot.synthetic.x, order).reshape(-1))
            shares.append((1 + jnp.sum(codes[1:] != codes[:-1])) / codes.shape[0])
        return jnp.stack(shares)

    def repetition(key: Key, snapshot: Snapshot) -> Array:
        codes = jnp.sort(_ngram_codes(snapshot.synthetic.x, 4), axis=1)
        return jnp.mean(codes[:, 1:] == codes[:, :-1])

    return (
        Metric("vocabulary", (), "tokens", lambda key, s: jnp.sum(frequencies(s) > 0)),
        Metric("entropy", (), "nats", entropy),
        Metric("distinct", ("order",), "1", distinct),
        Metric("repetition", (), "1", repetition),
        Metric("texts", ("sample", "place"), "token", lambda key, s: s.synthetic.x[:num_shown]),
    )


def _ngram_codes(tokens: Int[Array, "blocks length"], order: int) -> Array:
    """Return a 32-bit code of every n-gram; two different ones share a code once in 4e9 pairs."""
    length = tokens.shape[1] - order + 1
    code = jnp.zeros((tokens.shape[0], length), jnp.uint32)
    for place in range(order):
        code = (code ^ tokens[:, place : place + length].astype(jnp.uint32)) * jnp.uint32(2654435761)
        code = code ^ (code >> 15)
    return code


def _block_nats(config: OPTConfig, weights: dict, blocks: Array) -> Float[Array, " blocks"]:
    """Return the mean nats a token of each block, given its first token."""
    return jnp.mean(_all_nats(config, weights, blocks), axis=1)


def _all_nats(config: OPTConfig, weights: dict, blocks: Array) -> Float[Array, "blocks places"]:
    """Return -log p of every token but the first, some blocks at a time."""

    @in_turn
    def scored(weights: Params, blocks: Array) -> Array:
        score = lambda block: -token_log_probs(config, weights, block[None])[0]  # noqa: E731
        return jax.lax.map(score, blocks, batch_size=_BATCH)

    return scored(weights, blocks)
