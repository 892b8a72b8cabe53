"""Decoding by its own laws: what is drawn, what is best, what padding and rules may change."""

import itertools
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpy_opt
import pytest
from scipy import stats
from tiny_opt import SMALL, random_params

from collapse_jax.networks.opt.beams import beam_search
from collapse_jax.networks.opt.decoding import Rules, greedy, sample
from collapse_jax.networks.opt.model import hidden_states, logits
from collapse_jax.networks.opt.processors import (
    draw,
    forbid_repeated_ngrams,
    keep_top_k,
    keep_top_p,
    penalise_repetition,
    top_k,
)

CONFIG = replace(SMALL, max_positions=24, vocab_size=12, embed_size=12)  # projections: no drift to repeating
PARAMS = random_params(CONFIG, scale=0.6)
PROMPTS = jnp.asarray(np.random.default_rng(0).integers(3, 12, (6, 5)), jnp.int32)
ENDLESS = Rules(max_new_tokens=6, ends=False)


def continued(prompts, tokens):
    return jnp.concatenate([prompts, jnp.asarray(tokens, jnp.int32)], axis=1)


@jax.jit
def log_probs(tokens):
    """log p of the next token at every place, without a cache."""
    return jax.nn.log_softmax(logits(CONFIG, PARAMS, hidden_states(CONFIG, PARAMS, tokens)))


def total(prompts, tokens):
    """Sum of log p of new tokens."""
    length = prompts.shape[1]
    scores = log_probs(continued(prompts, tokens))[:, length - 1 : -1]
    return np.take_along_axis(np.asarray(scores), np.asarray(tokens)[..., None], axis=-1)[..., 0].sum(axis=1)


def test_greedy_takes_the_largest_of_the_uncached_scores():
    found = greedy(CONFIG, PARAMS, PROMPTS, rules=ENDLESS)
    text = PROMPTS
    for _ in range(6):
        text = continued(text, jnp.argmax(log_probs(text)[:, -1], axis=-1)[:, None])
    assert jnp.array_equal(found.tokens, text[:, 5:])
    assert np.allclose(found.scores, total(PROMPTS, found.tokens), atol=1e-4)


def test_beams_as_wide_as_the_tree_find_the_best_of_all_texts():
    """Up to three tokens of twelve, of which one ends a text: 144 beams lose no prefix, and "never" stops too early.

    So the result is the best of all 1,464 texts, by log-probability over length^0.7.
    """
    config, rules = replace(CONFIG, eos_token=7), Rules(max_new_tokens=3)
    found = beam_search(
        config, PARAMS, PROMPTS[:2], rules=rules, num_beams=144, length_penalty=0.7, early_stopping="never"
    )
    texts = [t for size in (1, 2, 3) for t in itertools.product(range(12), repeat=size) if 7 not in t[:-1]]
    texts = [text for text in texts if text[-1] == 7 or len(text) == 3]
    assert len(texts) == 1 + 11 + 121 * 12
    padded = np.asarray([(*text, 0, 0)[:3] for text in texts])
    lengths = np.asarray([len(text) for text in texts])
    for row in range(2):
        every = np.concatenate([np.tile(PROMPTS[row], (len(texts), 1)), padded], axis=1)
        scores = numpy_opt.log_softmax(numpy_opt.next_scores(CONFIG, PARAMS, every)[:, 4:-1])
        gains = np.take_along_axis(scores, padded[:, :, None], axis=2)[..., 0]
        totals = np.where(np.arange(3) < lengths[:, None], gains, 0.0).sum(axis=1) / lengths**0.7
        best = totals.argmax()
        assert np.asarray(found.tokens[row])[: lengths[best]].tolist() == list(texts[best])
        assert int(found.lengths[row]) == lengths[best] and np.isclose(totals[best], found.scores[row], atol=1e-4)


DEFAULTS = {"num_beams": 5, "length_penalty": 1.0, "early_stopping": False}
SEARCHES = [
    (Rules(8), {}),
    (Rules(8, 3, 1.5), {"num_beams": 3, "length_penalty": 2.0, "early_stopping": "never"}),
    (Rules(8), {"num_beams": 2, "length_penalty": -1.0, "early_stopping": True}),
    (Rules(8, 0, 0.8, 3), {"num_beams": 4, "length_penalty": 0.5, "early_stopping": False}),
]


@pytest.mark.parametrize(("rules", "options"), SEARCHES, ids=str)
def test_beams_are_those_of_a_search_with_lists(rules, options):
    """Six prompts, texts that may end, penalties and forbidden n-grams: the same words, length and score."""
    config = replace(CONFIG, eos_token=7)
    found = jax.jit(partial(beam_search, config, rules=rules, **options))(PARAMS, prompts=PROMPTS)
    options = DEFAULTS | options
    ended = 0
    for row, prompt in enumerate(np.asarray(PROMPTS).tolist()):
        text, score = numpy_opt.beams(config, PARAMS, prompt, rules, **options)
        assert np.asarray(found.tokens[row]).tolist() == text + [config.pad_token] * (8 - len(text))
        assert int(found.lengths[row]) == len(text)
        assert float(found.scores[row]) == pytest.approx(score, abs=1e-4)  # float32 against float64
        ended += len(text) < 8
    assert ended or options["length_penalty"] >= 1  # with these two some texts do end


