"""Hypergeometric counts follow SciPy's laws: up to a million balls in float32, a billion and more in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import loggamma, mp, mpf
from scipy import stats
from scipy.special import gammaln

from collapse_jax.numerics.hypergeometric import hypergeometric, multivariate_hypergeometric
from collapse_jax.numerics.hypergeometric_law import law_of, log_ratio
from collapse_jax.numerics.threefry import written_out
from collapse_jax.testing.laws import assert_mean
from collapse_jax.testing.strategies import keys

EDGES = stats.norm.ppf([0.002, 0.01, 0.05, *np.arange(0.1, 0.95, 0.1), 0.95, 0.99, 0.998])
NUM_DRAWS = 10_000


def _laws(num, most, seed=0):
    """Return good, bad and drawn balls, few and many of each; in a third of the laws there are `most` balls."""
    rng = np.random.default_rng(seed)
    total = np.floor(10 ** rng.uniform(0.7, np.log10(most), num))
    total[: num // 3] = most
    parts = []
    for _ in range(2):
        part = np.floor(total ** rng.uniform(0.5, 1, num) * rng.uniform(0.1, 0.5, num))
        parts.append(np.where(rng.random(num) < 0.5, part, total - part))
    good, drawn = parts
    good[:3], drawn[:3] = most // 2, (most // 2, 1000, most - 17)
    good[3:5], drawn[3:5] = most // 1000, (500, 10_000)
    return good, total - good, drawn


def _binned(draws, good, bad, drawn):
    """Return how many draws fall into bins of a deviation's parts, and how many should: 20 or more."""
    total = good + bad
    mean = drawn * good / total
    deviation = np.sqrt(mean * bad / total * (total - drawn) / (total - 1))
    low, high = max(drawn - bad, 0), min(good, drawn)
    assert draws.min() >= low and draws.max() <= high
    edges = np.unique(np.clip(np.floor(mean + deviation * EDGES), low, high))
    edges = edges[edges < high]  # each the last count of its bin
    expected = np.diff([0.0, *stats.hypergeom.cdf(edges, total, good, drawn), 1.0]) * len(draws)
    groups, filled = [0], 0.0
    for number in expected:
        filled += number
        groups.append(groups[-1] + (filled >= 20))
        filled = 0.0 if filled >= 20 else filled
    groups = np.minimum(groups[:-1], max(groups[-1] - 1, 0))  # what is left over joins the last full one
    observed = np.bincount(groups[np.searchsorted(edges, draws)], minlength=groups[-1] + 1)
    return observed, np.bincount(groups, expected)


def _assert_laws(num_laws, most):
    """All laws together, and each alone: a false alarm of 2e-7 for either."""
    good, bad, drawn = _laws(num_laws, most)
    ones = np.ones(NUM_DRAWS)
    counts = np.asarray(hypergeometric(jax.random.key(0), good[:, None], bad[:, None], drawn[:, None] * ones))
    statistic, freedom = np.zeros(num_laws), np.zeros(num_laws)
    for place, law in enumerate(zip(counts, good, bad, drawn)):
        observed, expected = _binned(*law)
        statistic[place], freedom[place] = ((observed - expected) ** 2 / expected).sum(), len(expected) - 1
    assert freedom.sum() > 6 * num_laws
    each = np.where(freedom > 0, stats.chi2.sf(statistic, np.maximum(freedom, 1)), 1)
    worst = np.argmin(each)
    told = f"of {good[worst]:.0f} and {bad[worst]:.0f}, {drawn[worst]:.0f} drawn: {statistic[worst]:.1f}"
    assert each[worst] > 2e-7 / num_laws, f"{told} with {freedom[worst]:.0f} degrees of freedom"
    together = stats.chi2.sf(statistic.sum(), freedom.sum())
    assert together > 2e-7, f"{statistic.sum():.1f} with {freedom.sum():.0f} degrees of freedom"


def test_counts_follow_their_laws_up_to_a_million():
    """40 laws, 10,000 draws each, two false alarms in five million.

    Seen nine times in ten: all means off by 0.028 deviations, or all deviations by 2 %; the mean of one law by 0.09, or
    its deviation by 6.5 %.
    """
    _assert_laws(40, 1_000_000)


