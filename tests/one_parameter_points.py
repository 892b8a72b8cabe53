"""Statistics of explicit points of the one-parameter families."""

import jax
import jax.numpy as jnp

from collapse_jax.core.statistics import Sums
from collapse_jax.models.one_parameter import Largest

SIZE, RATE = 7, 0.4


def real_points(name, size=SIZE):
    """Return the function key -> the statistic of `size` explicit real points."""

    def draw(key):
        weight = jnp.asarray(float(size))
        if name == "exponential":
            return Sums(weight, jnp.sum(jax.random.exponential(key, (size,))))
        if name == "uniform":
            return Largest(weight, jnp.max(jax.random.uniform(key, (size,))))
        return Sums(weight, jnp.sum(jax.random.poisson(key, RATE, (size,)).astype(float)))

    return draw
