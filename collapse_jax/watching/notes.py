"""Notes on generations, of which many say the same: told once each."""

import re
from collections.abc import Iterable, Sequence

_GENERATION = re.compile(r"Generation (\d+)\b")
_NUMBER = re.compile(r"\d[\d,.]*")


def about(what: str, notes: Iterable[str]) -> list[str]:
    """Return notes as sentences that begin with what they are about.

    >>> about("the reference", ["two rows are empty"])
    ['The reference: two rows are empty.']
    """
    return [f"{what[0].upper()}{what[1:]}: {note.rstrip('.')}." for note in notes]


def grouped(notes: Sequence[str]) -> list[str]:
    """Return each note once: those that differ in numbers alone are one, with how many generations more it is true of.

    >>> grouped(["Generation 2: 3 rows are empty.", "Generation 7: 11 rows are empty.", "Generation 4 is missing."])
    ['Generation 2: 3 rows are empty. Likewise 1 generation more, up to 7.', 'Generation 4 is missing.']
    """
    alike: dict[str, list[str]] = {}
    for note in notes:
        alike.setdefault(_NUMBER.sub("#", note), []).append(note)
    return [_together(same) for same in alike.values()]


def _together(same: list[str]) -> str:
    later = [match.group(1) for match in map(_GENERATION.match, dict.fromkeys(same)) if match][1:]
    if not later:
        return same[0]
    return f"{same[0]} Likewise {len(later):,} generation{'' if len(later) == 1 else 's'} more, up to {later[-1]}."
