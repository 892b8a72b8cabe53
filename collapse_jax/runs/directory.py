"""The run directory: what a study leaves on disk.

    DIR/config.json      study, preset, every field, check sums of data, versions, device, commit, command, status
    DIR/records/         one file for each segment of each shard of seeds, until the run is finished
    DIR/checkpoints/     the last two states of each shard; of a finished run the last, if asked for
    DIR/trajectory.nc    all records, put together when the run ends or is interrupted
    DIR/claims.json      verdicts
    DIR/study.py         of a study of one's own, its file as the run began
    DIR/figures/         PNG, SVG, the numbers as CSV, a GIF where a figure moves, captions
    DIR/report.html      written by `report`
"""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from collapse_jax.drivers.results import (
    Records,
    as_stored,
    join_records,
    read_netcdf,
    to_dataset,
    write_netcdf,
)
from collapse_jax.files.writing import PART, remove_folder, remove_parts, write_atomically
from collapse_jax.runs.checkpoints import NPZ, Checkpoints, Format
from collapse_jax.runs.manifest import (
    REPLACED,
    plain,
    read_claims,
    read_description,
    sealed,
    sum_of,
)
from collapse_jax.runs.provenance import provenance
from collapse_jax.runs.record_files import RecordFiles
from collapse_jax.studies.plan import Plan
from collapse_jax.validation import check_alike

_OURS = ("trajectory.nc", "claims.json", "report.html", "study.py", "figures", "records", "checkpoints", "config.json")


class Shard(NamedTuple):
    """Some consecutive seeds that one process runs together; how seeds are cut is fixed when a run begins."""

    first_seed: int
    num_seeds: int

    def label(self, arm: int) -> str:
        """Return the name under which its files stand.

        >>> Shard(64, 32).label(0)
        'arm000-seed00000064'
        """
        return f"arm{arm:03d}-seed{self.first_seed:08d}"


