"""Numbers as people have them: lists, arrays, frames and tensors become rows that JAX's floats can hold.

Values are read as float64 first. A column whose offset or scale float32 cannot hold loses both, in float64, to the
frame that models carry beside their parameters; what no frame can save is refused in a sentence that names the
column.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.numerics.frame import Frame
from collapse_jax.validation import is_concrete, shown

_FINE = 1e-3  # of a column's spread: what the rounding of its values may be before its offset is taken out
_USUAL = 1e12  # largest scale, and inverse of the smallest, whose squares add up without overflow
_LOOKED_AT = 10_000  # rows, evenly chosen, in which groups of values are looked for
_STEPS = 8  # of float32: as many must lie between neighbours of neighbours for a group to have a width
_REMEDIES = {
    "c": "complex numbers; take their real parts, or a column for each part",
    "M": "dates; turn them into numbers: (t - t.min()) / numpy.timedelta64(1, 's')",
    "m": "time differences; turn them into numbers: t / numpy.timedelta64(1, 's')",
}


class Rows(NamedTuple):
    """Numbers read from what a user has.

    Attributes:
        values: shape [num_rows, ...], NumPy's, in the precision that they came in.
        names: of the columns, where they have any.
    """

    values: np.ndarray
    names: tuple[str, ...] = ()

    def column(self, index: int) -> str:
        """Return how a column is called in a sentence."""
        return f"column '{self.names[index]}'" if self.names else f"column {index}"


def read_rows(given: Any) -> Rows:
    """Return the numbers in a list, an array of any number type, a data frame, a tensor or an xarray.

    Raises:
        TypeError: text, dates, complex numbers, objects, or something that is no table at all.
        ValueError: missing values, or rows of unequal length.

    >>> read_rows([[1, 2], [3, 4]]).values.shape
    (2, 2)
    """
    if hasattr(given, "detach") and hasattr(given, "cpu"):  # a tensor of PyTorch
        given = given.detach().cpu()
        given = given.double().numpy() if given.dtype.is_floating_point else given.numpy()
    if hasattr(given, "toarray") or hasattr(given, "todense"):
        raise TypeError(f"data must be dense, got {type(given).__name__}; give x.toarray().")
    if hasattr(given, "collect") and hasattr(given, "columns"):
        raise TypeError(f"data must be in memory, got {type(given).__name__}; give x.collect().")
    named = _named_columns(given)
    if named is None:
        return Rows(_numbers(given, "data"))
    if not named:
        raise ValueError("data need columns, got none; pass [num_rows, num_columns].")
    values = [_numbers(column, f"column '{name}'") for name, column in named]
    if any(column.ndim != 1 or len(column) != len(values[0]) for column in values):
        raise ValueError("data need columns of one axis and one length each; pass [num_rows, num_columns].")
    return Rows(np.stack(values, axis=1), tuple(name for name, _ in named))


def _named_columns(given: Any) -> list[tuple[str, Any]] | None:
    """Return the columns of a data frame (pandas, polars, Arrow), an xarray Dataset or a structured array."""
    if hasattr(given, "data_vars"):
        return [(str(name), given[name].values) for name in given.data_vars]
    if hasattr(given, "column_names") and hasattr(given, "column"):  # Arrow
        return [(str(name), given.column(name).to_numpy()) for name in given.column_names]
    if hasattr(given, "columns") and hasattr(given, "to_numpy"):
        pick = (lambda i: given.iloc[:, i]) if hasattr(given, "iloc") else (lambda i: given[:, i])
        return [(str(name), pick(index)) for index, name in enumerate(given.columns)]
    if isinstance(given, np.ndarray) and given.dtype.names:
        return [(name, given[name]) for name in given.dtype.names]
    return None


def _numbers(given: Any, what: str) -> np.ndarray:
    """Return an array of numbers, if it is one."""
    if isinstance(given, np.ma.MaskedArray):
        if np.ma.is_masked(given):
            raise ValueError(f"{what} holds missing values; remove their rows, or impute them.")
        given = given.data
    if hasattr(given, "isna") and np.any(given.isna()):
        raise ValueError(f"{what} holds missing values; remove their rows, or impute them.")
    if isinstance(given, jax.Array) and jnp.issubdtype(given.dtype, jax.dtypes.prng_key):
        raise TypeError(f"{what} must hold numbers, got keys; draw with them first.")
    try:
        values = np.asarray(given)
    except (TypeError, ValueError):  # lists of unequal length
        values = np.asarray(None)
    if values.dtype.kind == "O" and values.ndim:
        values = _of_objects(values, what)
    if jnp.issubdtype(values.dtype, jnp.floating):
        if values.dtype.kind != "f":  # bfloat16 and smaller
            return values.astype(np.float32)
        return values if values.itemsize <= 8 else values.astype(np.float64)
    if values.dtype.kind in _REMEDIES:
        raise TypeError(f"{what} must hold numbers, got {_REMEDIES[values.dtype.kind]}.")
    if values.dtype.kind not in "biu":
        if what.startswith("column"):
            told = shown(np.atleast_1d(values).tolist()[:3])
            raise TypeError(f"{what} must be numbers, got {told}; leave it out, or turn its values into numbers.")
        remedy = "pandas.DataFrame(x) makes columns of them" if _records(given) else "pass [num_rows, ...]"
        raise TypeError(f"{what} must be numbers, the same number in every row, got {shown(given)}; {remedy}.")
    return values


def _records(given: Any) -> bool:
    return isinstance(given, Sequence) and bool(given) and isinstance(given[0], Mapping)


def _of_objects(values: np.ndarray, what: str) -> np.ndarray:
    """Return Python's own numbers (large integers, Decimal, Fraction) as float64."""
    flat = values.ravel().tolist()
    if any(value is None or value is getattr(np, "NaT", None) or str(value) == "<NA>" for value in flat):
        raise ValueError(f"{what} holds missing values; remove their rows, or impute them.")
    if not flat or not all(isinstance(value, Real | Decimal) for value in flat):
        return values
    try:
        return np.asarray([float(value) for value in flat]).reshape(values.shape)
    except OverflowError:
        raise ValueError(f"{what} holds numbers beyond 1e308; divide them by a power of ten.") from None


