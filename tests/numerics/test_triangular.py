"""Triangular factors against NumPy, on both sides of the switch from written-out formulas to loops over blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax.numerics import triangular

DIMS = (
    *range(1, 9),
    16,
    19,
)  # 1 to 6 are written out; of the others one fills part of a block, one two blocks
BATCH = (3, 2)


def _positive_definite(dim: int) -> np.ndarray:
    """Covariances of 2 dim + 2 random rows: condition numbers below about 1e3."""
    rows = np.random.default_rng(dim).normal(size=(*BATCH, 2 * dim + 2, dim))
    return np.swapaxes(rows, -1, -2) @ rows / rows.shape[-2]


def test_the_dims_cover_both_paths():
    assert min(DIMS) <= triangular.UNROLLED < max(DIMS)


@pytest.mark.parametrize("dim", DIMS)
def test_cholesky_equals_numpy(dim, x64):
    matrix = _positive_definite(dim)
    factor = np.asarray(triangular.cholesky(jnp.asarray(matrix)))
    # float64 rounding of at most 19 terms times the condition number
    np.testing.assert_allclose(factor, np.linalg.cholesky(matrix), rtol=1e-11, atol=1e-12)
    assert np.all(np.triu(factor, 1) == 0)


@pytest.mark.parametrize("dim", DIMS)
def test_inverse_equals_numpy(dim, x64):
    tril = np.linalg.cholesky(_positive_definite(dim))
    inverse = np.asarray(triangular.inverse(jnp.asarray(tril)))
    np.testing.assert_allclose(inverse, np.linalg.inv(tril), rtol=1e-10, atol=1e-11)  # as above
    assert np.all(np.triu(inverse, 1) == 0)


@pytest.mark.parametrize("dim", [2, 6, 7])
def test_float32_keeps_its_type_and_its_precision(dim):
    matrix = jnp.asarray(_positive_definite(dim), jnp.float32)
    factor = triangular.cholesky(matrix)
    assert factor.dtype == triangular.inverse(factor).dtype == jnp.float32
    # eps = 1.2e-7, up to 7 terms, backward stable: 1e-6 of the diagonal
    np.testing.assert_allclose(factor @ factor.mT, matrix, atol=1e-6 * float(jnp.max(matrix)))


@pytest.mark.parametrize("dim", [2, 7])
def test_a_batch_equals_its_members(dim):
    matrix = jnp.asarray(_positive_definite(dim), jnp.float32)
    factor = triangular.cholesky(matrix)
    for i, j in np.ndindex(*BATCH):
        # the same formula, fused otherwise: rounding alone, grown by the condition number
        np.testing.assert_allclose(factor[i, j], triangular.cholesky(matrix[i, j]), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            triangular.inverse(factor)[i, j], triangular.inverse(factor[i, j]), rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("dim", [1, 2, 7])
def test_a_matrix_that_is_not_positive_definite_gives_nan(dim):
    factor = triangular.cholesky(-jnp.eye(dim))
    assert jnp.isnan(factor[0, 0])


def test_one_bad_matrix_of_a_batch_spoils_no_other():
    factor = triangular.cholesky(jnp.stack([-jnp.eye(2), jnp.eye(2)]))
    np.testing.assert_array_equal(factor[1], np.eye(2))


@pytest.mark.parametrize("dim", [2, 7])
def test_factors_trace_under_jit(dim):
    matrix = jnp.asarray(_positive_definite(dim), jnp.float32)
    factor = jax.jit(triangular.cholesky)(matrix)
    np.testing.assert_allclose(factor, triangular.cholesky(matrix), rtol=1e-4, atol=1e-5)  # fused otherwise


@pytest.mark.parametrize("dim", [1, 2, 6, 7, 9, 16, 19])
@pytest.mark.parametrize("columns", [3, 8, 20])
def test_joined_factors_have_the_sum_of_the_products(dim, columns, x64):
    rng = np.random.default_rng(dim + columns)
    one, two = jnp.asarray(rng.normal(size=(dim, columns))), jnp.asarray(rng.normal(size=(dim, 2)))
    factor = triangular.join_factors(one, two)
    np.testing.assert_allclose(factor @ factor.T, one @ one.T + two @ two.T, atol=1e-12 * (columns + 2))
    assert bool((jnp.diagonal(factor) >= 0).all()) and bool((jnp.triu(factor, 1) == 0).all())
    assert int((jnp.diagonal(factor) > 0).sum()) == min(dim, columns + 2)


@pytest.mark.parametrize("dim", [1, 2, 6, 7, 16, 19])
@pytest.mark.parametrize("rank", [1, 3, 25])
def test_a_widened_factor_is_the_joined_one(dim, rank, x64):
    rng = np.random.default_rng(dim + rank)
    tril, columns = np.tril(rng.normal(size=(dim, dim))), rng.normal(size=(dim, rank))
    tril[:, dim // 2] = 0.0  # a direction without spread, as fewer points than dimensions leave them
    factor = triangular.widen_factor(jnp.asarray(tril), jnp.asarray(columns))
    np.testing.assert_allclose(
        factor @ factor.T, tril @ tril.T + columns @ columns.T, atol=1e-12 * (dim + rank)
    )
    joined = triangular.join_factors(jnp.asarray(tril), jnp.asarray(columns))
    np.testing.assert_allclose(factor, joined, atol=1e-9)  # unique up to the signs, which both make positive


@pytest.mark.parametrize("dim", [2, 7])
def test_joining_nothing_is_nothing(dim):
    np.testing.assert_array_equal(triangular.join_factors(jnp.zeros((dim, 4))), np.zeros((dim, dim)))


@pytest.mark.parametrize("dim, rank", [(1, 1), (5, 5), (5, 2), (12, 6)])
def test_semidefinite_systems(dim, rank, x64):
    rng = np.random.default_rng(dim)
    rows = rng.normal(size=(dim, rank))
    matrix, vector = rows @ rows.T, rows @ rng.normal(size=rank)
    factor = triangular.semidefinite_factor(jnp.asarray(matrix))
    np.testing.assert_allclose(factor @ factor.T, matrix, atol=1e-11)
    assert int((jnp.abs(factor).sum(axis=0) > 0).sum()) == rank
    found = triangular.solve_min_norm(jnp.asarray(matrix), jnp.asarray(vector))
    # NumPy's pseudo-inverse; condition numbers up to 1e4, twice
    np.testing.assert_allclose(found, np.linalg.pinv(matrix, rcond=1e-10) @ vector, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dim, rank", [(1, 1), (3, 3), (4, 2), (9, 9), (3, 0)])
def test_nuclear_norm(dim, rank, x64):
    rng = np.random.default_rng(dim)
    matrix = (
        rng.normal(size=(*BATCH, dim, max(rank, 1)))
        @ rng.normal(size=(*BATCH, max(rank, 1), dim))
        * (rank > 0)
    )
    expected = np.linalg.svd(matrix, compute_uv=False).sum(axis=-1)
    np.testing.assert_allclose(triangular.nuclear_norm(jnp.asarray(matrix)), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dim", [3, 8])
def test_nothing_here_calls_lapack(dim):
    """Two batched LAPACK calls at once stop a program for good where JAX's thread pool has two threads."""

    def everything(matrix, vector):
        factor = triangular.cholesky(matrix)
        return (
            triangular.inverse(factor),
            triangular.join_factors(matrix, factor),
            triangular.solve_min_norm(matrix, vector),
            triangular.nuclear_norm(matrix),
        )

    shapes = jax.ShapeDtypeStruct((4, dim, dim), jnp.float32), jax.ShapeDtypeStruct((4, dim), jnp.float32)
    text = jax.jit(jax.vmap(everything)).lower(*shapes).as_text()
    assert "lapack" not in text and "lapack" in jax.jit(jnp.linalg.qr).lower(shapes[0]).as_text()
