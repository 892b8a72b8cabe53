"""Configuration and presets of the web study; no JAX here."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class WebConfig:
    """Labs that share a web, train on it, and release what they draw; a newcomer at every step."""

    model: Literal["gaussian", "opt"] = "gaussian"
    """What a lab trains: one Gaussian on numbers, or the tiny OPT on blocks of Wikipedia."""
    webs: tuple[str, ...] = (
        "unbiased", "biased", "no releases", "unbiased, filtered crawl", "biased, filtered crawl", "biased, filtered",
    )
    """What is compared: webs of labs with biased generators or without, with a detector, of a fixed crawl, or none."""
    num_real: int = 400
    """Human rows of the web at step 0."""
    inflow: int = 40
    """Human rows that arrive at each step."""
    deletion: float = 0.1
    """Share of the web that goes at each step."""
    labs: int = 2
    """Labs that train and release at every step."""
    num_samples: int = 100
    """n, rows of the web that a lab trains on."""
    num_released: int = 60
    """m, rows that a lab releases at each step."""
    bias: float = 0.8
    """Variance of a biased lab's draws, in units of the fitted one; of texts the temperature at which it writes."""
    true_positive_rate: float = 0.9
    """Share of generated rows that the detector of the arms 'filtered' takes out."""
    false_positive_rate: float = 0.1
    """Share of human rows that it takes out."""
    generations: int = 80
    """Steps after step 0."""
    seeds: int = 512
    """Independent webs of each arm."""
    lanes: int = 64
    """Webs under one vmap; part of what fixes the bits."""
    seed: int = 0
    """Root of all randomness."""


@dataclass(frozen=True)
class WebCell:
    """One web of a sweep."""

    num_real: int = 400
    """Human rows of the web at step 0."""
    inflow: int = 40
    """Human rows that arrive at each step."""
    deletion: float = 0.1
    """Share of the web that goes at each step."""
    capacity: int = 1600
    """The most rows that the web holds."""
    labs: int = 2
    """Labs that train and release at every step."""
    num_samples: int = 100
    """n, rows of the web that a lab trains on."""
    num_released: int = 60
    """m, rows that a lab releases at each step."""
    bias: float = 1.0
    """Variance of a lab's draws, in units of the fitted one."""
    true_positive_rate: float = 0.0
    """Share of generated rows that a detector takes out."""
    false_positive_rate: float = 0.0
    """Share of human rows that it takes out."""
    crawl: bool = False
    """Whether `num_samples` counts rows before the detector sees them."""
    order: Literal["uniform", "oldest"] = "uniform"
    """Which rows go."""
    generations: int = 80
    """Steps after step 0."""
    seeds: int = 64
    """Independent repetitions of each cell."""
    seed: int = 0
    """Root of all randomness."""


PRESETS = {
    "smoke": WebConfig(num_real=100, generations=10, seeds=64),
    "laptop": WebConfig(),
    "large": WebConfig(generations=160, seeds=16_384),
    "paper": WebConfig(
        model="opt", webs=("unbiased", "biased", "no releases", "biased, filtered"), num_real=512, inflow=64,
        deletion=0.5, num_samples=96, num_released=96, bias=0.7, generations=8, seeds=4, lanes=2,
    ),
}
