"""Times of a neutral resampling chain: until a class is lost, fixed, or all points share one ancestor.

Exact by the (M+1) x (M+1) binomial matrix for M up to a few hundred, or by the diffusion limit for large M.
Haploid size M: M draws a generation.
"""

from itertools import chain as concatenated
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln, xlog1py, xlogy
from jaxtyping import Float

from collapse_jax.types import Array, ArrayLike


def binomial_law(num: int, share: ArrayLike) -> Float[Array, " num_plus_1"]:
    """Return the probabilities of 0 ... num successes."""
    hits, share = jnp.arange(num + 1), jnp.asarray(share, float)
    log_choose = gammaln(num + 1.0) - gammaln(hits + 1.0) - gammaln(num - hits + 1.0)
    return jnp.exp(log_choose + xlogy(hits, share) + xlog1py(num - hits, -share))


def transition_matrix(num_samples: int) -> Float[Array, "M_plus_1 M_plus_1"]:
    """Return T, T[i, j] = P(j copies next | i copies now): Wright and Fisher's matrix.

    Its eigenvalues are prod_{j<k} (1 - j/M), k = 0 ... M.
    """
    shares = jnp.arange(num_samples + 1) / num_samples
    return jax.vmap(lambda share: binomial_law(num_samples, share))(shares)


def transition_eigenvalues(num_samples: int) -> Float[Array, " M_plus_1"]:
    """Return 1, 1, 1 - 1/M, (1 - 1/M)(1 - 2/M), ..."""
    factors = 1 - jnp.arange(num_samples) / num_samples
    return jnp.concatenate([jnp.ones(1), jnp.cumprod(factors)])


def absorption_times(num_samples: int) -> Float[Array, " M_plus_1"]:
    """Return the expected generations until one of two classes is gone, from i = 0 ... M copies: (I - Q)^-1 1."""
    inner = transition_matrix(num_samples)[1:-1, 1:-1]
    times = jnp.linalg.solve(jnp.eye(num_samples - 1) - inner, jnp.ones(num_samples - 1))
    return jnp.pad(times, 1)


def absorption_time_limit(share: ArrayLike, num_samples: ArrayLike) -> Array:
    """Return its diffusion limit -2M [p ln p + (1-p) ln(1-p)]; the exact time is 0.91 of it at M = 10, 0.985 at 100."""
    p = jnp.asarray(share, float)
    return -2 * jnp.asarray(num_samples) * (xlogy(p, p) + xlog1py(1 - p, -p))


def fixation_time_limit(probabilities: Float[ArrayLike, " K"], num_samples: ArrayLike) -> Array:
    """Return the expected generations until one class is left: -2M sum (1 - p_i) ln(1 - p_i), diffusion."""
    p = jnp.asarray(probabilities, float)
    return -2 * jnp.asarray(num_samples) * jnp.sum(xlog1py(1 - p, -p))


def first_loss_time_limit(probabilities: Float[ArrayLike, " K"], num_samples: ArrayLike) -> Array:
    """Return the expected generations until the first class is lost: 2M sum_S (-1)^|S| p_S ln p_S, diffusion.

    Over all non-empty sets S of classes, so 2^K terms: K up to about 15.

    Reference: the first-extinction law of arXiv 2509.20101. The mean is the diffusion's formula;
    `first_loss_probability`, its distribution function, assumes independent classes and is off in the tail.
    """
    p = jnp.asarray(probabilities, float)
    num_classes = p.shape[0]
    sets = list(
        concatenated.from_iterable(combinations(range(num_classes), k) for k in range(1, num_classes + 1))
    )
    members = np.array([[index in chosen for index in range(num_classes)] for chosen in sets], float)
    masses = jnp.minimum(members @ p, 1.0)
    signs = (-1.0) ** members.sum(axis=1)
    return 2 * jnp.asarray(num_samples) * jnp.sum(signs * xlogy(masses, masses))


def first_loss_probability(
    probabilities: Float[ArrayLike, " K"], num_samples: ArrayLike, num_fits: ArrayLike
) -> Array:
    """Return P(some class is lost by n) ~ 1 - prod (1 - e^(-2 M p_i / n)): diffusion, classes independent."""
    p = jnp.asarray(probabilities, float)
    return 1 - jnp.prod(-jnp.expm1(-2 * jnp.asarray(num_samples) * p / num_fits))


def both_alive(share: ArrayLike, num_samples: ArrayLike, num_fits: ArrayLike) -> Array:
    """Return P(both of two classes are alive) ~ 6 p (1-p) (1 - 1/M)^n, for n >= M.

    So it is for the pair of components of a well-separated mixture of two.
    """
    p = jnp.asarray(share, float)
    return 6 * p * (1 - p) * (1 - 1 / jnp.asarray(num_samples, float)) ** num_fits


def both_alive_bounds(share: ArrayLike, num_samples: ArrayLike, num_fits: ArrayLike) -> tuple[Array, Array]:
    """Return bounds on it for any n: 4 p (1-p)(1-1/M)^n and M p (1-p)(1-1/M)^(n-1).

    Reference: Seddik et al. (2024), whose upper bound is the looser 2 M p (1-p)(1-1/M)^n.
    """
    p, kept = jnp.asarray(share, float), 1 - 1 / jnp.asarray(num_samples, float)
    product = p * (1 - p)
    upper = jnp.asarray(num_samples) * product * kept ** (jnp.asarray(num_fits) - 1)
    return 4 * product * kept**num_fits, upper


def ancestors(num_samples: int, num_fits: int) -> Array:
    """Return the expected number of original points with descendants after n resamplings: M (1 - [T^n]_{1 -> 0})."""
    power = jnp.linalg.matrix_power(transition_matrix(num_samples), num_fits)
    return num_samples * (1 - power[1, 0])


def pair_coalesced(num_samples: ArrayLike, num_fits: ArrayLike) -> Array:
    """Return P(two points share an ancestor within n generations) = 1 - (1 - 1/M)^n; all M do after ~2M (1 - 1/M)."""
    return 1 - (1 - 1 / jnp.asarray(num_samples, float)) ** num_fits


def effective_size(sizes: Float[ArrayLike, " n"]) -> Array:
    """Return the constant size that loses as much as a schedule: the harmonic mean n / sum 1/M_i (first order)."""
    sizes = jnp.asarray(sizes, float)
    return sizes.shape[0] / jnp.sum(1 / sizes)


def moran_heterozygosity(num_samples: ArrayLike, num_steps: ArrayLike) -> Array:
    """Return the factor (1 - 2/M^2)^t on p (1 - p) after t Moran steps: one point copies, one is replaced."""
    return (1 - 2 / jnp.square(jnp.asarray(num_samples, float))) ** num_steps


def moran_absorption_time(copies: int, num_samples: int) -> Array:
    """Return the expected Moran steps to absorption from i copies: M [sum_{j<=i} (M-i)/(M-j) + sum_{j>i} i/j]."""
    below, above = jnp.arange(1, copies + 1), jnp.arange(copies + 1, num_samples)
    rest = num_samples - copies
    return num_samples * (jnp.sum(rest / (num_samples - below)) + jnp.sum(copies / above))


def polya_variance(share: ArrayLike, num_real: ArrayLike, num_drawn: ArrayLike) -> Array:
    """Return Var p_T when points are drawn and added one by one to n0 real ones: p (1-p) T/((n0+1)(n0+T))."""
    p, start, drawn = (jnp.asarray(number, float) for number in (share, num_real, num_drawn))
    return p * (1 - p) * drawn / ((start + 1) * (start + drawn))
