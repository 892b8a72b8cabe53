"""The language model as a Model: what a fit reads and keeps, what is continued, and the chain's laws."""


import jax
import jax.numpy as jnp
import numpy as np
import numpy_opt
import pytest
from small_language import CONFIG, PRETRAINED, REAL, RULES, TUNING, VALIDATION, build
from tiny_opt import equal, random_params

from collapse_jax import (
    accumulate,
    as_samples,
    build_chain,
    original,
    replace,
    replace_with_real,
    run_compiled,
    run_host,
)
from collapse_jax.core.data import Samples
from collapse_jax.core.protocol import Snapshot
from collapse_jax.drivers.sharding import model_mesh
from collapse_jax.metrics.text import (
    band_log_probs,
    divergences,
    diversity_metrics,
    forgotten_words,
    generated_nats,
    log_loss_metric,
)
from collapse_jax.models.language import LanguageParams, beam_decoding, language, sampled_decoding
from collapse_jax.networks.opt.decoding import Generated, Rules
from collapse_jax.networks.opt.model import hidden_states, logits
from collapse_jax.networks.opt.scoring import LogLoss, sequence_log_probs, token_log_probs
from collapse_jax.networks.opt.watermarks import green_list
from collapse_jax.networks.training import epoch_order

RNG = np.random.default_rng(1)


def chain(regime, **options):
    return build_chain(build(**options), regime, as_samples(jnp.asarray(REAL)), 8, diversity_metrics(24, 8))


def written(chain, num_generations=2, seeds=1, run=run_compiled, **options):
    """Tokens of every generation of seed 0, and the last state."""
    segments = list(run(chain, jax.random.key(0), seeds, range(1, num_generations + 1), **options))
    return np.concatenate([segment.records["texts"][0] for segment in segments]), segments[-1].state()


def test_a_fit_learns_and_keeps_the_best_epoch():
    model = build(tuning=changed_tuning(num_epochs=6))
    data = as_samples(jnp.asarray(REAL))
    params, info = model.fit(jax.random.key(0), model.init(jax.random.key(1), data), data)
    before = -float(token_log_probs(CONFIG, PRETRAINED, VALIDATION).mean())
    after = -float(token_log_probs(CONFIG, params.weights, VALIDATION).mean())
    assert after < before - 0.15 and float(info["validation_loss"]) == pytest.approx(after, abs=1e-4)
    # a rate far too large: the last epoch is worse than the best, which is kept
    wild = changed_tuning(num_epochs=6, learning_rate=1.0, end_rate=1.0)
    kept = build(tuning=wild).fit(jax.random.key(0), params, data)[1]["validation_loss"]
    last = build(tuning=wild._replace(keep_best=False)).fit(jax.random.key(0), params, data)[1][
        "validation_loss"
    ]
    assert float(kept) < float(last)


def changed_tuning(**changes):
    return TUNING._replace(**changes)


def test_a_row_of_weight_0_is_never_read():
    model, key = build(), jax.random.key(0)
    data = Samples(jnp.asarray(REAL), jnp.asarray([1.0] * 6 + [0.0] * 2))
    other = Samples(data.x.at[6:].set(23), data.weight)
    start = model.init(key, data)
    assert equal(model.fit(key, start, data)[0].weights, model.fit(key, start, other)[0].weights)


def test_an_epoch_reads_rows_as_their_weights_say():
    """Equal weights: each once, in another order each time. Weight 2: twice as often, over 400 epochs to 3 sigma."""
    orders = np.asarray(
        jax.vmap(lambda key: epoch_order(key, jnp.ones(10), 10))(jax.random.split(jax.random.key(0), 5))
    )
    assert (
        all(sorted(order) == list(range(10)) for order in orders)
        and len({tuple(order) for order in orders}) == 5
    )
    weight = jnp.asarray([2.0, 1.0, 0.0, 1.0])
    reads = jax.vmap(lambda key: epoch_order(key, weight, 3))(jax.random.split(jax.random.key(1), 400))
    share = np.bincount(np.asarray(reads).ravel(), minlength=4) / 1200
    assert share[2] == 0 and np.allclose(share[[0, 1, 3]], [0.5, 0.25, 0.25], atol=0.03)


