"""Laws of Gaussian chains in several dimensions: factors, eigenvalues, ranks, and bounds on distances."""

import jax.numpy as jnp
import numpy as np

from collapse_jax.core.chain import build_chain
from collapse_jax.core.protocol import Chain, Metric, Snapshot
from collapse_jax.core.regimes import replace
from collapse_jax.core.statistics import moments_of
from collapse_jax.models.gaussian import gaussian_metrics, gaussian_statistics, gaussian_truth
from collapse_jax.numerics.frame import axes
from collapse_jax.numerics.mixture_distances import gaussian_w2
from collapse_jax.selfcheck.laws.checks import Check, check, check_exact, check_variance
from collapse_jax.selfcheck.laws.running import Records
from collapse_jax.theory import gaussian as exact
from collapse_jax.types import Array, Key

_SIZE, _DIM, _FEW = 20, 3, 3
_SLANTED = np.eye(_DIM)  # factor of unit variances, the first two with correlation 0.8
_SLANTED[1, :2] = 0.8, 0.6


def chains() -> dict[str, Chain]:
    """Return three dimensions at M = 20, unbiased, and three points in as many, MLE."""
    return {"full": _full(_SIZE), "few": _few_points()}


def laws(records: Records) -> list[Check]:
    """Six fits; three of three points."""
    size, fits = _SIZE, 6
    log_l, mean, covariance, distance = (
        records["full"][name][:, -1].astype(float) for name in ("log_scale", "mean", "covariance", "w2")
    )
    return [
        *_factor_laws(log_l, fits, size),
        *_trace_laws(mean, covariance, fits, size),
        *_direction_laws(covariance, fits, size),
        *_distance_laws(mean, covariance, distance, fits, size),
        *_few_point_laws(records["few"]),
    ]


def _full(size: int) -> Chain:
    """Return the unbiased chain of N(0, I) in three dimensions; it records its distance to the truth, too."""

    def to_truth(key: Key, snapshot: Snapshot) -> Array:
        frame = snapshot.params.frame
        return gaussian_w2(frame.location, axes(frame), jnp.zeros(_DIM), jnp.eye(_DIM))

    metrics = (*gaussian_metrics()[:2], _covariance(), Metric("w2", (), "squared data units", to_truth))
    truth = gaussian_truth(_DIM)
    real = lambda key: moments_of(truth.sample(key, size))  # noqa: E731
    return build_chain(gaussian_statistics(_DIM), replace(), real, size, metrics)


def _few_points() -> Chain:
    """Return the MLE chain of three points in three dimensions, two of which are correlated."""
    truth = gaussian_truth(_DIM, _SLANTED)
    real = lambda key: moments_of(truth.sample(key, _FEW))  # noqa: E731
    model = gaussian_statistics(_DIM, estimator="mle")
    return build_chain(model, replace(), real, _FEW, (gaussian_metrics()[0], _covariance()))


def _covariance() -> Metric:
    """Return the metric "covariance", in data units: these chains are short."""

    def covariance(key: Key, snapshot: Snapshot) -> Array:
        factor = axes(snapshot.params.frame) * snapshot.params.alive
        return jnp.matmul(factor, factor.T, precision="highest")

    return Metric("covariance", ("axis", "other"), "squared data units", covariance)


def _factor_laws(log_l: np.ndarray, fits: int, size: int) -> list[Check]:
    """Squared diagonal entries of the Cholesky factor are independent products of chi-squares."""
    section, dim = "gaussian, d = 3, replace", log_l.shape[1]
    spread = fits * np.sqrt([exact.log_variance_variance(size, row) for row in (1, dim)]).prod()
    gaps = 2 * log_l - fits * np.array([exact.log_variance_drift(size, 1, j) for j in range(1, dim + 1)])
    return [
        *[
            check(section, f"E log L_{j}{j}^2 (Lyapunov slope)", 2 * log_l[:, j - 1],
                  fits * exact.log_variance_drift(size, 1, j))
            for j in range(1, dim + 1)
        ],
        check_variance(section, "Var log L_33^2", 2 * log_l[:, 2], fits * exact.log_variance_variance(size, 3)),
        check(section, "log L_11 and log L_33 are uncorrelated", gaps[:, 0] * gaps[:, 2] / spread, 0.0),
        check(section, "E det S_n", np.exp(2 * log_l.sum(axis=1)), exact.determinant_mean(fits, size, dim)),
    ]  # fmt: skip


