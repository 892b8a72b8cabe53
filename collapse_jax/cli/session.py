"""What the commands that run studies share: JAX made ready, studies one after the other, one report.

JAX is imported by the functions, not by this file.
"""

import dataclasses
import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from collapse_jax.cli.display import AS_USUAL, Shown, console, note
from collapse_jax.cli.progress import watching
from collapse_jax.cli.stopping import STOPPED
from collapse_jax.drivers.machine import import_jax, keep_programs, start_jax, use_every_core
from collapse_jax.files.reading import is_there
from collapse_jax.runs.manifest import read_sealed, sealed
from collapse_jax.studies.registry import Study
from collapse_jax.validation import is_plain_name


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Several processes that share one run, each with lane blocks of its own."""

    distributed: bool = False
    """Share the run with the other processes of this job, as the cluster's environment (for example Slurm's) says."""
    coordinator: str | None = None
    """Where there is no such environment: HOST:PORT of process 0, the same for all."""
    num_processes: int | None = None
    """How many processes there are."""
    process_id: int | None = None
    """The number of this one, from 0."""


def run_all(
    jobs: list[tuple[Study, Any, Path]], out: Path, preset: str, overwrite: bool, command: str, cluster: Cluster,
    *, axes: dict[str, tuple] | None = None, record_every: int = 1, shown: Shown = AS_USUAL, keep_states: bool = False,
) -> int:  # fmt: skip
    """Run studies one after the other; return the exit code.

    Args:
        jobs: study, configuration, run directory.
        out: for the report.
        preset: what the configurations began as.
        overwrite: replace earlier runs there.
        command: what was typed.
        cluster: the processes that share the work.
        axes: to sweep over, around each configuration; None for the studies themselves.
        record_every: of a sweep, generations 0, k, 2k, ... are recorded.
        shown: what is shown of it.
        keep_states: leave the last states of finished runs on disk.

    Raises:
        ValueError: bad configuration, bad data, or a directory that must not be written to.
    """
    place = prepare_jax(cluster)
    from collapse_jax.runs.directory import check_free
    from collapse_jax.runs.execute import execute
    from collapse_jax.studies.sweep import Grid

    grid = None if axes is None else Grid(axes, record_every)
    if place.leads:
        for _, _, path in jobs:  # all are checked before the first begins
            check_free(path, overwrite=overwrite)
        if any(path != out for _, _, path in jobs):
            _write_jobs(out, [(study.name, preset, path.name, command) for study, _, path in jobs])
    work = [
        (path, functools.partial(
            execute, study, config, path, preset=preset, command=command, overwrite=overwrite, place=place,
            grid=grid, keep_states=keep_states,
        ))
        for study, config, path in jobs
    ]  # fmt: skip
    return do_jobs(work, out, place, shown, [study.weight for study, _, _ in jobs])


def do_jobs(
    jobs: Sequence[tuple[Path, Callable[..., bool]]], out: Path, place: Any, shown: Shown,
    weights: Sequence[float] | None = None,
) -> int:  # fmt: skip
    """Do jobs one after the other, show progress, write one report; return the exit code.

    Args:
        jobs: run directory, and what fills it: told `on_progress`, it returns False when it was interrupted.
        out: for the report.
        place: of this process.
        shown: what is shown of it.
        weights: about each job's share of the time; None for equal ones.
    """
    from collapse_jax.cli.endings import shown_as

    shown = shown if place.leads else Shown(quiet=True)  # one process speaks for all
    with shown_as(shown):
        return _do_jobs(jobs, out, place, shown, weights or [1.0] * len(jobs))


def _do_jobs(
    jobs: Sequence[tuple[Path, Callable[..., bool]]], out: Path, place: Any, shown: Shown, weights: Sequence[float]
) -> int:
    from collapse_jax.cli.endings import Ending, tell_early_end, tell_ending
    from collapse_jax.runs.directory import RunDirectory
    from collapse_jax.runs.execute import Stopped
    from collapse_jax.runs.report import write_report

    finished = True
    try:
        with watching(weights, shown.quiet) as watched:
            for index, (_, job) in enumerate(jobs):
                if finished:
                    watched.begin(index)
                    finished = job(on_progress=watched.update)
                    watched.end()
    except KeyboardInterrupt:
        if not any(RunDirectory(path).holds_something() for path, _ in jobs):
            raise
        sentence = f"what was finished is on disk; go on with collapse-jax resume {out}"
        tell_early_end("interrupted", out, shown, sentence)
        return 130
    except Stopped:
        sentence = f"stopped; the last checkpoint is on disk: go on with collapse-jax resume {out}"
        tell_early_end("stopped", out, shown, sentence)
        return STOPPED
    if not place.leads:
        return 0 if finished else 130
    done = [RunDirectory(path) for path, _ in jobs if (path / "claims.json").is_file()]
    endings = [Ending.of(run) for run in done]
    page = write_report(done, out / "report.html").resolve()
    if not finished:
        sentence = f"the report shows what was finished; go on with collapse-jax resume {out}"
        tell_early_end("interrupted", out, shown, sentence, endings)
    if finished or not shown.json:
        tell_ending(endings, page, shown)
    return 0 if finished else 130


def _write_jobs(out: Path, jobs: list[tuple[str, str, str, str]]) -> None:
    """Note what `reproduce` is to do, for `resume`."""
    from collapse_jax.files.writing import write_atomically

    text = json.dumps(sealed({"jobs": [list(job) for job in jobs]}))
    write_atomically(out / "jobs.json", lambda part: part.write_text(text, encoding="utf-8"))


def read_jobs(out: Path) -> list[tuple[str, str, Path, str]]:
    """Return what `reproduce` had to do there: study, preset, run directory, command; nothing without its note."""
    path = out / "jobs.json"
    if not is_there(path):
        return []
    jobs: Any = read_sealed(path, f"resume the runs in {out} one by one").get("jobs")
    good = isinstance(jobs, list) and all(
        isinstance(job, list) and len(job) == 4 and all(isinstance(part, str) for part in job) for job in jobs
    )
    if not good or any(not is_plain_name(folder) for _, _, folder, _ in jobs):
        raise ValueError(
            f"{path} does not name runs in {out}, as `reproduce` writes it; resume the runs there one by one."
        )
    return [(study, preset, out / folder, command) for study, preset, folder, command in jobs]


def prepare_jax(cluster: Cluster | None = None) -> Any:
    """Start JAX, with every core as a device and a compilation cache that outlives the process.

    Args:
        cluster: other processes to meet; None for none.

    Returns:
        This process's place among them.

    Raises:
        ValueError: JAX does not start, or they do not come together.
    """
    use_every_core()
    import_jax()
    from collapse_jax.runs.processes import Place, join_processes

    notice = keep_programs()
    if cluster is None or cluster == Cluster():
        place = Place()
    else:
        place = join_processes(cluster.coordinator, cluster.num_processes, cluster.process_id)
        console.quiet = console.quiet or not place.leads
    start_jax()
    if notice:
        note(notice)
    return place
