"""Doses of poison and what replay keeps: every recursion step by step."""

from functools import cache

import mpmath as mp

from oracles.book import Convention, oracle, product


@oracle
def dose_replace(num_fits, dose, clean_share=0):
    return dose * (1 - clean_share) ** num_fits


@oracle
def dose_accumulate(num_generations, num_real, num_samples, dose, clean_share=0):
    rows, poisoned, doses = num_real, num_real * dose, [dose]
    for _ in range(int(num_generations)):
        poisoned += num_samples * (1 - clean_share) * poisoned / rows
        rows += num_samples
        doses.append(poisoned / rows)
    return doses


@oracle
def dose_window(num_generations, num_batches, age, dose, clean_share=0):
    if age >= num_batches:
        return None
    batches = [mp.mpf(0)] * int(num_batches)  # the newest last
    batches[-1 - int(age)] = dose
    means = []
    for _ in range(int(num_generations) + 1):
        means.append(mp.fsum(batches[-int(num_batches) :]) / num_batches)
        batches.append((1 - clean_share) * means[-1])
    return means


@oracle
def dose_window_limit(num_batches, age, dose):
    """Weighing each batch by the windows still to see it leaves the sum as it is; in the end all doses are one."""
    if age >= num_batches:
        return None
    weights = [num_batches - j for j in range(int(num_batches))]
    return weights[int(age)] * dose / mp.fsum(weights)


@oracle
def dose_half_life(clean_share):
    if clean_share in (0, 1):
        return mp.inf if clean_share == 0 else mp.mpf(0)
    return mp.log(mp.mpf(1) / 2) / mp.log(1 - clean_share)


@cache
def _transitions(size):
    """Binomial laws of 0 ... M copies next, for 0 ... M copies now."""
    return [_binomial(size, mp.mpf(copies) / size) for copies in range(size + 1)]


def _binomial(size, share):
    return [mp.binomial(size, k) * share**k * (1 - share) ** (size - k) for k in range(size + 1)]


@oracle
def dose_fates(dose, num_fits, num_samples):
    """From the end backwards: the chances of each number of copies, one fit earlier at a time."""
    if num_fits == 0:
        return Convention((mp.mpf(dose == 0), mp.mpf(dose == 1)))
    size = int(num_samples)
    fates = []
    for end in (0, size):
        chances = [mp.mpf(copies == end) for copies in range(size + 1)]
        for _ in range(int(num_fits) - 1):
            chances = [mp.fdot(row, chances) for row in _transitions(size)]
        fates.append(mp.fdot(_binomial(size, dose), chances))
    return tuple(fates)


@oracle
def dose_advantaged(num_fits, dose, advantage, clean_share=0):
    """1/p' is linear in 1/p; many steps of it are a power and a sum."""
    if num_fits <= 1000:
        for _ in range(int(num_fits)):
            dose = (1 - clean_share) * dose * advantage / (1 + dose * (advantage - 1))
        return dose
    if dose == 0 or clean_share == 1:
        return mp.mpf(0)
    rate = advantage * (1 - clean_share)
    steps = num_fits if rate == 1 else (1 - rate**-num_fits) / (1 - 1 / rate)
    return 1 / (rate**-num_fits / dose + (advantage - 1) / rate * steps)


@oracle
def poison_reproduction(advantage, clean_share):
    return advantage * (1 - clean_share)


@oracle
def endemic_dose(advantage, clean_share):
    rate = advantage * (1 - clean_share)
    return (rate - 1) / (advantage - 1) if rate > 1 else mp.mpf(0)


@oracle
def replay_factors(num_replayed, num_new):
    return (num_replayed / (num_replayed + num_new)) ** 2, 1 - 1 / num_replayed


@oracle
def growing_replay(num_generations, num_new):
    kept = lambda t: (mp.mpf(t) / (t + 1)) ** 2  # noqa: E731
    tasks = range(int(num_generations) + 1)
    return [product(kept(t) for t in range(1, last + 1)) for last in tasks], [
        product(1 - 1 / (t * num_new) for t in range(1, last + 1)) for last in tasks
    ]
