"""How long the variance lasts: exact on Gaussians, silent where nothing can be known."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from collapse_jax.monitor import Moments, Monitor, effective_size
from collapse_jax.monitor.forecast import forecast
from collapse_jax.monitor.slope import crossing_times


def _chain(rng, num, dim, generations, shrink=1.0):
    """Return the samples of a Gaussian refitted by maximum likelihood to its own draws."""
    x, found = rng.normal(size=(num, dim)), []
    for _ in range(generations):
        found.append(x)
        factor = np.linalg.cholesky(np.atleast_2d(np.cov(x.T, bias=True)))
        x = x.mean(axis=0) + shrink * rng.normal(size=(num, dim)) @ factor.T
    return found


def _moments(samples):
    covariance = np.atleast_2d(np.cov(samples.T, bias=True))
    kept = float(np.mean(samples.var(axis=0, ddof=1)))
    return Moments(samples.mean(axis=0), covariance, 1 / len(samples), kept, len(samples))


def test_the_interval_is_that_of_chi_square():
    """N_hat/N = g d/chi2 with g d degrees, and its ends are the quantiles: next to nothing is estimated otherwise."""
    found = [_moments(x) for x in _chain(np.random.default_rng(0), 50, 1, 6)]
    got = effective_size(found, [50] * 6, 0.9)
    steps = [(later.mean - one.mean) ** 2 / one.covariance[0, 0] for one, later in itertools.pairwise(found)]
    total = float(np.sum(steps))
    assert got.size == pytest.approx(5 / total)
    assert (got.low, got.high) == pytest.approx(tuple(stats.chi2.ppf([0.05, 0.95], 5) / total))


@pytest.mark.parametrize(("num", "dim", "generations"), [(40, 1, 6), (100, 4, 6)])
def test_nine_intervals_in_ten_hold_the_size(num, dim, generations):
    """300 chains: 0.9 +- 5 standard errors (0.017) of a binomial; an interval of 80 % would be seen."""
    rng, holds = np.random.default_rng(1), 0
    for _ in range(300):
        found = [_moments(x) for x in _chain(rng, num, dim, generations)]
        got = effective_size(found, [num] * generations, 0.9)
        holds += got.low <= num <= got.high
    assert abs(holds / 300 - 0.9) < 5 * (0.09 / 300) ** 0.5


def test_a_part_of_the_rows_is_enough():
    """Of 400 rows 100 are seen: the noise of their means is known, and N is 400 still."""
    rng, holds, sizes = np.random.default_rng(2), 0, []
    for _ in range(200):
        found = [_moments(x[:100]) for x in _chain(rng, 400, 4, 10)]
        got = effective_size(found, [400] * 10, 0.9)
        holds += got.low <= 400 <= got.high
        sizes.append(1 / got.size)
    assert abs(holds / 200 - 0.9) < 5 * (0.09 / 200) ** 0.5
    assert np.mean(sizes) == pytest.approx(1 / 400, rel=0.15)


def test_samples_that_nobody_is_trained_on_say_so():
    rng = np.random.default_rng(3)
    found = [_moments(rng.normal(size=(60, 3))) for _ in range(40)]
    got = effective_size(found, [60] * 40)
    assert not got.passed_on and got.high == math.inf
    told = forecast(found, [60] * 40)
    assert told.high == math.inf and "go back and forth" in told.reason


def test_other_samples_of_the_same_models():
    """The chain is trained on 200 rows, and 200 others are shown: with passed_on=False N is 200."""
    rng, sizes = np.random.default_rng(4), []
    for _ in range(100):
        shown, x = [], rng.normal(size=(200, 3))
        for _ in range(15):
            mean, factor = x.mean(axis=0), np.linalg.cholesky(np.cov(x.T, bias=True))
            shown.append(_moments(mean + rng.normal(size=(200, 3)) @ factor.T))
            x = mean + rng.normal(size=(200, 3)) @ factor.T
        sizes.append(1 / effective_size(shown, [200] * 15, passed_on=False).size)
    assert np.mean(sizes) == pytest.approx(1 / 200, rel=0.2)  # 5 standard errors of a mean of 100


def test_the_half_life_is_ln_2_of_the_size():
    found = [_moments(x) for x in _chain(np.random.default_rng(5), 200, 8, 12)]
    told = forecast(found, [200] * 12, share=found[-1].kept / 2)
    assert told.basis == "drift"
    assert told.generations == pytest.approx(math.log(2) * told.effective_size)
    assert told.low < told.generations < told.high
    assert forecast(found, [200] * 12, share=found[-1].kept / 4).generations == pytest.approx(
        2 * told.generations
    )


def test_a_variance_that_falls_faster_than_drift_is_believed():
    """Draws have 0.81 of the fitted variance: half is left after 3.3 generations, and drift alone would say 200."""
    found = [_moments(x) for x in _chain(np.random.default_rng(6), 300, 6, 5, shrink=0.9)]
    told = forecast(found, [300] * 5, share=found[-1].kept / 2)
    assert told.basis == "variance" and told.low < math.log(2) / -math.log(0.81) < told.high
    assert "slope of the variance" in told.reason


def test_nothing_is_said_where_nothing_can_be_known():
    rng = np.random.default_rng(7)
    one = _moments(rng.normal(size=(50, 2)))
    assert math.isnan(forecast([], []).generations)
    assert "three generations" in forecast([one, one], [50, 50]).reason
    gone = one._replace(kept=0.3)
    told = forecast([one, one, gone], [50] * 3)
    assert told.generations == 0 and "0.3" in told.reason
    still = forecast([one, one, one], [50] * 3)
    assert still.generations == math.inf or math.isnan(still.generations)


def test_a_monitor_forecasts_from_samples():
    """Through coordinates learnt from a part, the same N: of 6 x 20 squares, within 5 of its standard errors (13 %)."""
    rng = np.random.default_rng(8)
    samples = _chain(rng, 500, 6, 21)
    monitor = Monitor(rng.normal(size=(800, 6)))
    for x in samples:
        monitor.update(x)
    told = monitor.forecast()
    assert told.effective_size == pytest.approx(500, rel=5 * (2 / 120) ** 0.5)
    assert 0.8 < told.kept < 1.1
    with pytest.raises(ValueError, match="share"):
        monitor.forecast(1.5)


def test_texts_drift_by_words():
    """A unigram model refitted to its own 3,000 words: N is about the number of words."""
    rng = np.random.default_rng(9)
    shares = np.full(40, 1 / 40)
    monitor = Monitor([rng.choice(40, 10, p=shares).tolist() for _ in range(400)], ["entropy"])
    for _ in range(12):
        texts = rng.choice(40, (300, 10), p=shares)
        monitor.update(texts.tolist())
        shares = np.bincount(texts.ravel(), minlength=40) / texts.size
    told = monitor.forecast(0.9)
    assert told.effective_size == pytest.approx(3000, rel=5 * (2 / (11 * 31)) ** 0.5)


def test_a_loss_that_speeds_up_comes_sooner():
    """Of steps of .1, .15, .225 and .34 nats the next ones are larger still: 1 nat comes after 2, not after 4.9."""
    soon = crossing_times(np.array([0.1, 0.15, 0.225, 0.34]), 1e-6, 1.0, (0.05, 0.5, 0.95))
    late = crossing_times(np.array([0.34, 0.225, 0.15, 0.1]), 1e-6, 1.0, (0.05, 0.5, 0.95))
    assert soon[0] < 1.6 < soon[2] and 1.3 < soon[1] < 1.9
    assert late[0] > 3 and late[2] == math.inf  # which may well come to rest
    steady = crossing_times(np.full(8, 0.1), 1e-6, 1.0, (0.05, 0.5, 0.95))
    assert steady[0] > 5 and steady[1] == pytest.approx(10, abs=1)
