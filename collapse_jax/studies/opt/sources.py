"""What a run of the language-model study reads, said by check sums so that another can tell whether it was the same.

    text      SHA-256 of the three files of wikitext-2, or of a text of one's own
    weights   SHA-256 of a folder's file, or that they came from the hub
    tokens    the hub's name (git's check sum) of the vocabulary and of the merges
    network   in what its shape departs from OPT-125m's
"""

import dataclasses
import hashlib
from pathlib import Path

from collapse_jax.datasets.text import text_sum, wikitext2_sums
from collapse_jax.files.reading import TOLD, is_there, read_bytes, sha256, size_of
from collapse_jax.networks.opt.config import OPT_CONFIGS, OPTConfig
from collapse_jax.networks.opt.tensor_files import weight_files
from collapse_jax.studies.opt.config import OPTStudyConfig
from collapse_jax.studies.texts import TINY, is_wikitext2, load_model

_HOW = ("dtype", "precision", "remat", "init_std")  # how a network computes, and how it would begin without weights
_TOKENS = ("tokenizer.json", "vocab.json", "merges.txt")
_MOST_SUMMED = 2**31  # bytes: larger weights are not OPT-125m's


def data_read(config: OPTStudyConfig) -> dict[str, str]:
    """Return what is read, by name.

    Raises:
        ValueError: text or a model that cannot be read.
    """
    return {**_text(config.text), **_model(config.model)}


def _text(text: str | None) -> dict[str, str]:
    if text == "wikitext-2":
        return wikitext2_sums()
    if text is not None and is_wikitext2(text):
        return wikitext2_sums(text)
    return {"text": text_sum(text)}


def _model(source: str | None) -> dict[str, str]:
    shape = {"network": shape_of(load_model(source)[0])}
    if source is not None and not Path(source).is_dir():
        return {**shape, "weights": from_the_hub(source), "tokens": from_the_hub(source)}
    folder = TINY if source is None else Path(source)
    tokens = [folder / name for name in _TOKENS if is_there(folder / name)]
    if tokens[0].name == "tokenizer.json":  # it goes first, and nothing else is read
        tokens = tokens[:1]
    return {
        **shape,
        "weights": _weights(weight_files(folder)),
        "tokens": " ".join(git_sum(read_bytes(path, TOLD)) for path in tokens),
    }


def shape_of(network: OPTConfig) -> str:
    """Return in what a network differs from OPT-125m: "125m" for nothing."""
    there, here = (dataclasses.asdict(shape) for shape in (OPT_CONFIGS["125m"], network))
    differing = [f"{name} = {value}" for name, value in here.items() if value != there[name] and name not in _HOW]
    return ", ".join(differing) or "125m"


def from_the_hub(source: str) -> str:
    """Return what is said of files that were fetched by this name."""
    return f"{source}, from the hub"


def git_sum(content: bytes) -> str:
    """Return the name that git, and so the hub, gives to a file of this content.

    >>> git_sum(b"hello world")
    '95d09f2b10159347eece71399a7e2e907ea3df4f'
    """
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _weights(files: list[Path]) -> str:
    size = sum(size_of(path) for path in files)
    if size > _MOST_SUMMED:
        return f"{size} bytes"
    return sha256(*files)
