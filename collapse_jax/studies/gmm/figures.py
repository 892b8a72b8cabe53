"""The figures of the mixture study, with what theory predicts drawn over them."""

import math

import numpy as np
import xarray as xr

from collapse_jax.analysis.figure_contents import short
from collapse_jax.analysis.plots import COLOURS, at_a_glance, band, legend, mixture_snapshots, new_figure
from collapse_jax.studies.gmm.config import GMMConfig
from collapse_jax.studies.gmm.paired import TIGHT
from collapse_jax.studies.gmm.protocol import least_count, survival_unmet, truth_of
from collapse_jax.studies.plan import Illustration
from collapse_jax.theory import matrices, replace_variance
from collapse_jax.theory.ancestry import both_alive

SNAPSHOTS = (0, 50, 100, 150, 200, 350, 2000)  # those of the publication
_LARGEST_MATRIX = 1000  # M up to which the exact law of survival is drawn
_ALL_DEAD = 6  # in fits / M, where the law is down to 0.4 %: the rest of a long run shows nothing
_LAW = {"color": "black", "linestyle": ":", "linewidth": 1.1, "zorder": 5}


def figures(config: GMMConfig, dataset: xr.Dataset) -> list[Illustration]:
    """Return the study's figures."""
    return [
        _glance(config, dataset),
        _snapshot_figure(config, dataset),
        _variance_figure(config, dataset),
        _distance_figure(config, dataset),
        _survival_figure(config, dataset),
        _em_figure(config, dataset),
    ]


def _arms(config: GMMConfig) -> list[tuple[int, str, str]]:
    """Return M, label and colour of each arm."""
    return [
        (size, f"M = {size:,}, {config.regime}", COLOURS[index % len(COLOURS)])
        for index, size in enumerate(config.num_samples)
    ]


def _later(distance: xr.DataArray) -> xr.DataArray:
    """Return a distance to generation 0 without generation 0, where it is rounding alone."""
    return distance.sel(generation=slice(1, None))


def _glance(config: GMMConfig, dataset: xr.Dataset) -> Illustration:
    """What the study asks: how much of the variance is left."""
    total, labels = truth_of(config).total_variance, {f"M = {size:,}": size for size in config.num_samples}
    left: dict[str, xr.DataArray] = {
        label: xr.ufuncs.exp(dataset["log_total_variance"].sel(num_samples=size)) / total
        for label, size in labels.items()
    }
    laws = {}
    if config.regime == "replace":
        fits = dataset["generation"].values + 1
        laws = {label: np.asarray(replace_variance(fits, size)) for label, size in labels.items()}
    figure = at_a_glance(
        left, f"total variance / truth, under {config.regime}", laws=laws, law="mean by the law", logarithmic=True
    )
    caption = f"Variance that is left: median and 90 % of {dataset.sizes['seed']} chains."
    if laws:
        caption += " The mean, by the law dotted, is carried by ever fewer of them."
    return Illustration("glance", caption, figure)


def _snapshot_figure(config: GMMConfig, dataset: xr.Dataset) -> Illustration:
    truth = truth_of(config)
    shown = [g for g in SNAPSHOTS if g < dataset.sizes["generation"]]
    arms = _arms(config)
    figure, axes = new_figure(len(arms), len(shown), width=1.6 * max(len(shown), 2), height=1.6 * len(arms))
    for row, (size, _, colour) in zip(axes, arms):
        arm = dataset.sel(num_samples=size)
        mixture_snapshots(row, arm, shown, truth.means, truth.covariances, colour=colour)
        row[0].set_ylabel(f"M = {size:,}")
    return Illustration(
        "snapshots",
        f"One chain ({config.regime}, seed 0): 2-sigma ellipses of the fitted components and points drawn from "
        "them; grey, the truth.",
        figure,
        alt=_told_snapshots(dataset, [size for size, _, _ in arms], shown),
    )


def _told_snapshots(dataset: xr.Dataset, sizes: list[int], shown: list[int]) -> str:
    """Return what the ellipses of the first and the last of the generations show, from their covariances."""
    def widths(size: int, generation: int) -> str:
        now = dataset.sel(num_samples=size, seed=0, generation=generation)
        traces = np.trace(now["covariances"].values.astype(float), axis1=-2, axis2=-1)
        stds = np.sqrt(traces / now["covariances"].shape[-1])[now["weights"].values > 0]
        return " and ".join(short(std) for std in stds[np.isfinite(stds)]) or "none"

    ends = dict.fromkeys((shown[0], shown[-1]))
    told = [f"M = {size:,}: " + ", ".join(f"{widths(size, g)} at generation {g}" for g in ends) for size in sizes]
    return f"Standard deviations of the components that live, 1 in truth. {'; '.join(told)}."


