"""Labels: every field of a configuration is fixed by a publication, and compared, or free, and says why."""

import dataclasses
from typing import get_args, get_type_hints

import numpy as np
import pytest
import xarray as xr

from collapse_jax.claims import ANALOGUE, EXACT, LAW
from collapse_jax.studies.gaussian import protocol as gaussian
from collapse_jax.studies.gaussian.claims import evidence as gaussian_evidence
from collapse_jax.studies.gaussian.comparison import compared_regimes as gaussian_comparison
from collapse_jax.studies.gaussian.config import GaussianConfig
from collapse_jax.studies.gmm import protocol as gmm
from collapse_jax.studies.gmm.claims import evidence as gmm_evidence
from collapse_jax.studies.gmm.config import PRESETS as GMM_PRESETS
from collapse_jax.studies.gmm.config import GMMConfig
from collapse_jax.studies.published import departure

PUBLICATIONS = {
    "gaussian, unbiased": gaussian.UNBIASED,
    "gaussian, either estimator": gaussian.EITHER,
    "gmm, paper": gmm.THE_PAPER,
    "gmm, code": gmm.THE_CODE,
    "gmm, sawtooth": gmm.THE_SAWTOOTH,
}  # fmt: skip


def changed(config, field):
    """The configuration with another value in a field, of the field's kind."""
    value = getattr(config, field)
    kinds = get_args(get_type_hints(type(config))[field])
    choices = [choice for choice in kinds if isinstance(choice, str)]
    if choices:
        new = next(choice for choice in choices if choice != value)
    elif isinstance(value, bool):
        new = not value
    elif isinstance(value, tuple):
        new = (*value, *value)
    elif isinstance(value, int | float):
        new = value + 1
    else:  # text, or None where there may be something
        new = {int: 7, float: 1e-9}.get(kinds[0] if kinds else str, f"not {value}")
    return dataclasses.replace(config, **{field: new})


@pytest.mark.parametrize("name", PUBLICATIONS)
def test_every_field_is_fixed_or_free(name):
    """A new field must be said to be one of the two; a free one says why nothing published depends on it."""
    publication = PUBLICATIONS[name]
    fields = [field.name for field in dataclasses.fields(publication.settings)]
    assert sorted([*publication.fixed, *publication.free]) == sorted(fields)
    assert all(len(why) > 5 for why in publication.free.values())


@pytest.mark.parametrize("name", PUBLICATIONS)
def test_one_changed_field_is_a_departure_that_names_it(name):
    publication = PUBLICATIONS[name]
    read = {key: value for known in publication.data for key, value in known.sums.items()}
    settings = publication.settings
    assert departure(settings, publication, read) == ""
    for field in publication.fixed:
        told = departure(changed(settings, field), publication, read)
        assert told.startswith(f"published: {field} = ") and "here" in told
    for field in publication.free:
        assert departure(changed(settings, field), publication, read) == ""


def gmm_records(config, generations=60, seeds=4):
    """Records of the mixture study in which nothing is to be seen."""
    dims, shape = ("num_samples", "seed", "generation"), (len(config.num_samples), seeds, generations + 1)
    names = ("w2_truth", "log_total_variance", "num_alive", "em_steps", "log_l2_origin", "tight_log_l2_origin")
    flat = {name: (dims, np.ones(shape)) for name in names}
    covariances = np.broadcast_to(np.eye(2), (*shape, 2, 2, 2))
    coordinates = {"num_samples": list(config.num_samples), "generation": np.arange(generations + 1)}
    return xr.Dataset({**flat, "covariances": ((*dims, "component", "row", "column"), covariances)}, coordinates)


def gmm_items(config, **options):
    return {item.claim.name: item for item in gmm_evidence(config, gmm_records(config, **options))}


