"""Which study files may be run because a run directory names them: those that this user has run here, or confirmed.

A run directory is data. It says where the file of its study lies, and a directory from elsewhere may name any file,
one that it brings along, too. A file is known by its bytes, or by its place, where a changed one is the user's own
change, unless that place is in the run directory. Both are kept in the user's own state folder.
"""

import os
from pathlib import Path

from collapse_jax.files.reading import TOLD, absolute, digest_of, read_bytes, without_waiting


def trust(path: Path, source: bytes) -> None:
    """Remember a file as the user's own; where there is no home to keep that, it is not remembered."""
    new = {digest_of(source), digest_of(bytes(path))} - _known()
    if not new:
        return
    try:
        place = _place()
        place.parent.mkdir(parents=True, exist_ok=True)
        with open(place, "a", opener=without_waiting) as file:
            file.write("".join(f"{line}\n" for line in sorted(new)))
    except (OSError, RuntimeError):
        return


def is_trusted(path: Path, source: bytes, received: Path) -> bool:
    """True when the user has run or confirmed a file of these bytes, or one at this place.

    Args:
        path: absolute.
        source: what is there.
        received: the run directory that names it; a place in there counts for nothing.
    """
    is_inside = absolute(path).is_relative_to(absolute(received))
    return bool(_known() & {digest_of(source), *(() if is_inside else (digest_of(bytes(path)),))})


def _known() -> set[str]:
    try:
        return set(read_bytes(_place(), TOLD).decode().split())
    except (ValueError, RuntimeError):
        return set()


def _place() -> Path:
    """Return the file of check sums.

    Raises:
        RuntimeError: there is no home.
    """
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "collapse_jax" / "studies"
