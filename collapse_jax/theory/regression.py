"""Linear regression refitted to its own labels: expected excess risk after n fits, isotropic inputs.

T rows, d coefficients, noise variance s^2; B = s^2 d / (T - d - 1), finite from T = d + 2 on. Least squares needs
T >= d, the least norm T <= d; where T and d differ by less than 2 the expected risk is infinite.
"""

import jax.numpy as jnp
from jax.scipy.special import xlogy

from collapse_jax.theory import stable
from collapse_jax.theory.law import (
    COUNT,
    FITS,
    LENGTH,
    NONNEGATIVE,
    POSITIVE,
    SHARE,
    WHOLE,
    Domain,
    law,
    reals,
    require,
)
from collapse_jax.types import Array, ArrayLike

_ENOUGH = "`num_rows` must be at least `dim`: least squares needs a row for each coefficient."
_FEW = "`num_rows` must be at most `dim`: beyond, coefficients of least norm are those of least squares."


@law(num_rows=WHOLE, dim=WHOLE, noise=NONNEGATIVE)
def base_risk(num_rows: ArrayLike, dim: ArrayLike, noise: ArrayLike = 1.0) -> Array:
    """Return B = s^2 d / (T - d - 1), the excess risk of one fit; infinite at T = d and d + 1."""
    rows, dim, noise = reals(num_rows, dim, noise)
    require(rows >= dim, _ENOUGH)
    return noise**2 * _over(dim, rows - dim - 1, noise)


@law(num_fits=FITS, num_rows=WHOLE, dim=WHOLE, noise=NONNEGATIVE)
def replace_risk(num_fits: ArrayLike, num_rows: ArrayLike, dim: ArrayLike, noise: ArrayLike = 1.0) -> Array:
    """Return n B, for the same or fresh designs. Reference: Gerstgrasser et al. (2024), Theorem 2."""
    fits = jnp.asarray(num_fits, float)
    return jnp.where(fits == 0, 0.0, fits * base_risk(num_rows, dim, noise))


@law(num_fits=LENGTH, num_rows=WHOLE, dim=WHOLE, noise=NONNEGATIVE)
def accumulate_same_risk(num_fits: int, num_rows: ArrayLike, dim: ArrayLike, noise: ArrayLike = 1.0) -> Array:
    """Return B sum 1/i^2 <= B pi^2/6: an equality when the same design is relabelled.

    Reference: Gerstgrasser et al. (2024), Theorem 2.
    """
    base = base_risk(num_rows, dim, noise)
    return (
        base * jnp.sum(1.0 / jnp.arange(1.0, num_fits + 1) ** 2) if num_fits else jnp.zeros(jnp.shape(base))
    )


@law(num_fits=LENGTH, num_rows=WHOLE, dim=WHOLE, noise=NONNEGATIVE)
def accumulate_fresh_risk(
    num_fits: int, num_rows: ArrayLike, dim: ArrayLike, noise: ArrayLike = 1.0
) -> Array:
    """Return s^2 d sum 1/(i (i T - d - 1)): fresh designs, smaller than Gerstgrasser's equality for the same one."""
    rows, dim, noise = reals(num_rows, dim, noise)
    require(rows >= dim, _ENOUGH)
    rounds = jnp.arange(1.0, num_fits + 1)
    return noise**2 * jnp.sum(_over(dim, rounds * rows - dim - 1, noise) / rounds)


@law(num_fits=FITS, num_rows=WHOLE, dim=WHOLE, norm=NONNEGATIVE, noise=NONNEGATIVE)
def min_norm_fresh_risk(
    num_fits: ArrayLike, num_rows: ArrayLike, dim: ArrayLike, norm: ArrayLike, noise: ArrayLike = 1.0
) -> Array:
    """Return |w|^2 (1 - eta^n) + s^2 T/(d-T-1) (1 - eta^n)/(1 - eta), eta = T/d, fresh designs.

    T <= d; finite to T = d - 2."""
    fits, rows, dim, norm, noise = reals(num_fits, num_rows, dim, norm, noise)
    require(rows <= dim, _FEW)
    rounds = stable.geometric_sum(fits, (rows - dim) / dim)
    variance = jnp.where(fits == 0, 0.0, rounds * noise**2 * _over(rows, dim - rows - 1, noise))
    return norm**2 * stable.lost(fits, (dim - rows) / dim) + variance


@law(num_fits=FITS, num_rows=WHOLE, dim=WHOLE, norm=NONNEGATIVE, noise=NONNEGATIVE)
def min_norm_same_risk(
    num_fits: ArrayLike, num_rows: ArrayLike, dim: ArrayLike, norm: ArrayLike, noise: ArrayLike = 1.0
) -> Array:
    """Return |w|^2 (1 - eta) + n s^2 T/(d-T-1), the same design; 0 before the first fit."""
    fits, rows, dim, norm, noise = reals(num_fits, num_rows, dim, norm, noise)
    require(rows <= dim, _FEW)
    risk = norm**2 * (dim - rows) / dim + fits * noise**2 * _over(rows, dim - rows - 1, noise)
    return jnp.where(fits == 0, 0.0, risk)


