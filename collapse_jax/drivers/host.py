"""The host driver: chains one after the other, generation by generation, piece by piece.

For models whose fit is itself hours long, or is Python that JAX cannot compile. It yields what the compiled driver
yields; one step equals that driver's to tolerance.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.core.chain_checks import check_rows, check_same
from collapse_jax.core.chunks import Chunk, Chunked
from collapse_jax.core.labels import check_record
from collapse_jax.core.protocol import Call, Carried, Chain, Record
from collapse_jax.drivers.compiled import Segment, check_resume, check_stops, to_numpy
from collapse_jax.drivers.sharding import readable
from collapse_jax.types import Key, PyTree
from collapse_jax.validation import check_alike, check_count, check_function, check_key, check_kind


def run_host(
    chain: Chain,
    key: Key,
    num_seeds: int,
    stops: Sequence[int],
    *,
    on_chunk: Callable[[int, Chunk], None] | None = None,
    first_seed: int = 0,
    resume: tuple[int, PyTree] | None = None,
    piece: Chunk | None = None,
    in_place: bool = False,
) -> Iterator[Segment]:
    """Yield what `run_compiled` yields, from a Python loop over seeds, generations and pieces.

    Args:
        chain: from `build_chain`; a `fit` or `sample` made of `Chunked` is stopped between them.
        key: the root key, used as by `run_compiled`.
        num_seeds: number of independent repetitions.
        stops: increasing generation numbers.
        on_chunk: called with the seed and the piece just finished.
        first_seed: the seeds are first_seed, first_seed + 1, ...
        resume: a generation and the states after it, as `Segment.state` gives them: go on from there.
        piece: of the generation after that, as `on_chunk` was given it: go on within it. For a single seed.
        in_place: `Segment.state` gives, and `resume` takes, the state as it lies on the devices of one or several
            processes, where no process may be able to read all of it. For a single seed.

    What `fit`, `sample` or a metric raises passes through, with a note that says in which seed and generation.

    Raises:
        ValueError: a number out of range, more generations than the regime has room for, `piece` or `in_place` for many
            seeds, or a record with other names or shapes than the first. `Segment.state` raises it for states of
            several seeds that no one array can hold.
    """
    check_kind("chain", chain, Chain, "make it with build_chain(model, regime, real, num_samples)")
    num_seeds = check_count("num_seeds", num_seeds)
    first_seed = check_count("first_seed", first_seed, minimum=0)
    if on_chunk is not None:
        check_function("on_chunk", on_chunk, "of a seed and a piece")
    if (piece is not None or in_place) and num_seeds > 1:
        name = "in_place" if piece is None else "piece"
        raise ValueError(f"`{name}` belongs to one seed, got {num_seeds}; run each by itself.")
    check_kind("in_place", in_place, bool, "True leaves the states on the devices")
    if piece is not None:
        check_kind("piece", piece, Chunk, "give what `on_chunk` was given")
    begun = check_resume(resume)
    stops = tuple(stop for stop in check_stops(chain, stops) if stop > begun)
    check_key(key)
    seeds = range(first_seed, first_seed + num_seeds)
    left = [piece]  # used up by the first generation that runs
    first: list[tuple[str, Record]] = []  # the first record and its place: all others are to be built alike

    def run(seed: int, generation: int, state: Carried | None) -> tuple[Carried, Record]:
        key_generation = jax.random.fold_in(jax.random.fold_in(key, seed), generation)
        pieces = _in_pieces(chain, key_generation, state, left.pop() if left else None)
        watched = _watched(pieces, f"seed {seed}, generation {generation}", first)
        while True:
            try:
                done = next(watched)
            except StopIteration as finished:
                return finished.value
            if on_chunk is not None:
                on_chunk(seed, done)

    if resume is None:
        starts = [run(seed, 0, None) for seed in seeds]
        states = [state for state, _ in starts]
        yield _segment(0, 0, states, [[record] for _, record in starts], first_seed, in_place)
    else:
        states = [resume[1]] if in_place else _apart(chain, resume[1], num_seeds)
    for start, stop in zip((begun, *stops), stops):
        records: list[list[Record]] = []
        for index, seed in enumerate(seeds):
            rows = []
            for generation in range(start + 1, stop + 1):
                states[index], record = run(seed, generation, states[index])
                rows.append(record)
            records.append(rows)
        yield _segment(start + 1, stop, states, records, first_seed, in_place)


def _in_pieces(
    chain: Chain, key: Key, state: Carried | None, last: Chunk | None
) -> Generator[Chunk, None, tuple[Carried, Record]]:
    """Run a generation piece by piece, from the piece after `last` on; what Python fits and draws is checked."""
    if chain.calls is None:  # the steps of a chain of chains are not cut
        return chain.init(key) if state is None else chain.step(key, state)
    calls, done, answer = chain.calls(key, state), {} if last is None else dict(last.done), None
    while True:
        try:
            call = calls.send(answer)
        except StopIteration as stop:
            after, record = stop.value
            break
        if call.phase == "measure":
            if chain.on_host and state is None:
                check_rows(call.args[1].training, call.args[1].synthetic)
            # compiled once for all generations
            answer = (call.function if chain.on_host else jax.jit(call.function))(*call.args)
        elif call.phase in done:
            answer = done[call.phase]
        else:
            begun = last if last is not None and last.phase == call.phase else None
            answer = yield from _phase(call, begun, done)
    if chain.on_host:
        check_record(record, chain.metrics) if state is None else check_same(state, after)
    return after, record


def _phase(call: Call, begun: Chunk | None, done: dict[str, PyTree]) -> Generator[Chunk, None, Any]:
    """Run a fit or a draw, from the piece after `begun` on, and enter its result in `done`."""
    phase, function = call.phase, call.function
    if isinstance(function, Chunked):
        num_chunks = function.num_chunks
        position, carry = (0, function.start(*call.args)) if begun is None else (begun.position, begun.carry)
        for index in range(position, num_chunks):
            carry = function.advance(index, carry)
            if index + 1 < num_chunks:
                yield Chunk(phase, index + 1, num_chunks, carry, dict(done))
        done[phase] = function.finish(carry)
    else:
        done[phase], num_chunks = function(*call.args), 1
    yield Chunk(phase, num_chunks, num_chunks, None, dict(done))
    return done[phase]


def _watched(
    pieces: Generator[Chunk, None, tuple[Carried, Record]], place: str, first: list[tuple[str, Record]]
) -> Generator[Chunk, None, tuple[Carried, Record]]:
    """Run a generation's pieces; whatever goes wrong, its record included, is noted to be in that place."""
    try:
        state, record = yield from pieces
        record = jax.tree.map(readable, record)
        first[:] = first or [(place, record)]
        before, known = first[0]
        check_alike(
            known, record, f"the record of {before}", f"that of {place}",
            "report the same names and shapes in every generation, np.nan where there is nothing.",
        )  # fmt: skip
    except BaseException as error:  # a fit may raise SystemExit, which must not look like an end of the run
        error.add_note(f"in {place}")
        raise
    return state, record


