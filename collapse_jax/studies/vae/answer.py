"""The autoencoder study in a sentence, from its own records; the preset of its publication."""

import numpy as np
import xarray as xr

from collapse_jax.analysis.estimands import last_reached
from collapse_jax.studies.vae.claims import SOURCES
from collapse_jax.studies.vae.config import VAEConfig

PUBLISHED = dict.fromkeys(SOURCES, "paper")


def answer(config: VAEConfig, dataset: xr.Dataset) -> str:
    """Return how the images have lost their variety, and on how many of them classifiers still agree."""
    arm = dataset.isel(num_samples=0)
    last = last_reached(arm["loss"])
    if last < 0:
        return "no seed has a finite loss"
    num = arm.sizes["seed"]
    told = [f"latent spread {_first_and_last(arm['latent_spread'], min(1, last), last)}"]
    if "sharpness" in arm:
        told.append(f"high-frequency energy {_first_and_last(arm['sharpness'], 0, last)}")
    if config.num_judged and "judged" in arm:
        agreed = arm["judged"].sel(judgement="unanimous_share").mean("seed").sel(generation=[0, last]).values
        told.append(f"five classifiers agree on {100 * agreed[0]:.0f} and {100 * agreed[1]:.0f} % of the images")
    return f"generations 0 to {last:,}, means of {num} seeds: {'; '.join(told)}"


def _first_and_last(values: xr.DataArray, first: int, last: int) -> str:
    means = values.sel(generation=[first, last]).mean("seed").values
    since = "" if first == 0 else f" (since generation {first})"
    return f"{np.float64(means[0]):.3g} to {np.float64(means[1]):.3g}{since}"
