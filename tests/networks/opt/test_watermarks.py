"""Watermarks: what is drawn, what is found, and that nothing is found where nothing is.

A model whose weights are 0 gives every token the same probability; its texts have no words that recur by themselves.
"""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from scipy import stats
from tiny_opt import SMALL, random_params

from collapse_jax.models.language import sampled_decoding
from collapse_jax.networks.opt.decoding import Rules, sample
from collapse_jax.networks.opt.model import hidden_states, logits
from collapse_jax.networks.opt.watermarks import (
    NO_TOKEN,
    apply_watermark,
    detect_watermark,
    green_list,
    gumbel,
)
from collapse_jax.theory.watermarks import green_mass, key_cycle_length

CONFIG = replace(SMALL, max_positions=70, vocab_size=12, embed_size=12, num_layers=1)
PARAMS = random_params(CONFIG, scale=0.6)
UNIFORM = replace(SMALL, max_positions=70, vocab_size=1024, hidden_size=4, num_layers=1)
ZEROS = jax.tree.map(jnp.zeros_like, random_params(UNIFORM))
KEY, NEW = jax.random.key(0), 60
ENDLESS = Rules(max_new_tokens=NEW, ends=False)
PROMPTS = np.random.default_rng(0).integers(3, 1024, (64, 6)).astype(np.int32)
SCHEMES = {
    "green list": partial(green_list, green_share=0.25, boost=2.0, window=2),
    "gumbel": partial(gumbel, window=2),
    "green words alone": partial(green_list, green_share=0.5, boost=60.0, window=3),
}
BOTH = pytest.mark.parametrize("name", ["green list", "gumbel"])


@partial(jax.jit, static_argnums=0)
def _sample(name, secret, prompts, key):
    watermark = SCHEMES[name](secret) if name else None
    return sample(key, UNIFORM, ZEROS, prompts, rules=ENDLESS, watermark=watermark).tokens


@jax.jit
def _scores(tokens):
    """Logits of the next token."""
    return logits(CONFIG, PARAMS, hidden_states(CONFIG, PARAMS, tokens))[:, -1]


def written(name, secret=7, key=KEY):
    """Prompts and what a model that finds all words alike writes after them."""
    return np.concatenate([PROMPTS, _sample(name, secret, PROMPTS, key)], axis=1)


@pytest.fixture(scope="module")
def texts():
    return {name: written(name) for name in SCHEMES}


@pytest.fixture(scope="module")
def plain():
    return written("")


def test_decoder_and_detector_see_the_same_colours(texts):
    """So large a boost that a word that is not green is never drawn: every word is green to the detector."""
    scheme, text = SCHEMES["green words alone"], texts["green words alone"]
    found = detect_watermark(scheme(7), text, None, 6)
    assert found.score == 1.0 and found.num_scored > 64 * 59
    other = detect_watermark(scheme(8), text, None, 6)
    assert abs(other.score - 0.5) < 5 * (0.25 / other.num_scored) ** 0.5


@pytest.mark.parametrize("window", [0, 1, 3])
def test_each_context_has_its_own_colours_and_a_window_of_none_the_same(window):
    watermark = green_list(7, 0.25, 1.0, window)
    contexts = np.asarray([[5, 9, 3], [9, 5, 3], [5, 9, 4]])[:, 3 - window :]
    green = np.asarray(apply_watermark(watermark, jnp.zeros((3, 40)), jnp.asarray(contexts)))
    for context, row in zip(contexts, green):
        grams = [np.r_[context, word][None] for word in range(40)]
        assert [detect_watermark(watermark, gram).score for gram in grams] == row.tolist()
    assert len(np.unique(green, axis=0)) == {0: 1, 1: 2, 3: 3}[window]


