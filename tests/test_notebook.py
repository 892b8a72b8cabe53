"""What a person meets in a notebook: names, what things say of themselves, figures, Ctrl-C, sentences for mistakes."""

import sys
from functools import partial
from importlib.metadata import version

import jax
import numpy as np
import pandas as pd
import pytest

import collapse_jax as cj
from collapse_jax.cli import main as cli
from collapse_jax.metrics.model_free import log_total_variance
from collapse_jax.models.categorical import categorical
from collapse_jax.models.kde import kde_metrics

KEY = jax.random.key(0)
TRUTH = cj.gaussian_truth(1)
REAL = TRUTH.sampler(20)
build = partial(cj.build_chain, cj.gaussian(1), cj.replace(), REAL, 20)


def test_names_are_listed_and_misspelt_ones_are_told_the_nearest():
    assert {"simulate", "plot", "load", "mixture", "__version__"} <= set(dir(cj))
    assert cj.__version__ == version("collapse-jax")
    with pytest.raises(AttributeError, match="no attribute 'simulat'; did you mean 'simulate'"):
        cj.simulat  # noqa: B018
    assert not hasattr(cj, "__wrapped__")
    for name in cj.__all__:
        assert getattr(cj, name) is not None


def test_things_say_what_they_are():
    chain = build([log_total_variance()])
    told = repr(chain)
    assert told == "<chain of <model gaussian> under <regime replace>, M = 20; records log_total_variance>"
    assert repr(cj.accumulate(5)) == "<regime accumulate, room for 5 generations>"
    assert len(repr(cj.build_chain(cj.mixture(2), cj.accumulate(3), REAL, 20, cj.mixture_metrics()))) < 400


def test_results_know_their_settings(tmp_path):
    result = cj.simulate(build([log_total_variance()]), jax.random.key(7), 2, 3)
    assert result.attrs["key"].split()[-1] == "7"
    assert "gaussian" in result.attrs["chain"] and result.attrs["lanes"] == 16
    assert f"jax {jax.__version__}" in result.attrs["versions"]
    result.to_netcdf(tmp_path / "mine.nc", engine="h5netcdf")  # a file can hold them


def test_a_result_is_drawn():
    result = cj.simulate(build(cj.gaussian_metrics()), KEY, 4, 5)
    figure = cj.plot(result)
    assert {axes.get_title() for axes in figure.axes if axes.get_title()} >= {"mean", "log_total_variance"}
    assert figure._repr_png_()[:4] == b"\x89PNG"
    one = cj.plot(result, "log_total_variance")
    assert [axes.get_title() for axes in one.axes] == ["log_total_variance"]
    median = one.axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(median, result.log_total_variance.median("seed"), rtol=1e-6)
    weights = cj.simulate(cj.build_chain(cj.mixture(2), cj.replace(), REAL, 20, cj.mixture_metrics()), KEY, 2, 2)
    panel = cj.plot(weights, "weights").axes[0]
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["component 0", "component 1"]


def test_a_run_is_loaded(tmp_path):
    out = tmp_path / "run"
    pd.DataFrame({"a": np.arange(20.0)}).to_csv(tmp_path / "mine.csv")
    table = ["--data", str(tmp_path / "mine.csv"), "--seeds", "8", "--generations", "5"]
    assert cli.run_command(["run", "gaussian", *table, "--out", str(out)]) == 0
    result = cj.load(out)
    assert result.sizes["generation"] == 6
    assert result.attrs["study"] == "numbers" and '"seeds": 8' in result.attrs["config"]
    with pytest.raises(ValueError, match="holds no run"):
        cj.load(tmp_path / "nowhere")
    (out / "trajectory.nc").unlink()
    with pytest.raises(ValueError, match=r"collapse-jax report .* puts together"):
        cj.load(out)


class _Stop:
    """Ctrl-C after so many segments."""

    def __init__(self, after):
        self.left = after

    def __call__(self, segment):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_ctrl_c_keeps_what_was_finished(monkeypatch):
    chain, whole = build([log_total_variance()]), None
    whole = cj.simulate(chain, KEY, 2, 30, segment_length=10)
    with pytest.raises(cj.Interrupted) as told:
        cj.simulate(chain, KEY, 2, 30, segment_length=10, on_segment=_Stop(after=3))
    part = told.value.result
    assert part.sizes["generation"] == 21
    np.testing.assert_array_equal(part.log_total_variance, whole.log_total_variance[:, :21])
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    with pytest.warns(UserWarning, match="21 generations were finished"):
        again = cj.simulate(chain, KEY, 2, 30, segment_length=10, on_segment=_Stop(after=3))
    assert again.identical(part)


