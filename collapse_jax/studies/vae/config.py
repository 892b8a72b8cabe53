"""Configuration and presets of the autoencoder study; no JAX here."""

from dataclasses import dataclass
from typing import Literal

from collapse_jax.studies.regime_names import RegimeName


@dataclass(frozen=True)
class VAEConfig:
    """A variational autoencoder retrained on its own digits, generation after generation."""

    num_samples: int = 10_000
    """M, images drawn in each generation."""
    generations: int = 20
    """Generations after generation 0."""
    seeds: int = 5
    """Independent repetitions."""
    data_folder: str | None = None
    """Folder of the four MNIST files; default the 10,000 embedded digits."""
    num_digits: int | None = None
    """Use only the first so many real digits; default all."""
    net: Literal["mlp", "conv"] = "mlp"
    """One hidden layer each way, or the published convolutional net of 647,081 parameters."""
    num_hidden: int = 256
    """Width of the MLP's hidden layers."""
    num_latents: int = 16
    """Dimension of the latent code."""
    num_steps: int = 600
    """Adam steps of one fit."""
    batch_size: int = 128
    """Images of a minibatch."""
    learning_rate: float = 4e-3
    """Adam's learning rate (published: 1e-3)."""
    weight_decay: float = 0.0
    """Added to the gradient, as PyTorch's Adam does (published: 1e-5)."""
    start: Literal["fresh", "warm"] = "fresh"
    """A new net every generation (published), or the same net trained on."""
    synthetic: Literal["fixed", "fresh"] = "fixed"
    """One synthetic data set a generation, or new images for every minibatch (published code)."""
    draws: Literal["mean", "bernoulli"] = "mean"
    """Decoder means (published code), or binary pixels drawn from them, on binarised real digits."""
    regime: RegimeName = "replace"
    """What each generation trains on."""
    real_fraction: float = 0.0
    """Share of original data, for the regimes replace-part and weight-real."""
    window_size: int = 5
    """Batches kept by the regime window."""
    num_measured: int = 1000
    """Generated images that each metric is taken over (published: 100)."""
    num_judged: int = 300
    """Generated images shown to the five digit classifiers; 0 leaves them out."""
    lanes: int = 5
    """Chains under one vmap; part of what fixes the bits."""
    seed: int = 0
    """Root of all randomness."""


PRESETS = {
    "smoke": VAEConfig(
        num_samples=500, generations=3, seeds=2, num_digits=1000, num_steps=60, num_measured=200, num_judged=100,
        lanes=2,
    ),
    "laptop": VAEConfig(),
    "paper": VAEConfig(
        net="conv", num_samples=60_000, num_steps=7031, batch_size=256, num_latents=20, learning_rate=1e-3,
        weight_decay=1e-5, synthetic="fresh", num_measured=100,
    ),
}  # fmt: skip
