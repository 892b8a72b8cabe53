"""Gaussian chains under `replace`: exact laws of mean, variance and their logs.

M is the number of points of each fit, n the number of fits; variances are in units of the truth's. The two
estimators: unbiased (ddof 1, scatter / (M - 1)) and maximum likelihood (ddof 0, scatter / M).
"""

import jax
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


def loss_time(share: ArrayLike, num_samples: ArrayLike, ddof: int) -> Array:
    """Return the generations in which a typical chain (not the mean) comes down to `share` of its variance.

    log(share) / drift. The first passage of a chain is on average this and the overshoot over the drift (Wald).
    Log sigma falls by 1 every 2M generations (unbiased) or M (MLE): "std -> 0 at about n iterations" in the
    abstract of Suresh et al. (2024) is the latter.

    >>> round(float(loss_time(0.5, 100, 1)), 1), round(float(loss_time(0.5, 100, 0)), 1)
    (68.4, 34.3)
    """
    return jnp.log(jnp.asarray(share, float)) / log_variance_drift(num_samples, ddof)


def above_probability(log_share: ArrayLike, num_fits: ArrayLike, num_samples: ArrayLike, ddof: int) -> Array:
    """Return P(log v_n > log_share): how many chains still have that share of the variance.

    The sum of n log chi-squares, normal with a first correction for its skewness (Edgeworth): the error is of
    order 1/n, and 1/(nM).
    """
    fits, size = jnp.asarray(num_fits, float), jnp.asarray(num_samples, float)
    spread = jnp.sqrt(fits * log_variance_variance(size))
    z = (jnp.asarray(log_share, float) - fits * log_variance_drift(size, ddof)) / spread
    skewness = polygamma(2, (size - 1) / 2) / log_variance_variance(size) ** 1.5 / jnp.sqrt(fits)
    density = jnp.exp(-(z**2) / 2) / jnp.sqrt(2 * jnp.pi)
    return jnp.clip(norm.sf(z) + skewness / 6 * (z**2 - 1) * density, 0.0, 1.0)


def passed_probability(log_share: ArrayLike, num_fits: ArrayLike, num_samples: ArrayLike, ddof: int) -> Array:
    """Return P(v has been below that share of the truth's within n fits), log_share < 0.

    First passage of a random walk with drift (inverse Gaussian), the barrier moved by 0.583 standard deviations
    of a step for the overshoot. Good to about 1 % for M >= 20. Reference: Siegmund (1985).
    """
    fits = jnp.asarray(num_fits, float)
    speed, step = -log_variance_drift(num_samples, ddof), jnp.sqrt(log_variance_variance(num_samples))
    barrier, spread = -jnp.asarray(log_share, float) + 0.5826 * step, step * jnp.sqrt(fits)
    mirrored = norm.logcdf(-(barrier + speed * fits) / spread) + 2 * speed * barrier / step**2
    return norm.cdf((speed * fits - barrier) / spread) + jnp.exp(mirrored)


def small_std_bound(share: ArrayLike, num_fits: ArrayLike, num_samples: ArrayLike) -> Array:
    """Return the bound (1/share) e^(-n/(4M-1)) on P(sigma_n > share), unbiased.

    True and loose, as Markov's inequality on E sigma is: 0.80 at M = 20, n = 200, where the share is 0.1 and the
    probability 0.094. Reference: Suresh et al. (2024), Theorem 3.
    """
    return jnp.exp(-jnp.asarray(num_fits) / (4 * jnp.asarray(num_samples, float) - 1)) / share


def w2_expansion(inverse_sum: ArrayLike, inverse_squares: ArrayLike = 0.0) -> Array:
    """Return E W2^2 ~ (3/2) S1 + S2/2 - S1^2/16, S1 = sum 1/M_i, S2 = sum 1/M_i^2, unbiased.

    The first term is the 3/2 rule of Shumailov et al. (2024, supplement, eq. 6): first order in S1, not only in
    each 1/M_i; at n = M it is 4 % too large, at n = 10 M 27 %.
    """
    first = jnp.asarray(inverse_sum, float)
    return 1.5 * first + jnp.asarray(inverse_squares) / 2 - first**2 / 16


