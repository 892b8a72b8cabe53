"""Does this installation, on this hardware, obey the laws of recursive training?"""

from typing import NamedTuple

import jax

from collapse_jax.selfcheck.laws import (
    curation,
    detectors,
    dimensions,
    families,
    gaussian,
    islands,
    large,
    lineages,
    memoriser,
    mixtures,
    poison,
    regimes,
    regression,
    samplers,
    tables,
    times,
    variants,
    watermarks,
    web,
    web_counts,
    weights,
    wright_fisher,
)
from collapse_jax.selfcheck.laws.checks import Check
from collapse_jax.selfcheck.laws.running import LANES, Part, run_parts
from collapse_jax.validation import check_seed

MAX_DETECTS = 0.1  # a law that a deviation of a tenth does not fail could hardly fail


class Program(NamedTuple):
    """Parts that are compiled and run as one.

    Attributes:
        parts: what it checks.
        num_runs: of each chain; at least two blocks of lanes, so that two devices have work.
        num_generations: after generation 0.
        quick: whether it is of the quick subset.
    """

    parts: tuple[Part, ...]
    num_runs: int
    num_generations: int
    quick: bool = False

    @property
    def name(self) -> str:
        """Its parts' names."""
        return "; ".join(part.name for part in self.parts)


PROGRAMS = (
    Program(
        (Part("gaussian, one dimension", gaussian.moment_chains, gaussian.moment_laws),), 61_440, 9, quick=True
    ),
    Program((Part("gaussian, long run", gaussian.walk_chains, gaussian.walk_laws),), 12_288, 400, quick=True),
    Program(
        (
            Part("gaussian, dimensions", dimensions.chains, dimensions.laws),
            Part("gaussian, variants", variants.variant_chains, variants.variant_laws),
            Part("kernel density", variants.kernel_chains, variants.kernel_laws),
        ),
        24_576,
        5,
    ),
    Program(
        (
            Part("regimes, statistics", regimes.statistic_chains, regimes.statistic_laws),
            Part("weights of real data", weights.chains, weights.laws),
        ),
        12_288,
        16,
        quick=True,
    ),
    Program((Part("regimes, points", regimes.point_chains, regimes.point_laws),), 12_288, 12),
    Program((Part("a million and a billion points", large.chains, large.laws),), 12_288, 50),
    Program(
        (
            Part("families", families.chains, families.laws),
            Part("categorical", wright_fisher.chains, wright_fisher.laws),
        ),
        36_864,
        7,
    ),
    Program((Part("times", times.chains, times.laws),), 8_192, 450),
    Program((Part("lineages", lineages.chains, lineages.laws),), 8_192, 200),
    Program((Part("memoriser", memoriser.chains, memoriser.laws),), 4_096, 5),
    Program((Part("curation", curation.chains, curation.laws),), 4_096, 2),
    Program(
        (
            Part("regression", regression.chains, regression.laws),
            Part("bigram tables", tables.table_chains, tables.table_laws),
        ),
        8_192,
        4,
    ),
    Program((Part("novelty and forgetting", tables.novelty_chains, tables.novelty_laws),), 12_288, 30),
    Program((Part("mixtures", mixtures.chains, mixtures.laws),), 8_192, 39),
    Program((Part("diffusion and flow samplers", samplers.chains, samplers.laws),), 8_192, 3),
    Program((Part("a polluted web", web.chains, web.laws),), 20_480, 8, quick=True),
    Program(
        (
            Part("islands and archives", islands.chains, islands.laws),
            Part("a blind detector", detectors.blind_chains, detectors.blind_laws),
            Part("a frozen detector", detectors.frozen_chains, detectors.frozen_laws),
        ),
        20_480,
        8,
    ),
    Program(
        (
            Part("a web of labels and of counts", web_counts.chains, web_counts.laws),
            Part("poison and forgetting", poison.chains, poison.laws),
            Part("watermarks", watermarks.chains, watermarks.laws),
        ),
        12_288,
        8,
    ),
)
_QUICK_EFFORT = 0.3


def selected(*, quick: bool) -> list[Program]:
    """Return the programs to run: all, or the quick subset."""
    return [program for program in PROGRAMS if program.quick or not quick]


def run_program(program: Program, *, quick: bool, seed: int = 0) -> dict[str, list[Check]]:
    """Return the checks of each part of a program, by name.

    Args:
        program: one of `PROGRAMS`.
        quick: with fewer runs.
        seed: root of all randomness, below 2^32.

    Raises:
        ValueError: another seed.
    """
    key = jax.random.fold_in(jax.random.key(check_seed("seed", seed)), PROGRAMS.index(program))
    num_runs = program.num_runs
    if quick:
        num_runs = max(int(num_runs * _QUICK_EFFORT) // (2 * LANES), 1) * 2 * LANES
    return run_parts(program.parts, key, num_runs, program.num_generations)


def weak(checks: list[Check]) -> list[Check]:
    """Return the laws that could hardly fail; a bound is as near to the simulation as it is."""
    return [item for item in checks if item.relation == "=" and not item.detects <= MAX_DETECTS]
