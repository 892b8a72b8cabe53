"""Numbers and images: arrays whose first axis runs over the samples."""

from typing import Any

import numpy as np

from collapse_jax.monitor.kinds.kind import Kind
from collapse_jax.monitor.kinds.projection import learn
from collapse_jax.monitor.kinds.signs import signs_of_numbers
from collapse_jax.monitor.rows import Rows
from collapse_jax.monitor.statistics.sameness import copies, repeats


def arrays(part: np.ndarray, others: np.ndarray) -> Kind:
    """Return how arrays are looked at.

    Args:
        part: of the reference, which is learnt from, shape [num_samples, ...]; with several axes behind: images.
        others: the rest of the reference.
    """
    shape = part.shape[1:]
    name = "images" if len(shape) > 1 else "numbers"
    flat = (rows.reshape(len(rows), -1) for rows in (part, others))
    projection = learn(*flat, alike=name == "images")
    unit = "image" if name == "images" else "row"

    def encode(samples: Any) -> tuple[Rows, tuple[str, ...]]:
        values = as_numbers(samples)
        if values.shape[1:] != shape:
            raise ValueError(
                f"{unit}s have the shape {values.shape[1:]}, and those of the reference {shape}; "
                f"bring them to one {'size' if name == 'images' else 'number of columns'}."
            )
        rows = values.reshape(len(values), -1)
        missing = ~np.isfinite(rows)
        notes = [] if not missing.any() else [_missing_note(missing, unit)]
        return Rows(sign=signs_of_numbers(rows), **projection.columns(rows)), tuple(notes)

    statistics = [*projection.statistics(), copies(), repeats()]
    return Kind(name, encode, statistics, projection.moments, projection.shares, unit)


def as_numbers(samples: Any) -> np.ndarray:
    """Return samples as float64, shape [num_samples, ...] with at least two axes.

    Raises:
        TypeError: they are no numbers, or complex ones.
        ValueError: rows differ in length.
    """
    if hasattr(samples, "detach"):  # a tensor of PyTorch's, on whatever device, in whatever precision
        samples = samples.detach().cpu().double()
    try:
        values = np.ma.asarray(samples) if isinstance(samples, np.ma.MaskedArray) else np.asarray(samples)
    except ValueError:
        raise ValueError("rows differ in shape; bring all samples to one size.") from None
    if values.dtype.kind not in "biuf":
        raise TypeError(
            f"samples must be an array of numbers, a DataFrame, a list of texts or of lists of tokens, got "
            f"{type(samples).__name__} of {values.dtype}; bring them into one of these."
        )
    if values.ndim == 0:
        raise ValueError("samples must be a list or an array of them, got one number.")
    if values.ndim > 1 and values.size == 0 and len(values):
        raise ValueError(
            f"samples have the shape {values.shape}, and nothing in them; give at least one column."
        )
    values = np.asarray(np.ma.filled(values.astype(np.float64), np.nan))
    return values[:, None] if values.ndim == 1 else values


def _missing_note(missing: np.ndarray, unit: str) -> str:
    return (
        f"{int(missing.any(axis=1).sum()):,} of {len(missing):,} {unit}s hold values that are missing or not finite; "
        "they count as the reference's mean, and for `missing`"
    )
