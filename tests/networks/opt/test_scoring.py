"""Log-likelihoods of text against their definition, and the loss whose gradient is made in chunks."""

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_opt import SMALL, random_params

from collapse_jax.networks.opt import scoring
from collapse_jax.networks.opt.model import hidden_states, logits
from collapse_jax.networks.opt.scoring import (
    Texts,
    block_log_loss,
    language_loss,
    protocol_log_losses,
    sequence_log_probs,
    sliding_log_loss,
    token_log_probs,
    weighted_nll,
)

CONFIG = replace(SMALL, embed_size=12, dropout=0.0)
PARAMS = random_params(CONFIG, scale=0.5)
RNG = np.random.default_rng(0)
TOKENS = jnp.asarray(RNG.integers(3, CONFIG.vocab_size, (5, 8)))


@jax.jit
def reference(tokens, mask):
    """log p of tokens 1, 2, ... by the definition."""
    scores = jax.nn.log_softmax(logits(CONFIG, PARAMS, hidden_states(CONFIG, PARAMS, tokens, mask)))
    return jnp.take_along_axis(scores[:, :-1], tokens[:, 1:, None], axis=2)[..., 0]


def test_token_log_probs_are_log_softmax_at_the_token():
    everywhere = jnp.ones(TOKENS.shape, bool)
    found = token_log_probs(CONFIG, PARAMS, TOKENS)
    assert np.allclose(found, reference(TOKENS, everywhere), atol=1e-5)
    assert np.allclose(sequence_log_probs(CONFIG, PARAMS, TOKENS), found.sum(axis=1), atol=1e-5)


def test_padding_has_no_likelihood():
    """A text padded on either side has the log-probabilities of the text alone."""
    alone = token_log_probs(CONFIG, PARAMS, TOKENS[:, :5])
    for before, after in ((0, 3), (3, 0)):
        pad = ((0, 0), (before, after))
        tokens = jnp.pad(TOKENS[:, :5], pad, constant_values=CONFIG.pad_token)
        mask = jnp.pad(jnp.ones((5, 5), bool), pad)
        found = np.asarray(token_log_probs(CONFIG, PARAMS, tokens, mask))
        assert np.allclose(found[:, before : before + 4], alone, atol=1e-5)
        assert np.isclose(found.sum(), alone.sum(), atol=1e-4)


def test_blocks_are_scored_one_by_one():
    stream = RNG.integers(3, CONFIG.vocab_size, 37)
    found = block_log_loss(CONFIG, PARAMS, stream, length=7, batch_size=2)
    blocks = jnp.asarray(stream[:35].reshape(5, 7))
    expected = -reference(blocks, jnp.ones(blocks.shape, bool))
    assert int(found.num_tokens) == 30
    assert np.isclose(found.nats, expected.sum(), rtol=1e-5)
    assert np.isclose(found.perplexity, np.exp(expected.mean()), rtol=1e-5)
    assert np.isclose(found.per_byte(100), expected.sum() / 100, rtol=1e-5)


@pytest.mark.parametrize("stride", [1, 3, 7])
def test_a_sliding_window_predicts_each_token_once(stride):
    """Against a loop over tokens, each given all that its window holds before it."""
    length = 8
    stream = RNG.integers(3, CONFIG.vocab_size, 30)
    found = sliding_log_loss(CONFIG, PARAMS, stream, length, stride)
    nats = []
    for start in range(0, 30 - length + 1, stride):
        window = jnp.asarray(stream[start : start + length])[None]
        each = -reference(window, jnp.ones(window.shape, bool))[0]
        nats += list(each if start == 0 else each[-stride:])
    assert int(found.num_tokens) == len(nats)
    assert np.isclose(found.nats, sum(nats), rtol=1e-5)


