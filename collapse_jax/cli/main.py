"""The command line: list, reproduce, run, sweep, resume, report, verify, bench, help, completion.

JAX is imported only by commands that compute, so that `--help` answers at once. Exit codes: 0 the run
finished (verify: every law holds), 1 a law fails, or in the midst of a run a fit does, 2 bad arguments or
data (COLLAPSE_JAX_TRACEBACK=1 shows where), 75 stopped by SIGTERM after a checkpoint, 130 interrupted; after
a run's 1, 75 and 130 `resume` goes on.
"""

import dataclasses
import functools
import os
import shlex
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.table import Table

from collapse_jax.cli.arguments import HELP, command_first, take_preset
from collapse_jax.cli.display import (
    AS_USUAL,
    Patient,
    Shown,
    console,
    joined,
    law_table,
    note,
    one_line,
    say,
    speed_table,
)
from collapse_jax.cli.session import Cluster, Task, do_tasks, prepare_jax, run_jobs
from collapse_jax.cli.stopping import stop_at_once
from collapse_jax.drivers.machine import import_jax, use_every_core
from collapse_jax.files.reading import is_there
from collapse_jax.runs.job import Job, read_jobs
from collapse_jax.runs.manifest import run_folders
from collapse_jax.studies.axes import Grid, parse_axis
from collapse_jax.studies.registry import MODELS_OF_NUMBERS, NUMBERS, STUDIES, Entry, check_counts, find_study
from collapse_jax.validation import RunFailed, check_seed, nearest, out_of_memory, remedy_of


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


def main() -> None:
    """Run the command line and exit with its code."""
    stop_at_once()
    use_every_core()
    sys.stdout, sys.stderr = Patient(sys.stdout), Patient(sys.stderr)
    code = run_command(sys.argv[1:])
    jax = sys.modules.get("jax")
    if code and jax is not None and jax.distributed.is_initialized():  # the others may not come to say goodbye
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def run_command(arguments: list[str]) -> int:
    """Return the exit code of a command line."""
    commands = {
        "list": _list, "reproduce": _reproduce, "run": _run, "sweep": _sweep, "resume": _resume,
        "report": _report, "verify": _verify, "bench": _bench, "completion": _completion,
    }  # fmt: skip
    arguments = command_first(arguments, [*commands, "help"])
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP)
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(version("collapse-jax"))
        return 0
    try:
        if arguments[0] not in commands:
            raise ValueError(f"there is no command '{arguments[0]}'; {nearest(arguments[0], commands)}")
        return commands[arguments[0]](arguments[1:])
    except (ValueError, TypeError, RunFailed) as error:
        if os.environ.get("COLLAPSE_JAX_TRACEBACK"):
            raise
        print(f"collapse-jax: {one_line(str(error))}", file=sys.stderr)
        return 1 if isinstance(error, RunFailed) else 2
    except (MemoryError, RuntimeError) as error:
        sentence = out_of_memory(error)
        if not sentence or os.environ.get("COLLAPSE_JAX_TRACEBACK"):
            raise
        print(f"collapse-jax: {one_line(sentence)}", file=sys.stderr)
        return 2
    except OSError as error:
        if os.environ.get("COLLAPSE_JAX_TRACEBACK"):
            raise
        where = f"{error.filename} cannot be used" if error.filename else "a file cannot be used"
        sentence = f"{where} ({error.strerror}); {remedy_of(error, 'name another')}."
        print(f"collapse-jax: {one_line(sentence)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "\ncollapse-jax: interrupted before the first segment was finished; nothing was measured.",
            file=sys.stderr,
        )
        return 130


def _list(arguments: list[str]) -> int:
    def listing() -> None:
        """List the studies and their presets."""

    tyro.cli(listing, args=arguments, prog="collapse-jax list")
    table = Table("study", "what", "preset", "size", box=None, header_style="bold")
    for study in STUDIES.values():
        for index, (preset, config) in enumerate(study.presets.items()):
            size = (
                f"M = {joined(config.num_samples)}, {config.generations} generations, {config.seeds} seeds"
            )
            table.add_row(study.name if index == 0 else "", study.title if index == 0 else "", preset, size)
    console.print(table)
    return 0


def _reproduce(arguments: list[str]) -> int:
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
    command = _command_line("reproduce", arguments)
    jobs = [
        Job(study, study.preset(chosen), out / study.name, chosen, command, overwrite, keep_states=keep_states)
        for study in named
    ]
    return run_jobs(jobs, out, cluster, shown)


def _run(arguments: list[str]) -> int:
    about = "Without --out the run directory is runs/STUDY-PRESET."
    study, preset, chosen = _chosen("run", arguments, about)
    out = chosen.out or Path("runs") / f"{study.name}-{preset}"
    command = _command_line("run", arguments)
    job = Job(study, chosen.config, out, preset, command, chosen.overwrite, keep_states=chosen.keep_states)
    return run_jobs([job], out, chosen.cluster, chosen.shown)


def _sweep(arguments: list[str]) -> int:
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
    command, grid = _command_line("sweep", arguments), Grid(axes, chosen.record_every)
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


def _resume(arguments: list[str]) -> int:
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


