"""Training autoencoders beside PyTorch, images a second; and the share of the machine's matmul peak."""

import time
from collections.abc import Callable, Iterator
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from harness import REPEATS, Row, timed

from collapse_jax import (
    Chain,
    Model,
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
    "con": 196 * 16 * 64 + 49 * 1024 * 128 + 6272 * 40 + 20 * 6272 + 49 * 128 * 1024 + 196 * 64 * 16,
}

UNIT = "us / image trained on"
_NETS = {"MLP": (vae, 128, 40), "conv": (conv_vae, 256, 2)}  # model, batch, steps of a generation


def rows() -> Iterator[Row]:
    """Yield the rows of the table; ours and the peer's runs take turns, so that both meet the same machine."""
    peak = matmul_peak()
    yield from _compare(
        "MLP VAE 784-256-16, batch 128", lambda n: vae(num_steps=n), 128, 200, (1.2, 2.0), peak
    )
    yield from _compare("conv VAE of the paper, batch 256", _conv, 256, 12, (1.0, 1.3), peak)


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


def _conv(steps: int) -> Model:
    return conv_vae(num_steps=steps, synthetic="fixed")


def _compare(
    work: str, build: Callable, batch: int, steps: int, targets: tuple, peak: float
) -> Iterator[Row]:
    theirs = _torch_step(work.startswith("conv"), batch)
    images = as_samples(load_mnist().images)
    model = build(steps)

    @jax.jit
    def fit(keys: Array) -> Array:
        params = jax.vmap(lambda key: model.init(key, images))(keys)
        return jax.vmap(lambda key, one: model.fit(key, one, images)[1]["loss"])(keys, params)

    for num, target in zip((1, 8), targets):
        keys = jax.random.split(jax.random.key(0), num)
        begun = time.perf_counter()
        jax.block_until_ready(fit(keys))
        first = time.perf_counter() - begun
        ours, peer = [], []
        for _ in range(REPEATS):
            begun = time.perf_counter()
            jax.block_until_ready(fit(keys))
            ours.append((time.perf_counter() - begun) / (num * steps * batch))
            peer.append(theirs())
        cost, beside = np.median(ours), np.median(peer)
        share = (
            _MULTIPLIES[work[:3]] * 6 / cost / 1e9 / peak
        )  # a multiply and an add, forward and twice backward
        name = (
            f"{work}, {num} chain{'s' if num > 1 else ''}: {1 / cost:,.0f} images/s, "
            f"{share:.0%} of the matmul peak ({peak:.0f} GFLOP/s)"
        )
        compiling = first - cost * num * steps * batch
        yield Row(
            name, "us / image", cost * 1e6, compiling, "PyTorch eager, all threads", beside * 1e6, target
        )


def _torch_step(convolutional: bool, batch: int) -> Callable[[], float]:
    """Return a function that trains PyTorch's net for a while and returns seconds an image."""
    import torch
    from torch import nn

    if convolutional:
        encoder = nn.Sequential(
            nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 64, 4, 2, 1), nn.ReLU(), nn.Conv2d(64, 128, 4, 2, 1), nn.ReLU(),
            nn.Flatten(), nn.Linear(6272, 40),
        )  # fmt: skip
        decoder = nn.Sequential(
            nn.Linear(20, 6272), nn.Unflatten(1, (128, 7, 7)), nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(64, 1, 4, 2, 1), nn.Flatten(),
        )  # fmt: skip
    else:
        encoder = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 32))
        decoder = nn.Sequential(nn.Linear(16, 256), nn.ReLU(), nn.Linear(256, 784))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    images = torch.tensor(load_mnist().images)
    steps = 8 if convolutional else 100

    def run() -> float:
        begun = time.perf_counter()
        for _ in range(steps):
            x = images[torch.randint(len(images), (batch,))]
            mean, log_variance = encoder(x).chunk(2, dim=1)
            logits = decoder(mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean))
            value = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
            value = (value + 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum()) / batch
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        return (time.perf_counter() - begun) / (steps * batch)

    run()
    return run


def matmul_peak() -> float:
    """Return GFLOP/s of a large float32 matrix product."""
    a = jnp.ones((2048, 2048))
    multiply = jax.jit(lambda a: a @ a)
    jax.block_until_ready(multiply(a))
    taken = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        jax.block_until_ready(multiply(a))
        taken.append(time.perf_counter() - begun)
    return 2 * 2048**3 / float(np.median(taken)) / 1e9
