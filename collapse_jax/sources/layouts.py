"""How a table in a text file is written, from its first lines, and where its rows stand.

    lines -> what stands before the table -> separator -> names, or a first row of numbers -> rows as long as these
"""

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from collapse_jax.files.decoding import open_text
from collapse_jax.files.separated import SEPARATORS, all_numbers, has_decimal_commas, is_number, separator_of

MOST_LINE = 2**24  # signs
UNNAMED = "Unnamed: "  # as pandas calls a column
_REMEDY = "name a table"
_HEAD = 30  # rows by which a table is known
_SPACES = r"\s+"


class Layout(NamedTuple):
    """How a table is written.

    separator: of cells.
    decimal: its sign.
    names: of the columns; those without one are called as pandas does.
    skipped: lines before the first row.
    """

    separator: str
    decimal: str
    names: tuple[str, ...]
    skipped: int


def layout_of(path: Path) -> Layout:
    """Return how a table is written, from its first lines.

    Raises:
        ValueError: it is empty, holds names alone, two columns of one name, or rows of several lengths.
    """
    separators = SEPARATORS[Path(path.name.lower().removesuffix(".gz")).suffix]
    skipped, comment, head = 0, "", list[str]()
    with open_text(path, _REMEDY) as file:
        for line in lines_of(file, path):
            if head or not _is_preface(line):
                head.append(line)
                if len(head) > 2 * _HEAD:
                    break
                continue
            skipped += 1
            comment = line.lstrip("# ") if line.startswith("#") else comment
            if line.lower().startswith("sep="):
                separators = line[4]
    if not head:
        raise ValueError(f"{path} is empty; it needs a row for each sample.")
    # a first line of numbers with decimal commas has more of these than of what parts them
    others = [sign for sign in ";\t" if sign in separators and sign in head[0]]
    parting = [sign for sign in others if _all_numbers(head[0].split(sign), ",")]
    separator = parting[0] if parting else separator_of(head[0], separators)
    if head[0].count(separator) == 0 and all_numbers(head[-1].split()) and len(head[-1].split()) > 1:
        separator = _SPACES
    records = _head_records(path, head, separator)
    decimal = "," if any(has_decimal_commas(line, separator) for line in head[1:_HEAD]) else "."
    (used, first), rows = records[0], records[1:]
    if _all_numbers(first, decimal) or (not rows and any(map(is_number, first))):
        told = [cell.strip() for cell in _cells(comment, separator)]  # as numpy.savetxt writes it
        is_told = len(told) == len(first) and not _all_numbers(told, decimal)
        names = told if is_told else list(map(str, range(len(first))))
        rows = records
    else:
        names, skipped, rows = [cell.strip() for cell in first], skipped + used, records[1:]
        if not rows:
            raise ValueError(f"{path} holds names and no row; it needs one for each sample.")
        if all(len(cells) == len(names) + 1 for _, cells in rows):  # names of rows, as R has them, or commas at the end
            names = [*names, ""] if not any(cells[-1].strip() for _, cells in rows) else ["", *names]
    names = [name or f"{UNNAMED}{index}" for index, name in enumerate(names)]
    if twice := next((name for index, name in enumerate(names) if name in names[:index]), None):
        raise ValueError(f"{path} has two columns named '{twice}'; name each.")
    for number, cells in rows:
        _check_length(path, number + skipped - (0 if rows is records else used), cells, names)
    return Layout(separator, decimal, tuple(names), skipped)


def _is_preface(line: str) -> bool:
    """True for what may stand before a table: blank lines, comments, a spreadsheet's word on its separator."""
    return not line.strip() or line.startswith("#") or (line.lower().startswith("sep=") and len(line.strip()) == 5)


def _head_records(path: Path, head: list[str], separator: str) -> list[tuple[int, list[str]]]:
    """Return the first rows, with the lines they end in; the last of many may be cut off."""
    if separator == _SPACES:
        return [(number, line.split()) for number, line in enumerate(head, 1) if line.strip()]
    reader = csv.reader(head, delimiter=separator, skipinitialspace=True)
    try:
        records = [(reader.line_num, cells) for cells in reader if len(cells) > 1 or any(map(str.strip, cells))]
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as a table ({error}); mend it, or save it anew.") from error
    return records[:-1] if len(head) > 2 * _HEAD and len(records) > 1 else records


def _cells(line: str, separator: str) -> list[str]:
    if separator == _SPACES:
        return line.split()
    return next(csv.reader([line.strip("\r\n")], delimiter=separator, skipinitialspace=True), [])


def _all_numbers(cells: Sequence[str], decimal: str) -> bool:
    """True where cells are numbers or missing, and not all of them missing."""
    given = [cell.strip() for cell in cells if cell.strip()]
    return bool(given) and all_numbers(cell.replace(",", ".") if decimal == "," else cell for cell in given)


def looks_like_table(path: Path) -> bool:
    """True for a .txt file of cells, not of sentences: as many in each line, and a column of numbers among them."""
    with open_text(path, _REMEDY) as file:
        lines = (line for line in lines_of(file, path) if line.strip() and not line.startswith("#"))
        head = list(islice(lines, _HEAD))
    for separator in (*SEPARATORS[".txt"], _SPACES):
        rows = [_cells(line, separator) for line in head]
        if not rows or len(set(map(len, rows))) != 1:
            continue
        if all(_all_numbers(row, "," if separator == ";" else ".") for row in rows):
            return True
        if separator != _SPACES and len(rows[0]) > 1:
            columns = zip(*rows[1:], strict=True)
            if any(_all_numbers(column, "," if separator != "," else ".") for column in columns):
                return True
    return False


def lines_of(file: io.TextIOWrapper, path: Path) -> Iterator[str]:
    """Yield the lines of an open file, with their ends.

    Raises:
        ValueError: one is so long that it would fill memory.
    """
    while line := file.readline(MOST_LINE):
        if len(line) == MOST_LINE:
            raise ValueError(f"{path} has a line of more than {MOST_LINE:,} signs; write one sample a line.")
        yield line


def records(path: Path, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Yield each row's last line and its cells, as pandas parts them."""
    with open_text(path, _REMEDY) as file:
        for _ in range(layout.skipped):
            file.readline()
        if layout.separator == _SPACES:
            found = ((number, line.split()) for number, line in enumerate(file, 1))
        else:
            reader = csv.reader(file, delimiter=layout.separator, skipinitialspace=True)
            found = ((reader.line_num, cells) for cells in reader)
        try:
            for number, cells in found:
                if len(cells) > 1 or any(cell.strip() for cell in cells):
                    yield layout.skipped + number, cells
        except csv.Error:  # a cell longer than its limit, which pandas reads
            return


def check_lengths(path: Path, layout: Layout) -> None:
    """Refuse a table whose rows are of several lengths."""
    for line, cells in records(path, layout):
        _check_length(path, line, cells, layout.names)


def _check_length(path: Path, line: int, cells: Sequence[str], names: Sequence[str]) -> None:
    if len(cells) != len(names):
        raise ValueError(
            f"line {line} of {path} has {len(cells)} cells, where there are {len(names)} columns; fix the row."
        )
