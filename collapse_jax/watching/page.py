"""The page of a watch: the answer, the forecast, the figure, the last reading, notes, and how it was judged."""

import base64
from pathlib import Path

from collapse_jax.watching.notes import grouped
from collapse_jax.watching.table import UNUSUAL, by_evidence
from collapse_jax.watching.watch import Watched
from collapse_jax.watching.words import (
    answer,
    compared,
    from_the_first,
    mark,
    number,
    outlook,
    percent,
    state,
)

_MOST_GENERATIONS = 500  # in the table of all
_MOST_NOTES = 60


def write_report(found: Watched, folder: Path, command: str = "") -> Path:
    """Write `report.html` and `figures/watch` (PNG and SVG); return the page's path."""
    from collapse_jax.analysis.page import template, write_page

    last = found.judged[-1] if found.judged else None
    notes = grouped(found.notes)
    page = template("watch.html.j2", number=number).render(
        answer=answer(found),
        is_alarm=found.alarm is not None,
        state=state(found),
        outlook=outlook(found),
        warning=from_the_first(found),
        compared=compared(found),
        kind=found.kind,
        first=found.readings[0].generation,
        last_generation=found.readings[-1].generation,
        num_generations=len(found.readings),
        rows=sorted({reading.num_rows for reading in found.readings}),
        last=last,
        order=[found.shown(name) for name in by_evidence(found)],
        raised=found.raised_by,
        unusual=UNUSUAL,
        still=_still(found),
        percent=percent,
        statistics=found.statistics,
        readings=[
            (reading, name, mark(reading, found)) for reading, name in zip(found.readings, found.names)
        ][-_MOST_GENERATIONS:],
        notes=notes[:_MOST_NOTES],
        num_more_notes=max(len(notes) - _MOST_NOTES, 0),
        alpha=f"{100 * found.alpha:.3g} %",
        since=found.since,
        figure=_figure(found, folder) if last is not None else "",
        has_directions=len(found.readings[0].directions) > 1,
        command=command,
        moving=False,
    )  # fmt: skip
    write_page(folder / "report.html", page)
    return folder / "report.html"


def _still(found: Watched) -> list[str]:
    """Return statistics that are one number in all generations, as phrases: they are not drawn."""
    from collapse_jax.analysis.watch_figure import constant

    return [f"{name} ({number(found.shown(name).value)})" for name in constant(found.readings)]


def _figure(found: Watched, folder: Path) -> str:
    """Draw the figure into the folder and return it as it stands in the page."""
    from collapse_jax.analysis.style import save_figure
    from collapse_jax.analysis.watch_figure import watch_figure

    picture = save_figure(watch_figure(found.readings, found.alarm), folder / "figures", "watch")
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()
