"""Directions and tails of numbers, learnt from one part of the reference so that the other part is as new as any sample.

    z = (x - centre) / spread,    coordinates = z V,    V: leading eigenvectors of the covariance of z
"""

from typing import NamedTuple

import numpy as np

from collapse_jax.monitor.bag import Bag
from collapse_jax.monitor.kinds.kind import Moments
from collapse_jax.monitor.rows import Rows
from collapse_jax.monitor.statistics import numbers
from collapse_jax.monitor.statistics.neighbours import precision, recall
from collapse_jax.monitor.statistics.statistic import Statistic

MOST_DIRECTIONS = 32
_ROWS_PER_DIRECTION = 5
_UNBIASED = "weibull"  # of a share p of new draws lies below, on average
_FARTHEST = 1e6  # spreads: what lies beyond is cut, so that squares stay finite


class Projection(NamedTuple):
    """How rows of numbers are looked at.

    Attributes:
        centre: of each column.
        spread: of each column.
        directions: orthonormal, shape [num_columns, num_directions].
        low: 1st percentile of each column.
        high: 99th.
        lower_rungs: quantiles 2^-2, 2^-3, ... of each column, shape [num_rungs, num_columns].
        upper_rungs: those of 1 - 2^-2, ....
        scale: variance along each direction, of the whole reference.
        rest: mean square outside of the directions, None where they are all.
    """

    centre: np.ndarray
    spread: np.ndarray
    directions: np.ndarray
    low: np.ndarray
    high: np.ndarray
    lower_rungs: np.ndarray
    upper_rungs: np.ndarray
    scale: np.ndarray
    rest: float | None

    def columns(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Return what is kept of rows of numbers, shape [num_rows, num_columns]; what is not finite is missing."""
        known = np.isfinite(values)
        inside = np.where(known, values, self.centre)
        z = np.clip((inside - self.centre) / self.spread, -_FARTHEST, _FARTHEST)
        coordinates = z @ self.directions
        columns = {
            "coordinates": coordinates,
            "outside": np.mean((inside < self.low) | (inside > self.high), axis=1),
            "depth": np.concatenate(
                [_rungs(-inside, -self.lower_rungs), _rungs(inside, self.upper_rungs)], axis=1
            ),
            "missing": np.mean(~known, axis=1),
        }
        if self.rest is not None:
            columns["rest"] = np.maximum(np.sum(z**2, axis=1) - np.sum(coordinates**2, axis=1), 0.0)
        return columns

    def statistics(self) -> list[Statistic]:
        """Return what is measured of such rows."""
        return [
            numbers.drift(self.scale), numbers.variance(self.scale, self.rest), numbers.tails(),
            numbers.reach(len(self.lower_rungs)), precision(), recall(), numbers.missing(),
        ]  # fmt: skip

    def moments(self, rows: Rows) -> Moments:
        """Return mean and variance along the directions."""
        coordinates = rows["coordinates"]
        variance = coordinates.var(axis=0, ddof=1)
        return Moments(coordinates.mean(axis=0), variance, variance / len(rows), len(rows))

    def shares(self, rows: Rows) -> np.ndarray:
        """Return the share of the reference's variance in each direction."""
        itself = Bag(rows.take([]), 0).choices(rows, 0, np.random.default_rng(0))
        return numbers.shares(itself, self.scale, self.rest)[0]


def learn(part: np.ndarray, every: np.ndarray, *, alike: bool) -> Projection:
    """Return how rows are looked at.

    Args:
        part: rows of the reference that directions and percentiles are learnt from.
        every: all of its rows, which shares of variance are relative to.
        alike: columns share a unit (pixels), and are not brought to one spread.
    """
    part, every = (np.where(np.isfinite(values), values, np.nan) for values in (part, every))
    centre = _of_columns(np.nanmedian, part, 0.0)
    filled = np.where(np.isnan(part), centre, part)
    centre = filled.mean(axis=0)
    spread = filled.std(axis=0)
    spread = np.full_like(spread, max(spread.max(), 1e-300)) if alike else np.where(spread > 0, spread, 1.0)
    z = (filled - centre) / spread
    num = max(1, min(MOST_DIRECTIONS, z.shape[1], len(z) // _ROWS_PER_DIRECTION))
    directions = np.linalg.svd(z, full_matrices=False)[2][:num].T
    low, high = np.quantile(filled, [numbers.TAIL, 1 - numbers.TAIL], axis=0, method=_UNBIASED)
    num_rungs = max(1, int(np.log2(len(part))) - numbers.FIRST_RUNG + 1)
    beyond = 2.0 ** -(numbers.FIRST_RUNG + np.arange(num_rungs))
    lower, upper = (np.quantile(filled, at, axis=0, method=_UNBIASED) for at in (beyond, 1 - beyond))
    whole = num == z.shape[1]
    unscaled = Projection(centre, spread, directions, low, high, lower, upper, np.ones(num), None if whole else 1.0)
    columns = unscaled.columns(every)
    scale = np.maximum(columns["coordinates"].var(axis=0, ddof=1), 1e-12)
    return unscaled._replace(scale=scale, rest=None if whole else max(float(columns["rest"].mean()), 1e-12))


def _rungs(values: np.ndarray, rungs: np.ndarray) -> np.ndarray:
    """Return how many of its column's rungs each value lies beyond."""
    return np.sum(values[None] > rungs[:, None], axis=0, dtype=np.int8)


def _of_columns(function, values: np.ndarray, otherwise: float) -> np.ndarray:  # type: ignore[no-untyped-def]
    known = ~np.all(np.isnan(values), axis=0)
    found = np.full(values.shape[1], otherwise)
    found[known] = function(values[:, known], axis=0)
    return found
