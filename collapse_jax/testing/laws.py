"""Statistical assertions whose failures state z, n and what the test is able to see."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from scipy import stats

from collapse_jax.core.protocol import Chain
from collapse_jax.drivers.simulate import simulate
from collapse_jax.validation import nearest


def z_score(samples: Any, expected: Any) -> float:
    """Return (mean - expected) / standard error of the mean, for independent samples."""
    samples = np.asarray(samples, np.float64)
    return float((samples.mean() - float(expected)) / (samples.std(ddof=1) / np.sqrt(samples.size)))


def assert_mean(
    samples: Any, expected: Any, max_z: float = 5.0, power: Any = None
) -> None:
    """Assert that independent samples have the mean `expected`, |z| < `max_z`.

    Args:
        samples: independent and of finite variance; heavy tails need logs instead (the standard error
            of a variance after n fits to M points grows like e^(n/M)).
        expected: the mean under the law.
        max_z: at 5 a true law fails once in two million tests.
        power: a deviation of the mean, in its own unit, that the test must be able to see nine times in
            ten; a test that cannot fails, so that the stated power stays true.
    """
    samples, expected = np.asarray(samples, np.float64), float(expected)
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
    assert power is None or visible <= float(power), f"too weak, {float(power):.3g} was promised: {message}"


def assert_law(samples: Any, cdf: Callable, min_p: float = 1e-3) -> None:
    """Assert that independent samples follow the law of distribution function `cdf` (Kolmogorov-Smirnov)."""
    samples = np.asarray(samples, np.float64)
    test = stats.kstest(samples, cdf)
    # the statistic's critical value at this p: the largest gap between distribution functions that may pass
    visible = stats.kstwo.isf(min_p, samples.size)
    assert test.pvalue > min_p, (
        f"p = {test.pvalue:.2g}, gap {test.statistic:.3g} with n = {samples.size}; gaps above {visible:.3g} are seen"
    )


def assert_variance_law(
    chain: Chain,
    law: Callable[[int], float],
    *,
    generations: Sequence[int] = (1, 5, 10),
    num_seeds: int = 4096,
    seed: int = 0,
    metric: str = "log_total_variance",
    power: float = 0.05,
) -> None:
    """Assert that the mean variance of a chain's generations follows a law.

    Args:
        chain: from `build_chain`, with a metric of the variance.
        law: generation -> expected variance, in the data's units; see `collapse_jax.theory`.
        generations: at which it is tested, together at |z| < 5; a late one has heavy tails and needs more seeds.
        num_seeds: independent chains.
        seed: of all randomness.
        metric: name of what the chain records, one number; where the name begins with "log_", its exponential is the
            variance.
        power: share of the expected variance by which a law may be off and is still found so, nine times in ten; a
            test that cannot see as much fails.

    Raises:
        AssertionError: the mean is another, or the test is too weak for its stated power.
        ValueError: the chain records no such metric.
    """
    result = simulate(chain, jax.random.key(seed), num_seeds, max(generations))
    if metric not in result:
        raise ValueError(f"the chain records no '{metric}'; {nearest(metric, [str(name) for name in result])}")
    for generation in generations:
        values = np.asarray(result[metric].sel(generation=generation), np.float64)
        variances = np.exp(values) if metric.startswith("log_") else values
        expected = float(law(generation))
        try:
            assert_mean(variances, expected, power=power * abs(expected))
        except AssertionError as error:
            raise AssertionError(f"generation {generation}: {error}") from None
