"""The command that watches: generations in files or folders, of whatever program, judged as they come. No JAX here."""

import json
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tyro
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from collapse_jax.cli.arguments import command_line
from collapse_jax.cli.display import aside, console, one_line, say
from collapse_jax.cli.watch_options import WatchOptions
from collapse_jax.files.reading import place_of
from collapse_jax.watching import words
from collapse_jax.watching.files import READINGS, check_folder, folder_for, summary, write_readings
from collapse_jax.watching.notes import grouped
from collapse_jax.watching.page import write_report
from collapse_jax.watching.table import compact
from collapse_jax.watching.watch import Tell, Watched, watch

ALARM = 3  # exit code
_WIDTH = 80
_MOST_NOTES = 8
_PATIENCE = 1.0  # seconds before a bar appears


def watch_generations(arguments: list[str]) -> int:
    """Watch generations, write what was seen, and return the exit code: 0 no alarm, 3 alarm."""

    asked = tyro.cli(WatchOptions, args=arguments, prog="collapse-jax watch")
    if not asked.paths:
        raise ValueError("watch needs the files or folders of generations; name them before the options.")
    folder = folder_for(list(asked.paths)) if asked.out is None else place_of(asked.out)
    check_folder(folder, asked.overwrite)
    with _bar(asked.quiet) as tell:
        found = watch(
            asked.paths, asked.reference, generation_from=asked.generation_from, statistics=asked.statistics,
            columns=asked.columns, alpha=asked.alpha, max_rows=asked.max_rows, share=asked.share,
            passed_on=not asked.not_passed_on, seed=asked.seed, tell=tell,
        )  # fmt: skip
    command = one_line(command_line("watch", arguments))
    write_readings(found, folder, command)
    page = write_report(found, folder, command)
    places = {"report": page, "records": folder / "records.csv", "readings": folder / READINGS}
    if asked.json:
        told = {**summary(found), "paths": {name: str(path.absolute()) for name, path in places.items()}}
        print(json.dumps(told, indent=1, allow_nan=False), flush=True)
    elif not asked.quiet:
        _tell(found, places)
    return 0 if found.alarm is None else ALARM


def _tell(found: Watched, places: dict[str, Path]) -> None:
    """Show the answer first, then what it rests on, no line wider than 80 signs but for paths."""
    colour = "bold red" if found.alarm is not None else "bold green"
    _show(words.answer(found), colour)
    for told in (
        words.state(found),
        words.outlook(found),
        words.from_the_first(found),
        words.compared(found),
    ):
        _show(told)
    console.print()
    for line in compact(found, _WIDTH):
        console.print(Text(line, "red" if line.endswith("alarm") else ""), soft_wrap=True)
    console.print()
    notes = grouped(found.notes)
    for note in notes[:_MOST_NOTES]:
        _show(f"note: {note}", "yellow")
    if len(notes) > _MOST_NOTES:
        _show(f"note: {len(notes) - _MOST_NOTES} more notes are on the page", "yellow")
    for name, path in places.items():
        say(f"{name}: {path}")


def _show(sentence: str, style: str = "") -> None:
    for line in textwrap.wrap(sentence, _WIDTH, break_on_hyphens=False):
        console.print(Text(line, style), soft_wrap=True)


@contextmanager
def _bar(quiet: bool) -> Iterator[Tell | None]:
    """Give what shows how far a watch has come, on a terminal where it takes long."""
    if quiet or not aside.is_terminal or aside.is_dumb_terminal:
        yield None
        return
    parts = (BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    progress, begun = Progress(*parts, console=aside, transient=True), time.monotonic()
    task = progress.add_task("", total=None)

    def tell(done: int, total: int, name: str) -> None:
        if not progress.live.is_started and time.monotonic() - begun > _PATIENCE:
            progress.start()
        progress.update(task, completed=done, total=total, description=name.replace("[", "\\[")[:40])

    try:
        yield tell
    finally:
        progress.stop()
