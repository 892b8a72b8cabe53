"""The Gaussian study: its claims are decided by the run, and tell a right law from a wrong one."""

import dataclasses

import numpy as np
import pytest

from collapse_jax.analysis.claims import judge
from collapse_jax.drivers.results import read_netcdf
from collapse_jax.runs.directory import RunDirectory
from collapse_jax.runs.execute import execute
from collapse_jax.runs.job import Job
from collapse_jax.studies.gaussian.comparison import predicted_variance
from collapse_jax.studies.gaussian.config import PRESETS
from collapse_jax.studies.loading import load
from collapse_jax.studies.registry import find_study

CONFIG = dataclasses.replace(PRESETS["smoke"], generations=210, regime_generations=4)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("gaussian") / "run"
    labels = []
    finished = execute(
        Job(find_study("gaussian"), CONFIG, path, "smoke", "test"),
        on_progress=lambda progress: labels.append((progress.label, progress.num_generations)),
    )
    assert finished
    assert dict(labels) == {"gaussian walks": 210, "gaussian regimes": 4}
    return RunDirectory(path), read_netcdf(path / "trajectory.nc")


@pytest.fixture(scope="module")
def verdicts(run):
    _, dataset = run
    found = judge(load(find_study("gaussian")).evidence(CONFIG, dataset))
    return {verdict.name: verdict for verdict in found}


def test_both_arms_lie_in_one_dataset(run):
    directory, dataset = run
    assert dataset["log_variance"].dims == ("seed", "generation", "num_samples")
    assert list(dataset["num_samples"].values) == [20, 100]
    assert dataset["regime_log_variance"].sizes["regime"] == len(predicted_variance(CONFIG))
    assert bool(dataset["regime_log_variance"].sel(generation=slice(5, None)).isnull().all())
    assert {path.stem for path in (directory.path / "figures").glob("*.png")} == {
        "glance", "walks", "survival", "time", "regimes"
    }  # fmt: skip


def test_a_bound_below_one_is_tested_and_another_is_not(verdicts):
    assert verdicts["bound-M20"].verdict in ("holds", "inconclusive")
    assert (
        verdicts["bound-M100"].verdict == "not testable" and "says nothing" in verdicts["bound-M100"].reason
    )


def test_what_lies_beyond_the_run_is_not_testable(verdicts):
    assert "needs generation 1000" in verdicts["paths-diverge-M100"].reason
    assert verdicts["paths-diverge-M20"].num_seeds == CONFIG.seeds


def test_a_wrong_law_fails(run):
    """Variances 30 % off: every regime's law is then outside its region."""
    _, dataset = run
    wrong = dataset.assign(regime_log_variance=dataset["regime_log_variance"] + np.log(1.3))
    found = {v.name: v.verdict for v in judge(load(find_study("gaussian")).evidence(CONFIG, wrong))}
    laws = [verdict for name, verdict in found.items() if name.startswith("law-")]
    assert len(laws) == 10 and "holds" not in laws and laws.count("fails") >= 8


def test_the_regimes_may_be_left_out():
    plan = load(find_study("gaussian")).build(dataclasses.replace(CONFIG, regime_generations=0))
    assert [arm.value for arm in plan.arms] == ["walks"]


@pytest.mark.parametrize("field, value", [("num_samples", ()), ("num_samples", (1,)), ("regime_samples", 1)])
def test_bad_fields_are_refused(field, value):
    with pytest.raises(ValueError, match="num_samples"):
        load(find_study("gaussian")).build(dataclasses.replace(CONFIG, **{field: value}))
