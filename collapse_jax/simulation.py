"""The top of the API: a chain, many seeds, one labelled result."""

from collections.abc import Callable, Iterator, Sequence

import jax
import xarray as xr

from collapse_jax.chain import Chain
from collapse_jax.drivers import DEFAULT_LANES, Segment, run_compiled, segment_stops
from collapse_jax.errors import check_count, check_function, check_kind, check_list
from collapse_jax.host import run_host
from collapse_jax.results import join_records, kept_params, to_dataset
from collapse_jax.types import Key


def simulate(
    chain: Chain,
    key: Key,
    num_seeds: int,
    num_generations: int,
    *,
    keep: Sequence[int] = (),
    lanes: int = DEFAULT_LANES,
    segment_length: int = 100,
    devices: Sequence[jax.Device] | None = None,
    on_segment: Callable[[Segment], None] | None = None,
) -> xr.Dataset:
    """Return what `num_seeds` independent chains recorded over `num_generations` generations.

    Chains are compiled and run many at once; a model in Python (`external`) runs one seed after the other.

    Args:
        chain: from `build_chain`.
        key: root key; more seeds, generations or metrics leave every trajectory as it was.
        num_seeds: repetitions.
        num_generations: generations after generation 0.
        keep: generations whose params are kept, as variables `params.<path>`.
        lanes: how many chains run under one `vmap`; part of what fixes the bits. Not for a model in Python.
        segment_length: generations between two looks from the host.
        devices: default all. Not for a model in Python.
        on_segment: called after each segment, for progress.

    Returns:
        A Dataset with dims seed and generation; units are attributes.

    Raises:
        ValueError: a number below 1, or more generations than the regime has room for.

    >>> from collapse_jax import build_chain, mixture, mixture_metrics, replace, two_gaussians
    >>> truth = two_gaussians()
    >>> chain = build_chain(mixture(2), replace(), truth.sampler(100), 100, mixture_metrics(truth))
    >>> result = simulate(chain, jax.random.key(0), num_seeds=4, num_generations=10)
    >>> dict(result.log_total_variance.sizes)
    {'seed': 4, 'generation': 11}
    """
    check_kind("chain", chain, Chain, "make it with build_chain(model, regime, real, num_samples)")
    check_count("num_generations", num_generations)
    check_count("segment_length", segment_length)
    if on_segment is not None:
        check_function("on_segment", on_segment, "of a segment")
    keep = [check_count("keep", generation, minimum=0) for generation in check_list("keep", keep, "(0, 100)")]
    if keep and (named := [metric.name for metric in chain.metrics if metric.name.startswith(("params.", "params["))]):
        raise ValueError(f"`keep` names its variables params.<path>, and so is metric '{named[0]}' named; rename that.")
    beyond = [generation for generation in keep if generation > num_generations]
    if beyond:
        raise ValueError(
            f"`keep` must name generations from 0 to {num_generations}, got {beyond}; drop those."
        )
    stops = segment_stops(num_generations, segment_length, keep)
    if chain.on_host:
        segments = run_host(chain, key, num_seeds, stops)
    else:
        segments = run_compiled(chain, key, num_seeds, stops, lanes=lanes, devices=devices)
    return collect(chain, segments, keep, on_segment)


def collect(
    chain: Chain,
    segments: Iterator[Segment],
    keep: Sequence[int] = (),
    on_segment: Callable[[Segment], None] | None = None,
) -> xr.Dataset:
    """Return the records of a driver's segments as one Dataset; see `simulate`."""
    parts, kept = [], {}
    for segment in segments:
        parts.append(segment.records)
        if segment.stop in keep:
            kept[segment.stop] = segment.state()
        if on_segment is not None:
            on_segment(segment)
    dataset = to_dataset(join_records(parts), chain.metrics)
    return dataset.merge(kept_params(kept)) if kept else dataset
