"""Real text: embedded addresses and encyclopedia articles, wikitext-2 from a folder, and any text of your own.

A text is documents of lines, one paragraph a line; it is split by document, never by line, so that no article is
both learnt and held out. The embedded files are public domain and CC BY-SA 3.0 (`files/NOTICE-text.txt`). NumPy
only: a text can be checked before JAX starts.
"""

import lzma
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from collapse_jax.datasets.text_files import (
    documents_in,
    documents_of,
    folder_of,
    lines_of,
    read_text,
    text_files,
)
from collapse_jax.files.reading import DATA, check_unpacked, is_there, place_of, sha256
from collapse_jax.validation import check_count, shown

_EMBEDDED = Path(__file__).parent / "files"
_WIKIPEDIA = "wikipedia_sample.txt.xz"
_WIKITEXT2 = ("ggml-org/ci", "wikitext-2-raw-v1.zip")  # on the hub
# SHA-256 of the three published files
WIKITEXT2_SHA256 = {
    "wiki.train": "6707892fa3788b5ab9ed78ab5ff37d9fe825f6011a2ad4fcd6a6d467f0e7da57",
    "wiki.valid": "4cd0f6876d07a413aa911261ff6d363c72d757d47f0fdd6015702014c89cb9c7",
    "wiki.test": "173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08",
}
_EVERY = 6  # of six documents one validates and one tests


class Corpus(NamedTuple):
    """Lines of text to learn from, to validate with and to test with.

    Attributes:
        train: to learn from.
        validation: from other documents.
        test: from yet others.
    """

    train: list[str]
    validation: list[str]
    test: list[str]


def load_addresses() -> Corpus:
    """Return the State of the Union addresses of 1850 to 1962: 116 addresses, 1.09 million words.

    >>> len(load_addresses().validation) > 1000
    True
    """
    return split_documents(_embedded("sotu_1850_1962.txt.xz"))


def load_wikipedia() -> Corpus:
    """Return prose of 92 English Wikipedia articles, 364,000 words.

    >>> load_wikipedia().validation[0][:38]
    'Anarchism is a political philosophy th'
    """
    return split_documents(_embedded(_WIKIPEDIA))


def load_wikitext2(folder: str | Path | None = None) -> Corpus:
    """Return wikitext-2 (raw) as published: its own three parts.

    Args:
        folder: holds wiki.train.raw, wiki.valid.raw and wiki.test.raw, or the same names ending in .tokens; default
            fetched from the hub and kept.

    Raises:
        ValueError: a file is missing, empty or not UTF-8, or the hub is out of reach.
    """
    texts = [read_text(path) for path in _wikitext2_files(folder).values()]
    return Corpus(*map(lines_of, texts))


def wikitext2_sums(folder: str | Path | None = None) -> dict[str, str]:
    """Return the SHA-256 of each of the three files of `load_wikitext2`: `WIKITEXT2_SHA256`, if they are as published.

    Args:
        folder: as for `load_wikitext2`.

    Raises:
        ValueError: a file is missing, or the hub is out of reach.
    """
    return {name: sha256(path, most=DATA) for name, path in _wikitext2_files(folder).items()}


def text_sum(path: str | Path | None = None) -> str:
    """Return the SHA-256 of a text: of the file, or of all texts of the folder, in the order they are read.

    Args:
        path: as for `load_text`; None: the embedded articles.

    Raises:
        ValueError: there is no such folder.
    """
    place = _EMBEDDED / _WIKIPEDIA if path is None else place_of(path)
    return sha256(*text_files(place), most=DATA)


