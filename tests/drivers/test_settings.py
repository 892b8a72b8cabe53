"""Settings of JAX that change bits, strict broadcasting, and labels that a result cannot have."""

import json

import crash_studies
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax import (
    Metric,
    build_chain,
    external,
    gaussian,
    gaussian_metrics,
    gaussian_truth,
    mixture,
    mixture_metrics,
    replace,
    simulate,
    sweep,
    two_gaussians,
)
from collapse_jax.cli.main import run_command
from collapse_jax.core.labels import check_labels, check_record
from collapse_jax.drivers.results import read_netcdf, to_dataset, write_netcdf
from collapse_jax.models.gaussian import gaussian_statistics
from collapse_jax.models.kde import kde, kde_metrics
from collapse_jax.runs import execute as runs
from collapse_jax.runs import provenance as module
from collapse_jax.runs.directory import RunDirectory
from collapse_jax.runs.job import Job
from collapse_jax.runs.provenance import other_settings, settings
from collapse_jax.studies.registry import STUDIES, Entry
from collapse_jax.theory import replace_variance

REAL = gaussian_truth(1).sampler(8)


def _nothing(name="m", dims=(), unit="1", value=0.0):
    return Metric(name, dims, unit, lambda key, snapshot: value)


def _by_hand():
    return external(lambda seed, params, rows, weight: {"rows": rows}, lambda seed, params, num: params["rows"])


@pytest.mark.parametrize(
    "metric",
    [
        _nothing("train/loss"), _nothing("seed"), _nothing("generation"), _nothing("is_finite"), _nothing(""),
        _nothing("."), _nothing("a\0b"), _nothing("\ud800"), _nothing(3), _nothing(dims=("a/b",)), _nothing(dims=("",)),
        _nothing(dims=("seed",)), _nothing(dims=("a", "a")), _nothing(dims=(3,)), _nothing(dims="axis"),
        _nothing(unit=None), _nothing(unit=3), _nothing(unit="\0"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("unchecked")
def test_labels_that_no_result_can_have_are_refused_when_the_chain_is_built(metric):
    for model in (gaussian(1), _by_hand()):
        with pytest.raises((ValueError, TypeError), match=r"[;,].*\.$"):
            build_chain(model, replace(), REAL, 8, [metric])


@pytest.mark.parametrize(
    "value", [jnp.ones((), jnp.complex64), jnp.ones((), jnp.bfloat16), jax.random.key(0)], ids=str
)
def test_values_that_no_file_holds_are_refused_before_a_generation_is_spent(value):
    with pytest.raises(TypeError, match="no result can hold"):
        build_chain(gaussian(1), replace(), REAL, 8, [_nothing(value=value)])
    chain = build_chain(_by_hand(), replace(), REAL, 8, [_nothing(value=value)])
    with pytest.raises(TypeError, match="no result can hold"):
        simulate(chain, jax.random.key(0), 1, 1)


def test_axes_of_one_name_have_one_length_and_names_come_once():
    short, long = _nothing("a", ("k",), value=jnp.ones(2)), _nothing("b", ("k",), value=jnp.ones(3))
    with pytest.raises(ValueError, match="axis 'k' has length 2 in 'a' and 3 in 'b'"):
        build_chain(gaussian(1), replace(), REAL, 8, [short, long])
    with pytest.raises(ValueError, match="unique"):
        check_labels([short, short])
    for named in ([_nothing("k", ("k",))], [_nothing("k", ()), short]):  # a result would lose it
        with pytest.raises(ValueError, match="'k' is the name of a metric and of an axis"):
            check_labels(named)
    with pytest.raises(ValueError, match="info"):
        check_record({"a/b": np.ones(())}, [])
    check_record({"a": np.ones(2, np.float16), "ok": np.ones((), bool)}, [_nothing("a", ("größe",))])


def test_axes_of_a_sweep_do_not_take_a_metrics_name():
    def build(m):
        return build_chain(gaussian(1, bias=m), replace(), REAL, 8, [_nothing("m")])

    with pytest.raises(ValueError, match="axis 'm' has the name of a metric"):
        sweep(build, {"m": [0.5, 1.0]}, jax.random.key(0), num_seeds=1, num_generations=1)


@pytest.mark.parametrize("unit", ["seconds", "days since 2000-01-01", "", "µ"])
def test_a_unit_of_time_does_not_turn_numbers_into_dates(unit, tmp_path):
    made = to_dataset({"m": np.arange(6.0).reshape(2, 3)}, [_nothing(unit=unit)])
    write_netcdf(made, tmp_path / "t.nc")
    assert read_netcdf(tmp_path / "t.nc").equals(made)


def test_settings_are_compared_where_they_are_known():
    now = settings()
    assert now["jax_threefry_partitionable"] is True and json.loads(json.dumps(now)) == now
    assert other_settings({}, now) == [] and other_settings({"settings": now, "x64": False}, now) == []
    for name, value in now.items():
        assert other_settings({"settings": {**now, name: "other"}}, now) == [(name, "other", value)]
    assert other_settings({"x64": True}, now) == [("jax_enable_x64", True, False)]


def test_flags_that_change_no_bit_are_left_out(monkeypatch):
    flags = "--xla_dump_to=/tmp --xla_b=1 --xla_a=2 --xla_force_host_platform_device_count=4 --xla_b=3"
    monkeypatch.setenv("XLA_FLAGS", flags)
    assert settings()["XLA_FLAGS"] == "--xla_a=2 --xla_b=3"


def test_a_run_goes_on_under_its_own_settings_alone(tmp_path, monkeypatch, capsys):
    config = crash_studies.Config("host", generations=3, seeds=1)
    study = Entry("crashing", "stopped", {"smoke": config}, "crash_studies", crash_studies.Config())
    monkeypatch.setitem(STUDIES, "crashing", study)

    def stop(progress):
        if progress.generation == 1:
            raise KeyboardInterrupt

    out = tmp_path / "run"
    runs.execute(Job(study, config, out, "smoke", "c"), on_progress=stop)
    told = {**settings(), "jax_threefry_partitionable": False}
    monkeypatch.setattr(module, "settings", lambda: told)
    assert run_command(["resume", str(out)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "jax_threefry_partitionable True, now False" in said and "JAX_THREEFRY_PARTITIONABLE=True" in said
    run = RunDirectory(out)
    run._write_description({name: value for name, value in run.description.items() if name != "settings"})
    assert run_command(["resume", str(out)]) == 0  # of an older run they are not known


def test_broadcasting_is_written_out():
    """What `.ci/run`'s strict step does not reach: many dimensions, where other ways through the algebra are taken."""
    dim, truth = 9, two_gaussians()
    points = gaussian_truth(dim)
    with jax.numpy_rank_promotion("raise"):
        for model, real, metrics in (
            (gaussian(dim), points.sampler(12), gaussian_metrics()),
            (gaussian_statistics(dim), points.moments_sampler(12), gaussian_metrics()),
            (mixture(2), points.sampler(12), ()),
            (mixture(2), truth.sampler(12), mixture_metrics(truth)),
            (kde("shrunk"), points.sampler(12), kde_metrics()),
        ):
            chain = build_chain(model, replace(), real, 12, metrics)
            jax.eval_shape(lambda key, chain=chain: chain.step(key, chain.init(key)[0]), jax.random.key(0))
        assert np.shape(replace_variance(np.arange(3.0), np.array([[10.0], [20.0]]))) == (2, 3)
        jax.eval_shape(lambda m: replace_variance(np.arange(3.0), m), jnp.ones((2, 1)))
