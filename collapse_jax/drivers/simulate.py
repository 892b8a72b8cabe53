"""The top of the API: a chain, many seeds, one labelled result."""

import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
import xarray as xr

from collapse_jax.core.protocol import Chain
from collapse_jax.drivers.compiled import Segment, run_compiled, segment_stops
from collapse_jax.drivers.host import run_host
from collapse_jax.drivers.lanes import DEFAULT_LANES
from collapse_jax.drivers.results import Records, join_records, kept_params, to_dataset
from collapse_jax.types import Key
from collapse_jax.validation import check_count, check_function, check_key, check_kind, check_list

_QUIET, _LEAST = 3.0, 0.5  # seconds: before a line is shown, and between two


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in `simulate`: `result` holds what was finished before, or None.

    In an interactive session `simulate` returns that with a warning instead.
    """

    def __init__(self, result: xr.Dataset | None) -> None:
        super().__init__("interrupted; what was finished is in `result`")
        self.result = result


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
        on_segment: called after each segment, for progress; in an interactive session without one a line is shown.

    Returns:
        A Dataset with dims seed and generation; units are attributes. Its own attributes say what ran: chain, key,
        lanes, precision and versions. Ctrl-C in an interactive session gives the generations that were finished.

    Raises:
        ValueError: a number below 1, or more generations than the regime has room for.
        Interrupted: by Ctrl-C elsewhere.

    >>> from collapse_jax import build_chain, mixture, mixture_metrics, replace, two_gaussians
    >>> truth = two_gaussians()
    >>> chain = build_chain(mixture(2), replace(), truth.sampler(100), 100, mixture_metrics(truth))
    >>> result = simulate(chain, jax.random.key(0), num_seeds=4, num_generations=10)
    >>> dict(result.log_total_variance.sizes)
    {'seed': 4, 'generation': 11}
    """
    check_kind("chain", chain, Chain, "make it with build_chain(model, regime, real, num_samples)")
    check_key(key)
    check_count("num_generations", num_generations)
    check_count("segment_length", segment_length)
    if on_segment is not None:
        check_function("on_segment", on_segment, "of a segment")
    keep = [check_count("keep", generation, minimum=0) for generation in check_list("keep", keep, "(0, 100)")]
    if keep and (named := [metric.name for metric in chain.metrics if metric.name.startswith(("params.", "params["))]):
        raise ValueError(f"`keep` names its variables params.<path>, and so is metric '{named[0]}' named; rename that.")
    if keep and chain.calls is None:
        raise ValueError(
            "`keep` names generations of one chain, and this one is of several; simulate each by itself."
        )
    beyond = [generation for generation in keep if generation > num_generations]
    if beyond:
        raise ValueError(
            f"`keep` must name generations from 0 to {num_generations}, got {beyond}; drop those."
        )
    stops = segment_stops(num_generations, segment_length, keep)
    if on_segment is None and _is_interactive():
        on_segment = _Line(num_generations).tell
    if chain.on_host:
        segments = run_host(chain, key, num_seeds, stops)
    else:
        segments = run_compiled(chain, key, num_seeds, stops, lanes=lanes, devices=devices)
    attributes = {**_told(chain, key), **({} if chain.on_host else {"lanes": lanes})}
    return _collect(chain, segments, keep, on_segment, attributes)


def _collect(
    chain: Chain,
    segments: Iterator[Segment],
    keep: Sequence[int],
    on_segment: Callable[[Segment], None] | None,
    attributes: dict[str, Any],
) -> xr.Dataset:
    """Return the records of a driver's segments as one Dataset; see `simulate`."""
    parts: list[Records] = []
    kept: dict[int, Any] = {}

    def joined() -> xr.Dataset:
        dataset = to_dataset(join_records(parts), chain.metrics, attributes)
        return dataset.merge(kept_params(kept)) if kept else dataset

    try:
        for segment in segments:
            parts.append(segment.records)
            if segment.stop in keep:
                kept[segment.stop] = segment.state()
            if on_segment is not None:
                on_segment(segment)
    except KeyboardInterrupt as error:
        result = joined() if parts else None
        if result is None or not _is_interactive():
            raise Interrupted(result) from error
        warnings.warn(f"interrupted: {result.sizes['generation']} generations were finished.", stacklevel=3)
        return result
    return joined()


class _Line:
    """A line on stderr that says how far a simulation has come, once it has taken some seconds."""

    def __init__(self, num_generations: int) -> None:
        self.last, self.begun, self.told = num_generations, time.monotonic(), 0.0

    def tell(self, segment: Segment) -> None:
        """Write the line anew, at most twice a second; behind the last generation it ends."""
        now = time.monotonic()
        if segment.stop == 0:  # what follows is compiled, and its pace is another
            self.begun = now
        is_last, is_shown = segment.stop >= self.last, self.told > 0
        if now - self.begun < _QUIET or (now - self.told < _LEAST and not is_last) or (is_last and not is_shown):
            return
        self.told = now
        left = (now - self.begun) / segment.stop * (self.last - segment.stop)
        line = f"generation {segment.stop:,} of {self.last:,}, {int(left) // 60}:{int(left) % 60:02d} left"
        sys.stderr.write(f"\r{line:<60}" + ("\n" if is_last else ""))
        sys.stderr.flush()


def _is_interactive() -> bool:
    return hasattr(sys, "ps1") or "ipykernel" in sys.modules


def _told(chain: Chain, key: Key) -> dict[str, Any]:
    """Return what ran, as attributes that netCDF holds."""
    data = " ".join(str(int(word)) for word in np.ravel(jax.random.key_data(key)))
    return {
        "chain": repr(chain),
        "key": f"{jax.random.key_impl(key)} {data}",
        "x64": int(jax.config.read("jax_enable_x64")),
        "versions": ", ".join(f"{name} {version(name)}" for name in ("collapse-jax", "jax", "numpy")),
    }