def test_decoder_and_detector_draw_the_same_numbers():
    """Of all words the one that Gumbel's trick draws under equal scores is the one that counts most."""
    context = jnp.asarray([[5, 9], [9, 5], [NO_TOKEN, 5]])
    chosen = np.argmax(apply_watermark(gumbel(7, 2), jnp.zeros((3, 40)), context), axis=1)
    for row in range(2):  # the third has a context that no detector sees
        grams = np.concatenate([np.tile(context[row], (40, 1)), np.arange(40)[:, None]], axis=1)
        scores = [detect_watermark(gumbel(7, 2), gram[None]).score for gram in grams]
        assert np.argmax(scores) == chosen[row]
    assert len(set(chosen.tolist())) == 3


def test_green_mass_is_that_of_the_softmax(texts):
    """3,700 words: a mass that is off by 0.04 would be seen. Lists vary in size, which lowers it by 0.001."""
    found = detect_watermark(SCHEMES["green list"](7), texts["green list"], None, 6)
    mass = float(green_mass(0.25, 2.0))
    assert found.num_scored > 3600
    assert abs(found.score - mass) < 5 * (mass * (1 - mass) / found.num_scored) ** 0.5


@BOTH
def test_p_values_are_uniform_under_other_secrets_and_tiny_under_the_right_one(name, texts):
    """200 secrets: a p-value whose law is off by 0.12 at some place would be rejected."""
    scheme, text = SCHEMES[name], texts[name]
    p_values = [detect_watermark(scheme(secret), text, None, 6).p_value for secret in range(1000, 1200)]
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    found = detect_watermark(scheme(7), text, None, 6)
    assert found.p_value < 1e-6 and found.z > 20


@BOTH
def test_what_recurs_counts_once(name, texts):
    """Texts of one phrase would otherwise look marked under one secret in two, and overwhelmingly so."""
    watermark, text = SCHEMES[name](7), texts[name][:, 6:]
    once = detect_watermark(watermark, text)
    assert detect_watermark(watermark, np.tile(text, (5, 1))) == once
    assert detect_watermark(watermark, np.random.default_rng(0).permutation(text)) == once
    cyclic = np.tile(text[:2, :10], (1, 6))
    assert detect_watermark(watermark, cyclic).num_scored == 20
    p_values = [detect_watermark(SCHEMES[name](secret), cyclic).p_value for secret in range(1000, 1100)]
    assert min(p_values) > 1e-5


@BOTH
def test_prompts_do_not_count(name, texts, plain):
    """Prompts full of marked words, but for their last two, change nothing; scored, they would give the mark away."""
    watermark = SCHEMES[name](7)
    marked = np.concatenate([texts[name][:, 6:64], plain[:, 4:]], axis=1)
    found = detect_watermark(watermark, marked, None, 60)
    assert found == detect_watermark(watermark, plain, None, 6)
    assert found.p_value > 1e-3 and detect_watermark(watermark, marked).p_value < 1e-6


def test_what_a_text_copies_from_its_prompt_does_not_count(texts):
    watermark, text = SCHEMES["green list"](7), texts["green list"][:, 6:]
    copied = detect_watermark(watermark, np.concatenate([text, text], axis=1), None, NEW)
    assert copied.num_scored <= 2 * 64  # where the copy begins
    # of another text's prompt it does
    crossed = np.concatenate([np.roll(text, 1, axis=0), text], axis=1)
    assert detect_watermark(watermark, crossed, None, NEW).num_scored > 58 * 60


def test_padding_does_not_count(texts):
    watermark, text = SCHEMES["gumbel"](7), texts["gumbel"]
    wide = np.pad(text, ((0, 0), (3, 5)), constant_values=UNIFORM.pad_token)
    mask = np.pad(np.ones(text.shape, bool), ((0, 0), (3, 5)))
    assert detect_watermark(watermark, wide, mask, 9) == detect_watermark(watermark, text, None, 6)
    none = detect_watermark(watermark, wide, np.zeros(mask.shape, bool), 9)
    assert none == (1.0, 0.0, 0.0, 0)


