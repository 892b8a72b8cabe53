"""Run directories that were killed at their first or last moments, linked elsewhere, changed, or received."""

import json
import os
import shutil
import subprocess
import sys

import crash_studies
import pytest

from collapse_jax.drivers.results import read_netcdf
from collapse_jax.files.writing import Lock
from collapse_jax.runs import directory as rundir
from collapse_jax.runs import execute as runs
from collapse_jax.runs.directory import RunDirectory
from collapse_jax.runs.drawing import draw_again
from collapse_jax.runs.job import Job, read_jobs
from collapse_jax.runs.manifest import sealed
from collapse_jax.runs.report import write_report
from collapse_jax.runs.trust import is_trusted, trust
from collapse_jax.studies.axes import Grid
from collapse_jax.studies.registry import STUDIES, Entry

CONFIG = crash_studies.Config("host", generations=9, seeds=2)


@pytest.fixture(autouse=True)
def studies(monkeypatch):
    study = Entry("crashing", "what a kill leaves", {"smoke": CONFIG}, "crash_studies", crash_studies.Config())
    monkeypatch.setitem(STUDIES, "crashing", study)


def _execute(path, *, overwrite=False, config=CONFIG, grid=None, on_progress=lambda progress: None):
    job = Job(STUDIES["crashing"], config, path, "smoke", "a command", overwrite, grid)
    return runs.execute(job, on_progress=on_progress)


def _interrupted(path, generation=4, **options):
    def on_progress(progress):
        if progress.generation == generation:
            raise KeyboardInterrupt

    assert not _execute(path, on_progress=on_progress, **options)
    return path


def _resume(path, **options):
    notices = []
    return runs.resume(path, on_progress=lambda p: notices.append(p.notice), **options), " ".join(notices)


@pytest.fixture
def whole(tmp_path):
    assert _execute(tmp_path / "whole")
    return read_netcdf(tmp_path / "whole" / "trajectory.nc")


def test_a_run_killed_while_it_writes_its_first_description_is_begun_anew(tmp_path, whole):
    for overwrite in (False, True):
        path = tmp_path / f"run{overwrite}"
        (path / "records").mkdir(parents=True)
        (path / ".lock").touch()
        (path / ".part-1234-config.json").write_text("{")
        with pytest.raises(ValueError, match="name the --out of a run"):
            _resume(path)
        assert _execute(path, overwrite=overwrite)
        assert read_netcdf(path / "trajectory.nc").equals(whole) and not list(path.glob(".part-*"))


def test_an_overwrite_that_is_killed_can_be_begun_again(tmp_path, monkeypatch):
    path = tmp_path / "run"
    assert _execute(path)
    monkeypatch.setattr(rundir, "remove_folder", _killed)
    with pytest.raises(KeyboardInterrupt):
        _execute(path, overwrite=True)
    monkeypatch.undo()
    monkeypatch.setitem(STUDIES, "crashing", Entry("crashing", "t", {"smoke": CONFIG}, "crash_studies"))
    assert (path / "checkpoints").is_dir()  # half of the old run is still there
    for refused in (_resume, lambda path: draw_again(RunDirectory(path), print)):
        with pytest.raises(ValueError, match="was being replaced by a new run"):
            refused(path)
    assert _execute(path)  # without --overwrite: that had been said


def _killed(*_):
    raise KeyboardInterrupt


def test_linked_folders_are_emptied_and_stay(tmp_path, whole):
    """Records and states on a scratch disk."""
    path = tmp_path / "run"
    path.mkdir()
    for name in ("records", "checkpoints"):
        (tmp_path / "scratch" / name).mkdir(parents=True)
        (path / name).symlink_to(tmp_path / "scratch" / name)
    (tmp_path / "scratch" / "records" / ".part-77-old.npz").touch()
    (path / "config.json").write_text(json.dumps({"status": "being replaced"}))
    _interrupted(path)
    assert list((tmp_path / "scratch" / "records").glob("*.npz"))
    assert _resume(path)[0]
    assert read_netcdf(path / "trajectory.nc").equals(whole)
    assert not list((tmp_path / "scratch" / "records").iterdir()) and (path / "records").is_symlink()


