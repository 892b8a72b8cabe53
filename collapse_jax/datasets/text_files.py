"""Text from files, read in one way, whoever wrote them.

    file -> bytes (unpacked) -> signs (UTF-8, or what a byte order mark says, which goes) -> lines -> documents

A line ends at a newline of Unix, Windows or old Macs alone: a page break, a line separator within a paragraph and
other signs that `str.splitlines` takes for ends would move every block behind them.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from collapse_jax.files.decoding import signs_of
from collapse_jax.files.reading import DATA, is_there, place_of, size_of
from collapse_jax.validation import shown

_NEWLINE = re.compile(r"\r\n|\n|\r")
_LINES_OF_JSON = (".jsonl", ".ndjson", ".json")
_IN_FOLDERS = (".txt", ".jsonl", ".ndjson")  # a .json there mostly describes the texts
_TABLES = {
    ".csv": "read_csv('{}')", ".tsv": "read_csv('{}', sep='\\t')", ".parquet": "read_parquet('{}')",
    ".feather": "read_feather('{}')", ".arrow": "read_feather('{}')", ".xlsx": "read_excel('{}')",
}  # fmt: skip
_PACKED = (".zip", ".xz", ".bz2", ".zst", ".tar", ".tgz", ".7z", ".rar")
_MOST_COLUMNS = 12  # told of those that there are


def documents_in(place: Path, column: str = "text") -> list[list[str]]:
    """Return the lines of each document of a file or folder: of a text by its blank lines, of a folder each file.

    Args:
        place: a text, JSONL with a document a line, either packed by gzip, or a folder of such files.
        column: of JSONL, the name that the text has.

    Raises:
        ValueError: nothing to read, or what is there is none of these.
    """
    files = text_files(place)
    if not files:
        raise ValueError(_nothing_in(place))
    if column != "text" and not any(map(_is_jsonl, files)):
        raise ValueError(f"`column` is {shown(column)}, but {place} holds no JSONL, which alone has any; leave it out.")
    documents: list[list[str]] = []
    for file in files:
        text = read_text(file)
        if _is_jsonl(file):
            documents += [lines for _, lines in _told(file, text, column) if lines]
        else:
            documents += documents_of(text) if files == [place] else [lines_of(text)]
    return documents


def text_files(place: Path) -> list[Path]:
    """Return a file alone, or all texts in a folder but hidden ones, which together are no more than one may be."""
    if is_there(place) and not os.path.isdir(place):
        return [place]
    files = []
    for folder, inside, names in os.walk(folder_of(place)):
        inside[:] = [name for name in inside if not name.startswith(".")]
        entries = [*inside, *(name for name in names if not name.startswith("."))]  # a folder is refused when read
        files += [Path(folder, name) for name in entries if _ending(name) in _IN_FOLDERS]
    if sum(size_of(file, DATA) for file in files) > DATA:
        raise ValueError(f"the texts in {place} have more than {DATA:,} bytes together; give fewer of them.")
    return sorted(files)


def folder_of(path: str | Path) -> Path:
    """Return a folder that is there.

    Raises:
        ValueError: it is not.
    """
    home = place_of(path)
    if not os.path.isdir(home):
        raise ValueError(f"{home} does not exist; name a text file, or the folder that holds the text.")
    return home


def lines_of(text: str) -> list[str]:
    r"""Return a text's lines without the blank ones.

    >>> lines_of("a\u2028b\r\n\nc\x0c\rd")
    ['a\u2028b', 'c\x0c', 'd']
    """
    return [line for line in _NEWLINE.split(text) if line.strip()]


def documents_of(text: str) -> list[list[str]]:
    """Return the lines of each document; blank lines part documents."""
    documents: list[list[str]] = [[]]
    for line in _NEWLINE.split(text):
        if line.strip():
            documents[-1].append(line)
        elif documents[-1]:
            documents.append([])
    return [lines for lines in documents if lines]


def read_text(path: Path) -> str:
    """Return a file's text, without a byte order mark, which says how it is encoded; without one it is UTF-8.

    Raises:
        ValueError: it cannot be read, is empty, is encoded in another way, or is a table or an archive.
    """
    _check_kind(path)
    text = signs_of(path, "name a text file")
    if not text.strip():
        raise ValueError(f"{path} is empty; give a file with text.")
    return text


def _told(path: Path, text: str, column: str) -> Iterator[tuple[str, list[str]]]:
    """Yield where each record stands, and the lines of its text."""
    for where, record in _records(path, text):
        if not isinstance(record, dict):
            raise ValueError(f"{where} of {path} is {shown(record, 30)}, no object; write {{{column!r}: ...}} there.")
        if column not in record:
            there = [shown(name, 30) for name in record]
            listed = ", ".join(there[:_MOST_COLUMNS]) + (", ..." if len(there) > _MOST_COLUMNS else "")
            raise ValueError(
                f"{where} of {path} has no column {shown(column)}; there are: {listed or 'none'}; name the one with "
                "the text by --text-column."
            )
        told = record[column]
        if not isinstance(told, str):
            raise ValueError(f"{where} of {path} has {shown(told, 30)} for {shown(column)}, no text; leave it out.")
        if "\0" in told or any("\ud800" <= sign <= "\udfff" for sign in told):
            raise ValueError(f"{where} of {path} holds signs that no text has (\\u0000, lone surrogates); mend it.")
        yield where, lines_of(told)


def _records(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    """Yield what each line holds, or each member where the whole is one list; and where it stands."""
    is_list = text.lstrip().startswith("[")
    parts = [("the list", text)] if is_list else [(f"line {n}", line) for n, line in enumerate(_NEWLINE.split(text), 1)]
    for where, part in parts:
        if not part.strip():
            continue
        try:
            content = json.loads(part)
        except (ValueError, RecursionError) as error:
            why = getattr(error, "msg", "") or type(error).__name__
            raise ValueError(f"{where} of {path} is no JSON ({why}); write one object a line.") from error
        yield from ((f"record {n}", record) for n, record in enumerate(content, 1)) if is_list else [(where, content)]


def _ending(name: str) -> str:
    """Return what a name ends in, before .gz.

    >>> _ending("a.b.JSONL.gz")
    '.jsonl'
    """
    return Path(name.lower().removesuffix(".gz")).suffix


def _is_jsonl(path: Path) -> bool:
    return _ending(path.name) in _LINES_OF_JSON


def _check_kind(path: Path) -> None:
    """Refuse tables and archives, which are no text although some can be read as one."""
    ending = _ending(path.name)
    if ending in _TABLES:
        raise ValueError(
            f"{path} is a table; write its texts as JSONL, pandas.{_TABLES[ending].format(path.name)}"
            f".to_json('{path.stem}.jsonl', orient='records', lines=True), and name their column by --text-column."
        )
    if ending in _PACKED:
        raise ValueError(f"{path} is packed; unpack it (gzip alone is read), and name the text or its folder.")


def _nothing_in(place: Path) -> str:
    """Return why nothing is read of a folder."""
    others = [path for path in sorted(place.iterdir()) if _ending(path.name) in (*_TABLES, *_PACKED)]
    for path in others:
        try:
            _check_kind(path)
        except ValueError as error:
            return str(error)
    return f"{place} holds no .txt file and no .jsonl; name a text file, or a folder of them."
