r"""A Gaussian fitted by its mean and covariance, followed in its own coordinates.

One generation under `replace` is L' = L A / sqrt(M - ddof), mean' = mean + L z / sqrt(M), with A the Bartlett
factor of a Wishart matrix: the log-diagonal of L is a random walk, which the frame carries as a sum of
logs. Drawn as points or as their exact sufficient statistics.

A direction in which the data have no spread (fewer points than dimensions) is not alive: nothing is drawn
along it, and the frame keeps its scale, so that other data can still be told apart along it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from collapse_jax.core.data import Samples
from collapse_jax.core.data_checks import kind_of, start_frame
from collapse_jax.core.protocol import Metric, Model
from collapse_jax.core.statistics import Moments, moments_of
from collapse_jax.numerics import frame as frames
from collapse_jax.numerics.frame import Frame
from collapse_jax.types import Array, ArrayLike, Key
from collapse_jax.validation import (
    LARGEST_COUNT,
    check_choice,
    check_count,
    check_key,
    check_numbers,
    check_positive,
    is_concrete,
    static_size,
)


class GaussianParams(NamedTuple):
    """A Gaussian with mean 0 and covariance diag(alive) in the coordinates of `frame`.

    Attributes:
        frame: leads to data units.
        alive: 1 for directions with spread, 0 for those without.
    """

    frame: Frame
    alive: Float[Array, " dim"]


def gaussian(
    dim: int, *, estimator: str = "unbiased", bias: ArrayLike = 1.0, cut: float | None = None
) -> Model:
    """Return the model of a Gaussian fitted by mean and covariance, which draws points.

    Args:
        dim: d.
        estimator: "unbiased", scatter / (M - 1) (the theorem of Shumailov et al. 2024), or "mle",
            scatter / M (their code).
        bias: lambda, the sampling bias: draws have lambda times the model's covariance
            (Alemohammad et al. 2023); may be traced.
        cut: draw only points within `cut` standard deviations in each direction (top-p sampling).

    Returns:
        A model whose fit reports `rank`, the number of directions alive.

    Raises:
        ValueError: an option out of range.
    """
    if cut is not None:
        check_positive("cut", cut)

    def sample(key: Key, params: GaussianParams, num_samples: ArrayLike) -> Samples:
        size = (static_size(num_samples), dim)
        noise = (
            jax.random.normal(key, size) if cut is None else jax.random.truncated_normal(key, -cut, cut, size)
        )
        return Samples(noise * _spread(params, bias)[None, :], jnp.ones(size[0]), params.frame)

    return _fitted_by_moments(dim, estimator, bias, sample)


def gaussian_statistics(dim: int, *, estimator: str = "unbiased", bias: ArrayLike = 1.0) -> Model:
    """Return the model of a Gaussian that draws the mean and scatter of M points from their exact law.

    Time and memory do not depend on M, which may be traced, up to 1e9 and beyond (Cochran; Bartlett 1934). Arguments
    and result as for `gaussian`.

    Raises:
        ValueError: an option out of range.

    >>> from collapse_jax import build_chain, gaussian_truth, replace
    >>> model = gaussian_statistics(1)
    >>> chain = build_chain(model, replace(), gaussian_truth(1).moments_sampler(100), num_samples=10**9)
    >>> state, record = chain.init(jax.random.key(0))
    >>> int(record["rank"])
    1
    """

    def sample(key: Key, params: GaussianParams, num_samples: ArrayLike) -> Moments:
        return normal_moments(key, num_samples, _spread(params, bias), params.frame)

    return _fitted_by_moments(dim, estimator, bias, sample)


def _spread(params: GaussianParams, bias: ArrayLike) -> Array:
    """Return the standard deviation of draws in each direction of the frame."""
    return params.alive * jnp.sqrt(jnp.asarray(bias, params.alive.dtype))


def _fitted_by_moments(dim: int, estimator: str, bias: ArrayLike, sample: Callable) -> Model:
    """Return the model that is fitted to points or their moments, and draws by `sample`."""
    check_count("dim", dim)
    check_choice("estimator", estimator, ("unbiased", "mle"))
    check_positive("bias", bias, or_zero=True)
    ddof = 1.0 if estimator == "unbiased" else 0.0

    def init(key: Key, real: Any) -> GaussianParams:
        return GaussianParams(start_frame(real, dim), jnp.ones(dim))

    def fit(key: Key, params: GaussianParams, data: Any) -> tuple[GaussianParams, dict[str, Array]]:
        if isinstance(data, Samples) and data.num_rows <= ddof:
            raise ValueError(
                "one row has no unbiased variance (no degree of freedom is left); train on at least 2, or use "
                "estimator='mle'."
            )
        if not isinstance(data, Samples | Moments):
            raise TypeError(f"gaussian() is fitted to points or Moments, got {kind_of(data)}; see gaussian_truth.")
        moments = data if isinstance(data, Moments) else moments_of(data)
        if moments.mean.shape != (dim,):
            raise ValueError(
                f"`dim` is {dim}, but the data have {moments.mean.shape[-1]} columns; make them agree."
            )
        tril = moments.factor / jnp.sqrt(moments.weight - ddof)
        alive = (jnp.diagonal(tril) > 0).astype(tril.dtype)
        # a dead direction keeps its scale: the frame stays invertible, and its column of `tril` is zero
        frame = frames.advance(params.frame, moments.mean, tril + jnp.diag(1 - alive))
        return GaussianParams(frame, alive), {"rank": jnp.sum(alive).astype(jnp.int32)}

    return Model(init, fit, sample, frame=lambda params: params.frame)


def normal_moments(
    key: Key, num_samples: ArrayLike, spread: Float[Array, " dim"], frame: Frame | None = None
) -> Moments:
    """Return the moments of `num_samples` independent points of N(0, diag(spread^2)), from their exact law.

    mean ~ N(0, spread^2 / M), scatter ~ Wishart(M - 1), independent; the Bartlett factor has chi(M - j) on its
    diagonal and N(0, 1) below, and only M - 1 columns when there are fewer points than dimensions.

    Args:
        key: randomness.
        num_samples: M; may be traced.
        spread: standard deviation of each coordinate.
        frame: coordinates of the result.

    Reference: Bartlett (1934); Cochran's theorem.
    """
    dim = spread.shape[0]
    key_mean, key_diagonal, key_below = jax.random.split(key, 3)
    weight = jnp.asarray(num_samples, spread.dtype)
    freedom = weight - 1 - jnp.arange(dim, dtype=spread.dtype)
    chi = jnp.sqrt(2 * jax.random.gamma(key_diagonal, jnp.maximum(freedom, 1.0) / 2, (dim,)))
    below = jnp.tril(jax.random.normal(key_below, (dim, dim)), -1) if dim > 1 else jnp.zeros((1, 1))
    bartlett = jnp.where(freedom[None, :] > 0, below + jnp.diag(chi), 0.0)
    mean = spread * jax.random.normal(key_mean, (dim,)) / jnp.sqrt(weight)
    return Moments(weight, mean, spread[:, None] * bartlett, frame)


class GaussianTruth(NamedTuple):
    """A known Gaussian N(mean, scale_tril scale_tril')."""

    mean: Float[Array, " dim"]
    scale_tril: Float[Array, "dim dim"]

    def sample(self, key: Key, num: int) -> Samples:
        """Return `num` independent points."""
        check_key(key), check_count("num", num)
        noise = jax.random.normal(key, (num, self.mean.shape[0]))
        return Samples(self.mean[None, :] + noise @ self.scale_tril.T, jnp.ones(num))

    def moments(self, key: Key, num: ArrayLike) -> Moments:
        """Return the moments of `num` independent points, from their exact law."""
        check_key(key), check_count("num", num, maximum=LARGEST_COUNT)
        drawn = normal_moments(key, num, jnp.ones_like(self.mean))
        mean = self.mean + self.scale_tril @ drawn.mean
        return Moments(drawn.weight, mean, self.scale_tril @ drawn.factor)

    def sampler(self, num: int) -> Callable[[Key], Samples]:
        """Return the function key -> `num` points."""
        check_count("num", num)
        return lambda key: self.sample(key, num)

    def moments_sampler(self, num: ArrayLike) -> Callable[[Key], Moments]:
        """Return the function key -> the moments of `num` points."""
        check_count("num", num, maximum=LARGEST_COUNT)
        return lambda key: self.moments(key, num)


def gaussian_truth(dim: int, scale_tril: ArrayLike | None = None) -> GaussianTruth:
    """Return the Gaussian of mean 0, by default with unit covariance.

    Raises:
        ValueError: `scale_tril` is not a lower triangular [dim, dim] of finite numbers, or has no spread at all.

    >>> gaussian_truth(2).scale_tril.shape
    (2, 2)
    """
    check_count("dim", dim)
    if scale_tril is not None:
        scale_tril = check_numbers("scale_tril", scale_tril)
    factor = jnp.eye(dim) if scale_tril is None else jnp.asarray(scale_tril, float)
    if factor.shape != (dim, dim):
        raise ValueError(f"`scale_tril` must have shape ({dim}, {dim}), got {factor.shape}; give a Cholesky factor.")
    if is_concrete(factor):
        known = np.asarray(factor)
        if not np.isfinite(known).all() or np.triu(known, 1).any():
            raise ValueError("`scale_tril` must be finite and lower triangular; give a Cholesky factor.")
        if not known.any():
            raise ValueError(
                "`scale_tril` is 0: a point has no spread to lose, and no generation can leave it; give some "
                "direction a positive scale."
            )
    return GaussianTruth(jnp.zeros(dim), factor)


def gaussian_metrics() -> tuple[Metric, ...]:
    """Return what a Gaussian chain records.

    Returns:
        `mean` (data units), `log_scale` (nats: the log-diagonal of the Cholesky factor, whose slopes are the
        Lyapunov exponents; a dead direction's is that of its last life) and `log_total_variance` (nats).
    """

    def total(params: GaussianParams) -> Array:
        return frames.log_total_variance(params.frame, params.alive)

    return (
        Metric("mean", ("axis",), "data units", lambda key, s: frames.location(s.params.frame)),
        Metric("log_scale", ("axis",), "nats", lambda key, s: s.params.frame.log_scale),
        Metric("log_total_variance", (), "nats", lambda key, s: total(s.params)),
    )
