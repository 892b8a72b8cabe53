"""Mixture chains beside scikit-learn's GaussianMixture, warm-started, with the same stopping rule."""

import os
from collections.abc import Iterator

import jax
import numpy as np
from harness import Row, row, timed
from sides import Side, timings

from collapse_jax import Chain, build_chain, mixture, replace, run_compiled, two_gaussians

SIZE, GENERATIONS, TOL = 1000, 500, 1e-3  # published chains take 2,000 generations


WHY = """Where they bend: few seeds leave one core idle and do not fill vectors; ten generations share their last
stop's reading among few; from 10^4 points on a chain is linear in M, 0.11 us a point and generation: passes of EM
over data in memory."""


def _chain(size: int) -> Chain:
    return build_chain(mixture(2, tol=TOL), replace(), two_gaussians().sampler(size), size)


def _ours(num_seeds: int) -> Side:
    chain = _chain(SIZE)

    def run() -> None:
        for _ in run_compiled(chain, jax.random.key(0), num_seeds, (GENERATIONS,), lanes=min(num_seeds, 32)):
            pass

    return Side("ours", run, num_seeds * GENERATIONS)


def rows() -> Iterator[Row]:
    """Yield the rows of the table."""
    from peers.sklearn_mixture import a_process_a_core, one_process

    cores, start = os.cpu_count() or 1, np.asarray(two_gaussians().sample(jax.random.key(0), SIZE).x)
    sides = [one_process(start, GENERATIONS, TOL), a_process_a_core(start, GENERATIONS, TOL, cores)]
    for seeds, target in ((64, 60), (1, 20)):
        ours, one, a_core = timings([_ours(seeds), *sides])
        many = f"{seeds} seed{'s' if seeds > 1 else ''}, {GENERATIONS} generations"
        name = f"GMM, K=2, D=2, M={SIZE}, warm EM to 1e-3, {many}"
        yield row(name, "us / chain-generation", [ours, one], target)
        if seeds > 1:  # of one chain every process but one is idle
            yield row(name, "us / chain-generation", [ours, a_core])


def curves() -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Return cost against seeds, generations and M: title -> label -> [(x, microseconds)]."""
    label = "warm EM to 1e-3"
    return {
        "seeds": {label: [(seeds, _cost(seeds, num_generations=100)) for seeds in (1, 4, 16, 64, 256, 1024)]},
        "generations": {label: [(length, _cost(64, num_generations=length)) for length in (10, 30, 100, 300)]},
        "M": {label: [(size, _cost(8, size, 10)) for size in (30, 100, 1000, 10**4, 10**5, 10**6)]},
    }


def _cost(num_seeds: int, size: int = SIZE, num_generations: int = GENERATIONS) -> float:
    """Return microseconds a chain-generation."""
    chain = _chain(size)

    def run() -> None:
        for _ in run_compiled(chain, jax.random.key(0), num_seeds, (num_generations,), lanes=min(num_seeds, 32)):
            pass

    return timed(run)[0] / num_seeds / num_generations * 1e6
