"""Tables: columns of numbers and of categories, side by side."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from collapse_jax.monitor.kinds.kind import Kind, Moments
from collapse_jax.monitor.kinds.projection import MOST_DIRECTIONS, Projection, learn
from collapse_jax.monitor.kinds.signs import signs_of
from collapse_jax.monitor.rows import Rows
from collapse_jax.monitor.statistics import categories as of_categories
from collapse_jax.monitor.statistics.numbers import missing as missing_cells
from collapse_jax.monitor.statistics.sameness import copies, repeats
from collapse_jax.validation import nearest

MOST_CATEGORIES = 1000  # of a column: with more it is taken for names or free text
MISSING = "(missing)"


def tables(part: pd.DataFrame, others: pd.DataFrame) -> Kind:
    """Return how tables are looked at.

    Args:
        part: of the reference, which is learnt from: a row for each sample; numbers, and text, flags or categories.
        others: the rest of the reference.

    Raises:
        ValueError: no column can be judged, or names occur twice.
    """
    learnt, rest = _plain(part), _plain(others)
    frame = pd.concat([learnt, rest])
    names = [name for name in frame.columns if _is_number(frame[name])]
    labels = [name for name in frame.columns if name not in names]
    free = [name for name in labels if _is_free(frame[name])]
    labels = [name for name in labels if name not in free]
    if not names and not labels:
        raise ValueError(
            "no column holds numbers, or categories that repeat; of texts give the column alone, frame['text']."
        )
    projection = learn(*(_numbers(rows, names) for rows in (learnt, rest)), alike=False) if names else None
    books = [sorted({_label(cell) for cell in learnt[name]}) for name in labels]
    met = {name: {_label(cell) for cell in frame[name]} for name in labels}
    starts = np.cumsum([0, *map(len, books)]).tolist()
    num_known = starts[-1]
    code_of = [
        {label: start + place for place, label in enumerate(book)} for book, start in zip(books, starts)
    ]
    of_column = np.repeat(np.arange(len(books)), [len(book) for book in books])
    known = _codes(rest, labels, code_of, num_known)
    shares = np.bincount(known.ravel(), minlength=num_known)[:num_known] / len(rest)

    def encode(samples: Any) -> tuple[Rows, tuple[str, ...]]:
        rows = _alike(_plain(samples), frame, names)
        notes = [
            f"`{name}` has a value of its own in nearly every row: it is judged as part of whole rows alone"
            for name in free
        ]
        columns: dict[str, np.ndarray] = {"sign": _signs(rows, names)}
        absent = rows[[*names, *labels]].isna().to_numpy(copy=True)
        if projection is not None:
            values = _numbers(rows, names)
            columns |= projection.columns(values)
            absent[:, : len(names)] |= ~np.isfinite(values)
        columns["missing"] = absent.mean(axis=1)
        notes += _missing_notes(absent, [*names, *labels], len(rows))
        if labels:
            columns["codes"] = _codes(rows, labels, code_of, num_known)
            notes += _unseen_notes(rows, met)
        return Rows(**columns), tuple(notes)

    statistics = projection.statistics() if projection is not None else [missing_cells()]
    if labels:
        statistics += [
            of_categories.categories(shares), of_categories.frequencies(shares),
            of_categories.entropy(of_column), of_categories.unseen(num_known),
        ]  # fmt: skip
    statistics += [copies(), repeats()]
    return Kind(
        "table", encode, statistics, _moments_of(projection, shares), _directions_of(projection), "row"
    )


def _moments_of(projection: Projection | None, shares: np.ndarray) -> Callable[[Rows], Moments]:
    def moments(rows: Rows) -> Moments:
        if projection is not None:
            return projection.moments(rows)
        one_hot = rows["codes"][:, :, None] == np.arange(len(shares))
        cells = one_hot.any(axis=1).astype(float)
        kept = float(np.sum(cells.mean(axis=0) * (1 - cells.mean(axis=0))) / np.sum(shares * (1 - shares)))
        often = np.argsort(-shares * (1 - shares), kind="stable")[:MOST_DIRECTIONS]
        covariance = np.atleast_2d(np.cov(cells[:, often].T, bias=True))
        return Moments(cells[:, often].mean(axis=0), covariance, 1 / len(rows), kept, len(rows))

    return moments


def _directions_of(projection: Projection | None) -> Callable[[Rows], np.ndarray]:
    return projection.shares if projection is not None else lambda rows: np.zeros(0)


def _plain(samples: Any) -> pd.DataFrame:
    """Return a table whose columns are numbers, or hold what can be told apart."""
    frame = samples.reset_index(drop=True)
    frame.columns = [str(name) for name in frame.columns]
    if frame.columns.has_duplicates:
        raise ValueError(
            f"two columns are named '{frame.columns[frame.columns.duplicated()][0]}'; rename one."
        )
    return frame.apply(_plain_column) if len(frame) else frame


def _plain_column(column: pd.Series) -> pd.Series:
    """Return times as days, objects that are numbers as numbers, and lists and the like as text."""
    if pd.api.types.is_datetime64_any_dtype(column) or pd.api.types.is_timedelta64_dtype(column):
        whole = column.dt.tz_localize(None) if getattr(column.dt, "tz", None) is not None else column
        start = pd.Timestamp(0) if pd.api.types.is_datetime64_any_dtype(column) else pd.Timedelta(0)
        return (whole - start) / pd.Timedelta(days=1)
    if column.dtype == object:
        there = [cell for cell in column if not (cell is None or cell is pd.NA or cell is pd.NaT)]
        if there and all(
            isinstance(cell, int | float | np.number) and not isinstance(cell, bool) for cell in there
        ):
            return pd.to_numeric(column, errors="coerce").astype(float)
        return column.map(
            lambda cell: str(cell) if isinstance(cell, list | dict | set | np.ndarray) else cell
        )
    return column


def _is_number(column: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column))


def _is_free(column: pd.Series) -> bool:
    num = column.nunique()
    return bool(num > MOST_CATEGORIES or (num > 20 and num > 0.5 * column.notna().sum()))


def _label(cell: Any) -> str:
    return MISSING if cell is None or cell is pd.NA or cell is pd.NaT or cell != cell else str(cell)


def _alike(rows: pd.DataFrame, reference: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Return the rows with the reference's columns, in its order.

    Raises:
        ValueError: a column lacks, or holds text where the reference has numbers.
    """
    for name in reference.columns:
        if name not in rows.columns:
            raise ValueError(
                f"there is no column '{name}', which the reference has; {nearest(name, [*rows.columns][:20])}"
            )
    if extra := [name for name in rows.columns if name not in reference.columns]:
        raise ValueError(f"column '{extra[0]}' is not in the reference; leave it out, or add it there.")
    for name in names:
        if not _is_number(rows[name]) and rows[name].notna().any():
            numbers = pd.to_numeric(rows[name], errors="coerce")
            odd = rows[name].notna() & numbers.isna()
            if odd.any():
                raise ValueError(
                    f"`{name}` is a column of numbers in the reference, and row {int(np.argmax(odd)) + 1} has "
                    f"{str(rows[name][odd].iloc[0])[:40]!r}; mend it, or make it text in both."
                )
    return rows[list(reference.columns)]


