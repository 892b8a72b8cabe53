"""One-dimensional Gaussian chains beside NumPy: vectorised over chains, and the loop that people write."""

import os
from collections.abc import Iterator

import jax
from harness import Row, row, timed
from peers.numpy_gaussian import loop, vectorised
from sides import Side, timings

from collapse_jax import Chain, build_chain, gaussian, gaussian_metrics, gaussian_truth, replace, run_compiled
from collapse_jax.models.gaussian import gaussian_statistics

SEEDS, GENERATIONS, MOST_LANES = 1000, 1000, 500  # a block for each of two cores
MODELS = {"points": gaussian, "statistics": gaussian_statistics}


WHY = """Where they bend: below 1,000 seeds a generation is over before vectors and two cores are filled; 1,024 seeds
of points are three blocks for two cores; beyond 10^5 the states of statistics leave the cache. Points cost their
draws, so M once it is above 100; statistics cost the same for any M."""


def ours(draws: str, size: int, num_seeds: int = SEEDS, num_generations: int = GENERATIONS) -> Side:
    """Return our chains, every generation recorded."""
    chain, lanes = _chain(draws, size), min(num_seeds, MOST_LANES)

    def run() -> None:
        for _ in run_compiled(chain, jax.random.key(0), num_seeds, (num_generations,), lanes=lanes):
            pass

    return Side("ours", run, num_seeds * num_generations)


def _chain(draws: str, size: int) -> Chain:
    truth = gaussian_truth(1)
    real = truth.sampler(size) if draws == "points" else truth.moments_sampler(size)
    mean, _, log_variance = gaussian_metrics()
    return build_chain(MODELS[draws](1), replace(), real, size, (mean, log_variance))


def rows() -> Iterator[Row]:
    """Yield the rows of the table."""
    unit, cores = "us / chain-generation", os.cpu_count() or 1
    many = [vectorised(100, SEEDS, 200, threads) for threads in sorted({1, cores})]
    found = timings([ours("points", 100), *many, loop(100, 2000)])
    yield row(f"Gaussian, points, M=100, {SEEDS:,} seeds", unit, found, 1.5)
    for size in (10**2, 10**6, 10**9):
        peers, target = ([loop(size, 20)], 10_000) if size == 10**6 else ([], None)
        found = timings([ours("statistics", size), *peers])
        yield row(f"Gaussian, statistics, M=1e{len(str(size)) - 1}, {SEEDS:,} seeds", unit, found, target)


def curves() -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Return cost against seeds, generations and M: title -> label -> [(x, microseconds)]."""

    def cost(draws: str, size: int, seeds: int, generations: int) -> float:
        side = ours(draws, size, seeds, generations)
        return timed(side.run)[0] / side.work * 1e6

    return {
        "seeds": {
            "points": [(seeds, cost("points", 100, seeds, 200)) for seeds in (64, 256, 1024, 4096)],
            "statistics": [(seeds, cost("statistics", 100, seeds, 200)) for seeds in (64, 10**3, 10**4, 10**5, 10**6)],
        },
        "generations": {
            "points": [(length, cost("points", 100, 512, length)) for length in (50, 200, 800, 3200)],
            "statistics": [(length, cost("statistics", 100, 512, length)) for length in (50, 10**3, 10**4, 10**5)],
        },
        "M": {
            "points": [(size, cost("points", size, 256, 100)) for size in (30, 100, 300, 1000, 3000)],
            "statistics": [(size, cost("statistics", size, 256, 400)) for size in (10**2, 10**4, 10**6, 10**9)],
        },
    }
