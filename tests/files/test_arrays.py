"""Arrays on disk: whole, or known to be damaged, wherever a byte was changed or the file was cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse_jax.files.arrays import Damaged, check_sum, load_arrays, save_arrays

ARRAYS = {
    "a name with spaces / and [signs]": np.arange(12.0).reshape(3, 4),
    "flags": np.array([True, False]), "nothing": np.zeros((0, 3), np.float32), "one": np.asarray(7, np.int64),
}  # fmt: skip


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("arrays") / "file.npz"
    save_arrays(path, ARRAYS, {"first": 3})
    return path.read_bytes()


def _read(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("arrays") / "file.npz"
    path.write_bytes(content)
    return load_arrays(path)


def test_what_is_written_is_read(tmp_path_factory, content):
    arrays, about = _read(tmp_path_factory, content)
    assert about == {"first": 3} and list(arrays) == list(ARRAYS)
    for name, array in arrays.items():
        assert array.dtype == ARRAYS[name].dtype
        np.testing.assert_array_equal(array, ARRAYS[name])


def test_every_flipped_bit_is_seen_or_changes_nothing(tmp_path, content):
    """One bit in each byte; an archive also has bytes that decide nothing, for example dates."""
    path, seen = tmp_path / "file.npz", 0
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(bytes(damaged))
        try:
            arrays, about = load_arrays(path)
        except Damaged:
            seen += 1
            continue
        assert about == {"first": 3} and list(arrays) == list(ARRAYS)
        assert all(check_sum(array) == check_sum(ARRAYS[name]) for name, array in arrays.items())
    assert seen > len(content) // 2


@given(st.data())
def test_a_cut_file_is_damaged(tmp_path_factory, content, data):
    with pytest.raises(Damaged, match="is not whole"):
        _read(tmp_path_factory, content[: data.draw(st.integers(0, len(content) - 1))])


def test_a_header_that_asks_for_fewer_rows_is_seen(tmp_path):
    """What NumPy itself takes without a word: the archive's sum is looked at only when all bytes are read."""
    path = tmp_path / "file.npz"
    save_arrays(path, {"rows": np.zeros((90_000, 4))}, {})
    content, header = path.read_bytes(), b"'shape': (90000, 4), }"
    assert content.count(header) == 1
    path.write_bytes(content.replace(header, b"'shape': (10000, 4), }"))
    with np.load(path) as stored:
        assert stored["array0"].shape == (10_000, 4)
    with pytest.raises(Damaged, match="check sum"):
        load_arrays(path)


def test_a_missing_file_is_damaged(tmp_path):
    with pytest.raises(Damaged):
        load_arrays(tmp_path / "nowhere.npz")
