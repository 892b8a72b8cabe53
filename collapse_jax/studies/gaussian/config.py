"""Configuration and presets of the Gaussian study; no JAX here."""

from dataclasses import dataclass
from typing import Literal


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


PRESETS = {
    "smoke": GaussianConfig(
        num_samples=(20, 100), generations=200, seeds=256, regime_samples=20, regime_generations=10
    ),
    "laptop": GaussianConfig(),
    "paper": GaussianConfig(generations=5000, seeds=1024),
}
