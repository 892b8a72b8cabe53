"""Tables and Datasets of somebody else as records: dims seed and generation, and those of metrics with several numbers.

    rows (seed, generation, [component, ...], metrics) -> metric[seed, generation, ...]

`to_dataframe` repeats a number for every component of the others; what is the same in all is one number again.
"""

import difflib
import re
import reprlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from collapse_jax.records.cells import LABELS, Table, to_labels, to_numbers
from collapse_jax.records.dims import find_dims, shaped
from collapse_jax.validation import nearest

_INDEX = re.compile(r"(Unnamed: \d+|index|level_\d+)")  # what pandas calls an index that had no name


class Keys(NamedTuple):
    """Where each row of a table stands.

    Attributes:
        seeds: those there are, in order.
        generations: those there are, in order.
        seed: index among the seeds, shape [num_rows].
        generation: index among the generations, shape [num_rows].
        has_seeds: whether there is a column of seeds.
    """

    seeds: np.ndarray
    generations: np.ndarray
    seed: np.ndarray
    generation: np.ndarray
    has_seeds: bool

    @property
    def cell(self) -> np.ndarray:
        """Which pair of seed and generation each row is of."""
        return self.seed * len(self.generations) + self.generation

    def where(self, row: int) -> str:
        """Return of which seed and generation a row is."""
        generation = f"generation {self.generations[self.generation[row]]}"
        return f"seed {self.seeds[self.seed[row]]}, {generation}" if self.has_seeds else generation


def table_of_frame(frame: pd.DataFrame, source: str = "the frame") -> Table:
    """Return a DataFrame as a table: named levels of its index are columns, too, an index without a name is none.

    Raises:
        ValueError: columns of several levels without seed or generation, or an index without names that are needed.
    """
    if isinstance(frame.columns, pd.MultiIndex):
        inner = [level for level in frame.columns.names if str(level).lower() in LABELS]
        if not inner:
            raise ValueError(
                f"{source} has columns of {frame.columns.nlevels} levels; give them one, or name a level 'seed'."
            )
        frame = frame.stack(inner, future_stack=True)
    named = [name for name in frame.index.names if name is not None]
    if isinstance(frame.index, pd.MultiIndex) and len(named) < frame.index.nlevels:
        raise ValueError(f"{source} has an index whose levels have no names; set frame.index.names.")
    dims = tuple(str(name) for name in named if str(name).lower() not in LABELS)
    flat = frame.reset_index() if named else frame
    names = [str(name) for name in flat.columns]
    if odd := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{source} has two columns named '{odd[0]}'; rename one.")
    columns = {name: [_part(flat.iloc[:, place])] for place, name in enumerate(names)}
    dims = dims if isinstance(frame.index, pd.MultiIndex) else ()
    return Table(source, columns, np.arange(1, len(flat) + 1), "row", dims=dims)


def _part(column: pd.Series) -> np.ndarray:
    kind = column.dtype
    if isinstance(kind, np.dtype) and kind.kind in "biuf":
        return column.to_numpy()
    if pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind):
        return column.to_numpy(object) if column.isna().any() else column.to_numpy()
    return column.to_numpy(object)


def dataset_of_table(table: Table, chosen: Sequence[str] = (), most_metrics: int = 2000, most_cells: int = 2**27) -> (
    xr.Dataset
):  # fmt: skip
    """Return a table as a Dataset with dims seed and generation, and `remarks` on what was left out.

    Args:
        table: one row for each generation of each seed, or for each component of each of them.
        chosen: names of metrics; none: every column of numbers.
        most_metrics: as many may be read.
        most_cells: as many numbers may come out.

    Raises:
        ValueError: the table does not hold such records; the sentence names the line.
    """
    path = table.source
    names = {kind: _find(kind, table.columns) for kind in LABELS}
    if names["generation"] is None:
        raise ValueError(f"{path} has no column 'generation'; {_near('generation', table.columns)}")
    if not len(table.lines):
        raise ValueError(f"{path} holds no row beside its header; write one for each generation of each seed.")
    remarks = list(table.remarks)
    found = [name for name in table.columns if name not in names.values()]
    metrics = [name for name in found if not _is_index(name, table, remarks)]
    _check_names(path, metrics, chosen, most_metrics)
    keys = _keys(table, names)
    dims = find_dims(table, keys.cell, metrics, keys.has_seeds, keys.where)
    kept = [name for name in metrics if name not in dims.names and (not chosen or name in chosen)]
    values = _values(table, kept, bool(chosen), remarks)
    if not values:
        raise ValueError(f"{path} has no metric beside seed and generation; add a column for each.")
    _check_generations(table, keys)
    sizes = (len(keys.seeds), len(keys.generations), *map(len, dims.labels))
    if len(values) * np.prod(sizes, dtype=float) > most_cells:
        raise ValueError(
            f"{path} would be a table of {len(values):,} metrics, {sizes[0]:,} seeds and {sizes[1]:,} generations; "
            "give fewer at a time."
        )
    axes = {"seed": keys.seeds, "generation": keys.generations}
    if dims.names:
        variables = shaped(values, sizes, (keys.seed, keys.generation, *dims.places), dims)
        used = {dim for of_one, _ in variables.values() for dim in of_one}
        axes |= {name: labels for name, labels in zip(dims.names, dims.labels) if name in used}
    else:
        variables = {}
        for name, column in values.items():
            array = np.full(sizes, np.nan)
            array[keys.seed, keys.generation] = column
            variables[name] = (("seed", "generation"), array)
    return xr.Dataset(variables, axes, {"source": _short(path), "remarks": remarks})


