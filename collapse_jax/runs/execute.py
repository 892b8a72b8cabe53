"""Running a study into a directory: begin and go on.

Several processes share a run by shards of its seeds.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from collapse_jax.files.writing import Lock, remove_parts
from collapse_jax.runs.company import Company
from collapse_jax.runs.course import Course, Progress
from collapse_jax.runs.directory import Lacking, RunDirectory, Shard, check_free, shards_of
from collapse_jax.runs.drawing import draw
from collapse_jax.runs.group import group_of
from collapse_jax.runs.job import Job, job_of
from collapse_jax.runs.manifest import REPLACED
from collapse_jax.runs.processes import Place, agree, all_agree
from collapse_jax.runs.provenance import check_settings, differences, provenance
from collapse_jax.runs.shards import RunContext, Stopped, StopRequest, advance_arm
from collapse_jax.runs.study_file import check_file, confirm, copy_file, file_of
from collapse_jax.studies.loading import load
from collapse_jax.studies.plan import Plan
from collapse_jax.studies.registry import Entry, check_counts, study_of
from collapse_jax.studies.study import Study
from collapse_jax.studies.user_file import place_in, said
from collapse_jax.validation import RunFailed

__all__ = ["Progress", "Stopped", "execute", "resume"]

ALONE = Place()


OnProgress = Callable[[Progress], None]


def execute(job: Job, *, on_progress: OnProgress, place: Place = ALONE) -> bool:
    """Run a study into a directory, draw it and judge it; return False when it was interrupted.

    Everything is checked before anything is written. Ctrl-C ends the run at the last whole segment, and
    what is there is put together, drawn and judged; `resume` goes on with it.

    Args:
        job: what is to be done, and where.
        on_progress: told how far it has come.
        place: of this process among those that share the run.

    Raises:
        ValueError: bad configuration, bad data, or a directory that must not be written to.
        RunFailed: what the study calls on raised something.
        Stopped: SIGTERM asked for it.
    """
    job.check_storable()
    check_counts(job.config)
    if place.leads:
        check_free(job.path, overwrite=job.overwrite)
    study = load(job.study, job.grid)
    plan = study.build(job.config)
    num_lanes = plan.num_lanes or job.config.seeds
    description = {
        **job.described,
        **file_of(job.study),
        "remarks": study.remarks(job.config),
        "data": dict(plan.data()),
        "record_every": plan.record_every,
        "shards": shards_of(num_lanes, plan.lanes, place.num_processes, on_host=plan.on_host),
    }

    def prepare() -> None:
        copy_file(RunDirectory.create(job.path, description), job.study)

    with _writing(job.path, place, prepare):
        return _run(job, study, plan, on_progress, place)


def resume(
    path: Path, *, on_progress: OnProgress, despite: bool = False, place: Place = ALONE, study_file: Path | None = None,
    trusted: bool = False,
) -> bool:  # fmt: skip
    """Go on with a run from its last checkpoints, to the same bits; return False when it was interrupted.

    Args:
        path: the run directory.
        on_progress: told how far it has come.
        despite: go on although versions, device, threads or the study's file are others: the bits may then differ.
        place: of this process; their number need not be that of the run's first half.
        study_file: where the file of a study of one's own is now; None for where the run says.
        trusted: run the file that the run names, although this user has not run it here.

    Raises:
        ValueError: no run, a study's file that nobody has confirmed, a run whose configuration or file was changed,
            another machine, or another process at work.
        RunFailed: what the study calls on raised something.
        Stopped: SIGTERM asked for it.
    """
    run = RunDirectory(path)
    description = run.description
    if description["status"] == "finished":
        if place.leads:
            with Lock(path):
                run.tidy()
        on_progress(Progress("", 0, 0, 0, f"{path} is finished already."))
        return True
    if description["status"] == REPLACED:
        raise ValueError(f"{path} was being replaced by a new run when that was killed; start that again.")
    description, refused = confirm(run, study_file, trusted)
    if refused:
        raise ValueError(f"{refused}.")
    _check_same(run, description, despite)
    job = job_of(path, description)
    check_counts(job.config)
    study = load(job.study, job.grid)
    plan = study.build(job.config)
    check_settings(path, description, despite)  # the study's file may have chosen some
    data = _same_data(run, plan, despite)

    def prepare() -> None:
        remove_parts(path)
        changes = {**file_of(job.study), "data": data}
        if "file" in changes and changes["file"]["digest"] != description["file"]["digest"]:
            remark = "The study's file was changed after the run began; from there on the run is of the changed file."
            changes["remarks"] = [*description["remarks"], remark]
            copy_file(run, job.study)
        run.describe(
            status="running", resumed=[*description.get("resumed", ()), provenance()["started"]], **changes
        )

    with _writing(path, place, prepare):
        return _run(job, study, plan, on_progress, place)


def _check_same(run: RunDirectory, description: dict[str, Any], despite: bool) -> None:
    """Refuse to go on with what would not give the same bits."""
    if not run.is_as_begun():
        raise ValueError(
            f"the configuration in {run.path / 'config.json'} was changed after the run began; restore it, or start a "
            "new run."
        )
    check_file(run, description, despite)
    found = differences(description, {**provenance(), **file_of(study_of(description))})
    if found and not despite:
        raise ValueError(
            f"{run.path} was begun elsewhere ({'; '.join(found)}), so its bits could not be kept; go on there, or add "
            "--despite-differences to go on here, in the same law."
        )


def _same_data(run: RunDirectory, plan: Plan, despite: bool) -> dict[str, Any]:
    """Return what the run says of its data, refusing to go on with others; if that is asked for they are nobody's."""
    now, before = dict(plan.data()), run.description.get("data", {})
    # check sums: other numbers may differ by rounding
    changed = [name for name, value in now.items() if isinstance(value, str) and before.get(name, value) != value]
    if changed and not despite:
        raise ValueError(
            f"the data that {run.path} read were changed after it began ({', '.join(changed)}); put them back, or add "
            "--despite-differences to go on with them as they are."
        )
    return {**now, **before, **dict.fromkeys(changed, "changed while the run was under way")}


