"""Generation 0 and every later one as one program, for models that take longer to compile than to run.

Both ask for a fit, a draw and a record, by the same functions of other arguments: the arguments are chosen, and each
function is compiled once.
"""

from collections.abc import Generator
from typing import Any

import jax
import jax.numpy as jnp

from collapse_jax.core.chunks import Chunked
from collapse_jax.core.protocol import Call, Carried, Chain, Record
from collapse_jax.types import Array, Key, PyTree


class Apart(Exception):
    """Generation 0 and the later ones do not ask for the same."""


def run_joined(chain: Chain, key: Key, state: Carried, is_first: Array) -> tuple[Carried, Record]:
    """Return `chain.init(key)` where `is_first`, else `chain.step(key, state)`; what both ask for is computed once.

    Raises:
        Apart: they ask for other functions, or for the same ones of arguments of other shapes, or for a fit that is
            not made of pieces, which takes no time to compile.
    """
    if chain.calls is None:
        raise Apart("a step is one piece")
    both = (chain.calls(key, None), chain.calls(key, state))
    answer = None
    while True:
        (first, ended), (later, stepped) = (_next(calls, answer) for calls in both)
        if first is None and later is None:
            return _chosen(is_first, ended, stepped)
        if first is None or later is None or first.function is not later.function:
            raise Apart("they call other functions")
        if first.phase == "fit" and not isinstance(first.function, Chunked):
            raise Apart("a short fit")
        answer = first.function(*_chosen(is_first, first.args, later.args))


def _next(calls: Generator[Call, Any, Any], answer: Any) -> tuple[Call | None, Any]:
    """Return the next call, or None and what the generation returns."""
    try:
        return calls.send(answer), None
    except StopIteration as stop:
        return None, stop.value


def _chosen(is_first: Array, first: PyTree, later: PyTree) -> PyTree:
    """Return the one tree or the other, of one structure and the same shapes."""
    if str(jax.tree.structure(first)) != str(jax.tree.structure(later)):
        raise Apart("their arguments are built differently")

    def choose(one: Any, other: Any) -> Any:
        if one is other or (isinstance(one, int) and isinstance(other, int) and one == other):
            return one  # a number that fixes a shape stays a number
        one, other = jnp.asarray(one), jnp.asarray(other)
        if one.shape != other.shape or one.dtype != other.dtype:
            raise Apart(f"one argument is {one.dtype}{list(one.shape)}, then {other.dtype}{list(other.shape)}")
        return jnp.where(is_first, one, other)

    return jax.tree.map(choose, first, later)
