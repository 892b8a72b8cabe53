"""States on disk: what is read is what was written, or the one before it; nothing else is run or destroyed."""

import errno
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny_opt import SMALL, random_params

from collapse_jax import (
    FineTuning,
    Samples,
    as_samples,
    build_chain,
    conv_vae,
    gaussian,
    gaussian_truth,
    language,
    mixture,
    replace,
    sampled_decoding,
    vae,
)
from collapse_jax.core.chunks import Chunk
from collapse_jax.core.streams import Stream
from collapse_jax.files.writing import Lock, remove_parts, write_atomically
from collapse_jax.models.categorical import categorical, count_sums
from collapse_jax.models.gaussian import gaussian_statistics
from collapse_jax.models.kde import kde
from collapse_jax.models.one_parameter import Largest, uniform
from collapse_jax.models.regression import regression, regression_truth
from collapse_jax.networks.opt.decoding import Rules
from collapse_jax.runs import tuple_names
from collapse_jax.runs.checkpoints import Checkpoints, Damaged, load_tree, save_tree
from collapse_jax.runs.tuple_names import kind_of, name_of


class Mine(NamedTuple):
    """A NamedTuple of whoever runs a study of their own."""

    value: object


def _tree():
    weights = {"layers": [{"w": jnp.ones((2, 3)), "b": jnp.zeros(3)}], "half": jnp.asarray([1.5], jnp.bfloat16)}
    carry = (weights, optax.adam(1e-3).init(weights), None, (), jnp.asarray(3), jax.random.key(4))
    rows = Samples(np.array([1.0, np.nan]), np.array([1.0, 0.0]))  # NumPy's own precision is kept
    return Chunk("fit", 2, 5, carry, {"sample": Mine(rows)})


def _equal(one, other):
    def data(leaf):
        if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return np.asarray(jax.random.key_data(leaf))
        return np.asarray(leaf)

    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other)):
        assert type(a) is type(b) and getattr(a, "dtype", None) == getattr(b, "dtype", None)
        np.testing.assert_array_equal(data(a), data(b))


def test_a_tree_comes_back_as_it_was(tmp_path):
    save_tree(tmp_path / "a.npz", _tree(), {"arm": 1})
    tree, facts = load_tree(tmp_path / "a.npz")
    assert facts == {"arm": 1}
    _equal(tree, _tree())


def test_other_nodes_need_a_template(tmp_path):
    """A stream holds a function, which no file does."""

    def draw(key, params, num):
        return params

    save_tree(tmp_path / "a.npz", Stream(draw, {"w": jnp.ones(2)}, jnp.asarray(3.0)), {})
    with pytest.raises(ValueError, match="need a template"):
        load_tree(tmp_path / "a.npz")
    found, _ = load_tree(tmp_path / "a.npz", Stream(draw, {"w": jnp.zeros(2)}, jnp.asarray(0.0)))
    assert found.draw is draw and (found.params["w"] == 1).all() and found.weight == 3
    with pytest.raises(ValueError, match="holds another state than this chain's"):
        load_tree(tmp_path / "a.npz", {"w": jnp.zeros(2)})


