"""A generation's samples: a uniformly random subset of them, in memory that does not grow with their files.

    file, folder or parts -> files of one kind -> at most `max_rows` samples, in their order, and how many there are
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from collapse_jax.files.reading import place_of, size_of
from collapse_jax.sources.arrays import read_arrays
from collapse_jax.sources.formats import NOTHING, READ, files_in, kind_inside, kind_of, left_out, of_one_kind
from collapse_jax.sources.images import read_images
from collapse_jax.sources.layouts import looks_like_table
from collapse_jax.sources.tables import read_tables
from collapse_jax.sources.texts import TEXT_FIELDS, read_json_lines, read_text_files, read_text_lines
from collapse_jax.validation import check_count, check_seed


class Sample(NamedTuple):
    """Some of a generation's samples.

    values: an array with a row for each, uint8 for images; a DataFrame of numbers, and of strings for categories;
        texts; or lists of tokens.
    num_rows: how many there are in all.
    notes: what is to be said of how they were read, a sentence each.
    """

    values: np.ndarray | pd.DataFrame | list[str] | list[list[int]]
    num_rows: int
    notes: tuple[str, ...]


def read_samples(path: str | Path | Sequence[Path], *, max_rows: int = 2000, seed: int = 0) -> Sample:
    """Return a generation's samples, or a random subset of them in which each is as likely.

    Args:
        path: a file, a folder, or several of them that are parts of one generation.
        max_rows: as many are returned at most; all, in their order, where there are no more.
        seed: which are returned.

    Raises:
        ValueError: a file cannot be read, holds no samples, or others than the rest.
    """
    check_count("max_rows", max_rows)
    check_seed("seed", seed)
    given = [place_of(path)] if isinstance(path, str | Path) else [place_of(one) for one in path]
    if not given:
        raise ValueError("`path` names no file; name one with samples.")
    files, notes = _files(given)
    read, more = _reader(files, in_a_folder=any(map(os.path.isdir, given)))
    values, num_rows, told = read(files, max_rows, seed)
    if isinstance(values, np.ndarray) and values.dtype.kind == "U":
        values = values.tolist()
    if isinstance(values, pd.DataFrame) and len(values.columns) == 1 and values.columns[0] in TEXT_FIELDS:
        values, told = _texts(values, told)
    return Sample(values, num_rows, (*notes, *more, *told))


def _files(given: list[Path]) -> tuple[list[Path], list[str]]:
    """Return the files that are read, all of one kind, and what is said of the others."""
    files, notes = list[Path](), list[str]()
    for path in given:
        if os.path.isdir(path):
            found = files_in(path)
            kept, left = of_one_kind(found, [kind_inside(file) for file in found], str(path))
            if not kept:
                raise ValueError(f"{path} holds no samples; put files there that are {READ}.")
            files += kept
            notes += left_out([file.name for file in left], NOTHING)
        elif not kind_of(path):
            size_of(path, sys.maxsize, "name a file of samples")
            raise ValueError(f"{path} is no file of samples that is known; save them as {READ}.")
        else:
            files.append(path)
    for path in files:
        if kind_of(path) != kind_of(files[0]):
            raise ValueError(f"{files[0]} and {path} hold samples of different kinds; give parts of one kind.")
    return files, notes


def _reader(files: list[Path], in_a_folder: bool) -> tuple[Any, list[str]]:
    """Return what reads such files, and a note where a file's name does not say it."""
    kind = kind_of(files[0])
    size_of(files[0], sys.maxsize, "name a file of samples")
    if kind == "text":
        if files[0].stat().st_size and looks_like_table(files[0]):
            return read_tables, [f"{files[0].name} is read as a table, not as texts."]
        return (read_text_files if in_a_folder else read_text_lines), []
    readers = {
        "table": read_tables, "array": read_arrays, "idx": read_arrays, "images": read_images, "lines": read_json_lines,
    }  # fmt: skip
    return readers[kind], []


def _texts(frame: pd.DataFrame, notes: list[str]) -> tuple[Any, list[str]]:
    """Return a table of nothing but texts as these; one of numbers stays."""
    cells = frame.iloc[:, 0]
    if pd.api.types.is_numeric_dtype(cells.dtype):
        return frame, notes
    num_empty = int(cells.isna().sum())
    more = [f"{num_empty:,} of the texts that are read are empty."] if num_empty else []
    return cells.fillna("").tolist(), [*notes, *more]
