"""What a process that is killed leaves: a directory as it is before each thing that is done to its files."""

import contextlib
import fcntl
import hashlib
import os
import shutil
from pathlib import Path

_DONE = ("replace", "rename", "fsync", "unlink", "remove", "rmdir", "mkdir")


class CrashPoints:
    """Within it, all different states of a directory are kept, one folder each, in the order of time.

    Files are written under other names and get their names by `os.replace`, so that what lies between two of these
    calls is a part of a file that nobody reads. Where several processes write to the directory, they take turns.

    Args:
        folder: the directory.
        into: a new folder for its states.
        turn: a file that all processes lock for each call; None for one process.
    """

    def __init__(self, folder: Path, into: Path, turn: Path | None = None) -> None:
        self.folder, self.into, self.turn = folder, into, turn
        self.points: list[Path] = []
        self._seen: set[str] = set()
        self._is_copying = False

    def __enter__(self) -> "CrashPoints":
        self.into.mkdir()
        self._functions = {name: getattr(os, name) for name in _DONE}
        for name, function in self._functions.items():
            setattr(os, name, self._before(function))
        return self

    def __exit__(self, *_: object) -> None:
        for name, function in self._functions.items():
            setattr(os, name, function)

    def _before(self, function):
        def called(*args, **options):
            with self._alone():
                self._keep()
                return function(*args, **options)

        return called

    @contextlib.contextmanager
    def _alone(self):
        if self.turn is None or self._is_copying:
            yield
            return
        with self.turn.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _keep(self) -> None:
        if self._is_copying or not self.folder.exists():
            return
        self._is_copying = True
        try:
            state = _state(self.folder)
            if state not in self._seen:
                self._seen.add(state)
                self.points.append(self.into / f"{len(self.points):04d}")
                shutil.copytree(self.folder, self.points[-1])
        finally:
            self._is_copying = False


def _state(folder: Path) -> str:
    """Return a digest of all names and contents."""
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(f"{path.relative_to(folder)}\0".encode())
        if path.is_file():
            found.update(path.read_bytes())
    return found.hexdigest()
