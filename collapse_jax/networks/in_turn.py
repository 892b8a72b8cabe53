"""Lanes one after the other where a device has caches, not cores to fill: on CPUs.

What a net makes of one lane's minibatch fits a CPU's cache, what it makes of five lanes' does not: in turn, a small OPT
is trained in 0.86 and sampled from in 0.78 of the time that all lanes together take, in less than half of the memory.
"""

from collections.abc import Callable

import jax
from jax.custom_batching import sequential_vmap

from collapse_jax.types import PyTree


def in_turn(
    function: Callable[..., PyTree], together: Callable[..., PyTree] | None = None
) -> Callable[..., PyTree]:
    """Return `function`, of which `vmap` runs one lane after the other on CPUs, and all together elsewhere.

    Args:
        function: of arrays, which must all be its arguments: none that is mapped over may be closed over.
        together: the same, as it is computed where lanes run together; default `function`.
    """
    once = jax.jit(function)  # traced once for both
    alone, together = sequential_vmap(once), together or once
    return lambda *args: jax.lax.platform_dependent(*args, cpu=alone, default=together)
