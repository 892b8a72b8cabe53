"""What a run of the autoencoder study says about published statements."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy import ndimage, special

from collapse_jax.claims import ANALOGUE, EXACT, Claim, Evidence, measured
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
    protocol = _Protocol(arm.sizes["generation"] - 1, protocol_unmet(config, len(digits)))
    gathered = _shrinking(protocol, arm, _blur_ratio(digits[:1000]))
    if config.num_judged:
        gathered += _reading(protocol, arm)
    return gathered + _published(protocol, arm, targets_entropy(digits))


def _shrinking(protocol: _Protocol, arm: xr.Dataset, ratio: float) -> list[Evidence]:
    """Spread, mean and blur; `ratio` is what a blur leaves of real digits' high-frequency energy."""
    spread, mean, sharpness = arm["latent_spread"], arm["latent_mean"], arm["sharpness"]
    falls = Claim(
        "spread-falls", "The latent spread falls from generation 1 to 5.",
        _SHUMAILOV, (-math.inf, 0.0), "mean", _MIN_SEEDS,
    )  # fmt: skip
    centred = Claim(
        "latent-mean", "The latent mean stays within 0.075 of 0 over generations 1 to 5.",
        _CODE, (-0.075, 0.075), "mean", _MIN_SEEDS,
    )  # fmt: skip
    blurred = Claim(
        "digits-blur",
        "By generation 10 the images keep less high-frequency energy than a one-pixel blur leaves real digits "
        f"({ratio:.2f}).",
        _SHUMAILOV, (-math.inf, ratio), "mean", _MIN_SEEDS,
    )  # fmt: skip
    return [
        _at(protocol, falls, 5, lambda _: spread.sel(generation=5) - spread.sel(generation=1)),
        _at(protocol, centred, 5, lambda _: mean.sel(generation=slice(1, 5)).mean("generation")),
        _at(protocol, blurred, 10, lambda g: sharpness.sel(generation=g) / sharpness.sel(generation=0)),
    ]


def _reading(protocol: _Protocol, arm: xr.Dataset) -> list[Evidence]:
    """Unreadable, and mixed, as five classifiers see them."""
    real = float(arm["real_unanimous_share"].isel(seed=0, generation=0))
    weakest = float(arm["judge_accuracy"].isel(seed=0, generation=0).min())
    unfit = ""
    if real < 0.95 or weakest < 0.97:
        unfit = (
            f"the judges must be unanimous on 95 % of real digits and 97 % right; they are on {real:.1%} and "
            f"{weakest:.1%}"
        )
    unreadable = Claim(
        "unreadable",
        "Digits become unreadable (fewer than half of them classified unanimously) between generations 10 and 20.",
        "articles on Shumailov et al. 2024", (9.5, 20.5), "mean", _MIN_SEEDS,
    )  # fmt: skip
    mixed = Claim(
        "digits-mix", "Digits mix: the judges' posterior entropy grows from generation 0 to 20.",
        _SHUMAILOV, (0.0, math.inf), "mean", _MIN_SEEDS,
    )  # fmt: skip
    judged = lambda name: arm["judged"].sel(judgement=name)  # noqa: E731
    entropy = judged("posterior_entropy")

    def first_unreadable(_: int) -> np.ndarray:
        below = (judged("unanimous_share").transpose("seed", "generation") < _READABLE).values
        # never: one generation beyond the run, which is a lower bound
        return np.where(below.any(axis=1), below.argmax(axis=1), below.shape[1]).astype(float)

    return [
        _at(protocol, unreadable, 20, first_unreadable, unfit),
        _at(protocol, mixed, 20, lambda g: entropy.sel(generation=g) - entropy.sel(generation=0)),
    ]


def _published(protocol: _Protocol, arm: xr.Dataset, entropy: float) -> list[Evidence]:
    """The printed spreads and losses, for the exact protocol alone; `entropy` is the real targets'."""
    gathered = []
    for generation, (low, high) in enumerate(PUBLISHED_SPREAD, start=1):
        claim = Claim(
            f"published-spread-{generation}",
            f"The latent spread of generation {generation} is {low:.3f} to {high:.3f} (within 0.05).",
            _CODE, ((low + high) / 2 - 0.05, (low + high) / 2 + 0.05), "mean", _MIN_SEEDS,
        )  # fmt: skip
        measure = lambda g: arm["latent_spread"].sel(generation=g)  # noqa: E731
        gathered.append(_at(protocol, claim, generation, measure, protocol.unmet))
    for generation, loss in enumerate(_PUBLISHED_LOSS):
        # later targets are the publication's own images, whose entropy nobody printed
        floor = _PUBLISHED_BATCH * entropy if generation == 0 else 0.0
        less = f" less the digits' own entropy, {floor:,.0f}" if floor else ""
        claim = Claim(
            f"published-loss-{generation}",
            f"The training loss of model {generation} is {loss:,} nats a batch of {_PUBLISHED_BATCH}{less} "
            "(log ratio within 0.05).",
            _CODE, (-0.05, 0.05), "mean", _MIN_SEEDS,
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


def _blur_ratio(digits: np.ndarray) -> float:
    """Return the share of high-frequency energy that a Gaussian blur of one pixel leaves real digits."""
    plain = digits.reshape(-1, 28, 28)
    blurred = ndimage.gaussian_filter(plain, sigma=(0, 1, 1))
    return float(high_frequency_energy(blurred) / high_frequency_energy(plain))