@pytest.mark.parametrize("rules", [Rules(8), Rules(8, 2, 1.4, 2), Rules(8, 8, 0.7)], ids=str)
def test_greedy_texts_obey_their_rules_and_are_scored_up_to_their_end(rules):
    config = replace(CONFIG, eos_token=8)
    found = greedy(config, PARAMS, PROMPTS, rules=rules)
    ended = 0
    for row, prompt in enumerate(np.asarray(PROMPTS).tolist()):
        text, score = numpy_opt.greedy(config, PARAMS, prompt, rules)
        assert np.asarray(found.tokens[row]).tolist() == text + [config.pad_token] * (8 - len(text))
        assert int(found.lengths[row]) == len(text) and float(found.scores[row]) == pytest.approx(score, abs=1e-4)
        ended += len(text) < 8
    assert (ended > 0) == (rules.min_new_tokens < 8)


def test_more_beams_find_better_texts_than_greedy():
    rules = Rules(max_new_tokens=12, ends=False)
    alone = greedy(CONFIG, PARAMS, PROMPTS, rules=rules)
    wide = beam_search(CONFIG, PARAMS, PROMPTS, rules=rules, num_beams=8, length_penalty=0.0)
    one = beam_search(CONFIG, PARAMS, PROMPTS, rules=rules, num_beams=1, length_penalty=0.0)
    assert jnp.array_equal(one.tokens, alone.tokens)
    assert np.allclose(wide.scores, total(PROMPTS, wide.tokens), atol=1e-4)
    assert np.all(wide.scores >= alone.scores - 1e-4) and np.any(wide.scores > alone.scores + 0.1)


@pytest.mark.parametrize("decode", [greedy, partial(beam_search, num_beams=3)])
def test_padding_on_the_left_changes_nothing(decode):
    padded = jnp.pad(PROMPTS, ((0, 0), (4, 0)), constant_values=CONFIG.pad_token)
    mask = jnp.pad(jnp.ones(PROMPTS.shape, bool), ((0, 0), (4, 0)))
    for rules in (ENDLESS, Rules(max_new_tokens=6, repetition_penalty=2.0)):
        plain = decode(CONFIG, PARAMS, PROMPTS, rules=rules)
        other = decode(CONFIG, PARAMS, padded, mask, rules)
        assert jnp.array_equal(plain.tokens, other.tokens)
        assert np.allclose(plain.scores, other.scores, atol=1e-4)


@pytest.mark.parametrize(
    "decode", [greedy, partial(sample, jax.random.key(0)), partial(beam_search, num_beams=3)]
)
def test_a_text_ends_and_is_filled(decode):
    """A token that is said late is made the end; before `min_new_tokens` none is, after it there is only padding."""
    seen, said = 0, greedy(CONFIG, PARAMS, PROMPTS, rules=Rules(max_new_tokens=8, ends=False)).tokens
    for end in {int(said[0, 4]), int(said[1, 5]), int(said[2, 6])}:
        config = replace(CONFIG, eos_token=end)
        found = decode(config, PARAMS, PROMPTS, rules=Rules(max_new_tokens=8, min_new_tokens=3))
        for tokens, length in zip(np.asarray(found.tokens), np.asarray(found.lengths)):
            assert end not in tokens[: min(length - 1, 7)]
            assert length > 3 and np.all(tokens[length:] == config.pad_token)
            assert length == 8 or tokens[length - 1] == end
            seen += length < 8
    assert seen > 0  # else this test has looked at nothing


def _warped(p):
    """Probabilities at temperature 2, of these the six largest, and of these the fewest that reach 0.6."""
    p = np.sqrt(p)
    p = np.where(p >= np.sort(p)[-6], p, 0)
    order = np.argsort(-p)
    sums = np.cumsum(p[order]) / p.sum()
    p[order[1 + np.argmax(sums >= 0.6) :]] = 0
    return p / p.sum()