def test_a_class_nobody_imported_is_not_looked_for(tmp_path):
    """Nothing outside the package and optax is imported on a file's word."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import odd; "
        "from collapse_jax.runs.checkpoints import save_tree; from pathlib import Path; "
        "save_tree(Path(sys.argv[1]) / 'a.npz', odd.Odd(1.0), {})"
    )
    (tmp_path / "odd.py").write_text("from typing import NamedTuple\nclass Odd(NamedTuple):\n    value: float\n")
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    with pytest.raises(ValueError, match="needs the NamedTuple odd:Odd, which is not there"):
        load_tree(tmp_path / "a.npz")
    assert "odd" not in sys.modules


def _named(node):
    """The classes of all NamedTuples in a tree."""
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ()
    own = {type(node)} if hasattr(node, "_fields") else set()
    return own.union(*(_named(part) for part in inner))


def _states():
    """The first states of every kind of model, as shapes."""
    key, points, counts = jax.random.key(0), as_samples(np.arange(20.0)[:, None]), count_sums(jnp.ones(3))
    blocks, rules = jnp.zeros((20, 4), jnp.int32), Rules(4)
    written = language(SMALL, random_params(SMALL), blocks, blocks, sampled_decoding(rules), FineTuning(1, 10))
    grey = as_samples(np.full((20, 4), 0.5))
    cases = [
        (gaussian(1), points), (mixture(2), points), (kde(), points), (vae(num_pixels=4), grey),
        (conv_vae(), as_samples(np.full((8, 784), 0.5))), (categorical(3), counts), (written, as_samples(blocks)),
        (gaussian_statistics(1), gaussian_truth(1).moments_sampler(20)(key)),
        (regression(2), regression_truth(np.ones(2))(key, 20)), (uniform(), Largest(jnp.ones(()), jnp.asarray(20.0))),
    ]  # fmt: skip
    for model, real in cases:
        yield jax.eval_shape(build_chain(model, replace(), lambda key, real=real: real, 20).init, key)


def test_our_own_are_named_by_a_table_not_by_where_they_live():
    found = set().union(*(_named(state) for state in _states()))
    assert len(found) > 12
    for kind in found:
        assert ":" not in name_of(kind) and kind_of(name_of(kind)) is kind
    for name in tuple_names._OURS:
        assert name_of(kind_of(name)) == name


@pytest.mark.parametrize("name", ["Odd", "optax.adam", "optax.No", "os:path", "json:JSONDecoder", 3, ["State"], ""])
def test_a_name_that_stands_for_no_tuple_meets_a_sentence(name):
    with pytest.raises(ValueError, match="needs the NamedTuple"):
        kind_of(name)


def _saved(folder):
    kept = Checkpoints(folder)
    for generation in (0, 5, 10, 15):
        kept.save("arm0", generation, {"x": np.full(100, float(generation))}, {"generation": generation})
    kept.save("arm1", 20, {"x": np.zeros(3)}, {})
    return kept


def test_the_last_two_of_a_chain_are_kept(tmp_path):
    kept = _saved(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "arm0-gen00000010.npz", "arm0-gen00000015.npz", "arm1-gen00000020.npz",
    ]  # fmt: skip
    found, damaged = kept.latest("arm0")
    assert (found.generation, found.facts, damaged) == (15, {"generation": 15}, [])
    latest = [getattr(kept.latest("arm0", at_most=last)[0], "generation", None) for last in (15, 14, 10, 9)]
    assert latest == [15, 10, 10, None]
    kept.keep_last("arm0")
    kept.drop("arm1")
    assert [path.name for path in tmp_path.iterdir()] == ["arm0-gen00000015.npz"]
    assert kept.latest("arm1") == (None, [])


def _truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path):
    content = bytearray(path.read_bytes())
    where = content.index(np.full(100, 15.0).tobytes()) + 50  # within the numbers, not the archive's padding
    content[where] ^= 0xFF
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("damage", [_truncate, _flip, lambda path: path.write_bytes(b""), Path.mkdir])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, damage):
    kept = _saved(tmp_path)
    newest = tmp_path / "arm0-gen00000015.npz"
    if damage is Path.mkdir:
        newest.unlink()
    damage(newest)
    with pytest.raises(Damaged, match=r"arm0-gen00000015.npz is not whole"):
        load_tree(newest)
    found, damaged = kept.latest("arm0")
    assert found.generation == 10 and (found.tree["x"] == 10).all() and damaged == [newest]


def test_a_full_disk_destroys_nothing(tmp_path):
    path = tmp_path / "kept.txt"
    path.write_text("before")

    def write(part):
        part.write_text("half of")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(ValueError, match=r"No space left on device.*free some space.*resume"):
        write_atomically(path, write)
    assert path.read_text() == "before" and [entry.name for entry in tmp_path.iterdir()] == ["kept.txt"]


def test_a_writer_that_was_killed_leaves_the_old_file(tmp_path):
    program = (
        "import os, signal; from pathlib import Path; from collapse_jax.files.writing import write_atomically\n"
        "def write(part):\n    part.write_text('half of'); os.kill(os.getpid(), signal.SIGKILL)\n"
        f"write_atomically(Path({str(tmp_path / 'kept.txt')!r}), write)"
    )
    (tmp_path / "kept.txt").write_text("before")
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    assert (tmp_path / "kept.txt").read_text() == "before" and len(list(tmp_path.iterdir())) == 2
    remove_parts(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_directory_has_one_writer(tmp_path):
    program = (
        "import sys; from pathlib import Path; from collapse_jax.files.writing import Lock\n"
        f"lock = Lock(Path({str(tmp_path)!r})); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match=r"another process is writing to .*; wait for it"):
            Lock(tmp_path)
        other.kill()
        other.wait()
        with Lock(tmp_path):  # a killed process holds nothing
            pass
