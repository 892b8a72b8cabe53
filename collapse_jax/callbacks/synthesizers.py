"""Any synthesizer of tables or arrays, refitted to what it wrote: generation after generation under a monitor.

    real -> reference, held out  +  training rows;   rows_0 = fit_sample(training rows);   rows_g = fit_sample(rows_g-1)

Scikit-learn, CTGAN, SDV or code of one's own: what is watched is a function, and no library is imported here.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from collapse_jax.monitor.monitor import FEWEST_REFERENCE, FEWEST_ROWS, Monitor, Reading
from collapse_jax.validation import RunFailed, check_count, check_function, check_kind, check_seed, shown

FitSample = Callable[[Any, int, int], Any]


class Watched(NamedTuple):
    """What became of a synthesizer.

    Attributes:
        monitor: its readings, `records()`, `alarm` and `forecast()`.
        samples: what the last generation wrote.
        training: real rows that generation 0 was fitted to.
        reference: real rows that were held out; None where a monitor was given, which has its own.
        last: number of the last generation.
    """

    monitor: Monitor
    samples: Any
    training: Any
    reference: Any
    last: int


def watch_synthesizer(
    fit_sample: FitSample, real: Any, generations: int, *, num_samples: int | None = None, held_out: float = 0.5,
    alpha: float = 0.05, monitor: Monitor | Callable[[Any], Monitor] | None = None,
    on_reading: Callable[[Reading], object] | None = None, stop_at_alarm: bool = False, seed: int = 0,
) -> Watched:  # fmt: skip
    """Return what a monitor says of a synthesizer that is refitted to its own rows, generation after generation.

    An alarm at generation 0 says that the synthesizer does not write what it was shown; a later one that it has lost
    it. To ask for the second alone, give a monitor whose reference is what a first fit wrote.

    Args:
        fit_sample: (training rows, number, generation) -> so many new rows, of a model that is fitted anew; rows are
            as `real` is. The generation may serve as a seed.
        real: a DataFrame, or an array [num, ...].
        generations: after generation 0.
        num_samples: rows of a generation; None: as many as generation 0 is fitted to.
        held_out: share of `real` that is the reference, and fitted by nobody.
        alpha: chance of a false alarm, ever.
        monitor: a function reference -> Monitor; or a monitor with a reference of its own: all of `real` is trained on.
        on_reading: called with each reading as it comes.
        stop_at_alarm: end with the generation that raises the alarm.
        seed: chooses the rows that are held out, and the monitor's random choices.

    Raises:
        ValueError: too few rows on either side, or a generation writes other columns, a wrong number of rows, or
            missing values where real rows have none.
        RunFailed: `fit_sample` raised something.

    >>> def gaussian(rows, num, generation):
    ...     return np.random.default_rng(generation).normal(rows.mean(0), rows.std(0), (num, rows.shape[1]))
    >>> real = np.random.default_rng(0).normal(size=(80, 2))
    >>> watched = watch_synthesizer(gaussian, real, 60, stop_at_alarm=True)
    >>> watched.monitor.alarm == watched.last, len(watched.samples)
    (True, 40)
    """
    check_function("fit_sample", fit_sample, "(rows, number, generation) -> rows")
    generations = check_count("generations", generations, 0)
    if on_reading is not None:
        check_function("on_reading", on_reading, "of a reading")
    real = real if isinstance(real, pd.DataFrame) else np.asarray(real)
    if len(real) < FEWEST_ROWS:
        raise ValueError(f"`real` holds {len(real)} rows; give at least {FEWEST_ROWS}.")
    training, reference, watching = real, None, monitor
    if not isinstance(watching, Monitor):
        training, reference = _parts(real, held_out, check_seed("seed", seed))
        made = watching(reference) if watching is not None else Monitor(reference, alpha=alpha, seed=seed)
        watching = check_kind("monitor", made, Monitor, "its function must return one")
    num_samples = check_count("num_samples", len(training) if num_samples is None else num_samples, FEWEST_ROWS)
    first, rows = (watching.readings[-1].generation + 1 if watching.readings else 0), training
    for generation in range(generations + 1):
        rows = _written(fit_sample, rows, num_samples, generation, training)
        reading = watching.update(rows, first + generation)
        if on_reading is not None:
            on_reading(reading)
        if stop_at_alarm and reading.alarm:
            break
    return Watched(watching, rows, training, reference, generation)


def _parts(real: Any, held_out: float, seed: int) -> tuple[Any, Any]:
    """Return training rows and reference."""
    if not 0 < held_out < 1:
        raise ValueError(f"`held_out` must lie between 0 and 1, got {shown(held_out)}; for example 0.5.")
    num = round(held_out * len(real))
    if num < FEWEST_REFERENCE or len(real) - num < FEWEST_ROWS:
        raise ValueError(
            f"of {len(real)} rows {num} are held out and {len(real) - num} left to train on; at least "
            f"{FEWEST_REFERENCE} and {FEWEST_ROWS} are needed: give more rows or another `held_out`."
        )
    places = np.random.default_rng([seed, 2]).permutation(len(real))
    held, left = np.sort(places[:num]), np.sort(places[num:])
    if isinstance(real, pd.DataFrame):
        return real.iloc[left].reset_index(drop=True), real.iloc[held].reset_index(drop=True)
    return real[left], real[held]


def _written(fit_sample: FitSample, rows: Any, num: int, generation: int, real: Any) -> Any:
    """Return what a generation writes, once it is known to be like the real rows."""
    try:
        found = fit_sample(rows, num, generation)
    except Exception as error:
        said = " ".join(str(error).split()).rstrip(".") or "without a word"
        raise RunFailed(f"`fit_sample` raised {type(error).__name__} at generation {generation}: {said}.") from error
    place = f"generation {generation}"
    if isinstance(real, pd.DataFrame):
        check_kind(f"what `fit_sample` returns at {place}", found, pd.DataFrame, "real rows are one")
        missing = [name for name in real.columns if name not in found.columns]
        more = [name for name in found.columns if name not in real.columns]
        if missing or more:
            differ = [f"lacks {shown(missing)}"] * bool(missing) + [f"has {shown(more)} more"] * bool(more)
            raise ValueError(f"{place} {' and '.join(differ)}; its columns must be those of the real rows.")
        found = found[list(real.columns)]  # in their order
        new = found.isna().any() & ~real.isna().any()
        if new.any():
            name = new.index[new][0]
            raise ValueError(
                f"{place} has missing values in {shown(name)}, where real rows have none; mend the synthesizer."
            )
    else:
        try:
            found = np.asarray(found, real.dtype if real.dtype == object else None)
        except ValueError as error:
            raise ValueError(f"{place} is no array: its rows differ in shape.") from error
        if found.shape[1:] != real.shape[1:] or found.ndim != real.ndim:
            raise ValueError(
                f"{place} has shape {found.shape}, real rows {real.shape}; all but the first number must agree."
            )
        if found.dtype.kind == "f" and not np.isfinite(found).all() and np.isfinite(real).all():
            row = int(np.argwhere(~np.isfinite(found))[0][0])
            raise ValueError(f"{place} has values in row {row} that are not finite; mend the synthesizer.")
    if len(found) != num:
        raise ValueError(f"{place} has {len(found)} rows, asked for were {num}; draw until there are as many.")
    return found
