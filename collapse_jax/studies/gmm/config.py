"""Configuration and presets of the mixture study; no JAX here."""

from dataclasses import dataclass, replace
from typing import Literal

from collapse_jax.studies.regime_names import RegimeName


@dataclass(frozen=True)
class GMMConfig:
    """A mixture refitted to its own samples, generation after generation."""

    num_samples: tuple[int, ...] = (100, 1000)
    """M, points drawn in each generation; one arm for each."""
    generations: int = 2000
    """Generations after generation 0."""
    seeds: int = 64
    """Independent repetitions, each with real data of its own."""
    truth: Literal["two-clusters", "cloud"] = "two-clusters"
    """Two unit Gaussians (the paper), or one standard cloud (the published code)."""
    separation: float = 4.0
    """Distance between the two clusters, data units."""
    num_components: int = 2
    """K of the fitted mixture."""
    start: Literal["warm", "kmeans"] = "warm"
    """EM starts from the previous generation, or from a new k-means (the published code)."""
    tol: float = 1e-3
    """EM stops when the mean log-likelihood changes by at most this, nats (published: 1e-5)."""
    max_steps: int = 100
    """Cap on EM steps (published: 2000)."""
    tight_tol: float | None = None
    """Tolerance of a second set of chains on the same seeds, which tells EM stopping error from sampling error."""
    ridge: Literal["relative", "absolute", "none"] = "relative"
    """Ridge on covariances: relative to each component's trace, absolute (published), or none."""
    ridge_size: float = 1e-6
    """Size of the ridge."""
    regime: RegimeName = "replace"
    """What each generation trains on."""
    real_fraction: float = 0.0
    """Share of original data, for the regimes replace-part and weight-real."""
    window_size: int = 5
    """Batches kept by the regime window."""
    held_out: int = 500
    """Held-out real points for the log-loss."""
    lanes: int = 16
    """Chains under one vmap; part of what fixes the bits."""
    seed: int = 0
    """Root of all randomness."""


_PAPER = replace(
    GMMConfig(), num_samples=(1000,), start="kmeans", tol=1e-5, max_steps=2000, ridge="absolute", lanes=8
)
_PUBLISHED_CODE = replace(
    _PAPER, num_samples=(500, 1000, 10_000, 50_000, 200_000), truth="cloud", generations=2050, lanes=4
)

PRESETS = {
    "smoke": GMMConfig(num_samples=(100,), generations=200, seeds=16),
    "laptop": GMMConfig(),
    "paper": _PAPER,
    "published-code": _PUBLISHED_CODE,
    # what the code's largest M shows is said to be EM's stopping error: the run that can tell, in double precision
    "em-stopping": replace(_PUBLISHED_CODE, num_samples=(200_000,), tight_tol=1e-8, seeds=8),
}
