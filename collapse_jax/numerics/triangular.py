"""Cholesky factors, inverses and joins of many small matrices at once, without LAPACK.

A chain meets thousands of small matrices; one LAPACK call each costs more than the arithmetic. Worse, on CPUs
JAX hands a batch of them to the thread pool that it is itself waiting in: two independent calls at once stop a
program for good where the pool has two threads (seen with JAX 0.10.2; `ParallelBatchMap` in jaxlib). Up to
`UNROLLED` dimensions the loops are written out, so that XLA fuses them over all lanes and components; beyond,
they are loops over blocks of rows, and matrix products. Used by `frame`, `core.statistics` and the models.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Float

from collapse_jax.types import Array

UNROLLED = 6
_BLOCK = 8  # rows reflected at a time; fastest of 5, 8, 10, 16, 20 and 25 at 31 and 100 dimensions
_HIGHEST = jax.lax.Precision.HIGHEST
_matmul = partial(jnp.matmul, precision=_HIGHEST)


def cholesky(matrix: Float[Array, "*batch dim dim"]) -> Float[Array, "*batch dim dim"]:
    """Return the lower triangular factor of a symmetric positive definite matrix.

    A matrix that is not positive definite gives NaN, as `jnp.linalg.cholesky` does.

    >>> cholesky(jnp.array([[4.0, 2.0], [2.0, 5.0]]))
    Array([[2., 0.],
           [1., 2.]], dtype=float32)
    """
    dim = matrix.shape[-1]
    if dim > UNROLLED:
        return _cholesky_by_blocks(matrix)
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
    return _matmul(back.T, _matmul(back, vector))


def join_factors(*parts: Float[Array, "dim _"], max_rank: int | None = None) -> Float[Array, "dim dim"]:
    """Return the lower triangular F, diagonal not negative, with F F' = sum of part part'.

    By Householder reflections, not Cholesky: fewer columns than rows are legal and leave exact zeros. A diagonal
    entry at the rounding of its row is taken for zero, and with it its column; so are columns from `max_rank` on.

    >>> join_factors(jnp.array([[3.0, 4.0]]))
    Array([[5.]], dtype=float32)
    """
    stacked = jnp.concatenate(parts, axis=-1)
    return widen_factor(jnp.zeros_like(stacked, shape=(stacked.shape[0],) * 2), stacked, max_rank=max_rank)


def widen_factor(
    tril: Float[Array, "dim dim"], columns: Float[Array, "dim _"], max_rank: int | None = None
) -> Float[Array, "dim dim"]:
    """Return `join_factors(tril, columns)`, in half the time, since `tril` is lower triangular already.

    >>> widen_factor(jnp.array([[3.0]]), jnp.array([[4.0]]))
    Array([[5.]], dtype=float32)
    """
    dim = tril.shape[0]
    if dim == 1:
        return jnp.sqrt(jnp.sum(tril**2) + jnp.sum(columns**2)).reshape(1, 1)
    if dim <= UNROLLED:
        for row in range(dim):
            tril, columns = _reflect(row, tril, columns)
    else:
        tril = _reflect_by_blocks(tril, columns)
    lower = jnp.tril(tril)
    lower = lower * jnp.where(jnp.diagonal(lower) < 0, -1.0, 1.0)[None, :]
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
    inner = _matmul(factor.T, factor)
    inner = inner + jnp.diag(jnp.where(jnp.diagonal(inner) > 0, 0.0, 1.0))
    return _matmul(factor, solve(inner, solve(inner, _matmul(factor.T, vector))))


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


def _reflect(row: int, tril: Float[Array, "dim dim"], columns: Float[Array, "dim n"]) -> tuple[Array, Array]:
    """Return both reflected so that `columns` are zero in `row`; of `tril` that moves one column alone."""
    normal, scale = _normal(tril[row, row], columns[row])
    shares = scale * (tril[:, row] * normal[0] + _matmul(columns, normal[1:]))
    return tril.at[:, row].add(-shares * normal[0]), columns - jnp.outer(shares, normal[1:])


def _normal(head: Array, tail: Float[Array, " n"]) -> tuple[Float[Array, " n+1"], Array]:
    """Return v and tau such that I - tau v v' takes (head, tail) to (+-length, 0); nothing to do gives v = 0."""
    length = jnp.sqrt(head**2 + jnp.sum(tail**2))
    normal = jnp.concatenate([(head + jnp.where(head > 0, length, -length))[None], tail])
    square = jnp.sum(normal**2)
    return normal, 2 / jnp.where(square > 0, square, 1.0)


