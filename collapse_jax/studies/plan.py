"""What a study module gives to whoever runs it."""

from typing import NamedTuple

from collapse_jax.chain import Chain
from collapse_jax.plots import Figure


class Arm(NamedTuple):
    """One chain of a study and its place along the study's arm dimension."""

    value: int
    chain: Chain


class Plan(NamedTuple):
    """A study, checked and ready to run.

    Attributes:
        dim: name of the dimension along which arms stand, for example "num_samples".
        arms: the chains.
        segment_length: generations between two looks from the host.
        lanes: width of a lane block.
    """

    dim: str
    arms: tuple[Arm, ...]
    segment_length: int
    lanes: int


class Illustration(NamedTuple):
    """A figure with its file name and its caption."""

    name: str
    caption: str
    figure: Figure
