"""Decoding token by token as transformers' `generate` does, both sides in float64, and its processors one by one.

The reference casts logits and scores to float32 wherever the model is; `wide` lets it keep float64, so that the two
sides differ by 1e-12, not by 1e-7, and near-ties of 200 texts of 64 tokens, 50 a configuration, are decided alike.
"""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_opt import SMALL, random_params

from collapse_jax.networks.opt import processors
from collapse_jax.networks.opt.beams import beam_search
from collapse_jax.networks.opt.decoding import Rules, apply_rules, begin_text, greedy
from collapse_jax.networks.opt.model import hidden_states, logits
from collapse_jax.networks.opt.scoring import token_log_probs
from collapse_jax.networks.opt.weights import save_opt

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity

BASE = replace(SMALL, vocab_size=97, hidden_size=16, ffn_size=32, max_positions=96, num_heads=4, pad_token=1)
# projections keep a random model from repeating the last token, which would make every search alike
CONFIGS = {
    "projected": replace(BASE, embed_size=24),
    "350m": replace(BASE, pre_norm=False, embed_size=8),
    "no final norm": replace(BASE, final_norm=False, embed_size=24),
    "bare": replace(BASE, bias=False, affine=False, num_layers=1, embed_size=20),
}
# the others' layers are compared by `test_opt_parity`; here they decode the same rules once more
SOME = [name if name in ("projected", "350m") else pytest.param(name, marks=pytest.mark.heavy) for name in CONFIGS]
NUM_PROMPTS, PROMPT = 50, 12
SETTINGS = [
    *(Rules(64, 64, penalty) for penalty in (1.0, 2.0, 3.0)),
    Rules(64, 0),
    Rules(24, 4, 1.5, no_repeat_ngram=2),
]
BEAMS = [
    {"num_beams": 5},
    {"num_beams": 3, "early_stopping": True},
    {"num_beams": 2, "length_penalty": 2.0, "early_stopping": "never"},
    {"num_beams": 4, "length_penalty": -1.0},
]


class _Wide:
    """torch, whose float32 is float64."""

    float = float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


@pytest.fixture
def wide(x64, monkeypatch):
    monkeypatch.setattr(transformers.generation.utils, "torch", _Wide())


def prompts(name):
    """Tokens and mask, padded on the left, other ones for each configuration; all lengths from 1 to 12."""
    rng = np.random.default_rng(list(CONFIGS).index(name))
    mask = np.arange(PROMPT) >= PROMPT - (1 + np.arange(NUM_PROMPTS) % PROMPT)[:, None]
    return np.where(mask, rng.integers(3, BASE.vocab_size, mask.shape), BASE.pad_token), mask


def pair(name, folder, dtype):
    """Our configuration and weights and their model, in `dtype`; the end is a token that about half the texts say."""
    config = replace(CONFIGS[name], dtype=dtype, eos_token=2)
    params = random_params(replace(config, dtype="float32"), scale=0.4)
    save_opt(folder, replace(config, dtype="float32"), params)
    model = transformers.OPTForCausalLM.from_pretrained(folder).to(getattr(torch, dtype)).eval()
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    tokens, mask = prompts(name)
    said = np.asarray(greedy(config, params, tokens, mask, Rules(24, ends=False)).tokens)
    texts = [(said == token).any(axis=1).sum() for token in range(BASE.vocab_size)]
    return (
        replace(config, eos_token=int(np.argmin(np.abs(np.asarray(texts) - NUM_PROMPTS / 2)))),
        params,
        model,
    )


def theirs(model, config, rules, tokens, mask, **options):
    """Their new tokens, filled up with padding."""
    with torch.no_grad():
        text = model.generate(
            torch.tensor(tokens), attention_mask=torch.tensor(mask).long(), do_sample=False,
            max_new_tokens=rules.max_new_tokens, min_new_tokens=rules.min_new_tokens,
            repetition_penalty=rules.repetition_penalty, no_repeat_ngram_size=rules.no_repeat_ngram,
            eos_token_id=config.eos_token, pad_token_id=config.pad_token, bos_token_id=config.bos_token, **options,
        ).numpy()[:, PROMPT:]  # fmt: skip
    return np.pad(text, ((0, 0), (0, rules.max_new_tokens - text.shape[1])), constant_values=config.pad_token)