def _reflect_by_blocks(
    tril: Float[Array, "dim dim"], columns: Float[Array, "dim n"]
) -> Float[Array, "dim dim"]:
    """Return `tril` after all reflections, `_BLOCK` rows at a time: the other rows meet them as matrix products.

    Reflections of a block are I - V' T V with upper triangular T (Schreiber and Van Loan 1989, compact WY form).
    """
    dim, num = tril.shape[0], columns.shape[1]
    extra = -dim % _BLOCK
    tril, columns = jnp.pad(tril, ((0, extra), (0, extra))), jnp.pad(columns, ((0, extra), (0, 0)))

    def block(index: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        tril, columns = carry
        first = index * _BLOCK
        both = jnp.concatenate([jax.lax.dynamic_slice_in_dim(tril, first, _BLOCK, axis=1), columns], axis=1)

        def reflect(row: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            rows, normals, inner = carry
            short, scale = _normal(rows[row, row], rows[row, _BLOCK:])
            normal = jnp.zeros(_BLOCK + num, tril.dtype).at[_BLOCK:].set(short[1:]).at[row].set(short[0])
            rows = rows - scale * jnp.outer(_matmul(rows, normal), normal)
            joined = -scale * _matmul(inner, _matmul(normals, normal))
            return rows, normals.at[row].set(normal), inner.at[:, row].set(joined.at[row].set(scale))

        rows = jax.lax.dynamic_slice_in_dim(both, first, _BLOCK, axis=0)
        empty = jnp.zeros((_BLOCK, _BLOCK + num), tril.dtype), jnp.zeros((_BLOCK, _BLOCK), tril.dtype)
        _, normals, inner = jax.lax.fori_loop(0, _BLOCK, reflect, (rows, *empty))
        both = both - _matmul(_matmul(_matmul(both, normals.T), inner), normals)
        return jax.lax.dynamic_update_slice_in_dim(tril, both[:, :_BLOCK], first, axis=1), both[:, _BLOCK:]

    return jax.lax.fori_loop(0, (dim + extra) // _BLOCK, block, (tril, columns))[0][:dim, :dim]


def _cholesky_by_blocks(matrix: Float[Array, "*batch dim dim"]) -> Float[Array, "*batch dim dim"]:
    """Return the factor, `_BLOCK` columns at a time: what they leave of the matrix is one matrix product."""
    dim = matrix.shape[-1]
    size = dim + -dim % _BLOCK
    rows = jnp.arange(size)
    matrix = jnp.pad(matrix, (*[(0, 0)] * (matrix.ndim - 2), (0, size - dim), (0, size - dim)))
    matrix = matrix + _beside(jnp.diag((rows >= dim).astype(matrix.dtype)), matrix)

    def block(index: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        rest, factor = carry
        first = index * _BLOCK
        columns = jax.lax.dynamic_slice_in_dim(rest, first, _BLOCK, axis=-1)
        corner = _cholesky_by_columns(jax.lax.dynamic_slice_in_dim(columns, first, _BLOCK, axis=-2))
        below = _matmul(columns, _inverse_by_rows(corner).swapaxes(-1, -2))
        below = jnp.where(_beside((rows >= first)[:, None], below), below, 0.0)
        rest = rest - _matmul(below, below.swapaxes(-1, -2))
        return rest, jax.lax.dynamic_update_slice_in_dim(factor, below, first, axis=-1)

    factor = jax.lax.fori_loop(0, size // _BLOCK, block, (matrix, jnp.zeros_like(matrix)))[1]
    return jnp.tril(factor[..., :dim, :dim])


def _cholesky_by_columns(matrix: Float[Array, "*batch dim dim"]) -> Float[Array, "*batch dim dim"]:
    rows = jnp.arange(matrix.shape[-1])

    def eliminate(index: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        rest, factor = carry
        pivot = jnp.sqrt(rest[..., index, index])
        below = rest[..., index] / pivot[..., None]
        column = jnp.where(_beside(rows >= index, below), below, 0.0)
        return rest - column[..., :, None] * column[..., None, :], factor.at[..., index].set(column)

    return jax.lax.fori_loop(0, matrix.shape[-1], eliminate, (matrix, jnp.zeros_like(matrix)))[1]


def _inverse_by_rows(tril: Float[Array, "*batch dim dim"]) -> Float[Array, "*batch dim dim"]:
    identity = jnp.eye(tril.shape[-1], dtype=tril.dtype)

    def substitute(index: Array, solved: Array) -> Array:
        known = jnp.einsum("...k,...kj->...j", tril[..., index, :], solved, precision=_HIGHEST)
        row = (_beside(identity[index], known) - known) / tril[..., index, index][..., None]
        return solved.at[..., index, :].set(row)

    return jax.lax.fori_loop(0, tril.shape[-1], substitute, jnp.zeros_like(tril))


def _beside(array: Array, batch: Array) -> Array:
    """Return an array with as many axes as `batch`, those in front of length 1."""
    return array.reshape((1,) * (batch.ndim - array.ndim) + array.shape)


def _assemble(rows: list[list[Array]], dim: int) -> Array:
    zero = jnp.zeros_like(rows[0][0])
    full = [jnp.stack(row + [zero] * (dim - len(row)), axis=-1) for row in rows]
    return jnp.stack(full, axis=-2)