def _variance_figure(config: GMMConfig, dataset: xr.Dataset) -> Illustration:
    figure, axes = new_figure(1, 1, height=3.6)
    panel = axes[0, 0]
    total = truth_of(config).total_variance
    num_seeds = dataset.sizes["seed"]
    for size, label, colour in _arms(config):
        ratio: xr.DataArray = xr.ufuncs.exp(dataset["log_total_variance"].sel(num_samples=size)) / total
        band(panel, ratio, f"{label}: median, 90 % of {num_seeds} seeds", colour)
        mean = ratio.mean("seed")
        panel.plot(
            mean["generation"], mean, color=colour, linewidth=0.9, linestyle="--", label=f"M = {size:,}: mean of seeds"
        )  # fmt: skip
        if config.regime == "replace":
            panel.plot(mean["generation"], replace_variance(mean["generation"].values + 1, size), **_LAW)
    if config.regime == "replace":
        panel.plot([], [], label=r"exact law of the expectation, $(1-1/M)^n$", **_LAW)
    panel.set(
        yscale="log", xlabel="generation", ylabel="total variance / truth",
        xlim=(0, dataset.sizes["generation"] - 1),
    )  # fmt: skip
    legend(panel)
    return Illustration(
        "variance",
        "Total variance against generation. Late in a run ever fewer seeds carry the expectation (dotted), so the mean "
        "of finitely many falls below it.",
        figure,
    )


def _distance_figure(config: GMMConfig, dataset: xr.Dataset) -> Illustration:
    figure, axes = new_figure(1, 3, width=9.0)
    panels = {
        "log10 squared L2, to the truth": dataset["log_l2_truth"] / math.log(10),
        "log10 squared L2, to generation 0": _later(dataset["log_l2_origin"]) / math.log(10),
        "squared W2 to the truth": dataset["w2_truth"],
    }
    for panel, (title, values) in zip(axes[0], panels.items()):
        for size, label, colour in _arms(config):
            band(panel, values.sel(num_samples=size), label, colour)
        panel.set(title=title, xlabel="generation")
    legend(axes[0, 0])
    return Illustration(
        "distance",
        "Distances, median and 90 % of seeds. Near collapse L2 measures concentration, 1/(4 pi s1 s2); W2 says how far "
        "the distribution itself has gone.",
        figure,
    )


def _survival_figure(config: GMMConfig, dataset: xr.Dataset) -> Illustration:
    figure, axes = new_figure(1, 2, width=7.6)
    left, right = axes[0]
    unmet = survival_unmet(config)
    for size, label, colour in _arms(config):
        arm = dataset.sel(num_samples=size)
        reached = xr.ufuncs.isfinite(arm["em_steps"]).all("seed")
        alive = (arm["num_alive"] == config.num_components).mean("seed").where(reached)
        fits = alive["generation"].values + 1
        left.plot(fits / size, alive, color=colour, label=label)
        if not unmet:
            late = fits[fits >= size]
            left.plot(late / size, both_alive(0.5, size, late), **_LAW)
            if size <= _LARGEST_MATRIX:
                law = matrices.between(size, len(fits), least_count(config))
                left.plot(fits / size, law, color=colour, linestyle="--")
        smaller = arm["weights"].min("component")
        band(right, smaller, label, colour)
    caption = "Left: share of chains in which every component lives. Right: the smallest weight, median and 90 %."
    if unmet:
        caption += f" No law is drawn: {unmet}."
    else:
        left.plot([], [], label=r"$6w(1-w)(1-1/M)^n$, $n \geq M$", **_LAW)
        left.plot([], [], color="grey", linestyle="--", label=f"exact, death below {least_count(config)} points")
        caption += (
            " Dotted: two resampled classes, lost with their last point. Dashed: Wright and Fisher's chain, a class "
            f"dying below the {least_count(config)} points that a component needs."
        )
    left.set(title="all components alive", xlabel="fits / M", ylabel="share of seeds", ylim=(-0.03, 1.03))
    left.set_xlim(0, min(_ALL_DEAD, dataset.sizes["generation"] / min(config.num_samples)))
    right.set(title="smallest weight", xlabel="generation", ylim=(-0.01, 0.51))
    legend(left)
    return Illustration("survival", caption, figure)


def _em_figure(config: GMMConfig, dataset: xr.Dataset) -> Illustration:
    """What EM did: steps, whether it reached the tolerance, and the distance with a smaller one beside it."""
    figure, axes = new_figure(1, 3, width=9.0)
    kinds = {"": config.tol} if config.tight_tol is None else {"": config.tol, TIGHT: config.tight_tol}
    for size, label, colour in _arms(config):
        arm = dataset.sel(num_samples=size)
        for prefix, tol in kinds.items():
            named = f"{label}, tol {tol:g}"
            shade = COLOURS[(COLOURS.index(colour) + 3) % len(COLOURS)] if prefix else colour
            band(axes[0, 0], arm[f"{prefix}em_steps"], named, shade)
            share = arm[f"{prefix}converged"].mean("seed")
            axes[0, 1].plot(share["generation"], share, color=shade, label=named)
            band(axes[0, 2], _later(arm[f"{prefix}log_l2_origin"]) / math.log(10), named, shade)
    axes[0, 0].set(title=f"EM steps (at most {config.max_steps})", yscale="log", xlabel="generation")
    axes[0, 1].set(title="share of fits that converged", xlabel="generation", ylim=(-0.03, 1.03))
    axes[0, 2].set(title="log10 L2 to generation 0", xlabel="generation")
    legend(axes[0, 2])
    return Illustration(
        "em",
        "How EM ended: steps to the tolerance, fits that met it, and the published distance, in which a smaller "
        "tolerance shows EM's stopping error.",
        figure,
    )
