"""The folder that a watch leaves: records, readings, figure and page, each written whole or not at all."""

import csv
import json
import math
import os
import platform
from collections.abc import Iterator
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from collapse_jax.files.writing import write_atomically
from collapse_jax.monitor.readings import Measured, Reading
from collapse_jax.watching.notes import grouped
from collapse_jax.watching.watch import Watched
from collapse_jax.watching.words import answer, from_the_first, outlook, state

READINGS = "readings.json"
_BEGINS = '{\n "format": "collapse-jax watch 1"'
_VERSIONS = ("collapse-jax", "numpy", "scipy", "pandas")
_MOST_ROWS = 100_000  # of records: generations that are missing have one, without values


def folder_for(paths: list[Path]) -> Path:
    """Return where a watch of these paths is put: `watch-NAME` beside what they lie in, or in the working folder."""
    here = Path.cwd()
    try:
        common = Path(os.path.commonpath([os.path.abspath(path) for path in paths]))
    except ValueError:  # on several drives
        common = here
    name = f"watch-{(common.name if common.is_dir() else common.name.split('.')[0]) or 'samples'}"
    if (len(paths) > 1 and common in (here, *here.parents)) or not os.access(common.parent, os.W_OK):
        return Path(name)
    place = common.parent / name
    return place.relative_to(here) if place.is_relative_to(here) else place


def check_folder(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that holds something else, or an earlier watch that is not to be replaced.

    Raises:
        ValueError: it is one of these, no folder, or cannot be written.
    """
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if there.is_dir() and not os.access(there, os.W_OK):
        raise ValueError(f"{folder} cannot be written; name another folder by --out.")
    if not folder.exists():
        if not there.is_dir():
            raise ValueError(f"{there} is a file; name another folder by --out.")
        return
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file; name a folder by --out.")
    if not any(folder.iterdir()):
        return
    if not _is_watch(folder):
        raise ValueError(f"{folder} holds something else; name another folder by --out.")
    if not overwrite:
        raise ValueError(
            f"{folder} holds an earlier watch; add --overwrite, or name another folder by --out."
        )


def write_readings(found: Watched, folder: Path, command: str = "") -> None:
    """Write `readings.json` and `records.csv`."""
    told = {**summary(found), "command": command, "versions": _versions(), "readings": [*_readings(found)]}
    text = _BEGINS + "," + json.dumps(told, indent=1, allow_nan=False)[1:] + "\n"
    write_atomically(folder / READINGS, lambda part: part.write_text(text, encoding="utf-8"))
    write_atomically(folder / "records.csv", lambda part: _write_records(found, part))


def summary(found: Watched) -> dict[str, Any]:
    """Return the answer and what it rests on, in JSON's types; a number that is not finite is None."""
    last = found.judged[-1] if found.judged else None
    told = {
        "answer": answer(found),
        "state": state(found),
        "outlook": outlook(found),
        "warning": from_the_first(found),
        "alarm": found.alarm,
        "raised_by": found.raised_by,
        "alpha": found.alpha,
        "generations": [reading.generation for reading in found.readings],
        "reference": {"name": found.reference, "generation": found.since, "num_samples": found.num_reference},
        "kind": found.kind,
        "forecast": found.forecast._asdict(),
        "last": None if last is None else _reading(last, found.names[found.readings.index(last)]),
        "notes": grouped(found.notes),
    }
    return _plain(told)


def _readings(found: Watched) -> Iterator[Any]:
    for reading, name in zip(found.readings, found.names):
        yield _plain(_reading(reading, name))


def _reading(reading: Reading, name: str) -> dict[str, Any]:
    return {
        "generation": reading.generation,
        "name": name,
        "num_rows": reading.num_rows,
        "num_given": reading.num_given,
        "alarm": reading.alarm,
        "evidence": reading.evidence,
        "statistics": {one.name: _measured(one, reading.needed) for one in reading.measured},
        "directions": reading.directions.tolist(),
        "notes": reading.notes,
    }


def _measured(one: Measured, needed: float) -> dict[str, Any]:
    return {
        "value": one.value, "usual": [one.low, one.high], "expected": one.expected, "p": one.p, "e": one.e,
        "evidence": one.evidence / needed, "about": one.about,
    }  # fmt: skip


def _write_records(found: Watched, path: Path) -> None:
    """Write a row for each generation, also for those that are missing, so that steps are equal."""
    rows = {reading.generation: _row(reading) for reading in found.readings}
    numbers = list(rows)
    step = max(math.gcd(*(later - number for number, later in pairwise(numbers))), 1)
    if (numbers[-1] - numbers[0]) // step < _MOST_ROWS:
        numbers = list(range(numbers[0], numbers[-1] + 1, step))
    with path.open("w", newline="", encoding="utf-8") as file:
        written = csv.DictWriter(file, ["generation", *found.statistics, "evidence"], restval="")
        written.writeheader()
        written.writerows({"generation": number, **rows.get(number, {})} for number in numbers)


def _row(reading: Reading) -> dict[str, float]:
    values = {one.name: one.value for one in reading.measured}
    return {**values, "evidence": reading.evidence} if values else {}


def _versions() -> dict[str, str]:
    return {**{name: version(name) for name in _VERSIONS}, "python": platform.python_version()}


def _is_watch(folder: Path) -> bool:
    try:
        with (folder / READINGS).open(encoding="utf-8", errors="replace") as file:
            return file.read(len(_BEGINS)) == _BEGINS
    except OSError:
        return False


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
