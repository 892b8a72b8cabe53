"""Configuration of chains that begin with numbers of one's own; no JAX here."""

from dataclasses import dataclass
from typing import Literal

from collapse_jax.studies.regime_names import RegimeName


@dataclass(frozen=True)
class NumbersConfig:
    """A model of one's own numbers, refitted to its own samples, generation after generation."""

    data: str = ""
    """A table: .csv, .tsv or .jsonl (.gz or not), .parquet or .npy; a row is a point."""
    columns: tuple[str, ...] = ()
    """Names of the columns to use; default all."""
    model: Literal["gaussian", "gmm", "kde"] = "gaussian"
    """A Gaussian, a mixture of them, or a kernel density estimate."""
    num_samples: int = 0
    """M, points drawn in each generation; 0 means as many as the table has rows."""
    generations: int = 200
    """Generations after generation 0."""
    seeds: int = 64
    """Independent repetitions, all of which begin with the same numbers."""
    num_components: int = 2
    """K of a mixture."""
    bandwidth: Literal["scott", "silverman"] = "scott"
    """Rule for the kernel."""
    regime: RegimeName = "replace"
    """What each generation trains on."""
    real_fraction: float = 0.0
    """Share of original data, for the regimes replace-part and weight-real."""
    window_size: int = 5
    """Batches kept by the regime window."""
    lanes: int = 16
    """Chains under one vmap; part of what fixes the bits."""
    seed: int = 0
    """Root of all randomness."""


PRESETS = {"laptop": NumbersConfig(), "smoke": NumbersConfig(generations=20, seeds=16)}
