"""Cells of somebody else's table: as numbers, where they are; as labels, which stay whole numbers.

    "1,5" -> 1.5 (where columns are not parted by commas),   "" -> NaN,   true -> 1,   seed 9007199254740993 -> itself

Nothing here knows what a column means.
"""

import contextlib
import math
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

LABELS = ("seed", "generation")
_BLOCK = 2**14  # rows that are held as text at a time
_WORDS = dict.fromkeys(("", "none", "null", "na", "n/a", "nan", "-nan", "<na>", "#n/a", "nat"), math.nan) | {
    "true": 1.0, "false": 0.0,
}  # fmt: skip
_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_LARGEST = {"seed": 2**64 - 1, "generation": 2**53}  # of a label: what NumPy holds, what steps can be counted in


class Table(NamedTuple):
    """A table as it was found.

    Attributes:
        source: what it is called in sentences: a path, or "the frame".
        columns: name -> parts one below the other, each numbers [rows] or, where some cell is none, objects [rows].
        lines: the line of the file, or the number of the row, where each row ends; shape [num_rows].
        word: "line" or "row": what `lines` counts.
        points: name -> index of the first number with a decimal point, where commas might stand for them.
        dims: names of columns that are known to be labels beside seed and generation.
        remarks: sentences on what was left out.
    """

    source: str
    columns: dict[str, list[np.ndarray]]
    lines: np.ndarray
    word: str = "line"
    points: Mapping[str, int] | None = None
    dims: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def place(self, row: int) -> str:
        """Return where a row is, for a sentence."""
        return f"{self.word} {self.lines[row]} of {self.source}"


class Numbers(NamedTuple):
    """A column as numbers.

    Attributes:
        values: shape [num_rows]; NaN where a cell is empty or no number.
        odd: index and cell of the first that is no number.
        num_odd: how many there are.
        comma: index and cell of the first with a decimal comma.
        point: index of the first with a decimal point, among parts of objects.
    """

    values: np.ndarray
    odd: tuple[int, Any] | None
    num_odd: int
    comma: tuple[int, Any] | None
    point: int | None


class Builder:
    """Columns that grow by rows; a block of rows at a time becomes arrays."""

    def __init__(self, commas: bool = False) -> None:
        self.labels: set[Any] = set(LABELS)  # names or places of columns of whole numbers
        self.columns: dict[Any, list[np.ndarray]] = {}
        self.lines: list[int] = []
        self.points: dict[Any, int] | None = {} if commas else None
        self._rows: list[Any] = []
        self._num = 0  # rows that are arrays

    def add(self, line: int, row: Sequence[Any] | Mapping[str, Any]) -> None:
        """Add a row of cells, by place or by name."""
        self.lines.append(line)
        self._rows.append(row)
        if len(self._rows) == _BLOCK:
            self.flush()

    def flush(self) -> None:
        """Make arrays of the rows that are left."""
        if not self._rows:
            return
        if isinstance(self._rows[0], Mapping):
            names = dict.fromkeys([*self.columns, *(name for row in self._rows for name in row)])
            blocks: Iterable[tuple[Any, Sequence[Any]]] = [
                (name, [row.get(name) for row in self._rows]) for name in names
            ]
        else:
            blocks = enumerate(zip(*self._rows))
        for name, cells in blocks:
            if name not in self.columns and self._num:  # a metric that is logged later on
                self.columns[name] = [np.full(self._num, None) if name in self.labels else np.full(self._num, np.nan)]
            part = _array(cells, name in self.labels)
            if self.points is not None and part.dtype != object and name not in self.points:
                first = next((index for index, cell in enumerate(cells) if "." in str(cell)), None)
                if first is not None:
                    self.points[name] = self._num + first
            self.columns.setdefault(name, []).append(part)
        self._num += len(self._rows)
        self._rows = []


