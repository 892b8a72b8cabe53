"""Statistics of categories: which are met, how their shares drift, entropy, and those that the reference lacks.

Rows hold `codes`, a whole number for each column; columns have codes of their own, so that none is in two columns, and
those that the reference lacks are numbered behind it. `columns` tells the column of each code of the reference.
"""

import numpy as np
from scipy import sparse

from collapse_jax.monitor.bag import Choices
from collapse_jax.monitor.statistics.statistic import BOTH, HIGHER, LOWER, Statistic


def categories(shares: np.ndarray) -> Statistic:
    """Return the share of the reference's categories that a sample meets.

    A category of share p is in M rows with probability 1 - (1 - p)^M; the expectation is the mean of that.

    Args:
        shares: of each category of the reference within its column.
    """

    def measure(choices: Choices) -> np.ndarray:
        return np.mean(counts(choices, len(shares)) > 0, axis=1)

    def expected(size: int) -> float:
        return float(np.mean(-np.expm1(size * np.log1p(-np.minimum(shares, 1 - 1e-12)))))

    return Statistic(
        "categories", "share of the reference's categories that are met", measure, LOWER, expected
    )


def frequencies(shares: np.ndarray) -> Statistic:
    """Return the distance of the categories' shares from the bag's: chi-square a category, over the number of rows.

    Args:
        shares: of each category of the reference within its column.
    """

    def measure(choices: Choices) -> np.ndarray:
        size, num = choices.places.shape[1], len(choices.rows)
        every = np.bincount(choices.rows["codes"].ravel(), minlength=len(shares))[: len(shares)] / num
        found = counts(choices, len(shares)) / size
        return np.mean((found - every) ** 2 / np.maximum(every, 1 / num), axis=1)

    return Statistic(
        "frequencies", "shift of the categories' shares, chi-square a row and category", measure, HIGHER
    )


def entropy(columns: np.ndarray) -> Statistic:
    """Return the entropy of the sample's categories, nats, mean over columns; a small sample has less of it.

    Args:
        columns: which column each category of the reference belongs to.
    """

    def measure(choices: Choices) -> np.ndarray:
        size = choices.places.shape[1]
        found = counts(choices, len(columns)) / size
        nats = -found * np.log(np.maximum(found, 1e-300))
        return nats.sum(axis=1) / (columns.max() + 1)

    return Statistic("entropy", "nats, mean over columns of categories", measure, BOTH)


def unseen(num_categories: int) -> Statistic:
    """Return the share of cells with a category that the reference lacks.

    Args:
        num_categories: how many the reference has.
    """

    def measure(choices: Choices) -> np.ndarray:
        strange = np.mean(choices.rows["codes"] >= num_categories, axis=1)
        return choices.means(strange[:, None])[:, 0]

    about = "share of cells with a category that is not in the part of the reference that is learnt from"
    return Statistic("unseen", about, measure, HIGHER)


def counts(choices: Choices, num_categories: int) -> np.ndarray:
    """Return how often each choice holds each category of the reference, shape [num_choices, num_categories]."""
    codes = choices.rows["codes"]
    row, column = np.nonzero(codes < num_categories)
    one_hot = sparse.csr_matrix((np.ones(len(row)), (row, codes[row, column])), (len(codes), num_categories))
    return choices.counts(one_hot).toarray()
