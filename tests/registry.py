"""What the contract suite runs over: one line per model in `MODELS`, one line per regime in `REGIMES`.

To put a model or regime of the package under contract, add its line; nothing else changes.
"""

import jax
import jax.numpy as jnp
import numpy as np
import small_language

from collapse_jax import (
    Samples,
    accumulate,
    add_real,
    as_samples,
    compose,
    curate,
    external,
    fresh,
    gaussian,
    gaussian_truth,
    mixture,
    original,
    replace,
    replace_with_real,
    schedule,
    subsample,
    two_gaussians,
    vae,
    weight_real,
    window,
)
from collapse_jax.core.statistics import Sums, moments_of
from collapse_jax.models.bigram import bigram, known_table
from collapse_jax.models.categorical import CategoricalTruth, categorical, categorical_points
from collapse_jax.models.diffusion import diffusion, flow_matching
from collapse_jax.models.gaussian import gaussian_statistics
from collapse_jax.models.kde import bootstrap, kde
from collapse_jax.models.mixture import MixtureParams
from collapse_jax.models.one_parameter import Largest, exponential, poisson, uniform
from collapse_jax.models.regression import regression, regression_truth
from collapse_jax.models.score import kernel_score, linear_score
from collapse_jax.models.vae import conv_vae
from collapse_jax.networks.denoisers import mlp_denoiser
from collapse_jax.numerics import frame as frames
from collapse_jax.numerics.em import Components
from collapse_jax.numerics.mixture_distances import in_data_units
from collapse_jax.testing import ModelCase, RegimeCase
from collapse_jax.testing.cases import LINE, ROOM

POINTS = two_gaussians().sample
TABLE = np.array([[0.6, 0.4], [0.5, 0.5]])
COUNTS = CategoricalTruth(np.array([0.5, 0.3, 0.2]))


def uniform_pixels(key, num: int, dim: int = 6) -> Samples:
    """Return `num` rows of intensities."""
    return Samples(jax.random.uniform(key, (num, dim)), jnp.ones(num))


def _mixture_moments(params):
    weights, means, scale_tril = in_data_units(*params)
    return weights, means, scale_tril @ scale_tril.mT


def _mixture_restart(weights, means, covariances):
    components = Components(
        *(jnp.asarray(a, jnp.float32) for a in (weights, means, np.linalg.cholesky(covariances)))
    )
    return MixtureParams(components, frames.data_frame(components.means.shape[1]))


def _mean_and_variance(seed, params, rows, weight):
    mean = np.average(rows, axis=0, weights=weight)
    return {"mean": mean, "variance": np.average((rows - mean) ** 2, axis=0, weights=weight)}


def _normal(seed, params, num_samples):
    noise = np.random.default_rng(seed).normal(size=(num_samples, 2))
    return (params["mean"] + np.sqrt(params["variance"]) * noise).astype(np.float32)


def _sum_of(draw):
    """Return (key, num) -> the sum of `num` draws."""
    return lambda key, num: Sums(jnp.asarray(float(num)), jnp.sum(draw(key, num)).astype(float))


def _largest(key, num):
    return Largest(jnp.asarray(float(num)), jax.random.uniform(key, minval=1e-30) ** (1 / num))


_TWO = (np.array([0.4, 0.6]), np.array([[-1.0, 0.5], [1.0, -0.5]]), np.stack([2 * np.eye(2), np.eye(2)]))
_EXACT_MIXTURE = {
    "exact_weights": True,
    "moments": _mixture_moments,
    "start": _TWO,
    "restart": _mixture_restart,
}
_TINY_VAE = {"num_pixels": 6, "num_hidden": 4, "num_latents": 2, "num_steps": 3, "batch_size": 8}
_TINY_FIT = {"num_fit_steps": 3, "batch_size": 8}
_STATISTICS = {"draws": "statistics"}

