"""What is written atomically is on disk before it has its name, and its name is on disk before anybody is told."""

import os

import pytest

from collapse_jax.files.writing import write_atomically


def test_bytes_are_flushed_before_the_name_and_the_name_after(tmp_path, monkeypatch):
    """A machine that loses power after the rename would else have the new name with none of the bytes."""
    done, path = [], tmp_path / "a.json"
    sync, rename = os.fsync, os.replace

    def fsync(number):
        done.append(("sync", os.path.realpath(f"/proc/self/fd/{number}")))
        sync(number)

    def replace(old, new):
        done.append(("name", str(new)))
        rename(old, new)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write_atomically(path, lambda part: part.write_text("whole"))
    (first, flushed), second, third = done
    assert first == "sync" and os.path.basename(flushed).endswith("-a.json") and flushed != str(path)
    assert second == ("name", str(path)) and third == ("sync", str(tmp_path))


def test_a_writer_that_raises_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    write_atomically(path, lambda part: part.write_text("old"))

    def fails(part):
        part.write_text("half")
        raise RuntimeError("a fault")

    with pytest.raises(RuntimeError, match="a fault"):
        write_atomically(path, fails)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]
