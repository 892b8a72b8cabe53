"""Where a result comes from: what is said of it, and what of it must be the same for the same bits."""

import subprocess

import jax
import numpy as np
import pytest

from collapse_jax.runs import provenance as module
from collapse_jax.runs.manifest import sum_of
from collapse_jax.runs.provenance import commit, differences, provenance

NAMES = ("collapse-jax", "jax", "jaxlib", "numpy", "optax", "flax")
BEFORE = {
    "versions": {**dict.fromkeys(NAMES, "1"), "xarray": "1", "python": "3"}, "device_kind": "cpu", "threads": 2,
    "x64": False, "device": "cpu x 2", "commit": "abc", "started": "then",
    "file": {"versions": {"torch": "2", "numpy": "1"}},
}  # fmt: skip


def _with(path, value):
    """BEFORE with one thing changed; a path of names leads to it."""
    if len(path) == 1:
        return {**BEFORE, path[0]: value}
    inner = BEFORE
    for name in path[:-1]:
        inner = inner[name]
    changed = {**inner, path[-1]: value}
    return {**BEFORE, path[0]: changed if len(path) == 2 else {**BEFORE[path[0]], path[1]: changed}}


@pytest.mark.parametrize(
    ("path", "value", "phrase"),
    [
        *((("versions", name), "2", f"{name} 1, now 2") for name in NAMES),
        (("device_kind",), "TPU v9", "device_kind cpu, now TPU v9"),
        (("threads",), 4, "threads 2, now 4"),
        (("file", "versions", "torch"), "3", "torch 2, now 3"),
    ],
)
def test_each_thing_that_decides_bits_is_compared(path, value, phrase):
    assert differences(BEFORE, _with(path, value)) == [phrase]


@pytest.mark.parametrize(
    "path", [("versions", "xarray"), ("versions", "python"), ("device",), ("commit",), ("started",)]
)
def test_what_decides_no_bit_may_change(path):
    assert differences(BEFORE, _with(path, "other")) == []


def test_what_is_said_is_so():
    told = provenance()
    assert told["versions"]["jax"] == jax.__version__ and told["versions"]["numpy"] == np.__version__
    assert set(NAMES) <= set(told["versions"])
    assert told["device"] == f"{jax.devices()[0].device_kind} x {jax.local_device_count()}"
    assert told["x64"] is False and told["threads"] >= 1 and differences(told, told) == []


def test_precision_is_that_of_the_run(x64):
    assert provenance()["x64"] is True


def test_a_commit_is_that_of_the_source_tree_and_none_where_there_is_none(monkeypatch):
    found = subprocess.CompletedProcess([], 0, "v1-3-gabc-dirty\n", "")
    monkeypatch.setattr(module.subprocess, "run", lambda *_, **__: found)
    assert commit() == "v1-3-gabc-dirty"
    monkeypatch.setattr(module, "__file__", "/usr/lib/python/site-packages/collapse_jax/runs/provenance.py")
    assert commit() is None  # an installed package lies in somebody else's tree

    def missing(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(module.subprocess, "run", missing)
    assert commit() is None


def test_a_digest_is_crc32_in_eight_digits():
    """As gzip and zip print it, so that it can be checked by hand."""
    assert sum_of(b"123456789") == "cbf43926" and sum_of(b"") == "00000000"
