"""States in parts on several devices, on disk: read back onto any number of them, or the one before it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from collapse_jax.core.chunks import Chunk
from collapse_jax.drivers.sharding import fully_sharded, model_mesh
from collapse_jax.files.writing import remove_parts
from collapse_jax.runs.checkpoints import Checkpoints, Damaged
from collapse_jax.runs.orbax_checkpoints import load_parts, orbax_format, save_parts
from collapse_jax.runs.processes import Place


def _tree():
    weights = {
        "layers": [{"w": jnp.arange(24.0).reshape(4, 6), "b": jnp.ones(3)}],
        "half": jnp.ones((2, 2), jnp.bfloat16),
    }
    carry = (
        weights,
        optax.adam(1e-3).init(weights),
        None,
        jnp.asarray(3),
        jnp.asarray(True),
        jax.random.key(4),
    )
    return Chunk("fit", 2, 5, carry, {"sample": jnp.array([[1, 2], [3, 4]])})


def _mesh(num):
    return model_mesh(jax.devices()[:num])


def _plain(leaf):
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def _equal(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other)):
        assert getattr(a, "dtype", None) == getattr(b, "dtype", None)
        np.testing.assert_array_equal(_plain(a), _plain(b))


@pytest.mark.parametrize("num_read", [1, 2, 4])
def test_a_state_comes_back_onto_other_devices(tmp_path, num_read):
    tree = _tree()
    spread = tree._replace(carry=(fully_sharded(tree.carry[0], _mesh(2)), *tree.carry[1:]))
    save_parts(tmp_path / "a.orbax", spread, {"arm": 1}, _mesh(2), Place())
    found, facts = load_parts(tmp_path / "a.orbax", None, _mesh(num_read), Place())
    assert facts == {"arm": 1}
    _equal(found, tree)
    weight = found.carry[0]["layers"][0]["w"]
    assert (
        weight.addressable_shards[0].data.size == 24 // num_read
    )  # six columns, or four rows for four devices


def _noise(generation):
    return jax.random.normal(jax.random.key(generation), (4, 5000))  # nothing that a file could compress


def _damage(path, how):
    files = sorted(
        (file for file in path.rglob("d/*") if file.is_file()), key=lambda file: file.stat().st_size
    )
    if how == "a file is gone":
        files[-1].unlink()
        return
    content = bytearray(files[-1].read_bytes())
    for index in range(len(content) // 3, 2 * len(content) // 3):
        content[index] ^= 0xFF
    files[-1].write_bytes(content)


@pytest.mark.parametrize("how", ["a file is gone", "bits are flipped"])
def test_a_damaged_state_gives_way_to_the_one_before_it(tmp_path, how):
    checkpoints = Checkpoints(tmp_path, orbax_format(_mesh(2), Place()))
    for generation in range(1, 5):
        checkpoints.save("chain", generation, {"w": _noise(generation)}, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "chain-gen00000003.orbax",
        "chain-gen00000004.orbax",
    ]
    newest = tmp_path / "chain-gen00000004.orbax"
    _damage(newest, how)
    with pytest.raises(Damaged, match="no whole checkpoint"):
        load_parts(newest, None, _mesh(2), Place())
    found, damaged = checkpoints.latest("chain")
    assert found is not None and found.generation == 3 and damaged == [newest]
    np.testing.assert_array_equal(found.tree["w"], _noise(3))


def test_a_save_that_was_cut_off_is_no_checkpoint(tmp_path):
    checkpoints = Checkpoints(tmp_path, orbax_format(_mesh(2), Place()))
    checkpoints.save("chain", 1, {"w": jnp.ones((2, 2))}, {})
    (tmp_path / ".part-chain-gen00000002.orbax" / "arrays").mkdir(parents=True)
    found, damaged = checkpoints.latest("chain")
    assert found is not None and found.generation == 1 and damaged == []
    remove_parts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["chain-gen00000001.orbax"]
    checkpoints.drop("chain")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_meets_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written"):
        save_parts(tmp_path / "file" / "a.orbax", {"w": jnp.ones((2, 2))}, {}, _mesh(1), Place())
