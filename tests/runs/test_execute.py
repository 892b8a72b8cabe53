"""Run directories: complete, readable after an interruption, never overwritten unasked."""

import dataclasses
import errno
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from collapse_jax.drivers.results import read_netcdf
from collapse_jax.files.writing import Lock
from collapse_jax.runs.directory import RunDirectory, shards_of
from collapse_jax.runs.drawing import draw_again
from collapse_jax.runs.execute import Stopped, execute, resume
from collapse_jax.runs.job import Job
from collapse_jax.runs.manifest import sealed
from collapse_jax.runs.reading import find_runs
from collapse_jax.runs.report import write_report
from collapse_jax.studies.gaussian.config import GaussianConfig
from collapse_jax.studies.gmm.config import GMMConfig
from collapse_jax.studies.registry import find_study

# two segments of 50 and one of 5, so that an interruption has something to keep
_CONFIG = GMMConfig(num_samples=(40,), generations=105, seeds=3, lanes=4, held_out=20)
# what going on needs no pictures for: two segments of 500 and one of 5 of what compiles in a second
_WALKS = GaussianConfig(num_samples=(40,), generations=1005, regime_generations=0, seeds=3, lanes=4)


def _execute(
    path: Path, *, config=_CONFIG, overwrite=False, on_progress=lambda progress: None, command="a command"
):
    study = find_study("gmm" if isinstance(config, GMMConfig) else "gaussian")
    return execute(Job(study, config, path, "smoke", command, overwrite), on_progress=on_progress)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "gmm"
    assert _execute(path, command="collapse-jax run gmm <script>alert(1)</script>")
    return path


@pytest.fixture
def undrawn(monkeypatch):
    """What is drawn is another test's business."""
    monkeypatch.setattr("collapse_jax.runs.execute.draw", lambda *_: [])


def test_a_finished_run_holds_everything(finished):
    held = {entry.name for entry in finished.iterdir()}
    assert held == {"config.json", "trajectory.nc", "claims.json", "figures", "checkpoints", ".lock"}
    description = json.loads((finished / "config.json").read_text())
    assert description["status"] == "finished" and description["config"]["num_samples"] == [40]
    assert {"jax", "numpy", "collapse-jax"} <= set(description["versions"])
    pictures = {entry.name for entry in (finished / "figures").iterdir()}
    assert {"variance.png", "variance.svg", "snapshots.png", "distance.png"} <= pictures


def test_trajectory_has_dims_and_units(finished):
    dataset = read_netcdf(finished / "trajectory.nc")
    assert dict(dataset.log_total_variance.sizes) == {"num_samples": 1, "seed": 3, "generation": 106}
    assert dataset.log_total_variance.attrs["units"] == "nats"
    assert np.isfinite(dataset.log_total_variance).all()


def test_every_claim_has_a_verdict(finished):
    claims = json.loads((finished / "claims.json").read_text())
    assert claims and {claim["verdict"] for claim in claims} <= {
        "holds",
        "fails",
        "inconclusive",
        "not testable",
    }
    assert all(claim["reason"] for claim in claims if claim["verdict"] == "not testable")


def test_report_is_self_contained_and_escaped(finished, tmp_path):
    page = write_report(find_runs(finished), tmp_path / "report.html").read_text()
    assert "<script src" not in page and "<script>alert" not in page and "&lt;script&gt;" in page
    assert 'src="http' not in page and 'href="http' not in page and "url(" not in page
    assert page.count("data:image/png;base64,") == len(list((finished / "figures").glob("*.png"))) >= 3


def test_a_run_is_not_overwritten_unasked(finished):
    before = (finished / "trajectory.nc").read_bytes()
    with pytest.raises(ValueError, match="--overwrite"):
        _execute(finished)
    assert (finished / "trajectory.nc").read_bytes() == before


