"""Linear regression refitted to its own labels: expected excess risk after n fits, isotropic inputs.

T rows, d coefficients, noise variance s^2; B = s^2 d / (T - d - 1), T >= d + 2.
"""

import jax
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
    return base_risk(num_rows, dim, noise) * jnp.sum(1.0 / jnp.arange(1.0, num_fits + 1) ** 2)


def accumulate_fresh_risk(num_fits: int, num_rows: ArrayLike, dim: int, noise: ArrayLike = 1.0) -> Array:
    """Return s^2 d sum 1/(i (i T - d - 1)): fresh designs, smaller than Gerstgrasser's equality for the same one."""
    rounds = jnp.arange(1.0, num_fits + 1)
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


def label_mix_risk(
    num_fits: int, num_rows: ArrayLike, dim: int, weight: ArrayLike, noise: ArrayLike = 1.0
) -> Array:
    """Return the risk when labels are w parts fresh real and 1 - w parts synthetic, same design.

    V' = (w^2 + (1 - w)^2) B + (1 - w)^2 V: at w = 0.618 it rests at 0.618 B (He et al. 2025).
    """
    base, weight = base_risk(num_rows, dim, noise), jnp.asarray(weight, float)
    rest = (1 - weight) ** 2
    risk = base
    for _ in range(num_fits - 1):
        risk = (weight**2 + rest) * base + rest * risk
    return risk


def marchenko_pastur(penalty: ArrayLike, ratio: ArrayLike) -> tuple[Array, Array, Array]:
    """Return a, b, v of `ridge_risk` as T and d grow with d/T = `ratio`; S = X'X/T, l = `penalty` > 0.

    a = E tr[S (S+l)^-1]/d = 1 - l m, b = E tr[S^2 (S+l)^-2]/d = 1 - 2 l m + l^2 m', v = E tr[S (S+l)^-2]/T =
    ratio (m - l m'), m the Stieltjes transform of the Marchenko-Pastur law at -l, m' = -dm/dl.
    """
    shape = jnp.asarray(ratio, float)

    def stieltjes(penalty: Array) -> Array:
        gap = 1 - shape + penalty
        return (jnp.sqrt(gap**2 + 4 * shape * penalty) - gap) / (2 * shape * penalty)

    level = jnp.asarray(penalty, float)
    m, slope = jax.value_and_grad(stieltjes)(level)
    return 1 - level * m, 1 - 2 * level * m - level**2 * slope, shape * (m + level * slope)


def ridge_risk(
    num_fits: ArrayLike,
    shrinkage: tuple[ArrayLike, ArrayLike, ArrayLike],
    norm: ArrayLike,
    noise: ArrayLike = 1.0,
) -> Array:
    """Return |w|^2 (1 - 2 a^n + b^n) + s^2 v (1 - b^n)/(1 - b), ridge on fresh designs.

    Args:
        num_fits: n.
        shrinkage: a, b, v, as in `marchenko_pastur`; exact with their values at finite d.
        norm: |w|.
        noise: s.
    """
    a, b, v = shrinkage
    kept = jnp.asarray(b) ** num_fits
    bias = jnp.square(norm) * (1 - 2 * jnp.asarray(a) ** num_fits + kept)
    return bias + jnp.square(noise) * v * (1 - kept) / (1 - jnp.asarray(b))


def generators_risk(
    num_generators: ArrayLike,
    generator_risk: ArrayLike,
    shrinkage: tuple[ArrayLike, ArrayLike, ArrayLike],
    norm: ArrayLike,
    noise: ArrayLike = 1.0,
) -> Array:
    """Return the risk of one ridge fit to labels n OLS fits away from real: ridge's own, and b n B_0.

    |w|^2 (1 - 2a + b) + s^2 v + b n s_0^2 d/(T_0 - d - 1); `generator_risk` is the last factor, `base_risk` of the
    generators. Reference: the form of Dohmatob et al. (2024).
    """
    return ridge_risk(1, shrinkage, norm, noise) + jnp.asarray(shrinkage[1]) * num_generators * generator_risk


def two_source_risk(
    num_real: ArrayLike, num_shifted: ArrayLike, dim: int, shift: ArrayLike, noise: ArrayLike = 1.0
) -> Array:
    """Return the risk of OLS on n_1 real rows and n_2 whose coefficients are off by a vector of length `shift`.

    Exact for isotropic Gaussian inputs, n_1 + n_2 >= d + 2. As n and d grow with d/n = phi it is |D|^2 (p_2^2 +
    p_1 p_2 phi/(1 - phi)) + s^2 phi/(1 - phi): the statement s^2 d/n + p_2^2 c^2 + O(phi^2) misses a term of order
    phi, and its c^2 must be |D|^2 under the inputs' covariance.

    Reference: the setting of strong model collapse (Dohmatob et al. 2024b).
    """
    real, wrong, size = jnp.asarray(num_real, float), jnp.asarray(num_shifted, float), jnp.asarray(dim, float)
    rows = real + wrong
    cross = real * wrong / (rows * (rows - 1) * (rows + 2))
    same = wrong * (wrong - 1) / (rows * (rows - 1)) + cross
    trace_of_square, square_of_trace = (
        size * same + size * (size + 1) * cross,
        size**2 * same + 2 * size * cross,
    )
    freedom = rows - size - 1
    bias = ((rows - 1) * trace_of_square - square_of_trace) / freedom
    return jnp.square(shift) / size * bias + base_risk(rows, dim, noise)
