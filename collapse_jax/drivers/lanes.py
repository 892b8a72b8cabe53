"""Lanes as one compiled program: which chains run side by side, how they start, and how they advance by a segment.

Lanes run in blocks of one fixed width, padded, whatever the number of seeds, blocks or devices. So the same versions,
device kind and thread count give the same bits for any split into segments, blocks, devices and processes. A segment
is a `fori_loop` of traced length into a buffer of fixed length: one program serves every segment.
"""

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Bool, UInt

from collapse_jax.core.protocol import Carried, Chain, Record
from collapse_jax.drivers.joined import Apart, run_joined
from collapse_jax.drivers.sharding import LANES, lane_mesh
from collapse_jax.numerics.threefry import as_jax, written_out
from collapse_jax.types import Array, Key, PyTree
from collapse_jax.validation import check_count, check_function, check_kind

DEFAULT_LANES = 16

ChainOf = Callable[[UInt[Array, ""]], tuple[UInt[Array, ""], Chain]]
Reduce = Callable[[Record, Bool[Array, " lanes"]], dict[str, Array]]


class Lanes(NamedTuple):
    """Which chains run side by side, and what is kept of what they record.

    Attributes:
        chain: from `build_chain`.
        num: how many lanes; lane l is seed l of the chain, unless `chain_of` says otherwise.
        width: of a block. It is part of what fixes the bits; the number of lanes is not.
        first: number of the first lane; a multiple of `width`.
        devices: default all of this process; at most one per block is used.
        record_every: generations 0, k, 2k, ... are recorded.
        chain_of: lane -> (seed, chain), for lanes that run different chains of one shape.
        reduce: (record of all lanes, which of them count) -> what is kept of it: each device reduces its own lanes
            at every generation, and records are [parts, generations, ...].
        donate: each segment's states take the place of those before it, in half the memory; a segment's `state` must
            then be read before the next segment is asked for.
    """

    chain: Chain
    num: int
    width: int = DEFAULT_LANES
    first: int = 0
    devices: Sequence[jax.Device] | None = None
    record_every: int = 1
    chain_of: ChainOf | None = None
    reduce: Reduce | None = None
    donate: bool = False

    def checked(self) -> "Lanes":
        """Return the lanes, their numbers as Python's.

        Raises:
            ValueError: a number out of range.
            TypeError: a chain of a model in Python, or something of another kind.
        """
        check_kind("chain", self.chain, Chain, "make it with build_chain(model, regime, real, num_samples)")
        if self.chain.on_host:
            raise TypeError(
                "run_compiled() cannot compile a model in Python; use simulate(chain, ...) or run_host()."
            )
        num, width = check_count("num_seeds", self.num), check_count("lanes", self.width)
        every = check_count("record_every", self.record_every)
        for name, function in (("chain_of", self.chain_of), ("reduce", self.reduce)):
            if function is not None:
                check_function(name, function, "as `sweep` makes it")
        check_kind("donate", self.donate, bool, "True gives the states' memory away")
        first = check_count("first_seed", self.first, minimum=0)
        if first % width:
            raise ValueError(f"`first_seed` must be a multiple of `lanes` {width}, got {first}.")
        return self._replace(num=num, width=width, record_every=every, first=first)

    @property
    def mesh(self) -> Mesh:
        """The devices over which blocks are spread."""
        return lane_mesh(-(-self.num // self.width), self.devices)


class Program(NamedTuple):
    """The compiled start and the compiled segment of a group of lanes: a block for each device.

    Attributes:
        begin: (key, numbers of the lanes, which of them count) -> (states, (records, last record)).
        advance: (key, numbers, which count, states, how many records) -> the same, after a segment.
        state: shapes of the states of a group.
        group: lanes of one dispatch.
    """

    begin: Any
    advance: Any
    state: PyTree
    group: int

    @property
    def num_bytes(self) -> int:
        """How many bytes a group takes, by the compiled segment's own account."""
        used = self.advance.memory_analysis()
        in_place = used.alias_size_in_bytes
        return used.temp_size_in_bytes + used.argument_size_in_bytes + used.output_size_in_bytes - in_place


_MOST_PROGRAMS = 32
_kept: OrderedDict[tuple, Program] = OrderedDict()  # the last used, of chains that somebody still holds
_keeping = threading.RLock()


def compile_lanes(lanes: Lanes, key_type: Any, length: int) -> Program:
    """Return the program of a group of lanes; that of a chain that nobody holds any more goes, and its data with it.

    Args:
        lanes: checked.
        key_type: dtype of the key that will be used.
        length: most records in a segment.
    """
    functions = (lanes.chain.init, lanes.chain.step, lanes.chain_of, lanes.reduce)
    mesh, every, donate = lanes.mesh, lanes.record_every, lanes.donate
    how = (mesh, key_type, lanes.width, length, every, donate)
    key = (*(function and weakref.ref(function, _forget) for function in functions), *how)
    with _keeping:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    try:
        program = _compiled(lanes, key_type, length, written_out)
    except (NotImplementedError, TypeError):  # not every function of jax.random takes keys but JAX's: the same, slower
        program = _compiled(lanes, key_type, length, lambda tree: tree)
    with _keeping:
        _kept[key] = program
        while len(_kept) > _MOST_PROGRAMS:
            _kept.popitem(last=False)
    return program


def _forget(gone: weakref.ref) -> None:
    with _keeping:
        for key in [key for key in _kept if any(part is gone for part in key)]:
            del _kept[key]


def _compiled(lanes: Lanes, key_type: Any, buffer_length: int, quick: Callable[[PyTree], PyTree]) -> Program:
    """Compile the start and the segment of a group of lanes, side by side; `quick` makes keys quicker ones."""
    chain, mesh, reduce, every = lanes.chain, lanes.mesh, lanes.reduce, lanes.record_every
    chain_of, group = lanes.chain_of or (lambda lane: (lane, chain)), lanes.width * mesh.size

    def first(key: Key, lane: Array) -> tuple[Carried, Record]:
        """Run generation 0."""
        seed, chain = chain_of(lane)
        return as_jax(chain.init(jax.random.fold_in(jax.random.fold_in(quick(key), seed), 0)))

    def later(key: Key, lane: Array, state: Carried) -> tuple[Carried, Record]:
        """Run the generation after `state`."""
        seed, chain = chain_of(lane)
        key_step = jax.random.fold_in(jax.random.fold_in(quick(key), seed), state.generation + 1)
        return as_jax(chain.step(key_step, quick(state)))

    def either(key: Key, lane: Array, state: Carried) -> tuple[Carried, Record]:
        """Run the generation after `state`, where generation -1 is none."""
        seed, chain = chain_of(lane)
        key_generation = jax.random.fold_in(jax.random.fold_in(quick(key), seed), state.generation + 1)
        return as_jax(run_joined(chain, key_generation, quick(state), state.generation < 0))

    def kept(record: Record, counts: Array) -> tuple[Record, Record]:
        """Return what is buffered of a generation, and what is kept of the last one."""
        if reduce is None:
            return record, {}
        return jax.tree.map(lambda a: jnp.asarray(a)[None], reduce(record, counts)), record

    def begin(key: Key, numbers: Array, counts: Array) -> tuple[Carried, tuple]:
        states, record = jax.vmap(first, (None, 0))(key, numbers)
        buffered, last = kept(record, counts)
        return states, (jax.tree.map(lambda a: a[None], buffered), last)

    def advance(
        one: Callable, key: Key, numbers: Array, counts: Array, states: Carried, length: Array
    ) -> tuple[Carried, tuple]:
        step = jax.jit(jax.vmap(one, (None, 0, 0)))  # traced once, for its shapes and for the loop

        def body(index: Array, carry: tuple) -> tuple:
            states, buffer, _ = carry
            if every > 1:  # of generations that are not recorded no metric is computed: nobody reads it
                states = jax.lax.fori_loop(0, every - 1, lambda _, now: step(key, numbers, now)[0], states)
            states, record = step(key, numbers, states)
            buffered, last = kept(record, counts)
            return states, jax.tree.map(lambda b, value: b.at[index].set(value), buffer, buffered), last

        shapes = jax.eval_shape(lambda s: kept(step(key, numbers, s)[1], counts), states)
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

    key, length = jax.ShapeDtypeStruct((), key_type), jax.ShapeDtypeStruct((), jnp.int32)
    numbers, counts = (jax.ShapeDtypeStruct((group,), kind) for kind in (jnp.uint32, jnp.bool))
    of_one = jax.eval_shape(first, key, jax.ShapeDtypeStruct((), jnp.uint32))[0]
    states = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((group, *leaf.shape), leaf.dtype), of_one)

    def segment_of(one: Callable) -> jax.stages.Lowered:
        specs, given = (everywhere, split, split, split, everywhere), (3,) if lanes.donate else ()
        return shard(partial(advance, one), specs, given).lower(key, numbers, counts, states, length)

    try:
        if every > 1:
            raise Apart("generation 0 is recorded, whichever others are")
        both = segment_of(either).compile()
        nothing = jax.jit(partial(_nothing, states), out_shardings=NamedSharding(mesh, split))
        one = jnp.asarray(1, jnp.int32)
        return Program(lambda *given: both(*given, nothing(), one), both, states, group)
    except Apart:
        segment = segment_of(later)
    start = shard(begin, (everywhere, split, split)).lower(key, numbers, counts)
    with ThreadPoolExecutor(1) as pool:  # XLA compiles without holding the interpreter's lock
        compiling = pool.submit(segment.compile)
        return Program(start.compile(), compiling.result(), states, group)


def _nothing(states: PyTree) -> Carried:
    """Return the states before generation 0, of which nothing is read but their number."""

    def zeros(shape: jax.ShapeDtypeStruct) -> Array:
        if jnp.issubdtype(shape.dtype, jax.dtypes.prng_key):
            data = jax.eval_shape(jax.random.key_data, shape)
            return jax.random.wrap_key_data(jnp.zeros(data.shape, data.dtype))
        return jnp.zeros(shape.shape, shape.dtype)

    blank = jax.tree.map(zeros, states)
    return blank._replace(generation=blank.generation - 1)
