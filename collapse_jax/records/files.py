"""Files of records as tables of cells: CSV of several kinds, JSON line by line, Parquet; netCDF as a Dataset.

    bytes -> (gzip) -> text, whatever its byte order mark -> rows with their lines -> `Table`

What a column means is none of this file's business.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from collapse_jax.files.decoding import signs_of
from collapse_jax.files.reading import DATA, Refused, memory, open_file, read_bytes
from collapse_jax.records.cells import LABELS, Builder, Table

_REMEDY = "name a file of records"
_TABLES = {".csv": ",;\t", ".tsv": "\t", ".jsonl": "", ".ndjson": "", ".json": ""}
_BEYOND = {".nc": "netCDF", ".parquet": "Parquet"}
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_MOST_PARQUET = 2**27  # cells, however tightly packed


def stem(path: Path) -> str:
    """Return a file's name without the endings of its format.

    >>> stem(Path("runs/mine.csv.gz")), stem(Path("a.b.nc"))
    ('mine', 'a.b')
    """
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    return Path(name).stem


def read_file(path: Path) -> Table | xr.Dataset:
    """Return what a file of records holds.

    Args:
        path: FILE.csv (.tsv), FILE.jsonl (.ndjson, .json), each perhaps with .gz behind it, FILE.parquet or FILE.nc.

    Raises:
        ValueError: the file cannot be read, is of another format, or a row is broken; the sentence names the line.
    """
    packed = path.name.lower().endswith(".gz")
    suffix = Path(path.name[:-3]).suffix.lower() if packed else path.suffix.lower()
    if suffix in _BEYOND and not packed:
        return _netcdf(path) if suffix == ".nc" else _parquet(path)
    if suffix not in _TABLES:
        raise ValueError(
            f"{path} must be a .csv or a .jsonl file (.gz or not), .parquet or .nc; other formats are not read."
        )
    text = signs_of(path, _REMEDY)
    if not text.strip("\ufeff \t\r\n"):
        raise ValueError(f"{path} is empty; it needs a row for each generation.")
    return _csv(path, text, _TABLES[suffix]) if _TABLES[suffix] else _json(path, text)


class _Lines:
    """The lines of a text that are neither blank nor comments, and which is the last that was given."""

    def __init__(self, text: str) -> None:
        self._lines = io.StringIO(text, newline="")
        self.number = 0
        self.comment = ""  # the last one

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.number += 1
            if line.lstrip().startswith("#"):
                self.comment = line.lstrip().lstrip("#")
            elif line.strip():
                yield line


def _cells(line: str, separator: str) -> list[str]:
    row = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    return [cell.strip() for cell in row]


def _separator(line: str, separators: str) -> str:
    """Return what parts the cells of a header: that which leaves a cell 'generation', or else makes most cells."""

    def fitness(separator: str) -> tuple[bool, int]:
        cells = _cells(line, separator)
        return "generation" in map(str.lower, cells), len(cells)

    return max(separators, key=fitness)


def _csv(path: Path, text: str, separators: str) -> Table:
    lines = _Lines(text)
    given = iter(lines)
    try:
        header_line = next(given, "")
        if header_line.lower().startswith("sep=") and len(header_line.strip()) == 5:  # of spreadsheets
            separators, header_line = header_line[4], next(given, "")
        if not header_line:
            raise ValueError(f"{path} holds no row; it needs a header, and a row for each generation.")
        before = lines.comment  # a header behind '#', as numpy.savetxt writes it
        is_header = "generation" in header_line.lower() or "generation" not in before.lower()
        separator = _separator(header_line if is_header else before, separators)
        header = _cells(header_line, separator)
        rows = csv.reader(given, delimiter=separator, skipinitialspace=True)
        builder = Builder(commas=separator != ",")
        if "generation" not in map(str.lower, header) and "generation" in map(str.lower, _cells(before, separator)):
            header = _cells(before, separator)
            builder.add(lines.number, _cells(header_line, separator))
        elif "generation" not in map(str.lower, header) and "generation" in header_line.lower().split():
            raise ValueError(f"{path} has the header {header_line.strip()[:60]!r}; separate columns by commas.")
        builder.labels = _label_places(header)
        for cells in rows:
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) == len(header) + 1 and not builder.lines and cells[-1].strip():
                header = ["", *header]  # names of rows, as R writes them
                builder.labels = _label_places(header)
            parted = _SEPARATORS.get(separator, separator)
            builder.add(lines.number, _fitted(cells, len(header), f"line {lines.number} of {path}", parted))
    except csv.Error as error:
        raise ValueError(f"line {lines.number} of {path} is not CSV ({error}).") from error
    builder.flush()
    columns, remarks = _named(path, header, builder.columns)
    points = {header[place]: row for place, row in (builder.points or {}).items()}
    return Table(
        str(path), columns, np.array(builder.lines, np.int64), points=None if separator == "," else points,
        remarks=tuple(remarks),
    )  # fmt: skip


def _fitted(cells: list[str], num: int, where: str, parted: str) -> list[str]:
    """Return as many cells as the header has; empty ones behind them go."""
    if len(cells) > num and not any(cell.strip() for cell in cells[num:]):
        cells = cells[:num]
    if len(cells) != num:
        raise ValueError(f"{where} has {len(cells)} cells, the header {num}, parted by {parted}; fix the row.")
    return cells


def _label_places(header: list[str]) -> set[int]:
    return {place for place, name in enumerate(header) if name.lower() in LABELS}


def _named(
    path: Path, header: list[str], columns: dict[int, list[np.ndarray]]
) -> tuple[dict[str, list[np.ndarray]], list[str]]:
    """Return columns by their names; an index that pandas or R wrote, and empty columns, need none."""
    named: dict[str, list[np.ndarray]] = {}
    remarks = []
    for place, name in enumerate(header):
        parts = columns.get(place, [])
        if name:
            named[name] = parts
        elif all(part.dtype == object and not any(str(cell).strip() for cell in part) for part in parts):
            continue
        elif place == 0 and all(part.dtype == object or np.array_equal(part, np.floor(part)) for part in parts):
            if "generation" not in map(str.lower, header):
                raise ValueError(f"{path} has no column 'generation'; name the first column so if it is that.")
            remarks.append("The first column, which has no name, numbers the rows and was left out.")
        else:
            raise ValueError(f"{path} has two columns named '{name}', or one without a name; name each.")
    if odd := [name for name, times in Counter(header).items() if name and times > 1]:
        raise ValueError(f"{path} has two columns named '{odd[0]}', or one without a name; name each.")
    return named, remarks


def _json(path: Path, text: str) -> Table:
    builder, word = Builder(), "line"
    text = text.removeprefix("\ufeff")
    if text.lstrip().startswith("[") and path.name.lower().removesuffix(".gz").endswith(".json"):
        try:
            rows = list(enumerate(json.loads(text), 1))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is not JSON ({error}); write one object a line.") from error
        word = "row"
    else:
        rows = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    for number, row in rows:
        if word == "line":
            try:
                row = json.loads(row)
            except (ValueError, RecursionError) as error:
                raise ValueError(
                    f"line {number} of {path} is not JSON ({error}); write one object a line."
                ) from error
        if not isinstance(row, dict):
            raise ValueError(f'{word} {number} of {path} is no object; write {{"generation": 0, ...}}.')
        builder.add(number, row)
    builder.flush()
    return Table(str(path), builder.columns, np.array(builder.lines, np.int64), word)


def _parquet(path: Path) -> Table:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise ValueError(
            f"{path} needs pyarrow to be read; install it (pip install pyarrow), or write a CSV file."
        ) from error
    from collapse_jax.records.tables import table_of_frame

    with open_file(path, DATA, _REMEDY) as file:
        try:
            found = parquet.ParquetFile(file)
            cells = found.metadata.num_rows * max(found.metadata.num_columns, 1)
            if cells <= min(_MOST_PARQUET, memory() // 64):
                return table_of_frame(found.read().to_pandas(), str(path))
        except Exception as error:  # a damaged file may raise anything
            if isinstance(error, ValueError) and str(path) in str(error):
                raise
            raise ValueError(
                f"{path} cannot be read as Parquet ({' '.join(str(error).split())[:200]}); write it again."
            ) from error
    raise Refused(f"{path} cannot be read (it holds {cells:,} cells); give fewer rows at a time.")


def _netcdf(path: Path) -> xr.Dataset:
    if read_start(path) == b"CDF":  # netCDF 3: what it holds is no larger than itself
        content = read_bytes(path, DATA, _REMEDY)
        try:
            with xr.open_dataset(io.BytesIO(content), engine="scipy") as stored:
                return stored.load()
        except Exception as error:  # a damaged file may raise anything
            raise ValueError(f"{path} cannot be read as netCDF ({error}); write it again.") from error
    from collapse_jax.drivers.results import read_netcdf

    return read_netcdf(path)


def read_start(path: Path) -> bytes:
    """Return a file's first three bytes; what is raised as for `open_file`."""
    with open_file(path, None, _REMEDY) as file:
        return file.read(3)
