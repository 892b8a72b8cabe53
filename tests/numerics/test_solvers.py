"""Solvers by names and by traced places, against the laws of `theory.samplers`, which share no step with them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax import theory
from collapse_jax.numerics.solvers import SCHEDULES, SOLVERS, Sampler, noise_at

VARIANCES = np.array([4.0, 1.0, 0.1, 0.001])
SETTINGS = [
    ("ddim", "linear", 50, 0.0), ("ddim", "cosine", 7, 0.0), ("ddim", "linear", 30, 0.02), ("ddpm", "linear", 100, 0.0),
    ("ddpm-noisy", "cosine", 20, 0.0), ("ddpm-tilde", "linear", 33, 0.1), ("euler", "flow", 10, 0.0),
    ("euler", "edm", 12, 0.5), ("heun", "flow", 10, 0.0), ("heun", "flow", 5, 0.25), ("heun", "edm", 18, 0.0),
    ("heun", "edm", 9, 0.1), ("ddim", "linear", 2, 0.0), ("heun", "edm", 2, 0.0),
]  # fmt: skip


def _exact(x, place):
    """Estimates of data and noise where data are N(0, VARIANCES), a column each."""
    variances = VARIANCES[None].astype(np.float32)
    total = place.signal**2 * variances + place.noise**2
    total = jnp.where(total > 0, total, 1.0)
    return place.signal * variances / total * x, place.noise / total * x


def _drawn(key, sampler, num):
    x = jax.random.normal(key, (num, len(VARIANCES)))
    return sampler.draw(jax.random.fold_in(key, 1), _exact, x)


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_draws_have_the_variance_that_the_law_says(setting):
    """100,000 draws: standard error of a variance 0.45 %, so that 2.3 % off fails; the law is exact."""
    drawn = jax.jit(lambda key: _drawn(key, Sampler(*setting).checked(), 100_000))(jax.random.key(3))
    expected = theory.samplers.variance_drawn(VARIANCES, *setting)
    z = (np.mean(np.asarray(drawn, np.float64) ** 2, axis=0) / expected - 1) / np.sqrt(2 / 100_000)
    assert np.all(abs(z) < 5), z


@pytest.mark.parametrize("setting", [s for s in SETTINGS if not s[0].startswith("ddpm")], ids=str)
def test_without_noise_every_draw_is_scaled_exactly(setting):
    sampler = Sampler(*setting)
    found = sampler.draw(jax.random.key(0), _exact, jnp.ones((1, len(VARIANCES))))[0]
    expected = np.sqrt(theory.samplers.variance_drawn(VARIANCES, *setting))
    np.testing.assert_allclose(abs(found), expected, rtol=2e-5)


def test_one_program_serves_a_table_of_solvers_schedules_steps_and_times():
    traced = 0

    @jax.jit
    @jax.vmap
    def table(solver, schedule, num_steps, stop):
        nonlocal traced
        traced += 1
        return _drawn(jax.random.key(5), Sampler(solver, schedule, num_steps, stop), 3)

    columns = [np.array(column) for column in zip(*(
        (SOLVERS.index(solver), SCHEDULES.index(schedule), steps, stop) for solver, schedule, steps, stop in SETTINGS
    ))]  # fmt: skip
    found = table(*columns)
    assert traced == 1
    for row, setting in zip(found, SETTINGS):
        alone = _drawn(jax.random.key(5), Sampler(*setting), 3)
        np.testing.assert_allclose(row, alone, rtol=3e-4, atol=1e-5)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_path_leads_from_noise_to_data(schedule):
    sampler = Sampler("ddim", schedule, 10)
    places = [sampler.place(index) for index in range(11)]
    signal, noise = (np.array([getattr(place, name) for place in places]) for name in ("signal", "noise"))
    assert np.all(np.diff(noise) < 0) and np.all(np.diff(signal) >= 0)
    assert noise[-1] == 0 and signal[-1] == 1
    if schedule in ("linear", "cosine"):
        np.testing.assert_allclose(signal**2 + noise**2, 1, rtol=1e-6)
    stopped = noise_at(Sampler("ddim", schedule, 10, 0.3))
    assert stopped.noise > 0.05


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"num_steps": 1}, "`num_steps` must be at least 2"),
        ({"num_steps": 2.5}, "`num_steps`"),
        ({"solver": "dimm"}, "`solver` has no choice 'dimm'"),
        ({"schedule": "liner"}, "`schedule` has no choice 'liner'"),
        ({"schedule": "flow"}, "does not take the `schedule` 'flow'; give linear or cosine"),
        ({"solver": "heun"}, "does not take the `schedule` 'linear'; give flow or edm"),
        ({"solver": 6}, "`solver` must be at most 5"),
        ({"schedule": -1}, "`schedule` must be at least 0"),
        ({"solver": 5, "schedule": 0}, "`solver` 'heun' does not take the `schedule` 'linear'"),
        ({"stop": 1.0}, r"`stop` must be in \[0, 1\)"),
        ({"stop": -0.1}, "`stop` must not be negative"),
        ({"solver": "heun", "schedule": "edm", "stop": 90.0}, r"`stop` must be in \[0, 80\)"),
        ({"stop": float("nan")}, "`stop` must not be negative, and be finite"),
    ],
)
def test_what_is_out_of_range_meets_a_sentence(given, sentence):
    with pytest.raises((ValueError, TypeError), match=sentence):
        Sampler(**given).checked()