def test_a_decoder_looks_back_at_no_padding():
    """A prompt of one word, and two of a context."""

    @jax.jit
    def first(prompts, mask):
        rules = Rules(max_new_tokens=2, ends=False)
        return sample(KEY, UNIFORM, ZEROS, prompts, mask, rules, watermark=SCHEMES["gumbel"](7)).tokens

    short = first(PROMPTS[:, -1:], np.ones((64, 1), bool))
    padded = np.pad(PROMPTS[:, -1:], ((0, 0), (3, 0)), constant_values=5)
    assert jnp.array_equal(short, first(padded, np.arange(4) * np.ones((64, 1)) == 3))
    assert not jnp.array_equal(short, first(padded, np.arange(4) * np.ones((64, 1)) >= 2))


def test_gumbel_draws_from_the_model_over_secrets():
    """First two tokens of the six likeliest under 4,000 secrets: chi-square against the model's law, p > 1e-3.

    A probability of 0.1 that is off by 0.03 would be seen in 99 of 100 cases.
    """
    prompt, rules = PROMPTS[:1] % 9 + 3, Rules(max_new_tokens=2, ends=False)
    drawn = lambda secret: sample(  # noqa: E731
        KEY, CONFIG, PARAMS, prompt, rules=rules, top_k=6, temperature=0.8, watermark=gumbel(secret)
    )
    found = np.asarray(jax.jit(jax.vmap(drawn))(np.arange(4000)).tokens[:, 0])
    rows = np.ones(4000, bool)
    for step in range(2):
        before = np.concatenate([prompt, found[:1, :step]], axis=1)
        scores = np.asarray(_scores(before)[0], float) / 0.8
        law = np.where(scores >= np.sort(scores)[-6], np.exp(scores), 0)
        counts, expected = np.bincount(found[rows, step], minlength=12), law / law.sum() * rows.sum()
        assert counts[law == 0].sum() == 0
        kept = expected > 5
        expected = expected[kept] / expected[kept].sum() * counts[kept].sum()
        assert stats.chisquare(counts[kept], expected).pvalue > 1e-3
        rows &= found[:, 0] == found[0, 0]


def test_gumbel_is_determined_by_secret_and_context(texts):
    """Whatever the key: equal context, equal word, in every text."""
    text = texts["gumbel"]
    assert np.array_equal(text, written("gumbel", key=jax.random.key(1)))
    assert not np.array_equal(text, written("gumbel", secret=8))
    same = text.copy()
    same[:, 4:6] = text[0, 4:6]  # what is before the window does not matter to a model that finds all alike
    assert (np.asarray(_sample("gumbel", 7, same[:, :6], KEY)) == text[0, 6:]).all()


def test_a_window_of_one_leads_into_a_cycle():
    """A random map of 50 words under 600 secrets: mean length of the cycle within 5 standard errors (0.6 words)."""
    config = replace(UNIFORM, vocab_size=50)
    params = jax.tree.map(jnp.zeros_like, random_params(config))
    rules, prompt = Rules(max_new_tokens=64, ends=False), jnp.asarray([[3]])
    drawn = lambda secret: sample(  # noqa: E731
        KEY, config, params, prompt, rules=rules, watermark=gumbel(secret, 1)
    )
    lengths = []
    for text in np.asarray(jax.jit(jax.vmap(drawn))(np.arange(600)).tokens[:, 0]):
        same = np.flatnonzero(text[:-1] == text[-1])  # the last word is long on the cycle
        lengths.append(len(text) - 1 - same[-1])
    error = np.std(lengths, ddof=1) / len(lengths) ** 0.5
    assert abs(np.mean(lengths) - float(key_cycle_length(50))) < 5 * error < 0.8


