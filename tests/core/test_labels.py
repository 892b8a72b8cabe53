"""Labels: every field of a configuration is fixed by a publication, and compared, or free, and says why."""

import dataclasses
import gzip
import hashlib
import json
import re
import shutil
import struct
from typing import get_args, get_type_hints

import numpy as np
import pytest
import xarray as xr

from collapse_jax.analysis.claims import ANALOGUE, EXACT, LAW, Claim
from collapse_jax.datasets.mnist import MNIST_SHA256
from collapse_jax.datasets.text import WIKITEXT2_SHA256, text_sum
from collapse_jax.networks.opt.config import opt_config
from collapse_jax.studies.gaussian import claims as gaussian_claims
from collapse_jax.studies.gaussian import protocol as gaussian
from collapse_jax.studies.gaussian.config import GaussianConfig
from collapse_jax.studies.gmm import protocol as gmm
from collapse_jax.studies.gmm.claims import evidence as gmm_evidence
from collapse_jax.studies.gmm.config import PRESETS as GMM_PRESETS
from collapse_jax.studies.gmm.config import GMMConfig
from collapse_jax.studies.opt import protocol as opt
from collapse_jax.studies.opt.claims import evidence as opt_evidence
from collapse_jax.studies.opt.config import PRESETS as OPT_PRESETS
from collapse_jax.studies.opt.sources import data_read as opt_data
from collapse_jax.studies.opt.sources import git_sum, shape_of
from collapse_jax.studies.published import departure
from collapse_jax.studies.texts import TINY
from collapse_jax.studies.vae import protocol as vae
from collapse_jax.studies.vae.config import PRESETS as VAE_PRESETS
from collapse_jax.studies.vae.digits import data_read as vae_data

PUBLICATIONS = {
    "gaussian, unbiased": gaussian.UNBIASED,
    "gaussian, either estimator": gaussian.EITHER,
    "gmm, paper": gmm.THE_PAPER,
    "gmm, code": gmm.THE_CODE,
    "gmm, sawtooth": gmm.THE_SAWTOOTH,
    "vae": vae.PUBLISHED,
    "opt, paper": opt.PUBLISHED[opt.PAPER],
    "opt, code": opt.PUBLISHED[opt.CODE],
}


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


def names_of(publication):
    return [name for known in publication.data for name in known.sums]


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
    read = {key: values[0] for known in publication.data for key, values in known.sums.items()}
    settings = publication.settings
    assert departure(settings, publication, read) == ""
    for field in publication.fixed:
        told = departure(changed(settings, field), publication, read)
        assert told.startswith(f"published: {field} = ") and "here" in told
    for field in publication.free:
        assert departure(changed(settings, field), publication, read) == ""


@pytest.mark.parametrize("name", ["vae", "opt, paper", "opt, code"])
def test_other_data_are_a_departure_that_names_them(name):
    publication = PUBLICATIONS[name]
    read = {key: values[0] for known in publication.data for key, values in known.sums.items()}
    for known in publication.data:
        for key in known.sums:
            told = departure(publication.settings, publication, {**read, key: "0" * 64})
            assert f"{known.what}, here another check sum ({key})" in told
            left_out = {other: value for other, value in read.items() if other != key}
            assert known.what in departure(publication.settings, publication, left_out)
    assert "which data were read is not recorded" in departure(publication.settings, publication, None)


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
    [({"regime": "accumulate"}, "accumulate"), ({"ridge_size": 0.01}, "without a ridge"), ({"ridge": "none"}, "")],
)
def test_identity_by_descent_is_a_law_under_its_conditions(change, reason):
    item = gmm_items(dataclasses.replace(GMMConfig(num_samples=(100,)), **change))["exact-law-M100"]
    assert item.label == (ANALOGUE if reason else LAW) and reason in item.departure


