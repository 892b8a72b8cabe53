"""How long the variance will last, read from how far the mean moves between generations.

A generation that is refitted to a finite sample moves its mean by chance, and what the mean gains the variance loses:
with effective size N, E step^2 = V/N and E V_n = (1 - 1/N)^n V. Over g steps and d directions the steps' squares are
g d of them, so N is known to sqrt(2/(g d)); the variance's own slope, of one chain, to sqrt(2 N/(g d)) alone. The
interval of N holds those sizes under which the sum of squared steps,

    Q(N) = sum over directions of s' (1/N + noise of the means)^-1 s  ~  chi-square with g d degrees of freedom,

is neither too small nor too large; s are steps of means whitened by the covariance that each generation has itself.
That is exact for Gaussians. Where directions drift by more and by less than their variances say, fewer degrees are
counted (Satterthwaite). The slope of the variance is used where it contradicts the drift: then something else than
chance eats it (`slope`).

Means that go back and forth are no walk: their samples are not what the next generation was trained on, and the noise
of a mean counts in every step, forwards and backwards.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

from collapse_jax.monitor.kinds.kind import Moments
from collapse_jax.monitor.slope import crossing_times

_MOST_STEPS = 200
_SMALLEST = math.log(1e-15)  # of log 1/N
_CONTRADICTS = 2.576  # standard errors: 1 % of chains without anything but drift
_BACK_AND_FORTH = 6.0  # nats by which a place that stays must be likelier than a walk: 3.5 standard errors
_DRAWS_PER_DIRECTION = 5


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
        passed_on: whether these samples may be what the next generation was trained on; not if means go back and forth.
    """

    size: float
    low: float
    high: float
    directions: float
    passed_on: bool


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
    steps = _whitened(moments)
    if not steps.size:
        return EffectiveSize(0.0, 0.0, 0.0, 0.0, passed_on)
    num_steps, num_directions = steps.shape
    own = np.mean(steps**2, axis=0)
    uneven = float(np.mean(own**2) / max(np.mean(own) ** 2, 1e-300)) / (1 + 2 / num_steps)
    directions = num_directions / max(1.0, uneven)
    noise = np.array([one.noise for one in moments])
    unseen = noise * [1 - one.num / max(total, one.num) for one, total in zip(moments, totals)]
    walk, around = (_Squares.of(steps, moments, values) for values in (unseen, noise))
    if passed_on:
        passed_on = (around.likelihood() - walk.likelihood()) * directions / num_directions < _BACK_AND_FORTH
    found = walk if passed_on else around
    counted = num_steps * directions
    quantiles = stats.chi2.ppf([0.5 - level / 2, 0.5 + level / 2], counted) / counted
    size, low, high = (1 / one if one > 0 else math.inf for one in map(found.inverse_size, (1.0, *quantiles)))
    return EffectiveSize(size, low, high, directions, passed_on)


def forecast(
    moments: Sequence[Moments],
    totals: Sequence[int],
    share: float = 0.5,
    level: float = 0.9,
    *,
    passed_on: bool = True,
) -> Forecast:
    """Return when the variance will have fallen to a share of the reference's.

    Args:
        moments: of each generation, the first one first.
        totals: of how many draws each is.
        share: of its variance, in (0, 1).
        level: probability of the intervals.
        passed_on: see `effective_size`.
    """
    nothing = Forecast(
        share, math.nan, math.nan, math.nan, level, math.nan, math.nan, math.nan, math.nan, "", ""
    )
    moments, totals = moments[-_MOST_STEPS - 1 :], totals[-_MOST_STEPS - 1 :]
    if not moments:
        return nothing._replace(reason="No generation was seen yet.")
    kept = moments[-1].kept
    if kept <= share:
        told = f"{kept:.3g} of the reference's variance is left already."
        return nothing._replace(generations=0.0, low=0.0, high=0.0, kept=kept, reason=told)
    if len(moments) < 3:
        return nothing._replace(
            kept=kept, reason="At least three generations are needed to see how far the mean moves."
        )
    size = effective_size(moments, totals, level, passed_on=passed_on)
    if size.size < 2:
        return nothing._replace(
            kept=kept,
            reason="The mean moves by as much as the data are wide: that is no drift, and nothing is forecast.",
        )
    sizes = {"effective_size": size.size, "effective_low": size.low, "effective_high": size.high}
    left = math.log(kept / share)
    falls = -np.diff(np.log(np.maximum([one.kept for one in moments], 1e-300)))
    noise = _noise_of_a_fall(moments, size)
    slope, error = float(np.mean(falls)), math.sqrt(noise / len(falls))
    basis = "variance" if abs(slope - 1 / size.size) > _CONTRADICTS * error else "drift"
    if basis == "variance":
        levels = (0.5, 0.5 - level / 2, 0.5 + level / 2)
        generations, soonest, latest = crossing_times(falls, noise, left, levels)
    else:
        generations, soonest, latest = (left * one for one in (size.size, size.low, size.high))
    return nothing._replace(
        generations=generations, low=soonest, high=latest, kept=kept, basis=basis,
        reason=_reason(basis, latest, len(falls), size, passed_on), **sizes,
    )  # fmt: skip


