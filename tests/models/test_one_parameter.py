"""Exponential, uniform and Poisson chains: statistics as explicit points give them, scales that never underflow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from one_parameter_points import RATE, SIZE, real_points
from scipy import special, stats

from collapse_jax import Metric, accumulate, add_real, build_chain, fresh, replace, window
from collapse_jax.core.statistics import Sums
from collapse_jax.models.one_parameter import Largest, exponential, log_scale_metric, poisson, uniform
from collapse_jax.numerics import frame as frames
from collapse_jax.selfcheck.laws.running import run_all
from collapse_jax.testing.laws import assert_law, assert_mean
from collapse_jax.theory import discrete as exact
from collapse_jax.theory import gaussian as moments

GENERATIONS, RUNS = 4, 8192
FITS = GENERATIONS + 1
_MODELS = {"exponential": exponential, "uniform": uniform, "poisson": poisson}
_RATE = Metric("rate", (), "1", lambda key, s: s.params)


@pytest.fixture(scope="module")
def statistics():
    """8,192 statistics of 7 points of scale 1 (rate 0.4): drawn from their law, and of explicit points."""

    def both(key):
        key_drawn, key_points = jax.random.split(key)
        found = {}
        for name, model in _MODELS.items():
            params = jnp.asarray(RATE) if name == "poisson" else frames.data_frame(1)
            drawn, points = model().sample(key_drawn, params, SIZE), real_points(name)(key_points)
            found[name] = [d.value if name == "uniform" else d.values for d in (drawn, points)]
        return found

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(both))(jax.random.split(jax.random.key(0), RUNS)))


@pytest.mark.parametrize("name", _MODELS)
def test_statistics_have_the_law_of_points(name, statistics):
    """Kolmogorov-Smirnov, 8,192 each, p > 1e-3: sees gaps of 0.03 (ties of counts only raise p)."""
    assert stats.ks_2samp(*statistics[name]).pvalue > 1e-3


def test_statistics_have_their_exact_law(statistics):
    """The same against distribution functions: gaps of 0.021; chi-square for counts."""
    assert_law(statistics["exponential"][0], stats.gamma(SIZE).cdf)
    assert_law(statistics["uniform"][0], stats.beta(SIZE, 1).cdf)
    counts = np.bincount(statistics["poisson"][0].astype(int), minlength=9)
    law = stats.poisson(SIZE * RATE)
    expected = RUNS * np.append(law.pmf(np.arange(8)), law.sf(7))
    assert stats.chisquare(np.append(counts[:8], counts[8:].sum()), expected).pvalue > 1e-3


@pytest.fixture(scope="module")
def records():
    """Chains of every family under replace and accumulate, one compiled program."""
    chains = {}
    for name, model in _MODELS.items():
        metrics = (_RATE,) if name == "poisson" else (log_scale_metric(),)
        for regime in (replace(), accumulate(GENERATIONS)):
            pool = "pool " if regime.max_generations else ""
            chains[pool + name] = build_chain(model(), regime, real_points(name), SIZE, metrics)
    return run_all(chains, jax.random.key(1), RUNS, GENERATIONS)


def test_one_step_of_a_scale(records):
    """The ratio of two generations' scales: Gamma(M)/M, and Beta(M, 1); any generation, whatever the scale."""
    for name, law in (("exponential", stats.gamma(SIZE, scale=1 / SIZE)), ("uniform", stats.beta(SIZE, 1))):
        log_scale = records[name]["log_scale"].astype(float)
        for generation in (0, 1, GENERATIONS):
            before = log_scale[:, generation - 1] if generation else 0.0
            assert_law(np.exp(log_scale[:, generation] - before), law.cdf)
        steps = np.diff(log_scale, axis=1)
        assert abs(stats.spearmanr(log_scale[:, 0], steps[:, -1]).statistic) < 5 / np.sqrt(RUNS)


def test_poisson_rates(records):
    """Var lambda_n = n lambda / M, and lambda/M sum 1/k^2 pooled; an extinct rate stays 0."""
    replaced, pooled = (records[name]["rate"].astype(float) for name in ("poisson", "pool poisson"))
    for rate, regime in ((replaced, "replace"), (pooled, "accumulate")):
        assert_mean(rate[:, -1], RATE, power=0.05)
        variance = RATE * float(moments.known_variance_mean(FITS, SIZE, regime))
        assert_mean((rate[:, -1] - RATE) ** 2, variance, power=0.2 * variance)
    assert_mean(replaced[:, -1] > 0, float(exact.poisson_survival(RATE, SIZE, FITS)), power=0.04)
    dead = replaced == 0
    assert dead[:, -1].any() and not (dead[:, :-1] & ~dead[:, 1:]).any()
    np.testing.assert_allclose(replaced * SIZE, np.round(replaced * SIZE), atol=1e-5)  # float32 division


