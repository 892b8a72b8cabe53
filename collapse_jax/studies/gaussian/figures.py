"""The figures of the Gaussian study, every one with its prediction drawn over it."""

import math

import numpy as np
import xarray as xr
from scipy import stats

from collapse_jax.analysis.plots import COLOURS, at_a_glance, legend, new_figure, plain_ticks
from collapse_jax.studies.gaussian.comparison import predicted_variance
from collapse_jax.studies.gaussian.config import GaussianConfig
from collapse_jax.studies.plan import Illustration
from collapse_jax.theory import gaussian as exact

_SHARES = (0.5, 0.1, 0.01)
_NUM_PATHS = 12


def figures(config: GaussianConfig, dataset: xr.Dataset) -> list[Illustration]:
    """Return the study's figures."""
    drawn = [_glance(config, dataset), _walk_figure(config, dataset), _survival_figure(config, dataset)]
    drawn.append(_time_figure(config, dataset))
    return [*drawn, _regime_figure(config, dataset)] if "regime_log_variance" in dataset else drawn


def _ddof(config: GaussianConfig) -> int:
    return 1 if config.estimator == "unbiased" else 0


def _glance(config: GaussianConfig, dataset: xr.Dataset) -> Illustration:
    """What the study asks: how much of the variance is left."""
    variance: dict[str, xr.DataArray] = {
        f"M = {size:,}": xr.ufuncs.exp(dataset["log_variance"].sel(num_samples=size)) for size in config.num_samples
    }
    fits = dataset["generation"].values + 1
    laws = {f"M = {size:,}": np.exp(_log_variance_quantile(0.5, fits, size, config)) for size in config.num_samples}
    figure = at_a_glance(
        variance, "variance / truth, under replace", laws=laws, law="median by the law", logarithmic=True
    )
    caption = f"Variance that is left: median and 90 % of {dataset.sizes['seed']} chains."
    return Illustration("glance", caption, figure)


def _walk_figure(config: GaussianConfig, dataset: xr.Dataset) -> Illustration:
    sizes = config.num_samples
    figure, axes = new_figure(2, len(sizes), width=2.45 * max(len(sizes), 2), height=4.2)
    for column, size in enumerate(sizes):
        arm, (upper, lower) = dataset.sel(num_samples=size), axes[:, column]
        generation = arm["generation"].values
        fits, colour = generation + 1, COLOURS[column % len(COLOURS)]
        upper.plot(generation, arm["mean"].values[:_NUM_PATHS].T, color=colour, linewidth=0.6, alpha=0.7)
        lower.plot(
            generation,
            np.exp(arm["log_variance"].values[:_NUM_PATHS].T / 2),
            color=colour,
            linewidth=0.6,
            alpha=0.7,
        )
        spread = np.sqrt(np.asarray(exact.mean_variance(fits, size, _ddof(config))))
        for sign in (-1, 1):
            upper.plot(generation, sign * spread, color="black", linewidth=1.1, linestyle="--")
        for quantile in (0.05, 0.5, 0.95):
            line = _log_variance_quantile(quantile, fits, size, config)
            lower.plot(
                generation,
                np.exp(line / 2),
                color="black",
                linewidth=1.1,
                linestyle=":" if quantile == 0.5 else "--",
            )
        upper.set_title(f"M = {size:,}")
        lower.set(yscale="log", xlabel="generation")
    axes[0, 0].set_ylabel("mean (true std = 1)")
    axes[1, 0].set_ylabel("standard deviation")
    return Illustration(
        "walks",
        f"{_NUM_PATHS} of {dataset.sizes['seed']} chains, {config.estimator} variance: without spread the mean stops "
        "walking. Dashed above: its exact standard deviation; below: median (dotted), 5 and 95 % of the law.",
        figure,
    )


def _log_variance_quantile(share: float, fits: np.ndarray, size: int, config: GaussianConfig) -> np.ndarray:
    centre = fits * float(exact.log_variance_drift(size, _ddof(config)))
    return centre + stats.norm.ppf(share) * np.sqrt(fits * float(exact.log_variance_variance(size)))


