"""What a run of the mixture study says about published statements.

Where nothing happens, each generation is a fit to the truth: what it records has the law of generation 0.
"""

import math

import numpy as np
import xarray as xr

from collapse_jax.analysis.claims import EXACT, LAW, Claim, Evidence, labelled, measured
from collapse_jax.analysis.estimands import happened, last_reached, upper_tail
from collapse_jax.studies.gmm.config import GMMConfig
from collapse_jax.studies.gmm.paired import TIGHT
from collapse_jax.studies.gmm.protocol import (
    IDENTITY,
    PAPER,
    PUBLISHED_CODE,
    PUBLISHED_GENERATION,
    SAWTOOTH,
    SURVIVAL,
    code_unmet,
    departure_of,
    identity_unmet,
    is_law,
    survival_unmet,
    truth_of,
)
from collapse_jax.theory.ancestry import both_alive

# read by eye off a plot: lowest and highest; at the largest M a sawtooth
_PUBLISHED_L2 = {
    500: (7e2, 7e2), 1000: (2e2, 2e2), 10_000: (0.4, 0.4), 50_000: (1e-3, 1e-3), 200_000: (1e-4, 2e-2),
}  # fmt: skip
_PUBLISHED_STDS = (0.0100, 0.0112)  # one printed run, M = 1000
_SAWTOOTH = 200_000  # the M at which the published distance is a sawtooth
_MIN_SEEDS = 64
_MOST = (0.5, math.inf)
_FITS = 72  # of all seeds together, for each of the M points: with fewer, half of a loss of 1/M is below 3 errors


def evidence(config: GMMConfig, dataset: xr.Dataset) -> list[Evidence]:
    """Return what the run says about each published claim, for each M."""
    gathered = []
    for num_samples in config.num_samples:
        arm = dataset.sel(num_samples=num_samples)
        found = _collapse_evidence(config, arm, num_samples)
        found.append(_survival_evidence(config, arm, num_samples))
        found += _published_evidence(config, arm, num_samples)
        if num_samples == _SAWTOOTH or config.tight_tol is not None:
            found.append(_stopping_evidence(config, arm, num_samples))
        last = _last(arm)
        gathered += [_labelled(config, item, num_samples, last) for item in found]
    return gathered


def _labelled(config: GMMConfig, item: Evidence, num_samples: int, last: int) -> Evidence:
    """Return evidence with its label; every seed draws real data of its own, so nothing is shared."""
    source = item.claim.source
    departure = departure_of(config, source, num_samples, last)
    return labelled(item, departure, otherwise=LAW if is_law(source) else EXACT)


def _collapse_evidence(config: GMMConfig, arm: xr.Dataset, num_samples: int) -> list[Evidence]:
    """Misperceived by 50, variance lost by 2,000, and the exact law."""
    last = _last(arm)
    w2 = arm["w2_truth"]
    first = w2.sel(generation=0).values.astype(float)
    edge, chance = upper_tail(first[np.isfinite(first)], 0.01)
    misperceived = Claim(
        f"misperceived-50-M{num_samples}",
        f"M={num_samples}: by generation 50 most chains misperceive the distribution "
        f"(W2 to the truth above the 99th percentile of one fit's; by chance {chance:.2%} of chains).",
        PAPER, _MOST, "share", _MIN_SEEDS, null=chance,
    )  # fmt: skip
    log_ratio = arm["log_total_variance"] - math.log(truth_of(config).total_variance)
    # a few chains carry the mean, so it says another thing than the share
    mean = float(np.nanmean(np.exp(log_ratio.sel(generation=2000)))) if last >= 2000 else math.nan
    lost = Claim(
        f"variance-lost-2000-M{num_samples}",
        f"M={num_samples}: by generation 2,000 most chains have lost 99 % of the variance"
        + ("." if math.isnan(mean) else f" (the mean over seeds is {mean:.2g} of the truth)."),
        PAPER, _MOST, "share", _MIN_SEEDS, null=0.0,
    )  # fmt: skip

    def far(generation: int) -> np.ndarray:
        distance = w2.sel(generation=generation)
        return happened(distance, distance > edge)

    def gone(generation: int) -> np.ndarray:
        kept = log_ratio.sel(generation=generation)
        return happened(kept, kept < math.log(0.01))

    return [
        measured(misperceived, 50, last, far, EXACT),
        measured(lost, 2000, last, gone, EXACT),
        _law_evidence(config, log_ratio, num_samples, last),
    ]


def _law_evidence(config: GMMConfig, log_ratio: xr.DataArray, num_samples: int, last: int) -> Evidence:
    """The exact law, fit by fit: the mean over all fits is known far better than the variance after any number."""
    claim = Claim(
        f"exact-law-M{num_samples}",
        f"M={num_samples}: a fit keeps 1 - 1/M of the variance that its points were drawn with (M times the mean loss "
        "over all fits and seeds is 1, to a half).",
        IDENTITY, (0.5, 1.5), "mean", _MIN_SEEDS, null=0.0,
    )  # fmt: skip
    truth = truth_of(config)
    # an absolute ridge is added to every direction after the fit
    added = config.ridge_size * truth.means.shape[1] if config.ridge == "absolute" else 0.0

    def loss(generation: int) -> np.ndarray:
        reached = log_ratio.sel(generation=slice(0, generation)).transpose("seed", "generation").values
        logs = np.concatenate([np.zeros((len(reached), 1)), reached], axis=1)  # generation 0's are drawn from the truth
        kept = np.exp(np.diff(logs)) - added / truth.total_variance * np.exp(-logs[:, :-1])
        return num_samples * (1 - kept.mean(axis=1))

    fits, needed = log_ratio.sizes["seed"] * (last + 1), _FITS * num_samples
    unmet = f"needs {needed:,} fits over all seeds, the run has {fits:,}" if fits < needed else ""
    item = measured(claim, last, last, loss, LAW, identity_unmet(config, num_samples) or unmet)
    return item._replace(lacks={"fits": needed}) if unmet and item.unmet == unmet else item


