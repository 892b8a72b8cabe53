"""Several processes, perhaps on several hosts, with one run between them.

Each runs lane blocks of its own and writes their files; they meet only to begin and to end (`jax.distributed`). Where
one model lies on the devices of all, they go in step, and meet after every piece of it. One process alone meets
nobody.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np


class Place(NamedTuple):
    """Which of the processes this is.

    Attributes:
        number: its own, from 0; process 0 leads.
        num_processes: how many there are.
    """

    number: int = 0
    num_processes: int = 1

    @property
    def leads(self) -> bool:
        """True for the process that creates the run, shows progress and puts the results together."""
        return self.number == 0


def join_processes(
    coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None
) -> Place:
    """Return this process's place among those of the cluster, after all have come together.

    Args:
        coordinator: HOST:PORT of process 0; None asks the cluster's own environment, for example Slurm's.
        num_processes: how many there are; None as above.
        process_id: this one's number; None as above.

    Raises:
        ValueError: only some are given, or the processes do not come together.
    """
    given = (coordinator, num_processes, process_id)
    if any(part is not None for part in given) and any(part is None for part in given):
        raise ValueError("give --coordinator, --num-processes and --process-id together, or --distributed alone.")
    try:
        jax.distributed.initialize(coordinator, num_processes, process_id)
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"the processes did not come together ({str(error).splitlines()[0]}); outside a cluster that JAX knows, "
            "give --coordinator HOST:PORT --num-processes N --process-id I to each."
        ) from error
    return Place(jax.process_index(), jax.process_count())


def agree(place: Place, ok: bool = True) -> bool:
    """Return whether all is well with the leader, once every process has come here.

    Args:
        place: this process's.
        ok: what the leader says; the others' word is not asked.
    """
    if place.num_processes == 1:
        return ok
    from jax.experimental import multihost_utils

    return bool(multihost_utils.broadcast_one_to_all(np.asarray(ok), is_source=place.leads))


def all_agree(place: Place, ok: bool) -> bool:
    """Return whether all is well with every process, once each has come here."""
    if place.num_processes == 1:
        return ok
    from jax.experimental import multihost_utils

    return bool(np.all(multihost_utils.process_allgather(np.asarray(ok))))


def largest(place: Place, numbers: Sequence[int]) -> list[int]:
    """Return the largest of all processes' first numbers, of their second, and so on, once each has come here."""
    if place.num_processes == 1:
        return [int(number) for number in numbers]
    from jax.experimental import multihost_utils

    told = multihost_utils.process_allgather(np.asarray(numbers, np.int32))
    return [int(number) for number in np.max(told, axis=0)]
