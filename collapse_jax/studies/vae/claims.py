"""What a run of the autoencoder study says about published statements."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr
from scipy import ndimage

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
_READABLE = 0.5  # an image set is unreadable below this share of unanimously classified images


def evidence(config: VAEConfig, dataset: xr.Dataset) -> list[Evidence]:
    """Return what the run says about each published claim."""
    arm = dataset.isel(num_samples=0)
    gathered = _shrinking(config, arm)
    if config.num_judged:
        gathered += _reading(config, arm)
    return gathered + _published(config, arm)


def _shrinking(config: VAEConfig, arm: xr.Dataset) -> list[Evidence]:
    """Spread, mean and blur."""
    spread, mean, sharpness = arm["latent_spread"], arm["latent_mean"], arm["sharpness"]
    ratio = _blur_ratio(config)
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
        _at(config, arm, falls, 5, lambda _: spread.sel(generation=5) - spread.sel(generation=1)),
        _at(config, arm, centred, 5, lambda _: mean.sel(generation=slice(1, 5)).mean("generation")),
        _at(config, arm, blurred, 10, lambda g: sharpness.sel(generation=g) / sharpness.sel(generation=0)),
    ]


def _reading(config: VAEConfig, arm: xr.Dataset) -> list[Evidence]:
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
        _at(config, arm, unreadable, 20, first_unreadable, unfit),
        _at(config, arm, mixed, 20, lambda g: entropy.sel(generation=g) - entropy.sel(generation=0)),
    ]


def _published(config: VAEConfig, arm: xr.Dataset) -> list[Evidence]:
    """The printed spreads and losses, for the exact protocol alone."""
    unmet = protocol_unmet(config)
    gathered = []
    for generation, (low, high) in enumerate(PUBLISHED_SPREAD, start=1):
        claim = Claim(
            f"published-spread-{generation}",
            f"The latent spread of generation {generation} is {low:.3f} to {high:.3f} (within 0.05).",
            _CODE, ((low + high) / 2 - 0.05, (low + high) / 2 + 0.05), "mean", _MIN_SEEDS,
        )  # fmt: skip
        measure = lambda g: arm["latent_spread"].sel(generation=g)  # noqa: E731
        gathered.append(_at(config, arm, claim, generation, measure, unmet))
    for generation, loss in enumerate(_PUBLISHED_LOSS):
        claim = Claim(
            f"published-loss-{generation}",
            f"The training loss of model {generation} is {loss:,} nats a batch of 256 (log ratio within 0.05).",
            _CODE, (-0.05, 0.05), "mean", _MIN_SEEDS,
        )  # fmt: skip
        ratio = lambda g, at=loss: np.log(256 * arm["loss"].sel(generation=g).values / at)  # noqa: E731
        gathered.append(_at(config, arm, claim, generation, ratio, unmet))
    return gathered


def protocol_unmet(config: VAEConfig) -> str:
    """Return in what a configuration departs from the published protocol, "" for nothing."""
    published = PRESETS["paper"]
    differing = [
        f"{name} = {getattr(published, name)}"
        for name in _PROTOCOL
        if getattr(config, name) != getattr(published, name)
    ]
    if config.data_folder is None or config.num_digits is not None:
        differing.append("all 60,000 digits of MNIST")
    return f"exact protocol only: the published code has {', '.join(differing)}" if differing else ""


def _at(
    config: VAEConfig,
    arm: xr.Dataset,
    claim: Claim,
    generation: int,
    measure: Callable[[int], Any],
    unmet: str = "",
) -> Evidence:
    label = ANALOGUE if protocol_unmet(config) else EXACT
    return measured(claim, generation, arm.sizes["generation"] - 1, measure, label, unmet)


def _blur_ratio(config: VAEConfig) -> float:
    """Return the share of high-frequency energy that a Gaussian blur of one pixel leaves real digits."""
    plain = dataclasses.replace(config, draws="mean")
    digits = np.asarray(real_digits(plain).x[:1000]).reshape(-1, 28, 28)
    blurred = ndimage.gaussian_filter(digits, sigma=(0, 1, 1))
    return float(high_frequency_energy(blurred) / high_frequency_energy(digits))
