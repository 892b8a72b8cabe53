"""How long the variance will last, read from how far the mean moves between generations.

A generation that is refitted to a finite sample moves its mean by chance, and what the mean gains the variance loses:
with effective size N, E step^2 = V/N and E V_n = (1 - 1/N)^n V. Over g steps and d directions the steps' squares are
g d of them, so N is known to sqrt(2/(g d)); the variance's own slope, of one chain, to sqrt(2 N/(g d)) alone. The
interval of N holds those sizes under which the sum of squared steps,

    Q(N) = sum over directions of s' (1/N + noise of the means)^-1 s  ~  chi-square with g d degrees of freedom,

is neither too small nor too large: exact where directions drift alike. Where they do not, fewer degrees are counted
(Satterthwaite). The slope of the variance is used where it contradicts the drift: something else than chance eats it.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from collapse_jax.monitor.kinds.kind import Moments

_MOST_STEPS = 200
_LARGEST, _SMALLEST = 1.0, 1e-15  # of 1/N
_CONTRADICTS = 2.576  # standard errors: 1 % of chains without anything but drift


class Forecast(NamedTuple):
    """When the variance will have fallen to a share of the reference's.

    Attributes:
        share: that share.
        generations: from the last one on; infinite where it does not fall, 0 where it has fallen, NaN where nothing can
            be said.
        low: lower end of its interval.
        high: upper end, infinite where no end can be told.
        level: probability of the interval.
        kept: share of the reference's variance that the last generation has.
        effective_size: N, in draws (rows, words); NaN as above.
        effective_low: lower end of its interval.
        effective_high: upper end.
        basis: "drift" of the mean, or "variance", whose slope contradicts it; "" where nothing can be said.
        reason: a sentence on what the interval rests on, or why there is none.
    """

    share: float
    generations: float
    low: float
    high: float
    level: float
    kept: float
    effective_size: float
    effective_low: float
    effective_high: float
    basis: str
    reason: str


class EffectiveSize(NamedTuple):
    """N with its interval.

    Attributes:
        size: N, infinite where the means move no more than their noise.
        low: lower end.
        high: upper end.
        directions: how many the drift has, as Satterthwaite counts them.
    """

    size: float
    low: float
    high: float
    directions: float


def effective_size(
    moments: Sequence[Moments], totals: Sequence[int], level: float = 0.9, *, passed_on: bool = True
) -> EffectiveSize:
    """Return N by the drift of the mean over generations that follow each other.

    Args:
        moments: of each generation.
        totals: of how many draws each generation is, of which the moments may be of a part.
        level: probability of the interval.
        passed_on: the next generation was trained on these very samples; otherwise on others of the same model.

    Raises:
        ValueError: fewer than two generations.
    """
    if len(moments) < 2:
        raise ValueError("the drift of the mean needs two generations at least.")
    moments, totals = moments[-_MOST_STEPS - 1 :], totals[-_MOST_STEPS - 1 :]
    mean, variance, error = (np.stack([getattr(one, name) for one in moments]) for name in ("mean", "variance", "error"))
    moving = np.all(variance > 0, axis=0)
    if not moving.any():
        return EffectiveSize(0.0, 0.0, 0.0, 0.0)
    mean, variance, error = mean[:, moving], variance[:, moving], error[:, moving]
    seen = np.array([one.num / max(total, one.num) for one, total in zip(moments, totals)])
    noise = (error / variance) * (1 - seen if passed_on else np.ones_like(seen))[:, None]
    steps = np.diff(mean, axis=0) / np.sqrt(variance[:-1])
    spectrum, weights = _spectrum(steps, noise)
    num_steps, num_directions = steps.shape

    def excess(size_inverse: float, wanted: float) -> float:
        return float(np.sum(weights / (size_inverse + spectrum))) - wanted

    def solve(wanted: float) -> float:
        if excess(_SMALLEST, wanted) <= 0:
            return 0.0
        if excess(_LARGEST, wanted) >= 0:
            return _LARGEST
        return math.exp(
            float(optimize.brentq(lambda log: excess(math.exp(log), wanted), math.log(_SMALLEST), 0.0, xtol=1e-10))
        )

    own = np.mean(steps**2, axis=0)
    uneven = float(np.mean(own**2) / max(np.mean(own) ** 2, 1e-300)) / (1 + 2 / num_steps)
    directions = num_directions / max(1.0, uneven)
    degrees = num_steps * directions
    ratio = num_steps * num_directions / degrees
    quantiles = stats.chi2.ppf([0.5 - level / 2, 0.5 + level / 2], degrees) * ratio
    inverse = [solve(wanted) for wanted in (num_steps * num_directions, *quantiles)]
    size, low, high = (1 / one if one > 0 else math.inf for one in inverse)
    return EffectiveSize(size, low, high, directions)


def forecast(
    moments: Sequence[Moments], totals: Sequence[int], reference: Moments, share: float = 0.5, level: float = 0.9, *,
    passed_on: bool = True,
) -> Forecast:  # fmt: skip
    """Return when the variance will have fallen to a share of the reference's.

    Args:
        moments: of each generation, the first one first.
        totals: of how many draws each is.
        reference: moments of the reference.
        share: of its variance, in (0, 1).
        level: probability of the intervals.
        passed_on: see `effective_size`.
    """
    nothing = Forecast(
        share, math.nan, math.nan, math.nan, level, math.nan, math.nan, math.nan, math.nan, "", ""
    )
    if not moments:
        return nothing._replace(reason="No generation was seen yet.")
    ratios = _ratios(moments, reference)
    kept = float(ratios[-1])
    if kept <= share:
        told = f"{kept:.3g} of the reference's variance is left already."
        return nothing._replace(generations=0.0, low=0.0, high=0.0, kept=kept, reason=told)
    if len(moments) < 3:
        return nothing._replace(kept=kept, reason="At least three generations are needed to see how far the mean moves.")
    size = effective_size(moments, totals, level, passed_on=passed_on)
    if size.size < 2:
        return nothing._replace(
            kept=kept, reason="The mean moves by as much as the data are wide: that is no drift, and nothing is forecast."
        )
    sizes = {"effective_size": size.size, "effective_low": size.low, "effective_high": size.high}
    rate, low, high, basis = _rate(ratios, moments, totals, size, level, passed_on)
    left = math.log(kept / share)
    generations, soonest, latest = (left / one if one > 0 else math.inf for one in (rate, high, low))
    return nothing._replace(
        generations=generations, low=soonest, high=latest, kept=kept, basis=basis,
        reason=_reason(basis, soonest, latest, len(moments) - 1, size.directions), **sizes,
    )  # fmt: skip


def _spectrum(steps: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return eigenvalues of the noise of each direction's steps, and the squared steps along their vectors.

    A mean that is too large makes one step too long and the next too short: noise of neighbours is opposite.
    """
    num_steps, num_directions = steps.shape
    if not noise.any():
        return np.zeros(steps.size), steps.ravel() ** 2
    matrices = np.zeros((num_directions, num_steps, num_steps))
    place = np.arange(num_steps)
    matrices[:, place, place] = (noise[:-1] + noise[1:]).T
    matrices[:, place[1:], place[:-1]] = matrices[:, place[:-1], place[1:]] = -noise[1:-1].T
    values, vectors = np.linalg.eigh(matrices)
    along = np.einsum("dsk,sd->dk", vectors, steps)
    return np.maximum(values, 0.0).ravel(), along.ravel() ** 2


