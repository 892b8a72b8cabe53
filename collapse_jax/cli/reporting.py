"""The command that reports: on runs, or on generations that another program ran."""

from pathlib import Path
from typing import Annotated

import tyro

from collapse_jax.cli.arguments import command_line
from collapse_jax.cli.display import AS_USUAL, Shown, note, one_line, say
from collapse_jax.cli.session import prepare_jax
from collapse_jax.drivers.machine import import_jax
from collapse_jax.runs.manifest import run_folders


def report_runs(arguments: list[str]) -> int:
    """Draw and judge again, or judge records of other programs; return the exit code."""

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
        return _of_records(records, folder, chosen, command_line("report", arguments))
    if chosen:
        raise ValueError("--metrics chooses columns of a file of records; add --records FILE.csv.")
    if folder is None:
        raise ValueError("report needs the folder of a run, or --records FILE.csv of generations run elsewhere.")
    run_folders(folder)  # says so where there is none
    prepare_jax()
    from collapse_jax.cli.endings import Ending, shown_as, tell_ending
    from collapse_jax.runs.drawing import draw_again
    from collapse_jax.runs.reading import find_runs
    from collapse_jax.runs.report import write_report

    runs = find_runs(folder)
    with shown_as(shown):
        for run in runs:
            draw_again(run, note, file, trusted)
        page = write_report(runs, folder / "report.html").resolve()
        tell_ending([Ending.of(run) for run in runs], page, shown)
    return 0


def _of_records(records: Path, folder: Path | None, chosen: str, command: str) -> int:
    """Report on generations that another program ran."""
    import_jax()
    from collapse_jax.records.external import report_records

    names = [name.strip() for name in chosen.split(",") if name.strip()]
    page = report_records(records, folder, command=command, metrics=names, tell=lambda told: say(one_line(told)))
    say(f"report: {page.resolve()}")
    return 0
