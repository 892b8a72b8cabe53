"""Counts, forgetting and the memoriser."""

import mpmath as mp

from oracles.ancestry import ancestor_law
from oracles.book import Convention, oracle, product


@oracle
def heterozygosity(num_fits, num_samples):
    return (1 - 1 / num_samples) ** num_fits


@oracle
def covariance(probabilities, num_fits, num_samples):
    lost = 1 - (1 - 1 / num_samples) ** num_fits
    return [
        [((i == j) * p - p * q) * lost for j, q in enumerate(probabilities)]
        for i, p in enumerate(probabilities)
    ]


@oracle
def unseen(probability, num_samples):
    return (1 - probability) ** num_samples


@oracle
def survival(probability, num_fits, num_samples):
    """1 - E (1 - p)^A, A as in `ancestry`. Before the first fit every class of the truth is alive."""
    if num_fits == 0:
        return Convention(mp.mpf(probability > 0))
    law = ancestor_law(int(num_samples), int(num_fits) - 1)
    return mp.fsum(weight * (1 - (1 - probability) ** a) for a, weight in enumerate(law))


@oracle
def expected_support(probabilities, num_fits, num_samples):
    alive = [survival(p, num_fits, num_samples) for p in probabilities]
    if num_fits == 0:
        return Convention(mp.fsum(one.values[0] for one in alive))
    return mp.fsum(alive)


def _alive(num_fits):
    """g_n; g_0 is infinite, as 1 - e^-inf = 1 = g_1: the truth forgets nothing."""
    g = mp.inf
    for _ in range(int(num_fits)):
        g = 1 - mp.exp(-g)
    return g


def _lost(count, num_fits):
    """e^(-c g_n), that none of c words is alive: 1 for no word."""
    return mp.mpf(1) if count == 0 else mp.exp(-count * _alive(num_fits))


def _from_one(num_fits, value):
    return Convention(value) if num_fits == 0 else value


@oracle
def branching_survival(num_generations):
    values = [_alive(1)]
    while len(values) < num_generations:
        values.append(1 - mp.exp(-values[-1]))
    return values[: int(num_generations)]


@oracle
def survival_bounds(probability, num_samples, num_fits):
    lost = _lost(num_samples * probability, num_fits)
    rest = 1 - 3 * num_samples * probability**2 - 3 * num_fits * probability
    return _from_one(num_fits, (1 - lost, min(1 - rest * lost, mp.mpf(1))))


@oracle
def forgetting_probability(count, num_fits):
    return _from_one(num_fits, _lost(count, num_fits))


@oracle
def entropy_drop(num_classes, num_samples):
    """To first order in 1/M: too few draws, and it passes the most there is to lose, log K."""
    drop = (num_classes - 1) / (2 * num_samples)
    return drop if drop <= mp.log(num_classes) else Convention(drop)


@oracle
def poisson_survival(rate, num_samples, num_fits):
    return _from_one(num_fits, 1 - _lost(num_samples * rate, num_fits))


@oracle
def memoriser_error(probabilities, num_samples, num_fits):
    if num_fits == 1:
        return mp.fsum(p * (1 - p) ** num_samples for p in probabilities)
    return _from_one(num_fits, mp.fsum(p * _lost(num_samples * p, num_fits) for p in probabilities))


@oracle
def memoriser_asymptote(exponent, num_samples):
    """The sum of p e^(-T p) as an integral over i, and no more than all; no law at b = 1, one class at b = inf."""
    if exponent <= 1:
        return None
    if exponent == mp.inf:
        return mp.mpf(0)
    power = 1 - 1 / exponent
    value = mp.zeta(exponent) ** (-1 / exponent) * mp.gamma(power) / exponent * num_samples**-power
    return min(value, mp.mpf(1))


@oracle
def truncated_memoriser_error(probabilities, num_kept, num_samples):
    head, tail = probabilities[: int(num_kept)], probabilities[int(num_kept) :]
    if num_kept > len(probabilities):
        return Convention(truncated_memoriser_error(probabilities, mp.mpf(len(probabilities)), num_samples))
    mass = mp.fsum(head)
    if mass == 0:  # nothing can be drawn
        return Convention(mp.fsum(tail))
    return mp.fsum(p * (1 - p / mass) ** num_samples for p in head) + mp.fsum(tail)


@oracle
def effective_draws(sizes):
    if not sizes:
        return None
    worth = sizes[-1]
    for size in sizes[-2::-1]:
        worth = size * (1 - mp.exp(-worth / size))
    return worth


@oracle
def zipf(exponent, num_classes):
    weights = [mp.mpf(i) ** -exponent for i in range(1, int(num_classes) + 1)]
    return [weight / mp.fsum(weights) for weight in weights] or None


@oracle
def novelty_identity(num_samples, rate):
    """F = (1 - u)^2 (1/M + (1 - 1/M) F)."""
    kept = (1 - rate) ** 2
    if kept == 1:
        return mp.mpf(1)
    return kept / num_samples / (1 - kept * (1 - 1 / num_samples))


@oracle
def exponential_accumulate(num_fits, num_samples):
    return product(1 + 1 / (num_samples * mp.mpf(k) ** 2) for k in range(1, int(num_fits) + 1))
