"""What is left after g generations of each way of mixing: E mu^2 and E v of the last model, by one law each.

Model 0 is fitted to n real rows; in every generation m rows are drawn from the last model, with lam times its fitted
variance. With lam = 1 the identity by descent G is E mu^2, and E v is 1 - G; with a bias the two moments are followed
exactly. The truth has mean 0 and variance 1.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from collapse_jax import theory
from collapse_jax.theory import gaussian, pool
from collapse_jax.types import ArrayLike

_ALL_ROWS = 1e300  # draws from the pool: as many as this fit the pool itself


class Moments(NamedTuple):
    """E mu^2 and E v of the last model, in units of the truth's variance."""

    mean_square: float
    variance: float


class Law(NamedTuple):
    """A closed form and its equation, short enough for a table.

    Attributes:
        name: of the function in `collapse_jax.theory`.
        equation: n real and m synthetic rows, N of both, g generations, l the bias.
    """

    name: str
    equation: str

    def __str__(self) -> str:
        """The two, as a table shows them."""
        return f"{self.name}: {self.equation}"


class Mixture(NamedTuple):
    """A way of mixing.

    Attributes:
        law: without a bias.
        biased: the law with one.
        moments: of (g, n, m, lam), the moments of model g.
    """

    law: Law
    biased: Law
    moments: Callable[[int, int, int, float], Moments]

    def law_of(self, bias: float) -> Law:
        """Return the law that is used."""
        return self.law if bias == 1 else self.biased


def _keep(generations: int, real: int, synthetic: int, bias: float) -> Moments:
    if bias == 1:
        return _of_identity(theory.ibd_add_original(generations, real, synthetic)[-1])
    means, variances = gaussian.original_mix(generations, real, synthetic, bias)
    return Moments(float(means[-1]), float(variances[-1]))


def _fresh(generations: int, real: int, synthetic: int, bias: float) -> Moments:
    if bias == 1:
        return _of_identity(theory.ibd_fresh_counts(generations, real, real, synthetic)[-1])
    return _of_pool(generations, real, synthetic, bias, inflow=real, deletion=1.0)


def _accumulate(generations: int, real: int, synthetic: int, bias: float) -> Moments:
    if not synthetic:
        return _deduplicate(generations, real, synthetic, bias)
    if bias == 1:
        return _of_identity(theory.ibd_accumulate(generations, real, synthetic)[-1])
    return _of_pool(generations, real, synthetic, bias, inflow=0, deletion=0.0)


def _replace(generations: int, real: int, synthetic: int, bias: float) -> Moments:
    if not generations:
        return _deduplicate(generations, real, synthetic, bias)
    if bias == 1:
        return _of_identity(theory.ibd_replace(generations, real, synthetic)[-1])
    return _of_pool(generations, real, synthetic, bias, inflow=0, deletion=1.0)


def _deduplicate(generations: int, real: int, synthetic: int, bias: float) -> Moments:
    """Return the moments of model 0: what is left of the training set is the real rows, each once."""
    return _of_identity(theory.ibd_replace(0, real, real)[-1])


def _of_identity(identity: ArrayLike) -> Moments:
    shared = float(np.asarray(identity))
    return Moments(shared, 1 - shared)


def _of_pool(
    generations: int, real: int, synthetic: int, bias: float, inflow: int, deletion: float
) -> Moments:
    """Return the moments of one lab that fits the whole pool, releases the synthetic rows and sees real ones arrive."""
    web = pool.pool_moments(generations, real, _ALL_ROWS, synthetic, inflow, deletion, bias)
    return Moments(float(web.mean_square[-1, 0]), float(web.variance[-1, 0]))


_POOL = Law("pool.pool_moments", "E v = T - X")
MIXTURES: Mapping[str, Mixture] = MappingProxyType(
    {
        "keep": Mixture(
            Law("ibd_add_original", "G <= 3/(2n+1)"),
            Law("gaussian.original_mix", "b' = (m^2 b+mlv)/N^2"),
            _keep,
        ),
        "fresh": Mixture(Law("ibd_fresh_counts", "G'=1/N+m(m-1)G/N^2"), _POOL, _fresh),
        "accumulate": Mixture(Law("ibd_accumulate", "1-G = prod 1-m/N_t^2"), _POOL, _accumulate),
        "replace": Mixture(Law("ibd_replace", "1-G = (1-1/n)(1-1/m)^g"), _POOL, _replace),
        "deduplicate": Mixture(
            Law("ibd_replace", "g = 0: G = 1/n"), Law("ibd_replace", "g = 0: G = 1/n"), _deduplicate
        ),
    }
)


class Weighted(NamedTuple):
    """The best weight of the synthetic rows in the last fit, and what it gives."""

    weight: float
    moments: Moments


def best_weight(regime: str, generations: int, real: int, synthetic: int, bias: float) -> Weighted:
    """Return the weight of the synthetic rows that gives the mean its least error.

    New real rows are weighed against the draws by Kalman's gain; draws that descend from real rows that are at hand
    say nothing that these do not: their best weight is 0.
    """
    if regime != "fresh" or not synthetic:
        identity = theory.ibd_weight_original(generations, real, 1.0, max(synthetic, 1))[-1]
        return Weighted(0.0, _of_identity(identity))
    shares, means, variances = gaussian.best_fresh_mix(generations, real, real, synthetic, bias)
    return Weighted(float(1 - shares[-1]), Moments(float(means[-1]), float(variances[-1])))


def weight_law(regime: str) -> Law:
    """Return the law of the best weight."""
    if regime == "fresh":
        return Law("gaussian.best_fresh_mix", "w = A/(A+1/n)")
    return Law("ibd_weight_original", "w = 1 is best")


def smallest_real(regime: str, generations: int, total: int, bias: float, target: float) -> int | None:
    """Return the fewest real rows, of `total` rows in a training set, with which the draws keep `target`.

    By bisection: more real rows never lower the variance that is kept, without a bias or with one below 1.

    Returns:
        Real rows; None where all `total` rows real do not reach it.
    """
    moments = MIXTURES["keep" if regime == "replace" else regime].moments

    def reached(real: int) -> bool:
        return bias * moments(generations, real, total - real, bias).variance >= target

    if not reached(total):
        return None
    low, high = 1, total  # one row has no variance
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def half_life(synthetic: int, bias: float) -> float:
    """Return the generations in which the variance halves where no real row is left: (lam (1 - 1/m))^t = 1/2.

    Infinite where nothing is drawn, or where a bias above 1 makes up for what is lost.
    """
    if not synthetic:
        return math.inf
    kept = bias * float(theory.replace_variance(1, synthetic))
    if kept <= 0:
        return 0.0
    rate = -math.log(bias) - math.log1p(-1 / synthetic)
    return math.log(2) / rate if rate > 0 else math.inf


HALF_LIFE = Law("replace_variance", "(l(1-1/m))^t = 1/2")
