"""Training autoencoders beside PyTorch, images a second, and the share of what matrix products alone would take."""

from collections.abc import Iterator
from functools import lru_cache

import jax
from harness import Row, row, timed
from peaks import matmul_peak
from sides import Side, timings

from collapse_jax import (
    Chain,
    as_samples,
    build_chain,
    conv_vae,
    load_mnist,
    replace,
    run_compiled,
    vae,
)
from collapse_jax.types import Array

# multiplications of one image forward: encoder, then decoder
_MULTIPLIES = {
    "MLP": 784 * 256 + 256 * 32 + 16 * 256 + 256 * 784,
    "conv": 196 * 16 * 64 + 49 * 1024 * 128 + 6272 * 40 + 20 * 6272 + 49 * 128 * 1024 + 196 * 64 * 16,
}

UNIT = "us / image trained on"
_NETS = {"MLP": (vae, 128, 40), "conv": (conv_vae, 256, 2)}  # model, batch, steps of a generation


def rows() -> Iterator[Row]:
    """Yield the rows of the table."""
    import torch
    from peers.torch_autoencoder import trainers

    images, peak = load_mnist().images, matmul_peak()
    works = (
        ("MLP", "MLP VAE 784-256-16, batch 128", 200, (1.2, 2.0)),
        ("conv", "conv VAE of the paper, batch 256", 12, (1.2, 1.2)),
    )
    for kind, work, steps, targets in works:
        batch, flops = _NETS[kind][1], _MULTIPLIES[kind] * 6  # a multiply and an add, forward and twice backward
        for chains, target in zip((1, 8), targets):
            peers = trainers(kind, torch.tensor(images), batch, 8 if kind == "conv" else 100, chains)
            found = timings([_ours(kind, batch, steps, chains), *peers])
            share = flops / found[0].cost / 1e9 / peak
            limit = (
                f"{1 / found[0].cost:,.0f} images/s, {share:.0%} of what matrix products alone would take "
                f"({peak:.0f} GFLOP/s)"
            )
            many = f"{chains} chain{'s' if chains > 1 else ''}"
            yield row(f"{work}, {many}", "us / image", found, target, limit=limit)


def _ours(kind: str, batch: int, steps: int, chains: int) -> Side:
    """Return the training of so many chains, from fresh weights."""
    images = as_samples(load_mnist().images)
    model = _NETS[kind][0](num_steps=steps, batch_size=batch, synthetic="fixed")

    @jax.jit
    def fit(keys: Array) -> Array:
        params = jax.vmap(lambda key: model.init(key, images))(keys)
        return jax.vmap(lambda key, one: model.fit(key, one, images)[1]["loss"])(keys, params)

    keys = jax.random.split(jax.random.key(0), chains)
    return Side("ours", lambda: fit(keys), chains * steps * batch)


def curves() -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Return cost against chains, generations, batch and M: title -> net -> [(x, microseconds an image)]."""
    sweeps: dict[str, dict[str, tuple[int, ...]]] = {
        "chains": {"MLP": (1, 2, 8), "conv": (1, 2, 4)},
        "generations": {"MLP": (1, 4, 16), "conv": (1, 4)},
        # every point is a program to compile, and the conv net's are slow
        "batch": {"MLP": (32, 128, 512)},
        "M": {"MLP": (500, 2000, 8000)},
    }
    return {
        title: {net: [(x, _cost(net, **{title: x})) for x in sweep] for net, sweep in lines.items()}
        for title, lines in sweeps.items()
    }


def _cost(
    net: str, *, chains: int = 2, generations: int = 2, batch: int | None = None, M: int = 500
) -> float:
    """Return microseconds for an image trained on in a whole chain: training, drawing M images, recording."""
    _, published, steps = _NETS[net]
    batch = batch or published
    chain = _chain(net, batch, M)

    def run() -> None:
        # a stop at every generation, so that runs of all lengths share one program
        for _ in run_compiled(chain, jax.random.key(0), chains, range(1, generations + 1), lanes=chains):
            pass

    seconds, _ = timed(run, repeats=2)
    return seconds / (chains * (generations + 1) * steps * batch) * 1e6  # generation 0 is trained, too


@lru_cache
def _chain(net: str, batch: int, num_samples: int) -> Chain:
    build, _, steps = _NETS[net]
    pixels = as_samples(load_mnist().images[:num_samples])
    model = build(num_steps=steps, batch_size=batch, synthetic="fixed")
    return build_chain(model, replace(), pixels, num_samples)