def dataset_of_dataset(
    found: xr.Dataset | xr.DataArray, source: str, chosen: Sequence[str] = (), most_metrics: int = 2000
) -> xr.Dataset:
    """Return a Dataset (of `simulate`, or of a netCDF file) as records: what has a dimension `generation`.

    Raises:
        ValueError: nothing has, or generations are no whole numbers in equal steps.
    """
    dataset = found.to_dataset(name=found.name or "value") if isinstance(found, xr.DataArray) else found
    if "generation" not in dataset.dims:
        raise ValueError(
            f"{source} has no dimension 'generation'; {_near('generation', map(str, dataset.dims))}"
        )
    has_seeds = any("seed" in array.dims and "generation" in array.dims for array in dataset.data_vars.values())
    kept, left = {}, []
    for name, array in dataset.data_vars.items():
        told = "generation" in array.dims and ("seed" in array.dims or not has_seeds)
        if told and array.dtype.kind in "biuf" and array.size:
            kept[str(name)] = array if has_seeds else array.expand_dims("seed")
        else:
            left.append(str(name))
    _check_names(source, [*kept], chosen, most_metrics)
    kept = {name: array for name, array in kept.items() if not chosen or name in chosen}
    if not kept:
        raise ValueError(f"{source} has no numbers with a dimension 'generation'; add a variable for each metric.")
    remarks = []
    if left and not chosen:
        remarks.append(f"Without numbers for each generation of each seed, and left out: {_listed(left)}.")
    result = xr.Dataset({name: array.transpose("seed", "generation", ...) for name, array in kept.items()})
    columns = {
        kind: [np.asarray(result[kind].values if kind in result.coords else np.arange(result.sizes[kind]))]
        for kind in LABELS
    }
    rows = {kind: np.arange(1, result.sizes[kind] + 1) for kind in LABELS}
    seeds, steps = (to_labels(Table(source, columns, rows[kind], "place"), kind, kind) for kind in LABELS)
    for kind, labels in (("seed", seeds), ("generation", steps)):
        if len(np.unique(labels)) < len(labels):
            raise ValueError(f"{source} has a {kind} twice; number them 0, 1, 2 and so on.")
    result = result.assign_coords(seed=seeds, generation=steps).sortby(["seed", "generation"])
    order = np.unique(steps)
    _check_steps(source, order, "")
    return result.assign_attrs(source=_short(source), remarks=remarks)


def _find(kind: str, names: Iterable[str]) -> str | None:
    """Return the column that is called so, in whatever case."""
    names = list(names)
    if kind in names:
        return kind
    alike = [name for name in names if name.strip().lower() == kind]
    return alike[0] if len(alike) == 1 else None


def _is_index(name: str, table: Table, remarks: list[str]) -> bool:
    """Whether a column is what pandas makes of an index: it has such a name and counts the rows."""
    if not _INDEX.fullmatch(name) or any(part.dtype == object for part in table.columns[name]):
        return False
    cells = np.concatenate(table.columns[name])
    if name.startswith("Unnamed") or np.array_equal(cells, np.arange(len(cells))):
        remarks.append(f"Column '{name}' numbers the rows and was left out.")
        return True
    return False


def _check_names(path: str, metrics: Sequence[str], chosen: Sequence[str], most: int) -> None:
    if any("\ud800" <= sign <= "\udfff" for sign in "".join(metrics)):
        raise ValueError(f"{path} has a column whose name holds half a sign (a lone surrogate); rename it.")
    for name in chosen:
        if name not in metrics:
            raise ValueError(f"{path} has no metric '{name}'; {_near(name, metrics)}")
    if len(chosen or metrics) > most:
        raise ValueError(
            f"{path} has {len(metrics):,} metrics, and at most {most} are judged; choose some: --metrics a,b."
        )


