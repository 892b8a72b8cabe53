"""What is put under contract: a model or a regime, with what the contract must know of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.core.data import Samples
from collapse_jax.core.protocol import Model, Regime
from collapse_jax.types import Array, Key

NUM_ROWS = 24  # M, where a case names no other
ROOM = 4  # generations for which accumulating regimes should reserve room


class ModelCase(NamedTuple):
    """A model under contract.

    Attributes:
        name: of the test.
        build: () -> the model, at its smallest.
        real: (key, num) -> real data for it: rows, or the statistic that it is fitted to.
        num_samples: M.
        draws: "points"; "stream", which regimes that need single points must refuse; or "statistics", which those
            must refuse that cannot pool them.
        stores_training: its params hold the rows it was fitted to, so that their number must not change.
        exact_weights: weight 2 is the row twice, 0 its absence, to rounding; other models keep this in law.
        deterministic_fit: the fit depends on start and set of rows alone, on no key and no order.
        moments: params -> (weights [K], means [K, dim], covariances [K, dim, dim]) in data units.
        start: these moments of some start; with `restart`, moments -> params, it puts the fit under
            affine equivariance and label exchange.
        restart: see `start`.
    """

    name: str
    build: Callable[[], Model]
    real: Callable[[Key, int], Any]
    num_samples: int = NUM_ROWS
    draws: str = "points"
    stores_training: bool = False
    exact_weights: bool = False
    deterministic_fit: bool = False
    moments: Callable[[Any], tuple] | None = None
    start: tuple | None = None
    restart: Callable[..., Any] | None = None


class RegimeCase(NamedTuple):
    """A regime under contract.

    Attributes:
        name: of the test.
        build: ((key, num) -> fresh real data) -> the regime, for batches of `NUM_ROWS` and `ROOM` generations.
        needs_points: it stores or picks single points, so that streams must be refused.
        takes_statistics: it may be given statistics of points in place of them.
    """

    name: str
    build: Callable[[Callable[[Key, int], Any]], Regime]
    needs_points: bool = False
    takes_statistics: bool = True


class LineParams(NamedTuple):
    """A Gaussian on the line, in data units."""

    mean: Array
    variance: Array


def line() -> Model:
    """Return the smallest model that has moments: weighted mean and maximum-likelihood variance on the line.

    Its fit reports both. Without a frame it serves runs short enough for the variance to stay above rounding.
    """

    def fit(key: Key, params: LineParams, data: Samples) -> tuple[LineParams, dict[str, Array]]:
        rows, share = data.live_rows()[:, 0], data.weight / data.total_weight
        mean = jnp.sum(share * rows)
        params = LineParams(mean, jnp.sum(share * (rows - mean) ** 2))
        return params, {"mean": params.mean, "variance": params.variance}

    def sample(key: Key, params: LineParams, num_samples: int) -> Samples:
        noise = jax.random.normal(key, (num_samples, 1), params.mean.dtype)
        return Samples(params.mean + jnp.sqrt(params.variance) * noise, jnp.ones(num_samples, noise.dtype))

    return Model(lambda key, real: LineParams(jnp.zeros(()), jnp.ones(())), fit, sample)


def standard_normal(key: Key, num: int) -> Samples:
    """Return `num` points of N(0, 1)."""
    return Samples(jax.random.normal(key, (num, 1)), jnp.ones(num))


def _moments(params: LineParams) -> tuple[Array, Array, Array]:
    return jnp.ones(1), params.mean[None, None], params.variance[None, None, None]


def _restart(weights: Any, means: Any, covariances: Any) -> LineParams:
    return LineParams(*(jnp.asarray(part.reshape(()), jnp.float32) for part in (means, covariances)))


LINE = ModelCase(
    "line", line, standard_normal, exact_weights=True, deterministic_fit=True,
    moments=_moments, start=(np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1))), restart=_restart,
)  # fmt: skip
