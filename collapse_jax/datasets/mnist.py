"""MNIST digits: a folder of the canonical IDX files when given, else 10,000 embedded real digits.

The embedded files are the first 10,000 training images (`files/NOTICE-mnist.txt`: CC BY-SA 3.0).
NumPy only: a folder can be checked before JAX starts.
"""

import hashlib
import math
import os
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from collapse_jax.files.idx import MOST_HEADER, idx_shape, is_idx
from collapse_jax.files.reading import DATA, is_there, place_of, read_bytes
from collapse_jax.validation import check_count

_EMBEDDED = Path(__file__).parent / "files"
# SHA-256 of the four published files, unpacked
MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


class Digits(NamedTuple):
    """Images as rows of 784 intensities in [0, 1], float32, with their labels 0 to 9."""

    images: np.ndarray
    labels: np.ndarray


def load_mnist(folder: str | Path | None = None, split: str = "train") -> Digits:
    """Return MNIST digits.

    Args:
        folder: holds `train-images-idx3-ubyte` and its three siblings, gzipped or not, also by Kaggle's names
            (`train-images.idx3-ubyte`), or is torchvision's root with one `MNIST/raw` or the like in it; default the
            embedded first 10,000 training digits.
        split: "train" or "t10k"; the embedded digits have only "train".

    Raises:
        ValueError: a file is missing, truncated, not IDX, of other sizes or labels, or images and labels do not match.

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
        prefix, home = split, _home(place_of(folder))
    images = read_idx(images_file := _find(home, f"{prefix}-images-idx3-ubyte"))
    labels = read_idx(labels_file := _find(home, f"{prefix}-labels-idx1-ubyte"))
    _check(images, labels, images_file, labels_file)
    return Digits(images.reshape(-1, 784).astype(np.float32) / 255, labels)


def pooled_digits(images: np.ndarray, side: int = 8) -> np.ndarray:
    """Return square images as smaller ones, each pixel the mean of a square: rows of side * side numbers, float32.

    Where `side` does not divide theirs, they are first put on a larger empty square: 28 x 28 on 32 x 32 for 8.

    Args:
        images: a row each.
        side: of the result.

    Raises:
        ValueError: images that are not square, or not larger than `side`.

    >>> pooled_digits(np.ones((3, 784)), 7).shape
    (3, 49)
    """
    check_count("side", side)
    rows = np.asarray(images, np.float32)
    full = math.isqrt(rows.shape[-1]) if rows.ndim == 2 else 0
    if full * full != rows.shape[-1] or full < side:
        raise ValueError(f"`images` must be rows of square images of at least {side} x {side}, got {rows.shape}.")
    room = -full % side
    grid = np.pad(rows.reshape(-1, full, full), ((0, 0), *[(room // 2, room - room // 2)] * 2))
    size = grid.shape[1] // side
    return grid.reshape(-1, side, size, side, size).mean(axis=(2, 4)).reshape(-1, side * side)


def _check(images: np.ndarray, labels: np.ndarray, images_file: Path, labels_file: Path) -> None:
    """Refuse what is not grey images of MNIST's size with a label 0 to 9 each."""
    if images.ndim != 3 or labels.ndim != 1:
        raise ValueError(
            f"{images_file} has the shape {images.shape} and {labels_file.name} {labels.shape}, which are not MNIST; "
            "expected grey images (N, 28, 28) and labels (N,)."
        )
    if images.shape[1:] != (28, 28):
        height, width = images.shape[1:]
        raise ValueError(
            f"{images_file} has the shape {images.shape}, images of {height} x {width} pixels, which are not MNIST's "
            "28 x 28; scale or crop them."
        )
    if len(images) != len(labels):
        raise ValueError(
            f"{images_file} has {len(images):,} images {images.shape} and {labels_file.name} {len(labels):,} labels; "
            "take both from the same collection."
        )
    if len(images) == 0:
        raise ValueError(f"{images_file} holds no image; take the file again from where it came from.")
    if labels.max() > 9:
        raise ValueError(
            f"{labels_file} has labels up to {labels.max()}, where digits have 0 to 9; keep ten classes, named 0 to 9."
        )


def held_out_digits(folder: str | Path | None, num_embedded: int, most: int) -> Digits:
    """Return digits, with labels, for measuring: of a folder's test set, else the last embedded ones.

    Args:
        folder: as for `load_mnist`.
        num_embedded: how many of the embedded digits are held out, the last ones.
        most: digits at most, spread over all that there are.

    Raises:
        ValueError: a folder whose test set is too small, or holds nothing but its training images.
    """
    if folder is None:
        embedded = load_mnist()
        held = Digits(embedded.images[-num_embedded:], embedded.labels[-num_embedded:])
    else:
        held = _unseen(load_mnist(folder, "t10k"), load_mnist(folder).images)
        if len(held.images) < 2:
            raise ValueError(
                f"{folder} holds {len(held.images)} test images that are not among its training images, "
                "where at least 2 are needed; put the t10k files of the same collection there."
            )
    rows = np.unique(np.linspace(0, len(held.images) - 1, min(most, len(held.images))).round().astype(int))
    return Digits(held.images[rows], held.labels[rows])


