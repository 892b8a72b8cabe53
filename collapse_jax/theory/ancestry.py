"""Times of a neutral resampling chain: until a class is lost, fixed, or all points share one ancestor.

Exact by the (M+1) x (M+1) binomial matrix for M up to a few thousand, or by the diffusion limit for large M.
Haploid size M: M draws a generation.
"""

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlog1py, xlogy
from jaxtyping import Float, Real
from scipy.special import gammaln
from scipy.stats import binom

from collapse_jax.theory import matrices, stable
from collapse_jax.theory.law import (
    COUNT,
    DISTRIBUTION,
    FITS,
    LENGTH,
    MATRIX,
    SHARE,
    SIZE,
    WHOLE,
    Domain,
    law,
    reals,
    require,
)
from collapse_jax.types import Array, ArrayLike
from collapse_jax.validation import is_concrete

_TWO_CLASSES = "`probabilities` must be of two classes at least: the only one is never lost."


@law(num=LENGTH, share=SHARE)
def binomial_law(num: int, share: ArrayLike) -> Float[Array, "... num_plus_1"]:
    """Return the probabilities of 0 ... num successes, for each share."""
    hits = np.arange(num + 1)
    if is_concrete(share):
        return jnp.asarray(binom.pmf(hits, num, np.asarray(share, np.float64)[..., None]))
    log_choose = gammaln(num + 1.0) - gammaln(hits + 1.0) - gammaln(num - hits + 1.0)
    p = jnp.asarray(share, float)[..., None]
    return jnp.exp(jnp.asarray(log_choose, float) + xlogy(hits, p) + xlog1py(num - hits, -p))


@law(num_samples=MATRIX)
def transition_matrix(num_samples: int) -> Float[Array, "M_plus_1 M_plus_1"]:
    """Return T, T[i, j] = P(j copies next | i copies now): Wright and Fisher's matrix, whose rows sum to 1.

    Its eigenvalues are prod_{j<k} (1 - j/M), k = 0 ... M.
    """
    return jnp.asarray(matrices.resampling(num_samples))


@law(num_samples=Domain(1.0, 1e7, high_closed=True, integer=True, static=True))
def transition_eigenvalues(num_samples: int) -> Float[Array, " M_plus_1"]:
    """Return 1, 1, 1 - 1/M, (1 - 1/M)(1 - 2/M), ... Reference: Feller (1951)."""
    factors = 1 - np.arange(num_samples) / num_samples
    return jnp.concatenate([jnp.ones(1), jnp.asarray(np.cumprod(factors))])


@law(num_samples=MATRIX)
def absorption_times(num_samples: int) -> Float[Array, " M_plus_1"]:
    """Return the expected generations until one of two classes is gone, from i = 0 ... M copies: (I - Q)^-1 1.

    Reference: Ewens (2004).
    """
    inner = matrices.resampling(num_samples)[1:-1, 1:-1]
    times = np.linalg.solve(np.eye(num_samples - 1) - inner, np.ones(num_samples - 1))
    return jnp.asarray(np.pad(times, 1))


@law(share=SHARE, num_samples=SIZE)
def absorption_time_limit(share: ArrayLike, num_samples: ArrayLike) -> Array:
    """Return its diffusion limit -2M [p ln p + (1-p) ln(1-p)]; the exact time is 0.91 of it at M = 10, 0.985 at 100.

    Reference: Ewens (2004).
    """
    p, size = reals(share, num_samples)
    return -2 * size * (xlogy(p, p) + xlog1py(1 - p, -p))


@law(probabilities=DISTRIBUTION, num_samples=SIZE)
def fixation_time_limit(probabilities: Float[ArrayLike, " K"], num_samples: ArrayLike) -> Array:
    """Return the expected generations until one class is left: -2M sum (1 - p_i) ln(1 - p_i), diffusion.

    Reference: Ewens (2004).
    """
    p, size = reals(probabilities, num_samples)
    return -2 * size * jnp.sum(xlog1py(1 - p, -p))


@law(probabilities=DISTRIBUTION, num_samples=SIZE)
def first_loss_time_limit(probabilities: Float[ArrayLike, " K"], num_samples: ArrayLike) -> Array:
    """Return the expected generations until the first class is lost: 2M sum_S (-1)^|S| p_S ln p_S, diffusion.

    Over all non-empty sets S of classes. The sum of 2^K terms, which cancel, is the integral of
    prod_i (1 - exp(-p_i s)) / s^2 over s > 0, here by the trapezoidal rule in log s, for any K >= 2.

    Reference: the first-extinction law of arXiv 2509.20101. The mean is the diffusion's formula;
    `first_loss_probability`, its distribution function, assumes independent classes and is off in the tail.
    """
    p, size = reals(probabilities, num_samples)
    require(p.shape[0] > 1, _TWO_CLASSES)
    # analytic for |Im log s| < pi/2: at this step the rule's error is exp(-pi^2 / step), 1e-21
    step = 0.2
    log_s = jnp.arange(-40.0, 80.0, step)
    log_present = jnp.sum(stable.log_one_less_exp(p * jnp.exp(log_s)[:, None]), axis=1)
    return 2 * size * step * jnp.sum(jnp.exp(log_present - log_s))


