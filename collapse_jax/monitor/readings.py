"""What a monitor says: of each statistic, and of a generation."""

import math
from typing import Any, NamedTuple

import numpy as np

from collapse_jax.validation import check_choice


class Measured(NamedTuple):
    """What one statistic shows of one generation.

    Attributes:
        name: of the statistic.
        value: of the sample.
        low: lower end of the null interval: the middle 95 % of samples of that size from the law of the bag.
        high: its upper end.
        expected: what a formula expects of so many rows, NaN where there is none.
        p: share of random choices that are as extreme.
        e: 1/(2 sqrt(p)).
        evidence: what the checks until now have come to; the alarm asks K/alpha of it.
        about: what the number is.
    """

    name: str
    value: float
    low: float
    high: float
    expected: float
    p: float
    e: float
    evidence: float
    about: str

    @property
    def is_usual(self) -> bool:
        """Whether the value lies in its null interval."""
        return self.low <= self.value <= self.high


class Reading(NamedTuple):
    """What a monitor says of one generation.

    Attributes:
        generation: its number.
        num_rows: how many samples were looked at.
        num_given: how many there are.
        measured: each statistic; none where nothing is judged, as of the reference itself.
        directions: share of the reference's variance along each principal direction, [] of texts and categories.
        needed: evidence that raises the alarm: number of statistics over alpha.
        alarm: whether it has been raised, now or before.
        raised_by: statistics that have reached it.
        notes: sentences on what is odd about the sample.
    """

    generation: int
    num_rows: int
    num_given: int
    measured: tuple[Measured, ...]
    directions: np.ndarray
    needed: float
    alarm: bool
    raised_by: tuple[str, ...]
    notes: tuple[str, ...]

    def __getitem__(self, name: Any) -> Any:
        """Return what a statistic shows, by name; or a field, by number."""
        if not isinstance(name, str):
            return tuple.__getitem__(self, name)
        names = [one.name for one in self.measured]
        return self.measured[names.index(check_choice("statistic", name, names))]

    @property
    def evidence(self) -> float:
        """The largest evidence of a statistic, as a share of what raises the alarm."""
        return max((one.evidence for one in self.measured), default=0.0) / self.needed

    def record(self) -> dict[str, Any]:
        """Return the generation, its values, and the evidence, under names that a table may have."""
        values = {one.name: one.value for one in self.measured}
        return {"generation": self.generation, **values, "evidence": self.evidence if values else math.nan}
