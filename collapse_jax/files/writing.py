"""Files that survive a crash: written whole or not at all, and one writer for each directory."""

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from collapse_jax.files.reading import without_waiting
from collapse_jax.validation import remedy_of

try:
    import fcntl
except ImportError:  # Windows has no such locks: there two writers are not told apart
    fcntl = None  # type: ignore[assignment]

PART = ".part-"  # how the names of what is not yet whole, or no longer, begin


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under another name, flush it to disk, and give it its name; a kill leaves the old file or the new.

    Args:
        path: the file.
        write: writes a file of the name it is given.

    Raises:
        ValueError: the disk is full, or the directory cannot be written; what was there stays.
    """
    part = path.with_name(f"{PART}{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
        _flush_names(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise ValueError(_sentence(path, error)) from error
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def remove_parts(folder: Path) -> None:
    """Remove what writers that were killed left half-written; for the one who holds the directory's lock."""
    folders = [folder, *(entry for entry in folder.iterdir() if entry.is_dir())]  # links to scratch disks, too
    for part in [part for place in folders for part in place.glob(f"{PART}*")]:
        shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink(missing_ok=True)


def put_folder(part: Path, path: Path) -> None:
    """Give a folder that was written under another name its name; what was there goes.

    Args:
        part: the folder; its name begins with `PART`.
        path: its name from now on.
    """
    remove_folder(path)
    os.replace(part, path)
    _flush_names(path.parent)


def remove_folder(path: Path) -> None:
    """Remove a folder; a kill leaves all of it, or what `remove_parts` removes. Where a link leads is emptied."""
    if path.is_symlink():
        empty_folder(path)
    elif path.exists():
        gone = path.with_name(f"{PART}gone-{path.name}")
        os.replace(path, gone)
        shutil.rmtree(gone)


def empty_folder(path: Path) -> None:
    """Remove all that is in a folder, and leave it."""
    for entry in path.iterdir():
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink(missing_ok=True)


class Lock:
    """A directory's one writer; released when the process ends, however it ends.

    Raises:
        ValueError: another process holds it, or the directory cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = open(folder / ".lock", "a", opener=without_waiting)  # noqa: SIM115
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise ValueError(
                f"another process is writing to {folder}; wait for it, or choose another --out."
            ) from error
        except OSError as error:
            raise ValueError(_sentence(folder, error)) from error

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _flush_names(folder: Path) -> None:
    """Flush a directory's entries, so that a renamed file is found after a power cut; some systems cannot."""
    try:
        entry = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(entry)
    except OSError:
        pass
    finally:
        os.close(entry)


def _sentence(path: Path, error: OSError) -> str:
    return f"{path} cannot be written ({error.strerror or error}); {remedy_of(error, 'choose another --out')}."