def test_foreign_files_are_never_deleted(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="not a run"):
        _execute(tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """A finished run without pictures."""
    path = tmp_path_factory.mktemp("walks") / "gaussian"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collapse_jax.runs.execute.draw", lambda *_: [])
        assert _execute(path, config=_WALKS)
    return path


@pytest.mark.usefixtures("undrawn")
def test_same_seed_same_bits_other_seed_other_bits(walked, tmp_path):
    _execute(tmp_path / "again", config=_WALKS)
    _execute(tmp_path / "other", config=dataclasses.replace(_WALKS, seed=1))
    first, again, other = (
        read_netcdf(path / "trajectory.nc") for path in (walked, tmp_path / "again", tmp_path / "other")
    )
    assert first.equals(again) and not first.equals(other)


def test_interruption_leaves_a_readable_partial_run(finished, tmp_path):
    def press_ctrl_c(progress):
        if progress.generation == 50:
            raise KeyboardInterrupt

    path = tmp_path / "partial"
    assert not _execute(path, on_progress=press_ctrl_c)
    assert json.loads((path / "config.json").read_text())["status"] == "interrupted"
    dataset = read_netcdf(path / "trajectory.nc")
    assert dataset.sizes["generation"] == 51
    whole = read_netcdf(finished / "trajectory.nc")
    assert dataset.equals(whole.isel(generation=slice(0, 51)))
    assert "interrupted" in write_report(find_runs(path), tmp_path / "report.html").read_text()


@pytest.mark.usefixtures("undrawn")
def test_interruption_in_the_second_arm_keeps_both(tmp_path):
    def press_ctrl_c(progress):
        if progress.label.endswith("=44") and progress.generation == 50:
            raise KeyboardInterrupt

    config = dataclasses.replace(_CONFIG, num_samples=(40, 44))
    assert not _execute(tmp_path / "run", config=config, on_progress=press_ctrl_c)
    dataset = read_netcdf(tmp_path / "run" / "trajectory.nc")
    reached = np.isfinite(dataset.log_total_variance).all("seed").sum("generation").values
    assert reached.tolist() == [106, 51]


def test_a_running_or_killed_run_is_assembled_from_its_segments(finished, tmp_path):
    whole = read_netcdf(finished / "trajectory.nc")
    run = RunDirectory.create(tmp_path / "killed", json.loads((finished / "config.json").read_text()))
    records = {name: array.isel(num_samples=0).values for name, array in whole.data_vars.items()}
    label = run.shards[0].label(0)
    run.records.append(label, 0, 0, {name: values[:, :1] for name, values in records.items()})
    run.records.append(label, 1, 50, {name: values[:, 1:51] for name, values in records.items()})
    draw_again(run, print)
    assert read_netcdf(run.path / "trajectory.nc").sizes["generation"] == 51
    assert len(run.records.segments(label)) == 2  # they are still there to go on from


def _stop_at(generation, stop):
    def on_progress(progress):
        if progress.generation == generation:
            stop()

    return on_progress


def _interrupt():
    raise KeyboardInterrupt


def _interrupted(path, generation=500, config=_WALKS, **changes):
    """A run that Ctrl-C ended."""
    config = dataclasses.replace(config, **changes)
    assert not _execute(path, config=config, on_progress=_stop_at(generation, _interrupt))
    return path


def _go_on(path, **options):
    notices = []
    done = resume(path, on_progress=lambda progress: notices.append(progress.notice), **options)
    return done, " ".join(notices)


def _same_ending(path, other):
    """The same trajectory and the same last state, to the bit."""
    assert read_netcdf(path / "trajectory.nc").equals(read_netcdf(other / "trajectory.nc"))
    names = [sorted(file.name for file in (run / "checkpoints").iterdir()) for run in (path, other)]
    assert names[0] == names[1] and names[0]
    for name in names[0]:
        with np.load(path / "checkpoints" / name) as one, np.load(other / "checkpoints" / name) as two:
            assert sorted(one) == sorted(two)
            assert all(one[key].tobytes() == two[key].tobytes() for key in one)


def test_an_interrupted_run_goes_on_to_the_same_bits(finished, tmp_path):
    path = _interrupted(tmp_path / "run", 50, _CONFIG)
    _change(path, seconds=1000.0)
    assert _go_on(path)[0]
    _same_ending(path, finished)
    description = json.loads((path / "config.json").read_text())
    assert 1000 < description["seconds"] < 2000  # of both halves
    assert description["status"] == "finished" and len(description["resumed"]) == 1
    assert not (path / "records").exists()
    assert _go_on(path) == (True, f"{path} is finished already.")


@pytest.mark.usefixtures("undrawn")
def test_sigterm_stops_at_the_next_checkpoint(walked, tmp_path):
    def terminate():
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped):
        _execute(tmp_path / "run", config=_WALKS, on_progress=_stop_at(500, terminate))
    assert signal.getsignal(signal.SIGTERM) == before
    assert json.loads((tmp_path / "run" / "config.json").read_text())["status"] == "stopped"
    assert RunDirectory(tmp_path / "run").records.reached("arm000-seed00000000") == 1000
    assert _go_on(tmp_path / "run")[0]
    _same_ending(tmp_path / "run", walked)


