"""The host driver: chains one after the other, generation by generation, piece by piece.

For models whose fit is itself hours long, or is Python that JAX cannot compile. It yields what the compiled driver
yields; one step equals that driver's to tolerance. Called by `simulation` and `runs`.
"""

from collections.abc import Callable, Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.chain import Chain, Record, State
from collapse_jax.drivers import Segment, check_key, check_stops, to_numpy
from collapse_jax.errors import check_count
from collapse_jax.pieces import Piece
from collapse_jax.types import Key, PyTree


def run_host(
    chain: Chain,
    key: Key,
    num_seeds: int,
    stops: Sequence[int],
    *,
    on_piece: Callable[[int, Piece], None] | None = None,
    first_seed: int = 0,
    resume: tuple[int, PyTree] | None = None,
    piece: Piece | None = None,
) -> Iterator[Segment]:
    """Yield what `run_compiled` yields, from a Python loop over seeds, generations and pieces.

    Args:
        chain: from `build_chain`; a `fit` or `sample` made of `Pieces` is stopped between them.
        key: the root key, used as by `run_compiled`.
        num_seeds: number of independent repetitions.
        stops: increasing generation numbers.
        on_piece: called with the seed and the piece just finished.
        first_seed: the seeds are first_seed, first_seed + 1, ...
        resume: a generation and the states after it, as `Segment.state` gives them: go on from there.
        piece: of the generation after that, as `on_piece` was given it: go on within it. For a single seed.

    Raises:
        ValueError: a number out of range, more generations than the regime has room for, or a piece for many seeds.
    """
    check_count("num_seeds", num_seeds), check_count("first_seed", first_seed, minimum=0)
    if piece is not None and num_seeds > 1:
        raise ValueError(f"`piece` belongs to one seed, got {num_seeds}; run each by itself.")
    begun = 0 if resume is None else resume[0]
    stops = tuple(stop for stop in check_stops(chain, stops) if stop > begun)
    check_key(key)
    seeds = range(first_seed, first_seed + num_seeds)
    left = [piece]  # used up by the first generation that runs

    def run(seed: int, generation: int, state: State | None) -> tuple[State, Record]:
        key_generation = jax.random.fold_in(jax.random.fold_in(key, seed), generation)
        pieces = chain.pieces(key_generation, state, left.pop() if left else None)
        while True:
            try:
                done = next(pieces)
            except StopIteration as finished:
                return finished.value
            if on_piece is not None:
                on_piece(seed, done)

    if resume is None:
        starts = [run(seed, 0, None) for seed in seeds]
        states = [state for state, _ in starts]
        yield _segment(0, 0, states, [[record] for _, record in starts])
    else:
        states = _apart(chain, resume[1], num_seeds)
    for start, stop in zip((begun, *stops), stops):
        records: list[list[Record]] = []
        for index, seed in enumerate(seeds):
            rows = []
            for generation in range(start + 1, stop + 1):
                states[index], record = run(seed, generation, states[index])
                rows.append(record)
            records.append(rows)
        yield _segment(start + 1, stop, states, records)


def _segment(start: int, stop: int, states: list[State], records: list[list[Record]]) -> Segment:
    states = list(states)
    return Segment(start, stop, _stack([_stack(rows) for rows in records]), lambda: _stack(states))


def _stack(trees: Sequence[PyTree]) -> PyTree:
    return jax.tree.map(lambda *parts: np.stack([to_numpy(part) for part in parts]), *trees)


def _apart(chain: Chain, stacked: PyTree, num_seeds: int) -> list[State]:
    """Return each seed's state; what Python itself fitted stays NumPy's, in its own precision."""

    def of(index: int) -> State:
        mine = jax.tree.map(lambda leaf: leaf[index], stacked)
        if not chain.on_host:
            return jax.tree.map(jnp.asarray, mine)
        ours = jax.tree.map(jnp.asarray, mine._replace(params=(), origin=()))
        return ours._replace(params=mine.params, origin=mine.origin)

    return [of(index) for index in range(num_seeds)]
