"""Directions and tails of numbers, learnt from a part of the reference: the others are as new as any sample.

z = (x - centre) / spread,    coordinates = z V,    V: leading eigenvectors of the covariance of z
"""

from typing import NamedTuple

import numpy as np

from collapse_jax.monitor.bag import Choices
from collapse_jax.monitor.kinds.kind import Moments
from collapse_jax.monitor.rows import Rows
from collapse_jax.monitor.statistics import numbers
from collapse_jax.monitor.statistics.neighbours import precision, recall
from collapse_jax.monitor.statistics.statistic import Statistic

MOST_DIRECTIONS = 32
_ROWS_PER_DIRECTION = 5
_LEAST = 1e-9  # of a variance, where columns have about 1
_FARTHEST = 1e6  # spreads: what lies beyond is cut, so that squares stay finite


class Projection(NamedTuple):
    """How rows of numbers are looked at.

    Attributes:
        centre: of each column.
        spread: of each column.
        directions: orthonormal, shape [num_columns, num_directions].
        are_columns: whether tails are those of columns, not of directions.
        low: 1st percentile of each column or direction.
        high: 99th.
        lower_rungs: quantiles 2^-2, 2^-3, ... of each, shape [num_rungs, num_columns].
        upper_rungs: those of 1 - 2^-2, ....
        beyond: share of new cells that lie outside of low and high.
        scale: variance along each direction, of the rest of the reference.
        rest: mean square outside of the directions, None where they are all.
    """

    centre: np.ndarray
    spread: np.ndarray
    directions: np.ndarray
    are_columns: bool
    low: np.ndarray
    high: np.ndarray
    lower_rungs: np.ndarray
    upper_rungs: np.ndarray
    beyond: float
    scale: np.ndarray
    rest: float | None

    def columns(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Return what is kept of rows of numbers, shape [num_rows, num_columns]; what is not finite is missing."""
        known = np.isfinite(values)
        inside = np.where(known, values, self.centre)
        z = np.clip((inside - self.centre) / self.spread, -_FARTHEST, _FARTHEST)
        coordinates = z @ self.directions
        cells = inside if self.are_columns else coordinates
        columns = {
            "coordinates": coordinates,
            "outside": np.mean((cells < self.low) | (cells > self.high), axis=1),
            "depth": np.concatenate(
                [_rungs(-cells, -self.lower_rungs), _rungs(cells, self.upper_rungs)], axis=1
            ),
            "missing": np.mean(~known, axis=1),
        }
        if self.rest is not None:
            columns["rest"] = np.maximum(np.sum(z**2, axis=1) - np.sum(coordinates**2, axis=1), 0.0)
        return columns

    def statistics(self) -> list[Statistic]:
        """Return what is measured of such rows."""
        return [
            numbers.drift(self.scale), numbers.variance(self.scale, self.rest), numbers.tails(self.beyond),
            numbers.reach(len(self.lower_rungs)), precision(), recall(), numbers.missing(),
        ]  # fmt: skip

    def moments(self, rows: Rows) -> Moments:
        """Return mean and covariance along the directions."""
        coordinates = rows["coordinates"]
        covariance = np.atleast_2d(np.cov(coordinates.T, bias=True))
        kept = float(np.mean(coordinates.var(axis=0, ddof=1) / self.scale))
        return Moments(coordinates.mean(axis=0), covariance, 1 / len(rows), kept, len(rows))

    def shares(self, rows: Rows) -> np.ndarray:
        """Return the share of the reference's variance in each direction."""
        itself = Choices(rows, np.arange(len(rows))[None])
        return numbers.shares(itself, self.scale, self.rest)[0]


def learn(part: np.ndarray, others: np.ndarray, *, alike: bool) -> Projection:
    """Return how rows are looked at.

    Args:
        part: rows of the reference that directions and percentiles are learnt from.
        others: its other rows, which shares of variance are relative to.
        alike: columns share a unit (pixels): they are not brought to one spread, and tails are those of directions.
    """
    part = np.where(np.isfinite(part), part, np.nan)
    centre = _medians(part)
    filled = np.where(np.isnan(part), centre, part)
    centre = filled.mean(axis=0)
    spread = filled.std(axis=0)
    spread = np.full_like(spread, max(spread.max(), 1e-300)) if alike else np.where(spread > 0, spread, 1.0)
    z = (filled - centre) / spread
    directions = _directions(z)
    tail = max(numbers.TAIL, 1 / (len(part) + 1))
    cells = z @ directions if alike else filled
    low, high = _quantiles(cells, np.array([tail, 1 - tail]))
    num_rungs = max(1, int(np.log2(len(part))) - numbers.FIRST_RUNG + 1)
    rungs = 2.0 ** -(numbers.FIRST_RUNG + np.arange(num_rungs))
    lower, upper = _quantiles(cells, rungs), _quantiles(cells, 1 - rungs)
    ones = np.ones(directions.shape[1])
    learnt = Projection(centre, spread, directions, not alike, low, high, lower, upper, 2 * tail, ones, 1.0)
    columns = learnt.columns(others)
    scale = np.maximum(columns["coordinates"].var(axis=0, ddof=1), _LEAST)
    rest = float(columns["rest"].mean())
    return learnt._replace(scale=scale, rest=rest if rest > _LEAST * float(scale.sum()) else None)


def _directions(z: np.ndarray) -> np.ndarray:
    """Return the principal directions of rows whose mean is 0, those along which nothing lies left out."""
    _, lengths, vectors = np.linalg.svd(z, full_matrices=False)
    there = int(np.sum(lengths > 1e-6 * max(lengths[0], 1e-300)))
    return vectors[: max(1, min(MOST_DIRECTIONS, there, len(z) // _ROWS_PER_DIRECTION))].T


def _quantiles(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return quantiles of each column below which a share of new draws lies that is right on average."""
    return np.asarray(np.quantile(values, levels, axis=0, method="weibull"))


def _rungs(values: np.ndarray, rungs: np.ndarray) -> np.ndarray:
    """Return how many of its column's rungs each value lies beyond."""
    return np.asarray(np.sum(values[None] > rungs[:, None], axis=0, dtype=np.int8))


def _medians(values: np.ndarray) -> np.ndarray:
    """Return the median of each column's known values, 0 where there is none."""
    known = ~np.all(np.isnan(values), axis=0)
    found = np.zeros(values.shape[1])
    found[known] = np.nanmedian(values[:, known], axis=0)
    return found
