"""Intervals over seeds: Student's t, Wilson's, of one more seed, and what equal values can tell.

    mean +- t s / sqrt n,   no narrower than   mean +- resolution (1 - (significance/2)^(1/n))
"""

import math
from typing import Literal

import numpy as np
from scipy import special

Kind = Literal["mean", "log_mean", "share", "range"]
_ROUNDING = 5e-7  # of a float32, relative


def interval(
    values: np.ndarray, kind: Kind, significance: float, resolution: float = 0.0
) -> tuple[float, float]:
    """Return the confidence interval of level 1 - significance over seeds.

    n equal values are no certainty: a value one step off may have any probability up to
    1 - (significance/2)^(1/n) (Clopper and Pearson), and shift the mean by that part of a step. No interval
    is narrower; without a `resolution` equal values say nothing of their spread, and the interval is NaN.

    >>> low, high = interval(np.array([1.0] * 64), "share", 0.05)
    >>> round(low, 3), high
    (0.943, 1.0)
    >>> interval(np.array([12.0] * 5), "mean", 0.05, resolution=1.0)  # generations
    (11.478..., 12.521...)
    """
    num, mean, spread = _summary(values)
    if kind == "share":
        return _wilson(mean, num, significance)
    if spread == 0 and resolution == 0:
        return math.nan, math.nan
    quantile = float(special.stdtrit(num - 1, 1 - significance / 2))
    another = kind == "range"
    half = quantile * spread * (math.sqrt(1 + 1 / num) if another else math.sqrt(1 / num))
    half = max(half, resolution * (1.0 if another else 1 - (significance / 2) ** (1 / num)))
    return (log(mean - half), log(mean + half)) if kind == "log_mean" else (mean - half, mean + half)


def _wilson(share: float, num: int, significance: float) -> tuple[float, float]:
    quantile = float(special.ndtri(1 - significance / 2))
    pull = quantile**2 / num
    centre = (share + pull / 2) / (1 + pull)
    half = quantile * math.sqrt(share * (1 - share) / num + pull / (4 * num)) / (1 + pull)
    return (0.0 if share == 0 else centre - half), (1.0 if share == 1 else centre + half)


def excluding_level(values: np.ndarray, kind: Kind, edge: float, resolution: float = 0.0) -> float:
    """Return the significance at which the interval of a mean or a share ends at an edge: the p-value of the edge.

    Args:
        values: one for each seed, finite.
        kind: as of `interval`; not "range".
        edge: in the unit of the values, also for "log_mean".
        resolution: as of `interval`.
    """
    num, mean, spread = _summary(values)
    distance = abs(mean - edge)
    if kind == "share":
        error = math.sqrt(edge * (1 - edge) / num) if 0 < edge < 1 else 0.0
        return 2 * float(special.ndtr(-distance / error)) if error else float(distance == 0)
    student = float(special.stdtr(num - 1, -distance * math.sqrt(num) / spread)) if spread else 0.0
    step = max(1 - distance / resolution, 0.0) ** num if resolution else 0.0
    return 2 * min(max(student, step), 0.5)


def all_equal(values: np.ndarray) -> bool:
    """Whether values differ by no more than the rounding of a float32: seeds that share what makes them do."""
    return float(np.ptp(values)) <= _ROUNDING * float(np.abs(values).max())


def log(value: float) -> float:
    """Return the logarithm, -inf of what is not positive.

    >>> log(1.0), log(0.0)
    (0.0, -inf)
    """
    return math.log(value) if value > 0 else -math.inf


def _summary(values: np.ndarray) -> tuple[int, float, float]:
    """Return the number of values, their mean and their standard deviation, 0 where they are equal."""
    spread = 0.0 if all_equal(values) else float(np.std(values, ddof=1))
    return len(values), float(np.mean(values)), spread
