"""Named tensors from the files that models are published in, read without running anything.

safetensors and msgpack hold nothing but tensors. PyTorch's .bin is a pickle, which can hold any program; it is opened
only by PyTorch's own weights-only loader.
"""

import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import safetensors
from flax import serialization

from collapse_jax.files.reading import is_there, read_bytes, size_of
from collapse_jax.networks.opt.hub import damage_named, read_json
from collapse_jax.validation import is_plain_name

Layout = Literal["torch", "flax"]

# by preference: the first two cannot hold code
FORMATS = ("model.safetensors", "flax_model.msgpack", "pytorch_model.bin")
PATTERNS = tuple(f"{Path(name).stem}*{Path(name).suffix}*" for name in FORMATS)
# what the pickle of a dict of tensors names
_NAMED = re.compile(r"collections OrderedDict|torch \w+Storage|torch\._utils _rebuild_(tensor_v2|parameter)")
_OLD = 0x1950A86A20F9469CFC6C  # what a file from before PyTorch 1.6 begins with
_SAFE_TORCH = (2, 6)  # before it, weights_only=True could be got round: CVE-2025-32434


def read_tensors(folder: Path) -> tuple[Layout, Iterator[tuple[str, np.ndarray]]]:
    """Return how a folder's weights are laid out, and an iterator over their names and values.

    Args:
        folder: with one of `FORMATS`, or its shards and their index.

    Returns:
        The layout: "torch" stores linear kernels as [outputs, inputs], "flax" as [inputs, outputs]. Names are
        dotted. The iterator reads one tensor, or one file, at a time.

    Raises:
        FileNotFoundError: no weights, or a shard is missing.
        ValueError: a file is damaged or holds something else than tensors; raised while iterating.
        ImportError: a .bin without a PyTorch that reads it safely; raised while iterating.
    """
    files = weight_files(folder)
    read = {".safetensors": _safetensors, ".msgpack": _msgpack, ".bin": _bin}[files[0].suffix]
    layout: Layout = "flax" if files[0].suffix == ".msgpack" else "torch"
    return layout, (pair for path in files for pair in read(path))


def weight_files(folder: Path) -> list[Path]:
    """Return the files that a folder's weights are read from.

    Raises:
        FileNotFoundError: no weights, or a shard is missing.
        ValueError: an index names no files, or a file is none, such as a pipe.
    """
    for name in FORMATS:
        if is_there(folder / name):
            size_of(folder / name)
            return [folder / name]
        index = folder / f"{name}.index.json"
        if is_there(index):
            return _shards(index, Path(name).suffix)
    raise FileNotFoundError(
        f"'{folder}' holds no weights; it needs one of {', '.join(FORMATS)}, or their shards."
    )


def has_weights(folder: Path) -> bool:
    """Return whether a folder holds one of `FORMATS`, or an index of its shards."""
    return any(is_there(folder / name) or is_there(folder / f"{name}.index.json") for name in FORMATS)


def _shards(index: Path, suffix: str) -> list[Path]:
    where = read_json(index).get("weight_map")
    names = set(where.values()) if isinstance(where, dict) and _all_text(where) else set()
    # a name with a folder in it could point outside of this one
    if not names or any(not is_plain_name(name) or Path(name).suffix != suffix for name in names):
        raise ValueError(f"'{index}' has no usable `weight_map`; take it again from where it came from.")
    for name in sorted(names):
        if not is_there(index.parent / name):
            raise FileNotFoundError(
                f"'{index.parent}' has no {name:.100}, which {index.name} names; fetch that too."
            )
        size_of(index.parent / name)
    return [index.parent / name for name in sorted(names)]


def _all_text(mapping: dict[str, Any]) -> bool:
    return all(isinstance(value, str) for value in mapping.values())


def _safetensors(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    with damage_named(path), safetensors.safe_open(path, framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118  (not a dict)
            yield name, file.get_tensor(name)


def _msgpack(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    with damage_named(path):
        yield from _dotted(serialization.msgpack_restore(read_bytes(path)), ())


def _dotted(tree: Any, path: tuple[str, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """Walk nested dicts; the names of their keys are joined by dots."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _dotted(value, (*path, str(key)))
    elif isinstance(tree, np.ndarray):
        yield ".".join(path), tree
    else:
        raise TypeError(f"it holds no tensor but {type(tree).__name__} at {'.'.join(path) or 'its top'}")


def _bin(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    torch = _safe_torch(path)
    with damage_named(path):
        archive = zipfile.is_zipfile(path)
        _check_pickles(_members(path) if archive else _in_a_row(path), path.stat().st_size)
        # mapped: no more is read than the file has, whatever sizes it says
        tensors = torch.load(path, map_location="cpu", weights_only=True, mmap=archive)
        for name, tensor in dict(tensors).items():
            if not isinstance(tensor, torch.Tensor):
                raise TypeError(f"it holds no tensor but {type(tensor).__name__} at {name}")
            if tensor.numel() * tensor.element_size() > path.stat().st_size:  # one value, said to be a million
                raise ValueError(f"{name} is larger than the file")
            # NumPy has no bfloat16 of its own; widening to float32 loses nothing
            yield str(name), (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _check_pickles(pickles: Iterator[IO[bytes]], size: int) -> None:
    """Refuse what could run or fill memory: names that no weights need, and numbers beyond the file's size."""
    for pickle in pickles:
        for operation, argument, _ in pickletools.genops(pickle):
            if operation.name == "GLOBAL" and not _NAMED.fullmatch(str(argument)):
                raise ValueError(f"it names {argument}, which no weights need")
            if isinstance(argument, int) and size < argument != _OLD:
                raise ValueError(f"it asks for {argument} values and has {size} bytes")


def _members(path: Path) -> Iterator[IO[bytes]]:
    """Open the pickles of what PyTorch writes since 1.6, an archive whose members are never packed."""
    with zipfile.ZipFile(path) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("its members are packed")
        for member in [name for name in archive.namelist() if name.endswith("data.pkl")]:
            yield archive.open(member)


def _in_a_row(path: Path) -> Iterator[IO[bytes]]:
    """Stand before each pickle of what PyTorch wrote before 1.6.

    They are what it is, its version, the machine's sizes, the tensors, and the order of the values that follow.
    """
    with path.open("rb") as file:
        for _ in range(5):
            yield file


def _safe_torch(path: Path) -> Any:
    """Return the module torch, whose loader refuses to run what a pickle holds."""
    remedy = (
        f"install torch >= {'.'.join(map(str, _SAFE_TORCH))}, or convert the file where transformers is installed: "
        "AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder) writes model.safetensors."
    )
    try:
        import torch
    except ImportError as error:
        raise ImportError(f"'{path}' is a pickle, which only PyTorch reads safely; {remedy}") from error
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < _SAFE_TORCH:
        raise ImportError(f"'{path}' is a pickle, which torch {torch.__version__} may run; {remedy}")
    return torch
