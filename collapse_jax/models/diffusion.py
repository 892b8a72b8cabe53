"""Diffusion and flow models: a net trained on noised data, and a solver that goes from noise to data by it.

A datum at signal a and noise s is x_t = a x + s z. What the net says of x_t is turned into estimates of x and z, which
is all that a solver asks for (`numerics.solvers`). With a = cos p, s = sin p (other paths are scaled to it):

    "noise":     the net says z;                x = (x_t - s z) / a
    "velocity":  the net says v = a z - s x;    x = a x_t - s v,   z = s x_t + a v
    flow:        the net says u = x - z;        x = x_t + s u,     z = x_t - a u,   where a + s = 1
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from collapse_jax.core.data import Samples
from collapse_jax.core.data_checks import need_array, need_data_units
from collapse_jax.core.protocol import Model
from collapse_jax.models.trained import Steps, trained
from collapse_jax.networks.denoisers import Denoiser
from collapse_jax.networks.training import Losses, adam
from collapse_jax.numerics.solvers import NUM_TIMES, Place, Sampler
from collapse_jax.types import Array, ArrayLike, Key, Params
from collapse_jax.validation import (
    check_choice,
    check_count,
    check_fraction,
    check_kind,
    check_positive,
    static_size,
)

_DRAWN_AT_ONCE = 1000  # rows; a net's activations for all of a large data set would fill a memory


class _Saying(NamedTuple):
    """What a net is trained to say, and what that means.

    Attributes:
        place: (key, num) -> places on the path, for training.
        target: (x, z, place) -> what the net is to say.
        estimates: (x_t, what it says, place) -> estimates of x and of z.
    """

    place: Callable[[Key, int], Place]
    target: Callable[[Array, Array, Place], Array]
    estimates: Callable[[Array, Array, Place], tuple[Array, Array]]


def diffusion(
    net: Denoiser,
    *,
    solver: str = "ddim",
    schedule: str = "linear",
    num_steps: ArrayLike = 100,
    stop: ArrayLike = 0.0,
    predicts: str = "noise",
    num_fit_steps: int = 2000,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    average: float = 0.999,
    start: str = "fresh",
) -> Model:
    """Return the model of a diffusion net, trained to say which noise was added, and drawn from by a solver.

    The net sees data as they are: scale them to a variance of about 1.

    Args:
        net: from `mlp_denoiser` or `unet_denoiser`.
        solver: "ddim", "ddpm", "ddpm-noisy" or "ddpm-tilde"; "euler" or "heun" with the schedule "edm".
        schedule: "linear" or "cosine", also what a net is trained along that says the noise; one that says the velocity
            is trained along "cosine", evenly in the angle. With "edm" it is trained on noise of log-normal size (mean
            -1.2, spread 1.2 of its log; Karras et al. 2022).
        num_steps: of the solver, at least 2; may be traced.
        stop: the time at which it stops, as for `linear_score`; may be traced.
        predicts: "noise" (Ho et al. 2020) or "velocity" (Salimans and Ho 2022), which is steadier at both ends.
        num_fit_steps: Adam steps of one fit.
        batch_size: rows of a minibatch, drawn with probability proportional to weight.
        learning_rate: Adam's.
        average: of the weights: those that draw are w <- average w + (1 - average) new; 0 takes the last.
        start: "fresh", a new net every generation, or "warm", the same net trained on.

    Returns:
        A model over rows of `net.size` numbers. Its fit reports `loss`, the mean square error of a number that the net
        says, over the last tenth of the steps.

    Raises:
        ValueError: an option out of range, a schedule that the solver does not take, or rows of another size.
    """
    check_choice("schedule", schedule, ("linear", "cosine", "edm"))
    check_choice("predicts", predicts, ("noise", "velocity"))
    sampler = Sampler(solver, schedule, num_steps, stop).checked()
    # what is said of pure noise is a guess at x, whose error would drown the rest where noise is most of the time
    trains_evenly = predicts == "velocity" and schedule == "linear"
    estimates = _from_noise if predicts == "noise" else _from_velocity
    target = (lambda x, z, place: z) if predicts == "noise" else _velocity
    saying = _Saying(_places("cosine" if trains_evenly else schedule), target, estimates)
    steps = Steps(num_fit_steps, batch_size, start, average=average)
    return _denoising(net, saying, sampler, steps, learning_rate)


def flow_matching(
    net: Denoiser,
    *,
    solver: str = "euler",
    num_steps: ArrayLike = 50,
    stop: ArrayLike = 0.0,
    num_fit_steps: int = 2000,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    average: float = 0.999,
    start: str = "fresh",
) -> Model:
    """Return the model of flow matching on the straight path x_t = t x + (1 - t) z: the net says x - z.

    Args:
        net: from `mlp_denoiser` or `unet_denoiser`.
        solver: "euler" or "heun".
        num_steps: of the solver, at least 2; may be traced.
        stop: 1 - t at which it stops; may be traced.
        num_fit_steps: Adam steps of one fit.
        batch_size: rows of a minibatch, drawn with probability proportional to weight.
        learning_rate: Adam's.
        average: of the weights, as for `diffusion`.
        start: "fresh", a new net every generation, or "warm", the same net trained on.

    Returns:
        A model as of `diffusion`.

    Raises:
        ValueError: an option out of range, or rows of another size than the net's.

    Reference: Lipman et al. (2023).
    """
    check_choice("solver", solver, ("euler", "heun"))
    sampler = Sampler(solver, "flow", num_steps, stop).checked()

    def place(key: Key, num: int) -> Place:
        time = jax.random.uniform(key, (num, 1))
        return Place(time, 1 - time)

    saying = _Saying(place, lambda x, z, place: x - z, _from_flow)
    return _denoising(net, saying, sampler, Steps(num_fit_steps, batch_size, start, average=average), learning_rate)


def _denoising(net: Denoiser, saying: _Saying, sampler: Sampler, steps: Steps, learning_rate: float) -> Model:
    check_kind("net", net, Denoiser, "mlp_denoiser(2) makes one")
    check_count("num_fit_steps", steps.num_steps), check_count("batch_size", steps.batch_size)
    check_positive("learning_rate", learning_rate)
    check_fraction("average", steps.average)
    check_choice("start", steps.start, ("fresh", "warm"))

    def said(params: Params, x: Array, place: Place) -> Array:
        """Return what the net says of noised rows; it sees them scaled, and the angle of the noise."""
        size = jnp.sqrt(place.signal**2 + place.noise**2)
        angle = jnp.broadcast_to(jnp.arctan2(place.noise, place.signal) * 2 / jnp.pi, (x.shape[0], 1))
        return net.apply(params, x / size, angle[:, 0])

    def loss(key: Key, params: Params, x: Array) -> tuple[Array, Losses]:
        key_place, key_noise = jax.random.split(key)
        z, place = jax.random.normal(key_noise, x.shape), saying.place(key_place, x.shape[0])
        noised = place.signal * x + place.noise * z
        value = jnp.mean((said(params, noised, place) - saying.target(x, z, place)) ** 2)
        return value, {"loss": value}

    def init(key: Key, real: Any) -> Params:
        need_data_units(real, "a diffusion model")
        if not hasattr(real, "minibatch"):
            need_array(real, "a diffusion model", "rows of numbers", ndim=2)
        if isinstance(real, Samples):
            need_array(real, "a diffusion model", "rows of numbers", ndim=2)
            if real.x.shape[1] != net.size:
                raise ValueError(
                    f"the net takes rows of {net.size} numbers, got {real.x.shape[1]}; make it of that size, or the "
                    "data."
                )
        return net.init(key)

    def sample(key: Key, params: Params, num_samples: int) -> Samples:
        num = static_size(num_samples)
        batch = min(num, _DRAWN_AT_ONCE)

        def predict(x: Array, place: Place) -> tuple[Array, Array]:
            return saying.estimates(x, said(params, x, place), place)

        def draw(index: Array) -> Array:
            key_first, key_noise = jax.random.split(jax.random.fold_in(key, index))
            return sampler.draw(key_noise, predict, jax.random.normal(key_first, (batch, net.size)))

        rows = jax.lax.map(draw, jnp.arange(-(-num // batch))).reshape(-1, net.size)[:num]
        return Samples(rows, jnp.ones(num))

    # compiled here: the host driver calls it from Python
    drawn = jax.jit(sample, static_argnums=2)
    return Model(init, trained(net.init, loss, adam(learning_rate), steps), drawn)


def _places(schedule: str) -> Callable[[Key, int], Place]:
    """Return (key, num) -> places of a schedule as it is trained: all times alike, or noise of log-normal size."""
    if schedule == "edm":

        def any_noise(key: Key, num: int) -> Place:
            noise = jnp.exp(-1.2 + 1.2 * jax.random.normal(key, (num, 1)))
            return Place(jnp.ones_like(noise), noise)

        return any_noise
    every_time = Sampler("ddim", schedule, NUM_TIMES)

    def any_time(key: Key, num: int) -> Place:
        return every_time.place(jax.random.randint(key, (num, 1), 0, NUM_TIMES))

    return any_time


def _unit(place: Place) -> tuple[Array, Place]:
    """Return the size of a place, and the place scaled to a^2 + s^2 = 1."""
    size = jnp.sqrt(place.signal**2 + place.noise**2)
    return size, Place(place.signal / size, place.noise / size)


def _from_noise(x: Array, said: Array, place: Place) -> tuple[Array, Array]:
    return (x - place.noise * said) / place.signal, said


def _velocity(x: Array, z: Array, place: Place) -> Array:
    _, unit = _unit(place)
    return unit.signal * z - unit.noise * x


def _from_velocity(x: Array, said: Array, place: Place) -> tuple[Array, Array]:
    size, unit = _unit(place)
    return unit.signal * (x / size) - unit.noise * said, unit.noise * (x / size) + unit.signal * said


def _from_flow(x: Array, said: Array, place: Place) -> tuple[Array, Array]:
    return x + place.noise * said, x - place.signal * said
