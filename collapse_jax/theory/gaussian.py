"""Gaussian chains under `replace`: exact laws of mean, variance and their logs.

M is the number of points of each fit, n the number of fits; variances are in units of the truth's. The two
estimators: unbiased (ddof 1, scatter / (M - 1)) and maximum likelihood (ddof 0, scatter / M).
"""

import jax.numpy as jnp
from jax.scipy.special import digamma, gammaln, polygamma
from jax.scipy.stats import norm
from jaxtyping import Float

from collapse_jax.types import Array, ArrayLike


def variance_mean(num_fits: ArrayLike, num_samples: ArrayLike, ddof: int) -> Array:
    """Return E v_n: 1 for the unbiased estimator, (1 - 1/M)^n for the MLE. Reference: Alemohammad et al. (2023)."""
    return jnp.ones(jnp.shape(num_fits)) if ddof else (1 - 1 / jnp.asarray(num_samples, float)) ** num_fits


def variance_variance(num_fits: ArrayLike, num_samples: ArrayLike, ddof: int) -> Array:
    """Return Var v_n: (1 + 2/(M-1))^n - 1 unbiased; ((M^2-1)/M^2)^n - (1-1/M)^(2n) MLE."""
    size = jnp.asarray(num_samples, float)
    if ddof:
        return (1 + 2 / (size - 1)) ** num_fits - 1
    return ((size**2 - 1) / size**2) ** num_fits - (1 - 1 / size) ** (2 * jnp.asarray(num_fits))


def mean_variance(num_fits: ArrayLike, num_samples: ArrayLike, ddof: int) -> Array:
    """Return Var mu_n: n/M unbiased; 1 - (1 - 1/M)^n MLE, so that Var mu_n + E v_n is conserved.

    Unbiased, the printed "+ O(2)" of Shumailov et al. (2024, supplement) is not needed: Var X^n = 1 + n/M exactly.
    """
    size = jnp.asarray(num_samples, float)
    return jnp.asarray(num_fits) / size if ddof else 1 - (1 - 1 / size) ** num_fits


def std_mean(num_fits: ArrayLike, num_samples: ArrayLike, ddof: int) -> Array:
    """Return E sigma_n = c4(M)^n unbiased, (c4(M) sqrt(1 - 1/M))^n MLE. Reference: Suresh et al. (2024)."""
    size = jnp.asarray(num_samples, float)
    c4 = jnp.sqrt(2 / (size - 1)) * jnp.exp(gammaln(size / 2) - gammaln((size - 1) / 2))
    return (c4 if ddof else c4 * jnp.sqrt(1 - 1 / size)) ** num_fits


def w2_mean(num_fits: ArrayLike, num_samples: ArrayLike, ddof: int) -> Array:
    """Return E W2^2 to the truth, one dimension: Var mu + E (sigma - 1)^2.

    Shumailov et al. (2024, Theorem 3.1) say that it diverges: so does the expectation with the unbiased
    variance; with the MLE it tends to 2, and every single path converges under both. Their 3/2 rule is the
    first order in n/M.
    """
    second = mean_variance(num_fits, num_samples, ddof) + variance_mean(num_fits, num_samples, ddof)
    return second + 1 - 2 * std_mean(num_fits, num_samples, ddof)


def log_variance_drift(num_samples: ArrayLike, ddof: int, row: ArrayLike = 1) -> Array:
    """Return E log v_n / n: psi((M - j)/2) - log((M - ddof)/2), nats a generation.

    `row` j = 1 is the one-dimensional chain; j = 1 ... d are the squared diagonal entries of the Cholesky
    factor, whose slopes are twice the Lyapunov exponents: small directions die faster.
    """
    size = jnp.asarray(num_samples, float)
    return digamma((size - row) / 2) - jnp.log((size - ddof) / 2)


def log_variance_variance(num_samples: ArrayLike, row: ArrayLike = 1) -> Array:
    """Return Var log v_n / n = psi1((M - j)/2), nats squared a generation; independent over rows j."""
    return polygamma(1, (jnp.asarray(num_samples, float) - row) / 2)


def halving_time(num_samples: ArrayLike, ddof: int) -> Array:
    """Return the generations in which a typical chain (not the mean) halves its variance: log 2 / |drift|."""
    return -jnp.log(2.0) / log_variance_drift(num_samples, ddof)


def determinant_mean(num_fits: ArrayLike, num_samples: ArrayLike, dim: int) -> Array:
    """Return E det S_n / det S_0, unbiased: [prod_j (M - j)/(M - 1)]^n."""
    size = jnp.asarray(num_samples, float)
    rows = jnp.arange(1, dim + 1)
    return jnp.prod((size - rows) / (size - 1)) ** num_fits


def trace_squares(num_fits: int, num_samples: ArrayLike, dim: int) -> Float[Array, "2"]:
    """Return E tr S_n^2 and E (tr S_n)^2 from S_0 = I, unbiased: a' = a(1 + 1/v) + b/v, b' = b + 2a/v, v = M - 1."""
    freedom = jnp.asarray(num_samples, float) - 1
    matrix = jnp.array([[1 + 1 / freedom, 1 / freedom], [2 / freedom, 1.0]])
    return jnp.linalg.matrix_power(matrix, num_fits) @ jnp.array([float(dim), float(dim**2)])


def biased_mean_variance(num_fits: ArrayLike, num_samples: ArrayLike, bias: ArrayLike) -> Array:
    """Return Var mu_n when draws have lambda times the covariance: (1/M) sum_{k<n} lambda^k (first fit on real data).

    Reference: Alemohammad et al. (2023), eq. 2.
    """
    bias = jnp.asarray(bias, float)
    return (1 - bias**num_fits) / (1 - bias) / num_samples


def truncated_variance(cut: ArrayLike) -> Array:
    """Return the variance of N(0, 1) given |z| <= c: 1 - 2 c phi(c) / (2 Phi(c) - 1)."""
    cut = jnp.asarray(cut, float)
    density = jnp.exp(-(cut**2) / 2) / jnp.sqrt(2 * jnp.pi)
    mass = 2 * norm.cdf(cut) - 1
    return 1 - 2 * cut * density / mass


def kde_variance(num_fits: ArrayLike, num_samples: ArrayLike, width: ArrayLike) -> Array:
    """Return E V_n of a KDE of fixed bandwidth h, kernel included: M h^2 + (1 - 1/M)^n (1 - M h^2)."""
    floor = jnp.asarray(num_samples * jnp.square(width))
    return floor + variance_mean(num_fits, num_samples, 0) * (1 - floor)


def kde_rule_variance(num_fits: ArrayLike, num_samples: ArrayLike, factor: ArrayLike) -> Array:
    """Return E V_n of a KDE whose kernel is factor^2 times the unbiased variance: (1 - 1/M + f^2)^n."""
    return (1 - 1 / jnp.asarray(num_samples, float) + jnp.square(factor)) ** num_fits


def best_of_two_variance(num_fits: ArrayLike, num_samples: ArrayLike) -> Array:
    """Return E v_n when each of M points is the larger of two draws, MLE: ((1 - 1/M)(1 - 1/pi))^n."""
    return ((1 - 1 / jnp.asarray(num_samples, float)) * (1 - 1 / jnp.pi)) ** num_fits
