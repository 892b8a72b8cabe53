"""The autoencoder study: what its judges record reaches its claims and figures."""

import dataclasses
import json
import struct

import jax
import numpy as np
import pytest
import xarray as xr
from PIL import Image

from collapse_jax.analysis.claims import ANALOGUE, EXACT, judge
from collapse_jax.datasets.mnist import MNIST_SHA256, load_mnist
from collapse_jax.drivers.results import read_netcdf
from collapse_jax.metrics.digit_classifiers import JUDGEMENTS, load_classifiers
from collapse_jax.runs.directory import RunDirectory
from collapse_jax.runs.execute import execute
from collapse_jax.runs.job import Job
from collapse_jax.runs.report import write_report
from collapse_jax.studies.loading import load
from collapse_jax.studies.registry import find_study
from collapse_jax.studies.vae import claims, study
from collapse_jax.studies.vae.config import PRESETS
from collapse_jax.studies.vae.digits import held_out_digits, real_digits, targets_entropy

CONFIG = dataclasses.replace(
    PRESETS["smoke"], generations=20, num_samples=64, num_digits=100, num_steps=2, num_measured=20, num_judged=20,
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("vae") / "run"
    execute(Job(find_study("vae"), CONFIG, path, "smoke", "test"), on_progress=lambda _: None)
    return path, read_netcdf(path / "trajectory.nc")


def test_judgements_are_recorded_by_name_and_drawn(run):
    path, dataset = run
    assert list(dataset["judgement"].values) == list(JUDGEMENTS)
    shares = dataset["judged"].sel(judgement=[f"class_{digit}" for digit in range(10)])
    np.testing.assert_allclose(shares.sum("judgement"), 1, atol=1e-3)  # float32 of ten shares
    assert (path / "figures" / "judges.png").is_file()


def test_the_digits_move_through_every_generation(run, tmp_path):
    path, dataset = run
    strip = np.asarray(Image.open(path / "figures" / "digits_frames.png").convert("L"))
    frames = strip.reshape(CONFIG.generations + 1, 56, 280)
    first = dataset["images"].isel(num_samples=0).sel(seed=0, image=0)
    np.testing.assert_array_equal(
        frames[:, :28, :28].reshape(-1, 784), first.transpose("generation", "pixel").values
    )
    animation = path / "figures" / "digits.gif"
    assert Image.open(animation).n_frames == CONFIG.generations + 1 and animation.stat().st_size < 1_000_000
    page = write_report([RunDirectory(path)], tmp_path / "report.html").read_text()
    assert f'max="{CONFIG.generations}"' in page and f'"generation {CONFIG.generations}"' in page


def test_a_long_run_s_animation_is_thinned():
    """Of 200 generations every fifth is in it."""
    config = dataclasses.replace(CONFIG, num_judged=0, generations=200)
    images = np.random.default_rng(0).integers(0, 256, (1, 1, 201, 20, 784), np.uint8)
    dims = ("num_samples", "seed", "generation", "image", "pixel")
    flat = xr.DataArray(np.ones((1, 1, 201)), dims=dims[:3])
    names = ("latent_spread", "latent_mean", "pixel_variance", "sharpness", "loss")
    dataset = xr.Dataset({"images": (dims, images), **dict.fromkeys(names, flat)})
    dataset = dataset.assign_coords(num_samples=[64], seed=[0], generation=np.arange(201))
    digits = load(find_study("vae")).figures(config, dataset)[0]
    assert len(digits.film.frames) == 41 and digits.film.labels[-1] == "generation 200"


def test_every_claim_is_decided_or_says_why_not(run):
    """Two steps of training make noise, which no judge reads from generation 0 on: it does not become unreadable."""
    _, dataset = run
    gathered = load(find_study("vae")).evidence(CONFIG, dataset)
    five = [item._replace(claim=item.claim._replace(min_seeds=2)) for item in gathered]
    verdicts = {verdict.name: verdict for verdict in judge(five)}
    assert verdicts["unreadable"].verdict == "not testable"
    assert "unreadable already in 2 of 2 seeds" in verdicts["unreadable"].reason
    assert verdicts["digits-mix"].num_seeds == 2
    assert "net = conv" in verdicts["published-loss-3"].reason
    assert all(item.label == ANALOGUE for item in gathered)


def _write_mnist(folder, seed=0):
    """A folder of the four files: 600 training images and 500 others, as dim as their number is small."""
    rng = np.random.default_rng(seed)
    for split, num in (("train", 600), ("t10k", 500)):
        images = rng.integers(0, 256, (num, 28, 28), np.uint8)
        head = struct.pack(">4I", 2051, num, 28, 28)
        (folder / f"{split}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        labels = struct.pack(">2I", 2049, num) + bytes(num)
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(labels)


def test_a_folder_gives_model_0_its_training_digits_and_the_test_ones_to_no_model(tmp_path):
    _write_mnist(tmp_path)
    paper = dataclasses.replace(PRESETS["paper"], data_folder=str(tmp_path))
    np.testing.assert_array_equal(real_digits(paper).x, load_mnist(tmp_path, "train").images)
    np.testing.assert_array_equal(held_out_digits(paper).images, load_mnist(tmp_path, "t10k").images)


def test_the_published_loss_is_compared_above_the_digits_own_entropy(run, monkeypatch):
    """As if the run were exact: 1 nat an image above the published loss of model 0, and 1 % above that of model 3."""
    _, dataset = run
    monkeypatch.setattr(claims, "departure_of", lambda *_, **__: "")
    loss = xr.zeros_like(dataset["loss"]) + 98.6328125 + 1.0
    loss.loc[{"generation": 3}] = 36804 / 256 * 1.01
    gathered = {item.claim.name: item for item in claims.evidence(CONFIG, dataset.assign(loss=loss))}
    x = load_mnist().images[:100].astype(float)
    entropy = -np.sum(x * np.log(np.maximum(x, 1e-9)) + (1 - x) * np.log(np.maximum(1 - x, 1e-9))) / 100
    expected = np.log((99.6328125 - entropy) / (98.6328125 - entropy))
    assert 30 < entropy < 60 and gathered["published-loss-0"].label == EXACT
    np.testing.assert_allclose(gathered["published-loss-0"].values, expected, rtol=1e-4)
    np.testing.assert_allclose(gathered["published-loss-3"].values, np.log(1.01), rtol=1e-4)


def test_a_run_says_what_it_read_and_what_its_seeds_share(run, tmp_path):
    """In config.json, in the records, which a report is judged by, in claims.json and on the page."""
    path, dataset = run
    told = json.loads((path / "config.json").read_text())["data"]
    assert json.loads(dataset.attrs["data"]) == told and len(told["mnist-first10000-images-idx3-ubyte"]) == 64
    digits = load_mnist().images[:100]
    assert told["targets_entropy"] == pytest.approx(targets_entropy(digits))
    assert 0.2 < told["blurred_sharpness"] / told["sharpness"] < 0.6
    verdicts = {verdict["name"]: verdict for verdict in json.loads((path / "claims.json").read_text())}
    assert {verdict["label"] for verdict in verdicts.values()} == {ANALOGUE}
    departure = verdicts["spread-falls"]["departure"]
    assert "net = conv, here mlp" in departure and "MNIST's four files, here other data" in departure
    assert verdicts["spread-falls"]["shared"] == "real digits"
    assert verdicts["unreadable"]["shared"] == verdicts["digits-mix"]["shared"] == "real digits, judges"


def test_records_that_say_what_was_read_are_judged_by_it(run):
    """As if the run were the paper's on the published files: other digits than those that lie there now."""
    _, dataset = run
    paper = dataclasses.replace(PRESETS["paper"], data_folder="/gone")
    read = {**MNIST_SHA256, "targets_entropy": 20.0, "sharpness": 2.0, "blurred_sharpness": 0.5}
    gathered = claims.evidence(paper, dataset.assign_attrs(data=json.dumps(read)))
    assert {item.label for item in gathered} == {EXACT}
    found = {item.claim.name: item for item in gathered}
    assert found["digits-blur"].claim.region[1] == 0.25 and "less the digits' own entropy, 5,120" in str(found)
    fashion = {**read, "train-images-idx3-ubyte": "0" * 64}
    gathered = claims.evidence(paper, dataset.assign_attrs(data=json.dumps(fashion)))
    assert {item.label for item in gathered} == {ANALOGUE}
    assert all("another check sum (train-images-idx3-ubyte)" in item.departure for item in gathered)


def _judged(dataset, accuracy, unanimous):
    """The verdicts on what needs judges, of judges that are so often right, and so unanimous, on real digits.

    What they say of the images: unreadable from generation 12 on.
    """
    told = dataset["judged"].copy(deep=True)
    told.loc[{"judgement": "unanimous_share"}] = (dataset["generation"] < 12).astype(float)
    known = dataset.assign(
        judged=told,
        judge_accuracy=dataset["judge_accuracy"] * 0 + np.asarray(accuracy, np.float32),
        real_unanimous_share=dataset["real_unanimous_share"] * 0 + np.float32(unanimous),
    )
    five = [item._replace(claim=item.claim._replace(min_seeds=2)) for item in claims.evidence(CONFIG, known)]
    verdicts = {verdict.name: verdict for verdict in judge(five)}
    return [verdicts[name] for name in ("unreadable", "digits-mix")]


@pytest.mark.parametrize(
    ("accuracy", "unanimous", "fit"),
    [
        ([0.97] * 5, 0.95, True),
        ([0.99, 0.99, 0.99, 0.99, 0.96], 0.99, False),  # the weakest counts, not their mean
        ([0.99] * 5, 0.94, False),
    ],
)
def test_what_needs_judges_is_decided_by_judges_that_know_the_digits(run, accuracy, unanimous, fit):
    _, dataset = run
    for verdict in _judged(dataset, accuracy, unanimous):
        assert (verdict.verdict != "not testable") == fit
        assert fit or "97% right on held-out real images and unanimous on 95%" in verdict.reason


def _write_folder(folder, change):
    """Real digits, of which others train than test, as four files; `change` makes other pictures or labels of them."""
    digits = load_mnist()
    for split, rows in (("train", slice(0, 200)), ("t10k", slice(9500, 10_000))):
        images, labels = change((digits.images[rows] * 255).round().astype(np.uint8), digits.labels[rows])
        head = struct.pack(">4I", 2051, len(images), 28, 28)
        (folder / f"{split}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 2049, len(labels)) + labels.tobytes())


_CHANGES = {
    "as they are": lambda images, labels: (images, labels),
    "inverted": lambda images, labels: (255 - images, labels),
    "upside down": lambda images, labels: (images.reshape(-1, 28, 28)[:, ::-1].reshape(-1, 784), labels),
    "other labels": lambda images, labels: (images, np.roll(labels, 1)),
    "moved and grey": lambda images, labels: (np.roll(images, 7, axis=1) // 2 + 60, labels),
}


@pytest.mark.parametrize("name", _CHANGES)
def test_judges_are_examined_on_a_folder_s_own_held_out_images(run, tmp_path, monkeypatch, name):
    _, dataset = run
    _write_folder(tmp_path, _CHANGES[name])
    examined = []

    def load(**options):
        examined.append(load_classifiers(**options))
        raise RuntimeError("enough is seen")

    monkeypatch.setattr(study, "load_classifiers", load)
    with pytest.raises(RuntimeError, match="enough is seen"):
        study.build(dataclasses.replace(CONFIG, data_folder=str(tmp_path)))
    (judges,) = examined
    assert len(judges.real) == 500  # of the folder's test images
    for verdict in _judged(dataset, judges.accuracy, float(judges.real_unanimous)):
        assert (verdict.verdict == "not testable") == (name != "as they are")


def test_test_images_that_are_training_images_are_not_held_out(tmp_path):
    """The first half of the test files repeats the training files; where all of them do, there is nothing left."""
    _write_mnist(tmp_path)
    config = dataclasses.replace(CONFIG, data_folder=str(tmp_path), num_digits=None)
    train, test = (load_mnist(tmp_path, split).images for split in ("train", "t10k"))
    path = tmp_path / "t10k-images-idx3-ubyte"
    both = np.concatenate([train[:250], test[250:]])
    path.write_bytes(path.read_bytes()[:16] + (both * 255).round().astype(np.uint8).tobytes())
    held = held_out_digits(config)
    np.testing.assert_array_equal(held.images, test[250:])
    seen = {image.tobytes() for image in np.asarray(real_digits(config).x)}
    assert not any(image.tobytes() in seen for image in held.images)
    path.write_bytes(path.read_bytes()[:16] + (train[:500] * 255).round().astype(np.uint8).tobytes())
    with pytest.raises(ValueError, match="0 test images that are not among its training images"):
        held_out_digits(config)


def test_held_out_digits_of_a_folder_are_spread_over_its_test_set(tmp_path):
    _write_mnist(tmp_path)
    config = dataclasses.replace(CONFIG, data_folder=str(tmp_path), num_digits=None)
    images = load_mnist(tmp_path, "t10k").images
    np.testing.assert_array_equal(held_out_digits(config, 3).images, images[[0, 250, 499]])


def test_held_out_digits_are_scored_in_two_parts(run):
    """Reconstruction is the loss without the KL, which is not negative; each has its own latent draw."""
    _, dataset = run
    kl = dataset["held_out_loss"] - dataset["held_out_reconstruction"]
    assert float(dataset["held_out_reconstruction"].min()) > 300 and float(abs(kl).max()) < 30


def test_held_out_digits_are_not_trained_on():
    config = PRESETS["laptop"]
    seen = {image.tobytes() for image in np.asarray(real_digits(config).x)}
    kept = held_out_digits(config).images
    assert len(seen) + len(kept) == len(load_mnist().images)
    assert not any(image.tobytes() in seen for image in kept)


def test_binary_digits_have_their_intensities_as_means_and_a_stream_of_their_own():
    """200 digits: the bits' mean is seen to 0.006; bits are the seed's, and not those of the chains' root."""
    config = dataclasses.replace(CONFIG, num_digits=200, draws="bernoulli")
    bits, grey = (np.asarray(real_digits(c).x) for c in (config, dataclasses.replace(config, draws="mean")))
    assert set(np.unique(bits)) == {0.0, 1.0} and (grey > 0).sum() > (bits > 0).sum()
    assert (bits[grey == 0] == 0).all() and (bits[grey == 1] == 1).all()
    spread = np.sqrt((grey * (1 - grey)).sum())
    assert abs((bits - grey).sum()) < 5 * spread
    root = jax.random.uniform(jax.random.key(config.seed), grey.shape)
    assert not np.array_equal(bits, root < grey)
    again, other = (np.asarray(real_digits(dataclasses.replace(config, seed=seed)).x) for seed in (0, 1))
    assert np.array_equal(bits, again) and not np.array_equal(bits, other)