def test_a_run_that_is_moved_goes_on(tmp_path, whole):
    _interrupted(tmp_path / "run")
    shutil.move(tmp_path / "run", tmp_path / "elsewhere")
    assert _resume(tmp_path / "elsewhere")[0]
    assert read_netcdf(tmp_path / "elsewhere" / "trajectory.nc").equals(whole)


def test_old_records_that_are_damaged_are_computed_again_and_said(tmp_path, whole):
    path = _interrupted(tmp_path / "run")
    first = sorted((path / "records").glob("*.npz"))[0]
    content = bytearray(first.read_bytes())
    content[len(content) // 2] ^= 1
    first.write_bytes(bytes(content))
    done, told = _resume(path)
    assert done and f"{first} is damaged; generations from 0 on are computed again" in told
    assert read_netcdf(path / "trajectory.nc").equals(whole)


def test_records_damaged_under_way_leave_a_run_that_is_not_finished(tmp_path, whole):
    """Readers would stop at the gap, and the rest would be lost with the records."""
    path = tmp_path / "run"

    def damage(progress):
        if progress.generation == 8:
            sorted((path / "records").glob("*.npz"))[0].write_bytes(b"")

    with pytest.raises(ValueError, match=r"were damaged while the run was under way .*resume"):
        _execute(path, on_progress=damage)
    assert RunDirectory(path).description["status"] == "stopped" and list((path / "records").glob("*.npz"))
    assert _resume(path)[0]
    assert read_netcdf(path / "trajectory.nc").equals(whole)


def test_what_is_read_back_otherwise_is_not_kept(tmp_path, monkeypatch):
    path = _interrupted(tmp_path / "run")
    before = (path / "trajectory.nc").read_bytes()
    write = rundir.write_netcdf
    monkeypatch.setattr(rundir, "write_netcdf", lambda dataset, part: write(dataset.isel(generation=slice(2)), part))
    with pytest.raises(ValueError, match="is not read as it was written"):
        _resume(path)
    assert (path / "trajectory.nc").read_bytes() == before and list((path / "records").glob("*.npz"))


def test_who_is_interrupted_while_drawing_goes_on_with_that(tmp_path, monkeypatch, whole):
    path, drawn = tmp_path / "run", []
    monkeypatch.setattr(runs, "draw", _killed)
    with pytest.raises(KeyboardInterrupt):
        _execute(path)
    monkeypatch.setattr(runs, "draw", lambda *given: drawn.append(given))
    assert _resume(path)[0] and len(drawn) == 1
    assert read_netcdf(path / "trajectory.nc").equals(whole)


def test_a_report_on_a_run_at_work_writes_nothing(tmp_path):
    path = _interrupted(tmp_path / "run")
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with Lock(path), pytest.raises(ValueError, match="another process is writing"):
        draw_again(RunDirectory(path), print)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("change", ["axis", "interval", "shards", "study"])
def test_all_that_decides_numbers_is_in_the_check_sum(tmp_path, change):
    path = tmp_path / "run"
    config = crash_studies.Config(generations=4, seeds=2)
    _interrupted(path, 2, config=config, grid=Grid({"num_samples": (10, 20)}))
    told = json.loads((path / "config.json").read_text())
    if change == "axis":
        told["grid"]["axes"]["num_samples"][1] = 30
    elif change == "interval":
        told["grid"]["record_every"] = 2
    elif change == "shards":
        told["shards"] = [[0, 3]]
    else:
        told["study"] = "gaussian"
    (path / "config.json").write_text(json.dumps(sealed(told)))
    for use in (_resume, lambda path: draw_again(RunDirectory(path), print)):
        with pytest.raises(ValueError, match="was changed after the run began"):
            use(path)


@pytest.mark.parametrize(
    "text",
    [
        '{"jobs": [["gmm", "smoke", "../outside", "x"]]}', '{"jobs": [["gmm", "smoke", "/tmp", "x"]]}',
        '{"jobs": [["gmm"]]}', '{"jobs": [[1, 2, 3, 4]]}', '{"jobs": 3}', "{}", "[]", "3", "{",
    ],
)
def test_jobs_lie_in_their_folder(tmp_path, text):
    (tmp_path / "jobs.json").write_text(text)
    with pytest.raises(ValueError, match=r"jobs\.json .*one by one"):
        read_jobs(tmp_path)


OWN = '''"""A study."""
from pathlib import Path

import crash_studies
from crash_studies import Config

Path(__file__).with_name("ran").touch()
PRESETS = {"small": Config("host", generations=9, seeds=2)}
build, figures, evidence = crash_studies.build, crash_studies.figures, crash_studies.evidence
'''


def test_a_received_directory_does_not_run_what_it_brings(tmp_path, monkeypatch):
    """Its file is run when the user has run it here, names it, or confirms it."""
    from collapse_jax.studies.registry import find_study

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file, path = tmp_path / "mine.py", tmp_path / "run"
    file.write_text(OWN)
    study, seen = find_study(str(file)), []

    def on_progress(progress):
        if progress.generation == 4:
            raise KeyboardInterrupt

    assert not runs.execute(Job(study, study.preset("small"), path, "small", "c"), on_progress=on_progress)
    assert is_trusted(tmp_path / "elsewhere.py", OWN.encode(), path) and _copy(path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another user"))
    (tmp_path / "ran").unlink()
    with pytest.raises(ValueError, match=r"which you have not run here; read it, then add --trust, or .* --study FILE"):
        _resume(path)
    draw_again(RunDirectory(path), seen.append)
    assert "which you have not run here" in seen[0] and "those of before" in seen[0]
    assert not (tmp_path / "ran").exists()  # nothing of it was run
    moved = tmp_path / "moved.py"
    file.rename(moved)
    before = (path / "config.json").read_bytes()
    with Lock(path), pytest.raises(ValueError, match="another process is writing"):
        _resume(path, study_file=moved)
    assert (path / "config.json").read_bytes() == before
    assert _resume(_copy(path), study_file=moved)[0]
    moved.rename(file)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "a third"))
    assert _resume(_copy(path), trusted=True)[0] and is_trusted(file, b"changed", path)
    assert _resume(path)[0]  # confirmed once is enough


