"""Two ways to run chains: compiled, many seeds at once; or from the host, piece by piece.

Both are generators that yield a `Segment` at generation 0 and at every stop asked for. Progress bars,
files and checkpoints belong to whoever consumes them.

The compiled driver runs lanes in blocks of one fixed width, padded, whatever the number of seeds,
blocks or devices. So the same versions, device kind and thread count give the same bits for any split
into segments, blocks and devices. A segment is a `fori_loop` of traced length into a buffer of fixed
length: one program serves every segment. Called by `simulation` and `runs`.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from collapse_jax.chain import Chain, Piece, Record, State
from collapse_jax.errors import check_count
from collapse_jax.sharding import LANES, lane_mesh
from collapse_jax.types import Key, PyTree

DEFAULT_LANES = 16


class Segment(NamedTuple):
    """Some consecutive generations of all seeds.

    Attributes:
        start: first generation recorded here.
        stop: last generation recorded here; the one `state` belongs to.
        records: NumPy arrays [num_seeds, stop - start + 1, ...].
        state: () -> the chains' states after `stop`, NumPy arrays [num_seeds, ...].
    """

    start: int
    stop: int
    records: dict[str, np.ndarray]
    state: Callable[[], PyTree]


def segment_stops(num_generations: int, length: int, keep: Sequence[int] = ()) -> tuple[int, ...]:
    """Return the generations at which segments of at most `length` end, each of `keep` among them.

    >>> segment_stops(10, 4, keep=(5,))
    (4, 5, 9, 10)
    """
    wanted = sorted({stop for stop in keep if 0 < stop <= num_generations} | {num_generations})
    stops, last = [], 0
    for target in wanted:
        while last < target:
            last = min(last + length, target)
            stops.append(last)
    return tuple(stops)


def run_compiled(
    chain: Chain,
    key: Key,
    num_seeds: int,
    stops: Sequence[int],
    *,
    lanes: int = DEFAULT_LANES,
    devices: Sequence[jax.Device] | None = None,
) -> Iterator[Segment]:
    """Yield generation 0 and then a segment for each stop, all seeds together.

    Args:
        chain: from `build_chain`.
        key: the root key; seed s uses `fold_in(key, s)`, whatever else runs.
        num_seeds: number of independent repetitions.
        stops: increasing generation numbers; see `segment_stops`.
        lanes: width of a block. It is part of what fixes the bits; the number of seeds is not.
        devices: default all; at most one per block is used.

    Raises:
        ValueError: a number below 1, or more generations than the regime has room for.
    """
    if chain.on_host:
        raise TypeError("run_compiled() cannot compile a model in Python; use simulate(chain, ...) or run_host().")
    check_count("num_seeds", num_seeds), check_count("lanes", lanes)
    stops = check_stops(chain, stops)
    _check_key(key)
    mesh = lane_mesh(-(-num_seeds // lanes), devices)
    group = lanes * mesh.size  # lanes of one dispatch
    seeds = [jnp.arange(first, first + group, dtype=jnp.uint32) for first in range(0, num_seeds, group)]
    begin, advance = _programs(chain, mesh, key.dtype, group, int(max(np.diff((0, *stops)), default=1)))

    states, records = zip(*(begin(key, block) for block in seeds))
    yield _segment(0, 0, states, [jax.tree.map(lambda a: a[:, None], r) for r in records], num_seeds)
    for start, stop in zip((0, *stops), stops):
        length = jnp.asarray(stop - start, jnp.int32)
        # dispatch is asynchronous: every group is under way before the first is read
        states, buffers = zip(*(advance(key, block, state, length) for block, state in zip(seeds, states)))
        parts = [jax.tree.map(lambda a, n=stop - start: a[:, :n], buffer) for buffer in buffers]
        yield _segment(start + 1, stop, states, parts, num_seeds)


def run_host(
    chain: Chain,
    key: Key,
    num_seeds: int,
    stops: Sequence[int],
    *,
    on_piece: Callable[[int, Piece], None] | None = None,
) -> Iterator[Segment]:
    """Yield what `run_compiled` yields, from a Python loop over seeds, generations and pieces.

    For models whose fit is itself hours long. One step equals the compiled driver's to tolerance.

    Args:
        chain: from `build_chain`; a `fit` or `sample` made of `Pieces` is stopped between them.
        key: the root key, used as by `run_compiled`.
        num_seeds: number of independent repetitions.
        stops: increasing generation numbers.
        on_piece: called with the seed and the piece just finished.
    """
    check_count("num_seeds", num_seeds)
    stops = check_stops(chain, stops)
    _check_key(key)
    lane_keys = [jax.random.fold_in(key, seed) for seed in range(num_seeds)]

    def run(seed: int, generation: int, state: State | None) -> tuple[State, Record]:
        pieces = chain.pieces(jax.random.fold_in(lane_keys[seed], generation), state)
        while True:
            try:
                piece = next(pieces)
            except StopIteration as finished:
                return finished.value
            if on_piece is not None:
                on_piece(seed, piece)

    starts = [run(seed, 0, None) for seed in range(num_seeds)]
    states = [state for state, _ in starts]
    yield _host_segment(0, 0, states, [[record] for _, record in starts])
    for start, stop in zip((0, *stops), stops):
        records: list[list[Record]] = [[] for _ in range(num_seeds)]
        for seed in range(num_seeds):
            for generation in range(start + 1, stop + 1):
                states[seed], record = run(seed, generation, states[seed])
                records[seed].append(record)
        yield _host_segment(start + 1, stop, states, records)


def check_stops(chain: Chain, stops: Sequence[int]) -> tuple[int, ...]:
    """Return `stops`, positive, increasing and within the regime's room.

    Raises:
        ValueError: they are not.
    """
    stops = tuple(int(stop) for stop in stops)
    if any(later <= earlier for earlier, later in zip((0, *stops), stops)):
        raise ValueError(f"`stops` must be increasing generation numbers from 1 on, got {stops}.")
    if stops and chain.max_generations is not None and stops[-1] > chain.max_generations:
        raise ValueError(
            f"{stops[-1]} generations exceed the {chain.max_generations} for which the regime reserved room; "
            f"build it with max_generations={stops[-1]}."
        )
    return stops


@lru_cache(maxsize=32)
def _programs(
    chain: Chain, mesh: jax.sharding.Mesh, key_type: Any, group: int, buffer_length: int
) -> tuple[Callable, Callable]:
    """Return the compiled start and the compiled segment of a chain, compiled side by side."""

    def begin(key: Key, seeds: jax.Array) -> tuple[State, Record]:
        return jax.vmap(lambda seed: chain.init(jax.random.fold_in(jax.random.fold_in(key, seed), 0)))(seeds)

    def advance(key: Key, seeds: jax.Array, states: State, length: jax.Array) -> tuple[State, Record]:
        def lane(seed: jax.Array, state: State) -> tuple[State, Record]:
            lane_key = jax.random.fold_in(key, seed)

            def body(index: jax.Array, carry: tuple[State, Record]) -> tuple[State, Record]:
                state, buffer = carry
                state, record = chain.step(jax.random.fold_in(lane_key, state.generation + 1), state)
                return state, jax.tree.map(lambda b, value: b.at[index].set(value), buffer, record)

            shapes = jax.eval_shape(chain.step, key, state)[1]
            buffer = jax.tree.map(lambda s: jnp.zeros((buffer_length, *s.shape), s.dtype), shapes)
            return jax.lax.fori_loop(0, length, body, (state, buffer))

        return jax.vmap(lane)(seeds, states)

    everywhere, split = PartitionSpec(), PartitionSpec(LANES)

    def shard(function: Callable, specs: tuple[PartitionSpec, ...]) -> jax.stages.Wrapped:
        placed = [NamedSharding(mesh, spec) for spec in (*specs, split)]
        mapped = jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False)
        return jax.jit(mapped, in_shardings=tuple(placed[:-1]), out_shardings=placed[-1])

    key = jax.ShapeDtypeStruct((), key_type)
    seeds = jax.ShapeDtypeStruct((group,), jnp.uint32)
    start = shard(begin, (everywhere, split)).lower(key, seeds)
    states = jax.tree.map(lambda info: jax.ShapeDtypeStruct(info.shape, info.dtype), start.out_info[0])
    length = jax.ShapeDtypeStruct((), jnp.int32)
    segment = shard(advance, (everywhere, split, split, everywhere)).lower(key, seeds, states, length)
    with ThreadPoolExecutor(1) as pool:  # XLA compiles without holding the interpreter's lock
        compiling = pool.submit(segment.compile)
        return start.compile(), compiling.result()


def _check_key(key: Key) -> None:
    if not (
        isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ()
    ):
        raise TypeError(f"`key` must be one typed key, got {key!r}; make it with jax.random.key(seed).")


def _segment(
    start: int, stop: int, states: Sequence[State], records: Sequence[Record], num_seeds: int
) -> Segment:
    def join(trees: Sequence[PyTree]) -> PyTree:
        return jax.tree.map(lambda *parts: np.concatenate([_to_numpy(p) for p in parts])[:num_seeds], *trees)

    return Segment(start, stop, join(records), lambda: join(states))


def _host_segment(start: int, stop: int, states: list[State], records: list[list[Record]]) -> Segment:
    stack = lambda trees: jax.tree.map(lambda *parts: np.stack([_to_numpy(p) for p in parts]), *trees)  # noqa: E731
    states = list(states)
    return Segment(start, stop, stack([stack(rows) for rows in records]), lambda: stack(states))


def _to_numpy(array: jax.Array | np.ndarray) -> np.ndarray:
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    return np.asarray(array)
