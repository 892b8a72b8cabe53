"""How the cells of a table in a text file are written, told from its first lines."""

from collections.abc import Iterable

SEPARATORS = {".csv": ",;\t", ".tsv": "\t", ".txt": ",;\t"}  # by the ending of the file's name


def separator_of(header: str, separators: str) -> str:
    """Return what parts the cells of a line: that of `separators` which stands there most often.

    >>> separator_of("x;y;a, b", ",;")
    ';'
    """
    return max(separators, key=header.count)


def has_decimal_commas(line: str, separator: str) -> bool:
    """True for a line of numbers whose decimals stand behind a comma.

    >>> has_decimal_commas("1,5;2,5", ";"), has_decimal_commas("1,5", ",")
    (True, False)
    """
    return separator != "," and "," in line and "." not in line


def is_number(cell: object) -> bool:
    """True for what reads as a number."""
    try:
        float(str(cell))
    except ValueError:
        return False
    return True


def all_numbers(cells: Iterable[object]) -> bool:
    """True where each cell reads as a number, as those of a first line that holds no names do."""
    return all(map(is_number, cells))
