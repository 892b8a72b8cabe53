"""Which columns of a table are labels of components: a metric of several numbers has a row for each of them.

    rows of one seed and generation differ in   component, axis, ...   which take the same labels everywhere
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from collapse_jax.records.cells import Table, to_numbers

_OURS = ("component", "axis", "other", "band", "class", "context", "word", "direction", "judge", "order", "arm")
_LONG = ("value", "values", "score", "result")  # what a table of one number a row calls it
_FLAGS = {"true", "false"}


class Dims(NamedTuple):
    """Columns that label components.

    Attributes:
        names: of the columns.
        labels: those that each takes, in order.
        places: which of them each row has, shape [num_rows] for each.
    """

    names: tuple[str, ...]
    labels: tuple[np.ndarray, ...]
    places: tuple[np.ndarray, ...]


def find_dims(
    table: Table, cell: np.ndarray, names: Sequence[str], has_seeds: bool, where: Callable[[int], str]
) -> Dims:
    """Return the columns by which rows of one seed and generation differ; none where there is one row of each.

    Args:
        table: of cells.
        cell: which pair of seed and generation each row is of, shape [num_rows].
        names: of columns beside these two.
        has_seeds: whether there is a column of seeds.
        where: says of which seed and generation a row is.

    Raises:
        ValueError: a row stands there twice; the sentence names both lines.
    """
    chosen: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    key, num_cells = cell, len(np.unique(cell))
    for name in table.dims or names:
        if not table.dims and len(np.unique(key)) == len(key):
            break
        coded = _codes(table, name)
        if coded is None or (not table.dims and not _is_regular(cell, num_cells, *coded)):
            continue
        finer = np.unique(key, return_inverse=True)[1] * len(coded[1]) + coded[0]
        if table.dims or len(np.unique(finer)) > len(np.unique(key)):
            chosen[name], key = coded, finer
    again = pd.Series(key).duplicated().to_numpy()
    if again.any():
        row = int(np.argmax(again))
        first = int(np.argmax(key == key[row]))
        told = "".join(f", {name} {labels[index[row]]}" for name, (index, labels) in chosen.items())
        more = "" if has_seeds else ", or add a column `seed` if these are several runs"
        raise ValueError(
            f"{table.place(row)} repeats {where(row)}{told}, of {table.word} {table.lines[first]}; keep one{more}."
        )
    foreign = [name for name in chosen if name.rstrip("_0123456789") not in _OURS]
    if not has_seeds and not table.dims and foreign and chosen[foreign[0]][1].dtype != object:
        raise ValueError(
            f"{table.source} has no column 'seed', and several rows for each generation; if '{foreign[0]}' says "
            "which run a row is of, name it 'seed'."
        )
    return Dims(
        tuple(chosen), tuple(labels for _, labels in chosen.values()), tuple(index for index, _ in chosen.values())
    )


def _codes(table: Table, name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return (which label each row has, the labels), or None where a column holds no labels."""
    parts = table.columns[name]
    if any(part.dtype == bool for part in parts):
        return None
    if any(part.dtype == object for part in parts):
        cells = np.concatenate([part.astype(object) for part in parts])
        if not all(isinstance(cell, str) and cell.strip() and cell.strip().lower() not in _FLAGS for cell in cells):
            return None
        column = to_numbers(parts, commas=False)
        if column.num_odd < len(cells):
            return None
        index, labels = pd.factorize(pd.Series(cells.astype(str)).str.strip().to_numpy(object))
        return index, np.asarray(labels, object)
    labels, index = np.unique(np.concatenate(parts), return_inverse=True)
    if np.isnan(labels.astype(float)).any():
        return None
    return index, labels.astype(np.int64) if np.array_equal(labels, np.floor(labels)) else labels


def _is_regular(cell: np.ndarray, num_cells: int, index: np.ndarray, labels: np.ndarray) -> bool:
    """Whether most pairs of seed and generation have all the labels; of words it is enough that they come again."""
    if len(labels) < 2:
        return False
    pairs = np.unique(cell * len(labels) + index)
    in_cell = np.unique(pairs // len(labels), return_counts=True)[1]
    if labels.dtype == object:
        in_label = np.bincount(pairs % len(labels), minlength=len(labels))
        return bool(np.any(in_cell > 1) and in_label.min() > 1)
    return bool(2 * np.sum(in_cell == len(labels)) > num_cells)


def shaped(
    values: dict[str, np.ndarray], sizes: tuple[int, ...], index: tuple[np.ndarray, ...], dims: Dims
) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Return columns [num_rows] as name -> (dims, array), without the dims along which a metric never differs.

    Args:
        values: columns.
        sizes: numbers of seeds, generations, and labels of each dim.
        index: of each row among these.
        dims: of components.
    """
    found: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    there = np.zeros(sizes, bool)
    there[index] = True
    for name, column in values.items():
        array = np.full(sizes, np.nan)
        array[index] = column
        kept, present = [], there
        for axis in reversed(range(2, len(sizes))):
            first = np.expand_dims(present.argmax(axis), axis)
            one = np.take_along_axis(array, first, axis)
            same = (array == one) | (np.isnan(array) & np.isnan(one)) | ~present
            if same.all() and not _is_long(values, dims):
                array, present = one.squeeze(axis), np.asarray(present.any(axis))
            else:
                kept.append(dims.names[axis - 2])
        found[name] = (("seed", "generation", *reversed(kept)), array)
    if _is_long(values, dims):
        (_, array), (labels,) = found[next(iter(found))], dims.labels
        return {str(label): (("seed", "generation"), array[..., place]) for place, label in enumerate(labels)}
    return found


def _is_long(values: dict[str, np.ndarray], dims: Dims) -> bool:
    """Whether a table has one number a row, and a word that says of which metric it is."""
    return len(values) == 1 and next(iter(values)).lower() in _LONG and [lab.dtype for lab in dims.labels] == [object]