@pytest.mark.parametrize("name", SOME)
def test_every_token_is_the_reference_s(name, tmp_path, wide):
    """Greedy and beams, penalties 1, 2 and 3 with exactly 64 new tokens, and texts that may end."""
    config, params, model = pair(name, tmp_path, "float64")
    tokens, mask = prompts(name)
    ended = 0
    for rules in SETTINGS:
        for way, options in ((greedy, {}), (beam_search, {"num_beams": 5})):
            ours = jax.jit(partial(way, config, rules=rules, **options))(params, prompts=tokens, mask=mask)
            expected = theirs(model, config, rules, tokens, mask, **options)
            assert np.array_equal(ours.tokens, expected), (way.__name__, rules)
            ended += int(np.sum(np.asarray(ours.lengths) < rules.max_new_tokens))
    assert ended > 5  # else nothing was said about endings


@pytest.mark.parametrize("options", BEAMS, ids=str)
def test_every_way_to_stop_is_the_reference_s(options, tmp_path, wide):
    config, params, model = pair("projected", tmp_path, "float64")
    tokens, mask = prompts("projected")
    for rules in (Rules(24), Rules(24, 5, 1.2)):
        ours = jax.jit(partial(beam_search, config, rules=rules, **options))(
            params, prompts=tokens, mask=mask
        )
        assert np.array_equal(ours.tokens, theirs(model, config, rules, tokens, mask, **options))


@pytest.mark.parametrize("name", SOME)
def test_in_float32_the_first_difference_is_a_near_tie(name, tmp_path, record_property):
    """Greedy texts may part where two logits are equal to rounding: the gap there is reported, and small."""
    config, params, model = pair(name, tmp_path, "float32")
    tokens, mask = prompts(name)
    rules = Rules(64, 64)
    ours = np.asarray(greedy(config, params, tokens, mask, rules).tokens)
    expected = theirs(model, config, rules, tokens, mask)
    text = np.concatenate([tokens, ours], axis=1)
    full = np.concatenate([mask, np.ones_like(ours, bool)], axis=1)
    scores = np.asarray(logits(config, params, hidden_states(config, params, text, full)))
    gaps = []
    for row in np.flatnonzero((ours != expected).any(axis=1)):
        place = int(np.argmax(ours[row] != expected[row]))
        at = scores[row, PROMPT + place - 1]
        gaps.append(abs(at[ours[row, place]] - at[expected[row, place]]))
    record_property("texts_that_part", len(gaps))
    record_property("largest_gap", max(gaps, default=0.0))
    assert max(gaps, default=0.0) < 1e-4 and len(gaps) < NUM_PROMPTS / 4


@pytest.mark.parametrize("name", SOME)
def test_in_float32_beams_part_at_near_ties_alone(name, tmp_path, record_property):
    """The reference's text may be another one where two were as likely to rounding, which is seldom.

    At the end two such texts mostly have one score, but need not: what was cut off at the tie may have become either.
    In float64 there are no such ties, and all texts are the same (above).
    """
    config, params, model = pair(name, tmp_path, "float32")
    tokens, mask = prompts(name)
    rules = Rules(64, 64)
    found = jax.jit(partial(beam_search, config, rules=rules, num_beams=5))(params, prompts=tokens, mask=mask)
    ours, expected = np.asarray(found.tokens), theirs(model, config, rules, tokens, mask, num_beams=5)
    full = np.concatenate([mask, np.ones_like(ours, bool)], axis=1)

    def score(new):
        """Log-probability a token, which is what the search compares."""
        text = np.concatenate([tokens, new], axis=1)
        return np.asarray(token_log_probs(config, params, text, full))[:, -64:].mean(axis=1)

    parted = (ours != expected).any(axis=1)
    gaps = np.abs(score(ours) - score(expected))[parted]
    record_property("texts_that_part", int(parted.sum()))
    record_property("largest_gap", float(gaps.max(initial=0.0)))
    np.testing.assert_allclose(score(ours), found.scores, atol=1e-5)
    assert parted.sum() <= 3  # of 50; 1 of 200 was seen, by 6e-4


