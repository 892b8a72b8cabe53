"""Excess risks of refitted regressions, from traces of Wishart, beta and Marchenko-Pastur matrices."""

import mpmath as mp

from oracles.book import Convention, oracle


def _inverse_trace(num_rows, dim):
    """E tr (X'X)^-1 of T standard normal rows: d/(T - d - 1), infinite at T = d and d + 1; no inverse below."""
    freedom = num_rows - dim - 1
    if freedom > 0:
        return dim / freedom
    return mp.inf if freedom >= -1 else None


def _scaled(base, factor):
    """Return base * factor; an infinite risk is one that the package may also refuse to give, even if it is of none."""
    if base is None:
        return None
    return Convention(mp.inf if factor else mp.mpf(0)) if base == mp.inf else base * factor


def _harmonic_squares(num_fits):
    return mp.fsum(mp.mpf(1) / i**2 for i in range(1, int(num_fits) + 1))


@oracle
def base_risk(num_rows, dim, noise=1):
    return _scaled(_inverse_trace(num_rows, dim), noise**2)


@oracle
def replace_risk(num_fits, num_rows, dim, noise=1):
    return _scaled(_inverse_trace(num_rows, dim), noise**2 * num_fits)


@oracle
def accumulate_same_risk(num_fits, num_rows, dim, noise=1):
    return _scaled(_inverse_trace(num_rows, dim), noise**2 * _harmonic_squares(num_fits))


@oracle
def accumulate_fresh_risk(num_fits, num_rows, dim, noise=1):
    """w_i - w_{i-1} = (X_1'X_1 + ... + X_i'X_i)^-1 X_i'z_i: an i-th of the trace of i T rows' inverse."""
    if (first := _inverse_trace(num_rows, dim)) in (None, mp.inf):
        return _scaled(first, noise**2 * num_fits)
    return noise**2 * mp.fsum(_inverse_trace(i * num_rows, dim) / i for i in range(1, int(num_fits) + 1))


def _min_norm_risk(bias, rounds, noise, num_rows, dim):
    """Add `rounds` times the noise's E tr (XX')^-1, of T rows of d numbers: finite from d = T + 2 on."""
    inverse = _inverse_trace(dim, num_rows)
    if inverse is None:
        return None
    if inverse == mp.inf:
        return Convention(mp.inf if rounds * noise else bias)
    return bias + noise**2 * inverse * rounds


@oracle
def min_norm_fresh_risk(num_fits, num_rows, dim, norm, noise=1):
    """Each fit projects at random: it keeps the share T/d of what it is given, and adds its noise."""
    kept = num_rows / dim
    rounds = num_fits if kept == 1 else (1 - kept**num_fits) / (1 - kept)
    return _min_norm_risk(norm**2 * (1 - kept**num_fits), rounds, noise, num_rows, dim)


@oracle
def min_norm_same_risk(num_fits, num_rows, dim, norm, noise=1):
    """One projection; before the first fit there is no risk."""
    if num_fits == 0:
        return Convention(mp.mpf(0))
    return _min_norm_risk(norm**2 * (1 - num_rows / dim), num_fits, noise, num_rows, dim)


@oracle
def label_mix_risk(num_fits, num_rows, dim, weight, noise=1):
    """The first fit sees real labels alone; before it there is no risk."""
    base = _inverse_trace(num_rows, dim)
    if base in (None, mp.inf) or num_fits == 0:
        return _scaled(base, noise**2 * num_fits)
    rest, fresh = (1 - weight) ** 2, weight**2 + (1 - weight) ** 2  # R' = fresh B + rest R: a geometric sum
    later = num_fits - 1
    rounds = later if rest == 1 else (1 - rest**later) / (1 - rest)
    return (rest**later + fresh * rounds) * base * noise**2


@oracle
def marchenko_pastur(penalty, ratio):
    """From c l m^2 + (1 - c + l) m = 1 for the Stieltjes transform m at -l, c = d/T, and its derivative."""
    if penalty == 0:
        if ratio == 1:
            return Convention((mp.mpf(1), mp.mpf(1), mp.inf))
        rank = min(mp.mpf(1), 1 / ratio) if ratio else mp.mpf(1)
        return Convention((rank, rank, ratio / (1 - ratio) if ratio < 1 else 1 / (ratio - 1)))
    if penalty == mp.inf:
        return Convention((mp.mpf(0), mp.mpf(0), mp.mpf(0)))
    if ratio == 0:
        m = 1 / (1 + penalty)
    else:
        gap = 1 - ratio + penalty
        m = (mp.sqrt(gap**2 + 4 * ratio * penalty) - gap) / (2 * ratio * penalty)
    square = (ratio * m**2 + m) / (2 * ratio * penalty * m + 1 - ratio + penalty)  # E tr (S + l)^-2 / d
    return 1 - penalty * m, 1 - 2 * penalty * m + penalty**2 * square, ratio * (m - penalty * square)


@oracle
def ridge_risk(num_fits, shrinkage, norm, noise=1):
    a, b, v = shrinkage
    passed = num_fits if b == 1 else (1 - b**num_fits) / (1 - b)
    return norm**2 * (1 - 2 * a**num_fits + b**num_fits) + noise**2 * v * passed


@oracle
def generators_risk(num_generators, generator_risk, shrinkage, norm, noise=1):
    """The labels' coefficients are off by an error of independent direction; ridge keeps the share b of it."""
    a, b, v = shrinkage
    return norm**2 * (1 - 2 * a + b) + noise**2 * v + b * num_generators * generator_risk


@oracle
def two_source_risk(num_real, num_shifted, dim, shift, noise=1):
    """E tr(H G^-1 H G) |D|^2/d, G = X'X of all rows and H = G^-1/2 X_2'X_2 G^-1/2, a beta matrix independent of G.

    H_11 is Beta(n_2/2, n_1/2); det of a 2 x 2 block is two independent betas' product; turning the axes by 45
    degrees gives E H_12^2 = (E H_11^2 - E det)/3; and E tr G tr G^-1 = (n d - 2) d/(n - d - 1).
    """
    rows = num_real + num_shifted
    inverse = _inverse_trace(rows, dim)
    if inverse is None:
        return None
    square = num_shifted * (num_shifted + 2) / (rows * (rows + 2))
    minor = num_shifted * (num_shifted - 1) / (rows * (rows - 1)) if rows > 1 else mp.mpf(0)
    across = (square - minor) / 3 if num_real * num_shifted else mp.mpf(0)
    if inverse == mp.inf:
        return Convention(mp.inf if noise or shift * across else shift**2 * square)
    trace = dim * square + across * ((rows * dim - 2) * inverse - dim)
    return shift**2 / dim * trace + noise**2 * inverse