def _trace_laws(mean: np.ndarray, covariance: np.ndarray, fits: int, size: int) -> list[Check]:
    section, dim = "gaussian, d = 3, replace", mean.shape[1]
    trace = np.trace(covariance, axis1=1, axis2=2)
    of_square, square = exact.trace_squares(fits, size, dim)
    return [
        check(section, "E tr S_n", trace, dim),
        check(section, "E (tr S_n)^2", trace**2, square),
        check(section, "E tr S_n^2", np.sum(covariance**2, axis=(1, 2)), of_square),
        check(section, "E |mu_n|^2 = n d / M", np.sum(mean**2, axis=1), fits * dim / size),
    ]


def _direction_laws(covariance: np.ndarray, fits: int, size: int) -> list[Check]:
    """Along any direction, u'S u is a product of chi-squares of M - 1, and 1/(u'S^-1 u) one of M - d."""
    section, direction, dim = "gaussian, d = 3, any direction u", np.array([1.0, 2.0, -1.0]), 3
    square = direction @ direction
    along = np.log(np.einsum("i,rij,j->r", direction, covariance, direction) / square)
    solved = np.linalg.solve(covariance, np.broadcast_to(direction, covariance.shape[:2])[..., None])[..., 0]
    across = -np.log(solved @ direction / square)
    return [
        check(section, "E log u'S_n u", along, fits * exact.log_variance_drift(size, 1)),
        check_variance(section, "Var log u'S_n u", along, fits * exact.log_variance_variance(size)),
        check(section, "E log 1/(u'S_n^-1 u)", across, fits * exact.log_variance_drift(size, 1, dim)),
        check_variance(section, "Var log 1/(u'S_n^-1 u)", across, fits * exact.log_variance_variance(size, dim)),
    ]


def _distance_laws(
    mean: np.ndarray, covariance: np.ndarray, distance: np.ndarray, fits: int, size: int
) -> list[Check]:
    """Gelbrich's formula by eigenvalues against the package's own distance, and what bounds it from below."""
    section, square = "gaussian, d = 3, distance to the truth", np.sum(mean**2, axis=1)
    roots = np.sqrt(np.maximum(np.linalg.eigvalsh(covariance), 0))
    gap = np.abs(square + np.sum((1 - roots) ** 2, axis=1) - distance).max()
    return [
        check_exact(section, "Gelbrich's formula, largest difference", gap, 0.0, allowance=1e-3),
        Check(section, "W2^2 >= |mu_n|^2 in every run, smallest", float((distance - square).min()), 0.0, 0.0,
              relation=">="),
        check(section, "E W2^2 >= n d / M", distance, fits * mean.shape[1] / size, relation=">="),
    ]  # fmt: skip


def _few_point_laws(record: dict[str, np.ndarray]) -> list[Check]:
    """The rank is M - 1 at once; E[mu mu' + S] is conserved entry by entry, also off the diagonal."""
    section, fits = "gaussian, M = 3 in d = 3, mle", 3
    mean, covariance = (record[name][:, fits - 1].astype(float) for name in ("mean", "covariance"))
    second = mean[:, :, None] * mean[:, None, :] + covariance
    conserved = _SLANTED @ _SLANTED.T
    trace = np.trace(covariance, axis1=1, axis2=2)
    return [
        # points on a line to rounding are met in some 1e-5 of the runs
        check_exact(section, "rank is M - 1 at once", record["rank"][:, 0].mean(), _FEW - 1, allowance=1e-3),
        check_exact(section, "rank never exceeds M - 1", record["rank"].max(), _FEW - 1),
        check(section, "E tr S_n", trace, _DIM * exact.variance_mean(fits, _FEW, 0)),
        check(section, "E tr[mu mu' + S] is conserved", np.trace(second, axis1=1, axis2=2), _DIM),
        *[
            check(section, f"E[mu mu' + S]_{i + 1}{j + 1} is conserved", second[:, i, j], conserved[i, j])
            for i, j in ((0, 0), (0, 1))
        ],
    ]
