"""The rows of a Parquet file, a batch at a time; row groups of which no row is kept are not read."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from collapse_jax.files.reading import Refused, open_file
from collapse_jax.sources.columns import Column, Rows

_REMEDY = "name a table"
_CELLS = 2**19  # read at once


def read_parquet(path: Path, rows: Rows) -> tuple[list[str], list[str]]:
    """Give `rows` all those of a file; return the names of its columns, and notes.

    Raises:
        ValueError: pyarrow is missing, or the file cannot be read.
    """
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ValueError(
            f"{path} needs pyarrow to be read; install it (pip install pyarrow), or write a CSV file."
        ) from error
    with open_file(path, sys.maxsize, _REMEDY) as file:
        try:
            return _read(parquet.ParquetFile(file, buffer_size=2**20, pre_buffer=False), path, rows)
        except Refused:
            raise
        except Exception as error:  # a damaged file may raise anything
            told = " ".join(str(error).split())[:200].rstrip(".")
            raise ValueError(f"{path} cannot be read as Parquet ({told}); write it again.") from error


def _read(file: Any, path: Path, rows: Rows) -> tuple[list[str], list[str]]:
    schema = file.schema_arrow
    index = {name for name in (schema.pandas_metadata or {}).get("index_columns", []) if isinstance(name, str)}
    kinds = {field.name: _kind(field.type) for field in schema if field.name not in index}
    names = [name for name, kind in kinds.items() if kind]
    notes = [f"Column '{name}' holds neither numbers nor text and was left out." for name in kinds if not kinds[name]]
    notes += [f"Column '{name}', which pandas wrote as the names of rows, was left out." for name in sorted(index)]
    if not names:
        raise ValueError("it has no column of numbers or text")
    for name in names:
        rows.columns.setdefault(name, Column()).kinds.add(kinds[name])
    batch_size = max(1, _CELLS // len(names))
    for group in range(file.num_row_groups):
        stay, come = rows.offer(file.metadata.row_group(group).num_rows)
        if not len(come):
            continue
        start, parts = 0, []
        for batch in file.iter_batches(batch_size, row_groups=[group], columns=names):
            here = come[(come >= start) & (come < start + batch.num_rows)] - start
            if len(here):
                parts.append(_frame(batch, here, kinds))
            start += batch.num_rows
        rows.keep(stay, pd.concat(parts))
    return names, notes


def _kind(kind: Any) -> str:
    """Return what a column of some type holds, "" for what is no sample: dates, lists, bytes."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return _kind(kind.value_type)
    if types.is_boolean(kind):
        return "truth values"
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        return "numbers"
    return "text" if types.is_string(kind) or types.is_large_string(kind) else ""


def _frame(batch: Any, chosen: np.ndarray, kinds: dict[str, str]) -> pd.DataFrame:
    import pyarrow

    columns = {}
    for name in batch.schema.names:
        cells = batch.column(batch.schema.get_field_index(name)).take(pyarrow.array(chosen))
        values = np.array(cells.to_pylist(), object) if kinds[name] != "numbers" else cells.to_pandas().to_numpy()
        columns[name] = values.astype(float) if kinds[name] == "numbers" and values.dtype == object else values
    return pd.DataFrame(columns, dtype=None)
