"""Records of language models, in NumPy: what each claim of their study is examined with."""

import dataclasses
import math
from unittest import mock

import numpy as np
import xarray as xr
from claim_cases import Bench, Case

from collapse_jax.studies.opt import claims
from collapse_jax.studies.opt.config import PRESETS

ARMS = (
    "A5 beams", "B5 beams", "A10 beams", "B10 beams", "A5 beams-penalty-2", "A5 beams-penalty-3",
)  # fmt: skip
CONFIG = dataclasses.replace(PRESETS["standard"], arms=ARMS)  # 5 seeds, 9 generations
HARSH = dataclasses.replace(CONFIG, arms=ARMS[-1:])
TWENTY = dataclasses.replace(CONFIG, seeds=20, arms=ARMS[:1])
_G, _TEXTS, _NOISE = 10, 128, 0.02
_BEFORE, _AFTER = math.log(115), math.log(34)  # fine-tuning, as published


def _records(rng, config, growth=None, start=_AFTER, zero_shot=_BEFORE, texts=None):
    """Return records of arms whose log-loss on real text begins at `start` and grows by given amounts.

    Args:
        rng: randomness.
        config: arms and seeds.
        growth: arm -> what is added in generations 0 to 9, nats; an arm that is left out stays.
        start: nats.
        zero_shot: of the model before fine-tuning, nats; all seeds share it.
        texts: nats of texts [arm, seed, generation, text]; one law for all when left out.
    """
    shape = (len(config.arms), config.seeds, _G)
    means = start + np.array([np.broadcast_to((growth or {}).get(arm, 0.0), _G) for arm in config.arms])
    block = means[:, None] + _NOISE * rng.normal(size=shape)
    # other protocols say the opposite: no claim may read them
    validation = np.stack([block, 2 * start - block, 2 * start - block], axis=-1)
    generated = 9 + rng.normal(size=(*shape, _TEXTS)) if texts is None else texts
    dims = ("arm", "seed", "generation")
    variables = {
        "validation": ((*dims, "protocol"), validation),
        "zero_shot": (dims, np.full(shape, zero_shot)),
        "generated_nats": ((*dims, "text"), generated),
    }
    return xr.Dataset(variables, {"arm": list(config.arms), "generation": np.arange(_G)})


def _line(end):
    return end * np.arange(_G) / 9


def stays(rng, config):
    """One law in all generations: of losses and of texts; fine-tuning leaves the model as it was."""
    return _records(rng, config, start=_BEFORE)


def unlearnt(rng, config):
    """The model before fine-tuning knows nothing, and B degrades by 34 to 42."""
    return _records(rng, config, {"B10 beams": _line(0.21)}, zero_shot=math.log(50_272))


def edges(rng, config):
    """Every estimand with two ends on one of them."""
    growth = {"A5 beams": _line(0.46), "A5 beams-penalty-2": _line(0.46 + 0.6 * math.log(2))}
    return _records(rng, config, growth, start=_AFTER + 0.05, zero_shot=_BEFORE + 0.05)


def edges_of_the_second_reading(rng, config):
    """A grows by 0.29 nats, the least of "from 20 to 28"."""
    return _records(rng, config, {"A5 beams": _line(0.29)})


def stated(rng, config):
    """A grows by 0.53 nats, B by 0.15; penalty 2 doubles; penalty 3 spikes; a tenth of the texts to each side."""
    spike = np.array([0.0, 0.8, 1.1, 0.8, 0.6, 0.5, *[0.4] * 4])
    growth = {
        "A5 beams": _line(0.53), "A10 beams": _line(0.53), "B5 beams": _line(0.15), "B10 beams": _line(0.15),
        "A5 beams-penalty-2": _line(0.53 + math.log(2)), "A5 beams-penalty-3": spike,
    }  # fmt: skip
    return _records(rng, config, growth, texts=_tails(rng, config))


def stated_second(rng, config):
    """A grows by 0.34 nats, from perplexity 20 to 28."""
    return _records(rng, config, {"A5 beams": _line(0.34)})


def rises(rng, config):
    """With penalty 3 the loss rises to the end: nothing recovers."""
    return _records(rng, config, {"A5 beams-penalty-3": _line(0.5)})


def _tails(rng, config):
    """Return texts of one law, of which from generation 1 on a seventh lies below it, and a seventh above."""
    texts = 9 + rng.normal(size=(len(config.arms), config.seeds, _G, _TEXTS))
    where = rng.random(texts[:, :, 1:].shape)
    texts[:, :, 1:] = np.where(where < 1 / 7, 0.1, np.where(where > 6 / 7, 99.0, texts[:, :, 1:]))
    return texts


def _exact(config, dataset):
    """Return evidence as if the protocol were the published one."""
    with mock.patch.object(claims, "departure_of", lambda *_, **__: ""):
        return claims.evidence(config, dataset)


def _penalties(config, dataset):
    """Return evidence on the penalties alone, which takes a fifth of the time."""
    nothing = {name: lambda *_: [] for name in ("_learning", "_degradation", "_tails")}
    with mock.patch.multiple(claims, **nothing):
        return claims.evidence(config, dataset)


_STAYS = "losses are redrawn around one mean"
_SECOND_DRAW = "texts are a second draw of model 0"
CASES = {
    "fine-tuning-learns": Case("fine-tuning changes nothing", "from 115 to 34", 0.9, stays, stated),
    "published-zero-shot": Case("all tokens are alike", "the published one", 0.9, unlearnt, stated, edges),
    "published-fine-tuned": Case("fine-tuning changes nothing", "the published one", 0.9, stays, stated, edges),
    "a-degrades": Case(_STAYS, "A grows by 0.53", 0.9, stays, stated),
    "a-degrades-by-20-to-28": Case(_STAYS, "A grows by 0.53", 0.9, stays, stated, edges),
    "a-degrades-from-20-to-28": Case(
        _STAYS, "A grows by 0.34, +-0.03", 0.6, stays, stated_second, edges_of_the_second_reading
    ),
    "b-minor": Case("B grows by 0.21", "B grows by 0.15", 0.9, unlearnt, stated, None, True),
    "b-less-than-a-5": Case(_STAYS, "A grows by 0.53, B by 0.15", 0.9, stays, stated),
    "b-less-than-a-10": Case(_STAYS, "A grows by 0.53, B by 0.15", 0.9, stays, stated),
    "low-perplexity-grows": Case(_SECOND_DRAW, "a seventh lies below", 0.9, stays, stated),
    "right-tail-grows": Case(_SECOND_DRAW, "a seventh lies above", 0.9, stays, stated),
    "never-produced": Case(_SECOND_DRAW, "a seventh lies above", 0.9, stays, stated),
    "penalty-doubles": Case("the penalty changes nothing", "it adds log 2", 0.9, stays, stated, edges),
    "spike": Case(_STAYS, "1.1 at generation 2, 0.4 from 6 on", 0.9, stays, stated),
}  # fmt: skip
_TAILS = {name: CASES[name] for name in ("low-perplexity-grows", "right-tail-grows", "never-produced")}
RECOVERY = Case("the loss rises to the end", "1.1 at generation 2, 0.4 from 6 on", 0.9, rises, stated, stays)
BENCHES = [
    Bench("opt", CONFIG, _exact, CASES),
    Bench("opt", TWENTY, _exact, _TAILS),  # what five seeds hide
    Bench("opt", HARSH, _penalties, {"partial-recovery": RECOVERY}, by_seed=False),  # presupposes a spike of all seeds
]
