"""Running a study into a directory: begin, go on, draw and judge.

Several processes share a run by shards of its seeds.
"""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from collapse_jax.analysis.answers import needed_preset
from collapse_jax.analysis.claims import Evidence, Verdict, judge
from collapse_jax.drivers.results import read_netcdf
from collapse_jax.files.writing import Lock, remove_parts
from collapse_jax.runs.checkpoints import Checkpoints
from collapse_jax.runs.company import Company
from collapse_jax.runs.course import Course, Progress
from collapse_jax.runs.directory import Lacking, RunDirectory, check_free, plain, shards_of
from collapse_jax.runs.manifest import REPLACED
from collapse_jax.runs.orbax_checkpoints import orbax_format
from collapse_jax.runs.processes import Place, agree, all_agree
from collapse_jax.runs.provenance import check_settings, differences, provenance
from collapse_jax.runs.shards import Asked, Stopped, Work, advance_arm
from collapse_jax.runs.study_file import check_file, confirm, copy_file, file_of, is_gone
from collapse_jax.studies.plan import Plan
from collapse_jax.studies.registry import Study, check_counts, study_of
from collapse_jax.studies.sweep import Grid, Swept
from collapse_jax.studies.user_file import blamed, place_in, said
from collapse_jax.validation import RunFailed

__all__ = ["Progress", "Stopped", "assemble_if_needed", "draw_again", "execute", "illustrate", "resume"]

ALONE = Place()


OnProgress = Callable[[Progress], None]


def execute(
    study: Study, config: Any, path: Path, *, preset: str, command: str, overwrite: bool, on_progress: OnProgress,
    place: Place = ALONE, grid: Grid | None = None, keep_states: bool = True,
) -> bool:  # fmt: skip
    """Run a study into a directory, draw it and judge it; return False when it was interrupted.

    Everything is checked before anything is written. Ctrl-C ends the run at the last whole segment, and
    what is there is put together, drawn and judged; `resume` goes on with it.

    Args:
        study: which.
        config: one of its configurations.
        path: the run directory.
        preset: what the configuration began as.
        command: what was typed.
        overwrite: replace an earlier run there.
        on_progress: told how far it has come.
        place: of this process among those that share the run.
        grid: axes to sweep over, around the configuration; None for the study itself.
        keep_states: leave each seed's last state in `checkpoints` when the run is finished.

    Raises:
        ValueError: bad configuration, bad data, or a directory that must not be written to.
        RunFailed: what the study calls on raised something.
        Stopped: SIGTERM asked for it.
    """
    _check_storable(study, config, grid)
    check_counts(config)
    if place.leads:
        check_free(path, overwrite=overwrite)
    module = _module(study, grid)
    plan = module.build(config)
    description = {
        "study": study.name,
        "title": study.title,
        **file_of(study),
        "preset": preset,
        "command": command,
        "config": dataclasses.asdict(config),
        "remarks": module.remarks(config) if hasattr(module, "remarks") else (),
        "data": dict(plan.data()),
        "record_every": plan.record_every,
        "shards": shards_of(plan.num_lanes or config.seeds, plan.lanes, place.num_processes, on_host=plan.on_host),
        **({} if grid is None else {"grid": grid._asdict()}),
        **({} if keep_states else {"keep_states": False}),
    }

    def prepare() -> None:
        copy_file(RunDirectory.create(path, description), study)

    with _writing(path, place, prepare):
        return _run(RunDirectory(path), plan, config, study, on_progress, place)


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
    study, module, config = _subject(description)
    check_counts(config)
    plan = module.build(config)
    check_settings(path, description, despite)  # the study's file may have chosen some
    data = _same_data(run, plan, despite)

    def prepare() -> None:
        remove_parts(path)
        changes = {**file_of(study), "data": data}
        if "file" in changes and changes["file"]["digest"] != description["file"]["digest"]:
            remark = "The study's file was changed after the run began; from there on the run is of the changed file."
            changes["remarks"] = [*description["remarks"], remark]
            copy_file(run, study)
        run.describe(
            status="running", resumed=[*description.get("resumed", ()), provenance()["started"]], **changes
        )

    with _writing(path, place, prepare):
        return _run(run, plan, config, study, on_progress, place)