@pytest.fixture
def gaussian_items(monkeypatch):
    """What the Gaussian study says, by claim, of records in which nothing is to be seen."""
    regimes = ["replace", "accumulate", "original added"]
    predicted = dict.fromkeys(regimes, np.linspace(1.0, 0.7, 6))  # labels do not depend on it
    monkeypatch.setattr(gaussian_claims, "predicted_variance", lambda config: predicted)
    walks = {name: (("seed", "generation", "num_samples"), np.zeros((4, 6, 1))) for name in ("mean", "log_variance")}
    compared = {"regime_log_variance": (("seed", "generation", "regime"), np.zeros((4, 6, len(regimes))))}
    coordinates = {"num_samples": [20], "generation": np.arange(6), "regime": regimes}
    records = xr.Dataset({**walks, **compared}, coordinates)

    def items(**changes):
        config = GaussianConfig(num_samples=(20,), regime_samples=20, regime_generations=5, **changes)
        return {item.claim.name: item for item in gaussian_claims.evidence(config, records)}

    return items


def test_claims_on_one_gaussian_are_laws_where_their_conditions_are_met(gaussian_items):
    found = gaussian_items()
    assert {item.label for name, item in found.items() if name != "original-only-delays"} == {LAW}
    assert "deep networks" in found["original-only-delays"].departure
    biased = gaussian_items(estimator="mle")
    lost = {name for name, item in biased.items() if "estimator = unbiased, here mle" in item.departure}
    assert lost == {"three-halves-M20", "bound-M20", "paths-diverge-M20"}
    assert {biased[name].label for name in lost} == {ANALOGUE} and biased["drift-M20"].label == LAW


def test_seeds_that_draw_everything_anew_share_nothing(gaussian_items):
    assert {item.shared for item in (*gaussian_items().values(), *gmm_items(GMMConfig()).values())} == {""}


def write_digits(folder, seed=0):
    """A folder of four files of digits, and their check sums as the package has them."""
    rng = np.random.default_rng(seed)
    sums = {}
    for split, num in (("train", 30), ("t10k", 20)):
        images = struct.pack(">4I", 2051, num, 28, 28) + rng.integers(0, 256, (num, 28, 28), np.uint8).tobytes()
        labels = struct.pack(">2I", 2049, num) + rng.integers(0, 10, num, np.uint8).tobytes()
        for name, content in ((f"{split}-images-idx3-ubyte", images), (f"{split}-labels-idx1-ubyte", labels)):
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            sums[name] = hashlib.sha256(content).hexdigest()
    return sums


def test_digits_are_told_by_their_check_sums_packed_or_not(tmp_path, monkeypatch):
    """Digits that are published are exact, those of which one byte is another and whatever else is in IDX are not."""
    sums = write_digits(tmp_path)
    paper = dataclasses.replace(VAE_PRESETS["paper"], data_folder=str(tmp_path))
    assert "MNIST's four files, here another check sum" in vae.departure_of(paper, vae_data(paper))
    (known,) = vae.PUBLISHED.data
    known = known._replace(sums={name: (value,) for name, value in sums.items()})
    monkeypatch.setattr(vae, "PUBLISHED", vae.PUBLISHED._replace(data=(known,)))
    assert vae.departure_of(paper, vae_data(paper)) == ""
    for name in sums:
        path = tmp_path / f"{name}.gz"
        content = gzip.decompress(path.read_bytes())
        path.unlink()
        (tmp_path / name).write_bytes(content)
    assert vae.departure_of(paper, vae_data(paper)) == ""
    for name in sums:
        path = tmp_path / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert f"({name})" in vae.departure_of(paper, vae_data(paper))
        path.write_bytes(content)
    embedded = dataclasses.replace(paper, data_folder=None)
    assert "MNIST's four files, here other data" in vae.departure_of(embedded, vae_data(embedded))
    few, all_of_them = (dataclasses.replace(paper, num_digits=num) for num in (20, 60_000))
    assert "num_digits = left out, here 20" in vae.departure_of(few, vae_data(few))
    assert vae.departure_of(all_of_them, vae_data(paper)) == ""


