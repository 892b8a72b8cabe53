"""A uniformly random subset of rows whose number is not known before they have all gone by.

    each row draws u ~ U(0, 1), and the rows of the `size` smallest u stay: every subset of that size is as likely

What one seed keeps does not depend on how the rows are cut into chunks.
"""

from collections.abc import Iterable
from itertools import islice
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")
_BLOCK = 2**20
_ITEMS = 256  # offered at once; each may be as long as a line


class Reservoir:
    """Which rows of a stream stay; the rows themselves lie with the caller.

    >>> reservoir = Reservoir(2, seed=0)
    >>> reservoir.offer(2)
    (array([], dtype=int64), array([0, 1]))
    >>> stay, come = reservoir.offer(1000)
    >>> len(stay) + len(come), reservoir.num_rows
    (2, 1002)
    """

    def __init__(self, size: int, seed: int) -> None:
        self._size = size
        self._rng = np.random.default_rng(seed)
        self._drawn = np.empty(0)
        self.num_rows = 0

    def offer(self, num: int) -> tuple[np.ndarray, np.ndarray]:
        """Return which of the rows that were kept stay, and which of `num` new ones come, both ascending."""
        drawn, places = self._drawn, np.arange(-len(self._drawn), 0)
        for start in range(0, num, _BLOCK):
            new = self._rng.random(min(_BLOCK, num - start))
            least = np.flatnonzero(new < drawn.max()) if len(drawn) >= self._size else np.arange(len(new))
            drawn, places = np.concatenate([drawn, new[least]]), np.concatenate([places, start + least])
            if len(drawn) > self._size:
                chosen = np.sort(np.argpartition(drawn, self._size - 1)[: self._size])
                drawn, places = drawn[chosen], places[chosen]
        kept = len(self._drawn)
        self._drawn, self.num_rows = drawn, self.num_rows + num
        return places[places < 0] + kept, places[places >= 0]


def choose(num: int, size: int, seed: int) -> np.ndarray:
    """Return which rows of a known number stay, ascending."""
    return Reservoir(size, seed).offer(num)[1]


def keep(items: Iterable[Item], size: int, seed: int) -> tuple[list[Item], int]:
    """Return a random subset of what an iterator gives, in its order, and how many it gave."""
    reservoir, kept, left = Reservoir(size, seed), list[Item](), iter(items)
    while block := list(islice(left, _ITEMS)):
        stay, come = reservoir.offer(len(block))
        if len(come):
            kept = [kept[index] for index in stay] + [block[index] for index in come]
    return kept, reservoir.num_rows