def _check_storable(study: Study, config: Any, grid: Grid | None) -> None:
    """Refuse a configuration that would not come back from `config.json` as it is."""
    fields = json.loads(json.dumps(plain(dataclasses.asdict(config)), default=repr))
    again = study.config_from(fields) if grid is None else study.cell_from(fields)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if getattr(again, field.name) != value:
            raise ValueError(
                f"`{field.name}` is {value!r:.60}, which config.json cannot keep; use finite numbers, strings, "
                "booleans, None, or tuples of these."
            )


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


def _run(
    directory: RunDirectory, plan: Plan, config: Any, study: Study, on_progress: OnProgress, place: Place
) -> bool:
    """Run all arms from where they are, and put the results together."""
    if plan.mesh is None:
        shards, beside = directory.shards[place.number :: place.num_processes], ALONE
    else:  # every chain is everybody's
        shards, beside = directory.shards, place
        directory.checkpoints = Checkpoints(directory.path / "checkpoints", orbax_format(plan.mesh, place))
    tell = lambda sentence: on_progress(Progress("", 0, 0, 0, sentence))  # noqa: E731
    begun, status = time.monotonic(), "stopped"
    with Company(directory.path, place) as company:
        try:
            with Asked() as asked:
                work = Work(directory, plan, jax.random.key(config.seed), asked, tell, beside, company)
                course = Course(directory, plan, config, study, shards)
                for index, arm in enumerate(plan.arms):
                    on_progress(course.at(index, course.begun[index]))
                    for reached in advance_arm(work, index, arm, shards, course.lasts[index]):
                        if reached >= course.begun[index]:
                            on_progress(course.at(index, reached))
            status = "finished"
        except KeyboardInterrupt:
            status = "interrupted"
        except Stopped:
            status = "stopped"
        except BaseException as error:  # what a fit raises, SystemExit too, is no end of the run
            if isinstance(error, jax.errors.JaxRuntimeError):
                company.hear()
            company.end("failed")
            raise _failure(error, directory, study) from error
        finally:
            if place.leads:
                seconds = directory.description["seconds"] + time.monotonic() - begun
                ended = {} if status == "finished" else {"status": status}  # finished is what `close` says, at the end
                directory.describe(seconds=round(seconds, 1), **ended)
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
    if status == "stopped":
        raise Stopped
    if status == "interrupted" and not directory.segments(directory.shards[0].label(0)):
        raise KeyboardInterrupt
    if place.leads:
        if status == "finished":
            on_progress(course.at(len(plan.arms) - 1, course.lasts[-1])._replace(drawing=True))
        _conclude(directory, plan, config, status)
    return status == "finished"


def _conclude(directory: RunDirectory, plan: Plan, config: Any, status: str) -> None:
    """Put what there is together, draw it and judge it; a run that is finished is closed."""
    try:
        directory.assemble(plan, config.generations if status == "finished" else None)
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
        illustrate(directory)
    except Exception:  # of the study's own drawing or judging; what was measured is whole
        if status == "finished":
            directory.close()
        raise
    if status == "finished":  # who was interrupted while drawing goes on with that
        directory.close()


def _failure(error: BaseException, directory: RunDirectory, study: Study) -> BaseException:
    """Return what to raise for an error in the midst of a run: where it was and how to go on, if it was the study's."""
    places = [note for note in getattr(error, "__notes__", ()) if note.startswith("in seed")]
    if study.own is not None and (line := place_in(error, study.own.path)):
        places.append(line)
    if not places and isinstance(error, Exception):
        return error
    remedy = f"what was finished before is kept: go on with collapse-jax resume {directory.path}"
    if study.own is not None:
        remedy += " (and --despite-differences, if the file had to be mended)"
    if not directory.holds_something():
        remedy = "nothing was finished before: mend it, and run it again"
    return RunFailed(f"{', '.join(places) or study.name}: {said(error).rstrip('.')}; {remedy}.")


