"""False alarms of the whole monitor, as experiments/false_alarms.py counts them, at a small size.

20 monitors of 25 checks of each kind: at alpha = 5 % more than 5 alarms come once in 3,000 times (binomial). Of 40
whose bag stays a reference of 24 rows, 13 raise the alarm of `drift` within 80 checks of 80 rows; as they are, 1.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))

import false_alarms

from collapse_jax.monitor import Monitor

RUNS, CHECKS, MOST = 20, 25, 5


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(false_alarms, "REFERENCE", 40)
    monkeypatch.setattr(false_alarms, "SAMPLE", 20)


def _alarms(kind, runs=RUNS, checks=CHECKS, **options):
    return sum(false_alarms.first_alarm(kind, run, checks, **options) >= 0 for run in range(runs))


@pytest.mark.parametrize("kind", list(false_alarms.KINDS))
def test_false_alarms_are_rare(kind, unchecked):
    assert _alarms(kind) <= MOST


@pytest.mark.parametrize("fixed", [False, True])
def test_one_reference_for_all_checks_is_not_enough(fixed, monkeypatch, unchecked):
    """More than 8 false alarms of 40 come once in 2,000 times."""
    monkeypatch.setattr(false_alarms, "REFERENCE", 24)
    monkeypatch.setattr(false_alarms, "SAMPLE", 80)
    assert (_alarms("numbers", 40, 80, fixed=fixed, statistics=["drift"]) > 8) == fixed


@pytest.mark.parametrize("kind", list(false_alarms.KINDS))
def test_each_p_value_is_uniform_or_larger(kind, unchecked):
    """Of every statistic at most 5 % of p-values are 5 % or less, however many values are tied: 400 checks, 5 standard
    errors (1.1 %); with the sample's own rows first among equal distances, 16 % of the table's recall are.
    """
    rng = np.random.default_rng(5)
    draw, p = false_alarms.KINDS[kind], {}
    for run in range(20):
        monitor = Monitor(draw(rng, 60), seed=run)
        for _ in range(20):
            for one in monitor.update(draw(rng, 20)).measured:
                p.setdefault(one.name, []).append(one.p)
    small = {name: float(np.mean(np.array(found) <= 0.05)) for name, found in p.items()}
    assert max(small.values()) < 0.05 + 5 * (0.05 * 0.95 / 400) ** 0.5, small
