"""Files or folders of generations -> what a monitor says of each.

    paths -> sources, in order -> samples of one generation at a time -> readings, alarm, forecast

No JAX: a script that watches starts as fast as NumPy, SciPy and pandas do.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from collapse_jax.monitor.forecast import Forecast
from collapse_jax.monitor.monitor import Monitor
from collapse_jax.monitor.readings import Measured, Reading
from collapse_jax.sources.finding import find_generations
from collapse_jax.sources.reading import Sample, read_samples
from collapse_jax.validation import check_choice, check_count, one_line
from collapse_jax.watching.notes import about

Tell = Callable[[int, int, str], object]


class Watched(NamedTuple):
    """What became of generations.

    Attributes:
        readings: of each, in order.
        names: what each one's file or folder is called.
        reference: what the reference's is called.
        since: the generation that is the reference, None where another one was given.
        num_reference: how many samples the reference has.
        kind: of samples: numbers, images, table, texts or tokens.
        statistics: names of what was judged.
        alpha: chance of a false alarm, ever.
        alarm: the generation that raised it, None where none did.
        forecast: how long the variance lasts.
        notes: sentences on what is odd about files and samples.
    """

    readings: tuple[Reading, ...]
    names: tuple[str, ...]
    reference: str
    since: int | None
    num_reference: int
    kind: str
    statistics: tuple[str, ...]
    alpha: float
    alarm: int | None
    forecast: Forecast
    notes: tuple[str, ...]

    def shown(self, name: str) -> Measured:
        """Return what a statistic shows of the last generation that was judged."""
        return next(one for one in self.judged[-1].measured if one.name == name)

    @property
    def judged(self) -> tuple[Reading, ...]:
        """Readings of generations that were judged: the reference itself is not."""
        return tuple(reading for reading in self.readings if reading.measured)

    @property
    def raised_by(self) -> tuple[str, ...]:
        """Statistics that reached the alarm until the last generation, the first one first."""
        return self.readings[-1].raised_by


def watch(
    paths: Sequence[Path | str], reference: Path | str | None = None, *, generation_from: str | None = None,
    statistics: Sequence[str] | None = None, columns: Sequence[str] | None = None, alpha: float = 0.05,
    max_rows: int = 2000, share: float = 0.5, passed_on: bool = True, seed: int = 0, tell: Tell | None = None,
) -> Watched:  # fmt: skip
    """Return what a monitor says of generations in files or folders, of which one at a time is in memory.

    Args:
        paths: a file or folder for each generation, or one folder that holds them.
        reference: a file or folder of what generations should be like; None: the first generation is it.
        generation_from: a regular expression whose one group is the number of a generation in its path.
        statistics: names of those to judge; None: all that such samples have.
        columns: of tables, names of those to judge; None: all.
        alpha: chance of a false alarm, ever.
        max_rows: of a generation no more than these are looked at, chosen by chance.
        share: of the reference's variance, until which is forecast; in (0, 1).
        passed_on: each generation's samples are what the next one was trained on.
        seed: of all that is chosen by chance.
        tell: is called before each generation with how many are done, how many there are, and its name.

    Raises:
        ValueError: files cannot be read or do not fit each other, or an argument has no such value.
    """
    check_count("max_rows", max_rows, 2)
    if not 0 < share < 1:
        raise ValueError(f"`share` must lie between 0 and 1, got {share!r}; 0.5 is half of the variance.")
    sources, found = find_generations([Path(path) for path in paths], generation_from)
    if reference is None and len(sources) < 2:
        raise ValueError(
            f"{sources[0].name} is one generation, and nothing to compare it with; name two, or add --reference."
        )

    def read(place: Path | Sequence[Path]) -> Sample:
        sample = read_samples(place, max_rows=max_rows, seed=seed)
        return sample if columns is None else sample._replace(values=_columns(sample.values, columns))

    total = len(sources)
    if tell is not None:
        tell(0, total, "the reference")
    first: Sample | None = read(sources[0].paths if reference is None else Path(reference))
    assert first is not None
    monitor = Monitor(first.values, statistics, alpha, seed=seed, max_rows=max_rows, passed_on=passed_on)
    num_reference = first.num_rows
    notes = [
        *found,
        *about("the reference", [*(first.notes if reference is not None else ()), *monitor.notes]),
    ]
    for done, source in enumerate(sources):
        if tell is not None:
            tell(done, total, one_line(source.name))
        again = reference is None and done == 0
        sample = first if again and first is not None else read(source.paths)
        first = None
        try:
            reading = monitor.update(sample.values, source.generation, num_given=sample.num_rows)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{source.name}: {error}") from error
        known = () if again else reading.notes  # that it is the reference is said by all who show it
        notes += [*about(f"generation {source.generation}", sample.notes), *known]
    return Watched(
        readings=tuple(monitor.readings),
        names=tuple(one_line(source.name) for source in sources),
        reference=one_line(sources[0].name if reference is None else str(reference)),
        since=sources[0].generation if reference is None else None,
        num_reference=num_reference,
        kind=monitor.kind.name,
        statistics=tuple(one.name for one in monitor.statistics),
        alpha=monitor.alpha,
        alarm=monitor.alarm,
        forecast=monitor.forecast(share),
        notes=tuple(one_line(note) for note in notes),
    )


def _columns(values: Any, columns: Sequence[str]) -> pd.DataFrame:
    """Return a table's columns of these names."""
    if not isinstance(values, pd.DataFrame):
        raise ValueError("--columns chooses columns of tables, and these samples are none; leave it out.")
    known = {str(name): name for name in values.columns}
    return values[[known[check_choice("columns", name, known)] for name in dict.fromkeys(columns)]]
