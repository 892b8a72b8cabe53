"""Many chains of any kind as one compiled program, run by `simulate`: what users run is what is tested.

A part is some chains and the laws that they show; parts of as many runs and generations share a program, since a
program of twelve chains compiles in less than twice the time of one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from collapse_jax.core.protocol import Chain, Composite, Metric, Record
from collapse_jax.drivers.simulate import simulate
from collapse_jax.selfcheck.laws.checks import Check
from collapse_jax.types import Key

LANES = 2048  # wide enough for vectors, narrow enough for a CPU's caches; fixed, so that cores change no number
_SEGMENT = 500

Records = dict[str, dict[str, np.ndarray]]


class Part(NamedTuple):
    """Some chains and the laws that they show.

    Attributes:
        name: shown above the laws.
        chains: () -> label -> chain.
        laws: label -> name of a metric -> values [num_runs, num_generations + 1, ...]; returns what they say.
    """

    name: str
    chains: Callable[[], dict[str, Chain]]
    laws: Callable[[Records], list[Check]]


def run_parts(
    parts: Sequence[Part], key: Key, num_runs: int, num_generations: int
) -> dict[str, list[Check]]:
    """Return what parts say, by name, after running all their chains as one compiled program."""
    chains = {(part.name, label): chain for part in parts for label, chain in part.chains().items()}
    labels = {f"{name}: {label}": (name, label) for name, label in chains}
    found = run_all({text: chains[place] for text, place in labels.items()}, key, num_runs, num_generations)
    records: dict[str, Records] = {part.name: {} for part in parts}
    for text, (name, label) in labels.items():
        records[name][label] = found[text]
    return {part.name: part.laws(records[part.name]) for part in parts}


def run_all(chains: Mapping[str, Chain], key: Key, num_runs: int, num_generations: int) -> Records:
    """Return the records of several chains, [num_runs, num_generations + 1, ...] each, by one compiled program.

    Args:
        chains: label -> chain.
        key: root of all randomness; runs and chains are independent.
        num_runs: a multiple of `LANES` wastes no lane.
        num_generations: after generation 0.

    Returns:
        label -> name of a metric, or of what the fit reports -> values.
    """
    lanes = min(LANES, num_runs)
    found = simulate(together(chains), key, num_runs, num_generations, lanes=lanes, segment_length=_SEGMENT)
    records: Records = {label: {} for label in chains}
    for name, array in found.data_vars.items():
        label, _, field = str(name).rpartition(": ")
        records[label][field] = array.values
    return records


def together(chains: Mapping[str, Chain]) -> Chain:
    """Return the chain that takes one step of each of `chains`; it records "label: name" of all that they record.

    Unlike `stack_chains` it stacks nothing, so that chains may differ in metrics and shapes.
    """
    members = tuple(chains.items())

    def init(key: Key) -> tuple[Composite, Record]:
        keys = jax.random.split(key, len(members))
        return joined([chain.init(keys[i]) for i, (_, chain) in enumerate(members)])

    def step(key: Key, state: Composite) -> tuple[Composite, Record]:
        keys = jax.random.split(key, len(members))
        return joined([chain.step(keys[i], state.members[i]) for i, (_, chain) in enumerate(members)])

    def joined(parts: list[tuple[Any, Record]]) -> tuple[Composite, Record]:
        record = {
            f"{label}: {name}": value
            for (label, _), (_, part) in zip(members, parts)
            for name, value in part.items()
        }
        states = tuple(state for state, _ in parts)
        return Composite(states[0].generation, states), record

    metrics = tuple(_labelled(label, metric) for label, chain in members for metric in chain.metrics)
    rooms = [chain.max_generations for _, chain in members if chain.max_generations is not None]
    return Chain(init, step, metrics, min(rooms, default=None))


def _labelled(label: str, metric: Metric) -> Metric:
    """Return a metric whose name and axes are those of one chain."""
    return metric._replace(name=f"{label}: {metric.name}", dims=tuple(f"{label}: {dim}" for dim in metric.dims))
