"""Models with an exact score: what the solver does is the law's, in any coordinates; kernels; the ends of the range."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax import (
    GaussianTruth,
    as_samples,
    build_chain,
    gaussian_truth,
    kernel_score,
    linear_score,
    replace,
    run_compiled,
    simulate,
    sweep,
    theory,
)
from collapse_jax.core.statistics import Moments
from collapse_jax.models.gaussian import gaussian_metrics
from collapse_jax.numerics import frame as frames
from collapse_jax.numerics.solvers import SCHEDULES, SOLVERS

KEY, LARGE = jax.random.key(2), 10**7
TABLE = [("ddim", "linear", 100), ("ddpm", "linear", 50), ("euler", "flow", 10), ("heun", "edm", 18)]
VARIANCE = gaussian_metrics()[2]


def _variances(model, start, generations=3):
    truth = gaussian_truth(1, np.array([[start**0.5]]))
    chain = build_chain(model, replace(), truth.moments_sampler(LARGE), LARGE, (VARIANCE,))
    return np.exp(simulate(chain, KEY, 4, generations).log_total_variance.values)


@pytest.mark.parametrize("setting", TABLE, ids=str)
def test_a_chain_of_ten_million_points_follows_the_null(setting):
    """A run's variance has the standard error 0.05 %: four see 0.2 %; a solver off by one step is off by 1 %."""
    solver, schedule, steps = setting
    found = _variances(linear_score(1, solver=solver, schedule=schedule, num_steps=steps), 0.3).mean(axis=0)
    expected = [theory.samplers.variance_after(0.3, n, solver, schedule, steps) for n in range(4)]
    np.testing.assert_allclose(found, expected, rtol=2.5e-3)


def test_a_table_of_solvers_is_one_program():
    """Swept over places of solver and schedule: each cell is what its own model gives."""

    def build(cell):
        solver, schedule, steps = (jnp.asarray(column)[cell] for column in zip(*(
            (SOLVERS.index(s), SCHEDULES.index(t), n) for s, t, n in TABLE
        )))  # fmt: skip
        model = linear_score(1, solver=solver, schedule=schedule, num_steps=steps)
        return build_chain(model, replace(), gaussian_truth(1).moments_sampler(LARGE), LARGE, (VARIANCE,))

    found = sweep(build, {"cell": list(range(len(TABLE)))}, KEY, num_seeds=2, num_generations=2)
    variance = np.exp(found.log_total_variance.values)
    for row, (solver, schedule, steps) in zip(variance, TABLE):
        expected = [theory.samplers.variance_after(1.0, n, solver, schedule, steps) for n in range(3)]
        np.testing.assert_allclose(row.mean(axis=0), expected, rtol=4e-3)


def _drawn_moments(model, truth, num):
    """The moments of what is drawn after one fit to a given Gaussian, in data units."""
    state, _ = build_chain(model, replace(), lambda key: truth, num).init(KEY)
    drawn = state.synthetic
    moments = drawn if isinstance(drawn, Moments) else None
    if moments is None:
        rows = np.asarray(frames.to_data_units(drawn.frame, drawn.x), np.float64)
        return rows.mean(axis=0), np.cov(rows.T)
    axes = np.asarray(frames.axes(moments.frame) @ moments.factor, np.float64)
    mean = frames.to_data_units(moments.frame, moments.mean[None])[0]
    return np.asarray(mean), axes @ axes.T / float(moments.weight)


@pytest.mark.parametrize("draws", ["statistics", "points"])
def test_in_three_dimensions_each_principal_axis_loses_its_own(draws):
    rng = np.random.default_rng(0)
    factor = np.tril(rng.normal(size=(3, 3)), -1) + np.diag([0.4, 1.0, 0.3])
    mean, num = np.array([2.0, -1.0, 0.5]), 200_000
    truth = Moments(jnp.float32(1e9), jnp.asarray(mean, jnp.float32), jnp.asarray(factor * 1e9**0.5, jnp.float32))
    real = truth if draws == "statistics" else as_samples(_exactly(mean, factor))
    found_mean, found = _drawn_moments(linear_score(3, draws=draws, num_steps=20, schedule="cosine"), real, num)
    values, axes = np.linalg.eigh(factor @ factor.T)
    setting = (values, "ddim", "cosine", 20)
    expected = axes * theory.samplers.variance_drawn(*setting) @ axes.T
    moved = axes * theory.samplers.mean_kept(*setting) @ axes.T @ mean
    room = 5 * np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / num)
    assert np.all(abs(found - expected) < room + 1e-3 * abs(expected))
    assert np.all(abs(found_mean - moved) < 5 * np.sqrt(np.diag(expected) / num))


