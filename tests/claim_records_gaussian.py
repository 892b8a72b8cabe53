"""Records of one Gaussian, in NumPy: what each claim of its study is examined with."""

import dataclasses
import math
from functools import cache
from unittest import mock

import numpy as np
import xarray as xr
from claim_cases import Bench, Case

from collapse_jax.studies.gaussian import claims
from collapse_jax.studies.gaussian.comparison import predicted_variance
from collapse_jax.studies.gaussian.config import PRESETS
from collapse_jax.theory.gaussian import log_variance_drift, log_variance_variance, small_std_bound
from collapse_jax.theory.limits import accumulate_limit

M = 20
CONFIG = dataclasses.replace(
    PRESETS["smoke"], num_samples=(M,), generations=200, seeds=256, regime_samples=M, regime_generations=20
)
GENERATIONS = (0, 1, 10, 19, 20, 100, 199, 200)  # those that claims look at
_NUM_REGIME = 5  # of them, up to `regime_generations`
_DRIFT, _VARIANCE = float(log_variance_drift(M, 1)), float(log_variance_variance(M))  # of log v, a generation
_GONE = 2 * np.log(0.05)  # log variance of a spread that has "fallen to zero"
predicted = cache(predicted_variance)


def stays(rng, config):
    """In every generation a fit to M points of the truth."""
    variance = rng.chisquare(M - 1, (config.seeds, len(GENERATIONS))) / (M - 1)
    mean = rng.normal(size=variance.shape) / np.sqrt(M)
    return _dataset(config, np.log(variance), mean, np.full(_NUM_REGIME, 1 - 1 / M), _one_fit(rng, config))


def replaced(rng, config):
    """The walks as they are, and replace() for all regimes."""
    alone = predicted(config)["replace"][list(GENERATIONS[:_NUM_REGIME])]
    return _dataset(config, *_walk(rng, config), alone, _many_fits(rng, config))


def lawful(rng, config):
    """The walks as they are, and regimes whose mean variance is their law's."""
    noise = _one_fit(rng, config)
    noise[list(predicted(config)).index("replace")] = _many_fits(rng, config)[0]
    return _dataset(config, *_walk(rng, config), _laws(config), noise)


def stated(rng, config):
    """What is said and is not so: spreads gone in M, most paths diverging, original data that only delay."""
    log_variance, mean = _coins(rng, config, gone=0.7, diverges=0.7)
    laws = _laws(config)
    laws[list(predicted(config)).index("original added")] = 0.3
    return _dataset(config, log_variance, mean, laws, _one_fit(rng, config))


def edges(rng, config):
    """Every estimand on the edge of its region: shares of a half, laws as far off as is allowed."""
    log_variance, mean = _coins(rng, config, gone=0.5, diverges=0.5)
    bound = float(small_std_bound(0.1, config.generations, M))
    _put(log_variance, config.generations - 1, np.where(rng.random(config.seeds) < bound, 0.0, _GONE))
    walk, _ = _walk(rng, config)
    _put(log_variance, M - 1, walk[:, GENERATIONS.index(M - 1)] - M * _DRIFT / 2)
    _put(mean, 1, rng.normal(size=config.seeds) * np.sqrt(0.75 * 1.5 * 2 / M))  # two fits
    _put(log_variance, 1, 0.0)
    names, laws = list(predicted(config)), np.log(_laws(config))
    laws = np.exp(np.where(laws > -0.2, laws - 0.1, laws / 2))  # lower, where the variance stays, as replace() is
    laws[names.index("accumulate"), -1] = 0.9 - float(accumulate_limit(M))
    laws[names.index("original added"), -1] = 0.5
    return _dataset(config, log_variance, mean, laws, _one_fit(rng, config))


def _put(values, generation, at):
    values[:, GENERATIONS.index(generation)] = at


def _coins(rng, config, gone, diverges):
    """Return spreads of which a share is gone at M, and distances of which a share grows tenfold at the end."""
    log_variance, mean = np.zeros((2, config.seeds, len(GENERATIONS)))
    _put(log_variance, M, np.where(rng.random(config.seeds) < gone, _GONE, 0.0))
    _put(mean, 5 * M, 1.0)
    _put(mean, 10 * M, np.where(rng.random(config.seeds) < diverges, 3.0, 0.3))
    return log_variance, mean


