"""What estimands have in common: seeds without a value, how far a run came, and tails of a law."""

import math

import numpy as np
import pytest
import xarray as xr

from collapse_jax.analysis.estimands import happened, last_reached, upper_tail


def test_what_cannot_be_seen_did_not_fail_to_happen():
    values = np.array([0.5, 2.0, math.nan, -math.inf])
    np.testing.assert_array_equal(happened(values, values < 1), [1, 0, math.nan, 1])


def test_a_run_ends_where_no_seed_goes_on():
    values = xr.DataArray(np.ones((3, 6, 2)), dims=("seed", "generation", "axis"))
    values = values.assign_coords(generation=np.arange(0, 12, 2))
    assert last_reached(values) == 10
    values[0, 1:] = math.nan  # one seed breaks at generation 2
    assert last_reached(values) == 10
    values[:, 4:] = math.nan
    assert last_reached(values) == 6
    assert last_reached(values * math.nan) == -1


@pytest.mark.parametrize(
    ("num", "share", "least", "rank"),
    [(99, 0.05, 1, 5), (128, 0.05, 1, 7), (128, 0.01, 2, 2), (16, 0.01, 2, 2), (1, 0.9, 2, 1), (199, 0.01, 2, 2)],
)
def test_the_edge_of_a_tail_is_an_order_statistic(num, share, least, rank):
    values = np.random.default_rng(0).permuted(np.arange(float(num))[None].repeat(3, axis=0), axis=1)
    edge, expected = upper_tail(values, share, least)
    np.testing.assert_array_equal(edge, np.full(3, num - rank))
    assert expected == pytest.approx(rank / (num + 1))


def test_no_values_have_no_tail():
    edge, expected = upper_tail(np.zeros((2, 0)), 0.01)
    assert np.isnan(edge).all() and edge.shape == (2,) and math.isnan(expected)


def test_further_draws_lie_beyond_the_edge_as_often_as_expected():
    """20,000 pairs of 40 draws: the standard error of the share is 0.0004, the error of a plain quantile 0.004."""
    first, second = np.random.default_rng(0).exponential(size=(2, 20_000, 40))
    edge, expected = upper_tail(first, 0.05)
    shares = (second > edge[:, None]).mean(axis=1)
    error = shares.std() / math.sqrt(20_000)
    assert abs(shares.mean() - expected) < 5 * error and error < 5e-4
