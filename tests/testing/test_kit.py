"""The testing kit: a user's tests run as the docs show them, and every check fails for what breaks its promise."""

import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from collapse_jax import Regime, Samples, build_chain, external, replace
from collapse_jax.core.statistics import Sums
from collapse_jax.metrics.model_free import log_total_variance
from collapse_jax.models.categorical import CategoricalTruth, categorical
from collapse_jax.testing import (
    ModelCase,
    RegimeCase,
    assert_variance_law,
    check_model,
    check_pair,
    check_regime,
    model_checks,
    strategies,
)
from collapse_jax.testing.cases import LINE, NUM_ROWS, ROOM, LineParams, line, standard_normal

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"


def test_a_users_tests_run_in_a_folder_of_their_own(tmp_path):
    mine, tests = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "mine.py").write_text(mine)
    (tmp_path / "test_mine.py").write_text(tests)
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "4 passed" in done.stdout, done.stdout


def _line(fit=None, sample=None, **changes):
    """Return the smallest model as a case, with another fit or another draw."""
    model = line()
    whole = model._replace(fit=fit or model.fit, sample=sample or model.sample)
    return LINE._replace(name="broken", build=lambda: whole, **changes)


def _reads_empty(key, params, data):
    return LineParams(jnp.mean(data.x), jnp.ones(())), {}


def _ignores_weights(key, params, data):
    rows = jnp.where(data.weight > 0, data.x[:, 0], 0.0)
    return LineParams(jnp.sum(rows) / jnp.sum(data.weight > 0), jnp.ones(())), {}


def _counts_slots(key, params, data):
    return LineParams(jnp.sum(data.live_rows()[:, 0] * data.weight) / data.num_rows, jnp.ones(())), {}


def _minds_order(key, params, data):
    first = data.live_rows()[jnp.argmax(data.weight > 0), 0]
    return LineParams(first, jnp.ones(())), {}


def _stays(key, params, data):
    return LineParams(jnp.tanh(jnp.sum(data.weight * data.live_rows()[:, 0])), jnp.ones(())), {}


def _not_finite(key, params, data):
    return LineParams(jnp.log(-jnp.ones(())), jnp.ones(())), {}


_calls = []


def _not_pure(key, params, data):
    _calls.append(1)
    return LineParams(jnp.asarray(float(len(_calls))), jnp.ones(())), {}


@pytest.mark.parametrize(
    ("fit", "promise"),
    [
        (_reads_empty, "what an empty slot holds is never read"),
        (_ignores_weights, "weight 2 is the row twice"),
        (_counts_slots, "weight 0 is absence"),
        (_minds_order, "the order of rows is irrelevant"),
        (_stays, "a fit moves with its data"),
        (_not_finite, "jit gives what eager gives, vmap what a loop gives, all finite"),
        (_not_pure, "jit gives what eager gives, vmap what a loop gives, all finite"),
    ],
)
def test_each_promise_of_a_model_is_seen_broken(fit, promise):
    with pytest.raises(AssertionError, match=f"^broken: {re.escape(promise)}"):
        model_checks(_line(fit))[promise]()
    with pytest.raises(AssertionError, match=r"^broken: "):
        check_model(_line(fit))


def test_a_statistic_that_cannot_be_weighted_is_seen(monkeypatch):
    truth = CategoricalTruth(np.array([0.5, 0.5]))
    real = lambda key, num: truth.counts_sampler(num)(key)  # noqa: E731
    case = ModelCase("counts", lambda: categorical(2), real, draws="statistics")
    check, promise = model_checks(case), "twice the weight is the data pooled with themselves"
    check[promise]()
    monkeypatch.setattr(Sums, "scale", lambda self, factor: self._replace(values=self.values + factor))
    with pytest.raises(AssertionError, match=f"^counts: {promise}"):
        check[promise]()


def test_a_model_in_python_that_keeps_something_of_its_own_is_seen():
    calls = []

    def fit(seed, params, rows, weight):
        calls.append(seed)
        return {"mean": np.full(1, len(calls) % 7, np.float32)}

    def sample(seed, params, num):
        return params["mean"] + np.random.default_rng(seed).normal(size=(num, 1)).astype(np.float32)

    case = ModelCase("stateful", lambda: external(fit, sample), standard_normal)
    with pytest.raises(AssertionError, match=r"^stateful: the same key gives the same generations"):
        check_model(case)


def test_each_promise_of_a_regime_is_seen_broken():
    def regime(weigh):
        return Regime(lambda real, synthetic: (), lambda key, synthetic, state: (weigh(synthetic), state))

    check_regime(RegimeCase("all", lambda real: regime(lambda data: data)))
    for weigh in (lambda data: data.scale(0.0), lambda data: data.scale(-1.0)):
        with pytest.raises(AssertionError, match=r"^broken: "):
            check_regime(RegimeCase("broken", lambda real, weigh=weigh: regime(weigh)))
    with pytest.raises(AssertionError, match="line under takes-all must be refused by a TypeError"):
        check_pair(LINE._replace(draws="stream"), RegimeCase("takes-all", lambda real: replace(), needs_points=True))


def _law_of(scale):
    return lambda generation: scale * (1 - 1 / NUM_ROWS) ** (generation + 1)


def test_a_variance_law_holds_fails_and_says_when_it_is_too_weak():
    real = lambda key: standard_normal(key, NUM_ROWS)  # noqa: E731
    chain = build_chain(line(), replace(), real, NUM_ROWS, [log_total_variance()])
    generations, options = (1, 3), {"num_seeds": 4096, "power": 0.1}

    def shrinks(n):  # the recorded variance is that of the points drawn, whose mean is M/(M-1) times unbiased
        return (1 - 1 / NUM_ROWS) ** (n + 1) * (1 - 1 / NUM_ROWS)

    assert_variance_law(chain, shrinks, generations=generations, **options)
    with pytest.raises(AssertionError, match=r"^generation 1: mean .* z = "):
        assert_variance_law(chain, lambda n: 1.1 * shrinks(n), generations=generations, **options)
    with pytest.raises(AssertionError, match=r"too weak, 0\.00"):
        assert_variance_law(chain, shrinks, generations=(1,), num_seeds=256, power=0.001)
    with pytest.raises(ValueError, match=r"records no 'log_variance'; .*There are: .*log_total_variance"):
        assert_variance_law(chain, shrinks, metric="log_variance", num_seeds=2)


@given(strategies.data_sets(), strategies.schedules(), strategies.regimes())
@settings(max_examples=15)
def test_what_strategies_draw_is_used_by_a_chain(data, sizes, regime):
    assert isinstance(data, Samples) and data.x.shape == (NUM_ROWS, 1) and float(data.weight.sum()) > 0
    assert len(sizes) == ROOM and max(sizes) <= NUM_ROWS
    state = regime.init(data, data)
    training, _ = regime.update(jax.random.key(0), data, state)
    assert float(training.total_weight) >= 0


@given(strategies.chains())
@settings(max_examples=5)
def test_a_drawn_chain_runs(chain):
    state, record = chain.step(jax.random.key(1), chain.init(jax.random.key(0))[0])
    assert bool(record["is_finite"]) and int(state.generation) == 1


def test_the_kit_is_loaded_without_hypothesis_and_strategies_say_how_to_get_it():
    told = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "from collapse_jax.testing import assert_mean, check_model\n"
        "try:\n    from collapse_jax.testing import strategies\n"
        "except ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", told], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("which is not installed; pip install 'collapse-jax[testing]'.")