def check_finite(rows: Rows, live: np.ndarray) -> None:
    """Refuse NaN and infinities in rows that count.

    Args:
        rows: what was read.
        live: shape [num_rows], whether each counts.

    Raises:
        ValueError: it names the column and the first row.
    """
    values = rows.values
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return
    bad = ~np.isfinite(values).reshape(len(values), -1) & live[:, None]
    if not bad.any():
        return
    in_rows = bad.any(axis=1)
    where = f"first: row {int(in_rows.argmax())}"
    if values.ndim == 2:
        where += f", {rows.column(int(bad[in_rows.argmax()].argmax()))}"
    raise ValueError(
        f"data hold NaN or infinite values in {in_rows.sum()} of {len(values)} rows ({where}); remove or impute them."
    )


def as_floats(rows: Rows, live: np.ndarray, *, movable: bool) -> tuple[np.ndarray, Frame | None]:
    """Return rows in JAX's default float, and the frame that they are in; None means data units.

    Args:
        rows: finite where they count.
        live: shape [num_rows], whether each counts.
        movable: a frame may be used: they are rows of one table, in the order of its columns.

    Raises:
        ValueError: values that no float holds, or groups of them too far apart for their width.
    """
    dtype = np.dtype(jnp.result_type(float))
    values = rows.values if rows.values.ndim > 1 else rows.values[:, None]
    seen = values if live.all() else values[live]
    low, high = seen.min(axis=0).astype(np.float64), seen.max(axis=0).astype(np.float64)
    largest = np.maximum(np.abs(low), np.abs(high))
    bound = float(np.finfo(dtype).max) / 1e3
    if np.any(largest > bound):
        at = _first(largest > bound)
        raise ValueError(
            f"{_name(rows, at)} reaches {largest[at]:.3g}, which {dtype} does not hold; divide it by a power of ten."
        )
    fine = _fine(seen, low, high, largest, dtype)
    if fine.all() or not movable or rows.values.ndim != 2:
        held, frame = values, None
    else:
        held, frame = _moved(rows, seen, fine, dtype)
    if not fine.all() and frame is None:
        at = _first(~fine)
        raise ValueError(
            f"{_name(rows, at)} runs from {low[at]:.6g} to {high[at]:.6g}, which {dtype} holds too coarsely; subtract "
            "an offset and divide by a scale first."
        )
    if rows.values.dtype == np.float64 and dtype != np.float64:
        _check_groups(rows, held if live.all() else held[live], dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # rows that do not count
        return held.astype(dtype).reshape(rows.values.shape), frame


def _name(rows: Rows, at: tuple[int, ...]) -> str:
    return rows.column(at[0]) if rows.values.ndim == 2 else "the data"


def _first(flags: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(flags.argmax()), flags.shape))


def _fine(
    seen: np.ndarray, low: np.ndarray, high: np.ndarray, largest: np.ndarray, dtype: np.dtype
) -> np.ndarray:
    """Return which columns are held well enough in data units."""
    spread = (high - low) / np.sqrt(2 * len(seen))  # the least that the standard deviation can be
    eps = float(np.finfo(dtype).eps)

    def judge(spread: np.ndarray) -> np.ndarray:
        told_apart = (eps * largest <= _FINE * spread) & (spread >= 1 / _USUAL)
        # a constant must not seem to vary by its rounding, beside what does vary
        widest = spread[high > low].max(initial=0.0)
        constant = (high == low) & ((widest == 0) | (eps * largest <= _FINE / 10 * widest))
        return (told_apart | constant) & (largest <= _USUAL)

    fine = judge(spread)
    if fine.all():
        return fine
    spread[~fine] = seen[:, ~fine].std(axis=0, dtype=np.float64)  # it costs a copy
    return judge(spread)


