"""What moved: each metric's change from the first generation to the last, paired within seeds.

    change_s = last_s - first_s,   mean +- t(seeds - 1) s / sqrt(seeds) at the level that Holm's steps come to

First against last, not a slope: whatever the generations between depend on, the changes of different seeds are
independent, and without a trend as often up as down. Numbers that are positive and span more than a hundredfold are
compared by logarithm. Equal changes are no certainty: s is never below the step of the numbers (their last decimal, or
what parts the few that there are). One run alone is judged by Wilcoxon's signed ranks of its steps from stage to stage
of the generations: a run without direction, be it a random walk or pulled back, makes as many and as large ones up as
down.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr
from scipy import special, stats

from collapse_jax.numerics import holm
from collapse_jax.numerics.intervals import interval

LEVEL = 0.05
POWER = 0.8  # with which the seeds that are asked for show a change
_MOST_NEEDED = 1000  # seeds that are worth asking for
_EXACT = 60  # signs that are counted out; beyond them signed ranks are normal
MOST_COMPONENTS = 32  # of one metric

Test = Literal["pairs", "steps", "none"]


class Movement(NamedTuple):
    """How one metric moved from the first generation to the last.

    Attributes:
        name: of the metric, with the component in brackets.
        unit: of it, "1" if it has none.
        between: the first generation at which some seed has a finite value, and the last at which half of them do.
        first: mean over seeds and its 95 % interval (Student's t), at the first of them; the interval is NaN where
            seeds do not differ, which says nothing of their spread.
        last: the same at the last one.
        change: mean of last - first within each seed, and its interval at `level`, which holds 0 unless it moved.
        risen: how many seeds rose.
        fallen: how many seeds fell.
        p: two-sided, Holm-adjusted over the metrics.
        since: the generation from which on the unadjusted test has p < 0.05; None where it never settles there.
        num_lost: how many seeds lack a finite value at a generation where others have one.
        num_pairs: seeds that have both values.
        test: "pairs" (t over seeds), "steps" (signed ranks within one run), "none" where nothing varies.
        level: 1 - confidence of the interval of the change.
        is_log: whether means are geometric and the change is a factor.
        steps: of one run, how often it went up and down from stage to stage.
        needed: seeds that would show the change as it looks, None where it is decided or nothing can be said.
        num_missing: values that are NaN or infinite, of how many.
    """

    name: str
    unit: str
    between: tuple[int, int]
    first: tuple[float, float, float]
    last: tuple[float, float, float]
    change: tuple[float, float, float]
    risen: int
    fallen: int
    p: float
    since: int | None
    num_lost: int
    num_pairs: int
    test: Test
    level: float
    is_log: bool
    steps: tuple[int, int]
    needed: int | None
    num_missing: tuple[int, int]

    @property
    def moved(self) -> str:
        """What the test says: "fell", "rose", "no change", "no values", "no evidence" or "too few seeds"."""
        if self.test == "none":
            return "no change" if self.num_pairs else "no values"
        if self.p < LEVEL:
            return "rose" if self.up else "fell"
        return "no evidence" if self.test == "pairs" else "too few seeds"

    @property
    def up(self) -> bool:
        """Whether the mean rose."""
        return self.last[0] > self.first[0]


class _Paired(NamedTuple):
    """A metric's changes [num_seeds, num_generations] at the generations that are compared, and what they came to."""

    movement: Movement
    changes: np.ndarray
    step: float  # of the numbers
    generations: np.ndarray


def movements(dataset: xr.Dataset) -> tuple[Movement, ...]:
    """Return how each metric of a Dataset of `read_records` moved, and each component of those of several numbers.

    Seeds without a finite number are left out, and seeds that are one run under several names count once.
    """
    own = np.setdiff1d(np.arange(dataset.sizes["seed"]), [again for again, _ in same_runs(dataset)])
    found = [_paired(name, array.isel(seed=own)) for name, array in columns(dataset)]
    tested = [index for index, one in enumerate(found) if one.movement.test != "none"]
    adjusted = holm.adjusted([found[index].movement.p for index in tested])
    num_left = len(tested) - sum(p < LEVEL for p in adjusted)
    level = LEVEL / max(num_left, 1)  # the interval at this level leaves out 0 just where Holm's steps reach
    judged = [one.movement for one in found]
    for index, p in zip(tested, adjusted):
        judged[index] = _decided(found[index], p, level)
    return tuple(judged)


def columns(dataset: xr.Dataset) -> list[tuple[str, xr.DataArray]]:
    """Return (name, array with dims seed and generation) of each metric and component, one number each first."""
    found = []
    for name, array in dataset.data_vars.items():
        inner = [dim for dim in array.dims if dim not in ("seed", "generation") and array.sizes[dim] > 1]
        flat = array.isel({dim: 0 for dim in array.dims if array.sizes[dim] == 1 and dim not in ("seed", "generation")})
        if not inner:
            found.append((0, str(name), flat))
        elif np.prod([array.sizes[dim] for dim in inner]) <= MOST_COMPONENTS:
            for place in np.ndindex(*(array.sizes[dim] for dim in inner)):
                one = flat.isel(dict(zip(inner, place)))
                told = [one[dim].item() if dim in one.coords else index for dim, index in zip(inner, place)]
                found.append((1, f"{name}[{', '.join(map(_short, told))}]", one))
    return [(name, array.transpose("seed", "generation")) for _, name, array in sorted(found, key=lambda one: one[0])]


def _short(label: object) -> str:
    return f"{label:.4g}" if isinstance(label, float) else str(label)


def same_runs(dataset: xr.Dataset) -> list[tuple[int, int]]:
    """Return (index of a seed, index of the first one) for seeds that hold the same numbers as one before them.

    Numbers of which few are possible (counts, flags, three decimals) may agree by chance: then all seeds must agree.
    """
    arrays = [array.transpose("seed", "generation", ...).values for array in dataset.data_vars.values()]
    num_seeds = dataset.sizes["seed"]
    first: dict[bytes, int] = {}
    found = []
    for index in range(num_seeds):
        bits = b"".join(np.ascontiguousarray(array[index], np.float64).tobytes() for array in arrays)
        if bits in first:
            found.append((index, first[bits]))
        else:
            first[bits] = index
    rich = {again for again, _ in found if _is_rich([array[again] for array in arrays])}
    if len(found) == num_seeds - 1:
        return found
    return [pair for pair in found if pair[0] in rich]


def _is_rich(arrays: Sequence[np.ndarray]) -> bool:
    """Whether numbers are such that two runs do not have them by chance."""
    values = np.concatenate([array.astype(float).ravel() for array in arrays])
    values = values[np.isfinite(values)]
    return len(np.unique(values[values != np.round(values, 3)])) >= 3


def _paired(name: str, array: xr.DataArray) -> _Paired:
    values = array.values.astype(float)
    values = np.where(np.isfinite(values), values, np.nan)
    missing = (int(np.isnan(values).sum()), values.size)
    there = np.isfinite(values).sum(axis=0)
    reached = there > 0
    if not reached.any():
        reached[:] = True
    lost = int(np.isnan(values[:, reached]).any(axis=1).sum())
    finite = values[np.isfinite(values)]
    is_log = bool(finite.size and finite.min() > 0 and finite.max() > 100 * finite.min())
    # where most seeds have ended, those that are left say little of all
    reached[int(np.flatnonzero(2 * there >= there.max())[-1]) + 1 :] = False
    values, generations = values[:, reached], array["generation"].values[reached]
    scaled = np.log(values) if is_log else values
    pairs = np.isfinite(scaled[:, 0]) & np.isfinite(scaled[:, -1])
    changes = (scaled - scaled[:, :1])[pairs]
    last = changes[:, -1]
    step = _step(finite) / (float(np.median(finite)) if is_log else 1.0)
    steps, p = np.zeros(0), 1.0
    test: Test = "none"
    if len(generations) > 1 and len(np.unique(finite)) > 1:
        if pairs.sum() > 1:
            p, test = float(_students_p(changes, step)[-1]), "pairs"
        elif pairs.sum() == 1:
            run = scaled[pairs][0]
            steps = np.diff(stages(run[np.isfinite(run)]))
            p, test = signed_ranks(steps), "steps"
    movement = Movement(
        name, str(array.attrs.get("units", "1")), (int(generations[0]), int(generations[-1])),
        _mean(scaled[pairs, 0], is_log), _mean(scaled[pairs, -1], is_log), (_average(last), np.nan, np.nan),
        int((last > 0).sum()), int((last < 0).sum()), p, None, lost, int(pairs.sum()), test, LEVEL, is_log,
        (int((steps > 0).sum()), int((steps < 0).sum())), None, missing,
    )  # fmt: skip
    return _Paired(movement, changes, step, generations)


def _decided(one: _Paired, p: float, level: float) -> Movement:
    """Return a movement with its adjusted p, its interval, and since when it is so or how many seeds would tell."""
    moved = one.movement._replace(p=p, level=level)
    if moved.test == "steps":
        return moved
    mean, spread, num = (float(found[-1]) for found in _summary(one.changes, one.step))
    half = float(special.stdtrit(num - 1, 1 - level / 2)) * spread / np.sqrt(num)
    moved = moved._replace(change=(mean, mean - half, mean + half))
    if p < LEVEL:
        return moved._replace(since=_since(one))
    return moved._replace(needed=seeds_needed(mean, spread, level, int(num) + 1))


def _summary(changes: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean, standard deviation and number over seeds of changes [num_seeds, num_generations].

    Equal changes tell no more than the step of their numbers does: the deviation is that at least.
    """
    there = np.isfinite(changes)
    num = there.sum(axis=0)
    mean = np.where(there, changes, 0.0).sum(axis=0) / np.maximum(num, 1)
    squares = np.where(there, changes - mean, 0.0) ** 2
    return mean, np.maximum(np.sqrt(squares.sum(axis=0) / np.maximum(num - 1, 1)), step), num


def stages(run: np.ndarray) -> np.ndarray:
    """Return one run's numbers at 10 to 19 stages, of many generations each as the mean over the first half of a stage.

    Means quell what is measured anew in each generation; the halves between them keep the steps of a random walk apart.

    >>> stages(np.arange(40.0))[:3]
    array([0.5, 4.5, 8.5])
    """
    length = max(1, len(run) // 10)
    whole = run[: len(run) // length * length].reshape(-1, length)
    return whole[:, : (length + 1) // 2].mean(axis=1)


def _students_p(changes: np.ndarray, step: float) -> np.ndarray:
    """Return the two-sided p of no change at each generation, 1 where there are fewer than two seeds."""
    mean, spread, num = _summary(changes, step)
    ratio = np.abs(mean) * np.sqrt(num) / np.maximum(spread, np.finfo(float).tiny)
    return np.where(num > 1, 2 * special.stdtr(np.maximum(num - 1, 1), -ratio), 1.0)


def _step(values: np.ndarray) -> float:
    """Return the step of finite numbers: of their last decimal, of the float that holds them, or of the few there are.

    >>> _step(np.array([0.25, 0.5, 0.75, 0.8])), _step(np.array([3.0, 5.0] * 6))
    (0.01, 2.0)
    """
    if not values.size:
        return 0.0
    largest = float(np.abs(values).max())
    single = largest < 3e38 and np.array_equal(values, values.astype(np.float32))
    rounding = 2.0 ** (-23 if single else -50) * largest
    distinct = np.unique(values)
    if 1 < len(distinct) <= max(3, values.size / 4):
        return max(float(np.diff(distinct).min()), rounding)
    for digits in range(13):
        if all(np.array_equal(np.round(some, digits), some) for some in (values[:64], values)):
            return max(10.0**-digits, rounding)
    return rounding


def signed_ranks(changes: np.ndarray) -> float:
    """Return the two-sided p of changes that are as often up as down: Wilcoxon's signed ranks, ties counted out.

    It is 1 where the ranks point one way and the sum of changes the other.

    >>> signed_ranks(np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0])), signed_ranks(np.array([2.0, -1.0]))
    (0.03125, 1.0)
    """
    changes = changes[changes != 0]
    num = len(changes)
    if not num:
        return 1.0
    ranks = np.round(2 * stats.rankdata(np.abs(changes))).astype(int)  # whole numbers, ties too
    total, up = int(ranks.sum()), int(ranks[changes > 0].sum())
    low = min(up, total - up)
    if (2 * up > total) != (changes.sum() > 0):
        return 1.0
    if num > _EXACT:
        deviation = (abs(up - total / 2) - 1) / (np.sqrt(float((ranks.astype(float) ** 2).sum())) / 2)
        return float(min(1.0, 2 * special.ndtr(-deviation)))
    chance = np.zeros(total + 1)
    chance[0] = 1.0
    for rank in ranks:
        chance[rank:] = (chance[rank:] + chance[:-rank]) / 2
        chance[:rank] /= 2
    return float(min(1.0, 2 * chance[: low + 1].sum()))


def _since(one: _Paired) -> int | None:
    """Return the generation from which on the changes are all the same way, by a test at each."""
    mean = _summary(one.changes, one.step)[0]
    settled = (_students_p(one.changes, one.step) < LEVEL) & (np.sign(mean) == np.sign(mean[-1]))
    begin = int(np.flatnonzero(~settled)[-1]) + 1  # nothing has changed at the first
    return int(one.generations[begin]) if begin < len(settled) else None


def seeds_needed(change: float, spread: float, level: float, least: int = 2) -> int | None:
    """Return how many seeds would show a mean change with a power of 80 %; None if more than a thousand.

    Args:
        change: mean over seeds.
        spread: standard deviation over seeds.
        level: of the two-sided t-test.
        least: no fewer are named.

    >>> seeds_needed(1.0, 1.0, 0.05), seeds_needed(1.0, 100.0, 0.05)
    (10, None)
    """
    num = np.arange(2, _MOST_NEEDED + 1)
    reach = special.stdtrit(num - 1, 1 - level / 2) + special.stdtrit(num - 1, POWER)
    enough = num[reach * spread / np.sqrt(num) <= abs(change)]
    return max(int(enough[0]), least) if len(enough) else None


def _average(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan


def _mean(values: np.ndarray, is_log: bool) -> tuple[float, float, float]:
    """Return the mean of finite values and its 95 % interval, NaN where they are too few or all equal."""
    low, high = interval(values, "mean", LEVEL) if len(values) > 1 else (np.nan, np.nan)
    found = _average(values), low, high
    return tuple(float(np.exp(one)) for one in found) if is_log else found  # type: ignore[return-value]
