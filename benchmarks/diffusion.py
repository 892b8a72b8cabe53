"""Flow matching beside PyTorch: training a perceptron on 8 x 8 digits, and drawing from it by 100 steps of Euler."""

from collections.abc import Iterator

import jax
import numpy as np
from harness import Row, row
from peaks import matmul_peak
from sides import Side, timings

from collapse_jax import as_samples, flow_matching, load_mnist, mlp_denoiser
from collapse_jax.datasets import pooled_digits
from collapse_jax.types import Array

WIDTH, BATCH, FIT_STEPS, DRAWN, STEPS = 256, 256, 200, 1000, 100
_MULTIPLIES = (64 + 16) * WIDTH + 2 * WIDTH**2 + WIDTH * 64  # of one row, forward


def rows() -> Iterator[Row]:
    """Yield the rows of the table."""
    import torch
    from peers.torch_denoiser import drawers, trainers

    digits, peak = _digits(), matmul_peak()
    for chains, target in ((1, 1.0), (8, 2.0)):
        found = timings([_training(digits, chains), *trainers(torch.tensor(digits), WIDTH, BATCH, FIT_STEPS, chains)])
        many = f"{chains} chain{'s' if chains > 1 else ''}"
        work = f"flow matching, MLP 3 x {WIDTH} on 8 x 8 digits, batch {BATCH}, {many}"
        yield row(work, "us / row", found, target, limit=_limit(6 * _MULTIPLIES, found[0].cost, peak))
    found = timings([_drawing(digits), *drawers(64, WIDTH, DRAWN, STEPS)])
    work = f"the same net, {DRAWN:,} digits by {STEPS} steps of Euler"
    yield row(work, "us / row", found, 2.0, limit=_limit(2 * STEPS * _MULTIPLIES, found[0].cost, peak))


def _digits() -> np.ndarray:
    found = pooled_digits(load_mnist().images[:4000])
    return (found - found.mean(axis=0)) / found.std()


def _limit(operations: float, cost: float, peak: float) -> str:
    return f"{operations / cost / 1e9 / peak:.0%} of what matrix products alone would take ({peak:.0f} GFLOP/s)"


def _training(digits: np.ndarray, chains: int) -> Side:
    """Return the training of so many chains, from fresh weights."""
    data = as_samples(digits)
    model = flow_matching(mlp_denoiser(64, width=WIDTH), num_fit_steps=FIT_STEPS, batch_size=BATCH)

    @jax.jit
    def fit(keys: Array) -> Array:
        params = jax.vmap(lambda key: model.init(key, data))(keys)
        return jax.vmap(lambda key, one: model.fit(key, one, data)[1]["loss"])(keys, params)

    keys = jax.random.split(jax.random.key(0), chains)
    return Side("ours", lambda: fit(keys), chains * FIT_STEPS * BATCH)


def _drawing(digits: np.ndarray) -> Side:
    data = as_samples(digits)
    model = flow_matching(mlp_denoiser(64, width=WIDTH), num_steps=STEPS)
    params = model.init(jax.random.key(0), data)
    return Side("ours", lambda: model.sample(jax.random.key(1), params, DRAWN).x, DRAWN)
