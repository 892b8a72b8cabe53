"""The book of oracles: each is entered by its module's and its own name, and computes with 80 digits.

An oracle returns a number, a list, nested lists, or a tuple of them; infinity where that is the limit; None where no
value exists, so that the package must refuse; a `Convention` where the law's own words leave a value open.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import mpmath as mp
import numpy as np

DIGITS = 80  # differences of numbers that agree to 30 digits keep 50

ORACLES: dict[str, Callable[..., Any]] = {}


class Convention:
    """Values that the package may return at a point where it may refuse as well."""

    def __init__(self, *values: Any) -> None:
        self.values = values


def exact(argument: Any) -> Any:
    """Return an argument with every number turned into the mpmath number of exactly that value."""
    if isinstance(argument, np.ndarray):
        return exact(argument.tolist())
    if isinstance(argument, list | tuple):
        return type(argument)(exact(part) for part in argument)
    if isinstance(argument, int | float | np.number):
        return mp.mpf(float(argument)) if isinstance(argument, float | np.floating) else mp.mpf(int(argument))
    return argument


def oracle(function: Callable[..., Any]) -> Callable[..., Any]:
    """Enter a function under "module.name"; numbers reach it as mpmath's, whole numbers too."""

    @wraps(function)
    def precise(*args: Any, **named: Any) -> Any:
        with mp.workdps(DIGITS):
            return function(*exact(args), **{name: exact(value) for name, value in named.items()})

    module = function.__module__.rpartition(".")[2]
    ORACLES[f"{module}.{function.__name__}"] = precise
    return precise


def product(factors: Any) -> Any:
    """Return the product of numbers, 1 of none."""
    result = mp.mpf(1)
    for factor in factors:
        result *= factor
    return result


def schedule(sizes: Any, length: Any) -> list:
    """Return one size for each generation, from a number or a list."""
    return sizes if isinstance(sizes, list) else [sizes] * int(length)
