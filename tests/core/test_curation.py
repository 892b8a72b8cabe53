"""Curated data and schedules of M: who is picked, how often, and how many rows a generation trains on."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from collapse_jax import Metric, Samples, build_chain, curate, gaussian, gaussian_truth, replace, schedule
from collapse_jax.models.categorical import (
    CategoricalTruth,
    categorical_metrics,
    categorical_points,
)
from collapse_jax.models.gaussian import gaussian_statistics
from collapse_jax.numerics import frame as frames
from collapse_jax.selfcheck.laws.running import run_all
from collapse_jax.testing.laws import assert_mean
from collapse_jax.theory import curation as exact

KEY = jax.random.key(0)
REWARD = np.array([1.0, 0.0, 0.3])
NUM = 60_000


def _score(labels):
    return jnp.asarray(REWARD)[labels]


def _labels(probabilities, num=NUM):
    return CategoricalTruth(np.asarray(probabilities)).sample(jax.random.key(1), num)


def _counts(regime, probabilities):
    picked, _ = regime.update(jax.random.key(2), _labels(probabilities), ())
    return np.bincount(np.asarray(picked.x), minlength=len(probabilities))


@pytest.mark.parametrize("choice", ["best", "luce"])
def test_one_candidate_is_replace(choice):
    drawn = _labels([0.2, 0.3, 0.5], 100)
    picked, state = curate(_score, 1, choice=choice).update(KEY, drawn, ())
    kept, _ = replace().update(KEY, drawn, ())
    assert (picked.x == kept.x).all() and (picked.weight == kept.weight).all() and state == ()


def test_every_pick_is_one_of_its_candidates():
    drawn = Samples(jnp.arange(12.0), jnp.arange(1.0, 13.0))
    for choice in ("best", "luce"):
        picked, _ = curate(lambda rows: -((rows - 5) ** 2), 3, choice=choice).update(KEY, drawn, ())
        assert (np.asarray(picked.x) // 3 == np.arange(4)).all()
        assert (picked.weight == picked.x + 1).all()  # with its own weight
        if choice == "best":
            assert picked.x.tolist() == [2.0, 5.0, 6.0, 9.0]


def test_luce_on_two_classes():
    """x' = x + x (1 - x)(2 sigma(D) - 1), 30,000 choices: z < 5 sees a share off by 0.018."""
    p = np.array([0.3, 0.7])
    counts = _counts(curate(_score, 2, choice="luce"), p)
    expected = float(exact.luce_pair(jnp.asarray(p), jnp.asarray(REWARD[:2]))[0])
    assert abs(counts[0] / counts.sum() - expected) < 5 * np.sqrt(expected * (1 - expected) / counts.sum())
    assert expected - p[0] > 0.09


@pytest.mark.parametrize(("num", "sharpness"), [(2, 1.0), (2, -3.0), (3, 2.0)])
def test_luce_on_three_classes(num, sharpness):
    """Chi-square over 20,000 choices or more, p > 1e-3: sees shares off by 0.02; every tuple is enumerated."""
    p = np.array([0.2, 0.3, 0.5])
    law = np.zeros(3)
    for rivals in itertools.product(range(3), repeat=num - 1):
        gain = [
            float(exact.luce_gain(sharpness * r, jnp.asarray(sharpness * REWARD[list(rivals)])))
            for r in REWARD
        ]
        law += p * np.prod(p[list(rivals)]) * np.array(gain)
    if num == 2:
        np.testing.assert_allclose(
            exact.luce_pair(jnp.asarray(p), jnp.asarray(sharpness * REWARD)), law, rtol=1e-5
        )
    assert law.sum() == pytest.approx(1, abs=1e-6)  # float32
    counts = _counts(curate(_score, num, choice="luce", sharpness=sharpness), p)
    assert stats.chisquare(counts, law / law.sum() * counts.sum()).pvalue > 1e-3
    assert np.abs(law - p).max() > 0.05


def test_the_best_of_three_classes():
    """P(the best of K is at most a class) = P(a draw is)^K; chi-square over 20,000 choices, shares off by 0.02."""
    p = np.array([0.2, 0.3, 0.5])
    order = np.argsort(REWARD)
    law = np.empty(3)
    law[order] = np.diff(np.cumsum(p[order]) ** 3, prepend=0)
    counts = _counts(curate(_score, 3), p)
    assert stats.chisquare(counts, law * counts.sum()).pvalue > 1e-3


