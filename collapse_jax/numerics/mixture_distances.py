"""Closed-form distances between Gaussian mixtures that live in frames of their own.

For Gaussians, integral p q = sum_ij w_i v_j N(m_i - m_j; 0, S_i + S_j). Logs throughout: a mixture that
has collapsed to a scale of e^-200 still has a finite log distance.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from collapse_jax.numerics import frame as frames
from collapse_jax.numerics.em import Components, log_prob
from collapse_jax.numerics.frame import Frame
from collapse_jax.numerics.triangular import cholesky, nuclear_norm
from collapse_jax.types import Array

_HIGHEST = jax.lax.Precision.HIGHEST


def in_data_units(components: Components, frame: Frame) -> Components:
    """Return the mixture in data units; a collapsed one underflows to points."""
    axes = frames.axes(frame)
    return Components(
        components.weights,
        frames.to_data_units(frame, components.means),
        jnp.matmul(axes, components.scale_tril, precision=_HIGHEST),
    )


def _in_units(components: Components, frame: Frame, unit: Float[Array, ""]) -> Components:
    """Return the mixture about its frame's origin, in units of exp(unit)."""
    shrunk = frame._replace(
        origin=None, location=frame.location * jnp.exp(-unit), log_scale=frame.log_scale - unit
    )
    return in_data_units(components, shrunk)


def log_overlap(p: Components, q: Components) -> Float[Array, ""]:
    """Return log integral p(x) q(x) dx, both mixtures in the same coordinates."""
    covariance = (
        jnp.einsum("kij,klj->kil", p.scale_tril, p.scale_tril, precision=_HIGHEST)[:, None]
        + jnp.einsum("kij,klj->kil", q.scale_tril, q.scale_tril, precision=_HIGHEST)[None, :]
    )
    num_pairs = p.weights.shape[0] * q.weights.shape[0]
    dim = p.means.shape[1]
    pairs = Components(
        (p.weights[:, None] * q.weights[None, :]).reshape(num_pairs),
        (p.means[:, None] - q.means[None, :]).reshape(num_pairs, dim),
        cholesky(covariance).reshape(num_pairs, dim, dim),
    )
    # the density at 0 of the mixture of differences
    return log_prob(pairs, jnp.zeros((1, dim), p.means.dtype))[0]


def log_l2_distance(p: Components, p_frame: Frame, q: Components, q_frame: Frame) -> Float[Array, ""]:
    """Return log integral (p - q)^2 dx, nats, each mixture in its own frame.

    Rounding leaves a floor near 1e-7 of integral p^2 (float32). One of the two may have collapsed to any
    scale; were it both, their overlap would underflow in data units and the result would be NaN.
    Reference: the metric of Shumailov et al. (2024), Gaussian mixture experiment.
    """
    p_p = log_overlap(p, p) - jnp.sum(p_frame.log_scale)
    q_q = log_overlap(q, q) - jnp.sum(q_frame.log_scale)
    if p_frame.origin is None and q_frame.origin is None:
        p_q = log_overlap(in_data_units(p, p_frame), in_data_units(q, q_frame))
    else:  # data units do not hold them: about the origin of p, in units of the larger scale
        unit = jnp.maximum(jnp.max(p_frame.log_scale), jnp.max(q_frame.log_scale))
        there = _in_units(q, q_frame, unit)
        beyond = jnp.exp(-unit) * frames.gap(p_frame, q_frame)
        there = there._replace(means=there.means + beyond[None])
        p_q = log_overlap(_in_units(p, p_frame, unit), there) - p.means.shape[1] * unit
    top = jnp.maximum(p_p, q_q)
    difference = jnp.exp(p_p - top) + jnp.exp(q_q - top) - 2 * jnp.exp(p_q - top)
    return top + jnp.log(jnp.maximum(difference, jnp.finfo(difference.dtype).eps))


def gaussian_w2(
    mean_p: Float[Array, " dim"],
    tril_p: Float[Array, "dim dim"],
    mean_q: Float[Array, " dim"],
    tril_q: Float[Array, "dim dim"],
) -> Float[Array, ""]:
    """Return the squared Wasserstein-2 distance of two Gaussians, squared data units.

    |m - m'|^2 + tr S + tr S' - 2 tr (S^1/2 S' S^1/2)^1/2; the last trace is the nuclear norm of L'L'.
    Reference: Gelbrich (1990).

    >>> float(gaussian_w2(jnp.zeros(1), jnp.eye(1), jnp.ones(1), 2 * jnp.eye(1)))
    2.0
    """
    cross = jnp.matmul(tril_p.T, tril_q, precision=_HIGHEST)
    if cross.shape[0] == 2:
        determinant = cross[0, 0] * cross[1, 1] - cross[0, 1] * cross[1, 0]
        nuclear = jnp.sqrt(jnp.sum(cross**2) + 2 * jnp.abs(determinant))
    else:
        nuclear = nuclear_norm(cross)
    squares = jnp.sum((mean_p - mean_q) ** 2) + jnp.sum(tril_p**2) + jnp.sum(tril_q**2)
    return jnp.maximum(squares - 2 * nuclear, 0.0)
