"""A random subset of images, a file each: only those that are chosen are opened.

    names -> some are chosen -> pixels, uint8, all of one size; grey ones become coloured where others are
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from collapse_jax.files.reading import TOLD, open_file
from collapse_jax.sources.arrays import fitting
from collapse_jax.sources.reservoir import choose

_MODES = ("L", "RGB", "RGBA")  # each holds what those before it do


def read_images(paths: Sequence[Path], max_rows: int, seed: int) -> tuple[np.ndarray, int, list[str]]:
    """Return pixels [num, height, width] or [num, height, width, channels], how many images there are, and notes.

    Raises:
        ValueError: an image cannot be read, or two are of different size.
    """
    notes: list[str] = []
    size = fitting(max_rows, _num_bytes(paths[0]), len(paths), notes)
    chosen = [paths[index] for index in choose(len(paths), size, seed)]
    images, modes, first = list[np.ndarray](), list[int](), (0, 0)
    for path in chosen:
        image = _read(path, first if images else None, chosen[0])
        first = image.size
        modes.append(_MODES.index(image.mode))
        images.append(np.asarray(image))
    mode = _MODES[max(modes)]
    if len(set(modes)) > 1:
        notes.append("Grey, coloured and transparent images are mixed; all are read as the richest of them.")
        images = [np.asarray(Image.fromarray(pixels).convert(mode)) for pixels in images]
    return np.stack(images), len(paths), notes


def _num_bytes(path: Path) -> int:
    with open_file(path, TOLD, "leave it out") as file:
        try:
            with Image.open(file) as image:
                return image.width * image.height * len(_wanted(image))
        except Exception as error:  # a damaged file may raise anything
            raise _no_image(path, error) from error


def _wanted(image: Image.Image) -> str:
    """Return which of the three modes holds all that an image does."""
    if image.mode in ("LA", "PA", "RGBa", "RGBA") or "transparency" in image.info:
        return "RGBA"
    return "L" if image.mode in ("1", "L") or image.mode.startswith("I") else "RGB"


def _read(path: Path, size: tuple[int, int] | None, like: Path) -> Image.Image:
    with open_file(path, TOLD, "leave it out") as file:
        try:
            with Image.open(file) as image:
                if size is not None and image.size != size:
                    width, height = image.size
                    raise _OfAnotherSize(
                        f"{like} has {size[0]} x {size[1]} pixels and {path} has {width} x {height}; bring all images "
                        "of a run to one size."
                    )
                if image.mode.startswith("I"):  # 16 bits of grey
                    return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
                return image.convert(_wanted(image))
        except _OfAnotherSize:
            raise
        except Exception as error:
            raise _no_image(path, error) from error


class _OfAnotherSize(ValueError):
    pass


def _no_image(path: Path, error: Exception) -> ValueError:
    told = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
    return ValueError(f"{path} cannot be read as an image ({told}); write it again, or leave it out.")
