"""Generations that somebody else ran: their records as a Dataset, and a page of figures and first and last values.

A file of records has a row for each generation of each seed: `generation`, `seed` if there is more than one, and a
column for each metric. Nothing is assumed of how the generations came about, so no published claim is judged; what
moved, and since when, is. Called by `cli` and users.
"""

import base64
import contextlib
import csv
import io
import json
import reprlib
from collections import Counter
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import numpy as np
import xarray as xr
from scipy import stats

from collapse_jax.durable import write_page
from collapse_jax.errors import nearest
from collapse_jax.gate import DATA, read_bytes
from collapse_jax.intervals import interval
from collapse_jax.plots import metric_bands, save_figure

_MOST_METRICS = 200  # a panel for each
_MOST_CELLS = 2**27  # numbers: 1 GiB
MIN_SEEDS = 6  # with fewer, seeds that all move the same way have p > 0.05 still


class Movement(NamedTuple):
    """How one metric moved from the first generation to the last.

    Attributes:
        name: of the metric.
        between: the first and the last generation at which some seed has a finite value.
        first: mean over seeds and its 95 % interval (Student's t), at the first of them; the interval is NaN where
            seeds do not differ, which says nothing of their spread.
        last: the same at the last one.
        change: the same of last - first within each seed.
        risen: how many seeds rose.
        fallen: how many seeds fell.
        p: of the sign test against the first generation, two-sided, Holm-adjusted over the metrics.
        since: the generation from which on that test, unadjusted, has p < 0.05; None where it never settles there.
        num_lost: how many seeds lack a finite value at a generation where others have one.
    """

    name: str
    between: tuple[int, int]
    first: tuple[float, float, float]
    last: tuple[float, float, float]
    change: tuple[float, float, float]
    risen: int
    fallen: int
    p: float
    since: int | None
    num_lost: int

    @property
    def moved(self) -> str:
        """What the sign test says: "fell", "rose", "no evidence" or "too few seeds"."""
        if self.p < 0.05:
            return "rose" if self.risen > self.fallen else "fell"
        return "no evidence" if self.risen + self.fallen >= MIN_SEEDS else "too few seeds"


def read_records(path: Path | str) -> xr.Dataset:
    """Return the records of a file as a Dataset with dims seed and generation, one variable for each metric.

    Args:
        path: FILE.csv with a header, or FILE.jsonl with one object a line; UTF-8. Columns: `generation`, whole numbers
            in equal steps; `seed`, whole numbers, may be left out; every other column is a metric. An empty cell, null
            or nan is a value that is missing; true and false are 1 and 0. A seed may end early: the rest is NaN.

    Raises:
        ValueError: the file cannot be read, or does not hold such records; the sentence names the line.
    """
    path = Path(path)
    rows = list(_rows(path))
    names = list(dict.fromkeys(name for _, row in rows for name in row))
    if "generation" not in names:
        raise ValueError(f"{path} has no column 'generation'; {nearest('generation', names or ['none'])}")
    metrics = [name for name in names if name not in ("seed", "generation")]
    if not metrics:
        raise ValueError(f"{path} has no metric beside seed and generation; add a column for each.")
    if len(metrics) > _MOST_METRICS:
        raise ValueError(
            f"{path} has {len(metrics):,} metrics, and at most {_MOST_METRICS} are drawn; leave the others out."
        )
    if any("\ud800" <= sign <= "\udfff" for sign in "".join(metrics)):
        raise ValueError(f"{path} has a column whose name holds half a sign (a lone surrogate); rename it.")
    found: dict[tuple[int, int], tuple[int, list[float]]] = {}
    for line, row in rows:
        place = f"line {line} of {path}"
        seed = _whole(row.get("seed"), "seed", place) if "seed" in names else 0
        where = seed, _whole(row.get("generation"), "generation", place)
        if where in found:
            raise ValueError(
                f"{place} repeats seed {where[0]}, generation {where[1]}, of line {found[where][0]}; keep one."
            )
        found[where] = line, [_number(row.get(name), name, place) for name in metrics]
    seeds = {seed: index for index, seed in enumerate(sorted({seed for seed, _ in found}))}
    generations = _generations(path, list(found))
    num_cells = len(metrics) * len(seeds) * len(generations)
    if num_cells > _MOST_CELLS:
        raise ValueError(
            f"{path} would be a table of {len(metrics):,} metrics, {len(seeds):,} seeds and {len(generations):,} "
            "generations; give fewer at a time."
        )
    values = np.full((len(metrics), len(seeds), len(generations)), np.nan)
    for (seed, generation), (_, cells) in found.items():
        values[:, seeds[seed], generations.index(generation)] = cells
    axes = {"seed": list(seeds), "generation": list(generations)}
    variables = {name: (tuple(axes), array) for name, array in zip(metrics, values)}
    return xr.Dataset(variables, axes, {"source": path.name})