def _unseen(digits: Digits, seen: np.ndarray) -> Digits:
    """Return the digits whose image is not among those seen."""
    known = {image.tobytes() for image in seen}
    kept = np.array([image.tobytes() not in known for image in digits.images], bool)
    return Digits(digits.images[kept], digits.labels[kept])


def mnist_sums(folder: str | Path | None = None) -> dict[str, str]:
    """Return the SHA-256 of each file that digits are read from, unpacked, by its name without an ending.

    Args:
        folder: of the four MNIST files, which have `MNIST_SHA256` if they are as published; default the embedded two.

    Raises:
        ValueError: a file is missing or cannot be read.
    """
    home = _EMBEDDED if folder is None else _home(place_of(folder))
    prefixes = ("mnist-first10000",) if folder is None else ("train", "t10k")
    names = [f"{prefix}-{kind}-ubyte" for prefix in prefixes for kind in ("images-idx3", "labels-idx1")]
    return {name: hashlib.sha256(_content(_find(home, name))).hexdigest() for name in names}


def read_idx(path: Path) -> np.ndarray:
    """Return the array of an IDX file of unsigned bytes, gzipped or not.

    Raises:
        ValueError: the file cannot be read, is truncated, or is not IDX.
    """
    content = _content(path)
    if not is_idx(content):
        raise ValueError(
            f"{path} is not an IDX file of unsigned bytes; expected one of the four MNIST files."
        )
    header, shape = 4 + 4 * content[3], idx_shape(content)
    if len(shape) != content[3] or len(content) != header + math.prod(shape):
        raise ValueError(
            f"{path} is truncated or too long: {len(content)} bytes where its header {shape} asks for "
            f"{header + math.prod(shape)}; download the file again."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _content(path: Path) -> bytes:
    """Return a file's bytes, unpacked as far as its header says, and a byte more where it goes on."""
    stored = read_bytes(path, DATA, "name one of the four MNIST files")
    if stored[:2] != b"\x1f\x8b":
        return stored
    unpacking = zlib.decompressobj(wbits=31)  # 31: of gzip
    try:
        content = unpacking.decompress(stored, MOST_HEADER)
        size = 4 + 4 * content[3] + math.prod(idx_shape(content)) if is_idx(content) else 0
        if size > DATA:
            raise ValueError(
                f"{path} says the sizes {idx_shape(content)}, and at most {DATA:,} bytes are read; give fewer images."
            )
        if size >= len(content):  # one more, to see that it ends there
            content += unpacking.decompress(unpacking.unconsumed_tail, size + 1 - len(content))
    except zlib.error as error:
        raise ValueError(f"{path} cannot be read ({error}); download the file again.") from error
    if not unpacking.eof and len(content) <= size:
        raise ValueError(f"{path} cannot be read (it is cut off); download the file again.")
    return content


def _home(folder: Path) -> Path:
    """Return where the files lie: in the folder itself, or in one of torchvision's layout within.

    Raises:
        ValueError: there is no such folder, or it holds several collections.
    """
    if not os.path.isdir(folder):
        raise ValueError(
            f"the MNIST folder {folder} does not exist; name the folder that holds train-images-idx3-ubyte."
        )
    name = "train-images-idx3-ubyte"
    if _found(folder, name) is not None:
        return folder
    inside = [place for place in (*sorted(folder.glob("*/raw")), folder / "raw") if _found(place, name) is not None]
    if len(inside) > 1:
        raise ValueError(
            f"{folder} holds several collections, {' and '.join(str(place.relative_to(folder)) for place in inside)}; "
            "name the folder of one."
        )
    return inside[0] if inside else folder


def _find(home: Path, name: str) -> Path:
    found = _found(home, name)
    if found is not None:
        return found
    others = sorted(path.name for where in ("", "*/raw/") for path in home.glob(f"{where}emnist-*-ubyte*"))
    if others:
        raise ValueError(
            f"{home} holds {others[0]}: EMNIST's, whose images lie on their side; swap their last two axes and write "
            f"them as {name}, with its three siblings."
        )
    raise ValueError(
        f"{home} holds neither {name} nor {name}.gz, nor {_dotted(name)} with or without .gz; put the canonical MNIST "
        "files there."
    )


def _found(home: Path, name: str) -> Path | None:
    """Return a file by MNIST's name or by Kaggle's, whose archive has folders of these names, too; None for none."""
    for candidate in (name, f"{name}.gz", _dotted(name), f"{_dotted(name)}.gz"):
        for path in (home / candidate / candidate, home / candidate):
            if is_there(path):
                return path
    return None


def _dotted(name: str) -> str:
    """Return a file's name as Kaggle has it.

    >>> _dotted("t10k-labels-idx1-ubyte")
    't10k-labels.idx1-ubyte'
    """
    return name.replace("-idx", ".idx")
