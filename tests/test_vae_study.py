"""The autoencoder study: what its judges record reaches its claims and figures."""

import dataclasses

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from collapse_jax.claims import ANALOGUE, EXACT, judge
from collapse_jax.datasets.mnist import load_mnist
from collapse_jax.judges import JUDGEMENTS
from collapse_jax.report import write_report
from collapse_jax.results import read_netcdf
from collapse_jax.runs import RunDirectory, execute
from collapse_jax.studies.registry import find_study
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
    """Two steps of training make noise, which no judge reads: unreadable from generation 0 on, so not in [10, 20]."""
    _, dataset = run
    gathered = find_study("vae").load().evidence(CONFIG, dataset)
    five = [item._replace(claim=item.claim._replace(min_seeds=2)) for item in gathered]
    verdicts = {verdict.name: verdict for verdict in judge(five)}
    assert verdicts["unreadable"].verdict == "fails" and verdicts["unreadable"].estimate == 0
    assert verdicts["digits-mix"].num_seeds == 2
    assert "net = conv" in verdicts["published-loss-3"].reason
    assert all(item.label == ANALOGUE for item in gathered)


def test_the_exact_protocol_is_the_paper_s(tmp_path):
    paper = dataclasses.replace(PRESETS["paper"], data_folder=str(tmp_path))
    assert protocol_unmet(paper) == ""
    assert "60,000" in protocol_unmet(PRESETS["paper"]) and "net" in protocol_unmet(
        dataclasses.replace(paper, net="mlp")
    )
    assert EXACT != ANALOGUE


def test_held_out_digits_are_not_trained_on():
    config = PRESETS["laptop"]
    seen = {image.tobytes() for image in np.asarray(real_digits(config).x)}
    kept = held_out_digits(config)
    assert len(seen) + len(kept) == len(load_mnist().images)
    assert not any(image.tobytes() in seen for image in kept)
