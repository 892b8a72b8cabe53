"""Generations that somebody else ran: their records as a Dataset, and a page that says what moved.

A file of records has a row for each generation of each seed: `generation`, `seed` if there is more than one, and a
column for each metric. Nothing is assumed of how the generations came about, so no published claim is judged; what
moved, and since when, is. The parts are in `records`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import pandas as pd
import xarray as xr

from collapse_jax.records.files import read_file, stem
from collapse_jax.records.page import write_report
from collapse_jax.records.tables import dataset_of_dataset, dataset_of_table, table_of_frame
from collapse_jax.validation import check_kind

_MOST_METRICS = 2000  # a row of the page for each
_MOST_CELLS = 2**27  # numbers: 1 GiB
Records: TypeAlias = Path | str | xr.Dataset | xr.DataArray | pd.DataFrame


def read_records(records: Records, metrics: Sequence[str] = ()) -> xr.Dataset:
    """Return records as a Dataset with dims seed and generation, one variable for each metric.

    Args:
        records: what `simulate` returns, a DataFrame, or a file: FILE.csv with a header (columns parted by `,`, `;` or
            tabs), FILE.jsonl with one object a line, either of them gzipped or not, FILE.parquet (with pyarrow) or
            FILE.nc with a dimension `generation`. Columns: `generation`, whole numbers in equal steps; `seed`, whole
            numbers, may be left out; every other column of numbers is a metric. An empty cell, null or nan is a value
            that is missing; true and false are 1 and 0. A seed may end early: the rest is NaN. Where a metric has
            several numbers, a row each, the columns that number them (`component`, ...) become dims.
        metrics: names of those to read; none: all.

    Returns:
        A Dataset with attributes `source` and `remarks`, sentences on what was left out.

    Raises:
        TypeError: `records` is none of these.
        ValueError: the file cannot be read, or does not hold such records; the sentence names the line.

    >>> read_records(pd.DataFrame({"generation": [0, 1], "loss": [2.0, 3.0]})).loss.values
    array([[2., 3.]])
    """
    kinds = (str, Path, xr.Dataset, xr.DataArray, pd.DataFrame)
    check_kind("records", records, kinds, "name a file of records")
    check_kind("metrics", metrics, (list, tuple), "for example ['loss']")
    found = read_file(Path(records)) if isinstance(records, str | Path) else records
    source = str(records) if isinstance(records, str | Path) else "the frame"
    if isinstance(found, pd.DataFrame):
        found = table_of_frame(found)
    if isinstance(found, xr.Dataset | xr.DataArray):
        return dataset_of_dataset(found, source.replace("frame", "Dataset"), metrics, _MOST_METRICS)
    return dataset_of_table(found, metrics, _MOST_METRICS, _MOST_CELLS)


def report_records(
    records: Records, folder: Path | str | None = None, *, command: str = "", metrics: Sequence[str] = (),
    tell: Callable[[str], object] | None = None,
) -> Path:  # fmt: skip
    """Write `report.html` and the figure (PNG and SVG) of records; return the page's path.

    Args:
        records: see `read_records`.
        folder: where to; default a folder beside the file, named after it.
        command: shown below the figure.
        metrics: names of those to judge; none: all.
        tell: is called with each sentence of the answer.

    Raises:
        TypeError: `records` is nothing that can be read.
        ValueError: unusable records, or a folder that cannot be written or holds a run.
    """
    dataset = read_records(records, metrics)
    if folder is None:
        if not isinstance(records, str | Path):
            raise ValueError("records in memory need a folder for their report; name one: folder='mine'.")
        folder = Path(records).with_name(f"{stem(Path(records))}-report")
    return write_report(dataset, Path(folder), command, tell)
