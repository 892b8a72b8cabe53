"""`verify`: it passes on the package, and fails when a law is broken.

Broken on purpose here: the estimator's denominator, the scatter's law, a weight in accumulation, a web's detector.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.core.chain import build_chain
from collapse_jax.core.regimes import replace
from collapse_jax.core.statistics import Moments
from collapse_jax.models import gaussian as model
from collapse_jax.models.gaussian import gaussian_metrics, gaussian_truth
from collapse_jax.selfcheck.laws import detectors
from collapse_jax.selfcheck.laws import gaussian as gaussian_laws
from collapse_jax.selfcheck.laws import regimes as regime_laws
from collapse_jax.selfcheck.laws.checks import Check
from collapse_jax.selfcheck.laws.running import Part, run_parts
from collapse_jax.selfcheck.verify import PROGRAMS, Program, run_program, selected, weak
from collapse_jax.web import RowStore

KEY = jax.random.key(0)


def _checks(chains, laws, num_runs, num_generations):
    """Return the checks of one part, run as `verify` runs it."""
    return run_parts((Part("part", chains, laws),), KEY, num_runs, num_generations)["part"]


def _of_one_dimension():
    return _checks(gaussian_laws.moment_chains, gaussian_laws.moment_laws, 12_288, 9)


def test_the_laws_of_one_dimension_hold():
    checks = _of_one_dimension()
    assert len(checks) > 30 and all(item.holds for item in checks)


def test_a_wrong_denominator_fails(monkeypatch):
    right = model.normal_moments

    def wrong(key, num, spread, frame=None):
        return right(key, num, spread, frame)._replace(weight=jnp.asarray(num - 1.0))

    monkeypatch.setattr(model, "normal_moments", wrong)
    assert not all(item.holds for item in _of_one_dimension())


def test_a_missing_degree_of_freedom_fails(monkeypatch):
    right = model.normal_moments

    def wrong(key, num, spread, frame=None):
        return right(key, num + 1, spread, frame)._replace(weight=jnp.asarray(1.0 * num))

    monkeypatch.setattr(model, "normal_moments", wrong)
    assert not all(item.holds for item in _of_one_dimension())


def test_a_wrong_weight_in_a_merge_fails(monkeypatch):
    right = Moments.merge
    monkeypatch.setattr(Moments, "merge", lambda self, other: right(self, other.scale(2.0)))
    checks = _checks(regime_laws.statistic_chains, regime_laws.statistic_laws, 8_192, 16)
    assert not all(item.holds for item in checks)


def test_a_web_whose_labs_read_what_a_detector_has_taken_out_fails(monkeypatch):
    right = RowStore.draw
    monkeypatch.setattr(RowStore, "draw", lambda self, key, num, room, *, crawl: right(
        self._replace(keep=jnp.ones_like(self.keep)), key, num, room, crawl=crawl
    ))  # fmt: skip
    checks = _checks(detectors.blind_chains, detectors.blind_laws, 8_192, 8)
    assert [item.section for item in checks if "E v" in item.law and not item.holds]
    assert all(item.holds for item in checks if item.section == "web, detector: none")


def test_a_check_that_is_not_finite_does_not_hold():
    assert not Check("s", "l", float("nan"), 0.1, 1.0).holds
    assert not Check("s", "l", 2.0, 0.0, 1.0).holds
    assert Check("s", "l", 1.0, 0.0, 1.0).holds


def test_programs_are_few_and_named_once():
    names = [part.name for program in PROGRAMS for part in program.parts]
    assert len(set(names)) == len(names) and len(PROGRAMS) <= 18
    assert 0 < len(selected(quick=True)) < len(selected(quick=False)) == len(PROGRAMS)


def test_parts_of_one_program_keep_their_chains_apart(monkeypatch):
    """Two parts with a chain of the same label share one compiled program; each gets its own records."""
    seen = {}

    def part(name, size):
        def chains():
            real = gaussian_truth(1).moments_sampler(size)
            metrics = (gaussian_metrics()[2],)
            return {"one": build_chain(model.gaussian_statistics(1), replace(), real, size, metrics)}

        def laws(records):
            seen[name] = np.exp(records["one"]["log_total_variance"])
            return [Check(name, "a law", 0.0, 1.0, 0.0)]

        return Part(name, chains, laws)

    program = Program((part("few", 10), part("many", 1000)), 4096, 2, quick=True)
    monkeypatch.setattr("collapse_jax.selfcheck.verify.PROGRAMS", (program,))
    found = run_program(program, quick=True)
    assert {name: checks[0].section for name, checks in found.items()} == {"few": "few", "many": "many"}
    # Var v_n = (1 + 2/(M-1))^n - 1 after n = 1 fit: 0.222 and 0.002, each to 15 % in 4,096 runs (five errors)
    for name, size in (("few", 10), ("many", 1000)):
        assert seen[name].shape == (4096, 3)
        np.testing.assert_allclose(seen[name][:, 0].var(), 2 / (size - 1), rtol=0.15)


def test_a_law_that_could_hardly_fail_is_weak():
    laws = [
        Check("s", "sharp", 1.0, 0.019, 1.0),
        Check("s", "noisy", 1.0, 0.021, 1.0),
        Check("s", "rough", 1.0, 0.001, 1.0, allowance=0.1),
        Check("s", "bound", 1.0, 0.001, 2.0, relation="<="),
        Check("s", "lost", 1.0, float("nan"), 1.0),
    ]
    assert [item.law for item in weak(laws)] == ["noisy", "rough", "lost"]


@pytest.mark.parametrize("gap", [0.0, 4.0, 6.0])
def test_z_counts_standard_errors(gap):
    assert Check("s", "l", 1.0 + 0.1 * gap, 0.1, 1.0).holds == (gap < 5)
