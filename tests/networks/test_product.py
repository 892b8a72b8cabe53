"""The product of layers and its gradients, against those that JAX derives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.networks.product import product


@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3), (1, 2, 2, 3), (0, 3)])
def test_product_and_gradients(shape):
    keys = jax.random.split(jax.random.key(0), 3)
    x, weight = jax.random.normal(keys[0], shape), jax.random.normal(keys[1], (3, 4))
    along = jax.random.normal(keys[2], (*shape[:-1], 4))

    def value(multiply, x, weight):
        return jnp.sum(jnp.sin(multiply(x, weight)) * along)

    assert np.allclose(product(x, weight), x @ weight, atol=1e-6)
    ours, jaxs = (jax.grad(value, argnums=(1, 2))(f, x, weight) for f in (product, jnp.matmul))
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(ours, jaxs))
    assert ours[0].shape == x.shape and ours[1].shape == weight.shape


def test_many_nets_at_once():
    keys = jax.random.split(jax.random.key(1), 2)
    x, weights = jax.random.normal(keys[0], (6, 3)), jax.random.normal(keys[1], (5, 3, 4))
    gradient = lambda f: jax.vmap(jax.grad(lambda w: jnp.sum(f(x, w) ** 2)))(weights)  # noqa: E731
    assert np.allclose(gradient(product), gradient(jnp.matmul), atol=1e-4)
