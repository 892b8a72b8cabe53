"""Choosing among draws: what each rule does to the probabilities, from its definition."""

import mpmath as mp

from oracles.book import Convention, oracle


def _sigmoid(x):
    return 1 / (1 + mp.exp(-x))


@oracle
def luce_pair(probabilities, rewards):
    """Two draws x, y: the kept one is x with probability sigma(r_x - r_y); either of the two may be it."""
    kept = [mp.mpf(0) for _ in probabilities]
    for first, (p, reward) in enumerate(zip(probabilities, rewards)):
        for second, (q, other) in enumerate(zip(probabilities, rewards)):
            kept[first] += p * q * _sigmoid(reward - other)
            kept[second] += p * q * _sigmoid(other - reward)
    return kept


@oracle
def luce_gain(log_reward, others):
    rivals = mp.fsum(mp.exp(other - log_reward) for other in others)
    return (len(others) + 1) / (1 + rivals)


@oracle
def exponential_tilt(probabilities, rewards, num_rounds):
    top = max(reward for p, reward in zip(probabilities, rewards) if p > 0)
    weights = [p * mp.exp(num_rounds * (reward - top)) for p, reward in zip(probabilities, rewards)]
    return [weight / mp.fsum(weights) for weight in weights]


@oracle
def quadratic_tilt(num_rounds, mean, variance, target, tolerance):
    """A product of Gaussians; a point mass stays, a tilt without width or without end leaves the target alone."""
    if num_rounds == 0 or tolerance == mp.inf:
        return mean, variance
    if variance == 0:
        return Convention((mean, variance))
    if tolerance == 0:
        return Convention((target, mp.mpf(0)))
    if variance == mp.inf:
        return Convention((target, tolerance**2 / num_rounds))
    precision = 1 / variance + num_rounds / tolerance**2
    return (mean / variance + num_rounds * target / tolerance**2) / precision, 1 / precision


@oracle
def kept_ratio_bound(ratio, num_candidates):
    """The geometric sum of l (K - 1): where it does not converge nothing is bounded."""
    growth = ratio * (num_candidates - 1)
    return 1 / (1 - growth) if growth < 1 else Convention(mp.inf)


@oracle
def fixation_probability(share, num_samples, advantage):
    """The harmonic function of the diffusion with drift s x (1 - x) and variance x (1 - x)/M: 0 at 0 and 1 at 1."""
    exponent = 2 * num_samples * advantage
    if exponent == 0:
        return share
    return (1 - mp.exp(-exponent * share)) / (1 - mp.exp(-exponent))


@oracle
def verifier_odds(odds, kept_correct, kept_wrong, num_rounds):
    if num_rounds == 0:
        return odds
    if kept_wrong == 0:
        if kept_correct == 0:
            return None
        return mp.inf if odds > 0 else Convention(mp.mpf(0))
    if odds == mp.inf:
        return mp.inf if kept_correct > 0 else None
    return odds * (kept_correct / kept_wrong) ** num_rounds


@oracle
def verifier_breakdown(kept_correct, kept_wrong):
    """The share x at which x psi = (1 - x) phi."""
    return kept_correct / (kept_correct + kept_wrong) if kept_correct + kept_wrong > 0 else None
