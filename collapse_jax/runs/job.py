"""What one run is asked to do, from the command line to its directory and back; no JAX here."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from collapse_jax.files.reading import is_there
from collapse_jax.files.writing import write_atomically
from collapse_jax.runs.manifest import plain, read_sealed, sealed
from collapse_jax.studies.axes import Grid
from collapse_jax.studies.registry import Entry, find_study, study_of
from collapse_jax.validation import is_plain_name


class Job(NamedTuple):
    """A study to run into a directory.

    Attributes:
        study: which.
        config: one of its configurations.
        path: the run directory.
        preset: what the configuration began as.
        command: what was typed.
        overwrite: replace an earlier run there.
        grid: axes to sweep over, around the configuration; None for the study itself.
        keep_states: leave each seed's last state in `checkpoints` when the run is finished.
    """

    study: Entry
    config: Any
    path: Path
    preset: str
    command: str
    overwrite: bool = False
    grid: Grid | None = None
    keep_states: bool = True

    @property
    def described(self) -> dict[str, Any]:
        """What `config.json` says of the job; `job_of` reads it."""
        return {
            "study": self.study.name,
            "title": self.study.title,
            "preset": self.preset,
            "command": self.command,
            "config": dataclasses.asdict(self.config),
            **({} if self.grid is None else {"grid": self.grid._asdict()}),
            **({} if self.keep_states else {"keep_states": False}),
        }

    def check_storable(self) -> None:
        """Refuse a configuration that would not come back from `config.json` as it is.

        Raises:
            ValueError: a value that JSON has not.
        """
        fields = json.loads(json.dumps(plain(dataclasses.asdict(self.config)), default=repr))
        again = _config_from(self.study, fields, self.grid)
        for field in dataclasses.fields(self.config):
            value = getattr(self.config, field.name)
            if getattr(again, field.name) != value:
                raise ValueError(
                    f"`{field.name}` is {value!r:.60}, which config.json cannot keep; use finite numbers, strings, "
                    "booleans, None, or tuples of these."
                )


def job_of(path: Path, description: Mapping[str, Any]) -> Job:
    """Return the job that a run does, from what its `config.json` says.

    Raises:
        ValueError: its study is no longer there, or a value is not of its field's type.
    """
    told = description.get("grid")
    grid = None if told is None else Grid({name: tuple(v) for name, v in told["axes"].items()}, told["record_every"])
    study = study_of(description)
    config = _config_from(study, description["config"], grid)
    texts = description.get("preset", ""), description.get("command", "")
    return Job(study, config, path, *texts, grid=grid, keep_states=description.get("keep_states", True))


def _config_from(study: Entry, fields: dict[str, Any], grid: Grid | None) -> Any:
    return study.config_from(fields) if grid is None else study.cell_from(fields)


def write_jobs(out: Path, jobs: Sequence[Job]) -> None:
    """Note in a folder what `reproduce` is to do below it, for `resume`."""
    listed = [[job.study.name, job.preset, job.path.name, job.command] for job in jobs]
    text = json.dumps(sealed({"jobs": listed}))
    write_atomically(out / "jobs.json", lambda part: part.write_text(text, encoding="utf-8"))


def read_jobs(out: Path) -> list[Job]:
    """Return what `reproduce` had to do there; nothing without its note.

    Raises:
        ValueError: the note was changed, or names a study or a preset that there is not.
    """
    path = out / "jobs.json"
    if not is_there(path):
        return []
    listed: Any = read_sealed(path, f"resume the runs in {out} one by one").get("jobs")
    good = isinstance(listed, list) and all(
        isinstance(job, list) and len(job) == 4 and all(isinstance(part, str) for part in job) for job in listed
    )
    if not good or any(not is_plain_name(folder) for _, _, folder, _ in listed):
        raise ValueError(
            f"{path} does not name runs in {out}, as `reproduce` writes it; resume the runs there one by one."
        )
    entries = [(find_study(name), preset, out / folder, command) for name, preset, folder, command in listed]
    return [Job(entry, entry.preset(preset), path, preset, command) for entry, preset, path, command in entries]