def fourth_moments(num_fits: int, num_samples: ArrayLike, ddof: int) -> Float[Array, "3"]:
    """Return E mu_n^4, E mu_n^2 v_n and E v_n^2, from N(0, 1)."""
    size = jnp.asarray(num_samples, float)
    first, second = (size - 1) / (size - ddof), (size**2 - 1) / (size - ddof) ** 2
    zero = jnp.zeros_like(size)
    matrix = jnp.array([[zero + 1, 6 / size, 3 / size**2], [zero, first, first / size], [zero, zero, second]])
    return jnp.linalg.matrix_power(matrix, num_fits) @ jnp.array([0.0, 0.0, 1.0])


def mle_limit_fourth_moment(num_samples: ArrayLike) -> Array:
    """Return E mu_inf^4 = 6M - 3 with the MLE (its variance is 1): a tail too heavy to see in a sample."""
    return 6 * jnp.asarray(num_samples, float) - 3


def accumulate_unbiased(num_fits: int, num_samples: ArrayLike) -> tuple[Array, Array]:
    """Return E v_n and Var mu_n under `accumulate` with the unbiased variance.

    E v_n = prod_{k=2}^n (1 - 1/(k (kM - 1))) and Var mu_n = sum_k E v_{k-1} / (M k^2).
    """
    size, rounds = jnp.asarray(num_samples, float), jnp.arange(1.0, num_fits + 1)
    factors = jnp.where(rounds > 1, 1 - 1 / (rounds * (rounds * size - 1)), 1.0)
    variances = jnp.cumprod(factors)
    before = jnp.concatenate([jnp.ones(1), variances[:-1]])
    return variances[-1], jnp.sum(before / (size * rounds**2))


def fresh_mix(
    num_generations: int, real: ArrayLike, synthetic: ArrayLike, bias: ArrayLike = 1.0, ddof: int = 1
) -> tuple[Array, Array]:
    """Return Var mu and E v of generations 0 ... g when every fit sees n_r fresh and n_s synthetic points.

    Exact, with sampling bias lambda; model 0 is fitted to n_r + n_s real points. Unbiased and lambda = 1, E v
    rests above 1: the mean wanders, and the pooled scatter sees it.

    Reference: the fresh data loop of Alemohammad et al. (2023).
    """
    real, drawn, bias = (jnp.asarray(number, float) for number in (real, synthetic, bias))
    total = real + drawn

    def body(pair: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        mean, spread = pair
        within = real + drawn * bias * spread
        after = (
            (within + drawn**2 * mean) / total**2,
            ((total - 1) / total * within + drawn * real * mean / total) / (total - ddof),
        )
        return after, after

    start = 1 / total, (total - 1) / (total - ddof)
    _, later = jax.lax.scan(body, start, None, num_generations)
    return tuple(jnp.concatenate([a[None], b]) for a, b in zip(start, later))  # type: ignore[return-value]


def known_variance_mean(num_fits: int, num_samples: ArrayLike, regime: str = "replace") -> Array:
    """Return Var mu_n with a known unit variance: n/M under "replace", (1/M) sum 1/k^2 under "accumulate".

    The latter tends to pi^2/(6M) (Dey and Donoho 2024). A Poisson rate has the same laws, times the rate.
    """
    if regime == "replace":
        return jnp.asarray(num_fits) / jnp.asarray(num_samples, float)
    return jnp.sum(1.0 / jnp.arange(1.0, num_fits + 1) ** 2) / jnp.asarray(num_samples, float)


def accumulate_fresh_mean(num_fits: int, num_samples: ArrayLike, fraction: ArrayLike) -> Array:
    """Return Var mu_n, known variance, when batches of N with a share r of fresh real data accumulate.

    V_t = (1 - r/t)^2 V_{t-1} + 1/(N t^2): it falls like t^-min(1, 2r); for r > 1/2, N t V tends to 1/(2r - 1).
    """
    share, size = jnp.asarray(fraction, float), jnp.asarray(num_samples, float)

    def body(t: Array, variance: Array) -> Array:
        return (1 - share / t) ** 2 * variance + 1 / (size * t**2)

    return jax.lax.fori_loop(1, num_fits + 1, lambda t, v: body(jnp.asarray(t, float), v), jnp.zeros(()))


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
