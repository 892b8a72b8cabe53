"""What a run of the Gaussian study says about published statements."""

import math

import xarray as xr

from collapse_jax.claims import LAW, Claim, Evidence, labelled, measured
from collapse_jax.studies.gaussian.comparison import predicted_variance
from collapse_jax.studies.gaussian.config import GaussianConfig
from collapse_jax.studies.gaussian.protocol import departure_of
from collapse_jax.theory import gaussian as exact
from collapse_jax.theory import limits

_SHUMAILOV, _SURESH = "Shumailov et al. 2024", "Suresh et al. 2024"
_MIN_SEEDS = 256
_HALF = (0.5, math.inf)


def squared_w2(arm: xr.Dataset) -> xr.DataArray:
    """Return W2^2 to N(0, 1): mean^2 + (sigma - 1)^2."""
    return arm["mean"] ** 2 + (xr.ufuncs.exp(arm["log_variance"] / 2) - 1) ** 2


def evidence(config: GaussianConfig, dataset: xr.Dataset) -> list[Evidence]:
    """Return what the run says about each claim, for each M and each regime."""
    gathered = []
    for size in config.num_samples:
        gathered += _walk_evidence(config, dataset.sel(num_samples=size), size)
    if "regime_log_variance" in dataset:
        gathered += _regime_evidence(config, dataset)
    # every seed draws real data of its own, so nothing is shared
    return [labelled(item, departure_of(config, item.claim.source), otherwise=LAW) for item in gathered]


def _walk_evidence(config: GaussianConfig, arm: xr.Dataset, size: int) -> list[Evidence]:
    """The exact drift; the 3/2 rule; when the spread is gone; whether paths diverge."""
    ddof = 1 if config.estimator == "unbiased" else 0
    few = max(size // 10, 1)
    bound = float(exact.small_std_bound(0.1, config.generations, size))
    grown = lambda g: squared_w2(_at(arm, g)) > 1.1 * squared_w2(_at(arm, g // 2))  # noqa: E731
    unbiased = "" if ddof else "stated for the unbiased variance"
    last = int(xr.ufuncs.isfinite(arm["log_variance"]).all("seed").sum()) - 1
    return [
        measured(
            Claim(
                f"drift-M{size}",
                f"M={size}: after {few} fits the mean log variance is {few} (psi((M-1)/2) - log((M-ddof)/2)), "
                "to 0.1 nats.",
                "exact law", (-0.1, 0.1), "mean", _MIN_SEEDS,
            ),
            few - 1, last,
            lambda g: _at(arm, g)["log_variance"] - few * float(exact.log_variance_drift(size, ddof)), LAW,
        ),
        measured(
            Claim(
                f"three-halves-M{size}",
                f"M={size}: after {few} fits E W2^2 to the truth is (3/2) n/M, to 15 %.",
                f"{_SHUMAILOV}, supplement, eq. 6", (0.85, 1.15), "mean", _MIN_SEEDS,
            ),
            few - 1, last, lambda g: squared_w2(_at(arm, g)) / (1.5 * few / size), LAW, unbiased,
        ),
        measured(
            Claim(
                f"gone-in-M-M{size}",
                f"M={size}: the standard deviation has fallen to zero (below 0.1) in about M iterations.",
                f"{_SURESH}, abstract", _HALF, "share", _MIN_SEEDS,
            ),
            size, last, lambda g: _at(arm, g)["log_variance"] < 2 * math.log(0.1), LAW,
        ),
        measured(
            Claim(
                f"bound-M{size}",
                f"M={size}: P(sigma > 0.1) after {config.generations} iterations is below the bound {bound:.3g}.",
                f"{_SURESH}, Theorem 3", (-math.inf, bound), "share", _MIN_SEEDS,
            ),
            config.generations - 1, last, lambda g: _at(arm, g)["log_variance"] > 2 * math.log(0.1), LAW,
            unbiased or ("" if bound < 1 else f"the bound, {bound:.3g}, says nothing so early"),
        ),
        measured(
            Claim(
                f"paths-diverge-M{size}",
                f"M={size}: most chains go on moving away from the truth (W2^2 grows by 10 % from generation "
                f"{5 * size} to {10 * size}); the theorem's divergence is that of the expectation.",
                f"{_SHUMAILOV}, Theorem 3.1, read path by path", _HALF, "share", _MIN_SEEDS,
            ),
            10 * size, last, grown, LAW, unbiased,
        ),
    ]  # fmt: skip


def _regime_evidence(config: GaussianConfig, dataset: xr.Dataset) -> list[Evidence]:
    """Every regime's law, and two statements on where the variance comes to rest."""
    size, last = config.regime_samples, config.regime_generations
    early = min(last, max(size // 10, 1))
    variance = xr.ufuncs.exp(dataset["regime_log_variance"])
    gathered = [
        Evidence(
            Claim(
                f"law-{name}",
                f"M={size}, {name}: mean variance at generation {early} is 1 - G of the regime's recursion, to 10 %.",
                "identity by descent", (-0.1, 0.1), "log_mean", _MIN_SEEDS,
            ),
            variance.sel(regime=name, generation=early).values / predicted[early], LAW,
        )
        for name, predicted in predicted_variance(config).items()
    ]  # fmt: skip
    kept = variance.sel(generation=last)
    rest = 1 - float(limits.accumulate_limit(size))
    return [
        *gathered,
        Evidence(
            Claim(
                "accumulate-rests",
                f"M={size}: with all data pooled the mean variance stays above {rest - 0.05:.3f}, its limit "
                "sin(x)/x at x = pi/sqrt M less 0.05.",
                "Gerstgrasser et al. 2024; Dey and Donoho 2024", (rest - 0.05, math.inf), "mean", _MIN_SEEDS,
            ),
            kept.sel(regime="accumulate").values, LAW,
        ),
        Evidence(
            Claim(
                "original-only-delays",
                f"M={size}: fixed real data beside synthetic ones only delay collapse (mean variance below half at "
                f"generation {last}).",
                "Alemohammad et al. 2023 find this for deep networks", (-math.inf, 0.5), "mean", _MIN_SEEDS,
            ),
            kept.sel(regime="original added").values, LAW,
        ),
    ]  # fmt: skip


def _at(arm: xr.Dataset, generation: int) -> xr.Dataset:
    return arm.sel(generation=generation)