@law(num_fits=FITS, num_rows=WHOLE, dim=WHOLE, weight=SHARE, noise=NONNEGATIVE)
def label_mix_risk(
    num_fits: ArrayLike, num_rows: ArrayLike, dim: ArrayLike, weight: ArrayLike, noise: ArrayLike = 1.0
) -> Array:
    """Return the risk when labels are w parts fresh real and 1 - w parts synthetic, same design.

    V' = (w^2 + (1 - w)^2) B + (1 - w)^2 V from V_1 = B: at w = 0.618 it rests at 0.618 B (He et al. 2025).
    """
    (fits, weight), base = reals(num_fits, weight), base_risk(num_rows, dim, noise)
    rest, loss = (1 - weight) ** 2, weight * (2 - weight)
    later = jnp.maximum(fits - 1, 0.0)
    multiple = stable.kept(later, loss) + (weight**2 + rest) * stable.geometric_sum(later, -loss)
    return jnp.where(fits == 0, 0.0, multiple * base)


@law(penalty=POSITIVE, ratio=NONNEGATIVE)
def marchenko_pastur(penalty: ArrayLike, ratio: ArrayLike) -> tuple[Array, Array, Array]:
    """Return a, b, v of `ridge_risk` as T and d grow with d/T = `ratio`; S = X'X/T, l = `penalty` > 0.

    a = E tr[S (S+l)^-1]/d = 1 - l m, b = E tr[S^2 (S+l)^-2]/d = 1 - 2 l m + l^2 m', v = E tr[S (S+l)^-2]/T =
    ratio (m - l m'), m the Stieltjes transform of the Marchenko-Pastur law at -l, m' = -dm/dl.

    Reference: Marchenko and Pastur (1967).
    """
    level, shape = reals(penalty, ratio)
    gap = 1 - shape + level
    root = jnp.hypot(gap, 2 * jnp.sqrt(shape * level))
    # 1/m without cancellation on either side; a = m/(1 + ratio m), v = ratio a / root, b = a (1 - l/root)
    inverse = jnp.where(gap >= 0, (root + gap) / 2, 2 * shape * level / jnp.where(gap >= 0, 1.0, root - gap))
    a = 1 / (inverse + shape)
    above = ((1 - shape) ** 2 + 2 * level * (1 + shape)) / (root + level)  # root - l
    return a, a * above / root, shape * a / root


@law(
    num_fits=FITS,
    shrinkage=Domain(0.0),
    norm=NONNEGATIVE,
    noise=NONNEGATIVE,
)
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
    fits, norm, noise = reals(num_fits, norm, noise)
    a, b, v = reals(*shrinkage)
    _shrinks(a, b)
    # 1 - 2 a^n + b^n = (1 - a^n)^2 + (b^n - a^(2n)), two positive parts
    alike = jnp.where(b > 0, a * a / jnp.where(b > 0, b, 1.0), 1.0)
    spread = jnp.exp(xlogy(fits, b)) * -jnp.expm1(xlogy(fits, jnp.minimum(alike, 1.0)))
    bias = jnp.expm1(xlogy(fits, a)) ** 2 + spread
    return norm**2 * bias + noise**2 * v * stable.geometric_sum(fits, b - 1)


@law(
    num_generators=FITS,
    generator_risk=NONNEGATIVE,
    shrinkage=Domain(0.0),
    norm=NONNEGATIVE,
    noise=NONNEGATIVE,
)
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
    generators, risk, kept = reals(num_generators, generator_risk, shrinkage[1])
    return ridge_risk(1.0, shrinkage, norm, noise) + kept * generators * risk


@law(num_real=COUNT, num_shifted=COUNT, dim=WHOLE, shift=NONNEGATIVE, noise=NONNEGATIVE)
def two_source_risk(
    num_real: ArrayLike, num_shifted: ArrayLike, dim: ArrayLike, shift: ArrayLike, noise: ArrayLike = 1.0
) -> Array:
    """Return the risk of OLS on n_1 real rows and n_2 whose coefficients are off by a vector of length `shift`.

    Exact for isotropic Gaussian inputs, n_1 + n_2 >= d + 2. As n and d grow with d/n = phi it is |D|^2 (p_2^2 +
    p_1 p_2 phi/(1 - phi)) + s^2 phi/(1 - phi): the statement s^2 d/n + p_2^2 c^2 + O(phi^2) misses a term of order
    phi, and its c^2 must be |D|^2 under the inputs' covariance.

    Reference: the setting of strong model collapse (Dohmatob et al. 2024b).
    """
    real, wrong, dim, shift, noise = reals(num_real, num_shifted, dim, shift, noise)
    rows = real + wrong
    require(
        rows >= dim,
        "`num_real` and `num_shifted` must be at least `dim` together: a row for each coefficient.",
    )
    freedom = rows - dim - 1
    single = rows <= 1
    others = jnp.where(single, 1.0, rows - 1)
    # E tr B^2 = d same + d (d+1) cross and E (tr B)^2 = d^2 same + 2 d cross, put together without a difference
    cross = jnp.where(single, 0.0, real / rows * wrong / others / (rows + 2))
    same = jnp.where(single, 0.0, wrong / rows * (wrong - 1) / others) + cross
    mixed = cross * ((rows - 1) * (dim + 1) - 2)
    bias = same + jnp.where(mixed > 0, mixed / jnp.maximum(freedom, 0.0), 0.0)
    return jnp.where(shift > 0, shift**2 * bias, 0.0) + base_risk(rows, dim, noise)


def _over(top: Array, freedom: Array, noise: Array) -> Array:
    """Return top / freedom, infinite without degrees of freedom; 0 where there is no noise to multiply."""
    return jnp.where(noise == 0, 0.0, top / jnp.maximum(freedom, 0.0))


def _shrinks(a: Array, b: Array) -> None:
    near = 1 + 1e-6  # float32 moments
    require(
        (a <= near) & (b <= a * near) & (a * a <= b * near),
        "`shrinkage` must be moments of a factor in [0, 1]: a^2 <= b <= a <= 1.",
    )
