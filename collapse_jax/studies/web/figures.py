"""Figures of the web study: what late labs lose, what biased labs do to the web, what a detector is worth."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from collapse_jax.analysis.estimands import last_reached
from collapse_jax.analysis.plots import COLOURS, Axes, band, legend, new_figure
from collapse_jax.studies.plan import Illustration
from collapse_jax.studies.web.arms import ARMS, predicted
from collapse_jax.studies.web.claims import risk
from collapse_jax.studies.web.config import WebConfig

_OPEN = ("unbiased", "biased", "no releases")


def figures(config: WebConfig, dataset: xr.Dataset) -> list[Illustration]:
    """Return the study's figures; of a run that has not come far, those that its records suffice for."""
    if "contamination" not in dataset or last_reached(dataset["contamination"]) < 0:
        return []
    found = [_movers(config, dataset)]
    if config.model == "gaussian":
        found.append(_spread(config, dataset))
    return [*found, _web(config, dataset), _detectors(config, dataset)]


def _there(config: WebConfig, names: Sequence[str]) -> dict[str, str]:
    """Return those of the webs that a run compares, each with its colour."""
    return {name: colour for name, colour in zip(names, COLOURS) if name in config.webs}


def _label(config: WebConfig) -> dict[str, Any]:
    """Return what an axis of risks is called, and where it begins."""
    if config.model == "opt":
        return {"ylabel": "log-loss on real text, nats a token"}
    return {"ylabel": "squared distance to the truth", "ylim": (0, None)}


def _movers(config: WebConfig, dataset: xr.Dataset) -> Illustration:
    """What the study asks: how much more a late lab errs."""
    figure, axes = new_figure(width=5.2, height=3.0)
    panel, generation = axes[0, 0], dataset["generation"].values
    for name, colour in _there(config, _OPEN).items():
        _mean(panel, generation, risk(dataset.sel(web=name).isel(lab=-1)), name, colour)
    panel.set(xlabel="step at which a lab first trains", **_label(config))
    legend(panel, title="labs that fill the web", title_fontsize=8)
    caption = (
        f"Error of a lab that trains once, on {config.num_samples} rows of the web, by when it comes: mean of "
        f"{dataset.sizes['seed']} webs, two standard errors. The {config.labs} labs that fill the web {_said(config)}, "
        "or release nothing."
    )
    return Illustration("movers", caption, figure)


def _said(config: WebConfig) -> str:
    if config.model == "opt":
        return f"write at the temperature 1 (unbiased) or {config.bias:g} (biased)"
    return f"draw with all of their variance (unbiased), with {config.bias:g} of it (biased)"


def _spread(config: WebConfig, dataset: xr.Dataset) -> Illustration:
    figure, axes = new_figure(1, 2, width=7.6, height=2.9)
    generation = dataset["generation"].values
    for name, colour in _there(config, _OPEN).items():
        arm, law = dataset.sel(web=name), predicted(config, ARMS[name])
        variance = xr.ufuncs.exp(arm["log_variance"].isel(lab=0).astype(float))
        _mean(axes[0, 0], generation, variance, name, colour)
        _mean(axes[0, 1], generation, arm["mean"].isel(lab=0) ** 2, name, colour)
        for panel, values in ((axes[0, 0], law.variance), (axes[0, 1], law.mean_square)):
            panel.plot(np.arange(len(values)), np.asarray(values)[:, 0], ":", color="black", linewidth=1.2, zorder=5)
    axes[0, 0].plot([], [], ":", color="black", linewidth=1.2, label="law")
    axes[0, 0].set(title="variance that a lab fits", ylim=(0, None))
    axes[0, 1].set(title="squared error of its mean", ylim=(0, None))
    for panel in axes.flat:
        panel.set_xlabel("step")
    legend(axes[0, 0])
    caption = (
        "What a lab learns from the web, step by step: means over seeds, and the exact law of each web. Sampling alone "
        "moves the mean; only biased generators take the variance."
    )
    return Illustration("moments", caption, figure)


def _mean(panel: Axes, generation: np.ndarray, values: xr.DataArray, label: str, colour: str) -> None:
    data = values.transpose("seed", "generation").values
    middle, error = np.nanmean(data, axis=0), 2 * np.nanstd(data, axis=0) / len(data) ** 0.5
    panel.fill_between(generation, middle - error, middle + error, color=colour, alpha=0.25, linewidth=0)
    panel.plot(generation, middle, color=colour, label=label)


def _web(config: WebConfig, dataset: xr.Dataset) -> Illustration:
    figure, axes = new_figure(1, 2, width=7.6, height=2.6)
    for name, colour in _there(config, _OPEN).items():
        arm, law = dataset.sel(web=name), predicted(config, ARMS[name])
        band(axes[0, 0], arm["contamination"], name, colour)
        band(axes[0, 1], arm["web_size"], name, colour)
        for panel, values in ((axes[0, 0], law.contamination), (axes[0, 1], law.size)):
            panel.plot(np.arange(len(values)), np.asarray(values), ":", color="black", linewidth=1.2, zorder=5)
    axes[0, 0].set(title="share of the web that is generated", xlabel="step", ylim=(-0.02, 1))
    axes[0, 1].set(title="rows of the web", xlabel="step", ylim=(0, None))
    axes[0, 1].plot([], [], ":", color="black", linewidth=1.2, label="law")
    legend(axes[0, 1])
    caption = f"How the web fills: {config.inflow} human rows a step, a share of {config.deletion:g} of all rows goes."
    return Illustration("web", caption, figure)


def _detectors(config: WebConfig, dataset: xr.Dataset) -> Illustration:
    figure, axes = new_figure(width=5.2, height=3.0)
    panel, generation = axes[0, 0], dataset["generation"].values
    for name, colour, line in zip(ARMS, (*COLOURS[:2], "", *COLOURS[:2], COLOURS[1]), ("-", "-", "", "--", "--", ":")):
        if colour and name in config.webs:
            risks = risk(dataset.sel(web=name).isel(lab=slice(config.labs))).mean("lab")
            middle = np.nanmean(risks.transpose("seed", "generation").values, axis=0)
            panel.plot(generation, middle, line, color=colour, label=name)
    panel.set(xlabel="step", **_label(config))
    legend(panel, fontsize=7.5)
    caption = (
        f"Mean error of the labs with a detector that takes out {config.true_positive_rate:.0%} of generated and "
        f"{config.false_positive_rate:.0%} of human rows: of a fixed crawl it costs rows, of as many training rows it "
        "does not."
    )
    return Illustration("detectors", caption, figure)