def _segment(
    start: int, stop: int, states: list[Carried], records: list[list[Record]], first_seed: int, in_place: bool
) -> Segment:
    states = list(states)
    joined = _stack([_stack(rows) for rows in records])
    return Segment(start, stop, joined, lambda: states[0] if in_place else _one_state(states, first_seed))


def _one_state(states: list[Carried], first_seed: int) -> PyTree:
    """Return the seeds' states as one; what Python itself fitted may have another shape in each."""
    leaves = [dict(_named_leaves(state)) for state in states]
    for seed, other in enumerate(leaves, first_seed):
        check_alike(
            leaves[0], other, f"the state of seed {first_seed}", f"that of seed {seed}",
            "keep what has one shape, or run each seed by itself (first_seed=s, num_seeds=1).",
        )  # fmt: skip
    return _stack(states)


def _named_leaves(state: Carried) -> Iterator[tuple[str, PyTree]]:
    for path, leaf in jax.tree.leaves_with_path(state):
        yield f"state{jax.tree_util.keystr(path)}", leaf


def _stack(trees: Sequence[PyTree]) -> PyTree:
    return jax.tree.map(lambda *parts: np.stack([to_numpy(part) for part in parts]), *trees)


def _apart(chain: Chain, stacked: PyTree, num_seeds: int) -> list[Carried]:
    """Return each seed's state; what Python itself fitted stays NumPy's, in its own precision."""

    def of(index: int) -> Carried:
        mine = jax.tree.map(lambda leaf: leaf[index], stacked)
        if not chain.on_host:
            return jax.tree.map(jnp.asarray, mine)
        ours = jax.tree.map(jnp.asarray, mine._replace(params=(), origin=()))
        # a number taken out of an array is NumPy's scalar: an array again, as it was
        theirs = jax.tree.map(np.asarray, (mine.params, mine.origin))
        return ours._replace(params=theirs[0], origin=theirs[1])

    return [of(index) for index in range(num_seeds)]
