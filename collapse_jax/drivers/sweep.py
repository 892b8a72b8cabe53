"""A whole grid in one call: chains of many settings and seeds as lanes of one compiled program.

    lane = cell * num_seeds + seed;   every cell uses the same seeds, so what differs between cells is the setting alone

An axis whose values JAX can trace (a share, a weight, a temperature) is a number that each lane carries; one that
changes shapes (a number of points) is a loop on the host, compiled once for each value.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import UInt

from collapse_jax.core.labels import check_name
from collapse_jax.core.protocol import Chain
from collapse_jax.drivers.compiled import Segment, run_lanes, segment_stops
from collapse_jax.drivers.lanes import ChainOf, Lanes, compile_lanes
from collapse_jax.drivers.results import Records, join_records, to_dataset
from collapse_jax.drivers.summary import Summary, check_summary, merge_parts, reducer, summary_dataset
from collapse_jax.types import Array, Key
from collapse_jax.validation import (
    LARGEST_COUNT,
    LARGEST_SIZE,
    check_count,
    check_function,
    check_key,
    check_kind,
    check_list,
)

MEMORY = 2**30  # bytes that a block of lanes may take
_LANES = (16, 1024)  # narrower blocks waste vectors, wider ones leave a CPU's caches
_BLOCKS = 8  # at least so many, where there are lanes enough: for as many devices, whatever their number
_LOOKS = 20  # segments of a sweep

Build = Callable[..., Chain]


class GridPart(NamedTuple):
    """The part of a grid that one program computes: all cells of its traced axes, at one place of the others.

    Attributes:
        place: axis -> value, of the axes that are looped over.
        traced: axis -> values, of the axes that lanes carry.
        chain: of the first cell.
        chain_of: lane -> (seed, chain).
    """

    place: dict[str, Any]
    traced: dict[str, np.ndarray]
    chain: Chain
    chain_of: ChainOf

    @property
    def num_cells(self) -> int:
        """Cells of the traced axes."""
        return int(np.prod([len(values) for values in self.traced.values()]))


def sweep(
    build: Build,
    axes: Mapping[str, Sequence[Any]],
    key: Key,
    num_seeds: int,
    num_generations: int,
    *,
    record_every: int = 1,
    summary: Summary | None = None,
    lanes: int | None = None,
    memory: int = MEMORY,
    devices: Sequence[jax.Device] | None = None,
    on_segment: Callable[[dict[str, Any], Segment], None] | None = None,
) -> xr.Dataset:
    """Return what all chains of a grid recorded.

    All cells use the same seeds, so what differs between them is the setting alone, and their errors are not
    independent. `memory` bounds a block; the states of all lanes are held beside it.

    Args:
        build: the axes' values, by name -> chain. Numbers may arrive traced.
        axes: name -> values, numbers or, for a loop on the host, anything.
        key: root key; every cell uses the same seeds.
        num_seeds: repetitions of each cell.
        num_generations: after generation 0.
        record_every: record generations 0, k, 2k, ..., and the metrics of no other are computed.
        summary: keep moments, histograms and quantiles over seeds instead of every seed: memory is flat in generations.
        lanes: width of a block, part of what fixes the bits; default a power of two near an eighth of all, from 16 to
            1,024, if that fits `memory`, and else what does.
        memory: bytes that a block may take, by the compiled program's own account.
        devices: default all.
        on_segment: called with the place on the looped axes and what was just computed, for progress.

    Returns:
        Dims (*axes, seed, generation, ...); with a summary (*axes, generation, ...).

    Raises:
        ValueError: an axis without values or with repeated ones, a value that `build` refuses, or numbers out of range.

    >>> from collapse_jax import build_chain, gaussian_metrics, gaussian_statistics, gaussian_truth, replace
    >>> def build(num_samples, bias):
    ...     real = gaussian_truth(1).moments_sampler(num_samples)
    ...     model = gaussian_statistics(1, bias=bias)
    ...     return build_chain(model, replace(), real, num_samples, gaussian_metrics())
    >>> found = sweep(build, {"num_samples": [10, 1000], "bias": [0.9, 1.0]}, jax.random.key(0), 100, 50)
    >>> found.log_total_variance.mean("seed").sel(generation=50, num_samples=1000).round(0).values.tolist()
    [-5.0, -0.0]
    """
    check_function("build", build, "of the axes' values, by name"), check_key(key)
    check_count("num_seeds", num_seeds), check_count("num_generations", num_generations)
    check_count("record_every", record_every), check_count("memory", memory, maximum=LARGEST_COUNT)
    if summary is not None:
        check_kind("summary", summary, Summary, "leave it out to keep every seed")
    if lanes is not None:
        lanes = check_count("lanes", lanes)
    if on_segment is not None:
        check_function("on_segment", on_segment, "of a place and a segment")
    if num_generations % record_every:
        raise ValueError(
            f"`num_generations` {num_generations} must be a multiple of `record_every` {record_every}; change one."
        )
    request = _Request(key, num_seeds, num_generations, record_every, lanes, memory, devices, on_segment)
    parts = [
        _recorded(slab, request) if summary is None else _summarised(slab, request, summary)
        for slab in slabs(build, axes, num_seeds)
    ]
    return join_parts(parts).transpose(*axes, "seed", ..., missing_dims="ignore")


class _Request(NamedTuple):
    """What was asked of `sweep`, for each slab."""

    key: Key
    num_seeds: int
    num_generations: int
    record_every: int
    lanes: int | None
    memory: int
    devices: Sequence[jax.Device] | None
    on_segment: Callable[[dict[str, Any], Segment], None] | None

    def tell(self, slab: GridPart, segments: Iterator[Segment]) -> Iterator[Segment]:
        """Pass segments on, and tell of each."""
        for segment in segments:
            if self.on_segment is not None:
                self.on_segment(slab.place, segment)
            yield segment


def slabs(build: Build, axes: Mapping[str, Sequence[Any]], num_seeds: int) -> list[GridPart]:
    """Return the parts of a grid, each value checked on the host.

    Raises:
        ValueError: an axis without values or with repeated ones, or a value that `build` refuses.
    """
    check_kind("axes", axes, Mapping, "for example {'fraction': [0.0, 0.1]}")
    values = {name: _values(name, column) for name, column in axes.items()}
    if not values:
        raise ValueError("`axes` must name at least one axis; for example {'fraction': [0.0, 0.1]}.")
    for name, column in values.items():
        if not column or len(set(column)) < len(column):
            raise ValueError(f"axis '{name}' must have values, each once, got {column}.")
    first = {name: column[0] for name, column in values.items()}
    for name, column in values.items():
        for value in column:
            try:
                build(**{**first, name: value})
            except (ValueError, TypeError) as error:
                raise ValueError(f"axis '{name}' at {value}: {error}") from error
    metrics = build(**first).metrics
    taken = {metric.name for metric in metrics} | {dim for metric in metrics for dim in metric.dims}
    for name in values:
        check_name("axes", name)
        if name in taken:
            raise ValueError(f"axis '{name}' has the name of a metric or of one of its dims; rename that.")
    traced = [name for name in values if _is_traceable(build, first, (name,), values)]
    places = _places(values, traced)
    while traced and not all(_is_traceable(build, {**first, **place}, traced, values) for place in places):
        traced.pop()  # each by itself may be traced at the first values, but not all of them together everywhere
        places = _places(values, traced)
    columns = {name: np.asarray(values[name]) for name in traced}
    return [_slab(build, place, columns, num_seeds) for place in places]


def _values(name: str, column: Sequence[Any]) -> list:
    """Return an axis's values as Python's own."""
    check_kind("axes", name, str, "write {'fraction': [0.0, 0.1]}")
    column = check_list(f"axes['{name}']", column, "[0.0, 0.1]")
    values = [value.item() if hasattr(value, "item") and np.ndim(value) == 0 else value for value in column]
    for value in values:
        check_kind(f"axes['{name}']", value, (int, float, str), "give one number or name for each cell")
    return values


def _places(values: Mapping[str, list], traced: Sequence[str]) -> list[dict[str, Any]]:
    """Return every combination of values on the axes that are not traced."""
    looped = [name for name in values if name not in traced]
    return [dict(zip(looped, place)) for place in itertools.product(*(values[name] for name in looped))]


def _is_traceable(
    build: Build, first: Mapping[str, Any], names: Sequence[str], values: Mapping[str, list]
) -> bool:
    """True when the chain can be built, begun and stepped with these values traced."""
    numbers = [value for name in names for value in values[name]]
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in numbers):
        return False
    if any(isinstance(value, int) and abs(value) > LARGEST_SIZE for value in numbers):
        return False  # JAX's integers do not hold it

    def step(key: Key, *traced: Array) -> Any:
        chain = build(**{**first, **dict(zip(names, traced))})
        return chain.step(key, chain.init(key)[0])

    shapes = [jax.eval_shape(lambda name=name: jnp.asarray(values[name])[0]) for name in names]
    try:
        jax.eval_shape(step, jax.eval_shape(lambda: jax.random.key(0)), *shapes)
    except (TypeError, ValueError, IndexError, jax.errors.JAXTypeError):  # what a static value gives when it is traced
        return False
    return True


def _slab(build: Build, place: dict[str, Any], traced: dict[str, np.ndarray], num_seeds: int) -> GridPart:
    grid = np.meshgrid(*traced.values(), indexing="ij") if traced else []
    cells = {name: jnp.asarray(column.ravel()) for name, column in zip(traced, grid)}

    def chain_of(lane: UInt[Array, ""]) -> tuple[UInt[Array, ""], Chain]:
        cell = lane // num_seeds
        return lane % num_seeds, build(**place, **{name: column[cell] for name, column in cells.items()})

    first = {name: column[0].item() for name, column in traced.items()}
    return GridPart(place, traced, build(**place, **first), chain_of)


def widened(lanes: Lanes, key_type: Any, length: int, memory: int) -> Lanes:
    """Return lanes in wider blocks: a power of two near an eighth of all, 16 to 1,024, or what `memory` holds."""
    least, most = _LANES
    width = min(max(2 ** math.ceil(math.log2(lanes.num / _BLOCKS)) if lanes.num > _BLOCKS else 1, least), most)
    while width > 1 and compile_lanes(lanes._replace(width=width), key_type, length).num_bytes > memory:
        width //= 2
    return lanes._replace(width=width)


def _sized(lanes: Lanes, request: _Request, length: int) -> Lanes:
    """Return lanes in blocks as wide as was asked for, or as fits."""
    if request.lanes:
        return lanes._replace(width=request.lanes)
    return widened(lanes, request.key.dtype, length, request.memory)


def _recorded(slab: GridPart, request: _Request) -> xr.Dataset:
    stops, every = sweep_stops(request.num_generations, request.record_every), request.record_every
    num_lanes = slab.num_cells * request.num_seeds
    lanes = Lanes(
        slab.chain, num_lanes, devices=request.devices, record_every=every, chain_of=slab.chain_of, donate=True
    )
    lanes = _sized(lanes, request, longest(stops) // every)
    parts = [segment.records for segment in request.tell(slab, run_lanes(lanes, request.key, stops))]
    return gather(slab, join_records(parts), request.num_seeds, every)


def gather(slab: GridPart, records: Records, num_seeds: int, record_every: int) -> xr.Dataset:
    """Return the records of a slab's lanes [num_cells * num_seeds, ...], labelled by axes and seed."""
    sizes = [len(values) for values in slab.traced.values()]
    dataset = to_dataset(records, slab.chain.metrics).rename(seed="lane").drop_vars("lane")
    shaped = {}
    for name, array in dataset.data_vars.items():
        values = array.values.reshape(*sizes, num_seeds, *array.shape[1:])
        shaped[name] = ((*slab.traced, "seed", *array.dims[1:]), values, array.attrs)
    generations = np.arange(dataset.sizes["generation"]) * record_every
    coordinates = {**slab.traced, "seed": np.arange(num_seeds), "generation": generations}
    return xr.Dataset(shaped, coordinates).expand_dims({name: [value] for name, value in slab.place.items()})