def _survival_figure(config: GaussianConfig, dataset: xr.Dataset) -> Illustration:
    figure, axes = new_figure(1, len(_SHARES), width=9.0, height=3.1)
    for panel, share in zip(axes[0], _SHARES):
        for size, colour in zip(config.num_samples, COLOURS):
            log_variance = dataset["log_variance"].sel(num_samples=size)
            generation = log_variance["generation"].values
            reached = xr.ufuncs.isfinite(log_variance).all("seed")
            alive = (log_variance > math.log(share)).mean("seed").where(reached)
            panel.plot(generation, alive, color=colour, label=f"M = {size:,}")
            law = exact.above_probability(math.log(share), generation + 1, size, _ddof(config))
            panel.plot(generation, law, color="black", linestyle=":", linewidth=1.1)
        panel.set(title=f"variance above {share:.0%}", xlabel="generation", ylim=(-0.03, 1.03))
    panel.plot([], [], color="black", linestyle=":", linewidth=1.1, label="law")
    axes[0, 0].set_ylabel("share of seeds")
    legend(axes[0, -1])
    return Illustration(
        "survival",
        "Share of chains whose variance is still above a part of the truth's. Dotted: the law of a sum of log "
        "chi-squares.",
        figure,
    )


def _time_figure(config: GaussianConfig, dataset: xr.Dataset) -> Illustration:
    """Median first passage below each threshold; a median beyond the run is not drawn."""
    figure, axes = new_figure(1, 1, width=5.2, height=3.4)
    panel, sizes = axes[0, 0], np.asarray(config.num_samples, float)
    span = np.geomspace(sizes.min() / 1.3, sizes.max() * 1.3, 50)
    for share, colour in zip(_SHARES, COLOURS):
        medians, low, high = (np.full(len(sizes), np.nan) for _ in range(3))
        for index, size in enumerate(config.num_samples):
            below = (dataset["log_variance"].sel(num_samples=size) < math.log(share)).values
            first = np.where(below.any(axis=1), below.argmax(axis=1) + 1.0, np.inf)
            for values, level in ((medians, 0.5), (low, 0.25), (high, 0.75)):
                values[index] = np.sort(first)[int(level * (len(first) - 1))]
        seen = np.isfinite(medians)
        tops = np.where(np.isfinite(high), high, dataset.sizes["generation"])
        panel.errorbar(
            sizes[seen], medians[seen], yerr=[medians[seen] - low[seen], tops[seen] - medians[seen]], fmt="o",
            color=colour, markersize=4, capsize=2, linewidth=1, label=f"below {share:.0%}",
        )  # fmt: skip
        panel.plot(span, [_median_passage(share, size, config) for size in span], color=colour, linewidth=0.9)
    panel.axhline(dataset.sizes["generation"], color="#999999", linewidth=0.8, linestyle="--")
    panel.set(xscale="log", yscale="log", xlabel="M, points in each generation", ylabel="fits")
    plain_ticks(panel.xaxis)
    legend(panel)
    return Illustration(
        "time",
        "Fits until the variance first falls below a share of the truth's: median and quartiles of seeds, and the "
        "median by the law. Grey: the end of the run, beyond which nothing is drawn.",
        figure,
    )


def _median_passage(share: float, size: float, config: GaussianConfig) -> float:
    """Return the fits after which half of all chains have been below `share`, by the law of first passage."""
    fits = np.geomspace(1, 20 * size * abs(math.log(share)), 400)  # one length, one program for all sizes
    passed = np.asarray(exact.passed_probability(math.log(share), fits, size, _ddof(config)))
    return float(np.interp(0.5, passed, fits))


def _regime_figure(config: GaussianConfig, dataset: xr.Dataset) -> Illustration:
    predicted = predicted_variance(config)
    rows = 2
    columns = -(-len(predicted) // rows)
    figure, axes = new_figure(rows, columns, width=2.1 * columns, height=4.2)
    generation = np.arange(config.regime_generations + 1)
    for panel, (name, law) in zip(axes.flat, predicted.items()):
        log_variance = dataset["regime_log_variance"].sel(regime=name, generation=generation)
        variance: xr.DataArray = xr.ufuncs.exp(log_variance)
        mean, error = variance.mean("seed"), variance.std("seed") / math.sqrt(variance.sizes["seed"])
        panel.fill_between(
            generation, mean - 2 * error, mean + 2 * error, color=COLOURS[0], alpha=0.25, linewidth=0
        )
        panel.plot(generation, mean, color=COLOURS[0], label="mean, 2 standard errors")
        panel.plot(generation, law, color="black", linestyle=":", linewidth=1.3, label="law, 1 - G")
        panel.set(ylim=(0 if law.min() < 0.8 else 0.85, 1.1))
        panel.set_title(name, fontsize=8.5)
    for panel in axes[-1]:
        panel.set_xlabel("generation")
    for panel in axes[:, 0]:
        panel.set_ylabel("variance / truth")
    legend(axes[0, 0], loc="lower left")
    return Illustration(
        "regimes",
        f"Mean variance under every regime, M = {config.regime_samples}, {dataset.sizes['seed']} seeds. Dotted: the "
        "identity-by-descent recursion, nothing fitted.",
        figure,
    )
