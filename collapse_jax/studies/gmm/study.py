"""The mixture study: build the chains, draw the figures, gather the evidence.

Reference: Shumailov et al. (2024), the Gaussian mixture experiment; what is exact protocol and what an
analogue is said beside each claim.
"""

import math

import jax
import numpy as np
import xarray as xr

from collapse_jax.chain import build_chain
from collapse_jax.claims import ANALOGUE, EXACT, Claim, Evidence, measured
from collapse_jax.datasets.synthetic import GaussianMixture, single_cloud, two_gaussians
from collapse_jax.models.mixture import mixture, mixture_metrics
from collapse_jax.plots import COLOURS, band, legend, mixture_snapshots, new_figure
from collapse_jax.studies.gmm.config import GMMConfig
from collapse_jax.studies.mixing import named_regime
from collapse_jax.studies.plan import Arm, Illustration, Plan
from collapse_jax.theory import replace_variance, replace_variance_error

SNAPSHOTS = (0, 50, 100, 200, 350, 2000)
_PUBLISHED_GENERATION = 2050
_PUBLISHED_L2 = {500: 7e2, 1000: 2e2, 10_000: 0.4, 50_000: 1e-3}  # read by eye off a plot
_PUBLISHED_STDS = (0.0100, 0.0112)  # one printed run, M = 1000
_HELD_OUT_STREAM = 0x4E4C4C  # a stream of its own, away from the chains' seeds


def build(config: GMMConfig) -> Plan:
    """Return the chains of the study, one arm for each M, checked.

    Raises:
        ValueError: a field out of range.
    """
    truth = _truth(config)
    held_key = jax.random.fold_in(jax.random.key(config.seed), _HELD_OUT_STREAM)
    held_out = truth.sample(held_key, config.held_out).x if config.held_out else None
    model = mixture(
        config.num_components, start=config.start, tol=config.tol, max_steps=config.max_steps,
        ridge=config.ridge, ridge_size=config.ridge_size,
    )  # fmt: skip
    if not config.num_samples:
        raise ValueError("`num_samples` must name at least one M; for example --num-samples 100 1000.")
    metrics = mixture_metrics(truth, held_out)
    arms = []
    for num_samples in config.num_samples:
        regime = named_regime(
            config.regime, real_fraction=config.real_fraction, window_size=config.window_size,
            num_samples=num_samples, generations=config.generations,
        )  # fmt: skip
        arms.append(
            Arm(num_samples, build_chain(model, regime, truth.sampler(num_samples), num_samples, metrics))
        )
    return Plan("num_samples", tuple(arms), segment_length=50, lanes=config.lanes)


def figures(config: GMMConfig, dataset: xr.Dataset) -> list[Illustration]:
    """Return the study's figures."""
    return [_snapshot_figure(config, dataset), _variance_figure(config, dataset), _distance_figure(dataset)]


def evidence(config: GMMConfig, dataset: xr.Dataset) -> list[Evidence]:
    """Return what the run says about each published claim, for each M."""
    gathered = []
    for num_samples in config.num_samples:
        arm = dataset.sel(num_samples=num_samples)
        gathered += _collapse_evidence(config, arm, num_samples) + _published_evidence(
            config, arm, num_samples
        )
    return gathered


def _truth(config: GMMConfig) -> GaussianMixture:
    return two_gaussians(config.separation) if config.truth == "two-clusters" else single_cloud()


