"""Diffusion and flow models whose score is exact: the two ends between which a trained net lies.

`linear_score`: the score of the Gaussian fitted to the data, an affine function; what one generation does to it is the
sampler's doing alone (`theory.samplers`). `kernel_score`: the score of the data themselves, which unlimited capacity
would learn; solved exactly down to a time t_0 it is a kernel density estimate, with t_0 = 0 the bootstrap.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from collapse_jax.core.data import Samples
from collapse_jax.core.data_checks import need_data_units, points_of
from collapse_jax.core.protocol import Model
from collapse_jax.core.statistics import Moments
from collapse_jax.models.gaussian import GaussianParams, gaussian, normal_moments
from collapse_jax.numerics import frame as frames
from collapse_jax.numerics.sampling import weighted_indices
from collapse_jax.numerics.solvers import Choice, Place, Sampler, noise_at
from collapse_jax.numerics.triangular import inverse, join_factors
from collapse_jax.types import Array, ArrayLike, Key
from collapse_jax.validation import check_choice, static_size

_HIGHEST = jax.lax.Precision.HIGHEST


def linear_score(
    dim: int,
    *,
    solver: Choice = "ddim",
    schedule: Choice = "linear",
    num_steps: ArrayLike = 100,
    stop: ArrayLike = 0.0,
    draws: str = "statistics",
    estimator: str = "mle",
) -> Model:
    """Return the model of a Gaussian fitted to the data and drawn by a solver of its exact, affine score.

    Variances are in the units of the data: scale these as a net would see them.

    Args:
        dim: d.
        solver: "ddim", "ddpm" (noise of variance beta, none in the last step), "ddpm-noisy" (in the last, too),
            "ddpm-tilde" (the posterior's variance), "euler", "heun", or "exact", infinitely many steps; or its place in
            `numerics.solvers.SOLVERS`, which may be traced.
        schedule: "linear" or "cosine" for the first, "flow" or "edm" for euler and heun, any for exact; or its place in
            `numerics.solvers.SCHEDULES`, which may be traced.
        num_steps: of the solver, at least 2; may be traced.
        stop: the time at which it stops: a share of all times (linear, cosine), 1 - t (flow), the noise (edm); may be
            traced.
        draws: "statistics", mean and scatter of M draws, from their exact law, whatever M is; or "points".
        estimator: of the covariance, "mle" or "unbiased".

    Returns:
        A model whose fit reports `rank`, the number of directions alive.

    Raises:
        ValueError: an option out of range, a schedule that the solver does not take, or data far from 0 for
            their spread.

    >>> from collapse_jax import build_chain, gaussian_truth, replace
    >>> model = linear_score(1, solver="heun", schedule="edm", num_steps=18)
    >>> chain = build_chain(model, replace(), gaussian_truth(1).moments_sampler(10**6), num_samples=10**6)
    >>> state, _ = chain.init(jax.random.key(0))
    >>> float(state.synthetic.factor[0, 0] ** 2 / 1e6).__round__(1)
    1.1
    """
    check_choice("draws", draws, ("statistics", "points"))
    fitted = gaussian(dim, estimator=estimator)
    sampler, is_exact = _sampler(solver, schedule, num_steps, stop)

    def init(key: Key, real: Any) -> GaussianParams:
        need_data_units(real, "linear_score()")
        return fitted.init(key, real)

    def sample(key: Key, params: GaussianParams, num_samples: ArrayLike) -> Samples | Moments:
        shift, factor = _passed(params, sampler, is_exact)
        if draws == "points":
            rows = jax.random.normal(key, (static_size(num_samples), dim))
            rows = shift[None] + jnp.matmul(rows, factor.T, precision=_HIGHEST)
            return Samples(rows, jnp.ones(rows.shape[0]), params.frame)
        drawn = normal_moments(key, num_samples, jnp.ones_like(params.alive))
        mean = shift + jnp.matmul(factor, drawn.mean, precision=_HIGHEST)
        scatter = join_factors(jnp.matmul(factor, drawn.factor, precision=_HIGHEST))
        return Moments(drawn.weight, mean, scatter, params.frame)

    return Model(init, fitted.fit, sample, frame=fitted.frame)


@jax.custom_batching.sequential_vmap
def _svd(matrix: Float[Array, "dim dim"]) -> tuple[Array, Array, Array]:
    """Return U, s and V' with U diag(s) V' = matrix, one matrix at a time.

    Batches are divided among the threads that call LAPACK: with JAX 0.10 on CPUs two at once wait for each other for
    ever. The calls of 0.11 wait for nobody.
    """
    left, values, right = jnp.linalg.svd(matrix)
    return left, values, right


def _sampler(solver: Choice, schedule: Choice, num_steps: ArrayLike, stop: ArrayLike) -> tuple[Sampler, bool]:
    """Return the sampler, and whether it is to be solved exactly: then of it only the path counts."""
    is_exact = isinstance(solver, str) and solver == "exact"
    on_path = "euler" if isinstance(schedule, str) and schedule in ("flow", "edm") else "ddim"
    return Sampler(on_path if is_exact else solver, schedule, num_steps, stop).checked(), is_exact


def _passed(params: GaussianParams, sampler: Sampler, is_exact: bool) -> tuple[Array, Array]:
    """Return mean and factor of what the sampler draws, in the coordinates of the fitted Gaussian."""
    mean, axes = frames.location(params.frame), frames.axes(params.frame)
    if mean.shape[0] == 1:
        across, along = jnp.ones((1, 1)), jnp.ones((1, 1))
        spread = (axes * params.alive[None])[0]
    else:
        across, spread, along = _svd(axes * params.alive[None])
    first, last = sampler.place(0), noise_at(sampler)
    gain, added = _exactly(spread, sampler) if is_exact else _step_by_step(spread, sampler)
    drawn = jnp.sqrt((gain * sampler.start) ** 2 + added)  # standard deviation along each principal axis
    moved = (last.signal - 1 - gain * first.signal) * jnp.matmul(mean, across, precision=_HIGHEST)
    # an axis that is alive: in units of its own spread; one that is not: by the frame, whose scale it keeps
    is_alive = spread > 0
    own = along.T / jnp.where(is_alive, spread, 1.0)[None]
    back = inverse(params.frame.unit_tril) * jnp.exp(-params.frame.log_scale)[:, None]
    by_frame = jnp.matmul(back, across, precision=_HIGHEST)
    to_local = jnp.where(is_alive[None], own, jnp.where(drawn[None] > 0, by_frame, 0.0))
    return jnp.matmul(to_local, moved, precision=_HIGHEST), to_local * drawn[None]


def _step_by_step(spread: Array, sampler: Sampler) -> tuple[Array, Array]:
    """Return the factor of x - a m over all steps, and the variance of the noise that they added."""

    def predict(centred: Array, place: Place) -> tuple[Array, Array]:
        total = (place.signal * spread) ** 2 + place.noise**2
        total = jnp.where(total > 0, total, 1.0)
        return place.signal * spread**2 / total * centred, place.noise / total * centred

    def body(index: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        gain, added = carry
        factor, noise = sampler.step(predict, jnp.ones_like(spread), index)
        return factor * gain, factor**2 * added + noise**2

    return jax.lax.fori_loop(0, sampler.num_steps, body, (jnp.ones_like(spread), jnp.zeros_like(spread)))


def _exactly(spread: Array, sampler: Sampler) -> tuple[Array, Array]:
    """Return what infinitely many steps do."""
    first, last = sampler.place(0), noise_at(sampler)
    before = jnp.sqrt((first.signal * spread) ** 2 + first.noise**2)
    after = jnp.sqrt((last.signal * spread) ** 2 + last.noise**2)
    return after / before, jnp.zeros_like(spread)


class KernelScoreParams(NamedTuple):
    """The data themselves, in data units.

    Attributes:
        points: a row each.
        weight: how much each counts.
    """

    points: Float[Array, "num_rows dim"]
    weight: Float[Array, " num_rows"]


def kernel_score(
    *, solver: str = "exact", schedule: str = "linear", num_steps: ArrayLike = 100, stop: ArrayLike = 0.0
) -> Model:
    """Return the model whose score is that of its own training points: what a net of unlimited capacity learns.

    Solved exactly, a draw is a x_i + s z at the time at which it stops: a kernel density estimate of bandwidth s,
    shrunk towards 0 by a. With `stop` 0 it copies its training points.

    Args:
        solver: "exact", or one of those of `linear_score`, which costs num_steps * M^2 * d a generation.
        schedule: as for `linear_score`.
        num_steps: of the solver.
        stop: as for `linear_score`; may be traced.

    Raises:
        ValueError: an option out of range, a schedule that the solver does not take, or data far from 0 for
            their spread.
    """
    sampler, is_exact = _sampler(solver, schedule, num_steps, stop)

    def init(key: Key, real: Samples) -> KernelScoreParams:
        need_data_units(real, "kernel_score()")
        return KernelScoreParams(*points_of(real, "kernel_score()"))

    def fit(key: Key, params: KernelScoreParams, data: Samples) -> tuple[KernelScoreParams, dict[str, Array]]:
        return KernelScoreParams(*points_of(data, "kernel_score()")), {}

    def sample(key: Key, params: KernelScoreParams, num_samples: int) -> Samples:
        num, dim = static_size(num_samples), params.points.shape[1]
        key_first, key_noise = jax.random.split(key)
        noise = jax.random.normal(key_noise, (num, dim))
        if is_exact:
            last = noise_at(sampler)
            chosen = params.points[weighted_indices(key_first, params.weight, num)]
            rows = last.signal * chosen + last.noise * noise
        else:
            rows = sampler.draw(key_first, lambda x, place: _posterior(params, x, place), noise)
        return Samples(rows, jnp.ones(num))

    return Model(init, fit, sample)


def _posterior(params: KernelScoreParams, x: Array, place: Place) -> tuple[Array, Array]:
    """Return E(x_i | x) and E(z | x) where x = a x_i + s z and i is one of the points."""
    noise = jnp.maximum(place.noise, 1e-6)
    scaled = place.signal * params.points
    squares = jnp.sum(x**2, axis=1)[:, None] + jnp.sum(scaled**2, axis=1)[None]
    gaps = squares - 2 * jnp.matmul(x, scaled.T, precision=_HIGHEST)
    share = jax.nn.softmax(jnp.log(params.weight)[None] - gaps / (2 * noise**2), axis=1)
    clean = jnp.matmul(share, params.points, precision=_HIGHEST)
    return clean, (x - place.signal * clean) / noise
