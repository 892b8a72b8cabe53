"""Answers are computed from records, and claims that a preset cannot decide are counted with the one that can."""

import dataclasses
import math

import numpy as np
import pytest
import xarray as xr

from collapse_jax.analysis.answers import added, general_answer, needed_preset, tally, tally_words
from collapse_jax.analysis.claims import EXACT, Claim, Evidence, measured
from collapse_jax.studies.gmm.protocol import departure_of
from collapse_jax.studies.loading import load
from collapse_jax.studies.registry import STUDIES


def _records(dims, **values):
    return xr.Dataset({name: (dims, np.asarray(array)) for name, array in values.items()})


def test_the_general_sentence_counts_seeds_from_the_first_to_the_last_finite_generation():
    spread = [[4.0, 2.0, 1.0, math.nan], [4.0, 3.0, 5.0, math.nan], [4.0, 3.0, 2.0, math.nan], [4.0, 1.0, math.nan, 0]]
    spread = np.asarray(spread)
    spread[3, 3] = math.nan
    told = general_answer(_records(("seed", "generation"), is_finite=np.ones((4, 4)), spread=spread))
    assert told == (
        "spread goes from 4 to 2 between generations 0 and 2 (medians), down in 2 of 3 seeds, 1 of 4 without a number"
    )


def test_the_general_sentence_takes_the_first_two_metrics_of_the_fewest_dims():
    wide = np.zeros((3, 2, 2))
    told = general_answer(
        xr.Dataset({
            "wide": (("seed", "generation", "component"), wide),
            **{name: (("seed", "generation"), [[0.0, 1.0]] * 3) for name in ("b", "a", "c")},
        })
    )  # fmt: skip
    assert [part.split()[0] for part in told.split("; ")] == ["b", "a"] and "up in 3 of 3 seeds" in told
    assert general_answer(xr.Dataset()) == "" == general_answer(_records(("seed", "generation"), a=[[1.0]]))


def test_the_general_sentence_of_a_sweep_counts_chains():
    told = general_answer(_records(("size", "seed", "generation"), spread=np.arange(12.0).reshape(2, 3, 2)))
    assert "up in 6 of 6 chains" in told


def _arm(num_samples, lost, num_seeds, last=40):
    """Log variances at generation 0 and the last one; `lost` of the seeds lose all but a millionth."""
    values = np.zeros((1, num_seeds, 2))
    values[0, :lost, 1] = math.log(1e-6)
    coords = {"num_samples": [num_samples], "generation": [0, last]}
    return xr.Dataset({"log_total_variance": (("num_samples", "seed", "generation"), values + math.log(6.0))}, coords)


def _answer(study, dataset, **changes):
    config = dataclasses.replace(STUDIES[study].preset("laptop"), **changes)
    return load(STUDIES[study]).answer(config, dataset)


def test_mixtures_count_who_lost_the_variance_for_each_size():
    told = _answer("gmm", xr.concat([_arm(100, 5, 7), _arm(1000, 0, 7)], "num_samples"))
    first, second = told.split("; ")
    assert first.startswith("M = 100: 99 % of the variance lost in 5 of 7 seeds by generation 40, the median keeps ")
    assert second.startswith("M = 1,000: 99 % of the variance lost in 0 of 7 seeds")
    nothing = _arm(100, 1, 3) * math.nan
    assert _answer("gmm", nothing) == "M = 100: no seed has a finite variance"


def test_gaussians_count_spreads_and_regimes():
    log_variance = np.zeros((2, 4, 2))
    log_variance[0, :3, 1] = -5.0
    regimes = np.log([[[1.0, 0.9]] * 4, [[1.0, 0.2]] * 4])
    dataset = xr.Dataset(
        {
            "log_variance": (("num_samples", "seed", "generation"), log_variance),
            "regime_log_variance": (("regime", "seed", "generation"), regimes),
        },
        {"num_samples": [10, 1000], "generation": [0, 30], "regime": ["a", "b"]},
    )
    assert _answer("gaussian", dataset) == (
        "the standard deviation is below a tenth of the truth's by generation 30 in 3 of 4 seeds (M = 10), 0 of 4 "
        "seeds (M = 1,000); 1 of 2 regimes keep over half of the variance (mean) to generation 30 at M = 100"
    )
    assert "regimes" not in _answer("gaussian", dataset[["log_variance"]])  # interrupted before the second arm