@pytest.mark.parametrize(
    "settings", [(0.7, 0, 1.0), (0.7, 20, 0.6), (2.5, 9, 0.9), (1.0, 0, 0.5), (1.0, 5, 1.0)], ids=str
)
def test_what_is_drawn_from_is_the_reference_s(settings, tmp_path, wide):
    """Temperature, top-k and top-p together, after a repetition penalty: the processed scores of a first token."""
    config, params, model = pair("projected", tmp_path, "float64")
    tokens, mask = (jnp.asarray(part) for part in prompts("projected"))
    rules = Rules(1, 1, repetition_penalty=1.5)
    scores = logits(config, params, hidden_states(config, params, tokens, mask)[:, -1])
    ruled = apply_rules(config, rules, scores, begin_text(config, rules, tokens, mask), jnp.asarray(0))
    ours = np.asarray(processors.warp(ruled, *settings))
    told = model.generate(
        torch.tensor(np.asarray(tokens)), attention_mask=torch.tensor(np.asarray(mask)).long(), do_sample=True,
        **dict(zip(("temperature", "top_k", "top_p"), settings)), max_new_tokens=1, min_new_tokens=1,
        repetition_penalty=1.5, eos_token_id=config.eos_token, pad_token_id=config.pad_token,
        output_scores=True, return_dict_in_generate=True,
    )  # fmt: skip
    expected = told.scores[0].numpy()
    assert np.array_equal(np.isfinite(ours), np.isfinite(expected))
    assert (np.isfinite(expected).sum(axis=1) < config.vocab_size).all()  # at least the end is forbidden
    np.testing.assert_allclose(ours, expected, rtol=1e-9)


def test_processors_one_by_one():
    """On random logits, with equals among them."""
    rng = np.random.default_rng(1)
    scores = np.round(rng.normal(0, 3, (40, 60)), 1).astype(np.float32)
    distinct = rng.normal(0, 3, (40, 60)).astype(np.float32)
    text = rng.integers(0, 12, (40, 20))
    process = transformers.generation.logits_process

    def same(ours, processor, given):
        expected = processor(torch.tensor(text), torch.tensor(given)).numpy()
        np.testing.assert_allclose(np.asarray(ours), expected, rtol=1e-6)

    seen = np.zeros((40, 60), bool)
    seen[np.arange(40)[:, None], text] = True
    for penalty in (0.5, 1.3, 3.0):
        ours = processors.penalise_repetition(jnp.asarray(scores), jnp.asarray(seen), penalty)
        same(ours, process.RepetitionPenaltyLogitsProcessor(penalty), scores)
    for size in (1, 2, 3, 4):
        ours = processors.forbid_repeated_ngrams(jnp.asarray(scores), jnp.asarray(text), 20, size)
        same(ours, process.NoRepeatNGramLogitsProcessor(size), scores)
    for k in (1, 7, 60, 100):
        same(processors.keep_top_k(jnp.asarray(scores), k), process.TopKLogitsWarper(k), scores)
    for p in (0.01, 0.5, 0.9, 0.999):
        same(processors.keep_top_p(jnp.asarray(distinct), p), process.TopPLogitsWarper(p), distinct)
    ours = processors.forbid(jnp.asarray(scores), 5, jnp.asarray(True))
    same(ours, process.MinNewTokensLengthLogitsProcessor(15, 6, 5), scores)
    ours = processors.forbid(jnp.asarray(scores), 5, jnp.asarray(False))
    same(ours, process.MinNewTokensLengthLogitsProcessor(15, 5, 5), scores)
