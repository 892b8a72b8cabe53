"""Checks that every factory shares: name, rule, value, remedy, in one sentence.

They run on concrete values; tracers pass through, so that a swept parameter can be traced.
"""

import difflib
import numbers
from collections.abc import Iterable

import jax
import numpy as np

from collapse_jax.types import ArrayLike


def is_concrete(value: object) -> bool:
    """True when `value` can be looked at now, false under `jit`, `vmap` or `eval_shape`."""
    return not isinstance(value, jax.core.Tracer)


def check_count(name: str, value: object, minimum: int = 1) -> int:
    """Return `value` as an int of at least `minimum`.

    Raises:
        ValueError: the value is below `minimum`.
        TypeError: the value is not an integer.

    >>> check_count("num_samples", 100)
    100
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"`{name}` must be an integer, got {value!r}; write it without a decimal point.")
    if value < minimum:
        raise ValueError(f"`{name}` must be at least {minimum}, got {value}; choose a larger one.")
    return int(value)


def check_fraction(name: str, value: ArrayLike) -> ArrayLike:
    """Return `value`, a fraction in [0, 1]; tracers pass unchecked.

    Raises:
        ValueError: the value lies outside [0, 1] or is NaN.

    >>> check_fraction("fraction", 0.1)
    0.1
    """
    if is_concrete(value) and not bool(np.all((np.asarray(value) >= 0) & (np.asarray(value) <= 1))):
        raise ValueError(f"`{name}` must lie in [0, 1], got {value}; 0.1 means ten per cent.")
    return value


def check_positive(name: str, value: ArrayLike) -> ArrayLike:
    """Return `value`, a positive finite number; tracers pass unchecked.

    Raises:
        ValueError: the value is zero, negative, infinite or NaN.
    """
    if is_concrete(value) and not bool(np.all((np.asarray(value) > 0) & np.isfinite(value))):
        raise ValueError(f"`{name}` must be positive and finite, got {value}.")
    return value


def check_choice(name: str, value: str, choices: Iterable[str]) -> str:
    """Return `value`, one of `choices`.

    Raises:
        ValueError: it is none of them; the sentence names the nearest.

    >>> check_choice("start", "wram", ["warm", "kmeans"])
    Traceback (most recent call last):
    ...
    ValueError: `start` must be one of 'warm', 'kmeans', got 'wram'; did you mean 'warm'?
    """
    options = list(choices)
    if value in options:
        return value
    near = difflib.get_close_matches(str(value), options, n=1, cutoff=0.4)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    listed = ", ".join(f"'{option}'" for option in options)
    raise ValueError(f"`{name}` must be one of {listed}, got '{value}'{hint}")
