"""The alarm's evidence: a fair game, whatever it starts from, and a bound that holds for ever."""

import numpy as np
import pytest
from scipy import integrate

from collapse_jax.monitor.alarm import Evidence, e_value


def test_the_calibrator_is_a_fair_game():
    mean, error = integrate.quad(e_value, 0, 1)
    assert abs(mean - 1) < 10 * error + 1e-9


def test_evidence_is_the_sum_over_all_starts():
    p = np.random.default_rng(0).random(30)
    evidence = Evidence()
    for value in p:
        evidence.update(value)
    e = 0.5 / np.sqrt(p)
    starts = [np.prod(e[start:]) / ((start + 1) * (start + 2)) for start in range(len(p))]
    assert evidence.value == pytest.approx(sum(starts) + 1 / (len(p) + 1), rel=1e-12)


def test_a_change_after_many_quiet_checks_has_not_to_make_up_for_them():
    evidence = Evidence()
    for _ in range(1000):
        evidence.update(0.5)
    late = 0
    while evidence.value < 20:
        evidence.update(0.001)
        late += 1
    assert late <= 6  # the plain product has lost 1000 log(1/(2 sqrt(.5))) = 347 by then, and would need 126


def test_no_number_is_too_small_or_too_large():
    evidence = Evidence()
    for _ in range(10_000):
        evidence.update(1e-4)
    assert evidence.value == pytest.approx(np.exp(690))
    quiet = Evidence()
    for _ in range(10_000):
        quiet.update(1.0)
    assert 0 < quiet.value < 1e-3


def test_ville():
    """Of 20,000 games at alpha = 5 %: at most 1,000, and 5 standard errors above that 1,154 would be seen as wrong.

    A calibrator that is no fair game (1/sqrt(p), mean 2) raises the alarm in all of them.
    """
    rng, alarms = np.random.default_rng(1), 0
    p = rng.random((20_000, 100))
    e = 0.5 / np.sqrt(p)
    staked = np.zeros(len(p))
    ever = np.zeros(len(p), bool)
    for check in range(p.shape[1]):
        staked = (staked + 1 / ((check + 1) * (check + 2))) * e[:, check]
        ever |= staked + 1 / (check + 2) >= 20
    alarms = int(ever.sum())
    evidence = Evidence()
    for value in p[0]:
        evidence.update(value)
    assert evidence.value == pytest.approx(staked[0] + 1 / 101)  # the same game
    assert alarms <= 1154
    assert alarms >= 100  # and it is not a game that nobody can win