def test_sampling_draws_from_the_model():
    """First tokens of one prompt, 4,000 times: chi-square against the model's own probabilities, p > 1e-3.

    With 4,000 draws a probability of 0.1 that is off by 0.03 would be seen in 99 of 100 cases.
    """
    prompts = jnp.repeat(PROMPTS[:1], 4000, axis=0)
    rules = Rules(max_new_tokens=2, ends=False)
    for settings, change in (
        ({}, lambda p: p),
        ({"temperature": 0.5}, lambda p: p**2 / np.sum(p**2)),
        ({"top_k": 3}, lambda p: np.where(p >= np.sort(p)[-3], p, 0) / np.sort(p)[-3:].sum()),
        ({"temperature": 2.0, "top_k": 6, "top_p": 0.6}, _warped),
    ):
        found = sample(jax.random.key(7), CONFIG, PARAMS, prompts, rules=rules, **settings)
        for step in range(2):
            rows = np.asarray(found.tokens[:, 0] == found.tokens[0, 0]) if step else np.ones(4000, bool)
            before = continued(PROMPTS[:1], found.tokens[:1, :step])
            probs = change(np.exp(np.asarray(log_probs(before)[0, -1], float)))
            counts = np.bincount(np.asarray(found.tokens)[rows, step], minlength=12)
            assert counts[probs == 0].sum() == 0
            kept = probs * rows.sum() > 5
            expected = probs[kept] / probs[kept].sum() * counts[kept].sum()
            assert stats.chisquare(counts[kept], expected).pvalue > 1e-3


def test_sampling_follows_its_key():
    draws = [sample(jax.random.key(k), CONFIG, PARAMS, PROMPTS, rules=ENDLESS).tokens for k in (0, 0, 1)]
    assert jnp.array_equal(draws[0], draws[1]) and not jnp.array_equal(draws[0], draws[2])


def test_two_models_at_once_write_what_each_writes_alone():
    models = [PARAMS, random_params(CONFIG, seed=1, scale=0.6)]
    both = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    decode = partial(beam_search, CONFIG, prompts=PROMPTS, rules=Rules(max_new_tokens=6), num_beams=2)
    together = jax.vmap(lambda params: decode(params=params))(both)
    for index, params in enumerate(models):
        assert jnp.array_equal(together.tokens[index], decode(params=params).tokens)


def test_draw_never_takes_the_impossible_and_reaches_everything():
    scores = jnp.where(jnp.arange(50) % 7 == 3, 0.0, -jnp.inf)
    found = np.asarray(draw(jax.random.key(0), jnp.tile(scores, (2000, 1))))
    assert set(found) == {3, 10, 17, 24, 31, 38, 45}


@pytest.mark.parametrize("num", [30, 1281, 4096])
def test_the_largest_in_order_and_the_first_of_equals(num):
    """Values from few levels, so that equals abound."""
    x = jnp.round(4 * jax.random.normal(jax.random.key(num), (7, num))) / 4
    values, places = top_k(x, 9)
    expected_values, expected_places = jax.lax.top_k(x, 9)
    assert jnp.array_equal(values, expected_values) and jnp.array_equal(places, expected_places)


def test_rules_one_by_one():
    scores = jnp.asarray([[2.0, -1.0, 0.5, 0.0]])
    seen = jnp.asarray([[True, True, False, False]])
    assert penalise_repetition(scores, seen, 2.0).tolist() == [[1.0, -2.0, 0.5, 0.0]]
    assert keep_top_k(scores, 2).tolist() == [[2.0, -np.inf, 0.5, -np.inf]]
    # probabilities 0.69, 0.15, 0.094, 0.034, in the order 0, 2, 3, 1
    assert (keep_top_p(scores, 0.75) > -jnp.inf).tolist() == [[True, False, True, False]]
    assert (keep_top_p(scores, 0.0) > -jnp.inf).tolist() == [[True, False, False, False]]
    text = jnp.asarray([[1, 2, 3, 1, 2, 0, 0]])
    assert (forbid_repeated_ngrams(scores, text, 5, 3) == -jnp.inf).tolist() == [[False, False, False, True]]
    assert (forbid_repeated_ngrams(scores, text, 2, 3) == -jnp.inf).tolist() == [[False] * 4]
    assert (forbid_repeated_ngrams(scores, text, 4, 2) == -jnp.inf).tolist() == [[False, False, True, False]]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: Rules(max_new_tokens=0), "`max_new_tokens` must be at least 1"),
        (lambda: Rules(max_new_tokens=4, min_new_tokens=5), "`min_new_tokens` must be at most"),
        (lambda: Rules(repetition_penalty=0.0), "`repetition_penalty` must be positive"),
        (lambda: greedy(CONFIG, PARAMS, PROMPTS, rules=Rules(20)), "25 tokens is longer than the model's 24"),
        (lambda: beam_search(CONFIG, PARAMS, PROMPTS, num_beams=0), "`num_beams` must be at least 1"),
        (lambda: sample(jax.random.key(0), CONFIG, PARAMS, PROMPTS, temperature=0.0), "`temperature`"),
        (lambda: sample(jax.random.key(0), CONFIG, PARAMS, PROMPTS, top_p=1.5), "`top_p`"),
    ],
)
def test_bad_settings_are_refused_in_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence.replace("(", r"\(")):
        call()
