"""Data sets: what they hold after each operation, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from scipy import stats

from collapse_jax import Stream, as_samples
from collapse_jax.core.data import follow_frame
from collapse_jax.core.streams import Blend
from collapse_jax.numerics.frame import advance as advance_frame
from collapse_jax.numerics.frame import axes, data_frame, to_data_units
from collapse_jax.testing.laws import assert_law, assert_mean
from collapse_jax.testing.strategies import keys, seeds, triangles, weights

N = 6


def _samples(weight=None, start=0.0):
    return as_samples({"a": start + np.arange(N, dtype=np.float32), "b": np.ones((N, 2), np.float32)}, weight)


def _draw(key, params, num):
    return {"a": jnp.full(num, params), "b": jnp.zeros((num, 2))}


def test_as_samples_keeps_rows_and_casts_weights():
    samples = as_samples([[0.0, 1.0], [2.0, 3.0]], weight=np.array([1, 2]))
    assert samples.num_rows == 2 and samples.weight.dtype == jnp.float32 and samples.frame is None
    np.testing.assert_array_equal(samples.x, [[0, 1], [2, 3]])
    assert float(samples.total_weight) == 3.0
    assert _samples().num_rows == N and float(_samples().total_weight) == N


NAN = np.array([[0.0], [np.nan], [1.0]])


@pytest.mark.parametrize(
    ("x", "weight", "sentence"),
    [
        (np.zeros((0, 2)), None, "data need rows"),
        (np.float32(1.0), None, "data need rows"),
        ({"a": np.zeros(2), "b": np.zeros(3)}, None, "same number in every array"),
        (NAN, None, r"NaN or infinite values in 1 of 3 rows \(first: row 1, column 0\); remove"),
        (np.array([[np.inf], [1.0]]), None, "NaN or infinite values in 1 of 2 rows"),
        (np.zeros((2, 1)), [1.0, -1.0], "`weight` must be finite and non-negative"),
        (np.zeros((2, 1)), [1.0, np.nan], "`weight` must be finite and non-negative"),
        (np.zeros((2, 1)), [0.0, 0.0], "total `weight` of the data is 0"),
        (np.zeros((2, 1)), [1.0], r"`weight` must have shape \(2,\)"),
    ],
)
def test_unusable_data_meet_a_sentence(unchecked, x, weight, sentence):
    with pytest.raises(ValueError, match=sentence):
        as_samples(x, weight)


def test_an_empty_slot_may_hold_nan():
    samples = as_samples(NAN, np.array([1.0, 0.0, 1.0]))
    np.testing.assert_array_equal(samples.live_rows(), [[0.0], [0.0], [1.0]])


def test_checks_let_tracers_pass():
    assert jax.jit(lambda x: as_samples(x).total_weight)(jnp.full((3, 1), jnp.nan)) == 3


def test_operations_keep_rows_and_weights():
    first, second = _samples(np.arange(N)), _samples(start=10.0)
    both = first.merge(second)
    np.testing.assert_array_equal(both.x["a"], [*range(N), *range(10, 10 + N)])
    np.testing.assert_array_equal(both.weight, [*range(N), *[1] * N])
    np.testing.assert_array_equal(first.scale(0.5).weight, np.arange(N) / 2)
    assert first.scale(np.float64(0.5)).weight.dtype == first.weight.dtype

    store = first.reserve(3 * N)
    assert store.num_rows == 3 * N and float(store.total_weight) == float(first.total_weight)
    assert store.reserve(3 * N).num_rows == 3 * N
    store = store.append(second, jnp.asarray(2 * N))
    np.testing.assert_array_equal(store.weight, [*range(N), *[0] * N, *[1] * N])
    np.testing.assert_array_equal(store.x["a"][2 * N :], second.x["a"])

    taken = first.take(jnp.array([4, 1, 4]))
    np.testing.assert_array_equal(taken.x["a"], [4, 1, 4])
    np.testing.assert_array_equal(taken.weight, [4, 1, 4])


def test_reserve_does_not_shrink():
    with pytest.raises(ValueError, match=f"at least the {N} rows held, got 2"):
        _samples().reserve(2)


_minibatch = jax.jit(lambda key, data: data.minibatch(key, 64))


@given(keys, weights(N))
def test_a_row_without_weight_is_never_drawn(key, weight):
    rows = _minibatch(key, _samples(weight))
    assert (weight[np.asarray(rows["a"], int)] > 0).all()


def _moved_frame(ratio, shift):
    return advance_frame(data_frame(len(ratio)), jnp.asarray(shift), jnp.asarray(ratio))


@given(triangles(2), seeds)
def test_following_a_frame_leaves_the_points_where_they_are(ratio, seed):
    """In data units a stored row stays put; 1e-4 is float32 rounding times the condition of the frame."""
    rng = np.random.default_rng(seed)
    points, shift = rng.normal(size=(N, 2)).astype(np.float32), rng.normal(size=2).astype(np.float32)
    frame = _moved_frame(ratio, shift)
    moved = as_samples(points).follow(frame)
    assert moved.frame is frame
    np.testing.assert_allclose(to_data_units(frame, moved.x), points, rtol=1e-4, atol=1e-4)
    entered = as_samples(points).enter(frame)
    np.testing.assert_allclose(entered.x, moved.x, rtol=1e-3, atol=1e-3)
    assert as_samples(points).enter(None).frame is None


def test_every_data_set_of_a_state_follows():
    frame = _moved_frame(np.eye(1, dtype=np.float32) * 2, np.ones(1, np.float32))
    rows = as_samples(np.array([[1.0], [3.0]]))
    count, (first, second) = follow_frame((jnp.asarray(3), [rows, rows.scale(0.0)]), frame)
    assert int(count) == 3
    for moved in (first, second):
        np.testing.assert_array_equal(moved.x, [[0.0], [1.0]])  # axes of length 2 from an origin at 1
    assert axes(frame)[0, 0] == 2


def test_a_stream_draws_from_its_params_each_time():
    stream = Stream(lambda key, params, num: params + jax.random.uniform(key, (num,)), jnp.asarray(5.0), 8.0)
    first, second = (stream.minibatch(jax.random.key(seed), 3) for seed in range(2))
    assert stream.num_rows == 0 and float(stream.total_weight) == 8
    assert ((first >= 5) & (first < 6)).all() and not set(first.tolist()) & set(second.tolist())
    halved = stream.scale(0.5)
    assert float(halved.total_weight) == 4 and float(stream.total_weight) == 8
    np.testing.assert_array_equal(halved.minibatch(jax.random.key(0), 3), first)
    assert jax.tree.structure(stream) == jax.tree.structure(halved) and len(jax.tree.leaves(stream)) == 2


@pytest.mark.parametrize("stream_first", [True, False])
def test_a_blend_reads_both_by_weight(stream_first):
    """50,000 rows: a share of 0.75 to 0.0123 (1.6 %), nine times in ten."""
    stream, rows = Stream(_draw, jnp.asarray(-1.0), jnp.asarray(18.0)), _samples()
    blend = stream.merge(rows) if stream_first else rows.merge(stream)
    assert blend.num_rows == N and float(blend.total_weight) == 18 + N
    batch = blend.minibatch(jax.random.key(0), 50_000)
    from_stream = np.asarray(batch["a"]) < 0
    assert_mean(from_stream, 0.75, power=0.0123)
    np.testing.assert_array_equal(
        batch["b"][:, 0], np.where(from_stream, 0.0, 1.0)
    )  # a row is one source's whole row
    assert float(blend.scale(2.0).total_weight) == 2 * (18 + N)
    assert float(blend.merge(rows).total_weight) == 18 + 2 * N


@pytest.mark.parametrize("stream_first", [True, False])
def test_what_a_blend_takes_of_a_source_has_the_law_of_that_source(stream_first):
    """Whether a row is the stream's says nothing of which row it is, nor the other way round.

    20,000 rows, half of them a stream's uniform numbers: gaps above 0.02 in their distribution are seen, and shares
    of 1/6 of the stored rows that are off by a tenth.
    """
    stream = Stream(
        lambda key, params, num: {"a": -jax.random.uniform(key, (num,)), "b": jnp.zeros((num, 2))}, jnp.zeros(()),
        jnp.asarray(float(N)),
    )  # fmt: skip
    rows = _samples()
    blend = stream.merge(rows) if stream_first else Blend(rows, stream)
    drawn = np.asarray(blend.minibatch(jax.random.key(3), 20_000)["a"])
    stored = drawn[drawn >= 0].astype(int)
    assert stats.chisquare(np.bincount(stored, minlength=N)).pvalue > 1e-3
    assert_law(-drawn[drawn < 0], stats.uniform.cdf)


def test_minibatches_are_uniform_over_equal_weights():
    """Ranks of 5,000 rows drawn from 1,000: gaps above 0.027 in the distribution function are seen."""
    data = as_samples(np.arange(1000, dtype=np.float32))
    rows = np.asarray(data.minibatch(jax.random.key(2), 5000))
    jitter = np.random.default_rng(0).random(5000)  # makes the discrete law continuous
    assert_law((rows + jitter) / 1000, lambda t: np.clip(t, 0, 1))