@pytest.mark.parametrize("total", [8, 9, 11, 12, 15, 16, 50])
def test_three_protocols_in_one_pass(total):
    """A window of 8 by 4, long blocks of 8, blocks of 4; a block of 3 takes passes of its own."""
    stream = RNG.integers(3, CONFIG.vocab_size, total)
    for block in (4, 3):
        apart = (
            block_log_loss(CONFIG, PARAMS, stream, block), block_log_loss(CONFIG, PARAMS, stream, 8),
            sliding_log_loss(CONFIG, PARAMS, stream, 8, 4),
        )  # fmt: skip
        for found, alone in zip(protocol_log_losses(CONFIG, PARAMS, stream, block, 8, batch_size=3), apart):
            assert int(found.num_tokens) == int(alone.num_tokens)
            assert np.isclose(found.nats, alone.nats, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: block_log_loss(CONFIG, PARAMS, np.arange(3), 5),
            "a text of 3 tokens is shorter than one block",
        ),
        (lambda: sliding_log_loss(CONFIG, PARAMS, np.arange(9), 5, 5), "`stride` must be less than `length`"),
        (
            lambda: block_log_loss(CONFIG, PARAMS, np.arange(99), length=40),
            "longer than the model's 10 positions",
        ),
        (lambda: block_log_loss(CONFIG, PARAMS, np.arange(99), length=1), "`length` must be at least 2"),
    ],
)
def test_what_cannot_be_scored_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.parametrize("chunk", [3, 7, 512])
def test_the_chunked_gradient_is_the_gradient(chunk, monkeypatch):
    """Value and derivatives by hidden and embedding, against autodiff of the definition; 23 rows, so chunks are odd."""
    monkeypatch.setattr(scoring, "CHUNK", chunk)
    keys = jax.random.split(jax.random.key(0), 3)
    hidden = jax.random.normal(keys[0], (23, 12))
    embedding = jax.random.normal(keys[1], (24, 12))
    targets = jax.random.randint(keys[2], (23,), 0, 24)
    weight = jnp.arange(23.0) % 4

    def plain(hidden, embedding):
        scores = jax.nn.log_softmax(hidden @ embedding.T)
        return -jnp.sum(weight * scores[jnp.arange(23), targets])

    def chunked(hidden, embedding):
        return weighted_nll(CONFIG, hidden, embedding, targets, weight)

    value, gradients = jax.value_and_grad(lambda *a: 3.0 * chunked(*a), argnums=(0, 1))(hidden, embedding)
    expected, expected_gradients = jax.value_and_grad(lambda *a: 3.0 * plain(*a), argnums=(0, 1))(
        hidden, embedding
    )
    assert np.isclose(value, expected, rtol=1e-5) and np.isclose(
        chunked(hidden, embedding), expected / 3, rtol=1e-5
    )
    for ours, reference in zip(gradients, expected_gradients):
        assert np.allclose(ours, reference, atol=2e-5)


def test_logits_of_a_whole_batch_are_nowhere(monkeypatch):
    """45 rows are predicted; no array of a compiled gradient holds more than the 16 of a chunk for every token."""
    monkeypatch.setattr(scoring, "CHUNK", 16)
    config = replace(CONFIG, vocab_size=1009)  # a number that nothing else has
    params = random_params(config)
    texts = Texts(jnp.pad(TOKENS, ((0, 0), (0, 2))), jnp.ones((5, 10), bool), jnp.ones(5))
    gradient = jax.jit(jax.grad(language_loss(config), argnums=1, has_aux=True))
    text = gradient.lower(jax.random.key(0), params, texts).compile().as_text()
    shapes = {shape for shape in re.findall(r"f32\[([\d,]*)\]", text) if "1009" in shape.split(",")}
    rows = {np.prod([int(n) for n in shape.split(",")]) // 1009 for shape in shapes}
    assert 16 in rows and max(rows) == 16


def test_weights_and_masks_of_the_loss():
    """Weight 2 and 0 is the first text twice; padding is not learnt; the value is nats a token."""
    loss = jax.jit(language_loss(CONFIG))
    mask = jnp.ones((5, 8), bool).at[1, 4:].set(False)
    key = jax.random.key(0)

    def value(tokens, mask, weight):
        return loss(key, PARAMS, Texts(tokens, mask, jnp.asarray(weight)))[0]

    each = -token_log_probs(CONFIG, PARAMS, TOKENS, mask)
    assert np.isclose(value(TOKENS, mask, [1.0] * 5), each.sum() / 31, rtol=1e-5)
    twice = jnp.asarray([0, 0, 2, 3, 4])
    full = jnp.ones((5, 8), bool)
    assert np.isclose(
        value(TOKENS, full, [2.0, 0.0, 1.0, 1.0, 1.0]), value(TOKENS[twice], full, [1.0] * 5), rtol=1e-5
    )


def test_bfloat16_keeps_its_sums_in_float32():
    config = replace(CONFIG, dtype="bfloat16")
    near = token_log_probs(config, PARAMS, TOKENS)
    assert near.dtype == jnp.float32
    assert np.allclose(near, token_log_probs(CONFIG, PARAMS, TOKENS), atol=0.1)
