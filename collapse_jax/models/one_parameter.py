"""One-parameter families refitted to their own draws: exponential, Poisson, uniform.

Each draws the sufficient statistic of M virtual points exactly: a sum, a sum, a maximum. Scale families are
followed by the log of their scale, so that nothing underflows.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from collapse_jax.core.data_checks import kind_of
from collapse_jax.core.protocol import Metric, Model
from collapse_jax.core.statistics import Sums, need_sums, pooled
from collapse_jax.numerics.frame import Frame, advance, data_frame
from collapse_jax.numerics.threefry import as_jax
from collapse_jax.types import Array, ArrayLike, Key
from collapse_jax.validation import check_float32_count


class Largest(NamedTuple):
    """The weight of some points and the largest of them, in units of `frame`'s scale."""

    weight: Float[Array, ""]
    value: Float[Array, ""]
    frame: Frame | None = None

    @property
    def num_rows(self) -> int:
        """No slots: a store needs no room."""
        return 0

    @property
    def total_weight(self) -> Array:
        """How many points there are."""
        return self.weight

    def merge(self, other: "Largest") -> "Largest":
        """Return the largest of the pooled points."""
        pooled(self, other)
        return Largest(self.weight + other.weight, jnp.maximum(self.value, other.value), self.frame)

    def reserve(self, capacity: int) -> "Largest":
        """Return the maximum as it is: it needs no room."""
        return self

    def append(self, batch: "Largest", start: Int[Array, ""]) -> "Largest":
        """Return the larger of the two."""
        return self.merge(batch)

    def follow(self, frame: Frame) -> "Largest":
        """Return the maximum in units of the new scale."""
        return Largest(self.weight, self.value / frame.ratio[0, 0], frame)

    def scale(self, factor: ArrayLike) -> "Largest":
        """Return the largest of points each standing for `factor` times as many; of none it is 0."""
        weight = self.weight * factor
        return Largest(weight, jnp.where(weight > 0, self.value, 0.0), self.frame)

    def enter(self, frame: Frame | None) -> "Largest":
        """Return a maximum given in data units in units of `frame`'s scale."""
        return (
            self if frame is None else Largest(self.weight, self.value * jnp.exp(-frame.log_scale[0]), frame)
        )


def exponential() -> Model:
    """Return the exponential distribution fitted by its mean; the total of M draws is Gamma(M)."""

    def sample(key: Key, frame: Frame, num_samples: ArrayLike) -> Sums:
        weight = jnp.asarray(num_samples, float)
        return Sums(weight, jax.random.gamma(key, weight), frame)

    return Model(_unit_scale, _fit_mean, sample, frame=lambda frame: frame)


def uniform() -> Model:
    """Return the uniform distribution on [0, theta] fitted by its maximum; the largest of M is Beta(M, 1).

    Raises:
        ValueError: when drawn in float32, more than a million points: their maximum is 1 to rounding.
    """

    def fit(key: Key, frame: Frame, data: Largest) -> tuple[Frame, dict[str, Array]]:
        if not isinstance(data, Largest):
            raise TypeError(f"uniform() is fitted to the largest of some points, got {kind_of(data)}; give a Largest.")
        return _rescale(frame, data.value), {}

    def sample(key: Key, frame: Frame, num_samples: ArrayLike) -> Largest:
        weight = jnp.asarray(check_float32_count(num_samples), float)
        # the M-th power of the maximum is uniform
        return Largest(weight, jax.random.uniform(key, minval=1e-30) ** (1 / weight), frame)

    return Model(_unit_scale, fit, sample, frame=lambda frame: frame)


def poisson() -> Model:
    """Return the Poisson distribution fitted by its mean: M times the rate is a critical branching process.

    Raises:
        ValueError: when drawn in float32, more than a million points; their total must stay below it, too.
    """

    def fit(key: Key, rate: Array, data: Sums) -> tuple[Array, dict[str, Array]]:
        need_sums(data, rate, "poisson()")
        return data.values / data.weight, {}

    def sample(key: Key, rate: Array, num_samples: ArrayLike) -> Sums:
        weight = jnp.asarray(check_float32_count(num_samples), float)
        return Sums(weight, jax.random.poisson(as_jax(key), weight * rate).astype(float))

    return Model(lambda key, real: jnp.ones(()), fit, sample)


def log_scale_metric() -> Metric:
    """Return the metric "log of the scale", nats, of `exponential` and `uniform`."""
    return Metric("log_scale", (), "nats", lambda key, snapshot: snapshot.params.log_scale[0])


def _unit_scale(key: Key, real: object) -> Frame:
    return data_frame(1)


def _fit_mean(key: Key, frame: Frame, data: Sums) -> tuple[Frame, dict[str, Array]]:
    need_sums(data, data_frame(1).log_scale[0], "exponential()")
    return _rescale(frame, data.values / data.weight), {}


def _rescale(frame: Frame, ratio: Float[Array, ""]) -> Frame:
    return advance(frame, jnp.zeros(1), ratio[None, None])
