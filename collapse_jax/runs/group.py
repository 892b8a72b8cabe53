"""Who computes a chain: a process alone, or, where one model lies on the devices of all, every process in step."""

from collections.abc import Sequence
from typing import NamedTuple

from jax.sharding import Mesh

from collapse_jax.runs.checkpoints import NPZ, Format
from collapse_jax.runs.orbax_checkpoints import orbax_format
from collapse_jax.runs.processes import Place, largest


class Group(NamedTuple):
    """The processes that compute the same chains; what they decide they decide together.

    Attributes:
        place: of this process among them; a process alone is first of one.
        mesh: the devices over which each chain lies; None where each fits one device.
    """

    place: Place = Place()
    mesh: Mesh | None = None

    @property
    def leads(self) -> bool:
        """True for the process that writes what all of them know."""
        return self.place.leads

    @property
    def spans(self) -> bool:
        """True where a chain lies over several devices, in place: then its states are never gathered."""
        return self.mesh is not None

    @property
    def form(self) -> Format:
        """How states lie on disk."""
        return NPZ if self.mesh is None else orbax_format(self.mesh, self.place)

    def any(self, flag: bool) -> bool:
        """Return whether any of the processes says so, once each has come here."""
        return bool(self.largest(int(flag)))

    def largest(self, number: int) -> int:
        """Return the largest of the processes' numbers, once each has come here."""
        return largest(self.place, [number])[0]


def group_of(place: Place, mesh: Mesh | None, shards: Sequence) -> tuple[Group, Sequence]:
    """Return who computes a run's chains with this process, and which of its shards they compute.

    Args:
        place: of this process among those of the run.
        mesh: over which each chain lies; None: every process has shards of its own.
        shards: all of the run's.
    """
    if mesh is None:
        return Group(), shards[place.number :: place.num_processes]
    return Group(place, mesh), shards
