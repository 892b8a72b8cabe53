"""Laws of regimes: E Var = 1 - G and Var mean = G, by the identity-by-descent recursions, and where they rest."""

from collections.abc import Callable
from typing import Any

import numpy as np

from collapse_jax import theory
from collapse_jax.core.chain import build_chain
from collapse_jax.core.combine import vmap_chain
from collapse_jax.core.protocol import Chain, Regime
from collapse_jax.core.regimes import (
    accumulate,
    add_real,
    compose,
    fresh,
    original,
    replace,
    replace_with_real,
    subsample,
    weight_real,
    window,
)
from collapse_jax.core.statistics import Moments, moments_of
from collapse_jax.models.gaussian import gaussian, gaussian_metrics, gaussian_statistics, gaussian_truth
from collapse_jax.selfcheck.laws.checks import Check, check, check_exact
from collapse_jax.selfcheck.laws.running import Records
from collapse_jax.theory import gaussian as exact
from collapse_jax.theory import limits
from collapse_jax.types import ArrayLike, Key

_SIZE, _GENERATIONS, _POINT_GENERATIONS = 20, 16, 12
_GROWING = tuple(20 + 15 * batch for batch in range(_GENERATIONS + 1))
_BIASES = (1.0, 0.8)
_METRICS = (gaussian_metrics()[0], gaussian_metrics()[2])


def statistic_chains() -> dict[str, Chain]:
    """Return regimes that never look at single points, on exact statistics."""
    model, real = gaussian_statistics(1, estimator="mle"), _real(_SIZE)
    return {
        name: build_chain(model, regime, real, _GROWING if "growing" in name else _SIZE, _METRICS)
        for name, (regime, _) in _of_statistics().items()
    } | _unbiased_chains()


def statistic_laws(records: Records) -> list[Check]:
    """Both moments after sixteen generations, and limits."""
    identities = {name: identity for name, (_, identity) in _of_statistics().items()}
    at_rest = {"add 7 fresh": limits.fresh_counts_limit(7, _SIZE)}
    return _both_moments(records, identities, "statistics") + _at_rest(records, at_rest) + _unbiased_laws(records)


def point_chains() -> dict[str, Chain]:
    """Return regimes that choose single points."""
    model, real = gaussian(1, estimator="mle"), gaussian_truth(1).sampler(_SIZE)
    return {
        name: build_chain(model, regime, real, _SIZE, _METRICS) for name, (regime, _) in _of_points().items()
    }


def point_laws(records: Records) -> list[Check]:
    """Both moments after twelve generations, and limits."""
    at_rest = {
        "add original": limits.add_original_limit(_SIZE, _SIZE),
        "replace 30 % by fresh": limits.fresh_fraction_limit(_SIZE, 0.3),
    }
    return [
        *_both_moments(records, {name: identity for name, (_, identity) in _of_points().items()}, "points"),
        *_at_rest(records, at_rest),
        *_limits(),
    ]


def _of_statistics() -> dict[str, tuple[Regime, Any]]:
    g, m, fresh_moments = _GENERATIONS, _SIZE, fresh(gaussian_truth(1).moments)
    return {
        "window of 3": (window(3), theory.ibd_window(g, m, 3)),
        "add 7 fresh": (add_real(fresh_moments, count=7), theory.ibd_fresh_counts(g, m, 7, m)),
        "weight 0.3 on original": (weight_real(original(), weight=0.3), theory.ibd_weight_original(g, m, 0.3, m)),
        "weight 0.3 on fresh": (
            weight_real(fresh_moments, weight=0.3, count=m), theory.ibd_weight_fresh(g, m, 0.3, m, m),
        ),
        "accumulate growing batches": (accumulate(g), theory.ibd_accumulate(g, m, np.array(_GROWING[:g]))),
    }  # fmt: skip


