"""The file of a study of one's own beside its runs: what of it a run keeps, and whether it is still what it was.

Called by `runs`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collapse_jax.durable import write_atomically
from collapse_jax.rundir import RunDirectory
from collapse_jax.studies.loading import digest_of
from collapse_jax.studies.registry import Study


def file_of(study: Study) -> dict[str, Any]:
    """Return what `config.json` says of the file of a study of one's own."""
    own = study.own
    return {} if own is None else {"file": {"path": str(own.path), "digest": own.digest, "versions": own.versions()}}


def copy_file(run: RunDirectory, study: Study) -> None:
    """Keep the file as it is run: who has changed it can look up what ran."""
    own = study.own
    if own is not None:
        write_atomically(run.path / "study.py", lambda part: part.write_bytes(own.source))


def is_gone(description: Mapping[str, Any]) -> bool:
    """True when a run is of a file that is no longer there."""
    return "file" in description and not Path(description["file"]["path"]).is_file()


def check_file(run: RunDirectory, despite: bool) -> None:
    """Refuse to go on without the file, or, if that is not asked for, with a changed one.

    Raises:
        ValueError: it is gone or changed.
    """
    description = run.description
    if "file" not in description:
        return
    path, copy = Path(description["file"]["path"]), run.path / "study.py"
    if is_gone(description):
        raise ValueError(f"{path}, the study of this run, is gone; put it back, for example from {copy}.")
    if digest_of(path.read_bytes()) != description["file"]["digest"] and not despite:
        raise ValueError(
            f"{path} was changed after the run began, so its bits could not be kept; restore it ({copy} is as it was), "
            "or add --despite-differences to go on with it as it is."
        )