def _collapse_evidence(config: GMMConfig, arm: xr.Dataset, num_samples: int) -> list[Evidence]:
    """Misperceived by 50, variance lost by 2,000, and the exact law."""
    source, minimum = "Shumailov et al. 2024", 64
    published = config.truth == "two-clusters" and num_samples == 1000 and config.regime == "replace"
    label = EXACT if published and config.start == "kmeans" and config.ridge == "absolute" else ANALOGUE
    w2, log_variance = arm["w2_truth"], arm["log_total_variance"]
    misperceived = Claim(
        f"misperceived-50-M{num_samples}",
        f"M={num_samples}: by generation 50 most chains misperceive the distribution "
        "(W2 to the truth above the 99th percentile after one fit).",
        source, (0.5, math.inf), "share", minimum,
    )  # fmt: skip
    lost = Claim(
        f"variance-lost-2000-M{num_samples}",
        f"M={num_samples}: by generation 2,000 most chains have lost 99 % of the variance.",
        source, (0.5, math.inf), "share", minimum,
    )  # fmt: skip
    num_fits = _testable_fits(num_samples, arm.sizes["seed"], arm.sizes["generation"])
    law = Claim(
        f"exact-law-M{num_samples}",
        f"M={num_samples}: mean variance after {num_fits} fits is (1 - 1/M)^{num_fits} of the truth.",
        "identity by descent; exact for any number of EM steps", (-0.05, 0.05), "log_mean", minimum,
    )  # fmt: skip
    last = arm.sizes["generation"] - 1
    threshold = np.quantile(w2.sel(generation=0), 0.99)
    total = math.log(_truth(config).total_variance)
    return [
        measured(misperceived, 50, last, lambda g: w2.sel(generation=g) > threshold, label),
        measured(lost, 2000, last, lambda g: log_variance.sel(generation=g) - total < math.log(0.01), label),
        Evidence(
            law,
            np.exp(log_variance.sel(generation=num_fits - 1).values - total)
            / float(replace_variance(num_fits, num_samples)),
            EXACT if config.regime == "replace" else ANALOGUE,
            ""
            if config.regime == "replace"
            else f"the law is replace()'s, the run's regime is {config.regime}",
        ),
    ]


def _published_evidence(config: GMMConfig, arm: xr.Dataset, num_samples: int) -> list[Evidence]:
    """The published code's distance to generation 0 and the standard deviations of its printed run."""
    unmet, last = _code_protocol_unmet(config), arm.sizes["generation"] - 1
    label = ANALOGUE if unmet else EXACT
    source = "Shumailov et al. 2024, published code"
    gathered = []
    if num_samples in _PUBLISHED_L2:
        target = math.log10(_PUBLISHED_L2[num_samples])
        claim = Claim(
            f"published-l2-M{num_samples}",
            f"M={num_samples}: L2 distance to generation 0 is near {_PUBLISHED_L2[num_samples]:g} "
            "at generation 2,050 (log10).",
            source, (target - 0.3, target + 0.3), "range", 64,
        )  # fmt: skip
        measure = lambda g: arm["log_l2_origin"].sel(generation=g) / math.log(10)  # noqa: E731
        gathered.append(measured(claim, _PUBLISHED_GENERATION, last, measure, label, unmet))
    if num_samples == 1000:
        for rank, published in enumerate(_PUBLISHED_STDS):
            claim = Claim(
                f"published-std-{rank + 1}-M{num_samples}",
                f"M={num_samples}: the {('narrower', 'wider')[rank]} component's standard deviation is near "
                f"{published:.4f} at generation 2,050 (log).",
                source, (math.log(published) - 0.05, math.log(published) + 0.05), "range", 64,
            )  # fmt: skip

            def log_std(generation: int, rank: int = rank) -> np.ndarray:
                covariances = arm["covariances"].sel(generation=generation).values
                variances = np.trace(covariances, axis1=-2, axis2=-1) / covariances.shape[-1]
                return 0.5 * np.log(np.sort(variances, axis=1)[:, rank])

            gathered.append(measured(claim, _PUBLISHED_GENERATION, last, log_std, label, unmet))
    return gathered


def _code_protocol_unmet(config: GMMConfig) -> str:
    wanted = {"truth": "cloud", "start": "kmeans", "ridge": "absolute", "tol": 1e-5, "regime": "replace"}
    differing = [f"{name} = {value}" for name, value in wanted.items() if getattr(config, name) != value]
    return f"the published code has {', '.join(differing)}" if differing else ""


