"""The same laws at a million and a billion points, in whatever precision users run: float32 by default.

A generation then changes the variance by a millionth, or a ten-thousandth, of itself, and drift is far below noise.
So everything is measured in standard deviations of a single chain: a path must have mean 0 and variance 1 in that
unit, and paths of both sizes, which share their randomness, must be the same. To first order in 1/M the log variance
obeys the recursion of the mean: Var mu_n = G_n and Var log v_n = 2 G_n, E log v_n = -2 G_n (MLE).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax import theory
from collapse_jax.core.chain import build_chain
from collapse_jax.core.combine import vmap_chain
from collapse_jax.core.protocol import Chain, Metric, Regime
from collapse_jax.core.regimes import accumulate, add_real, original, replace, weight_real
from collapse_jax.core.statistics import Sums
from collapse_jax.models.categorical import CategoricalTruth, categorical, categorical_metrics
from collapse_jax.models.gaussian import gaussian_metrics, gaussian_statistics, gaussian_truth
from collapse_jax.models.one_parameter import Largest, exponential, log_scale_metric, poisson, uniform
from collapse_jax.selfcheck.laws.checks import Check, check
from collapse_jax.selfcheck.laws.running import Records
from collapse_jax.theory import gaussian as exact
from collapse_jax.types import Array, ArrayLike, Key

_SIZES = (10**6, 10**9)
_MILLION, _GENERATIONS = 10**6, 50
_SHARES = np.array([0.5, 0.3, 0.2])
_ROUNDING = 9e-7  # of the log variance by float32: 15 units in the last place, which must not grow with n
_TRUTH = gaussian_truth(1)

_Identity = Callable[[int, ArrayLike], Array]
_REGIMES: dict[str, tuple[Callable[[ArrayLike], Regime], _Identity]] = {
    "accumulate": (lambda m: accumulate(_GENERATIONS), lambda g, m: theory.ibd_accumulate(g, m, m)),
    "add original": (lambda m: add_real(original()), lambda g, m: theory.ibd_add_original(g, m, m)),
    "weight 0.3 on original": (
        lambda m: weight_real(original(), weight=0.3), lambda g, m: theory.ibd_weight_original(g, m, 0.3, m),
    ),
}  # fmt: skip


def chains() -> dict[str, Chain]:
    """Return every family that draws statistics, at the sizes to which it can go in float32."""
    return _gaussians() | _families()


def laws(records: Records) -> list[Check]:
    """Fifty generations."""
    checks = []
    for name, (_, identity) in _REGIMES.items():
        checks += _paths(f"M = 1e6, 1e9: gaussian, {name}", records[name], identity)
    checks += _unbiased(records["unbiased"])
    fits = _GENERATIONS + 1
    log_scale = records["exponential"]["log_scale"][:, -1].astype(float)
    units = log_scale * np.sqrt(np.array(_SIZES) / np.sum(1 / np.arange(1, fits + 1) ** 2))
    checks += _standard("M = 1e6, 1e9: exponential, accumulate", "log theta_n", units)
    return checks + _counted(records, fits)


def _gaussians() -> dict[str, Chain]:
    """Return the Gaussian chains, each at both sizes."""

    def chain(estimator: str, regime_of: Callable[[ArrayLike], Regime]) -> Chain:
        model = gaussian_statistics(1, estimator=estimator)
        metrics = (gaussian_metrics()[0], gaussian_metrics()[2])
        return vmap_chain(
            lambda m: build_chain(model, regime_of(m), _TRUTH.moments_sampler(m), m, metrics), _SIZES, "num_samples"
        )

    chains = {name: chain("mle", regime_of) for name, (regime_of, _) in _REGIMES.items()}
    return chains | {"unbiased": chain("unbiased", lambda m: replace())}


def _families() -> dict[str, Chain]:
    """Return exponentials at both sizes, and at a million, the limit in float32, what counts or takes a maximum."""

    def scale(size: ArrayLike) -> Chain:
        weight = jnp.asarray(size, float)
        real = lambda key: Sums(weight, jax.random.gamma(key, weight))  # noqa: E731
        return build_chain(exponential(), accumulate(_GENERATIONS), real, size, (log_scale_metric(),))

    def total(key: Key) -> Sums:
        return Sums(jnp.asarray(float(_MILLION)), jax.random.poisson(key, float(_MILLION)).astype(float))

    def largest(key: Key) -> Largest:
        return Largest(jnp.asarray(float(_MILLION)), jax.random.uniform(key, minval=1e-30) ** (1 / _MILLION))

    truth, shown = CategoricalTruth(_SHARES), categorical_metrics()[2:]
    rate = (Metric("rate", (), "1", lambda key, s: s.params),)
    counts = truth.counts_sampler(_MILLION)
    return {
        "exponential": vmap_chain(scale, _SIZES, "num_samples"),
        "categorical, replace": build_chain(categorical(3), replace(), counts, _MILLION, shown),
        "categorical, accumulate": build_chain(categorical(3), accumulate(_GENERATIONS), counts, _MILLION, shown),
        "poisson": build_chain(poisson(), replace(), total, _MILLION, rate),
        "uniform": build_chain(uniform(), replace(), largest, _MILLION, (log_scale_metric(),)),
    }


def _standard(section: str, what: str, units: np.ndarray) -> list[Check]:
    """Mean 0 and variance 1, of numbers [num_runs, num_sizes] in units of their standard deviation."""
    checks = []
    for index, size in enumerate(_SIZES[: units.shape[1]]):
        checks += [
            check(section, f"E {what} / its sd, M = {size:.0e}", units[:, index], 0.0),
            check(section, f"E ({what} / its sd)^2, M = {size:.0e}", units[:, index] ** 2, 1.0),
        ]
    return checks


def _paths(section: str, record: dict[str, np.ndarray], identity: _Identity) -> list[Check]:
    """The log variance and the mean at the end, and what rounding makes of the same path at a billion points."""
    last = np.array([identity(_GENERATIONS, size)[-1] for size in _SIZES])
    logs = (record["log_total_variance"][:, -1].astype(float) + 2 * last) / np.sqrt(2 * last)
    means = record["mean"][:, -1, :, 0].astype(float) / np.sqrt(last)
    return [
        *_standard(section, "log v_n", logs),
        *_standard(section, "mu_n", means),
        check(section, "log v_n / its sd at 1e9 less at 1e6", logs[:, 1] - logs[:, 0], 0.0,
              allowance=_ROUNDING / np.sqrt(2 * last[1])),
    ]  # fmt: skip


def _unbiased(record: dict[str, np.ndarray]) -> list[Check]:
    """The unbiased walk, with its exact drift."""
    section, fits = "M = 1e6, 1e9: gaussian, replace, unbiased", _GENERATIONS + 1
    sizes = np.array(_SIZES)
    drift, spread = fits * exact.log_variance_drift(sizes, 1), fits * exact.log_variance_variance(sizes)
    logs = (record["log_total_variance"][:, -1].astype(float) - drift) / np.sqrt(spread)
    means = record["mean"][:, -1, :, 0].astype(float) * np.sqrt(sizes / fits)
    return [
        *_standard(section, "log v_n", logs),
        *_standard(section, "mu_n", means),
        # here rounding does add up, by 6e-8 a generation: 0.01 standard deviations after 50, 0.04 after 1,000
        check(section, "log v_n / its sd at 1e9 less at 1e6", logs[:, 1] - logs[:, 0], 0.0,
              allowance=6e-8 * _GENERATIONS / np.sqrt(spread[1])),
    ]  # fmt: skip


def _counted(records: Records, fits: int) -> list[Check]:
    """Counts, totals and maxima at a million."""
    lost = {"replace": fits / _MILLION, "accumulate": np.sum(1 / np.arange(1, fits + 1) ** 2) / _MILLION}
    checks = []
    for name, identity in lost.items():
        section = f"M = 1e6: categorical, {name}"
        gaps = records[f"categorical, {name}"]["probabilities"][:, -1].astype(float) - _SHARES
        units = gaps / np.sqrt(_SHARES * (1 - _SHARES) * identity)
        checks += _standard(section, "p_1 - p", units[:, :1]) + _standard(section, "p_3 - p", units[:, 2:])
        checks.append(
            check(section, "Cov(p_1, p_2), as predicted", -gaps[:, 0] * gaps[:, 1] / (0.15 * identity), 1.0)
        )
    rate = (records["poisson"]["rate"][:, -1:].astype(float) - 1) * np.sqrt(_MILLION / fits)
    log_scale = records["uniform"]["log_scale"][:, -1].astype(float) * _MILLION / fits
    section = "M = 1e6: uniform, replace"
    return [
        *checks,
        *_standard("M = 1e6: poisson, replace", "lambda_n - lambda", rate),
        check(section, "E log theta_n = -n/M", log_scale, -1.0),
        check(section, "Var log theta_n = n/M^2", (log_scale + 1) ** 2 * fits, 1.0),
    ]
