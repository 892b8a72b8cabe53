"""Chains that begin with numbers of one's own: the table, the model, and the laws that hold whatever the numbers are.

Under replace the total variance of a Gaussian fitted without bias keeps its mean, that of a mixture loses 1/M of it in
each fit, and that of a kernel density estimate changes by (1 - 1/M)(1 + h^2 M/(M - 1)), for every distribution; the log
variance of a Gaussian's first direction drifts by E log chi^2_{M-1}/(M - 1) a fit.
"""

import math
from pathlib import Path

import numpy as np
import xarray as xr

from collapse_jax.analysis.claims import LAW, Claim, Evidence, measured
from collapse_jax.analysis.estimands import last_reached
from collapse_jax.analysis.plots import at_a_glance, plot
from collapse_jax.core.chain import build_chain
from collapse_jax.core.data import as_samples
from collapse_jax.core.protocol import Metric, Model
from collapse_jax.datasets.table import load_table
from collapse_jax.files.reading import sha256
from collapse_jax.models.gaussian import gaussian, gaussian_metrics
from collapse_jax.models.kde import kde, kde_metrics
from collapse_jax.models.mixture import mixture
from collapse_jax.models.mixture_metrics import mixture_metrics
from collapse_jax.studies.numbers.config import NumbersConfig
from collapse_jax.studies.plan import Arm, Illustration, Plan
from collapse_jax.studies.regime_options import named_regime
from collapse_jax.theory.gaussian import log_variance_drift, variance_mean
from collapse_jax.validation import check_count

__all__ = ["answer", "build", "evidence", "figures", "remarks"]

_SHARED = "the numbers that generation 0 is fitted to"
_MIN_SEEDS = 16
_ERRORS = 72.0  # twice the square of the 6 standard errors that a law's whole effect must be
_MOST_RIDGE = 0.1  # of what a fit of a mixture loses, 1/M
_WHAT = {"gaussian": "a Gaussian", "gmm": "a mixture", "kde": "a kernel density estimate"}
_LOST = 0.01  # of the variance is left


def build(config: NumbersConfig) -> Plan:
    """Return the chain, checked.

    Raises:
        ValueError: no table, one that cannot be read, or a field out of range.
        TypeError: a column that holds no numbers.
    """
    values, _ = _table(config)
    size = _size(config, len(values))
    model, metrics = _model(config, values.shape, size)
    regime = named_regime(
        config.regime, real_fraction=config.real_fraction, window_size=config.window_size,
        num_samples=size, generations=config.generations,
    )  # fmt: skip
    chain = build_chain(model, regime, as_samples(values), size, metrics)
    arms = (Arm(size, chain),)
    return Plan("num_samples", arms, segment_length=50, lanes=config.lanes, data=lambda: _sums(config))


def _table(config: NumbersConfig) -> tuple[np.ndarray, tuple[str, ...]]:
    if not config.data:
        raise ValueError("the study 'numbers' needs a table of them; for example --data mine.csv.")
    return load_table(config.data, config.columns)


def _size(config: NumbersConfig, num_rows: int) -> int:
    return check_count("num_samples", config.num_samples or num_rows, minimum=2)


def _sums(config: NumbersConfig) -> dict[str, str]:
    return {"numbers": sha256(Path(config.data))}


def _model(config: NumbersConfig, shape: tuple[int, ...], size: int) -> tuple[Model, tuple[Metric, ...]]:
    num_rows, dim = shape
    if config.model == "gmm":
        return mixture(config.num_components), mixture_metrics()
    if config.model == "kde":
        batches = {"accumulate": config.generations, "window": config.window_size, "add": 1, "weight-real": 1}
        added = size * batches.get(config.regime, 0)  # a regime's, which the params must have room for, too
        return kde(config.bandwidth, capacity=num_rows + added if added else max(num_rows, size)), kde_metrics()
    return gaussian(dim), gaussian_metrics()


def remarks(config: NumbersConfig) -> tuple[str, ...]:
    """Return what was read."""
    values, names = _table(config)
    few = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return (f"{Path(config.data).name}: {len(values):,} rows of {few}.",)


def _kept(config: NumbersConfig, dataset: xr.Dataset) -> xr.DataArray:
    """Return total variance over that of generation 0, which all seeds share; dims (seed, generation)."""
    arm = dataset.isel(num_samples=0)
    if config.model == "kde":
        variance = arm["variance"].astype(float)
        return variance / variance.isel(generation=0).mean()
    log_variance = arm["log_total_variance"].astype(float)
    return xr.ufuncs.exp(log_variance - log_variance.isel(generation=0).mean())


def _dim(dataset: xr.Dataset) -> int:
    return int(dataset.sizes["axis"])


