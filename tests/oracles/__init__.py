"""The laws of `collapse_jax.theory` once more, from their mathematics, with 80 digits: what the package is held to.

One function for each law, of the same name and arguments, in a module of the same name, in its direct textbook form:
products, sums, recursions, exact solves. Nothing here comes from the package. `book` says what an oracle may return.
"""

from oracles import (
    ancestry,
    curation,
    discrete,
    filtering,
    gaussian,
    identity_by_descent,
    limits,
    poison,
    pool,
    regression,
    samplers,
    watermarks,
)
from oracles.book import ORACLES, Convention

__all__ = [
    "ORACLES",
    "Convention",
    "ancestry",
    "curation",
    "discrete",
    "filtering",
    "gaussian",
    "identity_by_descent",
    "limits",
    "poison",
    "pool",
    "regression",
    "samplers",
    "watermarks",
]