def shards_of(num_seeds: int, lanes: int, count: int, *, on_host: bool) -> list[Shard]:
    """Return the seeds in whole lane blocks, cut into at most `count` shards; from the host each seed is one.

    >>> shards_of(40, 16, 2, on_host=False)
    [Shard(first_seed=0, num_seeds=32), Shard(first_seed=32, num_seeds=8)]
    """
    if on_host:
        return [Shard(seed, 1) for seed in range(num_seeds)]
    num_blocks = -(-num_seeds // lanes)
    edges = np.unique(np.linspace(0, num_blocks, min(count, num_blocks) + 1).round().astype(int)) * lanes
    return [Shard(int(a), int(min(b, num_seeds) - a)) for a, b in pairwise(edges)]


class Lacking(ValueError):
    """A run has come to its end, and some of its records are not whole."""


class RunDirectory:
    """A run on disk; written atomically, file by file.

    Args:
        path: where.
        form: of its checkpoints.
    """

    def __init__(self, path: Path, form: Format = NPZ) -> None:
        self.path = path
        self.checkpoints = Checkpoints(path / "checkpoints", form)
        self.records = RecordFiles(path / "records")

    @classmethod
    def create(cls, path: Path, description: dict[str, Any]) -> "RunDirectory":
        """Return a new run directory, with `config.json` written; what an earlier run left there is removed.

        A kill on the way leaves the earlier run, one that says that it was being replaced, or nothing but `records`.

        Raises:
            ValueError: `path` cannot be written.
        """
        run = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            if (path / "config.json").exists():
                run._write_description({"status": REPLACED})
            remove_parts(path)
            for name in _OURS:  # config.json last: without it nobody would know what the rest is
                target = path / name
                remove_folder(target) if target.is_dir() else target.unlink(missing_ok=True)
            (path / "records").mkdir(exist_ok=True)
        except OSError as error:
            raise ValueError(f"{path} cannot be written ({error.strerror}); choose another --out.") from error
        started = {"status": "running", "digest": _digest(description), "seconds": 0.0, **provenance()}
        run._write_description({**description, **started})
        return run

    @property
    def description(self) -> dict[str, Any]:
        """What `config.json` says.

        Raises:
            ValueError: it is missing, or not as a run writes it.
        """
        return read_description(self.path / "config.json")

    def describe(self, **changes: Any) -> None:
        """Change what `config.json` says."""
        self._write_description({**self.description, **changes})

    def is_as_begun(self) -> bool:
        """True while the configuration in `config.json` is the one the run began with."""
        return self.description["digest"] == _digest(self.description)

    def is_worth_keeping(self) -> bool:
        """True unless nothing was finished there, or it was being replaced anyway."""
        return self.holds_something() and self.description.get("status") != REPLACED

    def holds_something(self) -> bool:
        """True when there is anything to go on from, or to look at."""
        written = [*self.path.glob("records/*"), *self.path.glob("checkpoints/*"), *self.path.glob("trajectory.nc")]
        return bool(written)

    @property
    def shards(self) -> list[Shard]:
        """How the seeds are cut."""
        return [Shard(*shard) for shard in self.description["shards"]]

    def assemble(self, plan: Plan, generations: int | None = None) -> xr.Dataset:
        """Put `trajectory.nc` together from the segments, and return it as it is read back; for who holds the lock.

        Args:
            plan: the run's.
            generations: of a run that has come to its end, those of arms that do not say it themselves; all seeds must
                have them. None takes what there is.

        Raises:
            Lacking: some seeds' records end before.
            ValueError: no segment was finished, or what was written is not what is read.
        """
        own = [generations if arm.generations is None else arm.generations for arm in plan.arms]
        lasts = [None] * len(own) if generations is None else own
        dataset = _assemble(plan, [self._of_arm(index, last) for index, last in enumerate(lasts)])
        if data := self.description.get("data"):
            dataset.attrs["data"] = json.dumps(data)

        found = []

        def write(part: Path) -> None:
            write_netcdf(dataset, part)
            found.append(read_netcdf(part))
            if not found[0].equals(as_stored(dataset)):
                raise ValueError(f"{self.path / 'trajectory.nc'} is not read as it was written; look after the disk.")

        write_atomically(self.path / "trajectory.nc", write)
        return found[0]

    def close(self) -> None:
        """Say that the run is finished; its records, which `trajectory.nc` holds, go, and its states.

        A kill between these leaves records or states of a finished run, which nobody reads any more; `resume` removes
        them.
        """
        self.describe(status="finished")
        self.tidy()

    def tidy(self) -> None:
        """Remove what a finished run needs no more: records, and unless they were asked for the last states."""
        remove_folder(self.path / "records")
        if not self.description.get("keep_states", True):
            remove_folder(self.path / "checkpoints")
        remove_parts(self.path)

    def _of_arm(self, arm: int, last: int | None) -> Records | None:
        """Return an arm's records, all seeds as far as the slowest shard has come; None where one has none.

        Raises:
            Lacking: they do not reach generation `last`, where that is given.
        """
        shards = []
        for label in (shard.label(arm) for shard in self.shards):
            segments = list(self.records.readable(label))
            reached = segments[-1][0] if segments else -1
            if last is not None and reached != last:
                raise Lacking(
                    f"records in {self.path / 'records'} were damaged while the run was under way ({label} has "
                    f"generations up to {reached} of {last}); go on with collapse-jax resume {self.path}, which "
                    "computes them again."
                )
            shards.append([records for _, records in segments])
        if not all(shards):
            return None
        joined = [join_records(parts) for parts in shards]
        first, *others = ({name: array[0, 0] for name, array in records.items()} for records in joined)
        for shard, other in zip(self.shards[1:], others):
            remedy = "record the same names and shapes for every seed."
            check_alike(first, other, "the record of the first seed", f"that of seed {shard.first_seed}", remedy)
        num = min(next(iter(records.values())).shape[1] for records in joined)
        return {name: np.concatenate([part[name][:, :num] for part in joined]) for name in joined[0]}

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file; numbers that JSON lacks become null."""
        text = json.dumps(plain(content), indent=2, allow_nan=False) + "\n"
        write_atomically(self.path / name, lambda part: part.write_text(text, encoding="utf-8"))

    def _write_description(self, told: dict[str, Any]) -> None:
        self.write_json("config.json", sealed(json.loads(json.dumps(plain(told)))))

    def note_drawn(self) -> None:
        """Write down the check sums of figures and verdicts, as they are now."""
        entries = [self.path / "claims.json", *(self.path / "figures").iterdir()]
        files = [entry for entry in entries if entry.is_file() and not entry.name.startswith(PART)]
        names = sorted(file.relative_to(self.path).as_posix() for file in files)
        self.describe(drawn={name: sum_of((self.path / name).read_bytes()) for name in names})

    @property
    def verdicts(self) -> list[dict[str, Any]]:
        """What `claims.json` says.

        Raises:
            ValueError: it, or what was drawn with it, is missing or was changed.
        """
        self.check_drawn()
        return read_claims(self.path)

    def check_drawn(self) -> None:
        """Refuse figures and verdicts that are not as they were drawn.

        Raises:
            ValueError: one is gone or was changed.
        """
        for name, expected in self.description.get("drawn", {}).items():
            path = self.path / name
            if not path.is_file() or sum_of(path.read_bytes()) != expected:
                raise ValueError(
                    f"{path} is not as it was drawn; draw it again, by collapse-jax report {self.path}."
                )


def check_free(path: Path, *, overwrite: bool) -> None:
    """Refuse a directory that must not be written to.

    Raises:
        ValueError: it is a file, holds a run that may not be overwritten, or holds anything else.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise ValueError(f"{path} is a file; choose a directory for --out.")
    held = {entry.name for entry in path.iterdir() if not entry.name.startswith(PART)}
    held -= {".lock", "records"}  # what one killed at its start leaves
    if "config.json" in held and not overwrite and RunDirectory(path).is_worth_keeping():
        raise ValueError(
            f"{path} already holds a run; go on with it by collapse-jax resume {path}, choose another --out, or add "
            "--overwrite to replace it."
        )
    if held and "config.json" not in held:
        raise ValueError(
            f"{path} holds files that are not a run ({sorted(held)[0]}, ...); choose another --out."
        )


def _digest(description: dict[str, Any]) -> str:
    """Return the check sum of all that decides which numbers a run gives."""
    decides = {name: description.get(name) for name in ("study", "config", "grid", "shards", "record_every")}
    return sum_of(json.dumps(plain(decides), sort_keys=True).encode())


def _assemble(plan: Plan, arms: Sequence[Records | None]) -> xr.Dataset:
    """Return all arms as one Dataset; generations that an arm did not reach are NaN."""
    if not any(arms):
        raise ValueError("the run stopped before its first segment was finished; go on with collapse-jax resume.")
    if plan.gather is not None:
        return plan.gather(arms)
    found = [
        (arm.value, to_dataset(records, arm.chain.metrics))
        for arm, records in zip(plan.arms, arms)
        if records is not None
    ]
    if plan.dim is None:
        # each arm's own flag of failure keeps its name beside the others'
        named = [part.rename({"is_finite": f"{value}_is_finite"}) for value, part in found]
        dataset = xr.merge(named, join="outer")
    else:
        placed = [part.expand_dims({plan.dim: [value]}) for value, part in found]
        dataset = xr.concat(placed, plan.dim, join="outer", combine_attrs="override")
    return dataset.assign_coords(
        {dim: list(labels) for dim, labels in plan.coordinates.items() if dim in dataset.dims}
    )
