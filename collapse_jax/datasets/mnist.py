"""MNIST digits: a folder of the canonical IDX files when given, else 10,000 embedded real digits.

The embedded files are the first 10,000 training images (`files/NOTICE-mnist.txt`: CC BY-SA 3.0).
Called by the VAE study. NumPy only: a folder can be checked before JAX starts.
"""

import gzip
import math
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

_EMBEDDED = Path(__file__).parent / "files"
_UNSIGNED_BYTE = 8  # the IDX type code of MNIST


class Digits(NamedTuple):
    """Images as rows of 784 intensities in [0, 1], float32, with their labels 0 to 9."""

    images: np.ndarray
    labels: np.ndarray


def load_mnist(folder: str | Path | None = None, split: str = "train") -> Digits:
    """Return MNIST digits.

    Args:
        folder: holds `train-images-idx3-ubyte` and its three siblings, gzipped or not; default the
            embedded first 10,000 training digits.
        split: "train" or "t10k"; the embedded digits have only "train".

    Raises:
        ValueError: a file is missing, truncated, not IDX, or images and labels do not match.

    >>> load_mnist().images.shape
    (10000, 784)
    """
    if split not in ("train", "t10k"):
        raise ValueError(f"`split` must be 'train' or 't10k', got '{split}'.")
    if folder is None:
        if split != "train":
            raise ValueError(
                "the embedded digits have no 't10k' split; give a folder of the four MNIST files."
            )
        prefix, home = "mnist-first10000", _EMBEDDED
    else:
        prefix, home = split, Path(folder).expanduser()
        if not home.is_dir():
            raise ValueError(
                f"the MNIST folder {home} does not exist; name the folder that holds {split}-images-idx3-ubyte."
            )
    images = read_idx(_find(home, f"{prefix}-images-idx3-ubyte"))
    labels = read_idx(_find(home, f"{prefix}-labels-idx1-ubyte"))
    if images.ndim != 3 or images.shape[1:] != (28, 28) or labels.shape != images.shape[:1]:
        raise ValueError(
            f"{home}: images of shape {images.shape} and labels of shape {labels.shape} are not MNIST; "
            "expected (N, 28, 28) and (N,)."
        )
    return Digits(images.reshape(-1, 784).astype(np.float32) / 255, labels)


def read_idx(path: Path) -> np.ndarray:
    """Return the array of an IDX file of unsigned bytes, gzipped or not.

    Raises:
        ValueError: the file cannot be read, is truncated, or is not IDX.
    """
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read ({error}); download the file again.") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _UNSIGNED_BYTE:
        raise ValueError(
            f"{path} is not an IDX file of unsigned bytes; expected one of the four MNIST files."
        )
    header = 4 + 4 * content[3]
    shape = tuple(np.frombuffer(content[4:header], ">u4").tolist()) if len(content) >= header else ()
    if len(shape) != content[3] or len(content) != header + math.prod(shape):
        raise ValueError(
            f"{path} is truncated or too long: {len(content)} bytes where its header {shape} asks for "
            f"{header + math.prod(shape)}; download the file again."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _find(home: Path, name: str) -> Path:
    for candidate in (home / name, home / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    raise ValueError(f"{home} holds neither {name} nor {name}.gz; put the canonical MNIST files there.")