def test_counts_follow_their_laws_up_to_a_billion(x64):
    """15 laws: all means off by 0.037 deviations are seen, or all deviations by 2.7 %; of one law as much as above."""
    _assert_laws(15, 10**9)


def _some_laws(num, most):
    """Return `total`, `few` and `many` as the law's own function takes them."""
    good, bad, drawn = _laws(num, most, seed=1)
    total = good + bad
    parts = np.sort([np.minimum(good, bad), np.minimum(drawn, total - drawn)], axis=0)
    return [part[parts[0] > 16] for part in (total, *parts)]


def _assert_ratios(most, error):
    total, few, many = _some_laws(40, most)
    law = law_of(*(jnp.asarray(part, float) for part in (total, few, many)))
    deviation = np.sqrt(few / total * many * (1 - few / total) * (1 - many / total))
    offsets = np.array([-7, -3, -1, -0.1, 0.1, 1, 3, 7])[:, None] * deviation
    mode = np.asarray(law.mode, float)
    offsets = np.clip(np.sign(offsets) * np.ceil(np.abs(offsets)), -mode, few - mode)
    found = np.asarray(jax.jit(log_ratio)(law, jnp.asarray(offsets, float)))
    for place, (whole, one, other) in enumerate(zip(*(map(int, part) for part in (total, few, many)))):
        top = (one + 1) * (other + 1) // (whole + 2)
        assert mode[place] == top

        def exact(k, whole=whole, one=one, other=other):
            return -sum(loggamma(mpf(n) + 1) for n in (k, whole - one - other + k, one - k, other - k))

        with mp.workdps(40):
            right = [float(exact(top + int(offset)) - exact(top)) for offset in offsets[:, place]]
        np.testing.assert_allclose(found[:, place], right, rtol=error, atol=error)


def test_ratios_of_probabilities_are_right_in_float32():
    """To 1e-6 and as much again of the logarithm: no count is drawn more or less often by more than that."""
    _assert_ratios(1_000_000, 1e-6)


def test_ratios_of_probabilities_are_right_in_float64(x64):
    _assert_ratios(10**15, 2e-14)


def test_the_hat_covers_every_law():
    """What lies outside would be drawn too seldom: |x - mean - 1/2| sqrt(P / P(mode)) within half of the width."""
    total, few, many = _some_laws(1000, 1_000_000)
    law = law_of(*(jnp.asarray(part, float) for part in (total, few, many)))
    centre, width = np.asarray(law.mode + law.centre, float), np.asarray(law.width, float)
    assert (np.asarray(law.mode) == 0).sum() > 50
    for place in range(len(total)):
        reach = 30 + 10 * np.sqrt(centre[place])
        k = np.arange(max(0, np.floor(centre[place] - reach)), min(few[place], centre[place] + reach) + 1)
        factorials = (k, total[place] - few[place] - many[place] + k, few[place] - k, many[place] - k)
        logs = -sum(gammaln(n + 1) for n in factorials)
        far = np.maximum(abs(k - centre[place]), abs(k + 1 - centre[place]))
        needed = np.max(far * np.exp((logs - logs.max()) / 2))
        assert needed <= width[place] / 2 * (1 + 1e-6), (total[place], few[place], many[place])


def _assert_moments(counts, total, good, drawn):
    """Of 50,000 draws or more: the mean to 0.03 deviations, the variance to 6 %."""
    counts = np.asarray(counts, float)
    mean, share = good * drawn / total, good / total
    variance = mean * (1 - share) * (total - drawn) / (total - 1)
    assert_mean((counts - mean) / variance**0.5, 0.0, power=0.03)
    assert_mean((counts - mean) ** 2 / variance, 1.0, power=0.06)