def _copy(path):
    copy = path.with_name(f"{path.name}-copy-{len(list(path.parent.glob('*-copy-*')))}")
    shutil.copytree(path, copy)
    return copy


def test_without_a_home_nothing_is_trusted_and_nothing_fails(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    trust(tmp_path / "mine.py", b"x")
    assert not is_trusted(tmp_path / "mine.py", b"x", tmp_path / "run")


def test_a_place_in_the_directory_itself_counts_for_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for place, known in ((tmp_path / "mine.py", True), (tmp_path / "run" / "study.py", False)):
        trust(place, b"as it was")
        assert is_trusted(place, b"as it was", tmp_path / "run")
        assert is_trusted(place, b"changed", tmp_path / "run") == known




def test_what_else_lies_among_the_figures_is_left_alone(tmp_path, whole):
    figures = tmp_path / "whole" / "figures"
    (figures / "mine").mkdir()
    os.mkfifo(figures / "pipe")
    run = RunDirectory(tmp_path / "whole")
    draw_again(run, print)
    assert run.verdicts == []
    (figures / "captions.json").write_text("[ ]")
    with pytest.raises(ValueError, match=r"captions\.json is not as it was drawn; draw it again"):
        write_report([run], tmp_path / "report.html")


@pytest.mark.heavy
def test_a_limit_of_the_system_is_named_and_the_run_goes_on_without_it(tmp_path):
    """Files of 40 blocks: too little for what a run writes at its end."""
    collapse = f"{sys.executable} -c 'from collapse_jax.cli.main import main; main()'"
    run = "run gmm --num-samples 20 --generations 60 --seeds 2 --lanes 2 --held-out 0 --out"

    def told(command):
        return subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=tmp_path)

    assert told(f"{collapse} {run} whole").returncode == 0
    ended = told(f"ulimit -f 40; exec {collapse} {run} run")
    assert ended.returncode == 2 and "ulimit -f" in ended.stderr and "Traceback" not in ended.stderr, ended
    assert told(f"{collapse} resume run").returncode == 0
    found, whole = (read_netcdf(tmp_path / name / "trajectory.nc") for name in ("run", "whole"))
    assert found.identical(whole)
