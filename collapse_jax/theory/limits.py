"""Where the regimes come to rest: limits of the identity by descent G as generations go on.

A limit below 1 means that the variance never vanishes: E Var -> (1 - G*) Var_0. For moment-exact fits with the
maximum-likelihood covariance, as in `identity_by_descent`. M, N0, n_r and n_s count points.
"""

import jax.numpy as jnp

from collapse_jax.theory import stable
from collapse_jax.theory.law import COUNT, NONNEGATIVE, SHARE, SIZE, law, reals, require
from collapse_jax.types import Array, ArrayLike


@law(num_samples=SIZE)
def accumulate_limit(num_samples: ArrayLike) -> Array:
    """Return G* under `accumulate` with batches of one size M: 1 - sin(pi/sqrt M)/(pi/sqrt M).

    M G* tends to pi^2/6 only as M grows: 1.605 at M = 20. Pooled data attenuate the change and bound it, too.

    Reference: Dey and Donoho (2024) for pi^2/6.

    >>> round(20 * float(accumulate_limit(20)), 3)
    1.605
    """
    return stable.one_less_sinc(jnp.pi / jnp.sqrt(jnp.asarray(num_samples, float)))


@law()
def subsample_limit() -> Array:
    """Return the limit of M G* under accumulate-subsample as M grows: pi^2/2 - 2 = 2.935."""
    return jnp.asarray(jnp.pi**2 / 2 - 2)


@law(fresh=COUNT, synthetic=COUNT)
def fresh_counts_limit(fresh: ArrayLike, synthetic: ArrayLike) -> Array:
    """Return G* with n_r fresh real and n_s synthetic points: N/(N^2 - n_s^2 + n_s), 1/(2 n_r + 1) as n_s grows."""
    real, drawn = reals(fresh, synthetic)
    require(real + drawn > 0, "`fresh` and `synthetic` must not both be 0: a fit needs points.")
    # N^2 - n_s^2 = n_r (n_r + 2 n_s), without the cancellation
    return (real + drawn) / (real * (real + 2 * drawn) + drawn)


@law(num_samples=SIZE, fraction=SHARE)
def fresh_fraction_limit(num_samples: ArrayLike, fraction: ArrayLike) -> Array:
    """Return G* when each point is fresh real data with probability r: 1/(M - (M - 1)(1 - r)^2).

    For a class of probability p the stationary variance is p (1 - p) G*; its law is near Dirichlet(2 M r p).
    """
    size, share = reals(num_samples, fraction)
    return 1 / (1 + (size - 1) * share * (2 - share))


@law(num_real=SIZE, synthetic=COUNT)
def add_original_limit(num_real: ArrayLike, synthetic: ArrayLike) -> Array:
    """Return G* with a fixed real set beside n_s synthetic points: (n_r + 3 n_s)/(n_r^2 + 2 n_r n_s + n_s).

    At most 3/(2 n_r + 1), one half more than real data alone, for any amount of synthetic data. Alemohammad et
    al. (2023) find that fixed real data only delay collapse; that is an empirical statement on deep networks.
    """
    real, drawn = reals(num_real, synthetic)
    return (real + 3 * drawn) / (real**2 + 2 * real * drawn + drawn)


@law(num_real=SIZE, num_samples=SIZE, kept=COUNT)
def original_counts_limit(num_real: ArrayLike, num_samples: ArrayLike, kept: ArrayLike) -> Array:
    """Return G* when a of M slots hold points of a fixed pool N0: (1/M + 2ab/(N0 M^2))/(1 - b(b-1)/M^2), b = M - a.

    Ten per cent of N0 = M: 6.21/M for large M.
    """
    pool, size, kept = reals(num_real, num_samples, kept)
    require(kept <= size, "`kept` must be at most `num_samples`, the slots there are.")
    require(kept <= pool, "`kept` must be at most `num_real`: the kept points are distinct.")
    rest = size - kept
    # both sides times M^2; M^2 - b^2 = a (M + b), without the cancellation
    return (size + 2 * kept * rest / pool) / (kept * (size + rest) + rest)


@law(weight=SHARE, ratio=NONNEGATIVE)
def weighted_mean_error(weight: ArrayLike, ratio: ArrayLike) -> Array:
    """Return n V*, V* the limiting variance of a mean whose fit gives n fresh real points the share w.

    (w^2 + k (1 - w)^2)/(w (2 - w)), k = n/m the real points for each synthetic one, known variance; its least
    value, at `he_optimal_weight`, is that weight itself. Pooling, w = k/(1 + k), gives (k + 1)/(k + 2).

    Reference: He et al. (2025) for the optimum.

    >>> round(float(weighted_mean_error(0.618034, 1.0)), 4)
    0.618
    """
    weight, ratio = reals(weight, ratio)
    drawn = ratio * (1 - weight) ** 2
    # with endless synthetic data, k = 0, and no weight on real data nothing is left of the error
    return weight / (2 - weight) + jnp.where(drawn > 0, drawn / (weight * (2 - weight)), 0.0)


@law(weight=SHARE, num_real=SIZE, synthetic=SIZE)
def weighted_original_error(weight: ArrayLike, num_real: ArrayLike, synthetic: ArrayLike) -> Array:
    """Return V* of the same mean with a fixed real set of n: 1/n + (1 - w)^2/(m w (2 - w)): w = 1 is best.

    Bertrand et al. (2023) ask for little synthetic data (lambda (1 + L eps/alpha) < 1/2): sufficient only; the
    well-specified mean contracts by lambda/(1 + lambda) for every ratio lambda = m/n.
    """
    weight = jnp.asarray(weight, float)
    drawn = (1 - weight) ** 2 / (jnp.asarray(synthetic, float) * weight * (2 - weight))
    return 1 / jnp.asarray(num_real, float) + drawn
