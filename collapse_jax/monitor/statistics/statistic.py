"""What a statistic is: a name, a function of choices of rows, and which way it must move to count."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from collapse_jax.monitor.bag import Choices

LOWER, HIGHER, BOTH = "lower", "higher", "both"


class Statistic(NamedTuple):
    """A number of a sample that tells whether it is as the reference is.

    Attributes:
        name: as readings call it.
        about: what the number is, in a few words.
        measure: choices of rows -> a value for each, shape [num_choices].
        side: which values speak against the null: LOWER, HIGHER or BOTH.
        expected: number of rows -> what a sample of so many should show, where a formula says it.
        most_choices: no more than so many are drawn, where measuring takes long.
        most_rows: no more than so many of the sample, and as many of the bag, are looked at; None for all.
    """

    name: str
    about: str
    measure: Callable[[Choices], np.ndarray]
    side: str
    expected: Callable[[int], float] | None = None
    most_choices: int = 2000
    most_rows: int | None = None


def share_as_extreme(values: np.ndarray, side: str) -> float:
    """Return the p-value of the first of these values among all of them.

    >>> share_as_extreme(np.array([0.0, 1, 2, 3]), LOWER), share_as_extreme(np.array([0.0, 1, 2, 3]), BOTH)
    (0.25, 0.5)
    """
    slack = 1e-9 * (np.abs(values[0]) + 1e-300)  # the same rows in another order have another last digit
    lower = float(np.mean(values <= values[0] + slack))
    higher = float(np.mean(values >= values[0] - slack))
    return {LOWER: lower, HIGHER: higher, BOTH: min(1.0, 2 * min(lower, higher))}[side]
