"""Webs and islands of labs: pairs of rows and where they are from, step by step in T and X as they are defined."""

import mpmath as mp

from oracles.book import Convention, oracle, schedule


def _labs(*values):
    """One number for each lab, of each value; one number is for all labs."""
    lists = [value if isinstance(value, list) else [value] for value in values]
    count = max(map(len, lists))
    return [one * count if len(one) == 1 else one for one in lists]


def _fits(size, second, cross, num_samples):
    """E mu^2 and E v of each lab: the mean of n draws with replacement, and n - 1 of n degrees of freedom."""
    replaced = second / size + (1 - 1 / size) * cross
    return [replaced + (second - replaced) / n for n in num_samples], [
        (1 - 1 / n) * (second - replaced) for n in num_samples
    ]


@oracle
def pool_moments(
    num_generations, num_real, num_samples, num_released, inflow, deletion, bias=1, entry=0, cap=mp.inf
):
    num_samples, all_released, bias, entry = _labs(num_samples, num_released, bias, entry)
    inflow, deletion = schedule(inflow, num_generations), schedule(deletion, num_generations)
    if cap < sum(all_released) + max(inflow, default=mp.mpf(0)):
        return None
    size, polluted, second, cross = num_real, mp.mpf(0), mp.mpf(1), mp.mpf(0)
    found = []
    for step in range(int(num_generations) + 1):
        squares, variances = _fits(size, second, cross, num_samples)
        found.append((size, polluted / size, second, cross, squares, variances))
        if step == num_generations:
            break
        released = [m if step >= e else mp.mpf(0) for m, e in zip(all_released, entry)]
        total, human = mp.fsum(released), inflow[step]
        kept = min(size - mp.nint(deletion[step] * size), cap - human - total)
        after = kept + human + total
        replaced = second / size + (1 - 1 / size) * cross
        rows = kept * second + human
        rows += mp.fsum(m * (s + lam * v) for m, s, lam, v in zip(released, squares, bias, variances))
        pairs = kept * (kept - 1) * cross + 2 * kept * total * replaced
        pairs += mp.fsum(m * (m - 1) * s for m, s in zip(released, squares))
        pairs += (total**2 - mp.fsum(m**2 for m in released)) * replaced
        polluted = polluted * kept / size + total
        size, second, cross = after, rows / after, pairs / (after * (after - 1))
    return tuple(list(part) for part in zip(*found))


@oracle
def pool_limit(inflow, num_samples, num_released, deletion, bias=1):
    """Two linear equations in T and X, solved."""
    num_samples, released, bias = _labs(num_samples, num_released, bias)
    total = mp.fsum(released)
    size = (inflow + total) / deletion
    if size < 2:
        return None
    kept = size - inflow - total

    def step(second, cross):
        squares, variances = _fits(size, second, cross, num_samples)
        replaced = second / size + (1 - 1 / size) * cross
        rows = kept * second + mp.fsum(
            m * (s + lam * v) for m, s, lam, v in zip(released, squares, bias, variances)
        )
        pairs = kept * (kept - 1) * cross + 2 * kept * total * replaced
        pairs += mp.fsum(m * (m - 1) * s for m, s in zip(released, squares))
        pairs += (total**2 - mp.fsum(m**2 for m in released)) * replaced
        return rows / size, pairs / (size * (size - 1))

    (a, c), (b, d) = step(mp.mpf(1), mp.mpf(0)), step(mp.mpf(0), mp.mpf(1))
    below = (1 - a) * (1 - d) - b * c
    if below <= 0:
        return None
    second, cross = (1 - d) * inflow / size / below, c * inflow / size / below
    return size, total / size / deletion, second, cross, *_fits(size, second, cross, num_samples)


@oracle
def pool_variance_limit(contamination, bias):
    if contamination * bias == 1 and bias == 1:
        return Convention(mp.mpf(1))
    return (1 - contamination) / (1 - contamination * bias) if contamination * bias < 1 else None


@oracle
def slow_pool_identity(inflow, released, deletion, num_labs, num_samples):
    c = released / (inflow + released)
    odds = c * deletion / inflow + c**2 * deletion / (2 * (1 - c) * num_labs * num_samples)
    return odds / (1 + odds)


@oracle
def pool_worth(num_rows, identity):
    """The mean of all rows errs by 1/N + (1 - 1/N) F."""
    return 1 / (1 / num_rows + (1 - 1 / num_rows) * identity)


@oracle
def archive_pooled_error(num_archive, num_samples, identity):
    total = num_archive + num_samples
    return (num_archive + num_samples + num_samples * (num_samples - 1) * identity) / total**2


@oracle
def archive_best_weight(num_archive, num_samples, identity):
    """The least w^2/a + (1 - w)^2 V; no archive has no weight."""
    own = 1 / num_samples + (1 - 1 / num_samples) * identity
    if num_archive == 0:
        return mp.mpf(0), own
    weight = own / (1 / num_archive + own)
    return weight, weight**2 / num_archive + (1 - weight) ** 2 * own


@oracle
def island_identity(num_generations, num_real, num_labs, num_samples, fraction, migration):
    """Every pair of sources of two distinct synthetic rows, with its probability."""
    stay, leave, each = 1 - migration, migration, 1 / num_labs
    to_own, to_other = stay + leave * each, leave * each  # that a row is from one given model

    def pair(within, across, same_lab):
        if same_lab:
            same = to_own**2 + (num_labs - 1) * to_other**2
        else:
            same = 2 * to_own * to_other + (num_labs - 2) * to_other**2
        return same * within + (1 - same) * across

    within, across = [1 / num_real], [mp.mpf(0)]
    for _ in range(int(num_generations)):
        synthetic, w, b = (1 - fraction) ** 2, within[-1], across[-1]
        within.append(1 / num_samples + (1 - 1 / num_samples) * synthetic * pair(w, b, True))
        across.append(synthetic * pair(w, b, False))
    return within, across


@oracle
def isolated_labs_diversity(num_fits, num_labs, num_rows):
    """Two draws are from one lab with probability 1/L, and go back to one row of its own M/L."""
    if num_labs > num_rows:
        return None
    return 1 - (1 - (1 - num_labs / num_rows) ** num_fits) / num_labs
