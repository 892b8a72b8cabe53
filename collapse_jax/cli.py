"""The command line: list, reproduce, run, sweep, resume, report, verify, bench.

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
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.table import Table

from collapse_jax.axes import parse_axis
from collapse_jax.ending import stop_at_once
from collapse_jax.errors import RunFailed, check_seed, nearest, out_of_memory, remedy_of
from collapse_jax.gate import is_there
from collapse_jax.jobs import Cluster, do_jobs, prepare_jax, read_jobs, run_all
from collapse_jax.machine import import_jax, use_every_core
from collapse_jax.screen import (
    Patient,
    console,
    joined,
    law_table,
    note,
    one_line,
    print_verdicts,
    say,
    speed_table,
)
from collapse_jax.studies.registry import STUDIES, Study, find_study

_HELP = """\
collapse-jax: a laboratory for model collapse

usage: collapse-jax COMMAND [options]

commands:
  list                       the studies and their presets
  reproduce                  run every study and write one report
      --preset smoke|laptop|paper   default laptop
      --out DIR                     default runs/PRESET
      --overwrite                   replace an earlier run there
  run STUDY                  run one study, or that of FILE.py: your own Config and chain
      --preset P --out DIR --overwrite
      --num-samples M --generations G --seeds S and every other field;
      collapse-jax run STUDY --help lists them
  sweep STUDY                run a study, or FILE.py, over a grid of settings, each with many seeds
      --axis FIELD=LOW:HIGH:COUNT or FIELD=VALUE,VALUE,...   once for each axis
      --record-every K and every field, as for run
  resume DIR                 go on with a run or a reproduce that was killed, stopped or interrupted
  report DIR                 draw and judge a run again, and write its report
  report --records FILE      what moved in generations run elsewhere (CSV, JSONL, Parquet, netCDF)
  verify [--quick]           compare this installation with the exact laws
  bench [--quick]            how fast this installation is, on whatever device it finds

examples:
  collapse-jax reproduce --preset smoke --out /tmp/first-look
  collapse-jax run gmm --num-samples 100 --generations 500 --seeds 32 --out runs/gmm-100
  collapse-jax run mine.py --seeds 8 --out runs/mine
  collapse-jax sweep gaussian --axis real_fraction=0:1:21 --axis num_samples=10,100,1000 --regime replace-part
  srun collapse-jax run gmm --distributed --seeds 4096 --out runs/gmm-many
