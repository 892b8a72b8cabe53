"""Records become labelled arrays: dims seed and generation, units in attributes, netCDF on disk."""

import io
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import h5py
import jax
import numpy as np
import xarray as xr

from collapse_jax.core.protocol import Metric
from collapse_jax.files.reading import check_unpacked, chunks, size_of
from collapse_jax.types import PyTree
from collapse_jax.validation import check_alike

Records = dict[str, np.ndarray]

_MOST_PACKED = 1032  # times: what gzip makes of one value, and chains that have collapsed hold little else
_MARK = b"\ncollapse_jax crc32 "  # begins what follows HDF5's bytes, which HDF5 itself passes over
_TAIL = len(_MARK) + 9


def join_records(parts: Sequence[Records]) -> Records:
    """Return records [num_seeds, num_generations, ...] of consecutive segments as one.

    Raises:
        ValueError: a segment has other names or shapes than the first: what ran was changed on the way.
    """
    first, *others = ({name: array[:, 0] for name, array in part.items()} for part in parts)
    for other in others:
        check_alike(first, other, "the first segment", "a later one", "record the same names and shapes throughout.")
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}


def to_dataset(
    records: Records, metrics: Iterable[Metric], attributes: dict[str, Any] | None = None
) -> xr.Dataset:
    """Return records of generations 0, 1, ... as a Dataset.

    Args:
        records: arrays [num_seeds, num_generations + 1, ...].
        metrics: names, dims and units; other fields (the fit's info) get dims made from their names.
        attributes: of the Dataset.

    Returns:
        Variables with dims (seed, generation, *dims) and an attribute `units`.
    """
    described = {metric.name: metric for metric in metrics}
    variables = {}
    for name, values in records.items():
        metric = described.get(name)
        dims = metric.dims if metric else tuple(f"{name}_{axis}" for axis in range(values.ndim - 2))
        variables[name] = (("seed", "generation", *dims), values, {"units": metric.unit if metric else "1"})
    num_seeds, num_generations = next(iter(records.values())).shape[:2]
    coordinates = {"seed": np.arange(num_seeds), "generation": np.arange(num_generations)}
    return xr.Dataset(variables, coordinates, attributes or {})


def kept_params(states: dict[int, PyTree]) -> xr.Dataset:
    """Return the params of chosen generations as variables `params.<path>`, dims (seed, kept_generation, ...)."""
    generations = sorted(states)
    leaves = {
        generation: jax.tree.flatten_with_path(states[generation].params)[0] for generation in generations
    }
    variables = {}
    for position, (path, _) in enumerate(leaves[generations[0]]):
        name = "params" + jax.tree_util.keystr(path)
        shapes = {np.shape(leaves[generation][position][1])[1:] for generation in generations}
        if len(shapes) > 1:  # a model in Python may keep its rows, and their number may grow
            raise ValueError(
                f"`keep` names generations whose {name} have the shapes {sorted(shapes)}; keep one generation."
            )
        values = np.stack([leaves[generation][position][1] for generation in generations], axis=1)
        variables[name] = (
            ("seed", "kept_generation", *(f"{name}_{axis}" for axis in range(values.ndim - 2))),
            values,
        )
    return xr.Dataset(variables, {"kept_generation": generations})


def as_stored(dataset: xr.Dataset) -> xr.Dataset:
    """Return a Dataset as it is read back: flags become bytes, which netCDF knows."""
    flags = {name: array.astype(np.int8) for name, array in dataset.data_vars.items() if array.dtype == bool}
    return dataset.assign(flags)


def write_netcdf(dataset: xr.Dataset, path: Path) -> None:
    """Write a Dataset, compressed, as `as_stored` returns it, with a check sum behind it."""
    stored = as_stored(dataset)
    compressed = {name: {"compression": "gzip", "compression_opts": 4} for name in stored.data_vars}
    content = io.BytesIO()  # HDF5 that fills a disk ends the process by a segmentation fault
    stored.to_netcdf(content, engine="h5netcdf", encoding=compressed)
    content.seek(0, io.SEEK_END)
    content.write(_tail(zlib.crc32(content.getbuffer())))
    path.write_bytes(content.getbuffer())


def _tail(found: int) -> bytes:
    return _MARK + b"%08x\n" % found


def _is_whole(path: Path) -> bool:
    """False where a file has a check sum that is not its own: HDF5 may never come back from one changed bit."""
    found, held = 0, b""
    for chunk in chunks(path):
        held += chunk
        found, held = zlib.crc32(held[:-_TAIL], found), held[-_TAIL:]
    return not held.startswith(_MARK) or held == _tail(found)


def _check_sizes(path: Path) -> None:
    """Refuse arrays that would fill memory: xarray reads coordinates as soon as it opens a file."""
    size, found = size_of(path), []
    with h5py.File(path) as file:  # links to other files are not followed
        file.visititems(lambda _, item: found.append(item.nbytes if isinstance(item, h5py.Dataset) else 0))
    check_unpacked(path, size, sum(found), _MOST_PACKED)


def read_netcdf(path: Path) -> xr.Dataset:
    """Return a Dataset, read into memory.

    Raises:
        ValueError: the file is missing, not netCDF, or not as `write_netcdf` wrote it. One that another program wrote
            has no check sum, and is taken as it is.
    """
    try:
        is_whole = _is_whole(path)
        if is_whole:
            _check_sizes(path)
            # numbers as they were written, whatever their unit says
            with xr.open_dataset(path, engine="h5netcdf", decode_times=False, decode_timedelta=False) as stored:
                check_unpacked(path, path.stat().st_size, stored.nbytes, _MOST_PACKED)
                dataset = stored.load()
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(f"{path} cannot be read as netCDF ({error}); name the folder of a run.") from error
    if not is_whole:
        raise ValueError(
            f"{path} is not as it was written (its check sum differs); take it again from where the run was made, or "
            "run it again."
        )
    return dataset