def test_data_units_decide():
    """A score that has its maximum at a point: nearest in data units is not nearest in the frame's coordinates."""
    frame = frames.advance(frames.data_frame(2), jnp.array([2.0, 1.0]), jnp.array([[0.5, 0.0], [-1.0, 2.0]]))
    local = jax.random.normal(KEY, (40, 2))
    distance = lambda rows: -jnp.sum((rows - jnp.array([2.5, 0.0])) ** 2, axis=1)  # noqa: E731
    picked, _ = curate(distance, 4).update(KEY, Samples(local, jnp.ones(40), frame), ())

    def best(rows):
        return np.asarray(distance(rows)).reshape(-1, 4).argmax(axis=1) + 4 * np.arange(10)

    expected = best(jnp.asarray(local @ np.array([[0.5, 0.0], [-1.0, 2.0]]).T + np.array([2.0, 1.0])))
    assert (np.asarray(picked.x) == np.asarray(local)[expected]).all() and picked.frame is frame
    assert (expected != best(local)).any()


def test_an_empty_slot_is_not_picked():
    drawn = Samples(jnp.array([9.0, 1.0, 2.0, 3.0]), jnp.array([0.0, 1.0, 1.0, 1.0]))
    picked, _ = curate(lambda rows: rows, 2).update(KEY, drawn, ())
    assert picked.x.tolist() == [1.0, 3.0]


SIZES, LARGEST, RUNS = (5, 20, 10), 20, 4096


@pytest.fixture(scope="module")
def records():
    """A scheduled chain of labels, and two under Luce's rule, one compiled program."""
    truth = CategoricalTruth(np.array([0.4, 0.3, 0.2, 0.1]))
    seen = Metric("seen", (), "1", lambda key, s: s.training.total_weight)
    model, metrics = categorical_points(4), (*categorical_metrics(), seen)
    reward = lambda labels: jnp.where(labels == 3, 1.0, 0.0)  # noqa: E731
    judged = curate(reward, 2, choice="luce")
    chains = {
        "schedule": build_chain(model, schedule(SIZES), truth.sampler(LARGEST), LARGEST, metrics),
        "curated": build_chain(model, judged, truth.sampler(LARGEST), 2 * LARGEST, metrics),
    }
    return run_all(chains, KEY, RUNS, len(SIZES))


def test_a_schedule_counts_generations(records):
    np.testing.assert_array_equal(records["schedule"]["seen"], np.tile([LARGEST, *SIZES], (RUNS, 1)))
    heterozygosity = records["schedule"]["heterozygosity"]
    start = 1 - np.sum(np.array([0.4, 0.3, 0.2, 0.1]) ** 2)
    kept = np.cumprod(1 - 1 / np.array([LARGEST, *SIZES]))
    for generation in range(len(SIZES) + 1):  # 4,096 chains see 0.02
        assert_mean(heterozygosity[:, generation], start * kept[generation], power=0.02)


def test_a_schedule_keeps_the_first_rows():
    regime = schedule([2, 3])
    drawn = Samples(jnp.arange(4.0), jnp.array([1.0, 2.0, 3.0, 4.0]))
    state = regime.init(drawn, drawn)
    first, state = regime.update(KEY, drawn, state)
    second, _ = regime.update(KEY, drawn, state)
    assert first.weight.tolist() == [1, 2, 0, 0] and second.weight.tolist() == [1, 2, 3, 0]
    assert regime.max_generations == 2 and (first.x == drawn.x).all()


def test_the_rarest_class_gains_by_its_reward(records):
    """One generation, given the last: 4,096 chains see a share off by 0.02, where the gain is 0.04 and more."""
    p = records["curated"]["probabilities"].astype(float)
    drift = (p[:, :-1, 3] * (1 - p[:, :-1, 3])) * (2 / (1 + np.exp(-1.0)) - 1)
    for generation in range(len(SIZES)):
        assert_mean(p[:, generation + 1, 3] - p[:, generation, 3] - drift[:, generation], 0.0, power=0.02)
    assert drift.mean() > 0.04
    assert (records["curated"]["seen"] == LARGEST).all()


def _refuse(regime, size=7):
    return build_chain(gaussian(1), regime, gaussian_truth(1).sampler(size), size)


def _refuse_statistics(regime):
    truth = gaussian_truth(1)
    return build_chain(gaussian_statistics(1), regime, truth.moments_sampler(10), 10)


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (
            lambda: _refuse(curate(lambda x: x[:, 0], 2)),
            ValueError,
            "`num_candidates` 2 must divide the 7 rows",
        ),
        (lambda: curate(_score, 0), ValueError, "`num_candidates` must be at least 1"),
        (lambda: curate(_score, 2, choice="lucy"), ValueError, "did you mean 'luce'"),
        (lambda: _refuse_statistics(curate(_score, 2)), TypeError, "`curate.*` must see single points"),
        (lambda: schedule([]), ValueError, "`sizes` must name at least one M"),
        (lambda: schedule([10, 1]), ValueError, "`sizes` must be at least 2, got 1"),
        (lambda: _refuse(schedule([5, 8])), ValueError, "ask for 8 rows, but 7 are drawn"),
        (lambda: _refuse_statistics(schedule([5, 8])), TypeError, "`schedule.*` must see single points"),
    ],
)
def test_bad_input_meets_a_sentence(make, error, sentence):
    with pytest.raises(error, match=sentence):
        make()
