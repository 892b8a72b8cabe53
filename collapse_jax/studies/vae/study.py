"""The autoencoder study: build the chain, draw the figures, gather the evidence.

Reference: Shumailov et al. (2024), the variational autoencoder experiment. The net here is an MLP, so
every claim is an analogue of the published one.
"""

import math

import jax
import numpy as np
import xarray as xr
from scipy import ndimage

from collapse_jax.chain import build_chain
from collapse_jax.claims import ANALOGUE, Claim, Evidence
from collapse_jax.data import Samples, as_samples
from collapse_jax.datasets.mnist import load_mnist
from collapse_jax.errors import check_count
from collapse_jax.metrics import high_frequency_energy
from collapse_jax.models.vae import vae, vae_metrics
from collapse_jax.plots import COLOURS, band, digit_rows, legend, new_figure
from collapse_jax.studies.mixing import named_regime
from collapse_jax.studies.plan import Arm, Illustration, Plan
from collapse_jax.studies.vae.config import VAEConfig
from collapse_jax.types import Key

SHOWN = (0, 1, 2, 5, 10, 20)
_NUM_SHOWN = 20
# five printed runs: lowest and highest latent spread under the generation-0 encoder, generations 1 to 5
_PUBLISHED_SPREAD = ((0.674, 0.700), (0.594, 0.609), (0.523, 0.554), (0.468, 0.489), (0.428, 0.467))
_MIN_SEEDS = 5


def build(config: VAEConfig) -> Plan:
    """Return the chain of the study, checked.

    Raises:
        ValueError: a field out of range, or digits that cannot be read.
    """
    real = _real_digits(config)
    model = vae(
        num_hidden=config.num_hidden, num_latents=config.num_latents, num_steps=config.num_steps,
        batch_size=config.batch_size, learning_rate=config.learning_rate, weight_decay=config.weight_decay,
        start=config.start, synthetic=config.synthetic, draws=config.draws,
    )  # fmt: skip
    regime = named_regime(
        config.regime, real_fraction=config.real_fraction, window_size=config.window_size,
        num_samples=config.num_samples, generations=config.generations,
    )  # fmt: skip
    metrics = vae_metrics(config.num_measured, _NUM_SHOWN)
    chain = build_chain(model, regime, real, config.num_samples, metrics)
    return Plan("num_samples", (Arm(config.num_samples, chain),), segment_length=1, lanes=config.lanes)


def figures(config: VAEConfig, dataset: xr.Dataset) -> list[Illustration]:
    """Return the study's figures."""
    arm = dataset.isel(num_samples=0)
    return [_digits_figure(config, arm), _latent_figure(config, arm), _pixel_figure(config, arm)]


def evidence(config: VAEConfig, dataset: xr.Dataset) -> list[Evidence]:
    """Return what the run says about each published claim."""
    arm = dataset.isel(num_samples=0)
    last = arm.sizes["generation"] - 1
    spread, mean, sharpness = arm["latent_spread"], arm["latent_mean"], arm["sharpness"]
    source = "Shumailov et al. 2024"
    falls = Claim(
        "spread-falls", "The latent spread falls from generation 1 to 5.",
        source, (-math.inf, 0.0), "mean", _MIN_SEEDS,
    )  # fmt: skip
    centred = Claim(
        "latent-mean", "The latent mean stays within 0.075 of 0 over generations 1 to 5.",
        "published code, five runs", (-0.075, 0.075), "mean", _MIN_SEEDS,
    )  # fmt: skip
    ratio = _blur_ratio(config)
    blurred = Claim(
        "digits-blur",
        "By generation 10 the images keep less high-frequency energy than a one-pixel blur leaves real digits "
        f"({ratio:.2f}).",
        source, (-math.inf, ratio), "mean", _MIN_SEEDS,
    )  # fmt: skip

    def at(claim: Claim, generation: int, values: xr.DataArray | None) -> Evidence:
        unmet = f"needs generation {generation}, the run ends at {last}" if generation > last else ""
        return Evidence(claim, np.array([]) if unmet or values is None else values.values, ANALOGUE, unmet)

    early = mean.sel(generation=slice(1, 5)).mean("generation")
    gathered = [
        at(falls, 5, spread.sel(generation=5) - spread.sel(generation=1) if last >= 5 else None),
        at(centred, 5, early),
        at(blurred, 10, sharpness.sel(generation=10) / sharpness.sel(generation=0) if last >= 10 else None),
    ]
    for generation, (low, high) in enumerate(_PUBLISHED_SPREAD, start=1):
        claim = Claim(
            f"published-spread-{generation}",
            f"The latent spread of generation {generation} is {low:.3f} to {high:.3f} (within 0.05).",
            "published code, five runs", ((low + high) / 2 - 0.05, (low + high) / 2 + 0.05), "mean", _MIN_SEEDS,
        )  # fmt: skip
        gathered.append(
            Evidence(claim, np.array([]), ANALOGUE, "exact protocol only: the published net is convolutional")
        )
    return gathered


