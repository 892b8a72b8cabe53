"""What a run of the autoencoder study says about published statements.

Where nothing happens, what a generation records has the law of generation 0 (of generation 1, where that is the first
with a published number).
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy import ndimage, special

from collapse_jax.claims import ANALOGUE, EXACT, Claim, Evidence, measured
from collapse_jax.estimands import last_reached
from collapse_jax.metrics import high_frequency_energy
from collapse_jax.studies.vae.config import PRESETS, VAEConfig
from collapse_jax.studies.vae.digits import real_digits

# five printed runs: lowest and highest latent spread under the generation-0 encoder, generations 1 to 5
PUBLISHED_SPREAD = ((0.674, 0.700), (0.594, 0.609), (0.523, 0.554), (0.468, 0.489), (0.428, 0.467))
# training loss of a batch of 256 at epoch 30, generations 0 to 5
_PUBLISHED_LOSS = (25250, 31514, 34555, 36804, 38883, 40544)
_PROTOCOL = (
    "net", "num_samples", "num_latents", "num_steps", "batch_size", "learning_rate", "weight_decay", "start",
    "synthetic", "draws", "regime",
)  # fmt: skip
_MIN_SEEDS = 5
_SHUMAILOV, _CODE = "Shumailov et al. 2024", "published code, five runs"
_PUBLISHED_BATCH, _ALL_DIGITS = 256, 60_000
_READABLE = 0.5  # an image set is unreadable below this share of unanimously classified images


class _Protocol(NamedTuple):
    """How far a run went, and in what it departs from the publication."""

    last: int
    unmet: str


def evidence(config: VAEConfig, dataset: xr.Dataset) -> list[Evidence]:
    """Return what the run says about each published claim."""
    arm = dataset.isel(num_samples=0)
    # as intensities: what a Bernoulli decoder is fitted to is drawn from them
    digits = np.asarray(real_digits(dataclasses.replace(config, draws="mean")).x)
    protocol = _Protocol(last_reached(arm["loss"]), protocol_unmet(config, len(digits)))
    gathered = _shrinking(protocol, arm, digits[:1000])
    if config.num_judged:
        gathered += _reading(protocol, arm)
    return gathered + _published(protocol, arm, targets_entropy(digits))


def _shrinking(protocol: _Protocol, arm: xr.Dataset, digits: np.ndarray) -> list[Evidence]:
    """Spread, mean and blur, for which real digits are the measure."""
    spread, mean, sharpness = arm["latent_spread"], arm["latent_mean"], arm["sharpness"]
    real, blurred = _sharpness_of(digits)
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
    unfit, first = _unfit(arm), _first_unreadable(unanimous.values)
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


def _unfit(arm: xr.Dataset) -> str:
    """Return why the judges cannot tell, "" when they can."""
    real = float(arm["real_unanimous_share"].isel(seed=0, generation=0))
    weakest = float(arm["judge_accuracy"].isel(seed=0, generation=0).min())
    if real >= 0.95 and weakest >= 0.97:
        return ""
    return (
        f"the judges must be unanimous on 95 % of real digits and 97 % right; they are on {real:.1%} and {weakest:.1%}"
    )


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
        gathered.append(_at(protocol, claim, generation, measure, protocol.unmet))
    return gathered


def _published_losses(protocol: _Protocol, arm: xr.Dataset, least: float) -> list[Evidence]:
    """The printed losses; `least` is that of a batch of real digits, nats."""
    gathered = []
    for generation, loss in enumerate(_PUBLISHED_LOSS):
        # later targets are the publication's own images, whose entropy nobody printed
        floor = least if generation == 0 else 0.0
        # nothing happens: model 0 has learnt no pixel, a later model is as good as model 0
        nothing = _PUBLISHED_BATCH * 784 * math.log(2) if generation == 0 else _PUBLISHED_LOSS[0]
        less = f" less the digits' own entropy, {floor:,.0f}" if floor else ""
        claim = Claim(
            f"published-loss-{generation}",
            f"The training loss of model {generation} is {loss:,} nats a batch of {_PUBLISHED_BATCH}{less} "
            "(log ratio within 0.05).",
            _CODE, (-0.05, 0.05), "mean", _MIN_SEEDS, null=math.log((nothing - floor) / (loss - floor)),
        )  # fmt: skip

        def log_ratio(generation: int, loss: int = loss, floor: float = floor) -> np.ndarray:
            ours = _PUBLISHED_BATCH * arm["loss"].sel(generation=generation).values
            return np.log((ours - floor) / (loss - floor))

        gathered.append(_at(protocol, claim, generation, log_ratio, protocol.unmet))
    return gathered


def protocol_unmet(config: VAEConfig, num_digits: int) -> str:
    """Return in what a configuration and its number of real digits depart from the publication, "" for nothing."""
    published = PRESETS["paper"]
    differing = [
        f"{name} = {getattr(published, name)}"
        for name in _PROTOCOL
        if getattr(config, name) != getattr(published, name)
    ]
    if config.data_folder is None or num_digits != _ALL_DIGITS:
        differing.append(f"all {_ALL_DIGITS:,} digits of MNIST")
    return f"exact protocol only: the published code has {', '.join(differing)}" if differing else ""


def targets_entropy(digits: np.ndarray) -> float:
    """Return the least loss that targets of these intensities allow, nats an image: their own entropy."""
    return float(np.mean(np.sum(special.entr(digits) + special.entr(1 - digits), axis=1, dtype=float)))


def _at(
    protocol: _Protocol, claim: Claim, generation: int, measure: Callable[[int], Any], unmet: str = ""
) -> Evidence:
    label = ANALOGUE if protocol.unmet else EXACT
    return measured(claim, generation, protocol.last, measure, label, unmet)


def _sharpness_of(digits: np.ndarray) -> tuple[float, float]:
    """Return the high-frequency energy of real digits, and what a Gaussian blur of one pixel leaves of it."""
    plain = digits.reshape(-1, 28, 28)
    blurred = ndimage.gaussian_filter(plain, sigma=(0, 1, 1))
    return float(high_frequency_energy(plain)), float(high_frequency_energy(blurred))
