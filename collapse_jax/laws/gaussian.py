"""Laws of Gaussian chains: mean, variance, logs, dimensions, schedules, bias, curation, kernels."""

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax import theory
from collapse_jax.chain import Chain, build_chain
from collapse_jax.laws.checks import Check, check, check_variance, run_all
from collapse_jax.models.gaussian import gaussian, gaussian_metrics, gaussian_truth
from collapse_jax.models.kde import kde, kde_metrics
from collapse_jax.regimes import curate, replace, schedule
from collapse_jax.theory import gaussian as exact
from collapse_jax.types import Key


def one_dimension(key: Key, effort: float) -> list[Check]:
    """Both estimators at M = 20, from exact statistics: 10 fits, n/M = 0.5, where moments are testable."""
    size, fits, runs = 20, 10, int(200_000 * effort)
    truth = gaussian_truth(1)
    chains = {
        name: build_chain(
            gaussian(1, estimator=name, draws="statistics"),
            replace(),
            truth.moments_sampler(size),
            size,
            gaussian_metrics(),
        )
        for name in ("unbiased", "mle")
    }
    records = run_all(chains, key, runs, fits - 1)
    checks = []
    for name, ddof in (("unbiased", 1), ("mle", 0)):
        log_v = records[name]["log_total_variance"][:, -1].astype(float)
        before = records[name]["log_total_variance"][:, -2].astype(float)
        variance, mean, section = np.exp(log_v), records[name]["mean"][:, -1, 0], f"gaussian, replace, {name}"
        steps = records[name]["mean"][:, -1, 0] - records[name]["mean"][:, -2, 0]
        checks += [
            check(
                section, "one step: E[v'/v | v]", np.exp(log_v - before), exact.variance_mean(1, size, ddof)
            ),
            check(section, "one step: E[(mu'-mu)^2/v | v] = 1/M", steps**2 / np.exp(before), 1 / size),
            check(section, "E v_n", variance, exact.variance_mean(fits, size, ddof)),
            check_variance(section, "Var v_n", variance, exact.variance_variance(fits, size, ddof)),
            check(section, "E mu_n^2", mean**2, exact.mean_variance(fits, size, ddof)),
            check(section, "E sigma_n", np.sqrt(variance), exact.std_mean(fits, size, ddof)),
            check(
                section,
                "E W2^2 to the truth",
                mean**2 + (np.sqrt(variance) - 1) ** 2,
                exact.w2_mean(fits, size, ddof),
            ),
            check(section, "E log v_n", log_v, fits * exact.log_variance_drift(size, ddof)),
            check_variance(section, "Var log v_n", log_v, fits * exact.log_variance_variance(size)),
        ]
    both = records["mle"]
    conserved = both["mean"][:, -1, 0] ** 2 + np.exp(both["log_total_variance"][:, -1])
    checks.append(check("gaussian, replace, mle", "E[mu_n^2 + v_n] is conserved", conserved, 1.0))
    return checks


def dimensions(key: Key, effort: float) -> list[Check]:
    """Three dimensions, unbiased, M = 20; and ten points in sixteen dimensions, whose rank is nine."""
    size, dim, fits, runs = 20, 3, 6, int(100_000 * effort)
    chains = {
        "full": build_chain(
            gaussian(dim, draws="statistics"),
            replace(),
            gaussian_truth(dim).moments_sampler(size),
            size,
            gaussian_metrics(),
        ),
        "deficient": build_chain(
            gaussian(16, draws="statistics"),
            replace(),
            gaussian_truth(16).moments_sampler(10),
            10,
            gaussian_metrics(),
        ),
    }
    records = run_all(chains, key, runs, fits - 1)
    full, section = records["full"], "gaussian, d = 3, replace"
    log_l = full["log_scale"][:, -1].astype(float)
    trace, mean = np.exp(full["log_total_variance"][:, -1].astype(float)), full["mean"][:, -1]
    checks = [
        check(
            section,
            f"E log L_{j}{j}^2 (Lyapunov slope)",
            2 * log_l[:, j - 1],
            fits * exact.log_variance_drift(size, 1, j),
        )
        for j in range(1, dim + 1)
    ]
    checks += [
        check_variance(section, "Var log L_33^2", 2 * log_l[:, 2], fits * exact.log_variance_variance(size, 3)),
        check(section, "Cov(log L_11, log L_33) = 0",
              (log_l[:, 0] - log_l[:, 0].mean()) * (log_l[:, 2] - log_l[:, 2].mean()), 0.0),
        check(section, "E tr S_n", trace, dim),
        check(section, "E (tr S_n)^2", trace**2, exact.trace_squares(fits, size, dim)[1]),
        check(section, "E |mu_n|^2 = n d / M", np.sum(mean**2, axis=1), fits * dim / size),
        check(section, "E det S_n", np.exp(2 * log_l.sum(axis=1)), exact.determinant_mean(fits, size, dim)),
        check("gaussian, M <= d", "rank is M - 1 at once", records["deficient"]["rank"][:, 0], 9),
        check("gaussian, M <= d", "E tr S_n, unbiased", np.exp(records["deficient"]["log_total_variance"][:, -1]), 16),
    ]  # fmt: skip
    return checks


