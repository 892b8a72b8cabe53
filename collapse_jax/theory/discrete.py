"""Discrete chains: Wright-Fisher laws of counts, forgetting, and the Zipf memoriser.

M is the number of draws a generation, n the number of fits; constants are those of haploid size M.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln, zeta
from jaxtyping import Float

from collapse_jax.theory.ancestry import binomial_law, transition_matrix
from collapse_jax.types import Array, ArrayLike


def heterozygosity(num_fits: ArrayLike, num_samples: ArrayLike) -> Array:
    """Return E H_n / H_0 = (1 - 1/M)^n, H = 1 - sum p^2. Reference: Seddik et al. (2024); population genetics."""
    return (1 - 1 / jnp.asarray(num_samples, float)) ** num_fits


def covariance(
    probabilities: Float[ArrayLike, " K"], num_fits: ArrayLike, num_samples: ArrayLike
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
    first = binomial_law(num_samples, probability)
    later = jnp.linalg.matrix_power(transition_matrix(num_samples), num_fits - 1)
    return 1 - (first @ later)[0]


def expected_support(probabilities: Float[ArrayLike, " K"], num_fits: int, num_samples: int) -> Array:
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


def survival_bounds(probability: ArrayLike, num_samples: ArrayLike, num_fits: int) -> tuple[Array, Array]:
    """Return bounds on the probability that a class is alive: 1 - e^(-M p g_k) and 1 - (1 - 3Mp^2 - 3kp) e^(-M p g_k).

    The upper one says nothing once 3 M p^2 + 3 k p >= 1. Reference: Suresh et al. (2024), Theorem 1.
    """
    p, size = jnp.asarray(probability, float), jnp.asarray(num_samples, float)
    lost = jnp.exp(-size * p * branching_survival(num_fits)[-1])
    return 1 - lost, 1 - (1 - 3 * size * p**2 - 3 * num_fits * p) * lost


def forgetting_probability(count: ArrayLike, num_fits: int) -> Array:
    """Return P(a word seen `count` << M times is lost by n) = e^(-c g_n).

    The median time is linear in the count, ~ 2c/ln 2; the mean (given loss) is not: ~ 2c ln(M/c).
    """
    return jnp.exp(-jnp.asarray(count, float) * branching_survival(num_fits)[-1])


def entropy_drop(num_classes: ArrayLike, num_samples: ArrayLike) -> Array:
    """Return the Shannon entropy lost in one generation, (K - 1)/(2M) nats to first order (Miller and Madow)."""
    return (jnp.asarray(num_classes, float) - 1) / (2 * jnp.asarray(num_samples))


def poisson_survival(rate: ArrayLike, num_samples: ArrayLike, num_fits: int) -> Array:
    """Return P(rate_n > 0) of a Poisson chain: 1 - exp(-M lambda g_n). Reference: Suresh et al. (2024), Theorem 2."""
    return 1 - jnp.exp(-jnp.asarray(num_samples) * jnp.asarray(rate) * branching_survival(num_fits)[-1])


def memoriser_error(probabilities: Float[ArrayLike, " K"], num_samples: ArrayLike, num_fits: int) -> Array:
    """Return the mass that a model of n fits has never seen: sum p exp(-M p g_n), exact (1 - p)^M for n = 1.

    Generations multiply the error by g_n^-c ~ (n/2)^c, not by n. Reference: Dohmatob et al. (2024), Tale of Tails.
    """
    p = jnp.asarray(probabilities)
    if num_fits == 1:
        return jnp.sum(p * unseen(p, num_samples))
    return jnp.sum(p * jnp.exp(-jnp.asarray(num_samples) * p * branching_survival(num_fits)[-1]))


def memoriser_asymptote(exponent: ArrayLike, num_samples: ArrayLike) -> Array:
    """Return the mass never seen in T draws of i^-b/zeta(b), i = 1, 2, ...: zeta(b)^(-1/b) Gamma(1-1/b)/b T^-(1-1/b).

    With the tail cut at k it is `truncated_memoriser_error`; "T^-c + k^-(b-1)" is its order only.

    Reference: Hutter (2021); Dohmatob et al. (2024), Theorem 2.1.
    """
    b = jnp.asarray(exponent, float)
    constant = zeta(b, 1.0) ** (-1 / b) * jnp.exp(gammaln(1 - 1 / b)) / b
    return constant * jnp.asarray(num_samples, float) ** -(1 - 1 / b)


def truncated_memoriser_error(
    probabilities: Float[ArrayLike, " K"], num_kept: int, num_samples: ArrayLike
) -> Array:
    """Return the mass that T draws from the first k classes never see: sum_{i<=k} p (1 - q)^T + sum_{i>k} p.

    q is p renormalised over those k. Exact.
    """
    p = jnp.asarray(probabilities, float)
    head = p[:num_kept]
    return jnp.sum(head * (1 - head / jnp.sum(head)) ** num_samples) + jnp.sum(p[num_kept:])


def effective_draws(sizes: Float[ArrayLike, " n"]) -> Array:
    """Return how many real draws a memoriser's last set of a schedule M_1 ... M_n is worth: h <- M_i (1 - e^(-h/M_i)).

    1/h ~ 1/M_n + (1/2) sum_{i<n} 1/M_i.
    """
    sizes = jnp.asarray(sizes, float)

    def body(worth: Array, size: Array) -> tuple[Array, None]:
        return -size * jnp.expm1(-worth / size), None

    return jax.lax.scan(body, sizes[-1], sizes[:-1], reverse=True)[0]


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
    rounds = jnp.arange(1.0, num_fits + 1)
    return jnp.prod(1 + 1 / (jnp.asarray(num_samples, float) * rounds**2))