class _Squares(NamedTuple):
    """Squared steps of the means, and what noise makes of them.

    Attributes:
        squares: along each eigenvector of the noise, sum over directions, shape [num_steps].
        spectrum: eigenvalues of the noise, in units of the draws' variance.
        num_directions: how many there are.
    """

    squares: np.ndarray
    spectrum: np.ndarray
    num_directions: int

    @classmethod
    def of(cls, steps: np.ndarray, moments: Sequence[Moments], noise: np.ndarray) -> "_Squares":
        """Return them for means that have this noise.

        A mean that is too large makes one step too long and the next too short: noise of neighbours is opposite. A
        covariance that is itself estimated of independent draws makes squares too large, by m/(m - d - 2).
        """
        num_directions = steps.shape[1]
        num = np.array([one.num for one in moments[:-1]])
        right = np.where(noise[:-1] > 0, np.maximum(num - num_directions - 2, 1) / num, 1.0)
        matrix = np.diag(noise[:-1] + noise[1:]) - np.diag(noise[1:-1], 1) - np.diag(noise[1:-1], -1)
        values, vectors = np.linalg.eigh(matrix)
        along = vectors.T @ (steps * np.sqrt(right)[:, None])
        return cls(np.sum(along**2, axis=1), np.maximum(values, 0.0), num_directions)

    def inverse_size(self, share: float) -> float:
        """Return the 1/N under which the squares come to this share of what is expected."""
        wanted = share * len(self.squares) * self.num_directions

        def excess(log: float) -> float:
            return float(np.sum(self.squares / (math.exp(log) + self.spectrum))) - wanted

        if excess(_SMALLEST) <= 0:
            return 0.0
        return 1.0 if excess(0.0) >= 0 else math.exp(optimize.brentq(excess, _SMALLEST, 0.0, xtol=1e-10))

    def likelihood(self) -> float:
        """Return the log-likelihood at the 1/N that fits, but for a constant, nats."""
        variance = np.maximum(self.inverse_size(1.0) + self.spectrum, math.exp(_SMALLEST))
        return -0.5 * float(np.sum(self.num_directions * np.log(variance) + self.squares / variance))


def _whitened(moments: Sequence[Moments]) -> np.ndarray:
    """Return steps of the mean in units of the law that each was drawn from, shape [num_steps, num_directions]."""
    most = int(min(one.num for one in moments)) // _DRAWS_PER_DIRECTION
    first = np.maximum(np.diag(moments[0].covariance), 1e-300)
    spread = np.min([np.diag(one.covariance) / first for one in moments], axis=0)
    kept = np.flatnonzero(spread > 1e-6)[: max(1, most)]
    steps = []
    for one, later in itertools.pairwise(moments):
        values, vectors = np.linalg.eigh(one.covariance[np.ix_(kept, kept)])
        there = values > 1e-9 * values.max(initial=0.0)
        along = vectors[:, there].T @ (later.mean - one.mean)[kept]
        steps.append(vectors[:, there] @ (along / np.sqrt(values[there])))
    return np.stack(steps)


def _noise_of_a_fall(moments: Sequence[Moments], size: EffectiveSize) -> float:
    """Return the variance of a step of the log variance under drift alone, on average over the steps.

    A direction's variance moves by 2/N in squares; each end of the whole way is measured to 2/num.
    """
    num_steps = len(moments) - 1
    ends = sum(2 / moments[end].num for end in (0, -1))
    return (2 / max(size.low, 1.0) + ends / num_steps) / max(size.directions, 1.0)


def _reason(basis: str, latest: float, num_steps: int, size: EffectiveSize, passed_on: bool) -> str:
    directions = max(1, round(size.directions))
    seen = f"{num_steps} steps in about {directions} direction{'' if directions == 1 else 's'}"
    if passed_on and not size.passed_on:
        seen += (
            ", whose means go back and forth: these samples are not what the next generation was trained on"
        )
    if basis == "variance":
        told = (
            f"By the slope of the variance over {seen}: it is not what the drift of the mean alone would do."
        )
        return f"{told[:-1]}, and no upper end can be told." if math.isinf(latest) else told
    if math.isinf(size.size):
        return f"Over {seen} the mean moves no more than its own noise: no loss can be seen."
    end = "; no upper end can be told" if math.isinf(latest) else ""
    return f"By the drift of the mean over {seen}{end}."