"""


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
        "report": _report, "verify": _verify, "bench": _bench,
    }  # fmt: skip
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_HELP)
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
    def reproduce(
        cluster: Cluster, preset: str = "laptop", out: Path | None = None, overwrite: bool = False
    ) -> tuple[Cluster, str, Path, bool]:
        """Run every study and write one report.

        Args:
            cluster: the processes.
            preset: smoke, laptop or paper.
            out: directory for the runs and the report; default runs/PRESET.
            overwrite: replace an earlier run there.
        """
        return cluster, preset, out or Path("runs") / preset, overwrite

    cluster, preset, out, overwrite = tyro.cli(
        reproduce, args=arguments, prog="collapse-jax reproduce", config=(tyro.conf.OmitArgPrefixes,)
    )
    jobs = [(study, study.preset(preset), out / study.name) for study in STUDIES.values()]
    return run_all(jobs, out, preset, overwrite, _command_line("reproduce", arguments), cluster)


def _run(arguments: list[str]) -> int:
    about = (
        "`--preset NAME` chooses the defaults shown here; `--out` is the run directory, by default runs/STUDY-PRESET; "
        "`--overwrite` replaces an earlier run there."
    )
    study, preset, chosen = _chosen("run", arguments, about)
    out = chosen.out or Path("runs") / f"{study.name}-{preset}"
    command = _command_line("run", arguments)
    return run_all([(study, chosen.config, out)], out, preset, chosen.overwrite, command, chosen.cluster)


def _sweep(arguments: list[str]) -> int:
    about = (
        "A grid: `--axis FIELD=LOW:HIGH:COUNT` for evenly spaced numbers, or `--axis FIELD=VALUE,VALUE,...`, once for "
        "each axis; `--record-every K` records generations 0, K, 2K, ...; `--out` is the run directory, by default "
        "runs/sweep-STUDY."
    )
    axis = ("axis", Annotated[tuple[str, ...], tyro.conf.UseAppendAction], dataclasses.field(default=()))
    every = ("record_every", int, dataclasses.field(default=1))
    study, preset, chosen = _chosen("sweep", arguments, about, axis, every)
    axes = dict(parse_axis(text, chosen.config) for text in chosen.axis)
    if not axes:
        raise ValueError("a sweep needs an axis; for example --axis num_samples=10,100,1000.")
    out = chosen.out or Path("runs") / f"sweep-{study.name}"
    command = _command_line("sweep", arguments)
    return run_all(
        [(study, chosen.config, out)], out, preset, chosen.overwrite, command, chosen.cluster,
        axes=axes, record_every=chosen.record_every,
    )  # fmt: skip


def _chosen(command: str, arguments: list[str], about: str, *more: tuple[str, Any, Any]) -> tuple[Study, str, Any]:
    """Return the study that a command line names, its preset, and every option as an attribute."""
    if not arguments or arguments[0].startswith("-"):
        print(f"usage: collapse-jax {command} STUDY [options]; studies: {', '.join(STUDIES)}, or FILE.py of your own")
        sys.exit(0 if arguments[:1] in (["-h"], ["--help"]) else 2)
    if arguments[0] not in STUDIES and not {"-h", "--help"} & set(arguments):
        import_jax()  # before a file does, which would be blamed for what JAX says
    study = find_study(arguments[0])
    preset, rest = _take_preset(arguments[1:], study.default)
    config = study.preset(preset) if command == "run" or study.cell is None else study.cell
    options = dataclasses.make_dataclass(
        command,
        [
            ("config", type(config), dataclasses.field(default=config)),
            *more,
            ("out", Path | None, dataclasses.field(default=None)),
            ("overwrite", bool, dataclasses.field(default=False)),
            ("cluster", Cluster, dataclasses.field(default=Cluster())),
        ],
    )
    options.__doc__ = f"{study.title}. {about} Presets: {', '.join(study.presets)}."
    program = f"collapse-jax {command} {arguments[0]}"
    return study, preset, tyro.cli(options, args=rest, prog=program, config=(tyro.conf.OmitArgPrefixes,))


def _resume(arguments: list[str]) -> int:
    def resume(
        folder: Annotated[Path, tyro.conf.Positional], cluster: Cluster, despite_differences: bool = False,
        study: Path | None = None, trust: bool = False,
    ) -> tuple[Path, Cluster, bool, Path | None, bool]:  # fmt: skip
        """Go on with a run, or with all that `reproduce` had to do, from the last checkpoints, to the same bits.

        Args:
            folder: the --out of `run` or `reproduce`.
            cluster: the processes.
            despite_differences: go on although versions, device, number of threads or the study's own file are others;
                the bits may differ.
            study: where the file of a study of your own is now.
            trust: run the study's file that the run names, although you have not run it on this machine.
        """
        return folder, cluster, despite_differences, study, trust

    folder, cluster, despite, file, trusted = tyro.cli(
        resume, args=arguments, prog="collapse-jax resume", config=(tyro.conf.OmitArgPrefixes,)
    )
    place = prepare_jax(cluster)
    from collapse_jax import runs
    from collapse_jax.rundir import find_runs

    jobs = read_jobs(folder)
    if not jobs:
        find_runs(folder)  # says so where there is none
        jobs = [("", "", folder, "")]

    def go_on(job: tuple[str, str, Path, str], *, on_progress: Any) -> bool:
        name, preset, path, command = job
        if is_there(path / "config.json"):
            return runs.resume(
                path, on_progress=on_progress, despite=despite, place=place, study_file=file, trusted=trusted
            )
        study = find_study(name)
        return runs.execute(
            study, study.preset(preset), path,
            preset=preset, command=command, overwrite=False, on_progress=on_progress, place=place,
        )  # fmt: skip

    return do_jobs([(job[2], functools.partial(go_on, job)) for job in jobs], folder, place)


def _report(arguments: list[str]) -> int:
    def report(
        folder: Annotated[Path | None, tyro.conf.Positional] = None, records: Path | None = None,
        metrics: str = "", study: Path | None = None, trust: bool = False,
    ) -> tuple[Path | None, Path | None, str, Path | None, bool]:  # fmt: skip
        """Draw and judge a run again, and write its report; or report on generations that somebody else ran.

        Args:
            folder: the --out of `run` or `reproduce`; with --records where to write, by default FILE-report.
            records: FILE.csv, .jsonl (.gz or not), .parquet or .nc with `generation`, `seed` if there are several, and
                a column for each metric.
            metrics: names of the columns to judge, parted by commas; with --records.
            study: where the file of a study of your own is now.
            trust: run the study's file that the run names, although you have not run it on this machine.
        """
        return folder, records, metrics, study, trust

    folder, records, chosen, file, trusted = tyro.cli(report, args=arguments, prog="collapse-jax report")
    if records is not None:
        import_jax()
        from collapse_jax.foreign import report_records

        names = [name.strip() for name in chosen.split(",") if name.strip()]
        command = _command_line("report", arguments)
        page = report_records(records, folder, command=command, metrics=names, tell=lambda told: say(one_line(told)))
        say(f"report: {page.resolve()}")
        return 0
    if chosen:
        raise ValueError("--metrics chooses columns of a file of records; add --records FILE.csv.")
    if folder is None:
        raise ValueError("report needs the folder of a run, or --records FILE.csv of generations run elsewhere.")
    prepare_jax()
    from collapse_jax.report import write_report
    from collapse_jax.rundir import find_runs
    from collapse_jax.runs import draw_again

    runs = find_runs(folder)
    for run in runs:
        draw_again(run, note, file, trusted)
        print_verdicts(run.description["study"], run.verdicts)
    say(f"report: {write_report(runs, folder / 'report.html').resolve()}")
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
    from collapse_jax.verify import MAX_DETECTS, run_program, selected, weak

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

    from collapse_jax.provenance import provenance
    from collapse_jax.speed import all_work, matmul_gflops, measure, peak_mib

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


def _take_preset(arguments: list[str], default: str) -> tuple[str, list[str]]:
    """Return the preset named in the arguments, and the arguments without it."""
    rest, preset = [], default
    pending = iter(arguments)
    for argument in pending:
        if argument == "--preset":
            preset = next(pending, "")
        elif argument.startswith("--preset="):
            preset = argument.removeprefix("--preset=")
        else:
            rest.append(argument)
    return preset, rest


def _command_line(command: str, arguments: list[str]) -> str:
    return shlex.join(["collapse-jax", command, *arguments])


if __name__ == "__main__":
    main()