def _survival_evidence(config: GMMConfig, arm: xr.Dataset, num_samples: int) -> Evidence:
    """The second component lives as long as one of two classes that are resampled."""
    law = float(both_alive(0.5, num_samples, num_samples))
    claim = Claim(
        f"both-alive-M{num_samples}",
        f"M={num_samples}: after {num_samples} fits both components live in the share of chains that "
        f"6 w (1-w) (1-1/M)^n gives, {law:.3f}, to 40 % of it.",
        SURVIVAL, (0.6 * law, 1.4 * law), "share", _MIN_SEEDS, null=1.0,
    )  # fmt: skip

    def alive(generation: int) -> np.ndarray:
        now = arm.sel(generation=generation)
        return happened(now["log_total_variance"], now["num_alive"] == 2)  # a count is never NaN

    return measured(claim, num_samples - 1, _last(arm), alive, LAW, survival_unmet(config))


def _published_evidence(config: GMMConfig, arm: xr.Dataset, num_samples: int) -> list[Evidence]:
    """The published code's distance to generation 0 and the standard deviations of its printed run."""
    unmet, last = code_unmet(config), _last(arm)
    gathered = []
    if num_samples in _PUBLISHED_L2:
        low, high = _PUBLISHED_L2[num_samples]
        where = f"near {low:g}" if low == high else f"between {low:g} and {high:g}"
        claim = Claim(
            f"published-l2-M{num_samples}",
            f"M={num_samples}: L2 distance to generation 0 is {where} at generation 2,050 (log10, to 0.3).",
            PUBLISHED_CODE, (math.log10(low) - 0.3, math.log10(high) + 0.3), "range", _MIN_SEEDS, null=_start(arm),
        )  # fmt: skip
        measure = lambda g: arm["log_l2_origin"].sel(generation=g) / math.log(10)  # noqa: E731
        gathered.append(measured(claim, PUBLISHED_GENERATION, last, measure, EXACT, unmet))
    if num_samples == 1000:
        for rank, published in enumerate(_PUBLISHED_STDS):
            claim = Claim(
                f"published-std-{rank + 1}-M{num_samples}",
                f"M={num_samples}: the {('narrower', 'wider')[rank]} component's standard deviation is near "
                f"{published:.4f} at generation 2,050 (log).",
                PUBLISHED_CODE, (math.log(published) - 0.05, math.log(published) + 0.05), "range", _MIN_SEEDS,
                null=math.log(truth_of(config).total_variance / 2) / 2,
            )  # fmt: skip

            def log_std(generation: int, rank: int = rank) -> np.ndarray:
                covariances = arm["covariances"].sel(generation=generation).values
                variances = np.trace(covariances, axis1=-2, axis2=-1) / covariances.shape[-1]
                return 0.5 * np.log(np.sort(variances, axis=1)[:, rank])

            gathered.append(measured(claim, PUBLISHED_GENERATION, last, log_std, EXACT, unmet))
    return gathered


def _stopping_evidence(config: GMMConfig, arm: xr.Dataset, num_samples: int) -> Evidence:
    """EM that stops early leaves the mixture further from generation 0 than EM that goes on, seed by seed."""
    tight, last = config.tight_tol, _last(arm)
    claim = Claim(
        f"stopping-error-M{num_samples}",
        f"M={num_samples}: the distance to generation 0 holds EM's stopping error (mean over generations of log L2 "
        f"at tolerance {config.tol:g} less log L2 at {tight or 1e-8:g} on the same seeds, above 0).",
        SAWTOOTH, (0.0, math.inf), "mean", 8, null=0.0,
    )  # fmt: skip
    resolution = 4 * float(np.finfo(arm["log_l2_origin"].dtype).eps)  # of a log-likelihood of 2 to 4 nats
    unmet = ""
    if tight is None:
        unmet = "needs a second tolerance on the same seeds: --tight-tol 1e-8"
    elif tight < resolution:
        unmet = f"a change of {tight:g} nats is below this precision's {resolution:.1g}: set JAX_ENABLE_X64=1"

    def excess(generation: int) -> np.ndarray:
        later = arm.sel(generation=slice(1, generation))
        return (later["log_l2_origin"] - later[f"{TIGHT}log_l2_origin"]).mean("generation", skipna=False).values

    return measured(claim, last, last, excess, EXACT, unmet)


def _last(arm: xr.Dataset) -> int:
    """Return the last generation that this arm reached; an interrupted run may hold more of another."""
    return last_reached(arm["log_total_variance"])


def _start(arm: xr.Dataset) -> float:
    """Return log10 of the distance to generation 0 after one generation: what it stays at if nothing happens."""
    if arm.sizes["generation"] < 2:
        return math.nan
    return float(arm["log_l2_origin"].sel(generation=1).median()) / math.log(10)
