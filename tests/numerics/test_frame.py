"""Moving coordinates against plain matrices, and where plain matrices fail."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from collapse_jax.numerics.frame import (
    advance,
    axes,
    data_frame,
    follow,
    follow_columns,
    log_total_variance,
    to_data_units,
    to_local,
)
from collapse_jax.testing.strategies import seeds, triangles


def _chain_of_frames(ratios, shifts):
    frame = data_frame(ratios[0].shape[0])
    for ratio, shift in zip(ratios, shifts):
        frame = advance(frame, jnp.asarray(shift, jnp.float32), jnp.asarray(ratio, jnp.float32))
    return frame


def test_data_units_are_the_identity():
    frame = data_frame(3)
    np.testing.assert_array_equal(axes(frame), np.eye(3))
    points = jnp.arange(6.0).reshape(2, 3)
    for function in (to_data_units, to_local, follow):
        np.testing.assert_array_equal(function(frame, points), points)


@given(triangles(3), triangles(3), seeds)
def test_advance_multiplies_axes_and_moves_the_origin(first, second, seed):
    """Against float64 products; 1e-5 is a few float32 ulp of sums of three terms."""
    shifts = np.random.default_rng(seed).normal(size=(2, 3))
    frame = _chain_of_frames([first, second], shifts)
    exact = first.astype(np.float64) @ second
    np.testing.assert_allclose(axes(frame), exact, rtol=1e-5, atol=1e-5 * np.abs(exact).max())
    np.testing.assert_allclose(frame.location, shifts[0] + first @ shifts[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(jnp.diagonal(frame.unit_tril), np.ones(3))
    np.testing.assert_array_equal(np.triu(frame.unit_tril, 1), np.zeros((3, 3)))


@given(triangles(2), triangles(2), seeds)
def test_local_and_data_units_invert_each_other(first, second, seed):
    rng = np.random.default_rng(seed)
    frame = _chain_of_frames([first, second], rng.normal(size=(2, 2)))
    local = jnp.asarray(rng.normal(size=(5, 2)), jnp.float32)
    # condition numbers up to some tens amplify float32 rounding
    np.testing.assert_allclose(to_local(frame, to_data_units(frame, local)), local, rtol=1e-3, atol=1e-3)


@given(triangles(2), triangles(2), seeds)
def test_follow_keeps_points_in_place(first, second, seed):
    """Points in the previous frame's coordinates and in this one's are the same points in data units."""
    rng = np.random.default_rng(seed)
    shifts = rng.normal(size=(2, 2))
    before, after = _chain_of_frames([first], shifts), _chain_of_frames([first, second], shifts)
    points = jnp.asarray(rng.normal(size=(5, 2)), jnp.float32)
    np.testing.assert_allclose(
        to_data_units(after, follow(after, points)), to_data_units(before, points), rtol=1e-4, atol=1e-4
    )


def test_following_drops_what_is_rounding_and_nothing_more():
    """Along the second axis 1 and 1 + d cancel to d: 2e-5 of the terms is spread, a unit in the last place is none."""
    frame = advance(data_frame(2), jnp.zeros(2), jnp.array([[1.0, 0.0], [1.0, 1.0]]))
    for gap, kept in ((4e-5, 4e-5), (1e-3, 1e-3), (2.0**-23, 0.0)):
        moved = follow(frame, jnp.array([[1.0, 1.0 + gap]]))
        assert float(moved[0, 0]) == 1.0 and float(moved[0, 1]) == pytest.approx(kept, rel=0.01, abs=0)


def test_a_frame_outlives_the_underflow_of_its_axes():
    """400 halvings, unequal along the two axes: float32 axes are 0, logs and relative maps are exact to rounding."""
    ratio = np.array([[0.5, 0.0], [0.1, 0.25]])
    frame = _chain_of_frames([ratio] * 400, np.full((400, 2), 0.1))
    assert (axes(frame) == 0).all()
    np.testing.assert_allclose(frame.log_scale, 400 * np.log([0.5, 0.25]), rtol=1e-5)
    assert np.isfinite(frame.unit_tril).all() and np.isfinite(frame.location).all()
    # below the diagonal U converges to the geometric series sum_n 0.1/0.5 * (0.25/0.5)^n = 0.4
    np.testing.assert_allclose(frame.unit_tril[1, 0], 0.4, rtol=1e-5)
    np.testing.assert_allclose(follow(frame, jnp.array([[1.1, 0.35]])), [[2.0, 0.2]], rtol=1e-5)


@pytest.mark.parametrize("log_size", [0.0, -300.0, 60.0])
def test_log_total_variance_is_the_log_trace(log_size):
    rng = np.random.default_rng(0)
    first, factor = (np.tril(rng.normal(size=(3, 3)), -1) + np.diag([1.0, 0.5, 2.0]) for _ in range(2))
    frame = _chain_of_frames([first], np.zeros((1, 3)))
    frame = frame._replace(log_scale=frame.log_scale + log_size)
    expected = 2 * log_size + np.log(np.sum((first @ factor) ** 2))
    np.testing.assert_allclose(
        log_total_variance(frame, jnp.asarray(factor, jnp.float32)), expected, rtol=1e-5
    )


def test_log_total_variance_takes_more_columns_than_axes():
    """Centred rows stand in for the factor of their own scatter."""
    rows = jnp.asarray(np.random.default_rng(1).normal(size=(2, 7)), jnp.float32)
    np.testing.assert_allclose(log_total_variance(data_frame(2), rows), np.log(jnp.sum(rows**2)), rtol=1e-5)


@pytest.mark.parametrize("dim", [1, 2])
def test_a_store_that_moves_with_its_frame_does_not_grow(dim):
    """Ratios near 1, as 1e9 points give; reciprocals are rounded up: 1.2e-8 a generation, here seen at 2e-9."""
    rng = np.random.default_rng(0)
    ratios = np.float32(1 + 1e-4 * rng.uniform(-1, 1, 4000))
    columns = rng.uniform(1, 2, (dim, 100)).astype(np.float32)
    frames = jax.vmap(lambda ratio: data_frame(dim)._replace(ratio=ratio * jnp.eye(dim)))(jnp.asarray(ratios))
    moved = np.asarray(jax.jit(jax.vmap(follow_columns, (0, None)))(frames, columns), np.float64)
    error = moved * ratios[:, None, None].astype(np.float64) / columns - 1
    assert abs(error.mean()) < 2e-9  # the standard error of 400,000 roundings is 4e-11
