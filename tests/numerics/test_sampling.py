"""Indices drawn by weight and without replacement: which rows can be drawn, and that all are equally likely."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from collapse_jax.numerics.sampling import distinct_indices, live_indices, weighted_indices
from collapse_jax.testing.laws import assert_mean
from collapse_jax.testing.strategies import keys

# 0.3 adds up with rounding: a cumulative sum may then step where the weight is 0, and go down where it is small
LONG = 4000


def _long_weights(seed):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(LONG) < 0.5, rng.random(LONG), 0.0).astype(np.float32)


_many = jax.jit(weighted_indices, static_argnums=2)


@pytest.mark.parametrize("ends", [slice(0, 0), slice(0, 50), slice(-50, None)])
def test_a_row_without_weight_is_never_drawn_from_many(ends):
    """8 million draws from 4,000 rows, half of them empty, their weights sums of rounded numbers."""
    for seed in range(4):
        weight = _long_weights(seed)
        weight[ends] = 0
        drawn = np.asarray(_many(jax.random.key(seed), jnp.asarray(weight), 2_000_000))
        assert (weight[drawn] > 0).all()


@pytest.mark.parametrize("num_rows", [4, 40])
def test_rows_are_drawn_in_proportion_to_weight(num_rows):
    """Below nine rows comparison, above it binary search.

    200,000 draws see a deviation of 0.0072, 1.3 % of the largest probability, nine times in ten.
    """
    weight = np.resize(np.array([0.0, 1.0, 2.0, 0.5], np.float32), num_rows)
    drawn = np.asarray(_many(jax.random.key(1), jnp.asarray(weight), 200_000))
    for row in range(num_rows):
        if weight[row] > 0:
            assert_mean(drawn == row, weight[row] / weight.sum(), power=0.0072)
    assert weight[drawn].all()


@given(keys, st.sampled_from([(1, 3), (5, 3), (5, 5), (5, 12)]))
def test_distinct_indices_repeat_only_when_all_are_used(key, sizes):
    num_rows, num = sizes
    weight = jnp.ones(num_rows + 2).at[jnp.array([0, -1])].set(0.0)  # an empty slot at either end
    counts = np.bincount(np.asarray(distinct_indices(key, weight, num)), minlength=num_rows + 2)
    live = counts[1:-1]
    assert live.sum() == num and live.max() - live.min() <= 1


SLOTS = 40
_live = jax.jit(live_indices, static_argnums=2)


@given(keys, st.lists(st.booleans(), min_size=SLOTS, max_size=SLOTS), st.sampled_from([1, 5, 10, 11, 40]))
def test_live_indices_are_distinct_and_live_while_they_last(key, live, num):
    """Up to 10 of 40 the pool is large, beyond it is sorted whole; from few and from many, and from none at all."""
    found = np.asarray(_live(key, jnp.asarray(live), num))
    chosen = found[np.asarray(live)[found]]
    assert found.shape == (num,) and found.min() >= 0 and found.max() < SLOTS
    assert len(chosen) == len(set(chosen.tolist())) == min(num, sum(live))


@pytest.mark.parametrize("slot", [0, 32, 39])
def test_a_single_live_slot_is_not_taken_twice(slot):
    found = _live(jax.random.key(0), jnp.arange(SLOTS) == slot, 5)
    assert (np.asarray(found) == slot).sum() == 1


@pytest.mark.parametrize("num_live", [9, *(pytest.param(num, marks=pytest.mark.heavy) for num in (3, 4, 5, 6, 12))])
def test_every_ordered_pair_of_live_indices_is_as_likely(num_live):
    """2 of 12 slots, of which 2 x 2 or fewer are few: chi-square over all ordered pairs of that many draws.

    One pair in 132 that comes half as often again is seen nine times in ten, and so is one in 72 of 20,000 draws.
    """
    num_draws = 20_000 if num_live == 9 else 60_000
    live = np.zeros(12, bool)
    live[np.random.default_rng(num_live).permutation(12)[:num_live]] = True
    draw = jax.jit(jax.vmap(lambda key: live_indices(key, jnp.asarray(live), 2)))
    drawn = np.asarray(draw(jax.random.split(jax.random.key(num_live), num_draws)))
    pairs = list(itertools.permutations(np.flatnonzero(live), 2))
    counts = [int(((drawn == pair).all(axis=1)).sum()) for pair in pairs]
    assert sum(counts) == len(drawn)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_a_large_pool_is_drawn_from_evenly():
    """20 draws of 1,000 from the first half of 101,000 slots: gaps above 0.016 in their distribution are seen."""
    live = jnp.arange(101_000) < 50_500
    draw = jax.jit(jax.vmap(lambda key: live_indices(key, live, 1000)))
    drawn = np.asarray(draw(jax.random.split(jax.random.key(0), 20)))
    assert all(len(set(row.tolist())) == 1000 for row in drawn)
    assert stats.kstest((drawn.ravel() + 0.5) / 50_500, "uniform").pvalue > 1e-3
