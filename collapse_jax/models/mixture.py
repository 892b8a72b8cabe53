"""A Gaussian mixture, fitted by EM and followed in its own coordinates.

Data and components live in the frame that the whole mixture whitens: total mean 0, total covariance 1.
EM's result is whitened again after each fit, and the frame takes up the difference.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from collapse_jax.core.data import Samples
from collapse_jax.core.data_checks import points_of, start_frame
from collapse_jax.core.protocol import Model
from collapse_jax.numerics import frame as frames
from collapse_jax.numerics.em import (
    Components,
    Ridge,
    em,
    floored,
    least_variance,
    m_step,
    relative_ridge,
    share_out,
)
from collapse_jax.numerics.frame import Frame
from collapse_jax.numerics.kmeans import kmeans
from collapse_jax.numerics.sampling import weighted_indices
from collapse_jax.numerics.triangular import cholesky, inverse
from collapse_jax.types import Array, Key
from collapse_jax.validation import (
    check_choice,
    check_count,
    check_positive,
    is_concrete,
    static_size,
)

_HIGHEST = jax.lax.Precision.HIGHEST


class MixtureParams(NamedTuple):
    """A mixture: its components in local coordinates, and the frame that leads to data units."""

    components: Components
    frame: Frame


@runtime_checkable
class Truth(Protocol):
    """A known mixture in data units: weights [K], means [K, dim], covariances [K, dim, dim]."""

    @property
    def weights(self) -> np.ndarray: ...  # noqa: D102
    @property
    def means(self) -> np.ndarray: ...  # noqa: D102
    @property
    def covariances(self) -> np.ndarray: ...  # noqa: D102


def mixture(
    num_components: int,
    *,
    start: str = "warm",
    tol: float = 1e-3,
    max_steps: int = 100,
    ridge: str = "relative",
    ridge_size: float = 1e-6,
    min_count: float | None = None,
) -> Model:
    """Return the model of a Gaussian mixture with full covariances.

    Args:
        num_components: K.
        start: where each EM run begins: "warm", at the previous generation's mixture, or "kmeans", at
            a new k-means clustering (the published code). Generation 0 always starts from k-means.
        tol: EM stops when the mean log-likelihood changes by at most this, nats (scikit-learn: 1e-3,
            published: 1e-5).
        max_steps: or after this many steps (published: 2000).
        ridge: "relative", `ridge_size` times each component's own trace, or "absolute", `ridge_size` in
            squared data units (scikit-learn's, published), which keeps a floor of M * size under the
            variance for ever.
        ridge_size: see `ridge`.
        min_count: a component of smaller effective count dies; default dim + 2 under a relative ridge,
            0 (none dies, as in scikit-learn) under an absolute one.

    Returns:
        A model whose fit reports `em_steps`, `converged`, `num_alive`, `log_likelihood` (nats a point).

    Raises:
        ValueError: an option out of range; when the chain is built, fewer points than components.

    Reference: the mixture experiment of Shumailov et al. (2024).

    >>> from collapse_jax import as_samples
    >>> real = as_samples(jax.random.normal(jax.random.key(0), (200, 2)))
    >>> model = mixture(num_components=2)
    >>> params, info = model.fit(jax.random.key(1), model.init(jax.random.key(2), real), real)
    >>> bool(info["converged"]), int(info["num_alive"])
    (True, 2)
    """
    check_count("num_components", num_components)
    check_choice("start", start, ("warm", "kmeans"))
    check_choice("ridge", ridge, ("relative", "absolute"))
    check_positive("tol", tol)
    check_count("max_steps", max_steps)
    check_positive("ridge_size", ridge_size, or_zero=True)
    if min_count is not None:
        check_positive("min_count", min_count, or_zero=True)

    def floor_of(rows: Array) -> float:
        if min_count is not None:
            return min_count
        return rows.shape[1] + 2.0 if ridge == "relative" else 0.0

    def ridge_of(mean: Array, variance: Array, frame: Frame) -> Ridge:
        floor = least_variance(mean, variance)
        if ridge == "relative":
            return floored(relative_ridge(ridge_size, variance, floor), floor)
        return floored(_absolute_ridge(ridge_size, frame), floor)

    def cluster(key: Key, rows: Array, weight: Array, frame: Frame, added: Ridge) -> Components:
        resp = kmeans(key, rows, weight, num_components)
        centres = m_step(resp, rows, weight, added).means
        nearness = -jnp.sum((rows[None] - centres[:, None]) ** 2, axis=-1)
        # a cluster of too few points has no covariance: it dies before EM begins
        resp = share_out(resp, nearness, weight, floor_of(rows))
        return m_step(resp, rows, weight, added)

    def init(key: Key, real: Samples) -> MixtureParams:
        rows, weight = _points(real, num_components)
        frame = start_frame(real, rows.shape[1], rows.dtype)
        if ridge == "absolute":
            _check_scale(frame, ridge_size)
        total = jnp.sum(weight)
        mean = jnp.sum(weight[:, None] * rows, axis=0) / total
        variance = jnp.sum(weight[:, None] * (rows - mean[None]) ** 2, axis=0) / total
        return MixtureParams(cluster(key, rows, weight, frame, ridge_of(mean, variance, frame)), frame)

    def fit(key: Key, params: MixtureParams, data: Samples) -> tuple[MixtureParams, dict[str, Array]]:
        rows, weight = _points(data, num_components)
        frame = params.frame
        mean, covariance = total_moments(params.components)
        added = ridge_of(mean, jnp.diagonal(covariance), frame)
        first = params.components if start == "warm" else cluster(key, rows, weight, frame, added)
        result = em(
            first,
            rows,
            weight,
            tol=tol,
            max_steps=max_steps,
            min_count=floor_of(rows),
            ridge=added,
        )
        info = {
            "em_steps": result.num_steps,
            "converged": result.converged,
            "num_alive": jnp.sum(result.components.weights > 0),
            "log_likelihood": result.log_likelihood - jnp.sum(frame.log_scale),
        }
        return _whiten(result.components, frame), info

    def sample(key: Key, params: MixtureParams, num_samples: int) -> Samples:
        num_samples = static_size(num_samples)
        weights, means, scale_tril = params.components
        key_component, key_noise = jax.random.split(key)
        index = weighted_indices(key_component, weights, num_samples)
        noise = jax.random.normal(key_noise, (means.shape[1], num_samples), means.dtype)
        rows = _affine_rows(index, means, scale_tril, noise)
        return Samples(rows, jnp.ones(num_samples, means.dtype), params.frame)

    return Model(init, fit, sample, frame=lambda params: params.frame)


def params_from_truth(truth: Truth) -> MixtureParams:
    """Return a known mixture as parameters, in the frame of data units."""
    factors = np.linalg.cholesky(truth.covariances)
    components = Components(*(jnp.asarray(part) for part in (truth.weights, truth.means, factors)))
    return MixtureParams(components, frames.data_frame(truth.means.shape[1], components.means.dtype))


def total_moments(components: Components) -> tuple[Float[Array, " dim"], Float[Array, "dim dim"]]:
    """Return mean and covariance of the whole mixture, in its own coordinates."""
    weights, means, scale_tril = components
    mean = jnp.einsum("k,ki->i", weights, means, precision=_HIGHEST)
    centred = means - mean[None, :]
    within = jnp.einsum("k,kij,klj->il", weights, scale_tril, scale_tril, precision=_HIGHEST)
    return mean, within + jnp.einsum("k,ki,kj->ij", weights, centred, centred, precision=_HIGHEST)


def _points(data: Samples, num_components: int) -> tuple[Array, Array]:
    """Return rows, zeros where empty, and weights.

    Raises:
        ValueError: rows are not vectors, or there are fewer of them than components.
    """
    rows, weight = points_of(data, "mixture()")
    if rows.shape[0] < num_components:
        raise ValueError(
            f"{num_components} components need at least as many points, got {rows.shape[0]}; "
            "lower `num_components` or raise `num_samples`."
        )
    return rows, weight


def _whiten(components: Components, frame: Frame) -> MixtureParams:
    """Return the mixture in the frame in which its total mean is 0 and its total covariance 1."""
    shift, covariance = total_moments(components)
    ratio = cholesky(covariance)
    # points on a line, or in two places, leave a direction without spread but for rounding, of either sign
    jitter = 4 * len(ratio) * jnp.finfo(ratio.dtype).eps * jnp.diag(jnp.diagonal(covariance))
    ratio = jnp.where(jnp.all(jnp.diagonal(ratio) > 0), ratio, cholesky(covariance + jitter))
    back = inverse(ratio)
    alive = components.weights > 0
    means = jnp.matmul(components.means - shift[None, :], back.T, precision=_HIGHEST)
    scale_tril = jnp.matmul(back, components.scale_tril, precision=_HIGHEST)
    eye = jnp.eye(shift.shape[0], dtype=shift.dtype)
    local = Components(
        components.weights,
        jnp.where(alive[:, None], means, 0.0),
        jnp.where(alive[:, None, None], scale_tril, eye[None]),
    )
    return MixtureParams(local, frames.advance(frame, shift, ratio))


def _absolute_ridge(size: float, frame: Frame) -> Ridge:
    """Return the ridge of `size` squared data units on the diagonal, in local coordinates."""
    back = inverse(frames.axes(frame))
    return lambda cov: jnp.broadcast_to(size * jnp.matmul(back, back.T, precision=_HIGHEST), cov.shape)


def _check_scale(frame: Frame, size: float) -> None:
    """Refuse an absolute ridge of 1e30 times the variance of the data, in which nothing of them would be left."""
    if is_concrete(frame.log_scale) and frame.origin is not None:
        scale = float(np.exp(np.min(np.asarray(frame.log_scale, np.float64))))
        if size > 1e30 * scale**2:
            raise ValueError(
                f"a ridge of {size:.3g} squared data units drowns data in units of {scale:.3g}; use ridge='relative'."
            )


def _affine_rows(index: Array, means: Array, scale_tril: Array, noise: Float[Array, "dim n"]) -> Array:
    """Return mean_k + L_k z for each row's component k.

    Picking by masks is a fused loop over rows; a gather of small matrices is many times slower on CPUs.
    """
    num_components, dim = means.shape
    if num_components * dim > 64:
        return means[index] + jnp.einsum("nij,jn->ni", scale_tril[index], noise, precision=_HIGHEST)

    def pick(values: Float[Array, " K"]) -> Array:
        chosen = values[0] * jnp.ones_like(noise[0])
        for k in range(1, num_components):
            chosen = jnp.where(index == k, values[k], chosen)
        return chosen

    columns = []
    for i in range(dim):
        column = pick(means[:, i])
        for j in range(i + 1):
            column = column + pick(scale_tril[:, i, j]) * noise[j]
        columns.append(column)
    return jnp.stack(columns, axis=-1)
