"""The mixture study: each claim is decided under its protocol alone, and two tolerances meet the same data."""

import dataclasses
import math

import jax
import numpy as np
import pytest

from collapse_jax.analysis.claims import EXACT, judge
from collapse_jax.drivers.compiled import run_compiled
from collapse_jax.drivers.results import join_records, to_dataset
from collapse_jax.studies.gmm import protocol
from collapse_jax.studies.gmm.claims import evidence
from collapse_jax.studies.gmm.config import PRESETS, GMMConfig
from collapse_jax.studies.gmm.figures import figures
from collapse_jax.studies.gmm.study import build
from collapse_jax.studies.registry import find_study
from collapse_jax.theory import matrices
from collapse_jax.theory.ancestry import both_alive

_PUBLISHED = dataclasses.replace(
    PRESETS["em-stopping"], num_samples=(300,), generations=3, seeds=8, lanes=4, held_out=0
)


def _simulate(config):
    (arm,) = build(config).arms
    segments = run_compiled(
        arm.chain, jax.random.key(0), config.seeds, (config.generations,), lanes=config.lanes
    )
    dataset = to_dataset(join_records([segment.records for segment in segments]), arm.chain.metrics)
    return dataset.expand_dims(num_samples=[config.num_samples[0]])


def _verdicts(config, dataset):
    return {verdict.name: verdict for verdict in judge(evidence(config, dataset))}


@pytest.fixture(scope="module")
def paired():
    with jax.enable_x64(True):
        return _simulate(_PUBLISHED)


@pytest.fixture(scope="module")
def clusters():
    config = GMMConfig(num_samples=(20,), generations=30, seeds=128, lanes=128, held_out=0)
    return config, _simulate(config)


def test_the_published_code_is_a_preset():
    config = find_study("gmm").preset("published-code")
    assert config.num_samples == (500, 1000, 10_000, 50_000, 200_000) and config.generations == 2050
    assert protocol.code_unmet(config) == "" == protocol.code_unmet(PRESETS["em-stopping"])
    assert "truth = cloud" in protocol.code_unmet(PRESETS["paper"])


def test_two_tolerances_share_their_data_and_differ_by_em_alone(paired):
    first = paired.sel(num_samples=300)
    assert (first.tight_em_steps > first.em_steps).all("seed").any()
    assert (first.tight_em_steps >= first.em_steps).sel(generation=0).all()
    # generation 0: the same points, so the mixtures differ less than two samples of 300 do
    same, sampled = first.log_l2_between.sel(generation=0), first.tight_log_l2_origin.sel(generation=1)
    assert float(same.mean()) < float(sampled.mean()) - 1
    # and a longer EM is a likelier fit of them
    assert (first.tight_log_likelihood >= first.log_likelihood).sel(generation=0).all()


def test_the_first_of_the_pair_is_the_chain_that_runs_alone(paired):
    with jax.enable_x64(True):
        (arm,) = build(dataclasses.replace(_PUBLISHED, tight_tol=None)).arms
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), 0), 0)
        _, record = jax.jit(arm.chain.init)(key)
    assert "tight_em_steps" not in record
    np.testing.assert_allclose(paired["log_l2_truth"][0, 0, 0], record["log_l2_truth"], rtol=1e-6)


def test_stopping_error_is_decided_in_double_precision_alone(paired):
    verdict = _verdicts(_PUBLISHED, paired)["stopping-error-M300"]
    difference = (paired.log_l2_origin - paired.tight_log_l2_origin).isel(
        num_samples=0, generation=slice(1, None)
    )
    assert verdict.verdict != "not testable" and verdict.label != EXACT
    np.testing.assert_allclose(verdict.estimate, float(difference.mean()))
    single = paired.assign(log_l2_origin=paired.log_l2_origin.astype(np.float32))
    assert "JAX_ENABLE_X64" in _verdicts(_PUBLISHED, single)["stopping-error-M300"].reason


def test_stopping_error_at_the_published_size_needs_a_second_tolerance(paired):
    config = dataclasses.replace(_PUBLISHED, num_samples=(200_000,), tight_tol=None)
    found = _verdicts(config, paired.assign_coords(num_samples=[200_000]))
    assert "--tight-tol" in found["stopping-error-M200000"].reason


def test_a_stopping_error_shows(paired):
    further = paired.assign(log_l2_origin=paired.tight_log_l2_origin + 1 + 0.01 * paired.seed)
    assert _verdicts(_PUBLISHED, further)["stopping-error-M300"].verdict == "holds"
    nearer = paired.assign(log_l2_origin=paired.tight_log_l2_origin - 1 - 0.01 * paired.seed)
    assert _verdicts(_PUBLISHED, nearer)["stopping-error-M300"].verdict == "fails"