@pytest.mark.parametrize("start", ["pretrained", "generation-0", "previous"])
def test_where_fine_tuning_starts(start):
    """With one generation more, `base` is what that name says, and another start gives other weights."""
    model, key = build(tuning=changed_tuning(start=start)), jax.random.key(0)
    data = as_samples(jnp.asarray(REAL))
    first, _ = model.fit(key, model.init(key, data), data)
    second, _ = model.fit(key, first, data)
    expected = {"pretrained": PRETRAINED, "generation-0": first.weights}.get(start)
    if expected is not None:
        assert equal(second.base, expected)
    same_as_first = equal(second.weights, first.weights)
    assert same_as_first == (start == "pretrained")  # the same data, key and start: the same fit


def test_prompts_are_the_originals_or_the_blocks_just_read():
    data = as_samples(jnp.asarray(REAL[::-1].copy()))
    for prompts_from, expected in (("original", REAL), ("previous", REAL[::-1])):
        model = build(prompts_from=prompts_from)
        params, _ = model.fit(jax.random.key(0), model.init(jax.random.key(0), data), data)
        assert np.array_equal(params.prompts, expected)


def test_continuations_are_those_of_the_prompts():
    """Three at a time, the last batch overlapping: the same as all at once."""
    model = build(beam_decoding(RULES, 2))
    params = model.init(jax.random.key(0), as_samples(jnp.asarray(REAL)))
    together = beam_decoding(RULES, 2)(jax.random.key(0), CONFIG, PRETRAINED, jnp.asarray(REAL))
    assert np.array_equal(model.sample(jax.random.key(1), params, 8).x, together)


@pytest.mark.heavy
def test_the_same_seed_writes_the_same_and_no_kept_data_is_setting_a():
    """One program for each; seed 0 beside another seed is seed 0 alone, because lanes are padded to one width."""
    a = chain(replace())
    tokens, _ = written(a, lanes=2)
    assert np.array_equal(tokens, written(a, seeds=2, lanes=2)[0])
    kept = [written(chain(replace_with_real(original(), fraction=part)), lanes=2)[0] for part in (0.0, 0.5)]
    assert np.array_equal(tokens, kept[0]) and not np.array_equal(tokens, kept[1])


def test_whole_minibatches_may_be_real():
    """With share 1 a chain trains on the first prompts alone, from the second fit on: what it wrote changes nothing."""
    real = changed_tuning(real_batches=1.0)
    model = build(tuning=real)
    start = model.init(jax.random.key(1), as_samples(jnp.asarray(REAL)))
    noise = as_samples(jnp.asarray(RNG.integers(10, 20, REAL.shape).astype(np.int32)))

    def fitted(data, num_fits):
        params = start._replace(num_fits=jnp.asarray(num_fits))
        return model.fit(jax.random.key(0), params, data)[0].weights

    learnt = as_samples(jnp.asarray(REAL))
    assert not equal(fitted(learnt, 0), fitted(noise, 0))
    assert equal(fitted(learnt, 1), fitted(noise, 1))
    with pytest.raises(ValueError, match="`real_batches` must"):
        build(tuning=changed_tuning(real_batches=1.5))


def test_accumulating_one_generation_is_learning_both():
    made = chain(accumulate(1))
    state, _ = made.init(jax.random.key(0))
    after, _ = made.step(jax.random.key(1), state)
    key_fit = jax.random.split(jax.random.key(1), 4)[1]
    both = as_samples(jnp.asarray(REAL)).merge(state.synthetic)
    expected, _ = build().fit(key_fit, state.params, both)
    assert equal(after.params.weights, expected.weights)


