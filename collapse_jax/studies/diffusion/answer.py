"""The diffusion study in a sentence, from its own records; the preset of its publication."""

import numpy as np
import xarray as xr

from collapse_jax.analysis.estimands import last_reached
from collapse_jax.studies.diffusion import protocol
from collapse_jax.studies.diffusion.claims import LEADING
from collapse_jax.studies.diffusion.config import DiffusionConfig
from collapse_jax.studies.published import data_read

PUBLISHED = {protocol.REPOSITORY: "paper"}
_MOST = 3  # arms that are told of


def answer(config: DiffusionConfig, dataset: xr.Dataset) -> str:
    """Return what share of the leading components' variance nets have kept beside their nulls, and how images fare."""
    if "log_kept" not in dataset:
        return "no net has drawn yet"
    names = [str(name) for name in dataset["arm"].values]
    told = [_of_arm(name, dataset.sel(arm=name)) for name in names[:_MOST]]
    if (more := len(names) - _MOST) > 0:
        told.append(f"{more} more arm{'s' if more > 1 else ''}")
    first = dataset.sel(arm=names[0])
    last = last_reached(first["frechet"])
    floor = (data_read(dataset) or {}).get("real_frechet")
    if last >= 0:
        ends = [float(first["frechet"].sel(generation=g).mean("seed")) for g in (0, last)]
        beside = "" if floor is None else f" (real against real {floor:.2g})"
        told.append(f"Frechet distance of {names[0]} {ends[0]:.3g} to {ends[1]:.3g}{beside}")
    return f"variance kept along the ten leading components, nets and (solver alone): {'; '.join(told)}"


def _of_arm(name: str, arm: xr.Dataset) -> str:
    last = last_reached(arm["log_kept"].isel(component=0))
    if last < 0:
        return f"{name} has no finite one"
    kept, null = (
        np.exp(float(arm[kind].sel(generation=last).isel(component=LEADING).mean()))
        if kind in arm
        else np.nan
        for kind in ("log_kept", "null_log_kept")
    )
    return f"{name} {kept:.2f} ({null:.2f}) by generation {last}"
