"""`verify`: it passes on the package, and fails when a law is broken.

Broken on purpose here: the estimator's denominator, the scatter's law, a weight in accumulation.
"""

import jax
import jax.numpy as jnp
import pytest

from collapse_jax.laws import gaussian as gaussian_laws
from collapse_jax.laws import regimes as regime_laws
from collapse_jax.laws.checks import Check
from collapse_jax.models import gaussian as model
from collapse_jax.sufficient import Moments
from collapse_jax.verify import PROGRAMS

KEY = jax.random.key(0)


def test_the_laws_of_one_dimension_hold():
    checks = gaussian_laws.one_dimension(KEY, 0.1)
    assert len(checks) > 30 and all(item.holds for item in checks)


def test_a_wrong_denominator_fails(monkeypatch):
    right = model.normal_moments

    def wrong(key, num, spread, frame=None):
        return right(key, num, spread, frame)._replace(weight=jnp.asarray(num - 1.0))

    monkeypatch.setattr(model, "normal_moments", wrong)
    assert not all(item.holds for item in gaussian_laws.one_dimension(KEY, 0.1))


def test_a_missing_degree_of_freedom_fails(monkeypatch):
    right = model.normal_moments

    def wrong(key, num, spread, frame=None):
        return right(key, num + 1, spread, frame)._replace(weight=jnp.asarray(1.0 * num))

    monkeypatch.setattr(model, "normal_moments", wrong)
    assert not all(item.holds for item in gaussian_laws.one_dimension(KEY, 0.1))


def test_a_wrong_weight_in_a_merge_fails(monkeypatch):
    right = Moments.merge
    monkeypatch.setattr(Moments, "merge", lambda self, other: right(self, other.scale(2.0)))
    assert not all(item.holds for item in regime_laws.from_statistics(KEY, 0.3))


def test_a_check_that_is_not_finite_does_not_hold():
    assert not Check("s", "l", float("nan"), 0.1, 1.0).holds
    assert not Check("s", "l", 2.0, 0.0, 1.0).holds
    assert Check("s", "l", 1.0, 0.0, 1.0).holds


def test_programs_are_few_and_named_once():
    names = [program.name for program in PROGRAMS]
    assert len(set(names)) == len(names) <= 25
    assert any(program.quick for program in PROGRAMS)


@pytest.mark.parametrize("gap", [0.0, 4.0, 6.0])
def test_z_counts_standard_errors(gap):
    assert Check("s", "l", 1.0 + 0.1 * gap, 0.1, 1.0).holds == (gap < 5)
