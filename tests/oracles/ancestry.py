"""Times of a neutral chain, exact ones by its dual: how many ancestors M points have, generation by generation.

A class of share x is lost in the n-th fit if all ancestors of that fit's M points in the first fit's data are of the
others: P(lost) = E (1 - x)^A, A the number of distinct members of the first fit's data that the last data descend
from. A falls from M as a draws from M points hit b distinct ones. All terms are positive, and no binomial matrix is
needed: the package's way is another one.
"""

from functools import lru_cache
from itertools import combinations
from math import comb

import mpmath as mp
import numpy as np

from oracles.book import Convention, oracle, product

BITS = 280  # of the fixed point in which probabilities of A are kept: 84 digits
ONE = 1 << BITS


@lru_cache
def _hits(num_samples: int) -> list[np.ndarray]:
    """Return for a = 0 ... M the probabilities that a draws hit b = 0 ... a distinct points of M."""
    rows = [np.array([ONE], object)]
    for a in range(num_samples):
        row = np.array([*rows[-1], 0], object)
        b = np.arange(a + 2).astype(object)
        row = row * b
        row[1:] += rows[-1] * (num_samples - b[1:] + 1)
        rows.append(row // num_samples)
    return rows


@lru_cache
def _ancestor_laws(num_samples: int) -> list[np.ndarray]:
    start = np.array([0] * num_samples + [ONE], object)
    return [start]


def ancestor_law(num_samples: int, num_fits: int) -> list:
    """Return the probabilities of 0 ... ancestors of M points, `num_fits` resamplings ago."""
    laws, hits = _ancestor_laws(num_samples), _hits(num_samples)
    while len(laws) <= num_fits:
        before = laws[-1]
        after = np.array([0] * len(before), object)
        for a, weight in enumerate(before):
            if weight:
                after[: a + 1] += weight * hits[a]
        after >>= BITS
        last = max(np.flatnonzero(after))
        laws.append(after[: last + 1])
    return [mp.mpf(int(weight)) / ONE for weight in laws[num_fits]]


def both_alive_exactly(share, num_samples: int, num_fits: int):
    """Return the probability that neither class is lost; before the first fit neither is."""
    if num_fits == 0:
        return mp.mpf(0 < share < 1)
    law = ancestor_law(num_samples, num_fits - 1)
    return mp.fsum(w * (1 - share**a - (1 - share) ** a) for a, w in enumerate(law) if a)


@oracle
def binomial_law(num, share):
    num = int(num)
    return [comb(num, hits) * share**hits * (1 - share) ** (num - hits) for hits in range(num + 1)]


@oracle
def transition_matrix(num_samples):
    return [binomial_law(int(num_samples), mp.mpf(i) / num_samples) for i in range(int(num_samples) + 1)]


@oracle
def transition_eigenvalues(num_samples):
    return [product(1 - mp.mpf(j) / num_samples for j in range(k)) for k in range(int(num_samples) + 1)]


@oracle
def absorption_times(num_samples):
    """The sum over n of P(both alive after n): visits of A to a, starting from M, by substitution from the top."""
    size = int(num_samples)
    hits, visits = _hits(size), [mp.mpf(0)] * (size + 1)
    for a in range(size, 1, -1):
        come = mp.fsum(visits[b] * int(hits[b][a]) for b in range(a + 1, size + 1)) / ONE
        visits[a] = (come + (a == size)) / (1 - mp.mpf(int(hits[a][a])) / ONE)
    shares = np.array([ONE * i // size for i in range(size + 1)], object)
    alive, powers = np.zeros(size + 1, object), shares
    for a in range(2, size + 1):
        powers = powers * shares >> BITS
        alive += int(visits[a] * ONE) * (ONE - powers - powers[::-1]) >> BITS
    return [mp.mpf(0), *(1 + mp.mpf(int(time)) / ONE for time in alive[1:-1]), mp.mpf(0)]


def _entropy(x):
    return x * mp.log(x) if x > 0 else mp.mpf(0)


@oracle
def absorption_time_limit(share, num_samples):
    return -2 * num_samples * (_entropy(share) + _entropy(1 - share))


@oracle
def fixation_time_limit(probabilities, num_samples):
    return -2 * num_samples * mp.fsum(_entropy(1 - p) for p in probabilities)


@oracle
def first_loss_time_limit(probabilities, num_samples):
    """A single class is never lost: the sum is 0 there, the time without end."""
    total = mp.mpf(0)
    for count in range(1, len(probabilities) + 1):
        for chosen in combinations(probabilities, count):
            total += (-1) ** count * _entropy(mp.fsum(chosen))
    value = 2 * num_samples * total
    return Convention(mp.mpf(0), mp.inf) if len(probabilities) == 1 else value


@oracle
def first_loss_probability(probabilities, num_samples, num_fits):
    if len(probabilities) == 1:  # a single class is never lost
        return Convention(mp.mpf(0))
    if num_fits == 0:
        return Convention(mp.mpf(1)) if min(probabilities) == 0 else mp.mpf(0)
    return 1 - product(1 - mp.exp(-2 * num_samples * p / num_fits) for p in probabilities)


@oracle
def both_alive(share, num_samples, num_fits):
    """Stated for n >= M: before that the leading term may pass 1."""
    value = 6 * share * (1 - share) * (1 - 1 / num_samples) ** num_fits
    return value if num_fits >= num_samples else Convention(value, min(value, mp.mpf(1)))


@oracle
def both_alive_bounds(share, num_samples, num_fits):
    """From x (1 - x) <= 1/4 and, at shares of k/M other than 0 and 1, x (1 - x) >= (1 - 1/M)/M: for n >= 1.

    No probability is above 1. Before the first fit the share need not be a multiple of 1/M.
    """
    kept, spread = 1 - 1 / num_samples, share * (1 - share)
    lower = 4 * spread * kept**num_fits
    if num_fits < 1:
        return Convention((lower, mp.mpf(1)), (lower, mp.mpf(spread > 0)))
    return lower, min(num_samples * spread * kept ** (num_fits - 1), mp.mpf(1))


@oracle
def ancestors(num_samples, num_fits):
    return mp.fsum(a * weight for a, weight in enumerate(ancestor_law(int(num_samples), int(num_fits))))


@oracle
def pair_coalesced(num_samples, num_fits):
    return 1 - (1 - 1 / num_samples) ** num_fits


@oracle
def effective_size(sizes):
    return len(sizes) / mp.fsum(1 / size for size in sizes) if sizes else None


@oracle
def moran_heterozygosity(num_samples, num_steps):
    """x goes up or down by 1/M with x (1 - x) each. One point is always fixed: the factor means nothing there."""
    return None if num_samples == 1 else (1 - 2 / num_samples**2) ** num_steps


def _moran_by_elimination(copies, size):
    """Solve -(t_{j-1} - 2 t_j + t_{j+1}) x_j (1 - x_j) = 1 with t_0 = t_M = 0, from below."""
    slope, offset, lines = mp.mpf(0), mp.mpf(0), []  # t_j = slope t_{j+1} + offset
    for j in range(1, size):
        rise = mp.mpf(size) ** 2 / (mp.mpf(j) * (size - j))
        slope, offset = 1 / (2 - slope), (rise + offset) / (2 - slope)
        lines.append((slope, offset))
    times = [mp.mpf(0)]
    for slope, offset in reversed(lines):
        times.append(slope * times[-1] + offset)
    return [*times, mp.mpf(0)][::-1][copies]


@oracle
def moran_absorption_time(copies, num_samples):
    """Solved for up to a few hundred points; beyond, the solution's sums as harmonic numbers."""
    if copies > num_samples:
        return None
    if num_samples <= 200:
        return _moran_by_elimination(int(copies), int(num_samples))
    rest, all_ = num_samples - copies, mp.harmonic(num_samples - 1)
    below = rest * (all_ - mp.harmonic(rest - 1)) if rest else 0
    return num_samples * (below + copies * (all_ - mp.harmonic(copies)) if rest else mp.mpf(0))


@oracle
def polya_variance(share, num_real, num_drawn):
    """Var X of Polya's urn is T p (1 - p)(n0 + T)/(n0 + 1); p_T = (n0 p + X)/(n0 + T)."""
    if num_drawn == mp.inf:
        return share * (1 - share) / (num_real + 1)
    total = num_real + num_drawn
    if total == 0:
        return None
    return num_drawn * share * (1 - share) * total / (num_real + 1) / total**2
