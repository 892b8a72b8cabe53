"""What a run calls on: one protocol for the studies of the package, for a user's file, and for a sweep over either.

A study's module offers `build(config)`, and may offer the other functions, by these names, and `PUBLISHED`.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import xarray as xr

from collapse_jax.analysis.answers import general_answer
from collapse_jax.analysis.claims import Evidence
from collapse_jax.analysis.plots import plot
from collapse_jax.core.protocol import Chain
from collapse_jax.studies.plan import Illustration, Plan
from collapse_jax.studies.registry import Entry


def lines_of_all_metrics(config: Any, dataset: xr.Dataset) -> list[Illustration]:
    """Return one figure of every metric that is a number."""
    plain = [str(name) for name, array in dataset.data_vars.items() if set(array.dims) == {"seed", "generation"}]
    shown = [name for name in plain if dataset[name].dtype.kind in "iuf" and name != "is_finite"]
    if not shown:
        return []
    caption = f"Median over {dataset.sizes['seed']} seeds, and the central 90 % of them."
    return [Illustration("metrics", caption, plot(dataset, *shown))]


def no_claims(config: Any, dataset: xr.Dataset) -> list[Evidence]:
    """Return nothing: no claim is made."""
    return []


def general_words(config: Any, dataset: xr.Dataset) -> str:
    """Return how the first metrics have changed."""
    return general_answer(dataset)


def no_remarks(config: Any) -> tuple[str, ...]:
    """Return nothing: a reader of the report need know no more."""
    return ()


class Study(NamedTuple):
    """A study as a run sees it.

    Attributes:
        entry: name, title, presets.
        build: (config) -> Plan, checked; raises ValueError for a field out of range.
        figures: (config, dataset) -> Illustrations, the first of which the report begins with.
        evidence: (config, dataset) -> what the records say of each claim.
        answer: (config, dataset) -> what the run found, in a sentence.
        remarks: (config) -> sentences that a reader of the report must know.
        cell: (configuration of one chain) -> that chain, where `entry.cell` says that a sweep is around such a one.
        published: source of a claim -> the preset that has its protocol.
    """

    entry: Entry
    build: Callable[[Any], Plan]
    figures: Callable[[Any, xr.Dataset], Sequence[Illustration]] = lines_of_all_metrics
    evidence: Callable[[Any, xr.Dataset], Sequence[Evidence]] = no_claims
    answer: Callable[[Any, xr.Dataset], str] = general_words
    remarks: Callable[[Any], Sequence[str]] = no_remarks
    cell: Callable[[Any], Chain] | None = None
    published: Mapping[str, str] = MappingProxyType({})


def package_study(entry: Entry) -> Study:
    """Return the study of an entry of the package: what its module offers, by the names of the protocol."""
    given = vars(importlib.import_module(entry.home))
    functions = {name: given[name] for name in Study._fields if name in given and callable(given[name])}
    return Study(entry, published=given.get("PUBLISHED", {}), **functions)
