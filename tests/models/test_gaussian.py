"""The Gaussian model: points and statistics agree in law, any M and any rank, logs that never underflow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from collapse_jax import (
    accumulate,
    add_real,
    build_chain,
    fresh,
    gaussian,
    gaussian_metrics,
    gaussian_truth,
    original,
    replace,
    replace_with_real,
    simulate,
    subsample,
    weight_real,
    window,
)
from collapse_jax.core.data import Samples
from collapse_jax.core.protocol import Snapshot
from collapse_jax.core.statistics import moments_of
from collapse_jax.models.gaussian import GaussianParams, GaussianTruth, gaussian_statistics
from collapse_jax.numerics import frame as frames
from collapse_jax.selfcheck.laws.running import run_all
from collapse_jax.theory import gaussian as exact

MODELS = {"points": gaussian, "statistics": gaussian_statistics}

SIZE, GENERATIONS, RUNS = 12, 4, 4096
KEY = jax.random.key(0)


def _run(draws, regime, *, dim=2, key=0, size=SIZE, runs=RUNS, generations=GENERATIONS, estimator="mle"):
    truth = gaussian_truth(dim)
    real = truth.sampler(size) if draws == "points" else truth.moments_sampler(size)
    chain = build_chain(
        MODELS[draws](dim, estimator=estimator), regime, real, size, gaussian_metrics()
    )
    return simulate(chain, jax.random.key(key), runs, generations, lanes=min(runs, 1024))


def _sampler(draws):
    truth = gaussian_truth(2)
    return truth.sample if draws == "points" else truth.moments


# every regime that both kinds of data support
_BOTH = {
    "replace": lambda draws: replace(),
    "accumulate": lambda draws: accumulate(GENERATIONS),
    "window": lambda draws: window(2),
    "add original": lambda draws: add_real(original()),
    "add fresh": lambda draws: add_real(fresh(_sampler(draws)), count=5),
    "weight original": lambda draws: weight_real(original(), weight=0.4),
    "weight fresh": lambda draws: weight_real(fresh(_sampler(draws)), weight=0.4, count=9),
}


@pytest.fixture(scope="module")
def both_kinds():
    """Records of every regime from points and from statistics, one compiled program each."""
    records = []
    for index, draws in enumerate(("points", "statistics")):
        truth = gaussian_truth(2)
        real = truth.sampler(SIZE) if draws == "points" else truth.moments_sampler(SIZE)
        model = MODELS[draws](2, estimator="mle")
        chains = {
            name: build_chain(model, make(draws), real, SIZE, gaussian_metrics())
            for name, make in _BOTH.items()
        }
        records.append(run_all(chains, jax.random.key(index), RUNS, GENERATIONS))
    return records


@pytest.mark.parametrize("name", _BOTH)
def test_points_and_statistics_agree_in_law(name, both_kinds):
    """Kolmogorov-Smirnov, 4,096 chains each, p > 1e-3: sees a shift of 0.1 standard deviations nine times in ten."""
    points, statistics = (records[name] for records in both_kinds)
    columns = [("log_total_variance", 0), ("mean", 0), ("mean", 1), ("log_scale", 0), ("log_scale", 1)]
    for variable, axis in columns:
        both = [result[variable][:, -1].reshape(RUNS, -1)[:, axis] for result in (points, statistics)]
        assert stats.ks_2samp(*both).pvalue > 1e-3, (variable, axis)


def test_a_wrong_factor_is_seen():
    """The same test tells the unbiased estimator from the MLE: it can fail."""
    one = _run("points", replace(), estimator="unbiased").log_total_variance.isel(generation=-1)
    other = _run("statistics", replace(), key=1).log_total_variance.isel(generation=-1)
    assert stats.ks_2samp(one, other).pvalue < 1e-3


@given(st.integers(0, 2**16), st.sampled_from([(6, 9), (2, 5), (1, 4)]))
def test_merging_moments_is_pooling_points(seed, sizes):
    rng = np.random.default_rng(seed)
    first, second = (Samples(jnp.asarray(rng.normal(size=(n, 3)), jnp.float32), jnp.ones(n)) for n in sizes)
    merged, pooled = moments_of(first).merge(moments_of(second)), moments_of(first.merge(second))
    scatter = [np.asarray(m.factor @ m.factor.T) for m in (merged, pooled)]
    np.testing.assert_allclose(merged.mean, pooled.mean, atol=1e-5)  # float32 sums of ten numbers of order 1
    np.testing.assert_allclose(*scatter, atol=1e-4)  # likewise, squared
    assert float(merged.weight) == sum(sizes)


@given(st.integers(0, 2**16))
def test_scaling_moments_is_repeating_points(seed):
    rows = jnp.asarray(np.random.default_rng(seed).normal(size=(5, 2)), jnp.float32)
    doubled = moments_of(Samples(jnp.concatenate([rows, rows]), jnp.ones(10)))
    scaled = moments_of(Samples(rows, jnp.ones(5))).scale(2.0)
    np.testing.assert_allclose(scaled.factor, doubled.factor, atol=1e-5)  # float32 rounding
    assert float(scaled.weight) == float(doubled.weight)


def test_moments_move_between_frames_as_points_do():
    rows = jax.random.normal(jax.random.key(0), (7, 2))
    frame = frames.advance(frames.data_frame(2), jnp.array([0.5, -1.0]), jnp.array([[2.0, 0.0], [0.3, 0.5]]))
    by_points = moments_of(Samples(rows, jnp.ones(7)).follow(frame))
    by_moments = moments_of(Samples(rows, jnp.ones(7))).follow(frame)
    np.testing.assert_allclose(by_moments.mean, by_points.mean, atol=1e-5)  # float32 rounding
    np.testing.assert_allclose(by_moments.factor, by_points.factor, atol=1e-5)


@pytest.mark.parametrize("draws", ["points", "statistics"])
def test_a_long_chain_reports_its_log_variance(draws):
    """M = 10, 5,000 generations in float32: log v near -580, where v itself underflows at -87.

    128 chains: z < 5 sees a drift off by 2 %.
    """
    generations = 5_000
    result = _run(draws, replace(), dim=1, size=10, runs=128, generations=generations, estimator="unbiased")
    log_v = result.log_total_variance.isel(generation=-1).values.astype(float)
    fits = generations + 1
    error = np.sqrt(fits * float(exact.log_variance_variance(10)) / 128)
    assert abs(log_v.mean() - fits * float(exact.log_variance_drift(10, 1))) < 5 * error


@pytest.mark.parametrize("draws", ["points", "statistics"])
def test_the_lyapunov_spectrum(draws):
    """Slopes of the log-diagonal, d = 3, M = 12, 1,000 generations: each direction dies at its own rate."""
    generations, runs = 1000, 64
    result = _run(draws, replace(), dim=3, runs=runs, generations=generations, estimator="unbiased")
    slopes = 2 * result.log_scale.isel(generation=-1).values.astype(float) / (generations + 1)
    for axis in range(3):
        error = np.sqrt(float(exact.log_variance_variance(SIZE, axis + 1)) / (generations + 1) / runs)
        drift = float(exact.log_variance_drift(SIZE, 1, axis + 1))
        assert abs(slopes[:, axis].mean() - drift) < 5 * error
    assert 5 * error < 0.05  # the gap between neighbouring rates is 0.09


def test_a_billion_points_cost_what_a_hundred_do():
    """M is traced: one program for both; v moves by sqrt(2/M) a generation."""
    truth = gaussian_truth(1)

    def last_log_variance(size, key):
        chain = build_chain(
            gaussian_statistics(1), replace(), truth.moments_sampler(size), size, gaussian_metrics()
        )
        key_init, key_step = jax.random.split(key)
        state, _ = chain.init(key_init)
        return chain.step(key_step, state)[1]["log_total_variance"]

    sizes = jnp.array([1e2, 1e9])
    keys = jax.random.split(jax.random.key(0), 2000)
    spread = jnp.std(
        jax.jit(jax.vmap(jax.vmap(last_log_variance, (None, 0)), (0, None)))(sizes, keys), axis=1
    )
    # 2,000 runs: the standard deviation is known to 1.6 %
    np.testing.assert_allclose(spread, np.sqrt(2 * 2 / np.array([1e2, 1e9])), rtol=0.1)


@pytest.mark.parametrize("draws", ["points", "statistics"])
def test_fewer_points_than_dimensions(draws):
    """Rank M - 1 at once and for good; the trace stays exact: 512 chains see 2 %."""
    result = _run(draws, replace(), dim=20, size=8, runs=512, generations=3, estimator="unbiased")
    assert (result["rank"].isel(generation=0) == 7).all() and (result["rank"] <= 7).all()
    trace = np.exp(result.log_total_variance.isel(generation=1).values.astype(float))
    assert abs(trace.mean() - 20) < 5 * trace.std() / np.sqrt(512)
    assert np.isfinite(result.log_total_variance).all()


def test_accumulating_points_restores_the_rank():
    """Eight points a generation in twenty dimensions: three generations of new points span them all."""
    truth = gaussian_truth(20)
    regime = add_real(fresh(truth.moments), count=8)
    result = _run("statistics", regime, dim=20, size=8, runs=64, generations=4)
    assert int(result["rank"].isel(generation=0).max()) == 7
    assert int(result["rank"].isel(generation=-1).min()) == 15  # two batches of rank 8 and 7, one pooled mean


@pytest.mark.parametrize("regime", [subsample(3), replace_with_real(original(), count=2)])
def test_regimes_that_need_points_refuse_statistics(regime):
    truth = gaussian_truth(1)
    with pytest.raises(TypeError, match="single points"):
        build_chain(gaussian_statistics(1), regime, truth.moments_sampler(10), 10)


def test_schedules():
    truth = gaussian_truth(1)
    chain = build_chain(gaussian_statistics(1), replace(), truth.moments_sampler(10), [10, 20, 40])
    assert chain.max_generations == 2
    with pytest.raises(TypeError, match="schedule"):
        build_chain(gaussian(1), replace(), truth.sampler(10), [10, 20, 40])
    with pytest.raises(ValueError, match="at least 2"):
        build_chain(gaussian_statistics(1), replace(), truth.moments_sampler(10), [10, 1])


DRAWS = 40_000


@pytest.mark.parametrize("draws", ["points", "statistics"])
def test_a_sampling_bias_scales_the_covariance_of_what_is_drawn(draws):
    """40,000 points: each entry of lambda S and of a mean is seen to 3 %; S itself would be a fifth away."""
    bias = 0.8
    factor = np.array([[1.5, 0.0], [-0.8, 0.6]])
    frame = frames.advance(frames.data_frame(2), jnp.array([2.0, -1.0]), jnp.asarray(factor))
    drawn = MODELS[draws](2, bias=bias).sample(KEY, GaussianParams(frame, jnp.ones(2)), DRAWS)
    moments = moments_of(drawn) if draws == "points" else drawn
    axes = factor @ np.asarray(moments.factor)
    covariance = axes @ axes.T / DRAWS
    np.testing.assert_allclose(covariance, bias * factor @ factor.T, atol=0.03 * np.trace(factor @ factor.T))
    np.testing.assert_allclose(moments.mean, np.zeros(2), atol=5 * np.sqrt(bias / DRAWS))
    assert float(moments.weight) == DRAWS


@pytest.mark.parametrize("cut", [0.5, 1.6449])
def test_a_cut_draws_from_the_truncated_normal(cut):
    """SciPy's law in each direction, 40,000 points; the bias scales what was cut. Gaps above 0.01 are seen."""
    model = gaussian(2, cut=cut, bias=4.0)
    rows = np.asarray(model.sample(KEY, GaussianParams(frames.data_frame(2), jnp.ones(2)), DRAWS).x) / 2
    assert np.abs(rows).max() <= cut
    for axis in range(2):
        assert stats.kstest(rows[:, axis], stats.truncnorm(-cut, cut).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(rows.T)[0, 1]) < 5 / np.sqrt(DRAWS)