def _factor(config: NumbersConfig, dataset: xr.Dataset) -> float:
    """Return by what a fit changes the expected total variance under replace."""
    size = int(dataset["num_samples"].values[0])
    if config.model == "gaussian":
        return float(variance_mean(1, size, 1))
    if config.model == "gmm":
        return float(variance_mean(1, size, 0))
    dim = _dim(dataset)
    per_dim = 1.0 if config.bandwidth == "scott" else (dim + 2) / 4
    width = (size * per_dim) ** (-1 / (dim + 4))
    return (1 - 1 / size) * (1 + width**2 * size / (size - 1))


def figures(config: NumbersConfig, dataset: xr.Dataset) -> list[Illustration]:
    """Return the variance that is left, with its law, and all metrics that are one number."""
    kept, generations = _kept(config, dataset), dataset["generation"].values
    label = f"{config.model}, M = {int(dataset['num_samples'].values[0]):,}"
    laws = {label: _factor(config, dataset) ** generations} if config.regime == "replace" else {}
    figure = at_a_glance(
        {label: kept}, f"total variance / generation 0's, under {config.regime}", laws=laws, law="mean by the law",
        logarithmic=True,
    )  # fmt: skip
    caption = f"Variance that is left: median and 90 % of {dataset.sizes['seed']} chains."
    if laws:
        caption += " The mean follows the dotted law, whatever the numbers' distribution."
    arm = dataset.isel(num_samples=0, drop=True)
    bands = plot(arm, *(str(name) for name, array in arm.data_vars.items() if array.ndim == 2 and _varies(array)))
    return [
        Illustration("glance", caption, figure),
        Illustration("metrics", "All that is recorded as one number: median and 90 % of the chains.", bands),
    ]


def _varies(array: xr.DataArray) -> bool:
    return array.dtype.kind == "f"  # not a flag, nor a count of steps


def answer(config: NumbersConfig, dataset: xr.Dataset) -> str:
    """Return what is left of the variance, and in how many seeds nearly nothing."""
    kept = _kept(config, dataset)
    last = last_reached(kept)
    size = int(dataset["num_samples"].values[0])
    if last < 1:
        return f"{_WHAT[config.model]} fitted to {Path(config.data).name}, M = {size:,}: no finite variance"
    reached = kept.sel(generation=last).values
    now = reached[np.isfinite(reached)]
    median = float(np.median(now))
    moved = f"keeps {100 * median:.2g} % of the variance" if median < 1 else f"has {median:.3g} times the variance"
    return (
        f"{_WHAT[config.model]} fitted to {Path(config.data).name}, M = {size:,}, under {config.regime}: by generation "
        f"{last:,} the median seed {moved}, 99 % is lost in {int((now < _LOST).sum())} of {len(now)} seeds"
    )


def evidence(config: NumbersConfig, dataset: xr.Dataset) -> list[Evidence]:
    """Return what the run says of the laws that hold for any numbers."""
    size = int(dataset["num_samples"].values[0])
    last = last_reached(_kept(config, dataset))
    factor = _factor(config, dataset)
    if config.model == "gaussian":
        effect, law = float(log_variance_drift(size, 1)), "E log chi^2_{M-1}/(M-1)"
        told = f"a fit changes the log variance of the first direction by {law}, {effect:.3g}"
    else:
        effect = factor - 1
        told = f"a fit changes the mean total variance by {effect:.3g} of it"
    claim = Claim(
        f"law-{config.model}",
        f"M={size}: {told} (the mean change over all fits and seeds is that, to a half).",
        "Cochran's theorem; identity by descent", (0.5, 1.5), "mean", _MIN_SEEDS, null=0.0,
    )  # fmt: skip

    def change(generation: int) -> np.ndarray:
        if config.model == "gaussian":
            logs = 2 * dataset["log_scale"].isel(num_samples=0, axis=0).astype(float)
            drawn = logs.sel(generation=slice(0, generation)).transpose("seed", "generation")
            return np.diff(drawn.values).mean(axis=1) / effect
        kept = _kept(config, dataset).sel(generation=slice(0, generation)).transpose("seed", "generation")
        return (np.exp(np.diff(np.log(kept.values))) - 1).mean(axis=1) / effect

    fits, needed = dataset.sizes["seed"] * max(last, 0), math.ceil(_ERRORS / (size * effect**2))
    unmet, lacks = _unmet(config, size), {}
    if not unmet and fits < needed:
        unmet, lacks = f"needs {needed:,} fits over all seeds, the run has {fits:,}", {"fits": needed}
    item = measured(claim, last, last, change, LAW, unmet)
    return [item._replace(shared=_SHARED, lacks=lacks or item.lacks)]


def _unmet(config: NumbersConfig, size: int) -> str:
    """Return why the law does not hold for a run; "" where it does."""
    if config.regime != "replace":
        return f"the law is replace()'s, the run's regime is {config.regime}"
    if config.model == "gmm" and 1e-6 * size > _MOST_RIDGE:
        return f"the law is without a ridge, the run's adds 1e-06 of the variance where a fit loses {1 / size:.1g}"
    return ""
