"""Records of autoencoders, in NumPy: what each claim of their study is examined with."""

import json
import math
from unittest import mock

import numpy as np
import xarray as xr
from claim_cases import Bench, Case

from collapse_jax.metrics.digit_classifiers import JUDGEMENTS
from collapse_jax.studies.vae import claims
from collapse_jax.studies.vae.config import PRESETS

CONFIG = PRESETS["laptop"]  # 5 seeds, 20 generations
_G = CONFIG.generations + 1
_SPREAD = np.array([sum(pair) / 2 for pair in claims.PUBLISHED_SPREAD])
_LOSS = np.array([25250, 31514, 34555, 36804, 38883, 40544]) / 256


# what a run says of the digits that it read: their sharpness, also blurred, and their entropy, nats an image
READ = {"sharpness": 0.08, "blurred_sharpness": 0.02, "targets_entropy": 48.0}
_SHARP, _RATIO = READ["sharpness"], READ["blurred_sharpness"] / READ["sharpness"]


def _exact(config, dataset):
    """Return evidence as if the protocol were the published one."""
    with mock.patch.object(claims, "departure_of", lambda *_, **__: ""):
        return claims.evidence(config, dataset)


def _unpublished(config, dataset):
    """Return evidence without the published numbers, which takes half the time."""
    with mock.patch.object(claims, "_published", lambda *_: []):
        return claims.evidence(config, dataset)


def _records(rng, config, means, first=None):
    """Return records whose means over seeds are given, a number or one for each generation.

    `first` is the first unreadable generation of each seed; None leaves all readable. Values vary by 2 %, losses by 1.
    """
    shape = (config.seeds, _G)
    stay = {
        "latent_spread": 0.8, "latent_mean": 0.0, "sharpness": _SHARP, "loss": _LOSS[0], "entropy": 0.3,
    } | means  # fmt: skip
    drawn = {}
    for name, mean in stay.items():
        noise = 0.02 if name == "latent_mean" else np.asarray(mean) * (0.01 if name == "loss" else 0.02)
        drawn[name] = mean + noise * rng.normal(size=shape)
    judged = np.full((*shape, len(JUDGEMENTS)), 0.5)
    never = np.full(config.seeds, _G)
    judged[..., JUDGEMENTS.index("unanimous_share")] = np.where(
        np.arange(_G) < (never if first is None else first)[:, None], 0.8, 0.3
    )
    judged[..., JUDGEMENTS.index("posterior_entropy")] = drawn.pop("entropy")
    dims = ("seed", "generation")
    variables = {name: (dims, values) for name, values in drawn.items()}
    variables["judged"] = ((*dims, "judgement"), judged)
    variables["real_unanimous_share"] = (dims, np.full(shape, 0.96))
    variables["judge_accuracy"] = ((*dims, "judge"), np.full((*shape, 5), 0.98))
    axes = {"generation": np.arange(_G), "judgement": list(JUDGEMENTS)}
    told = {"data": json.dumps(READ)}
    return xr.Dataset(variables, axes, told).expand_dims(num_samples=[config.num_samples])


def _line(*values):
    """Return one value for each generation, the last of the given ones from there on."""
    return np.array([*values, *[values[-1]] * (_G - len(values))])


def stays(rng, config):
    """Every generation as the first that a claim looks at."""
    return _records(rng, config, {})


def untrained(rng, config):
    """A latent mean at the end of its range, and a model 0 that has learnt no pixel."""
    return _records(rng, config, {"latent_mean": 0.075, "loss": 784 * math.log(2)})


def edges(rng, config):
    """Every estimand on the edge of its region; half of the seeds become unreadable at 9, half at 10."""
    floors = _LOSS - np.array([READ["targets_entropy"], 0, 0, 0, 0, 0])
    return _records(
        rng, config,
        {
            "latent_mean": -0.075,
            "latent_spread": _line(0.8, *(_SPREAD + 0.05)),
            "sharpness": _line(*[_SHARP] * 10, _SHARP * _RATIO),
            "loss": _line(*(_LOSS - floors * (1 - np.exp(-0.05)))),
        },
        rng.integers(9, 11, config.seeds),
    )  # fmt: skip


def stated(rng, config):
    """The published spreads and losses; a quarter less sharp than a blur; unreadable between 12 and 18; mixed."""
    return _records(
        rng, config,
        {
            "latent_spread": _line(0.8, *_SPREAD),
            "sharpness": _line(*[_SHARP] * 5, 0.75 * _SHARP * _RATIO),
            "loss": _line(*_LOSS),
            "entropy": _line(*[0.3] * 10, 0.6),
        },
        rng.integers(12, 19, config.seeds),
    )  # fmt: skip


_STAYS, _LOSSES = "every generation has the law of generation 0", "the published losses, +-1 %"
CASES = {
    "spread-falls": Case(_STAYS, "the published spreads, +-2 %", 0.9, stays, stated),
    "latent-mean": Case("the mean lies 0.075 off", "the mean lies at 0, +-0.02", 0.9, untrained, stated, edges, True),
    "digits-mix": Case(_STAYS, "the entropy doubles", 0.9, stays, stated),
    **{
        f"published-spread-{g}": Case(_STAYS, "the published spreads, +-2 %", 0.9, stays, stated, edges)
        for g in range(1, 6)
    },
    "published-loss-0": Case("model 0 has learnt nothing", _LOSSES, 0.9, untrained, stated, edges),
    **{
        f"published-loss-{g}": Case("losses stay at model 0's", _LOSSES, 0.9, stays, stated, edges)
        for g in range(1, 6)
    },
}
PRESUPPOSING = {
    "digits-blur": Case(_STAYS, "a quarter below the blur's sharpness", 0.9, stays, stated, edges),
    "unreadable": Case("digits stay readable", "unreadable between 12 and 18", 0.9, stays, stated, edges),
}
BENCHES = [
    Bench("vae", CONFIG, _exact, CASES),
    Bench("vae", CONFIG, _unpublished, PRESUPPOSING, by_seed=False),  # of what all seeds' model 0 is like
]