def _summarised(slab: GridPart, request: _Request, summary: Summary) -> xr.Dataset:
    """Run cell after cell by one program: each reduced over its own seeds."""
    num_seeds, generations, every = request.num_seeds, request.num_generations, request.record_every
    check_summary(summary, generations, every, [metric.name for metric in slab.chain.metrics])
    stops = segment_stops(generations, generations, summary.quantile_generations)
    widest = request.lanes or _LANES[1]
    stride = -(-num_seeds // widest) * widest  # cells begin at whole blocks
    lanes = Lanes(
        slab.chain, num_seeds, devices=request.devices, record_every=every, reduce=reducer(summary),
        chain_of=_spaced(slab, num_seeds, stride), donate=True,
    )  # fmt: skip
    lanes = _sized(lanes, request, longest(stops) // every)
    places = itertools.product(*(values.tolist() for values in slab.traced.values()))
    cells = []
    for cell, place in enumerate(places):
        segments = run_lanes(lanes._replace(first=cell * stride), request.key, stops)
        parts, lasts = [], {}
        for segment in request.tell(slab, segments):
            parts.append({name: part[None] for name, part in merge_parts(segment.records).items()})
            if segment.stop in summary.quantile_generations and segment.last is not None:
                lasts[segment.stop] = segment.last
        merged = {name: rows[0] for name, rows in join_records(parts).items()}
        found = summary_dataset(merged, summary, lasts, slab.chain.metrics, np.arange(0, generations + 1, every))
        cells.append(found.expand_dims({n: [v] for n, v in {**slab.place, **dict(zip(slab.traced, place))}.items()}))
    return join_parts(cells)


def _spaced(slab: GridPart, num_seeds: int, stride: int) -> ChainOf:
    """Return `chain_of` for cells that begin at multiples of `stride`, not of the number of seeds."""

    def chain_of(lane: UInt[Array, ""]) -> tuple[UInt[Array, ""], Chain]:
        cell, seed = lane // stride, lane % stride
        _, chain = slab.chain_of(cell * num_seeds)
        return seed, chain

    return chain_of


def join_parts(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    """Return the parts of a grid as one."""
    found = xr.combine_by_coords(parts, join="outer", combine_attrs="override")
    assert isinstance(found, xr.Dataset)
    return found


def longest(stops: Sequence[int]) -> int:
    """Return the length of the longest segment.

    >>> longest((3, 10))
    7
    """
    return max(stop - before for before, stop in zip((0, *stops), stops))


def sweep_stops(num_generations: int, record_every: int) -> tuple[int, ...]:
    """Return where the segments of a sweep end, multiples of `record_every`.

    >>> sweep_stops(10, 5)
    (5, 10)
    """
    length = max(-(-num_generations // _LOOKS) // record_every, 1) * record_every
    return segment_stops(num_generations, length)
