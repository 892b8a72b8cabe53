"""Artificial truths: Gaussian mixtures whose every moment is known."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.core.data import Samples
from collapse_jax.numerics.sampling import weighted_indices
from collapse_jax.types import Key
from collapse_jax.validation import check_count, check_key, check_positive


class GaussianMixture(NamedTuple):
    """A known mixture.

    Attributes:
        weights: shape [K], sum to 1.
        means: shape [K, dim], data units.
        covariances: shape [K, dim, dim], squared data units.
    """

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """The mean of the whole, shape [dim]."""
        return self.weights @ self.means

    @property
    def covariance(self) -> np.ndarray:
        """The covariance of the whole, shape [dim, dim]."""
        centred = self.means - self.mean
        spread = np.einsum("k,ki,kj->ij", self.weights, centred, centred)
        return np.einsum("k,kij->ij", self.weights, self.covariances) + spread

    @property
    def total_variance(self) -> float:
        """Trace of the covariance of the whole."""
        return float(np.trace(self.covariance))

    def sample(self, key: Key, num: int) -> Samples:
        """Return `num` independent points."""
        check_key(key), check_count("num", num)
        key_component, key_noise = jax.random.split(key)
        index = weighted_indices(key_component, jnp.asarray(self.weights), num)
        factors = jnp.asarray(np.linalg.cholesky(self.covariances))
        noise = jax.random.normal(key_noise, (num, self.means.shape[1]))
        rows = jnp.asarray(self.means)[index] + jnp.einsum("nij,nj->ni", factors[index], noise)
        return Samples(rows, jnp.ones(num))

    def sampler(self, num: int) -> Callable[[Key], Samples]:
        """Return the function key -> `num` independent points: real data drawn anew for each seed."""
        check_count("num", num)
        return lambda key: self.sample(key, num)


def two_gaussians(separation: float = 4.0) -> GaussianMixture:
    """Return two equal unit Gaussians in the plane, `separation` apart (Shumailov et al. 2024, paper).

    >>> two_gaussians(4.0).total_variance
    6.0
    """
    check_positive("separation", separation)
    half = separation / 2
    return GaussianMixture(
        np.array([0.5, 0.5]), np.array([[-half, 0.0], [half, 0.0]]), np.stack([np.eye(2)] * 2)
    )


def single_cloud() -> GaussianMixture:
    """Return one standard Gaussian cloud in the plane (Shumailov et al. 2024, code).

    >>> single_cloud().total_variance
    2.0
    """
    return GaussianMixture(np.array([1.0]), np.zeros((1, 2)), np.eye(2)[None])
