"""Statistics that are pooled for a long time, in float32: what rounding must not add up to."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.core.statistics import Moments, Sums

POOL, BATCH, ROUNDS = 1e13, 1e9, 300  # 1e13 in float32 counts in steps of 2^20: 1e9 more becomes 1.00034e9


def _after(pool, batch):
    return jax.jit(lambda pool: jax.lax.fori_loop(0, ROUNDS, lambda _, now: now.merge(batch), pool))(pool)


def test_a_pool_that_cannot_count_a_batch_keeps_its_variance():
    """The weight's rounding alone would make the variance 1.3e-5 too small; 3e-6 is what the roots round."""
    points = lambda num: Moments(jnp.float32(num), jnp.zeros(1), jnp.sqrt(jnp.float32(num)).reshape(1, 1))  # noqa: E731
    pooled = _after(points(POOL), points(BATCH))
    assert float(pooled.factor[0, 0] ** 2 / pooled.weight) == pytest.approx(1, abs=3e-6)
    assert float(pooled.weight) > POOL


def test_a_pool_that_cannot_count_a_batch_keeps_its_mean():
    points = lambda num: Sums(jnp.float32(num), jnp.float32(3 * num))  # noqa: E731
    pooled = _after(points(POOL), points(BATCH))
    assert float(pooled.values / pooled.weight) == pytest.approx(3, rel=1e-6)


def test_sums_that_are_exact_stay_exact():
    """Below 2^24 no weight is rounded, and counts remain whole numbers."""
    first, second = Sums(jnp.float32(7), jnp.array([3.0, 4.0])), Sums(jnp.float32(9), jnp.array([9.0, 0.0]))
    pooled = first.merge(second)
    np.testing.assert_array_equal(pooled.values, [12, 4])
    assert float(pooled.weight) == 16


def test_nothing_may_be_pooled_with_nothing():
    nothing = Sums(jnp.float32(0), jnp.float32(0))
    assert float(nothing.merge(nothing).values) == 0
    empty = Moments(jnp.float32(0), jnp.zeros(1), jnp.zeros((1, 1)))
    assert np.isfinite(jax.tree.leaves(empty.merge(empty))[1]).all()
