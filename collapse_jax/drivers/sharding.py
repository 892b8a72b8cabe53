"""Where arrays live: the lanes of a chain, and the weights and minibatches of a large model.

Seeds are independent, so each device runs the same program on its own block of lanes (`shard_map`),
with nothing to say to the others. A model too large for that is one program over all devices, of several processes
if need be: its arrays are placed (`NamedSharding`), and XLA adds what the devices have to say to each other. Every
process then runs the same program on the same values.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from collapse_jax.types import PyTree
from collapse_jax.validation import check_kind, check_list

LANES = "lanes"
ROWS = "rows"


def lane_mesh(num_blocks: int, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Return a mesh of at most `num_blocks` of the devices, by default those of this process, along the axis `LANES`.

    >>> dict(lane_mesh(1).shape)
    {'lanes': 1}
    """
    chosen = tuple(jax.local_devices() if devices is None else _known(devices))[:num_blocks]
    return _mesh(chosen, LANES)


def model_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Return a mesh of all given devices, by default all there are, along the axis `ROWS`.

    >>> model_mesh(jax.devices()[:1]).axis_names
    ('rows',)
    """
    return _mesh(tuple(jax.devices() if devices is None else _known(devices)), ROWS)


def _known(devices: Sequence[jax.Device]) -> Sequence[jax.Device]:
    """Return devices, at least one."""
    devices = check_list("devices", devices, "jax.devices()")
    for device in devices:
        check_kind("devices", device, jax.Device, "take them from jax.devices()")
    if not devices:
        raise ValueError("`devices` must hold at least one device, got none; leave it out for all there are.")
    return devices


def replicated(tree: PyTree, mesh: Mesh) -> PyTree:
    """Return arrays of which every device of the mesh holds a copy: weights of a data-parallel model."""
    everywhere = NamedSharding(mesh, PartitionSpec())
    return _put(tree, jax.tree.map(lambda leaf: everywhere, tree))


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
    split = NamedSharding(mesh, PartitionSpec(ROWS))
    return _put(tree, jax.tree.map(lambda leaf: split, tree))


def fully_sharded(tree: PyTree, mesh: Mesh) -> PyTree:
    """Return a tree whose matrices are each spread over the mesh, along its longest axis that divides; the rest copied.

    Weights, gradients and optimiser state then take a device's share of memory, and a layer's weights are gathered
    when it is computed.
    """
    return _put(tree, jax.tree.map(lambda leaf: sharding_of(leaf, mesh), tree))


def sharding_of(leaf: Any, mesh: Mesh) -> NamedSharding:
    """Return how `fully_sharded` spreads an array, or whatever has a shape and a type.

    >>> tuple(sharding_of(np.ones((3, 4)), model_mesh(jax.devices()[:1])).spec)
    (None, 'rows')
    >>> tuple(sharding_of(np.arange(4), model_mesh(jax.devices()[:1])).spec)
    ()
    """
    divides = [size if size % mesh.shape[ROWS] == 0 else 0 for size in np.shape(leaf)]
    is_matrix = len(divides) > 1 and jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
    if not is_matrix or max(divides) == 0:
        return NamedSharding(mesh, PartitionSpec())
    return NamedSharding(mesh, PartitionSpec(*[None] * divides.index(max(divides)), ROWS))


class Layout(NamedTuple):
    """Where a large model's arrays lie.

    Attributes:
        mesh: from `model_mesh`; None leaves every array where the driver has it.
        place: of weights and all that is kept beside them: `replicated` or `fully_sharded`.
    """

    mesh: Mesh | None = None
    place: Callable[[PyTree, Mesh], PyTree] = replicated

    def state(self, tree: PyTree) -> PyTree:
        """Return weights, or whatever is kept beside them, in their places."""
        return tree if self.mesh is None else self.place(tree, self.mesh)

    def compiled(self, function: Callable[..., PyTree]) -> Callable[..., PyTree]:
        """Return a program whose arguments and results are in their places, wherever the arguments come from.

        A state read from a file lies elsewhere than the one that was written; sums would be split in other ways.
        """
        program = jax.jit(lambda *args: self.state(function(*args)))
        return program if self.mesh is None else lambda *args: program(*self.state(args))

    def rows(self, tree: PyTree) -> PyTree:
        """Return a minibatch spread over the devices."""
        return tree if self.mesh is None else by_rows(tree, self.mesh)

    def everywhere(self, tree: PyTree) -> PyTree:
        """Return arrays copied to every device, so that every process can read them."""
        return tree if self.mesh is None else replicated(tree, self.mesh)


def readable(array: PyTree) -> PyTree:
    """Return an array that this process can read: one in parts on several processes' devices is gathered.

    All processes must come here with it.
    """
    if isinstance(array, jax.Array) and not (array.is_fully_addressable or array.is_fully_replicated):
        from jax.experimental import multihost_utils

        return multihost_utils.process_allgather(array, tiled=True)
    return array


def _put(tree: PyTree, places: PyTree) -> PyTree:
    """Return arrays in their places; within a program this binds the compiler."""
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(tree))

    def put(leaf: Any, place: NamedSharding) -> Any:
        is_key = jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key)
        if isinstance(leaf, int) or is_key:
            return leaf  # XLA puts copies where they are needed
        if traced:
            return jax.device_put(leaf, place)
        if isinstance(leaf, jax.Array) and leaf.sharding.is_equivalent_to(place, leaf.ndim):
            return leaf
        if place.is_fully_addressable or not getattr(leaf, "is_fully_addressable", True):
            # one after the other: on a CPU two programs that each wait for all devices may wait for each other
            return jax.block_until_ready(jax.device_put(leaf, place))
        # every process has the value and gives its devices their parts; device_put would first compare all values
        # over the network, and what it makes of a JAX array cannot be taken apart (JAX 0.10.2)
        value = np.asarray(leaf)
        return jax.make_array_from_callback(value.shape, place, lambda where: value[where])

    return jax.tree.map(put, tree, places)


@lru_cache
def _mesh(devices: tuple[jax.Device, ...], axis: str) -> Mesh:
    return Mesh(np.array(devices), (axis,), axis_types=(jax.sharding.AxisType.Auto,))
