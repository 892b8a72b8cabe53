"""One-dimensional Gaussian chains beside a NumPy loop: the code that people write today."""

from collections.abc import Iterator

import jax
import numpy as np
from harness import Row, timed

from collapse_jax import build_chain, gaussian, gaussian_metrics, gaussian_truth, replace, run_compiled
from collapse_jax.models.gaussian import gaussian_statistics

LANES = 256
MODELS = {"points": gaussian, "statistics": gaussian_statistics}


def ours(draws: str, size: int, num_seeds: int, num_generations: int) -> tuple[float, float]:
    """Return microseconds a chain-generation, every generation recorded, and seconds to compile."""
    truth = gaussian_truth(1)
    real = truth.sampler(size) if draws == "points" else truth.moments_sampler(size)
    mean, _, log_variance = gaussian_metrics()
    chain = build_chain(MODELS[draws](1), replace(), real, size, (mean, log_variance))

    def run() -> None:
        for _ in run_compiled(chain, jax.random.key(0), num_seeds, (num_generations,), lanes=LANES):
            pass

    seconds, compiling = timed(run)
    return seconds / num_seeds / num_generations * 1e6, compiling


def numpy_loop(size: int, num_generations: int) -> float:
    """Return microseconds a generation of one chain in plain NumPy."""
    rng = np.random.default_rng(0)

    def run() -> tuple[float, float]:
        mean, std = 0.0, 1.0
        for _ in range(num_generations):
            points = rng.normal(mean, std, size)
            mean, std = points.mean(), points.std(ddof=1)
        return mean, std

    return timed(run)[0] / num_generations * 1e6


def rows() -> Iterator[Row]:
    """Yield the rows of the table."""
    unit = "us / chain-generation"
    peer = numpy_loop(100, 2_000)
    cost, compiling = ours("points", 100, 1000, 1000)
    yield Row(
        "Gaussian, points, M=100, 1,000 seeds", unit, cost, compiling, "NumPy loop, one chain", peer, 40
    )
    peer = numpy_loop(10**6, 20)
    for size in (10**2, 10**6, 10**9):
        cost, compiling = ours("statistics", size, 1000, 1000)
        beside = ("NumPy loop at M=1e6", peer, 10_000) if size == 10**6 else ()
        yield Row(
            f"Gaussian, statistics, M=1e{len(str(size)) - 1}, 1,000 seeds", unit, cost, compiling, *beside
        )


def curves() -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Return cost against seeds, generations and M: title -> label -> [(x, microseconds)]."""
    kinds = (("points", 100), ("statistics", 100))
    return {
        "seeds": {
            draws: [(seeds, ours(draws, size, seeds, 200)[0]) for seeds in (64, 256, 1024, 4096)]
            for draws, size in kinds
        },
        "generations": {
            draws: [(length, ours(draws, size, 512, length)[0]) for length in (50, 200, 800, 3200)]
            for draws, size in kinds
        },
        "M": {
            "points": [(size, ours("points", size, 256, 100)[0]) for size in (30, 100, 300, 1000, 3000)],
            "statistics": [
                (size, ours("statistics", size, 256, 400)[0]) for size in (10**2, 10**4, 10**6, 10**9)
            ],
        },
    }
