"""Folders of published models: found on disk or fetched from the hub, read and written without surprises.

`weights` and `tokenizer` read and write through here.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from collapse_jax.files.reading import TOLD, Refused, is_there, read_bytes


def find_folder(source: str | os.PathLike[str], choices: Sequence[Sequence[str]]) -> Path:
    """Return the folder of a model: a local one, or else the hub's, fetched once and kept.

    Args:
        source: a folder, or a hub id such as "facebook/opt-125m" when there is no such folder.
        choices: patterns of the files to fetch, best first; a choice is there when its last pattern matches.

    Raises:
        FileNotFoundError: no such folder, and the hub has no such model or is out of reach.
    """
    folder = Path(source)
    if os.path.isdir(folder):
        return folder
    if is_there(folder):
        raise FileNotFoundError(f"'{source}' is no folder; give one that holds config.json and the weights.")
    if not isinstance(source, str) or folder.is_absolute() or source.count("/") > 1 or source.startswith("."):
        raise FileNotFoundError(
            f"there is no folder '{source}'; give one that holds config.json and the weights."
        )
    for patterns in choices:
        folder = _fetch(source, patterns)
        if any(folder.glob(patterns[-1])):
            break
    return folder


def _fetch(repository: str, patterns: Sequence[str]) -> Path:
    import huggingface_hub  # slow to import, and local folders need none of it

    try:
        return Path(huggingface_hub.snapshot_download(repository, allow_patterns=list(patterns)))
    except Exception as error:  # many kinds: no network, no such model, no permission, a proxy's refusal
        raise FileNotFoundError(
            f"'{repository}' is no local folder and could not be fetched from the hub ({type(error).__name__}); "
            f"put its files ({', '.join(patterns)}) into a folder and give the folder's path."
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else.
    """
    if not is_there(path):
        raise FileNotFoundError(f"'{path.parent}' has no {path.name}; give a folder in the hub's format.")
    text = read_bytes(path, TOLD)
    with damage_named(path):
        content = json.loads(text.decode("utf-8-sig"))
    if not isinstance(content, dict):
        raise ValueError(f"'{path}' holds no JSON object; take it again from where it came from.")
    return content


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn whatever a library says of an unreadable file into one sentence that names the file.

    Raises:
        Refused: inside it was refused in a sentence already.
        ValueError: anything else failed inside.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, Refused):
        raise
    except BaseException as error:  # a panic of the tokenizer's library is no Exception
        told = " ".join(str(error).split())[:200].rstrip(".")
        raise ValueError(damaged(path, told or type(error).__name__)) from error


def damaged(path: Path, why: str) -> str:
    """Return the sentence on a file that is not what it should be."""
    return f"'{path}' is damaged, cut off or of another kind ({why}); take it again from where it came from."


def write_together(folder: Path, writers: Mapping[str, Callable[[Path], Any]]) -> None:
    """Write files into a folder so that no reader finds a half-written one.

    All are complete and on the disk before the first takes its place. Files of the same names are taken away from the
    last to the first, then the new ones come from the first to the last: killed in between, a reader who insists on
    the last finds it missing, and never meets old and new together.

    Args:
        folder: made when missing.
        writers: name of each file -> a function that writes it at a path.

    Raises:
        ValueError: there is a file of the folder's name.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"'{folder}' is a file; name a folder.")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished-") as scratch:
        plain = Path(scratch, "plain")
        plain.touch()
        for name, write in writers.items():
            write(Path(scratch, name))
            Path(scratch, name).chmod(
                plain.stat().st_mode
            )  # safetensors makes files that only their owner reads
            _to_disk(Path(scratch, name))
        for name in reversed(list(writers)):
            (folder / name).unlink(missing_ok=True)
        for name in writers:
            os.replace(Path(scratch, name), folder / name)
    _to_disk(folder)


def write_json(content: dict[str, Any]) -> Callable[[Path], Any]:
    """Return a function that writes this object as JSON at a path."""
    return write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_text(content: str) -> Callable[[Path], Any]:
    """Return a function that writes this text at a path, in UTF-8."""
    return lambda path: path.write_text(content, encoding="utf-8", newline="\n")


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