def test_the_sums_of_mnist_and_wikitext_2_are_what_is_compared():
    compared = [name for publication in (vae.PUBLISHED, *opt.PUBLISHED.values()) for name in names_of(publication)]
    assert {*MNIST_SHA256, *WIKITEXT2_SHA256} <= set(compared)
    sums = [*MNIST_SHA256.values(), *WIKITEXT2_SHA256.values()]
    assert len(set(sums)) == 7 and all(re.fullmatch("[0-9a-f]{64}", value) for value in sums)


def opt_departure(read, preset="paper", source=opt.PAPER):
    claim = Claim("a-degrades", "", source, (0.0, 1.0), "mean", 5)
    return opt.departure_of(OPT_PRESETS[preset], claim, "A5 beams", read)


def write_wikitext(folder, ending="raw"):
    folder.mkdir(exist_ok=True)
    sums = {}
    for index, name in enumerate(WIKITEXT2_SHA256):
        content = "".join(f" = Article {index} = \n \n A line of words , number {line} . \n" for line in range(400))
        (folder / f"{name}.{ending}").write_text(content)
        sums[name] = hashlib.sha256(content.encode()).hexdigest()
    return sums


def test_a_text_of_one_s_own_is_not_wikitext_2(tmp_path, monkeypatch):
    """Nor is a folder whose files have the names, until their check sums are the published ones."""
    (tmp_path / "my_novel.txt").write_text("\n\n".join(f"Chapter {n}. " + "It went on. " * 99 for n in range(9)))
    sums = write_wikitext(tmp_path / "wikitext-2-raw")
    known = dict.fromkeys(("weights", "tokens"), opt.from_the_hub("facebook/opt-125m")) | {"network": "125m"}
    novel, folder = (
        {**opt_data(dataclasses.replace(OPT_PRESETS["laptop"], text=str(tmp_path / place))), **known}
        for place in ("my_novel.txt", "wikitext-2-raw")
    )
    assert "wikitext-2 (raw), here other data" in opt_departure(novel)
    told = opt_departure(folder)
    assert "wikitext-2 (raw), here another check sum (wiki.train, wiki.valid, wiki.test)" in told
    publication = opt.PUBLISHED[opt.PAPER]
    data = tuple(
        one._replace(sums={name: (value,) for name, value in sums.items()}) if "wiki.train" in one.sums else one
        for one in publication.data
    )
    monkeypatch.setitem(opt.PUBLISHED, opt.PAPER, publication._replace(data=data))
    assert opt_departure(folder) == ""
    assert "here other data" in opt_departure(novel)


def test_a_model_is_told_by_its_weights_its_shape_and_its_tokenizer():
    tiny = opt_data(OPT_PRESETS["laptop"])
    told = opt_departure(tiny)
    for what in ("OPT-125m's shape, here vocab_size = 2048", "OPT-125m's weights, here another check sum (weights)",
                 "OPT-125m's tokenizer, here another check sum (tokens)"):  # fmt: skip
        assert what in told
    assert opt.PUBLISHED[opt.PAPER].data[1].sums["network"] == (shape_of(opt_config("125m")),)
    for field, value in (("dropout", 0.0), ("num_layers", 11), ("pre_norm", False), ("vocab_size", 50265)):
        assert f"{field} = {value}" == shape_of(opt_config("125m", **{field: value}))
    assert shape_of(opt_config("125m", dtype="bfloat16", remat=True)) == "125m"


