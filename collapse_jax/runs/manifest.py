"""What the JSON files of a run directory say, checked: a directory may come from anybody, or be half of one."""

import json
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from collapse_jax.files.reading import read_json
from collapse_jax.validation import is_plain_name

REPLACED = "being replaced"  # the status of a run in whose place another is being put
_SEAL = "seal"
_VERDICTS = ("holds", "fails", "inconclusive", "not testable")
_NUMBER = (int, float)
_MAYBE_NUMBER, _MAYBE_STR = (int, float, type(None)), (str, type(None))
_CONFIG: dict[str, Any] = {
    "status": str, "study": str, "preset": str, "command": str, "config": dict, "digest": str, "seconds": _NUMBER,
    "versions": dict, "device": str, "started": str, "shards": list,
}  # fmt: skip
_MAYBE: dict[str, Any] = {
    "title": str, "remarks": list, "data": dict, "file": dict, "grid": dict, "resumed": list, "record_every": int,
    "drawn": dict, "settings": dict, "answer": str, "keep_states": bool,
}  # fmt: skip
_CLAIM: dict[str, Any] = {
    "name": str, "verdict": str, "statement": str, "source": str, "label": str, "reason": str, "interval": list,
    "region": list, "num_seeds": int, "num_excluded": int,
}  # fmt: skip
_CLAIM_MAYBE: dict[str, Any] = {
    "shared": _MAYBE_STR, "departure": _MAYBE_STR, "estimate": _MAYBE_NUMBER, "level": _MAYBE_NUMBER,
    "null": _MAYBE_NUMBER, "needs": str,
}  # fmt: skip


def sealed(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file is to say, in JSON's types, with a check sum of it."""
    content = {name: value for name, value in told.items() if name != _SEAL}
    return {**content, _SEAL: _seal(content)}


def read_sealed(path: Path, remedy: str) -> dict[str, Any]:
    """Return what a `sealed` file says; one without a seal is taken as it is.

    Raises:
        ValueError: it is missing or no JSON object (`remedy` ends the sentence), or not as it was written.
    """
    told = read_json(path, remedy)
    if not isinstance(told, dict):
        raise ValueError(f"{path} holds {told!r:.40} where a run writes an object; {remedy}.")
    seal = told.pop(_SEAL, None)
    if seal is not None and seal != _seal(told):
        raise ValueError(f"{path} is not as it was written (its check sum differs); {_REMEDY}")
    return told


def plain(value: Any) -> Any:
    """Return JSON's own types; a number that is not finite becomes None."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def sum_of(content: bytes) -> str:
    """Return a short check sum of a file."""
    return f"{zlib.crc32(content):08x}"


def _seal(told: Mapping[str, Any]) -> str:
    return sum_of(json.dumps(told, sort_keys=True).encode())


def read_description(path: Path) -> dict[str, Any]:
    """Return what a `config.json` says.

    Raises:
        ValueError: it is missing, no JSON, or not what a run wrote there.
    """
    told = read_sealed(path, "name the --out of a run")
    if told.get("status") == REPLACED:
        return told
    _check(path, told, _CONFIG, _MAYBE)
    if not told["shards"]:
        raise ValueError(_odd(path, "shards", []))
    for shard in told["shards"]:
        if not (isinstance(shard, list) and len(shard) == 2 and all(_is_count(number) for number in shard)):
            raise ValueError(_odd(path, "shards", shard))
    if "file" in told:
        _check(path, told["file"], {"path": str, "digest": str, "versions": dict}, {"drawn_by": str})
    if "grid" in told:
        _check(path, told["grid"], {"axes": dict, "record_every": int}, {})
        for name, values in told["grid"]["axes"].items():
            if not isinstance(values, list):
                raise ValueError(_odd(path, name, values))
    return told


def run_folders(path: Path) -> list[Path]:
    """Return the run directories in a directory: itself, or those directly below it.

    Raises:
        ValueError: there is none.
    """
    places = [path, *sorted(entry for entry in path.iterdir() if entry.is_dir())] if path.is_dir() else []
    found = [place for place in places if (place / "config.json").is_file()]
    if not found:
        raise ValueError(
            f"{path} holds no run (no config.json there or one level below); name the --out of a run."
        )
    return found


def read_claims(folder: Path) -> list[dict[str, Any]]:
    """Return the verdicts that stand in a run directory.

    Raises:
        ValueError: they are missing, or not as a run writes them.
    """
    path = folder / "claims.json"
    claims = _list(path)
    for claim in claims:
        _check(path, claim, _CLAIM, _CLAIM_MAYBE)
        if claim["verdict"] not in _VERDICTS:
            raise ValueError(_odd(path, "verdict", claim["verdict"]))
        claim.setdefault("estimate", None)
        for name in ("interval", "region"):
            bounds = claim[name]
            if len(bounds) != 2 or not all(bound is None or _is(bound, _NUMBER) for bound in bounds):
                raise ValueError(_odd(path, name, bounds))
    return claims


def read_captions(folder: Path) -> list[dict[str, Any]]:
    """Return the names and captions of a run's figures; a name is of a file in `figures`.

    Raises:
        ValueError: they are missing, or not as a run writes them.
    """
    path = folder / "figures" / "captions.json"
    captions = _list(path)
    for caption in captions:
        _check(
            path, caption, {"name": str, "caption": str},
            {"film": dict, "alt": str, "least_width": int, "texts": list},
        )  # fmt: skip
        if not is_plain_name(caption["name"]):
            raise ValueError(_odd(path, "name", caption["name"]))
        if "film" in caption:
            _check(path, caption["film"], {"labels": list, "height": int, "width": int}, {})
        for passage in caption.get("texts", []):
            _check(path, passage, {"heading": str, "lines": list}, {})
            for line in passage["lines"]:
                if not (isinstance(line, list) and len(line) == 2 and all(isinstance(part, str) for part in line)):
                    raise ValueError(_odd(path, "lines", line))
    return captions


def _list(path: Path) -> list[Any]:
    told = read_json(path, "draw the run again, by collapse-jax report")
    if not isinstance(told, list):
        raise ValueError(f"{path} holds no list; draw the run again, by collapse-jax report.")
    return told


def _check(path: Path, told: Any, needed: Mapping[str, Any], maybe: Mapping[str, Any]) -> None:
    if not isinstance(told, dict):
        raise ValueError(f"{path} holds {told!r:.40} where a run writes an object; {_REMEDY}")
    for name, kind in needed.items():
        if not _is(told.get(name), kind):
            raise ValueError(_odd(path, name, told.get(name)))
    for name, kind in maybe.items():
        if name in told and not _is(told[name], kind):
            raise ValueError(_odd(path, name, told[name]))


_REMEDY = "it was changed or is another program's: take the directory again from where the run was made."


def _odd(path: Path, name: str, value: Any) -> str:
    return f"{path} says {value!r:.40} of '{name}', which no run writes; {_REMEDY}"


def _is(value: Any, kind: Any) -> bool:
    if isinstance(value, bool):
        return kind is bool
    if isinstance(value, float):  # neither infinite nor NaN: a run writes null for these
        return isinstance(value, kind) and abs(value) <= sys.float_info.max
    if isinstance(value, int):
        return isinstance(value, kind) and -(2**63) <= value < 2**63
    return isinstance(value, kind)


def _is_count(value: Any) -> bool:
    return _is(value, int) and value >= 0
