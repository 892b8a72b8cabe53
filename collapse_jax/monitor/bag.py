"""The bag: reference and earlier generations with their labels taken off, of which every new one is a part.

If reference and generations are draws of one law, then of all ways to choose a generation's rows out of the bag and
itself the true one is as likely as any other, whatever the bag holds and whatever comes later:

    p_t = (1 + number of random choices with a statistic as extreme) / (1 + number of choices)

is uniform or larger, given the bag and all that follows; so p_1, p_2, ... are as good as independent. A fixed
reference alone does not give that: its own error is in every check, and the checks err together (of 2,000 monitors
without any change whose 200 checks were compared with one reference, 17.5 % raised an alarm at alpha = 5 %).

The bag holds at most `capacity` rows. What leaves it is chosen by chance, reference or not: who would keep the
reference would know the labels.

Reference: Vovk, Nouretdinov and Gammerman, Testing exchangeability on-line (ICML 2003).
"""

from typing import NamedTuple

import numpy as np
from scipy import sparse

from collapse_jax.monitor.rows import Rows

_FEW_PLACES = 2000  # up to here all places are dealt at once


class Choices(NamedTuple):
    """Ways to choose a generation's rows.

    Attributes:
        rows: the generation's rows first, then the bag's.
        places: of the chosen ones, shape [num_choices, num_chosen].
    """

    rows: Rows
    places: np.ndarray

    def sums(self, scores: np.ndarray) -> np.ndarray:
        """Return for each choice the sum of its rows' scores, shape [num_choices, num_scores].

        Args:
            scores: shape [num_rows, num_scores].
        """
        return np.asarray(self._chosen(scores.dtype) @ scores)

    def counts(self, scores: sparse.csr_matrix) -> sparse.csr_matrix:
        """Return the same of scores most of which are 0."""
        return self._chosen(scores.dtype) @ scores

    def shuffled(self, rng: np.random.Generator) -> "Choices":
        """Return the same choices of rows in another order: of equal distances the first row wins, whosever it is."""
        order = rng.permutation(len(self.rows))
        return Choices(self.rows.take(order), np.argsort(order)[self.places])

    def _chosen(self, kind: np.dtype) -> sparse.csr_matrix:
        num_choices, num_chosen = self.places.shape
        starts = np.arange(0, num_choices * num_chosen + 1, num_chosen)
        ones = np.ones(self.places.size, kind)
        return sparse.csr_matrix((ones, self.places.ravel(), starts), (num_choices, len(self.rows)))

    def means(self, scores: np.ndarray) -> np.ndarray:
        """Return for each choice the mean of its rows' scores, shape [num_choices, num_scores]."""
        return self.sums(scores) / self.places.shape[1]


class Bag:
    """Rows without labels.

    Args:
        rows: the reference's.
        capacity: so many are kept.
    """

    def __init__(self, rows: Rows, capacity: int) -> None:
        self.rows, self.capacity = rows, capacity

    def choices(self, sample: Rows, num: int, rng: np.random.Generator) -> Choices:
        """Return the sample itself as the first choice, and `num` random ones."""
        size = len(sample)
        places = random_places(rng, num, size, size + len(self.rows))
        return Choices(sample.joined(self.rows), np.concatenate([np.arange(size)[None], places]))

    def add(self, sample: Rows, rng: np.random.Generator) -> None:
        """Put the sample's rows in; of too many some leave, whichever."""
        rows = self.rows.joined(sample)
        if len(rows) > self.capacity:
            rows = rows.take(np.sort(rng.choice(len(rows), self.capacity, replace=False)))
        self.rows = rows


def random_places(rng: np.random.Generator, num: int, size: int, total: int) -> np.ndarray:
    """Return `num` sets of `size` out of `total` places, each as likely as any other, shape [num, size].

    Statistics are functions of sets: in which order a set is written down says nothing.
    """
    if total <= _FEW_PLACES:
        return np.argpartition(rng.random((num, total), np.float32), size - 1, axis=1)[:, :size]
    return np.stack([rng.choice(total, size, replace=False, shuffle=False) for _ in range(num)])
