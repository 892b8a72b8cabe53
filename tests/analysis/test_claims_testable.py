"""What is "not testable": a claim that presupposes something, of a run that began otherwise, or ended too early."""

import dataclasses
import math

import claim_records_gaussian as gaussian
import claim_records_gmm as gmm
import claim_records_opt as opt
import claim_records_vae as vae
import numpy as np
import pytest
import xarray as xr
from claim_cases import stem

from collapse_jax.analysis.claims import judge
from collapse_jax.studies.gaussian.claims import _bound_unmet
from collapse_jax.studies.gaussian.claims import evidence as gaussian_evidence
from collapse_jax.studies.gaussian.comparison import predicted_variance

RNG = np.random.default_rng


def _judged(evidence, config, records, name):
    (item,) = (item for item in evidence(config, records) if stem(item.claim.name) == name)
    (verdict,) = judge([item])
    return verdict


def _images(first, change=lambda records: records):
    """The verdict on digits that become unreadable at these generations."""
    config = dataclasses.replace(vae.CONFIG, seeds=len(first))
    records = change(vae._records(RNG(0), config, {}, np.array(first)))
    return _judged(vae.claims.evidence, config, records, "unreadable")


def test_digits_that_are_unreadable_from_the_start_do_not_become_so():
    verdict = _images([0, 12, 13, 14, 15])
    assert verdict.verdict == "not testable" and "already in 1 of 5 seeds" in verdict.reason


def test_digits_that_stay_readable_have_no_generation_at_which_they_do_not():
    """A run's end is a lower bound: of 12, 13, 14 and "after 20" there is no mean."""
    verdict = _images([12, 13, 14, 15, 99])
    assert verdict.verdict == "not testable" and "1 of 5 seeds stay readable" in verdict.reason


def test_a_seed_that_broke_is_neither_readable_nor_unreadable():
    def broken(records):
        records["judged"][{"seed": 0, "generation": slice(5, None)}] = math.nan
        records["judged"][{"seed": 1, "generation": slice(15, None)}] = math.nan  # unreadable before
        return records

    verdict = _images([12, 13, 14, 15, 16, 13, 14], broken)
    assert verdict.verdict == "holds" and (verdict.num_seeds, verdict.num_excluded) == (6, 1)
    assert verdict.estimate == pytest.approx(np.mean([13, 14, 15, 16, 13, 14]))


def test_images_that_are_smooth_from_the_start_cannot_tell_of_blurring():
    means = {"sharpness": np.linspace(0.9, 0.1, 21) * vae.READ["blurred_sharpness"]}
    verdict = _judged(vae.claims.evidence, vae.CONFIG, vae._records(RNG(0), vae.CONFIG, means), "digits-blur")
    assert verdict.verdict == "not testable" and "as smooth as blurred digits already" in verdict.reason
    means["sharpness"] *= 2
    verdict = _judged(vae.claims.evidence, vae.CONFIG, vae._records(RNG(0), vae.CONFIG, means), "digits-blur")
    assert verdict.verdict == "fails"  # half of it is left at generation 10


def test_without_a_spike_there_is_no_recovery():
    verdict = _judged(opt.claims.evidence, opt.HARSH, opt.rises(RNG(0), opt.HARSH), "partial-recovery")
    assert verdict.verdict == "not testable" and "no recovery" in verdict.reason


def test_arms_are_compared_as_far_as_both_have_come():
    records = opt.stated(RNG(0), opt.CONFIG)
    records["validation"][{"arm": 1, "generation": slice(9, None)}] = math.nan  # B5 was interrupted
    verdict = _judged(opt.claims.evidence, opt.CONFIG, records, "b-less-than-a-5")
    assert verdict.reason == "needs generation 9, the run ends at 8"
    assert _judged(opt.claims.evidence, opt.CONFIG, records, "b-less-than-a-10").verdict == "holds"


