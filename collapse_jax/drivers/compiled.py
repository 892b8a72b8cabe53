"""The compiled driver: many chains at once, segment by segment.

A generator that yields a `Segment` at generation 0 and at every stop asked for. Progress bars, files and checkpoints
belong to whoever consumes it; `host` runs chains that are too large for it, piece by piece. What is compiled is in
`lanes`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.core.protocol import Carried, Chain
from collapse_jax.drivers.lanes import DEFAULT_LANES, Lanes, compile_lanes
from collapse_jax.types import Key, PyTree
from collapse_jax.validation import check_count, check_key, check_list, shown


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

    Raises:
        ValueError: a number out of range, or more generations than the regime has room for.
    """
    return run_lanes(Lanes(chain, num_seeds, lanes, first_seed, devices), key, stops, resume)


def run_lanes(
    lanes: Lanes, key: Key, stops: Sequence[int], resume: tuple[int, PyTree] | None = None
) -> Iterator[Segment]:
    """Yield what `run_compiled` yields, of lanes of any kind; every stop is a recorded generation."""
    lanes = lanes.checked()
    every, num, begun = lanes.record_every, lanes.num, check_resume(resume)
    stops = tuple(stop for stop in check_stops(lanes.chain, stops, every) if stop > begun)
    check_key(key)
    length = int(max(np.diff((begun, *stops)), default=1)) // every
    program = compile_lanes(lanes, key.dtype, max(length, 1))
    firsts, is_reduced = range(0, num, program.group), lanes.reduce is not None
    numbers = [jnp.arange(first, first + program.group, dtype=jnp.uint32) + lanes.first for first in firsts]
    counts = [jnp.arange(first, first + program.group) < num for first in firsts]

    if resume is None:
        states, records = zip(*(program.begin(key, *block) for block in zip(numbers, counts)))
        yield _segment(0, 0, states, records, num, is_reduced)
    else:
        states = tuple(_groups(resume[1], program.state, len(numbers)))
    for start, stop in zip((begun, *stops), stops):
        recorded = (stop - start) // every
        # dispatch is asynchronous: every group is under way before the first is read
        blocks = zip(numbers, counts, states)
        steps = [program.advance(key, *block, jnp.asarray(recorded, jnp.int32)) for block in blocks]
        states, records = zip(*steps)
        yield _segment(start + every, stop, states, records, num, is_reduced, recorded)


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
