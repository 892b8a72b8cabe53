"""The compiled driver: many chains at once, segment by segment.

A generator that yields a `Segment` at generation 0 and at every stop asked for. Progress bars, files and checkpoints
belong to whoever consumes it; `host` runs chains that are too large for it, piece by piece.

Lanes run in blocks of one fixed width, padded, whatever the number of seeds, blocks or devices. So the same versions,
device kind and thread count give the same bits for any split into segments, blocks, devices and processes. A segment
is a `fori_loop` of traced length into a buffer of fixed length: one program serves every segment.
"""

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Bool, UInt

from collapse_jax.core.protocol import Carried, Chain, Record
from collapse_jax.drivers.sharding import LANES, lane_mesh
from collapse_jax.types import Array, Key, PyTree
from collapse_jax.validation import check_count, check_function, check_key, check_kind, check_list, shown

DEFAULT_LANES = 16

ChainOf = Callable[[UInt[Array, ""]], tuple[UInt[Array, ""], Chain]]
Reduce = Callable[[Record, Bool[Array, " lanes"]], dict[str, Array]]


class Segment(NamedTuple):
    """Some consecutive generations of all seeds.

    Attributes:
        start: first generation recorded here.
        stop: last generation recorded here; the one `state` belongs to.
        records: NumPy arrays [num_seeds, stop - start + 1, ...].
        state: () -> the chains' states after `stop`, NumPy arrays [num_seeds, ...].
        last: what was recorded at `stop`, NumPy arrays [num_seeds, ...], where `records` are reduced over seeds.
    """

    start: int
    stop: int
    records: dict[str, np.ndarray]
    state: Callable[[], PyTree]
    last: dict[str, np.ndarray] | None = None


