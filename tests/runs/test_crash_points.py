"""A run killed at any of its writes goes on to the same bits, and nothing that was finished is lost."""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import crash_studies
import numpy as np
import pytest
from crash_points import CrashPoints

from collapse_jax.drivers.results import read_netcdf
from collapse_jax.files.arrays import load_arrays
from collapse_jax.runs import shards as advance
from collapse_jax.runs.execute import execute, resume
from collapse_jax.runs.job import Job
from collapse_jax.studies.axes import Grid
from collapse_jax.studies.registry import STUDIES, Entry

CONFIGS = {
    "compiled": crash_studies.Config(),
    "sweep": crash_studies.Config(generations=4, seeds=2),
    "host": crash_studies.Config("host", generations=5, seeds=2),
    "pieces": crash_studies.Config("pieces", generations=2, seeds=2),
}
KINDS = [pytest.param(kind, marks=() if kind == "host" else pytest.mark.heavy) for kind in CONFIGS]


@pytest.fixture(autouse=True)
def studies(monkeypatch):
    study = Entry("crashing", "what a kill leaves", {"smoke": CONFIGS["compiled"]}, "crash_studies", CONFIGS["sweep"])
    monkeypatch.setitem(STUDIES, "crashing", study)


def _pace(monkeypatch, every):
    """Write a host's generations at every so many stops, however long writing takes."""
    calls = []

    def begin(self, *, always):
        calls.append(always)
        self.due = always or not self.work.plan.on_host or len(calls) % every == 0

    monkeypatch.setattr(advance.WriteThrottle, "begin", begin)
    monkeypatch.setattr(advance, "_SHARE", 0)  # and every piece


def _execute(kind, path, **options):
    grid = Grid({"num_samples": (10, 20, 40)}) if kind == "sweep" else None
    job = Job(STUDIES["crashing"], CONFIGS[kind], path, "smoke", "a command", grid=grid)
    return execute(job, on_progress=lambda progress: None, **options)


def _go_on(kind, path):
    """Do what a user does: resume; and where there is nothing to resume, which a sentence says, run it again."""
    try:
        assert resume(path, on_progress=lambda progress: None)
    except ValueError as error:
        assert "name the --out of a run" in str(error) and not list(path.glob("records/*"))
        assert _execute(kind, path)


def _assert_same_ending(path, other):
    assert read_netcdf(path / "trajectory.nc").identical(read_netcdf(other / "trajectory.nc"))
    assert json.loads((path / "config.json").read_text())["status"] == "finished"
    assert not list(path.rglob(".part-*"))
    states = [sorted((run / "checkpoints").iterdir()) for run in (path, other)]
    assert [file.name for file in states[0]] == [file.name for file in states[1]]
    for file, expected in zip(*states):
        (arrays, about), (wanted, of) = load_arrays(file), load_arrays(expected)
        assert about == of and arrays.keys() == wanted.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, wanted[name])


@pytest.mark.parametrize("kind", KINDS)
def test_every_crash_point_goes_on_to_the_same_bits(kind, tmp_path, monkeypatch):
    _pace(monkeypatch, 3)
    whole = tmp_path / "whole"
    with CrashPoints(tmp_path / "run", tmp_path / "points") as kept:
        assert _execute(kind, tmp_path / "run")
    assert _execute(kind, whole)
    _assert_same_ending(tmp_path / "run", whole)
    assert len(kept.points) > 40
    _pace(monkeypatch, 2)  # stops fall elsewhere: what was written before overlaps what is written now
    for point in kept.points:
        _go_on(kind, point)
        _assert_same_ending(point, whole)
        assert not list(point.glob("records/*"))
        shutil.rmtree(point)


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_kill_is_no_worse_than_the_first(kind, tmp_path, monkeypatch):
    """Killed where records are ahead of states, gone on by other steps, and killed at each of its points again."""
    _pace(monkeypatch, 3)
    whole = tmp_path / "whole"
    with CrashPoints(tmp_path / "run", tmp_path / "points") as kept:
        assert _execute(kind, tmp_path / "run")
    assert _execute(kind, whole)
    ahead = [point for point in kept.points if _is_ahead(point)]
    assert ahead
    _pace(monkeypatch, 1)
    with CrashPoints(ahead[-1], tmp_path / "again") as second:
        _go_on(kind, ahead[-1])
    _assert_same_ending(ahead[-1], whole)
    _pace(monkeypatch, 3)
    for point in second.points:
        _go_on(kind, point)
        _assert_same_ending(point, whole)
        shutil.rmtree(point)


def _pair(folder):
    """Two processes begin the run in a folder, or go on with it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = Path(__file__).parents[1] / "crash_pair.py"
    running = [
        subprocess.Popen(
            [sys.executable, str(script), str(folder), str(number), str(port)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for number in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0], said


@pytest.mark.heavy
def test_every_crash_point_of_two_processes_goes_on_to_the_same_bits(tmp_path):
    """What either leaves is gone on with by one process; some of it by two."""
    _pair(tmp_path)
    whole = tmp_path / "run"
    points = sorted(tmp_path.glob("points?/*"))
    assert len(points) > 60 and len(list(tmp_path.glob("points1/*"))) > 10
    for point in points[:: len(points) // 4]:
        folder = tmp_path / f"again-{point.parent.name}-{point.name}"
        shutil.copytree(point, folder / "run")
        if (folder / "run" / "config.json").is_file():
            _pair(folder)
            _assert_same_ending(folder / "run", whole)
    for point in points:
        try:
            assert resume(point, on_progress=lambda progress: None)
        except ValueError as error:
            assert "name the --out of a run" in str(error) and not list(point.rglob("*.npz"))
            continue
        _assert_same_ending(point, whole)


def _is_ahead(point):
    """True where some seeds' records reach beyond their last state."""
    records = {file.stem.split("-")[1]: int(file.stem.split("-")[-1]) for file in sorted(point.glob("records/arm*"))}
    whole = [file for file in sorted(point.glob("checkpoints/arm*.npz")) if "piece" not in file.name]
    states = {file.stem.split("-")[1]: int(file.stem[-8:]) for file in whole}
    return any(last > states.get(seed, -1) for seed, last in records.items())
