"""The signs of a text file, packed or not, whatever its byte order mark says.

    file -> bytes (unpacked, up to a stated size) -> signs, without the mark
"""

import codecs
import gzip
import io
import zlib
from pathlib import Path

from collapse_jax.files.reading import DATA, Refused, read_bytes

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
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        what = "UTF-8" if encoding.startswith("utf-8") else f"{encoding.upper()}, as its first bytes say"
        raise Refused(
            f"{path} is not {what} (byte {error.start}); save it as UTF-8, for example with iconv."
        ) from error
    if "\0" in text:
        raise Refused(f"{path} holds zero bytes, which no text does; save it as UTF-8, for example with iconv.")
    return text


def _unpacked(path: Path, content: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            unpacked = file.read(DATA + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Refused(
            f"{path} cannot be read ({error}); pack it again, or take it again from where it came from."
        ) from error
    if len(unpacked) > DATA:
        raise Refused(f"{path} would become more than {DATA:,} bytes; give less of it.")
    return unpacked
