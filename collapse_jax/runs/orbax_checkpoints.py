"""States whose arrays lie in parts on several devices, on disk: a folder that all processes write together (Orbax).

    CHAIN-genNNNNNNNN.orbax/   the arrays, each process's parts by itself; what they are, as JSON; their check sums

It is whole or not there, and can be read back onto any number of devices and processes.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from collapse_jax.drivers.sharding import fully_sharded, sharding_of
from collapse_jax.files.arrays import Damaged
from collapse_jax.files.reading import check_unpacked, size_of
from collapse_jax.files.writing import PART, put_folder, remove_folder
from collapse_jax.runs.checkpoints import Format, outline, rebuilt
from collapse_jax.runs.processes import Place, all_agree
from collapse_jax.types import Array, PyTree


def orbax_format(mesh: Mesh, place: Place) -> Format:
    """Return the format of states in parts; every process must save and load together with the others.

    Args:
        mesh: the devices of all processes.
        place: of this one.
    """

    def save(path: Path, tree: PyTree, facts: Mapping[str, Any]) -> None:
        save_parts(path, tree, facts, mesh, place)

    def load(path: Path, template: PyTree | None) -> tuple[PyTree, dict[str, Any]]:
        return load_parts(path, template, mesh, place)

    return Format(".orbax", save, load, remove_folder if place.leads else lambda path: None)


def save_parts(path: Path, tree: PyTree, facts: Mapping[str, Any], mesh: Mesh, place: Place) -> None:
    """Write a tree of arrays, each process what lies on its devices.

    Args:
        path: the folder; one of that name is replaced.
        tree: JAX arrays, typed keys among them, Python's numbers and strings.
        facts: what JSON can say of it.
        mesh: the devices of all processes.
        place: of this one.

    Raises:
        ValueError: the folder cannot be written.
    """
    import orbax.checkpoint as ocp  # here: it takes 0.4 s, and few runs need it

    kinds, arrays = zip(*(_taken(leaf) for leaf in jax.tree.leaves(tree)))
    arrays = fully_sharded({f"leaf{i}": array for i, array in enumerate(arrays) if array is not None}, mesh)
    about = {"kinds": kinds, **outline(tree), "facts": dict(facts), "sums": _check_sums(arrays)}
    path = path.absolute()
    part = path.with_name(f"{PART}{path.name}")  # the same for all processes
    try:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as writer:
            writer.save(part, ocp.args.Composite(
                arrays=ocp.args.StandardSave(arrays), about=ocp.args.JsonSave(about)
            ))  # fmt: skip
        if place.leads:
            put_folder(part, path)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be written ({str(error).splitlines()[0]}); free some space or choose another --out."
        ) from error


def load_parts(
    path: Path, template: PyTree | None, mesh: Mesh, place: Place
) -> tuple[PyTree, dict[str, Any]]:
    """Return the tree of a folder, spread over the devices there are now, and the facts.

    Args:
        path: written by `save_parts`, by whatever number of processes.
        template: see `checkpoints.load_tree`.
        mesh: the devices of all processes.
        place: of this one.

    Raises:
        Damaged: the folder is no whole checkpoint, as one of the processes sees it.
        ValueError: its arrays are not those of the template, or it needs one.
    """
    import orbax.checkpoint as ocp
    from etils import epath  # what Orbax takes for a path

    reader, folder, why = ocp.CompositeCheckpointHandler(), epath.Path(path.absolute()), ""
    try:  # not by a Checkpointer, where the others would wait for one that failed
        size = sum(size_of(entry) for entry in path.rglob("*") if not entry.is_dir())
        about = reader.restore(folder, ocp.args.Composite(about=ocp.args.JsonRestore()))["about"]
        wanted = {f"leaf{i}": _shape(kind, mesh) for i, kind in enumerate(about["kinds"]) if "shape" in kind}
        check_unpacked(path, size, sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in wanted.values()))
        arrays = reader.restore(folder, ocp.args.Composite(arrays=ocp.args.StandardRestore(wanted)))["arrays"]
    except Exception as error:  # Orbax has no one kind for it
        why = (str(error) or type(error).__name__).splitlines()[0]
    if not all_agree(place, not why):
        raise Damaged(f"{path} is no whole checkpoint ({why or 'another process could not read it'}).")
    if _check_sums(arrays) != about["sums"]:
        raise Damaged(f"{path} is no whole checkpoint (check sums differ).")
    leaves = [_given(kind, arrays.get(f"leaf{i}")) for i, kind in enumerate(about["kinds"])]
    return rebuilt(path, about, leaves, template), about["facts"]


def _taken(leaf: Any) -> tuple[dict[str, Any], Array | None]:
    """Return what a leaf is, and the array that holds it."""
    if isinstance(leaf, str | int | float):
        return {"value": leaf}, None
    kind = {}
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        kind, leaf = {"impl": str(jax.random.key_impl(leaf))}, jax.random.key_data(leaf)
    return {**kind, "shape": leaf.shape, "dtype": leaf.dtype.name}, leaf


def _given(kind: Mapping[str, Any], array: Array | None) -> Any:
    if array is None:
        return kind["value"]
    return jax.random.wrap_key_data(array, impl=kind["impl"]) if "impl" in kind else array


def _shape(kind: Mapping[str, Any], mesh: Mesh) -> jax.ShapeDtypeStruct:
    shape = jax.ShapeDtypeStruct(tuple(kind["shape"]), jnp.dtype(kind["dtype"]))
    return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding_of(shape, mesh))


@jax.jit
def _check_sum(array: Array) -> Array:
    """Return a check sum of an array's bits: sums modulo 2^32 are the same however it is split among devices."""
    array = array.astype(jnp.uint8) if array.dtype == bool else array
    parts = jax.lax.bitcast_convert_type(array, jnp.uint8).astype(jnp.uint32)
    place = jnp.zeros((), jnp.uint32)
    for axis, size in enumerate(parts.shape):
        place = place * size + jax.lax.broadcasted_iota(jnp.uint32, parts.shape, axis)
    return jnp.sum(parts * (2 * place + 1), dtype=jnp.uint32)


def _check_sums(arrays: dict[str, Array]) -> dict[str, int]:
    # one after the other: two programs that wait for all devices, run at once by a CPU with fewer threads than
    # that takes, wait for each other for ever (JAX 0.10.2)
    return {name: int(np.asarray(jax.block_until_ready(_check_sum(array)))) for name, array in arrays.items()}
