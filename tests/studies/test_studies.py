"""What the studies hand on: configurations to models, names to regimes, regimes to their laws; nothing is compiled."""

import inspect
from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax import theory
from collapse_jax.core.data import as_samples
from collapse_jax.core.protocol import Chain, Metric, State
from collapse_jax.models.gaussian import gaussian_truth
from collapse_jax.models.vae import conv_vae, vae
from collapse_jax.studies.gaussian import study as gaussian_study
from collapse_jax.studies.gaussian.comparison import compared_regimes
from collapse_jax.studies.gaussian.config import GaussianCell, GaussianConfig
from collapse_jax.studies.gmm import study as gmm_study
from collapse_jax.studies.gmm.config import GMMConfig
from collapse_jax.studies.gmm.paired import beside_tight
from collapse_jax.studies.regime_options import named_regime
from collapse_jax.studies.vae import study as vae_study
from collapse_jax.studies.vae.config import PRESETS, VAEConfig

KEY = jax.random.key(0)
M = 20


def _batch(generation):
    """Rows that say who they are: 1000 * generation + row."""
    return as_samples(1000.0 * generation + np.arange(M, dtype=np.float32)[:, None])


def _learnt(regime, generations=7):
    """(rows, weights) that each later generation learns; batch 0 is the real set."""
    state, found = regime.init(_batch(0), _batch(0)), []
    for generation in range(1, generations + 1):
        data, state = regime.update(jax.random.fold_in(KEY, generation), _batch(generation), state)
        live = np.asarray(data.weight) > 0
        found.append((np.asarray(data.x)[live, 0], np.asarray(data.weight)[live]))
    return found