MODELS = (
    LINE,
    ModelCase("mixture-warm", lambda: mixture(2), POINTS, deterministic_fit=True, **_EXACT_MIXTURE),
    ModelCase("mixture-kmeans", lambda: mixture(2, start="kmeans"), POINTS, **_EXACT_MIXTURE),
    ModelCase("gaussian", lambda: gaussian(2), POINTS, deterministic_fit=True),
    ModelCase("kde", lambda: kde("scott"), POINTS, stores_training=True),
    ModelCase("vae-fixed", lambda: vae(**_TINY_VAE), uniform_pixels),
    ModelCase("vae-stream", lambda: vae(**_TINY_VAE, synthetic="fresh"), uniform_pixels, draws="stream"),
    ModelCase("bootstrap", bootstrap, POINTS, stores_training=True),
    ModelCase("diffusion", lambda: diffusion(mlp_denoiser(2, width=8, depth=1), num_steps=3, **_TINY_FIT), POINTS),
    ModelCase("flow", lambda: flow_matching(mlp_denoiser(2, width=8, depth=1), num_steps=3, **_TINY_FIT), POINTS),
    ModelCase("kernel-score", lambda: kernel_score(stop=0.1), POINTS, stores_training=True),
    ModelCase(
        "linear-score", lambda: linear_score(2, num_steps=5),
        lambda key, num: moments_of(gaussian_truth(2).sample(key, num)), deterministic_fit=True, **_STATISTICS,
    ),
    ModelCase(
        "gaussian-statistics", lambda: gaussian_statistics(2),
        lambda key, num: moments_of(gaussian_truth(2).sample(key, num)), deterministic_fit=True, **_STATISTICS,
    ),
    ModelCase("categorical", lambda: categorical(3), lambda key, num: COUNTS.counts_sampler(num)(key), **_STATISTICS),
    ModelCase("categorical-points", lambda: categorical_points(3), lambda key, num: COUNTS.sample(key, num)),
    ModelCase(
        "bigram", lambda: bigram(2, draws="pairs"),
        lambda key, num: known_table(TABLE, num, "pairs")(key), **_STATISTICS,
    ),
    ModelCase("regression", lambda: regression(2), regression_truth(np.array([1.0, -2.0])), **_STATISTICS),
    ModelCase("exponential", exponential, _sum_of(lambda key, num: jax.random.exponential(key, (num,))), **_STATISTICS),
    ModelCase("poisson", poisson, _sum_of(lambda key, num: jax.random.poisson(key, 2.0, (num,))), **_STATISTICS),
    ModelCase("uniform", uniform, _largest, **_STATISTICS),
    ModelCase(
        "language", small_language.build, lambda key, num: as_samples(small_language.REAL[:num]),
        num_samples=len(small_language.REAL),
    ),
    ModelCase("external", lambda: external(_mean_and_variance, _normal), POINTS),
)  # fmt: skip

# minutes to compile, seconds to run: only what is its own
LARGE = (
    ModelCase(
        "conv-vae", lambda: conv_vae(num_latents=2, num_steps=2, batch_size=8, synthetic="fixed"),
        lambda key, num: uniform_pixels(key, num, 784),
    ),
)  # fmt: skip
COMPILED = tuple(case for case in MODELS if not case.build().on_host)

REGIMES = (
    RegimeCase("replace", lambda sampler: replace()),
    RegimeCase("accumulate", lambda sampler: accumulate(ROOM), needs_points=True),
    RegimeCase("window", lambda sampler: window(2), needs_points=True),
    RegimeCase("subsample", lambda sampler: subsample(20), needs_points=True, takes_statistics=False),
    RegimeCase(
        "replace-fraction-original", lambda sampler: replace_with_real(original(), fraction=0.3), needs_points=True,
        takes_statistics=False,
    ),
    RegimeCase(
        "replace-fraction-fresh", lambda sampler: replace_with_real(fresh(sampler), fraction=0.3), needs_points=True,
        takes_statistics=False,
    ),
    RegimeCase(
        "replace-count-original", lambda sampler: replace_with_real(original(), count=5), needs_points=True,
        takes_statistics=False,
    ),
    RegimeCase(
        "replace-count-fresh", lambda sampler: replace_with_real(fresh(sampler), count=5), needs_points=True,
        takes_statistics=False,
    ),
    RegimeCase("add-original", lambda sampler: add_real(original())),
    RegimeCase("add-fresh", lambda sampler: add_real(fresh(sampler), count=7)),
    RegimeCase("weight-original", lambda sampler: weight_real(original(), weight=0.4)),
    RegimeCase("weight-fresh", lambda sampler: weight_real(fresh(sampler), weight=0.4, count=9)),
    RegimeCase(
        "accumulate-subsample", lambda sampler: compose(accumulate(ROOM), subsample(LINE.num_samples)),
        needs_points=True, takes_statistics=False,
    ),
    RegimeCase("schedule", lambda sampler: schedule([20, 10, 24, 12]), needs_points=True, takes_statistics=False),
    RegimeCase(
        "curate", lambda sampler: curate(lambda rows: rows.reshape(rows.shape[0], -1)[:, 0], 2, choice="luce"),
        needs_points=True, takes_statistics=False,
    ),
)  # fmt: skip
