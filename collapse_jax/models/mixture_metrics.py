"""What a chain of mixtures records: spread, weights, and distances to the truth and to model 0."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from collapse_jax.core.data import Samples, as_samples
from collapse_jax.core.data_checks import points_of
from collapse_jax.core.protocol import Metric, Snapshot
from collapse_jax.models.mixture import MixtureParams, Truth, params_from_truth, total_moments
from collapse_jax.numerics import frame as frames
from collapse_jax.numerics.em import Components, log_prob
from collapse_jax.numerics.mixture_distances import gaussian_w2, in_data_units, log_l2_distance
from collapse_jax.numerics.triangular import cholesky
from collapse_jax.types import Array, ArrayLike, Key
from collapse_jax.validation import check_kind

_HIGHEST = jax.lax.Precision.HIGHEST


def mixture_metrics(
    truth: Truth | None = None, held_out: Float[ArrayLike, "num dim"] | None = None
) -> tuple[Metric, ...]:
    """Return what the mixture study records of a generation.

    Args:
        truth: the real distribution; without one, as for people's own data, nothing is compared with it.
        held_out: real points that no model was fitted to, whatever `as_samples` takes, for `held_out_nll`; default
            none.

    Returns:
        `log_total_variance`, `log_within_variance` (nats), `weights`, `means`, `covariances` (data units),
        `log_l2_truth`, `log_l2_origin` (nats), `w2_truth` (squared data units, between total moments),
        `mean_error` (data units) and `held_out_nll` (nats a point).
    """
    def of_params(
        name: str, dims: tuple[str, ...], unit: str, function: Callable[[MixtureParams], Array]
    ) -> Metric:
        return Metric(name, dims, unit, lambda key, snapshot: function(snapshot.params))

    def absolute(params: MixtureParams) -> Components:
        return in_data_units(*params)

    def covariances(params: MixtureParams) -> Array:
        tril = absolute(params).scale_tril
        return jnp.matmul(tril, tril.mT, precision=_HIGHEST)

    def l2_origin(key: Key, snapshot: Snapshot) -> Array:
        return log_l2_distance(*snapshot.params, *snapshot.origin)

    metrics = [
        of_params(
            "log_total_variance",
            (),
            "nats",
            lambda p: frames.log_total_variance(p.frame, jnp.ones_like(p.frame.log_scale)),
        ),
        of_params("log_within_variance", (), "nats", _log_within_variance),
        of_params("weights", ("component",), "1", lambda p: p.components.weights),
        of_params("means", ("component", "axis"), "data units", lambda p: absolute(p).means),
        of_params("covariances", ("component", "axis", "axis_2"), "squared data units", covariances),
        Metric("log_l2_origin", (), "nats", l2_origin),
    ]
    if truth is not None:
        metrics += [of_params(name, (), unit, function) for name, unit, function in _against(truth)]
    if held_out is not None:
        metrics.append(of_params("held_out_nll", (), "nats", _held_out_nll(held_out, truth)))
    return tuple(metrics)


def _against(truth: Truth) -> list[tuple[str, str, Callable[[MixtureParams], Array]]]:
    """Return name, unit and function of the metrics that compare with a known mixture."""
    check_kind("truth", truth, Truth, "give a known mixture, for example two_gaussians()")
    true_params = params_from_truth(truth)
    true_mean, true_cov = total_moments(true_params.components)
    true_tril = cholesky(true_cov)

    def w2_truth(params: MixtureParams) -> Array:
        # the frame whitens the whole mixture: its location and axes are the total moments
        return gaussian_w2(frames.location(params.frame), frames.axes(params.frame), true_mean, true_tril)

    def mean_error(params: MixtureParams) -> Array:
        return jnp.linalg.norm(frames.location(params.frame) - true_mean)

    return [
        ("log_l2_truth", "nats", lambda p: log_l2_distance(*p, *true_params)),
        ("w2_truth", "squared data units", w2_truth),
        ("mean_error", "data units", mean_error),
    ]


def _held_out_nll(held_out: Any, truth: Truth | None) -> Callable[[MixtureParams], Array]:
    points = as_samples(held_out)
    points = points._replace(x=points_of(points, "`held_out`")[0])
    dim = points.x.shape[1]
    if truth is not None and dim != truth.means.shape[1]:
        raise ValueError(
            f"`held_out` must be points of {truth.means.shape[1]} coordinates, got {dim}; draw them from `truth`."
        )
    return lambda params: _nll(params, points)


def _log_within_variance(params: MixtureParams) -> Array:
    """Return log sum_k w_k tr C_k, nats."""
    per_component = jax.vmap(lambda tril: frames.log_total_variance(params.frame, tril))(
        params.components.scale_tril
    )
    return jax.nn.logsumexp(per_component, b=params.components.weights)


def _nll(params: MixtureParams, points: Samples) -> Array:
    """Return -mean log p, nats a point; infinite once the squared distance overflows."""
    local: Any = points.enter(params.frame).x
    nll = jnp.sum(params.frame.log_scale) - jnp.mean(log_prob(params.components, local))
    return jnp.where(jnp.isnan(nll), jnp.inf, nll)
