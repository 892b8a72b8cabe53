"""What the contract suite runs over: one line per model in `MODELS`, one line per regime in `REGIMES`.

To put a model or regime of your own under contract, add its line; nothing else changes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax import (
    Model,
    Regime,
    Samples,
    accumulate,
    add,
    compose,
    curate,
    fresh,
    mixture,
    original,
    replace,
    replace_part,
    schedule,
    subsample,
    two_gaussians,
    vae,
    weight_real,
    window,
)
from collapse_jax import gaussian as framed_gaussian
from collapse_jax.models.kde import kde
from collapse_jax.models.mixture import MixtureParams
from collapse_jax.numerics import frame as frames
from collapse_jax.numerics.em import Components
from collapse_jax.numerics.mixture_distances import in_data_units

NUM_ROWS = 24
ROOM = 4  # generations for which accumulating regimes reserve room


class GaussianParams(NamedTuple):
    """A Gaussian on the line, in data units."""

    mean: jax.Array
    variance: jax.Array


def gaussian() -> Model:
    """Return the smallest moment-exact model: weighted mean and maximum-likelihood variance, in data units.

    Its fit reports both. Without a frame it serves runs short enough for the variance to stay above rounding.
    """

    def fit(key, params, data):
        rows, share = data.live_rows()[:, 0], data.weight / data.total_weight
        mean = jnp.sum(share * rows)
        params = GaussianParams(mean, jnp.sum(share * (rows - mean) ** 2))
        return params, {"mean": params.mean, "variance": params.variance}

    def sample(key, params, num_samples):
        noise = jax.random.normal(key, (num_samples, 1), params.mean.dtype)
        return Samples(params.mean + jnp.sqrt(params.variance) * noise, jnp.ones(num_samples, noise.dtype))

    return Model(lambda key, real: GaussianParams(jnp.zeros(()), jnp.ones(())), fit, sample)


def standard_normal(key, num: int) -> Samples:
    """Return `num` points of N(0, 1)."""
    return Samples(jax.random.normal(key, (num, 1)), jnp.ones(num))


def uniform_pixels(key, num: int) -> Samples:
    """Return `num` rows of 6 intensities."""
    return Samples(jax.random.uniform(key, (num, 6)), jnp.ones(num))


class ModelCase(NamedTuple):
    """A model under contract.

    Attributes:
        name: of the test.
        build: () -> the model, at its smallest.
        fresh: (key, num) -> real data for it.
        draws_points: false if `sample` gives a stream: regimes that need single points must then refuse it.
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
    fresh: Callable[[Any, int], Samples]
    draws_points: bool = True
    stores_training: bool = False
    exact_weights: bool = False
    deterministic_fit: bool = False
    moments: Callable[[Any], tuple] | None = None
    start: tuple | None = None
    restart: Callable[..., Any] | None = None


def _gaussian_moments(params):
    return jnp.ones(1), params.mean[None, None], params.variance[None, None, None]


def _mixture_moments(params):
    weights, means, scale_tril = in_data_units(*params)
    return weights, means, scale_tril @ scale_tril.mT


def _mixture_restart(weights, means, covariances):
    components = Components(
        *(jnp.asarray(a, jnp.float32) for a in (weights, means, np.linalg.cholesky(covariances)))
    )
    return MixtureParams(components, frames.data_frame(components.means.shape[1]))


def _gaussian_restart(weights, means, covariances):
    return GaussianParams(*(jnp.asarray(part.reshape(()), jnp.float32) for part in (means, covariances)))


_ONE = (np.ones(1), np.zeros((1, 1)), np.ones((1, 1, 1)))
_TWO = (np.array([0.4, 0.6]), np.array([[-1.0, 0.5], [1.0, -0.5]]), np.stack([2 * np.eye(2), np.eye(2)]))
_EXACT_GAUSSIAN = {
    "exact_weights": True,
    "moments": _gaussian_moments,
    "start": _ONE,
    "restart": _gaussian_restart,
}
_EXACT_MIXTURE = {
    "exact_weights": True,
    "moments": _mixture_moments,
    "start": _TWO,
    "restart": _mixture_restart,
}
_TINY_VAE = {"num_pixels": 6, "num_hidden": 4, "num_latents": 2, "num_steps": 3, "batch_size": 8}

MODELS = (
    ModelCase("gaussian", gaussian, standard_normal, deterministic_fit=True, **_EXACT_GAUSSIAN),
    ModelCase(
        "mixture-warm", lambda: mixture(2), two_gaussians().sample, deterministic_fit=True, **_EXACT_MIXTURE
    ),
    ModelCase("mixture-kmeans", lambda: mixture(2, start="kmeans"), two_gaussians().sample, **_EXACT_MIXTURE),
    ModelCase("gaussian-framed", lambda: framed_gaussian(2), two_gaussians().sample, deterministic_fit=True),
    ModelCase("kde", lambda: kde("scott"), two_gaussians().sample, stores_training=True),
    ModelCase("vae-fixed", lambda: vae(**_TINY_VAE), uniform_pixels),
    ModelCase("vae-stream", lambda: vae(**_TINY_VAE, synthetic="fresh"), uniform_pixels, draws_points=False),
)


class RegimeCase(NamedTuple):
    """A regime under contract.

    Attributes:
        name: of the test.
        build: (key, num) -> fresh real data -> the regime, for batches of `NUM_ROWS` and `ROOM` generations.
        needs_points: it stores or picks single points, so that streams must be refused.
    """

    name: str
    build: Callable[[Callable[[Any, int], Samples]], Regime]
    needs_points: bool = False


REGIMES = (
    RegimeCase("replace", lambda sampler: replace()),
    RegimeCase("accumulate", lambda sampler: accumulate(ROOM), needs_points=True),
    RegimeCase("window", lambda sampler: window(2), needs_points=True),
    RegimeCase("subsample", lambda sampler: subsample(20), needs_points=True),
    RegimeCase(
        "replace-fraction-original", lambda sampler: replace_part(original(), fraction=0.3), needs_points=True
    ),
    RegimeCase(
        "replace-fraction-fresh",
        lambda sampler: replace_part(fresh(sampler), fraction=0.3),
        needs_points=True,
    ),
    RegimeCase(
        "replace-count-original", lambda sampler: replace_part(original(), count=5), needs_points=True
    ),
    RegimeCase(
        "replace-count-fresh", lambda sampler: replace_part(fresh(sampler), count=5), needs_points=True
    ),
    RegimeCase("add-original", lambda sampler: add(original())),
    RegimeCase("add-fresh", lambda sampler: add(fresh(sampler), count=7)),
    RegimeCase("weight-original", lambda sampler: weight_real(original(), weight=0.4)),
    RegimeCase("weight-fresh", lambda sampler: weight_real(fresh(sampler), weight=0.4, count=9)),
    RegimeCase(
        "accumulate-subsample",
        lambda sampler: compose(accumulate(ROOM), subsample(NUM_ROWS)),
        needs_points=True,
    ),
    RegimeCase("schedule", lambda sampler: schedule([20, 10, 24, 12]), needs_points=True),
    RegimeCase(
        "curate", lambda sampler: curate(lambda rows: rows[:, 0], 2, choice="luce"), needs_points=True
    ),
)