def _of_points() -> dict[str, tuple[Regime, Any]]:
    g, m, sample = _POINT_GENERATIONS, _SIZE, gaussian_truth(1).sample
    return {
        "replace": (replace(), theory.ibd_replace(g, m, m)),
        "accumulate, subsample": (compose(accumulate(g), subsample(m)), theory.ibd_accumulate_subsample(g, m)),
        "replace 5 by original": (replace_with_real(original(), count=5), theory.ibd_original_counts(g, m, m, 5)),
        "replace 30 % by original": (
            replace_with_real(original(), fraction=0.3), theory.ibd_original_fraction(g, m, m, 0.3),
        ),
        "replace 30 % by fresh": (
            replace_with_real(fresh(sample), fraction=0.3), theory.ibd_fresh_fraction(g, m, m, 0.3),
        ),
        "add original": (add_real(original()), theory.ibd_add_original(g, m, m)),
    }  # fmt: skip


def _both_moments(records: Records, identities: dict[str, Any], draws: str) -> list[Check]:
    checks = []
    for name, identity in identities.items():
        variance = np.exp(records[name]["log_total_variance"][:, -1].astype(float))
        mean, section = records[name]["mean"][:, -1, 0].astype(float), f"regimes, {draws}"
        checks += [
            check(section, f"{name}: E v", variance, 1 - identity[-1]),
            check(section, f"{name}: E mu^2", mean**2, identity[-1]),
        ]
    return checks


def _at_rest(records: Records, at_rest: dict[str, Any]) -> list[Check]:
    """Regimes that forget within some ten generations have come to their limits."""
    return [
        check("regimes, at rest", f"{name}: E mu^2", records[name]["mean"][:, -1, 0].astype(float) ** 2, limit)
        for name, limit in at_rest.items()
    ]


def _limits() -> list[Check]:
    """Recursions run to their end, against the closed forms of their limits, and against each other."""
    section, m, large = "regimes, recursion to its limit", _SIZE, 10_000
    return [
        check_exact(section, "accumulate", theory.ibd_accumulate(large, m, m)[-1], limits.accumulate_limit(m),
                    allowance=1 / (m * large)),
        check_exact(section, "accumulate-subsample, M G*", large * theory.ibd_accumulate_subsample(large, large)[-1],
                    limits.subsample_limit(), allowance=2e-3),
        check_exact(section, "replace 5 by original", theory.ibd_original_counts(200, m, m, 5)[-1],
                    limits.original_counts_limit(m, m, 5)),
        check_exact(section, "add 7 fresh, mle: Var mu = G", exact.fresh_mix(12, 7, m, 1.0, 0)[0][-1],
                    theory.ibd_fresh_counts(12, m + 7, 7, m)[-1]),
    ]  # fmt: skip


def _unbiased_chains() -> dict[str, Chain]:
    """Return chains of the unbiased variance under accumulation, and fed with 7 fresh points beside 20."""
    feed = add_real(fresh(gaussian_truth(1).moments), count=7)

    def fed(bias: ArrayLike) -> Chain:
        return build_chain(gaussian_statistics(1, bias=bias), feed, _real(_SIZE + 7), _SIZE, _METRICS)

    pooled = gaussian_statistics(1)
    return {
        "accumulate": build_chain(pooled, accumulate(_GENERATIONS), _real(_SIZE), _SIZE, _METRICS),
        "fed": vmap_chain(fed, _BIASES, "bias"),
    }


def _real(size: int) -> Callable[[Key], Moments]:
    """Return the function key -> the moments of `size` points of N(0, 1)."""
    return lambda key: moments_of(gaussian_truth(1).sample(key, size))


def _unbiased_laws(records: Records) -> list[Check]:
    g, m, section = _GENERATIONS, _SIZE, "regimes, unbiased"
    pooled, fed = records["accumulate"], records["fed"]
    spread, wander = exact.accumulate_unbiased(g + 1, m)
    cases = [("accumulate", pooled["log_total_variance"][:, -1], pooled["mean"][:, -1, 0], wander, spread)]
    for index, bias in enumerate(_BIASES):
        means, variances = exact.fresh_mix(g, 7, m, bias, 1)
        logs, mean = fed["log_total_variance"][:, -1, index], fed["mean"][:, -1, index, 0]
        cases.append((f"add 7 fresh, bias {bias}", logs, mean, means[-1], variances[-1]))
    return [
        check(section, f"{name}: {what}", values, predicted)
        for name, logs, mean, wander, spread in cases
        for what, values, predicted in (
            ("E v", np.exp(logs.astype(float)), spread), ("E mu^2", mean.astype(float) ** 2, wander),
        )
    ]  # fmt: skip
