"""What the language-model study hands to its chains: each setting's data, its tuning, its way of writing, its text."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.core.data import Samples, as_samples
from collapse_jax.datasets.text import load_wikipedia
from collapse_jax.models.language import FineTuning
from collapse_jax.networks.opt.decoding import Rules
from collapse_jax.networks.opt.scoring import token_log_probs
from collapse_jax.networks.opt.tokenizer import encode
from collapse_jax.studies.opt import study, teacher
from collapse_jax.studies.opt.config import PRESETS, OPTStudyConfig
from collapse_jax.studies.texts import Texts, load_model, load_texts, spread

KEY = jax.random.key(0)
# blocks that say where they are from: pool 0 to 63, validation from 100 on, test from 200 on
_RANGES = {"pool": (0, 64), "training": (0, 64, 4), "validation": (100, 104), "test": (200, 204)}
TEXTS = Texts(
    **{part: np.repeat(np.arange(*ends, dtype=np.int32)[:, None], 64, axis=1) for part, ends in _RANGES.items()},
    bytes_per_token=2.5,
)
M = 16
SYNTHETIC = Samples(jnp.full((M, 64), 1000) + jnp.arange(M)[:, None], jnp.ones(M))


@pytest.fixture
def built(monkeypatch, unchecked):
    """(config) -> for each arm what its model, its decoding and its chain were made of; nothing is compiled."""
    written = []
    monkeypatch.setattr(study, "load_texts", lambda *given: TEXTS)
    monkeypatch.setattr(study, "beam_decoding", lambda *args: written.append(("beams", args)))
    monkeypatch.setattr(study, "sampled_decoding", lambda *args, **options: written.append(("sample", args, options)))
    monkeypatch.setattr(study, "language", lambda *args, **options: (args, options))
    monkeypatch.setattr(
        study, "log_loss_metric", lambda name, network, stream, block: (name, np.unique(stream).tolist(), block)
    )

    def chain(model, regime, real, num_samples, metrics):
        args, options = model
        return SimpleNamespace(
            texts=args[2:4], tuning=args[5], options=options, regime=regime, real=real, num=num_samples,
            metrics=metrics, written=written[-1], on_host=False,
        )  # fmt: skip

    monkeypatch.setattr(study, "build_chain", chain)
    return lambda config: [arm.chain for arm in study.build(config).arms]


def _trained_on(regime, key=KEY, generations=1):
    """First tokens of the live blocks that later generations learn."""
    state, rows = regime.init(as_samples(jnp.asarray(TEXTS.training)), SYNTHETIC), []
    for generation in range(generations):
        data, state = regime.update(jax.random.fold_in(key, generation), SYNTHETIC, state)
        rows.append(np.asarray(data.x[:, 0])[np.asarray(data.weight) > 0])
    return rows


def _config(*arms, **changes):
    return OPTStudyConfig(arms=arms, generations=3, batch_size=4, **changes)


def test_setting_a_learns_what_was_written_alone_and_accumulate_everything(built):
    alone, pool = built(_config("A5 beams", "accumulate5 beams"))
    for rows in _trained_on(alone.regime, generations=2):
        assert sorted(rows) == list(range(1000, 1016))
    first, second = _trained_on(pool.regime, generations=2)
    assert sorted(first) == [*range(0, 64, 4), *range(1000, 1016)]
    assert len(second) == 3 * M and pool.regime.max_generations == 3


@pytest.mark.parametrize(("kept", "count"), [(0.1, 2), (0.03, 0), (0.5, 8), (1.0, 16)])
def test_setting_b_keeps_its_share_of_the_original_blocks_rounded(built, kept, count):
    """A tenth of 16 blocks is two; what is left of the written ones is there once."""
    (chain,) = built(_config("B5 beams", kept=kept))
    for seed in range(3):
        (rows,) = _trained_on(chain.regime, jax.random.key(seed))
        original = rows[rows < 1000]
        assert len(rows) == M == len(set(rows)) and len(original) == count
        assert set(original) <= set(range(0, 64, 4))
    assert chain.tuning.real_batches == 0


def test_the_control_learns_new_real_text_alone_in_every_generation(built):
    (chain,) = built(_config("fresh5 beams"))
    first, second = _trained_on(chain.regime, generations=2)
    for rows in (first, second):
        assert len(rows) == M == len(set(rows)) and rows.max() < 64  # each block once, from the whole pool
    assert set(first) != set(second) and not set(first) <= set(range(0, 64, 4))


def test_whole_minibatches_are_a_matter_of_the_fit(built):
    a, b = built(_config("A5 beams", "B5 beams", kept=0.2, mixing="batch"))
    assert (a.tuning.real_batches, b.tuning.real_batches) == (0, 0.2)
    assert sorted(_trained_on(b.regime)[0]) == list(range(1000, 1016))


def test_fits_are_tuned_and_texts_are_given_as_the_configuration_says(built):
    config = _config(
        "A7 beams", learning_rate=1e-3, end_rate=2e-5, weight_decay=0.3, start="previous", keep_best=False,
        prompts="previous",
    )  # fmt: skip
    (chain,) = built(config)
    assert chain.tuning == FineTuning(7, 4, 1e-3, 2e-5, 0.3, "previous", 0.0, False, 0)
    assert chain.options["prompts_from"] == "previous" and chain.num == M
    prompts, validation = chain.texts
    assert np.array_equal(prompts, TEXTS.training) and np.array_equal(validation, TEXTS.validation)
    assert np.array_equal(chain.real.x, TEXTS.training)


def test_the_published_tuning_is_the_library_s_default():
    """Two places that say it: 5 epochs of minibatches of 128, from 2e-5 along a cosine to 1e-6, AdamW's 0.01."""
    config = PRESETS["paper"]
    tuning = FineTuning(
        5, config.batch_size, config.learning_rate, config.end_rate, config.weight_decay, config.start, 0.0,
        config.keep_best,
    )  # fmt: skip
    assert tuning == FineTuning() == FineTuning(5, 128, 2e-5, 1e-6, 0.01, "generation-0", 0.0, True, 0)
    assert (config.num_beams, config.kept, config.generations, config.seeds) == (5, 0.1, 9, 5)
    assert {arm.split()[0] for arm in config.arms} == {"A5", "B5", "A10", "B10"}


