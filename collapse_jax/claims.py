"""When does a published claim hold? An estimand, a region, an interval, and the verdict they give.

A claim is fixed before the run. The verdict is computed: the interval over seeds inside the region,
*holds*; outside, *fails*; across its edge, *inconclusive*; the protocol or the number of seeds unmet,
*not testable*. Intervals are 95 %, Holm-adjusted over the claims of a study. Called by studies.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import stats

Kind = Literal["mean", "log_mean", "share", "range"]
EXACT, ANALOGUE, LAW = "exact protocol", "analogue", "law"


class Claim(NamedTuple):
    """A statement that a run can decide.

    Attributes:
        name: short, unique within a study.
        statement: one sentence.
        source: who said it.
        region: the estimand's values for which the statement is true.
        kind: how seeds become an interval: "mean" (Student's t), "log_mean" (the log of a mean),
            "share" (Wilson; values are 0 or 1), or "range" (a published single run against the 95 %
            range of one more seed).
        min_seeds: fewer cannot decide it.
    """

    name: str
    statement: str
    source: str
    region: tuple[float, float]
    kind: Kind
    min_seeds: int


class Evidence(NamedTuple):
    """What a run says about a claim.

    Attributes:
        claim: the claim.
        values: one number per seed; empty when the run could not measure it.
        label: "exact protocol", the published settings and data; "analogue", others; or "law", a statement of theory,
            of which no experiment is published and whose conditions the run meets.
        unmet: why the protocol is not met; "" when it is.
        departure: in what an analogue departs from what its source did; "" otherwise.
        shared: what all seeds have in common, on which the interval is conditional; "" when each draws everything
            anew.
    """

    claim: Claim
    values: np.ndarray
    label: str
    unmet: str = ""
    departure: str = ""
    shared: str = ""


class Verdict(NamedTuple):
    """A decided claim, ready for JSON.

    Attributes:
        verdict: "holds", "fails", "inconclusive" or "not testable".
        estimate: the estimand over seeds; NaN when not testable.
        interval: at `level`.
        level: confidence level after Holm's adjustment.
        num_seeds: how many seeds counted.
        num_excluded: how many gave no finite number.
        reason: why it is not testable.
        departure: in what an analogue departs from what its source did.
        shared: what all seeds have in common: the interval says nothing of how that might have been otherwise.
    """

    name: str
    statement: str
    source: str
    verdict: str
    label: str
    estimate: float
    interval: tuple[float, float]
    region: tuple[float, float]
    level: float
    num_seeds: int
    num_excluded: int
    reason: str
    departure: str = ""
    shared: str = ""


def measured(
    claim: Claim, generation: int, last: int, measure: Callable[[int], Any], label: str, unmet: str = ""
) -> Evidence:
    """Return what `measure` finds at a generation, or why a run that ends at `last` cannot say.

    Args:
        claim: the claim.
        generation: the first at which it can be measured.
        last: the last generation that the run reached.
        measure: generation -> one number per seed.
        label: see `Evidence`.
        unmet: why the protocol is not met; "" when it is.
    """
    if not unmet and generation > last:
        unmet = f"needs generation {generation}, the run ends at {last}"
    values = np.array([]) if unmet else np.asarray(measure(generation), float)
    return Evidence(claim, values, label, unmet)


def labelled(item: Evidence, departure: str, shared: str = "", otherwise: str = EXACT) -> Evidence:
    """Return evidence with its label: an analogue where the run departs from its source, else `otherwise`.

    >>> claim = Claim("falls", "The spread falls.", "paper", (-math.inf, 0.0), "mean", 3)
    >>> labelled(Evidence(claim, np.array([]), EXACT), "published: batch_size = 256").label
    'analogue'
    """
    return item._replace(label=ANALOGUE if departure else otherwise, departure=departure, shared=shared)


def judge(evidence: Sequence[Evidence], significance: float = 0.05) -> list[Verdict]:
    """Return the verdicts on a study's claims, in their order.

    The claims that can be tested form one family: Holm's procedure goes from the most decisive on and
    stops at the first that is not decisive at its level.

    >>> claim = Claim("falls", "The spread falls.", "paper", (-math.inf, 0.0), "mean", 3)
    >>> judge([Evidence(claim, np.array([-0.20, -0.22, -0.19]), ANALOGUE)])[0].verdict
    'holds'
    """
    testable = [index for index, item in enumerate(evidence) if not _why_untestable(item)]
    family = [index for index in testable if evidence[index].claim.kind != "range"]
    p_values = {index: _decision_level(evidence[index]) for index in family}
    levels, stopped = dict.fromkeys(testable, significance), False
    for rank, index in enumerate(sorted(family, key=lambda i: p_values[i])):
        if not stopped:
            threshold = significance / (len(family) - rank)
            stopped = p_values[index] > threshold
        levels[index] = threshold
    return [
        _decide(item, levels[index]) if index in levels else _not_testable(item, _why_untestable(item))
        for index, item in enumerate(evidence)
    ]


def interval(values: np.ndarray, kind: Kind, significance: float) -> tuple[float, float]:
    """Return the confidence interval of level 1 - significance over seeds.

    >>> low, high = interval(np.array([1.0] * 64), "share", 0.05)
    >>> round(low, 3), high
    (0.943, 1.0)
    """
    num = len(values)
    if kind == "share":
        hits = int(values.sum())
        bounds = stats.binomtest(hits, num).proportion_ci(1 - significance, method="wilson")
        return float(bounds.low), float(bounds.high)
    quantile = float(stats.t.ppf(1 - significance / 2, num - 1))
    spread = float(np.std(values, ddof=1))
    half = quantile * spread * (math.sqrt(1 + 1 / num) if kind == "range" else math.sqrt(1 / num))
    low, high = float(np.mean(values)) - half, float(np.mean(values)) + half
    return (_log(low), _log(high)) if kind == "log_mean" else (low, high)


def _decide(item: Evidence, significance: float) -> Verdict:
    values, excluded = _finite(item.values)
    claim = item.claim
    low, high = interval(values, claim.kind, significance)
    estimate = float(np.mean(values))
    return Verdict(
        claim.name, claim.statement, claim.source,
        _compare(claim, (low, high)),
        item.label,
        _log(estimate) if claim.kind == "log_mean" else estimate,
        (low, high),
        claim.region,
        1 - significance,
        len(values),
        excluded,
        "",
        item.departure,
        item.shared,
    )  # fmt: skip


def _compare(claim: Claim, bounds: tuple[float, float]) -> str:
    (low, high), (region_low, region_high) = bounds, claim.region
    outside = high < region_low or low > region_high
    if claim.kind == "range":  # a published number lies in the range of seeds, or it does not
        return "fails" if outside else "holds"
    if outside:
        return "fails"
    return "holds" if low > region_low and high < region_high else "inconclusive"


def _decision_level(item: Evidence) -> float:
    """Return the smallest significance at which the interval is inside or outside the region."""
    values, _ = _finite(item.values)

    def decisive(significance: float) -> bool:
        return _compare(item.claim, interval(values, item.claim.kind, significance)) != "inconclusive"

    low, high = -12.0, 0.0  # powers of ten
    if not decisive(1 - 1e-9):
        return 1.0
    if decisive(10**low):
        return 10**low
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if decisive(10**middle) else (middle, high)
    return 10**high


def _why_untestable(item: Evidence) -> str:
    if item.unmet:
        return item.unmet
    values, excluded = _finite(item.values)
    if len(values) < item.claim.min_seeds:
        lost = f" ({excluded} more gave no finite number)" if excluded else ""
        return f"needs {item.claim.min_seeds} seeds, the run has {len(values)}{lost}"
    return ""


def _not_testable(item: Evidence, reason: str) -> Verdict:
    claim, nothing = item.claim, (math.nan, math.nan)
    values, excluded = _finite(item.values)
    return Verdict(
        claim.name, claim.statement, claim.source, "not testable", item.label, math.nan, nothing,
        claim.region, math.nan, len(values), excluded, reason, item.departure, item.shared,
    )  # fmt: skip


def _finite(values: np.ndarray) -> tuple[np.ndarray, int]:
    values = np.asarray(values, float)
    finite = np.isfinite(values)
    return values[finite], int((~finite).sum())


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
