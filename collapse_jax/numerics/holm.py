"""Several tests at once: Holm's steps keep the chance of any false alarm among them at the level of one.

Reference: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979).
"""

from collections.abc import Sequence

import numpy as np


def adjusted(p: Sequence[float]) -> list[float]:
    """Return p-values such that the chance of one below alpha among them, where nothing is true, is at most alpha.

    >>> [round(float(value), 3) for value in adjusted([0.03, 0.01, 0.02])]
    [0.04, 0.03, 0.04]
    """
    found, reached = [0.0] * len(p), 0.0
    for rank, index in enumerate(np.argsort(p, kind="stable")):
        reached = max(reached, min(1.0, (len(p) - rank) * p[index]))
        found[index] = reached
    return found


def levels(p: Sequence[float], significance: float) -> list[float]:
    """Return the level at which Holm's steps test each: smallest p first, to the first that is not decisive at its own.

    >>> [round(float(level), 4) for level in levels([0.03, 0.01, 0.02], 0.05)]
    [0.05, 0.0167, 0.025]
    """
    order, found, decisive = np.argsort(p, kind="stable"), [0.0] * len(p), 0
    for rank, index in enumerate(order):
        found[index] = significance / (len(p) - decisive)
        decisive += rank == decisive and p[index] <= found[index]
    return found
