"""A table of generations for a terminal: those that matter, and the statistics that moved most."""

from collections.abc import Sequence

from collapse_jax.monitor.readings import Reading
from collapse_jax.watching.watch import Watched
from collapse_jax.watching.words import mark, number, percent

_MOST_ROWS, _AROUND, _FIRST = 12, 2, 2
_MOST_STATISTICS = 6
UNUSUAL = 0.05  # p of a generation alone
KEY = "* unusual (p at most 5 %, for itself alone); evidence of 100 % raises the alarm"


def compact(found: Watched, width: int = 80) -> list[str]:
    """Return the lines of a table that is no wider than this."""
    chosen = places([reading.generation for reading in found.readings], found.alarm)
    names = by_evidence(found)[:_MOST_STATISTICS]
    while True:
        rows = [_head(names), *(_row(found.readings[place], names, found) for place in chosen)]
        widths = [max(map(len, column)) for column in zip(*rows)]
        if sum(widths) + len(widths) - 1 <= width or len(names) <= 1:
            break
        names = names[:-1]
    lines = [
        " ".join([*(cell.rjust(size) for cell, size in zip(row[:-1], widths)), row[-1]]).rstrip()
        for row in rows
    ]
    told = lines[:1]
    for line, place, before in zip(lines[1:], chosen, [-1, *chosen]):
        if place > before + 1:
            told.append(f"{'...'.rjust(widths[0])} ({place - before - 1:,} left out)")
        told.append(line)
    return [*told, KEY] if any("*" in line for line in told) else told


def places(generations: Sequence[int], alarm: int | None, most: int = _MOST_ROWS) -> list[int]:
    """Return which generations are shown: all, or the first, those around the alarm, and the last.

    >>> places(range(50), 7)
    [0, 1, 5, 6, 7, 8, 9, 45, 46, 47, 48, 49]
    """
    num = len(generations)
    if num <= most:
        return list(range(num))
    kept = set(range(_FIRST)) | {num - 1}
    if alarm is not None:
        at = list(generations).index(alarm)
        kept |= set(range(max(at - _AROUND, 0), min(at + _AROUND + 1, num)))
    for place in reversed(range(num)):
        if len(kept) >= most:
            break
        kept.add(place)
    return sorted(kept)


def by_evidence(found: Watched) -> list[str]:
    """Return the statistics, that with the largest evidence at the last generation first."""
    last = found.judged[-1].measured if found.judged else ()
    return [one.name for one in sorted(last, key=lambda one: -one.evidence)]


def _head(names: Sequence[str]) -> list[str]:
    return ["gen.", " rows ", *(f"{name} " for name in names), "evidence", ""]


def _row(reading: Reading, names: Sequence[str], found: Watched) -> list[str]:
    start, said = [str(reading.generation), f"{reading.num_rows:,} "], mark(reading, found)
    if not reading.measured:
        return [*start, *("– " for _ in names), said, ""]
    cells = [
        f"{number(one.value)}{'*' if one.p <= UNUSUAL else ' '}" for one in map(reading.__getitem__, names)
    ]
    return [*start, *cells, percent(reading.evidence), f" {said}"]
