"""Which files and folders are the generations of a run.

    paths, as a shell gives them, or one folder of entries -> samples of one kind -> numbered, in order

Called before anything is read: it looks at names and sizes alone.
"""

import math
import os
import re
from collections.abc import Callable, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

from collapse_jax.files.reading import place_of
from collapse_jax.sources.formats import (
    NOTHING,
    REMEDY,
    check_path,
    kind_inside,
    left_out,
    natural,
    of_one_kind,
)
from collapse_jax.sources.patterns import PATTERN, compiled, numbered_by

_PART = re.compile(r"(^|[-_./ ])(part|shard|chunk)[-_. ]?[0-9]+|[0-9]+-of-[0-9]+", re.IGNORECASE)
_BEFORE = re.compile(r"(real|original|train|human|base|reference|initial)", re.IGNORECASE)  # what all began with


class Source(NamedTuple):
    """A generation's samples.

    generation: its number.
    paths: of its parts, files or folders.
    name: how it is told to the user.
    """

    generation: int
    paths: tuple[Path, ...]
    name: str


def find_generations(
    paths: Sequence[Path], generation_from: str | None = None
) -> tuple[list[Source], list[str]]:
    """Return the generations of a run, in their order, and what is to be said of how they were found.

    Args:
        paths: a file or folder for each generation, or one folder that holds them.
        generation_from: a regular expression whose one group is the number of a file's generation, searched in its
            path below the folder given; default the names' order, and their numbers where they have one.

    Raises:
        ValueError: a path is not there, empty or may not be read, or nothing says which generation a file is of.
    """
    given = [place_of(path) for path in paths]
    if not given:
        raise ValueError(f"no path was given; {REMEDY}.")
    for path in given:
        check_path(path)
    if twice := next((path for index, path in enumerate(given) if path in given[:index]), None):
        raise ValueError(f"{twice} is given twice; name each generation once.")
    if generation_from is not None:
        groups, notes = numbered_by(given, compiled(generation_from))
        sources = [
            Source(number, tuple(path for path, _ in parts), _name_of_parts([name for _, name in parts]))
            for number, parts in sorted(groups.items())
        ]
        return sources, [*notes, *_missing(sources)]
    if len(given) == 1 and os.path.isdir(given[0]):
        entries, notes = _entries(given[0])
        names = [path.name for path in entries]
        in_order = False
    else:
        entries, notes, names = given, [], _relative(given)
        in_order = not _from_a_shell(names)
    for name, path in zip(names, entries, strict=True):
        if len(entries) > 1 and not os.path.isdir(path) and _PART.search(name):
            raise ValueError(
                f"{path} is named as a part of something larger; say which generation each part is of by {PATTERN}, "
                "or give a folder for each generation."
            )
    return _numbered(entries, names, in_order, notes)


def _numbered(
    entries: list[Path], names: list[str], in_order: bool, notes: list[str]
) -> tuple[list[Source], list[str]]:
    """Number entries by their names, or else by their order: as given, or as people would sort them."""
    if not in_order:
        order = sorted(range(len(names)), key=lambda i: (not _BEFORE.match(names[i]), natural(names[i])))
        entries, names = [entries[i] for i in order], [names[i] for i in order]
    numbers = _numbers(names)
    if numbers is None:
        numbers = list(range(len(names)))
        if not in_order and len(names) > 1:
            notes = [*notes, f"Generations are numbered in the order of names: 0 is {names[0]}, {len(names) - 1} is "
                     f"{names[-1]}; otherwise say where the number stands by {PATTERN}."]  # fmt: skip
    found = sorted(zip(numbers, entries, names, strict=True), key=lambda entry: entry[0])
    for (one, _, first), (other, _, second) in pairwise(found):
        if one == other:
            raise ValueError(
                f"{first} and {second} both say generation {one}; rename one, or say where the number stands by "
                f"{PATTERN}, which joins files of one generation."
            )
    sources = [Source(number, (path,), name) for number, path, name in found]
    return sources, [*notes, *_missing(sources)]


def _numbers(names: list[str]) -> list[int] | None:
    """Return the one number in which names differ, of each; before the first may stand what all began with."""
    found = [[int(digits) for digits in re.findall("[0-9]+", name)] for name in names]
    if len(names) > 2 and _BEFORE.match(names[0]) and not found[0]:
        later = _numbers(names[1:])
        return [0, *later] if later and min(later) == 1 else None
    if len(names) < 2 or len({len(row) for row in found}) != 1:
        return None
    differing = {column for column in zip(*found) if len(set(column)) > 1}
    return list(differing.pop()) if len(differing) == 1 else None


def _missing(sources: Sequence[Source]) -> list[str]:
    """Return a note on numbers that are left out between others, which need not go up by one."""
    numbers = [source.generation for source in sources]
    step = math.gcd(*(later - number for number, later in pairwise(numbers)))
    if step == 0:
        return []
    num = (numbers[-1] - numbers[0]) // step + 1 - len(numbers)
    gaps = (gap for number, later in pairwise(numbers) for gap in range(number + step, later, step))
    told = [str(gap) for gap in islice(gaps, 5)]
    if num == 0:
        return []
    if num == 1:
        return [f"Generation {told[0]} is missing."]
    if num > len(told):
        return [f"{num:,} generations are missing: {', '.join(told)} and later ones."]
    return [f"Generations {', '.join(told)} are missing."]


def _entries(folder: Path) -> tuple[list[Path], list[str]]:
    """Return what a folder holds that may be generations, and notes on the rest."""
    entries = sorted(folder.iterdir(), key=lambda path: natural(path.name))
    kinds = [kind_inside(path) for path in entries]
    if set(kinds) - {""} == {"images"}:
        image = entries[kinds.index("images")]
        raise ValueError(
            f"{folder} holds images ({image.name}), each of which is one sample, not a generation; say which "
            f"generation each is of by {PATTERN}, or give a folder for each generation."
        )
    kinds = ["" if kind == "images" else kind for kind in kinds]  # figures
    kept, left = of_one_kind(entries, kinds, str(folder))
    if not kept:
        raise ValueError(f"{folder} holds no samples; {REMEDY}.")
    for path in kept:
        check_path(path)
    return kept, left_out([path.name for path in left], NOTHING)


def _name_of_parts(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1:,} more"


def _relative(paths: list[Path]) -> list[str]:
    """Return paths below the folder that all lie in."""
    full = [os.path.abspath(path) for path in paths]
    try:
        common = os.path.commonpath([os.path.dirname(path) for path in full])
    except ValueError:  # on several drives
        return [path.as_posix() for path in paths]
    return [Path(os.path.relpath(path, common)).as_posix() for path in full]


def _from_a_shell(names: list[str]) -> bool:
    """True where names stand as a shell lists them: by bytes, or by letters, as its language has it."""
    keys: list[Callable[[str], str]] = [str, str.casefold, lambda name: re.sub(r"[\W_]", "", name.casefold())]
    return any(names == sorted(names, key=key) for key in keys)
