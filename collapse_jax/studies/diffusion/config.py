"""Configuration and presets of the diffusion study; no JAX here."""

from dataclasses import dataclass, replace
from typing import Literal

from collapse_jax.studies.regime_names import RegimeName

SamplerName = Literal["ddim", "ddim-cosine", "ddpm", "ddpm-noisy", "ddpm-tilde", "euler", "heun", "edm"]


@dataclass(frozen=True)
class DiffusionConfig:
    """Diffusion and flow models retrained on what they drew, each beside what its sampler alone would do."""

    arms: tuple[str, ...] = ("ddim:25", "ddim:50", "edm:18", "ddim:50:accumulate")
    """SAMPLER:STEPS, then a regime and a time cut if wanted: "ddim:50", "heun:10:accumulate", "edm:18:replace:0.1"."""
    data: Literal["small-digits", "digits"] = "small-digits"
    """Digits averaged to 8 x 8 pixels, or all 28 x 28 of them."""
    data_folder: str | None = None
    """Folder of the four MNIST files; default the 10,000 embedded digits."""
    num_samples: int = 3000
    """M, images drawn in each generation, and real ones for model 0, as far as there are."""
    toys: tuple[str, ...] = ("eight-gaussians", "two-moons")
    """Laws in the plane run beside, with the first arm's sampler under replace: also spiral, checkerboard."""
    toy_samples: int = 1000
    """M of the toys."""
    generations: int = 8
    """Generations after generation 0."""
    seeds: int = 4
    """Independent repetitions; all have the same real digits."""
    net: Literal["mlp", "unet"] = "mlp"
    """Multilayer perceptron, or a small U-Net, for the digits."""
    width: int = 256
    """Of the three hidden layers of the digits' perceptron."""
    toy_width: int = 128
    """Of the three hidden layers of the toys' perceptron."""
    predicts: Literal["velocity", "noise"] = "velocity"
    """What a diffusion net says; for noise (published) long fits are needed, or draws explode."""
    num_fit_steps: int = 800
    """Adam steps of a fit to digits."""
    toy_fit_steps: int = 600
    """Adam steps of a fit to a toy."""
    batch_size: int = 128
    """Rows of a minibatch."""
    learning_rate: float = 4e-3
    """Adam's."""
    average: float = 0.999
    """Of the weights: those that draw are their running mean; 0 takes the last."""
    start: Literal["fresh", "warm"] = "fresh"
    """A new net every generation, or the same net trained on."""
    real_fraction: float = 0.0
    """Share of original data, for arms with the regime replace-part or weight-real."""
    window_size: int = 5
    """Batches kept by the regime window."""
    num_measured: int = 1000
    """Drawn images that each comparison with held-out ones is taken over."""
    num_judged: int = 300
    """Drawn images of 28 x 28 shown to the five digit classifiers; 0 leaves them out."""
    lanes: int = 1
    """Chains under one vmap; part of what fixes the bits."""
    seed: int = 0
    """Root of all randomness."""


@dataclass(frozen=True)
class DiffusionCell:
    """One chain of a sweep: digits of 8 x 8 pixels, drawn by any solver of an affine score or of a trained net."""

    sampler: SamplerName = "ddim"
    """The solver, with the schedule that it is used with."""
    num_steps: int = 50
    """Of the solver."""
    stop: float = 0.0
    """The time at which it stops: a share of all times, 1 - t for euler and heun, the noise for edm."""
    score: Literal["affine", "mlp"] = "affine"
    """Exact for a Gaussian of the data's moments, so that the sampler acts alone, or a trained net's."""
    num_samples: int = 4000
    """M, images drawn in each generation, and real ones for model 0, as far as there are."""
    width: int = 256
    """Of the net's three hidden layers."""
    num_fit_steps: int = 1500
    """Adam steps of one fit of the net."""
    regime: RegimeName = "replace"
    """What each generation trains on."""
    real_fraction: float = 0.0
    """Share of original data, for the regimes replace-part and weight-real."""
    window_size: int = 5
    """Batches kept by the regime window."""
    generations: int = 8
    """Generations after generation 0."""
    seeds: int = 3
    """Independent repetitions of each cell."""
    seed: int = 0
    """Root of all randomness."""


PRESETS = {
    "smoke": DiffusionConfig(
        arms=("euler:10",), num_samples=400, toys=("eight-gaussians",), toy_samples=300, generations=2, seeds=2,
        width=64, toy_width=32, num_fit_steps=300, toy_fit_steps=200, batch_size=64, num_measured=200,
    ),
    "laptop": DiffusionConfig(),
    # every solver with half and twice as many steps: what laws say of their order
    "solvers": replace(
        DiffusionConfig(),
        arms=("ddim:25", "ddim:50", "ddim:100", "ddpm:100", "ddpm-tilde:100", "euler:25", "euler:50", "heun:5",
              "heun:10", "edm:9", "edm:18"),
        toys=(), generations=4,
    ),
    "paper": DiffusionConfig(
        arms=("ddim:100", "ddim:100:accumulate-subsample"), data="digits", num_samples=10_000, toys=("spiral",),
        generations=100, seeds=5, net="unet", toy_width=256, num_fit_steps=78_000, toy_fit_steps=16_000,
        learning_rate=1e-3, average=0.8, predicts="noise",
    ),
}  # fmt: skip
