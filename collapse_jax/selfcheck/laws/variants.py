"""Laws of Gaussian chains that draw otherwise: schedules, sampling bias, truncation, the best of two, kernels."""

import jax.numpy as jnp
import numpy as np

from collapse_jax import theory
from collapse_jax.core.chain import build_chain
from collapse_jax.core.protocol import Chain, Metric, Snapshot
from collapse_jax.core.regimes import accumulate, curate, replace, schedule
from collapse_jax.models.gaussian import gaussian, gaussian_metrics, gaussian_statistics, gaussian_truth
from collapse_jax.models.kde import kde, kde_metrics
from collapse_jax.selfcheck.laws.checks import Check, check
from collapse_jax.selfcheck.laws.running import Records
from collapse_jax.theory import gaussian as exact
from collapse_jax.types import Array, Key

_SIZES = (10, 40, 20, 80, 15, 30)
_SIZE, _FITS, _BIAS, _CUT, _WIDTH = 20, 6, 0.8, 1.6449, 0.3
_RULES = ("fixed", "scott", "silverman", "shrunk")


def variant_laws(records: Records) -> list[Check]:
    """A schedule of sizes, from statistics and from points; sampling bias; truncation; best of two."""
    variance = {
        name: np.exp(record["log_total_variance"][:, -1].astype(float)) for name, record in records.items()
    }
    mean = {name: record["mean"][:, -1, 0].astype(float) for name, record in records.items()}
    kept = 1 - theory.ibd_replace(_FITS - 1, _SIZES[0], np.array(_SIZES[1:]))[-1]
    cut, loss = exact.truncated_variance(_CUT), 1 - 1 / _SIZE
    moved = records["best"]["mean"][:, 1, 0] - records["best"]["mean"][:, 0, 0]
    return [
        check("gaussian, schedule", "E v_n from statistics", variance["schedule, statistics"], kept),
        check("gaussian, schedule", "E v_n from points", variance["schedule, points"], kept),
        check("gaussian, schedule", "E mu_n^2 from points", mean["schedule, points"] ** 2, 1 - kept),
        check("gaussian, schedule", "E W2^2 to the truth",
              mean["schedule, statistics"] ** 2 + (np.sqrt(variance["schedule, statistics"]) - 1) ** 2,
              2 - 2 * np.prod(exact.std_mean(1, np.array(_SIZES), 0))),
        check("gaussian, sampling bias", "E v_n = lambda^(n-1)", variance["bias"], _BIAS ** (_FITS - 1)),
        check("gaussian, sampling bias", "E mu_n^2", mean["bias"] ** 2,
              exact.biased_mean_variance(_FITS, _SIZE, _BIAS)),
        check("gaussian, top-p", "E v_n", variance["cut"], loss**_FITS * cut ** (_FITS - 1)),
        check("gaussian, best of two", "E v_n", variance["best"],
              exact.best_of_two_variance(_FITS - 1, _SIZE) * loss),
        check("gaussian, best of two", "one step: E mu' = E sigma / sqrt(pi)", moved,
              exact.std_mean(1, _SIZE, 0) / np.sqrt(np.pi)),
    ]  # fmt: skip


def variant_chains() -> dict[str, Chain]:
    """Return Gaussian chains that draw otherwise."""
    truth, metrics = gaussian_truth(1), (gaussian_metrics()[0], gaussian_metrics()[2])
    mle = lambda **options: gaussian(1, estimator="mle", **options)  # noqa: E731
    from_statistics, best = truth.moments_sampler(_SIZES[0]), curate(lambda rows: rows[:, 0], 2)
    biased = gaussian_statistics(1, bias=_BIAS)
    return {
        "schedule, statistics": build_chain(
            gaussian_statistics(1, estimator="mle"), replace(), from_statistics, (*_SIZES[1:], 30), metrics
        ),
        "schedule, points": build_chain(
            mle(), schedule(_SIZES[1:]), truth.sampler(_SIZES[0]), max(_SIZES), metrics
        ),
        "bias": build_chain(biased, replace(), truth.moments_sampler(_SIZE), _SIZE, metrics),
        "cut": build_chain(mle(cut=_CUT), replace(), truth.sampler(_SIZE), _SIZE, metrics),
        "best": build_chain(mle(), best, truth.sampler(_SIZE), 2 * _SIZE, metrics),
    }


def kernel_chains() -> dict[str, Chain]:
    """Return kernel density estimates at M = 20: fixed bandwidth, Scott, Silverman, shrunk; and accumulated."""
    truth = gaussian_truth(1)
    chains = {
        name: build_chain(kde(name, width=_WIDTH), replace(), truth.sampler(_SIZE), _SIZE, kde_metrics())
        for name in _RULES
    }
    pooled = kde("fixed", width=1.0, capacity=_SIZE * _FITS)
    chains["pooled"] = build_chain(pooled, accumulate(_FITS - 1), truth.sampler(_SIZE), _SIZE, (_second_moment(),))
    return chains


def kernel_laws(records: Records) -> list[Check]:
    """Six fits."""
    variance, width = {name: records[name]["variance"][:, -1].astype(float) for name in _RULES}, _WIDTH
    squared_mean = records["fixed"]["mean"][:, -1, 0].astype(float) ** 2
    fixed = exact.kde_variance(_FITS, _SIZE, width)
    # the kernel's own variance is added after the last fit, too
    factors = {"scott": _SIZE ** (-1 / 5), "silverman": (_SIZE * 3 / 4) ** (-1 / 5)}
    harmonic = np.sum(1 / np.arange(1, _FITS + 1))
    return [
        check("kde", "fixed bandwidth: E V_n", variance["fixed"], fixed),
        check("kde", "fixed bandwidth: E mean_n^2 = 1 + n h^2 - E V_n", squared_mean,
              1 + _FITS * width**2 - fixed),
        check("kde", "shrunk smoothed bootstrap: E V_n", variance["shrunk"], exact.variance_mean(_FITS, _SIZE, 0)),
        *[
            check("kde", f"{rule}: E V_n", variance[rule], exact.kde_rule_variance(_FITS, _SIZE, factor))
            for rule, factor in factors.items()
        ],
        check("kde, accumulate", "batch t has variance 1 + h^2 H_(t-1), t = 7", records["pooled"]["square"][:, -1],
              1 + harmonic),
    ]  # fmt: skip


def _second_moment() -> Metric:
    """Return the metric "square" of a batch: the mean square of its points about the truth's mean."""

    def square(key: Key, snapshot: Snapshot) -> Array:
        return jnp.mean(snapshot.synthetic.x**2)

    return Metric("square", (), "squared data units", square)