def _keys(table: Table, names: dict[str, str | None]) -> Keys:
    labels = {}
    for kind, name in names.items():
        renamed = table if name is None else table._replace(columns={kind: table.columns[name]})
        labels[kind] = np.zeros(len(table.lines), np.int64) if name is None else to_labels(renamed, kind, kind)
    (seeds, seed), (generations, generation) = (np.unique(labels[kind], return_inverse=True) for kind in LABELS)
    return Keys(seeds, generations, seed, generation, names["seed"] is not None)


def _check_steps(source: str, generations: np.ndarray, told: str) -> None:
    """Return generations in equal steps, however far the last one is; `told` says where the one after a gap is."""
    steps = np.diff(generations)
    if not len(steps):
        raise ValueError(
            f"{source} holds generation {generations[0]} alone; at least two are needed to see a change."
        )
    first, step = int(generations[0]), int(steps.min())
    if np.any(steps > step):
        gap = int(generations[np.argmax(steps > step)]) + step
        raise ValueError(
            f"{source} lacks generation {gap}; generations must be {first}, {first + step}, {first + 2 * step} and so "
            f"on, in equal steps{told}."
        )


def _check_generations(table: Table, keys: Keys) -> None:
    """Refuse generations in unequal steps, and a seed that lacks one before its last."""
    steps = np.diff(keys.generations)
    after = int(np.argmax(steps > steps.min())) + 1 if len(steps) else 0  # the first behind a gap, if there is one
    row = int(np.argmax(keys.generation == after))
    _check_steps(table.source, keys.generations, f": {table.place(row)} has {keys.generations[after]}")
    there = np.unique(keys.cell)
    seed, generation = np.divmod(there, len(keys.generations))
    num = np.bincount(seed, minlength=len(keys.seeds))
    last = np.zeros(len(keys.seeds), np.int64)
    np.maximum.at(last, seed, generation)
    for index in np.flatnonzero(num <= last)[:1]:
        own = generation[seed == index]
        missing = keys.generations[int(np.flatnonzero(own != np.arange(len(own)))[0])]
        raise ValueError(
            f"{table.source} lacks generation {missing} of seed {keys.seeds[index]}; a seed may only end early."
        )


def _values(table: Table, names: Sequence[str], chosen: bool, remarks: list[str]) -> dict[str, np.ndarray]:
    """Return the columns of numbers; one without any number is text and left out, unless it was asked for."""
    commas = table.points is not None
    texts: dict[str, str] = {}
    values: dict[str, np.ndarray] = {}
    told_comma: tuple[int, str, object] | None = None
    point = min((table.points or {}).get(name, len(table.lines)) for name in names) if names else 0
    for name in names:
        column = to_numbers(table.columns[name], commas)
        if column.odd is not None:
            row, cell = column.odd
            told = f"{table.place(row)}: `{name}` is {_cut(cell)}, not a number"
            if chosen or not np.isnan(column.values).all() or isinstance(cell, list | dict | int | float):
                raise ValueError(f"{told}; leave the cell empty if there is none.")
            texts[name] = told
            continue
        if column.comma and (told_comma is None or column.comma[0] < told_comma[0]):
            told_comma = column.comma[0], name, column.comma[1]
        point = min(point, len(table.lines) if column.point is None else column.point)
        values[name] = column.values
    if told_comma and point < len(table.lines):
        row, name, cell = told_comma
        raise ValueError(
            f"{table.place(row)}: `{name}` is {_cut(cell)} with a comma, and {table.place(point)} has a number with a "
            "point; write one kind."
        )
    if texts:
        if not values:
            raise ValueError(f"{next(iter(texts.values()))}; add a column of numbers for each metric.")
        remarks.append(f"Text, and left out: {_listed([*texts])}.")
    return values


def _near(name: str, options: Iterable[str]) -> str:
    """Return the remedy for a name that does not exist; of many columns the first dozen."""
    options = list(options)
    near = difflib.get_close_matches(name, options, n=1, cutoff=0.4)
    return nearest(name, list(dict.fromkeys([*near, *options[:12]])) or ["none"])


def _listed(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(f"`{name}`" for name in names[:most]) + more


def _cut(cell: object) -> str:
    return reprlib.repr(cell)


def _short(source: str) -> str:
    return Path(source).name