def test_accumulated_scales(records):
    """E theta^2 = prod (1 + 1/(M k^2)), where replace gives (1 + 1/M)^n; a pooled maximum never moves again."""
    theta = np.exp(records["pool exponential"]["log_scale"][:, -1].astype(float))
    pooled = float(exact.exponential_accumulate(FITS, SIZE))
    assert_mean(theta**2, pooled, power=0.15)
    assert (1 + 1 / SIZE) ** FITS - pooled > 0.6
    log_scale = records["pool uniform"]["log_scale"]
    np.testing.assert_allclose(log_scale, np.broadcast_to(log_scale[:, :1], log_scale.shape), atol=1e-6)


def test_statistics_merge_as_points_pool():
    merged = Largest(jnp.asarray(3.0), jnp.asarray(0.5)).merge(Largest(jnp.asarray(4.0), jnp.asarray(0.8)))
    assert (float(merged.weight), float(merged.total_weight)) == (7, 7) and float(merged.value) == np.float32(
        0.8
    )
    store = merged.reserve(10).append(Largest(jnp.asarray(1.0), jnp.asarray(0.9)), jnp.asarray(0))
    assert float(store.weight) == 8 and float(store.value) == np.float32(0.9) and store.num_rows == 0


@pytest.mark.parametrize("make", [Sums, Largest])
def test_statistics_keep_their_value_in_data_units(make):
    frame = frames.advance(frames.data_frame(1), jnp.zeros(1), jnp.array([[0.25]]))
    moved = make(jnp.asarray(3.0), jnp.asarray(0.5), frames.data_frame(1)).follow(frame)
    value = moved.values if make is Sums else moved.value
    assert float(value) * float(jnp.exp(moved.frame.log_scale[0])) == pytest.approx(0.5, rel=1e-6)
    assert float(moved.weight) == 3


def test_a_long_chain_reports_its_log_scale():
    """M = 4, 3,000 generations in float32: log theta near -390 and -750; theta itself underflows at -103.

    128 chains: z < 5 sees a drift off by 2 % (exponential) or 1 % (uniform).
    """
    generations, size, runs = 3000, 4, 128
    chains = {
        name: build_chain(_MODELS[name](), replace(), real_points(name, size), size, (log_scale_metric(),))
        for name in ("exponential", "uniform")
    }
    records = run_all(chains, jax.random.key(2), runs, generations)
    fits = generations + 1
    laws = {
        "exponential": (special.digamma(size) - np.log(size), special.polygamma(1, size)),
        "uniform": (-1 / size, 1 / size**2),
    }
    for name, (drift, variance) in laws.items():
        last = records[name]["log_scale"][:, -1].astype(float)
        assert abs(last.mean() - fits * drift) < 5 * np.sqrt(fits * variance / runs), name
        assert records[name]["is_finite"].all() and last.max() < -200


def test_fresh_data_enter_the_scale():
    """Ten real points of mean 1 are a hundredth each where the scale is 100."""
    frame = frames.advance(frames.data_frame(1), jnp.zeros(1), jnp.array([[100.0]]))
    sampler = lambda key, num: Sums(jnp.asarray(float(num)), jnp.asarray(float(num)))  # noqa: E731
    drawn = Sums(jnp.asarray(10.0), jnp.asarray(10.0), frame)
    training, _ = add_real(fresh(sampler), count=10).update(jax.random.key(0), drawn, ())
    assert float(training.values) == pytest.approx(10.1)


def test_a_fresh_maximum_enters_the_scale():
    """The largest of ten real points, 50, is a half where the scale is 100; of the pool the larger counts."""
    frame = frames.advance(frames.data_frame(1), jnp.zeros(1), jnp.array([[100.0]]))
    sampler = lambda key, num: Largest(jnp.asarray(float(num)), jnp.asarray(50.0))  # noqa: E731
    for drawn, expected in ((0.4, 0.5), (0.7, 0.7)):
        own = Largest(jnp.asarray(10.0), jnp.asarray(drawn), frame)
        training, _ = add_real(fresh(sampler), count=10).update(jax.random.key(0), own, ())
        assert float(training.value) == pytest.approx(expected) and float(training.weight) == 20
    assert float(Largest(jnp.asarray(3.0), jnp.asarray(0.5)).scale(0.0).value) == 0


def test_a_window_of_maxima():
    build_chain(uniform(), window(2), real_points("uniform"), SIZE)
