"""Verdicts: computed from intervals, adjusted over a family, honest about what cannot be tested."""

import math

import numpy as np
import pytest
from scipy import stats

from collapse_jax.analysis.claims import ANALOGUE, EXACT, Claim, Evidence, _decision_level, judge, measured
from collapse_jax.numerics.intervals import interval

_INF = math.inf


def _claim(region=(-_INF, 0.0), kind="mean", min_seeds=3, name="c"):
    return Claim(name, "a statement", "a source", region, kind, min_seeds)


def _verdict(values, **claim):
    return judge([Evidence(_claim(**claim), np.asarray(values, float), ANALOGUE)])[0]


def test_mean_interval_is_students_t():
    values = np.array([0.1, 0.4, 0.2, 0.9])
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert interval(values, "mean", 0.05) == pytest.approx(tuple(expected))


def test_range_covers_one_more_seed_with_the_stated_probability():
    # 4,000 repetitions: a coverage of 0.95 has a standard error of 0.0034; an interval of the mean would cover 0.45
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(4000, 9))
    inside = 0
    for row in draws:
        low, high = interval(row[:8], "range", 0.05)
        inside += low < row[8] < high
    assert abs(inside / 4000 - 0.95) < 5 * 0.0034


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([-1.0, -1.1, -0.9, -1.0], "holds"),
        ([1.0, 1.1, 0.9, 1.0], "fails"),
        ([-1.0, 1.0, -0.9, 1.1], "inconclusive"),
        ([-1.0, -1.1], "not testable"),
    ],
)
def test_verdict_of_a_mean(values, expected):
    assert _verdict(values).verdict == expected


def test_share_needs_the_interval_not_the_estimate():
    assert _verdict([1] * 36 + [0] * 28, region=(0.5, _INF), kind="share").verdict == "inconclusive"
    assert _verdict([1] * 60 + [0] * 4, region=(0.5, _INF), kind="share").verdict == "holds"
    assert _verdict([1] * 4 + [0] * 60, region=(0.5, _INF), kind="share").verdict == "fails"


def test_log_mean_reports_logs():
    verdict = _verdict([0.99, 1.01, 1.0, 1.0], region=(-0.05, 0.05), kind="log_mean")
    assert verdict.verdict == "holds" and verdict.estimate == pytest.approx(0.0, abs=1e-3)


def test_published_single_run_against_the_range_of_seeds():
    values = np.random.default_rng(1).normal(size=64)
    assert _verdict(values, region=(1.4, 1.6), kind="range").verdict == "holds"
    assert _verdict(values, region=(4.9, 5.1), kind="range").verdict == "fails"


def test_seeds_without_a_finite_number_are_counted_not_dropped_silently():
    verdict = _verdict([-1.0, -1.1, -0.9, math.nan, math.inf])
    assert (verdict.num_seeds, verdict.num_excluded) == (3, 2)
    few = _verdict([-1.0, math.nan, math.nan])
    assert few.verdict == "not testable" and "2 more gave no finite number" in few.reason


def test_unmet_protocol_is_not_testable_and_says_why():
    item = Evidence(_claim(), np.array([-1.0, -1.1, -0.9]), ANALOGUE, "needs generation 2000")
    assert judge([item])[0].verdict == "not testable"
    assert judge([item])[0].reason == "needs generation 2000"


def test_a_claim_is_measured_at_its_generation_or_not_at_all():
    seen = []
    measure = lambda generation: seen.append(generation) or [1, 2, 3]  # noqa: E731
    assert measured(_claim(), 5, 5, measure, EXACT).values.tolist() == [1, 2, 3] and seen == [5]
    late = measured(_claim(), 6, 5, measure, EXACT)
    assert late.unmet == "needs generation 6, the run ends at 5" and late.values.size == 0
    unmet = measured(_claim(), 6, 5, measure, EXACT, "needs MNIST")
    assert unmet.unmet == "needs MNIST" and unmet.label == EXACT and seen == [5]


def test_holm_widens_the_intervals_of_a_family():
    values = np.array([-1.0, -1.2, -0.7, -1.4, -0.9])
    alone = judge([Evidence(_claim(), values, ANALOGUE)])[0]
    family = judge([Evidence(_claim(name=str(i)), values, ANALOGUE) for i in range(10)])
    assert alone.level == pytest.approx(0.95)
    assert max(verdict.level for verdict in family) == pytest.approx(1 - 0.05 / 10)