def _walk(rng, config):
    """Return log variances and means of the chain itself, unbiased; from generation M on sums of many logs, normal."""
    steps = np.log(rng.chisquare(M - 1, (config.seeds, M + 1)) / (M - 1))
    log_variance = np.cumsum(steps, axis=1)
    before = np.concatenate([np.zeros((config.seeds, 1)), log_variance[:, :-1]], axis=1)
    mean = np.cumsum(rng.normal(size=before.shape) * np.exp(before / 2) / np.sqrt(M), axis=1)
    early = [g for g in GENERATIONS if g <= M]
    gaps = np.diff(GENERATIONS)[len(early) - 1 :]
    drift, noise = _DRIFT * gaps, np.sqrt(_VARIANCE * gaps)
    later = log_variance[:, -1:] + np.cumsum(drift + noise * rng.normal(size=(config.seeds, len(gaps))), axis=1)
    rest = mean[:, -1:].repeat(len(gaps), axis=1)  # no claim looks at them
    return np.hstack([log_variance[:, early], later]), np.hstack([mean[:, early], rest])


def _laws(config):
    """Return the predicted variance of each regime [regime, generation]."""
    return np.array([law[list(GENERATIONS[:_NUM_REGIME])] for law in predicted(config).values()])


def _one_fit(rng, config):
    """Return noise of mean 1 about as large as one fit's, for each regime, seed and generation."""
    return rng.chisquare(M - 8, (len(predicted(config)), config.seeds, _NUM_REGIME)) / (M - 8)


def _many_fits(rng, config):
    """Return noise of mean 1 as replace() has it."""
    steps = rng.chisquare(M - 1, (config.seeds, GENERATIONS[_NUM_REGIME - 1] + 1)) / (M - 1)
    return np.cumprod(steps, axis=1)[None][..., GENERATIONS[:_NUM_REGIME]].repeat(len(predicted(config)), axis=0)


def _dataset(config, log_variance, mean, laws, noise):
    """Return records of walks [seed, generation] and of regimes with mean variances `laws`."""
    names = list(predicted(config))
    whole = np.full((len(names), config.seeds, len(GENERATIONS)), np.nan)
    whole[..., :_NUM_REGIME] = np.log(np.broadcast_to(laws, (len(names), _NUM_REGIME))[:, None] * noise)
    variables = {
        "log_variance": (("seed", "generation", "num_samples"), log_variance[..., None]),
        "mean": (("seed", "generation", "num_samples"), mean[..., None]),
        "regime_log_variance": (("regime", "seed", "generation"), whole),
    }
    return xr.Dataset(variables, {"num_samples": [M], "generation": list(GENERATIONS), "regime": names})


def _evidence(config, dataset):
    with mock.patch.object(claims, "predicted_variance", predicted):  # the same each time
        return claims.evidence(config, dataset)


def _case(law):
    """Return how a regime's law is examined: as one of a loss, or, where hardly anything is lost, of an absence."""
    if law[M // 2] < math.exp(-0.2):
        return Case(_STAYS, "the law, with the noise of one fit", 0.9, stays, lawful, edges)
    return Case(_GOES, "the law, with the noise of one fit", 0.9, replaced, lawful, edges, True)


_GOES = "the variance goes as under replace()"
_STAYS = "each model is fitted to M points of the truth"
CASES = {
    "drift": Case(_STAYS, "the chain itself, M = 20", 0.95, stays, lawful, edges),
    "three-halves": Case(_STAYS, "the chain itself", 0.8, stays, lawful, edges),
    "gone-in-M": Case(_STAYS, "sigma is below 0.1 in 70 % of chains", 0.95, stays, stated, edges),
    "bound": Case(_STAYS, "the chain itself, of which 9 % are above", 0.95, stays, lawful, edges),
    "paths-diverge": Case(_STAYS, "70 % of chains move on", 0.95, stays, stated, edges),
    "accumulate-rests": Case(
        _GOES, "the law, with the noise of one fit", 0.9, replaced, lawful, edges, True
    ),
    "original-only-delays": Case(_STAYS, "0.3 of the variance are left", 0.95, stays, stated, edges),
    "law-replace": Case(_STAYS, "the chain itself", 0.7, stays, lawful, edges),
    **{f"law-{name}": _case(law) for name, law in predicted(CONFIG).items() if name != "replace"},
}  # fmt: skip
BENCHES = [Bench("gaussian", CONFIG, _evidence, CASES)]
