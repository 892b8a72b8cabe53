"""The command line: list, reproduce, run, report, verify.

JAX is imported only by commands that compute, so that `--help` answers at once. Exit codes: 0 the run
finished (verify: every law holds), 1 a law fails, 2 bad arguments or data (COLLAPSE_JAX_TRACEBACK=1 shows
where), 130 interrupted.
"""

import contextlib
import dataclasses
import json
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from collapse_jax.errors import nearest
from collapse_jax.studies.registry import STUDIES, Study, find_study

_COLOURS = {"holds": "green", "fails": "red", "inconclusive": "yellow", "not testable": "dim"}
_HELP = """\
collapse-jax: a laboratory for model collapse

usage: collapse-jax COMMAND [options]

commands:
  list                       the studies and their presets
  reproduce                  run every study and write one report
      --preset smoke|laptop|paper   default laptop
      --out DIR                     default runs/PRESET
      --overwrite                   replace an earlier run there
  run STUDY                  run one study
      --preset P --out DIR --overwrite
      --num-samples M --generations G --seeds S and every other field;
      collapse-jax run STUDY --help lists them
  report DIR                 draw and judge a run again, and write its report
  report --records FILE      the same from generations run elsewhere, CSV or JSONL
  verify [--quick]           compare this installation with the exact laws

examples:
  collapse-jax reproduce --preset smoke --out /tmp/first-look
  collapse-jax run gmm --num-samples 100 --generations 500 --seeds 32 --out runs/gmm-100
"""

console = Console(stderr=False, highlight=False)


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Return the exit code of a command line."""
    commands = {"list": _list, "reproduce": _reproduce, "run": _run, "report": _report, "verify": _verify}
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
    except (ValueError, TypeError) as error:
        if os.environ.get("COLLAPSE_JAX_TRACEBACK"):
            raise
        print(f"collapse-jax: {error}", file=sys.stderr)
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
                f"M = {_joined(config.num_samples)}, {config.generations} generations, {config.seeds} seeds"
            )
            table.add_row(study.name if index == 0 else "", study.title if index == 0 else "", preset, size)
    console.print(table)
    return 0


def _reproduce(arguments: list[str]) -> int:
    def reproduce(
        preset: str = "laptop", out: Path | None = None, overwrite: bool = False
    ) -> tuple[str, Path, bool]:
        """Run every study and write one report.

        Args:
            preset: smoke, laptop or paper.
            out: directory for the runs and the report; default runs/PRESET.
            overwrite: replace an earlier run there.
        """
        return preset, out or Path("runs") / preset, overwrite

    preset, out, overwrite = tyro.cli(reproduce, args=arguments, prog="collapse-jax reproduce")
    jobs = [(study, study.preset(preset), out / study.name) for study in STUDIES.values()]
    return _execute(jobs, out, preset, overwrite, _command_line("reproduce", arguments))


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0].startswith("-"):
        print("usage: collapse-jax run STUDY [options]; studies: " + ", ".join(STUDIES))
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    study = find_study(arguments[0])
    preset, rest = _take_preset(arguments[1:])
    config = study.preset(preset)

    options = dataclasses.make_dataclass(
        "run",
        [
            ("config", type(config), dataclasses.field(default=config)),
            ("out", Path | None, dataclasses.field(default=None)),
            ("overwrite", bool, dataclasses.field(default=False)),
        ],
    )
    options.__doc__ = (
        f"{study.title}. `--preset NAME` chooses the defaults shown here; `--out` is the run directory, by default "
        "runs/STUDY-PRESET; `--overwrite` replaces an earlier run there."
    )
    chosen: Any = tyro.cli(
        options, args=rest, prog=f"collapse-jax run {study.name}", config=(tyro.conf.OmitArgPrefixes,)
    )
    configured, out, overwrite = (
        chosen.config,
        chosen.out or Path("runs") / f"{study.name}-{preset}",
        chosen.overwrite,
    )
    return _execute([(study, configured, out)], out, preset, overwrite, _command_line("run", arguments))


def _report(arguments: list[str]) -> int:
    def report(
        folder: Annotated[Path | None, tyro.conf.Positional] = None, records: Path | None = None
    ) -> tuple[Path | None, Path | None]:
        """Draw and judge a run again, and write its report; or report on generations that somebody else ran.

        Args:
            folder: the --out of `run` or `reproduce`; with --records where to write, by default FILE-report.
            records: FILE.csv or FILE.jsonl with `generation`, `seed` if there are several, and a column a metric.
        """
        return folder, records

    folder, records = tyro.cli(report, args=arguments, prog="collapse-jax report")
    if records is not None:
        from collapse_jax.foreign import report_records

        page = report_records(records, folder, command=_command_line("report", arguments))
        console.print(f"report: {page.resolve()}", soft_wrap=True)
        return 0
    if folder is None:
        raise ValueError("report needs the folder of a run, or --records FILE.csv of generations run elsewhere.")
    _prepare_jax()
    from collapse_jax.report import write_report
    from collapse_jax.runs import assemble_if_needed, find_runs, illustrate

    runs = find_runs(folder)
    for run in runs:
        assemble_if_needed(run)
        _print_verdicts(run.description["study"], illustrate(run))
    console.print(f"report: {write_report(runs, folder / 'report.html').resolve()}", soft_wrap=True)
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
    _prepare_jax()
    from collapse_jax.verify import run_program, selected

    checks, programs, begun = [], selected(quick=quick), time.monotonic()
    with console.status("") as status:
        for index, program in enumerate(programs):
            status.update(f"simulating {index + 1} of {len(programs)}: {program.name}")
            found = run_program(program, quick=quick, seed=seed)
            checks += found
            console.print(_law_table(program.name, found))
    console.print(
        "detects: the smallest deviation that would have failed, as a share of the prediction, or of 1 for 0"
    )
    failed = [item for item in checks if not item.holds]
    console.print(
        f"{len(checks) - len(failed)} of {len(checks)} laws hold (|z| < 5), {len(programs)} programs, "
        f"{time.monotonic() - begun:.0f} s"
    )
    return 1 if failed else 0


def _law_table(title: str, checks: list[Any]) -> Table:
    """Return a program's laws as a table; columns have one width in all of them."""
    table = Table(box=None, title=title, title_justify="left", title_style="bold", expand=True)
    table.add_column("law", ratio=1)
    for name, width in (("simulated", 10), ("error", 8), ("predicted", 10), ("z", 6), ("detects", 8)):
        table.add_column(name, width=width, justify="right", no_wrap=True)
    for item in checks:
        colour = "green" if item.holds else "red"
        table.add_row(
            f"{item.section}: {item.law}".replace("[", r"\["), f"{item.simulated:.4g}", f"{item.error:.2g}",
            f"{item.predicted:.4g}", f"[{colour}]{item.z:+.2f}[/]",
            "exact" if item.error == 0 else f"{item.detects:.2g}",
        )  # fmt: skip
    return table


