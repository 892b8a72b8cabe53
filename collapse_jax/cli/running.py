"""The commands that run studies: reproduce, run, sweep, resume."""

import dataclasses
import functools
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import tyro

from collapse_jax.cli.arguments import command_line, take_preset
from collapse_jax.cli.display import AS_USUAL, Shown
from collapse_jax.cli.session import Cluster, Task, do_tasks, prepare_jax, run_jobs
from collapse_jax.drivers.machine import import_jax
from collapse_jax.files.reading import is_there
from collapse_jax.runs.job import Job, read_jobs
from collapse_jax.runs.manifest import run_folders
from collapse_jax.studies.axes import Grid, parse_axis
from collapse_jax.studies.registry import MODELS_OF_NUMBERS, NUMBERS, STUDIES, Entry, check_counts, find_study
from collapse_jax.validation import nearest


def _braced(names: Iterable[str]) -> str:
    return f"{{{','.join(names)}}}"


_PRESETS = _braced(name for name in STUDIES["gmm"].presets if all(name in one.presets for one in STUDIES.values()))
_HELP_OF = {
    "preset": "the settings that are the defaults here",
    "out": "the run directory",
    "overwrite": "replace an earlier run there",
    "keep_states": "leave the last state of each seed on disk when the run is finished, in `checkpoints`",
}


def _told(name: str, kind: Any, **more: Any) -> Any:
    """Return an option's type with what `--help` says of it."""
    return Annotated[kind, tyro.conf.arg(help=_HELP_OF[name], **more)]


def reproduce_studies(arguments: list[str]) -> int:
    """Run the studies of the package, or some; return the exit code."""
    chosen, rest = take_preset(arguments, "laptop")

    def reproduce(
        cluster: Cluster, shown: Shown, studies: Annotated[tuple[str, ...], tyro.conf.Positional] = (),
        preset: Annotated[str, tyro.conf.arg(metavar=_PRESETS)] = chosen, out: Path | None = None,
        overwrite: bool = False, keep_states: bool = False,
    ) -> tuple[Cluster, Shown, tuple[str, ...], Path, bool, bool]:  # fmt: skip
        """Run every study, or those named, and write one report.

        Args:
            cluster: the processes.
            shown: what is shown.
            studies: which; all unless some are named.
            preset: the settings.
            out: directory for the runs and the report; default runs/PRESET.
            overwrite: replace an earlier run there.
            keep_states: leave the last state of each seed on disk when a run is finished, in `checkpoints`.
        """
        return cluster, shown, studies, out or Path("runs") / chosen, overwrite, keep_states

    cluster, shown, studies, out, overwrite, keep_states = tyro.cli(
        reproduce, args=rest, prog="collapse-jax reproduce", config=(tyro.conf.OmitArgPrefixes,)
    )
    for name in studies:
        if name not in STUDIES:
            raise ValueError(f"there is no study '{name}'; {nearest(name, STUDIES)}")
    named = [study for name, study in STUDIES.items() if not studies or name in studies]
    command = command_line("reproduce", arguments)
    jobs = [
        Job(study, study.preset(chosen), out / study.name, chosen, command, overwrite, keep_states=keep_states)
        for study in named
    ]
    return run_jobs(jobs, out, cluster, shown)


def run_study(arguments: list[str]) -> int:
    """Run one study; return the exit code."""
    about = "Without --out the run directory is runs/STUDY-PRESET."
    study, preset, chosen = _chosen("run", arguments, about)
    out = chosen.out or Path("runs") / f"{study.name}-{preset}"
    command = command_line("run", arguments)
    job = Job(study, chosen.config, out, preset, command, chosen.overwrite, keep_states=chosen.keep_states)
    return run_jobs([job], out, chosen.cluster, chosen.shown)


def sweep_study(arguments: list[str]) -> int:
    """Run one study over a grid; return the exit code."""
    about = (
        "A grid: `--axis FIELD=LOW:HIGH:COUNT` for evenly spaced numbers, or `--axis FIELD=VALUE,VALUE,...`, once for "
        "each axis; `--record-every K` records generations 0, K, 2K, .... Without --out the run directory is "
        "runs/sweep-STUDY."
    )
    axis = ("axis", Annotated[tuple[str, ...], tyro.conf.UseAppendAction], dataclasses.field(default=()))
    every = ("record_every", int, dataclasses.field(default=1))
    study, preset, chosen = _chosen("sweep", arguments, about, axis, every)
    axes = dict(parse_axis(text, chosen.config) for text in chosen.axis)
    if not axes:
        raise ValueError("a sweep needs an axis; for example --axis num_samples=10,100,1000.")
    out = chosen.out or Path("runs") / f"sweep-{study.name}"
    command, grid = command_line("sweep", arguments), Grid(axes, chosen.record_every)
    job = Job(study, chosen.config, out, preset, command, chosen.overwrite, grid, chosen.keep_states)
    return run_jobs([job], out, chosen.cluster, chosen.shown)