def movements(dataset: xr.Dataset) -> tuple[Movement, ...]:
    """Return how each metric of a Dataset of `read_records` moved; seeds without a finite number are left out."""
    found = [_movement(str(name), array) for name, array in dataset.data_vars.items()]
    adjusted = _holm([movement.p for movement in found])
    return tuple(movement._replace(p=p) for movement, p in zip(found, adjusted))


def report_records(path: Path, folder: Path | None = None, *, command: str = "") -> Path:
    """Write `report.html` and the figure (PNG and SVG) of a file of records; return the page's path.

    Args:
        path: see `read_records`.
        folder: where to; default a folder beside the file, named after it.
        command: shown below the figure.

    Raises:
        ValueError: unusable records, or a folder that cannot be written or holds a run.
    """
    dataset = read_records(path)
    folder = path.with_name(f"{path.stem}-report") if folder is None else folder
    if (folder / "config.json").exists():
        raise ValueError(f"{folder} holds a run, whose report this would replace; name another folder.")
    picture = save_figure(metric_bands(dataset), folder / "figures", "records")
    write_page(folder / "report.html", _page(dataset, picture, command))
    return folder / "report.html"


def _page(dataset: xr.Dataset, picture: Path, command: str) -> str:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["number"] = lambda value: f"{value:.4g}" if np.isfinite(value) else "–"
    return environment.get_template("foreign.html.j2").render(
        source=dataset.attrs["source"],
        generations=dataset["generation"].values,
        num_seeds=dataset.sizes["seed"],
        movements=movements(dataset),
        figure="data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode(),
        command=command,
        moving=False,
    )


def _movement(name: str, array: xr.DataArray) -> Movement:
    values = array.transpose("seed", "generation").values.astype(float)
    values = np.where(np.isfinite(values), values, np.nan)
    reached = np.isfinite(values).any(axis=0)
    if not reached.any():
        reached[:] = True
    values, generations = values[:, reached], array["generation"].values[reached]
    change = values - values[:, :1]
    risen, fallen = (change > 0).sum(axis=0), (change < 0).sum(axis=0)
    # two-sided: both tails of a fair coin
    p = np.minimum(1.0, 2 * stats.binom.cdf(np.minimum(risen, fallen), risen + fallen, 0.5))
    settled = np.flatnonzero(p >= 0.05)[-1] + 1  # p of the first generation is 1
    return Movement(
        name, (int(generations[0]), int(generations[-1])),
        _mean(values[:, 0]), _mean(values[:, -1]), _mean(change[:, -1]),
        int(risen[-1]), int(fallen[-1]), float(p[-1]),
        int(generations[settled]) if settled < len(p) else None, int(np.isnan(values).any(axis=1).sum()),
    )  # fmt: skip


