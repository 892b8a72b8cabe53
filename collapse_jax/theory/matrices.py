"""Wright and Fisher's chain by its (M+1) x (M+1) matrix, on the host in float64: sizes are static."""

import functools

import numpy as np
from scipy.stats import binom

_BLOCK = 64


@functools.lru_cache(maxsize=8)
def resampling(num_samples: int) -> np.ndarray:
    """Return T, NumPy [M + 1, M + 1]: T[i, j] = P(j copies next | i copies now)."""
    hits = np.arange(num_samples + 1)
    matrix = binom.pmf(hits[None, :], num_samples, hits[:, None] / num_samples)
    matrix.flags.writeable = False  # it is shared
    return matrix


def alive(num_samples: int, num_fits: int) -> np.ndarray:
    """Return the probabilities, NumPy [M + 1], that a class of 0 ... M copies has one left after n more draws.

    A sum of probabilities of life, not 1 less that of death, which is near 1 for a rare class.
    """
    living = (np.arange(num_samples + 1) > 0).astype(np.float64)
    return np.linalg.matrix_power(resampling(num_samples), num_fits) @ living


def between(num_samples: int, num_fits: int, least: int = 1) -> np.ndarray:
    """Return P(two classes of equal share both hold at least `least` of M points), after each of 1 ... n draws.

    A class with fewer is lost. NumPy [n], from one draw of the truth's two halves on.
    """
    inner = slice(least, num_samples - least + 1)
    power = resampling(num_samples)[inner, inner]
    laws = binom.pmf(np.arange(num_samples + 1), num_samples, 0.5)[None, inner]
    # a block of laws at a time, each the last block moved on by its length: products of matrices, not of vectors
    while len(laws) < min(num_fits, _BLOCK):
        laws = np.concatenate([laws, laws @ power])
        power = power @ power
    present = []
    for _ in range(0, num_fits, len(laws)):
        present.append(laws.sum(axis=1))
        laws = laws @ power
    return np.concatenate(present)[:num_fits] if present else np.empty(0)
