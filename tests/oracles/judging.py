"""How far a value is from an oracle's: shapes, signs, infinities and relative errors."""

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from oracles.book import ORACLES, Convention


class Answer(NamedTuple):
    """What an oracle allows at a point.

    Attributes:
        values: each a list of NumPy float64 arrays, the parts of what the law returns; none where no value exists.
        refusal: whether the package may or must refuse.
    """

    values: list[list[np.ndarray]]
    refusal: bool


def parts(value: Any) -> list[np.ndarray]:
    """Return a law's or an oracle's value as float64 arrays, one for each part of a tuple."""
    return [_numbers(part) for part in (value if isinstance(value, tuple) else (value,))]


def _numbers(value: Any) -> np.ndarray:
    if isinstance(value, list):
        return np.array([_numbers(part) for part in value], np.float64)
    return np.asarray(value, np.float64) if hasattr(value, "dtype") else np.float64(float(value))


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def answer(key: str, point: dict[str, Any]) -> Answer:
    """Return what the oracle says; each point is worked out once."""
    return _answer(key, tuple((name, type(value), _frozen(value)) for name, value in point.items()))


@cache
def _answer(key: str, point: tuple) -> Answer:
    arguments = {name: kind(value) for name, kind, value in point}
    try:
        value = ORACLES[key](**arguments)
    except ZeroDivisionError:  # a law that divides by nothing has no value
        value = None
    if value is None:
        return Answer([], True)
    if isinstance(value, Convention):
        return Answer([parts(one) for one in value.values], True)
    return Answer([parts(value)], False)


def relative_error(found: list[np.ndarray], expected: list[np.ndarray], precision: Any) -> float:
    """Return the largest relative error over all parts; infinite if one is NaN, lacks, or is of another shape.

    What the precision holds as 0 or infinity may be so: a float32 below 1e-30, a float64 below 1e-300.
    """
    if [part.shape for part in found] != [part.shape for part in expected]:
        return math.inf
    return max((_worst(f, e, precision) for f, e in zip(found, expected)), default=math.inf)


def _worst(found: np.ndarray, expected: np.ndarray, precision: Any) -> float:
    assert not np.isnan(expected).any(), "an oracle returned NaN"
    limits = np.finfo(precision)
    smallest = 1e-300 if precision is np.float64 else 1e-30
    with np.errstate(all="ignore"):
        alike = (found == expected) | (abs(found - expected) < smallest)
        alike |= np.isinf(found) & (found * expected > 0) & (abs(expected) > 0.999 * float(limits.max))
        errors = np.where(alike, 0.0, abs(found - expected) / abs(expected))
    errors = np.where(np.isfinite(errors), errors, math.inf)
    return float(errors.max(initial=0.0))


def nearest(found: Any, allowed: Answer, precision: Any) -> float:
    """Return the error of a law's value against the nearest of those allowed; infinite where none is."""
    return min((relative_error(parts(found), one, precision) for one in allowed.values), default=math.inf)


def called(law: Callable, point: dict[str, Any], number: Callable = lambda value: value) -> Any:
    """Call a law with plain numbers, or with what `number` makes of those that may be traced; vectors are NumPy's."""
    arguments = {}
    for name, value in point.items():
        if isinstance(value, list):
            arguments[name] = np.array(value)
        elif law.domain[name].static or isinstance(value, tuple):
            arguments[name] = value
        else:
            arguments[name] = number(value)
    return law(**arguments)
