"""What a claim is examined with: records in which nothing happens, and records that show what it states.

    false holds = P(verdict "holds" | nothing happens)      power = P(verdict "holds" | the stated effect)

Each claim is judged alone, which is easier than in its family. Called by the tests of nulls and by `claims_table`.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from collapse_jax.analysis.claims import Claim, Evidence, judge

_AT_ONCE = 100  # sets
Records = Callable[[np.random.Generator, Any], xr.Dataset]  # randomness, configuration -> what a run recorded


class Case(NamedTuple):
    """How one claim is examined.

    Attributes:
        null: what happens, in words, where the claim must not hold; for a claim of absence what it denies.
        effect: what happens, in words, where it must.
        power: how often it must then, at least.
        nothing: records of the first.
        shows: records of the second.
        edge: records whose estimand lies on the edge of the region; None where `nothing` is that already.
        is_absence: whether the claim says that something does not happen.
    """

    null: str
    effect: str
    power: float
    nothing: Records
    shows: Records
    edge: Records | None = None
    is_absence: bool = False


class Bench(NamedTuple):
    """A configuration under which some claims of a study can be decided.

    Attributes:
        study: its name.
        config: the configuration.
        evidence: configuration, records -> evidence.
        cases: name of a claim, without its M -> how it is examined.
        by_seed: whether a seed's value depends on that seed alone, so that many sets can be measured at once.
    """

    study: str
    config: Any
    evidence: Callable[[Any, xr.Dataset], list[Evidence]]
    cases: Mapping[str, Case]
    by_seed: bool = True


class Rates(NamedTuple):
    """How often a claim held.

    Attributes:
        claim: as it was judged last.
        nothing: share of the sets in which nothing happens.
        edge: share of the sets on the edge; NaN where there are none.
        power: share of the sets with the effect.
    """

    claim: Claim
    nothing: float
    edge: float
    power: float


def stem(name: str) -> str:
    """Return the name of a claim without its M.

    >>> stem("exact-law-M100"), stem("latent-mean")
    ('exact-law', 'latent-mean')
    """
    head, _, tail = name.rpartition("-M")
    return head if tail.isdigit() else name


def examine(bench: Bench, num_null: int, num_other: int, seed: int = 0) -> dict[str, Rates]:
    """Return how often each claim of a bench held, by its name, over sets of records drawn anew.

    Args:
        bench: what is examined.
        num_null: sets in which nothing happens.
        num_other: sets on the edge, and sets with the effect.
        seed: of the randomness.
    """
    chosen = {
        "nothing": {name: case.nothing for name, case in bench.cases.items()},
        "edge": {name: case.edge for name, case in bench.cases.items() if case.edge is not None},
        "power": {name: case.shows for name, case in bench.cases.items()},
    }
    found: dict[str, Rates] = {}
    for what, makers in chosen.items():
        for maker in dict.fromkeys(makers.values()):
            stems = {name for name, own in makers.items() if own is maker}
            num = num_null if what == "nothing" else num_other
            for claim, share in _shares(bench, maker, stems, num, seed):
                rates = found.get(claim.name, Rates(claim, np.nan, np.nan, np.nan))
                found[claim.name] = rates._replace(**{what: share})
    return found


def _shares(
    bench: Bench, maker: Records, stems: set[str], num: int, seed: int
) -> list[tuple[Claim, float]]:
    """Return the share of `num` sets of one kind of records in which each of some claims held."""
    rng = np.random.default_rng([seed, *maker.__name__.encode()])
    held: dict[str, int] = {}
    claims: dict[str, Claim] = {}
    for items in _sets(bench, maker, num, rng):
        for item in items:
            if stem(item.claim.name) in stems:
                (verdict,) = judge([item])
                held[verdict.name] = held.get(verdict.name, 0) + (verdict.verdict == "holds")
                claims[verdict.name] = item.claim
    return [(claims[name], hits / num) for name, hits in held.items()]


def _sets(bench: Bench, maker: Records, num: int, rng: np.random.Generator) -> Iterator[list[Evidence]]:
    """Yield the evidence of `num` sets of records."""
    if not bench.by_seed:
        for _ in range(num):
            yield bench.evidence(bench.config, maker(rng, bench.config))
        return
    seeds = bench.config.seeds
    for start in range(0, num, _AT_ONCE):
        several = min(_AT_ONCE, num - start)
        many = dataclasses.replace(bench.config, seeds=several * seeds)
        records = maker(rng, many)
        first = bench.evidence(bench.config, records.isel(seed=slice(seeds)))
        pairs = [pair for pair in zip(first, bench.evidence(many, records)) if stem(pair[0].claim.name) in bench.cases]
        for own, whole in pairs:
            assert own.claim.name == whole.claim.name
            np.testing.assert_array_equal(own.values, whole.values[: len(own.values)])
        for index in range(several):
            part = slice(index * seeds, (index + 1) * seeds)
            yield [own._replace(values=whole.values[part]) for own, whole in pairs]
