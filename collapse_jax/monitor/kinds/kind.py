"""What a kind of samples offers to a monitor."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from collapse_jax.monitor.rows import Rows
from collapse_jax.monitor.statistics.statistic import Statistic


class Moments(NamedTuple):
    """What drift is read from: mean and covariance of a sample's draws, in directions of their own.

    Attributes:
        mean: of the sample, shape [num_directions].
        covariance: of one draw, shape [num_directions, num_directions].
        noise: variance of `mean` as an estimate of the law's, in units of the draw's variance: 1/num for draws that are
            independent.
        kept: the draw's variance as a share of the reference's.
        num: how many draws the sample is.
    """

    mean: np.ndarray
    covariance: np.ndarray
    noise: float
    kept: float
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
