"""What a run of the autoencoder study says about published statements.

Where nothing happens, what a generation records has the law of generation 0 (of generation 1, where that is the first
with a published number).
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from collapse_jax.analysis.claims import EXACT, Claim, Evidence, labelled, measured
from collapse_jax.analysis.estimands import last_reached
from collapse_jax.studies import published
from collapse_jax.studies.vae.config import VAEConfig
from collapse_jax.studies.vae.digits import data_read
from collapse_jax.studies.vae.protocol import departure_of, judges_unfit

# five printed runs: lowest and highest latent spread under the generation-0 encoder, generations 1 to 5
PUBLISHED_SPREAD = ((0.674, 0.700), (0.594, 0.609), (0.523, 0.554), (0.468, 0.489), (0.428, 0.467))
# training loss of a batch of 256 at epoch 30, generations 0 to 5
_PUBLISHED_LOSS = (25250, 31514, 34555, 36804, 38883, 40544)
_MIN_SEEDS = 5
_SHUMAILOV, _CODE = "Shumailov et al. 2024", "published code, five runs"
SOURCES = (_SHUMAILOV, _CODE)  # whose protocol is the published one
_PUBLISHED_BATCH = 256
_READABLE = 0.5  # an image set is unreadable below this share of unanimously classified images


class _Protocol(NamedTuple):
    """How far a run went, and in what it departs from the publication."""

    last: int
    departure: str


def evidence(config: VAEConfig, dataset: xr.Dataset) -> list[Evidence]:
    """Return what the run says about each published claim."""
    arm = dataset.isel(num_samples=0)
    read = published.data_read(dataset)
    protocol = _Protocol(last_reached(arm["loss"]), departure_of(config, read))
    digits = data_read(config) if read is None else read  # records without it: as the digits are now
    judged = _reading(protocol, arm) if config.num_judged else []
    found = [
        *_shrinking(protocol, arm, digits["sharpness"], digits["blurred_sharpness"]),
        *judged,
        *_published(protocol, arm, digits["targets_entropy"]),
    ]
    shared = {item.claim.name: "real digits, judges" for item in judged}
    return [labelled(item, protocol.departure, shared.get(item.claim.name, "real digits")) for item in found]


def _shrinking(protocol: _Protocol, arm: xr.Dataset, real: float, blurred: float) -> list[Evidence]:
    """Spread, mean and blur; the high-frequency energy of real digits, and of blurred ones, is the measure."""
    spread, mean, sharpness = arm["latent_spread"], arm["latent_mean"], arm["sharpness"]
    ratio = blurred / real
    falls = Claim(
        "spread-falls", "The latent spread falls from generation 1 to 5.",
        _SHUMAILOV, (-math.inf, 0.0), "mean", _MIN_SEEDS, null=0.0,
    )  # fmt: skip
    centred = Claim(
        "latent-mean", "The latent mean, averaged over generations 1 to 5, stays within 0.075 of 0.",
        _CODE, (-0.075, 0.075), "mean", _MIN_SEEDS, null=0.075,
    )  # fmt: skip
    blurs = Claim(
        "digits-blur",
        "By generation 10 the images keep less of model 0's high-frequency energy than a one-pixel blur leaves real "
        f"digits of theirs ({ratio:.2f}).",
        _SHUMAILOV, (-math.inf, ratio), "mean", _MIN_SEEDS, null=1.0,
    )  # fmt: skip
    own, smooth = float(sharpness.sel(generation=0).mean()), ""
    if own <= blurred:
        smooth = f"model 0's images are as smooth as blurred digits already: {own:.3g}, these {blurred:.3g}"
    return [
        _at(protocol, falls, 5, lambda g: spread.sel(generation=g) - spread.sel(generation=1)),
        _at(protocol, centred, 5, lambda g: mean.sel(generation=slice(1, g)).mean("generation", skipna=False)),
        _at(protocol, blurs, 10, lambda g: sharpness.sel(generation=g) / sharpness.sel(generation=0), smooth),
    ]


def _reading(protocol: _Protocol, arm: xr.Dataset) -> list[Evidence]:
    """Unreadable, and mixed, as five classifiers see them."""
    judged = lambda name: arm["judged"].sel(judgement=name).transpose("seed", "generation")  # noqa: E731
    unanimous, entropy = judged("unanimous_share"), judged("posterior_entropy")
    unfit, first = judges_unfit(arm), _first_unreadable(unanimous.values)
    unreadable = Claim(
        "unreadable",
        "Digits become unreadable (fewer than half of them classified unanimously) between generations 10 and 20.",
        "articles on Shumailov et al. 2024", (9.5, 20.5), "mean", _MIN_SEEDS, null=math.inf, resolution=1.0,
    )  # fmt: skip
    mixed = Claim(
        "digits-mix", "Digits mix: the judges' posterior entropy grows from generation 0 to 20.",
        _SHUMAILOV, (0.0, math.inf), "mean", _MIN_SEEDS, null=0.0,
    )  # fmt: skip
    return [
        _at(protocol, unreadable, 20, lambda _: first, unfit or _never_became(first)),
        _at(protocol, mixed, 20, lambda g: entropy.sel(generation=g) - entropy.sel(generation=0), unfit),
    ]


def _first_unreadable(unanimous: np.ndarray) -> np.ndarray:
    """Return the first unreadable generation of each seed: infinite for none, NaN where values end before one."""
    below = unanimous < _READABLE
    never = np.where(np.isnan(unanimous).any(axis=1), math.nan, math.inf)
    return np.where(below.any(axis=1), below.argmax(axis=1), never)


def _never_became(first: np.ndarray) -> str:
    """Return why "the first unreadable generation" is no number for some seeds, "" where it is for all."""
    if at_once := int((first == 0).sum()):
        return f"model 0's images are unreadable already in {at_once} of {len(first)} seeds: they do not become so"
    if never := int(np.isposinf(first).sum()):
        return f"{never} of {len(first)} seeds stay readable to the end: when they would not is unknown"
    return ""


def _published(protocol: _Protocol, arm: xr.Dataset, entropy: float) -> list[Evidence]:
    """The printed spreads and losses, for the exact protocol alone; `entropy` is the real targets'."""
    return [*_published_spreads(protocol, arm), *_published_losses(protocol, arm, _PUBLISHED_BATCH * entropy)]


