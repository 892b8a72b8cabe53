"""Linear regression refitted to its own labels: expected excess risk after n fits, isotropic inputs.

T rows, d coefficients, noise variance s^2; B = s^2 d / (T - d - 1), T >= d + 2.
"""

import jax.numpy as jnp

from collapse_jax.types import Array, ArrayLike


def base_risk(num_rows: ArrayLike, dim: int, noise: ArrayLike = 1.0) -> Array:
    """Return B = s^2 d / (T - d - 1), the excess risk of one fit."""
    return jnp.asarray(jnp.square(noise) * dim / (jnp.asarray(num_rows, float) - dim - 1))


def replace_risk(num_fits: ArrayLike, num_rows: ArrayLike, dim: int, noise: ArrayLike = 1.0) -> Array:
    """Return n B, for the same or fresh designs. Reference: Gerstgrasser et al. (2024), Theorem 2."""
    return jnp.asarray(num_fits) * base_risk(num_rows, dim, noise)


def accumulate_same_risk(num_fits: int, num_rows: ArrayLike, dim: int, noise: ArrayLike = 1.0) -> Array:
    """Return B sum 1/i^2 <= B pi^2/6: an equality when the same design is relabelled.

    Reference: Gerstgrasser et al. (2024), Theorem 2.
    """
    return base_risk(num_rows, dim, noise) * jnp.sum(1.0 / jnp.arange(1, num_fits + 1) ** 2)


def accumulate_fresh_risk(num_fits: int, num_rows: ArrayLike, dim: int, noise: ArrayLike = 1.0) -> Array:
    """Return s^2 d sum 1/(i (i T - d - 1)): fresh designs, smaller than Gerstgrasser's equality for the same one."""
    rounds = jnp.arange(1, num_fits + 1)
    return (
        jnp.square(noise) * dim * jnp.sum(1.0 / (rounds * (rounds * jnp.asarray(num_rows, float) - dim - 1)))
    )


def min_norm_fresh_risk(
    num_fits: ArrayLike, num_rows: int, dim: int, norm: ArrayLike, noise: ArrayLike = 1.0
) -> Array:
    """Return |w|^2 (1 - eta^n) + s^2 T/(d-T-1) (1 - eta^n)/(1 - eta), eta = T/d <= 1 - 2/d, fresh designs."""
    eta = num_rows / dim
    variance = jnp.square(noise) * num_rows / (dim - num_rows - 1)
    return jnp.square(norm) * (1 - eta**num_fits) + variance * (1 - eta**num_fits) / (1 - eta)


def min_norm_same_risk(
    num_fits: ArrayLike, num_rows: int, dim: int, norm: ArrayLike, noise: ArrayLike = 1.0
) -> Array:
    """Return |w|^2 (1 - eta) + n s^2 T/(d-T-1), the same design."""
    variance = jnp.square(noise) * num_rows / (dim - num_rows - 1)
    return jnp.square(norm) * (1 - num_rows / dim) + num_fits * variance
