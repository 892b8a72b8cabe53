"""Closed forms against plain products and against simulated chi-squares."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax import theory


@pytest.mark.parametrize("num_samples", [2, 10, 100, 200_000])
def test_replace_variance_is_the_product_of_its_factors(num_samples, x64):
    fits = np.array([0, 1, 2, 20, 2000])
    product = [np.prod(np.full(n, 1 - 1 / num_samples)) for n in fits]
    predicted = theory.replace_variance(jnp.asarray(fits), num_samples)
    np.testing.assert_allclose(predicted, product, rtol=1e-11)  # 2000 roundings of float64


def test_replace_variance_holds_in_float32():
    predicted = theory.replace_variance(jnp.asarray([1, 20, 2000]), 100)
    # the log is at most 20, so its rounding is 20 * 6e-8 and 1e-5 leaves some room
    np.testing.assert_allclose(predicted, [0.99, 0.99**20, 0.99**2000], rtol=1e-5)


def test_replace_variance_broadcasts_fits_against_samples():
    predicted = theory.replace_variance(jnp.arange(3)[:, None], jnp.asarray([10, 100]))
    assert predicted.shape == (3, 2)
    np.testing.assert_allclose(predicted[1], [0.9, 0.99], rtol=1e-6)  # float32


@pytest.mark.parametrize("num_fits, num_samples", [(1, 10), (20, 100), (12, 1000)])
def test_replace_variance_error_is_its_formula(num_fits, num_samples, x64):
    expected = np.sqrt((((num_samples + 1) / (num_samples - 1)) ** num_fits - 1) / 64)
    got = theory.replace_variance_error(num_fits, num_samples, 64)
    np.testing.assert_allclose(got, expected, rtol=1e-10)  # the subtraction of 1 costs the reference digits


def test_replace_variance_error_falls_as_the_root_of_the_seeds():
    few, many = (float(theory.replace_variance_error(20, 100, seeds)) for seeds in (10, 1000))
    assert few == pytest.approx(10 * many, rel=1e-5)  # float32


def test_both_forms_agree_with_simulated_gaussian_chains():
    # v_n / v_0 = prod chi2_{M-1} / M for the Gaussian with the MLE variance (theory 1.1)
    num_runs, num_fits, num_samples = 200_000, 20, 100
    draws = np.random.default_rng(0).chisquare(num_samples - 1, (num_fits, num_runs))
    variance = np.prod(draws / num_samples, axis=0)
    with jax.enable_x64(True):
        mean = float(theory.replace_variance(num_fits, num_samples))
        error = float(theory.replace_variance_error(num_fits, num_samples, num_runs))
    # power: 5 errors are 0.8 % of the mean; the unbiased variance would be 22 % off
    assert abs(variance.mean() / mean - 1) < 5 * error
    # its square: E (v / E v)^2 = 1 + R error^2; 5 standard errors are about 3 % of the relative variance
    square = (variance / mean) ** 2
    z = (square.mean() - (1 + num_runs * error**2)) / (square.std() / np.sqrt(num_runs))
    assert abs(z) < 5