def test_the_mean_moves_as_the_law_says():
    """A billion points: the standard error of the mean is 1e-5, what the solver moves it by is 6e-3."""
    truth = GaussianTruth(jnp.array([3.0]), jnp.array([[0.1**0.5]]))
    chain = build_chain(linear_score(1), replace(), truth.moments_sampler(10**9), 10**9, gaussian_metrics()[:1])
    state, record = jax.jit(chain.init)(KEY)
    _, after = jax.jit(chain.step)(KEY, state)
    moved = float(after["mean"][0] / record["mean"][0])
    assert moved == pytest.approx(theory.samplers.mean_kept(0.1), abs=3e-5)


def _exactly(mean, factor):
    """Six points that have this mean and covariance."""
    return mean + np.sqrt(3) * np.concatenate([factor.T, -factor.T])


def test_a_direction_without_spread_gets_what_the_solver_leaves_there():
    """Three dimensions, two points: EDM ends with noise 0, a path that stops at 0.1 leaves 0.1 everywhere."""
    rows = as_samples(np.array([[0.0, 0.0, 0.0], [2.0, 2.0, 1.0]]))
    for stop, least in ((0.0, 0.0), (0.1, 0.01)):
        model = linear_score(3, solver="exact", schedule="edm", stop=stop, draws="points")
        _, covariance = _drawn_moments(model, rows, 50_000)
        values = np.linalg.eigvalsh(covariance)
        np.testing.assert_allclose(values[:2], least, rtol=0.05, atol=1e-6)
        np.testing.assert_allclose(values[2], 2.25 + least, rtol=0.05)


def test_long_chains_lose_everything_without_a_nan():
    model = linear_score(2, num_steps=10)
    chain = build_chain(model, replace(), gaussian_truth(2).moments_sampler(50), 50, (VARIANCE,))
    (_, segment) = run_compiled(chain, KEY, 4, (60,), lanes=4)
    assert segment.records["is_finite"].all()
    assert np.all(segment.records["log_total_variance"][:, -1] < -50)


@pytest.mark.parametrize(
    "solver, schedule", [("exact", "flow"), ("euler", "flow"), ("exact", "edm"), ("ddim", "cosine")]
)
def test_the_score_of_points_gives_their_kernel_density(solver, schedule):
    """40,000 draws beside a stopped path's two moments and share near each point; solved by steps, nearly so."""
    points = np.array([[-1.0, 0.5], [1.0, 0.0], [0.5, 1.0]])
    stop = 0.2
    model = kernel_score(solver=solver, schedule=schedule, num_steps=60, stop=stop)
    params, _ = model.fit(KEY, model.init(KEY, as_samples(points)), as_samples(points))
    rows = np.asarray(model.sample(KEY, params, 40_000).x, np.float64)
    place = {"flow": (0.8, 0.2), "edm": (1.0, 0.2)}.get(schedule) or _cosine(stop)
    nearest = np.argmin(((rows[:, None] - place[0] * points) ** 2).sum(axis=2), axis=1)
    np.testing.assert_allclose(np.bincount(nearest) / 40_000, 1 / 3, atol=0.02 if solver == "exact" else 0.06)
    around = rows - place[0] * points[nearest]
    np.testing.assert_allclose(around.std(axis=0), place[1], rtol=0.04 if solver == "exact" else 0.15)


def _cosine(stop):
    level = lambda t: np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2  # noqa: E731
    return np.sqrt(level(stop) / level(0)), np.sqrt(1 - level(stop) / level(0))


def test_with_no_time_left_out_it_copies():
    points = np.random.default_rng(1).normal(size=(20, 2)).astype(np.float32)
    model = kernel_score()
    params, _ = model.fit(KEY, model.init(KEY, as_samples(points)), as_samples(points))
    rows = np.asarray(model.sample(KEY, params, 50).x)
    assert {tuple(row) for row in rows} <= {tuple(row) for row in points}


def test_data_far_from_0_meet_a_sentence():
    far = as_samples(np.array([[1e9], [1e9 + 1], [1e9 + 2]]))
    for model in (linear_score(1, draws="points"), kernel_score()):
        with pytest.raises(ValueError, match="subtract an offset"):
            build_chain(model, replace(), far, 3)


@pytest.mark.parametrize("make", [linear_score, kernel_score], ids=["linear", "kernel"])
@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"num_steps": 1}, "`num_steps`"),
        ({"schedule": "flow", "solver": "ddim"}, "does not take"),
        ({"stop": 2.0}, "`stop`"),
    ],
)
def test_options_meet_a_sentence(make, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(**({"dim": 1} if make is linear_score else {}), **options)
