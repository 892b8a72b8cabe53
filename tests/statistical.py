"""Statistical assertions whose failures state z, n and what the test is able to see."""

import numpy as np
from scipy import stats


def z_score(samples, expected: float) -> float:
    """Return (mean - expected) / standard error of the mean, for independent samples."""
    samples = np.asarray(samples, np.float64)
    return float((samples.mean() - expected) / (samples.std(ddof=1) / np.sqrt(samples.size)))


def assert_mean(samples, expected: float, max_z: float = 5.0, power: float | None = None) -> None:
    """Assert that independent samples have the mean `expected`, |z| < `max_z`.

    Args:
        samples: independent and of finite variance; heavy tails need logs instead (the standard error
            of a variance after n fits to M points grows like e^(n/M)).
        expected: the mean under the law.
        max_z: at 5 a true law fails once in two million tests.
        power: a deviation of the mean, in its own unit, that the test must be able to see nine times in
            ten; a test that cannot fails, so that the stated power stays true.
    """
    samples = np.asarray(samples, np.float64)
    assert np.isfinite(samples).all(), (
        f"{(~np.isfinite(samples)).sum()} of {samples.size} samples are not finite"
    )
    error = samples.std(ddof=1) / np.sqrt(samples.size)
    visible = (max_z + stats.norm.ppf(0.9)) * error
    z = z_score(samples, expected)
    message = (
        f"mean {samples.mean():.6g}, expected {expected:.6g}: z = {z:.2f} with n = {samples.size}; "
        f"a deviation of {visible:.3g} is seen nine times in ten"
    )
    assert abs(z) < max_z, message
    assert power is None or visible <= power, f"too weak, {power:.3g} was promised: {message}"


def assert_law(samples, cdf, min_p: float = 1e-3) -> None:
    """Assert that independent samples follow the law of distribution function `cdf` (Kolmogorov-Smirnov)."""
    samples = np.asarray(samples, np.float64)
    test = stats.kstest(samples, cdf)
    # the statistic's critical value at this p: the largest gap between distribution functions that may pass
    visible = stats.kstwo.isf(min_p, samples.size)
    assert test.pvalue > min_p, (
        f"p = {test.pvalue:.2g}, gap {test.statistic:.3g} with n = {samples.size}; gaps above {visible:.3g} are seen"
    )