def test_the_default_is_the_unbiased_estimator_of_unbiased_draws():
    """The fit itself, of five rows with weights, by NumPy; nothing is drawn with another spread than the model's."""
    rows = np.random.default_rng(0).normal(size=(5, 2)) @ np.array([[2.0, 1.0], [0.0, 0.5]])
    weight = np.array([1, 2, 0, 3, 1])
    data = Samples(jnp.asarray(rows, jnp.float32), jnp.asarray(weight, jnp.float32))
    for options, ddof in (({}, 1), ({"estimator": "mle"}, 0)):
        model = gaussian(2, **options)
        params, info = model.fit(KEY, model.init(KEY, data), data)
        axes = np.asarray(frames.axes(params.frame))
        np.testing.assert_allclose(axes @ axes.T, np.cov(rows.T, fweights=weight, ddof=ddof), rtol=1e-4)  # float32
        np.testing.assert_allclose(params.frame.location, np.average(rows, axis=0, weights=weight), rtol=1e-5)
        assert int(info["rank"]) == 2
        spread = np.asarray(model.sample(KEY, params, DRAWS).x).std(axis=0)
        np.testing.assert_allclose(spread, 1.0, atol=5 / np.sqrt(2 * DRAWS))


def test_the_truth_draws_its_own_mean_and_covariance():
    """Points and moments, 40,000 of them, of a truth that is neither centred nor isotropic: 3 % of an entry is seen."""
    factor = np.array([[1.5, 0.0], [-0.8, 0.6]])
    truth = GaussianTruth(jnp.array([2.0, -1.0]), jnp.asarray(factor))
    for moments in (moments_of(truth.sampler(DRAWS)(KEY)), truth.moments_sampler(DRAWS)(KEY)):
        scatter = np.asarray(moments.factor @ moments.factor.T) / DRAWS
        np.testing.assert_allclose(scatter, factor @ factor.T, atol=0.03 * np.trace(factor @ factor.T))
        np.testing.assert_allclose(moments.mean, [2.0, -1.0], atol=5 * 1.5 / np.sqrt(DRAWS))
    # means of five points spread by a fifth of the covariance: 40,000 of them see 3 %
    few = jax.vmap(lambda key: truth.moments(key, 5))(jax.random.split(KEY, DRAWS))
    means, scatter = np.asarray(few.mean), np.mean(np.asarray(few.factor @ few.factor.mT), axis=0)
    np.testing.assert_allclose(scatter, 4 * factor @ factor.T, atol=0.03 * 4 * np.trace(factor @ factor.T))
    np.testing.assert_allclose(np.cov(means.T), factor @ factor.T / 5, atol=0.03 * np.trace(factor @ factor.T) / 5)


def test_metrics_are_those_of_the_living_directions_in_data_units():
    frame = frames.advance(frames.data_frame(2), jnp.array([2.0, -1.0]), jnp.array([[0.5, 0.0], [0.3, 0.2]]))
    snapshot = Snapshot(jnp.asarray(3), GaussianParams(frame, jnp.array([1.0, 0.0])), None, None, None)
    measured = {metric.name: np.asarray(metric.function(KEY, snapshot)) for metric in gaussian_metrics()}
    np.testing.assert_allclose(measured["mean"], [2.0, -1.0])
    np.testing.assert_allclose(measured["log_scale"], np.log([0.5, 0.2]), rtol=1e-6)
    # the first column alone is spread: 0.5^2 + 0.3^2
    np.testing.assert_allclose(measured["log_total_variance"], np.log(0.34), rtol=1e-5)
