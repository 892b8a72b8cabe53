"""What a study module gives to whoever runs it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import xarray as xr
from jax.sharding import Mesh

from collapse_jax.analysis.figure_contents import described, least_width, table_of
from collapse_jax.analysis.plots import Figure, Film, save_figure, save_film
from collapse_jax.core.protocol import Chain
from collapse_jax.drivers.lanes import ChainOf
from collapse_jax.drivers.results import Records
from collapse_jax.files.writing import write_atomically


class Arm(NamedTuple):
    """One chain of a study.

    Attributes:
        value: its place along the study's arm dimension.
        chain: what runs.
        generations: after generation 0; None means the configuration's.
        chain_of: lane -> (seed, chain), for an arm of many cells; None means every lane runs `chain`.
    """

    value: int | str
    chain: Chain
    generations: int | None = None
    chain_of: ChainOf | None = None


class Plan(NamedTuple):
    """A study, checked and ready to run.

    Attributes:
        dim: name of the dimension along which arms stand, for example "num_samples"; None when arms record
            different variables, which then stand beside each other.
        arms: the chains.
        segment_length: generations between two looks from the host.
        lanes: width of a lane block.
        coordinates: labels of dimensions that the records bring with them.
        on_host: run seed by seed from the host, in pieces: for models too large for several at once.
        mesh: the devices of all processes, where each chain spans them; None: every process has seeds of its own.
        num_lanes: chains of each arm; None means the configuration's seeds.
        record_every: generations 0, k, 2k, ... are recorded.
        gather: records of the arms, None for one that has none yet -> the labelled whole, where arms do not simply
            stand side by side.
    """

    dim: str | None
    arms: tuple[Arm, ...]
    segment_length: int
    lanes: int
    coordinates: Mapping[str, Sequence[Any]] = MappingProxyType({})
    on_host: bool = False
    mesh: Mesh | None = None
    num_lanes: int | None = None
    record_every: int = 1
    gather: Callable[[Sequence[Records | None]], xr.Dataset] | None = None
    data: Callable[[], Mapping[str, str | float]] = dict


class Passage(NamedTuple):
    """Some texts that a report shows as text.

    Attributes:
        heading: what they have in common.
        lines: name and text of each.
    """

    heading: str
    lines: tuple[tuple[str, str], ...]


class Illustration(NamedTuple):
    """A figure with its file name and its caption; the first of a study is what its report begins with.

    Attributes:
        name: of its files.
        caption: what it shows, one or two sentences; the first is read most.
        figure: the picture; None where there are only texts.
        film: the same in steps, for an animation beside the figure and a slider in the report; None for neither.
        alt: what is seen, for who does not see it; "" leaves that to `described`, which reads it off lines.
        texts: shown as text.
    """

    name: str
    caption: str
    figure: Figure | None
    film: Film | None = None
    alt: str = ""
    texts: tuple[Passage, ...] = ()

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the files, PNG, SVG, the numbers as CSV and what `save_film` writes; return what a page shows of it."""
        shown: dict[str, Any] = {"name": self.name, "caption": self.caption}
        if self.figure is not None:
            save_figure(self.figure, folder, self.name)
            shown["alt"] = self.alt or described(self.figure)
            shown["least_width"] = least_width(self.figure)
            if table := table_of(self.figure):
                path = folder / f"{self.name}.csv"
                write_atomically(path, lambda part: part.write_text(table, encoding="utf-8"))
        if self.texts:
            shown["texts"] = [
                {"heading": one.heading, "lines": [list(line) for line in one.lines]} for one in self.texts
            ]
        if self.film is not None:
            save_film(self.film, folder, self.name)
            _, height, width = self.film.frames.shape
            shown["film"] = {"labels": self.film.labels, "height": height, "width": width}
        return shown
