"""Cholesky factors, inverses and joins of many small matrices at once, without LAPACK.

A chain meets thousands of small matrices; one LAPACK call each costs more than the arithmetic. Worse, on CPUs
JAX hands a batch of them to the thread pool that it is itself waiting in: two independent calls at once stop a
program for good where the pool has two threads (seen with JAX 0.10.2; `ParallelBatchMap` in jaxlib). Up to
`UNROLLED` dimensions the loops are written out, so that XLA fuses them over all lanes and components; beyond,
they are loops over rows. Used by `frame`, `sufficient` and the models.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from collapse_jax.types import Array

UNROLLED = 6
_HIGHEST = jax.lax.Precision.HIGHEST


def cholesky(matrix: Float[Array, "*batch dim dim"]) -> Float[Array, "*batch dim dim"]:
    """Return the lower triangular factor of a symmetric positive definite matrix.

    A matrix that is not positive definite gives NaN, as `jnp.linalg.cholesky` does.

    >>> cholesky(jnp.array([[4.0, 2.0], [2.0, 5.0]]))
    Array([[2., 0.],
           [1., 2.]], dtype=float32)
    """
    dim = matrix.shape[-1]
    if dim > UNROLLED:
        return _cholesky_by_columns(matrix)
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
        return _inverse_by_rows(tril)
    rows: list[list[Array]] = []
    for i in range(dim):
        diagonal = 1.0 / tril[..., i, i]
        inner = [
            sum((tril[..., i, k] * rows[k][j] for k in range(j, i)), start=jnp.zeros_like(diagonal))
            for j in range(i)
        ]
        rows.append([-value * diagonal for value in inner] + [diagonal])
    return _assemble(rows, dim)


def solve(matrix: Float[Array, "dim dim"], vector: Float[Array, " dim"]) -> Float[Array, " dim"]:
    """Return x with matrix x = vector, for a symmetric positive definite matrix; NaN for another.

    >>> solve(jnp.array([[4.0, 2.0], [2.0, 5.0]]), jnp.array([6.0, 7.0]))
    Array([1., 1.], dtype=float32)
    """
    back = inverse(cholesky(matrix))
    return jnp.matmul(back.T, jnp.matmul(back, vector, precision=_HIGHEST), precision=_HIGHEST)


def join_factors(*parts: Float[Array, "dim _"], max_rank: int | None = None) -> Float[Array, "dim dim"]:
    """Return the lower triangular F, diagonal not negative, with F F' = sum of part part'.

    By Householder reflections, not Cholesky: fewer columns than rows are legal and leave exact zeros. A diagonal
    entry at the rounding of its row is taken for zero, and with it its column; so are columns from `max_rank` on.

    >>> join_factors(jnp.array([[3.0, 4.0]]))
    Array([[5.]], dtype=float32)
    """
    stacked = jnp.concatenate(parts, axis=-1)
    dim, columns = stacked.shape
    if dim == 1:
        return jnp.sqrt(jnp.sum(stacked.reshape(-1) ** 2)).reshape(1, 1)
    stacked = jnp.pad(stacked, ((0, 0), (0, max(dim - columns, 0))))
    if dim <= UNROLLED:
        for row in range(dim):
            stacked = _reflect(row, stacked)
    else:
        stacked = jax.lax.fori_loop(0, dim, _reflect, stacked)
    lower = jnp.tril(stacked[:, :dim])
    lower = lower * jnp.where(jnp.diagonal(lower) < 0, -1.0, 1.0)
    row_norm = jnp.sqrt(jnp.sum(lower**2, axis=1))
    real = jnp.diagonal(lower) > 30 * jnp.finfo(lower.dtype).eps * row_norm
    if max_rank is not None:
        real &= jnp.arange(dim) < max_rank
    return jnp.where(real[None, :], lower, 0.0)


def semidefinite_factor(matrix: Float[Array, "dim dim"], rounding: float = 1e-5) -> Float[Array, "dim dim"]:
    """Return F with F F' = matrix, for a symmetric matrix of any rank; columns beyond the rank are zero.

    Cholesky with the largest pivot first, left in the order of the pivots: F is not triangular. What is left once
    every pivot is below `rounding` of the first is taken for zero.

    >>> factor = semidefinite_factor(jnp.ones((3, 3)))
    >>> [round(float(value), 3) for value in factor[0]]
    [1.0, 0.0, 0.0]
    """
    dim = matrix.shape[0]
    floor = rounding * jnp.max(jnp.diagonal(matrix))

    def eliminate(index: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        rest, factor = carry
        pivot = jnp.argmax(jnp.diagonal(rest))
        size = rest[pivot, pivot]
        column = jnp.where(size > floor, rest[:, pivot] / jnp.sqrt(jnp.maximum(size, floor)), 0.0)
        return rest - jnp.outer(column, column), factor.at[:, index].set(column)

    return jax.lax.fori_loop(0, dim, eliminate, (matrix, jnp.zeros_like(matrix)))[1]


def solve_min_norm(matrix: Float[Array, "dim dim"], vector: Float[Array, " dim"]) -> Float[Array, " dim"]:
    """Return the x of least length with matrix x = vector, for a symmetric positive semidefinite matrix.

    With matrix = F F': x = F (F'F)^-2 F' vector, on the columns of F that are not zero.
    """
    factor = semidefinite_factor(matrix)
    inner = jnp.matmul(factor.T, factor, precision=_HIGHEST)
    inner = inner + jnp.diag(jnp.where(jnp.diagonal(inner) > 0, 0.0, 1.0))
    image = jnp.matmul(factor.T, vector, precision=_HIGHEST)
    return jnp.matmul(factor, solve(inner, solve(inner, image)), precision=_HIGHEST)


def nuclear_norm(matrix: Float[Array, "*batch dim dim"]) -> Float[Array, "*batch"]:
    """Return the sum of the singular values, by Jacobi rotations of pairs of columns (Hestenes 1958).

    >>> round(float(nuclear_norm(jnp.array([[3.0, 0.0], [4.0, 5.0]]))), 4)
    8.9443
    """
    dim = matrix.shape[-1]
    pairs = jnp.array([(p, q) for p in range(dim) for q in range(p + 1, dim)]).reshape(-1, 2)

    def rotate(index: Array, columns: Array) -> Array:
        first, second = pairs[index % pairs.shape[0]]
        a, b = columns[..., first], columns[..., second]
        gap, product = jnp.sum(b**2, -1) - jnp.sum(a**2, -1), jnp.sum(a * b, -1)
        flat = jnp.abs(product) <= jnp.finfo(columns.dtype).tiny
        ratio = gap / (2 * jnp.where(flat, 1.0, product))
        tangent = jnp.where(ratio < 0, -1.0, 1.0) / (jnp.abs(ratio) + jnp.sqrt(1 + ratio**2))
        tangent = jnp.where(flat, 0.0, tangent)[..., None]
        cosine = 1 / jnp.sqrt(1 + tangent**2)
        columns = columns.at[..., first].set(cosine * (a - tangent * b))
        return columns.at[..., second].set(cosine * (b + tangent * a))

    sweeps = 8  # convergence is quadratic: six sweeps reach float64 rounding at ten dimensions
    turned = jax.lax.fori_loop(0, sweeps * pairs.shape[0], rotate, matrix) if dim > 1 else matrix
    return jnp.sum(jnp.sqrt(jnp.sum(turned**2, axis=-2)), axis=-1)


def _reflect(row: int | Array, stacked: Float[Array, "dim columns"]) -> Float[Array, "dim columns"]:
    """Return the columns reflected so that everything right of the diagonal in `row` is zero."""
    beyond = jnp.arange(stacked.shape[1]) >= row
    tail = jnp.where(beyond, stacked[row], 0.0)
    length = jnp.sqrt(jnp.sum(tail**2))
    target = jnp.where(stacked[row, row] > 0, -length, length)
    normal = tail - target * (jnp.arange(stacked.shape[1]) == row)
    square = jnp.sum(normal**2)
    shares = jnp.matmul(stacked, normal, precision=_HIGHEST) / jnp.where(square > 0, square, 1.0)
    return stacked - 2 * jnp.outer(shares, normal)


def _cholesky_by_columns(matrix: Float[Array, "*batch dim dim"]) -> Float[Array, "*batch dim dim"]:
    rows = jnp.arange(matrix.shape[-1])

    def eliminate(index: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        rest, factor = carry
        pivot = jnp.sqrt(rest[..., index, index])
        column = jnp.where(rows >= index, rest[..., index] / pivot[..., None], 0.0)
        return rest - column[..., :, None] * column[..., None, :], factor.at[..., index].set(column)

    return jax.lax.fori_loop(0, matrix.shape[-1], eliminate, (matrix, jnp.zeros_like(matrix)))[1]


def _inverse_by_rows(tril: Float[Array, "*batch dim dim"]) -> Float[Array, "*batch dim dim"]:
    identity = jnp.eye(tril.shape[-1], dtype=tril.dtype)

    def substitute(index: Array, solved: Array) -> Array:
        known = jnp.einsum("...k,...kj->...j", tril[..., index, :], solved, precision=_HIGHEST)
        row = (identity[index] - known) / tril[..., index, index][..., None]
        return solved.at[..., index, :].set(row)

    return jax.lax.fori_loop(0, tril.shape[-1], substitute, jnp.zeros_like(tril))


def _assemble(rows: list[list[Array]], dim: int) -> Array:
    zero = jnp.zeros_like(rows[0][0])
    full = [jnp.stack(row + [zero] * (dim - len(row)), axis=-1) for row in rows]
    return jnp.stack(full, axis=-2)
