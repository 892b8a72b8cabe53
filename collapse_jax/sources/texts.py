"""A random subset of texts: one a line, one a file, or of JSON line by line, which may hold tokens and tables, too.

    line -> JSON -> what the first one is, all must be: a text, an object with a text, a list of tokens, a row of cells
"""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from collapse_jax.files.decoding import open_text, signs_of
from collapse_jax.sources.columns import Rows
from collapse_jax.sources.layouts import lines_of
from collapse_jax.sources.reservoir import choose, keep
from collapse_jax.validation import shown

TEXT_FIELDS = ("text", "completion", "output", "content", "response")
_TOKEN_FIELDS = ("tokens", "token_ids", "input_ids")
_REMEDY = "name a file of texts"
_ROWS = 2**12  # of a table, at once


def read_text_lines(paths: Sequence[Path], max_rows: int, seed: int) -> tuple[list[str], int, list[str]]:
    """Return a random subset of the lines of files, how many there are, and notes; blank ones are none.

    Raises:
        ValueError: a file cannot be read, or holds nothing else.
    """
    num_blank = 0

    def texts() -> Iterator[str]:
        nonlocal num_blank
        for path in paths:
            with open_text(path, _REMEDY) as file:
                for line in lines_of(file, path):
                    if line.strip():
                        yield line.rstrip("\r\n")
                    else:
                        num_blank += 1

    kept, num_rows = keep(texts(), max_rows, seed)
    if num_rows == 0:
        raise ValueError(f"{paths[0]} holds no text; write one a line.")
    return kept, num_rows, [f"{_counted(num_blank, 'line')} blank and left out."] if num_blank else []


def read_text_files(paths: Sequence[Path], max_rows: int, seed: int) -> tuple[list[str], int, list[str]]:
    """Return a random subset of texts that are a file each, how many there are, and notes; others are not opened.

    Raises:
        ValueError: one that is chosen cannot be read.
    """
    texts = [signs_of(paths[index], "leave it out").rstrip("\r\n") for index in choose(len(paths), max_rows, seed)]
    return texts, len(paths), _on_empty(sum(not text.strip() for text in texts))


def read_json_lines(paths: Sequence[Path], max_rows: int, seed: int) -> tuple[Any, int, list[str]]:
    """Return a random subset of what stands in files of JSON, one a line, how many there are, and notes.

    Returns:
        list[str], list[list[int]] for tokens, an array for lists of other numbers, or a DataFrame for cells.

    Raises:
        ValueError: a line is no JSON, or not of the kind of the first.
    """
    first = next(_parsed(paths), None)
    if first is None:
        raise ValueError(f"{paths[0]} is empty; write one sample a line.")
    value, path, line = first
    if isinstance(value, dict):
        for field in (*TEXT_FIELDS, *_TOKEN_FIELDS):
            if isinstance(value.get(field), str if field in TEXT_FIELDS else list):
                others = [name for name in value if name != field]
                notes = [f"Of each line, '{field}' is read; left out: {', '.join(others[:5])}."] if others else []
                read = _texts if field in TEXT_FIELDS else _lists
                return _with(notes, *read(paths, field, max_rows, seed))
        return _table(paths, max_rows, seed)
    if isinstance(value, str):
        return _texts(paths, "", max_rows, seed)
    if isinstance(value, list):
        return _lists(paths, "", max_rows, seed)
    raise ValueError(
        f'line {line} of {path} is {shown(value)}; write texts, objects such as {{"text": "..."}}, or lists of numbers.'
    )


def _with(notes: list[str], values: Any, num_rows: int, more: list[str]) -> tuple[Any, int, list[str]]:
    return values, num_rows, [*notes, *more]


def _parsed(paths: Sequence[Path]) -> Iterator[tuple[Any, Path, int]]:
    """Yield what stands in each line that is not blank, its file, and its number."""
    for path in paths:
        with open_text(path, _REMEDY) as file:
            for number, line in enumerate(lines_of(file, path), 1):
                if line.strip():
                    try:
                        yield json.loads(line), path, number
                    except (ValueError, RecursionError) as error:
                        raise ValueError(
                            f"line {number} of {path} is not JSON ({error}); write one sample a line."
                        ) from error


