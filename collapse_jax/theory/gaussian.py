"""Gaussian chains under `replace`: exact laws of mean, variance and their logs.

M is the number of points of each fit, n the number of fits; variances are in units of the truth's. The two
estimators: unbiased (ddof 1, scatter / (M - 1)) and maximum likelihood (ddof 0, scatter / M).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jaxtyping import Float

from collapse_jax.theory import stable
from collapse_jax.theory.law import (
    COUNT,
    DDOF,
    FITS,
    LENGTH,
    NONNEGATIVE,
    PLURAL,
    SHARE,
    SIZE,
    WHOLE,
    Domain,
    law,
    reals,
    require,
)
from collapse_jax.types import Array, ArrayLike

_NO_VARIANCE = "`num_samples` must be above 1 with ddof 1: one point has no unbiased variance."


@law(num_fits=FITS, num_samples=SIZE, ddof=DDOF)
def variance_mean(num_fits: ArrayLike, num_samples: ArrayLike, ddof: int) -> Array:
    """Return E v_n: 1 for the unbiased estimator, (1 - 1/M)^n for the MLE. Reference: Alemohammad et al. (2023)."""
    fits, size = _sized(num_fits, num_samples, ddof)
    return jnp.ones(jnp.broadcast_shapes(fits.shape, size.shape)) if ddof else stable.kept(fits, 1 / size)


@law(num_fits=FITS, num_samples=SIZE, ddof=DDOF)
def variance_variance(num_fits: ArrayLike, num_samples: ArrayLike, ddof: int) -> Array:
    """Return Var v_n: (1 + 2/(M-1))^n - 1 unbiased; ((M^2-1)/M^2)^n - (1-1/M)^(2n) MLE."""
    fits, size = _sized(num_fits, num_samples, ddof)
    if ddof:
        return jnp.expm1(fits * jnp.log1p(2 / (size - 1)))
    # the larger power times 1 less the ratio of the two, ((M-1)/(M+1))^n
    return stable.kept(fits, 1 / size**2) * stable.lost(fits, 2 / (size + 1))


@law(num_fits=FITS, num_samples=SIZE, ddof=DDOF)
def mean_variance(num_fits: ArrayLike, num_samples: ArrayLike, ddof: int) -> Array:
    """Return Var mu_n: n/M unbiased; 1 - (1 - 1/M)^n MLE, so that Var mu_n + E v_n is conserved.

    Unbiased, the printed "+ O(2)" of Shumailov et al. (2024, supplement) is not needed: Var X^n = 1 + n/M exactly.
    """
    fits, size = _sized(num_fits, num_samples, ddof)
    return fits / size if ddof else stable.lost(fits, 1 / size)


@law(num_fits=FITS, num_samples=SIZE, ddof=DDOF)
def std_mean(num_fits: ArrayLike, num_samples: ArrayLike, ddof: int) -> Array:
    """Return E sigma_n = c4(M)^n unbiased, (c4(M) sqrt(1 - 1/M))^n MLE. Reference: Suresh et al. (2024)."""
    return jnp.exp(_log_std_mean(*_sized(num_fits, num_samples, ddof), ddof))


@law(num_fits=FITS, num_samples=SIZE, ddof=DDOF)
def w2_mean(num_fits: ArrayLike, num_samples: ArrayLike, ddof: int) -> Array:
    """Return E W2^2 to the truth, one dimension: Var mu + E (sigma - 1)^2 = Var mu + E v + 1 - 2 E sigma.

    Shumailov et al. (2024, Theorem 3.1) say that it diverges: so does the expectation with the unbiased
    variance; with the MLE it tends to 2, and every single path converges under both. Their 3/2 rule is the
    first order in n/M.
    """
    fits, size = _sized(num_fits, num_samples, ddof)
    # Var mu + E v is 1 + n/M or 1
    return (fits / size if ddof else 0.0) - 2 * jnp.expm1(_log_std_mean(fits, size, ddof))


@law(num_samples=PLURAL, ddof=DDOF, row=WHOLE)
def log_variance_drift(num_samples: ArrayLike, ddof: int, row: ArrayLike = 1) -> Array:
    """Return E log v_n / n: psi((M - j)/2) - log((M - ddof)/2), nats a generation.

    `row` j = 1 is the one-dimensional chain; j = 1 ... d are the squared diagonal entries of the Cholesky
    factor, whose slopes are twice the Lyapunov exponents: small directions die faster.
    """
    size, row = _with_rows(num_samples, row)
    return stable.digamma_less_log((size - row) / 2) + jnp.log1p((ddof - row) / (size - ddof))


@law(num_samples=PLURAL, row=WHOLE)
def log_variance_variance(num_samples: ArrayLike, row: ArrayLike = 1) -> Array:
    """Return Var log v_n / n = psi1((M - j)/2), nats squared a generation; independent over rows j."""
    size, row = _with_rows(num_samples, row)
    return stable.trigamma((size - row) / 2)


@law(share=SHARE, num_samples=PLURAL, ddof=DDOF)
def loss_time(share: ArrayLike, num_samples: ArrayLike, ddof: int) -> Array:
    """Return the generations in which a typical chain (not the mean) comes down to `share` of its variance.

    log(share) / drift. The first passage of a chain is on average this and the overshoot over the drift (Wald).
    Log sigma falls by 1 every 2M generations (unbiased) or M (MLE): "std -> 0 at about n iterations" in the
    abstract of Suresh et al. (2024) is the latter.

    >>> round(float(loss_time(0.5, 100, 1)), 1), round(float(loss_time(0.5, 100, 0)), 1)
    (68.4, 34.3)
    """
    return jnp.log(*reals(share)) / log_variance_drift(num_samples, ddof)


@law(log_share=Domain(high=np.inf, high_closed=True), num_fits=FITS, num_samples=PLURAL, ddof=DDOF)
def above_probability(log_share: ArrayLike, num_fits: ArrayLike, num_samples: ArrayLike, ddof: int) -> Array:
    """Return P(log v_n > log_share): how many chains still have that share of the variance.

    The sum of n log chi-squares, normal with a first correction for its skewness (Edgeworth): the error is of
    order 1/n, and 1/(nM). Before the first fit the variance is the truth's.
    """
    level, fits, size = reals(log_share, num_fits, num_samples)
    step, drift = log_variance_variance(size), log_variance_drift(size, ddof)
    started = fits > 0
    draws = jnp.where(started, fits, 1.0)
    z = (level - draws * drift) / jnp.sqrt(draws * step)
    skewness = stable.tetragamma((size - 1) / 2) / step**1.5 / jnp.sqrt(draws)
    near = jnp.clip(z, -40.0, 40.0)  # beyond, the density is 0
    density = jnp.exp(-(near**2) / 2) / jnp.sqrt(2 * jnp.pi)
    above = jnp.clip(norm.sf(z) + skewness / 6 * (near**2 - 1) * density, 0.0, 1.0)
    return jnp.where(started, above, jnp.where(level < 0, 1.0, 0.0))


@law(log_share=Domain(high=0.0, high_closed=True), num_fits=FITS, num_samples=PLURAL, ddof=DDOF)
def passed_probability(log_share: ArrayLike, num_fits: ArrayLike, num_samples: ArrayLike, ddof: int) -> Array:
    """Return P(v has been below that share of the truth's within n fits), log_share <= 0.

    First passage of a random walk with drift (inverse Gaussian), the barrier moved by 0.583 standard deviations
    of a step for the overshoot. Good to about 1 % for M >= 20. Reference: Siegmund (1985).
    """
    level, fits, size = reals(log_share, num_fits, num_samples)
    speed, variance = -log_variance_drift(size, ddof), log_variance_variance(size)
    step = jnp.sqrt(variance)
    started = fits > 0
    draws = jnp.where(started, fits, 1.0)
    barrier, spread = jnp.minimum(-level, 1e30) + 0.5826 * step, step * jnp.sqrt(draws)
    mirrored = norm.logcdf(-(barrier + speed * draws) / spread) + 2 * speed * barrier / variance
    passed = norm.cdf((speed * draws - barrier) / spread) + jnp.exp(jnp.minimum(mirrored, 0.0))
    return jnp.where(started, jnp.clip(passed, 0.0, 1.0), 0.0)


@law(share=SHARE, num_fits=FITS, num_samples=PLURAL)
def small_std_bound(share: ArrayLike, num_fits: ArrayLike, num_samples: ArrayLike) -> Array:
    """Return the bound (1/share) e^(-n/(4M-1)) on P(sigma_n > share), unbiased.

    True and loose, as Markov's inequality on E sigma is: 0.80 at M = 20, n = 200, where the share is 0.1 and the
    probability 0.094. Reference: Suresh et al. (2024), Theorem 3.
    """
    share, fits, size = reals(share, num_fits, num_samples)
    return jnp.exp(-fits / (4 * size - 1)) / share


@law(inverse_sum=Domain(0.0, 4.0, high_closed=True), inverse_squares=Domain(0.0, 4.0, high_closed=True))
def w2_expansion(inverse_sum: ArrayLike, inverse_squares: ArrayLike = 0.0) -> Array:
    """Return E W2^2 ~ (3/2) S1 + S2/2 - S1^2/16, S1 = sum 1/M_i, S2 = sum 1/M_i^2, unbiased.

    The first term is the 3/2 rule of Shumailov et al. (2024, supplement, eq. 6): first order in S1, not only in
    each 1/M_i; at n = M it is 4 % too large, at n = 10 M 27 %. The expansion is 5 % too small at S1 = 4, and is
    refused beyond.
    """
    first, second = reals(inverse_sum, inverse_squares)
    return 1.5 * first + second / 2 - first**2 / 16


@law(num_fits=LENGTH, num_samples=SIZE, ddof=DDOF)
def fourth_moments(num_fits: int, num_samples: ArrayLike, ddof: int) -> Float[Array, "3"]:
    """Return E mu_n^4, E mu_n^2 v_n and E v_n^2, from N(0, 1)."""
    _, size = _sized(num_fits, num_samples, ddof)
    first, second = (size - 1) / (size - ddof), (size**2 - 1) / (size - ddof) ** 2
    zero = jnp.zeros_like(size)
    matrix = jnp.array([[zero + 1, 6 / size, 3 / size**2], [zero, first, first / size], [zero, zero, second]])
    return jnp.linalg.matrix_power(matrix, num_fits) @ jnp.array([0.0, 0.0, 1.0])


@law(num_samples=SIZE)
def mle_limit_fourth_moment(num_samples: ArrayLike) -> Array:
    """Return E mu_inf^4 = 6M - 3 with the MLE (its variance is 1): a tail too heavy to see in a sample."""
    return 6 * jnp.asarray(num_samples, float) - 3


@law(num_fits=LENGTH, num_samples=PLURAL)
def accumulate_unbiased(num_fits: int, num_samples: ArrayLike) -> tuple[Array, Array]:
    """Return E v_n and Var mu_n under `accumulate` with the unbiased variance.

    E v_n = prod_{k=2}^n (1 - 1/(k (kM - 1))) and Var mu_n = sum_k E v_{k-1} / (M k^2).
    """
    size, rounds = jnp.asarray(num_samples, float), jnp.arange(1.0, num_fits + 1)
    losses = jnp.where(rounds > 1, 1 / (rounds * (rounds * size - 1)), 0.0)
    variances = jnp.concatenate([jnp.ones(1), jnp.exp(jnp.cumsum(jnp.log1p(-losses)))])
    return variances[-1], jnp.sum(variances[:-1] / (size * rounds**2))


@law(num_generations=LENGTH, real=COUNT, synthetic=COUNT, bias=NONNEGATIVE, ddof=DDOF)
def fresh_mix(
    num_generations: int, real: ArrayLike, synthetic: ArrayLike, bias: ArrayLike = 1.0, ddof: int = 1
) -> tuple[Array, Array]:
    """Return Var mu and E v of generations 0 ... g when every fit sees n_r fresh and n_s synthetic points.

    Exact, with sampling bias lambda; model 0 is fitted to n_r + n_s real points. Unbiased and lambda = 1, E v
    rests above 1: the mean wanders, and the pooled scatter sees it.

    Reference: the fresh data loop of Alemohammad et al. (2023).
    """
    real, drawn, bias = reals(real, synthetic, bias)
    require(real + drawn > ddof, f"`real` and `synthetic` must be above {ddof} together with ddof {ddof}.")

    return _fresh_mix(num_generations, ddof, real, drawn, bias)


@law(num_generations=LENGTH, num_real=SIZE, synthetic=COUNT, bias=NONNEGATIVE)
def original_mix(
    num_generations: int, num_real: ArrayLike, synthetic: ArrayLike, bias: ArrayLike = 1.0
) -> tuple[Array, Array]:
    """Return Var mu and E v of generations 0 ... g when every fit sees the same n_r real and n_s synthetic points.

    Exact for the MLE, with sampling bias lambda: Var mu = 1/n_r + b, b' = (n_s^2 b + n_s lambda v)/N^2 and
    v' = (n_r - 1)/N + (n_r n_s b + (N - 1) n_s lambda v)/N^2, N = n_r + n_s; model 0 is fitted to the real points.
    Without a bias Var mu is G of `ibd_add_original`; of many points v rests at n_r/(n_r + n_s (1 - lambda)).

    >>> [round(float(part[-1]), 4) for part in original_mix(50, 100, 400, 0.9)]
    [0.0128, 0.7051]
    """
    return _original_mix(num_generations, *reals(num_real, synthetic, bias))


@law(num_generations=LENGTH, num_real=SIZE, fresh=SIZE, synthetic=SIZE, bias=NONNEGATIVE)
def best_fresh_mix(
    num_generations: int, num_real: ArrayLike, fresh: ArrayLike, synthetic: ArrayLike, bias: ArrayLike = 1.0
) -> tuple[Array, Array, Array]:
    """Return the best share of fresh real data in generations 0 ... g, and the Var mu and E v that it gives.

    The Kalman filter's gain, w = A/(A + 1/n) with A = Var mu + lambda E v/m: what n new real points know beside m
    drawn from the last model; then Var mu' = w/n, E v' = w (1 - 1/n) + (1 - w)(Var mu + lambda E v), for the MLE of a
    weighted fit. With lambda = 1 no other shares give the last model, or any before it, a smaller error of the mean.
    Of many points, n = m = N0: 2/3, 5/8, 13/21, 34/55, ..., to the `he_optimal_weight` 0.618.

    Args:
        num_generations: g, static.
        num_real: N0, real points that model 0 is fitted to: its share is 1.
        fresh: n, new real points in every later fit.
        synthetic: m, points drawn from the last model in every later fit.
        bias: lambda, variance of a model's draws over the fitted one.

    Reference: Kalman (1960).

    >>> [round(float(share), 4) for share in best_fresh_mix(3, 1e9, 1e9, 1e9)[0]]
    [1.0, 0.6667, 0.625, 0.619]
    """
    return _best_fresh_mix(num_generations, *reals(num_real, fresh, synthetic, bias))


@law(num_fits=LENGTH, num_samples=SIZE, regime=Domain(choices=("replace", "accumulate"), static=True))
def known_variance_mean(num_fits: int, num_samples: ArrayLike, regime: str = "replace") -> Array:
    """Return Var mu_n with a known unit variance: n/M under "replace", (1/M) sum 1/k^2 under "accumulate".

    The latter tends to pi^2/(6M) (Dey and Donoho 2024). A Poisson rate has the same laws, times the rate.
    """
    if regime == "replace":
        return jnp.asarray(num_fits) / jnp.asarray(num_samples, float)
    return jnp.sum(1.0 / jnp.arange(1.0, num_fits + 1) ** 2) / jnp.asarray(num_samples, float)


@law(num_fits=LENGTH, num_samples=SIZE, fraction=SHARE)
def accumulate_fresh_mean(num_fits: int, num_samples: ArrayLike, fraction: ArrayLike) -> Array:
    """Return Var mu_n, known variance, when batches of N with a share r of fresh real data accumulate.

    V_t = (1 - r/t)^2 V_{t-1} + 1/(N t^2): it falls like t^-min(1, 2r); for r > 1/2, N t V tends to 1/(2r - 1).
    """
    return _accumulate_fresh(num_fits, *reals(num_samples, fraction))


@law(num_fits=FITS, num_samples=PLURAL, dim=Domain(1.0, integer=True, static=True))
def determinant_mean(num_fits: ArrayLike, num_samples: ArrayLike, dim: int) -> Array:
    """Return E det S_n / det S_0, unbiased: [prod_j (M - j)/(M - 1)]^n; 0 as soon as M <= d points span less."""
    fits, size = reals(num_fits, num_samples)
    loss = jnp.arange(dim) / (size[..., None] - 1)
    # more dimensions than points span leave no volume; 1 is the loss of all
    log_kept = jnp.sum(jnp.log1p(-jnp.minimum(loss, 1.0)), axis=-1)
    return jnp.where(fits == 0, 1.0, jnp.exp(fits * log_kept))


@law(num_fits=LENGTH, num_samples=PLURAL, dim=Domain(1.0, integer=True, static=True))
def trace_squares(num_fits: int, num_samples: ArrayLike, dim: int) -> Float[Array, "2"]:
    """Return E tr S_n^2 and E (tr S_n)^2 from S_0 = I, unbiased: a' = a(1 + 1/v) + b/v, b' = b + 2a/v, v = M - 1."""
    freedom = jnp.asarray(num_samples, float) - 1
    matrix = jnp.array([[1 + 1 / freedom, 1 / freedom], [2 / freedom, 1.0]])
    return jnp.linalg.matrix_power(matrix, num_fits) @ jnp.array([float(dim), float(dim**2)])


@law(num_fits=FITS, num_samples=SIZE, bias=NONNEGATIVE)
def biased_mean_variance(num_fits: ArrayLike, num_samples: ArrayLike, bias: ArrayLike) -> Array:
    """Return Var mu_n when draws have lambda times the covariance: (1/M) sum_{k<n} lambda^k (first fit on real data).

    Without a bias, lambda = 1, it is n/M. Reference: Alemohammad et al. (2023), eq. 2.
    """
    fits, size, bias = reals(num_fits, num_samples, bias)
    return stable.geometric_sum(fits, bias - 1) / size


@law(cut=Domain(0.0, high_closed=True))
def truncated_variance(cut: ArrayLike) -> Array:
    """Return the variance of N(0, 1) given |z| <= c: 1 - 2 c phi(c) / (2 Phi(c) - 1); c^2/3 for a small c."""
    cut = jnp.asarray(cut, float)
    narrow = cut < 2
    small, large = jnp.where(narrow, cut, 0.0) ** 2, jnp.clip(cut, 2.0, 40.0)  # beyond 40 nothing is cut
    # integrals of t^2 exp(-t^2/2) and exp(-t^2/2) over [0, c], both times exp(c^2/2)/c: sums of positive terms
    term, second, mass = jnp.ones_like(small), jnp.zeros_like(small), jnp.ones_like(small)
    for odd in range(3, 61, 2):
        term = term * small / odd
        second, mass = second + term, mass + term
    density = jnp.exp(-(large**2) / 2) / jnp.sqrt(2 * jnp.pi)
    wide = 1 - 2 * large * density / (1 - 2 * norm.cdf(-large))
    return jnp.where(narrow, second / mass, wide)


@law(num_fits=FITS, num_samples=SIZE, width=NONNEGATIVE)
def kde_variance(num_fits: ArrayLike, num_samples: ArrayLike, width: ArrayLike) -> Array:
    """Return E V_n of a KDE of fixed bandwidth h, kernel included: M h^2 + (1 - 1/M)^n (1 - M h^2)."""
    fits, size, width = reals(num_fits, num_samples, width)
    return stable.kept(fits, 1 / size) + size * width**2 * stable.lost(fits, 1 / size)


@law(num_fits=FITS, num_samples=SIZE, factor=NONNEGATIVE)
def kde_rule_variance(num_fits: ArrayLike, num_samples: ArrayLike, factor: ArrayLike) -> Array:
    """Return E V_n of a KDE whose kernel is factor^2 times the unbiased variance: (1 - 1/M + f^2)^n."""
    fits, size, factor = reals(num_fits, num_samples, factor)
    return stable.kept(fits, 1 / size - factor**2)


@law(num_fits=FITS, num_samples=SIZE)
def best_of_two_variance(num_fits: ArrayLike, num_samples: ArrayLike) -> Array:
    """Return E v_n when each of M points is the larger of two draws, MLE: ((1 - 1/M)(1 - 1/pi))^n."""
    fits, size = reals(num_fits, num_samples)
    return stable.kept(fits, 1 / size) * stable.kept(fits, jnp.asarray(1 / np.pi))


def _sized(num_fits: ArrayLike, num_samples: ArrayLike, ddof: int) -> tuple[Array, Array]:
    fits, size = reals(num_fits, num_samples)
    require(size > ddof, _NO_VARIANCE)
    return fits, size


def _log_std_mean(fits: Array, size: Array, ddof: int) -> Array:
    """Return log E sigma_n; one point alone has sigma 0 (MLE)."""
    single = size == 1
    plural = jnp.where(single, 2.0, size)
    log_mean = fits * (stable.log_c4(plural) + (0.0 if ddof else 0.5 * jnp.log1p(-1 / plural)))
    return jnp.where(single & (fits > 0), -jnp.inf, jnp.where(fits > 0, log_mean, 0.0))


def _with_rows(num_samples: ArrayLike, row: ArrayLike) -> tuple[Array, Array]:
    size, row = reals(num_samples, row)
    require(size > row, "`num_samples` must be above `row`: M points have M - 1 dimensions, and no more.")
    return size, row


@functools.partial(jax.jit, static_argnums=(0, 1))
def _fresh_mix(
    num_generations: int, ddof: int, real: Array, drawn: Array, bias: Array
) -> tuple[Array, Array]:
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
    _, (means, spreads) = jax.lax.scan(body, start, None, num_generations)
    return jnp.concatenate([start[0][None], means]), jnp.concatenate([start[1][None], spreads])


@functools.partial(jax.jit, static_argnums=0)
def _original_mix(num_generations: int, real: Array, drawn: Array, bias: Array) -> tuple[Array, Array]:
    real, drawn, bias = jnp.broadcast_arrays(real, drawn, bias)
    total = real + drawn
    part = drawn / total

    def body(pair: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        excess, spread = pair
        within = bias * spread
        after = (
            part**2 * excess + part * within / total,
            (real - 1) / total + part * (real / total * excess + (1 - 1 / total) * within),
        )
        return after, after

    start = jnp.zeros_like(total), 1 - 1 / real
    _, (excess, spreads) = jax.lax.scan(body, start, None, num_generations)
    excess = jnp.concatenate([start[0][None], excess])
    return 1 / real + excess, jnp.concatenate([start[1][None], spreads])


@functools.partial(jax.jit, static_argnums=0)
def _best_fresh_mix(
    num_generations: int, real: Array, fresh: Array, drawn: Array, bias: Array
) -> tuple[Array, Array, Array]:
    real, fresh, drawn, bias = jnp.broadcast_arrays(real, fresh, drawn, bias)

    def body(
        pair: tuple[Array, Array], _: None
    ) -> tuple[tuple[Array, Array], tuple[Array, Array, Array]]:
        mean, spread = pair
        within = bias * spread
        of_draws = fresh * (mean + within / drawn)
        share, rest = of_draws / (1 + of_draws), 1 / (1 + of_draws)
        mean, spread = share / fresh, share * (1 - 1 / fresh) + rest * (mean + within)
        return (mean, spread), (share, mean, spread)

    start = 1 / real, 1 - 1 / real
    _, (shares, means, spreads) = jax.lax.scan(body, start, None, num_generations)
    first = jnp.ones_like(real), *start
    return tuple(  # type: ignore[return-value]
        jnp.concatenate([begin[None], later]) for begin, later in zip(first, (shares, means, spreads))
    )


@functools.partial(jax.jit, static_argnums=0)
def _accumulate_fresh(num_fits: int, size: Array, share: Array) -> Array:
    def body(t: Array, variance: Array) -> Array:
        time = jnp.asarray(t, float)
        return (1 - share / time) ** 2 * variance + 1 / (size * time**2)

    return jax.lax.fori_loop(1, num_fits + 1, body, jnp.zeros(jnp.broadcast_shapes(size.shape, share.shape)))
