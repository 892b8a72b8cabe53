"""The matrix product of layers, with a backward pass that XLA runs at full speed on CPUs.

As JAX derives it, the gradient of a weight is the transpose of (gradient of the output)' @ input, for which XLA 0.10
lays a transposed copy of each gradient and, along a residual stream, sums that up anew for every layer.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from collapse_jax.types import Array


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def product(
    x: Float[Array, "*num inputs"], weight: Float[Array, "inputs outputs"], precision: Any = None
) -> Float[Array, "*num outputs"]:
    """Return x @ weight; reverse-mode derivatives alone.

    Args:
        x: rows.
        weight: of a layer.
        precision: as of `jnp.matmul`.
    """
    rows = jnp.matmul(x.reshape(-1, x.shape[-1]), weight, precision=precision)
    return rows.reshape(*x.shape[:-1], weight.shape[1])


def _forward(x: Array, weight: Array, precision: Any) -> tuple[Array, tuple[Array, Array]]:
    return product(x, weight, precision), (x, weight)


def _backward(precision: Any, residuals: tuple[Array, Array], by_output: Array) -> tuple[Array, Array]:
    x, weight = residuals
    rows, by_rows = x.reshape(-1, x.shape[-1]), by_output.reshape(-1, by_output.shape[-1])
    by_x = jax.lax.dot_general(by_rows, weight, (((1,), (1,)), ((), ())), precision=precision)
    by_weight = jax.lax.dot_general(rows, by_rows, (((0,), (0,)), ((), ())), precision=precision)
    return by_x.reshape(x.shape), by_weight


product.defvjp(_forward, _backward)