def _mean(values: np.ndarray) -> tuple[float, float, float]:
    """Return the mean of the finite values and its 95 % interval, NaN where they are too few or all equal."""
    values = values[np.isfinite(values)]
    low, high = interval(values, "mean", 0.05) if len(values) > 1 else (np.nan, np.nan)
    return float(values.mean()) if len(values) else np.nan, low, high


def _holm(p: list[float]) -> list[float]:
    """Return p-values such that the chance of one below 0.05 among them, where nothing moved, is at most 0.05."""
    adjusted, reached = [0.0] * len(p), 0.0
    for rank, index in enumerate(np.argsort(p)):
        reached = max(reached, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = reached
    return adjusted


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, name -> cell) of each row of a file."""
    readers = {".csv": _csv_rows, ".jsonl": _jsonl_rows}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path} must be a .csv or a .jsonl file; other formats are not read.")
    try:
        text = read_bytes(path, DATA, "name a file of records").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8.") from error
    if not text.strip():
        raise ValueError(f"{path} is empty; it needs a row for each generation.")
    yield from readers[path.suffix.lower()](path, text)


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.reader(io.StringIO(text, newline=""))
    header: list[str] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = [cell.strip() for cell in cells]
                if odd := [name for name, times in Counter(header).items() if not name or times > 1]:
                    raise ValueError(
                        f"{path} has two columns named '{odd[0]}', or one without a name; name each."
                    )
                continue
            if len(cells) != len(header):
                raise ValueError(
                    f"line {reader.line_num} of {path} has {len(cells)} cells, the header {len(header)}; fix the row."
                )
            yield reader.line_num, dict(zip(header, cells))
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num} of {path} is not CSV ({error}).") from error


def _jsonl_rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"line {number} of {path} is not JSON ({error}); write one object a line."
            ) from error
        if not isinstance(row, dict):
            raise ValueError(f'line {number} of {path} is no object; write {{"generation": 0, ...}}.')
        yield number, row


def _number(cell: Any, name: str, place: str) -> float:
    """Return a cell as a number; nothing is NaN, a flag 0 or 1."""
    words = {"": np.nan, "none": np.nan, "true": 1.0, "false": 0.0}
    if (word := str(cell).strip().lower()) in words:
        return words[word]
    with contextlib.suppress(ValueError, OverflowError):
        if isinstance(cell, str | int | float):
            return float(cell)
    raise ValueError(f"{place}: `{name}` is {reprlib.repr(cell)}, not a number; leave the cell empty if there is none.")


def _whole(cell: Any, name: str, place: str) -> int:
    number = _number(cell, name, place)
    if not (0 <= number < 2**53 and number == int(number)):
        raise ValueError(f"{place}: `{name}` is {reprlib.repr(cell)}, not a whole number from 0 on.")
    return int(number)


def _generations(path: Path, found: list[tuple[int, int]]) -> range:
    """Return the generations that there are, in equal steps; every seed must have them all until it ends."""
    all_of = sorted({generation for _, generation in found})
    if len(all_of) == 1:
        raise ValueError(
            f"{path} holds generation {all_of[0]} alone; at least two are needed to see a change."
        )
    steps = range(all_of[0], all_of[-1] + 1, min(later - earlier for earlier, later in pairwise(all_of)))
    if all_of != [*islice(steps, len(all_of) + 1)]:  # no more of them: a far generation would make them fill memory
        gap = next(expected for expected, found_there in zip(steps, all_of) if expected != found_there)
        raise ValueError(
            f"{path} lacks generation {gap}; generations must be {steps[0]}, {steps[1]}, {steps[1] + steps.step} "
            "and so on, in equal steps."
        )
    by_seed: dict[int, set[int]] = {}
    for seed, generation in found:
        by_seed.setdefault(seed, set()).add(generation)
    for seed, own in by_seed.items():
        if len(own) <= steps.index(max(own)):
            missing = next(generation for generation in steps if generation not in own)
            raise ValueError(f"{path} lacks generation {missing} of seed {seed}; a seed may only end early.")
    return steps
