"""Does this installation, on this hardware, obey the laws of recursive training? Called by `cli`."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax

from collapse_jax.laws import discrete, fits, gaussian, regimes
from collapse_jax.laws.checks import Check
from collapse_jax.types import Key


class Program(NamedTuple):
    """One compiled simulation and the checks it gives; `quick` ones make up the quick subset."""

    name: str
    run: Callable[[Key, float], list[Check]]
    quick: bool


PROGRAMS = (
    Program("gaussian, one dimension", gaussian.one_dimension, True),
    Program("gaussian, dimensions", gaussian.dimensions, True),
    Program("gaussian, long run", gaussian.long_run, True),
    Program("gaussian, variants", gaussian.variants, False),
    Program("kernel density", gaussian.kernels, False),
    Program("regimes, statistics", regimes.from_statistics, True),
    Program("regimes, points", regimes.from_points, False),
    Program("categorical", discrete.wright_fisher, False),
    Program("families", discrete.families, True),
    Program("bigram tables", discrete.tables, False),
    Program("novelty and truncation", discrete.novelty, False),
    Program("regression", fits.regressions, False),
    Program("mixtures", fits.mixtures, False),
)
QUICK_EFFORT = 0.3


def verify(*, quick: bool, seed: int = 0) -> Iterator[tuple[Program, list[Check]]]:
    """Yield each program with its checks as it finishes.

    Args:
        quick: only the quick subset, with fewer runs.
        seed: root of all randomness.
    """
    key = jax.random.key(seed)
    for index, program in enumerate(PROGRAMS):
        if program.quick or not quick:
            yield program, program.run(jax.random.fold_in(key, index), QUICK_EFFORT if quick else 1.0)
