"""Does this installation, on this hardware, obey the laws of recursive training? Called by `cli`."""

from collections.abc import Callable
from typing import NamedTuple

import jax

from collapse_jax.laws import (
    curation,
    dimensions,
    families,
    gaussian,
    large,
    lineages,
    memoriser,
    mixtures,
    regimes,
    regression,
    tables,
    times,
    variants,
    weights,
    wright_fisher,
)
from collapse_jax.laws.checks import Check
from collapse_jax.types import Key


class Program(NamedTuple):
    """One compiled simulation and the checks it gives; `quick` ones make up the quick subset."""

    name: str
    run: Callable[[Key, float], list[Check]]
    quick: bool


PROGRAMS = (
    Program("gaussian, one dimension", gaussian.one_dimension, True),
    Program("gaussian, long run", gaussian.passages, True),
    Program("gaussian, dimensions", dimensions.dimensions, False),
    Program("gaussian, variants", variants.variants, False),
    Program("kernel density", variants.kernels, False),
    Program("regimes, statistics", regimes.from_statistics, True),
    Program("regimes, points", regimes.from_points, False),
    Program("a million and a billion points", large.large_sizes, False),
    Program("weights of real data", weights.weights, False),
    Program("families", families.families, True),
    Program("categorical", wright_fisher.wright_fisher, False),
    Program("times", times.times, False),
    Program("lineages", lineages.lineages, False),
    Program("memoriser", memoriser.memoriser, False),
    Program("curation", curation.curations, False),
    Program("bigram tables", tables.tables, False),
    Program("novelty and forgetting", tables.novelty, False),
    Program("regression", regression.regressions, False),
    Program("mixtures", mixtures.mixtures, False),
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
