"""Records of webs, in NumPy: what each claim of their study is examined with."""

import dataclasses
import math
from functools import cache
from unittest import mock

import numpy as np
import xarray as xr
from claim_cases import Bench, Case

from collapse_jax.studies.web import claims
from collapse_jax.studies.web.arms import ARMS, members, predicted
from collapse_jax.studies.web.config import PRESETS, WebConfig

CONFIG = WebConfig(seeds=256)
GENERATIONS = (0, 40, 50, 60, 70, 80)  # those that claims look at
_PRODUCERS, _LABS = slice(CONFIG.labs), len(members(CONFIG))
_NOISE = 0.15  # of a log variance of 100 points, about


@cache
def _law(web):
    return predicted(dataclasses.replace(CONFIG, seeds=1), ARMS[web])


def _known(config, arm):
    return _law(next(name for name, one in ARMS.items() if one == arm))


_ERROR = float(np.asarray(_law("unbiased").mean_square)[40:, 0].mean())
_SPREAD = float(np.asarray(_law("biased").variance)[-1, 0])
_ALONE, _WHOLE = 1 / CONFIG.num_samples, 1 - 1 / CONFIG.num_samples
with mock.patch.object(claims, "predicted", _known):
    _SIZE = claims.lawful_advantage(CONFIG)


def _records(rng, config, square=_ALONE, shared=0.0, variance=_WHOLE):
    """Return webs whose labs all have means of one mean square and correlation, and variances about one value."""
    shape = (len(ARMS), _LABS, config.seeds, len(GENERATIONS))
    common = rng.normal(size=(shape[0], 1, *shape[2:]))
    mean = np.sqrt(square) * (math.sqrt(shared) * common + math.sqrt(1 - shared) * rng.normal(size=shape))
    log_variance = math.log(variance) - _NOISE**2 / 2 + _NOISE * rng.normal(size=shape)
    dims = ("web", "lab", "seed", "generation")
    coordinates = {"web": list(ARMS), "lab": list(members(config)), "generation": list(GENERATIONS)}
    return xr.Dataset({"mean": (dims, mean), "log_variance": (dims, log_variance)}, coordinates)


def _further(records, web, by, labs):
    """Return records in which some labs of a web have, after generation 0, a risk that is larger by so much."""
    mean = records["mean"].copy()
    place = {"web": list(ARMS).index(web), "lab": labs, "generation": slice(1, None)}
    signs = np.where(mean[place] < 0, -1, 1)
    mean[place] = signs * np.sqrt(mean[place] ** 2 + by)
    return records.assign(mean=mean)


def human(rng, config):
    """Every lab fits human rows, whatever it is asked for."""
    return _records(rng, config)


def lawful(rng, config):
    """Means and variances as by the laws of the unbiased, and of the biased web."""
    return _records(rng, config, _ERROR, 0.9, _SPREAD)


def at_the_edges(rng, config):
    """Both laws, and the labs' likeness, as far off as is allowed."""
    return _records(rng, config, math.sqrt(_ERROR * _ALONE), 0.5, math.sqrt(_SPREAD * _WHOLE))


def late(rng, config):
    """Late newcomers of the biased web err more, those of the other webs do not."""
    return _further(_records(rng, config), "biased", _SIZE, labs=-1)


def all_late(rng, config):
    """Late newcomers of every web err as much more."""
    records = _records(rng, config)
    for web in ARMS:
        records = _further(records, web, _SIZE, labs=-1)
    return records


def a_fifth(rng, config):
    """Late newcomers of unbiased webs, and of those without releases, err a fifth as much more."""
    records = _records(rng, config)
    for web in ("unbiased", "no releases"):
        records = _further(records, web, 0.2 * _SIZE, labs=-1)
    return records


def detected(rng, config):
    """The detector costs unbiased labs of a crawl 0.02, and saves biased ones as much."""
    records = _records(rng, config)
    for web in ("unbiased, filtered crawl", "biased"):
        records = _further(records, web, 0.02, labs=_PRODUCERS)
    return records


def _evidence(config, dataset):
    with mock.patch.object(claims, "predicted", _known):  # the same each time
        return claims.evidence(config, dataset)


_HUMAN = "every lab fits human rows"
_EVERYWHERE = "late labs of all webs err as much more"
_COST = "0.02 of the risk, by the detector"
CASES = {
    "error-law": Case(_HUMAN, "the law", 0.8, human, lawful, at_the_edges),
    "variance-law": Case(_HUMAN, "the law", 0.95, human, lawful, at_the_edges),
    "first-mover": Case(_HUMAN, "the law's advantage", 0.95, human, late),
    "sampling-is-minor": Case(_EVERYWHERE, "biased webs alone", 0.95, all_late, late, a_fifth, True),
    "no-releases": Case(_EVERYWHERE, "biased webs alone", 0.95, all_late, late, a_fifth, True),
    "labs-alike": Case(_HUMAN, "errors correlate by 0.9", 0.95, human, lawful, at_the_edges),
    "filter-costs": Case(_HUMAN, _COST, 0.95, human, detected),
    "filter-crawl": Case(_HUMAN, _COST, 0.95, human, detected),
    "filter-budget": Case(_HUMAN, _COST, 0.95, human, detected),
}

# labs of texts: log-losses about 4.8, of which seeds differ by 0.02, as measured
TEXTS = dataclasses.replace(PRESETS["paper"], seeds=4)


def _losses(rng, config, later):
    """Return log-losses of newcomers, later ones by so much larger, in each web."""
    shape = (len(config.webs), _LABS, config.seeds, 2)
    loss = 4.8 + 0.02 * rng.normal(size=shape)
    loss[..., 1] += np.asarray(later)[:, None, None]
    dims = ("web", "lab", "seed", "generation")
    coordinates = {"web": list(config.webs), "lab": list(members(config)), "generation": [0, config.generations]}
    return xr.Dataset({"log_loss": (dims, loss)}, coordinates)


def no_later(rng, config):
    """Newcomers of all steps lose as much."""
    return _losses(rng, config, np.zeros(len(config.webs)))


def later(rng, config):
    """Late newcomers lose 0.15 nats more where labs are biased and no detector is asked."""
    return _losses(rng, config, [0.15 if web == "biased" else 0.0 for web in config.webs])


_SAME, _MORE = "newcomers of all steps lose as much", "0.15 nats, where labs are biased"
TEXT_CASES = {
    name: Case(_SAME, _MORE, 0.8, no_later, later) for name in ("texts-first-mover", "texts-bias", "texts-filter")
}
BENCHES = [Bench("web", CONFIG, _evidence, CASES), Bench("web", TEXTS, claims.evidence, TEXT_CASES)]