def _moved(rows: Rows, seen: np.ndarray, fine: np.ndarray, dtype: np.dtype) -> tuple[np.ndarray, Frame]:
    """Return all rows with offset and scale taken out of the columns that need it, and the frame of what is left."""
    values = rows.values
    dim = values.shape[1]
    whole = values.dtype.kind in "iu"  # whole numbers of 64 bits lose their last digits as floats: no floats yet
    origin = np.zeros((3, dim), dtype)
    offset = np.zeros(dim, object if whole else np.float64)
    for column in np.flatnonzero(~fine):
        mean = seen[:, column].mean(dtype=np.float64)
        left = int(mean) if whole else float(mean)
        for part in origin:
            part[column] = left
            taken = int(part[column]) if whole else float(part[column])
            left, offset[column] = left - taken, offset[column] + taken
    with np.errstate(over="ignore", invalid="ignore"):
        centred = ((values.astype(object) if whole else values) - offset).astype(np.float64)
        kept = ((seen.astype(object) if whole else seen) - offset).astype(np.float64)
    spread = kept.std(axis=0)
    tiny = (spread > 0) & (spread < 1e3 * np.finfo(dtype).tiny)
    if tiny.any():
        at = _first(tiny)
        raise ValueError(
            f"{rows.column(at[0])} spreads by {spread[at]:.3g}, which {dtype} does not hold; multiply it by a power of "
            "ten."
        )
    unusual = ~fine & (spread > 0) & ((spread > _USUAL) | (spread < 1 / _USUAL))
    log_scale = np.zeros(dim, dtype)
    if unusual.any():
        top = spread[unusual].max()
        alike = spread[unusual].min() > 1e-6 * top  # then one scale keeps distances between rows what they are
        log_scale[unusual] = np.log(top if alike else spread[unusual])
    with np.errstate(over="ignore", invalid="ignore"):
        centred = centred / np.exp(log_scale.astype(np.float64))
    zeros, eye = jnp.zeros(dim, dtype), jnp.eye(dim, dtype=dtype)
    return centred, Frame(zeros, jnp.asarray(log_scale), eye, zeros, eye, jnp.asarray(origin))


def _check_groups(rows: Rows, seen: np.ndarray, dtype: np.dtype) -> None:
    """Refuse a column most of whose values lie in groups narrower than the precision at their place.

    Two clusters of width 1 at 1e7 and -1e7: one offset does not help both.
    """
    some = seen[:: -(-len(seen) // _LOOKED_AT)].reshape(-1, *seen.shape[1:])
    some = np.sort(some.astype(np.float64), axis=0)
    exact = (some.astype(dtype) == some).reshape(len(some), -1).all(axis=0)
    for index in np.flatnonzero(~exact):
        column = some.reshape(len(some), -1)[:, index]
        column = column[np.concatenate([[True], np.diff(column) > 0])]
        reach = int(np.ceil(np.sqrt(len(column))))
        if reach >= len(column):
            continue
        gaps = column[reach:] - column[:-reach]
        steps = gaps / (np.finfo(dtype).eps * np.maximum(np.abs(column[reach:]), np.abs(column[:-reach])))
        if np.median(steps) < _STEPS:
            at = (int(index),) if seen.ndim == 2 else (0,)
            raise ValueError(
                f"{_name(rows, at)} holds groups of values so far apart that {dtype} cannot tell the values of one "
                "from each other; bring the groups nearer, or turn on jax_enable_x64."
            )


def counted(weight: Any, num_rows: int) -> np.ndarray:
    """Return weights as numbers of points, in float64.

    Weights that sum to 1, as importance weights do, say what share each row has, but not of how many points: they
    stand for as many as estimate a mean equally well, (sum w)^2 / sum w^2 (Kish 1965), as in SciPy's `gaussian_kde`.

    Raises:
        TypeError: no numbers.
        ValueError: another shape, a negative or infinite weight, none positive, or less than two points in all.
    """
    values = read_rows(weight).values
    if values.shape != (num_rows,):
        raise ValueError(f"`weight` must have shape ({num_rows},), one per row, got {values.shape}.")
    values = values.astype(np.float64)
    if not np.all(np.isfinite(values)) or np.any(values < 0):
        raise ValueError("`weight` must be finite and non-negative; 0 marks a row to ignore.")
    total, num_live = values.sum(), int((values > 0).sum())
    if total == 0:
        raise ValueError(
            "the total `weight` of the data is 0, so there is nothing to fit; give some row a positive weight."
        )
    if num_live > 1 and abs(total - 1) < 1e-3:  # float32, or a few digits of text
        return values / np.sum(values**2) * total
    if num_live > 1 and total < 2:
        raise ValueError(
            f"the weights stand for {total:.3g} points in all, fewer than two; give the number of points that each "
            "row stands for, or shares that sum to 1."
        )
    return values


def is_traced(given: Any) -> bool:
    """True for what JAX traces, which cannot be looked at."""
    return isinstance(given, jax.Array) and not is_concrete(given)