def _family(*p_values, kind="mean"):
    """Evidence whose intervals leave the region (-inf, 0) exactly at these levels of significance."""
    shape = np.linspace(-1, 1, 12)
    error = shape.std(ddof=1) / math.sqrt(12)
    return [
        Evidence(_claim(name=str(p), kind=kind), shape - stats.t.isf(p / 2, 11) * error, ANALOGUE) for p in p_values
    ]


@pytest.mark.parametrize(
    ("p_values", "levels", "verdicts"),
    [
        # sorted: 0.001 is met first, at 0.05/2, which leaves 0.05 to 0.03; in order, 0.03 would end it at 0.05/2
        ((0.03, 0.001), (0.05, 0.025), ("holds", "holds")),
        # divided by the number of claims left: 3, 2, 1; by 3 throughout, only the first would hold
        ((0.04, 0.02, 0.01), (0.05, 0.025, 0.05 / 3), ("holds", "holds", "holds")),
        # stopped: 0.03 is above 0.05/2, so 0.04 stays at 0.05/2 though it is below 0.05
        ((0.04, 0.001, 0.03), (0.025, 0.05 / 3, 0.025), ("inconclusive", "holds", "inconclusive")),
        # stopped at the first: all stay there
        ((0.04, 0.02, 0.03), (0.05 / 3,) * 3, ("inconclusive",) * 3),
    ],
)
def test_holm_sorts_divides_and_stops(p_values, levels, verdicts):
    judged = judge(_family(*p_values))
    assert [verdict.level for verdict in judged] == pytest.approx([1 - level for level in levels])
    assert tuple(verdict.verdict for verdict in judged) == verdicts


def test_what_is_not_tested_is_not_of_the_family():
    untested = [Evidence(_claim(name="few"), np.array([-1.0, -2.0]), ANALOGUE), *_family(0.001, kind="range")]
    judged = judge([*untested, *_family(0.04)])
    assert judged[2].verdict == "holds" and judged[2].level == pytest.approx(0.95)
    assert judged[1].level == pytest.approx(0.95)


def test_a_decision_that_is_short_of_its_level_is_none():
    assert judge(_family(0.0499))[0].verdict == "holds"
    assert judge(_family(0.0501))[0].verdict == "inconclusive"


@pytest.mark.parametrize("kind", ["mean", "log_mean", "share"])
@pytest.mark.parametrize("region", [(0.3, 0.6), (-_INF, 0.5), (0.5, _INF), (0.95, 1.2), (0.0, 0.4)])
def test_the_level_of_a_decision_is_where_its_interval_meets_the_edge(kind, region):
    """A claim that is decided at its p-value, and a little below no more."""
    rng = np.random.default_rng(3)
    decided = 0
    for share in (0.1, 0.5, 0.8, 1.0):
        values = (rng.random(40) < share).astype(float) if kind == "share" else share + 0.1 * rng.normal(size=40)
        for resolution in (0.0, 0.4):
            edges = tuple(math.log(edge) if edge > 0 else -_INF for edge in region) if kind == "log_mean" else region
            item = Evidence(_claim(edges, kind)._replace(resolution=resolution), values, ANALOGUE)
            p = _decision_level(item)
            for factor, decisive in ((1 + 1e-6, True), (1 - 1e-6, False)):
                if 1e-12 < p < 0.99:
                    verdict = judge([item], p * factor)[0].verdict
                    assert (verdict != "inconclusive") == decisive
                    decided += 1
    assert decided >= 2


@pytest.mark.parametrize("num_true", [0, 3])
def test_false_verdicts_are_rare_over_a_family(num_true):
    """Five claims whose truth lies on the edge of the region, beside some that are true, in 500 families.

    Any decisive verdict of the five is one too many. Without Holm's adjustment 23 % of the families would have one;
    the bound lies 4 standard errors above 5 %.
    """
    rng = np.random.default_rng(2)
    wrong = 0
    for _ in range(500):
        true = [Evidence(_claim(name=f"true {i}"), rng.normal(-3, 1, 12), ANALOGUE) for i in range(num_true)]
        edge = [Evidence(_claim(name=str(i)), rng.normal(size=12), ANALOGUE) for i in range(5)]
        wrong += any(verdict.verdict != "inconclusive" for verdict in judge([*true, *edge])[num_true:])
    assert wrong / 500 < 0.05 + 4 * math.sqrt(0.05 * 0.95 / 500)


