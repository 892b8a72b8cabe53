"""One bit of one file of a run directory is changed, or a file is cut: healed, of no consequence, or a sentence.

    python tests/runs/test_damage.py 10000    # of those, half on runs under way and half on finished ones
"""

import functools
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import crash_studies
import numpy as np
import pytest
import xarray as xr
from crash_points import CrashPoints

from collapse_jax.cli.main import run_command
from collapse_jax.drivers.results import read_netcdf
from collapse_jax.runs import execute as runs
from collapse_jax.runs import shards as advance
from collapse_jax.runs.directory import RunDirectory
from collapse_jax.runs.drawing import draw_again
from collapse_jax.runs.job import Job
from collapse_jax.runs.report import write_report
from collapse_jax.studies.registry import STUDIES, Entry

OWN = '''"""A law, drawn and judged."""
from dataclasses import dataclass
from crash_studies import _in_python
from collapse_jax import Claim, Evidence, Illustration
from collapse_jax.analysis.claims import ANALOGUE, measured
from collapse_jax.analysis.plots import new_figure

@dataclass(frozen=True)
class Config:
    generations: int = 5
    seeds: int = 4
    seed: int = 0

def chain(config):
    return _in_python(10)

def figures(config, dataset):
    figure, axes = new_figure()
    axes[0, 0].plot(dataset["spread"].mean("seed"))
    return [Illustration("spread", "What is left of the spread.", figure)]

def evidence(config, dataset):
    claim = Claim("narrow", "The deviation stays below 9.", "nobody", (0.0, 9.0), "mean", 3)
    return [measured(claim, 2, 5, lambda g: dataset["spread"].sel(generation=g), ANALOGUE)]
'''
UNDER_WAY = crash_studies.Config("host", generations=5, seeds=2)


def damaged(path: Path, rng: np.random.Generator) -> str:
    """Change one bit of one file below a folder, or cut the file; return what was done."""
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.stat().st_size)
    file = files[rng.integers(len(files))]
    content = bytearray(file.read_bytes())
    place = int(rng.integers(len(content)))
    if rng.random() < 0.3:
        file.write_bytes(content[:place])
        return f"{file.relative_to(path)} cut at {place}"
    content[place] ^= 1 << int(rng.integers(8))
    file.write_bytes(content)
    return f"{file.relative_to(path)} byte {place}"


def go_on(path: Path, whole: Path) -> str:
    """Go on with a run under way; return how that ended."""
    notices: list[str] = []
    try:
        assert runs.resume(path, on_progress=lambda progress: notices.append(progress.notice))
    except ValueError as error:
        return _refused(error)
    is_finished = RunDirectory(path).description["status"] == "finished"
    if not is_finished or not read_netcdf(path / "trajectory.nc").identical(_trajectory(whole)):
        return "wrong"
    return "healed" if any("damaged" in notice for notice in notices) else "no consequence"


def read(path: Path, whole: Path) -> str:
    """Read a finished run as somebody does who was given it: what is recorded, with nothing run."""
    try:
        run, notices = RunDirectory(path), []
        draw_again(run, notices.append)
        write_report([run], path / "report.html")
        found = read_netcdf(path / "trajectory.nc")
    except ValueError as error:
        return _refused(error)
    same = found.identical(_trajectory(whole)) and notices
    pages = [(place / "report.html").read_text().replace(str(place), "") for place in (path, whole)]
    return "no consequence" if same and pages[0] == pages[1] else "wrong"


@functools.cache
def _trajectory(whole: Path) -> xr.Dataset:
    return read_netcdf(whole / "trajectory.nc")


def _refused(error: ValueError) -> str:
    sentence = str(error)
    is_one = "\n" not in sentence and sentence.endswith(".") and re.search("; [a-z]", sentence)
    return "refused" if is_one and len(sentence) < 700 else f"no sentence: {sentence}"


def begun(folder: Path) -> Path:
    """Return a run as a kill in its midst leaves it, beside the whole one."""
    STUDIES["crashing"] = Entry("crashing", "of damage", {"smoke": UNDER_WAY}, "crash_studies")
    advance._STATES_SHARE = 0  # every generation is written
    with CrashPoints(folder / "whole", folder / "points") as kept:
        job = Job(STUDIES["crashing"], UNDER_WAY, folder / "whole", "smoke", "a command")
        runs.execute(job, on_progress=lambda progress: None)
    full = [point for point in kept.points if len(list(point.glob("checkpoints/*.npz"))) == 4]
    return full[len(full) // 2]


def finished(folder: Path) -> tuple[Path, Path]:
    """Return a run of one's own as it is given to somebody who has not run its file, and the same with its page."""
    (folder / "own.py").write_text(OWN)
    assert run_command(["run", str(folder / "own.py"), "--out", str(folder / "finished")]) == 0
    (folder / "finished" / "report.html").unlink()
    os.environ["XDG_STATE_HOME"] = str(folder / "nobody")
    shutil.copytree(folder / "finished", folder / "reported")
    assert read(folder / "reported", folder / "reported") == "no consequence"
    return folder / "finished", folder / "reported"


def suffer(folder: Path, run: Path, whole: Path, use, count: int, seed: int) -> Counter[str]:
    """Damage copies of a run; return how often each ending was met."""
    rng, found = np.random.default_rng(seed), Counter[str]()
    for number in range(1, count + 1):
        copy = folder / "copy"
        shutil.copytree(run, copy)
        what = damaged(copy, rng)
        try:
            ending = use(copy, whole)
        except Exception as error:
            ending = f"traceback: {error!r}"
        if ending not in ("healed", "refused", "no consequence"):
            print(what, ending, file=sys.stderr, flush=True)
            ending = ending.split(":")[0]
        found[ending] += 1
        shutil.rmtree(copy)
        if number % 500 == 0:
            print(number, dict(found), flush=True)
    return found


@pytest.fixture
def alone(monkeypatch):
    """Leave the registry, the pace and whom is trusted as they were."""
    monkeypatch.setitem(STUDIES, "crashing", STUDIES["gmm"])
    monkeypatch.setattr(advance, "_STATES_SHARE", advance._STATES_SHARE)
    monkeypatch.setenv("XDG_STATE_HOME", os.environ["XDG_STATE_HOME"])


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("count", [20, pytest.param(2500, marks=pytest.mark.heavy)])
def test_damage_to_a_run_under_way_is_healed_or_refused(count, tmp_path):
    found = suffer(tmp_path, begun(tmp_path), tmp_path / "whole", go_on, count, 1)
    assert set(found) <= {"healed", "refused", "no consequence"} and found["healed"] > count / 4


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("count", [60, pytest.param(2500, marks=pytest.mark.heavy)])
def test_damage_to_a_finished_run_is_refused(count, tmp_path):
    found = suffer(tmp_path, *finished(tmp_path), read, count, 2)
    assert set(found) <= {"refused", "no consequence"} and found["refused"] > count / 2


if __name__ == "__main__":
    number = int(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        print("under way", dict(suffer(place, begun(place), place / "whole", go_on, number - number // 2, 3)))
        print("finished", dict(suffer(place, *finished(place), read, number // 2, 4)))
