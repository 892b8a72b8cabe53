"""What a monitor has seen, as a file: a training run that is stopped goes on with the evidence it had.

The reference is not in it: whoever restores makes the monitor anew, of the same reference, seed and statistics.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from collapse_jax.files.arrays import load_arrays, save_arrays
from collapse_jax.monitor.alarm import Evidence
from collapse_jax.monitor.kinds.kind import Moments
from collapse_jax.monitor.readings import Measured, Reading
from collapse_jax.monitor.rows import Rows


@dataclasses.dataclass
class Past:
    """What a monitor has seen.

    Attributes:
        bag: rows of the reference and of earlier generations.
        evidence: of each statistic.
        raised: by which statistic the alarm was raised, and in which generation.
        signs: 64 bits of all samples of a generation -> its number.
        moments: of each generation.
        totals: of how many draws each was.
        readings: of each.
    """

    bag: Rows
    evidence: dict[str, Evidence]
    raised: dict[str, int] = dataclasses.field(default_factory=dict)
    signs: dict[int, int] = dataclasses.field(default_factory=dict)
    moments: list[Moments] = dataclasses.field(default_factory=list)
    totals: list[int] = dataclasses.field(default_factory=list)
    readings: list[Reading] = dataclasses.field(default_factory=list)


def save_past(path: Path, past: Past, capacity: int, about: dict[str, Any]) -> None:
    """Write it durably.

    Args:
        path: the file.
        past: what was seen.
        capacity: of the bag.
        about: what the monitor was made of, which must be the same when it is read.

    Raises:
        ValueError: the file cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    for name in past.bag:
        arrays |= _flat(name, past.bag[name])
    for name in ("mean", "covariance"):
        found = [np.asarray(getattr(one, name)) for one in past.moments]
        arrays[f"moments.{name}"] = np.stack(found) if found else np.zeros(0)
    told = {
        "about": about, "capacity": capacity, "raised": past.raised, "totals": past.totals,
        "signs": [[str(sign), generation] for sign, generation in past.signs.items()],
        "evidence": {name: [one.checks, one.log_staked] for name, one in past.evidence.items()},
        "moments": [[one.noise, one.kept, one.num] for one in past.moments],
        "readings": [
            [*reading[:3], [list(one) for one in reading.measured], reading.directions.tolist(), *reading[5:]]
            for reading in past.readings
        ],
    }  # fmt: skip
    save_arrays(path, arrays, {"past": json.dumps(told)})


def load_past(path: Path, about: dict[str, Any]) -> tuple[Past, int]:
    """Return what was seen, and the capacity of the bag.

    Raises:
        ValueError: the file is damaged, or of a monitor that was made of something else.
    """
    arrays, header = load_arrays(path)
    told = json.loads(header["past"])
    for name, value in about.items():
        if told["about"].get(name) != value:
            raise ValueError(
                f"{path} is of a monitor with another {name} ({told['about'].get(name)}, here {value}); "
                "make the monitor as it was."
            )
    names = dict.fromkeys(name.split(":")[0] for name in arrays if not name.startswith("moments."))
    past = Past(
        Rows(**{name: _ragged(name, arrays) for name in names}),
        {name: Evidence(*values) for name, values in told["evidence"].items()},
        told["raised"], {int(sign): generation for sign, generation in told["signs"]},
        [
            Moments(mean, covariance, *rest)
            for mean, covariance, rest in zip(arrays["moments.mean"], arrays["moments.covariance"], told["moments"])
        ],
        told["totals"],
        [_reading(*values) for values in told["readings"]],
    )  # fmt: skip
    return past, told["capacity"]


def _reading(
    generation: int, num_rows: int, num_given: int, measured: list[Any], directions: list[float], needed: float,
    alarm: bool, raised_by: list[str], notes: list[str],
) -> Reading:  # fmt: skip
    return Reading(
        generation, num_rows, num_given, tuple(Measured(*one) for one in measured), np.array(directions), needed, alarm,
        tuple(raised_by), tuple(notes),
    )  # fmt: skip


def _flat(name: str, column: np.ndarray) -> dict[str, np.ndarray]:
    """Return a column as plain arrays: ragged ones as one array and the lengths."""
    if column.dtype != object:
        return {name: column}
    kind = "bytes" if len(column) and isinstance(column[0], bytes) else "numbers"
    parts = [np.frombuffer(cell, np.uint8) if kind == "bytes" else cell for cell in column]
    lengths = np.array([len(part) for part in parts], np.int64)
    return {
        f"{name}:{kind}": np.concatenate([np.zeros(0, parts[0].dtype), *parts]),
        f"{name}:lengths": lengths,
    }


def _ragged(name: str, arrays: dict[str, np.ndarray]) -> np.ndarray:
    if name in arrays:
        return arrays[name]
    ends = np.cumsum(arrays[f"{name}:lengths"])
    kind = "bytes" if f"{name}:bytes" in arrays else "numbers"
    column = np.empty(len(ends), object)
    for place, part in enumerate(np.split(arrays[f"{name}:{kind}"], ends[:-1])):
        column[place] = part.tobytes() if kind == "bytes" else part
    return column
