"""A kernel density estimate resampled from itself: the smoothed bootstrap.

x' = x_i + h z, i uniform: each generation adds the kernel's variance h^2 and loses 1/M of its own. The
params are the points; drawing picks one and adds the kernel.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from collapse_jax.core.data import Samples
from collapse_jax.core.data_checks import points_of
from collapse_jax.core.protocol import Metric, Model
from collapse_jax.numerics import frame as frames
from collapse_jax.numerics.frame import Frame
from collapse_jax.numerics.sampling import weighted_indices
from collapse_jax.numerics.triangular import join_factors
from collapse_jax.types import Array, ArrayLike, Key
from collapse_jax.validation import check_choice, check_count, check_positive, static_size

_HIGHEST = jax.lax.Precision.HIGHEST
_RULES = ("fixed", "scott", "silverman", "shrunk")


class KDEParams(NamedTuple):
    """Points, their weights, the kernel's Cholesky factor, and the factor by which draws shrink to the mean.

    Points and kernel are in the coordinates of `frame`, which stays that of the real data; None means data units.
    """

    points: Float[Array, "num_rows dim"]
    weight: Float[Array, " num_rows"]
    kernel: Float[Array, "dim dim"]
    shrink: Float[Array, ""]
    frame: Frame | None = None


def kde(bandwidth: str = "scott", *, width: ArrayLike = 0.1, capacity: int | None = None) -> Model:
    """Return the model of a Gaussian kernel density estimate.

    Args:
        bandwidth: "fixed", `width` in data units; "scott", M^(-1/(d+4)) or "silverman", (M(d+2)/4)^(-1/(d+4)),
            times the unbiased covariance's factor, as SciPy's; or "shrunk", `width` times the MLE covariance's
            factor with draws shrunk by 1/sqrt(1 + width^2), which leaves the variance as it was.
        width: see `bandwidth`; may be traced.
        capacity: rows that the params have room for, where the training set grows: for `accumulate(g)` the real
            points and g batches. Default as many as there are.

    Raises:
        ValueError: an unknown bandwidth, a width that is not positive or a capacity below the rows of a fit.

    Reference: Silverman and Young (1987) for the shrunk smoothed bootstrap; the KDE of Kazdan et al. (2024).
    """
    check_choice("bandwidth", bandwidth, _RULES)
    check_positive("width", width)
    if capacity is not None:
        check_count("capacity", capacity)
    return _resampler(bandwidth, width, capacity)


def bootstrap() -> Model:
    """Return the model that only resamples: every draw is a copy of a training point."""
    return _resampler("fixed", 0.0)


def _resampler(bandwidth: str, width: ArrayLike, capacity: int | None = None) -> Model:
    shrink = (
        1 / jnp.sqrt(1 + jnp.square(jnp.asarray(width, float))) if bandwidth == "shrunk" else jnp.ones(())
    )

    def init(key: Key, real: Samples) -> KDEParams:
        dim = points_of(real, "kde()")[0].shape[1]
        num_rows = capacity or real.num_rows
        return KDEParams(jnp.zeros((num_rows, dim)), jnp.ones(num_rows), jnp.eye(dim), shrink, real.frame)

    def fit(key: Key, params: KDEParams, data: Samples) -> tuple[KDEParams, dict[str, Array]]:
        kernel = _kernel(data, bandwidth, width)
        held = data if capacity is None else data.reserve(capacity)
        return KDEParams(*points_of(held, "kde()"), kernel, shrink, params.frame), {}

    def sample(key: Key, params: KDEParams, num_samples: int) -> Samples:
        num_samples = static_size(num_samples)
        key_index, key_noise = jax.random.split(key)
        index = weighted_indices(key_index, params.weight, num_samples)
        noise = jax.random.normal(key_noise, (num_samples, params.kernel.shape[0]))
        rows = params.points[index] + jnp.matmul(noise, params.kernel.T, precision=_HIGHEST)
        if bandwidth == "shrunk":
            mean = jnp.matmul(params.weight, params.points, precision=_HIGHEST) / jnp.sum(params.weight)
            rows = mean[None, :] + params.shrink * (rows - mean[None, :])
        return Samples(rows, jnp.ones(num_samples), params.frame)

    return Model(init, fit, sample)


def kde_metrics() -> tuple[Metric, ...]:
    """Return `mean` and `variance` (data units, squared) of the density itself, kernel included."""

    def mean(params: KDEParams) -> Array:
        local, _, _ = _moments(params.points, params.weight)
        return local if params.frame is None else frames.to_data_units(params.frame, local[None])[0]

    def variance(params: KDEParams) -> Array:
        _, scatter, total = _moments(params.points, params.weight)
        scale = 1.0 if params.frame is None else jnp.exp(params.frame.log_scale)[:, None]
        kernel = jnp.sum((scale * params.kernel) ** 2)
        if params.frame is None:
            return params.shrink**2 * (jnp.sum(scatter**2) / total + kernel)
        return params.shrink**2 * (jnp.sum((scale * (scatter / jnp.sqrt(total))) ** 2) + kernel)  # may be near 1e38

    return (
        Metric("mean", ("axis",), "data units", lambda key, s: mean(s.params)),
        Metric("variance", (), "squared data units", lambda key, s: variance(s.params)),
    )


def _kernel(data: Samples, bandwidth: str, width: ArrayLike) -> Float[Array, "dim dim"]:
    _, scatter, total = _moments(*points_of(data, "kde()"))
    dim = scatter.shape[0]
    if bandwidth == "fixed":  # in data units
        unit = jnp.eye(dim) if data.frame is None else jnp.diag(jnp.exp(-data.frame.log_scale))
        return jnp.asarray(width) * unit
    if bandwidth == "shrunk":
        return jnp.asarray(width) * join_factors(scatter) / jnp.sqrt(total)
    size = total if bandwidth == "scott" else total * (dim + 2) / 4
    return size ** (-1 / (dim + 4)) * join_factors(scatter) / jnp.sqrt(total - 1)


def _moments(rows: Any, weight: Array) -> tuple[Array, Array, Array]:
    """Return mean, centred rows as columns weighted by sqrt(weight), and total weight."""
    total = jnp.sum(weight)
    mean = jnp.matmul(weight, rows, precision=_HIGHEST) / total
    return mean, (jnp.sqrt(weight)[:, None] * (rows - mean[None, :])).T, total