def test_a_mixture_is_exact_in_the_paper_s_settings_alone():
    paper = GMM_PRESETS["paper"]
    names = ("misperceived-50-M1000", "variance-lost-2000-M1000")
    found = gmm_items(paper)
    assert {(found[name].label, found[name].departure) for name in names} == {(EXACT, "")}
    of_the_code = [item for name, item in found.items() if name.startswith("published")]
    assert of_the_code and all("truth = cloud, here two-clusters" in item.departure for item in of_the_code)
    for field in gmm.THE_PAPER.fixed[1:]:
        found = gmm_items(changed(paper, field))
        assert all(found[name].label == ANALOGUE and f"{field} = " in found[name].departure for name in names)
    other_size = gmm_items(dataclasses.replace(paper, num_samples=(100, 1000)))
    assert other_size["misperceived-50-M1000"].label == EXACT
    assert "num_samples = 1000, here 100" in other_size["misperceived-50-M100"].departure


def test_seven_components_and_a_tolerance_of_ten_are_no_exact_protocol():
    for preset in ("laptop", "paper", "published-code", "em-stopping"):
        loose = dataclasses.replace(GMM_PRESETS[preset], num_components=7, tol=10.0)
        found = gmm_items(loose)
        assert EXACT not in {item.label for item in found.values()}
        assert all("here 7" in item.departure for name, item in found.items() if name.startswith("published"))
        assert found[f"exact-law-M{loose.num_samples[0]}"].label == LAW  # exact for any K and any EM
        assert found[f"both-alive-M{loose.num_samples[0]}"].label == ANALOGUE


def test_the_published_code_s_claims_are_exact_in_its_settings_alone():
    code = dataclasses.replace(GMM_PRESETS["published-code"], num_samples=(1000, 50_000))
    names = ("published-l2-M1000", "published-std-2-M1000", "published-l2-M50000")
    assert {gmm_items(code)[name].label for name in names} == {EXACT}
    for field in gmm.THE_CODE.fixed:
        found = gmm_items(changed(code, field))
        assert all(found[name].label == ANALOGUE and f"{field} = " in found[name].departure for name in names)


def test_the_sawtooth_is_exact_when_all_its_generations_are_there():
    stopping, name = GMM_PRESETS["em-stopping"], "stopping-error-M200000"
    assert gmm_items(stopping, generations=2050)[name].label == EXACT
    assert "generations = 2050, here 60" in gmm_items(stopping)[name].departure
    assert "tight_tol" in gmm_items(dataclasses.replace(stopping, tight_tol=1e-7), generations=2050)[name].departure


@pytest.mark.parametrize(
    "change, reason",
    [({"regime": "accumulate"}, "accumulate"), ({"ridge_size": 0.1}, "without a ridge"), ({"ridge": "none"}, "")],
)
def test_identity_by_descent_is_a_law_under_its_conditions(change, reason):
    item = gmm_items(dataclasses.replace(GMMConfig(num_samples=(100,)), **change))["exact-law-M100"]
    assert item.label == (ANALOGUE if reason else LAW) and reason in item.departure


def gaussian_items(**changes):
    config = GaussianConfig(num_samples=(20,), **changes)
    dims, shape = ("seed", "generation", "num_samples"), (4, 3, 1)
    walks = {name: (dims, np.zeros(shape)) for name in ("mean", "log_variance")}
    regimes = list(gaussian_comparison(config))
    compared = ("seed", "generation", "regime"), np.zeros((4, 101, len(regimes)))
    records = xr.merge([
        xr.Dataset(walks, {"num_samples": [20], "generation": np.arange(3)}),
        xr.Dataset({"regime_log_variance": compared}, {"regime": regimes, "generation": np.arange(101)}),
    ], join="outer")  # fmt: skip
    return {item.claim.name: item for item in gaussian_evidence(config, records)}


def test_claims_on_one_gaussian_are_laws_where_their_conditions_are_met():
    found = gaussian_items()
    assert {item.label for name, item in found.items() if name != "original-only-delays"} == {LAW}
    assert "deep networks" in found["original-only-delays"].departure
    biased = gaussian_items(estimator="mle")
    lost = {name for name, item in biased.items() if "estimator = unbiased, here mle" in item.departure}
    assert lost == {"three-halves-M20", "bound-M20", "paths-diverge-M20"}
    assert {biased[name].label for name in lost} == {ANALOGUE} and biased["drift-M20"].label == LAW


def test_seeds_that_draw_everything_anew_share_nothing():
    assert {item.shared for item in (*gaussian_items().values(), *gmm_items(GMMConfig()).values())} == {""}