def _execute(
    jobs: list[tuple[Study, Any, Path]], out: Path, preset: str, overwrite: bool, command: str
) -> int:
    """Run studies one after the other, show progress, write one report."""
    _prepare_jax()
    from collapse_jax.report import write_report
    from collapse_jax.runs import RunDirectory, check_free, execute

    for _, _, path in jobs:  # all are checked before the first begins
        check_free(path, overwrite=overwrite)
    finished = True
    with _Bar() as bar:
        for study, config, path in jobs:
            finished = execute(
                study,
                config,
                path,
                preset=preset,
                command=command,
                overwrite=overwrite,
                on_progress=bar.update,
            )
            if not finished:
                break
    done = [RunDirectory(path) for _, _, path in jobs if (path / "claims.json").is_file()]
    for run in done:
        _print_verdicts(run.description["study"], _read_verdicts(run.path))
    page = write_report(done, out / "report.html").resolve()
    if not finished:
        console.print("[yellow]interrupted[/]: the run holds the generations it had finished.")
    console.print(f"report: {page}", soft_wrap=True)
    return 0 if finished else 130


class _Bar:
    """A progress bar: generations, chain-generations a second, time left."""

    def __enter__(self) -> "_Bar":
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=console,
        )  # fmt: skip
        self._tasks: dict[str, TaskID] = {}
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def update(self, state: Any) -> None:
        """Show how far a run has come."""
        self._progress.start()
        if state.label not in self._tasks:
            self._tasks[state.label] = self._progress.add_task(
                state.label, total=state.num_generations, speed="compiling"
            )
        task = self._tasks[state.label]
        speed = self._progress.tasks[task].speed  # generations a second, over the last segments
        shown = (
            f"{speed * state.num_seeds:,.0f} chain-generations/s"
            if speed
            else "compiling"
            if state.generation == 0
            else ""
        )
        self._progress.update(task, completed=state.generation, speed=shown)


def _print_verdicts(study: str, verdicts: list[Any]) -> None:
    table = Table(
        "verdict",
        "claim",
        "estimate",
        "interval",
        "seeds",
        title=f"claims of {study}",
        title_justify="left",
        box=None,
    )
    for row in (verdict if isinstance(verdict, dict) else verdict._asdict() for verdict in verdicts):
        tested = row["verdict"] != "not testable"
        detail = row["statement"] if tested else f"{row['statement']} [dim]({row['reason']})[/]"
        low, high = (_shown(bound) for bound in row["interval"])
        colour = _COLOURS[row["verdict"]]
        table.add_row(
            f"[{colour}]{row['verdict']}[/]", detail, _shown(row["estimate"]) if tested else "",
            f"{low} to {high}" if tested else "", str(row["num_seeds"]) if tested else "",
        )  # fmt: skip
    console.print(table)


def _shown(value: float | None) -> str:
    return "inf" if value is None else f"{value:.3g}"


def _joined(value: int | tuple[int, ...]) -> str:
    return ", ".join(f"{m:,}" for m in (value if isinstance(value, tuple) else (value,)))


def _read_verdicts(path: Path) -> list[dict[str, Any]]:
    return json.loads((path / "claims.json").read_text())


def _take_preset(arguments: list[str]) -> tuple[str, list[str]]:
    """Return the preset named in the arguments, by default laptop, and the arguments without it."""
    rest, preset = [], "laptop"
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


def _prepare_jax() -> None:
    """Give JAX every core as a device and a compilation cache that outlives the process."""
    import jax

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(RuntimeError):  # devices in use already stay as they are
        jax.config.update("jax_num_cpu_devices", min(cores, 8))
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR") or Path.home() / ".cache" / "collapse_jax"
    jax.config.update("jax_compilation_cache_dir", str(cache))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1.0)


if __name__ == "__main__":
    main()
