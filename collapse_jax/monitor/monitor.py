"""A monitor: told generation after generation, it says what each statistic shows, and raises an alarm it can stand for.

    reference = one quarter, from which directions, percentiles and categories are learnt  +  the bag
    update:   sample + bag -> random choices -> values, null intervals, p-values -> evidence -> alarm

NumPy and SciPy alone: a training run that has a monitor in it loads no JAX.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from collapse_jax.monitor.alarm import Evidence
from collapse_jax.monitor.bag import Bag, Choices, random_places
from collapse_jax.monitor.forecast import Forecast, forecast
from collapse_jax.monitor.kinds.kind import Kind
from collapse_jax.monitor.kinds.samples import as_samples, kind_of, some_of
from collapse_jax.monitor.kinds.texts import Scorer
from collapse_jax.monitor.readings import Measured, Reading
from collapse_jax.monitor.rows import Rows
from collapse_jax.monitor.saving import Past, load_past, save_past
from collapse_jax.monitor.statistics.statistic import Statistic, share_as_extreme
from collapse_jax.validation import (
    LARGEST_COUNT,
    check_choice,
    check_count,
    check_function,
    check_list,
    check_seed,
)

FEWEST_REFERENCE, FEWEST_ROWS = 20, 2
FEW_ROWS = 20  # in a sample: below, hardly anything can be seen
REFERENCE = "the reference"
_LEARNT = 0.25  # of the reference
_FEW_CHOICES = 99  # drawn first
_BAG_OF_SAMPLES = 20  # the bag holds as many samples beside the reference: with 5 a slow loss is not seen


class Monitor:
    """Says of generations of samples whether they still are as the reference is.

    The null is that the reference and all generations are independent draws of one law; then the chance that the alarm
    is ever raised, over any number of checks, is at most alpha. A model that never was as good as the reference raises
    it, too, and rightly: give the first generation as the reference to ask what has changed since.

    Args:
        reference: what generations should be like, and nobody trained on: an array of numbers [num, ...] (with two more
            axes or three: images), a DataFrame, a list of texts, or a list of lists of tokens.
        statistics: names of those to judge; None: all that this kind of samples has.
        alpha: chance of a false alarm, ever.
        seed: of the random choices; the same seed and samples give the same readings.
        scorer: texts -> a number for each, say nats a token under a frozen model: the statistic `log-loss`.
        features: samples -> array [num, num_features]: these are judged in place of the samples.
        max_rows: of a generation no more than these are looked at, chosen by chance.
        passed_on: each generation's samples are what the next one is trained on; it matters to forecasts alone.

    Raises:
        ValueError: fewer than 20 samples, no statistic of that name, alpha outside (0, 1).
        TypeError: the reference is nothing that can be judged.

    >>> rng = np.random.default_rng(0)
    >>> monitor = Monitor(rng.normal(size=(500, 2)))
    >>> for generation in range(6):
    ...     reading = monitor.update(0.7**generation * rng.normal(size=(200, 2)))
    >>> monitor.alarm, reading["variance"].value < 0.1
    (2, True)
    """

    def __init__(
        self, reference: Any, statistics: Sequence[str] | None = None, alpha: float = 0.05, *, seed: int = 0,
        scorer: Scorer | None = None, features: Callable[[Any], Any] | None = None, max_rows: int = 2000,
        passed_on: bool = True,
    ) -> None:  # fmt: skip
        if not isinstance(alpha, float | int | np.floating) or not 0 < alpha < 1:
            raise ValueError(
                f"`alpha` must lie between 0 and 1, got {alpha!r}; 0.05 means one false alarm in twenty."
            )
        self.alpha, self.passed_on = float(alpha), passed_on
        self.seed = check_seed("seed", seed)
        self.max_rows = check_count("max_rows", max_rows, FEWEST_ROWS)
        self._features = (
            check_function("features", features, "samples -> array") if features is not None else None
        )
        if scorer is not None:
            check_function("scorer", scorer, "texts -> a number for each")
        samples = as_samples(reference if features is None else features(reference))
        num = len(samples)
        if num < FEWEST_REFERENCE:
            raise ValueError(f"the reference holds {num} samples; give at least {FEWEST_REFERENCE}.")
        places = np.random.default_rng([self.seed, 0]).permutation(num)
        num_learnt = max(int(_LEARNT * num), FEWEST_REFERENCE // 2)
        learnt, others = np.sort(places[:num_learnt]), np.sort(places[num_learnt:])
        self.kind = kind_of(some_of(samples, learnt), some_of(samples, others), scorer)
        self.statistics = _chosen(self.kind, statistics)
        rows, notes = self.kind.encode(samples)
        self.notes = notes
        self._reference_signs = _set_sign(rows)
        self._num_others = len(others)
        self._bag = Bag(rows.take(others), len(others))
        self._past = Past(self._bag.rows, {one.name: Evidence() for one in self.statistics})

    @property
    def readings(self) -> list[Reading]:
        """Of all generations until now."""
        return self._past.readings

    @property
    def needed(self) -> float:
        """The evidence that raises the alarm: number of statistics over alpha."""
        return len(self.statistics) / self.alpha

    @property
    def alarm(self) -> int | None:
        """The generation that raised the alarm, None as long as there is none."""
        return min(self._past.raised.values()) if self._past.raised else None

    def update(self, samples: Any, generation: int | None = None, *, num_given: int | None = None) -> Reading:
        """Return what a generation's samples show.

        Args:
            samples: of the reference's kind.
            generation: its number; None: the next one. They must rise.
            num_given: of how many samples these are a part, where they are one.

        Raises:
            ValueError: fewer than two samples, shapes or columns that differ from the reference's, a generation that is
                not later than the last one.
            TypeError: samples of another kind than the reference.
        """
        last = self.readings[-1].generation if self.readings else -1
        generation = last + 1 if generation is None else check_count("generation", generation, 0)
        if generation <= last and self.readings:
            raise ValueError(f"generation {generation} comes after {last}; give them in order, each once.")
        rng = np.random.default_rng([self.seed, 1, generation])
        found = as_samples(samples if self._features is None else self._features(samples), self.kind.name)
        size = len(found)
        if size < FEWEST_ROWS:
            raise ValueError(f"generation {generation} holds {size} samples; give at least {FEWEST_ROWS}.")
        total = size if num_given is None else check_count("num_given", num_given, size, LARGEST_COUNT)
        found = some_of(found, rng.permutation(size)[: self.max_rows])
        rows, odd = self.kind.encode(found)
        notes = [f"Generation {generation}: {note}." for note in odd]
        if size < FEW_ROWS:
            notes.append(
                f"Generation {generation} holds {size} samples; in fewer than {FEW_ROWS} little can be seen."
            )
        sign = _set_sign(rows)
        before = self._same_as(sign)
        measured: tuple[Measured, ...] = ()
        if before == REFERENCE:
            notes.append(
                f"Generation {generation} holds the very samples of the reference, and is not judged."
            )
        else:
            if before:
                notes.append(f"Generation {generation} holds the very samples of {before}: is a seed fixed?")
            measured = self._measure(rows, rng)
            for one in measured:
                if one.evidence >= self.needed:
                    self._past.raised.setdefault(one.name, generation)
            self._bag.capacity = max(self._bag.capacity, self._num_others + _BAG_OF_SAMPLES * len(rows))
            self._bag.add(rows, rng)
        self._past.signs.setdefault(sign, generation)
        if before != REFERENCE:
            self._past.moments.append(self.kind.moments(rows))
            self._past.totals.append(round(self._past.moments[-1].num * total / len(rows)))
        reading = Reading(
            generation, len(rows), total, measured, self.kind.directions(rows), self.needed, bool(self._past.raised),
            tuple(self._past.raised), tuple(notes),
        )  # fmt: skip
        self.readings.append(reading)
        return reading

    def forecast(self, share: float = 0.5, level: float = 0.9) -> Forecast:
        """Return how many generations are left until a share of the reference's variance.

        Args:
            share: in (0, 1).
            level: probability of the interval.

        Raises:
            ValueError: one of them lies elsewhere.
        """
        for name, value in (("share", share), ("level", level)):
            if not isinstance(value, float | int | np.floating) or not 0 < value < 1:
                raise ValueError(f"`{name}` must lie between 0 and 1, got {value!r}; for example 0.5.")
        return forecast(self._past.moments, self._past.totals, share, level, passed_on=self.passed_on)

    def save(self, path: Path | str) -> None:
        """Write what was seen until now, durably; `restore` reads it.

        Raises:
            ValueError: the file cannot be written.
        """
        self._past.bag = self._bag.rows
        save_past(Path(path), self._past, self._bag.capacity, self._about())

    def restore(self, path: Path | str) -> None:
        """Go on where a monitor of the same reference, seed and statistics was saved.

        Raises:
            ValueError: the file is damaged, or the monitor was made of something else.
        """
        self._past, capacity = load_past(Path(path), self._about())
        self._bag = Bag(self._past.bag, capacity)

    def records(self) -> pd.DataFrame:
        """Return a row for each generation: its number, every statistic, and the evidence as a share of the alarm's."""
        return pd.DataFrame([reading.record() for reading in self.readings])

    def _about(self) -> dict[str, Any]:
        """Return what a saved monitor must share with this one."""
        names = [one.name for one in self.statistics]
        reference = f"{self._reference_signs:016x}"
        return {"reference": reference, "seed": self.seed, "alpha": self.alpha, "statistics": names}

    def _same_as(self, sign: int) -> str:
        if sign == self._reference_signs:
            return REFERENCE
        return f"generation {self._past.signs[sign]}" if sign in self._past.signs else ""

    def _measure(self, rows: Rows, rng: np.random.Generator) -> tuple[Measured, ...]:
        choices: dict[int | None, Choices] = {None: self._bag.choices(rows, _FEW_CHOICES, rng)}
        for most in {one.most_rows for one in self.statistics} - {None}:
            some = rows.take(rng.permutation(len(rows))[:most])
            others = self._bag.rows.take(rng.permutation(len(self._bag.rows))[: len(some)])
            choices[most] = Bag(others, 0).choices(some, _FEW_CHOICES, rng).shuffled(rng)
        return tuple(self._measured(one, choices[one.most_rows], rng) for one in self.statistics)

    def _measured(self, statistic: Statistic, choices: Choices, rng: np.random.Generator) -> Measured:
        values = statistic.measure(choices)
        p = share_as_extreme(values, statistic.side)
        evidence = self._past.evidence[statistic.name]
        # a rule that asked how much evidence there is would make the p-values depend on each other
        if p * len(values) <= 2 and statistic.most_choices > _FEW_CHOICES and not self._past.raised:
            values = np.concatenate([values, self._more(statistic, choices, rng)])
            p = share_as_extreme(values, statistic.side)
        low, high = np.quantile(values[1:], [0.025, 0.975])
        expected = math.nan if statistic.expected is None else statistic.expected(choices.places.shape[1])
        e = evidence.update(p)
        shown = float(values[0]), float(low), float(high), expected
        return Measured(statistic.name, *shown, p, e, evidence.value, statistic.about)

    def _more(self, statistic: Statistic, choices: Choices, rng: np.random.Generator) -> np.ndarray:
        """Return values of more random choices: of the first ones none was as extreme."""
        size, total = choices.places.shape[1], len(choices.rows)
        values, left = [], statistic.most_choices - _FEW_CHOICES
        while left > 0:
            places = random_places(rng, min(left, _FEW_CHOICES), size, total)
            values.append(statistic.measure(Choices(choices.rows, places)))
            left -= len(places)
        return np.concatenate(values)


def _chosen(kind: Kind, names: Sequence[str] | None) -> list[Statistic]:
    known = {one.name: one for one in kind.statistics}
    if names is None:
        return list(known.values())
    chosen = check_list("statistics", names, "['variance', 'drift']")
    if not chosen:
        raise ValueError("`statistics` names none; leave it out for all.")
    return [known[check_choice("statistics", name, known)] for name in dict.fromkeys(chosen)]


def _set_sign(rows: Rows) -> int:
    """Return 64 bits of all rows together, whatever their order."""
    return int(np.sum(rows["sign"] * np.uint64(0x9E3779B97F4A7C15), dtype=np.uint64))