def _testable_fits(num_samples: int, num_seeds: int, num_generations: int) -> int:
    """Return the largest number of fits at which the mean variance is known to about 2 %."""
    fits = np.arange(1, num_generations + 1)
    small = np.asarray(replace_variance_error(fits, num_samples, num_seeds)) < 0.02
    return int(fits[small].max(initial=1))


def _snapshot_figure(config: GMMConfig, dataset: xr.Dataset) -> Illustration:
    truth = _truth(config)
    shown = [g for g in SNAPSHOTS if g < dataset.sizes["generation"]]
    arms = config.num_samples
    figure, axes = new_figure(len(arms), len(shown), width=1.75 * len(shown), height=1.6 * len(arms))
    for row, (num_samples, colour) in enumerate(zip(arms, COLOURS)):
        arm = dataset.sel(num_samples=num_samples)
        mixture_snapshots(axes[row], arm, shown, truth.means, truth.covariances, colour=colour)
        axes[row, 0].set_ylabel(f"M = {num_samples}")
    return Illustration(
        "snapshots",
        f"One chain ({config.regime}, seed 0): 2-sigma ellipses of the fitted components and points drawn from "
        "them; grey, the truth.",
        figure,
    )


def _variance_figure(config: GMMConfig, dataset: xr.Dataset) -> Illustration:
    figure, axes = new_figure(1, 1, height=3.6)
    panel = axes[0, 0]
    total = _truth(config).total_variance
    num_seeds = dataset.sizes["seed"]
    for num_samples, colour in zip(config.num_samples, COLOURS):
        ratio: xr.DataArray = (
            xr.ufuncs.exp(dataset["log_total_variance"].sel(num_samples=num_samples)) / total
        )
        band(panel, ratio, f"M = {num_samples}, {config.regime}: median, 90 % of {num_seeds} seeds", colour)
        mean = ratio.mean("seed")
        panel.plot(
            mean["generation"],
            mean,
            color=colour,
            linewidth=0.9,
            linestyle="--",
            label=f"M = {num_samples}: mean of seeds",
        )
        if config.regime == "replace":
            law = np.asarray(replace_variance(ratio["generation"].values + 1, num_samples))
            panel.plot(ratio["generation"], law, color="black", linewidth=1.1, linestyle=":", zorder=5)
    if config.regime == "replace":
        panel.plot(
            [],
            [],
            color="black",
            linestyle=":",
            linewidth=1.1,
            label=r"exact law of the expectation, $(1-1/M)^n$",
        )
    panel.set(
        yscale="log",
        xlabel="generation",
        ylabel="total variance / truth",
        xlim=(0, dataset.sizes["generation"] - 1),
    )
    legend(panel)
    return Illustration(
        "variance",
        "Total variance against generation. The expectation follows the dotted law exactly; late in a run it is "
        "carried by ever fewer seeds, so the mean of finitely many falls below it.",
        figure,
    )


def _distance_figure(dataset: xr.Dataset) -> Illustration:
    figure, axes = new_figure(1, 3, width=9.0)
    panels = {
        "log10 squared L2, to the truth": dataset["log_l2_truth"] / math.log(10),
        "log10 squared L2, to generation 0": dataset["log_l2_origin"] / math.log(10),
        "squared W2 to the truth": dataset["w2_truth"],
    }
    for panel, (title, values) in zip(axes[0], panels.items()):
        for num_samples, colour in zip(dataset["num_samples"].values, COLOURS):
            band(panel, values.sel(num_samples=num_samples), f"M = {num_samples}", colour)
        panel.set(title=title, xlabel="generation")
    legend(axes[0, 0])
    return Illustration(
        "distance",
        "Distances to the truth and to generation 0, median and 90 % of seeds. Near collapse the L2 distance "
        "measures concentration, 1/(4 pi s1 s2); W2 says how far the distribution itself has gone.",
        figure,
    )
