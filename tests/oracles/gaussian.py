"""Gaussian chains: v_n is a product of chi-squares over their M - ddof, mu_n a sum of normals of those variances.

One point has no unbiased variance: M = 1 with ddof 1 has no value once a fit was made.
"""

import mpmath as mp

from oracles.book import Convention, oracle, product


def _fitted(function):
    """Answer for M = 1 and ddof 1: nothing after a fit, and before it the law's value if the package gives one."""

    def guarded(num_fits, num_samples, ddof):
        if num_samples > 1 or not ddof:
            return function(num_fits, num_samples, ddof)
        return Convention(function(num_fits, mp.mpf(2), ddof)) if num_fits == 0 else None

    guarded.__name__, guarded.__module__ = function.__name__, function.__module__
    return oracle(guarded)


def _second_moment(size, ddof):
    """E of (chi^2_{M-1} / (M - ddof))^2, from E chi^4 = k (k + 2)."""
    return (size - 1) * (size + 1) / (size - ddof) ** 2


@_fitted
def variance_mean(num_fits, num_samples, ddof):
    return ((num_samples - 1) / (num_samples - ddof)) ** num_fits


@_fitted
def variance_variance(num_fits, num_samples, ddof):
    first = (num_samples - 1) / (num_samples - ddof)
    return _second_moment(num_samples, ddof) ** num_fits - first ** (2 * num_fits)


@_fitted
def mean_variance(num_fits, num_samples, ddof):
    """The sum of E v_{k-1} / M."""
    if ddof:
        return num_fits / num_samples
    return 1 - (1 - 1 / num_samples) ** num_fits


def _std_factor(size, ddof):
    """E chi_{M-1} / sqrt(M - ddof): sqrt 2 Gamma(M/2) / Gamma((M-1)/2), over the root."""
    if size == 1:
        return mp.mpf(0)
    ratio = mp.exp(mp.loggamma(size / 2) - mp.loggamma((size - 1) / 2))
    return mp.sqrt(2 / (size - ddof)) * ratio


def _std_mean(num_fits, num_samples, ddof):
    return _std_factor(num_samples, ddof) ** num_fits


@_fitted
def std_mean(num_fits, num_samples, ddof):
    return _std_mean(num_fits, num_samples, ddof)


@_fitted
def w2_mean(num_fits, num_samples, ddof):
    """E mu^2 + E (sigma - 1)^2."""
    first = (num_samples - 1) / (num_samples - ddof)
    wander = num_fits / num_samples if ddof else 1 - first**num_fits
    return wander + first**num_fits - 2 * _std_mean(num_fits, num_samples, ddof) + 1


def _drift(size, ddof, row=1):
    return mp.digamma((size - row) / 2) - mp.log((size - ddof) / 2)


@oracle
def log_variance_drift(num_samples, ddof, row=1):
    """E log of chi^2_{M-j} / (M - ddof); a chi-square of no freedom is 0, of less there is none."""
    if num_samples - row <= 0 or num_samples - ddof <= 0:
        return Convention(-mp.inf) if num_samples == row and num_samples > ddof else None
    return _drift(num_samples, ddof, row)


@oracle
def log_variance_variance(num_samples, row=1):
    return mp.psi(1, (num_samples - row) / 2) if num_samples > row else None


@oracle
def loss_time(share, num_samples, ddof):
    if share > 1 or share < 0 or num_samples == 1:
        return None if share > 1 or share < 0 or ddof else Convention(mp.mpf(0), mp.mpf(1))
    return mp.inf if share == 0 else mp.log(share) / _drift(num_samples, ddof)


def _normal_above(z):
    return mp.erfc(z / mp.sqrt(2)) / 2


@oracle
def above_probability(log_share, num_fits, num_samples, ddof):
    """Edgeworth's first correction to the normal law of a sum of n log chi-squares, cut to [0, 1]."""
    if num_samples == 1:
        return None
    if num_fits == 0:
        return mp.mpf(log_share < 0) if log_share else Convention(mp.mpf(0), mp.mpf(0.5), mp.mpf(1))
    if abs(log_share) == mp.inf:
        return mp.mpf(log_share < 0)
    half = (num_samples - 1) / 2
    variance, third = mp.psi(1, half), mp.psi(2, half)
    z = (log_share - num_fits * _drift(num_samples, ddof)) / mp.sqrt(num_fits * variance)
    skewness = third / variance ** mp.mpf(1.5) / mp.sqrt(num_fits)
    density = mp.exp(-(z**2) / 2) / mp.sqrt(2 * mp.pi)
    value = _normal_above(z) + skewness / 6 * (z**2 - 1) * density
    return min(max(value, mp.mpf(0)), mp.mpf(1))


