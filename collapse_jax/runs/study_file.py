"""The file of a study of one's own beside its runs: what of it a run keeps, and whether it is still what it was."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collapse_jax.files.reading import TOLD, absolute, read_bytes
from collapse_jax.files.writing import write_atomically
from collapse_jax.runs.directory import RunDirectory
from collapse_jax.runs.trust import is_trusted, trust
from collapse_jax.studies.registry import Entry
from collapse_jax.studies.user_file import short_digest


def file_of(study: Entry) -> dict[str, Any]:
    """Return what `config.json` says of the file of a study of one's own."""
    file = study.file
    if file is None:
        return {}
    return {"file": {"path": str(file.path), "digest": file.digest, "versions": file.versions()}}


def copy_file(run: RunDirectory, study: Entry) -> None:
    """Keep the file as it is run: who has changed it can look up what ran. Who runs it trusts it."""
    file = study.file
    if file is not None:
        trust(file.path, file.source)
        write_atomically(run.path / "study.py", lambda part: part.write_bytes(file.source))


def is_gone(description: Mapping[str, Any]) -> bool:
    """True when a run is of a file that is no longer there."""
    return "file" in description and not os.path.isfile(description["file"]["path"])


def confirm(run: RunDirectory, chosen: Path | None, trusted: bool) -> tuple[dict[str, Any], str]:
    """Return a run's description, and why the file that it names must not be run, "" where it may.

    A run directory may come from anybody. Nothing is written to it.

    Args:
        run: the run.
        chosen: the file that the user names for it, which the description then names, too.
        trusted: the user says that the file that the run names may be run.

    Raises:
        ValueError: the run has no file of its own, or the chosen one is not there.
    """
    description = run.description
    told = description.get("file")
    if told is None:
        if chosen is not None:
            raise ValueError(f"{run.path} is a run of a study of the package, without a file; leave out --study.")
        return description, ""
    if chosen is not None:
        path = absolute(chosen)
        trust(path, read_bytes(path, TOLD, "name the study's file by --study"))
        return {**description, "file": {**told, "path": str(path)}}, ""
    path = Path(told["path"])
    if is_gone(description):
        return description, ""  # nothing to run
    source = read_bytes(path, TOLD)
    if trusted:
        trust(path, source)
    if trusted or is_trusted(path, source, run.path):
        return description, ""
    return description, (
        f"{run.path} names {path} as its study, which you have not run here; read it, then add --trust, or name your "
        "own by --study FILE"
    )


def check_file(run: RunDirectory, description: Mapping[str, Any], despite: bool) -> None:
    """Refuse to go on without the file, or, if that is not asked for, with a changed one.

    Args:
        run: the run.
        description: of it, as `confirm` returns it.
        despite: whether a changed file is asked for.

    Raises:
        ValueError: it is gone or changed.
    """
    if "file" not in description:
        return
    path, copy = Path(description["file"]["path"]), run.path / "study.py"
    if is_gone(description):
        raise ValueError(f"{path}, the study of this run, is gone; put it back, for example from {copy}.")
    if short_digest(read_bytes(path, TOLD)) != description["file"]["digest"] and not despite:
        raise ValueError(
            f"{path} was changed after the run began, so its bits could not be kept; restore it ({copy} is as it was), "
            "or add --despite-differences to go on with it as it is."
        )
