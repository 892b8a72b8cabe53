"""Samplers with the exact score of a Gaussian: a path from noise to data, step by step."""

from itertools import pairwise

import mpmath as mp

from oracles.book import Convention, oracle, product

_TIMES = 1000


def _places(schedule, num_steps, stop):
    """(signal, noise) from noise to data, None where the schedule does not have such a time."""
    num_steps = int(num_steps)
    if schedule != "edm" and stop >= 1:
        return None
    if schedule == "flow":
        times = [(1 - stop) * i / num_steps for i in range(num_steps + 1)]
        return [(t, 1 - t) for t in times]
    if schedule == "edm":
        end, gaps = (stop, num_steps) if stop else (mp.mpf(0.002), num_steps - 1)
        roots = mp.mpf(80) ** (mp.mpf(1) / 7), end ** (mp.mpf(1) / 7)
        noise = [(roots[0] + mp.mpf(i) / gaps * (roots[1] - roots[0])) ** 7 for i in range(gaps + 1)]
        return [(mp.mpf(1), s) for s in (noise if stop else [*noise, mp.mpf(0)])]
    last = int(mp.nint(stop * _TIMES))
    kept = [mp.mpf(1)]
    for time in range(1, _TIMES + 1):
        if schedule == "linear":
            beta = mp.mpf(1e-4) + (mp.mpf(0.02) - mp.mpf(1e-4)) * (time - 1) / (_TIMES - 1)
        else:
            level = [mp.cos((mp.mpf(t) / _TIMES + mp.mpf(0.008)) / mp.mpf(1.008) * mp.pi / 2) ** 2
                     for t in (time, time - 1)]
            beta = min(1 - level[0] / level[1], mp.mpf(0.999))
        kept.append(kept[-1] * (1 - beta))
    between = [last + 1 + int(mp.floor(mp.mpf(i) * (_TIMES - 1 - last) / (num_steps - 1) + mp.mpf(1) / 2))
               for i in range(num_steps)]
    return [(mp.sqrt(kept[t]), mp.sqrt(1 - kept[t])) for t in [*between[::-1], last]]


def _fits(solver, schedule):
    return solver == "exact" or (schedule in ("linear", "cosine")) == solver.startswith("dd")


def _walk(variance, solver, schedule, num_steps, stop):
    """The places, the factor of x - a m in each step and the variance of its noise; None where there is no path."""
    places = _places(schedule, num_steps, stop)
    if places is None or not _fits(solver, schedule):
        return None
    if solver == "exact":
        (a, s), (b, r) = places[0], places[-1]
        return places, [mp.sqrt((b**2 * variance + r**2) / (a**2 * variance + s**2))], [mp.mpf(0)]
    factors, added = [], []
    for index, ((a, s), (b, r)) in enumerate(pairwise(places)):
        slope = lambda a, s, db, dr: (db * a * variance + dr * s) / (a**2 * variance + s**2)  # noqa: E731
        euler = 1 + slope(a, s, b - a, r - s)
        factor, noise = euler, mp.mpf(0)
        if solver == "heun" and not (schedule == "edm" and r == 0):
            factor = 1 + (slope(a, s, b - a, r - s) + (slope(b, r, b - a, r - s) * euler)) / 2
        if solver.startswith("ddpm"):
            beta = 1 - (a / b) ** 2
            factor = (1 - beta / (a**2 * variance + s**2)) / mp.sqrt(1 - beta)
            noise = beta * r**2 / s**2 if solver == "ddpm-tilde" else beta
            if solver == "ddpm" and index == len(places) - 2:
                noise = mp.mpf(0)
        factors.append(factor)
        added.append(noise)
    return places, factors, added


def _drawn(variance, solver, schedule, num_steps, stop):
    walk = _walk(variance, solver, schedule, num_steps, stop)
    if walk is None:
        return None
    value = mp.mpf(6400) if schedule == "edm" else mp.mpf(1)
    for factor, noise in zip(*walk[1:]):
        value = factor**2 * value + noise
    return value


@oracle
def variance_drawn(variance, solver="ddim", schedule="linear", num_steps=100, stop=0):
    return _drawn(variance, solver, schedule, num_steps, mp.mpf(stop))


@oracle
def variance_kept(variance, solver="ddim", schedule="linear", num_steps=100, stop=0):
    found = _drawn(variance, solver, schedule, num_steps, mp.mpf(stop))
    return None if found is None else found / variance


@oracle
def mean_kept(variance, solver="ddim", schedule="linear", num_steps=100, stop=0):
    walk = _walk(variance, solver, schedule, num_steps, mp.mpf(stop))
    return None if walk is None else walk[0][-1][0] - product(walk[1]) * walk[0][0][0]


@oracle
def sampler_half_life(variance, solver="ddim", schedule="linear", num_steps=100, stop=0):
    found = _drawn(variance, solver, schedule, num_steps, mp.mpf(stop))
    if found is None or found == 0:
        return None if found is None else mp.mpf(0)
    return mp.inf if found == variance else mp.log(mp.mpf(1) / 2) / mp.log(found / variance)


@oracle
def variance_after(variance, num_generations, solver="ddim", schedule="linear", num_steps=100, stop=0):
    if _drawn(variance, solver, schedule, num_steps, mp.mpf(stop)) is None:
        return None
    for _ in range(int(num_generations)):
        variance = _drawn(variance, solver, schedule, num_steps, mp.mpf(stop))
    return variance


@oracle
def hermite_fixed_point(order, stop, real_share):
    """c = q (al + (1 - al) c); with q = 1 and no real data every c stays."""
    passed = mp.exp(-order * stop)
    below = 1 - (1 - real_share) * passed
    return Convention(mp.mpf(1)) if below == 0 else real_share * passed / below


@oracle
def kernel_score_variance(num_fits, num_samples, variance, signal, noise):
    rate, added = (1 - 1 / num_samples) * signal**2, (1 - 1 / num_samples) * noise**2
    total = num_fits if rate == 1 else (1 - rate**num_fits) / (1 - rate)
    return rate**num_fits * variance + added * total


@oracle
def negative_guidance_variance(real_variance, own_variance, weight):
    precision = (1 + weight) / real_variance - weight / own_variance
    return 1 / precision if precision > 0 else None


@oracle
def neon_variance(weight, num_real, num_samples, bias=1):
    return (1 - 1 / num_real) * (1 + weight * (1 - bias * (1 - 1 / num_samples)))


@oracle
def neon_weight(num_real, num_samples, bias=1):
    lost = 1 - bias * (1 - 1 / num_samples)
    return 1 / ((num_real - 1) * lost) if lost > 0 else None
