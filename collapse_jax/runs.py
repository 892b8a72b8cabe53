"""The run directory: what a study leaves on disk, and the loop that fills it.

    DIR/config.json      study, preset, every field, versions, device, commit, command, status
    DIR/records/         one file for each segment while the run goes on
    DIR/trajectory.nc    all records, assembled when the run ends or is interrupted
    DIR/claims.json      verdicts
    DIR/figures/         PNG and SVG, a GIF where a figure moves, captions
    DIR/report.html      written by `report`

Called by `cli`.
"""

import dataclasses
import json
import os
import platform
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr

from collapse_jax.chain import Chain
from collapse_jax.claims import Verdict, judge
from collapse_jax.drivers import Segment, run_compiled, run_host, segment_stops
from collapse_jax.errors import check_count
from collapse_jax.results import Records, join_records, read_netcdf, to_dataset, write_netcdf
from collapse_jax.studies.plan import Plan
from collapse_jax.studies.registry import Study, find_study
from collapse_jax.types import Key

_OURS = ("config.json", "trajectory.nc", "claims.json", "report.html", "figures", "records")
_RECORDED_VERSIONS = ("collapse-jax", "jax", "jaxlib", "numpy", "optax", "xarray")


class Progress(NamedTuple):
    """How far a run has come, for a progress bar."""

    label: str
    generation: int
    num_generations: int
    num_seeds: int


class RunDirectory:
    """A run on disk; written atomically, file by file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path, description: dict[str, Any], *, overwrite: bool) -> "RunDirectory":
        """Return a new run directory, with `config.json` written.

        Raises:
            ValueError: `path` cannot be written, or holds a run and `overwrite` is false, or something else.
        """
        check_free(path, overwrite=overwrite)
        try:
            path.mkdir(parents=True, exist_ok=True)
            for name in _OURS:
                target = path / name
                shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
            (path / "records").mkdir()
        except OSError as error:
            raise ValueError(f"{path} cannot be written ({error.strerror}); choose another --out.") from error
        run = cls(path)
        run.write_json("config.json", {**description, "status": "running", **_provenance()})
        return run

    @property
    def description(self) -> dict[str, Any]:
        """What `config.json` says."""
        return json.loads((self.path / "config.json").read_text())

    def append(self, arm: int, start: int, stop: int, records: Records) -> None:
        """Write one segment's records durably."""
        name = f"arm{arm:03d}-{start:08d}-{stop:08d}.npz"
        _write_atomically(
            self.path / "records" / name, lambda part: np.savez(part, allow_pickle=False, **records)
        )

    def segments(self, arm: int) -> list[Records]:
        """Return an arm's records, segment by segment; each file is whole, or not there."""
        parts = []
        for path in sorted((self.path / "records").glob(f"arm{arm:03d}-*.npz")):
            with np.load(path) as stored:
                parts.append(dict(stored))
        return parts

    def finish(self, plan: Plan, status: str, seconds: float) -> xr.Dataset:
        """Assemble `trajectory.nc` from the segments and return it."""
        dataset = _assemble(plan, [self.segments(arm) for arm in range(len(plan.arms))])
        _write_atomically(self.path / "trajectory.nc", lambda part: write_netcdf(dataset, part))
        shutil.rmtree(self.path / "records")
        self.write_json("config.json", {**self.description, "status": status, "seconds": round(seconds, 1)})
        return dataset

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file; numbers that JSON lacks become null."""
        text = json.dumps(_plain(content), indent=2, allow_nan=False) + "\n"
        _write_atomically(self.path / name, lambda part: part.write_text(text))


def check_free(path: Path, *, overwrite: bool) -> None:
    """Refuse a directory that must not be written to.

    Raises:
        ValueError: it is a file, holds a run that may not be overwritten, or holds anything else.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise ValueError(f"{path} is a file; choose a directory for --out.")
    held = {entry.name for entry in path.iterdir()}
    if "config.json" in held and not overwrite:
        raise ValueError(
            f"{path} already holds a run; choose another --out, or add --overwrite to replace it."
        )
    if held and "config.json" not in held:
        raise ValueError(
            f"{path} holds files that are not a run ({sorted(held)[0]}, ...); choose another --out."
        )


