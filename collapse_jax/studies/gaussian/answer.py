"""The Gaussian study in a sentence, from its own records."""

import math

import numpy as np
import xarray as xr

from collapse_jax.analysis.estimands import happened, last_reached
from collapse_jax.studies.gaussian.config import GaussianConfig

_GONE = 2 * math.log(0.1)  # log variance of a standard deviation that is a tenth of the truth's


def answer(config: GaussianConfig, dataset: xr.Dataset) -> str:
    """Return in how many seeds the spread is gone, for each M, and how many regimes keep the mean variance."""
    told = []
    if "log_variance" in dataset:
        last = last_reached(dataset["log_variance"])
        shares = [_share(dataset, int(size), last) for size in dataset["num_samples"].values] if last >= 0 else []
        if shares:
            told.append(
                f"the standard deviation is below a tenth of the truth's by generation {last:,} in {', '.join(shares)}"
            )
    if "regime_log_variance" in dataset and (kept := _kept(dataset["regime_log_variance"])):
        told.append(f"{kept} at M = {config.regime_samples:,}")
    return "; ".join(told)


def _share(dataset: xr.Dataset, size: int, last: int) -> str:
    values = dataset["log_variance"].sel(num_samples=size, generation=last).values
    gone = happened(values, values < _GONE)
    return f"{int(np.nansum(gone))} of {int(np.isfinite(gone).sum())} seeds (M = {size:,})"


def _kept(log_variance: xr.DataArray) -> str:
    last = last_reached(log_variance)
    if last < 0:
        return ""
    means = xr.ufuncs.exp(log_variance.sel(generation=last).astype(float)).mean("seed").values
    return (
        f"{int((means > 0.5).sum())} of {len(means)} regimes keep over half of the variance (mean) to generation "
        f"{last:,}"
    )
