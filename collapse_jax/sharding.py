"""Where arrays live: the lanes of a chain, and the weights and minibatches of a large model.

Seeds are independent, so each device runs the same program on its own block of lanes (`shard_map`),
with nothing to say to the others. A model too large for that is one program over all devices: its arrays are
placed (`NamedSharding`), and XLA adds what the devices have to say to each other. Called by `drivers` and
`models.language`.
"""

from collections.abc import Sequence
from functools import lru_cache

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from collapse_jax.types import PyTree

LANES = "lanes"
ROWS = "rows"


def lane_mesh(num_blocks: int, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Return a mesh of at most `num_blocks` of the devices, by default those of this process, along the axis `LANES`.

    >>> dict(lane_mesh(1).shape)
    {'lanes': 1}
    """
    chosen = tuple(jax.local_devices() if devices is None else devices)[:num_blocks]
    return _mesh(chosen, LANES)


def model_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Return a mesh of all given devices, by default all there are, along the axis `ROWS`.

    >>> model_mesh(jax.devices()[:1]).axis_names
    ('rows',)
    """
    return _mesh(tuple(jax.devices() if devices is None else devices), ROWS)


def replicated(tree: PyTree, mesh: Mesh) -> PyTree:
    """Return arrays of which every device of the mesh holds a copy: weights of a data-parallel model."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def by_rows(tree: PyTree, mesh: Mesh) -> PyTree:
    """Return arrays whose first axis is spread over the mesh: a minibatch.

    Raises:
        ValueError: the first axis does not divide by the number of devices.
    """
    num_devices = mesh.shape[ROWS]
    for leaf in jax.tree.leaves(tree):
        if leaf.shape[0] % num_devices:
            raise ValueError(
                f"{leaf.shape[0]} rows do not divide among {num_devices} devices; choose a multiple."
            )
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec(ROWS)))


def fully_sharded(tree: PyTree, mesh: Mesh) -> PyTree:
    """Return arrays each spread over the mesh along its longest axis that divides; small ones are copied.

    Weights, gradients and optimiser state then take a device's share of memory, and a layer's weights are gathered
    when it is computed.
    """
    num_devices = mesh.shape[ROWS]

    def place(leaf: jax.Array) -> NamedSharding:
        divides = [size if size % num_devices == 0 else 0 for size in leaf.shape]
        if max(divides, default=0) == 0:
            return NamedSharding(mesh, PartitionSpec())
        axis = divides.index(max(divides))
        return NamedSharding(mesh, PartitionSpec(*[None] * axis, ROWS))

    return jax.device_put(tree, jax.tree.map(place, tree))


@lru_cache
def _mesh(devices: tuple[jax.Device, ...], axis: str) -> Mesh:
    return Mesh(np.array(devices), (axis,), axis_types=(jax.sharding.AxisType.Auto,))
