"""How fast is it here? The project's own speed table, on whatever device JAX finds.

Each piece of work is run once to compile and then a few times warm; rates are medians.
"""

import resource
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.core.chain import build_chain
from collapse_jax.core.data import as_samples
from collapse_jax.core.protocol import Chain
from collapse_jax.core.regimes import replace
from collapse_jax.datasets.mnist import load_mnist
from collapse_jax.datasets.synthetic import two_gaussians
from collapse_jax.drivers.compiled import run_compiled
from collapse_jax.drivers.lanes import Lanes, compile_lanes
from collapse_jax.models.gaussian import gaussian, gaussian_metrics, gaussian_statistics, gaussian_truth
from collapse_jax.models.mixture import mixture
from collapse_jax.models.vae import conv_vae, vae
from collapse_jax.networks.opt.beams import beam_search
from collapse_jax.networks.opt.config import opt_config
from collapse_jax.networks.opt.decoding import Rules, sample
from collapse_jax.networks.opt.model import init_opt
from collapse_jax.networks.opt.scoring import Texts, language_loss
from collapse_jax.networks.training import adamw, train_step
from collapse_jax.types import Params, PyTree

_LENGTH = 64  # tokens of a prompt, and of what is written after it


class Work(NamedTuple):
    """Something to time.

    Attributes:
        name: what is done.
        unit: what is counted.
        amount: how many of them one run does.
        prepare: compiles; returns what runs it and waits for the end, and how many bytes the program takes on one
            device, by its own account.
    """

    name: str
    unit: str
    amount: int
    prepare: Callable[[], tuple[Callable[[], object], int]]


class Speed(NamedTuple):
    """What a piece of work took: units a second, warm; seconds to compile; MiB of its program."""

    name: str
    unit: str
    rate: float
    compile_seconds: float
    program_mib: float


def measure(work: Work, repeats: int) -> Speed:
    """Return how fast a piece of work is: the median of warm runs, and what came before them."""
    begun = time.perf_counter()
    run, num_bytes = work.prepare()
    run()
    first = time.perf_counter() - begun
    warm = float(np.median([_seconds(run) for _ in range(repeats)]))
    return Speed(work.name, work.unit, work.amount / warm, max(first - warm, 0.0), num_bytes / 2**20)


def all_work(*, quick: bool) -> Iterator[Work]:
    """Yield what is timed, one after the other, so that each is dropped before the next is built.

    Args:
        quick: smaller pieces of fewer kinds.
    """
    seeds, generations = (256, 100) if quick else (1024, 1000)
    for draws, model, size in (("points", gaussian, 100), ("statistics", gaussian_statistics, 10**9)):
        truth = gaussian_truth(1)
        real = truth.sampler(size) if draws == "points" else truth.moments_sampler(size)
        chain = build_chain(model(1), replace(), real, size, gaussian_metrics())
        yield _chains(f"Gaussian, {draws}, M = {size:,}, {seeds} seeds", chain, seeds, generations, 256)
    chain = build_chain(mixture(2), replace(), two_gaussians().sampler(1000), 1000)
    yield _chains("mixture, K = 2, d = 2, M = 1,000, 64 seeds", chain, 64, generations // 5, 32)
    yield from _nets(quick)
    yield from _language(quick)


def peak_mib() -> float:
    """Return the most memory that was in use: on an accelerator its own, on a CPU the process's."""
    told = jax.local_devices()[0].memory_stats()
    if told and "peak_bytes_in_use" in told:
        return told["peak_bytes_in_use"] / 2**20
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB, on macOS bytes
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def matmul_gflops(size: int) -> float:
    """Return GFLOP/s of a float32 matrix product: what the device can do at most."""
    a = jax.random.normal(jax.random.key(0), (size, size))
    product = jax.jit(lambda a: a @ a)
    product(a).block_until_ready()
    taken = float(np.median([_seconds(lambda: product(a).block_until_ready()) for _ in range(5)]))
    return 2 * size**3 / taken / 1e9


def _chains(name: str, chain: Chain, seeds: int, generations: int, lanes: int) -> Work:
    def run() -> None:
        for _ in run_compiled(chain, jax.random.key(0), seeds, (generations,), lanes=lanes):
            pass

    def prepare() -> tuple[Callable[[], object], int]:
        key_type = jax.random.key(0).dtype
        return run, compile_lanes(Lanes(chain, seeds, lanes), key_type, generations).num_bytes

    return Work(name, "chain-generations", seeds * generations, prepare)


def _nets(quick: bool) -> Iterator[Work]:
    """Training of autoencoders: a generation is almost all training."""
    images = load_mnist()[0][:1000]
    kinds = (("MLP", vae, 128, 200, 8), ("convolutional", conv_vae, 256, 12, 1))
    for name, make, batch, steps, chains in kinds[:1] if quick else kinds:
        steps = steps // 4 if quick else steps
        chain = build_chain(
            make(num_steps=steps, batch_size=batch), replace(), as_samples(jnp.asarray(images)), len(images)
        )
        work = _chains(
            f"{name} autoencoder, batch {batch}, {chains} chain{'s' * (chains > 1)}", chain, chains, 1, chains
        )
        yield work._replace(unit="images", amount=2 * chains * steps * batch)  # generations 0 and 1


def _language(quick: bool) -> Iterator[Work]:
    """A tiny OPT: sampling, beam search, training."""
    config, batch = opt_config("tiny"), 8 if quick else 32
    params, key, rules = init_opt(jax.random.key(0), config), jax.random.key(1), Rules(_LENGTH, _LENGTH)
    tokens = jax.random.randint(key, (batch, _LENGTH), 3, config.vocab_size)
    texts = Texts(tokens, jnp.ones(tokens.shape, bool), jnp.ones(batch))
    optimizer, loss = adamw(1e-4), language_loss(config)

    def draw(params: Params) -> object:
        return sample(key, config, params, tokens, rules=rules)

    def search(params: Params) -> object:
        return beam_search(config, params, tokens, rules=rules, num_beams=5)

    def train(state: tuple[Params, PyTree]) -> object:
        params, moments = state
        return train_step(key, params, moments, lambda _: texts, loss, optimizer)[0]

    size = f"{config.num_parameters / 1e6:.1f} M weights, {batch} x {_LENGTH} tokens"
    state = (params, optimizer.init(params))
    jobs = (("sampling", draw, params), ("5 beams", search, params), ("training", train, state))
    for name, function, argument in jobs:
        prepare = partial(_compiled, function, argument)
        yield Work(f"OPT, {size}, {name}", "tokens", batch * _LENGTH, prepare)


def _compiled(function: Callable[[PyTree], object], argument: PyTree) -> tuple[Callable[[], object], int]:
    program: Any = jax.jit(function).lower(argument).compile()
    used = program.memory_analysis()
    taken = used.temp_size_in_bytes + used.argument_size_in_bytes + used.output_size_in_bytes
    return lambda: jax.block_until_ready(program(argument)), taken


def _seconds(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun
