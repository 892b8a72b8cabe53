"""What mixing costs, against the laws it is made of, against chains of plain NumPy, and at its edges.

Chains are of one dimension, with fixed seeds: means and variances of Gaussian rows are drawn, not the rows.
"""

import dataclasses
import itertools
import json
import math
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse_jax import advise, theory
from collapse_jax.advice.names import LABELS
from collapse_jax.testing.laws import assert_mean
from collapse_jax.theory import gaussian, limits, pool

REGIMES = tuple(LABELS)
PAGE = Path(__file__).parents[2] / "docs" / "advise.md"


def test_each_regime_is_its_law_without_a_bias():
    found = advise(40, 100, 7)
    laws = {
        "keep": theory.ibd_add_original(7, 40, 100), "fresh": theory.ibd_fresh_counts(7, 40, 40, 100),
        "accumulate": theory.ibd_accumulate(7, 40, 100), "replace": theory.ibd_replace(7, 40, 100),
        "deduplicate": theory.ibd_replace(0, 40, 40),
    }  # fmt: skip
    assert tuple(found.by_regime) == REGIMES == tuple(laws)
    for regime, identity in laws.items():
        of_regime = advise(40, 100, 7, regime)
        assert of_regime.by_regime[regime] == (of_regime.variance_kept, of_regime.error_ratio)
        assert of_regime.variance_kept == pytest.approx(1 - identity[-1], rel=1e-12)
        assert of_regime.error_ratio == pytest.approx(40 * identity[-1], rel=1e-12)
        assert found.by_regime[regime] == of_regime.by_regime[regime]


def test_a_bias_that_is_almost_none_changes_almost_nothing():
    """Other laws are used with a bias: they must meet those without one."""
    plain, biased = advise(40, 100, 7), advise(40, 100, 7, bias=1 - 1e-9)
    for regime in REGIMES:
        np.testing.assert_allclose(plain.by_regime[regime], biased.by_regime[regime], rtol=1e-7)


def test_the_variance_comes_to_rest_where_infinite_rows_do():
    """T* = (1 - c)/(1 - c lam), of the model's draws lam T*: c the share of synthetic rows."""
    for regime in ("keep", "fresh"):
        found = advise(10**9, 3 * 10**9, 400, regime, bias=0.9)
        assert found.variance_kept == pytest.approx(0.9 * pool.pool_variance_limit(0.75, 0.9), rel=1e-6)


def _drawn(rng, mean, variance, size):
    """Return mean and sum of squares about it of `size` rows of each chain's Gaussian."""
    return mean + np.sqrt(variance / size) * rng.normal(size=mean.shape), variance * rng.chisquare(
        size - 1, mean.shape
    )


def _pooled(parts):
    """Return mean and MLE variance of rows in parts: (size, mean, sum of squares about it)."""
    total = sum(size for size, _, _ in parts)
    mean = sum(size * middle for size, middle, _ in parts) / total
    return mean, sum(scatter + size * (middle - mean) ** 2 for size, middle, scatter in parts) / total


def _chains(regime, real, synthetic, generations, bias, runs, seed):
    """Return mu and v of the last model of every chain."""
    rng = np.random.default_rng(seed)
    zero, one = np.zeros(runs), np.ones(runs)
    rows = (real, *_drawn(rng, zero, one, real))
    seen, (mean, variance) = [rows], _pooled([rows])
    for _ in range(generations):
        made = (synthetic, *_drawn(rng, mean, bias * variance, synthetic))
        seen.append(made)
        parts = {
            "keep": [rows, made], "fresh": [(real, *_drawn(rng, zero, one, real)), made], "accumulate": seen,
            "replace": [made], "deduplicate": [rows],
        }[regime]  # fmt: skip
        mean, variance = _pooled(parts)
    return mean, variance


@pytest.mark.parametrize("bias", [1.0, 0.8, 1.1])
@pytest.mark.parametrize("regime", REGIMES)
def test_chains_keep_the_variance_and_err_as_predicted(regime, bias):
    """200,000 chains of 12 real and 20 synthetic rows: 1.3 % of the variance and 2.5 % of the error would show."""
    found = advise(12, 20, 4, regime, bias)
    mean, variance = _chains(regime, 12, 20, 4, bias, 200_000, seed=REGIMES.index(regime))
    assert_mean(bias * variance, found.variance_kept, power=0.013 * found.variance_kept)
    assert_mean(12 * mean**2, found.error_ratio, power=0.025 * found.error_ratio)


def test_a_bootstrap_without_its_copies_is_the_real_rows():
    """A generator that copies rows: with copies it is `keep`, without them the real rows; 20,000 sets of 12."""
    rng = np.random.default_rng(0)
    real = rng.normal(size=(20_000, 12))
    rows = real
    for _ in range(4):
        made = np.take_along_axis(rows, rng.integers(rows.shape[1], size=(20_000, 20)), axis=1)
        rows = np.concatenate([real, made], axis=1)
    copied = advise(12, 20, 4, "keep")
    assert_mean(rows.var(axis=1), copied.variance_kept, power=0.03)
    assert_mean(12 * rows.mean(axis=1) ** 2, copied.error_ratio, power=0.1)
    alone = advise(12, 20, 4, "deduplicate")
    assert_mean(real.var(axis=1), alone.variance_kept, power=0.03)
    assert alone.error_ratio == 1


