"""Discrete chains: Wright-Fisher laws of counts, forgetting, and the Zipf memoriser.

M is the number of draws a generation, n the number of fits; constants are those of haploid size M.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln, zeta
from jaxtyping import Float, Real

from collapse_jax.theory import matrices, stable
from collapse_jax.theory.ancestry import binomial_law
from collapse_jax.theory.law import (
    DISTRIBUTION,
    FITS,
    LENGTH,
    MATRIX,
    NONNEGATIVE,
    SHARE,
    SIZE,
    WHOLE,
    Domain,
    law,
    reals,
    require,
)
from collapse_jax.types import Array, ArrayLike

_AT_LEAST_ONE = Domain(1.0, integer=True, static=True)


@law(num_fits=FITS, num_samples=SIZE)
def heterozygosity(num_fits: ArrayLike, num_samples: ArrayLike) -> Array:
    """Return E H_n / H_0 = (1 - 1/M)^n, H = 1 - sum p^2. Reference: Seddik et al. (2024); population genetics."""
    fits, size = reals(num_fits, num_samples)
    return stable.kept(fits, 1 / size)


@law(probabilities=DISTRIBUTION, num_fits=FITS, num_samples=SIZE)
def covariance(
    probabilities: Float[ArrayLike, " K"], num_fits: ArrayLike, num_samples: ArrayLike
) -> Float[Array, "K K"]:
    """Return Cov(p_i, p_j) after n fits: (delta_ij p_i - p_i p_j)(1 - (1 - 1/M)^n)."""
    p, fits, size = reals(probabilities, num_fits, num_samples)
    pairs = jnp.where(jnp.eye(p.shape[0], dtype=bool), p * (1 - p), -jnp.outer(p, p))
    return pairs * stable.lost(fits, 1 / size)


@law(probability=SHARE, num_samples=SIZE)
def unseen(probability: ArrayLike, num_samples: ArrayLike) -> Array:
    """Return the probability that a class is lost in one generation, (1 - p)^M.

    Shumailov et al. (2024) give 1 - q for losing it: that is the probability of ever losing it.
    """
    p, size = reals(probability, num_samples)
    return stable.kept(size, p)


@law(probability=SHARE, num_fits=LENGTH, num_samples=MATRIX)
def survival(probability: ArrayLike, num_fits: int, num_samples: int) -> Array:
    """Return the exact probability that a class is alive after n fits: 1 - [Bin(M, p) T^(n-1)]_0.

    T is the (M+1) x (M+1) binomial transition matrix; M up to a few thousand.
    """
    if not num_fits:
        return jnp.where(jnp.asarray(probability) > 0, 1.0, 0.0)
    # the first draw's law over 1 ... M copies, each with its chance of life, n - 1 draws later
    later = matrices.alive(num_samples, num_fits - 1)
    alive = binomial_law(num_samples, probability) @ jnp.asarray(later, float)
    return jnp.minimum(alive, 1.0)  # a hundred roundings may lead past it


@law(probabilities=DISTRIBUTION, num_fits=LENGTH, num_samples=MATRIX)
def expected_support(probabilities: Float[ArrayLike, " K"], num_fits: int, num_samples: int) -> Array:
    """Return the expected number of classes alive after n fits."""
    return jnp.sum(survival(probabilities, num_fits, num_samples))


@law(num_generations=LENGTH)
def branching_survival(num_generations: int) -> Float[Array, " num_generations"]:
    """Return g_1, g_2, ...: g_1 = 1, g_{k+1} = 1 - exp(-g_k), survival of a critical Poisson branching process.

    k g_k rises from 1 to 2; the printed interval [1/k, 3/k] of Suresh et al. (2024) is loose. A word of count c
    << M is lost by n with probability exp(-c g_n); the median time to forget it is linear in c.

    Reference: Harris (1963).
    """
    alive = np.ones(num_generations)
    for generation in range(1, num_generations):
        alive[generation] = -np.expm1(-alive[generation - 1])
    return jnp.asarray(alive, float)


@law(probability=SHARE, num_samples=SIZE, num_fits=_AT_LEAST_ONE)
def survival_bounds(probability: ArrayLike, num_samples: ArrayLike, num_fits: int) -> tuple[Array, Array]:
    """Return bounds on the probability that a class is alive: 1 - e^(-M p g_k) and 1 - (1 - 3Mp^2 - 3kp) e^(-M p g_k).

    The upper one says nothing once 3 M p^2 + 3 k p >= 1. Reference: Suresh et al. (2024), Theorem 1.
    """
    p, size = reals(probability, num_samples)
    mean = size * p * _branching(num_fits)
    upper = -jnp.expm1(-mean) + (3 * size * p**2 + 3 * num_fits * p) * jnp.exp(-mean)
    return -jnp.expm1(-mean), jnp.minimum(upper, 1.0)


@law(count=NONNEGATIVE, num_fits=LENGTH)
def forgetting_probability(count: ArrayLike, num_fits: int) -> Array:
    """Return P(a word seen `count` << M times is lost by n) = e^(-c g_n).

    The median time is linear in the count, ~ 2c/ln 2; the mean (given loss) is not: ~ 2c ln(M/c).
    """
    held = jnp.asarray(count, float)
    return jnp.where(held > 0, jnp.exp(-held * _branching(num_fits)), 1.0)


@law(num_classes=WHOLE, num_samples=SIZE)
def entropy_drop(num_classes: ArrayLike, num_samples: ArrayLike) -> Array:
    """Return the Shannon entropy lost in one generation, (K - 1)/(2M) nats to first order (Miller and Madow).

    Reference: Miller (1955).
    """
    classes, size = reals(num_classes, num_samples)
    drop = (classes - 1) / (2 * size)
    require(
        drop <= jnp.log(classes),
        "`num_samples` is too small for the first order: more is lost than there is.",
    )
    return drop


@law(rate=NONNEGATIVE, num_samples=SIZE, num_fits=LENGTH)
def poisson_survival(rate: ArrayLike, num_samples: ArrayLike, num_fits: int) -> Array:
    """Return P(rate_n > 0) of a Poisson chain: 1 - exp(-M lambda g_n). Reference: Suresh et al. (2024), Theorem 2."""
    lam, size = reals(rate, num_samples)
    return jnp.where(lam > 0, -jnp.expm1(-size * lam * _branching(num_fits)), 0.0)


@law(probabilities=DISTRIBUTION, num_samples=SIZE, num_fits=LENGTH)
def memoriser_error(probabilities: Float[ArrayLike, " K"], num_samples: ArrayLike, num_fits: int) -> Array:
    """Return the mass that a model of n fits has never seen: sum p exp(-M p g_n), exact (1 - p)^M for n = 1.

    Generations multiply the error by g_n^-c ~ (n/2)^c, not by n. Reference: Dohmatob et al. (2024), Tale of Tails.
    """
    p, size = reals(probabilities, num_samples)
    if num_fits == 1:
        return jnp.sum(p * stable.kept(size, p))
    return jnp.sum(jnp.where(p > 0, p * jnp.exp(-size * p * _branching(num_fits)), 0.0))


@law(exponent=Domain(1.0, low_closed=False), num_samples=SIZE)
def memoriser_asymptote(exponent: ArrayLike, num_samples: ArrayLike) -> Array:
    """Return the mass never seen in T draws of i^-b/zeta(b), i = 1, 2, ...: zeta(b)^(-1/b) Gamma(1-1/b)/b T^-(1-1/b).

    With the tail cut at k it is `truncated_memoriser_error`; "T^-c + k^-(b-1)" is its order only.

    Reference: Hutter (2021); Dohmatob et al. (2024), Theorem 2.1.
    """
    b, size = reals(exponent, num_samples)
    power = (b - 1) / b
    # beyond 100 zeta is 1 to 30 digits, and its series no number in float32
    constant = zeta(jnp.minimum(b, 100.0), 1.0) ** (-1 / b) * jnp.exp(gammaln(power)) / b
    return jnp.minimum(constant * size**-power, 1.0)  # few draws: a mass is at most 1


@law(probabilities=DISTRIBUTION, num_kept=Domain(0.0, integer=True, static=True), num_samples=SIZE)
def truncated_memoriser_error(
    probabilities: Float[ArrayLike, " K"], num_kept: int, num_samples: ArrayLike
) -> Array:
    """Return the mass that T draws from the first k classes never see: sum_{i<=k} p (1 - q)^T + sum_{i>k} p.

    q is p renormalised over those k. Exact.
    """
    p, size = reals(probabilities, num_samples)
    head = p[:num_kept]
    mass = jnp.sum(head)
    share = jnp.where(mass > 0, head / jnp.where(mass > 0, mass, 1.0), 1.0)
    return jnp.sum(head * stable.kept(size, jnp.minimum(share, 1.0))) + jnp.sum(p[num_kept:])


@law(sizes=SIZE)
def effective_draws(sizes: Real[ArrayLike, " n"]) -> Array:
    """Return how many real draws a memoriser's last set of a schedule M_1 ... M_n is worth: h <- M_i (1 - e^(-h/M_i)).

    1/h ~ 1/M_n + (1/2) sum_{i<n} 1/M_i.
    """
    (sizes,) = reals(sizes)
    require(sizes.size > 0, "`sizes` must name at least one M.")
    return _worth(sizes)


@law(exponent=NONNEGATIVE, num_classes=_AT_LEAST_ONE)
def zipf(exponent: ArrayLike, num_classes: int) -> Float[Array, " K"]:
    """Return p_i proportional to i^-b, i = 1 ... K. Reference: Zipf (1949)."""
    weights = jnp.arange(1.0, num_classes + 1) ** -jnp.asarray(exponent, float)
    return weights / jnp.sum(weights)


@law(num_samples=SIZE, rate=SHARE)
def novelty_identity(num_samples: ArrayLike, rate: ArrayLike) -> Array:
    """Return the stationary identity F = (1-u)^2 / (M - (M-1)(1-u)^2) ~ 1/(1 + 2Mu) when a share u is new.

    Reference: Crow and Kimura (1970).
    """
    size, new = reals(num_samples, rate)
    return (1 - new) ** 2 / (1 + (size - 1) * new * (2 - new))


@law(num_fits=LENGTH, num_samples=SIZE)
def exponential_accumulate(num_fits: int, num_samples: ArrayLike) -> Array:
    """Return E theta_n^2 of an exponential chain under `accumulate`: prod (1 + 1/(M k^2)).

    The limit is sinh(x)/x at x = pi/sqrt M, not 1 + pi^2/(6 M), which holds only as M grows.
    """
    rounds = jnp.arange(1.0, num_fits + 1)
    return jnp.exp(jnp.sum(jnp.log1p(1 / (jnp.asarray(num_samples, float) * rounds**2))))


def _branching(num_fits: int) -> float:
    """Return g_n; infinite before the first fit, when nothing can be lost."""
    return float(branching_survival(num_fits)[-1]) if num_fits else np.inf


@jax.jit
def _worth(sizes: Array) -> Array:
    def body(worth: Array, size: Array) -> tuple[Array, None]:
        return -size * jnp.expm1(-worth / size), None

    return jax.lax.scan(body, sizes[-1], sizes[:-1], reverse=True)[0]