def illustrate(run: RunDirectory) -> list[Verdict]:
    """Draw the figures of a run and judge its claims, from what is on disk; return the verdicts.

    Raises:
        ValueError: the directory holds no readable run.
    """
    description = run.description
    study, module, config = _subject(description)
    dataset = read_netcdf(run.path / "trajectory.nc")
    several = isinstance(getattr(config, "num_samples", None), tuple) and "num_samples" in dataset.dims
    if several and "grid" not in description:  # an interrupted run may lack arms
        present = tuple(int(value) for value in np.atleast_1d(dataset["num_samples"].values))
        config = dataclasses.replace(config, num_samples=present)
    with blamed(study.own and study.own.path, f"mend it, then collapse-jax report {run.path}"):
        found = module.evidence(config, dataset)
        verdicts = [_with_need(study, module, item, verdict) for item, verdict in zip(found, judge(found))]
        answer = module.answer(config, dataset) if hasattr(module, "answer") else ""
        captions = [picture.save(run.path / "figures") for picture in module.figures(config, dataset)]
    run.write_json("claims.json", [verdict._asdict() for verdict in verdicts])
    run.write_json("figures/captions.json", captions)
    run.note_drawn()
    drawn_by = {} if study.own is None else {"file": {**description["file"], "drawn_by": study.own.digest}}
    run.describe(answer=answer, **drawn_by)
    return verdicts


def _with_need(study: Study, module: Any, item: Evidence, verdict: Verdict) -> Verdict:
    """Return a verdict with the preset that can decide what this run could not test."""
    if verdict.verdict != "not testable":
        return verdict
    return verdict._replace(needs=needed_preset(item, study.presets, getattr(module, "PUBLISHED", {})))


def draw_again(
    run: RunDirectory, notice: Callable[[str], None], study_file: Path | None = None, trusted: bool = False
) -> None:
    """Put a run's records together where that is to be done, draw it and judge it.

    Args:
        run: the run.
        notice: told why figures and verdicts stay as they are: the file of one's own study is gone, or may not run.
        study_file: where that file is now; None for where the run says.
        trusted: run the file that the run names, although this user has not run it here.

    Raises:
        ValueError: no readable run, one that another process is writing, or one that was never drawn and whose file
            is gone or may not run.
    """
    with Lock(run.path):  # who is at work there would write the same files
        if run.description["status"] == REPLACED:
            raise ValueError(f"{run.path} was being replaced by a new run when that was killed; start that again.")
        if not run.is_as_begun():
            raise ValueError(f"{run.path / 'config.json'} was changed after the run began; restore it.")
        description, refused = confirm(run, study_file, trusted)
        is_drawn = (run.path / "figures" / "captions.json").is_file()
        if refused and not is_drawn:
            raise ValueError(f"{refused}.")
        if is_gone(description):
            if not is_drawn:
                check_file(run, description, despite=True)
            refused = f"{description['file']['path']} is gone"
        if refused:
            notice(f"{refused}: figures and verdicts are those of before.")
            return
        if study_file is not None:
            run.describe(file=description["file"])
        assemble_if_needed(run)
        illustrate(run)


def assemble_if_needed(run: RunDirectory) -> None:
    """Put `trajectory.nc` of a run that has not ended together, from the segments it has left so far.

    For the one who holds the directory's lock.

    Raises:
        ValueError: no segment was finished.
    """
    description = run.description
    if description["status"] == "finished":
        return
    _, module, config = _subject(description)
    run.assemble(module.build(config))


def _module(study: Study, grid: Grid | None) -> Any:
    """Return what builds, draws and judges: the study's module, or a sweep over it."""
    return study.load() if grid is None else Swept(study, grid)


def _subject(description: dict[str, Any]) -> tuple[Study, Any, Any]:
    """Return the study that a run is of, what builds it, and its configuration."""
    study = study_of(description)
    told = description.get("grid")
    grid = None if told is None else Grid({name: tuple(v) for name, v in told["axes"].items()}, told["record_every"])
    config = study.config_from(description["config"]) if grid is None else study.cell_from(description["config"])
    return study, _module(study, grid), config
