"""Laws of one-dimensional Gaussian chains under `replace`: moments at small n, logs and first passages at large n."""

import numpy as np
from scipy.special import polygamma

from collapse_jax.core.chain import build_chain
from collapse_jax.core.combine import vmap_chain
from collapse_jax.core.protocol import Chain
from collapse_jax.core.regimes import replace
from collapse_jax.core.statistics import moments_of
from collapse_jax.models.gaussian import gaussian_metrics, gaussian_statistics, gaussian_truth
from collapse_jax.selfcheck.laws.checks import Check, check, check_exact, check_variance
from collapse_jax.selfcheck.laws.running import Records
from collapse_jax.theory import gaussian as exact
from collapse_jax.types import ArrayLike

_SIZE = 20


def moment_chains() -> dict[str, Chain]:
    """Return chains of both estimators at M = 20."""
    truth, metrics = gaussian_truth(1), (gaussian_metrics()[0], gaussian_metrics()[2])
    return {
        name: build_chain(
            gaussian_statistics(1, estimator=name), replace(),
            lambda key: moments_of(truth.sample(key, _SIZE)), _SIZE, metrics,
        )
        for name in ("unbiased", "mle")
    }  # fmt: skip


def moment_laws(records: Records) -> list[Check]:
    """Ten fits, n/M = 0.5, where moments are testable."""
    checks, size, fits = [], _SIZE, 10
    for name, ddof in (("unbiased", 1), ("mle", 0)):
        log_v = records[name]["log_total_variance"].astype(float)
        mean, section = records[name]["mean"][..., 0].astype(float), f"gaussian, replace, {name}"
        checks += _steps(section, log_v, mean, size, ddof)
        checks += _moments(section, log_v, mean, fits, size, ddof)
        checks += _higher_moments(section, log_v[:, 4], mean[:, 4], 5, size, ddof)
    return checks + _mean_laws(records, fits, size)


def _steps(section: str, log_v: np.ndarray, mean: np.ndarray, size: int, ddof: int) -> list[Check]:
    """The last step, given the model before it: mean and variance, and that they are independent."""
    kept, moved = np.exp(log_v[:, -1] - log_v[:, -2]), (mean[:, -1] - mean[:, -2]) ** 2 / np.exp(log_v[:, -2])
    once = exact.variance_mean(1, size, ddof)
    return [
        check(section, "one step: E[v'/v | v]", kept, once),
        check(section, "one step: E[(mu'-mu)^2/v | v] = 1/M", moved, 1 / size),
        check(section, "one step: mean and variance independent", moved * size * kept / once, 1.0),
    ]


def _moments(
    section: str, log_v: np.ndarray, mean: np.ndarray, fits: int, size: int, ddof: int
) -> list[Check]:
    log_v, mean = log_v[:, -1], mean[:, -1]
    variance = np.exp(log_v)
    distance = mean**2 + (np.sqrt(variance) - 1) ** 2
    return [
        check(section, "E v_n", variance, exact.variance_mean(fits, size, ddof)),
        check(section, "E mu_n^2", mean**2, exact.mean_variance(fits, size, ddof)),
        check(section, "E sigma_n", np.sqrt(variance), exact.std_mean(fits, size, ddof)),
        check(section, "E W2^2 to the truth", distance, exact.w2_mean(fits, size, ddof)),
        check(section, "E log v_n", log_v, fits * exact.log_variance_drift(size, ddof)),
        check_variance(section, "Var log v_n", log_v, fits * exact.log_variance_variance(size)),
        check(section, "time to half the variance at the logs' rate", exact.loss_time(0.5, size, ddof) * log_v / fits,
              np.log(0.5)),
    ]  # fmt: skip


def _higher_moments(
    section: str, log_v: np.ndarray, mean: np.ndarray, fits: int, size: int, ddof: int
) -> list[Check]:
    fourth, mixed, square = exact.fourth_moments(fits, size, ddof)
    return [
        check_variance(section, f"Var v_n, n = {fits}", np.exp(log_v), exact.variance_variance(fits, size, ddof)),
        check(section, f"E mu_n^4, n = {fits}", mean**4, fourth),
        check(section, f"E mu_n^2 v_n, n = {fits}", mean**2 * np.exp(log_v), mixed),
        check(section, f"E v_n^2, n = {fits}", np.exp(2 * log_v), square),
    ]


