"""Hypothesis strategies: values and keys are drawn, shapes come from short lists, since a new shape compiles."""

import jax
import numpy as np
from hypothesis import strategies as st

seeds = st.integers(0, 2**31 - 1)
keys = seeds.map(jax.random.key)


def weights(num_rows: int, values=(0.0, 0.3, 1.0, 2.0)):
    """Frequency weights of `num_rows` rows, at least one of them alive."""
    row = st.sampled_from(values)
    return (
        st.lists(row, min_size=num_rows, max_size=num_rows)
        .filter(any)
        .map(lambda w: np.asarray(w, np.float32))
    )


@st.composite
def stops(draw, num_generations: int, longest: int):
    """Stops up to `num_generations` whose longest segment has exactly `longest` generations: one program for all."""
    lengths = [longest]
    while (left := num_generations - sum(lengths)) > 0:
        lengths.append(draw(st.integers(1, min(longest, left))))
    return tuple(int(stop) for stop in np.cumsum(draw(st.permutations(lengths))))


@st.composite
def triangles(draw, dim: int):
    """Lower triangular matrices with a positive diagonal, far from singular."""
    rng = np.random.default_rng(draw(seeds))
    lower = np.tril(rng.normal(size=(dim, dim)), -1)
    return (lower + np.diag(rng.uniform(0.3, 2.0, dim))).astype(np.float32)
