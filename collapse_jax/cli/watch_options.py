"""The options of `watch`, where completing them in a shell needs nothing that watches."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro


@dataclasses.dataclass(frozen=True)
class WatchOptions:
    """Say whether a run of generations is collapsing, from samples in files: exit code 3 for an alarm, else 0."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """A file or folder for each generation, or one folder that holds them: numbers, images, tables, texts."""
    reference: Path | None = None
    """What generations should be like, a file or folder that nobody trained on; by default the first generation."""
    generation_from: str | None = None
    """A regular expression whose one group is the number of a generation in its path."""
    out: Path | None = None
    """Where records.csv, readings.json, figures and report.html go; by default watch-NAME beside the samples."""
    alpha: float = 0.05
    """Chance of a false alarm, ever, however many generations there are."""
    max_rows: int = 2000
    """Of a generation no more samples are looked at, chosen by chance."""
    share: float = 0.5
    """Of the reference's variance; how many generations are left until then is forecast."""
    columns: tuple[str, ...] | None = None
    """Of a table, those to judge."""
    statistics: tuple[str, ...] | None = None
    """Those to judge."""
    not_passed_on: bool = False
    """The next generation was not trained on these very samples, but on others of the same model."""
    seed: int = 0
    """Of all that is chosen by chance."""
    overwrite: bool = False
    """Replace an earlier watch there."""
    json: bool = False
    """Write one JSON document to stdout, and nothing else there: answer, alarm, forecast, last reading, paths."""
    quiet: bool = False
    """Show nothing but errors; the exit code says the rest."""
