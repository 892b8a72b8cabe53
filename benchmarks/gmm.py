"""Mixture chains beside scikit-learn's GaussianMixture, warm-started, with the same stopping rule."""

from collections.abc import Iterator

import jax
import numpy as np
from harness import Row, timed

from collapse_jax import build_chain, mixture, replace, run_compiled, two_gaussians

SIZE, GENERATIONS, TOL = 1000, 500, 1e-3  # published chains take 2,000 generations


def ours(num_seeds: int, size: int = SIZE, num_generations: int = GENERATIONS) -> tuple[float, float]:
    """Return microseconds a chain-generation, and seconds to compile."""
    chain = build_chain(mixture(2, tol=TOL), replace(), two_gaussians().sampler(size), size)
    lanes = min(num_seeds, 32)

    def run() -> None:
        for _ in run_compiled(chain, jax.random.key(0), num_seeds, (num_generations,), lanes=lanes):
            pass

    seconds, compiling = timed(run)
    return seconds / num_seeds / num_generations * 1e6, compiling


def scikit_learn() -> float:
    """Return microseconds a generation: fit from the last one's parameters, draw again; one thread."""
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    start = np.asarray(two_gaussians().sample(jax.random.key(0), SIZE).x)

    def run() -> None:
        data, last = start, None
        for generation in range(GENERATIONS):
            model = GaussianMixture(2, tol=TOL, reg_covar=1e-6, random_state=generation)
            if last is not None:
                model.weights_init, model.means_init = last.weights_, last.means_
                model.precisions_init = last.precisions_
            last = model.fit(data)
            data, _ = last.sample(SIZE)

    with threadpool_limits(1):
        return timed(run)[0] / GENERATIONS * 1e6


def rows() -> Iterator[Row]:
    """Yield the rows of the table."""
    unit, peer = "us / chain-generation", scikit_learn()
    for seeds, target in ((64, 60), (1, 20)):
        cost, compiling = ours(seeds)
        many = f"{seeds} seed{'s' if seeds > 1 else ''}, {GENERATIONS} generations"
        name = f"GMM, K=2, D=2, M={SIZE}, warm EM to 1e-3, {many}"
        yield Row(name, unit, cost, compiling, "scikit-learn, one thread", peer, target)


def curves() -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Return cost against seeds, generations and M: title -> label -> [(x, microseconds)]."""
    label = "warm EM to 1e-3"
    return {
        "seeds": {label: [(seeds, ours(seeds, num_generations=100)[0]) for seeds in (1, 4, 16, 64, 256)]},
        "generations": {label: [(length, ours(64, num_generations=length)[0]) for length in (10, 30, 100, 300)]},
        "M": {label: [(size, ours(64, size, 20)[0]) for size in (30, 100, 300, 1000, 3000, 10_000)]},
    }