@law(probabilities=DISTRIBUTION, num_samples=SIZE, num_fits=FITS)
def first_loss_probability(
    probabilities: Float[ArrayLike, " K"], num_samples: ArrayLike, num_fits: ArrayLike
) -> Array:
    """Return P(some class is lost by n) ~ 1 - prod (1 - e^(-2 M p_i / n)): diffusion, classes independent."""
    p, size, fits = reals(probabilities, num_samples, num_fits)
    require(p.shape[0] > 1, _TWO_CLASSES)
    rate = jnp.where(p > 0, 2 * size * p / fits, 0.0)
    return -jnp.expm1(jnp.sum(stable.log_one_less_exp(rate)))


@law(share=SHARE, num_samples=SIZE, num_fits=FITS)
def both_alive(share: ArrayLike, num_samples: ArrayLike, num_fits: ArrayLike) -> Array:
    """Return P(both of two classes are alive) ~ 6 p (1-p) (1 - 1/M)^n, for n >= M.

    So it is for the pair of components of a well-separated mixture of two. Earlier, `both_alive_bounds` holds, and
    for M up to a few thousand the transition matrix is exact.
    """
    p, size, fits = reals(share, num_samples, num_fits)
    require(fits >= size, "`num_fits` must be at least `num_samples`: the law is that of late generations.")
    return 6 * p * (1 - p) * stable.kept(fits, 1 / size)


@law(share=SHARE, num_samples=SIZE, num_fits=Domain(1.0))
def both_alive_bounds(share: ArrayLike, num_samples: ArrayLike, num_fits: ArrayLike) -> tuple[Array, Array]:
    """Return bounds on it for any n >= 1: 4 p (1-p)(1-1/M)^n and M p (1-p)(1-1/M)^(n-1), or 1.

    Reference: Seddik et al. (2024), whose upper bound is the looser 2 M p (1-p)(1-1/M)^n.
    """
    p, size, fits = reals(share, num_samples, num_fits)
    product = p * (1 - p)
    upper = size * product * stable.kept(fits - 1, 1 / size)
    return 4 * product * stable.kept(fits, 1 / size), jnp.minimum(upper, 1.0)


@law(num_samples=MATRIX, num_fits=LENGTH)
def ancestors(num_samples: int, num_fits: int) -> Array:
    """Return the expected number of original points with descendants after n resamplings: M (1 - [T^n]_{1 -> 0})."""
    return jnp.asarray(num_samples * matrices.alive(num_samples, num_fits)[1])


@law(num_samples=SIZE, num_fits=FITS)
def pair_coalesced(num_samples: ArrayLike, num_fits: ArrayLike) -> Array:
    """Return P(two points share an ancestor within n generations) = 1 - (1 - 1/M)^n; all M do after ~2M (1 - 1/M).

    Reference: Kingman (1982).
    """
    size, fits = reals(num_samples, num_fits)
    return stable.lost(fits, 1 / size)


@law(sizes=SIZE)
def effective_size(sizes: Real[ArrayLike, " n"]) -> Array:
    """Return the constant size that loses as much as a schedule: the harmonic mean n / sum 1/M_i (first order).

    Reference: Wright (1938).
    """
    (sizes,) = reals(sizes)
    require(sizes.size > 0, "`sizes` must name at least one M.")
    return 1 / jnp.mean(1 / sizes)


@law(num_samples=Domain(2.0), num_steps=FITS)
def moran_heterozygosity(num_samples: ArrayLike, num_steps: ArrayLike) -> Array:
    """Return the factor (1 - 2/M^2)^t on p (1 - p) after t Moran steps: one point copies, one is replaced.

    Reference: Moran (1958).
    """
    size, steps = reals(num_samples, num_steps)
    return stable.kept(steps, 2 / size**2)


@law(copies=COUNT, num_samples=WHOLE)
def moran_absorption_time(copies: ArrayLike, num_samples: ArrayLike) -> Array:
    """Return the expected Moran steps to absorption from i copies: M [sum_{j<=i} (M-i)/(M-j) + sum_{j>i} i/j].

    Reference: Moran (1958).
    """
    held, size = reals(copies, num_samples)
    require(held <= size, "`copies` must be at most `num_samples`.")
    rest = size - held
    return size * (rest * _reciprocals(rest, size) + held * _reciprocals(held + 1, size))


@law(share=SHARE, num_real=SIZE, num_drawn=COUNT)
def polya_variance(share: ArrayLike, num_real: ArrayLike, num_drawn: ArrayLike) -> Array:
    """Return Var p_T when points are drawn and added one by one to n0 real ones: p (1-p) T/((n0+1)(n0+T)).

    Reference: Eggenberger and Polya (1923).
    """
    p, start, drawn = reals(share, num_real, num_drawn)
    return p * (1 - p) * drawn / ((start + 1) * (start + drawn))


def _reciprocals(first: Array, size: Array) -> Array:
    """Return 1/first + ... + 1/(size - 1) as psi(size) - psi(first); 0 where there is none, or `first` is 0."""
    present = (first > 0) & (first < size)
    start = jnp.where(present, first, size)
    gap = jnp.log1p((size - start) / start) + stable.digamma_less_log(size) - stable.digamma_less_log(start)
    return jnp.where(present, gap, 0.0)