def _damage_checkpoint(path):
    newest = sorted((path / "checkpoints").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:100])


def _lose_records(path):
    sorted((path / "records").iterdir())[-1].unlink()


def _damage_records(path):
    newest = sorted((path / "records").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:-30])


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("damage", "notice"),
    [
        (_damage_checkpoint, "gen00000500.npz is damaged; going on from the one before it."),
        (_lose_records, ""),
        (_damage_records, ""),
    ],
)
def test_a_run_goes_on_from_the_last_good_state(walked, tmp_path, damage, notice):
    path = _interrupted(tmp_path / "run")
    damage(path)
    done, told = _go_on(path)
    assert done and notice in told
    _same_ending(path, walked)


def _change(path, **changes):
    description = json.loads((path / "config.json").read_text())
    for name, value in changes.items():
        description[name] = {**description[name], **value} if isinstance(value, dict) else value
    (path / "config.json").write_text(json.dumps(sealed(description)))


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"config": {"estimator": "mle"}}, "the configuration in .* was changed after the run began; restore it"),
        ({"versions": {"jax": "0.1"}}, "begun elsewhere .jax 0.1, now .*--despite-differences"),
        ({"threads": 999}, "begun elsewhere .threads 999, now"),
        ({"device_kind": "TPU v9"}, "begun elsewhere .device_kind TPU v9, now cpu"),
        ({"settings": {"jax_enable_x64": True}}, "other settings of JAX .jax_enable_x64 True, now False"),
    ],
)
def test_what_would_give_other_bits_is_refused_and_left_alone(tmp_path, changes, sentence):
    path = _interrupted(tmp_path / "run", generations=505)
    _change(path, **changes)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    with pytest.raises(ValueError, match=sentence):
        _go_on(path)
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    if "threads" in changes:
        assert _go_on(path, despite=True)[0]


@pytest.mark.usefixtures("undrawn")
def test_a_second_process_is_refused(tmp_path):
    path = _interrupted(tmp_path / "run", generations=505)
    with Lock(path):
        for begin in (_go_on, lambda path: _execute(path, overwrite=True)):
            with pytest.raises(ValueError, match="another process is writing to"):
                begin(path)
    assert RunDirectory(path).description["status"] == "interrupted"


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written"):
        _execute(tmp_path / "file" / "run")


@pytest.mark.usefixtures("undrawn")
def test_a_disk_that_fills_up_ends_the_run_with_a_remedy(walked, tmp_path, monkeypatch):
    """Whatever was whole before stays whole, and the run goes on when there is room again."""
    savez, calls = np.savez, []

    def fill_up(file, *args, **options):
        calls.append(file)
        if len(calls) == 4:  # records and a state of generation 0, records of 500, and then its state
            file.write(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        savez(file, *args, **options)

    monkeypatch.setattr(np, "savez", fill_up)
    with pytest.raises(ValueError, match=r"No space left on device.*; free some space.*collapse-jax resume"):
        _execute(tmp_path / "run", config=_WALKS)
    monkeypatch.undo()
    assert _go_on(tmp_path / "run")[0]
    _same_ending(tmp_path / "run", walked)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_shards_are_whole_blocks_and_cover_every_seed(count):
    for seeds, lanes in ((1, 16), (40, 16), (64, 16), (33, 8)):
        shards = shards_of(seeds, lanes, count, on_host=False)
        assert [s for shard in shards for s in range(shard.first_seed, sum(shard))] == list(range(seeds))
        assert all(shard.first_seed % lanes == 0 for shard in shards)
        assert len(shards) == min(count, -(-seeds // lanes))
    assert shards_of(3, 16, count, on_host=True) == [(0, 1), (1, 1), (2, 1)]


def test_nothing_is_written_when_the_configuration_is_bad(tmp_path):
    with pytest.raises(ValueError, match="num_samples"):
        _execute(tmp_path / "run", config=GMMConfig(num_samples=(1,)))
    assert not (tmp_path / "run").exists()


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(ValueError, match="holds no run"):
        find_runs(tmp_path)
