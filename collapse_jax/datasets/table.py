"""A table of numbers from a file: one point a row."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from collapse_jax.core.intake import read_rows
from collapse_jax.files.decoding import signs_of
from collapse_jax.files.reading import DATA, Refused, read_bytes
from collapse_jax.files.separated import SEPARATORS, all_numbers, has_decimal_commas, separator_of
from collapse_jax.validation import nearest

_REMEDY = "name a table"
_MOST = 2**27  # numbers
_KINDS = ".csv, .tsv, .txt or .jsonl (.gz or not), .parquet or .npy"


def load_table(path: str | Path, columns: Sequence[str] = ()) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return a table's numbers, shape [num_rows, num_columns], float64 or whole, and the names of its columns.

    Args:
        path: FILE.csv, .tsv, .txt or .jsonl, each perhaps with .gz behind it, with names in the first line; .parquet;
            or .npy, which has no names: its columns are called 0, 1, ....
        columns: names of those to use; default all, but for an index that pandas wrote.

    Raises:
        ValueError: the file cannot be read, is no table, or a column is not there, has missing values or no rows.
        TypeError: a column holds text, dates or complex numbers.
    """
    path = Path(path)
    frame = _frame(path)
    if len(frame) == 0:
        raise ValueError(f"{path} holds no row; it needs names in the first line, and a row for each point.")
    names = [str(name) for name in frame.columns]
    for name in columns:
        if name not in names:
            raise ValueError(f"{path} has no column '{name}'; {nearest(name, names[:50])}")
    chosen = frame[list(columns)] if columns else frame
    if chosen.size > _MOST:
        raise ValueError(f"{path} holds {chosen.size:,} numbers, more than {_MOST:,}; choose columns or rows.")
    try:
        rows = read_rows(chosen)
    except (TypeError, ValueError) as error:
        others = "" if columns else "; choose others by --columns"
        told = str(error).rstrip(".")
        raise type(error)(f"{path}: {told}{others}.") from error
    return rows.values, rows.names


def _frame(path: Path) -> pd.DataFrame:
    name = path.name.lower().removesuffix(".gz")
    kind = Path(name).suffix
    try:
        if kind == ".parquet":
            return pd.read_parquet(io.BytesIO(read_bytes(path, DATA, _REMEDY)))
        if kind == ".npy":
            array = np.load(io.BytesIO(read_bytes(path, DATA, _REMEDY)), allow_pickle=False)
            if array.ndim != 2:
                raise ValueError(f"it has the shape {array.shape}, a table has rows and columns")
            return pd.DataFrame(array, columns=[str(index) for index in range(array.shape[1])])
        if kind == ".jsonl":
            return pd.read_json(io.StringIO(signs_of(path, _REMEDY)), lines=True)
        if kind in SEPARATORS:
            return _csv(signs_of(path, _REMEDY), SEPARATORS[kind])
    except Refused:
        raise
    except ImportError as error:
        raise ValueError(f"{path} needs pyarrow to be read; pip install pyarrow, or save it as CSV.") from error
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        told = " ".join(str(error).split())[:200].rstrip(".")
        raise ValueError(f"{path} cannot be read as a table ({told}); mend it, or save it anew.") from error
    raise ValueError(f"{path} must be {_KINDS}; other formats are not read.")


def _csv(text: str, separators: str) -> pd.DataFrame:
    lines = (line for line in io.StringIO(text) if line.strip() and not line.startswith("#"))
    header = next(lines, "")
    separator = separator_of(header, separators)
    second = next(lines, "")
    commas = has_decimal_commas(second, separator)
    frame = pd.read_csv(
        io.StringIO(text), sep=separator, comment="#", decimal="," if commas else ".", skipinitialspace=True
    )
    if all_numbers(frame.columns):
        raise ValueError("its first line holds numbers, not names")
    first = str(frame.columns[0])
    if first.startswith("Unnamed") and np.array_equal(frame.iloc[:, 0], np.arange(len(frame))):
        return frame.iloc[:, 1:]
    return frame