def _real_digits(config: VAEConfig) -> Samples:
    images = load_mnist(config.data_folder).images
    if config.num_digits is not None:
        check_count("num_digits", config.num_digits)
        if config.num_digits > len(images):
            raise ValueError(
                f"`num_digits` must be at most the {len(images)} digits there are, got {config.num_digits}."
            )
        images = images[: config.num_digits]
    if config.draws == "bernoulli":
        images = _binarise(jax.random.key(config.seed), images)
    return as_samples(images)


def _binarise(key: Key, images: np.ndarray) -> np.ndarray:
    """Return binary images, each pixel 1 with its intensity as probability: what a Bernoulli decoder can draw."""
    return np.asarray(jax.random.uniform(key, images.shape) < images, np.float32)


def _blur_ratio(config: VAEConfig) -> float:
    """Return the share of high-frequency energy that a Gaussian blur of one pixel leaves real digits."""
    digits = np.asarray(_real_digits(config).x[:1000]).reshape(-1, 28, 28)
    blurred = ndimage.gaussian_filter(digits, sigma=(0, 1, 1))
    return float(high_frequency_energy(blurred) / high_frequency_energy(digits))


def _digits_figure(config: VAEConfig, arm: xr.Dataset) -> Illustration:
    shown = [g for g in SHOWN if g < arm.sizes["generation"]]
    figure, axes = new_figure(1, 1, width=9.0, height=0.5 * len(shown) + 0.3)
    digit_rows(
        axes[0, 0],
        arm["images"].sel(seed=0, generation=shown).transpose("generation", "image", "pixel").values,
        shown,
    )
    caption = f"Images drawn by model g ({config.regime}, M = {config.num_samples}, decoder {config.draws}, seed 0)."
    return Illustration("digits", caption, figure)


def _latent_figure(config: VAEConfig, arm: xr.Dataset) -> Illustration:
    figure, axes = new_figure(1, 2, width=8.0)
    label = f"MLP, {config.regime}, M = {config.num_samples}: median, 90 % of {arm.sizes['seed']} seeds"
    band(axes[0, 0], arm["latent_spread"], label, COLOURS[0])
    low, high = np.array(_PUBLISHED_SPREAD).T
    axes[0, 0].vlines(
        np.arange(1, 6),
        low,
        high,
        color=COLOURS[1],
        linewidth=4,
        label="published, convolutional net, 5 runs",
    )
    axes[0, 0].set(title="latent spread, encoder of generation 0", xlabel="generation", ylim=(0, None))
    legend(axes[0, 0])
    band(axes[0, 1], arm["latent_mean"], "", COLOURS[0])
    axes[0, 1].axhspan(-0.075, 0.075, color="#bbbbbb", alpha=0.3, label="published: within 0.075 of 0")
    axes[0, 1].set(title="latent mean, encoder of generation 0", xlabel="generation")
    legend(axes[0, 1])
    caption = "How model 0's encoder sees later images: their codes shrink towards one point."
    return Illustration("latent", caption, figure)


def _pixel_figure(config: VAEConfig, arm: xr.Dataset) -> Illustration:
    figure, axes = new_figure(1, 3, width=9.0)
    panels = {
        "pixel variance over images": "pixel_variance",
        "high-frequency energy": "sharpness",
        "training loss, nats an image": "loss",
    }
    for panel, (title, name) in zip(axes[0], panels.items()):
        band(panel, arm[name], "", COLOURS[0])
        panel.set(title=title, xlabel="generation", ylim=(0, None))
    caption = (
        "Images grow alike (pixel variance) and smooth (high-frequency energy). The loss of grey targets has their "
        "own entropy as its floor, so losses of different generations are not on one scale."
    )
    return Illustration("pixels", caption, figure)