def _array(cells: Sequence[Any], whole: bool) -> np.ndarray:
    """Return cells as integers or floats where NumPy knows all of them, else as they are."""
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        kinds = {float, bool} if whole else set()
        if not kinds & set(map(type, cells)):  # what is a float may have been rounded already
            found = np.array(cells, np.int64 if whole else np.float64)
            if found.ndim == 1 and not (whole and found.min() < 0):  # not of lists
                return found
    return np.fromiter(cells, object, len(cells))


def to_numbers(parts: Sequence[np.ndarray], commas: bool) -> Numbers:
    """Return a column as numbers.

    Args:
        parts: of a `Table`.
        commas: whether a comma may be a decimal point.

    >>> to_numbers([np.array(["1,5", " NA", "x"], object)], commas=True)
    Numbers(values=array([1.5, nan, nan]), odd=(2, 'x'), num_odd=1, comma=(0, '1,5'), point=None)
    """
    found, begin, num_odd = [], 0, 0
    odd: tuple[int, Any] | None = None
    comma: tuple[int, Any] | None = None
    point: int | None = None
    for part in parts:
        if part.dtype != object:
            found.append(part.astype(np.float64))
        else:
            values = np.full(len(part), np.nan)
            for index, cell in enumerate(part):
                number = _number(cell)
                if number is None and commas and isinstance(cell, str) and _COMMA.fullmatch(cell.strip()):
                    number, comma = float(cell.replace(",", ".")), comma or (begin + index, cell)
                elif commas and point is None and number is not None and "." in str(cell):
                    point = begin + index
                if number is None:
                    num_odd, odd = num_odd + 1, odd or (begin + index, cell)
                else:
                    values[index] = number
            found.append(values)
        begin += len(part)
    return Numbers(np.concatenate(found) if found else np.zeros(0), odd, num_odd, comma, point)


def _number(cell: Any) -> float | None:
    """Return a cell as a number, NaN where it is empty, a flag as 0 or 1; None where it is no number."""
    if isinstance(cell, str | bool | np.bool_) or cell is None:
        word = str(cell).strip().lower()
        if word in _WORDS:
            return _WORDS[word]
    elif type(cell).__name__ in ("NAType", "NaTType"):
        return math.nan
    with contextlib.suppress(ValueError, OverflowError):
        if isinstance(cell, str) and "_" not in cell:
            return float(cell)
        if isinstance(cell, int | float | np.integer | np.floating):
            return float(cell)
    return None


def to_labels(table: Table, name: str, kind: str) -> np.ndarray:
    """Return a column of whole numbers from 0 on, exactly.

    Args:
        table: which has it.
        name: of the column.
        kind: "seed" or "generation".

    Raises:
        ValueError: a cell is something else; the sentence names its line.
    """
    begin, found = 0, []
    for part in table.columns[name]:
        if part.dtype.kind in "iu" and len(part) and part.min() >= 0 and part.max() <= _LARGEST[kind]:
            found.append(part)
        else:
            whole = [_whole(cell, kind, table, begin + index) for index, cell in enumerate(part.tolist())]
            found.append(np.array(whole, np.uint64 if max(whole, default=0) >= 2**63 else np.int64))
        begin += len(part)
    if any(part.dtype == np.uint64 for part in found):
        found = [part.astype(np.uint64) for part in found]
    return np.concatenate(found) if found else np.zeros(0, np.int64)


def _whole(cell: Any, kind: str, table: Table, row: int) -> int:
    with contextlib.suppress(ValueError):
        if isinstance(cell, str | int | np.integer) and not isinstance(cell, bool):
            exact = int(cell)
            if 0 <= exact <= _LARGEST[kind] and "_" not in str(cell):
                return exact
    number = _number(cell)
    remedy = "number the seeds 0, 1, 2 and so on" if kind == "seed" else "number the generations 0, 1, 2 and so on"
    told = f"{table.place(row)}: `{kind}` is {reprlib.repr(cell)}, not a"
    if number is None:
        raise ValueError(f"{told} number; {remedy}.")
    if not (0 <= number < 2**53 and number == int(number)):
        raise ValueError(f"{told} whole number from 0 on; {remedy}.")
    return int(number)
