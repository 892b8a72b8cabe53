"""A random subset of the rows of arrays: .npy, .npz and IDX files, of which no more is held than what is returned.

    header -> shape, type, where the data begin -> rows are chosen -> these are read, one after the other

No memory maps: the pages that one touches stay with the process, and rows far apart touch many.
"""

import contextlib
import math
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from collapse_jax.files.arrays import read_header
from collapse_jax.files.decoding import open_unpacked
from collapse_jax.files.idx import MOST_HEADER, idx_shape, is_idx
from collapse_jax.files.reading import Refused, open_file
from collapse_jax.sources.formats import kind_of
from collapse_jax.sources.reservoir import choose

_REMEDY = "name a file of samples"
_AGAIN = "write it again, or take it again from where it came from"
_NAMES = ("x", "data", "samples", "images")  # of the array that is meant, where a file holds several
_BLOCK = 2**18  # numbers of a column read at once
MOST = 2**30  # bytes of a subset


class Stored(NamedTuple):
    """An array in a file: its shape, whether columns come first, its type, and how far in its data begin."""

    shape: tuple[int, ...]
    by_columns: bool
    dtype: np.dtype
    offset: int


def read_arrays(paths: Sequence[Path], max_rows: int, seed: int) -> tuple[np.ndarray, int, list[str]]:
    """Return a random subset of the rows of arrays that are parts of one, how many there are, and notes.

    Raises:
        ValueError: a file cannot be read, holds no array of numbers, or is no part of the same.
    """
    parts, notes = [], list[str]()
    for path in paths:
        with _opened(path, notes) as (_, stored):
            _check(path, stored)
            parts.append(stored)
    row, first = parts[0].shape[1:], parts[0]
    for path, stored in zip(paths, parts, strict=True):
        if stored.shape[1:] != row or (stored.dtype.kind == "U") != (first.dtype.kind == "U"):
            raise ValueError(
                f"{paths[0]} has rows of the shape {row} ({first.dtype}) and {path} of {stored.shape[1:]} "
                f"({stored.dtype}); give parts of one kind."
            )
    starts = np.cumsum([0, *(stored.shape[0] for stored in parts)])
    num_rows = int(starts[-1])
    if num_rows == 0:
        raise ValueError(f"{paths[0]} holds no sample; write a row for each.")
    size = fitting(max_rows, max(math.prod(row) * stored.dtype.itemsize for stored in parts), num_rows, notes)
    chosen = choose(num_rows, size, seed)
    taken = []
    for path, stored, start in zip(paths, parts, starts):
        here = chosen[(chosen >= start) & (chosen < start + stored.shape[0])] - start
        if len(here):
            with _opened(path, []) as (file, _):
                taken.append(_rows(path, file, stored, here))
    return np.concatenate(taken), num_rows, notes


