"""Identity by descent, regime by regime, by counting pairs of draws.

G_g is the probability that two draws from model g go back to one real draw. Two draws from a fit are two members of
its data, chosen with replacement: the same one, or two distinct ones, which share an ancestor with the probability
that their own model gives.
"""

import mpmath as mp

from oracles.book import Convention, oracle, schedule


def _identities(start, num_generations, step):
    values = [start]
    for _ in range(int(num_generations)):
        values.append(step(values[-1]))
    return values


def _pairs(num_real, num_generations, step):
    """Follow (C, G): C is the identity of a draw with a random member of the real set, on which model 0 was fitted."""
    return [
        g for _, g in _identities((1 / num_real, 1 / num_real), num_generations, lambda both: step(*both))
    ]


@oracle
def replace_variance(num_fits, num_samples):
    return (1 - 1 / num_samples) ** num_fits


@oracle
def replace_variance_error(num_fits, num_samples, num_seeds):
    """v is a product of chi-squares: E v^2 / (E v)^2 = ((M + 1)/(M - 1))^n. One point has no variance to err from."""
    if num_samples == 1:
        return Convention(mp.mpf(0)) if num_fits == 0 else None
    return mp.sqrt((((num_samples + 1) / (num_samples - 1)) ** num_fits - 1) / num_seeds)


@oracle
def ibd_replace(num_generations, num_real, num_samples):
    distinct, identities = mp.mpf(1), []
    for size in [num_real, *schedule(num_samples, num_generations)]:
        distinct *= 1 - 1 / size
        identities.append(1 - distinct)
    return identities


@oracle
def ibd_accumulate(num_generations, num_real, num_samples):
    """A new batch of m in a pool of N: 1 - G falls by the share m/N^2, that of pairs which are one new point."""
    distinct, pool, identities = mp.mpf(1), mp.mpf(0), []
    for batch in [num_real, *schedule(num_samples, num_generations)]:
        pool += batch
        distinct *= 1 - batch / pool**2
        identities.append(1 - distinct)
    return identities


@oracle
def ibd_accumulate_subsample(num_generations, num_samples):
    """Follow 1 - F, the probability that two distinct members of the pool differ, by counting kinds of pairs."""
    size, apart, pool = num_samples, mp.mpf(1), num_samples
    identities = [1 - (1 - 1 / size) * apart]
    for _ in range(int(num_generations)):
        old = pool * (pool - 1) / 2
        new = size * (size - 1) / 2 * (1 - 1 / size)  # two draws from a fit to M distinct members
        mixed = pool * size * (1 - 1 / pool)  # a draw is any member of the pool
        pool += size
        apart *= (old + new + mixed) / (pool * (pool - 1) / 2)
        identities.append(1 - (1 - 1 / size) * apart)
    return identities


@oracle
def ibd_fresh_counts(num_generations, num_real, fresh, synthetic):
    total = fresh + synthetic
    if total == 0:
        return None
    return _identities(
        1 / num_real, num_generations, lambda g: 1 / total + synthetic * (synthetic - 1) / total**2 * g
    )


@oracle
def ibd_fresh_fraction(num_generations, num_real, num_samples, fraction):
    same = 1 / num_samples
    return _identities(1 / num_real, num_generations, lambda g: same + (1 - same) * (1 - fraction) ** 2 * g)


@oracle
def ibd_add_original(num_generations, num_real, synthetic):
    total = num_real + synthetic

    def step(cross, g):
        real, drawn = num_real / total, synthetic / total
        return (
            real / num_real + drawn * cross,
            1 / total + 2 * real * drawn * cross + drawn * (synthetic - 1) / total * g,
        )

    return _pairs(num_real, num_generations, step)


@oracle
def ibd_original_counts(num_generations, num_real, num_samples, kept):
    """Distinct real points cannot outnumber their pool; the recursion itself does not mind."""
    if kept > num_samples:
        return None
    real, drawn = kept / num_samples, (num_samples - kept) / num_samples

    def step(cross, g):
        again = drawn * (num_samples - kept - 1) / num_samples
        return real / num_real + drawn * cross, 1 / num_samples + 2 * real * drawn * cross + again * g

    values = _pairs(num_real, num_generations, step)
    return Convention(values) if kept > num_real else values


@oracle
def ibd_original_fraction(num_generations, num_real, num_samples, fraction):
    """For M <= N0: distinct slots that are real hold distinct points."""
    same, rest = 1 / num_samples, 1 - fraction

    def step(cross, g):
        return (
            fraction / num_real + rest * cross,
            same + (1 - same) * (2 * fraction * rest * cross + rest**2 * g),
        )

    values = _pairs(num_real, num_generations, step)
    return Convention(values) if num_samples > num_real else values


@oracle
def ibd_weight_fresh(num_generations, num_real, weight, fresh, synthetic):
    def step(g):
        return weight**2 / fresh + (1 - weight) ** 2 * (1 / synthetic + (1 - 1 / synthetic) * g)

    return _identities(1 / num_real, num_generations, step)


@oracle
def ibd_weight_original(num_generations, num_real, weight, synthetic):
    rest = 1 - weight

    def step(cross, g):
        drawn = 1 / synthetic + (1 - 1 / synthetic) * g
        return (
            weight / num_real + rest * cross,
            weight**2 / num_real + 2 * weight * rest * cross + rest**2 * drawn,
        )

    return _pairs(num_real, num_generations, step)


@oracle
def ibd_window(num_generations, num_samples, num_batches):
    """Keep the identity of every two batches there ever were; a draw is a member of one of the last k."""
    shared = [[mp.mpf(0)]]  # of distinct members
    identities = []
    for g in range(int(num_generations) + 1):
        window = range(max(0, g + 1 - int(num_batches)), g + 1)

        def drawn_with(batch, window=window):  # a draw from the model and a member of that batch
            total = mp.mpf(0)
            for other in window:
                f = shared[other][batch]
                total += 1 / num_samples + (1 - 1 / num_samples) * f if other == batch else f
            return total / len(window)

        cross = [drawn_with(batch) for batch in range(g + 1)]
        identities.append(mp.fsum(cross[batch] for batch in window) / len(window))
        for row, value in zip(shared, cross):
            row.append(value)
        shared.append([*cross, identities[-1]])
    return identities


@oracle
def he_optimal_weight(ratio):
    """The positive root of w^2 + k w = k."""
    return mp.mpf(1) if ratio == mp.inf else (mp.sqrt(ratio**2 + 4 * ratio) - ratio) / 2
