"""Chains of fitted Gaussians in NumPy: the loop that people write, and what a good engineer writes."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from sides import Side


def loop(size: int, num_generations: int) -> Side:
    """Return one chain as a plain loop."""
    rng = np.random.default_rng(0)

    def run() -> tuple[float, float]:
        mean, std = 0.0, 1.0
        for _ in range(num_generations):
            points = rng.normal(mean, std, size)
            mean, std = points.mean(), points.std(ddof=1)
        return mean, std

    return Side("NumPy loop, one chain, 1 thread", run, num_generations)


def vectorised(size: int, num_chains: int, num_generations: int, threads: int) -> Side:
    """Return many chains at once: float32, SFC64, one generator and one share of the chains a thread.

    The points are drawn standard, in blocks that stay in a core's cache, and their two sums moved and scaled.
    """
    generators = [np.random.Generator(np.random.SFC64(seed)) for seed in range(threads)]
    shares = [len(part) for part in np.array_split(np.arange(num_chains), threads)]
    pool = ThreadPoolExecutor(threads)

    def chains(rng: np.random.Generator, num: int) -> np.ndarray:
        block = max(1, min(num, 2**17 // size))  # of float32: half a megabyte
        drawn, sums, squares = np.empty((block, size), np.float32), np.empty(num), np.empty(num)
        mean, log_std = np.zeros(num), np.zeros(num)
        record = np.empty((num_generations, 2, num), np.float32)
        for generation in range(num_generations):
            for first in range(0, num, block):
                rows = drawn[: min(block, num - first)]
                rng.standard_normal(out=rows, dtype=np.float32)
                place = slice(first, first + len(rows))
                rows.sum(axis=1, out=sums[place])
                np.einsum("ij,ij->i", rows, rows, out=squares[place])
            mean += np.exp(log_std) * sums / size
            log_std += 0.5 * np.log((squares - sums**2 / size) / (size - 1))
            record[generation] = mean, 2 * log_std
        return record

    def run() -> list[np.ndarray]:
        return list(pool.map(chains, generators, shares))

    many = f"{threads} thread{'s' if threads > 1 else ''}"
    return Side(f"NumPy vectorised over chains, float32, SFC64, {many}", run, num_chains * num_generations)
