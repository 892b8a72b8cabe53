"""What a kind of samples offers to a monitor."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from collapse_jax.monitor.rows import Rows
from collapse_jax.monitor.statistics.statistic import Statistic


class Moments(NamedTuple):
    """What drift is read from: in directions of their own, of a draw of the law and of a sample's mean.

    Attributes:
        mean: of the sample, shape [num_directions].
        variance: of one draw, shape [num_directions].
        error: variance of `mean` as an estimate of the law's, shape [num_directions].
        num: how many draws the sample is.
    """

    mean: np.ndarray
    variance: np.ndarray
    error: np.ndarray
    num: float


class Kind(NamedTuple):
    """A way to look at samples.

    Attributes:
        name: numbers, images, table, texts or tokens.
        encode: samples -> rows, and notes on what is odd about them.
        statistics: what is measured.
        moments: rows -> what drift is read from.
        directions: rows -> shares of the reference's variance in its directions, [] where there are none.
        unit: what a draw is called: row, image, word.
    """

    name: str
    encode: Callable[[Any], tuple[Rows, tuple[str, ...]]]
    statistics: Sequence[Statistic]
    moments: Callable[[Rows], Moments]
    directions: Callable[[Rows], np.ndarray]
    unit: str