def test_a_share_has_wilsons_interval():
    for hits, num, significance in [(0, 5, 0.05), (3, 64, 0.01), (64, 64, 0.002), (30, 64, 0.05)]:
        expected = stats.binomtest(hits, num).proportion_ci(1 - significance, method="wilson")
        values = np.repeat([1.0, 0.0], [hits, num - hits])
        assert interval(values, "share", significance) == pytest.approx(tuple(expected))


def test_equal_values_are_no_certainty():
    """Of 12 in five seeds and steps of 1, the mean is known to 1 - 0.025^(1/5) = 0.52, as a coin's five heads tell."""
    half = 1 - 0.025**0.2
    assert interval(np.full(5, 12.0), "mean", 0.05, 1.0) == pytest.approx((12 - half, 12 + half))
    # exactly: where a step lower has this probability, five equal values come with a probability of 0.025
    assert (1 - half) ** 5 == pytest.approx(0.025)
    assert interval(np.full(5, 12.0), "range", 0.05, 1.0) == (11.0, 13.0)
    low, high = interval(np.full(5, 12.0), "log_mean", 0.05, 1.0)
    assert (low, high) == pytest.approx((math.log(12 - half), math.log(12 + half)))
    assert np.isnan(interval(np.full(5, 0.1), "mean", 0.05)).all()
    # rounding is no spread
    assert np.isnan(interval(np.float32(0.1) + 1e-8 * np.arange(5), "mean", 0.05)).all()
    assert np.isfinite(interval(0.1 + 1e-6 * np.arange(5), "mean", 0.05)).all()
    # a spread that shows is Student's, as long as it is the larger
    spread = np.array([12.0, 13.0, 12.0, 14.0, 12.0])
    assert interval(spread, "mean", 0.05, 1.0) == interval(spread, "mean", 0.05)


def test_equal_values_near_an_edge_do_not_hold():
    """Seeds at 9 or 10 with equal chances have the edge, 9.5, as their mean: one of 32 has five 10s."""
    claim = {"region": (9.5, 20.5)}
    steps = _claim(**claim)._replace(resolution=1.0)
    assert judge([Evidence(steps, np.full(5, 10.0), ANALOGUE)])[0].verdict == "inconclusive"
    assert judge([Evidence(steps, np.full(5, 11.0), ANALOGUE)])[0].verdict == "holds"
    unknown = _verdict([10.0] * 5, **claim)
    assert unknown.verdict == "not testable" and "all 5 seeds give 10" in unknown.reason
    assert "resolution" in unknown.reason


def test_a_region_that_holds_its_null_holds_anything():
    for null, expected in [(-1.0, "not testable"), (0.0, "holds"), (2.0, "holds"), (math.nan, "holds")]:
        item = Evidence(_claim()._replace(null=null), np.array([-1.0, -1.1, -0.9, -1.0]), ANALOGUE)
        verdict = judge([item])[0]
        assert verdict.verdict == expected
        assert ("would hold of anything" in verdict.reason) == (expected == "not testable")
        np.testing.assert_equal(verdict.null, null)


def test_a_range_so_wide_that_nothing_lies_in_it_too_is_inconclusive():
    values = np.random.default_rng(1).normal(size=64)
    claim = _claim(region=(1.4, 1.6), kind="range")
    for null, expected in [(-1.0, "inconclusive"), (-9.0, "holds"), (9.0, "holds")]:
        assert judge([Evidence(claim._replace(null=null), values, ANALOGUE)])[0].verdict == expected


@pytest.mark.parametrize("kind", ["mean", "log_mean", "share", "range"])
def test_no_finite_seed_is_not_testable(kind):
    for values in ([], [math.nan] * 4):
        verdict = _verdict(values, kind=kind, min_seeds=0)
        assert verdict.verdict == "not testable" and verdict.num_excluded == len(values)
    if kind != "share":
        assert _verdict([-1.0], kind=kind, min_seeds=0).verdict == "not testable"


def test_the_share_of_seeds_that_are_left_out_is_said():
    verdict = _verdict([1.0] * 60 + [0.0] * 4 + [math.nan] * 6, region=(0.5, _INF), kind="share")
    assert verdict.verdict == "holds" and verdict.estimate == pytest.approx(60 / 64)
    assert verdict.reason == "6 of 70 seeds are left out: no finite number"
    most = _verdict([1.0] * 30 + [math.nan] * 31, region=(0.5, _INF), kind="share")
    assert most.verdict == "not testable" and "31 of 61 seeds" in most.reason


def test_a_share_is_of_yes_and_no():
    assert "got 0.3" in _verdict([0.3, 1.0, 0.0], kind="share").reason
