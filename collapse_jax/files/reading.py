"""The gate for files that may come from anybody: regular ones alone, and no more of them than is said.

    bytes read <= most,    bytes unpacked <= max(1 GiB, 100 * bytes packed)

A pipe waits for ever, a device never ends, and a small packed file may hold terabytes: all are refused before memory
or time is spent.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

TOLD = 2**26  # bytes of a description or a program: configurations, verdicts, captions, studies
DATA = 2**30  # bytes of a text or of records, which take many times as much when they are cut into tokens or cells
_UNPACKED, _RATIO = 2**30, 100  # arrays of one value are packed more tightly, but no more than a part of a file
_KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}  # fmt: skip


class Refused(ValueError):
    """A file that is not read."""


def place_of(path: str | os.PathLike[str]) -> Path:
    """Return a path that may begin with ~; an unknown user's stays as it is, where `Path.expanduser` raises."""
    return Path(os.path.expanduser(path))


def absolute(path: str | os.PathLike[str]) -> Path:
    """Return where a path that may begin with ~ leads; links in a circle stay, where `Path.resolve` raises."""
    return Path(os.path.realpath(place_of(path)))


def is_there(path: Path) -> bool:
    """True for an entry of that name, of whatever kind; `open_file` says why it cannot be read."""
    return os.path.lexists(path)


def size_of(path: Path, most: int | None = None, remedy: str = "name a file that can be read") -> int:
    """Return how many bytes a file has, without opening it.

    Args:
        path: of the file, or of a link to it.
        most: as many are allowed; None: as many as the machine has memory.
        remedy: ends the sentence.

    Raises:
        Refused: it is not there, no regular file, or too large.
    """
    try:
        told = path.stat()
    except (OSError, ValueError) as error:  # a ValueError: the name holds a zero byte
        raise _refused(path, getattr(error, "strerror", None) or str(error), remedy) from error
    if not stat.S_ISREG(told.st_mode):
        raise _refused(path, f"it is {_KINDS.get(stat.S_IFMT(told.st_mode), 'no regular file')}", remedy)
    most = memory() if most is None else most
    if told.st_size > most:
        raise _refused(path, f"it has {told.st_size:,} bytes, and at most {most:,} are read", remedy)
    return told.st_size


def open_file(path: Path, most: int | None = None, remedy: str = "name a file that can be read") -> BinaryIO:
    """Return a regular file, open for reading; arguments and what is raised as for `size_of`."""
    size_of(path, most, remedy)
    try:
        return open(path, "rb", opener=without_waiting)
    except OSError as error:
        raise _refused(path, str(error.strerror), remedy) from error


def read_bytes(path: Path, most: int | None = None, remedy: str = "name a file that can be read") -> bytes:
    """Return a file's content; arguments and what is raised as for `size_of`."""
    size = size_of(path, most, remedy)
    with open_file(path, most, remedy) as file:
        try:
            content = file.read(size + 1) or b""
        except OSError as error:
            raise _refused(path, str(error.strerror), remedy) from error
    if len(content) > size:  # what the system itself shows as files, which may never end
        raise _refused(path, f"it goes on after the {size:,} bytes that it says it has", remedy)
    return content


def read_json(path: Path, remedy: str = "name a file that can be read") -> Any:
    """Return what a JSON file of at most `TOLD` bytes holds; what is raised as for `size_of`, or if it is no JSON."""
    content = read_bytes(path, TOLD, remedy)
    try:
        return json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _refused(path, str(error) or type(error).__name__, remedy) from error


def chunks(path: Path, most: int | None = None) -> Iterator[bytes]:
    """Yield a file's content a MiB at a time; what is raised as for `size_of`."""
    left = size_of(path, most)
    with open_file(path, most) as file:
        while left > 0 and (chunk := file.read(min(left, 2**20))):
            left -= len(chunk)
            yield chunk


def digest_of(content: bytes) -> str:
    """Return the check sum by which something is known: nobody makes another of the same by chance."""
    return hashlib.sha256(content).hexdigest()


def sha256(*paths: Path, most: int | None = None) -> str:
    """Return the SHA-256 of files, one after the other; what is raised as for `size_of`."""
    found = hashlib.sha256()
    for path in paths:
        for chunk in chunks(path, most):
            found.update(chunk)
    return found.hexdigest()


def check_unpacked(path: Path, packed: int, unpacked: int, ratio: int = _RATIO) -> None:
    """Refuse a packed file that would fill memory.

    Args:
        path: of the file.
        packed: bytes on disk.
        unpacked: bytes that it says it holds.
        ratio: as many times as many are read, where they are more than a GiB.

    Raises:
        Refused: these are too many.

    >>> check_unpacked(Path("digits.gz"), 10**4, 10**12)
    Traceback (most recent call last):
    ...
    collapse_jax.files.reading.Refused: digits.gz cannot be read (its 10,000 bytes would become 1,000,000,000,000); take
    it
    again from where it came from.
    """
    if unpacked > min(max(_UNPACKED, ratio * packed), memory()):
        why = f"its {packed:,} bytes would become {unpacked:,}"
        raise _refused(path, why, "take it again from where it came from")


def memory() -> int:
    """Return how many bytes of memory the machine has; where it does not say, 64 GiB."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 2**36


def without_waiting(path: str, flags: int) -> int:
    """Open as `os.open` does, and fail where it would wait for the other end of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)


def _refused(path: Path, why: str, remedy: str) -> Refused:
    return Refused(f"{path} cannot be read ({why}); {remedy}.")
