"""Meshes: where the lanes of a chain run.

Seeds are independent, so each device runs the same program on its own block of lanes (`shard_map`),
with nothing to say to the others. Called by `drivers`.
"""

from collections.abc import Sequence
from functools import lru_cache

import jax
import numpy as np

LANES = "lanes"


def lane_mesh(num_blocks: int, devices: Sequence[jax.Device] | None = None) -> jax.sharding.Mesh:
    """Return a mesh of at most `num_blocks` of the devices, along the axis `LANES`.

    >>> dict(lane_mesh(1).shape)
    {'lanes': 1}
    """
    chosen = tuple(jax.devices() if devices is None else devices)[:num_blocks]
    return _mesh(chosen)


@lru_cache
def _mesh(devices: tuple[jax.Device, ...]) -> jax.sharding.Mesh:
    return jax.sharding.Mesh(np.array(devices), (LANES,), axis_types=(jax.sharding.AxisType.Auto,))
