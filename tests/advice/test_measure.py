"""Bias and effective size from rows alone: intervals that hold as often as they say, and what cannot be told."""

import math
import subprocess
import sys

import jaxtyping
import numpy as np
import pandas as pd
import pytest

from collapse_jax.advice.measure import measure

NORMAL = np.random.Generator.normal


def _laplace(rng, size):
    return rng.laplace(size=size) / math.sqrt(2)


def _coverage(kind, real, drawn, dim, bias, effective, runs=600):
    """Return how often each interval holds the truth, and the mean log of the bias found over the true one."""
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(dim, dim))  # correlated columns of unlike scales
    of_bias = of_size = 0
    logs = []
    for _ in range(runs):
        step = rng.normal(size=dim) / math.sqrt(effective)
        rows = kind(rng, size=(drawn, dim)) * math.sqrt(bias) + step
        found = measure(rows @ mixed, kind(rng, size=(real, dim)) @ mixed)
        of_bias += found.bias_low < bias < found.bias_high
        of_size += found.effective_low <= effective <= found.effective_high
        logs.append(math.log(found.bias / bias))
    return of_bias / runs, of_size / runs, np.mean(logs), np.std(logs) / math.sqrt(runs)


@pytest.mark.parametrize("real, drawn, dim", [(200, 300, 1), (400, 200, 5), (100, 100, 25)])
@pytest.mark.parametrize("kind, least", [(NORMAL, 0.92), (_laplace, 0.90)])
def test_intervals_hold_as_often_as_they_say(kind, least, real, drawn, dim):
    """600 runs: a coverage of 0.95 is found within 0.027 in three of a thousand; intervals of 80 % would fail."""
    of_bias, of_size, off, error = _coverage(kind, real, drawn, dim, 0.9, 300)
    assert least < of_bias < 0.98 and 0.92 < of_size < 0.98
    assert abs(off) < (5 * error if kind is NORMAL else 0.02)


def test_the_same_rows_in_other_units_are_measured_alike():
    rng = np.random.default_rng(1)
    drawn, real = 0.9 * rng.normal(size=(500, 3)), rng.normal(size=(400, 3))
    turned = rng.normal(size=(3, 3)) * np.array([1e-6, 1.0, 1e6])
    np.testing.assert_allclose(
        measure(drawn @ turned + 5.0, real @ turned + 5.0), measure(drawn, real), rtol=1e-5
    )


def test_a_small_effective_size_is_found_and_an_endless_one_is_said_to_be():
    rng = np.random.default_rng(2)
    real, drawn = rng.normal(size=(5000, 40)), rng.normal(size=(5000, 40))
    assert measure(drawn, real).effective_high == math.inf
    found = measure(drawn + rng.normal(size=40) / math.sqrt(100), real)
    assert found.effective_low < 100 < found.effective_high < 250


def test_frames_meet_by_name_and_constant_columns_count_for_nothing():
    rng = np.random.default_rng(3)
    real = pd.DataFrame({"a": rng.normal(size=90), "b": rng.integers(0, 9, 90)})
    drawn = pd.DataFrame({"b": rng.integers(0, 9, 80), "a": rng.normal(size=80)})
    found = measure(drawn, real)
    assert found == measure(drawn[["a", "b"]].to_numpy(), real.to_numpy())
    assert measure(drawn.assign(c=1.0), real.assign(c=1.0)) == found
    with pytest.raises(ValueError, match=r"lacks 'c'.*same columns"):
        measure(drawn, real.assign(c=1.0))


def test_draws_without_variance_have_no_bias_left():
    rng = np.random.default_rng(4)
    found = measure(np.zeros((50, 2)), rng.normal(size=(50, 2)))
    assert found[:3] == (0.0, 0.0, 0.0)


ROWS = np.arange(24.0).reshape(12, 2) ** 2
BAD = [
    (["text"] * 12, ROWS, "must be rows of numbers"),
    (pd.DataFrame({"a": list("abcdefghijkl"), "b": 1.0}), ROWS, "must be rows of numbers"),
    (np.zeros((12, 2, 2)), ROWS, "rows x columns"),
    (np.zeros((12, 3)), ROWS, "must have the 2 columns of `reference`, got 3"),
    (ROWS[:5], ROWS, "at least 8 rows, got 5"),
    (np.where(ROWS == 0, np.nan, ROWS), ROWS, "must be finite"),
    (ROWS, np.ones((12, 2)), "must have some variance"),
    ([[1.0], [1.0, 2.0]], ROWS, "must be rows of numbers"),
    (None, ROWS, "must be rows of numbers"),
]


@pytest.mark.parametrize("drawn, real, told", BAD)
def test_what_cannot_be_measured_is_told_in_a_sentence(drawn, real, told):
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        with pytest.raises((ValueError, TypeError), match=told) as refused:
            measure(drawn, real)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
    assert str(refused.value).endswith(".")


def test_it_needs_no_jax():
    code = (
        "import sys, numpy as np; from collapse_jax.advice.measure import measure; "
        "rng = np.random.default_rng(0); measure(rng.normal(size=(50, 2)), rng.normal(size=(50, 2))); "
        "sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
