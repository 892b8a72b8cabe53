"""What a run's records say, drawn and judged: figures, verdicts, answer, in its directory."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from collapse_jax.analysis.answers import needed_preset
from collapse_jax.analysis.claims import Evidence, Verdict, judge
from collapse_jax.drivers.results import read_netcdf
from collapse_jax.files.writing import Lock
from collapse_jax.runs.directory import RunDirectory
from collapse_jax.runs.job import job_of
from collapse_jax.runs.manifest import REPLACED
from collapse_jax.runs.study_file import check_file, confirm, is_gone
from collapse_jax.studies.loading import load
from collapse_jax.studies.study import Study
from collapse_jax.studies.user_file import blamed


def draw(run: RunDirectory, study: Study, config: Any, dataset: xr.Dataset) -> list[Verdict]:
    """Draw the figures of a run and judge its claims; return the verdicts.

    Args:
        run: where they are written.
        study: of which the run is.
        config: of the run.
        dataset: what it recorded.
    """
    description, file = run.description, study.entry.file
    several = isinstance(getattr(config, "num_samples", None), tuple) and "num_samples" in dataset.dims
    if several and "grid" not in description:  # an interrupted run may lack arms
        present = tuple(int(value) for value in np.atleast_1d(dataset["num_samples"].values))
        config = dataclasses.replace(config, num_samples=present)
    with blamed(study.entry.path, f"mend it, then collapse-jax report {run.path}"):
        found = study.evidence(config, dataset)
        verdicts = [_with_need(study, item, verdict) for item, verdict in zip(found, judge(found))]
        answer = study.answer(config, dataset)
        captions = [picture.save(run.path / "figures") for picture in study.figures(config, dataset)]
    run.write_json("claims.json", [verdict._asdict() for verdict in verdicts])
    run.write_json("figures/captions.json", captions)
    run.note_drawn()
    drawn_by = {} if file is None else {"file": {**description["file"], "drawn_by": file.digest}}
    run.describe(answer=answer, **drawn_by)
    return verdicts


def _with_need(study: Study, item: Evidence, verdict: Verdict) -> Verdict:
    """Return a verdict with the preset that can decide what this run could not test."""
    if verdict.verdict != "not testable":
        return verdict
    return verdict._replace(needs=needed_preset(item, study.entry.presets, study.published))


def draw_again(
    run: RunDirectory, notice: Callable[[str], None], study_file: Path | None = None, trusted: bool = False
) -> None:
    """Put a run's records together where that is to be done, draw it and judge it.

    Args:
        run: the run.
        notice: told why figures and verdicts stay as they are: the file of one's own study is gone, or may not run.
        study_file: where that file is now; None for where the run says.
        trusted: run the file that the run names, although this user has not run it here.

    Raises:
        ValueError: no readable run, one that another process is writing, or one that was never drawn and whose file
            is gone or may not run.
    """
    with Lock(run.path):  # who is at work there would write the same files
        if run.description["status"] == REPLACED:
            raise ValueError(f"{run.path} was being replaced by a new run when that was killed; start that again.")
        if not run.is_as_begun():
            raise ValueError(f"{run.path / 'config.json'} was changed after the run began; restore it.")
        description, refused = confirm(run, study_file, trusted)
        is_drawn = (run.path / "figures" / "captions.json").is_file()
        if refused and not is_drawn:
            raise ValueError(f"{refused}.")
        if is_gone(description):
            if not is_drawn:
                check_file(run, description, despite=True)
            refused = f"{description['file']['path']} is gone"
        if refused:
            notice(f"{refused}: figures and verdicts are those of before.")
            return
        if study_file is not None:
            run.describe(file=description["file"])
        job = job_of(run.path, description)
        study = load(job.study, job.grid)
        dataset = assembled(run, study, job.config)
        draw(run, study, job.config, dataset)


def assembled(run: RunDirectory, study: Study, config: Any) -> xr.Dataset:
    """Return what a run recorded; of one that has not ended, what its segments hold so far, put together anew.

    For the one who holds the directory's lock.

    Raises:
        ValueError: no segment was finished, or `trajectory.nc` cannot be read.
    """
    if run.description["status"] == "finished":
        return read_netcdf(run.path / "trajectory.nc")
    return run.assemble(study.build(config))
