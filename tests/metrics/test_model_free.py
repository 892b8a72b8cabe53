"""Model-free metrics against plain NumPy on the rows that they draw."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.core.data import Samples
from collapse_jax.core.protocol import Snapshot
from collapse_jax.core.streams import Stream
from collapse_jax.metrics import model_free as metrics
from collapse_jax.numerics import frame as frames

KEY = jax.random.key(7)


def _snapshot(data) -> Snapshot:
    return Snapshot(jnp.asarray(0), (), (), data, data)


def _points(frame=None) -> Samples:
    x = jax.random.normal(jax.random.key(0), (50, 2)) @ jnp.array([[1.0, 0.5], [0.0, 2.0]]) + 3.0
    return Samples(x, jnp.ones(50), frame)


def _pictures(num: int = 30, side: int = 4) -> Samples:
    return Samples(jax.random.uniform(jax.random.key(1), (num, side * side)), jnp.ones(num))


def _frame(log_scale: float = 0.0) -> frames.Frame:
    return frames.data_frame(2)._replace(
        location=jnp.array([10.0, -5.0]),
        log_scale=jnp.array([0.5, -0.5]) + log_scale,
        unit_tril=jnp.array([[1.0, 0.0], [0.7, 1.0]]),
    )


def _measured(metric, data):
    return np.asarray(jax.jit(lambda d: metric.function(KEY, _snapshot(d)))(data))


@pytest.mark.parametrize("frame", [None, _frame()], ids=["plain", "frame"])
def test_log_total_variance_is_that_of_the_drawn_rows(frame):
    data = _points(frame)
    rows = np.asarray(data.minibatch(KEY, 200), np.float64)
    if frame is not None:
        rows = np.asarray(frames.to_data_units(frame, jnp.asarray(rows, jnp.float32)), np.float64)
    expected = np.log(np.sum(np.var(rows, axis=0)))
    assert _measured(metrics.log_total_variance(200), data) == pytest.approx(expected, abs=1e-5)  # float32


def test_log_total_variance_of_a_collapsed_frame_is_finite():
    plain = _measured(metrics.log_total_variance(200), _points(_frame()))
    shrunk = _measured(metrics.log_total_variance(200), _points(_frame(-200.0)))
    assert shrunk == pytest.approx(plain - 400, rel=1e-6)  # float32 of 400


@pytest.mark.parametrize("frame", [None, _frame()], ids=["plain", "frame"])
def test_sample_mean_is_in_data_units(frame):
    data = _points(frame)
    rows = data.minibatch(KEY, 200)
    rows = rows if frame is None else frames.to_data_units(frame, rows)
    # float32 means of 200 numbers near 20
    np.testing.assert_allclose(_measured(metrics.sample_mean(200), data), np.mean(rows, axis=0), rtol=1e-5)


def test_pixel_variance_is_averaged_over_pixels():
    data = _pictures()
    expected = np.var(np.asarray(data.minibatch(KEY, 100), np.float64), axis=0).mean()
    assert _measured(metrics.pixel_variance(100), data) == pytest.approx(expected, rel=1e-5)  # float32


def test_sharpness_is_the_mean_square_of_neighbours_differences():
    data = _pictures()
    pictures = np.asarray(data.minibatch(KEY, 100), np.float64).reshape(100, 4, 4)
    across = np.mean((pictures[:, :, 1:] - pictures[:, :, :-1]) ** 2)
    down = np.mean((pictures[:, 1:] - pictures[:, :-1]) ** 2)
    assert _measured(metrics.sharpness(100, side=4), data) == pytest.approx(
        across + down, rel=1e-5
    )  # float32


def test_blurring_lowers_high_frequency_energy_and_noise_raises_it():
    smooth = jnp.broadcast_to(jnp.linspace(0, 1, 8), (3, 8, 8))
    noisy = smooth + 0.2 * jax.random.normal(jax.random.key(2), smooth.shape)
    blurred = (noisy + jnp.roll(noisy, 1, axis=1) + jnp.roll(noisy, 1, axis=2)) / 3
    energy = [
        float(metrics.high_frequency_energy(pictures[:, 1:, 1:])) for pictures in (smooth, blurred, noisy)
    ]
    assert energy == sorted(energy)
    assert float(metrics.high_frequency_energy(jnp.ones((2, 8, 8)))) == 0.0


def test_images_are_kept_as_bytes():
    data = _pictures()
    kept = _measured(metrics.images(6), data)
    assert kept.dtype == np.uint8 and kept.shape == (6, 16)
    np.testing.assert_array_equal(kept, np.round(np.asarray(data.minibatch(KEY, 6)) * 255))
    both = Samples(jnp.array([[0.0, 1.0]]), jnp.ones(1))
    np.testing.assert_array_equal(_measured(metrics.images(1), both), [[0, 255]])


def test_rows_are_drawn_by_weight():
    # the row of weight 0 would dominate every number
    data = Samples(jnp.array([[1e3, 1e3], [1.0, 2.0], [3.0, 4.0]]), jnp.array([0.0, 3.0, 1.0]))
    num = 10_000
    mean = _measured(metrics.sample_mean(num), data)
    # power: 5 standard errors are 0.04; equal weights would give 2 instead of 1.5
    assert np.all(np.abs(mean - [1.5, 2.5]) < 5 * np.sqrt(0.75 / num))


def test_a_stream_is_measured_by_drawing_from_it():
    stream = Stream(lambda key, scale, num: scale * jax.random.normal(key, (num, 2)), jnp.asarray(3.0), 10.0)
    num = 10_000
    got = _measured(metrics.log_total_variance(num), stream)
    # log of a chi-square of 2 num degrees of freedom over 2 num: standard error 1/sqrt(num)
    assert abs(got - np.log(18.0)) < 5 / np.sqrt(num)


@pytest.mark.parametrize(
    "factory, smallest",
    [
        (metrics.log_total_variance, 2),
        (metrics.sample_mean, 1),
        (metrics.pixel_variance, 2),
        (metrics.sharpness, 1),
        (metrics.images, 1),
    ],
)
def test_metrics_have_names_units_and_a_smallest_number_of_rows(factory, smallest):
    metric = factory(smallest)
    assert metric.name == factory.__name__ and metric.unit
    with pytest.raises(ValueError, match=f"must be at least {smallest}, got {smallest - 1}"):
        factory(smallest - 1)