def _mean_laws(records: Records, fits: int, size: int) -> list[Check]:
    """What is conserved or approximated: marginal variances, the 3/2 rule, the fourth moment's limit, a bound on c4."""
    mean = {name: record["mean"][:, -1, 0].astype(float) for name, record in records.items()}
    variance = {
        name: np.exp(record["log_total_variance"][:, -1].astype(float)) for name, record in records.items()
    }
    distance = mean["unbiased"] ** 2 + (np.sqrt(variance["unbiased"]) - 1) ** 2
    sizes = np.arange(2, 2000)
    slack = exact.std_mean(1, sizes, 1) * np.exp(1 / (4 * sizes - 1))
    first, second = fits / size, fits / size**2
    unbiased = "gaussian, replace, unbiased"
    return [
        check("gaussian, replace, mle", "E[mu_n^2 + v_n] is conserved", mean["mle"] ** 2 + variance["mle"], 1.0),
        check(unbiased, "E[mu_n^2 + v_n] = 1 + n/M", mean["unbiased"] ** 2 + variance["unbiased"], 1 + first),
        check(unbiased, "E W2^2 ~ (3/2) S1, at S1 = 0.5", distance, 1.5 * first, allowance=first**2 / 16),
        check(unbiased, "E W2^2 ~ (3/2) S1 + S2/2 - S1^2/16", distance, exact.w2_expansion(first, second),
              allowance=first**3 / 100),
        Check(unbiased, "c4(M) <= e^(-1/(4M-1)), M = 2 ... 1999", float(slack.max()), 0.0, 1.0, relation="<="),
        check_exact("gaussian, replace, mle", "E mu_n^4 -> 6M - 3", exact.fourth_moments(20_000, size, 0)[0],
                    exact.mle_limit_fourth_moment(size)),
    ]  # fmt: skip


def walk_chains() -> dict[str, Chain]:
    """Return unbiased walks at M = 20 and M = 5."""
    metrics, truth = gaussian_metrics()[2:], gaussian_truth(1)

    def walk(size: ArrayLike) -> Chain:
        model = gaussian_statistics(1)
        return build_chain(model, replace(), truth.moments_sampler(size), size, metrics)

    return {"walks": vmap_chain(walk, (20, 5), "num_samples")}


def walk_laws(records: Records) -> list[Check]:
    """Four hundred generations: tails, first passages, and logs where the variance underflows."""
    slow, fast = np.moveaxis(records["walks"]["log_total_variance"].astype(float), 2, 0)
    return _places(slow, 20) + _passed(slow, 20) + [_wald(fast, 5)] + _underflown(fast, 5)


def _places(log_v: np.ndarray, size: int) -> list[Check]:
    """Medians and tails after n fits."""
    section, fits, share = "gaussian, long run", 150, 0.1
    checks = [
        check(section, f"median v_n ~ exp(n drift), M = {size}, n = {n}: P(v_n below it) ~ 1/2",
              log_v[:, n - 1] < n * exact.log_variance_drift(size, 1), 0.5, allowance=0.025 / np.sqrt(n))
        for n in (20, 200)
    ]  # fmt: skip
    above = log_v[:, fits - 1] > 2 * np.log(share)
    return [
        *checks,
        check(section, f"P(sigma_n > 0.1), M = 20, n = {fits}, Edgeworth", above,
              exact.above_probability(2 * np.log(share), fits, size, 1), allowance=1e-3),
        check(section, "P(sigma_n > 0.1) <= e^(-n/(4M-1))/0.1", above, exact.small_std_bound(share, fits, size),
              relation="<="),
    ]  # fmt: skip


def _passed(log_v: np.ndarray, size: int) -> list[Check]:
    """First passages of the variance below a tenth."""
    return [
        check("gaussian, first passage", f"P(v < 0.1 within {n} fits), M = {size} (Siegmund)",
              (log_v[:, :n] < np.log(0.1)).any(axis=1), exact.passed_probability(np.log(0.1), n, size, 1),
              allowance=0.01)
        for n in (40, 80)
    ]  # fmt: skip


def _wald(log_v: np.ndarray, size: int) -> Check:
    """Return the check of E N = (log(1/eps) + E overshoot)/|drift|; every chain has passed long before the end."""
    below = log_v < np.log(0.1)
    first = below.argmax(axis=1)
    overshoot = np.log(0.1) - np.take_along_axis(log_v, first[:, None], axis=1)[:, 0]
    speed = -exact.log_variance_drift(size, 1)
    values = np.where(below.any(axis=1), first + 1 - overshoot / speed, np.nan)
    return check("gaussian, first passage", f"Wald: E N = (log 10 + E overshoot)/|drift|, M = {size}", values,
                 np.log(10) / speed)  # fmt: skip


def _underflown(log_v: np.ndarray, size: int) -> list[Check]:
    """At n = 80 M the variance is e^-108 of the truth's, less than any number of float32."""
    section, log_v, fits = f"gaussian, long run, n = 80 M, M = {size}", log_v[:, -1], log_v.shape[1]
    drift, spread = exact.log_variance_drift(size, 1), exact.log_variance_variance(size)
    return [
        check(section, "E log v_n", log_v, fits * drift),
        check_variance(section, "Var log v_n", log_v, fits * spread),
        check(section, "P(log v_n < its mean)", log_v < fits * drift, _skewed_half(size, fits)),
    ]


def _skewed_half(size: int, fits: int) -> float:
    """Return P(sum of log chi-squares < its mean), to first order in its skewness (Edgeworth)."""
    third = float(polygamma(2, (size - 1) / 2))
    skewness = third / exact.log_variance_variance(size) ** 1.5 / np.sqrt(fits)
    return 0.5 + skewness / 6 / np.sqrt(2 * np.pi)
