"""The two ceilings of a machine: operations of a large matrix product, and bytes of memory, a second."""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from sides import REPEATS

_SIDE, _NUMBERS = 2048, 2**26  # of a product's square operands; of what is read, more than a cache holds


def matmul_peak() -> float:
    """Return GFLOP/s of a large float32 matrix product."""
    square = jnp.ones((_SIDE, _SIDE))
    return 2 * _SIDE**3 / _seconds(lambda: _multiplied(square)) / 1e9


def reading_rate() -> float:
    """Return GB/s at which float32 numbers are read from memory: a sum of more than the caches hold."""
    numbers = jnp.ones(_NUMBERS)
    return 4 * _NUMBERS / _seconds(lambda: _total(numbers)) / 1e9


@jax.jit
def _multiplied(square: jax.Array) -> jax.Array:
    return square @ square


@jax.jit
def _total(numbers: jax.Array) -> jax.Array:
    # by blocks, each of which one core reads
    return numbers.reshape(64, -1).sum(1)


def _seconds(function: Callable[[], jax.Array]) -> float:
    """Return the median seconds of warm calls."""
    jax.block_until_ready(function())
    taken = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        jax.block_until_ready(function())
        taken.append(time.perf_counter() - begun)
    return float(np.median(taken))
