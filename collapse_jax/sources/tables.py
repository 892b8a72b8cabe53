"""A random subset of the rows of tables in text files and Parquet, read a chunk at a time.

    head -> separator, names -> pandas' chunks -> rows that stay

A column that is numbers in one chunk and text in another is read once more, as text from the first line on.
"""

from collections.abc import Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import pandas as pd

from collapse_jax.files.decoding import open_text
from collapse_jax.files.separated import is_number
from collapse_jax.sources.columns import Rows
from collapse_jax.sources.layouts import UNNAMED, Layout, check_lengths, layout_of, records
from collapse_jax.sources.parquet import read_parquet

_REMEDY = "name a table"
_CELLS = 2**19  # read at once


def read_tables(paths: Sequence[Path], max_rows: int, seed: int) -> tuple[pd.DataFrame, int, list[str]]:
    """Return a random subset of the rows of tables that are parts of one, how many there are, and notes.

    Raises:
        ValueError: a file cannot be read, is no table, or has other columns than the first.
    """
    layouts = {path: layout_of(path) for path in paths if not _is_parquet(path)}
    as_text: set[str] = set()
    while True:
        rows = Rows(max_rows, seed, written=bool(layouts))
        notes: list[str] = []
        expected: list[str] | None = None
        for path in paths:
            if path in layouts:
                names = list(layouts[path].names)
                numbers = [name for name in names if is_number(name)]
                if 0 < len(numbers) < len(names):
                    notes.append(f"The first line of {path.name} is read as names, though {numbers[0]} is a number.")
                _read_text(path, layouts[path], rows, as_text)
            else:
                names, more = read_parquet(path, rows)
                notes += more
            expected = names if expected is None else expected
            if odd := next((name for name in (*expected, *names) if (name in expected) != (name in names)), None):
                lacking, having = (path, paths[0]) if odd in expected else (paths[0], path)
                raise ValueError(f"{lacking} has no column '{odd}', which is in {having}; give parts of one table.")
        several = {name for name, column in rows.columns.items() if column.is_mixed}
        if several <= as_text or not layouts:
            break
        as_text |= several
    if rows.num_rows == 0:
        raise ValueError(f"{paths[0]} holds no row; it needs one for each sample.")
    frame, mixed = rows.frame()
    empty = [name for name in frame if name.startswith(UNNAMED) and not rows.columns[name].kinds]
    frame, dropped = _without_index(frame.drop(columns=empty))
    return frame, rows.num_rows, [*dropped, *mixed, *notes]


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() == ".parquet"


def _read_text(path: Path, layout: Layout, rows: Rows, as_text: set[str]) -> None:
    """Give `rows` all those of a file."""
    chunk_size = max(1, _CELLS // len(layout.names))
    before, has_missing = rows.num_rows, False
    try:
        with open_text(path, _REMEDY) as file:
            for _ in range(layout.skipped):
                file.readline()
            chunks = pd.read_csv(
                file, sep=layout.separator, decimal=layout.decimal, header=None, names=list(layout.names),
                index_col=False, dtype={name: str for name in layout.names if name in as_text}, low_memory=False,
                skipinitialspace=True, chunksize=chunk_size,
            )  # fmt: skip
            for chunk in chunks:
                has_missing |= bool(chunk.iloc[:, -1].isna().any())
                rows.add(chunk, partial(_place, path, layout, rows.num_rows - before))
    except pd.errors.EmptyDataError:
        return
    except pd.errors.ParserError as error:
        check_lengths(path, layout)
        told = " ".join(str(error).split())[:200].rstrip(".")
        raise ValueError(f"{path} cannot be read as a table ({told}); mend it, or save it anew.") from error
    if has_missing:  # pandas fills short lines
        check_lengths(path, layout)


def _place(path: Path, layout: Layout, start: int, row: int) -> str:
    """Return where a row stands; the file is read once more for it."""
    line, _ = next(islice(records(path, layout), start + row, None), (0, []))
    return f"line {line} of {path.name}" if line else f"row {start + row + 1} of {path.name}"


def _without_index(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Leave out the first column where it has no name and numbers or names the rows, as pandas and R write it."""
    name = f"{UNNAMED}0"
    if name not in frame or len(frame.columns) == 1:
        return frame, []
    cells = frame[name]
    if pd.api.types.is_float_dtype(cells.dtype) and not (cells == cells.round()).all():
        return frame, []
    note = "The first column, which has no name, numbers or names the rows and was left out."
    return frame.drop(columns=name), [note]
