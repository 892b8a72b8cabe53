"""The bigram model: fixed visits follow Wright-Fisher, unvisited rows keep their value, lost words stay lost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from collapse_jax import build_chain, replace
from collapse_jax.core.statistics import Sums
from collapse_jax.models.bigram import (
    bigram,
    draw_transitions,
    known_table,
    row_heterozygosity,
    table_metric,
)
from collapse_jax.selfcheck.laws.running import run_all
from collapse_jax.testing.laws import assert_mean
from collapse_jax.theory import discrete as exact

TABLE = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.0, 0.2, 0.8]])
NUMS = {"visits": 12, "pairs": 40, "path": 40}
GENERATIONS, RUNS = 4, 4096


@pytest.fixture(scope="module")
def records():
    """Chains of the three kinds of draws, one compiled program; "short" leaves rows unvisited."""
    metrics = (row_heterozygosity(), table_metric())
    chains = {
        draws: build_chain(bigram(3, draws=draws), replace(), known_table(TABLE, num, draws), num, metrics)
        for draws, num in NUMS.items()
    }
    chains["short"] = build_chain(bigram(3), replace(), known_table(TABLE, 40), 2, metrics)
    return run_all(chains, jax.random.key(0), RUNS, GENERATIONS)


@pytest.fixture(scope="module")
def transitions():
    """4,096 draws of each kind from one table."""

    def draw(key):
        return {draws: draw_transitions(key, jnp.asarray(TABLE), num, draws) for draws, num in NUMS.items()}

    counts = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(1), RUNS))
    return {draws: np.asarray(count, int) for draws, count in counts.items()}


def test_fixed_visits_follow_wright_fisher(records):
    """E H of each row falls by 1 - 1/12 a fit: 4,096 chains see a deviation of 0.02."""
    table = records["visits"]["table"].astype(float)
    rows = 1 - np.sum(table**2, axis=-1)
    expected = (1 - np.sum(TABLE**2, axis=1)) * float(exact.heterozygosity(GENERATIONS + 1, NUMS["visits"]))
    for row in range(3):
        assert_mean(rows[:, -1, row], expected[row], power=0.02)
    assert_mean(records["visits"]["row_heterozygosity"][:, -1], expected.mean(), power=0.02)
    assert_mean(table[:, -1, 1, 2], TABLE[1, 2], power=0.04)  # a martingale


@pytest.mark.parametrize("name", [*NUMS, "short"])
def test_a_lost_transition_stays_lost(name, records):
    table = records[name]["table"]
    alive = table > 0
    visited = (table[:, 0, 2] != 1 / np.float32(3)).any(axis=-1)  # else the row is still as it began, uniform
    assert visited.mean() > 0.99 and not alive[visited][..., 2, 0].any()  # the truth never goes there
    assert not (alive[:, 1:] & ~alive[:, :-1]).any()
    np.testing.assert_array_equal(alive.sum(axis=(2, 3)), records[name]["support"])
    assert (records[name]["support"][:, -1] < records[name]["support"][:, 0]).mean() > 0.1  # some were lost
    np.testing.assert_allclose(table.sum(axis=-1), 1, atol=1e-5)  # float32 sums of three


def test_unvisited_rows_keep_their_value(records):
    """Two transitions visit at most two of three rows: the third is as it was, bit for bit."""
    table = records["short"]["table"]
    kept = (table[:, 1:] == table[:, :-1]).all(axis=-1)
    assert kept.any(axis=-1).all() and not kept.all()
    counts = jnp.array([[3.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    old = jnp.asarray(TABLE)
    fitted, info = bigram(3).fit(jax.random.key(0), old, Sums(jnp.sum(counts), counts))
    np.testing.assert_array_equal(fitted, jnp.array([[0.75, 0.25, 0.0], old[1], [0.0, 1.0, 0.0]]))
    assert int(info["support"]) == 6


def test_every_kind_draws_its_number(transitions):
    assert {counts.shape for counts in transitions.values()} == {(RUNS, 3, 3)}
    assert (transitions["visits"].sum(axis=2) == NUMS["visits"]).all()
    assert (transitions["pairs"].sum(axis=(1, 2)) == NUMS["pairs"]).all()
    assert (transitions["path"].sum(axis=(1, 2)) == NUMS["path"]).all()


def test_a_path_leaves_every_word_that_it_enters(transitions):
    """But for its two ends."""
    flow = transitions["path"].sum(axis=2) - transitions["path"].sum(axis=1)
    assert (np.abs(flow).sum(axis=1) <= 2).all()
    flow = transitions["pairs"].sum(axis=2) - transitions["pairs"].sum(axis=1)
    assert (np.abs(flow).sum(axis=1) > 2).any()  # pairs make no path


@pytest.mark.parametrize("draws", ["visits", "pairs"])
def test_transitions_have_their_law(draws, transitions):
    """Chi-square over 147,000 or more transitions, p > 1e-3: sees shares of a row off by 0.02."""
    law = TABLE / 3
    counts = transitions[draws].sum(axis=0)
    assert counts[law == 0].sum() == 0
    found, expected = counts[law > 0], law[law > 0] * counts.sum()
    fixed_rows = 2 if draws == "visits" else 0  # of three row totals, beside the whole
    assert stats.chisquare(found, expected, ddof=fixed_rows).pvalue > 1e-3


def test_transitions_of_a_path_have_no_drift(transitions):
    """E (n_ab - n_a p_ab) = 0, though n_ab / n_a is biased: 4,096 paths see 0.3 transitions of 40."""
    counts = transitions["path"].astype(float)
    gap = counts - counts.sum(axis=2, keepdims=True) * TABLE
    for a, b in np.argwhere(TABLE > 0):
        assert_mean(gap[:, a, b], 0.0, power=0.3)
    # and its visits are those of the Markov chain from a uniform start
    visits, law = np.zeros(3), np.full(3, 1 / 3)
    for _ in range(NUMS["path"]):
        visits, law = visits + law, law @ TABLE
    for a in range(3):
        assert_mean(counts.sum(axis=2)[:, a], visits[a], power=1.5)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: known_table(np.array([[0.5, 0.4], [0.5, 0.5]]), 10), "sum to 1"),
        (lambda: known_table(np.array([[1.5, -0.5], [0.5, 0.5]]), 10), "non-negative"),
        (lambda: bigram(1), "`vocabulary` must be at least 2"),
        (lambda: bigram(3, draws="paths"), "did you mean 'path'"),
        pytest.param(lambda: known_table(np.array([[np.nan, 1.0], [0.5, 0.5]]), 10), "sum to 1"),
        pytest.param(lambda: known_table(TABLE, 10, "visit"), "did you mean 'visits'"),
        pytest.param(
            lambda: build_chain(bigram(3, draws="visits"), replace(), known_table(TABLE, 10), 2_000_000),
            "at most 1,000,000",
        ),
    ],
)
def test_bad_input_meets_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