def _published_spreads(protocol: _Protocol, arm: xr.Dataset) -> list[Evidence]:
    gathered = []
    own = float(arm["latent_spread"].sel(generation=0).mean())
    for generation, (low, high) in enumerate(PUBLISHED_SPREAD, start=1):
        claim = Claim(
            f"published-spread-{generation}",
            f"The latent spread of generation {generation} is {low:.3f} to {high:.3f} (within 0.05).",
            _CODE, ((low + high) / 2 - 0.05, (low + high) / 2 + 0.05), "mean", _MIN_SEEDS,
            null=sum(PUBLISHED_SPREAD[0]) / 2 if generation > 1 else own,
        )  # fmt: skip
        measure = lambda g: arm["latent_spread"].sel(generation=g)  # noqa: E731
        gathered.append(_at(protocol, claim, generation, measure, protocol.departure))
    return gathered


def _published_losses(protocol: _Protocol, arm: xr.Dataset, least: float) -> list[Evidence]:
    """The printed losses; `least` is that of a batch of real digits, nats."""
    gathered = []
    for generation, loss in enumerate(_PUBLISHED_LOSS):
        # later targets are the publication's own images, whose entropy nobody printed
        floor = least if generation == 0 else 0.0
        # nothing happens: model 0 has learnt no pixel, a later model is as good as model 0
        nothing = _PUBLISHED_BATCH * 784 * math.log(2) if generation == 0 else _PUBLISHED_LOSS[0]
        # other images than MNIST's may have more entropy than the published loss: then nothing can be compared
        null = math.log((nothing - floor) / (loss - floor)) if loss > floor else math.nan
        less = f" less the digits' own entropy, {floor:,.0f}" if floor else ""
        claim = Claim(
            f"published-loss-{generation}",
            f"The training loss of model {generation} is {loss:,} nats a batch of {_PUBLISHED_BATCH}{less} "
            "(log ratio within 0.05).",
            _CODE, (-0.05, 0.05), "mean", _MIN_SEEDS, null=null,
        )  # fmt: skip

        def log_ratio(generation: int, loss: int = loss, floor: float = floor) -> np.ndarray:
            ours = _PUBLISHED_BATCH * arm["loss"].sel(generation=generation).values
            return np.log((ours - floor) / (loss - floor))

        gathered.append(_at(protocol, claim, generation, log_ratio, protocol.departure))
    return gathered


def _at(
    protocol: _Protocol, claim: Claim, generation: int, measure: Callable[[int], Any], unmet: str = ""
) -> Evidence:
    return measured(claim, generation, protocol.last, measure, EXACT, unmet)
