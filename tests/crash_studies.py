"""Small studies of each kind that a run may be, for the tests of what a kill leaves."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax import (
    Chunked,
    Metric,
    Model,
    Samples,
    build_chain,
    external,
    gaussian_truth,
    replace,
)
from collapse_jax.models.gaussian import gaussian_metrics, gaussian_statistics
from collapse_jax.studies.plan import Arm, Plan

HOME = __name__


@dataclasses.dataclass(frozen=True)
class Config:
    """What runs, and how far."""

    kind: str = "compiled"
    num_samples: int = 10
    generations: int = 6
    seeds: int = 3
    lanes: int = 2
    seed: int = 0


def build(config):
    """Return two arms of the compiled kind, or one of another."""
    if config.kind == "compiled":
        arms = tuple(Arm(size, _walk(size)) for size in (config.num_samples, 2 * config.num_samples))
        return Plan("num_samples", arms, 2, config.lanes)
    chain = _in_python(config.num_samples) if config.kind == "host" else _in_pieces(config.num_samples)
    return Plan("arm", (Arm(config.kind, chain),), 1, 1, on_host=True)


def cell(config):
    """Return the chain of one cell of a sweep."""
    return _walk(config.num_samples)


def figures(config, dataset):
    """Return nothing: what is drawn is another test's business."""
    return []


def evidence(config, dataset):
    """Return nothing: what is judged is another test's business."""
    return []


def _walk(size):
    real = gaussian_truth(1).moments_sampler(size)
    return build_chain(gaussian_statistics(1), replace(), real, size, gaussian_metrics()[2:])


def _in_python(size):
    def fit(seed, params, rows, weight):
        return {"mean": rows.mean(axis=0), "std": rows.std(axis=0)}

    def sample(seed, params, num):
        return np.random.default_rng(seed).normal(params["mean"], params["std"], (num, 1))

    spread = Metric("spread", (), "data units", lambda key, snapshot: np.std(np.asarray(snapshot.synthetic.x)))
    return build_chain(external(fit, sample), replace(), gaussian_truth(1).sampler(size), size, [spread])


def _in_pieces(size):
    """Two pieces of a fit, each of which takes in half of the rows."""

    def start(key, params, data):
        return data.x, jnp.zeros(2)

    def advance(index, carry):
        rows, sums = carry
        half = jax.lax.dynamic_slice_in_dim(rows, index * (size // 2), size // 2)
        return rows, sums + jnp.stack([half.sum(), (half**2).sum()])

    def finish(carry):
        mean, square = carry[1] / size
        return jnp.stack([mean, jnp.sqrt(jnp.maximum(square - mean**2, 0))]), {}

    def sample(key, params, num):
        return Samples(params[0] + params[1] * jax.random.normal(key, (num, 1)), jnp.ones(num))

    model = Model(lambda key, real: jnp.zeros(2), Chunked(start, advance, finish, 2), sample)
    spread = Metric("spread", (), "data units", lambda key, snapshot: snapshot.params[1])
    return build_chain(model, replace(), gaussian_truth(1).sampler(size), size, [spread])
