"""What the commands that run studies share: JAX made ready, studies one after the other, one report.

JAX is imported by the functions, not by this file.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from collapse_jax.cli.display import AS_USUAL, Shown, console, note
from collapse_jax.cli.progress import watching
from collapse_jax.cli.stopping import STOPPED
from collapse_jax.drivers.machine import import_jax, keep_programs, start_jax, use_every_core
from collapse_jax.runs.job import Job, write_jobs

if TYPE_CHECKING:
    from collapse_jax.runs.processes import Place


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


class Task(NamedTuple):
    """One run to begin or to go on with.

    Attributes:
        path: the run directory.
        do: told `on_progress`, it fills that, and returns False when it was interrupted.
        weight: about its share of the time.
    """

    path: Path
    do: Callable[..., bool]
    weight: float = 1.0


def run_jobs(jobs: Sequence[Job], out: Path, cluster: Cluster, shown: Shown = AS_USUAL) -> int:
    """Run studies one after the other; return the exit code.

    Args:
        jobs: what is to be done.
        out: for the report.
        cluster: the processes that share the work.
        shown: what is shown of it.

    Raises:
        ValueError: bad configuration, bad data, or a directory that must not be written to.
    """
    place = prepare_jax(cluster)
    from collapse_jax.runs.directory import check_free
    from collapse_jax.runs.execute import execute

    if place.leads and any(job.path != out for job in jobs):
        for job in jobs:  # all are checked before the first begins
            check_free(job.path, overwrite=job.overwrite)
        write_jobs(out, jobs)
    tasks = [Task(job.path, functools.partial(execute, job, place=place), job.study.weight) for job in jobs]
    return do_tasks(tasks, out, place, shown)


def do_tasks(tasks: Sequence[Task], out: Path, place: "Place", shown: Shown) -> int:
    """Do tasks one after the other, show progress, write one report; return the exit code.

    Args:
        tasks: what is to be done.
        out: for the report.
        place: of this process.
        shown: what is shown of it.
    """
    from collapse_jax.cli.endings import shown_as

    shown = shown if place.leads else Shown(quiet=True)  # one process speaks for all
    with shown_as(shown):
        return _do_tasks(tasks, out, place, shown)


def _do_tasks(tasks: Sequence[Task], out: Path, place: "Place", shown: Shown) -> int:
    from collapse_jax.cli.endings import Ending, tell_early_end, tell_ending
    from collapse_jax.runs.directory import RunDirectory
    from collapse_jax.runs.execute import Stopped
    from collapse_jax.runs.report import write_report

    finished = True
    try:
        with watching([task.weight for task in tasks], shown.quiet) as watched:
            for index, task in enumerate(tasks):
                if finished:
                    watched.begin(index)
                    finished = task.do(on_progress=watched.update)
                    watched.end()
    except KeyboardInterrupt:
        if not any(RunDirectory(task.path).holds_something() for task in tasks):
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
    done = [RunDirectory(task.path) for task in tasks if (task.path / "claims.json").is_file()]
    endings = [Ending.of(run) for run in done]
    page = write_report(done, out / "report.html").resolve()
    if not finished:
        sentence = f"the report shows what was finished; go on with collapse-jax resume {out}"
        tell_early_end("interrupted", out, shown, sentence, endings)
    if finished or not shown.json:
        tell_ending(endings, page, shown)
    return 0 if finished else 130


def prepare_jax(cluster: Cluster | None = None) -> "Place":
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