@contextmanager
def _writing(path: Path, place: Place, prepare: Callable[[], object]) -> Iterator[None]:
    """Hold the directory: the leader locks and prepares it, the others wait until it has."""
    if not place.leads:
        if not agree(place):
            raise ValueError(f"process 0 could not prepare {path}; see what it says.")
        yield
        return
    try:
        lock = Lock(path)
        prepare()
    except BaseException:
        agree(place, ok=False)
        raise
    with lock:
        agree(place)
        yield


def _run(job: Job, study: Study, plan: Plan, on_progress: OnProgress, place: Place) -> bool:
    """Run all arms from where they are, and put the results together."""
    group, shards = group_of(place, plan.mesh, RunDirectory(job.path).shards)
    directory, config = RunDirectory(job.path, group.form), job.config
    tell = lambda sentence: on_progress(Progress("", 0, 0, 0, sentence))  # noqa: E731
    begun, status = time.monotonic(), "stopped"
    with Company(directory.path, place) as company:
        try:
            with StopRequest() as asked:
                work = RunContext(directory, plan, jax.random.key(config.seed), asked, tell, group, company)
                course = Course(directory, plan, job, shards)
                _advance_all(work, shards, course, on_progress)
            status = "finished"
        except KeyboardInterrupt:
            status = "interrupted"
        except Stopped:
            status = "stopped"
        except BaseException as error:  # what a fit raises, SystemExit too, is no end of the run
            if isinstance(error, jax.errors.JaxRuntimeError):
                company.hear()
            company.end("failed")
            raise _failure(error, directory, job.study) from error
        finally:
            if place.leads:
                seconds = directory.description["seconds"] + time.monotonic() - begun
                ended = {} if status == "finished" else {"status": status}  # finished is what `close` says, at the end
                directory.describe(seconds=round(seconds, 1), **ended)
        status = _agreed(status, company, directory, place)
    if status == "stopped":
        raise Stopped
    if status == "interrupted" and not directory.records.segments(directory.shards[0].label(0)):
        raise KeyboardInterrupt
    if place.leads:
        if status == "finished":
            on_progress(course.at(len(plan.arms) - 1, course.lasts[-1])._replace(drawing=True))
        _conclude(directory, study, plan, config, status)
    return status == "finished"


def _agreed(status: str, company: Company, directory: RunDirectory, place: Place) -> str:
    """Return how the run ended, for all of its processes: finished only if each has finished."""
    if status != "finished":
        company.end(status)
    try:
        are_agreed = all_agree(place, status == "finished")
    except jax.errors.JaxRuntimeError:
        company.hear()
        raise
    if not are_agreed:
        status = company.asked or status
        if place.leads:
            directory.describe(status=status)
    return status


def _advance_all(work: RunContext, shards: Sequence[Shard], course: Course, on_progress: OnProgress) -> None:
    """Run arm after arm to its end."""
    for index, arm in enumerate(work.plan.arms):
        on_progress(course.at(index, course.begun[index]))
        for reached in advance_arm(work, index, arm, shards, course.lasts[index]):
            if reached >= course.begun[index]:
                on_progress(course.at(index, reached))


def _conclude(directory: RunDirectory, study: Study, plan: Plan, config: Any, status: str) -> None:
    """Put what there is together, draw it and judge it; a run that is finished is closed."""
    try:
        dataset = directory.assemble(plan, config.generations if status == "finished" else None)
    except Lacking:
        directory.describe(status="stopped")
        raise
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(
            f"the records cannot be put together ({said(error).rstrip('.')}); they are kept, for numpy.load, in "
            f"{directory.path / 'records'}: mend what names them, then collapse-jax resume {directory.path}."
        ) from error
    try:
        draw(directory, study, config, dataset)
    except Exception:  # of the study's own drawing or judging; what was measured is whole
        if status == "finished":
            directory.close()
        raise
    if status == "finished":  # who was interrupted while drawing goes on with that
        directory.close()


def _failure(error: BaseException, directory: RunDirectory, study: Entry) -> BaseException:
    """Return what to raise for an error in the midst of a run: where it was and how to go on, if it was the study's."""
    places = [note for note in getattr(error, "__notes__", ()) if note.startswith("in seed")]
    if study.path is not None and (line := place_in(error, study.path)):
        places.append(line)
    if not places and isinstance(error, Exception):
        return error
    remedy = f"what was finished before is kept: go on with collapse-jax resume {directory.path}"
    if study.path is not None:
        remedy += " (and --despite-differences, if the file had to be mended)"
    if not directory.holds_something():
        remedy = "nothing was finished before: mend it, and run it again"
    return RunFailed(f"{', '.join(places) or study.name}: {said(error).rstrip('.')}; {remedy}.")