@oracle
def passed_probability(log_share, num_fits, num_samples, ddof):
    """The inverse Gaussian's distribution, the barrier 0.5826 steps further off (Siegmund); v_0 = 1 is not below 1."""
    if num_samples == 1 or log_share > 0:
        return None
    if num_fits == 0:
        return mp.mpf(0) if log_share < 0 else Convention(mp.mpf(0))
    if log_share == -mp.inf:
        return mp.mpf(0)
    speed, step = -_drift(num_samples, ddof), mp.sqrt(mp.psi(1, (num_samples - 1) / 2))
    barrier, spread = -log_share + mp.mpf("0.5826") * step, step * mp.sqrt(num_fits)
    mirrored = mp.exp(2 * speed * barrier / step**2) * _normal_above((barrier + speed * num_fits) / spread)
    return _normal_above((barrier - speed * num_fits) / spread) + mirrored


@oracle
def small_std_bound(share, num_fits, num_samples):
    """Markov's inequality, with c4(M) <= e^(-1/(4M - 1)). A bound above 1 says as much as 1."""
    kept = mp.exp(-num_fits / (4 * num_samples - 1))
    return mp.inf if share == 0 else kept / share


@oracle
def w2_expansion(inverse_sum, inverse_squares=0):
    """Beyond S1 = 4 an expansion in S1 may be refused: it is 5 % off there, and negative in the end."""
    value = mp.mpf(3) / 2 * inverse_sum + inverse_squares / 2 - inverse_sum**2 / 16
    return value if inverse_sum <= 4 else Convention(value)


@oracle
def fourth_moments(num_fits, num_samples, ddof):
    """mu' = mu + sqrt(v/M) Z and v' = v chi^2/(M - ddof), independent, one fit at a time."""
    if num_samples == 1 and ddof:
        return Convention([mp.mpf(0), mp.mpf(0), mp.mpf(1)]) if num_fits == 0 else None
    first, second = (num_samples - 1) / (num_samples - ddof), _second_moment(num_samples, ddof)
    a, b, c = mp.mpf(0), mp.mpf(0), mp.mpf(1)
    for _ in range(int(num_fits)):
        a, b, c = (
            a + 6 * b / num_samples + 3 * c / num_samples**2,
            first * (b + c / num_samples),
            second * c,
        )
    return [a, b, c]


@oracle
def mle_limit_fourth_moment(num_samples):
    """The sums over n of the recursion above: sum c = M^2, sum b = M (M - 1)."""
    squares, cross = num_samples**2, num_samples * (num_samples - 1)
    return 6 * cross / num_samples + 3 * squares / num_samples**2


@oracle
def accumulate_unbiased(num_fits, num_samples):
    """The pool's scatter grows by that of M draws and by (k-1)/k of the variance, as the two means differ."""
    if num_samples == 1:
        return Convention((mp.mpf(1), mp.mpf(0))) if num_fits == 0 else None
    variance, wander = mp.mpf(1), mp.mpf(0)
    for k in range(1, int(num_fits) + 1):
        wander += variance / (num_samples * mp.mpf(k) ** 2)
        old = (k - 1) * num_samples - 1 if k > 1 else 0
        between = mp.mpf(k - 1) / k
        variance *= (old + num_samples - 1 + between) / (k * num_samples - 1)
    return variance, wander


@oracle
def fresh_mix(num_generations, real, synthetic, bias=1, ddof=1):
    """The scatter of a pool: (1 - 1/N) of its members' variances, and n_r n_s/N of the squared distance of means."""
    total = real + synthetic
    if total - ddof <= 0:
        return None
    wander, spread = [1 / total], [(total - 1) / (total - ddof)]
    for _ in range(int(num_generations)):
        m, s = wander[-1], spread[-1]
        noise = real + synthetic * bias * s
        wander.append((noise + synthetic**2 * m) / total**2)
        spread.append(((1 - 1 / total) * noise + real * synthetic / total * m) / (total - ddof))
    return wander, spread


