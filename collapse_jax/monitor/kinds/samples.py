"""Samples as they come from anybody: arrays of any library, tables, lists; told apart, and made an array or a list."""

from typing import Any

import numpy as np
import pandas as pd

from collapse_jax.monitor.kinds.arrays import arrays, as_numbers
from collapse_jax.monitor.kinds.kind import Kind
from collapse_jax.monitor.kinds.tables import tables
from collapse_jax.monitor.kinds.texts import Scorer, check_texts, texts

TABLE, TEXTS, TOKENS = "table", "texts", "tokens"


def as_samples(samples: Any, like: str = "") -> Any:
    """Return samples as an array of numbers, a DataFrame, a list of strings, or a list of lists of whole numbers.

    Args:
        samples: of any kind.
        like: name of the reference's kind, which these should be of; "" for the reference itself.

    Raises:
        TypeError: they are of another kind, or of none.
        ValueError: rows differ in shape.
    """
    is_table = isinstance(samples, pd.DataFrame)
    if like and is_table != (like == TABLE):
        raise TypeError(
            f"the reference holds {'a table' if like == TABLE else like}, and a sample is a {type(samples).__name__}; "
            "give both alike."
        )
    if is_table:
        return samples
    if isinstance(samples, pd.Series):
        samples = samples.to_numpy() if samples.dtype.kind in "biuf" else samples.tolist()
    if isinstance(samples, np.ndarray) and samples.dtype.kind in "UOT" and samples.ndim == 1:
        samples = samples.tolist()
    if like in (TEXTS, TOKENS):
        return check_texts(samples, are_tokens=like == TOKENS)
    if isinstance(samples, str | bytes) or (
        isinstance(samples, list | tuple) and samples and isinstance(samples[0], str)
    ):
        if like:
            raise TypeError(f"the reference holds {like}, and a sample is text; give both alike.")
        return check_texts(samples, are_tokens=False)
    if not like and _are_tokens(samples):
        return check_texts(samples, are_tokens=True)
    return as_numbers(samples)


def some_of(samples: Any, places: np.ndarray) -> Any:
    """Return the samples at these places."""
    if isinstance(samples, list):
        return [samples[place] for place in places]
    return samples.iloc[places] if isinstance(samples, pd.DataFrame) else samples[places]


def kind_of(part: Any, others: Any, scorer: Scorer | None) -> Kind:
    """Return how samples like these are looked at.

    Args:
        part: of the reference, which is learnt from.
        others: the rest of the reference.
        scorer: of texts.

    Raises:
        ValueError: there is a scorer, and no texts; there is nothing that can be judged.
    """
    if isinstance(part, list):
        return texts(part, others, scorer)
    if scorer is not None:
        raise ValueError("a scorer is for texts; leave it out for numbers, images and tables.")
    return tables(part, others) if isinstance(part, pd.DataFrame) else arrays(part, others)


def _are_tokens(samples: Any) -> bool:
    """Whether these are lists of whole numbers."""
    if not (isinstance(samples, list | tuple) and samples and isinstance(samples[0], list | tuple)):
        return False
    return all(isinstance(word, int | np.integer) for text in samples for word in text)