@pytest.mark.parametrize("law", [(10**6, 10**6 // 2, 10**6 // 2), (10**6, 1000, 1000), (10**6, 18, 999_000)])
def test_moments_at_the_limit_of_float32(law):
    total, good, drawn = law
    counts = hypergeometric(jax.random.key(1), good, total - good, jnp.full(100_000, drawn * 1.0))
    if drawn > total / 2:  # what is left behind is rare: its own moments are as skew
        assert_mean(np.asarray(counts, float), good * drawn / total, power=0.003)
    else:
        _assert_moments(counts, *law)


@pytest.mark.parametrize("total", [10**9, 10**13])
def test_moments_beyond_a_billion(total, x64):
    """Draws of a sixth, where all numbers are large, and of a few thousand balls."""
    for drawn in (total // 6, 5000):
        counts = hypergeometric(
            jax.random.key(2), total // 3, total - total // 3, jnp.full(50_000, drawn * 1.0)
        )
        _assert_moments(counts, total, total // 3, drawn)


def test_what_is_certain_is_exact():
    good, bad = (
        jnp.array([0.0, 7.0, 5.0, 5.0, 0.0, 400_000.0]),
        jnp.array([9.0, 0.0, 4.0, 4.0, 0.0, 600_000.0]),
    )
    drawn = jnp.array([3.0, 3.0, 0.0, 9.0, 0.0, 1_000_000.0])
    assert hypergeometric(jax.random.key(0), good, bad, drawn).tolist() == [0, 3, 0, 5, 0, 400_000]
    assert hypergeometric(jax.random.key(0), jnp.zeros(0), 1.0, 1.0).shape == (0,)
    cells = jnp.array([[2.0, 0.0], [3.0, 4.0]])
    for share in (0, 1):
        assert np.array_equal(multivariate_hypergeometric(jax.random.key(0), cells, 9 * share), share * cells)
    assert multivariate_hypergeometric(jax.random.key(0), jnp.array(6.0), 5.0).tolist() == 5
    assert multivariate_hypergeometric(jax.random.key(0), jnp.zeros((0, 3)), 0.0).shape == (0, 3)


def test_types_shapes_and_keys(x64):
    key, single = jax.random.key(0), jnp.full((3, 1), 40.0, jnp.float32)
    counts = hypergeometric(key, single, jnp.full(2, 50, jnp.int32), 30)
    assert counts.shape == (3, 2) and counts.dtype == jnp.float32
    assert np.array_equal(counts, hypergeometric(written_out(key), single, jnp.full(2, 50), 30))
    assert jax.eval_shape(lambda: hypergeometric(key, 40, 50, 30)).dtype == jnp.float64
    assert jax.eval_shape(lambda: multivariate_hypergeometric(key, single, 70)).dtype == jnp.float32


def test_what_is_no_number_of_balls_is_refused():
    key = jax.random.key(0)
    for draw in (
        lambda n: hypergeometric(key, n, 1.0, 1.0),
        lambda n: multivariate_hypergeometric(key, n, 0.0),
    ):
        for wrong in (-1.0, 0.5, np.nan, np.inf):
            with pytest.raises(ValueError, match="whole and not negative, got"):
                draw(jnp.array([3.0, wrong]))
    with pytest.raises(ValueError, match="at most 1,000,000 for counts in float32, got 1000001"):
        hypergeometric(key, 600_000, jnp.array([3, 400_001]), 5)
    with pytest.raises(ValueError, match="at most 1,000,000 for counts in float32, got 1200000"):
        multivariate_hypergeometric(key, np.full(3, 400_000), 5)
    for draw in (
        lambda n: hypergeometric(key, 3, 4, n),
        lambda n: multivariate_hypergeometric(key, jnp.ones(7), n),
    ):
        with pytest.raises(
            ValueError, match=r"`num_drawn` must be at most the number of balls, .*7.*, got 8"
        ):
            draw(8)


def test_float64_has_its_limit_too(x64):
    with pytest.raises(ValueError, match="at most 1,125,899,906,842,622 balls"):
        hypergeometric(jax.random.key(0), 2.0**50, 1.0, 1.0)


def test_traced_numbers_that_are_no_numbers_of_balls_give_nan():
    """And the loop ends; the lanes beside them are drawn."""
    good = jnp.array([5.0, -1.0, jnp.nan, jnp.inf, 5.0, 5.0, 1e9, 100.0])
    drawn = jnp.array([9.0, 1.0, 1.0, 1.0, 10.0, jnp.nan, 1e6, 50.0])
    counts = jax.jit(hypergeometric)(jax.random.key(0), good, 4.0, drawn)
    assert np.isnan(counts).tolist() == [False, True, True, True, True, True, True, False]
    many = jax.jit(multivariate_hypergeometric)
    assert np.isnan(many(jax.random.key(0), jnp.ones(5), 6.0)).all()
    assert np.isnan(many(jax.random.key(0), jnp.array(1.0), 6.0)).all()


_whole = st.one_of(st.integers(0, 40), st.integers(0, 400_000))
_ONE = jax.jit(hypergeometric)
_MANY = jax.jit(multivariate_hypergeometric)


@given(keys, st.lists(st.tuples(_whole, _whole, st.floats(0, 1)), min_size=4, max_size=4))
def test_counts_are_whole_and_within_what_is_possible(key, laws):
    good, bad, share = np.array(laws).T
    drawn = np.round(share * (good + bad))
    counts = np.asarray(_ONE(key, *(jnp.asarray(part, jnp.float32) for part in (good, bad, drawn))), float)
    assert (counts == np.floor(counts)).all()
    assert (counts >= np.maximum(drawn - bad, 0)).all() and (counts <= np.minimum(good, drawn)).all()


_cells = st.one_of(st.just(0), st.integers(0, 40), st.integers(0, 140_000))


@given(keys, st.lists(_cells, min_size=7, max_size=7), st.floats(0, 1))
def test_cells_add_up_and_none_gives_more_than_it_has(key, cells, share):
    cells = np.array(cells, np.float32)
    drawn = np.round(share * cells.sum(dtype=float))
    counts = np.asarray(_MANY(key, jnp.asarray(cells), jnp.float32(drawn)))
    assert counts.sum(dtype=float) == drawn
    assert (counts == np.floor(counts)).all() and (counts >= 0).all() and (counts <= cells).all()


def test_lanes_of_vmap_follow_the_law():
    """Keys and numbers in lanes: chi-square at 1e-7 for each of two laws of 10,000 draws."""
    good, drawn = np.array([30.0, 4000.0]), np.array([25.0, 3.0])
    draw = jax.vmap(jax.vmap(hypergeometric, in_axes=(0, None, None, None)), in_axes=(0, 0, None, 0))
    counts = jax.jit(draw)(jax.random.split(jax.random.key(3), (2, NUM_DRAWS)), good, 5000.0, drawn)
    for place in range(2):
        observed, expected = _binned(np.asarray(counts[place]), good[place], 5000.0, drawn[place])
        assert stats.chisquare(observed, expected).pvalue > 1e-7


def test_every_table_is_as_likely_as_scipy_says():
    """4 of 2, 0, 3, 1, 2 balls, 60,000 times: a table in 20 that comes an eighth more often is seen."""
    cells = np.array([2, 0, 3, 1, 2])
    draw = jax.jit(jax.vmap(lambda key: multivariate_hypergeometric(key, jnp.asarray(cells, float), 4.0)))
    counts = np.asarray(draw(jax.random.split(jax.random.key(0), 60_000)), int)
    tables, observed = np.unique(counts, axis=0, return_counts=True)
    expected = stats.multivariate_hypergeom.pmf(tables, cells, 4) * len(counts)
    assert abs(expected.sum() - len(counts)) < 1e-6  # every table has come
    assert stats.chisquare(observed, expected).pvalue > 1e-7


def test_moments_of_many_cells_are_scipys():
    """1,000 draws of 10,000 from 150 cells, of which every fifth is empty and one has half: all z below 6.

    A mean off by 0.23 deviations is seen nine times in ten, and so is a variance off by a third, along each cell and
    in 50 random directions.
    """
    rng = np.random.default_rng(0)
    cells = rng.multinomial(20_000, rng.dirichlet(np.ones(150))) * (np.arange(150) % 5 > 0)
    cells[7] = 15_000
    draw = jax.jit(jax.vmap(lambda key: multivariate_hypergeometric(key, jnp.asarray(cells, float), 10_000)))
    counts = np.asarray(draw(jax.random.split(jax.random.key(1), 1000)), float)
    assert (counts.sum(axis=1) == 10_000).all() and not counts[:, cells == 0].any()
    law = stats.multivariate_hypergeom(cells, 10_000)
    directions = np.vstack([np.eye(150)[cells > 20], rng.normal(size=(50, 150))])
    variance = np.einsum("ij,jk,ik->i", directions, law.cov(), directions)
    moved = (counts - law.mean()) @ directions.T / np.sqrt(variance)
    assert np.abs(moved.mean(axis=0)).max() < 6 / np.sqrt(1000)
    spread = np.sqrt((moved**4).mean(axis=0) - 1) / np.sqrt(1000)
    assert (np.abs((moved**2).mean(axis=0) - 1) / spread).max() < 6
