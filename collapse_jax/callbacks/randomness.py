"""Random numbers of a check's own: a training run goes on as if nobody had looked."""

import random
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch


def seed_of_check(seed: int, number: int) -> int:
    """Return a seed of 32 bits for a check: each has one of its own."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


@contextmanager
def own_randomness(seed: int, devices: Iterable[torch.device] = ()) -> Iterator[None]:
    """Seed Python's, NumPy's and PyTorch's random numbers for a block; afterwards they go on where they were.

    Args:
        seed: 0 to 2^32 - 1; other blocks have other ones.
        devices: those with generators of their own; no other one is touched.
    """
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    with ExitStack() as stack:
        for device in set(devices):
            stack.enter_context(_seeded_device(seed, device))
        try:
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every device there is
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
            torch.set_rng_state(cpu)


@contextmanager
def _seeded_device(seed: int, device: torch.device) -> Iterator[None]:
    module: Any = getattr(torch, device.type, None)
    if device.type in ("cpu", "meta") or not hasattr(module, "get_rng_state"):
        yield
        return
    which = () if device.type == "mps" else (device,)  # of which there is one
    state = module.get_rng_state(*which)
    try:
        if which:
            with module.device(device):
                module.manual_seed(seed)
        else:
            module.manual_seed(seed)
        yield
    finally:
        module.set_rng_state(state, *which)