def _numbers(rows: pd.DataFrame, names: list[str]) -> np.ndarray:
    columns = [pd.to_numeric(rows[name], errors="coerce").to_numpy(float, na_value=np.nan) for name in names]
    return np.stack(columns, axis=1)


def _codes(rows: pd.DataFrame, labels: list[str], code_of: list[dict[str, int]], strange: int) -> np.ndarray:
    codes = np.zeros((len(rows), len(labels)), np.int64)
    for place, (name, book) in enumerate(zip(labels, code_of)):
        codes[:, place] = [book.get(_label(cell), strange) for cell in rows[name]]
    return codes


def _signs(rows: pd.DataFrame, names: list[str]) -> np.ndarray:
    numbers = _numbers(rows, names) if names else np.zeros((len(rows), 0))
    numbers = np.where(np.isnan(numbers), np.nan, np.where(numbers == 0, 0.0, numbers))  # one nan, and no -0
    texts = [[_label(cell) for cell in rows[name]] for name in rows.columns if name not in names]
    joined = zip(*texts) if texts else ((),) * len(rows)
    cells = ("\x1f".join(text).encode("utf-8", "surrogatepass") for text in joined)
    return signs_of(row.tobytes() + text for row, text in zip(np.ascontiguousarray(numbers), cells))


def _missing_notes(absent: np.ndarray, names: list[str], num: int) -> list[str]:
    found = [(int(count), name) for count, name in zip(absent.sum(axis=0), names) if count]
    told = ", ".join(f"`{name}` {count:,}" for count, name in sorted(found, reverse=True)[:3])
    more = f" and {len(found) - 3} more columns" if len(found) > 3 else ""
    if not found:
        return []
    return [
        f"of {num:,} rows values are missing or not finite: {told}{more}; numbers count as the reference's mean"
    ]


def _unseen_notes(rows: pd.DataFrame, met: dict[str, set[str]]) -> list[str]:
    notes = []
    for name, labels in met.items():
        strange = sorted({_label(cell) for cell in rows[name]} - labels)
        if strange:
            told = ", ".join(repr(label[:30]) for label in strange[:3]) + (
                " and more" if len(strange) > 3 else ""
            )
            notes.append(f"`{name}` has {len(strange)} categories that the reference lacks: {told}")
    return notes
