"""Linear regression refitted to labels that it made itself: y = X w + s z, x ~ N(0, I).

Everything it learns is in the normal equations: gram = X'X ~ Wishart and cross = X'y, drawn from their exact
law, so a generation costs O(d^3) whatever the number of rows T.

Reference: Gerstgrasser et al. (2024); Dohmatob et al. (2024).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from collapse_jax.core.protocol import Metric, Model
from collapse_jax.core.statistics import Sums, need_sums
from collapse_jax.numerics import triangular
from collapse_jax.types import Array, ArrayLike, Key
from collapse_jax.validation import (
    LARGEST_COUNT,
    check_choice,
    check_count,
    check_key,
    check_numbers,
    check_positive,
    is_concrete,
    shown,
)

_HIGHEST = jax.lax.Precision.HIGHEST


class NormalEquations(NamedTuple):
    """The sums X'X and X'y."""

    gram: Float[Array, "dim dim"]
    cross: Float[Array, " dim"]


class RegressionParams(NamedTuple):
    """Coefficients, and the design X'X of T rows that is relabelled in every generation, unless designs are fresh."""

    coefficients: Float[Array, " dim"]
    gram: Float[Array, "dim dim"]
    num_rows: Float[Array, ""]


def regression(
    dim: int,
    *,
    noise: ArrayLike = 1.0,
    estimator: str = "ols",
    penalty: ArrayLike = 0.0,
    design: str = "fresh",
) -> Model:
    """Return the model of a linear regression on isotropic Gaussian inputs.

    Args:
        dim: d.
        noise: standard deviation of the labels' noise; may be traced.
        estimator: "ols"; "ridge", with `penalty` lambda in (X'X/T + lambda)^-1 X'y/T; or "min-norm", for T < d.
        penalty: lambda; may be traced.
        design: "fresh" inputs in every generation, or the "same" ones relabelled (Gerstgrasser et al. 2024): as many
            rows as the real data have, whatever `num_samples` says.

    Raises:
        ValueError: an option out of range; when the chain is built, `num_samples` < d under "ols". Real data of
            fewer rows give NaN, which the record's `is_finite` reports.
    """
    check_count("dim", dim)
    check_choice("estimator", estimator, ("ols", "ridge", "min-norm"))
    check_choice("design", design, ("fresh", "same"))
    check_positive("noise", noise, or_zero=True)
    if estimator == "ridge":
        check_positive("penalty", penalty)
    elif is_concrete(penalty) and np.any(check_numbers("penalty", penalty) != 0):
        raise ValueError(f"`penalty` {penalty} has no meaning under estimator='{estimator}'; use 'ridge'.")

    def check_rows(num_rows: ArrayLike) -> None:
        if estimator == "ols" and is_concrete(num_rows) and np.max(num_rows) < dim:
            raise ValueError(
                f"{num_rows} rows cannot determine {dim} coefficients; raise their number or use "
                "estimator='min-norm'."
            )

    def init(key: Key, real: Sums) -> RegressionParams:
        need_sums(real, NormalEquations(jnp.zeros((dim, dim)), jnp.zeros(dim)), "regression()")
        return RegressionParams(jnp.zeros(dim), real.values.gram, real.weight)

    def fit(key: Key, params: RegressionParams, data: Sums) -> tuple[RegressionParams, dict[str, Array]]:
        if estimator == "min-norm":
            coefficients = triangular.solve_min_norm(data.values.gram, data.values.cross)
        else:
            added = data.weight * penalty * jnp.eye(dim) if estimator == "ridge" else 0.0
            coefficients = triangular.solve(data.values.gram + added, data.values.cross)
        return params._replace(coefficients=coefficients), {}

    def sample(key: Key, params: RegressionParams, num_samples: ArrayLike) -> Sums:
        check_rows(num_samples)
        if design == "same":
            return normal_equations(key, params.num_rows, params.coefficients, noise, params.gram)
        return normal_equations(key, num_samples, params.coefficients, noise)

    return Model(init, fit, sample)


def normal_equations(
    key: Key,
    num_rows: ArrayLike,
    coefficients: Float[Array, " dim"],
    noise: ArrayLike = 1.0,
    gram: Float[Array, "dim dim"] | None = None,
) -> Sums:
    """Return X'X and X'y of `num_rows` rows labelled by `coefficients`, from their exact law.

    gram = A A' with A the Bartlett factor of Wishart_d(T), or as given; cross = gram w + noise A z.

    Reference: Bartlett (1934).
    """
    dim = coefficients.shape[0]
    key_diagonal, key_below, key_noise = jax.random.split(key, 3)
    weight = jnp.asarray(num_rows, float)
    if gram is None:
        freedom = weight - jnp.arange(dim)
        chi = jnp.sqrt(2 * jax.random.gamma(key_diagonal, jnp.maximum(freedom, 1.0) / 2, (dim,)))
        below = jnp.tril(jax.random.normal(key_below, (dim, dim)), -1)
        factor = jnp.where(freedom[None, :] > 0, below + jnp.diag(chi), 0.0)
        gram = jnp.matmul(factor, factor.T, precision=_HIGHEST)
    else:
        factor = triangular.semidefinite_factor(gram)  # fewer rows than coefficients are legal
    labels_noise = noise * jnp.matmul(factor, jax.random.normal(key_noise, (dim,)), precision=_HIGHEST)
    cross = jnp.matmul(gram, coefficients, precision=_HIGHEST) + labels_noise
    return Sums(weight, NormalEquations(gram, cross))


def regression_truth(coefficients: ArrayLike, noise: ArrayLike = 1.0) -> Callable[[Key, ArrayLike], Sums]:
    """Return the function (key, T) -> normal equations of T rows labelled by the true coefficients."""
    known = _known(coefficients)
    check_positive("noise", noise, or_zero=True)

    def equations(key: Key, num_rows: ArrayLike) -> Sums:
        check_key(key), check_count("num_rows", num_rows, maximum=LARGEST_COUNT)
        return normal_equations(key, num_rows, known, noise)

    return equations


def risk_metric(coefficients: ArrayLike) -> Metric:
    """Return the metric "excess risk" |w - w0|^2, squared label units, for isotropic inputs."""
    known = _known(coefficients)
    error = lambda key, snapshot: jnp.sum((snapshot.params.coefficients - known) ** 2)  # noqa: E731
    return Metric("test_error", (), "squared label units", error)


def _known(coefficients: ArrayLike) -> Array:
    """Return true coefficients, a row of finite numbers."""
    known = jnp.asarray(check_numbers("coefficients", coefficients), float)
    if known.ndim != 1 or (is_concrete(known) and not bool(jnp.isfinite(known).all())):
        raise ValueError(f"`coefficients` must be one row of finite numbers, got {shown(known)}; give w.")
    return known