def test_blocks_are_written_whole_by_the_arm_s_way(built):
    """Exactly 64 tokens, none of which may end a text before; plain sampling is the model's own distribution."""
    arms = ("A5 beams-penalty-3", "A5 sample-temperature-0.7-top-p-0.9-top-k-50-penalty-2")
    beams, drawn = (chain.written for chain in built(_config(*arms, num_beams=4)))
    assert beams == ("beams", (Rules(64, 64, 3.0), 4))
    assert drawn == ("sample", (Rules(64, 64, 2.0),), {"temperature": 0.7, "top_k": 50, "top_p": 0.9})
    (plain,) = [chain.written for chain in built(_config("A5 sample"))]
    assert plain == ("sample", (Rules(64, 64),), {"temperature": 1.0, "top_k": 0, "top_p": 1.0})


def test_a_teacher_s_ends_are_words_like_others(monkeypatch, unchecked):
    told = []
    monkeypatch.setattr(study, "sampled_decoding", lambda rules, **options: told.append(rules))
    study._decode(_config("A5 sample", truth="teacher"), study.parse_arm("A5 sample"))
    assert told == [Rules(64, 0, ends=False)]


def test_each_metric_reads_its_own_text(built):
    """Validation and test are other documents; the vocabulary is that of what model 0 learns."""
    (chain,) = built(_config("A5 beams"))
    assert chain.metrics[:2] == (("validation", [100, 101, 102, 103], 64), ("test", [200, 201, 202, 203], 64))
    named = {metric.name: metric for metric in chain.metrics[2:]}
    assert float(named["bytes_per_token"].function(KEY, None)) == 2.5
    network, pretrained, _ = load_model(None)
    expected = -token_log_probs(network, pretrained, TEXTS.validation).mean()
    np.testing.assert_allclose(named["zero_shot"].function(KEY, None), expected, rtol=1e-4)
    snapshot = SimpleNamespace(synthetic=Samples(jnp.asarray(TEXTS.training[:4]), jnp.ones(4)))
    np.testing.assert_allclose(named["forgotten"].function(KEY, snapshot), 0.75)
    prompts = named["prompts"].function(KEY, SimpleNamespace(params=SimpleNamespace(prompts=TEXTS.training)))
    assert np.array_equal(prompts, TEXTS.training[:2])


