"""Detectors: shares by counting rows, areas and integrals by their definition."""

import mpmath as mp

from oracles.book import oracle


def _rows(real_share, true_positive_rate, false_positive_rate):
    return real_share * (1 - false_positive_rate), (1 - real_share) * (1 - true_positive_rate)


@oracle
def filtered_share(real_share, true_positive_rate, false_positive_rate):
    real, drawn = _rows(real_share, true_positive_rate, false_positive_rate)
    return real / (real + drawn)


@oracle
def filtered_identity(num_samples, real_share, true_positive_rate, false_positive_rate):
    """G = 1/M + (1 - 1/M)(1 - r)^2 G."""
    share = filtered_share(real_share, true_positive_rate, false_positive_rate)
    return 1 / num_samples / (1 - (1 - 1 / num_samples) * (1 - share) ** 2)


@oracle
def crawl_gain(real_share, true_positive_rate, false_positive_rate):
    """Of 1/(n r (2 - r)) with n and with k n rows; at r = 0 its limit."""
    share = filtered_share(real_share, true_positive_rate, false_positive_rate)
    if real_share == 0:
        return 1 - false_positive_rate
    left = sum(_rows(real_share, true_positive_rate, false_positive_rate))
    return left * share * (2 - share) / (real_share * (2 - real_share))


@oracle
def keep_alive_rate(false_positive_rate, contamination, bias, least_variance):
    """The contamination at which (1 - c)/(1 - c lam) is T, and the filter that leaves it."""
    if bias >= 1 or least_variance == 0 or contamination == 0:
        return mp.mpf(0)
    largest = (1 - least_variance) / (1 - least_variance * bias)
    passed = largest / (1 - largest) * (1 - contamination) * (1 - false_positive_rate) / contamination
    return max(1 - passed, mp.mpf(0))


@oracle
def calibrated_effective_share(real_share, variance):
    """1 over the integral of p^2/mixture, piece by piece between powers of 2."""
    with mp.workdps(20):
        rest, root = (1 - real_share) / real_share, mp.sqrt(variance)

        def ratio(x):  # p^2/mixture, real_share times
            generated = mp.exp(x * x / 2 * (1 - 1 / variance)) / root
            return mp.npdf(x) / (1 + rest * generated)

        pieces = [mp.mpf(0), *[mp.mpf(2) ** power for power in range(-50, 6)]]
        return real_share / (2 * mp.quad(ratio, pieces, maxdegree=5))


@oracle
def likelihood_ratio_auc(variance):
    """P(|x| of the narrower < |y| of the wider): an angle."""
    if variance == 0:
        return mp.mpf(1)
    return 2 / mp.pi * mp.atan(mp.sqrt(max(variance, 1 / variance)))


@oracle
def threshold_rates(cut, variance):
    if cut == mp.inf:
        return mp.mpf(1), mp.mpf(1)
    inside = lambda c: mp.erf(c / mp.sqrt(2))  # noqa: E731
    if variance == 0:
        return inside(cut), mp.mpf(cut > 0)
    return inside(cut), inside(cut / mp.sqrt(variance))
