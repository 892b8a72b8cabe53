"""A long `fit` or `sample` cut into bounded pieces.

The host driver stops between pieces: for progress, Ctrl-C and checkpoints.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from collapse_jax.types import PyTree
from collapse_jax.validation import check_count, check_function


class Chunk(NamedTuple):
    """A point inside a generation at which a host-driven chain may be stopped, and from which it may go on.

    Attributes:
        phase: "fit" or "sample".
        position: how many of its pieces are done.
        num_chunks: how many it has; a function that is not made of `Chunked` is one.
        carry: what the next piece needs; of a finished phase nothing.
        done: results of the phases that are finished.
    """

    phase: str
    position: int
    num_chunks: int
    carry: PyTree
    done: dict[str, PyTree]


class Chunked:
    """A long `fit` or `sample`, cut into bounded pieces; called, it runs them all.

    Args:
        start: (*args) -> carry, from the arguments of the function it stands for.
        advance: (index, carry) -> carry, one bounded piece; randomness is keyed by `index`.
        finish: carry -> result.
        num_chunks: how many pieces there are.
    """

    def __init__(
        self,
        start: Callable[..., PyTree],
        advance: Callable[[Any, PyTree], PyTree],
        finish: Callable[[PyTree], Any],
        num_chunks: int,
    ) -> None:
        self.start = check_function("start", start, "of what the phase is given")
        self.advance = check_function("advance", advance, "of an index and a carry")
        self.finish = check_function("finish", finish, "of a carry")
        self.num_chunks = check_count("num_chunks", num_chunks)

    def __call__(self, *args: Any) -> Any:
        """Return the result of all pieces, as one compiled loop."""
        return self.finish(jax.lax.fori_loop(0, self.num_chunks, self.advance, self.start(*args)))
