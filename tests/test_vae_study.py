"""The autoencoder study: what its judges record reaches its claims and figures."""

import dataclasses
import struct

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from collapse_jax.claims import ANALOGUE, EXACT, judge
from collapse_jax.datasets.mnist import load_mnist
from collapse_jax.judges import JUDGEMENTS
from collapse_jax.report import write_report
from collapse_jax.results import read_netcdf
from collapse_jax.rundir import RunDirectory
from collapse_jax.runs import execute
from collapse_jax.studies.registry import find_study
from collapse_jax.studies.vae import claims
from collapse_jax.studies.vae.claims import protocol_unmet
from collapse_jax.studies.vae.config import PRESETS
from collapse_jax.studies.vae.digits import held_out_digits, real_digits

CONFIG = dataclasses.replace(
    PRESETS["smoke"], generations=20, num_samples=64, num_digits=100, num_steps=2, num_measured=20, num_judged=20,
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("vae") / "run"
    execute(
        find_study("vae"),
        CONFIG,
        path,
        preset="smoke",
        command="test",
        overwrite=False,
        on_progress=lambda _: None,
    )
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
    digits = find_study("vae").load().figures(config, dataset)[0]
    assert len(digits.film.frames) == 41 and digits.film.labels[-1] == "generation 200"


def test_every_claim_is_decided_or_says_why_not(run):
    """Two steps of training make noise, which no judge reads from generation 0 on: it does not become unreadable."""
    _, dataset = run
    gathered = find_study("vae").load().evidence(CONFIG, dataset)
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
    np.testing.assert_array_equal(held_out_digits(paper), load_mnist(tmp_path, "t10k").images)


def test_the_exact_protocol_is_the_paper_s_on_all_digits():
    paper = dataclasses.replace(PRESETS["paper"], data_folder="mnist")
    assert protocol_unmet(paper, 60_000) == ""
    assert "60,000 digits" in protocol_unmet(paper, 10_000)
    assert "60,000 digits" in protocol_unmet(PRESETS["paper"], 60_000)  # the embedded ones, whatever is said
    assert "net = conv" in protocol_unmet(dataclasses.replace(paper, net="mlp"), 60_000)


def test_the_published_loss_is_compared_above_the_digits_own_entropy(run, monkeypatch):
    """As if the run were exact: 1 nat an image above the published loss of model 0, and 1 % above that of model 3."""
    _, dataset = run
    monkeypatch.setattr(claims, "protocol_unmet", lambda *_: "")
    loss = xr.zeros_like(dataset["loss"]) + 98.6328125 + 1.0
    loss.loc[{"generation": 3}] = 36804 / 256 * 1.01
    gathered = {item.claim.name: item for item in claims.evidence(CONFIG, dataset.assign(loss=loss))}
    x = load_mnist().images[:100].astype(float)
    entropy = -np.sum(x * np.log(np.maximum(x, 1e-9)) + (1 - x) * np.log(np.maximum(1 - x, 1e-9))) / 100
    expected = np.log((99.6328125 - entropy) / (98.6328125 - entropy))
    assert 30 < entropy < 60 and gathered["published-loss-0"].label == EXACT
    np.testing.assert_allclose(gathered["published-loss-0"].values, expected, rtol=1e-4)
    np.testing.assert_allclose(gathered["published-loss-3"].values, np.log(1.01), rtol=1e-4)


def test_held_out_digits_are_scored_in_two_parts(run):
    """Reconstruction is the loss without the KL, which is not negative; each has its own latent draw."""
    _, dataset = run
    kl = dataset["held_out_loss"] - dataset["held_out_reconstruction"]
    assert float(dataset["held_out_reconstruction"].min()) > 300 and float(abs(kl).max()) < 30


def test_held_out_digits_are_not_trained_on():
    config = PRESETS["laptop"]
    seen = {image.tobytes() for image in np.asarray(real_digits(config).x)}
    kept = held_out_digits(config)
    assert len(seen) + len(kept) == len(load_mnist().images)
    assert not any(image.tobytes() in seen for image in kept)