def test_the_best_weight_of_fresh_rows_is_a_minimum_and_never_hurts():
    found = advise(50, 200, 6, "fresh")
    shares, means, _ = gaussian.best_fresh_mix(6, 50, 50, 200)
    assert found.best_weight == 1 - shares[-1] and found.error_with_best_weight == 50 * means[-1] < 1
    for share in np.linspace(0.05, 1, 20):
        assert 50 * theory.ibd_weight_fresh(6, 50, share, 50, 200)[-1] > found.error_with_best_weight
    assert found.error_with_best_weight < found.error_ratio
    # many generations: He et al.'s weight, to the 1/m that a known variance leaves out
    later = advise(10**6, 10**6, 60, "fresh")
    assert later.best_weight == pytest.approx(1 - theory.he_optimal_weight(1.0), abs=1e-5)
    assert later.error_with_best_weight == pytest.approx(limits.weighted_mean_error(0.618034, 1.0), abs=1e-5)


def test_weighted_chains_err_as_the_best_weights_say():
    """200,000 chains of 12 fresh and 20 synthetic rows with a bias: 2.5 % would show, and 1.2 % of the variance."""
    rng, runs, bias = np.random.default_rng(3), 200_000, 0.8
    shares, means, variances = gaussian.best_fresh_mix(4, 12, 12, 20, bias)
    middle, scatter = _drawn(rng, np.zeros(runs), np.ones(runs), 12)
    mean, variance = middle, scatter / 12
    for share in shares[1:]:
        (one, s1), (two, s2) = (
            _drawn(rng, np.zeros(runs), np.ones(runs), 12),
            _drawn(rng, mean, bias * variance, 20),
        )
        variance = share * s1 / 12 + (1 - share) * s2 / 20 + share * (1 - share) * (one - two) ** 2
        mean = share * one + (1 - share) * two
    assert_mean(mean**2, means[-1], power=0.025 * means[-1])
    assert_mean(variance, variances[-1], power=0.012 * variances[-1])
    found = advise(12, 20, 4, "fresh", bias)
    assert found.variance_with_best_weight == pytest.approx(bias * variances[-1], rel=1e-12)


def test_real_rows_that_are_there_leave_nothing_to_draws_of_their_models():
    for regime in ("keep", "accumulate", "replace", "deduplicate"):
        found = advise(50, 200, 6, regime, bias=0.9)
        assert (found.best_weight, found.error_with_best_weight) == (0.0, 1.0)
        assert found.variance_with_best_weight == pytest.approx(0.9 * (1 - 1 / 50))


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("target", [0.5, 0.8, 0.89])
def test_the_smallest_share_reaches_the_target_and_one_row_less_does_not(regime, target):
    found = advise(30, 170, 5, regime, bias=0.9, target=target)
    rows, kept_in = found.smallest_real_rows, "keep" if regime == "replace" else regime
    assert found.smallest_real_share == rows / 200
    assert advise(rows, 200 - rows, 5, kept_in, bias=0.9).variance_kept >= target
    assert rows == 2 or advise(rows - 1, 201 - rows, 5, kept_in, bias=0.9).variance_kept < target


def test_a_target_that_nothing_reaches_is_said():
    for found in (advise(30, 170, 5, target=1.0), advise(30, 170, 5, bias=0.85, target=0.9)):
        assert found.smallest_real_share is None and found.smallest_real_rows is None
        assert "No share of real rows leaves" in found.answer() and any(
            "none" in line for line in found.lines()
        )


@given(
    regime=st.sampled_from(REGIMES), bias=st.sampled_from([1.0, 0.95, 0.6]), generations=st.sampled_from([1, 5]),
    real=st.integers(2, 10**6), more=st.integers(1, 10**6), synthetic=st.integers(2, 10**7),
)  # fmt: skip
def test_more_real_rows_never_lower_the_variance_kept(regime, bias, generations, real, more, synthetic):
    fewer = advise(real, synthetic, generations, regime, bias).variance_kept
    assert advise(real + more, synthetic, generations, regime, bias).variance_kept >= fewer - 1e-12
    if synthetic > more + 2 and regime != "replace":  # at one size of the training set
        assert advise(real + more, synthetic - more, generations, regime, bias).variance_kept >= fewer - 1e-12