def test_autoencoders_tell_spread_and_what_judges_see():
    shape = (1, 2, 3)
    plain = lambda *values: (("num_samples", "seed", "generation"), np.broadcast_to(values, shape))  # noqa: E731
    judged = np.broadcast_to(np.array([0.9, 0.5, 0.1])[:, None], (1, 2, 3, 1))
    dataset = xr.Dataset(
        {
            "loss": plain(9.0, 8.0, 7.0), "latent_spread": plain(9.0, 0.8, 0.2),
            "judged": (("num_samples", "seed", "generation", "judgement"), judged),
        },
        {"generation": [0, 1, 2], "judgement": ["unanimous_share"]},
    )  # fmt: skip
    assert _answer("vae", dataset) == (
        "generations 0 to 2, means of 2 seeds: latent spread 0.8 to 0.2 (since generation 1); five classifiers agree "
        "on 90 and 10 % of the images"
    )


def test_language_models_tell_the_perplexity_of_each_arm():
    nats = np.log([[[100.0, 120.0], [100.0, 90.0]], [[50.0, 50.0], [50.0, 60.0]]])[..., None]
    dataset = xr.Dataset(
        {"validation": (("arm", "seed", "generation", "protocol"), nats)},
        {"arm": ["A5 beams", "B5 beams"], "generation": [0, 1]},
    )
    told = _answer("opt", dataset)
    assert told.startswith("perplexity on real text: A5 beams 100 to 104 by generation 1, worse in 1 of 2 seeds; B5 ")


_CLAIM = Claim("falls", "It falls.", "paper", (-math.inf, 0.0), "mean", 64)


@pytest.mark.parametrize(
    ("changes", "preset"),
    [
        ({}, "laptop"),  # 16 seeds of 64
        ({"lacks": {"generations": 2000}, "unmet": "too short"}, "laptop"),
        ({"lacks": {"generations": 2001}, "unmet": "too short"}, "published-code"),
        ({"lacks": {"generations": 9999}, "unmet": "too short"}, ""),
        ({"lacks": {"fits": 200 * 16 + 99}, "unmet": "too few"}, "laptop"),
        ({"unmet": "published: start", "departure": "published: start"}, "published-code"),
        ({"unmet": "no such law"}, ""),
        ({"values": np.ones(64)}, ""),  # something else than too few seeds
    ],
)
def test_the_first_preset_that_can_decide_a_claim_is_named(changes, preset):
    item = Evidence(_CLAIM, np.ones(16), EXACT)._replace(**changes)
    assert needed_preset(item, STUDIES["gmm"].presets, {"paper": "published-code"}) == preset


def test_arms_that_a_run_lacks_are_looked_for_in_presets():
    item = Evidence(_CLAIM._replace(min_seeds=5), np.array([]), EXACT, "needs the arm A10 beams")
    item = item._replace(lacks={"arms": ("A10 beams",), "generations": 9})
    assert needed_preset(item, STUDIES["opt"].presets, {}) == "standard"


def test_what_a_run_was_too_short_for_is_said_by_its_evidence():
    item = measured(_CLAIM, 50, 20, lambda g: np.ones(64), EXACT)
    assert item.lacks == {"generations": 50}
    assert measured(_CLAIM, 50, 20, lambda g: np.ones(64), EXACT, "another law").lacks == {}


def test_the_preset_of_a_publication_departs_from_it_in_nothing():
    published, presets = load(STUDIES["gmm"]).published, STUDIES["gmm"].presets
    for source, name in published.items():
        config = presets[name]
        assert departure_of(config, source, config.num_samples[-1], config.generations) == ""
    for study in ("vae", "opt"):
        assert set(load(STUDIES[study]).published.values()) <= set(STUDIES[study].presets)


def test_a_tally_folds_what_the_preset_cannot_decide():
    claims = [{"verdict": verdict} for verdict in ("holds", "holds", "fails", "inconclusive")]
    claims += [{"verdict": "not testable", "needs": needs} for needs in ("paper", "paper", "laptop", "")]
    one = tally(claims)
    assert one == {"holds": 2, "fails": 1, "open": 1, "needs": {"paper": 2, "laptop": 1}, "undecidable": 1}
    assert tally_words(one) == (
        "2 claims hold, 1 fails, 1 open; 2 claims need preset paper, 1 claim needs preset laptop, "
        "1 claim cannot be decided by this run"
    )
    assert added([one, tally(claims[:1] + claims[4:5])])["needs"] == {"paper": 3, "laptop": 1}
    assert added([one, one])["holds"] == 4
    assert tally_words(tally([])) == "" and tally_words(tally(claims[:1])) == "1 claim holds"
