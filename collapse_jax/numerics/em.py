"""Weighted EM for Gaussian mixtures with full covariances, to a tolerance.

Component-major arrays [K, n] keep every operation a contiguous, fused loop over points. A component
whose effective count falls below `min_count` dies and its responsibilities go to the living, so that
rows still sum to 1 and the mixture's mean and covariance equal the weighted sample's after any number
of steps (up to the ridge).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from collapse_jax.numerics import triangular
from collapse_jax.types import Array

_HIGHEST = jax.lax.Precision.HIGHEST
Ridge = Callable[[Array], Array]  # covariances [K, dim, dim] -> what to add to them


class Components(NamedTuple):
    """A Gaussian mixture.

    Attributes:
        weights: sum to 1; 0 marks a dead component, whose mean and factor mean nothing.
        means: one row a component.
        scale_tril: lower triangular factors of the covariances.
    """

    weights: Float[Array, " K"]
    means: Float[Array, "K dim"]
    scale_tril: Float[Array, "K dim dim"]


class EMResult(NamedTuple):
    """What `em` returns: the mixture, and how the iteration ended."""

    components: Components
    num_steps: Int[Array, ""]
    converged: Bool[Array, ""]
    log_likelihood: Float[Array, ""]  # mean per unit of weight before the last M-step, nats


def em(
    start: Components,
    x: Float[Array, "n dim"],
    weight: Float[Array, " n"],
    *,
    tol: float,
    max_steps: int,
    min_count: float,
    ridge: Ridge,
) -> EMResult:
    """Return the mixture after EM from `start`, as scikit-learn's loop but for `min_count`.

    Stops when the mean log-likelihood changes by at most `tol` nats, or after `max_steps`. The loop
    asks to go on, so a lane that turns NaN stops. It is a while-loop: only forward-mode derivatives.

    Args:
        start: where EM begins.
        x: rows; those of weight 0 must be finite.
        weight: frequency weights.
        tol: nats per point.
        max_steps: cap on M-steps.
        min_count: a component of smaller effective count dies; 0 keeps all.
        ridge: covariances -> what is added to them.
    """

    def unfinished(carry: tuple) -> Array:
        _, _, change, num_steps = carry
        return (change > tol) & (num_steps < max_steps)

    def body(carry: tuple) -> tuple:
        components, before, _, num_steps = carry
        log_joint = component_log_probs(components, x)
        # one exponential for each point and component gives both the likelihood and the responsibilities
        top = jnp.max(log_joint, axis=0)
        joint = jnp.exp(log_joint - top[None, :])
        total = jnp.sum(joint, axis=0)
        log_prob = top + jnp.log(total)
        resp = share_out(joint / total[None, :], log_joint, weight, min_count)
        now = jnp.sum(weight * log_prob) / jnp.sum(weight)
        return m_step(resp, x, weight, ridge), now, jnp.abs(now - before), num_steps + 1

    infinite = jnp.asarray(jnp.inf, x.dtype)
    first = (start, -infinite, infinite, jnp.asarray(0))
    components, log_likelihood, change, num_steps = jax.lax.while_loop(unfinished, body, first)
    return EMResult(components, num_steps, change <= tol, log_likelihood)


def component_log_probs(components: Components, x: Float[Array, "n dim"]) -> Float[Array, "K n"]:
    """Return log(weight_k) + log N(x_i; mean_k, cov_k), nats; -inf for a dead component."""
    weights, means, scale_tril = components
    dim = x.shape[1]
    whiten = triangular.inverse(scale_tril)
    if dim <= triangular.UNROLLED:
        centred = [x[None, :, j] - means[:, j, None] for j in range(dim)]
        white = [sum(whiten[:, i, j, None] * centred[j] for j in range(i + 1)) for i in range(dim)]
        squared = jnp.sum(jnp.stack([row * row for row in white]), axis=0)
    else:
        rows = jnp.einsum("kij,knj->kni", whiten, x[None] - means[:, None], precision=_HIGHEST)
        squared = jnp.sum(rows**2, axis=-1)
    log_norm = jnp.sum(jnp.log(jnp.diagonal(whiten, axis1=-2, axis2=-1)), axis=-1)
    constant = jnp.log(weights) + log_norm - 0.5 * dim * math.log(2 * math.pi)
    return constant[:, None] - 0.5 * squared


def log_prob(components: Components, x: Float[Array, "n dim"]) -> Float[Array, " n"]:
    """Return log p(x_i), nats."""
    return jax.nn.logsumexp(component_log_probs(components, x), axis=0)


def m_step(
    resp: Float[Array, "K n"], x: Float[Array, "n dim"], weight: Float[Array, " n"], ridge: Ridge
) -> Components:
    """Return the mixture of largest expected likelihood, given responsibilities that sum to 1 in each column."""
    weighted = resp * weight[None, :]
    counts = jnp.sum(weighted, axis=1)
    alive = counts > 0
    divisor = jnp.where(alive, counts, 1.0)
    dim = x.shape[1]
    if dim <= triangular.UNROLLED:
        means = (
            jnp.stack([jnp.sum(weighted * x[None, :, j], axis=1) for j in range(dim)], axis=-1) / divisor[:, None]
        )
        centred = [x[None, :, j] - means[:, j, None] for j in range(dim)]
        lower = {
            (i, j): jnp.sum(weighted * centred[i] * centred[j], axis=1)
            for i in range(dim)
            for j in range(i + 1)
        }
        rows = [jnp.stack([lower[max(i, j), min(i, j)] for j in range(dim)], axis=-1) for i in range(dim)]
        scatter = jnp.stack(rows, axis=-2)
    else:
        means = jnp.matmul(weighted, x, precision=_HIGHEST) / divisor[:, None]
        from_mean = x[None] - means[:, None]
        scatter = jnp.einsum("kn,kni,knj->kij", weighted, from_mean, from_mean, precision=_HIGHEST)
    covariance = scatter / divisor[:, None, None]
    covariance = covariance + ridge(covariance)
    living = alive[:, None, None]
    # a dead component gets a valid factor, so that nothing downstream divides by zero
    scale_tril = triangular.cholesky(jnp.where(living, covariance, jnp.eye(dim, dtype=x.dtype)[None]))
    return Components(counts / jnp.sum(counts), jnp.where(alive[:, None], means, 0.0), scale_tril)


def relative_ridge(size: float, variance: Float[Array, " dim"], floor: Float[Array, " dim"]) -> Ridge:
    """Return the ridge of `size` times each component's own trace: it shrinks with the component.

    Columns whose deviations differ by more than 30 times are first brought to one scale: the widest would widen all
    others. `x` is in one scale once a frame whitens it.

    Args:
        size: of the ridge.
        variance: of all points, by column.
        floor: see `least_variance`.
    """
    spread = variance > 100 * floor  # not the rounding of a constant
    least = jnp.min(jnp.where(spread, variance, jnp.inf))
    unlike = jnp.max(variance) > 1000 * least
    unit = jnp.where(unlike, jnp.where(spread, variance, least), 1.0)

    def ridge(cov: Float[Array, "K dim dim"]) -> Float[Array, "K dim dim"]:
        trace = jnp.sum(jnp.diagonal(cov, axis1=-2, axis2=-1) / unit[None], axis=-1)
        return (size * trace)[:, None, None] * (unit[:, None] * jnp.eye(cov.shape[-1], dtype=cov.dtype))[None]

    return ridge


def least_variance(mean: Float[Array, " dim"], variance: Float[Array, " dim"]) -> Float[Array, " dim"]:
    """Return the variance below which the rounding of coordinates hides a spread, by column.

    Args:
        mean: of all points.
        variance: of all points.
    """
    square = mean**2 + variance
    square = jnp.where(square > 0, square, jnp.max(square))
    return (4 * jnp.finfo(mean.dtype).eps) ** 2 * jnp.where(square > 0, square, 1.0)


def floored(ridge: Ridge, floor: Float[Array, " dim"]) -> Ridge:
    """Return `ridge`, raised where a component would be narrower than `floor`: repeated points make one that is."""

    def raised(cov: Float[Array, "K dim dim"]) -> Float[Array, "K dim dim"]:
        added = ridge(cov)
        lacking = jnp.maximum(floor[None] - jnp.diagonal(cov + added, axis1=-2, axis2=-1), 0.0)
        return added + lacking[..., None] * jnp.eye(cov.shape[-1], dtype=cov.dtype)[None]

    return raised


def share_out(resp: Array, log_joint: Array, weight: Array, min_count: float) -> Array:
    """Return responsibilities in which components below `min_count` have none; the largest always lives.

    Args:
        resp: columns sum to 1.
        log_joint: how near each point is to each component, any scale.
        weight: of the points.
        min_count: smallest effective count that lives.
    """
    counts = jnp.sum(resp * weight[None, :], axis=1)
    alive = (counts >= min_count) | (jnp.arange(counts.shape[0]) == jnp.argmax(counts))
    kept = jnp.where(alive[:, None], resp, 0.0)
    total = jnp.sum(kept, axis=0)[None, :]
    # a point that belonged to the dead alone, beyond float range, goes to the nearest of the living
    nearest = jnp.argmax(jnp.where(alive[:, None], log_joint, -jnp.inf), axis=0)
    onto_nearest = (nearest[None, :] == jnp.arange(counts.shape[0])[:, None]).astype(resp.dtype)
    shared = jnp.where(total > 1e-30, kept / jnp.where(total > 1e-30, total, 1.0), onto_nearest)
    return jnp.where(jnp.all(alive | (counts == 0)), resp, shared)