def _gaussian(change, name):
    """The verdict on a chain of which every generation is recorded, and none differs."""
    config = dataclasses.replace(gaussian.CONFIG, **change)
    (size,), last = config.num_samples, config.generations
    numbers = RNG(0).random((config.seeds, last + 1))
    regimes = np.where(np.arange(last + 1) <= config.regime_generations, numbers, math.nan)
    names = list(predicted_variance(config))
    walks = (("seed", "generation", "num_samples"), numbers[..., None])
    variables = {
        "log_variance": walks,
        "mean": walks,
        "regime_log_variance": (("regime", "seed", "generation"), np.stack([regimes] * len(names))),
    }
    axes = {"num_samples": [size], "generation": np.arange(last + 1), "regime": names}
    return _judged(gaussian_evidence, config, xr.Dataset(variables, axes), name)


@pytest.mark.parametrize(
    ("change", "name", "reason"),
    [
        ({"regime_generations": 4}, "original-only-delays", "so early replace() leaves 0.77, too"),
        ({"regime_generations": 1}, "accumulate-rests", "would hold of anything"),
        ({"regime_generations": 1}, "law-window of 5", "would hold of anything"),
        ({"estimator": "mle"}, "three-halves", "unbiased"),
        ({"estimator": "mle"}, "paths-diverge", "unbiased"),
        ({"estimator": "mle"}, "bound", "unbiased"),
        ({"generations": 100}, "bound", "says nothing so early"),
        ({"generations": 440}, "bound", "256 seeds do not tell 0 from the bound, 0.038: needs 262"),
        ({"generations": 199}, "paths-diverge", "needs generation 200, the run ends at 199"),
        ({"num_samples": (19,)}, "three-halves", "a tenth of M is one fit at most"),
        ({"num_samples": (1000,), "generations": 50}, "drift", "51 fits move it by -0.051, which"),
    ],
)
def test_a_gaussian_s_claims_presuppose(change, name, reason):
    verdict = _gaussian(change, name)
    assert verdict.verdict == "not testable" and reason in verdict.reason


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"generations": 420}, "bound"),  # 12 seeds are expected at the bound
        ({"num_samples": (20,)}, "three-halves"),
        ({"num_samples": (1000,), "generations": 290}, "drift"),
        ({"regime_generations": 14}, "original-only-delays"),
        ({"estimator": "mle"}, "gone-in-M"),
    ],
)
def test_a_gaussian_s_claims_are_tested_as_soon_as_they_can_be(change, name):
    assert _gaussian(change, name).verdict != "not testable"


def test_regimes_that_were_not_reached_are_not_testable():
    """Of an interrupted run: the comparison of regimes had come to its second record."""
    records = gaussian.lawful(RNG(0), gaussian.CONFIG)
    records["regime_log_variance"][{"generation": slice(2, None)}] = math.nan
    for name in ("law-replace", "accumulate-rests", "original-only-delays"):
        verdict = _judged(gaussian_evidence, gaussian.CONFIG, records, name)
        assert verdict.verdict == "not testable" and "the run ends at 1" in verdict.reason


@pytest.mark.parametrize(("seeds", "reason"), [(64, ""), (2, "needs 2,880 fits over all seeds, the run has 300")])
def test_the_law_of_mixtures_needs_so_many_fits(seeds, reason):
    config = dataclasses.replace(gmm.CONFIG, seeds=seeds)
    verdict = _judged(gmm._evidence, config, gmm.lawful(RNG(0), config), "exact-law")
    assert verdict.verdict == ("not testable" if reason else "holds") and reason in verdict.reason


def test_the_law_of_mixtures_is_of_replace():
    config = dataclasses.replace(gmm.CONFIG, regime="accumulate")
    verdict = _judged(gmm._evidence, config, gmm.lawful(RNG(0), config), "exact-law")
    assert verdict.verdict == "not testable" and "the law is replace()'s" in verdict.reason


def test_a_stopping_error_of_chains_that_broke_is_left_out_whole():
    """Not the mean over the generations before they did."""
    config = dataclasses.replace(gmm.CODE, seeds=66, num_samples=(1000,))
    records = gmm.code_stated(RNG(0), dataclasses.replace(gmm.CODE, seeds=66)).isel(num_samples=[0])
    records["log_l2_origin"][{"seed": slice(0, 2), "generation": slice(3, None)}] = math.nan
    verdict = _judged(gmm._evidence, config, records, "stopping-error")
    assert (verdict.num_seeds, verdict.num_excluded) == (64, 2)


def test_a_bound_that_has_underflown_is_met_by_no_number_of_seeds():
    assert _bound_unmet(0.0, 8).endswith("no number would")
