"""What a run of the Gaussian study says about published statements.

Where nothing happens, model 0 is refitted to the truth in every generation: a log variance of 0, and the squared
distance of one fit.
"""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import xarray as xr

from collapse_jax.analysis.claims import LAW, Claim, Evidence, labelled, measured
from collapse_jax.analysis.estimands import happened, last_reached
from collapse_jax.studies.gaussian.comparison import predicted_variance
from collapse_jax.studies.gaussian.config import GaussianConfig
from collapse_jax.studies.gaussian.protocol import departure_of
from collapse_jax.theory import gaussian as exact
from collapse_jax.theory import limits

_SHUMAILOV, _SURESH = "Shumailov et al. 2024", "Suresh et al. 2024"
_MIN_SEEDS = 256
_HALF = (0.5, math.inf)
_STANDARD_ERRORS = 3  # that half of an effect must measure, for seeds to tell it from nothing
_LEAST_HITS = 10  # seeds expected at a bound on a share, for fewer to be seen


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
    log_variance, distance = arm["log_variance"], squared_w2(arm)
    unbiased = "" if config.estimator == "unbiased" else "stated for the unbiased variance"
    last = last_reached(log_variance)
    above = lambda g: _at(log_variance, g) > 2 * math.log(0.1)  # noqa: E731
    seen = lambda condition, g: happened(_at(log_variance, g), condition)  # noqa: E731
    bound = float(exact.small_std_bound(0.1, config.generations, size))
    small = measured(
        Claim(
            f"bound-M{size}",
            f"M={size}: P(sigma > 0.1) after {config.generations} iterations is below the bound {bound:.3g}.",
            f"{_SURESH}, Theorem 3", (-math.inf, bound), "share", _MIN_SEEDS, null=1.0,
        ),
        config.generations - 1, last, lambda g: seen(above(g), g), LAW,
        unbiased or _bound_unmet(bound, arm.sizes["seed"]),
    )  # fmt: skip
    return [
        _drift(config, log_variance, size, last),
        _three_halves(distance, size, last, unbiased),
        measured(
            Claim(
                f"gone-in-M-M{size}",
                f"M={size}: the standard deviation has fallen to zero (below 0.1) in about M iterations.",
                f"{_SURESH}, abstract", _HALF, "share", _MIN_SEEDS, null=0.0,
            ),
            size, last, lambda g: seen(~above(g), g), LAW,
        ),
        _too_early(small, config) if bound >= 1 and not unbiased else small,
        _divergence(distance, size, last, unbiased),
    ]  # fmt: skip


def _drift(config: GaussianConfig, log_variance: xr.DataArray, size: int, last: int) -> Evidence:
    """The exact law of the log variance, against a spread that stays."""
    ddof = 1 if config.estimator == "unbiased" else 0
    fits = min(size, config.generations + 1)
    expected = fits * float(exact.log_variance_drift(size, ddof))
    claim = Claim(
        f"drift-M{size}",
        f"M={size}: after {fits} fits the mean log variance is {fits} (psi((M-1)/2) - log((M-ddof)/2)) = "
        f"{expected:.3g}, to half of it.",
        "exact law", (-abs(expected) / 2, abs(expected) / 2), "mean", _MIN_SEEDS, null=-expected,
    )  # fmt: skip
    error = math.sqrt(fits * float(exact.log_variance_variance(size)) / log_variance.sizes["seed"])
    unmet = ""
    if abs(expected) / 2 < _STANDARD_ERRORS * error:
        unmet = f"{fits} fits move it by {expected:.2g}, which these seeds know to {error:.2g}: needs more of either"
    item = measured(claim, fits - 1, last, lambda g: _at(log_variance, g) - expected, LAW, unmet)
    return _too_early(item, config) if unmet else item


def _three_halves(distance: xr.DataArray, size: int, last: int, unmet: str) -> Evidence:
    """The first order of the distance to the truth, against the distance of one fit."""
    few = size // 10
    claim = Claim(
        f"three-halves-M{size}",
        f"M={size}: after {few} fits E W2^2 to the truth is (3/2) n/M, to 25 %.",
        f"{_SHUMAILOV}, supplement, eq. 6", (0.75, 1.25), "mean", _MIN_SEEDS, null=1 / max(few, 1),
    )  # fmt: skip
    if few < 2:
        unmet = "of the first order in n/M; a tenth of M is one fit at most"
    return measured(claim, few - 1, last, lambda g: _at(distance, g) / (1.5 * few / size), LAW, unmet)


