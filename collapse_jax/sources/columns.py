"""A random subset of the rows of tables that come in chunks, and what their columns hold as a whole.

    chunk -> which rows stay; which kinds of cells each column has had so far -> numbers, or text, never a bit of both
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from collapse_jax.sources.reservoir import Reservoir
from collapse_jax.validation import shown

_MOST_COLUMNS = 10_000


class Column:
    """What a column has held so far."""

    def __init__(self) -> None:
        self.kinds: set[str] = set()  # of "numbers", "truth values", "text"
        self.odd: tuple[object, Callable[[int], str], int] | None = None  # the first cell that is no number, and where

    @property
    def is_mixed(self) -> bool:
        """True where no one type fits."""
        return len(self.kinds) > 1

    @property
    def is_text(self) -> bool:
        """True where cells are categories or texts."""
        return bool(self.kinds - {"numbers"})

    def note(self, name: str) -> str:
        """Return a sentence on a column of several kinds."""
        kinds = " and ".join(sorted(self.kinds))
        if self.odd is None:
            return f"Column '{name}' holds {kinds}; it is taken as text."
        cell, place, row = self.odd
        return f"Column '{name}' holds {kinds}, first {shown(cell)} in {place(row)}; it is taken as text."


class Rows:
    """A uniformly random subset of rows, at most `size`.

    Args:
        size: of the subset.
        seed: of the draw.
        written: cells are as they stand in a text, where "12" is a number.
    """

    def __init__(self, size: int, seed: int, *, written: bool) -> None:
        self._reservoir = Reservoir(size, seed)
        self._written = written
        self._kept: dict[str, np.ndarray] = {}
        self.columns: dict[str, Column] = {}

    @property
    def num_rows(self) -> int:
        """How many have gone by."""
        return self._reservoir.num_rows

    def offer(self, num: int) -> tuple[np.ndarray, np.ndarray]:
        """Return which of the kept rows stay, and which of the next `num` come."""
        return self._reservoir.offer(num)

    def add(self, chunk: pd.DataFrame, place: Callable[[int], str]) -> None:
        """Look at a chunk's cells, and keep some of its rows.

        Args:
            chunk: with names that are strings.
            place: where a row of it is found, for a sentence.
        """
        for name in chunk.columns:
            self._look(self.columns.setdefault(name, Column()), chunk[name], place)
        if len(self.columns) > _MOST_COLUMNS:
            raise ValueError(f"there are more than {_MOST_COLUMNS:,} columns in {place(0)}; write rows of one kind.")
        stay, come = self.offer(len(chunk))
        if len(come):
            self.keep(stay, chunk.iloc[come])

    def keep(self, stay: np.ndarray, rows: pd.DataFrame) -> None:
        """Put chosen rows behind those that stay."""
        if not self._kept:
            self._kept = {name: rows[name].to_numpy() for name in rows.columns}
            return
        gone, absent = np.full(len(stay), np.nan), np.full(len(rows), np.nan)
        self._kept = {
            name: np.concatenate([
                self._kept[name][stay] if name in self._kept else gone,
                rows[name].to_numpy() if name in rows.columns else absent,
            ])
            for name in dict.fromkeys([*self._kept, *rows.columns])
        }  # fmt: skip

    def frame(self) -> tuple[pd.DataFrame, list[str]]:
        """Return the subset, numbers as numbers and all else as strings with NaN where missing, and notes."""
        cells = {
            name: _as_text(cells) if self.columns[name].is_text else _as_numbers(cells)
            for name, cells in self._kept.items()
        }
        notes = [column.note(name) for name, column in self.columns.items() if column.is_mixed]
        return pd.DataFrame(cells), notes

    def _look(self, column: Column, cells: pd.Series, place: Callable[[int], str]) -> None:
        missing = cells.isna()
        if missing.all():
            return
        if pd.api.types.is_bool_dtype(cells.dtype):
            column.kinds.add("truth values")
            column.odd = column.odd or (cells.iloc[0], place, 0)
        elif pd.api.types.is_numeric_dtype(cells.dtype):
            column.kinds.add("numbers")
        elif not column.kinds >= {"numbers", "text"}:
            there = cells[~missing].to_numpy(object)
            kinds = _kinds(there, self._written)
            column.kinds |= set(kinds)
            if column.odd is None and set(kinds) != {"numbers"}:
                first = next(index for index, kind in enumerate(kinds) if kind != "numbers")
                column.odd = (there[first], place, int(np.flatnonzero(~missing.to_numpy())[first]))


def _kinds(cells: np.ndarray, written: bool) -> list[str]:
    """Return what each of some objects is."""
    told = {str: "text", bool: "truth values", np.bool_: "truth values"}
    kinds = [told.get(type(cell), "numbers") for cell in cells]
    if written and "text" in kinds:
        distinct = pd.unique(np.array([cell for cell, kind in zip(cells, kinds) if kind == "text"], object))
        parsed = pd.to_numeric(pd.Series(distinct, dtype=object), errors="coerce").notna()
        numbers = {cell for cell, is_number in zip(distinct, parsed) if is_number}
        kinds = ["numbers" if kind == "text" and cell in numbers else kind for cell, kind in zip(cells, kinds)]
    return kinds


def _as_text(cells: np.ndarray) -> np.ndarray:
    missing = pd.isna(cells)
    text = np.array([str(cell) for cell in cells.tolist()], object)
    text[missing] = np.nan
    return text


def _as_numbers(cells: np.ndarray) -> Any:
    if cells.dtype != object:
        return cells
    if any(isinstance(cell, float) or cell is None for cell in cells):
        return np.array([np.nan if cell is None else float(cell) for cell in cells])
    try:
        return cells.astype(np.int64)
    except OverflowError:
        return cells.astype(float)
