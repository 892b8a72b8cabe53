"""Records of mixtures, in NumPy: what each claim of their study is examined with."""

import dataclasses
from functools import cache
from unittest import mock

import numpy as np
import xarray as xr
from claim_cases import Bench, Case

from collapse_jax.studies.gmm import claims
from collapse_jax.studies.gmm.config import PRESETS, GMMConfig
from collapse_jax.theory.ancestry import both_alive

M = 40
CONFIG = GMMConfig(num_samples=(M,), generations=149, seeds=64)
LONG = dataclasses.replace(CONFIG, generations=2000)
CODE = dataclasses.replace(PRESETS["em-stopping"], num_samples=(1000, 200_000), seeds=64)
FEW, CODE_FEW = (0, M - 1, 50, 2000), (0, 1, 50, 999, 2000, 2050)  # generations that claims look at
_TRUTH, _ALIVE = 6.0, float(both_alive(0.5, M, M))


def _dataset(config, generations, **parts):
    """Return records of one M from parts [seed, generation]; those left out stay."""
    shape = (config.seeds, len(generations))
    stay = {"log_total_variance": np.log(_TRUTH), "w2_truth": 1.0, "num_alive": 2}
    dims = ("num_samples", "seed", "generation")
    variables = {name: (dims, parts.get(name, np.full(shape, value))[None]) for name, value in stay.items()}
    return xr.Dataset(variables, {"num_samples": [M], "generation": list(generations)})


def stays(rng, config):
    """In every generation a fit to M points of the truth, and both components."""
    return _dataset(config, range(150), log_total_variance=_one_fit(rng, (config.seeds, 150)))


def lawful(rng, config):
    """Fits that lose 1/M."""
    return _dataset(config, range(150), log_total_variance=_kept(rng, config, 1.0))


def half_lost(rng, config):
    """Fits that lose half of what the law says."""
    return _dataset(config, range(150), log_total_variance=_kept(rng, config, 0.5))


def _one_fit(rng, shape):
    return np.log(_TRUTH * rng.chisquare(2 * (M - 1), shape) / (2 * M))


def _kept(rng, config, loss):
    """Return log variances of chains whose fits lose `loss`/M on average, and are as noisy as one in two dimensions."""
    degrees = 2 * (M - 1)
    steps = np.log((1 - loss / M) * rng.chisquare(degrees, (config.seeds, 150)) / degrees)
    return np.log(_TRUTH) + np.cumsum(steps, axis=1)


def long_stays(rng, config):
    """In every generation a fit to M points of the truth, and both components."""
    shape = (config.seeds, len(FEW))
    return _dataset(config, FEW, log_total_variance=_one_fit(rng, shape), w2_truth=rng.exponential(size=shape))


def _long(rng, config, far, gone, alive):
    """Return records of which shares of the chains are far from the truth, gone, and have both components."""
    shape = (config.seeds, len(FEW))
    w2, log_variance = rng.exponential(size=shape), np.full(shape, np.log(_TRUTH))
    w2[:, FEW.index(50)] = np.where(rng.random(shape[0]) < far, 100.0, 0.0)
    log_variance[:, -1] += np.where(rng.random(shape[0]) < gone, -9.0, 0.0)
    num_alive = 1 + (rng.random(shape) < alive)
    return _dataset(config, FEW, log_total_variance=log_variance, w2_truth=w2, num_alive=num_alive)


def long_edges(rng, config):
    """Half of the chains, and both components alive in 1.4 times as many as the law says."""
    return _long(rng, config, 0.5, 0.5, 1.4 * _ALIVE)


def long_stated(rng, config):
    """Three of four chains, and survival by the law."""
    return _long(rng, config, 0.75, 0.75, _ALIVE)


def _code_dataset(config, l2, tight, stds):
    """Return records [M, seed, generation] of the published code; `stds` [M, seed, generation, 2]."""
    dims = ("num_samples", "seed", "generation")
    flat = np.zeros(l2.shape)
    covariances = stds[..., None, None] ** 2 * np.eye(2)
    variables = dict.fromkeys(("log_total_variance", "w2_truth", "num_alive"), (dims, flat))
    variables |= {"log_l2_origin": (dims, l2), "tight_log_l2_origin": (dims, tight)}
    variables["covariances"] = ((*dims, "component", "axis", "axis_2"), covariances)
    return xr.Dataset(variables, {"num_samples": list(config.num_samples), "generation": list(CODE_FEW)})


def _near(config, rng, start):
    """Return log distances to generation 0 around one for each M, and the seeds' own part."""
    shape = (len(config.num_samples), config.seeds, len(CODE_FEW))
    return np.array(start)[:, None, None] + rng.normal(size=shape)


def code_stays(rng, config):
    """Every generation is as far from generation 0 as the first, whatever EM's tolerance."""
    l2 = _near(config, rng, -np.log(10 * np.array(config.num_samples)))
    stds = np.exp(0.1 * rng.normal(size=(*l2.shape, 2)))
    return _code_dataset(config, l2, l2 + rng.normal(size=l2.shape), stds)


def code_stated(rng, config):
    """Distances and widths around the published ones, and half a nat of EM's stopping error."""
    l2 = _near(config, rng, -np.log(10 * np.array(config.num_samples)))
    l2[..., -1] = _near(config, rng, [np.log(2e2), np.log(1e-3)])[..., -1]
    stds = 0.0106 * np.exp(0.3 * rng.normal(size=(*l2.shape, 2)))
    return _code_dataset(config, l2, l2 - 0.5 + rng.normal(size=l2.shape), stds)


_alive = cache(both_alive)  # the same each time


def _evidence(config, dataset):
    with mock.patch.object(claims, "both_alive", _alive):
        return claims.evidence(config, dataset)


_STAYS = "each model is fitted to M points of the truth"
FAR = {"misperceived-50": Case(_STAYS, "75 % of chains are far off", 0.9, long_stays, long_stated, long_edges)}
LONG_CASES = {
    "variance-lost-2000": Case(_STAYS, "75 % of chains have lost it", 0.9, long_stays, long_stated, long_edges),
    "both-alive": Case("both components live on", "the law", 0.8, long_stays, long_stated, long_edges),
}
_FAR = "every generation is as far from generation 0 as the first"
CODE_CASES = {
    "published-l2": Case(_FAR, "the published distance, times e^+-1", 0.9, code_stays, code_stated),
    "published-std-1": Case("widths stay", "the published widths, +-30 %", 0.9, code_stays, code_stated),
    "published-std-2": Case("widths stay", "the published widths, +-30 %", 0.9, code_stays, code_stated),
    "stopping-error": Case("EM's tolerance does not matter", "0.5 nats", 0.9, code_stays, code_stated),
}
BENCHES = [
    Bench("gmm", CONFIG, _evidence, {"exact-law": Case(_STAYS, "the law", 0.9, stays, lawful, half_lost)}),
    Bench("gmm", LONG, _evidence, LONG_CASES),
    Bench("gmm", LONG, _evidence, FAR, by_seed=False),  # generation 0 of all seeds says what is far
    Bench("gmm", CODE, _evidence, CODE_CASES),
]
