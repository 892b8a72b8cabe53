"""Statistics of rows of numbers, in directions that part of the reference gives: mean, variance, tails, range.

Rows hold `coordinates`, of standard deviation about 1 along each direction, and where directions are left out `rest`,
the mean square of what lies outside of them; `outside`, how many of a row's cells lie beyond the reference's 1st and
99th percentiles; `depth`, how far into the reference's tail each cell lies: beyond the quantile 2^-k, upper and lower.
"""

import numpy as np

from collapse_jax.monitor.bag import Choices
from collapse_jax.monitor.statistics.statistic import BOTH, HIGHER, LOWER, Statistic

TAIL = 0.01  # on each side
FIRST_RUNG = 2  # 2^-2: a quarter of the reference lies beyond


def drift(scale: np.ndarray) -> Statistic:
    """Return the distance between a sample's mean and the bag's, in standard deviations, over all directions.

    Args:
        scale: variance of the reference along each direction.
    """

    def measure(choices: Choices) -> np.ndarray:
        coordinates = choices.rows["coordinates"]
        shift = choices.means(coordinates) - coordinates.mean(axis=0)
        return np.sqrt(np.mean(shift**2 / scale, axis=1))

    return Statistic("drift", "shift of the mean, standard deviations a direction", measure, HIGHER)


def variance(scale: np.ndarray, rest: float | None) -> Statistic:
    """Return the share of the reference's variance that is kept: geometric mean over its principal directions.

    Args:
        scale: variance of the reference along each direction.
        rest: mean square of the reference outside of the directions, None where there is nothing.
    """

    def measure(choices: Choices) -> np.ndarray:
        return np.exp(np.mean(np.log(shares(choices, scale, rest)), axis=1))

    return Statistic(
        "variance", "share of the reference's variance, geometric mean of directions", measure, BOTH
    )


def shares(choices: Choices, scale: np.ndarray, rest: float | None) -> np.ndarray:
    """Return the share of the reference's variance in each direction, shape [num_choices, num_directions (+ 1)].

    The last is what lies outside of the directions, where there is something.
    """
    coordinates, size = choices.rows["coordinates"], choices.places.shape[1]
    middle = coordinates.mean(axis=0)
    centred = coordinates - middle
    moments = choices.means(np.concatenate([centred, centred**2], axis=1))
    first, second = np.split(moments, 2, axis=1)
    kept = np.maximum(second - first**2, 0.0) * size / (size - 1) / scale
    if rest is not None:
        kept = np.concatenate([kept, choices.means(choices.rows["rest"][:, None]) / rest], axis=1)
    return np.maximum(kept, 1e-12)


def tails(expected: float) -> Statistic:
    """Return the share of cells beyond the reference's 1st and 99th percentiles.

    Args:
        expected: of new rows; a reference of few rows has no percentile so far out.
    """

    def measure(choices: Choices) -> np.ndarray:
        return choices.means(choices.rows["outside"][:, None])[:, 0]

    about = "share of cells beyond the reference's 1st and 99th percentile"
    return Statistic("tails", about, measure, BOTH, lambda size: expected)


def reach(num_rungs: int) -> Statistic:
    """Return the share of the rungs into the tails that a sample reaches; a rung is half as rare as the next.

    Args:
        num_rungs: how many there are on each side of a column.
    """

    def measure(choices: Choices) -> np.ndarray:
        depth = choices.rows["depth"]
        deepest = np.stack([depth[chosen].max(axis=0) for chosen in choices.places])
        return deepest.mean(axis=1) / num_rungs

    def expected(size: int) -> float:
        beyond = 2.0 ** -(FIRST_RUNG + np.arange(num_rungs))
        return float(np.mean(-np.expm1(size * np.log1p(-beyond))))

    return Statistic(
        "range",
        "share of the reference's range that is reached, by halving quantiles",
        measure,
        LOWER,
        expected,
    )


def missing() -> Statistic:
    """Return the share of cells that hold no finite number, or nothing."""

    def measure(choices: Choices) -> np.ndarray:
        return choices.means(choices.rows["missing"][:, None])[:, 0]

    return Statistic("missing", "share of cells without a value", measure, BOTH)
