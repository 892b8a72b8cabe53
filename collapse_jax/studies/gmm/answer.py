"""The mixture study in a sentence, from its own records; the presets that its publications need."""

import math

import numpy as np
import xarray as xr

from collapse_jax.analysis.estimands import happened, last_reached
from collapse_jax.studies.gmm.config import GMMConfig
from collapse_jax.studies.gmm.protocol import PAPER, PUBLISHED_CODE, SAWTOOTH, truth_of

PUBLISHED = {PAPER: "paper", PUBLISHED_CODE: "published-code", SAWTOOTH: "em-stopping"}
_LOST = 0.01  # of the variance is left


def answer(config: GMMConfig, dataset: xr.Dataset) -> str:
    """Return in how many seeds the variance was lost, and what the median seed keeps, for each M."""
    told = []
    for num_samples in dataset["num_samples"].values:
        arm = dataset.sel(num_samples=num_samples)["log_total_variance"]
        last = last_reached(arm)
        if last < 0:
            told.append(f"M = {num_samples:,}: no seed has a finite variance")
            continue
        log_kept = arm.sel(generation=last).values - math.log(truth_of(config).total_variance)
        lost = happened(log_kept, log_kept < math.log(_LOST))
        kept = math.exp(float(np.nanmedian(log_kept)))
        told.append(
            f"M = {num_samples:,}: 99 % of the variance lost in {int(np.nansum(lost))} of "
            f"{int(np.isfinite(lost).sum())} seeds by generation {last:,}, the median keeps {100 * kept:.2g} %"
        )
    return "; ".join(told)
