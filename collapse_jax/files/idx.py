"""The header of an IDX file, in which MNIST and its kin are published.

    0, 0, type, number of axes, then the size of each axis as four bytes, the largest first; then the data
"""

import numpy as np

_UNSIGNED_BYTE = 8  # the type code of MNIST
_MOST_AXES = 8
MOST_HEADER = 4 + 4 * _MOST_AXES


def is_idx(start: bytes) -> bool:
    """True for the first bytes of an IDX file of unsigned bytes."""
    return len(start) >= 4 and start[:2] == b"\0\0" and start[2] == _UNSIGNED_BYTE and start[3] <= _MOST_AXES


def idx_shape(start: bytes) -> tuple[int, ...]:
    """Return the sizes in the header of an IDX file, nothing where it is cut off.

    >>> idx_shape(bytes([0, 0, 8, 2, 0, 0, 1, 0, 0, 0, 0, 28]))
    (256, 28)
    """
    header = 4 + 4 * start[3]
    return tuple(np.frombuffer(start[4:header], ">u4").tolist()) if len(start) >= header else ()
