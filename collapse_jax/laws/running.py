"""Many chains of any kind as one compiled program, run by `simulate`: what users run is what is tested.

Called by the laws.
"""

from collections.abc import Generator, Mapping
from typing import Any

import jax
import numpy as np

from collapse_jax.chain import Chain, Metric, Record, State
from collapse_jax.pieces import Piece
from collapse_jax.simulation import simulate
from collapse_jax.types import Key

LANES = 2048  # wide enough for vectors, narrow enough for a CPU's caches; fixed, so that cores change no number
_SEGMENT = 500


def run_all(
    chains: Mapping[str, Chain], key: Key, num_runs: int, num_generations: int
) -> dict[str, dict[str, np.ndarray]]:
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
    records: dict[str, dict[str, np.ndarray]] = {label: {} for label in chains}
    for name, array in found.data_vars.items():
        label, _, field = str(name).rpartition(": ")
        if label:
            records[label][field] = array.values
    return records


def num_runs(wanted: int, effort: float) -> int:
    """Return how many runs fill whole blocks of lanes on one and on two devices.

    >>> num_runs(20_000, 1.0), num_runs(20_000, 0.01)
    (20480, 4096)
    """
    block = 2 * LANES
    return max(-(-int(wanted * effort) // block), 1) * block


def together(chains: Mapping[str, Chain]) -> Chain:
    """Return the chain that takes one step of each of `chains`; it records "label: name" of all that they record.

    Unlike `side_by_side` it stacks nothing, so that chains may differ in metrics and shapes.
    """
    members = tuple(chains.items())

    def init(key: Key) -> tuple[State, Record]:
        return joined([chain.init(jax.random.fold_in(key, i)) for i, (_, chain) in enumerate(members)])

    def step(key: Key, state: State) -> tuple[State, Record]:
        return joined(
            [chain.step(jax.random.fold_in(key, i), state.params[i]) for i, (_, chain) in enumerate(members)]
        )

    def joined(parts: list[tuple[State, Record]]) -> tuple[State, Record]:
        record = {
            f"{label}: {name}": value
            for (label, _), (_, part) in zip(members, parts)
            for name, value in part.items()
        }
        states = tuple(state for state, _ in parts)
        return State(states[0].generation, states, (), (), ()), record

    def pieces(key: Key, state: State | None, piece: Piece | None = None) -> Generator[Piece, None, Any]:
        return init(key) if state is None else step(key, state)
        yield  # makes this a generator; the members' steps are not cut

    metrics = tuple(_labelled(label, metric) for label, chain in members for metric in chain.metrics)
    rooms = [chain.max_generations for _, chain in members if chain.max_generations is not None]
    return Chain(init, step, pieces, metrics, min(rooms, default=None))


def _labelled(label: str, metric: Metric) -> Metric:
    """Return a metric whose name and axes are those of one chain."""
    return metric._replace(name=f"{label}: {metric.name}", dims=tuple(f"{label}: {dim}" for dim in metric.dims))