def test_nothing_changes_without_a_boost_and_nothing_forbidden_is_raised():
    """Without one the bits are those without a watermark; with any, one of the three likeliest words is drawn."""
    prompts, rules = PROMPTS % 12, Rules(max_new_tokens=20)
    options = {"rules": rules, "temperature": 0.8, "top_k": 3}
    bare = jax.jit(lambda: sample(KEY, CONFIG, PARAMS, prompts, **options))()
    marked = jax.jit(
        lambda boost: sample(KEY, CONFIG, PARAMS, prompts, **options, watermark=green_list(7, boost=boost))
    )
    assert all(map(jnp.array_equal, bare, marked(0.0)))
    first = np.asarray(marked(60.0).tokens[:, 0])
    assert not np.array_equal(bare.tokens[:, 0], first)
    law = _scores(prompts)
    assert np.asarray(law >= jnp.sort(law, axis=1)[:, -3:-2])[np.arange(64), first].all()


def test_a_language_model_writes_marked_blocks(texts):
    decode = sampled_decoding(ENDLESS, watermark=SCHEMES["gumbel"](7))
    blocks = jax.jit(decode, static_argnums=1)(KEY, UNIFORM, ZEROS, PROMPTS)
    assert np.array_equal(blocks, texts["gumbel"][:, 6:])


def test_tails_are_exact():
    """Against mpmath, to 1e-10, down to 1e-121."""
    with mp.workdps(40):
        for num, total in ((10, 0), (10, 3), (1000, 300), (1000, 600)):
            terms = (
                mp.binomial(num, k) * mp.mpf(0.25) ** k * mp.mpf(0.75) ** (num - k)
                for k in range(total, num + 1)
            )
            p_value, z = green_list(1).tail(float(total), num)
            assert p_value == pytest.approx(float(mp.fsum(terms)), rel=1e-10)
            assert z == pytest.approx((total - num / 4) / (num * 3 / 16) ** 0.5)
        for num, total in ((1, 3.0), (10, 40.0), (1000, 900.0), (1000, 1500.0)):
            exact = mp.gammainc(num, total, mp.inf, regularized=True)
            assert gumbel(1).tail(total, num)[0] == pytest.approx(float(exact), rel=1e-10)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: green_list(-1), ValueError, "`secret` must be at least 0"),
        (lambda: green_list(1.5), TypeError, "`secret` must be an integer"),
        (lambda: green_list(1, green_share=0.0), ValueError, "`green_share` must lie between 0 and 1, got 0.0; 0.25"),
        (lambda: green_list(1, green_share=1.5), ValueError, "`green_share` must lie in"),
        (lambda: green_list(1, boost=-1.0), ValueError, "`boost` must not be negative"),
        (lambda: green_list(1, window=-1), ValueError, "`window` must be at least 0"),
        (lambda: gumbel(1, window=0), ValueError, "`window` must be at least 1"),
        (lambda: sample(KEY, CONFIG, PARAMS, PROMPTS, watermark=7), TypeError, "`watermark` must be a Watermark, got"),
        (lambda: sampled_decoding(ENDLESS, watermark=7), TypeError, "`watermark` must be a Watermark, got 7"),
        (lambda: detect_watermark(7, PROMPTS), TypeError, "`watermark` must be a Watermark, got 7"),
        (lambda: detect_watermark(gumbel(1), PROMPTS / 2), TypeError, "`tokens` must be integers"),
        (lambda: detect_watermark(gumbel(1), PROMPTS[0]), ValueError, r"`tokens` must be \[num, length\]"),
        (lambda: detect_watermark(gumbel(1), PROMPTS, PROMPTS), TypeError, "`mask` must be true or false"),
        (lambda: detect_watermark(gumbel(1), PROMPTS, PROMPTS[:2] > 0), ValueError, "`mask` must have the shape"),
        (lambda: detect_watermark(gumbel(1), PROMPTS, None, 6), ValueError, "leave none to score"),
        (lambda: detect_watermark(gumbel(1), PROMPTS[:, :4]), ValueError, "leave none to score"),
        (lambda: jax.jit(partial(detect_watermark, gumbel(1)))(PROMPTS), TypeError, "outside jit"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_a_sentence(call, error, sentence, unchecked):
    with pytest.raises(error, match=sentence):
        call()