def test_survival_is_judged_by_its_law(clusters):
    config, dataset = clusters
    verdict = _verdicts(config, dataset)["both-alive-M20"]
    alive = (dataset.num_alive.sel(num_samples=20, generation=19) == 2).mean()
    law = float(both_alive(0.5, 20, 20))
    np.testing.assert_allclose(verdict.estimate, alive, rtol=1e-6)
    np.testing.assert_allclose(verdict.region, (0.6 * law, 1.4 * law))
    lone = dataset.assign(num_alive=dataset.num_alive * 0 + 1)
    assert _verdicts(config, lone)["both-alive-M20"].verdict == "fails"


def test_components_live_as_long_as_classes_that_die_below_four_points(clusters):
    """128 seeds: 5 standard errors are 0.2 in the middle of the curve, where the two laws differ by 0.25."""
    config, dataset = clusters
    alive = (dataset.num_alive.sel(num_samples=20) == 2).mean("seed").values
    law = matrices.between(20, 31, protocol.least_count(config))
    error = np.sqrt(np.maximum(law * (1 - law), 1e-2) / 128)
    assert np.abs((alive - law) / error).max() < 5


def test_the_exact_law_of_survival_tends_to_the_published_one():
    # the diffusion is 2.1/M too large, M = 200
    assert matrices.between(200, 400)[-1] / both_alive(0.5, 200, 400) == pytest.approx(1 - 2.1 / 200, abs=5e-4)
    assert matrices.between(20, 3)[0] == pytest.approx(1 - 2 * 0.5**20, abs=1e-14)


def test_lost_variance_is_a_share_of_chains_with_the_mean_beside_it(clusters):
    """Three of four chains at 1e-4 of the truth, one at 2: most have lost it, and the mean is a half."""
    config, dataset = clusters
    kept = np.log(6 * np.where(np.arange(128) % 4 == 0, 2.0, 1e-4))
    long = dataset.isel(generation=0).expand_dims(generation=np.arange(2001)).transpose("num_samples", "seed", ...)
    long = long.assign(log_total_variance=long.log_total_variance.copy(data=np.tile(kept[:, None], (1, 1, 2001))))
    verdict = _verdicts(config, long)["variance-lost-2000-M20"]
    assert verdict.estimate == pytest.approx(0.75) and verdict.verdict == "holds"
    assert "the mean over seeds is 0.5 of the truth" in verdict.statement
    assert "mean over seeds" not in _verdicts(config, dataset)["variance-lost-2000-M20"].statement


@pytest.mark.parametrize("size, low, high", [(1000, 2e2, 2e2), (200_000, 1e-4, 2e-2)])
def test_every_published_distance_has_its_claim(clusters, size, low, high):
    """At the largest M a sawtooth was published, two ends of it; elsewhere one figure."""
    config = dataclasses.replace(PRESETS["published-code"], num_samples=(size,))
    (claim,) = (
        item.claim
        for item in evidence(config, clusters[1].assign_coords(num_samples=[size]))
        if item.claim.name == f"published-l2-M{size}"
    )
    np.testing.assert_allclose(claim.region, (np.log10(low) - 0.3, np.log10(high) + 0.3))
    assert claim.kind == "range"


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"start": "kmeans"}, "none dies"),
        ({"ridge": "absolute"}, "no component dies"),
        ({"truth": "cloud"}, "two clusters"),
        ({"separation": 2.0}, "two clusters"),
        ({"regime": "accumulate"}, "accumulate"),
        ({"num_components": 3}, "two components"),
    ],
)
def test_survival_is_not_testable_where_the_law_is_of_something_else(change, reason):
    assert protocol.survival_unmet(GMMConfig()) == ""
    assert reason in protocol.survival_unmet(dataclasses.replace(GMMConfig(), **change))


def test_without_a_ridge_chains_stay_finite_and_keep_the_law():
    config = GMMConfig(num_samples=(20,), generations=5, seeds=256, lanes=256, held_out=0, ridge="none")
    dataset = _simulate(config)
    assert bool(dataset.is_finite.all())
    ratio = np.exp(dataset.log_total_variance.values[0, :, -1]) / 6
    error = ratio.std(ddof=1) / math.sqrt(config.seeds)
    assert abs(ratio.mean() - 0.95**6) < 5 * error  # an error of 0.03: a ridge of 0.1 would show


def test_figures_are_drawn_with_and_without_a_second_tolerance(paired, clusters):
    names = ["glance", "snapshots", "variance", "distance", "survival", "em"]
    drawn = figures(_PUBLISHED, paired)
    assert [picture.name for picture in drawn] == names and "No law" in drawn[4].caption
    assert len(drawn[5].figure.axes[0].get_lines()) == 2
    assert "Wright" in figures(*clusters)[4].caption


@pytest.mark.parametrize("tight", [0.0, 1e-5, 1.0])
def test_a_second_tolerance_must_be_smaller(tight):
    with pytest.raises(ValueError, match="tight_tol"):
        build(dataclasses.replace(_PUBLISHED, tight_tol=tight))
