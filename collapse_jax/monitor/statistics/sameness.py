"""Rows that are the same: copies of what is in the bag, and repeats within a sample; told by 64 bits of each row."""

import numpy as np
from scipy import sparse

from collapse_jax.monitor.bag import Choices
from collapse_jax.monitor.statistics.statistic import HIGHER, Statistic


def copies() -> Statistic:
    """Return the share of rows that equal one of the reference or of an earlier generation."""

    def measure(choices: Choices) -> np.ndarray:
        chosen, there = _counts(choices)
        return np.sum(chosen * (chosen < there), axis=1) / choices.places.shape[1]

    return Statistic(
        "copies", "share of rows that the reference or an earlier generation holds", measure, HIGHER
    )


def repeats() -> Statistic:
    """Return the share of rows that equal an earlier one of the same sample."""

    def measure(choices: Choices) -> np.ndarray:
        chosen, _ = _counts(choices)
        return np.sum(np.maximum(chosen - 1, 0), axis=1) / choices.places.shape[1]

    return Statistic("repeats", "share of rows that repeat another one of the sample", measure, HIGHER)


def _counts(choices: Choices) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each choice holds each row that is there more than once, and how often it is there."""
    _, kind, there = np.unique(choices.rows["sign"], return_inverse=True, return_counts=True)
    often = np.flatnonzero(there > 1)
    if not len(often):
        return np.zeros((len(choices.places), 1)), np.zeros(1)
    place = np.full(len(there), -1)
    place[often] = np.arange(len(often))
    column = place[kind]
    row = np.flatnonzero(column >= 0)
    shape = (len(kind), len(often))
    one_hot = sparse.csr_matrix((np.ones(len(row)), (row, column[row])), shape)
    return choices.counts(one_hot).toarray(), there[often]
