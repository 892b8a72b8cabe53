"""Laws of regimes: E Var = 1 - G and Var mean = G, by the identity-by-descent recursions."""

import numpy as np

from collapse_jax import theory
from collapse_jax.chain import Model, Regime, build_chain
from collapse_jax.laws.checks import Check, check, run_all
from collapse_jax.models.gaussian import gaussian, gaussian_metrics, gaussian_truth
from collapse_jax.regimes import (
    accumulate,
    add,
    compose,
    fresh,
    original,
    replace,
    replace_part,
    subsample,
    weight_real,
    window,
)
from collapse_jax.types import Array, Key

_SIZE, _GENERATIONS = 20, 12


def from_statistics(key: Key, effort: float) -> list[Check]:
    """Regimes that never look at single points, from exact statistics."""
    truth = gaussian_truth(1)
    g, m = _GENERATIONS, _SIZE
    regimes = {
        "replace": (replace(), theory.ibd_replace(g, m, m)),
        "accumulate": (accumulate(g), theory.ibd_accumulate(g, m, m)),
        "window of 3": (window(3), theory.ibd_window(g, m, 3)),
        "add original": (add(original()), theory.ibd_add_original(g, m, m)),
        "add 7 fresh": (add(fresh(truth.moments), count=7), theory.ibd_fresh_counts(g, m, 7, m)),
        "weight 0.3 on original": (weight_real(original(), weight=0.3), theory.ibd_weight_original(g, m, 0.3, m)),
        "weight 0.3 on fresh": (
            weight_real(fresh(truth.moments), weight=0.3, count=m), theory.ibd_weight_fresh(g, m, 0.3, m, m),
        ),
    }  # fmt: skip
    model = gaussian(1, estimator="mle", draws="statistics")
    return _both_moments(model, truth.moments_sampler(m), regimes, key, int(60_000 * effort), "statistics")


def from_points(key: Key, effort: float) -> list[Check]:
    """Regimes that choose single points."""
    truth = gaussian_truth(1)
    g, m = _GENERATIONS, _SIZE
    regimes = {
        "replace": (replace(), theory.ibd_replace(g, m, m)),
        "accumulate, subsample": (compose(accumulate(g), subsample(m)), theory.ibd_accumulate_subsample(g, m)),
        "replace 5 by original": (replace_part(original(), count=5), theory.ibd_original_counts(g, m, m, 5)),
        "replace 30 % by original": (
            replace_part(original(), fraction=0.3), theory.ibd_original_fraction(g, m, m, 0.3),
        ),
        "replace 30 % by fresh": (
            replace_part(fresh(truth.sample), fraction=0.3), theory.ibd_fresh_fraction(g, m, m, 0.3),
        ),
        "add original": (add(original()), theory.ibd_add_original(g, m, m)),
    }  # fmt: skip
    model = gaussian(1, estimator="mle")
    return _both_moments(model, truth.sampler(m), regimes, key, int(30_000 * effort), "points")


def _both_moments(
    model: Model, real: object, regimes: dict[str, tuple[Regime, Array]], key: Key, runs: int, draws: str
) -> list[Check]:
    chains = {
        name: build_chain(model, regime, real, _SIZE, gaussian_metrics())  # type: ignore[arg-type]
        for name, (regime, _) in regimes.items()
    }
    records = run_all(chains, key, runs, _GENERATIONS)
    checks = []
    for name, (_, identity) in regimes.items():
        variance = np.exp(records[name]["log_total_variance"][:, -1].astype(float))
        mean, section = records[name]["mean"][:, -1, 0], f"regimes, {draws}"
        checks += [
            check(section, f"{name}: E v", variance, 1 - identity[-1]),
            check(section, f"{name}: E mu^2", mean**2, identity[-1]),
        ]
    return checks
