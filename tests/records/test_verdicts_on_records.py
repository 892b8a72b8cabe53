"""Verdicts on records of others: rare where nothing happens, frequent where something does, in words that help."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats
from scipy.signal import lfilter

from collapse_jax.records import words
from collapse_jax.records.external import read_records, report_records
from collapse_jax.records.verdicts import movements, same_runs, seeds_needed, signed_ranks, stages

LAWS = {
    "normal": lambda rng, size: rng.normal(size=size),
    "t3": lambda rng, size: rng.standard_t(3, size=size),
    "cauchy": lambda rng, size: rng.standard_cauchy(size=size),
    "exponential": lambda rng, size: rng.exponential(size=size),
}


def _dataset(*arrays, units="1"):
    """Arrays [num_seeds, num_generations] as metrics m0, m1, ..."""
    dims = ("seed", "generation")
    seeds, generations = arrays[0].shape
    variables = {f"m{i}": (dims, array, {"units": units}) for i, array in enumerate(arrays)}
    return xr.Dataset(variables, {"seed": range(seeds), "generation": range(generations)})


def _still(rng, num_seeds, num_generations, law="normal", pull=0.0):
    """Stationary AR(1) in each seed, from noise of a law."""
    noise = LAWS[law](rng, (num_seeds, num_generations + 100))
    return lfilter([1.0], [1.0, -pull], noise, axis=1)[:, 100:]


def _share(make, num, seed=0):
    """Share of `num` records in which any metric is said to have moved."""
    rng = np.random.default_rng(seed)
    return np.mean([any(m.moved in ("rose", "fell") for m in movements(make(rng))) for _ in range(num)])


@pytest.mark.parametrize("num_seeds", [2, 3, 4, 6])
@pytest.mark.parametrize(
    ("law", "pull"), [("normal", 0.0), ("normal", 0.8), ("t3", 0.5), ("cauchy", 0.8), ("exponential", 0.5)]
)
def test_seeds_that_only_vary_seldom_move(num_seeds, law, pull):
    """A share of 0.05 of 150 has a standard error of 0.018; a false-alarm rate of 0.16 would be seen with power 0.9."""
    assert _share(lambda rng: _dataset(_still(rng, num_seeds, 10, law, pull)), 150) <= 0.05 + 3.3 * 0.018


@pytest.mark.parametrize(("law", "pull"), [("normal", 0.0), ("normal", 0.9), ("t3", 0.5), ("t3", 0.9), ("normal", 1.0)])
@pytest.mark.parametrize("num_generations", [8, 30])
def test_one_run_that_wanders_seldom_moves(law, pull, num_generations):
    """Stationary ones and random walks (pull 1); a rate of 0.16 would be seen with power 0.9."""
    assert _share(lambda rng: _dataset(_still(rng, 1, num_generations, law, pull)), 150) <= 0.05 + 3.3 * 0.018


def _flips(rng, num_seeds):
    """Flags whose last value is never the first one."""
    flags = rng.integers(0, 2, (num_seeds, 6))
    flags[:, -1] = 1 - flags[:, 0]
    return flags


@pytest.mark.parametrize("draw", [_flips, lambda rng, num_seeds: rng.poisson(1.0, (num_seeds, 6))])
@pytest.mark.parametrize("num_seeds", [3, 4, 6])
def test_flags_and_counts_seldom_move(draw, num_seeds):
    """Where t would see certainty: of three flags that flip, all go one way with probability 0.25."""
    assert _share(lambda rng: _dataset(draw(rng, num_seeds).astype(float)), 100) <= 0.05 + 3.3 * 0.022


def test_many_metrics_are_judged_together():
    assert _share(lambda rng: _dataset(*[_still(rng, 4, 8) for _ in range(8)]), 100) <= 0.05 + 3.3 * 0.022


@pytest.mark.parametrize(("num_seeds", "least"), [(3, 0.99), (4, 0.99), (6, 0.99)])
def test_a_rise_from_30_to_62_is_seen_by_few_seeds(num_seeds, least):
    """Noise of 1.5 in each generation and seed, saturating; a second metric that only varies beside it."""

    def make(rng):
        rise = 29.8 + 31.8 * (1 - np.exp(-np.arange(8.0)))
        return _dataset(rise + 1.5 * rng.normal(size=(num_seeds, 8)), _still(rng, num_seeds, 8))

    assert _share(make, 40) >= least


@pytest.mark.parametrize(
    ("num_seeds", "size", "low", "high"), [(3, 4.0, 0.51, 0.89), (4, 3.0, 0.62, 0.95), (6, 2.0, 0.61, 0.95)]
)
def test_the_power_is_that_of_the_paired_t(num_seeds, size, low, high):
    """A change of `size` noises of one generation: by noncentral t 0.71, 0.80, 0.79; of 100 records +- 0.045."""
    rise = np.array([0.0, size])
    assert low < _share(lambda rng: _dataset(rise + rng.normal(size=(num_seeds, 2))), 100) < high


def test_one_run_that_rises_steadily_is_seen():
    rise = np.linspace(29.8, 61.6, 12)
    assert _share(lambda rng: _dataset(rise + rng.normal(size=(1, 12))), 50) > 0.9
    long = np.linspace(29.8, 61.6, 60)
    assert _share(lambda rng: _dataset(long + 3 * rng.normal(size=(1, 60))), 50) > 0.8


def test_the_seeds_that_are_asked_for_have_the_power_that_is_said():
    num = seeds_needed(1.0, 1.3, 0.05)
    noncentral = np.sqrt(num) / 1.3
    edge = stats.t.isf(0.025, num - 1)
    assert 0.78 < stats.nct.sf(edge, num - 1, noncentral) < 0.9
    assert seeds_needed(0.0, 1.0, 0.05) is None


def test_signed_ranks_are_scipys():
    rng = np.random.default_rng(0)
    for num in (5, 9, 14, 80):
        steps = rng.normal(0.4, 1.0, num)
        if steps.sum() > 0 and stats.rankdata(np.abs(steps))[steps > 0].sum() * 4 > num * (num + 1):
            assert signed_ranks(steps) == pytest.approx(stats.wilcoxon(steps).pvalue, rel=0.02)
    assert signed_ranks(np.array([1.0, 2, 3, 4, 5, 6, -30])) == 1.0  # most up, all in all down
    assert len(stages(np.zeros(9))) == 9 and len(stages(np.zeros(1999))) == 10


def _csv(tmp_path, values, name="perplexity"):
    rows = [f"{s},{g},{value!r}" for s, row in enumerate(values.tolist()) for g, value in enumerate(row)]
    (tmp_path / "mine.csv").write_text("\n".join([f"seed,generation,{name}", *rows]))
    return tmp_path / "mine.csv"


def _told(tmp_path, values, name="perplexity"):
    told = []
    page = report_records(_csv(tmp_path, np.asarray(values, float), name), tell=told.append).read_text()
    assert all(one.split("'")[0] in page for one in told)
    return " ".join(told)


def test_six_seeds_that_rise_get_worse(tmp_path):
    rng = np.random.default_rng(3)
    values = np.linspace(29.8, 61.6, 5) + rng.normal(size=(6, 5))
    told = _told(tmp_path, values)
    reference = stats.ttest_1samp(values[:, -1] - values[:, 0], 0.0).confidence_interval()
    assert told.startswith("perplexity rose: it gets worse. perplexity rose from ")
    assert f"in all 6 seeds (paired 95 % interval of the change +{reference.low:.1f} to +{reference.high:.1f})" in told


@pytest.mark.parametrize(
    ("name", "up", "meaning"),
    [
        ("val_loss", True, "it gets worse"), ("FID", False, "it gets better"), ("words", True, ""),
        ("test/accuracy", False, "it gets worse"),
        ("meanEntropy", False, "it collapses"), ("log_variance[0, 1]", False, "it collapses"), ("tokens", True, ""),
        ("negative_log_likelihood", True, "it gets worse"), ("loss_variance", False, ""), ("1-accuracy", True, ""),
        ("accuracy_gain", False, ""), ("cross-entropy", True, "it gets worse"), ("floss", True, ""),
    ],
)  # fmt: skip
def test_only_known_names_are_good_or_bad(name, up, meaning):
    assert words.verdict_of(name, up) == meaning


def test_what_is_open_says_how_many_seeds_would_tell(tmp_path):
    told = _told(tmp_path, [[1.0, 1.61], [1.13, 1.24], [0.92, 1.37]])
    assert "perplexity: undecided. It rose from 1.02 to 1.41 in all 3 seeds, but the paired 95 % interval" in told
    assert "seeds would show it (power 80 %): run " in told
    one = _told(tmp_path, [[1.0, 1.31, 1.62]])
    assert "One seed: it rose from 1.00 to 1.62, in 2 of 2 steps" in one and "run 3 more seeds" in one


def test_seeds_that_hold_the_same_numbers(tmp_path):
    """All of them: one run. Two of them, to many decimals: these count once."""
    values = np.tile([29.8123, 61.6456], (6, 1))
    assert "All 6 seeds hold the same numbers: are they the same run?" in _told(tmp_path, values)
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 4))
    values[3] = values[1]
    dataset = read_records(_csv(tmp_path, values))
    assert same_runs(dataset) == [(3, 1)] and movements(dataset)[0].num_pairs == 4
    assert "count once: 3 as 1" in _told(tmp_path, values)
    assert same_runs(_dataset(np.array([[2.0, 1.0], [2.0, 1.0], [1.0, 1.0]]))) == []  # counts agree by chance


def test_numbers_that_span_a_hundredfold_are_compared_by_factors(tmp_path):
    """Six seeds rise ten- to ten-thousandfold: differences would say nothing."""
    values = np.stack([np.linspace(28, 31, 6), np.geomspace(3e2, 3e5, 6)], axis=1)
    assert stats.ttest_1samp(values[:, 1] - values[:, 0], 0.0).pvalue > 0.05
    assert movements(_dataset(values))[0].moved == "rose"
    values = np.stack([np.full(6, 1.0) + 0.01 * np.arange(6), np.geomspace(1e-9, 1e-4, 6)], axis=1)
    (moved,) = movements(read_records(_csv(tmp_path, values, "variance")))
    assert moved.is_log and moved.moved == "fell" and moved.up is False
    assert moved.last[0] == pytest.approx(np.exp(np.log(values[:, 1]).mean()))
    assert "variance fell: it collapses." in _told(tmp_path, values, "variance")


def test_seeds_that_end_early_do_not_leave_the_verdict_to_the_last_one():
    values = np.random.default_rng(0).normal(size=(6, 9)) + np.arange(9)
    values[1:, 6:] = np.nan
    (moved,) = movements(_dataset(values))
    assert moved.between == (0, 5) and moved.num_pairs == 6 and moved.num_lost == 5


def test_what_never_changes_is_no_metric_of_the_family():
    rng = np.random.default_rng(0)
    moving = np.array([0.0, 2.2]) + rng.normal(size=(4, 2)) * 0.5
    found = movements(_dataset(moving, *[np.ones((4, 2))] * 30))
    assert found[0].p == pytest.approx(stats.ttest_1samp(moving[:, 1] - moving[:, 0], 0.0).pvalue)
    assert {m.moved for m in found[1:]} == {"no change"}