def test_an_interactive_session_sees_how_far_it_is(monkeypatch, capsys):
    clock = iter(np.arange(0.0, 1000.0, 2.0))
    monkeypatch.setattr("collapse_jax.drivers.simulate.time", type("time", (), {"monotonic": lambda: next(clock)}))
    chain = build([log_total_variance()])
    cj.simulate(chain, KEY, 2, 50, segment_length=10)
    assert capsys.readouterr().err == ""  # a program's own output stays as it is
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    cj.simulate(chain, KEY, 2, 50, segment_length=10)
    lines = [line.strip() for line in capsys.readouterr().err.split("\r") if line]
    assert lines[-1] == "generation 50 of 50, 0:00 left"
    assert "generation 20 of 50, 0:06 left" in lines
    assert all(len(line) <= 60 for line in lines)


MOMENTS = cj.gaussian_statistics(1)
MISTAKES = {
    "a regime's name": lambda: cj.build_chain(cj.gaussian(1), "replace", REAL, 20),
    "a factory for a regime": lambda: cj.build_chain(cj.gaussian(1), cj.replace, REAL, 20),
    "a factory for a model": lambda: cj.build_chain(cj.gaussian, cj.replace(), REAL, 20),
    "an array for a data set": lambda: cj.build_chain(cj.gaussian(1), cj.replace(), np.ones((5, 1)), 20),
    "a frame for a data set": lambda: cj.build_chain(cj.gaussian(1), cj.replace(), pd.DataFrame({"a": [1.0]}), 20),
    "one metric for a list": lambda: build(log_total_variance()),
    "a factory in the list": lambda: build([log_total_variance]),
    "a metric of another family": lambda: build(cj.mixture_metrics(cj.two_gaussians())),
    "a kernel's metric": lambda: build(kde_metrics()),
    "statistics where points are needed": lambda: cj.build_chain(
        MOMENTS, cj.subsample(10), TRUTH.moments_sampler(20), 20
    ),
    "points pooled with statistics": lambda: cj.build_chain(MOMENTS, cj.add_real(cj.original()), REAL, 20),
    "a float for a number of points": lambda: cj.build_chain(cj.gaussian(1), cj.replace(), REAL, 20.0),
    "a seed for a key": lambda: cj.simulate(build(), 0, 2, 3),
    "keys for a key": lambda: cj.simulate(build(), jax.random.split(KEY), 2, 3),
    "a model for a chain": lambda: cj.simulate(cj.gaussian(1), KEY, 2, 3),
    "no number of seeds": lambda: cj.simulate(build(), KEY, None, 3),
    "a chain for a result": lambda: cj.plot(build()),
    "an unknown metric": lambda: cj.plot(cj.simulate(build([log_total_variance()]), KEY, 2, 3), "log_totl_variance"),
    "another dimension": lambda: cj.build_chain(cj.gaussian(2), cj.replace(), REAL, 20),
    "labels for points": lambda: cj.build_chain(cj.gaussian(1), cj.replace(), cj.as_samples(np.arange(5)), 20),
    "points for labels": lambda: cj.build_chain(categorical(3), cj.replace(), REAL, 20),
    "too many components": lambda: cj.build_chain(cj.mixture(50), cj.replace(), REAL, 20),
}
FRAME = pd.DataFrame({"age": [31, 45, 50], "income": [1.5, 2.5, 3.5]})
MISTAKES |= {
    "a column of text": lambda: cj.as_samples(FRAME.assign(name=["a", "b", "c"])),
    "a column of dates": lambda: cj.as_samples(FRAME.assign(day=pd.to_datetime(["2024-01-01"] * 3))),
    "missing values": lambda: cj.as_samples(FRAME.assign(gap=[1.0, np.nan, 2.0])),
    "infinite values": lambda: cj.as_samples(FRAME.assign(much=[np.inf, 1.0, 2.0])),
    "beyond float32": lambda: cj.as_samples(FRAME.assign(much=[1e300, 1.0, 2.0])),
    "rows of unequal length": lambda: cj.as_samples([[1.0, 2.0], [3.0]]),
    "groups far apart": lambda: cj.as_samples(np.r_[np.arange(9.0) - 1e8, np.arange(9.0) + 1e8][:, None]),
    "shares of too little": lambda: cj.as_samples(FRAME, np.full(3, 0.1)),
    "more components than points": lambda: cj.build_chain(cj.mixture(5), cj.replace(), cj.as_samples(FRAME), 20),
    "bytes for intensities": lambda: cj.build_chain(cj.vae(num_pixels=2), cj.replace(), cj.as_samples(FRAME), 20),
    "columns for another model": lambda: cj.build_chain(cj.gaussian(3), cj.replace(), cj.as_samples(FRAME), 20),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_meets_one_sentence(unchecked, mistake):
    with pytest.raises((TypeError, ValueError)) as told:
        MISTAKES[mistake]()
    sentence = str(told.value)
    assert len(sentence) < 400 and "\n" not in sentence and sentence.endswith("."), sentence
    assert ";" in sentence, sentence  # what is wrong; what helps
