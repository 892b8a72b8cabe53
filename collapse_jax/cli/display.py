"""What the command line shows: sentences, tables of claims and laws."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from collapse_jax.validation import one_line as one_line

_COLOURS = {"holds": "green", "fails": "red", "inconclusive": "yellow", "not testable": "dim"}

console = Console(stderr=False, highlight=False)
aside = Console(stderr=True, highlight=False)  # what is no result: progress, and notes on the way


@dataclasses.dataclass(frozen=True)
class Shown:
    """What a command shows of what it does."""

    claims: bool = False
    """Show every claim with its verdict at the end, not their tally alone."""
    quiet: bool = False
    """Show nothing but errors; the exit code says the rest."""
    json: bool = False
    """Write one JSON document to stdout, and nothing else there: answer, tally, claims with their verdicts, paths."""


AS_USUAL = Shown()


class Patient:
    """A stream that goes on when nobody reads it any more: a run whose output is cut (`| head`) comes to its end.

    After the first failure everything is dropped, also what the interpreter flushes at its end.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._number = None
        with contextlib.suppress(AttributeError, OSError, ValueError):  # none at all, or one that a program made
            self._number = stream.fileno()

    def write(self, text: str) -> int:
        """Write, or drop; signs that the terminal does not know become question marks."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        with self._unread():
            self._stream.write(text.encode(encoding, "replace").decode(encoding))
        return len(text)

    def flush(self) -> None:
        """Flush, or drop."""
        with self._unread():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _unread(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            self._stream = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
            if self._number is not None:
                with contextlib.suppress(OSError):
                    os.dup2(self._stream.fileno(), self._number)


def say(sentence: str, lead: str = "", colour: str = "yellow", where: Console | None = None) -> None:
    """Show a sentence as it is: paths and claims may hold square brackets, which are not markup.

    Args:
        sentence: what to say.
        lead: what stands before it, in colour.
        colour: of that.
        where: which console; None for that of results.
    """
    shown = sentence.encode("utf-8", "replace").decode("utf-8")  # a path may hold bytes that are no UTF-8
    text = Text.assemble((lead, colour), ": " if lead else "", shown)
    (where or console).print(text, soft_wrap=True)


def note(sentence: str) -> None:
    """Show what whoever watches must know."""
    say(sentence, "note", where=aside)


def print_verdicts(study: str, verdicts: list[Any]) -> None:
    """Show what became of a study's claims, if it has any."""
    if not verdicts:
        return
    table = Table(
        "verdict",
        "claim",
        "estimate",
        "interval",
        "seeds",
        title=Text(f"claims of {study}"),
        title_justify="left",
        box=None,
    )
    rows = [verdict if isinstance(verdict, dict) else verdict._asdict() for verdict in verdicts]
    for row in rows:
        tested = row["verdict"] != "not testable"
        low, high = (_shown(bound) for bound in row["interval"])
        shared = f"\nall seeds share: {row['shared']}" if row.get("shared") else ""
        interval = Text.assemble(f"{low} to {high}", (shared, "dim")) if tested else ""
        table.add_row(
            Text(row["verdict"], _COLOURS[row["verdict"]]), _detail(row), _shown(row["estimate"]) if tested else "",
            interval, str(row["num_seeds"]) if tested else "",
        )  # fmt: skip
    console.print(table)
    for departure in dict.fromkeys(row["departure"] for row in rows if row.get("departure")):
        console.print(Text(f"analogue: {departure}.", "dim"))


def _detail(row: dict[str, Any]) -> Text:
    """Return what a claim says, and why it is not testable."""
    reason = row["reason"]
    if reason and reason == row.get("departure"):  # said once, below the table
        reason = "tested in the exact protocol alone"
    return Text.assemble(row["statement"], (f" ({reason})" if reason else "", "dim"))


def _shown(value: float | None) -> str:
    return "inf" if value is None else f"{value:.3g}"


def joined(value: int | tuple[int, ...]) -> str:
    """Return one M or several, with commas.

    >>> joined((100, 1000))
    '100, 1,000'
    """
    return ", ".join(f"{m:,}" for m in (value if isinstance(value, tuple) else (value,)))


def law_table(title: str, checks: list[Any]) -> Table:
    """Return a program's laws as a table; columns have one width in all of them."""
    table = Table(box=None, title=Text(title, "bold"), title_justify="left", expand=True)
    table.add_column("law", ratio=1)
    for name, width in (("simulated", 10), ("error", 8), ("predicted", 10), ("z", 6), ("detects", 8)):
        table.add_column(name, width=width, justify="right", no_wrap=True)
    for item in checks:
        colour = "green" if item.holds else "red"
        table.add_row(
            Text(f"{item.section}: {item.law}"), f"{item.simulated:.4g}", f"{item.error:.2g}",
            f"{item.predicted:.4g}", f"[{colour}]{item.z:+.2f}[/]",
            "exact" if item.error == 0 else f"{item.detects:.2g}",
        )  # fmt: skip
    return table


def speed_table(found: list[Any]) -> Table:
    """Return what was timed as a table."""
    table = Table(box=None)
    table.add_column("work")
    for name in ("a second", "unit", "compile, s", "MiB"):
        table.add_column(name, justify="left" if name == "unit" else "right", no_wrap=True)
    for item in found:
        table.add_row(
            Text(item.name), f"{item.rate:,.0f}", item.unit, f"{item.compile_seconds:.1f}", f"{item.program_mib:,.1f}"
        )
    return table