def _ratios(moments: Sequence[Moments], reference: Moments) -> np.ndarray:
    """Return the share of the reference's variance in each generation, mean over directions."""
    there = reference.variance > 0
    return np.array([np.mean(one.variance[there] / reference.variance[there]) for one in moments])


def _rate(
    ratios: np.ndarray, moments: Sequence[Moments], totals: Sequence[int], size: EffectiveSize, level: float, passed_on: bool
) -> tuple[float, float, float, str]:
    """Return how fast the logarithm of the variance falls, its interval, and what says so."""
    num_steps = len(ratios) - 1
    drift = 1 / size.size
    slope = math.log(max(ratios[0], 1e-300) / max(ratios[-1], 1e-300)) / num_steps
    # of a variance that drifts: a step has variance about 2/N a direction; each end is measured with 2/num
    ends = sum(2 / moments[end].num for end in (0, -1))
    largest = 1 / size.low if size.low > 0 else 1.0
    error = math.sqrt((2 * largest * num_steps + ends) / max(size.directions, 1.0)) / num_steps
    if abs(slope - drift) > _CONTRADICTS * error:
        width = float(stats.norm.ppf(0.5 + level / 2)) * error
        return slope, slope - width, slope + width, "variance"
    return drift, 1 / size.high, 1 / size.low, "drift"


def _reason(basis: str, soonest: float, latest: float, num_steps: int, directions: float) -> str:
    seen = f"{num_steps} steps in about {directions:.0f} direction{'' if round(directions) == 1 else 's'}"
    if basis == "variance":
        return f"By the slope of the variance over {seen}: it differs from what the drift of the mean alone would do."
    if math.isinf(soonest):
        return f"Over {seen} the mean moves no more than its own noise: no loss can be seen."
    end = "; no upper end can be told" if math.isinf(latest) else ""
    return f"By the drift of the mean over {seen}{end}."