def load_text(path: str | Path, column: str = "text") -> Corpus:
    """Return a text of the user's own.

    Args:
        path: a file whose documents are parted by blank lines, JSONL with a document a line, or a folder of .txt files,
            a document each, and .jsonl files; UTF-8, or another Unicode that begins with its byte order mark; packed by
            gzip or not. Hidden files of a folder are left out. At least three documents are needed for three parts.
        column: of JSONL, the name that the text has.

    Raises:
        ValueError: it does not exist, is empty, is of another kind or encoding, has a line that is no JSON or lacks the
            column, or has fewer than three documents.
    """
    place = place_of(path)
    documents = documents_in(place, column)
    if len(documents) < 3:
        raise ValueError(
            f"{place} has {len(documents)} document(s) where training, validation and test need one each; part "
            "documents by a blank line."
        )
    return split_documents(documents)


def split_documents(documents: Sequence[Sequence[str]]) -> Corpus:
    """Return documents in three parts: of every six the first validates and the fourth tests.

    Fewer than six documents: the first validates, the second tests.

    >>> split_documents([["a"], ["b"], ["c"], ["d"], ["e"], ["f"]]).test
    ['d']
    """
    at_test = _EVERY // 2 if len(documents) > _EVERY // 2 else 1
    parts: tuple[list[str], list[str], list[str]] = ([], [], [])
    for index, lines in enumerate(documents):
        place = {0: 1, at_test: 2}.get(index % _EVERY, 0)
        parts[place].extend(lines)
    return Corpus(*parts)


def to_blocks(lines_of_tokens: Iterable[Sequence[int]], length: int) -> np.ndarray:
    """Return blocks of `length` tokens, int32 [num_blocks, length]: lines joined, then cut; the rest is dropped.

    Args:
        lines_of_tokens: tokens of each line; OPT's tokenizer begins each with `</s>`.
        length: of a block; the published protocol has 64.

    Raises:
        ValueError: the text is shorter than a block.

    >>> to_blocks([[2, 5, 6], [2, 7]], length=2).tolist()
    [[2, 5], [6, 2]]
    """
    check_count("length", length, minimum=2)
    try:
        stream = np.fromiter((token for line in lines_of_tokens for token in line), np.int32)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(
            f"`lines_of_tokens` must be lists of integers, got {shown(lines_of_tokens)}; encode the text."
        ) from error
    num_blocks = len(stream) // length
    if num_blocks == 0:
        raise ValueError(
            f"a text of {len(stream)} tokens is shorter than one block of {length}; give more text, or shorter blocks."
        )
    return stream[: num_blocks * length].reshape(num_blocks, length)


def _fetch_wikitext2() -> Path:
    """Return the folder of wikitext-2, unpacked beside the hub's archive."""
    import huggingface_hub  # slow to import, and local text needs none of it

    try:
        archive = Path(huggingface_hub.hf_hub_download(*_WIKITEXT2, repo_type="dataset"))
        home = archive.with_suffix("")
        with zipfile.ZipFile(archive) as packed:
            for part in ("train", "valid", "test"):
                member = packed.getinfo(f"wikitext-2-raw/wiki.{part}.raw")
                check_unpacked(archive, member.compress_size, member.file_size)
                home.mkdir(exist_ok=True)
                (home / f"wiki.{part}.raw").write_bytes(packed.read(member))
    except Exception as error:  # many kinds: no network, a proxy's refusal, a damaged archive
        raise ValueError(
            f"wikitext-2 could not be fetched from the hub ({type(error).__name__}); put wiki.train.raw, "
            "wiki.valid.raw and wiki.test.raw into a folder and give its path, for example --text ./wikitext-2-raw."
        ) from error
    return home


def _wikitext2_files(folder: str | Path | None) -> dict[str, Path]:
    """Return the three files by their names without endings: to learn, to validate and to test with."""
    home = _fetch_wikitext2() if folder is None else folder_of(folder)
    files = {}
    for name in WIKITEXT2_SHA256:
        found = [path for ending in ("raw", "tokens") if is_there(path := home / f"{name}.{ending}")]
        if not found:
            raise ValueError(f"{home} has no {name}.raw; put the three files of wikitext-2 (raw) there.")
        files[name] = found[0]
    return files


def _embedded(name: str) -> list[list[str]]:
    return documents_of(lzma.decompress((_EMBEDDED / name).read_bytes()).decode("utf-8"))