def variants(key: Key, effort: float) -> list[Check]:
    """A schedule of sizes, from statistics and from points; sampling bias; truncation; best of two."""
    runs, fits, size = int(40_000 * effort), 6, 20
    sizes = (10, 40, 20, 80, 15, 30)
    truth, metrics = gaussian_truth(1), gaussian_metrics()
    mle = lambda **options: gaussian(1, estimator="mle", **options)  # noqa: E731
    score = lambda rows: rows[:, 0]  # noqa: E731
    chains: dict[str, Chain] = {
        "schedule, statistics": build_chain(
            mle(draws="statistics"), replace(), truth.moments_sampler(sizes[0]), (*sizes[1:], 30), metrics
        ),
        "schedule, points": build_chain(
            mle(), schedule(sizes[1:]), truth.sampler(sizes[0]), max(sizes), metrics
        ),
        "bias": build_chain(
            gaussian(1, draws="statistics", bias=0.8), replace(), truth.moments_sampler(size), size, metrics
        ),
        "cut": build_chain(mle(cut=1.6449), replace(), truth.sampler(size), size, metrics),
        "best": build_chain(mle(), curate(score, 2), truth.sampler(size), 2 * size, metrics),
    }
    records = run_all(chains, key, runs, fits - 1)
    variance = {
        name: np.exp(record["log_total_variance"][:, -1].astype(float)) for name, record in records.items()
    }
    mean = {name: record["mean"][:, -1, 0] for name, record in records.items()}
    kept = 1 - float(theory.ibd_replace(fits - 1, sizes[0], jnp.array(sizes[1:]))[-1])
    cut, loss = exact.truncated_variance(1.6449), 1 - 1 / size
    return [
        check("gaussian, schedule", "E v_n from statistics", variance["schedule, statistics"], kept),
        check("gaussian, schedule", "E v_n from points", variance["schedule, points"], kept),
        check("gaussian, schedule", "E mu_n^2 from points", mean["schedule, points"] ** 2, 1 - kept),
        check("gaussian, sampling bias", "E v_n = lambda^(n-1)", variance["bias"], 0.8 ** (fits - 1)),
        check("gaussian, sampling bias", "E mu_n^2", mean["bias"] ** 2, exact.biased_mean_variance(fits, size, 0.8)),
        check("gaussian, top-p", "E v_n", variance["cut"], loss**fits * cut ** (fits - 1)),
        check("gaussian, best of two", "E v_n", variance["best"], exact.best_of_two_variance(fits - 1, size) * loss),
        check(
            "gaussian, best of two", "one step: E mu' = E sigma / sqrt(pi)",
            records["best"]["mean"][:, 1, 0] - records["best"]["mean"][:, 0, 0],
            exact.std_mean(1, size, 0) / np.sqrt(np.pi),
        ),
    ]  # fmt: skip


def kernels(key: Key, effort: float) -> list[Check]:
    """Kernel density estimates at M = 20: fixed bandwidth, Scott, Silverman, shrunk."""
    size, fits, runs, truth = 20, 6, int(30_000 * effort), gaussian_truth(1)
    models = {name: kde(name, width=0.3) for name in ("fixed", "scott", "silverman", "shrunk")}
    chains = {
        name: build_chain(model, replace(), truth.sampler(size), size, kde_metrics())
        for name, model in models.items()
    }
    records = run_all(chains, key, runs, fits - 1)
    # the kernel's own variance is added after the last fit, too
    factors = {"scott": size ** (-1 / 5), "silverman": (size * 3 / 4) ** (-1 / 5)}
    checks = [
        check(
            "kde", "fixed bandwidth: E V_n", records["fixed"]["variance"][:, -1],
            exact.kde_variance(fits, size, 0.3),
        ),
        check(
            "kde", "fixed bandwidth: E mean_n^2 = 1 + n h^2 - E V_n", records["fixed"]["mean"][:, -1, 0] ** 2,
            1 + fits * 0.3**2 - exact.kde_variance(fits, size, 0.3),
        ),
        check(
            "kde", "shrunk smoothed bootstrap: E V_n", records["shrunk"]["variance"][:, -1],
            exact.variance_mean(fits, size, 0),
        ),
    ]  # fmt: skip
    return checks + [
        check(
            "kde",
            f"{rule}: E V_n",
            records[rule]["variance"][:, -1],
            exact.kde_rule_variance(fits, size, factor),
        )
        for rule, factor in factors.items()
    ]


def long_run(key: Key, effort: float) -> list[Check]:
    """M = 10 followed for 2,000 generations in float32: the log variance, where the variance itself underflows."""
    size, generations, runs = 10, 2000, max(int(500 * effort), 50)
    chain = build_chain(
        gaussian(1, draws="statistics"),
        replace(),
        gaussian_truth(1).moments_sampler(size),
        size,
        gaussian_metrics()[2:],
    )
    log_v = run_all({"long": chain}, key, runs, generations)["long"]["log_total_variance"][:, -1].astype(
        float
    )
    fits = generations + 1
    section = "gaussian, long run"
    return [
        check(section, "E log v_n at n = 200 M", log_v, fits * exact.log_variance_drift(size, 1)),
        check_variance(section, "Var log v_n at n = 200 M", log_v, fits * exact.log_variance_variance(size)),
        check(
            section, "P(log v_n < its median by the CLT)",
            log_v < fits * float(exact.log_variance_drift(size, 1)), _skewed_half(size, fits),
        ),
    ]  # fmt: skip


def _skewed_half(size: int, fits: int) -> float:
    """Return P(sum of log chi-squares < its mean), to first order in its skewness (Edgeworth)."""
    third = float(jax.scipy.special.polygamma(2, (size - 1) / 2))
    skewness = third / float(exact.log_variance_variance(size)) ** 1.5 / np.sqrt(fits)
    return 0.5 + skewness / 6 / float(jnp.sqrt(2 * jnp.pi))
