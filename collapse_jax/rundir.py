"""The run directory: what a study leaves on disk.

    DIR/config.json      study, preset, every field, check sums of data, versions, device, commit, command, status
    DIR/records/         one file for each segment of each shard of seeds, until the run is finished
    DIR/checkpoints/     the last two states of each shard; of a finished run the last
    DIR/trajectory.nc    all records, put together when the run ends or is interrupted
    DIR/claims.json      verdicts
    DIR/study.py         of a study of one's own, its file as the run began
    DIR/figures/         PNG and SVG, a GIF where a figure moves, captions
    DIR/report.html      written by `report`

Called by `runs` and `report`.
"""

import json
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from collapse_jax.checkpoints import Checkpoints
from collapse_jax.durable import remove_parts, write_atomically
from collapse_jax.errors import check_alike
from collapse_jax.provenance import digest, provenance
from collapse_jax.results import Records, join_records, to_dataset, write_netcdf
from collapse_jax.studies.plan import Plan

_OURS = ("config.json", "trajectory.nc", "claims.json", "report.html", "study.py", "figures", "records", "checkpoints")


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


class RunDirectory:
    """A run on disk; written atomically, file by file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = Checkpoints(path / "checkpoints")

    @classmethod
    def create(cls, path: Path, description: dict[str, Any]) -> "RunDirectory":
        """Return a new run directory, with `config.json` written; what an earlier run left there is removed.

        Raises:
            ValueError: `path` cannot be written.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            for name in _OURS:
                target = path / name
                shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
            (path / "records").mkdir()
        except OSError as error:
            raise ValueError(f"{path} cannot be written ({error.strerror}); choose another --out.") from error
        run = cls(path)
        text = json.dumps(plain(description["config"]), sort_keys=True)
        started = {"status": "running", "digest": digest(text), "seconds": 0.0, **provenance()}
        run.write_json("config.json", {**description, **started})
        return run

    @property
    def description(self) -> dict[str, Any]:
        """What `config.json` says.

        Raises:
            ValueError: it is missing, or not JSON.
        """
        path = self.path / "config.json"
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} cannot be read ({error}); name the --out of a run.") from error

    def describe(self, **changes: Any) -> None:
        """Change what `config.json` says."""
        self.write_json("config.json", {**self.description, **changes})

    def is_as_begun(self) -> bool:
        """True while the configuration in `config.json` is the one the run began with."""
        description = self.description
        return description["digest"] == digest(json.dumps(description["config"], sort_keys=True))

    def holds_something(self) -> bool:
        """True when there is anything to go on from, or to look at."""
        written = [*self.path.glob("records/*"), *self.path.glob("checkpoints/*"), *self.path.glob("trajectory.nc")]
        return bool(written)

    @property
    def shards(self) -> list[Shard]:
        """How the seeds are cut."""
        return [Shard(*shard) for shard in self.description["shards"]]

    def append(self, label: str, start: int, stop: int, records: Records) -> None:
        """Write one segment's records durably: what was recorded after generation start - 1, up to stop."""
        name = f"{label}-{start:08d}-{stop:08d}.npz"
        write_atomically(self.path / "records" / name, lambda part: _save(part, records))

    def segments(self, label: str) -> list[Records]:
        """Return a shard's records, segment by segment, up to the first that is not there or damaged."""
        return [records for _, records in self._readable(label)]

    def recorded_until(self, label: str) -> int:
        """Return the generation up to which a shard's records are there, from generation 0 on; -1 for none."""
        return max((stop for stop, _ in self._readable(label)), default=-1)

    def _readable(self, label: str) -> Iterator[tuple[int, Records]]:
        reached = -1
        for path in sorted((self.path / "records").glob(f"{label}-*.npz")):
            start, stop = (int(number) for number in path.stem.split("-")[-2:])
            if start != reached + 1:
                return
            try:
                with np.load(path) as stored:
                    yield stop, dict(stored)
            except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
                return
            reached = stop

    def assemble(self, plan: Plan) -> None:
        """Put `trajectory.nc` together from the segments.

        Raises:
            ValueError: no segment was finished.
        """
        dataset = _assemble(plan, [self._of_arm(index) for index in range(len(plan.arms))])
        if data := self.description.get("data"):
            dataset.attrs["data"] = json.dumps(data)
        write_atomically(self.path / "trajectory.nc", lambda part: write_netcdf(dataset, part))

    def close(self) -> None:
        """Say that the run is finished: nothing is left to go on from."""
        self.describe(status="finished")
        shutil.rmtree(self.path / "records")
        remove_parts(self.path)

    def _of_arm(self, arm: int) -> Records | None:
        """Return an arm's records, all seeds as far as the slowest shard has come; None where one has none."""
        shards = [self.segments(shard.label(arm)) for shard in self.shards]
        if not all(shards):
            return None
        joined = [join_records(parts) for parts in shards]
        first, *others = ({name: array[0, 0] for name, array in records.items()} for records in joined)
        for shard, other in zip(self.shards[1:], others):
            remedy = "record the same names and shapes for every seed."
            check_alike(first, other, "the record of the first seed", f"that of seed {shard.first_seed}", remedy)
        reached = min(next(iter(records.values())).shape[1] for records in joined)
        return {name: np.concatenate([part[name][:, :reached] for part in joined]) for name in joined[0]}

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file; numbers that JSON lacks become null."""
        text = json.dumps(plain(content), indent=2, allow_nan=False) + "\n"
        write_atomically(self.path / name, lambda part: part.write_text(text))


def check_free(path: Path, *, overwrite: bool) -> None:
    """Refuse a directory that must not be written to.

    Raises:
        ValueError: it is a file, holds a run that may not be overwritten, or holds anything else.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise ValueError(f"{path} is a file; choose a directory for --out.")
    held = {entry.name for entry in path.iterdir()} - {".lock", "records"}  # what one killed at its start leaves
    if "config.json" in held and not overwrite and RunDirectory(path).holds_something():
        raise ValueError(
            f"{path} already holds a run; go on with it by collapse-jax resume {path}, choose another --out, or add "
            "--overwrite to replace it."
        )
    if held and "config.json" not in held:
        raise ValueError(
            f"{path} holds files that are not a run ({sorted(held)[0]}, ...); choose another --out."
        )


def find_runs(path: Path) -> list[RunDirectory]:
    """Return the runs in a directory: itself, or those directly below it.

    Raises:
        ValueError: there is none.
    """
    places = [path, *sorted(entry for entry in path.iterdir() if entry.is_dir())] if path.is_dir() else []
    runs = [RunDirectory(place) for place in places if (place / "config.json").is_file()]
    if not runs:
        raise ValueError(
            f"{path} holds no run (no config.json there or one level below); name the --out of a run."
        )
    return runs


def plain(value: Any) -> Any:
    """Return JSON's own types; a number that is not finite becomes None."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


def _save(part: Path, records: Records) -> None:
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, **records)


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
