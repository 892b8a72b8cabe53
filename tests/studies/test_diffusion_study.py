"""The diffusion study: nets beside their nulls, what reaches models, records, claims and figures."""

import dataclasses
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.analysis.claims import judge
from collapse_jax.core.data import Samples, as_samples
from collapse_jax.core.protocol import Snapshot
from collapse_jax.datasets.mnist import load_mnist, pooled_digits
from collapse_jax.drivers.results import read_netcdf
from collapse_jax.numerics.frame import data_frame
from collapse_jax.runs.directory import RunDirectory
from collapse_jax.runs.execute import execute
from collapse_jax.runs.job import Job
from collapse_jax.runs.report import write_report
from collapse_jax.studies.diffusion import claims, digits, study
from collapse_jax.studies.diffusion.arms import ArmOfSampler, parse_arm, parse_arms
from collapse_jax.studies.diffusion.config import PRESETS, DiffusionCell, DiffusionConfig
from collapse_jax.studies.loading import load
from collapse_jax.studies.registry import find_study

# nulls of 400 points, nets that hardly learn
CONFIG = DiffusionConfig(
    arms=("ddim:10", "ddim:10:accumulate"), num_samples=400, toys=("two-moons",),
    toy_samples=50, generations=2, seeds=2, width=8, toy_width=8, num_fit_steps=3, toy_fit_steps=3, batch_size=16,
    num_measured=60, lanes=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("diffusion") / "run"
    execute(Job(find_study("diffusion"), CONFIG, path, "smoke", "test"), on_progress=lambda _: None)
    return path, read_netcdf(path / "trajectory.nc")


def test_each_net_stands_beside_the_law_of_its_sampler(run):
    """Nulls are Gaussians fitted to 400 points: a log variance has a standard error of sqrt(2/400) a fit."""
    _, dataset = run
    assert list(dataset["arm"].values) == list(CONFIG.arms) and list(dataset["toy"].values) == list(CONFIG.toys)
    told = json.loads(dataset.attrs["data"])
    variances = np.array([told[f"variance_{place}"] for place in range(1, 11)])
    for generation in (0, 2):
        law = claims.law_of(variances, parse_arm("ddim:10"), generation + 1)
        found = dataset["null_log_kept"].sel(arm="ddim:10", generation=generation).mean("seed").values[:10]
        error = np.sqrt(2 / 400 * (generation + 1) / CONFIG.seeds / 10)
        assert abs((found - law).mean()) < 5 * error, generation
        assert abs(law.mean()) > 10 * error, "so few points could not tell the law from nothing"
    # two thirds of the training data do not go through the sampler twice
    kept = dataset["null_log_kept"].sel(generation=2).mean("component")
    assert (kept.sel(arm="ddim:10:accumulate") > kept.sel(arm="ddim:10") + 0.1).all()


def test_records_are_of_the_nets_as_they_drew(run):
    path, dataset = run
    assert dataset["images"].sizes["pixel"] == 64 and dataset["toy_points"].sizes["coordinate"] == 2
    assert np.isfinite(dataset["log_kept"]).all() and np.isfinite(dataset["toy_distance"]).all()
    first, second = (dataset["log_kept"].sel(arm=name, seed=0) for name in CONFIG.arms)
    np.testing.assert_array_equal(first.sel(generation=0), second.sel(generation=0))  # the same seed, the same data
    assert not np.array_equal(first.sel(generation=2), second.sel(generation=2))
    assert {file.stem for file in (path / "figures").glob("*.png")} == {
        "variances", "digits", "digits_frames", "likeness", "half_lives", "toys",
    }  # fmt: skip
    page = write_report([RunDirectory(path)], path / "page.html").read_text()
    assert "solver alone" in page and "real against real" in page


def test_its_claims_are_judged_and_say_what_they_lack(run):
    _, dataset = run
    found = {item.name: item for item in judge(claims.evidence(CONFIG, dataset))}
    assert len(found) == 10 and {item.verdict for item in found.values()} == {"not testable"}
    assert found["second-order"].reason == "needs arms such as edm:9 and edm:18"
    assert (
        "needs generation 4" in found["solver-alone"].reason
        and "needs 3 seeds" in found["ddim-shrinks"].reason
    )
    assert all(item.label == "analogue" and item.departure for item in found.values())


def test_a_claim_that_lacks_arms_names_the_preset_that_has_them(run):
    path, _ = run
    needs = {item["name"]: item["needs"] for item in json.loads((path / "claims.json").read_text())}
    assert needs["second-order"] == "solvers" and needs["edm-inflates"] == needs["accumulation-keeps"] == "laptop"


def test_options_reach_the_nets(monkeypatch):
    told = []

    def watch(name, make):
        def handed(*args, **options):
            told.append((name, options))
            return make(*args, **options)

        monkeypatch.setattr(study, name, handed)

    for name in ("diffusion", "flow_matching", "linear_score"):
        watch(name, getattr(study, name))
    arms = ("ddpm-tilde:12:window:0.25", "heun:7")
    training = {"learning_rate": 0.5, "average": 0.25, "start": "warm"}
    study.build(dataclasses.replace(CONFIG, arms=arms, toys=(), predicts="noise", **training))
    first = {"solver": "ddpm-tilde", "schedule": "linear", "num_steps": 12, "stop": 0.25}
    training |= {"num_fit_steps": 3, "batch_size": 16}
    assert told == [
        ("linear_score", {**first, "draws": "points"}),
        ("linear_score", {"solver": "heun", "schedule": "flow", "num_steps": 7, "stop": 0.0, "draws": "points"}),
        ("diffusion", {**first, "predicts": "noise", **training}),
        ("flow_matching", {"solver": "heun", "num_steps": 7, "stop": 0.0, **training}),
    ]


def test_digits_are_scaled_and_held_out():
    found = digits.read_digits("small-digits", None, 500)
    small = pooled_digits(load_mnist().images)
    assert found.side == 8 and found.rows.shape == (500, 64) and found.held_out.shape == (2000, 64)
    np.testing.assert_allclose(found.rows.mean(axis=0), 0, atol=1e-5)
    assert found.rows.var() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(found.intensities(jnp.asarray(found.rows)), small[:500], atol=1e-6)
    np.testing.assert_allclose(found.intensities(jnp.asarray(found.held_out)), small[-2000:], atol=1e-6)
    values = np.linalg.eigvalsh(np.cov(found.rows.T.astype(float)))[::-1][:30]
    np.testing.assert_allclose(found.variances, values, rtol=1e-4)
    assert len(digits.read_digits("digits", None, 9000).rows) == 8000  # all there are
    floors = found.floors(100, 0)
    assert floors["real_frechet"] > 0 and 0.5 < floors["real_recall"] <= 1


def test_log_kept_is_the_log_of_a_share_of_the_real_variance():
    """Also of data in a frame of their own."""
    found = digits.read_digits("small-digits", None, 500)
    metric = digits.log_kept(found)

    def kept(drawn):
        return metric.function(jax.random.key(0), Snapshot(np.int32(0), (), (), drawn, drawn))

    drawn = as_samples(found.rows * np.float32(0.5) + 3)
    np.testing.assert_allclose(kept(drawn), np.log(0.25), atol=1e-3)
    scale = np.linspace(1, 2, 64)
    frame = data_frame(64)._replace(log_scale=jnp.log(jnp.asarray(scale, jnp.float32)))
    local = Samples(jnp.asarray(found.rows / scale.astype(np.float32)[None]), drawn.weight, frame)
    np.testing.assert_allclose(kept(local), 0, atol=1e-3)


def test_judges_see_the_digits_of_28_pixels_as_intensities(monkeypatch):
    """What they say of real digits, drawn as they are."""
    config = dataclasses.replace(CONFIG, data="digits", num_samples=300, arms=("ddim:10",), toys=())
    plan = study.build(config)
    found = digits.read_digits("digits", None, 300)
    metrics = {metric.name: metric for metric in plan.arms[1].chain.metrics}
    drawn = as_samples(found.rows)
    judged = metrics["judged"].function(jax.random.key(0), Snapshot(np.int32(0), (), (), drawn, drawn))
    assert judged[1] > 0.9  # unanimous on real digits
    assert {"judge_accuracy", "real_unanimous_share"} < set(metrics)


def test_a_sweep_runs_one_chain_of_any_solver(unchecked):
    """With its number of steps traced, too: one program for all."""

    def started(num_steps):
        return load(find_study("diffusion")).cell(DiffusionCell(num_steps=num_steps, num_samples=100)).init

    jax.eval_shape(lambda num_steps: started(num_steps)(jax.random.key(0)), jnp.int32(5))
    chain = load(find_study("diffusion")).cell(DiffusionCell(sampler="heun", num_steps=5, num_samples=100))
    _, record = jax.jit(chain.init)(jax.random.key(0))
    assert record["log_kept"].shape == (30,) and "frechet" in record
    trained = DiffusionCell(sampler="euler", score="mlp", num_samples=100, width=8, num_fit_steps=2)
    assert "loss" in jax.eval_shape(load(find_study("diffusion")).cell(trained).init, jax.random.key(0))[1]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"arms": ()}, "must name at least one sampler"),
        ({"arms": ("ddim:50", "ddim:50")}, "'ddim:50' twice"),
        ({"arms": ("dim:50",)}, "did you mean 'ddim'"),
        ({"arms": ("ddim",)}, "must hold names such as 'ddim:50'"),
        ({"arms": ("ddim:fifty",)}, "must hold names such as"),
        ({"arms": ("ddim:50:replace:0:0",)}, "must hold names such as"),
        ({"arms": ("ddim:50:acumulate",)}, "did you mean 'accumulate'"),
        ({"arms": ("ddim:1",)}, "`num_steps` must be"),
        ({"arms": ("euler:10:replace:1.5",)}, "`stop` must be in [0, 1)"),
        ({"toys": ("moons",)}, "did you mean 'two-moons'"),
        ({"real_fraction": 0.1}, "has no meaning for these arms"),
        ({"num_samples": 1}, "`num_samples` must be"),
        ({"net": "unet", "num_samples": 1}, "`num_samples` must be"),
        ({"average": 2.0}, "`average` must lie"),
    ],
)
def test_a_bad_option_meets_a_sentence(changes, sentence):
    with pytest.raises(ValueError) as caught:
        study.build(dataclasses.replace(CONFIG, **changes))
    assert sentence in str(caught.value), caught.value