def _values(paths: Sequence[Path], field: str, kind: type, what: str) -> Iterator[Any]:
    """Yield what stands in each line or in a field of it; None for a text that is missing."""
    for value, path, line in _parsed(paths):
        found = value.get(field) if field and isinstance(value, dict) else value
        if found is None and field and field in value:
            found = kind()
        if not isinstance(found, kind):
            where = f"'{field}' in line" if field else "line"
            raise ValueError(f"{where} {line} of {path} is no {what}, got {shown(found)}; write one a line, as before.")
        yield found


def _texts(paths: Sequence[Path], field: str, max_rows: int, seed: int) -> tuple[list[str], int, list[str]]:
    num_empty = 0

    def texts() -> Iterator[str]:
        nonlocal num_empty
        for text in _values(paths, field, str, "text"):
            num_empty += not text.strip()
            yield text

    kept, num_rows = keep(texts(), max_rows, seed)
    return kept, num_rows, _on_empty(num_empty)


def _lists(paths: Sequence[Path], field: str, max_rows: int, seed: int) -> tuple[Any, int, list[str]]:
    """Return lists of whole numbers as they are, tokens; other numbers as an array."""
    are_whole, lengths = True, set[int]()

    def lists() -> Iterator[list]:
        nonlocal are_whole
        for index, row in enumerate(_values(paths, field, list, "list of numbers"), 1):
            kinds = set(map(type, row))
            if kinds - {int, float}:
                raise ValueError(f"list {index} of {paths[0]} holds {shown(row)}; write lists of numbers alone.")
            are_whole &= float not in kinds
            if len(lengths) < 2:
                lengths.add(len(row))
            yield row

    kept, num_rows = keep(lists(), max_rows, seed)
    if are_whole:
        return kept, num_rows, _on_empty(sum(not row for row in kept), "list")
    if len(lengths) > 1:
        raise ValueError(
            f"{paths[0]} holds lists of {' and of '.join(map(str, sorted(lengths)))} numbers; write as many in each, "
            "or whole numbers for tokens."
        )
    return np.array(kept, np.float64), num_rows, []


def _table(paths: Sequence[Path], max_rows: int, seed: int) -> tuple[pd.DataFrame, int, list[str]]:
    rows, nested, parsed = Rows(max_rows, seed, written=False), dict[str, None](), _parsed(paths)
    while block := list(islice(parsed, _ROWS)):
        for value, path, line in block:
            if not isinstance(value, dict):
                raise ValueError(f"line {line} of {path} is no object, got {shown(value)}; write one a line.")
            nested |= dict.fromkeys(name for name, cell in value.items() if isinstance(cell, dict | list))
        names = dict.fromkeys(name for value, _, _ in block for name in value)
        cells = {name: pd.Series([value.get(name) for value, _, _ in block], dtype=object) for name in names}
        places = [f"line {line} of {path.name}" for _, path, line in block]
        rows.add(pd.DataFrame({name: _plain(column) for name, column in cells.items()}), places.__getitem__)
    frame, notes = rows.frame()
    frame = frame.drop(columns=[name for name in nested if name in frame])
    if frame.empty:
        raise ValueError(f"{paths[0]} holds objects without a number or a text; write cells, not lists of them.")
    notes = [note for note in notes if not any(note.startswith(f"Column '{name}' ") for name in nested)]
    notes += [f"Column '{name}' holds lists or objects and was left out." for name in nested]
    return frame, rows.num_rows, notes


def _plain(cells: pd.Series) -> pd.Series:
    """Return cells without lists and objects, which are no cells."""
    return cells.map(lambda cell: None if isinstance(cell, dict | list) else cell).astype(object)


def _on_empty(num: int, what: str = "text") -> list[str]:
    return [f"{_counted(num, what)} empty."] if num else []


def _counted(num: int, what: str) -> str:
    return f"1 {what} is" if num == 1 else f"{num:,} {what}s are"