def test_pieces_change_no_bit_and_the_host_writes_what_the_program_writes():
    """An epoch of four steps, whole and as three and one; compiled, the same tokens and a loss that is near."""
    small = changed_tuning(batch_size=2)
    whole, state = written(chain(replace(), tuning=small), 1, run=run_host)
    pieces = small._replace(steps_per_piece=3)
    cut, state_cut = written(chain(replace(), tuning=pieces), 1, run=run_host)
    assert np.array_equal(whole, cut) and equal(state.params.weights, state_cut.params.weights)
    compiled, state_compiled = written(chain(replace(), tuning=pieces), 1, lanes=1)
    assert np.array_equal(whole[0], compiled[0])
    losses = [
        -token_log_probs(CONFIG, jax.tree.map(lambda leaf: leaf[0], one.params.weights), VALIDATION).mean()
        for one in (state, state_compiled)
    ]
    assert float(losses[0]) == pytest.approx(float(losses[1]), abs=1e-2)


@pytest.mark.heavy
def test_a_chain_that_was_stopped_goes_on_to_the_same_tokens():
    """After a generation, by both drivers, and in the middle of a fit."""
    made, key = chain(replace(), tuning=changed_tuning(steps_per_piece=1)), jax.random.key(0)
    for run, options in ((run_host, {}), (run_compiled, {"lanes": 1})):
        _, first, second = run(made, key, 1, (1, 2), **options)
        (again,) = run(made, key, 1, (1, 2), resume=(1, first.state()), **options)
        assert np.array_equal(second.records["texts"], again.records["texts"])
        assert equal(second.state().params.weights, again.state().params.weights)
    seen = []
    _, first, second = run_host(made, key, 1, (1, 2), on_chunk=lambda seed, piece: seen.append(piece))
    middle = seen[len(seen) * 2 // 3 + 2]  # pieces of three generations, alike: this is the third fit's third
    assert (middle.phase, middle.position) == ("fit", 3)
    (again,) = run_host(made, key, 1, (1, 2), resume=(1, first.state()), piece=middle)
    assert np.array_equal(second.records["texts"], again.records["texts"])


@pytest.mark.heavy
def test_two_devices_share_the_rows_of_a_batch():
    """The same tokens, and losses to rounding; weights stay whole on both devices. A batch must divide."""
    mesh = model_mesh(jax.devices()[:2])
    options = {"decode": beam_decoding(RULES, 2), "tuning": changed_tuning(steps_per_piece=1)}
    alone, state = written(chain(replace(), **options), 1, run=run_host)

    def shared(batch):
        model = language(
            CONFIG,
            PRETRAINED,
            REAL,
            VALIDATION,
            options["decode"],
            options["tuning"],
            prompt_batch=batch,
            mesh=mesh,
        )
        return build_chain(model, replace(), as_samples(jnp.asarray(REAL)), 8, diversity_metrics(24, 8))

    together, state_shared = written(shared(4), 1, run=run_host)
    assert np.array_equal(alone, together)
    losses = [
        token_log_probs(CONFIG, jax.tree.map(lambda leaf: leaf[0], one.params.weights), VALIDATION).mean()
        for one in (state, state_shared)
    ]
    assert float(losses[0]) == pytest.approx(float(losses[1]), abs=1e-2)
    data = as_samples(jnp.asarray(REAL))
    model = language(CONFIG, PRETRAINED, REAL, VALIDATION, options["decode"], options["tuning"], mesh=mesh)
    params, _ = model.fit(jax.random.key(0), model.init(jax.random.key(1), data), data)
    placed = jax.tree.leaves(params.weights)[0].sharding
    assert len(placed.device_set) == 2 and placed.is_fully_replicated
    with pytest.raises(ValueError, match="3 rows do not divide among 2 devices"):
        shared(3)


def test_divergence_is_zero_at_the_truth_and_what_a_sum_over_tokens_says():
    """By hand: softmax of both models' logits at every place; tolerance of float32 sums."""
    other = random_params(CONFIG, scale=0.5)
    blocks = jnp.asarray(VALIDATION)
    snapshot = Snapshot(
        jnp.asarray(0), LanguageParams(other, other, blocks, jnp.asarray(1)), None, as_samples(blocks), None
    )
    metric = divergences(CONFIG, PRETRAINED, VALIDATION)
    log_p, log_q = (
        jax.nn.log_softmax(logits(CONFIG, weights, hidden_states(CONFIG, weights, blocks)))
        for weights in (PRETRAINED, other)
    )
    expected = [float(jnp.sum(jnp.exp(a) * (a - b), -1).mean()) for a, b in ((log_p, log_q), (log_q, log_p))]
    assert (
        np.allclose(metric.function(jax.random.key(0), snapshot), expected, rtol=1e-4)
        and min(expected) > 0.01
    )
    same = snapshot._replace(params=snapshot.params._replace(weights=PRETRAINED))
    assert np.allclose(metric.function(jax.random.key(0), same), 0, atol=1e-6)


def test_metrics_say_what_they_are_called():
    model = build()
    data = as_samples(jnp.asarray(REAL))
    stream = RNG.integers(3, 9, 60)
    metrics = (
        log_loss_metric("real", CONFIG, stream, block=6), generated_nats(CONFIG),
        band_log_probs(CONFIG, VALIDATION, REAL, num_bands=2), forgotten_words(REAL), *diversity_metrics(24, 2),
    )  # fmt: skip
    state, record = build_chain(model, replace(), data, 8, metrics).init(jax.random.key(0))
    weights, blocks = state.params.weights, np.asarray(state.synthetic.x)
    assert np.allclose(record["generated_nats"], -sequence_log_probs(CONFIG, weights, blocks) / 5, atol=1e-4)
    expected = -token_log_probs(CONFIG, weights, stream.reshape(10, 6)).mean()
    assert float(record["real"][0]) == pytest.approx(float(expected), abs=1e-4)
    assert int(record["vocabulary"]) == len(np.unique(blocks)) and record["texts"].shape == (2, 6)
    known = set(REAL.ravel().tolist())
    assert float(record["forgotten"]) == pytest.approx(len(known - set(blocks.ravel().tolist())) / len(known))
    share = np.bincount(blocks.ravel()) / blocks.size
    assert float(record["entropy"]) == pytest.approx(
        -np.sum(share[share > 0] * np.log(share[share > 0])), abs=1e-4
    )
    for order, found in zip((2, 3, 4), np.asarray(record["distinct"])):
        grams = [tuple(row[i : i + order]) for row in blocks.tolist() for i in range(6 - order + 1)]
        assert found == pytest.approx(len(set(grams)) / len(grams))
    said = [[tuple(row[i : i + 4]) for i in range(3)] for row in blocks.tolist()]
    assert float(record["repetition"]) == pytest.approx(np.mean([(3 - len(set(row))) / 2 for row in said]))
    counts = np.bincount(REAL.ravel(), minlength=24)[VALIDATION[:, 1:]]
    edge = np.quantile(counts, 0.5)
    log_probs = np.asarray(token_log_probs(CONFIG, weights, VALIDATION))
    for band, rare in zip(np.asarray(record["band_log_probs"]), (counts < edge, counts >= edge)):
        assert band == pytest.approx(log_probs[rare].mean(), abs=1e-4)


def nats(weights, texts):
    """-log p of every token but the first of each text, by NumPy."""
    texts = np.asarray(texts)
    scores = numpy_opt.log_softmax(numpy_opt.next_scores(CONFIG, weights, texts[:, :-1]))
    return -np.take_along_axis(scores, texts[:, 1:, None], axis=2)[..., 0]


def test_texts_are_scored_by_model_0_and_real_text_by_the_model_of_its_generation():
    """A snapshot of a later generation, whose model is another than model 0; float32 against float64."""
    later = random_params(CONFIG, seed=3, scale=0.5)
    blocks, stream = jnp.asarray(REAL), RNG.integers(3, 9, 60)
    now, first = (LanguageParams(weights, weights, blocks, jnp.asarray(1)) for weights in (later, PRETRAINED))
    snapshot = Snapshot(jnp.asarray(4), now, first, as_samples(blocks), as_samples(blocks[::-1]))
    metrics = (
        generated_nats(CONFIG),
        band_log_probs(CONFIG, VALIDATION, REAL, num_bands=1),
        log_loss_metric("real", CONFIG, stream, block=6),
    )
    measured = jax.jit(lambda s: [metric.function(jax.random.key(0), s) for metric in metrics])(snapshot)
    own, others = (nats(weights, REAL).mean(axis=1) for weights in (PRETRAINED, later))
    np.testing.assert_allclose(measured[0], own, atol=1e-4)
    assert np.abs(own - others).min() > 1e-2
    np.testing.assert_allclose(measured[1], [-nats(later, VALIDATION).mean()], atol=1e-4)
    # three protocols: blocks of 6; blocks of all 12 positions; a window of 12 that moves by 6
    windows = nats(later, np.stack([stream[start : start + 12] for start in range(0, 49, 6)]))
    expected = [
        nats(later, stream.reshape(10, 6)).mean(), nats(later, stream.reshape(5, 12)).mean(),
        np.concatenate([windows[0], windows[1:, -6:].ravel()]).mean(),
    ]  # fmt: skip
    np.testing.assert_allclose(measured[2], expected, atol=1e-4)
    assert np.abs(np.diff([*expected, expected[0]])).min() > 1e-3  # no two protocols agree here


def test_a_fit_reports_the_mean_loss_of_its_last_epoch():
    """With steps of nothing every minibatch is scored by the first weights: nats a token of all rows, once each."""
    still = changed_tuning(num_epochs=3, learning_rate=1e-12, end_rate=0.0, weight_decay=0.0)
    data = as_samples(jnp.asarray(REAL))
    model = build(tuning=still)
    _, info = model.fit(jax.random.key(0), model.init(jax.random.key(1), data), data)
    assert float(info["loss"]) == pytest.approx(nats(PRETRAINED, REAL).mean(), abs=1e-4)
    assert float(info["validation_loss"]) == pytest.approx(nats(PRETRAINED, VALIDATION).mean(), abs=1e-4)


def test_rates_fall_by_epochs_to_the_end_that_was_asked_for_and_weights_decay_by_them():
    """One step an epoch: the rate is 1e-3, then half way to 2e-4. Rows of positions that no text reaches only decay."""
    tuning = changed_tuning(
        num_epochs=2, batch_size=8, learning_rate=1e-3, end_rate=2e-4, weight_decay=10.0, keep_best=False
    )
    data, model = as_samples(jnp.asarray(REAL)), build(tuning=tuning)
    params, _ = model.fit(jax.random.key(0), model.init(jax.random.key(1), data), data)
    before, after = (np.asarray(w["positions"]["embedding"])[8:] for w in (PRETRAINED, params.weights))
    np.testing.assert_allclose(after / before, (1 - 1e-2) * (1 - 6e-3), rtol=1e-5)
    # the others move by about the rate a step, besides
    first, last = (np.asarray(w["layers"][0]["up"]["kernel"]) for w in (PRETRAINED, params.weights))
    assert 1.2e-3 < np.abs(last - after[0, 0] / before[0, 0] * first).max() < 1.7e-3


def test_the_order_of_an_epoch_shares_no_key_with_a_step():
    """fold_in(key, i), which a step uses, is split(key)[i]: what an epoch uses must not be of the same parent."""
    model, key = build(tuning=changed_tuning(num_epochs=3)), jax.random.key(0)
    data = as_samples(jnp.asarray(REAL))
    begun = model.fit.start(key, model.init(key, data), data)
    orders = np.asarray(begun.order).reshape(3, 8)
    of_steps = jax.vmap(lambda n: epoch_order(jax.random.fold_in(begun.key, n), data.weight, 8))(jnp.arange(6))
    assert not any((order == of_steps).all(axis=1).any() for order in orders)
    assert not jnp.array_equal(jax.random.key_data(begun.key), jax.random.key_data(key))


def _told_by(monkeypatch, told, tuning, num_fits):
    """What a fit reports of the blocks that it reads, by a loss that moves no weight: 64 blocks, of tokens 0 to 63.

    The data are tokens from 100 on; original blocks are the prompts.
    """

    def quiet(config):
        still = lambda weights: 0.0 * weights["final_norm"]["bias"].sum()  # noqa: E731
        return lambda key, weights, texts: (still(weights), {"loss": told(texts.tokens[:, 0])})

    monkeypatch.setattr("collapse_jax.models.language.language_loss", quiet)
    one = LogLoss(jnp.ones(()), jnp.asarray(1))
    monkeypatch.setattr("collapse_jax.models.language.block_log_loss", lambda *_: one)
    blocks = np.repeat(np.arange(64, dtype=np.int32)[:, None], 6, axis=1)
    model = build(tuning=tuning, prompts=blocks)
    data = as_samples(jnp.asarray(100 + blocks))
    start = model.init(jax.random.key(1), data)._replace(num_fits=jnp.asarray(num_fits))
    return float(model.fit(jax.random.key(2), start, data)[1]["loss"])


@pytest.mark.parametrize(("share", "num_fits"), [(0.5, 1), (1.0, 1), (0.5, 0)])
def test_a_minibatch_of_original_blocks_has_each_once_and_comes_at_its_share(share, num_fits, monkeypatch):
    """32 minibatches of 2 among 64 blocks: half of them to 0.45, five standard errors; before a first fit none."""
    tuning = changed_tuning(num_epochs=1, batch_size=2, real_batches=share)
    found = _told_by(monkeypatch, lambda tokens: 1.0 * jnp.all(tokens < 64), tuning, num_fits)
    expected = share * (num_fits > 0)
    assert abs(found - expected) <= (0.45 if 0 < expected < 1 else 0)
    if share == 1:  # half of all blocks in each of two minibatches, none twice
        wide, distinct = tuning._replace(batch_size=32), lambda t: 1.0 + jnp.sum(jnp.diff(jnp.sort(t)) > 0)
        assert _told_by(monkeypatch, distinct, wide, 1) == 32


def test_batches_of_prompts_do_not_share_their_randomness():
    """Eight prompts alike, two at a time: no two continuations are alike; and the key decides."""
    alike = np.repeat(REAL[:1], 8, axis=0)
    model = language(CONFIG, PRETRAINED, alike, VALIDATION, sampled_decoding(RULES), TUNING, prompt_batch=2)
    params = model.init(jax.random.key(0), as_samples(jnp.asarray(alike)))
    first, again, other = (np.asarray(model.sample(jax.random.key(k), params, 8).x) for k in (1, 1, 2))
    assert len({tuple(row) for row in first.tolist()}) == 8  # 24^6 texts: two alike once in ten million
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_ways_of_writing_pass_on_what_they_are_asked_for(monkeypatch):
    told = []

    def write(*args, **options):
        told.append((args[-1], options))
        return Generated(jnp.asarray(REAL), jnp.full(8, 6), jnp.zeros(8))

    monkeypatch.setattr("collapse_jax.models.language.sample", write)
    monkeypatch.setattr("collapse_jax.models.language.beam_search", write)
    options = {"temperature": 0.7, "top_k": 5, "top_p": 0.9, "watermark": green_list(secret=1)}
    ways = (sampled_decoding(RULES, **options), sampled_decoding(RULES), beam_decoding(RULES), beam_decoding(RULES, 3))
    for decode in ways:
        assert np.array_equal(decode(jax.random.key(0), CONFIG, PRETRAINED, jnp.asarray(REAL)), REAL)
    assert [what.pop("rules") for _, what in told] == [RULES] * 4
    plain = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "watermark": None}
    assert [what for _, what in told] == [options, plain, {"num_beams": 5}, {"num_beams": 3}]
    assert all(np.array_equal(prompts, REAL) for prompts, _ in told)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: build(tuning=changed_tuning(start="first")), "`start` has no choice 'first'"),
        (lambda: build(tuning=changed_tuning(batch_size=9)), "8 prompts do not fill one minibatch of 9"),
        (lambda: build(prompts_from="mine"), "`prompts_from` has no choice"),
        (
            lambda: build_chain(build(), replace(), as_samples(jnp.asarray(REAL)), 5),
            "`num_samples` must be 8, got 5",
        ),
        (lambda: build_chain(build(), replace(), as_samples(np.ones((8, 6))), 8), "needs blocks of tokens"),
        (
            lambda: chain(replace(), decode=beam_decoding(Rules(4, 4), 2)),
            "a block has 6 tokens and `decode` writes 4",
        ),
    ],
)
def test_what_cannot_be_built_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