def execute(
    study: Study, config: Any, path: Path, *, preset: str, command: str, overwrite: bool,
    on_progress: Callable[[Progress], None],
) -> bool:  # fmt: skip
    """Run a study into a directory, draw it and judge it; return False when it was interrupted.

    Everything is checked before anything is written. Ctrl-C ends the run at the last whole segment and
    what is there is assembled, drawn and judged.

    Raises:
        ValueError: bad configuration, bad data, or a directory that must not be written to.
    """
    check_free(path, overwrite=overwrite)
    for name in ("generations", "seeds", "lanes"):
        check_count(name, getattr(config, name))
    module = study.load()
    plan = module.build(config)
    description = {
        "study": study.name,
        "preset": preset,
        "command": command,
        "config": dataclasses.asdict(config),
        "remarks": module.remarks(config) if hasattr(module, "remarks") else (),
    }
    run = RunDirectory.create(path, description, overwrite=overwrite)
    root, begun, status = jax.random.key(config.seed), time.monotonic(), "finished"
    try:
        for index, arm in enumerate(plan.arms):
            generations = config.generations if arm.generations is None else arm.generations
            stops = segment_stops(generations, plan.segment_length)
            place = arm.value if plan.dim is None else f"{plan.dim}={arm.value}"
            label = f"{study.name} {place}" if len(plan.arms) > 1 else study.name
            on_progress(Progress(label, 0, generations, config.seeds))
            for segment in _segments(plan, arm.chain, root, config.seeds, stops):
                run.append(index, segment.start, segment.stop, segment.records)
                on_progress(Progress(label, segment.stop, generations, config.seeds))
    except KeyboardInterrupt:
        status = "interrupted"
        if not run.segments(0):
            run.write_json("config.json", {**run.description, "status": status})
            raise
    run.finish(plan, status, time.monotonic() - begun)
    illustrate(run)
    return status == "finished"


def _segments(plan: Plan, chain: Chain, key: Key, num_seeds: int, stops: Sequence[int]) -> Iterator[Segment]:
    if plan.on_host:
        return run_host(chain, key, num_seeds, stops)
    return run_compiled(chain, key, num_seeds, stops, lanes=plan.lanes)


def illustrate(run: RunDirectory) -> list[Verdict]:
    """Draw the figures of a run and judge its claims, from what is on disk; return the verdicts.

    Raises:
        ValueError: the directory holds no readable run.
    """
    description = run.description
    study = find_study(description["study"])
    module, config = study.load(), study.config_from(description["config"])
    dataset = read_netcdf(run.path / "trajectory.nc")
    if isinstance(config.num_samples, tuple):  # an interrupted run may lack arms
        present = tuple(int(value) for value in np.atleast_1d(dataset["num_samples"].values))
        config = dataclasses.replace(config, num_samples=present)
    verdicts = judge(module.evidence(config, dataset))
    run.write_json("claims.json", [verdict._asdict() for verdict in verdicts])
    captions = [picture.save(run.path / "figures") for picture in module.figures(config, dataset)]
    run.write_json("figures/captions.json", captions)
    return verdicts


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


def assemble_if_needed(run: RunDirectory) -> None:
    """Assemble `trajectory.nc` of a run that was killed, from the segments it left.

    Raises:
        ValueError: no segment was finished.
    """
    if (run.path / "trajectory.nc").is_file():
        return
    description = run.description
    study = find_study(description["study"])
    if not run.segments(0):
        raise ValueError(
            f"{run.path} stopped before its first segment was finished; run it again with --overwrite."
        )
    run.finish(study.load().build(study.config_from(description["config"])), "interrupted", 0.0)


def _assemble(plan: Plan, segments: list[list[Records]]) -> xr.Dataset:
    """Return all arms as one Dataset; generations that an arm did not reach are NaN."""
    found = [
        (arm.value, to_dataset(join_records(parts), arm.chain.metrics))
        for arm, parts in zip(plan.arms, segments)
        if parts
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


def _provenance() -> dict[str, Any]:
    """Return versions, device, commit and date."""
    return {
        "versions": {
            **{name: version(name) for name in _RECORDED_VERSIONS},
            "python": platform.python_version(),
        },
        "device": f"{jax.devices()[0].device_kind} x {jax.device_count()}",
        "commit": _commit(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _commit() -> str | None:
    """Return the commit of the source tree this package runs from, or None for an installed one."""
    here = Path(__file__).resolve().parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    tracked = found.returncode == 0 and not re.search(r"site-packages", str(here))
    return found.stdout.strip() if tracked else None


def _write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under another name, flush it to disk, and give it its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".part-{path.name}")
    try:
        write(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _plain(value: Any) -> Any:
    """Return JSON's own types; a number that is not finite becomes None."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
