"""64 bits of each row, by which equal rows are told."""

import hashlib
from collections.abc import Iterable

import numpy as np


def signs_of(rows: Iterable[bytes]) -> np.ndarray:
    """Return 64 bits of each row's bytes."""
    return np.array([_sign(row) for row in rows], np.uint64)


def signs_of_numbers(values: np.ndarray) -> np.ndarray:
    """Return 64 bits of each row of numbers; -0 is 0.

    >>> signs = signs_of_numbers(np.array([[0.0, 1.0], [-0.0, 1.0], [1.0, 0.0]]))
    >>> bool(signs[0] == signs[1]), bool(signs[0] == signs[2])
    (True, False)
    """
    flat = np.ascontiguousarray(np.where(values == 0, 0.0, values), dtype=np.float64)
    return signs_of(row.tobytes() for row in flat)


def _sign(row: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(row, digest_size=8).digest(), "little")