def segment_stops(num_generations: int, length: int, keep: Sequence[int] = ()) -> tuple[int, ...]:
    """Return the generations at which segments of at most `length` end, each of `keep` among them.

    >>> segment_stops(10, 4, keep=(5,))
    (4, 5, 9, 10)
    """
    check_count("num_generations", num_generations), check_count("length", length)
    keep = [check_count("keep", stop, minimum=0) for stop in check_list("keep", keep, "(50, 100)")]
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
    first_seed: int = 0,
    resume: tuple[int, PyTree] | None = None,
    record_every: int = 1,
    chain_of: ChainOf | None = None,
    reduce: Reduce | None = None,
    donate: bool = False,
) -> Iterator[Segment]:
    """Yield generation 0 and then a segment for each stop, all seeds together.

    Args:
        chain: from `build_chain`.
        key: the root key; seed s uses `fold_in(key, s)`, whatever else runs.
        num_seeds: number of independent repetitions.
        stops: increasing generation numbers; see `segment_stops`.
        lanes: width of a block. It is part of what fixes the bits; the number of seeds is not.
        devices: default all of this process; at most one per block is used.
        first_seed: the seeds are first_seed, first_seed + 1, ...; a multiple of `lanes`.
        resume: a generation and the states after it, as `Segment.state` gives them: go on from there.
        record_every: record generations 0, k, 2k, ...; every stop is one of them.
        chain_of: lane -> (seed, chain), for lanes that run different chains of one shape; default each lane runs
            `chain` with its own number as seed.
        reduce: (record of all lanes, which of them count) -> what is kept of it: each device reduces its own lanes
            at every generation, and records are [parts, generations, ...].
        donate: each segment's states take the place of those before it, in half the memory; a segment's `state` must
            then be read before the next segment is asked for.

    Raises:
        ValueError: a number out of range, or more generations than the regime has room for.
    """
    check_kind("chain", chain, Chain, "make it with build_chain(model, regime, real, num_samples)")
    if chain.on_host:
        raise TypeError(
            "run_compiled() cannot compile a model in Python; use simulate(chain, ...) or run_host()."
        )
    num_seeds, lanes = check_count("num_seeds", num_seeds), check_count("lanes", lanes)
    record_every = check_count("record_every", record_every)
    for name, function in (("chain_of", chain_of), ("reduce", reduce)):
        if function is not None:
            check_function(name, function, "as `sweep` makes it")
    check_kind("donate", donate, bool, "True gives the states' memory away")
    begun = check_resume(resume)
    stops = tuple(stop for stop in check_stops(chain, stops, record_every) if stop > begun)
    check_key(key)
    first_seed = check_count("first_seed", first_seed, minimum=0)
    if first_seed % lanes:
        raise ValueError(f"`first_seed` must be a multiple of `lanes` {lanes}, got {first_seed}.")
    mesh = lane_mesh(-(-num_seeds // lanes), devices)
    group = lanes * mesh.size  # lanes of one dispatch
    firsts = range(0, num_seeds, group)
    numbers = [jnp.arange(first, first + group, dtype=jnp.uint32) + first_seed for first in firsts]
    counts = [jnp.arange(first, first + group) < num_seeds for first in firsts]
    length = int(max(np.diff((begun, *stops)), default=1)) // record_every
    how = (mesh, key.dtype, group, max(length, 1), record_every, donate)
    programs = _programs(chain, chain_of, reduce, *how)

    if resume is None:
        states, records = zip(*(programs.begin(key, *block) for block in zip(numbers, counts)))
        yield _segment(0, 0, states, records, num_seeds, reduce is not None)
    else:
        states = _groups(resume[1], programs.state, len(numbers))
    for start, stop in zip((begun, *stops), stops):
        num = (stop - start) // record_every
        # dispatch is asynchronous: every group is under way before the first is read
        blocks = zip(numbers, counts, states)
        steps = [programs.advance(key, *block, jnp.asarray(num, jnp.int32)) for block in blocks]
        states, records = zip(*steps)
        yield _segment(start + record_every, stop, states, records, num_seeds, reduce is not None, num)


def check_stops(chain: Chain, stops: Sequence[int], every: int = 1) -> tuple[int, ...]:
    """Return `stops`, positive, increasing, multiples of `every` and within the regime's room.

    Raises:
        ValueError: they are not.
    """
    stops = tuple(check_count("stops", stop, minimum=0) for stop in check_list("stops", stops, "(50, 100)"))
    if any(later <= earlier for earlier, later in zip((0, *stops), stops)):
        raise ValueError(f"`stops` must be increasing generation numbers from 1 on, got {stops}.")
    if odd := [stop for stop in stops if stop % every]:
        raise ValueError(f"`stops` must be multiples of `record_every` {every}, got {odd[0]}; choose others.")
    if stops and chain.max_generations is not None and stops[-1] > chain.max_generations:
        raise ValueError(
            f"{stops[-1]} generations exceed the {chain.max_generations} for which the regime reserved room; "
            f"build it with max_generations={stops[-1]}."
        )
    return stops


def check_resume(resume: tuple[int, PyTree] | None) -> int:
    """Return the generation from which to go on, 0 for a new run.

    Raises:
        TypeError: it is not a generation and the states after it.
    """
    if resume is None:
        return 0
    if not isinstance(resume, tuple | list) or len(resume) != 2 or not hasattr(resume[1], "generation"):
        raise TypeError(
            f"`resume` must be (generation, state), got {shown(resume)}; take `stop` and `state()` of a Segment."
        )
    return check_count("resume", resume[0], minimum=0)


def program_bytes(
    chain: Chain, num_seeds: int, lanes: int, length: int, *, key: Key | None = None, record_every: int = 1,
    chain_of: ChainOf | None = None, reduce: Reduce | None = None, devices: Sequence[jax.Device] | None = None,
    donate: bool = False,
) -> int:  # fmt: skip
    """Return how many bytes a block of lanes takes on its device, by the compiled program's own account.

    Args:
        chain: see `run_compiled`, as the others.
        num_seeds: see `run_compiled`.
        lanes: width of the block.
        length: generations recorded in the longest segment.
        key: of the type that will be used; default JAX's default.
        record_every: see `run_compiled`.
        chain_of: see `run_compiled`.
        reduce: see `run_compiled`.
        devices: see `run_compiled`, which then uses the very program that is measured here.
        donate: see `run_compiled`.
    """
    kind = (jax.random.key(0) if key is None else key).dtype
    mesh = lane_mesh(-(-num_seeds // lanes), devices)
    group = lanes * mesh.size
    programs = _programs(chain, chain_of, reduce, mesh, kind, group, length, record_every, donate)
    used = programs.advance.memory_analysis()
    in_place = used.alias_size_in_bytes
    return used.temp_size_in_bytes + used.argument_size_in_bytes + used.output_size_in_bytes - in_place


class _Programs(NamedTuple):
    """The compiled start and the compiled segment of some chains, and the shapes of their states."""

    begin: Callable[..., tuple[Carried, tuple]]
    advance: Any  # as `begin`; a compiled program, which knows what memory it takes
    state: PyTree


_MOST_PROGRAMS = 32
_kept: OrderedDict[tuple, _Programs] = OrderedDict()  # the last used, of chains that somebody still holds
_keeping = threading.RLock()


def _programs(chain: Chain, chain_of: ChainOf | None, reduce: Reduce | None, *how: Any) -> _Programs:
    """Return the programs of a group of lanes; those of a chain that nobody holds any more go, and its data with it."""
    functions = (chain.init, chain.step, chain_of, reduce)
    key = (*(function and weakref.ref(function, _forget) for function in functions), *how)
    with _keeping:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    programs = _compiled(chain_of or (lambda lane: (lane, chain)), reduce, *how)
    with _keeping:
        _kept[key] = programs
        while len(_kept) > _MOST_PROGRAMS:
            _kept.popitem(last=False)
    return programs


def _forget(gone: weakref.ref) -> None:
    with _keeping:
        for key in [key for key in _kept if any(part is gone for part in key)]:
            del _kept[key]


def _compiled(
    chain_of: ChainOf,
    reduce: Reduce | None,
    mesh: jax.sharding.Mesh,
    key_type: Any,
    group: int,
    buffer_length: int,
    every: int,
    donate: bool,
) -> _Programs:
    """Compile the programs of a group of lanes, side by side."""

    def first(key: Key, lane: Array) -> tuple[Carried, Record]:
        seed, chain = chain_of(lane)
        return chain.init(jax.random.fold_in(jax.random.fold_in(key, seed), 0))

    def one(key: Key, lane: Array, state: Carried) -> tuple[Carried, Record]:
        seed, chain = chain_of(lane)
        return chain.step(jax.random.fold_in(jax.random.fold_in(key, seed), state.generation + 1), state)

    def kept(record: Record, counts: Array) -> tuple[Record, Record]:
        """Return what is buffered of a generation, and what is kept of the last one."""
        if reduce is None:
            return record, {}
        return jax.tree.map(lambda a: jnp.asarray(a)[None], reduce(record, counts)), record

    def begin(key: Key, lanes: Array, counts: Array) -> tuple[Carried, tuple]:
        states, record = jax.vmap(first, (None, 0))(key, lanes)
        buffered, last = kept(record, counts)
        return states, (jax.tree.map(lambda a: a[None], buffered), last)

    def advance(key: Key, lanes: Array, counts: Array, states: Carried, length: Array) -> tuple[Carried, tuple]:
        step = jax.vmap(one, (None, 0, 0))

        def body(index: Array, carry: tuple) -> tuple:
            states, buffer, _ = carry
            if every > 1:  # of generations that are not recorded no metric is computed: nobody reads it
                states = jax.lax.fori_loop(0, every - 1, lambda _, now: step(key, lanes, now)[0], states)
            states, record = step(key, lanes, states)
            buffered, last = kept(record, counts)
            return states, jax.tree.map(lambda b, value: b.at[index].set(value), buffer, buffered), last

        shapes = jax.eval_shape(lambda s: kept(step(key, lanes, s)[1], counts), states)
        buffer = jax.tree.map(lambda s: jnp.zeros((buffer_length, *s.shape), s.dtype), shapes[0])
        last = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes[1])
        states, *records = jax.lax.fori_loop(0, length, body, (states, buffer, last))
        return states, tuple(records)

    everywhere, split = PartitionSpec(), PartitionSpec(LANES)
    outputs = (split, (PartitionSpec(None, LANES), split))

    def shard(function: Callable, specs: tuple[PartitionSpec, ...], given: tuple = ()) -> jax.stages.Wrapped:
        mapped = jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=outputs, check_vma=False)
        inside, outside = jax.tree.map(lambda spec: NamedSharding(mesh, spec), (specs, outputs))
        return jax.jit(mapped, in_shardings=inside, out_shardings=outside, donate_argnums=given)

    key = jax.ShapeDtypeStruct((), key_type)
    lanes, counts = (jax.ShapeDtypeStruct((group,), kind) for kind in (jnp.uint32, jnp.bool))
    start = shard(begin, (everywhere, split, split)).lower(key, lanes, counts)
    states = jax.tree.map(lambda info: jax.ShapeDtypeStruct(info.shape, info.dtype), start.out_info[0])
    length = jax.ShapeDtypeStruct((), jnp.int32)
    to_advance = shard(advance, (everywhere, split, split, split, everywhere), (3,) if donate else ())
    segment = to_advance.lower(key, lanes, counts, states, length)
    with ThreadPoolExecutor(1) as pool:  # XLA compiles without holding the interpreter's lock
        compiling = pool.submit(segment.compile)
        return _Programs(start.compile(), compiling.result(), states)


def _segment(
    start: int, stop: int, states: Sequence[Carried], records: Sequence[tuple], num_seeds: int, reduced: bool,
    length: int = 1,
) -> Segment:  # fmt: skip
    """Return what some groups of lanes did, as NumPy arrays; the lanes that only fill up a group are left out."""
    rows = None if reduced else num_seeds
    by_lane = [jax.tree.map(lambda a: np.swapaxes(to_numpy(a)[:length], 0, 1), part) for part, _ in records]
    last = _join([part for _, part in records], num_seeds) if reduced else None
    return Segment(start, stop, _join(by_lane, rows), lambda: _join(_here(states, stop), num_seeds), last)


def _here(states: Sequence[Carried], stop: int) -> Sequence[Carried]:
    """Return states that have not been given away."""
    if any(leaf.is_deleted() for leaf in jax.tree.leaves(states)):
        raise ValueError(
            f"the states of generation {stop} gave their place to the next segment's; read them before it, or leave "
            "out `donate`."
        )
    return states


def _join(trees: Sequence[PyTree], num_rows: int | None) -> PyTree:
    return jax.tree.map(lambda *parts: np.concatenate([to_numpy(p) for p in parts])[:num_rows], *trees)


def _groups(state: PyTree, shapes: PyTree, num_groups: int) -> list[PyTree]:
    """Return the states of each group of lanes; its last lanes, if nobody's, repeat the first seed's state."""

    def cut(leaf: np.ndarray, shape: jax.ShapeDtypeStruct) -> list[Any]:
        is_key = jnp.issubdtype(shape.dtype, jax.dtypes.prng_key)
        size, leaf = shape.shape[0], np.asarray(leaf)
        filled = np.concatenate([leaf, np.repeat(leaf[:1], num_groups * size - len(leaf), axis=0)])
        parts = [filled[index * size : (index + 1) * size] for index in range(num_groups)]
        return [jax.random.wrap_key_data(jnp.asarray(part)) for part in parts] if is_key else parts

    leaves, nesting = jax.tree.flatten(shapes)
    columns = [cut(leaf, shape) for leaf, shape in zip(jax.tree.leaves(state), leaves, strict=True)]
    return [jax.tree.unflatten(nesting, row) for row in zip(*columns)]


def to_numpy(array: jax.Array | np.ndarray) -> np.ndarray:
    """Return an array on the host; of typed keys their data."""
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    return np.asarray(array)
