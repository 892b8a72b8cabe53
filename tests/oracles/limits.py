"""Where the recursions of `identity_by_descent` rest: each fixed point solved from its own equation."""

import mpmath as mp

from oracles.book import Convention, oracle


def _far(value):
    """Return a number in place of infinity from which the limit is told to 80 digits and more."""
    return mp.mpf(10) ** 300 if value == mp.inf else value


@oracle
def accumulate_limit(num_samples):
    """prod (1 - 1/(M k^2)) = sin(x)/x at x = pi/sqrt M (Euler)."""
    x = mp.pi / mp.sqrt(num_samples)
    return 1 - mp.sin(x) / x if x else mp.mpf(0)


@oracle
def subsample_limit():
    """1 + 3 (1/4 + 1/9 + ...), to first order in 1/M."""
    return 1 + 3 * (mp.zeta(2) - 1)


@oracle
def fresh_counts_limit(fresh, synthetic):
    fresh, synthetic = _far(fresh), _far(synthetic)
    total = fresh + synthetic
    if total == 0:
        return None
    with mp.workdps(1000):
        return 1 / total / (1 - synthetic * (synthetic - 1) / total**2)


@oracle
def fresh_fraction_limit(num_samples, fraction):
    if num_samples == mp.inf:
        return mp.mpf(0) if fraction > 0 else Convention(mp.mpf(1))
    same = 1 / num_samples
    return mp.mpf(1) if num_samples == 1 else same / (1 - (1 - same) * (1 - fraction) ** 2)


@oracle
def add_original_limit(num_real, synthetic):
    real, drawn = _far(num_real), _far(synthetic)
    total = real + drawn
    with mp.workdps(1000):
        cross = 1 / total / (1 - drawn / total)
        return (1 / total + 2 * real * drawn / total**2 * cross) / (1 - drawn * (drawn - 1) / total**2)


@oracle
def original_counts_limit(num_real, num_samples, kept):
    if kept > num_samples:
        return None
    rest = num_samples - kept
    cross = 1 / num_real  # times `kept` below, so its value does not matter where none is kept
    pairs = 1 / num_samples + 2 * kept * rest / num_samples**2 * cross
    value = pairs / (1 - rest * (rest - 1) / num_samples**2)
    return Convention(value) if kept > num_real else value


@oracle
def weighted_mean_error(weight, ratio):
    """n V = w^2 + (1 - w)^2 (k + n V): the fixed point."""
    if weight == 0:
        return mp.inf if ratio > 0 else Convention(mp.mpf(0))
    if ratio == mp.inf:
        return mp.inf if weight < 1 else Convention(mp.mpf(1), mp.inf)
    rest = (1 - weight) ** 2
    return (weight**2 + rest * ratio) / (1 - rest)


@oracle
def weighted_original_error(weight, num_real, synthetic):
    """V = w^2/n + 2 w (1 - w) C + (1 - w)^2 (1/m + V) with C = 1/n at rest."""
    if weight == 0:
        return mp.inf if synthetic < mp.inf else Convention(mp.inf)
    rest = 1 - weight
    return (weight**2 / num_real + 2 * weight * rest / num_real + rest**2 / synthetic) / (1 - rest**2)