def _sources(rows):
    """How many rows are of which batch."""
    return dict(zip(*np.unique(rows // 1000, return_counts=True)))


def _named(name, share=0.0):
    return named_regime(name, real_fraction=share, window_size=3, num_samples=M, generations=7)


def test_each_name_is_its_regime():
    last = lambda name, share=0.0: _learnt(_named(name, share))[-1]  # noqa: E731
    assert _sources(last("replace")[0]) == {7: M}
    assert _sources(last("accumulate")[0]) == dict.fromkeys(range(8), M)
    assert _sources(last("window")[0]) == {5: M, 6: M, 7: M}
    assert _sources(last("add")[0]) == {0: M, 7: M}
    pool, _ = last("accumulate-subsample")
    assert len(pool) == M == len(set(pool)) and len(_sources(pool)) > 3
    assert _named("accumulate").max_generations == 7
    rows, weights = last("weight-real", 0.3)
    assert weights[rows < 1000].sum() == pytest.approx(0.3 * M) and weights.sum() == pytest.approx(M)
    real = sum(_sources(rows)[0] for rows, _ in _learnt(_named("replace-part", 0.5), 40))
    assert abs(real - 20 * M) < 5 * np.sqrt(40 * M / 4)  # each slot by itself, half of the time


def _original(rows):
    return _sources(rows).get(0, 0)


def test_the_compared_regimes_are_what_they_are_called():
    """M = 20: a tenth is two points, half of M ten; laws are of the same numbers, with as many real points as M."""
    config = GaussianConfig(regime_samples=M, regime_generations=7)
    compared = compared_regimes(config)
    learnt = {name: _learnt(item.regime())[-1] for name, item in compared.items() if item.needs_points}
    assert _original(learnt["10 % of the original kept"][0]) == 2 and len(learnt["10 % of the original kept"][0]) == M
    assert len(learnt["accumulate, subsample M"][0]) == M
    plain = {name: item.regime() for name, item in compared.items() if not item.needs_points}
    assert _sources(_learnt(plain["window of 5"])[-1][0]) == dict.fromkeys(range(3, 8), M)
    assert _sources(_learnt(plain["accumulate"])[-1][0]) == dict.fromkeys(range(8), M)
    rows, weights = _learnt(plain["original weighted 0.3"])[-1]
    assert weights[rows < 1000].sum() == pytest.approx(0.3 * M)
    moments = gaussian_truth(1).moments(KEY, M)
    weight = lambda name: float(plain[name].update(KEY, moments, ())[0].weight)  # noqa: E731
    assert weight("M/2 fresh added") == M + M / 2 and weight("M fresh weighted 0.618") == pytest.approx(M)
    laws = {
        "replace": theory.ibd_replace(7, M, M), "window of 5": theory.ibd_window(7, M, 5),
        "accumulate": theory.ibd_accumulate(7, M, M),
        "accumulate, subsample M": theory.ibd_accumulate_subsample(7, M),
        "10 % of the original kept": theory.ibd_original_counts(7, M, M, 2),
        "each point fresh, 10 %": theory.ibd_fresh_fraction(7, M, M, 0.1),
        "original added": theory.ibd_add_original(7, M, M), "M/2 fresh added": theory.ibd_fresh_counts(7, M, 10, M),
        "original weighted 0.3": theory.ibd_weight_original(7, M, 0.3, M),
        "M fresh weighted 0.618": theory.ibd_weight_fresh(7, M, (5**0.5 - 1) / 2, M, M),
    }  # fmt: skip
    assert list(laws) == list(compared)
    for name, law in laws.items():
        np.testing.assert_allclose(compared[name].identity(), law, rtol=1e-6, err_msg=name)


@pytest.fixture
def handed(monkeypatch, unchecked):
    """What factories are called with, by their names; a chain is what it was made of."""
    told = {}

    def watch(module, name):
        def make(*args, **options):
            told.setdefault(name, []).append((args, options))
            return name

        monkeypatch.setattr(module, name, make)

    def chain(model, regime, real, num_samples, metrics):
        return SimpleNamespace(
            model=model, regime=regime, real=real, num=num_samples, metrics=metrics, on_host=False
        )

    for module, names in (
        (gmm_study, ("mixture", "named_regime", "mixture_metrics")),
        (gaussian_study, ("gaussian", "gaussian_statistics", "named_regime")),
        (vae_study, ("vae", "conv_vae", "named_regime", "vae_metrics", "held_out_metrics", "classifier_metrics")),
    ):
        for name in names:
            watch(module, name)
        monkeypatch.setattr(module, "build_chain", chain)
    return told


REGIME = {"regime": "window", "real_fraction": 0.0, "window_size": 4, "generations": 9}


def test_a_mixture_is_fitted_as_its_configuration_says(handed):
    config = GMMConfig(
        num_samples=(30, 50), num_components=3, start="kmeans", tol=2e-4, max_steps=77, ridge="absolute",
        ridge_size=3e-5, held_out=11, separation=5.0, lanes=6, **REGIME,
    )  # fmt: skip
    plan = gmm_study.build(config)
    assert [arm.value for arm in plan.arms] == [arm.chain.num for arm in plan.arms] == [30, 50]
    assert plan.lanes == 6 and plan.dim == "num_samples"
    given = {"start": "kmeans", "tol": 2e-4, "max_steps": 77, "ridge": "absolute", "ridge_size": 3e-5}
    assert handed["mixture"] == [((3,), given)] * 2
    for (args, options), size in zip(handed["named_regime"], (30, 50)):
        assert args == ("window",)
        assert options == {"real_fraction": 0.0, "window_size": 4, "num_samples": size, "generations": 9}
    (truth, held_out), _ = handed["mixture_metrics"][0]
    assert held_out.shape == (11, 2) and np.ptp(truth.means[:, 0]) == 5.0
    assert plan.arms[0].chain.real(KEY).num_rows == 30


def test_no_ridge_is_a_relative_one_of_nothing_and_no_held_out_points_are_none(handed):
    gmm_study.build(GMMConfig(num_samples=(30,), ridge="none", held_out=0))
    assert handed["mixture"][0][1]["ridge"] == "relative" and handed["mixture"][0][1]["ridge_size"] == 0.0
    assert handed["mixture_metrics"][0][0][1] is None


def test_held_out_points_are_no_chain_s(handed):
    """They follow the seed of the run, and are the same for every M."""
    for seed in (0, 1):
        gmm_study.build(GMMConfig(num_samples=(30, 50), held_out=5, seed=seed))
    first, again, other, _ = (args[1] for args, _ in handed["mixture_metrics"])
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_cell_of_a_sweep_is_the_gaussian_it_names(handed):
    cell = GaussianCell(num_samples=15, dim=3, estimator="unbiased", draws="statistics", bias=0.7, **REGIME)
    chain = gaussian_study.cell(cell)
    assert handed["gaussian_statistics"] == [((3,), {"estimator": "unbiased", "bias": 0.7})]
    assert handed["named_regime"] == [
        (("window",), {"real_fraction": 0.0, "window_size": 4, "num_samples": 15, "generations": 9})
    ]
    assert chain.num == 15 and float(chain.real(KEY).weight) == 15 and chain.real(KEY).mean.shape == (3,)
    assert gaussian_study.cell(replace(cell, draws="points")).real(KEY).x.shape == (15, 3)
    assert len(handed["gaussian"]) == len(handed["gaussian_statistics"]) == 1


FIELDS = ("num_latents", "num_steps", "batch_size", "learning_rate", "weight_decay", "start", "synthetic", "draws")


def test_an_autoencoder_is_trained_as_its_configuration_says(handed):
    changes = {
        "num_latents": 3, "num_steps": 17, "batch_size": 9, "learning_rate": 2e-3, "weight_decay": 1e-4,
        "start": "warm", "synthetic": "fresh", "draws": "mean",
    }  # fmt: skip
    config = VAEConfig(num_samples=40, num_digits=60, num_hidden=7, num_measured=33, num_judged=21, lanes=3, **REGIME)
    plan = vae_study.build(replace(config, **changes))
    vae_study.build(replace(config, net="conv", num_judged=0, **changes))
    assert handed["vae"] == [((), {"num_hidden": 7, **changes})] and handed["conv_vae"] == [((), changes)]
    assert handed["named_regime"][0] == (
        ("window",), {"real_fraction": 0.0, "window_size": 4, "num_samples": 40, "generations": 9},
    )  # fmt: skip
    assert handed["vae_metrics"][0] == ((33, 20), {}) and len(handed["classifier_metrics"]) == 1
    assert handed["classifier_metrics"][0][0][1] == 21
    assert plan.lanes == 3 and plan.arms[0].value == plan.arms[0].chain.num == 40
    assert plan.arms[0].chain.real.num_rows == 60


def test_the_published_autoencoder_is_the_library_s_default():
    """Two places that say it: 30 epochs of 60,000 digits in minibatches of 256, Adam at 1e-3 with a decay of 1e-5."""
    default = {name: value.default for name, value in inspect.signature(conv_vae).parameters.items()}
    assert default == {name: getattr(PRESETS["paper"], name) for name in FIELDS}
    assert default["num_steps"] == 30 * 60_000 // 256 and default["num_latents"] == 20
    assert (default["learning_rate"], default["weight_decay"]) == (1e-3, 1e-5)
    assert (default["start"], default["synthetic"], default["draws"]) == ("fresh", "fresh", "mean")
    mlp = {name: value.default for name, value in inspect.signature(vae).parameters.items()}
    assert (mlp["start"], mlp["synthetic"], mlp["draws"], mlp["weight_decay"]) == ("fresh", "fixed", "mean", 0.0)


def _fake(offset, metrics=()):
    """A chain that counts: its record says by how much, its params are the count."""

    def step(key, state):
        count = (0.0 if state is None else state.params) + offset
        generation = 0 if state is None else state.generation + 1
        drawn = jax.random.key_data(key)[1].astype(float)
        record = {"log_l2_origin": count, "log_l2_truth": drawn, "em_steps": jnp.asarray(3), "log_likelihood": count}
        record |= {"converged": jnp.asarray(True), "is_finite": jnp.isfinite(count)}
        return State(jnp.asarray(generation), count, jnp.asarray(0.0), (), ()), record

    return Chain(lambda key: step(key, None), step, metrics, 6 if offset == 1 else None)


@pytest.mark.parametrize("broken", [None, "first", "second"])
def test_two_tolerances_run_side_by_side_on_one_key(broken):
    """Distances between them take the second chain's model for the origin; either may be lost."""
    gap = Metric("log_l2_origin", (), "nats", lambda key, s: s.params - s.origin)
    offsets = {"first": jnp.asarray(1.0), "second": jnp.asarray(0.25)}
    if broken:
        offsets[broken] = jnp.asarray(jnp.inf)
    joint = beside_tight(_fake(offsets["first"], (gap,)), _fake(offsets["second"], (gap,)))
    state, first = joint.init(KEY)
    state, record = joint.step(jax.random.key(1), state)
    assert int(state.generation) == 1
    assert bool(first["is_finite"]) == bool(record["is_finite"]) == (broken is None)
    assert float(record["log_l2_truth"]) == float(record["tight_log_l2_truth"]) != float(first["log_l2_truth"])
    if broken is None:
        assert float(record["log_l2_origin"]) == 2 and float(record["tight_log_l2_origin"]) == 0.5
        assert float(record["log_l2_between"]) == 1.5 and float(first["log_l2_between"]) == 0.75
        assert joint.max_generations == 6
    assert [metric.name for metric in joint.metrics] == ["log_l2_origin", "tight_log_l2_origin", "log_l2_between"]