@oracle
def original_mix(num_generations, num_real, synthetic, bias=1):
    """Second moments of the mean, of its product with the real points' mean, and of a point of the training set."""
    total = num_real + synthetic
    means, variances, crossed = [1 / num_real], [1 - 1 / num_real], 1 / num_real
    for _ in range(int(num_generations)):
        mean, drawn = means[-1], bias * variances[-1]
        square = (num_real + synthetic * (mean + drawn)) / total
        sums = num_real + 2 * num_real * synthetic * crossed + synthetic**2 * mean + synthetic * drawn
        means.append(sums / total**2)
        variances.append(square - means[-1])
        crossed = (1 + synthetic * crossed) / total
    return means, variances


@oracle
def best_fresh_mix(num_generations, num_real, fresh, synthetic, bias=1):
    """Two estimates of a mean of which one errs by 1/n, the other by A, each weighted by what the other errs."""
    shares, means, variances = [mp.mpf(1)], [1 / num_real], [1 - 1 / num_real]
    for _ in range(int(num_generations)):
        mean, drawn = means[-1], bias * variances[-1]
        of_real, of_draws = 1 / fresh, mean + drawn / synthetic
        share = of_draws / (of_draws + of_real)
        shares.append(share)
        means.append(share**2 * of_real + (1 - share) ** 2 * of_draws)
        variances.append(share + (1 - share) * (mean + drawn) - means[-1])
    return shares, means, variances


@oracle
def known_variance_mean(num_fits, num_samples, regime="replace"):
    if regime == "replace":
        return num_fits / num_samples
    return mp.fsum(1 / (num_samples * mp.mpf(k) ** 2) for k in range(1, int(num_fits) + 1))


@oracle
def accumulate_fresh_mean(num_fits, num_samples, fraction):
    variance = mp.mpf(0)
    for t in range(1, int(num_fits) + 1):
        variance = (1 - fraction / t) ** 2 * variance + 1 / (num_samples * mp.mpf(t) ** 2)
    return variance


@oracle
def determinant_mean(num_fits, num_samples, dim):
    """Bartlett: det W is a product of chi^2_{M-j}; with M <= d points the scatter is singular."""
    if num_samples == 1:
        return None if num_fits else Convention(mp.mpf(1))
    factors = [max(num_samples - j, mp.mpf(0)) / (num_samples - 1) for j in range(1, int(dim) + 1)]
    return product(factors) ** num_fits


@oracle
def trace_squares(num_fits, num_samples, dim):
    """A Wishart step of v = M - 1 degrees: E tr S'^2 = (1 + 1/v) tr S^2 + (tr S)^2/v, and (tr S)^2 + 2 tr S^2/v."""
    if num_samples == 1:
        return None if num_fits else Convention([dim, dim**2])
    a, b, freedom = dim, dim**2, num_samples - 1
    for _ in range(int(num_fits)):
        a, b = a + a / freedom + b / freedom, b + 2 * a / freedom
    return [a, b]


@oracle
def biased_mean_variance(num_fits, num_samples, bias):
    """The geometric sum 1 + lambda + ... of n terms, over M."""
    return (num_fits if bias == 1 else (1 - bias**num_fits) / (1 - bias)) / num_samples


@oracle
def truncated_variance(cut):
    if cut == 0 or cut == mp.inf:
        return mp.mpf(cut > 0)
    density = mp.exp(-(cut**2) / 2) / mp.sqrt(2 * mp.pi)
    return 1 - 2 * cut * density / mp.erf(cut / mp.sqrt(2))


@oracle
def kde_variance(num_fits, num_samples, width):
    """V' = (1 - 1/M) V + h^2: a geometric sum."""
    kept = 1 - 1 / num_samples
    return kept**num_fits + width**2 * num_samples * (1 - kept**num_fits)


@oracle
def kde_rule_variance(num_fits, num_samples, factor):
    """One point has no unbiased variance for its kernel, unless the kernel is none."""
    value = (1 - 1 / num_samples + factor**2) ** num_fits
    return Convention(value) if num_samples == 1 else value


@oracle
def best_of_two_variance(num_fits, num_samples):
    """The larger of two normals has the variance 1 - 1/pi."""
    return ((1 - 1 / num_samples) * (1 - 1 / mp.pi)) ** num_fits
