"""Discrete chains: Wright-Fisher laws of counts, forgetting, and the Zipf memoriser.

M is the number of draws a generation, n the number of fits; constants are those of haploid size M.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln, xlog1py, xlogy
from jaxtyping import Float

from collapse_jax.types import Array, ArrayLike


def heterozygosity(num_fits: ArrayLike, num_samples: ArrayLike) -> Array:
    """Return E H_n / H_0 = (1 - 1/M)^n, H = 1 - sum p^2. Reference: Seddik et al. (2024); population genetics."""
    return (1 - 1 / jnp.asarray(num_samples, float)) ** num_fits


def covariance(
    probabilities: Float[Array, " K"], num_fits: ArrayLike, num_samples: ArrayLike
) -> Float[Array, "K K"]:
    """Return Cov(p_i, p_j) after n fits: (delta_ij p_i - p_i p_j)(1 - (1 - 1/M)^n)."""
    p = jnp.asarray(probabilities)
    return (jnp.diag(p) - jnp.outer(p, p)) * (1 - heterozygosity(num_fits, num_samples))


def unseen(probability: ArrayLike, num_samples: ArrayLike) -> Array:
    """Return the probability that a class is lost in one generation, (1 - p)^M.

    Shumailov et al. (2024) give 1 - q for losing it: that is the probability of ever losing it.
    """
    return (1 - jnp.asarray(probability, float)) ** num_samples


def survival(probability: ArrayLike, num_fits: int, num_samples: int) -> Array:
    """Return the exact probability that a class is alive after n fits: 1 - [Bin(M, p) T^(n-1)]_0.

    T is the (M+1) x (M+1) binomial transition matrix; M up to a few hundred.
    """
    first = _binomial(num_samples, jnp.asarray(probability, float))
    transitions = jax.vmap(lambda share: _binomial(num_samples, share))(
        jnp.arange(num_samples + 1) / num_samples
    )
    return 1 - (first @ jnp.linalg.matrix_power(transitions, num_fits - 1))[0]


def expected_support(probabilities: Float[Array, " K"], num_fits: int, num_samples: int) -> Array:
    """Return the expected number of classes alive after n fits."""
    return jnp.sum(jax.vmap(lambda p: survival(p, num_fits, num_samples))(jnp.asarray(probabilities)))


def branching_survival(num_generations: int) -> Float[Array, " num_generations"]:
    """Return g_1, g_2, ...: g_1 = 1, g_{k+1} = 1 - exp(-g_k), survival of a critical Poisson branching process.

    k g_k rises from 1 to 2; the printed interval [1/k, 3/k] of Suresh et al. (2024) is loose. A word of count c
    << M is lost by n with probability exp(-c g_n); the median time to forget it is linear in c.
    """

    def body(g: Array, _: None) -> tuple[Array, Array]:
        return 1 - jnp.exp(-g), g

    return jax.lax.scan(body, jnp.ones(()), None, num_generations)[1]


def poisson_survival(rate: ArrayLike, num_samples: ArrayLike, num_fits: int) -> Array:
    """Return P(rate_n > 0) of a Poisson chain: 1 - exp(-M lambda g_n). Reference: Suresh et al. (2024), Theorem 2."""
    return 1 - jnp.exp(-jnp.asarray(num_samples) * jnp.asarray(rate) * branching_survival(num_fits)[-1])


def memoriser_error(probabilities: Float[Array, " K"], num_samples: ArrayLike, num_fits: int) -> Array:
    """Return the mass that a model of n fits has never seen: sum p exp(-M p g_n), exact (1 - p)^M for n = 1.

    Generations multiply the error by g_n^-c ~ (n/2)^c, not by n. Reference: Dohmatob et al. (2024), Tale of Tails.
    """
    p = jnp.asarray(probabilities)
    if num_fits == 1:
        return jnp.sum(p * unseen(p, num_samples))
    return jnp.sum(p * jnp.exp(-jnp.asarray(num_samples) * p * branching_survival(num_fits)[-1]))


def zipf(exponent: float, num_classes: int) -> Float[Array, " K"]:
    """Return p_i proportional to i^-b, i = 1 ... K."""
    weights = jnp.arange(1, num_classes + 1, dtype=float) ** -exponent
    return weights / jnp.sum(weights)


def novelty_identity(num_samples: ArrayLike, rate: ArrayLike) -> Array:
    """Return the stationary identity F = (1-u)^2 / (M - (M-1)(1-u)^2) ~ 1/(1 + 2Mu) when a share u is new."""
    size, kept = jnp.asarray(num_samples, float), (1 - jnp.asarray(rate)) ** 2
    return kept / (size - (size - 1) * kept)


def exponential_accumulate(num_fits: int, num_samples: ArrayLike) -> Array:
    """Return E theta_n^2 of an exponential chain under `accumulate`: prod (1 + 1/(M k^2)).

    The limit is sinh(x)/x at x = pi/sqrt M, not 1 + pi^2/(6 M), which holds only as M grows.
    """
    rounds = jnp.arange(1, num_fits + 1)
    return jnp.prod(1 + 1 / (jnp.asarray(num_samples, float) * rounds**2))


def _binomial(num: int, share: Array) -> Float[Array, " num_plus_1"]:
    """Return the binomial law on 0 ... num."""
    hits = jnp.arange(num + 1)
    log_choose = gammaln(num + 1.0) - gammaln(hits + 1.0) - gammaln(num - hits + 1.0)
    return jnp.exp(log_choose + xlogy(hits, share) + xlog1py(num - hits, -share))
