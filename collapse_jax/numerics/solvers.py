"""Solvers of diffusion and flow models: from noise to data along a schedule, for anything that predicts both.

At every place of the path a noised datum is a x + s z, with signal a and noise s. A solver asks `predict` for its
estimates of x and of z there, and goes to the next place. The numbers of steps, the time at which it stops, and, given
as places in the tuples below, solver and schedule may be traced.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.types import Array, ArrayLike, Key
from collapse_jax.validation import check_choice, check_count, check_positive, is_concrete, shown

SCHEDULES = ("linear", "cosine", "flow", "edm")
SOLVERS = ("ddim", "ddpm", "ddpm-noisy", "ddpm-tilde", "euler", "heun")
NUM_TIMES = 1000  # of "linear" and "cosine"
MOST_NOISE = 80.0  # of "edm"
_LEAST_NOISE, _RHO = 0.002, 7.0

Choice = str | ArrayLike  # a name, or its place among all, which may be traced


class Place(NamedTuple):
    """A place on the path from noise to data: a noised datum is signal * x + noise * z."""

    signal: Array
    noise: Array


Predict = Callable[[Array, Place], tuple[Array, Array]]  # noised data -> estimates of x and of z


class Sampler(NamedTuple):
    """A solver on its way.

    Attributes:
        solver: one of `SOLVERS`, or its place there.
        schedule: one of `SCHEDULES`, or its place there.
        num_steps: of the solver, at least 2.
        stop: the time at which it stops: a share of all times (linear, cosine), 1 - t (flow), the noise (edm).
    """

    solver: Choice = "ddim"
    schedule: Choice = "linear"
    num_steps: ArrayLike = 100
    stop: ArrayLike = 0.0

    def checked(self) -> "Sampler":
        """Return the sampler.

        Raises:
            ValueError: a number out of range, or a schedule that the solver does not take.
        """
        solver, schedule = _named("solver", self.solver, SOLVERS), _named("schedule", self.schedule, SCHEDULES)
        steps: Any = self.num_steps
        if hasattr(steps, "dtype") and is_concrete(steps) and np.asarray(steps).dtype.kind in "iu" and not steps.ndim:
            steps = int(steps)
        check_count("num_steps", steps, minimum=2, maximum=100_000)
        check_positive("stop", self.stop, or_zero=True)
        if isinstance(schedule, str) and is_concrete(self.stop):
            most = MOST_NOISE if schedule == "edm" else 1.0
            if not 0 <= float(np.asarray(self.stop)) < most:
                raise ValueError(
                    f"`stop` must be in [0, {most:g}) for the schedule '{schedule}', got {self.stop}; 0 goes to "
                    "the end."
                )
        if isinstance(solver, str) and isinstance(schedule, str):
            is_discrete = solver.startswith("dd")
            if is_discrete != (schedule in ("linear", "cosine")):
                ask = "linear or cosine" if is_discrete else "flow or edm"
                raise ValueError(
                    f"`solver` '{solver}' does not take the `schedule` '{schedule}'; give {ask}."
                )
        return self._replace(solver=solver, schedule=schedule)

    def place(self, index: ArrayLike) -> Place:
        """Return the place before step `index`; that of `num_steps` is the last."""
        found = [make(jnp.asarray(index), jnp.asarray(self.num_steps), self.stop) for make in _pick(self.schedule)]
        return Place(*(_select(self.schedule, SCHEDULES, column) for column in zip(*found)))

    @property
    def start(self) -> Array:
        """Standard deviation of what a path begins with."""
        of_each = jnp.where(np.array(SCHEDULES) == "edm", MOST_NOISE, 1.0)
        return of_each[SCHEDULES.index(self.schedule) if isinstance(self.schedule, str) else self.schedule]

    def step(self, predict: Predict, x: Array, index: Array) -> tuple[Array, Array]:
        """Return where step `index` leads from x, and the standard deviation of the noise that it adds there."""
        here, there = self.place(index), self.place(index + 1)
        clean, noise = predict(x, here)
        straight = there.signal * clean + there.noise * noise
        none = jnp.zeros(())
        ways = {"ddim": (straight, none), "euler": (straight, none)}
        if self._may_be("heun"):
            clean_there, noise_there = predict(straight, there)
            change = (there.signal - here.signal) * (clean + clean_there)
            change = change + (there.noise - here.noise) * (noise + noise_there)
            # the noise alone says where edm's last step goes
            is_last = (there.signal == here.signal) & (there.noise == 0)
            ways["heun"] = (jnp.where(is_last, straight, x + change / 2), none)
        if any(self._may_be(name) for name in SOLVERS if name.startswith("ddpm")):
            # 1 - (a / a')^2 where a^2 + s^2 = 1, without cancelling
            beta = (here.noise - there.noise) * (here.noise + there.noise) / there.signal**2
            tilde = beta * (there.noise / here.noise) ** 2
            kept = jnp.sqrt(jnp.maximum(there.noise**2 - tilde, 0.0))
            mean, large = there.signal * clean + kept * noise, jnp.sqrt(beta)
            is_end = index + 1 == jnp.asarray(self.num_steps)
            ways |= {
                "ddpm": (mean, jnp.where(is_end, 0.0, large)),
                "ddpm-noisy": (mean, large),
                "ddpm-tilde": (mean, jnp.sqrt(tilde)),
            }
        names = [self.solver] if isinstance(self.solver, str) else SOLVERS
        means, spreads = zip(*(ways[name] for name in names))
        return _select(self.solver, SOLVERS, means), _select(self.solver, SOLVERS, spreads)

    def draw(self, key: Key, predict: Predict, x: Array) -> Array:
        """Return data, from standard normal x of their shape.

        Args:
            key: of the noise that a solver adds; step i uses `fold_in(key, i)`.
            predict: (noised data, place) -> (estimate of the data, estimate of the noise in them).
            x: where the path begins.
        """

        def body(index: Array, x: Array) -> Array:
            mean, spread = self.step(predict, x, index)
            if isinstance(self.solver, str) and not self.solver.startswith("ddpm"):
                return mean
            return mean + spread * jax.random.normal(jax.random.fold_in(key, index), x.shape, x.dtype)

        return jax.lax.fori_loop(0, self.num_steps, body, self.start.astype(x.dtype) * x)

    def _may_be(self, name: str) -> bool:
        return self.solver == name if isinstance(self.solver, str) else True


def _named(name: str, given: Choice, names: tuple[str, ...]) -> Choice:
    """Return a choice by its name; a traced place among all stays what it is."""
    if isinstance(given, str):
        return check_choice(name, given, names)
    if not is_concrete(given):
        return given
    place = np.asarray(given)
    if place.ndim or place.dtype.kind not in "iu":  # of all choices, as a sweep numbers them
        raise TypeError(f"`{name}` must be one of {', '.join(names)}, got {shown(given)}.")
    return names[check_count(name, int(place), minimum=0, maximum=len(names) - 1)]


def noise_at(sampler: Sampler) -> Place:
    """Return the place where a sampler stops."""
    return sampler.place(sampler.num_steps)


def _discrete(schedule: str) -> tuple[np.ndarray, np.ndarray]:
    """Return signal and noise at times 0 to 1,000, from data to noise."""
    if schedule == "linear":
        beta = np.linspace(1e-4, 0.02, NUM_TIMES)
    else:
        angle = (np.arange(NUM_TIMES + 1) / NUM_TIMES + 0.008) / 1.008 * np.pi / 2
        beta = np.minimum(1 - np.cos(angle[1:]) ** 2 / np.cos(angle[:-1]) ** 2, 0.999)
    log_kept = np.append(0.0, np.cumsum(np.log1p(-beta)))
    return np.exp(log_kept / 2), np.sqrt(-np.expm1(log_kept))


def _in_discrete_time(schedule: str) -> Callable[..., Place]:
    signal, noise = _discrete(schedule)

    def at(index: Array, num_steps: Array, stop: ArrayLike) -> Place:
        last = jnp.round(jnp.asarray(stop) * NUM_TIMES).astype(jnp.int32)
        left, gaps = num_steps - 1 - index, num_steps - 1
        time = last + 1 + (2 * left * (NUM_TIMES - 1 - last) + gaps) // (2 * gaps)  # evenly, halves up
        time = jnp.where(index >= num_steps, last, time)
        return Place(jnp.asarray(signal, float)[time], jnp.asarray(noise, float)[time])

    return at


def _flow(index: Array, num_steps: Array, stop: ArrayLike) -> Place:
    signal = (1 - jnp.asarray(stop, float)) * index / num_steps
    return Place(signal, 1 - signal)


def _edm(index: Array, num_steps: Array, stop: ArrayLike) -> Place:
    last = jnp.asarray(stop, float)
    gaps = jnp.where(last > 0, num_steps, num_steps - 1)
    end = jnp.where(last > 0, last, _LEAST_NOISE) ** (1 / _RHO)
    noise = (MOST_NOISE ** (1 / _RHO) + index / gaps * (end - MOST_NOISE ** (1 / _RHO))) ** _RHO
    noise = jnp.where(index >= num_steps, last, noise)
    return Place(jnp.ones_like(noise), noise)


_PLACES = {"linear": _in_discrete_time("linear"), "cosine": _in_discrete_time("cosine"), "flow": _flow, "edm": _edm}


def _pick(schedule: Choice) -> list[Callable[..., Place]]:
    """Return the schedule of a name, or all of them."""
    return [_PLACES[schedule]] if isinstance(schedule, str) else [_PLACES[name] for name in SCHEDULES]


def _select(choice: Choice, names: tuple[str, ...], values: tuple) -> Array:
    """Return the value of a choice: the only one of a name, or that in a traced place."""
    if isinstance(choice, str):
        return jnp.asarray(values[0])
    return jnp.select([jnp.asarray(choice) == place for place in range(len(names))], jnp.broadcast_arrays(*values))
