"""Watermarks: a softmax, a chain of binomials, Beta's logarithm, and the random map's integral."""

import mpmath as mp

from oracles.book import oracle


@oracle
def green_mass(green_share, boost):
    green = green_share * mp.exp(boost)
    return green / (green + 1 - green_share)


@oracle
def radioactivity(num_generations, num_samples, mass, green_share, real_share=0):
    """E x and E x^2 of x' ~ Binomial(M, r g + (1 - r) x)/M."""
    first, second, excess = mass, mass**2, mass - green_share
    means, spreads = [], []
    for step in range(int(num_generations) + 1):
        if step:
            chance = real_share * green_share + (1 - real_share) * first
            square = (real_share * green_share) ** 2 + (1 - real_share) ** 2 * second
            square += 2 * real_share * green_share * (1 - real_share) * first
            first, second = chance, chance / num_samples + (1 - 1 / num_samples) * square
            excess *= 1 - real_share
        means.append(excess)
        spreads.append(mp.sqrt(max(second - first**2, mp.mpf(0))))
    return means, spreads


@oracle
def watermark_z(excess, green_share, num_tokens):
    return excess * num_tokens / mp.sqrt(num_tokens * green_share * (1 - green_share))


@oracle
def gumbel_score(probabilities):
    return mp.fsum(p * mp.harmonic(1 / p) for p in probabilities if p > 0)


@oracle
def key_cycle_length(num_contexts):
    """Q(K) is the integral of e^-x (1 + x/K)^(K-1); here in units of sqrt K."""
    if num_contexts <= 300:
        total, term = mp.mpf(0), mp.mpf(1)
        for step in range(int(num_contexts)):
            total, term = total + term, term * (1 - (step + 1) / num_contexts)
        return (total + 1) / 2
    with mp.workdps(30):
        root = mp.sqrt(num_contexts)
        height = lambda y: mp.exp((num_contexts - 1) * mp.log1p(y / root) - root * y)  # noqa: E731
        return (root * mp.quad(height, [0, 1, 2, 4, 8, 16, 32, 64, 128, 1024]) + 1) / 2
