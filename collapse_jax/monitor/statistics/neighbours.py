"""Precision and recall by nearest neighbours: does a sample lie where the bag lies, and the bag where the sample does?

    precision = share of the sample's rows that a row of the bag counts among its nearest, up to its k-th of the bag
    recall    = share of the bag's rows that a row of the sample counts among its nearest, up to its k-th of the sample

Rows hold `coordinates`. Of the sample at most `MOST_ROWS` are looked at, and as many of the bag, by chance.

Reference: Kynkaanniemi et al., Improved precision and recall metric (NeurIPS 2019).
"""

import numpy as np

from collapse_jax.monitor.bag import Choices
from collapse_jax.monitor.statistics.statistic import LOWER, Statistic

NUM_NEIGHBOURS = 3
MOST_ROWS = 200
MOST_CHOICES = 199
_LISTED = 12  # nearest rows of each; the third of its own kind is nearly always among them


def precision() -> Statistic:
    """Return the share of the sample's rows that lie among the bag's."""
    about = "share of rows that lie among the reference's"
    return Statistic(
        "precision",
        about,
        lambda choices: _covered(choices, of_sample=False),
        LOWER,
        None,
        MOST_CHOICES,
        MOST_ROWS,
    )


def recall() -> Statistic:
    """Return the share of the bag's rows that lie among the sample's."""
    about = "share of the reference's rows that lie among the sample's"
    return Statistic(
        "recall",
        about,
        lambda choices: _covered(choices, of_sample=True),
        LOWER,
        None,
        MOST_CHOICES,
        MOST_ROWS,
    )


def _covered(choices: Choices, *, of_sample: bool) -> np.ndarray:
    """Return for every choice the share of the bag that its rows reach, or of its rows that the bag reaches."""
    nearest = _nearest(choices.rows["coordinates"])
    is_chosen = np.zeros((len(choices.places), len(nearest)), bool)
    np.put_along_axis(is_chosen, choices.places, True, axis=1)
    return _reached(nearest, is_chosen, ~is_chosen) if of_sample else _reached(nearest, ~is_chosen, is_chosen)


def _nearest(rows: np.ndarray) -> np.ndarray:
    """Return the places of each row's nearest others, nearest first, shape [num_rows, listed]."""
    squares = np.sum(rows**2, axis=1)
    distances = squares[:, None] + squares[None, :] - 2 * rows @ rows.T
    np.fill_diagonal(distances, np.inf)
    listed = min(_LISTED, len(rows) - 1)
    near = np.argpartition(distances, listed - 1, axis=1)[:, :listed]
    return np.take_along_axis(near, np.argsort(np.take_along_axis(distances, near, axis=1), axis=1), axis=1)


def _reached(nearest: np.ndarray, of: np.ndarray, who: np.ndarray) -> np.ndarray:
    """Return the share of rows in `who` that a row in `of` reaches.

    Args:
        nearest: places of each row's nearest others, shape [num_rows, listed].
        of: whose neighbourhoods count, shape [num_choices, num_rows].
        who: rows that are to be reached, shape [num_choices, num_rows].
    """
    own = np.cumsum(of[:, nearest], axis=2, dtype=np.int8)
    within = (own < NUM_NEIGHBOURS) & of[:, :, None]
    choice, row, place = np.nonzero(within)
    reached = np.zeros(of.shape, bool)
    reached[choice, nearest[row, place]] = True
    return np.sum(reached & who, axis=1) / np.sum(who, axis=1)
