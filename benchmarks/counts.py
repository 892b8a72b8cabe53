"""Categories to 10^6: one chain of counts, or of labels, a generation of which is a draw of M and a count."""

import jax
from harness import timed

from collapse_jax import build_chain, categorical, categorical_points, replace, run_compiled
from collapse_jax.models.categorical import CategoricalTruth
from collapse_jax.theory.discrete import zipf

MODELS = {"counts": categorical, "labels": categorical_points}
M, GENERATIONS, CHAINS = 10**5, 20, 4


WHY = """Where they bend: counts are one binomial a category, 0.75 us each, whatever M is; labels are a draw each, 50
ns, and 15 to 50 ns a category. So counts are for M above some 20 times the categories, labels for more
categories than that."""


def curves() -> dict[str, dict[str, list[tuple[float, float]]]]:
    """Return cost against categories and M: title -> label -> [(x, microseconds a chain-generation)]."""
    categories, sizes = (10**2, 10**3, 10**4, 10**5, 10**6), (10**3, 10**4, 10**5, 10**6)
    return {
        "categories": {draws: [(k, _cost(draws, k, M)) for k in categories] for draws in MODELS},
        "M": {draws: [(size, _cost(draws, 10**4, size)) for size in sizes] for draws in MODELS},
    }


def _cost(draws: str, num_classes: int, size: int) -> float:
    """Return microseconds a chain-generation."""
    truth = CategoricalTruth(zipf(1.2, num_classes))
    real = truth.counts_sampler(size) if draws == "counts" else truth.sampler(size)
    chain = build_chain(MODELS[draws](num_classes), replace(), real, size)

    def run() -> None:
        for _ in run_compiled(chain, jax.random.key(0), CHAINS, (GENERATIONS,), lanes=CHAINS):
            pass

    return timed(run, repeats=3)[0] / CHAINS / GENERATIONS * 1e6
