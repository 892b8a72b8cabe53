"""Small triangular factors against NumPy, on both sides of the switch to LAPACK."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax import triangular

DIMS = range(1, 9)  # 1 to 6 are written out, 7 and 8 go to LAPACK
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
    # float64 rounding of at most 8 terms times the condition number
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
