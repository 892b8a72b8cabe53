"""The numbers of generations where a regular expression finds them in the paths of files.

    path below the folder given -> the group's digits; files of one number are parts of one generation
"""

import os
import re
from pathlib import Path

from collapse_jax.sources.formats import (
    NOTHING,
    REMEDY,
    check_path,
    kind_inside,
    kind_of,
    left_out,
    natural,
    of_one_kind,
)

PATTERN = r"--generation-from 'gen(\d+)'"


def numbered_by(
    given: list[Path], pattern: re.Pattern[str]
) -> tuple[dict[int, list[tuple[Path, str]]], list[str]]:
    """Return, by the number that a pattern finds in their paths, files or folders and their names; and notes.

    Raises:
        ValueError: it is found nowhere, or what is found is no whole number.
    """
    several = len(given) > 1
    found: list[tuple[int | None, Path, str]] = []
    for path in given:
        if os.path.isdir(path):
            found += _below(path, "", path.name if several else "", pattern)
        else:
            number = _number(path.name, pattern)
            found.append((number if number is not None else _number(path.as_posix(), pattern), path, path.name))
    kinds = ["" if number is None else kind_inside(path) for number, path, _ in found]
    kept, left = of_one_kind([path for _, path, _ in found], kinds, str(given[0]))
    if not kept:
        unmatched = next((name for number, _, name in found if number is None and kind_of(Path(name))), None)
        if unmatched is None:
            raise ValueError(f"{given[0]} holds no samples; {REMEDY}.")
        raise ValueError(
            f"--generation-from '{pattern.pattern}' is found in no path, for example not in {unmatched}; write what "
            r"stands before the number and (\d+), as 'gen(\d+)'."
        )
    chosen, groups = set(kept), dict[int, list[tuple[Path, str]]]()
    for number, path, name in found:
        if path in chosen and number is not None:
            check_path(path)
            groups.setdefault(number, []).append((path, name))
    unmatched_names = [name for number, path, name in found if number is None and kind_inside(path)]
    told, gone = set(unmatched_names), set(left)
    others = [name for _, path, name in found if path in gone and name not in told]
    notes = left_out(unmatched_names, f"'{pattern.pattern}' is not found in them")
    return groups, [*notes, *left_out(others, NOTHING)]


def _below(
    folder: Path, inside: str, before: str, pattern: re.Pattern[str]
) -> list[tuple[int | None, Path, str]]:
    """Return number, path and name of what lies in a folder: its files, or itself where all have its number.

    Args:
        folder: to look into.
        inside: its path below the one that was given.
        before: the name of the one that was given, where that may hold the number; else "".
        pattern: to search for.
    """

    def number_of(name: str) -> int | None:
        number = _number(name, pattern)
        return number if number is not None or not before else _number(f"{before}/{name}", pattern)

    found: list[tuple[int | None, Path, str]] = []
    for path in sorted(_listed(folder), key=lambda path: natural(path.name)):
        name = f"{inside}/{path.name}" if inside else path.name
        if path.name.startswith("."):
            continue
        if os.path.isdir(path):
            if not _is_circle(path):
                found += _below(path, name, before, pattern)
        else:
            found.append((number_of(name), path, name))
    here = number_of(inside) if inside or before else None
    if here is not None and found and all(number == here for number, _, _ in found):
        return [(here, folder, inside or before)]
    return found


def _is_circle(folder: Path) -> bool:
    """True for a link to a folder that it lies in."""
    return folder.is_symlink() and Path(os.path.realpath(folder.parent)).is_relative_to(os.path.realpath(folder))


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise ValueError(
            f"{folder} cannot be read ({error.strerror}); allow it (chmod -R u+rX), or leave it out."
        ) from error


def compiled(text: str) -> re.Pattern[str]:
    """Return a pattern with one group.

    Raises:
        ValueError: it is none.
    """
    try:
        pattern = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(
            f"--generation-from '{text}' is no regular expression ({error}); for example {PATTERN}."
        ) from error
    if pattern.groups != 1:
        raise ValueError(
            f"--generation-from '{text}' has {pattern.groups} groups, and one must give the number; put ( ) around it "
            f"alone, as in {PATTERN}."
        )
    return pattern


def _number(name: str, pattern: re.Pattern[str]) -> int | None:
    match = pattern.search(name)
    if match is None or match[1] is None:
        return None
    if not re.fullmatch("[0-9]+", match[1]):
        raise ValueError(
            f"--generation-from '{pattern.pattern}' finds '{match[1]}' in {name}, which is no whole number; let its "
            rf"group be (\d+), as in {PATTERN}."
        )
    return int(match[1])
