"""Configuration and presets of the Gaussian study; no JAX here."""

from dataclasses import dataclass
from typing import Literal

from collapse_jax.studies.regime_names import RegimeName


@dataclass(frozen=True)
class GaussianConfig:
    """One Gaussian refitted to its own samples: the walk of mean and spread, and every regime beside its law."""

    num_samples: tuple[int, ...] = (100, 500, 1000, 10_000)
    """M, points drawn in each generation; all of them run as one program."""
    generations: int = 2000
    """Generations after generation 0 of the walks under replace."""
    seeds: int = 512
    """Independent repetitions, each with real data of its own."""
    estimator: Literal["unbiased", "mle"] = "unbiased"
    """Variance of the walks: scatter / (M - 1), as in the paper's theorem, or scatter / M."""
    regime_samples: int = 100
    """M of the comparison of regimes, which uses the MLE."""
    regime_generations: int = 100
    """Generations of the comparison of regimes; 0 leaves it out."""
    lanes: int = 64
    """Chains under one vmap; part of what fixes the bits."""
    seed: int = 0
    """Root of all randomness."""


@dataclass(frozen=True)
class GaussianCell:
    """One chain of a sweep: a Gaussian in any dimension under any regime."""

    num_samples: int = 100
    """M, points drawn in each generation."""
    dim: int = 1
    """d."""
    estimator: Literal["unbiased", "mle"] = "mle"
    """Covariance: scatter / (M - 1), as in the paper's theorem, or scatter / M."""
    draws: Literal["statistics", "points"] = "points"
    """Draw mean and scatter from their exact law, at a cost without M, or single points, which all regimes take."""
    bias: float = 1.0
    """Draws have this times the model's covariance (sampling bias)."""
    regime: RegimeName = "replace"
    """What each generation trains on."""
    real_fraction: float = 0.0
    """Share of original data, for the regimes replace-part and weight-real."""
    window_size: int = 5
    """Batches kept by the regime window."""
    generations: int = 1000
    """Generations after generation 0."""
    seeds: int = 64
    """Independent repetitions of each cell."""
    seed: int = 0
    """Root of all randomness."""


PRESETS = {
    "smoke": GaussianConfig(
        num_samples=(20, 100), generations=200, seeds=256, regime_samples=20, regime_generations=10
    ),
    "laptop": GaussianConfig(),
    "paper": GaussianConfig(generations=5000, seeds=1024),
}
