"""States on disk: a tree of arrays as one `.npz`, and a folder that keeps the last two of each chain.

No class is pickled. A file holds the arrays, their paths in the tree, and, where the tree is made of dicts, lists,
tuples and NamedTuples alone, how they nest; other trees are read back into a template. States that no process can
read alone have another format (`orbax_checkpoints`).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.files.arrays import Damaged, load_arrays, save_arrays
from collapse_jax.runs.tuple_names import kind_of, name_of
from collapse_jax.types import PyTree

_NAME = re.compile(r"(?P<chain>.+)-gen(?P<generation>\d{8})\.\w+")


class Checkpoint(NamedTuple):
    """A state read back.

    Attributes:
        generation: the last generation it has finished.
        tree: the arrays, nested as they were saved.
        facts: what was said of it.
    """

    generation: int
    tree: PyTree
    facts: dict[str, Any]


def save_tree(path: Path, tree: PyTree, facts: Mapping[str, Any]) -> None:
    """Write a tree of arrays, durably.

    Args:
        path: the file; one of that name is replaced.
        tree: NumPy or JAX arrays, typed keys among them, Python's numbers and strings.
        facts: what JSON can say of it.

    Raises:
        ValueError: the file cannot be written.
    """
    arrays, kinds = {}, []
    for index, leaf in enumerate(jax.tree.leaves(tree)):
        arrays[f"leaf{index}"], kind = _plain(leaf)
        kinds.append(kind)
    about = {"kinds": kinds, **outline(tree), "facts": dict(facts)}
    save_arrays(path, arrays, about)


def load_tree(path: Path, template: PyTree | None = None) -> tuple[PyTree, dict[str, Any]]:
    """Return the tree of a file, and the facts.

    Args:
        path: written by `save_tree`.
        template: a tree of the same nesting, needed where that is more than dicts, lists, tuples and NamedTuples.

    Raises:
        Damaged: the file is no whole checkpoint.
        ValueError: its arrays are not those of the template, or it needs one.
    """
    arrays, about = load_arrays(path)
    try:
        leaves = [_restored(arrays[f"leaf{i}"], kind) for i, kind in enumerate(about["kinds"])]
        facts = dict(about["facts"])
    except (KeyError, TypeError, ValueError) as error:  # another program's file
        raise Damaged(f"{path} is no checkpoint ({error}).") from error
    return rebuilt(path, about, leaves, template), facts


def outline(tree: PyTree) -> dict[str, Any]:
    """Return what `rebuilt` needs to know of how a tree nests, in JSON's types."""
    paths = [jax.tree_util.keystr(where) for where, _ in jax.tree.leaves_with_path(tree)]
    return {"paths": paths, "skeleton": _skeleton(tree)}


def rebuilt(path: Path, about: Mapping[str, Any], leaves: Sequence[Any], template: PyTree | None) -> PyTree:
    """Return the tree of an `outline` from its leaves; arguments and what is raised as for `load_tree`."""
    try:
        return _rebuilt(path, about, leaves, template)
    except (KeyError, TypeError, AttributeError, StopIteration, RecursionError, ImportError) as error:
        raise Damaged(f"{path} is no checkpoint ({type(error).__name__}: {error}).") from error


def _rebuilt(path: Path, about: Mapping[str, Any], leaves: Sequence[Any], template: PyTree | None) -> PyTree:
    if template is not None:
        known, nesting = jax.tree.flatten_with_path(template)
        paths = [jax.tree_util.keystr(where) for where, _ in known]
        if paths != about["paths"]:
            odd = sorted(set(paths) ^ set(about["paths"]))[:3]
            raise ValueError(
                f"{path} holds another state than this chain's (differs in {', '.join(odd) or 'order'})."
            )
        return jax.tree.unflatten(nesting, leaves)
    if about["skeleton"] is None:
        raise ValueError(f"{path} nests in ways that need a template.")
    return _built(about["skeleton"], iter(leaves))


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


class Format(NamedTuple):
    """How a state lies on disk.

    Attributes:
        suffix: of its name.
        save: as `save_tree`.
        load: as `load_tree`.
        remove: path -> nothing is there.
    """

    suffix: str = ".npz"
    save: Callable[[Path, PyTree, Mapping[str, Any]], None] = save_tree
    load: Callable[[Path, PyTree | None], tuple[PyTree, dict[str, Any]]] = load_tree
    remove: Callable[[Path], None] = _remove


NPZ = Format()