def test_a_folder_of_a_published_name_did_not_come_from_the_hub(tmp_path, monkeypatch):
    """Its files are summed: weights, and of the tokenizer the file that goes first, or the two that go together."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(TINY, "somebody/opt-125m")
    folder = tmp_path / "somebody" / "opt-125m"
    config = dataclasses.replace(OPT_PRESETS["laptop"], model="somebody/opt-125m")
    read = opt_data(config)
    assert read["weights"] == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert read["tokens"] == git_sum((folder / "tokenizer.json").read_bytes())
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text("{}")
    both = [git_sum((folder / name).read_bytes()) for name in ("vocab.json", "merges.txt")]
    assert opt_data(config)["tokens"] == " ".join(both)


def test_texts_are_summed_as_they_are_read(tmp_path):
    for name, content in (("b.txt", "later"), ("a.txt", "first"), ("c.md", "no text")):
        (tmp_path / name).write_text(content)
    summed = {str(place): text_sum(place) for place in (tmp_path, tmp_path / "b.txt")}
    assert list(summed.values()) == [hashlib.sha256(text).hexdigest() for text in (b"firstlater", b"later")]
    for place, value in summed.items():
        assert opt_data(dataclasses.replace(OPT_PRESETS["laptop"], text=place))["text"] == value
    assert opt_data(OPT_PRESETS["laptop"])["text"] == text_sum() not in summed.values()


def opt_items(config, read):
    dims, shape = ("arm", "seed", "generation"), (len(config.arms), 2, 3)
    records = xr.Dataset(
        {
            "validation": ((*dims, "protocol"), np.ones((*shape, 3))),
            "zero_shot": (dims, np.ones(shape)),
            "generated_nats": ((*dims, "text"), np.ones((*shape, 5))),
        },
        coords={"arm": list(config.arms), "generation": np.arange(3)},
        attrs={} if read is None else {"data": json.dumps(read)},
    )
    return {item.claim.name: item for item in opt_evidence(config, records)}


def test_what_a_run_of_the_language_model_read_decides_its_labels():
    """The records hold it, so that a report, which has nothing else, comes to the same."""
    for preset, exact in (("paper", opt.PAPER), ("published-code", opt.CODE)):
        config = OPT_PRESETS[preset]
        read = {key: values[0] for known in opt.PUBLISHED[exact].data for key, values in known.sums.items()}
        for item in opt_items(config, read).values():
            published = item.claim.source == exact and not item.claim.name.startswith("b-less-than-a")
            assert item.label == (EXACT if published else ANALOGUE)
        for other in (None, {**read, "wiki.valid": "0" * 64}, {**read, "weights": "0" * 64}):
            found = opt_items(config, other)
            assert {item.label for item in found.values()} == {ANALOGUE}
            published = found["published-zero-shot"]
            assert published.unmet and published.unmet == published.departure


def test_arms_that_were_not_published_are_analogues():
    """Model 0 of another number of epochs, and settings A and B side by side at equal epochs."""
    read = {key: values[0] for known in opt.PUBLISHED[opt.PAPER].data for key, values in known.sums.items()}
    paper = OPT_PRESETS["paper"]
    found = opt_items(dataclasses.replace(paper, arms=("A10 beams", "A5 beams", "B10 beams")), read)
    for name in ("fine-tuning-learns", "published-fine-tuned"):
        assert found[name].label == ANALOGUE and found[name].departure == "published: 5 epochs, here 10"
    assert found["published-zero-shot"].label == found["a-degrades"].label == found["b-minor"].label == EXACT
    for epochs in (5, 10):
        assert "here equal epochs" in opt_items(paper, read)[f"b-less-than-a-{epochs}"].departure


def test_what_seeds_of_the_language_model_share_is_said_claim_by_claim():
    config = OPT_PRESETS["paper"]
    found = opt_items(config, None)
    assert found["a-degrades"].shared == (
        "base model, real blocks, validation text, prompts; beams are deterministic"
    )
    assert found["fine-tuning-learns"].shared == "base model, real blocks, validation text"
    assert "no seed" in found["published-zero-shot"].shared
    previous = opt_items(dataclasses.replace(config, prompts="previous"), None)
    assert "prompts" not in previous["a-degrades"].shared
    assert "teacher" in opt_items(OPT_PRESETS["teacher"], None)["a-degrades"].shared
