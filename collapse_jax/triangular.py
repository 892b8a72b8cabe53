"""Cholesky factors and inverses of many small matrices at once.

A chain meets thousands of 2x2 matrices; one LAPACK call each costs more than the arithmetic. Up to
`UNROLLED` dimensions the loops are written out, so that XLA fuses them over all lanes and
components; larger matrices go to LAPACK. Used by `frame` and the mixture.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from collapse_jax.types import Array

UNROLLED = 6


def cholesky(matrix: Float[Array, "*batch dim dim"]) -> Float[Array, "*batch dim dim"]:
    """Return the lower triangular factor of a symmetric positive definite matrix.

    A matrix that is not positive definite gives NaN, as `jnp.linalg.cholesky` does.

    >>> cholesky(jnp.array([[4.0, 2.0], [2.0, 5.0]]))
    Array([[2., 0.],
           [1., 2.]], dtype=float32)
    """
    dim = matrix.shape[-1]
    if dim > UNROLLED:
        return jnp.linalg.cholesky(matrix)
    rows: list[list[Array]] = []
    for i in range(dim):
        row: list[Array] = []
        for j in range(i):
            inner = sum((row[k] * rows[j][k] for k in range(j)), start=jnp.zeros_like(matrix[..., 0, 0]))
            row.append((matrix[..., i, j] - inner) / rows[j][j])
        row.append(
            jnp.sqrt(
                matrix[..., i, i] - sum((value**2 for value in row), start=jnp.zeros_like(matrix[..., 0, 0]))
            )
        )
        rows.append(row)
    return _assemble(rows, dim)


def inverse(tril: Float[Array, "*batch dim dim"]) -> Float[Array, "*batch dim dim"]:
    """Return the inverse of a lower triangular matrix, itself lower triangular.

    >>> inverse(jnp.array([[2.0, 0.0], [1.0, 2.0]]))
    Array([[ 0.5 ,  0.  ],
           [-0.25,  0.5 ]], dtype=float32)
    """
    dim = tril.shape[-1]
    if dim > UNROLLED:
        identity = jnp.broadcast_to(jnp.eye(dim, dtype=tril.dtype), tril.shape)
        return jax.scipy.linalg.solve_triangular(tril, identity, lower=True)
    rows: list[list[Array]] = []
    for i in range(dim):
        diagonal = 1.0 / tril[..., i, i]
        inner = [
            sum((tril[..., i, k] * rows[k][j] for k in range(j, i)), start=jnp.zeros_like(diagonal))
            for j in range(i)
        ]
        rows.append([-value * diagonal for value in inner] + [diagonal])
    return _assemble(rows, dim)


def join_factors(*parts: Float[Array, "dim _"], max_rank: int | None = None) -> Float[Array, "dim dim"]:
    """Return the lower triangular F, diagonal not negative, with F F' = sum of part part'.

    By QR, not Cholesky: fewer columns than rows are legal and leave exact zeros. A diagonal entry at the
    rounding of its row is taken for zero, and with it its column; so are columns from `max_rank` on.

    >>> join_factors(jnp.array([[3.0, 4.0]]))
    Array([[5.]], dtype=float32)
    """
    stacked = jnp.concatenate(parts, axis=-1)
    dim, columns = stacked.shape
    if dim == 1:
        return jnp.sqrt(jnp.sum(stacked**2, axis=-1, keepdims=True))
    upper = jnp.linalg.qr(stacked.T, mode="r")
    upper = jnp.pad(upper, ((0, max(dim - columns, 0)), (0, 0)))[:dim]
    lower = (upper * jnp.where(jnp.diagonal(upper) < 0, -1.0, 1.0)[:, None]).T
    row_norm = jnp.sqrt(jnp.sum(lower**2, axis=1))
    real = jnp.diagonal(lower) > 30 * jnp.finfo(lower.dtype).eps * row_norm
    if max_rank is not None:
        real &= jnp.arange(dim) < max_rank
    return jnp.where(real[None, :], lower, 0.0)


def _assemble(rows: list[list[Array]], dim: int) -> Array:
    zero = jnp.zeros_like(rows[0][0])
    full = [jnp.stack(row + [zero] * (dim - len(row)), axis=-1) for row in rows]
    return jnp.stack(full, axis=-2)
