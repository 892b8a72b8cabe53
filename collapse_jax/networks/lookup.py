"""Rows of a table by their numbers, with a backward pass of the same bits in every run.

The gradient of a row is a sum over the places that read it. As JAX derives it, graphics cards add these as they come,
in an order that differs from run to run; here, off CPUs, places are sorted by the row that they read and summed in
order.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from collapse_jax.types import Array


@jax.custom_vjp
def lookup(table: Float[Array, "num_rows width"], rows: Int[Array, "*places"]) -> Float[Array, "*places width"]:
    """Return the rows of a table at every place; reverse-mode derivatives alone.

    Args:
        table: of embeddings.
        rows: numbers from 0 to num_rows - 1.
    """
    return jnp.take(table, rows, axis=0)


def _forward(table: Array, rows: Array) -> tuple[Array, tuple[Array, Array]]:
    return lookup(table, rows), (table, rows)


def _backward(residuals: tuple[Array, Array], by_output: Array) -> tuple[Array, np.ndarray]:
    table, rows = residuals
    like = jnp.zeros_like(table)
    places, gradients = rows.reshape(-1), by_output.reshape(-1, table.shape[1])
    by_table = jax.lax.platform_dependent(like, places, gradients, cpu=_added, default=summed_in_order)
    return by_table, np.zeros(rows.shape, jax.dtypes.float0)


lookup.defvjp(_forward, _backward)


def _added(table: Array, rows: Array, gradients: Array) -> Array:
    return table.at[rows].add(gradients)


def summed_in_order(
    table: Float[Array, "num_rows width"], rows: Int[Array, " num"], gradients: Float[Array, "num width"]
) -> Float[Array, "num_rows width"]:
    """Return a table with each gradient added to its row; those of one row in an order that their number fixes."""
    order = jnp.argsort(rows)  # stable
    rows, gradients = rows[order], gradients[order]
    begins = jnp.concatenate([jnp.ones(1, bool), rows[1:] != rows[:-1]])
    ends = jnp.concatenate([begins[1:], jnp.ones(1, bool)])

    def joined(left: tuple[Array, Array], right: tuple[Array, Array]) -> tuple[Array, Array]:
        (begun_left, sum_left), (begun_right, sum_right) = left, right
        return begun_left | begun_right, sum_right + jnp.where(begun_right, 0, sum_left)

    _, sums = jax.lax.associative_scan(joined, (begins[:, None], gradients))
    # a row is written once, by its last place; the other places fall off the table's end
    return table.at[jnp.where(ends, rows, table.shape[0])].add(sums, mode="drop")
