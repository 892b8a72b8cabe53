"""Rows of the table of power, at small size: the alarm before the loss, and silence where nothing happens."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

_PATH = Path(__file__).parents[2] / "experiments" / "alarm_power.py"


@pytest.fixture(scope="module")
def power():
    spec = importlib.util.spec_from_file_location("alarm_power", _PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_alarm_comes_before_the_loss(power):
    """Six chains whose draws have 0.95 of the model's variance, M = 500: alarms at 4 to 9, loss + 10 % at 9 to 16.

    Evidence that never grows is seen (no alarm), and so is a threshold a million times too high (alarms at 9 to 14).
    """
    system = power.gaussian(dim=2, bias=0.95)
    grown = power.grow(system, 500, 6, 25)
    assert grown.rows.shape == (6, 26, 500, 2) and np.isfinite(grown.loss).all()
    assert np.abs(grown.loss[:, 0] - 2.838).max() < 0.05  # the entropy, and 5/(2 M) for five fitted numbers
    seen = power.look(system, grown, 500)
    assert np.isfinite(seen.loss).all()
    assert (seen.alarm < seen.loss).all()
    assert power.middle(power.lead(seen)) >= 5  # 7
    assert "variance" in power.row("Gaussian", 500, 500, seen)


def test_fresh_draws_of_the_truth_raise_no_alarm(power):
    """Ten monitors, 20 checks each: with a chance of 5 % three alarms or more come once in 90 times.

    Evidence that is no fair game (1/sqrt(p), mean 2) raises all ten.
    """
    alarms = [power.watch_null(seed, num_samples=40, num_checks=20) for seed in range(10)]
    assert np.isfinite(alarms).sum() <= 2


def test_what_was_never_seen_is_infinite(power):
    loss = np.array([[1.0, 1.05, 1.2, 0.9], [1.0, 1.0, 1.0, 1.0], [1.0, np.nan, 1.0, 1.0]])
    assert power.risen(loss).tolist() == [2.0, np.inf, 1.0]
    seen = power.Seen(np.array([1.0, np.inf, np.inf]), np.array([3.0, 2.0, np.inf]), ["drift"])
    assert power.lead(seen).tolist() == [2.0, -np.inf]
    assert "| 67% " not in power.row("one", 10, 10, seen) and "| 33% " in power.row("one", 10, 10, seen)
