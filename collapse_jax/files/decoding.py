"""The signs of a text file, packed or not, whatever its byte order mark says.

    file -> bytes (unpacked, up to a stated size, or a little at a time) -> signs, without the mark
"""

import codecs
import contextlib
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from collapse_jax.files.reading import DATA, Refused, open_file, read_bytes

# UTF-32 first: its mark begins as that of UTF-16
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip


def signs_of(path: Path, remedy: str) -> str:
    """Return what a file says, without a byte order mark, which says how it is encoded; without one it is UTF-8.

    Args:
        path: of the file, as it is or packed by gzip.
        remedy: ends the sentence where it is no file that can be read.

    Raises:
        ValueError: it cannot be read or unpacked, is too large, or is encoded in another way.
    """
    content = read_bytes(path, DATA, remedy)
    if content[:2] == b"\x1f\x8b":
        content = _unpacked(path, content)
    encoding = _encoding(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise _not_decoded(path, encoding, f" (byte {error.start})") from error
    if "\0" in text:
        raise _zeros(path)
    return text


@contextlib.contextmanager
def open_unpacked(path: Path, remedy: str) -> Iterator[Any]:
    """Give a file's bytes to be read a little at a time, unpacked where it is packed by gzip, however many they are.

    Raises:
        ValueError: it cannot be read or unpacked; also while it is read.
    """
    with open_file(path, sys.maxsize, remedy) as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            if packed:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield unpacked
            else:
                yield file
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise _not_unpacked(path, error) from error


@contextlib.contextmanager
def open_text(path: Path, remedy: str) -> Iterator[io.TextIOWrapper]:
    """Give a file's signs to be read a little at a time, as `signs_of` returns them all; line ends stay as they are.

    Raises:
        ValueError: it cannot be read or unpacked, or is encoded in another way; also while it is read.
    """
    with open_unpacked(path, remedy) as file:
        start = file.read(2**12)
        encoding = _encoding(start)
        if b"\0" in start and encoding.startswith("utf-8"):
            raise _zeros(path)
        file.seek(0)
        try:
            yield io.TextIOWrapper(file, encoding, newline="")
        except UnicodeDecodeError as error:
            raise _not_decoded(path, encoding, "") from error


def _encoding(start: bytes) -> str:
    return next((name for mark, name in _MARKS.items() if start.startswith(mark)), "utf-8")


def _zeros(path: Path) -> Refused:
    return Refused(f"{path} holds zero bytes, which no text does; save it as UTF-8, for example with iconv.")


def _not_decoded(path: Path, encoding: str, where: str) -> Refused:
    what = "UTF-8" if encoding.startswith("utf-8") else f"{encoding.upper()}, as its first bytes say"
    return Refused(f"{path} is not {what}{where}; save it as UTF-8, for example with iconv.")


def _not_unpacked(path: Path, error: Exception) -> Refused:
    return Refused(f"{path} cannot be read ({error}); pack it again, or take it again from where it came from.")


def _unpacked(path: Path, content: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            unpacked = file.read(DATA + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _not_unpacked(path, error) from error
    if len(unpacked) > DATA:
        raise Refused(f"{path} would become more than {DATA:,} bytes; give less of it.")
    return unpacked
