"""Run directories: complete, readable after an interruption, never overwritten unasked."""

import json
from pathlib import Path

import numpy as np
import pytest

from collapse_jax.report import write_report
from collapse_jax.results import read_netcdf
from collapse_jax.runs import RunDirectory, assemble_if_needed, execute, find_runs, illustrate
from collapse_jax.studies.gmm.config import GMMConfig
from collapse_jax.studies.registry import find_study

# two segments of 50 and one of 5, so that an interruption has something to keep
_CONFIG = GMMConfig(num_samples=(40,), generations=105, seeds=3, lanes=4, held_out=20)


def _execute(
    path: Path, *, config=_CONFIG, overwrite=False, on_progress=lambda progress: None, command="a command"
):
    return execute(
        find_study("gmm"),
        config,
        path,
        preset="smoke",
        command=command,
        overwrite=overwrite,
        on_progress=on_progress,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "gmm"
    assert _execute(path, command="collapse-jax run gmm <script>alert(1)</script>")
    return path


def test_a_finished_run_holds_everything(finished):
    held = {entry.name for entry in finished.iterdir()}
    assert held == {"config.json", "trajectory.nc", "claims.json", "figures"}
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
    assert "<script" not in page and "&lt;script&gt;" in page
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


def test_same_seed_same_bits_other_seed_other_bits(finished, tmp_path):
    import dataclasses

    _execute(tmp_path / "again")
    _execute(tmp_path / "other", config=dataclasses.replace(_CONFIG, seed=1))
    first, again, other = (
        read_netcdf(path / "trajectory.nc") for path in (finished, tmp_path / "again", tmp_path / "other")
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


def test_interruption_in_the_second_arm_keeps_both(tmp_path):
    import dataclasses

    def press_ctrl_c(progress):
        if progress.label.endswith("=44") and progress.generation == 50:
            raise KeyboardInterrupt

    config = dataclasses.replace(_CONFIG, num_samples=(40, 44))
    assert not _execute(tmp_path / "run", config=config, on_progress=press_ctrl_c)
    dataset = read_netcdf(tmp_path / "run" / "trajectory.nc")
    reached = np.isfinite(dataset.log_total_variance).all("seed").sum("generation").values
    assert reached.tolist() == [106, 51]


def test_a_killed_run_is_assembled_from_its_segments(finished, tmp_path):
    whole = read_netcdf(finished / "trajectory.nc")
    run = RunDirectory.create(
        tmp_path / "killed", json.loads((finished / "config.json").read_text()), overwrite=False
    )
    records = {name: array.isel(num_samples=0).values for name, array in whole.data_vars.items()}
    run.append(0, 0, 0, {name: values[:, :1] for name, values in records.items()})
    run.append(0, 1, 50, {name: values[:, 1:51] for name, values in records.items()})
    assemble_if_needed(run)
    illustrate(run)
    assert read_netcdf(run.path / "trajectory.nc").sizes["generation"] == 51


def test_nothing_is_written_when_the_configuration_is_bad(tmp_path):
    with pytest.raises(ValueError, match="num_samples"):
        _execute(tmp_path / "run", config=GMMConfig(num_samples=(1,)))
    assert not (tmp_path / "run").exists()


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(ValueError, match="holds no run"):
        find_runs(tmp_path)