def _chosen(command: str, arguments: list[str], about: str, *more: tuple[str, Any, Any]) -> tuple[Entry, str, Any]:
    """Return the study that a command line names, its preset, and every option as an attribute."""
    if not arguments or arguments[0].startswith("-"):
        print(f"usage: collapse-jax {command} STUDY [options]; studies: {', '.join(STUDIES)}, or FILE.py of your own")
        sys.exit(0 if arguments[:1] in (["-h"], ["--help"]) else 2)
    arguments = _of_numbers(command, arguments)
    if arguments[0] not in (*STUDIES, NUMBERS.name) and not {"-h", "--help"} & set(arguments):
        import_jax()  # before a file does, which would be blamed for what JAX says
    study = find_study(arguments[0])
    preset, rest = take_preset(arguments[1:], study.default)
    config = study.preset(preset) if command == "run" or study.cell is None else study.cell
    options = dataclasses.make_dataclass(
        command,
        [
            ("config", type(config), dataclasses.field(default=config)),
            *more,
            ("preset", _told("preset", str, metavar=_braced(study.presets)), preset),
            ("out", _told("out", Path | None), None),
            ("overwrite", _told("overwrite", bool), False),
            ("keep_states", _told("keep_states", bool), False),
            ("shown", Shown, dataclasses.field(default=AS_USUAL)),
            ("cluster", Cluster, dataclasses.field(default=Cluster())),
        ],
    )
    options.__doc__ = f"{study.title}. {about}"
    program = f"collapse-jax {command} {arguments[0]}"
    chosen: Any = tyro.cli(options, args=rest, prog=program, config=(tyro.conf.OmitArgPrefixes,))
    check_counts(chosen.config)  # before JAX is loaded
    return study, preset, chosen


def _of_numbers(command: str, arguments: list[str]) -> list[str]:
    """Return `run numbers --model gmm --data FILE` for `run gmm --data FILE`."""
    has_data = any(word == "--data" or word.startswith("--data=") for word in arguments)
    if command == "run" and has_data and arguments[0] in MODELS_OF_NUMBERS:
        return [NUMBERS.name, "--model", *arguments]
    return arguments


def resume_runs(arguments: list[str]) -> int:
    """Go on with what a directory holds; return the exit code."""
    def resume(
        folder: Annotated[Path, tyro.conf.Positional], cluster: Cluster, despite_differences: bool = False,
        study: Path | None = None, trust: bool = False, shown: Shown = AS_USUAL,
    ) -> tuple[Path, Cluster, bool, Path | None, bool, Shown]:  # fmt: skip
        """Go on with a run, or with all that `reproduce` had to do, from the last checkpoints, to the same bits.

        Args:
            folder: the --out of `run` or `reproduce`.
            cluster: the processes.
            despite_differences: go on although versions, device, number of threads or the study's own file are others;
                the bits may differ.
            study: where the file of a study of your own is now.
            trust: run the study's file that the run names, although you have not run it on this machine.
            shown: what is shown.
        """
        return folder, cluster, despite_differences, study, trust, shown

    folder, cluster, despite, file, trusted, shown = tyro.cli(
        resume, args=arguments, prog="collapse-jax resume", config=(tyro.conf.OmitArgPrefixes,)
    )
    jobs = read_jobs(folder)
    if not jobs:
        run_folders(folder)  # says so where there is none
    place = prepare_jax(cluster)
    from collapse_jax.runs.execute import execute
    from collapse_jax.runs.execute import resume as go_on

    options: dict[str, Any] = {"despite": despite, "place": place, "study_file": file, "trusted": trusted}
    tasks = [
        Task(job.path, functools.partial(go_on, job.path, **options), job.study.weight)
        if is_there(job.path / "config.json")
        else Task(job.path, functools.partial(execute, job, place=place), job.study.weight)
        for job in jobs
    ]
    tasks = tasks or [Task(folder, functools.partial(go_on, folder, **options))]
    return do_tasks(tasks, folder, place, shown)