class Checkpoints:
    """A folder of checkpoints, the last two of each chain."""

    def __init__(self, folder: Path, form: Format = NPZ) -> None:
        self.folder, self.form = folder, form

    def save(self, chain: str, generation: int, tree: PyTree, facts: Mapping[str, Any]) -> None:
        """Write the state of a chain after a generation; drop all but the one before it.

        Args:
            chain: its name, part of the file's.
            generation: the last one finished.
            tree: the state.
            facts: what JSON can say of it.
        """
        self.form.save(self.folder / f"{chain}-gen{generation:08d}{self.form.suffix}", tree, facts)
        for older in self._of(chain)[:-2]:
            self.form.remove(older)

    def latest(
        self, chain: str, template: PyTree | None = None, at_most: int | None = None
    ) -> tuple[Checkpoint | None, list[Path]]:
        """Return the newest whole checkpoint of a chain, None where there is none, and the damaged ones after it.

        Args:
            chain: its name.
            template: see `load_tree`.
            at_most: look at no later generation.

        Raises:
            ValueError: it holds another chain's state.
        """
        damaged: list[Path] = []
        wanted = [path for path in self._of(chain) if at_most is None or _generation(path) <= at_most]
        for path in reversed(wanted):
            try:
                tree, facts = self.form.load(path, template)
            except Damaged:
                damaged.append(path)
                continue
            return Checkpoint(_generation(path), tree, facts), damaged
        return None, damaged

    def reached(self, chain: str) -> int:
        """Return the newest generation of a chain that a checkpoint's name says, -1 for none; nothing is read."""
        return max((_generation(path) for path in self._of(chain)), default=-1)

    def keep_last(self, chain: str) -> None:
        """Drop all but the newest checkpoint of a chain: it has ended."""
        for older in self._of(chain)[:-1]:
            self.form.remove(older)

    def drop(self, chain: str) -> None:
        """Drop all checkpoints of a chain."""
        for path in self._of(chain):
            self.form.remove(path)

    def _of(self, chain: str) -> list[Path]:
        found = [
            path for path in self.folder.glob(f"{chain}-gen*{self.form.suffix}") if _NAME.fullmatch(path.name)
        ]
        return sorted(found, key=_generation)


def _generation(path: Path) -> int:
    found = _NAME.fullmatch(path.name)
    assert found is not None
    return int(found["generation"])


def _plain(leaf: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """Return an array that `.npz` can hold, and what it was."""
    if isinstance(leaf, str | int | float):
        return np.zeros(0), {"home": "python", "value": leaf}
    home = "numpy" if isinstance(leaf, np.ndarray | np.generic) else "jax"
    if home == "jax" and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return np.asarray(jax.random.key_data(leaf)), {"home": "key", "impl": str(jax.random.key_impl(leaf))}
    array = np.asarray(leaf)
    if array.dtype.kind == "V":  # bfloat16 and its kin, which NumPy would read back as raw bytes
        name = array.dtype.name
        return array.view(f"u{array.dtype.itemsize}"), {"home": home, "dtype": name}
    return array, {"home": home}


def _restored(array: np.ndarray, kind: dict[str, Any]) -> Any:
    if kind["home"] == "python":
        return kind["value"]
    if kind["home"] == "key":
        return jax.random.wrap_key_data(jnp.asarray(array), impl=kind["impl"])
    if "dtype" in kind:
        array = array.view(jnp.dtype(kind["dtype"]))
    return jnp.asarray(array) if kind["home"] == "jax" else array


def _skeleton(node: Any) -> Any:
    """Return how a tree nests, in JSON's types, with 0 for a leaf; None where a node is of a kind it cannot say."""
    if node is None:
        return {"kind": "none"}
    if isinstance(node, dict):
        kind: dict[str, Any] = {"kind": "dict", "keys": sorted(node)}
        children = [node[key] for key in kind["keys"]]
    elif isinstance(node, tuple) and hasattr(node, "_fields"):
        kind, children = {"kind": name_of(type(node))}, list(node)
    elif isinstance(node, list | tuple):
        kind, children = {"kind": type(node).__name__}, list(node)
    else:
        return 0 if jax.tree_util.all_leaves([node]) else None
    told = [_skeleton(child) for child in children]
    return None if any(part is None for part in told) else {**kind, "children": told}


def _built(skeleton: Any, leaves: Any) -> Any:
    if skeleton == 0:
        return next(leaves)
    kind = skeleton["kind"]
    if kind == "none":
        return None
    children = [_built(child, leaves) for child in skeleton["children"]]
    if kind == "dict":
        return dict(zip(skeleton["keys"], children))
    if kind in ("list", "tuple"):
        return children if kind == "list" else tuple(children)
    return kind_of(kind)(*children)

