"""Does this installation, on this hardware, obey the laws of recursive training? Called by `cli`."""

from collections.abc import Callable
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


def selected(*, quick: bool) -> list[Program]:
    """Return the programs to run: all, or the quick subset."""
    return [program for program in PROGRAMS if program.quick or not quick]


def run_program(program: Program, *, quick: bool, seed: int = 0) -> list[Check]:
    """Return the checks of one program.

    Args:
        program: one of `PROGRAMS`.
        quick: with fewer runs.
        seed: root of all randomness.
    """
    key = jax.random.fold_in(jax.random.key(seed), PROGRAMS.index(program))
    return program.run(key, QUICK_EFFORT if quick else 1.0)