def _report(arguments: list[str]) -> int:
    def report(
        folder: Annotated[Path | None, tyro.conf.Positional] = None, records: Path | None = None,
        metrics: str = "", study: Path | None = None, trust: bool = False, shown: Shown = AS_USUAL,
    ) -> tuple[Path | None, Path | None, str, Path | None, bool, Shown]:  # fmt: skip
        """Draw and judge a run again, and write its report; or report on generations that somebody else ran.

        Args:
            folder: the --out of `run` or `reproduce`; with --records where to write, by default FILE-report.
            records: FILE.csv, .jsonl (.gz or not), .parquet or .nc with `generation`, `seed` if there are several, and
                a column for each metric.
            metrics: names of the columns to judge, parted by commas; with --records.
            study: where the file of a study of your own is now.
            trust: run the study's file that the run names, although you have not run it on this machine.
            shown: what is shown.
        """
        return folder, records, metrics, study, trust, shown

    folder, records, chosen, file, trusted, shown = tyro.cli(
        report, args=arguments, prog="collapse-jax report", config=(tyro.conf.OmitArgPrefixes,)
    )
    if records is not None:
        import_jax()
        from collapse_jax.records.external import report_records

        names = [name.strip() for name in chosen.split(",") if name.strip()]
        command = _command_line("report", arguments)
        page = report_records(records, folder, command=command, metrics=names, tell=lambda told: say(one_line(told)))
        say(f"report: {page.resolve()}")
        return 0
    if chosen:
        raise ValueError("--metrics chooses columns of a file of records; add --records FILE.csv.")
    if folder is None:
        raise ValueError("report needs the folder of a run, or --records FILE.csv of generations run elsewhere.")
    run_folders(folder)  # says so where there is none
    prepare_jax()
    from collapse_jax.cli.endings import Ending, shown_as, tell_ending
    from collapse_jax.runs.directory import find_runs
    from collapse_jax.runs.drawing import draw_again
    from collapse_jax.runs.report import write_report

    runs = find_runs(folder)
    with shown_as(shown):
        for run in runs:
            draw_again(run, note, file, trusted)
        page = write_report(runs, folder / "report.html").resolve()
        tell_ending([Ending.of(run) for run in runs], page, shown)
    return 0


def _verify(arguments: list[str]) -> int:
    def verify(quick: bool = False, seed: int = 0) -> tuple[bool, int]:
        """Simulate with the laboratory's own code and compare with theory; exit code 0 only if every |z| < 5.

        Args:
            quick: a subset of the laws with fewer runs.
            seed: root of all randomness.
        """
        return quick, seed

    quick, seed = tyro.cli(verify, args=arguments, prog="collapse-jax verify")
    check_seed("seed", seed)
    prepare_jax()
    from collapse_jax.selfcheck.verify import MAX_DETECTS, run_program, selected, weak

    checks, programs, begun = [], selected(quick=quick), time.monotonic()
    with console.status("") as status:
        for index, program in enumerate(programs):
            status.update(f"simulating {index + 1} of {len(programs)}: {program.name}")
            for name, found in run_program(program, quick=quick, seed=seed).items():
                checks += found
                console.print(law_table(name, found))
    console.print(
        "detects: the smallest deviation that would have failed, as a share of the prediction, or of 1 for 0"
    )
    failed = [item for item in checks if not item.holds]
    console.print(
        f"{len(checks) - len(failed)} of {len(checks)} laws hold (|z| < 5), {len(programs)} programs, "
        f"{time.monotonic() - begun:.0f} s"
    )
    if hardly := [] if quick else weak(checks):
        say(f"could hardly fail (detects > {MAX_DETECTS}): " + "; ".join(item.law for item in hardly))
    return 1 if failed else 0


def _bench(arguments: list[str]) -> int:
    def bench(quick: bool = False) -> bool:
        """Time the laboratory's work on this device: chains, images and tokens a second, compile time, memory.

        Args:
            quick: smaller pieces of fewer kinds, under a minute.
        """
        return quick

    quick = tyro.cli(bench, args=arguments, prog="collapse-jax bench")
    prepare_jax()
    import jax

    from collapse_jax.runs.provenance import provenance
    from collapse_jax.selfcheck.speed import all_work, matmul_gflops, measure, peak_mib

    jax.config.update("jax_compilation_cache_dir", None)  # compiling is timed, too
    told, found = provenance(), []
    with console.status("building ...") as status:
        top = matmul_gflops(1024 if quick else 4096)
        for work in all_work(quick=quick):
            status.update(work.name)
            found.append(measure(work, repeats=3 if quick else 5))
    console.print(speed_table(found))
    versions = ", ".join(f"{name} {told['versions'][name]}" for name in ("collapse-jax", "jax", "jaxlib", "python"))
    console.print(
        f"{told['device']}, {told['threads']} threads, {top:,.0f} GFLOP/s in float32 matrix products, peak memory "
        f"{peak_mib():,.0f} MiB; {versions}; {told['started'][:10]}",
        soft_wrap=True,
    )
    return 0


def _completion(arguments: list[str]) -> int:
    def completion(shell: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="bash|zsh|fish")]) -> str:
        """Print a script that completes commands, studies and options in a shell: eval "$(... completion bash)".

        Args:
            shell: which.
        """
        return shell

    from collapse_jax.cli.completion import script

    print(script(tyro.cli(completion, args=arguments, prog="collapse-jax completion")), end="")
    return 0


def _command_line(command: str, arguments: list[str]) -> str:
    return shlex.join(["collapse-jax", command, *arguments])


if __name__ == "__main__":
    main()
