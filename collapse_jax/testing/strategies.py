"""Hypothesis strategies: values and keys are drawn, shapes come from short lists, since a new shape compiles."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError(
        "strategies are hypothesis's, which is not installed; pip install 'collapse-jax[testing]'."
    ) from error

from collapse_jax.core.chain import build_chain
from collapse_jax.core.data import Samples
from collapse_jax.core.protocol import Chain, Regime
from collapse_jax.core.real_data import original, replace_with_real, weight_real
from collapse_jax.core.regimes import accumulate, compose, replace, subsample, window
from collapse_jax.testing.cases import NUM_ROWS, ROOM, line, standard_normal

seeds = st.integers(0, 2**31 - 1)
keys = seeds.map(jax.random.key)


def weights(num_rows: int, values: Sequence[float] = (0.0, 0.3, 1.0, 2.0)) -> st.SearchStrategy[np.ndarray]:
    """Frequency weights of `num_rows` rows, at least one of them alive."""
    row = st.sampled_from(values)
    return (
        st.lists(row, min_size=num_rows, max_size=num_rows)
        .filter(any)
        .map(lambda w: np.asarray(w, np.float32))
    )


@st.composite
def stops(draw: Callable, num_generations: int, longest: int) -> tuple[int, ...]:
    """Stops up to `num_generations` whose longest segment has exactly `longest` generations: one program for all."""
    lengths = [longest]
    while (left := num_generations - sum(lengths)) > 0:
        lengths.append(draw(st.integers(1, min(longest, left))))
    return tuple(int(stop) for stop in np.cumsum(draw(st.permutations(lengths))))


@st.composite
def triangles(draw: Callable, dim: int) -> np.ndarray:
    """Lower triangular matrices with a positive diagonal, far from singular."""
    rng = np.random.default_rng(draw(seeds))
    lower = np.tril(rng.normal(size=(dim, dim)), -1)
    return (lower + np.diag(rng.uniform(0.3, 2.0, dim))).astype(np.float32)


@st.composite
def data_sets(draw: Callable, num_rows: int = NUM_ROWS, dim: int = 1, *, weighted: bool = True) -> Samples:
    """Rows of a Gaussian with drawn location and scale, with drawn weights, or each of weight 1."""
    rng = np.random.default_rng(draw(seeds))
    location, scale = rng.normal(scale=3.0, size=dim), np.exp(rng.normal(size=dim))
    rows = (location + scale * rng.normal(size=(num_rows, dim))).astype(np.float32)
    weight = draw(weights(num_rows)) if weighted else np.ones(num_rows, np.float32)
    return Samples(jnp.asarray(rows), jnp.asarray(weight))


def regimes() -> st.SearchStrategy[Regime]:
    """Regimes of fixed shapes, for batches of `NUM_ROWS` and `ROOM` generations; shares and weights are drawn."""
    share = st.floats(0.0, 1.0, width=32)
    return st.one_of(
        st.sampled_from([
            replace(), accumulate(ROOM), window(2), compose(accumulate(ROOM), subsample(NUM_ROWS)),
        ]),
        share.map(lambda fraction: replace_with_real(original(), fraction=fraction)),
        share.map(lambda weight: weight_real(original(), weight=weight)),
    )  # fmt: skip


@st.composite
def schedules(draw: Callable, num_generations: int = ROOM, most: int = NUM_ROWS) -> tuple[int, ...]:
    """How many points each generation trains on: M_0, M_1, ..., none above `most`."""
    sizes = st.integers(2, most)
    return tuple(draw(st.lists(sizes, min_size=num_generations, max_size=num_generations)))


def chains(**options: Any) -> st.SearchStrategy[Chain]:
    """Chains of the smallest model under a drawn regime; options as for `build_chain`."""
    real: Callable = lambda key: standard_normal(key, NUM_ROWS)  # noqa: E731
    return regimes().map(lambda regime: build_chain(line(), regime, real, NUM_ROWS, **options))