def test_the_half_life_halves():
    found = advise(10, 100, 3, bias=0.95)
    assert (0.95 * (1 - 1 / 100)) ** found.half_life == pytest.approx(0.5)
    for generations in (0, 20):  # far from the first fit, too
        kept = [advise(10, 100, generations + more, "replace", 0.95).variance_kept for more in (0, 1)]
        assert kept[1] / kept[0] == pytest.approx(0.5 ** (1 / found.half_life))
    assert advise(10, 10**9, 3).half_life == pytest.approx(math.log(2) * 1e9, rel=1e-6)
    assert advise(10, 100, 3, bias=1.05).half_life == math.inf == advise(10, 0, 3).half_life
    assert advise(10, 1, 3).half_life == 0


def test_an_effective_share_counts_rows():
    half, whole = advise(100, 400, 5, effective_share=0.5, target=0.95), advise(50, 200, 5, target=0.95)
    assert half.by_regime == whole.by_regime and half.half_life == whole.half_life
    assert half.smallest_real_share == whole.smallest_real_share
    assert half.smallest_real_rows == 2 * whole.smallest_real_rows


def test_nothing_synthetic_and_no_generation_are_the_real_rows_alone():
    same = (100, 0, 5), (100, 400, 0), (100, 0, 0, "replace"), (100, 0, 5, "accumulate")
    for found in itertools.starmap(advise, same):
        assert (found.variance_kept, found.error_ratio) == (0.99, 1.0)
        assert found.best_weight == 0 and found.error_with_best_weight == 1
    assert "replace" not in advise(100, 0, 5).by_regime
    assert advise(100, 0, 5, "fresh", bias=0.9).variance_kept == pytest.approx(0.9 * 0.99)


def test_more_variance_than_there_was_is_told_for_a_bias_above_1():
    found = advise(100, 400, 5, "replace", bias=1.2)
    assert found.variance_kept == pytest.approx(0.99 * 1.2 * (1.2 * (1 - 1 / 400)) ** 5)
    assert "291.9 %" in found.answer()


@pytest.fixture
def unchecked():
    """Annotations are not checked: the package's own sentence is what a user meets."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


BAD = [
    ({"real": 0}, "`real` must be at least 2, got 0"),
    ({"real": 2.5}, "`real` must be an integer"),
    ({"real": 10**16}, "`real` must be at most"),
    ({"synthetic": -1}, "`synthetic` must be at least 0"),
    ({"synthetic": 1, "regime": "replace"}, "`synthetic` must be at least 2 where it replaces"),
    ({"generations": 10**9}, "`generations` must be at most 100,000"),
    ({"generations": -1}, "`generations` must be at least 0"),
    ({"regime": "replcae"}, "did you mean 'replace'?"),
    ({"bias": 0}, "`bias` must be positive"),
    ({"bias": math.nan}, "`bias` must be positive"),
    ({"bias": "much"}, "`bias` must be a number"),
    ({"bias": [1.0, 0.9]}, "`bias` must be one number"),
    ({"target": 1.1}, "`target` must lie in"),
    ({"target": 0}, "`target` must be positive"),
    ({"effective_share": 0.01}, "`effective_share` makes the 100 rows of `real` count for 1"),
]


@pytest.mark.parametrize("wrong, told", BAD, ids=[told for _, told in BAD])
def test_what_is_wrong_is_told_in_a_sentence(wrong, told, unchecked):
    with pytest.raises((ValueError, TypeError)) as refused:
        advise(**{"real": 100, "synthetic": 400, "generations": 5, **wrong})
    assert told in str(refused.value) and str(refused.value).endswith(".")


def test_every_answer_is_a_table_of_80_columns_and_json():
    sizes = (2, 10_000, 10**15), (0, 50_000, 10**15), (0, 5), REGIMES, (0.01, 1.0, 1.3)
    for place, (real, synthetic, generations, regime, bias) in enumerate(itertools.product(*sizes)):
        target = (0.9, 1.0, 0.99999)[place % 3]
        if regime == "replace" and not synthetic and generations:
            continue
        found = advise(real, synthetic, generations, regime, bias, target=target)
        told = found.lines()
        assert max(map(len, told)) <= 80, told
        assert " ".join(told).startswith(found.answer())
        table = told[told.index("") + 1 :]
        table = table[: table.index("")]
        assert len(table) == 4 + len(found.by_regime) <= 9
        assert all(line.split(": ")[-1] in found.laws[name] for name, line in zip(found.by_regime, table[1:]))
        again = json.loads(json.dumps(found.as_json(), allow_nan=False))
        assert again == found.as_json() and again["variance_kept"] == found.variance_kept
        numbers = [v for v in dataclasses.asdict(found).values() if isinstance(v, float)]
        assert not any(math.isnan(number) for number in numbers)


def test_every_law_is_one_of_theory():
    for bias, regime in itertools.product((1.0, 0.9), REGIMES):
        for law in advise(10, 20, 3, regime, bias).laws.values():
            place = theory
            for part in law.partition(":")[0].split("."):
                place = getattr(place, part)
            assert place.domain


def test_the_page_shows_what_is_told():
    assert "\n".join(advise(10_000, 50_000, 5, bias=0.95).lines()) in PAGE.read_text(encoding="utf-8")