def _divergence(distance: xr.DataArray, size: int, last: int, unmet: str) -> Evidence:
    """Path by path: of two distances of one law the later is the larger in half of the chains at most."""
    early, late = 5 * size, 10 * size
    claim = Claim(
        f"paths-diverge-M{size}",
        f"M={size}: most chains go on moving away from the truth (W2^2 grows by 10 % from generation {early} to "
        f"{late}); the theorem's divergence is that of the expectation.",
        f"{_SHUMAILOV}, Theorem 3.1, read path by path", _HALF, "share", _MIN_SEEDS, null=0.5,
    )  # fmt: skip

    def grown(generation: int) -> np.ndarray:
        before, after = (_at(distance, g) for g in (early, generation))
        return happened(before + after, after > 1.1 * before)

    return measured(claim, late, last, grown, LAW, unmet)


def _bound_unmet(bound: float, num_seeds: int) -> str:
    if bound >= 1:
        return f"the bound, {bound:.3g}, says nothing so early"
    if bound * num_seeds < _LEAST_HITS:
        needed = f"needs {_LEAST_HITS / bound:.3g}" if bound else "no number would"
        return f"{num_seeds} seeds do not tell 0 from the bound, {bound:.2g}: {needed}"
    return ""


def _too_early(item: Evidence, config: GaussianConfig) -> Evidence:
    """Return evidence of which a longer run would have more."""
    return item._replace(lacks={"generations": config.generations + 1})


def _regime_evidence(config: GaussianConfig, dataset: xr.Dataset) -> list[Evidence]:
    """Every regime's law, and two statements on where the variance comes to rest."""
    size, last = config.regime_samples, config.regime_generations
    log_variance = dataset["regime_log_variance"]
    reached = last_reached(log_variance)
    variance = lambda name, g: np.exp(log_variance.sel(regime=name, generation=g).values.astype(float))  # noqa: E731
    predicted = predicted_variance(config)
    gathered = [_law(name, predicted, size, reached, partial(variance, name)) for name in predicted]
    rest = 1 - float(limits.accumulate_limit(size))
    alone = float(predicted["replace"][last])
    pooled = Claim(
        "accumulate-rests",
        f"M={size}: with all data pooled the mean variance stays above {rest - 0.1:.3f}, its limit sin(x)/x at "
        f"x = pi/sqrt M less 0.1, where replace() leaves {alone:.3f}.",
        "Gerstgrasser et al. 2024; Dey and Donoho 2024", (rest - 0.1, math.inf), "mean", _MIN_SEEDS, null=alone,
    )  # fmt: skip
    delayed = Claim(
        "original-only-delays",
        f"M={size}: fixed real data beside synthetic ones only delay collapse (mean variance below half at generation "
        f"{last}).",
        "Alemohammad et al. 2023 find this for deep networks", (-math.inf, 0.5), "mean", _MIN_SEEDS, null=1.0,
    )  # fmt: skip
    early = f"so early replace() leaves {alone:.2f}, too" if alone > 0.5 else ""
    slow = measured(delayed, last, reached, lambda g: variance("original added", g), LAW, early)
    return [
        *gathered,
        measured(pooled, last, reached, lambda g: variance("accumulate", g), LAW),
        _too_early(slow, config) if early else slow,
    ]


def _law(
    name: str, predicted: dict[str, np.ndarray], size: int, reached: int, variance: Callable[[int], np.ndarray]
) -> Evidence:
    """One regime's mean variance, against a variance that stays or, where it about does, against replace()'s."""
    generation = min(len(predicted[name]) - 1, max(size // 2, 1))
    law, alone = (math.log(predicted[each][generation]) for each in (name, "replace"))
    stays = law > -0.2
    width = 0.1 if stays else -law / 2
    claim = Claim(
        f"law-{name}",
        f"M={size}, {name}: mean variance at generation {generation} is 1 - G of the regime's recursion, "
        f"{math.exp(law):.3f}, to {width:.2g} (log).",
        "identity by descent", (-width, width), "log_mean", _MIN_SEEDS, null=(alone if stays else 0.0) - law,
    )  # fmt: skip
    return measured(claim, generation, reached, lambda g: variance(g) / math.exp(law), LAW)


def _at(values: xr.DataArray, generation: int) -> np.ndarray:
    return values.sel(generation=generation).values
