"""An arm of the diffusion study by its name: sampler, steps, regime, time cut; no JAX here.

ddim:50                    50 steps, each generation trained on the last one's draws
heun:10:accumulate         on all data so far
euler:20:replace:0.02      stopped at the time 0.02
"""

from typing import NamedTuple, get_args

from collapse_jax.studies.diffusion.config import SamplerName
from collapse_jax.studies.regime_names import RegimeName
from collapse_jax.validation import check_choice

# sampler -> solver, schedule, and a difference of whose steps the error is a power
_SAMPLERS = {
    "ddim": ("ddim", "linear", 1),
    "ddim-cosine": ("ddim", "cosine", 1),
    "ddpm": ("ddpm", "linear", 0),
    "ddpm-noisy": ("ddpm-noisy", "linear", 0),
    "ddpm-tilde": ("ddpm-tilde", "linear", 0),
    "euler": ("euler", "flow", 1),
    "heun": ("heun", "flow", 2),
    "edm": ("heun", "edm", 2),
}


class ArmOfSampler(NamedTuple):
    """What distinguishes an arm.

    Attributes:
        sampler: solver and schedule by one name.
        num_steps: of the solver.
        regime: what each generation trains on.
        stop: the time at which the solver stops.
    """

    sampler: str
    num_steps: int
    regime: str = "replace"
    stop: float = 0.0

    @property
    def solver(self) -> str:
        """Name of the solver."""
        return _SAMPLERS[self.sampler][0]

    @property
    def schedule(self) -> str:
        """Name of the schedule."""
        return _SAMPLERS[self.sampler][1]

    @property
    def order(self) -> int:
        """The power of a step's size that an ODE solver errs by; 0 for those that add noise."""
        return _SAMPLERS[self.sampler][2]

    @property
    def is_plain(self) -> bool:
        """True under replace, down to the last time."""
        return self.regime == "replace" and self.stop == 0


def parse_arm(name: str) -> ArmOfSampler:
    """Return the arm of a name.

    Raises:
        ValueError: it is not one; numbers out of range are left to whoever builds the solver.

    >>> parse_arm("ddim:50:accumulate")
    ArmOfSampler(sampler='ddim', num_steps=50, regime='accumulate', stop=0.0)
    """
    sampler, *others = name.split(":")
    check_choice("arms", sampler, get_args(SamplerName))
    try:
        num_steps = int(others[0])
        regime = others[1] if len(others) > 1 else "replace"
        stop = float(others[2]) if len(others) > 2 else 0.0
        if len(others) > 3:
            raise ValueError
    except (ValueError, IndexError):
        raise ValueError(
            f"`arms` must hold names such as 'ddim:50', 'heun:10:accumulate', 'euler:20:replace:0.02'; got '{name}'."
        ) from None
    return ArmOfSampler(sampler, num_steps, check_choice("arms", regime, get_args(RegimeName)), stop)


def parse_arms(names: tuple[str, ...]) -> dict[str, ArmOfSampler]:
    """Return name -> arm.

    Raises:
        ValueError: no name, one twice, or one that is none.
    """
    if not names:
        raise ValueError("`arms` must name at least one sampler; for example --arms ddim:50.")
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ValueError(f"`arms` must differ, got '{doubled[0]}' twice; leave one out.")
    return {name: parse_arm(name) for name in names}
