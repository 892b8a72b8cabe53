"""When does a published claim hold? An estimand, a region, an interval, and the verdict they give.

A claim is fixed before the run. The verdict is computed: the interval over seeds inside the region, *holds*; outside,
*fails*; across its edge, *inconclusive*; the protocol or the number of seeds unmet, *not testable*. A region that
contains the null, the estimand if what is claimed did not happen, would hold of anything: not testable. Intervals are
95 %, Holm-adjusted over the claims of a study.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from collapse_jax.numerics import holm
from collapse_jax.numerics.intervals import Kind, all_equal, excluding_level, interval, log

EXACT, ANALOGUE, LAW = "exact protocol", "analogue", "law"


class Claim(NamedTuple):
    """A statement that a run can decide.

    Attributes:
        name: short, unique within a study.
        statement: one sentence.
        source: who said it.
        region: the estimand's values for which the statement is true; without its edges.
        kind: how seeds become an interval: "mean" (Student's t), "log_mean" (the log of a mean),
            "share" (Wilson; values are 0 or 1), or "range" (a published single run against the 95 %
            range of one more seed).
        min_seeds: fewer cannot decide it.
        null: the estimand if what is claimed did not happen: outside the region or on its edge. Of a claim
            of absence ("stays above", "is minor") it is what the claim denies. NaN when it is not known.
        resolution: the step in which a seed's value moves, such as 1 for a generation or 1/N for a share of
            N; 0 for a value that varies freely.
    """

    name: str
    statement: str
    source: str
    region: tuple[float, float]
    kind: Kind
    min_seeds: int
    null: float = math.nan
    resolution: float = 0.0


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
        lacks: what a longer or wider run would have: "generations", "fits" of all seeds together, or fields of its
            configuration, a tuple being what the field must hold; empty when the protocol is met, or something else
            is unmet.
    """

    claim: Claim
    values: np.ndarray
    label: str
    unmet: str = ""
    departure: str = ""
    shared: str = ""
    lacks: Mapping[str, Any] = MappingProxyType({})


class Verdict(NamedTuple):
    """A decided claim, ready for JSON.

    Attributes:
        verdict: "holds", "fails", "inconclusive" or "not testable".
        estimate: the estimand over seeds; NaN when not testable.
        interval: at `level`.
        level: confidence level after Holm's adjustment.
        num_seeds: how many seeds counted.
        num_excluded: how many gave no finite number.
        reason: why it is not testable, or which share of the seeds is left out.
        departure: in what an analogue departs from what its source did.
        shared: what all seeds have in common: the interval says nothing of how that might have been otherwise.
        null: the estimand if what is claimed did not happen; NaN when it is not known.
        needs: the preset that can decide what this run could not test; "" where none is known to.
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
    null: float = math.nan
    needs: str = ""


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
    lacks = {}
    if not unmet and generation > last:
        unmet, lacks = f"needs generation {generation}, the run ends at {last}", {"generations": generation}
    values = np.array([]) if unmet else np.asarray(measure(generation), float)
    return Evidence(claim, values, label, unmet, lacks=lacks)


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

    >>> claim = Claim("falls", "The spread falls.", "paper", (-math.inf, 0.0), "mean", 3, null=0.0)
    >>> judge([Evidence(claim, np.array([-0.20, -0.22, -0.19]), ANALOGUE)])[0].verdict
    'holds'
    """
    testable = [index for index, item in enumerate(evidence) if not _why_untestable(item)]
    family = [index for index in testable if evidence[index].claim.kind != "range"]
    levels = holm.levels([_decision_level(evidence[index]) for index in family], significance)
    level = dict.fromkeys(testable, significance) | dict(zip(family, levels))
    return [
        _decide(item, level[index]) if index in level else _not_testable(item, _why_untestable(item))
        for index, item in enumerate(evidence)
    ]


def _decide(item: Evidence, significance: float) -> Verdict:
    claim, (values, excluded) = item.claim, _finite(item.values)
    bounds = interval(values, claim.kind, significance, claim.resolution)
    estimate = float(np.mean(values))
    left_out = f"{excluded} of {len(item.values)} seeds are left out: no finite number"
    return Verdict(
        claim.name, claim.statement, claim.source,
        _compare(claim, bounds),
        item.label,
        log(estimate) if claim.kind == "log_mean" else estimate,
        bounds,
        claim.region,
        1 - significance,
        len(values),
        excluded,
        left_out if excluded else "",
        item.departure,
        item.shared,
        claim.null,
    )  # fmt: skip


def _compare(claim: Claim, bounds: tuple[float, float]) -> str:
    (low, high), (region_low, region_high) = bounds, claim.region
    if high < region_low or low > region_high:
        return "fails"
    if claim.kind == "range":  # a published number lies in the range of seeds, or it does not
        return "inconclusive" if low <= claim.null <= high else "holds"  # so wide a range holds anything
    above, below = low > region_low or region_low == -math.inf, high < region_high or region_high == math.inf
    return "holds" if above and below else "inconclusive"


def _decision_level(item: Evidence) -> float:
    """Return the smallest significance at which the interval is inside or outside the region."""
    claim, (values, _) = item.claim, _finite(item.values)
    edges = list(claim.region)
    if claim.kind == "log_mean":
        edges = [math.exp(edge) if edge > -math.inf else edge for edge in edges]
    mean = float(np.mean(values))
    if not edges[0] < mean < edges[1]:  # outside: the nearer one decides
        edges = [min(edges, key=lambda edge: abs(mean - edge))]
    return max(excluding_level(values, claim.kind, edge, claim.resolution) for edge in edges)


def _why_untestable(item: Evidence) -> str:
    if item.unmet:
        return item.unmet
    claim, (values, excluded) = item.claim, _finite(item.values)
    if claim.region[0] < claim.null < claim.region[1]:
        return f"would hold of anything: {claim.null:.3g}, if nothing happened, lies in its region"
    if len(values) < max(claim.min_seeds, 1 if claim.kind == "share" else 2):
        lost = f" ({excluded} more gave no finite number)" if excluded else ""
        return f"needs {claim.min_seeds} seeds, the run has {len(values)}{lost}"
    if excluded > len(values):
        return f"{excluded} of {len(item.values)} seeds gave no finite number: the others are a selection"
    if claim.kind == "share":
        odd = values[(values != 0) & (values != 1)]
        return f"a share is of seeds with 1 and 0, got {odd[0]:.3g}" if len(odd) else ""
    if claim.resolution == 0 and all_equal(values):
        same = f"all {len(values)} seeds give {values[0]:.6g}, which says nothing of their spread"
        return f"{same}; if values move in steps, give the claim a `resolution`"
    return ""


def _not_testable(item: Evidence, reason: str) -> Verdict:
    claim, nothing = item.claim, (math.nan, math.nan)
    values, excluded = _finite(item.values)
    return Verdict(
        claim.name, claim.statement, claim.source, "not testable", item.label, math.nan, nothing,
        claim.region, math.nan, len(values), excluded, reason, item.departure, item.shared, claim.null,
    )  # fmt: skip


def _finite(values: np.ndarray) -> tuple[np.ndarray, int]:
    values = np.asarray(values, float)
    finite = np.isfinite(values)
    return values[finite], int((~finite).sum())
