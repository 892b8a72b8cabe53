"""What a study module gives to whoever runs it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import xarray as xr
from jax.sharding import Mesh

from collapse_jax.chain import Chain
from collapse_jax.drivers import ChainOf
from collapse_jax.plots import Figure, Film, save_figure, save_film
from collapse_jax.results import Records


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


class Illustration(NamedTuple):
    """A figure with its file name and its caption.

    Attributes:
        name: of its files.
        caption: what it shows, one or two sentences.
        figure: the picture.
        film: the same in steps, for an animation beside the figure and a slider in the report; None for neither.
    """

    name: str
    caption: str
    figure: Figure
    film: Film | None = None

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the files, PNG and SVG and what `save_film` writes; return what a page needs to show them."""
        save_figure(self.figure, folder, self.name)
        shown: dict[str, Any] = {"name": self.name, "caption": self.caption}
        if self.film is not None:
            save_film(self.film, folder, self.name)
            _, height, width = self.film.frames.shape
            shown["film"] = {"labels": self.film.labels, "height": height, "width": width}
        return shown
