"""Runs found on disk, and what they recorded."""

import json
from pathlib import Path

import xarray as xr

from collapse_jax.drivers.results import read_netcdf
from collapse_jax.runs.directory import RunDirectory
from collapse_jax.runs.manifest import plain, run_folders


def find_runs(path: Path) -> list[RunDirectory]:
    """Return the runs in a directory: itself, or those directly below it.

    Raises:
        ValueError: there is none.
    """
    return [RunDirectory(place) for place in run_folders(path)]


def load(path: Path | str) -> xr.Dataset:
    """Return what a run recorded, from its directory.

    Args:
        path: the --out of `run` or `sweep`, or a run below that of `reproduce`.

    Returns:
        A Dataset with dims seed and generation, units as attributes; its own attributes say study, preset, settings,
        versions and status.

    Raises:
        ValueError: there is no run, there are several, or its records have not been put together yet.
    """
    path = Path(path)
    folders = run_folders(path)
    if len(folders) > 1:
        names = ", ".join(str(folder) for folder in folders[:8])
        raise ValueError(f"{path} holds {len(folders)} runs; load one of them: {names}.")
    run = RunDirectory(folders[0])
    told = run.description
    if not (run.path / "trajectory.nc").is_file():
        raise ValueError(
            f"{run.path} is under way and its records are in pieces; collapse-jax report {run.path} puts together what "
            "is there."
        )
    attributes = {name: told.get(name, "") for name in ("study", "preset", "status", "command", "device", "started")}
    nested = {name: json.dumps(plain(told.get(name, {}))) for name in ("config", "versions", "settings")}
    return read_netcdf(run.path / "trajectory.nc").assign_attrs({**attributes, **nested})
