"""Lanes one after the other: the same numbers as alone, whatever else runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.networks.in_turn import in_turn

ON_CPU = jax.default_backend() == "cpu"


def _net(key, x, weights):
    noise = jax.random.normal(key, x.shape)
    return {"out": jnp.tanh((x + noise) @ weights), "sum": jnp.sum(weights)}


def _cases(lanes):
    keys = jax.random.split(jax.random.key(0), lanes)
    x = jax.random.normal(jax.random.key(1), (lanes, 7, 33))
    return keys, x, jax.random.normal(jax.random.key(2), (33, 5))


@pytest.mark.skipif(not ON_CPU, reason="lanes run together elsewhere")
@pytest.mark.parametrize("lanes", [2, 5])
def test_a_lane_has_the_bits_that_it_has_alone(lanes):
    keys, x, weights = _cases(lanes)
    many = jax.jit(jax.vmap(in_turn(_net), (0, 0, None)))(keys, x, weights)
    for lane in range(lanes):
        alone = jax.jit(_net)(keys[lane], x[lane], weights)
        of_lane = {name: values[lane] for name, values in many.items()}
        jax.tree.map(np.testing.assert_array_equal, of_lane, alone)


@pytest.mark.skipif(not ON_CPU, reason="lanes run together elsewhere")
def test_on_a_cpu_no_product_holds_two_lanes_and_elsewhere_the_other_function_is_taken():
    keys, x, weights = _cases(4)
    together = lambda key, x, weights: {"out": jnp.zeros((7, 5)), "sum": jnp.zeros(())}  # noqa: E731
    of = jax.vmap(in_turn(_net, together), (0, 0, None))
    text = jax.jit(of).lower(keys, x, weights).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert products and all("tensor<7x33xf32>, tensor<33x5xf32>" in line for line in products)
    cuda = jax.jit(of).trace(keys, x, weights).lower(lowering_platforms=("cuda",)).as_text()
    assert "dot_general" not in cuda, "there the other one runs"


def test_one_lane_is_the_function_itself():
    keys, x, weights = _cases(2)
    one = in_turn(_net)(keys[0], x[0], weights)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), one, _net(keys[0], x[0], weights))