def test_arms_are_read():
    assert parse_arm("edm:18:window:0.1") == ArmOfSampler("edm", 18, "window", 0.1)
    assert not parse_arm("edm:18:replace:0.1").is_plain and parse_arm("edm:18").is_plain
    assert all(parse_arms(preset.arms) for preset in PRESETS.values())
    share = dataclasses.replace(CONFIG, arms=("ddim:10", "ddim:10:replace-part"), toys=(), real_fraction=0.25)
    assert [arm.value for arm in study.build(share).arms][1:] == list(share.arms)


def _command(*words, devices=2):
    """Return a command of the package that is begun, on so many devices, its lines of progress to be read."""
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices), "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(
        [sys.executable, "-m", "collapse_jax", *words], env=environment, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def test_one_device_two_and_a_run_gone_on_with_give_the_same_bits(tmp_path):
    """Killed once the net is through, and the toy has begun."""
    small = ["diffusion", "--preset", "smoke", "--seeds", "3", "--num-fit-steps", "20", "--toy-fit-steps", "20"]
    for devices in (1, 2):
        begun = _command("run", *small, "--out", str(tmp_path / str(devices)), devices=devices)
        told = begun.communicate()[0]
        assert begun.returncode == 0, told
    killed = _command("run", *small, "--out", str(tmp_path / "killed"))
    next(line for line in killed.stdout if "eight-gaussians" in line)
    killed.kill(), killed.communicate()
    assert json.loads((tmp_path / "killed" / "config.json").read_text())["status"] != "finished"
    resumed = _command("resume", str(tmp_path / "killed"))
    assert resumed.communicate()[0] and resumed.returncode == 0
    one, two, whole = (read_netcdf(tmp_path / name / "trajectory.nc") for name in ("1", "2", "killed"))
    for other in (two, whole):
        assert set(other) == set(one)
        for name in one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=str(name))
