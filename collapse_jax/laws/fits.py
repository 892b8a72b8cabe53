"""Laws of fits that are not one formula: linear regression, and mixtures by EM."""

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.chain import build_chain
from collapse_jax.datasets.synthetic import two_gaussians
from collapse_jax.laws.checks import Check, check, run_all
from collapse_jax.models.mixture import mixture, mixture_metrics
from collapse_jax.models.regression import normal_equations, regression, regression_truth, risk_metric
from collapse_jax.regimes import accumulate, replace
from collapse_jax.theory import regression as exact
from collapse_jax.theory import replace_variance
from collapse_jax.types import Array, Key


def regressions(key: Key, effort: float) -> list[Check]:
    """Five coefficients from thirty rows, and twelve from six."""
    rows, dim, fits, runs = 30, 5, 5, int(20_000 * effort)
    few, wide = 6, 12
    known, long = jnp.ones(dim) / jnp.sqrt(dim), jnp.ones(wide) / jnp.sqrt(wide)
    draw, draw_wide = regression_truth(known), regression_truth(long, 0.5)

    def ols(design: str, regime: object) -> object:
        real = lambda key: draw(key, rows)  # noqa: E731
        return build_chain(regression(dim, design=design), regime, real, rows, (risk_metric(known),))  # type: ignore[arg-type]

    def min_norm(design: str) -> object:
        model = regression(wide, noise=0.5, estimator="min-norm", design=design)
        return build_chain(model, replace(), lambda key: draw_wide(key, few), few, (risk_metric(long),))

    ridge = regression(dim, estimator="ridge", penalty=0.5)
    shrinkage = _shrinkage(jax.random.fold_in(key, 1), known, rows, 0.5)
    chains = {
        "ridge, fresh": build_chain(
            ridge, replace(), lambda key: draw(key, rows), rows, (risk_metric(known),)
        ),
        "replace, fresh": ols("fresh", replace()),
        "replace, same": ols("same", replace()),
        "accumulate, fresh": ols("fresh", accumulate(fits - 1)),
        "accumulate, same": ols("same", accumulate(fits - 1)),
        "min-norm, fresh": min_norm("fresh"),
        "min-norm, same": min_norm("same"),
    }
    records = run_all(chains, key, runs, fits - 1)  # type: ignore[arg-type]
    predicted = {
        "ridge, fresh": exact.ridge_risk(fits, shrinkage, 1.0),
        "replace, fresh": exact.replace_risk(fits, rows, dim),
        "replace, same": exact.replace_risk(fits, rows, dim),
        "accumulate, fresh": exact.accumulate_fresh_risk(fits, rows, dim),
        "accumulate, same": exact.accumulate_same_risk(fits, rows, dim),
        "min-norm, fresh": exact.min_norm_fresh_risk(fits, few, wide, 1.0, 0.5),
        "min-norm, same": exact.min_norm_same_risk(fits, few, wide, 1.0, 0.5),
    }
    return [
        check("regression", f"{name}: E |w_n - w|^2", records[name]["test_error"][:, -1], predicted[name])
        for name in chains
    ]


def _shrinkage(key: Key, known: Array, rows: int, penalty: float) -> tuple[float, float, float]:
    """Return a, b, v of `ridge_risk` at this size, from 100,000 drawn designs: known to 0.1 %."""
    draws = jax.jit(jax.vmap(lambda key: normal_equations(key, rows, known).values.gram))
    grams = np.asarray(draws(jax.random.split(key, 100_000)), np.float64) / rows
    spectrum = np.linalg.eigvalsh(grams)
    kept = spectrum / (spectrum + penalty)
    noise = (spectrum / (spectrum + penalty) ** 2).sum(axis=1) / rows
    return float(kept.mean()), float((kept**2).mean()), float(noise.mean())


def mixtures(key: Key, effort: float) -> list[Check]:
    """Two components at M = 50, warm EM: the moment law holds whatever EM does."""
    size, fits, runs, truth = 50, 10, int(6_000 * effort), two_gaussians()
    metrics = [m for m in mixture_metrics(truth) if m.name in ("log_total_variance", "mean_error")]
    chain = build_chain(mixture(2), replace(), truth.sampler(size), size, metrics)
    record = run_all({"mixture": chain}, key, runs, fits - 1)["mixture"]
    log_v = record["log_total_variance"].astype(float)
    ratio = np.exp(log_v) / truth.total_variance
    squared_mean = record["mean_error"][:, -1].astype(float) ** 2
    kept = float(replace_variance(fits, size))
    one = np.exp(log_v[:, -1] - log_v[:, -2])
    return [
        check("mixture, replace", "one step: E[tr C'/tr C | C] = 1 - 1/M", one, 1 - 1 / size),
        check("mixture, replace", "E tr C_n", ratio[:, -1], kept),
        check("mixture, replace", "E |mean_n|^2", squared_mean, truth.total_variance * (1 - kept)),
    ]
