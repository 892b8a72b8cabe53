"""Rows of a table: their gradient in order is the gradient that JAX derives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.networks.lookup import lookup, summed_in_order


@pytest.mark.parametrize(("num_rows", "num"), [(5, 64), (50, 33), (3, 1)])
def test_gradients_are_summed_over_the_places_that_read_a_row(num_rows: int, num: int) -> None:
    rng = np.random.default_rng(num)
    rows, gradients = rng.integers(0, num_rows, num), rng.normal(size=(num, 4))
    expected = np.ones((num_rows, 4))
    np.add.at(expected, rows, gradients)
    found = jax.jit(summed_in_order)(jnp.ones((num_rows, 4)), jnp.asarray(rows), jnp.asarray(gradients, jnp.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_the_gradient_is_that_of_take() -> None:
    keys = jax.random.split(jax.random.key(0), 3)
    table, weight = jax.random.normal(keys[0], (7, 3)), jax.random.normal(keys[1], (2, 9, 3))
    rows = jax.random.randint(keys[2], (2, 9), 0, 7)
    found, expected = (
        jax.grad(lambda table, take=take: jnp.sum(weight * take(table, rows)))(table)
        for take in (lookup, lambda table, rows: jnp.take(table, rows, axis=0))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_array_equal(lookup(table, rows), table[rows])
