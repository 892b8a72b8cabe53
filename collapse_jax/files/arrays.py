"""Named arrays as one file, with what is said of them and a check sum of each: whole, or known to be damaged.

NumPy reads as many bytes as an array's header says, so that a flipped bit there gives other rows without a word;
the sums are of type, shape and bytes.
"""

import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from collapse_jax.files.reading import check_unpacked, open_file
from collapse_jax.files.writing import write_atomically

_ABOUT = "about"  # the member that holds what is said of the arrays, as JSON
_SEAL = "seal"  # and its check sum


class Damaged(ValueError):
    """A file that is not whole."""


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Write arrays durably.

    Args:
        path: the file; one of that name is replaced.
        arrays: name -> array, of NumPy's plain types.
        about: what JSON can say of them.

    Raises:
        ValueError: the file cannot be written.
    """
    sums = [check_sum(array) for array in arrays.values()]
    text = json.dumps({"about": dict(about), "names": list(arrays), "sums": sums}).encode()
    members = {f"array{index}": array for index, array in enumerate(arrays.values())}
    members |= {_ABOUT: np.frombuffer(text, np.uint8), _SEAL: np.asarray(zlib.crc32(text), np.uint32)}

    def write(part: Path) -> None:
        with part.open("wb") as file:
            np.savez(file, allow_pickle=False, **members)

    write_atomically(path, write)


def load_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays of a file, and what is said of them.

    Raises:
        Damaged: the file is not there, or not as `save_arrays` wrote it.
    """
    try:
        with open_file(path) as file, np.load(file, allow_pickle=False) as stored:
            check_members(path, stored)
            text = stored[_ABOUT].tobytes()
            if zlib.crc32(text) != stored[_SEAL]:
                raise Damaged("what it says of itself was changed")
            told = json.loads(text)
            arrays = {name: stored[f"array{index}"] for index, name in enumerate(told["names"])}
        for (name, array), expected in zip(arrays.items(), told["sums"], strict=True):
            if check_sum(array) != expected:
                raise Damaged(f"the check sum of '{name}' differs")
    except Exception as error:  # a damaged archive may raise anything
        raise Damaged(f"{path} is not whole ({str(error) or type(error).__name__}).") from error
    return arrays, told["about"]


def check_members(path: Path, stored: Any) -> None:
    """Refuse an open `.npz` whose arrays are larger than the file holds, or would fill memory when they are unpacked.

    Args:
        path: of the file.
        stored: what `np.load` returned for it.

    Raises:
        ValueError: NumPy would ask for memory before it sees that.
    """
    members = stored.zip.infolist()
    check_unpacked(path, sum(member.compress_size for member in members), sum(member.file_size for member in members))
    for member in members:
        with stored.zip.open(member) as file:
            shape, _, kind = read_header(file)
        if math.prod(shape) * kind.itemsize > member.file_size:
            raise ValueError(f"'{member.filename}' says the shape {shape}, which its bytes do not hold")


def read_header(file: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return the shape of an array in NumPy's format, whether columns come first, and its type; what follows is data.

    Args:
        file: open at the array's first byte.

    Raises:
        ValueError: it is no such array.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def check_sum(array: np.ndarray) -> str:
    """Return a short check sum of an array's type, shape and bytes.

    >>> check_sum(np.zeros((2, 3))) == check_sum(np.zeros((3, 2)))
    False
    """
    kind = f"{array.dtype.str}{array.shape}".encode()
    return f"{zlib.crc32(np.ascontiguousarray(array).data, zlib.crc32(kind)):08x}"