def test_blocks_are_spread_over_the_whole_text():
    blocks = np.arange(1000)
    assert spread(blocks, 5).tolist() == [0, 250, 500, 749, 999] and spread(blocks, 0) is blocks
    texts = load_texts(16, 20)
    places = [next(i for i, row in enumerate(texts.pool) if np.array_equal(row, block)) for block in texts.training]
    assert places[0] == 0 and places[-1] == len(texts.pool) - 1 and np.ptp(np.diff(places)) <= 1
    # held-out text is taken in runs of four neighbours, so that a long block is a passage
    whole = load_texts(16, 0)
    for part, all_of in ((texts.validation, whole.validation), (texts.test, whole.test)):
        at = [next(i for i, row in enumerate(all_of) if np.array_equal(row, block)) for block in part]
        assert len(part) == 20 and (np.diff(np.reshape(at, (5, 4)), axis=1) == 1).all()
        assert at[0] == 0 and at[-1] == len(all_of) - 1


def test_bytes_are_those_of_the_validation_text():
    """With a line's end to each line, over its tokens; the last block, not whole, is a thousandth of them."""
    texts, (_, _, tokenizer) = load_texts(16, 128), load_model(None)
    lines = load_wikipedia().validation
    tokens = sum(map(len, encode(tokenizer, lines)))
    assert texts.bytes_per_token == pytest.approx(len(("\n".join(lines) + "\n").encode()) / tokens, rel=2e-3)


def test_a_teacher_learns_the_whole_text_and_writes_as_much_as_is_asked_for(monkeypatch):
    """Four blocks of a pool for each that model 0 learns, each begun by `</s>`; all parts are different texts."""
    network, pretrained, _ = load_model(None)
    seen = {}

    def language(config, weights, prompts, validation, decode, tuning):
        seen.update(prompts=prompts, validation=validation, tuning=tuning)
        fit = lambda key, params, data: (SimpleNamespace(weights={"of": "the truth"}), {})  # noqa: E731
        return SimpleNamespace(init=lambda key, data: seen.update(data=data), fit=fit)

    def sample(key, config, weights, first, *, rules):
        seen.update(weights=weights, first=first, rules=rules)
        return SimpleNamespace(tokens=jax.random.randint(key, (len(first), 63), 3, 2000))

    monkeypatch.setattr(teacher, "language", language)
    monkeypatch.setattr(teacher, "sample", sample)
    monkeypatch.setattr(teacher.jax, "jit", lambda function: function)
    tuning = FineTuning(num_epochs=3, batch_size=4)
    found = teacher.teach(KEY, network, pretrained, TEXTS, tuning)
    assert np.array_equal(seen["prompts"], TEXTS.pool) and np.array_equal(seen["data"].x, TEXTS.pool)
    assert np.array_equal(seen["validation"], TEXTS.validation) and seen["tuning"] == tuning
    assert seen["rules"] == Rules(63, ends=False) and found.weights == seen["weights"] == {"of": "the truth"}
    texts = found.texts
    assert [len(part) for part in texts[:4]] == [4 * M, M, 4, 4]
    assert all((part[:, 0] == network.bos_token).all() for part in texts[:4])
    assert np.array_equal(texts.training, spread(texts.pool, M))
    every = np.concatenate([texts.pool, texts.validation, texts.test])
    assert len(np.unique(every, axis=0)) == len(every)


def test_the_teacher_s_randomness_is_no_seed_s(built, monkeypatch):
    keys = []

    def teach(key, *args):
        keys.append(key)
        return SimpleNamespace(weights=None, texts=TEXTS)

    monkeypatch.setattr(study, "teach", teach)
    monkeypatch.setattr(study, "divergences", lambda *args: args)
    for seed in (0, 1):
        built(replace(_config("A5 sample", truth="teacher"), seed=seed))
    roots = [jax.random.key(seed) for seed in (0, 1)]
    seeds = [jax.random.fold_in(root, s) for root in roots for s in range(100)]
    data = [tuple(jax.random.key_data(key).tolist()) for key in (*keys, *roots, *seeds)]
    assert len(set(data)) == len(data)
