"""A study swept over axes of its configuration: a plan like any other, with checkpoints, processes and a report."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr

from collapse_jax.analysis.plots import COLOURS, band, legend, new_figure, phase_diagram
from collapse_jax.core.protocol import Chain
from collapse_jax.drivers.lanes import Lanes
from collapse_jax.drivers.results import Records
from collapse_jax.drivers.sweep import (
    MEMORY,
    GridPart,
    gather,
    join_parts,
    longest,
    slabs,
    sweep_stops,
    widened,
)
from collapse_jax.studies.axes import Grid, sweepable
from collapse_jax.studies.plan import Arm, Illustration, Plan
from collapse_jax.studies.study import Study
from collapse_jax.validation import nearest

_SHOWN = 6  # values of an axis that get a line of their own


def swept(study: Study, grid: Grid) -> Study:
    """Return a study swept over a grid: a study as well, of general figures and without claims of its own.

    Published claims are about a study's own settings.
    """
    return Study(
        study.entry,
        build=lambda config: _plan(study, grid, config),
        figures=lambda config, dataset: _pictures(_axes(study, grid, config), dataset),
    )


def _plan(study: Study, grid: Grid, config: Any) -> Plan:
    """Return the chains of the grid: an arm for each place on the axes that JAX cannot trace.

    With a model in Python among them every cell is such a place, and all run from the host, seed by seed.

    Raises:
        ValueError: an axis that the configuration does not have, or a value that the study refuses.
    """
    known = sweepable(config)
    for name in grid.axes:
        if name not in known:
            raise ValueError(f"study '{study.entry.name}' has no field '{name}' to sweep; {nearest(name, known)}")
    found = slabs(lambda **cell: _chain(study, config, cell), _axes(study, grid, config), config.seeds)
    stops = sweep_stops(config.generations, grid.record_every)
    if any(slab.chain.on_host for slab in found):
        return _on_host(found, config, grid.record_every)
    num_lanes = found[0].num_cells * config.seeds
    length = longest(stops)
    lanes = Lanes(
        found[0].chain, num_lanes, record_every=grid.record_every, chain_of=found[0].chain_of, donate=True
    )
    width = widened(lanes, jax.random.key(0).dtype, length // grid.record_every, MEMORY).width
    arms = tuple(Arm(_label(slab), slab.chain, chain_of=slab.chain_of) for slab in found)

    def together(arms: Sequence[Records | None]) -> xr.Dataset:
        return _joined(found, arms, config.seeds, grid.record_every)

    return Plan(
        None, arms, length, width, num_lanes=num_lanes, record_every=grid.record_every, gather=together
    )


def _on_host(found: Sequence[GridPart], config: Any, every: int) -> Plan:
    """Return the plan of cells that run seed by seed: all generations are recorded, and every k-th is kept."""

    def together(arms: Sequence[Records | None]) -> xr.Dataset:
        kept = [arm and {name: array[:, ::every] for name, array in arm.items()} for arm in arms]
        return _joined(found, kept, config.seeds, every)

    return Plan(None, tuple(Arm(_label(slab), slab.chain) for slab in found), 1, 1, on_host=True, gather=together)


def _axes(study: Study, grid: Grid, config: Any) -> dict[str, Sequence[Any]]:
    """Return the axes, and the study's own arms as one more where it has several that are not swept."""
    axes: dict[str, Sequence[Any]] = dict(grid.axes)
    if study.entry.cell is None:
        plan = study.build(_with(config, {name: v[0] for name, v in axes.items()}))
        if len(plan.arms) > 1 and plan.dim is not None:
            axes[plan.dim] = [arm.value for arm in plan.arms]
    return axes


def _chain(study: Study, config: Any, cell: Mapping[str, Any]) -> Chain:
    fields = {field.name for field in dataclasses.fields(config)}
    one = _with(config, {name: value for name, value in cell.items() if name in fields})
    if study.cell is not None:
        return study.cell(one)
    plan = study.build(one)
    if plan.mesh is not None:
        raise ValueError("a sweep gives every process cells of its own; leave out `spread`, or run one setting.")
    arms = [arm for arm in plan.arms if cell.get(str(plan.dim), arm.value) == arm.value]
    return arms[0].chain


def _pictures(axes: Mapping[str, Sequence[Any]], dataset: xr.Dataset) -> list[Illustration]:
    """Return a phase diagram for every metric of one number, or lines where a single axis has numbers."""
    swept_dims = [str(name) for name in dataset.dims if name in axes]
    plain = {"seed", "generation", *swept_dims}
    names = [n for n, array in dataset.data_vars.items() if set(array.dims) == plain and n != "is_finite"]
    return [_picture(dataset[name].astype(float), swept_dims) for name in names]


def _with(config: Any, cell: Mapping[str, Any]) -> Any:
    """Return a configuration with a cell's values; a field of several values gets one."""
    return dataclasses.replace(
        config,
        **{name: (value,) if isinstance(getattr(config, name), tuple) else value for name, value in cell.items()},
    )


def _label(slab: GridPart) -> str:
    return ", ".join(f"{name}={value}" for name, value in slab.place.items()) or "all cells"


def _joined(
    found: Sequence[GridPart], arms: Sequence[Records | None], num_seeds: int, record_every: int
) -> xr.Dataset:
    parts = [gather(slab, records, num_seeds, record_every) for slab, records in zip(found, arms) if records]
    return join_parts(parts)


def _picture(values: xr.DataArray, axes: Sequence[str]) -> Illustration:
    """Return a phase diagram over the two longest axes of numbers, or lines over generations."""
    last = int(values["generation"][-1])
    numbers = [name for name in axes if np.issubdtype(values[name].dtype, np.number)]
    wide = sorted(numbers, key=lambda name: -values.sizes[name])[:2]
    unit = values.attrs.get("units", "1")
    label = str(values.name) if unit == "1" else f"{values.name}, {unit}"
    others = [name for name in axes if name not in wide]
    if len(wide) == 2 and all(values.sizes[name] > 2 for name in wide):
        chosen = values.isel(dict.fromkeys(others, 0))
        figure = phase_diagram(chosen.sel(generation=last).mean("seed"), wide[0], wide[1], label)
        fixed = "".join(f", {name} = {values[name].values[0]}" for name in others)
        caption = f"{values.name} at generation {last}: mean over {values.sizes['seed']} seeds{fixed}."
        return Illustration(str(values.name), caption, figure)
    figure, panels = new_figure(1, 1, width=5.5, height=3.4)
    stacked = values.stack(cell=list(axes))
    places = np.unique(np.linspace(0, stacked.sizes["cell"] - 1, _SHOWN).round().astype(int))
    for colour, place in zip(COLOURS, places):
        cell = stacked.isel(cell=place)
        place_name = ", ".join(f"{name} = {_short(cell[name].item())}" for name in axes)
        band(panels[0, 0], cell, place_name, colour)
    panels[0, 0].set(xlabel="generation", ylabel=label)
    legend(panels[0, 0])
    caption = (
        f"{values.name}: median and 90 % of {values.sizes['seed']} seeds, in {len(places)} of "
        f"{stacked.sizes['cell']} cells."
    )
    return Illustration(str(values.name), caption, figure)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