def fitting(max_rows: int, num_bytes: int, num_rows: int, notes: list[str]) -> int:
    """Return how many rows of so many bytes are kept, fewer than asked for where they would fill memory."""
    size = min(max_rows, max(1, MOST // max(1, num_bytes)))
    if size < min(max_rows, num_rows):
        notes.append(f"Only {size:,} samples are read, for each takes {num_bytes / 2**20:,.0f} MiB.")
    return size


def _check(path: Path, stored: Stored) -> None:
    if not stored.shape:
        raise ValueError(f"{path} holds a single value; samples need an axis, a row for each.")
    if stored.dtype.kind not in "biuf" and not (stored.dtype.kind == "U" and len(stored.shape) == 1):
        remedy = "save its columns as a table" if stored.dtype.names else "save real numbers, such as float32"
        raise ValueError(f"{path} holds values of the type {stored.dtype}, which are no samples; {remedy}.")


@contextlib.contextmanager
def _opened(path: Path, notes: list[str]) -> Iterator[tuple[Any, Stored]]:
    """Give a file, open, and where in it the array lies; what goes wrong while it is read becomes a sentence."""
    try:
        if kind_of(path) == "idx":
            with open_unpacked(path, _REMEDY) as unpacked:
                yield unpacked, _idx(path, unpacked)
        elif path.name.lower().endswith(".npz"):
            with open_file(path, sys.maxsize, _REMEDY) as file, zipfile.ZipFile(file) as archive:
                member = _member(path, archive, notes)
                with archive.open(member) as array:
                    yield array, _npy(path, array, member.file_size)
        else:
            with open_file(path, sys.maxsize, _REMEDY) as file:
                yield file, _npy(path, file, path.stat().st_size)
    except Refused:
        raise
    except Exception as error:  # a damaged file may raise anything
        if isinstance(error, ValueError) and str(error).startswith(str(path)):
            raise
        told = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        raise ValueError(f"{path} cannot be read as an array ({told}); {_AGAIN}.") from error


def _npy(path: Path, file: Any, size: int) -> Stored:
    stored = Stored(*read_header(file), offset=file.tell())
    needed = math.prod(stored.shape) * stored.dtype.itemsize
    if not stored.dtype.hasobject and stored.offset + needed > size:
        raise ValueError(
            f"{path} is cut off: its shape {stored.shape} asks for {needed:,} bytes, and {size - stored.offset:,} are "
            f"there; {_AGAIN}."
        )
    return stored


def _member(path: Path, archive: zipfile.ZipFile, notes: list[str]) -> zipfile.ZipInfo:
    """Return the array of an archive that is meant."""
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    name = next(iter(members)) if len(members) == 1 else ""
    lower = {given.lower(): given for given in members}
    name = name or next((lower[known] for known in _NAMES if known in lower), "")
    if not name:
        listed = ", ".join(list(members)[:5]) or "none"
        raise ValueError(f"{path} holds the arrays {listed}; call the one of the samples 'samples'.")
    others = [other for other in members if other != name]
    if others:
        notes.append(f"Of {path.name}, '{name}' is read; left out: {', '.join(others[:5])}.")
    return members[name]


def _idx(path: Path, file: Any) -> Stored:
    start = file.read(MOST_HEADER)
    shape = idx_shape(start) if is_idx(start) else ()
    if not shape:
        raise ValueError(f"{path} is not an IDX file of unsigned bytes; {_AGAIN}.")
    return Stored(shape, False, np.dtype(np.uint8), 4 + 4 * len(shape))


def _rows(path: Path, file: Any, stored: Stored, chosen: np.ndarray) -> np.ndarray:
    """Return some rows, in ascending order: what is packed is read forwards alone."""
    row, dtype = stored.shape[1:], stored.dtype
    if stored.by_columns and row:
        taken = _by_columns(path, file, stored, chosen).reshape(len(chosen), *row, order="F")
    else:
        width = math.prod(row) * dtype.itemsize
        content = b"".join(_piece(path, file, stored.offset + index * width, width) for index in chosen.tolist())
        taken = np.frombuffer(content, dtype).reshape(len(chosen), *row)
    if kind_of(path) == "idx":
        _check_end(path, file, stored)
    return np.array(taken, dtype.newbyteorder("="), order="C")


def _by_columns(path: Path, file: Any, stored: Stored, chosen: np.ndarray) -> np.ndarray:
    num_rows, size = stored.shape[0], stored.dtype.itemsize
    taken = np.empty((len(chosen), math.prod(stored.shape[1:])), stored.dtype)
    for column in range(taken.shape[1]):
        for start in range(0, num_rows, _BLOCK):
            here = slice(*np.searchsorted(chosen, (start, start + _BLOCK)))
            if here.start < here.stop:
                num = min(_BLOCK, num_rows - start)
                piece = _piece(path, file, stored.offset + (column * num_rows + start) * size, num * size)
                taken[here, column] = np.frombuffer(piece, stored.dtype)[chosen[here] - start]
    return taken


def _piece(path: Path, file: Any, start: int, num: int) -> bytes:
    file.seek(start)
    piece = file.read(num)
    if len(piece) != num:
        raise ValueError(f"{path} is cut off before byte {start + num:,}; {_AGAIN}.")
    return piece


def _check_end(path: Path, file: Any, stored: Stored) -> None:
    """Refuse an IDX file that is shorter or longer than its header says, which it alone says of its size."""
    end = stored.offset + math.prod(stored.shape)
    file.seek(end - 1)
    if len(file.read(2)) != 1:
        raise ValueError(
            f"{path} is truncated or too long: its header {stored.shape} asks for {end:,} bytes; {_AGAIN}."
        )
