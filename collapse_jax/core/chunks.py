"""A long `fit` or `sample` cut into bounded pieces, and a generation run piece by piece, or whole.

The host driver stops between pieces: for progress, Ctrl-C and checkpoints.
"""

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import jax

from collapse_jax.types import PyTree
from collapse_jax.validation import check_count, check_function


class Piece(NamedTuple):
    """A point inside a generation at which a host-driven chain may be stopped, and from which it may go on.

    Attributes:
        phase: "fit" or "sample".
        position: how many of its pieces are done.
        num_pieces: how many it has; a function that is not made of `Pieces` is one.
        carry: what the next piece needs; of a finished phase nothing.
        done: results of the phases that are finished.
    """

    phase: str
    position: int
    num_pieces: int
    carry: PyTree
    done: dict[str, PyTree]


class Pieces:
    """A long `fit` or `sample`, cut into bounded pieces; called, it runs them all.

    Args:
        start: (*args) -> carry, from the arguments of the function it stands for.
        advance: (index, carry) -> carry, one bounded piece; randomness is keyed by `index`.
        finish: carry -> result.
        num_pieces: how many pieces there are.
    """

    def __init__(
        self,
        start: Callable[..., PyTree],
        advance: Callable[[Any, PyTree], PyTree],
        finish: Callable[[PyTree], Any],
        num_pieces: int,
    ) -> None:
        self.start = check_function("start", start, "of what the phase is given")
        self.advance = check_function("advance", advance, "of an index and a carry")
        self.finish = check_function("finish", finish, "of a carry")
        self.num_pieces = check_count("num_pieces", num_pieces)

    def __call__(self, *args: Any) -> Any:
        """Return the result of all pieces, as one compiled loop."""
        return self.finish(jax.lax.fori_loop(0, self.num_pieces, self.advance, self.start(*args)))


def exhaust(generator: Generator[Any, None, Any]) -> Any:
    """Return what a generator returns, dropping what it yields."""
    try:
        while True:
            next(generator)
    except StopIteration as stop:
        return stop.value


def whole(phase: str, function: Callable, *args: Any) -> Generator[Piece, None, Any]:
    """Run a phase in one go; a generator that yields nothing."""
    return function(*args)
    yield  # makes this a generator, as `in_pieces` is


def in_pieces(last: Piece | None) -> Callable[..., Generator[Piece, None, Any]]:
    """Return what runs the phases of a generation piece by piece, from the piece after `last` on."""
    done = {} if last is None else dict(last.done)

    def run(phase: str, function: Callable, *args: Any) -> Generator[Piece, None, Any]:
        if phase in done:
            return done[phase]
        if isinstance(function, Pieces):
            begun = last is not None and last.phase == phase
            position, carry = (last.position, last.carry) if begun else (0, function.start(*args))  # type: ignore
            for index in range(position, function.num_pieces):
                carry = function.advance(index, carry)
                if index + 1 < function.num_pieces:
                    yield Piece(phase, index + 1, function.num_pieces, carry, dict(done))
            done[phase], num_pieces = function.finish(carry), function.num_pieces
        else:
            done[phase], num_pieces = function(*args), 1
        yield Piece(phase, num_pieces, num_pieces, None, dict(done))
        return done[phase]

    return run
