"""Closed forms for recursive training: what the simulations are tested against and drawn over.

Any fit that matches the sample mean and the maximum-likelihood covariance (Gaussian, categorical,
full-covariance mixture after any number of EM steps) obeys E Var_n = (1 - G_n) Var_0, where G_n is the
probability that two draws from model n descend from the same real draw. Here n counts fits: model g of
a chain has n = g + 1.
"""

import jax.numpy as jnp
from jaxtyping import Float, Int

from collapse_jax.types import Array, ArrayLike


def replace_variance(num_fits: Int[ArrayLike, "..."], num_samples: ArrayLike) -> Float[Array, "..."]:
    """Return E Var_n / Var_0 = (1 - 1/M)^n under `replace`, for moment-exact fits with the MLE covariance.

    Exact for every n and M, and for mixtures whatever the number of components and of EM steps. The
    mean of finitely many runs follows it only while `replace_variance_error` is small.

    Args:
        num_fits: n = generation + 1.
        num_samples: M, the same in every generation.

    Reference: Alemohammad et al. (2023), eq. 1, for the Gaussian; any moment-exact fit by identity by descent.

    >>> round(float(replace_variance(20, 100)), 4)
    0.8179
    """
    return jnp.exp(num_fits * jnp.log1p(-1.0 / jnp.asarray(num_samples)))


def replace_variance_error(
    num_fits: Int[ArrayLike, "..."], num_samples: ArrayLike, num_seeds: ArrayLike
) -> Float[Array, "..."]:
    """Return the relative standard error of the mean variance of `num_seeds` Gaussian chains under `replace`.

    sqrt((((M + 1)/(M - 1))^n - 1) / R): it grows like e^(n/M), so long runs need log variances instead.

    >>> round(float(replace_variance_error(12, 1000, 64)), 4)
    0.0195
    """
    samples = jnp.asarray(num_samples, float)
    growth = jnp.expm1(num_fits * (jnp.log1p(1.0 / samples) - jnp.log1p(-1.0 / samples)))
    return jnp.sqrt(growth / num_seeds)
