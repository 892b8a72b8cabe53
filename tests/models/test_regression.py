"""Linear regression: normal equations as rows give them, estimators that keep their promises, two kinds of design."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from collapse_jax import Metric, accumulate, build_chain, replace
from collapse_jax.core.statistics import Sums
from collapse_jax.models.regression import (
    NormalEquations,
    RegressionParams,
    normal_equations,
    regression,
    regression_truth,
    risk_metric,
)
from collapse_jax.selfcheck.laws.running import run_all
from collapse_jax.testing.laws import assert_law, assert_mean
from collapse_jax.theory import regression as exact

TRUE, NOISE = np.array([1.0, -2.0, 0.5]), 0.7
WIDE = np.array([1.0, -2.0, 0.5, 0.0, 3.0, 1.0])
ROWS, GENERATIONS, RUNS = 12, 4, 4096


@pytest.fixture(scope="module")
def sums():
    """8,192 normal equations of 6 and of 2 rows in 3 dimensions, drawn from their law and from explicit rows."""

    def explicit(key, num):
        key_x, key_y = jax.random.split(key)
        x = jax.random.normal(key_x, (num, 3))
        return Sums(
            num, NormalEquations(x.T @ x, x.T @ (x @ TRUE + NOISE * jax.random.normal(key_y, (num,))))
        )

    def both(key):
        drawn, rows = jax.random.split(key)
        return {
            num: (normal_equations(drawn, num, jnp.asarray(TRUE), NOISE).values, explicit(rows, num).values)
            for num in (6, 2)
        }

    return jax.tree.map(np.asarray, jax.jit(jax.vmap(both))(jax.random.split(jax.random.key(0), 8192)))


@pytest.mark.parametrize("num", [6, 2])
def test_normal_equations_have_the_law_of_rows(num, sums):
    """Kolmogorov-Smirnov, 8,192 draws each, p > 1e-3: sees gaps of 0.03 between distribution functions."""
    columns = {
        "diagonal": lambda v: v.gram[:, 2, 2],
        "first": lambda v: v.gram[:, 0, 0],
        "below": lambda v: v.gram[:, 2, 0],
        "minor": lambda v: np.linalg.det(v.gram[:, 1:, 1:]),
        "cross": lambda v: v.cross[:, 1],
        "noise": lambda v: (v.cross - v.gram @ TRUE)[:, 2],
        "explained": lambda v: np.einsum("ri,rij,rj->r", v.cross, np.linalg.pinv(v.gram, 1e-4), v.cross),
    }
    for name, column in columns.items():
        assert stats.ks_2samp(*map(column, sums[num])).pvalue > 1e-3, name


def test_fewer_rows_than_coefficients_leave_the_rank(sums):
    for values in sums[2]:
        np.testing.assert_allclose(
            np.linalg.eigvalsh(values.gram)[:, 0], 0, atol=1e-4
        )  # float32 sums of order 10
    assert np.linalg.eigvalsh(sums[6][0].gram)[:, 0].min() > 0


@pytest.mark.parametrize("num", [6, 2])
def test_a_given_design_leaves_only_the_noise(num, sums):
    """X'y - X'X w ~ N(0, s^2 X'X), 4,096 draws: along one axis, and along the sum of all."""
    gram = jnp.asarray(sums[num][1].gram[0])
    draw = jax.jit(jax.vmap(lambda key: normal_equations(key, num, jnp.asarray(TRUE), NOISE, gram).values))
    values = draw(jax.random.split(jax.random.key(1), 4096))
    assert (values.gram == gram).all()
    gap = np.asarray(values.cross) - np.asarray(gram) @ TRUE
    for direction in (np.array([0, 0, 1.0]), np.ones(3)):
        assert_law(
            gap @ direction, stats.norm(scale=NOISE * np.sqrt(direction @ np.asarray(gram) @ direction)).cdf
        )


def _chain(truth, rows, regime, **options):
    dim = len(truth)
    known = regression_truth(truth, options.get("noise", 1.0))
    norm = Metric("norm", (), "1", lambda key, s: jnp.linalg.norm(s.params.coefficients))
    kept = Metric("coefficients", ("axis",), "1", lambda key, s: s.params.coefficients)
    gram = Metric("gram", ("row", "column"), "1", lambda key, s: s.training.values.gram / s.training.weight)
    metrics = (risk_metric(truth), norm, kept, gram)
    return build_chain(regression(dim, **options), regime, lambda key: known(key, rows), rows, metrics)


@pytest.fixture(scope="module")
def records():
    """Chains of every estimator and design, one compiled program."""
    pool = accumulate(GENERATIONS)
    chains = {
        "fresh": _chain(TRUE, ROWS, replace()),
        "same": _chain(TRUE, ROWS, replace(), design="same"),
        "pool fresh": _chain(TRUE, ROWS, pool),
        "pool same": _chain(TRUE, ROWS, pool, design="same"),
        "quiet": _chain(TRUE, 40, replace(), noise=1e-6),
        "ridge": _chain(TRUE, 40, replace(), noise=1e-6, estimator="ridge", penalty=0.5),
        "short": _chain(WIDE, 3, replace(), noise=1e-6, estimator="min-norm"),
        "short same": _chain(WIDE, 3, replace(), noise=1e-6, estimator="min-norm", design="same"),
    }
    return run_all(chains, jax.random.key(2), RUNS, GENERATIONS)


@pytest.mark.heavy
@pytest.mark.parametrize("design", ["fresh", "same"])
def test_risk_adds_up(design, records):
    """E |w - w0|^2 = n B under replace: 4,096 chains see 12 % of it, and 12 % of the pool's sum."""
    fits = GENERATIONS + 1
    expected = float(exact.replace_risk(fits, ROWS, 3))
    assert_mean(records[design]["test_error"][:, -1], expected, power=0.12 * expected)
    pooled = {"fresh": exact.accumulate_fresh_risk, "same": exact.accumulate_same_risk}[design]
    expected = float(pooled(fits, ROWS, 3))
    assert_mean(records["pool " + design]["test_error"][:, -1], expected, power=0.12 * expected)


@pytest.mark.heavy
def test_designs_share_their_mean_but_not_their_law(records):
    """One poor design is used again and again, so the risk of the same design spreads more."""
    fresh, same = (records[name]["test_error"][:, -1] for name in ("fresh", "same"))
    assert stats.ks_2samp(fresh, same).pvalue < 1e-3
    assert same.std() > 1.1 * fresh.std()
    grams = records["same"]["gram"]
    np.testing.assert_array_equal(grams, np.broadcast_to(grams[:, :1], grams.shape))
    assert (np.diff(records["fresh"]["gram"], axis=1) != 0).all()


@pytest.mark.heavy
def test_without_noise_least_squares_keeps_the_coefficients(records):
    """40 rows: a design's condition number stays below 20, so float32 keeps four digits."""
    found = records["quiet"]["coefficients"]
    np.testing.assert_allclose(found, np.broadcast_to(TRUE, found.shape), atol=1e-3)


@pytest.mark.heavy
def test_without_noise_the_least_solution_only_shrinks(records):
    """Each is a projection of the last; the same design projects once. 1e-3: float32 on condition numbers of 100."""
    norm = records["short"]["norm"]
    assert (norm[:, 1:] <= norm[:, :-1] * (1 + 1e-3)).all() and norm[:, 0].max() < np.linalg.norm(WIDE) + 1e-3
    expected = float(exact.min_norm_fresh_risk(GENERATIONS + 1, 3, 6, np.linalg.norm(WIDE), 1e-6))
    assert_mean(records["short"]["test_error"][:, -1], expected, power=0.02 * expected)
    same = records["short same"]["coefficients"]
    assert (
        np.mean(np.abs(same[:, -1] - same[:, 0]).max(axis=1) < 1e-3) > 0.99
    )  # a few designs are near singular
    np.testing.assert_allclose(
        same[:, 0].astype(float).mean(axis=0), WIDE / 2, atol=5 * 3 / np.sqrt(RUNS)
    )  # a random half of the space; coordinates spread by less than 3


@pytest.mark.heavy
def test_ridge_shrinks(records):
    """At least by 1/(1 + penalty / largest eigenvalue), and it solves (X'X/T + lambda) w = X'y/T."""
    record = records["ridge"]
    top = np.linalg.eigvalsh(record["gram"].astype(float))[..., -1]
    assert (record["norm"][:, 1:] <= record["norm"][:, :-1] * (top / (top + 0.5))[:, 1:] * (1 + 1e-4)).all()
    gram, cross = np.array([[6.0, 1, 0], [1, 5, 2], [0, 2, 4]]), np.array([1.0, 2, 3])
    data = Sums(jnp.asarray(8.0), NormalEquations(jnp.asarray(gram), jnp.asarray(cross)))
    params, _ = regression(3, estimator="ridge", penalty=0.3).fit(
        jax.random.key(0), RegressionParams(jnp.zeros(3), data.values.gram, data.weight), data
    )
    expected = np.linalg.solve(gram / 8 + 0.3 * np.eye(3), cross / 8)
    np.testing.assert_allclose(params.coefficients, expected, rtol=1e-5)  # float32, condition number 3


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: _chain(TRUE, 2, replace()), "2 rows cannot determine 3 coefficients"),
        (lambda: regression(3, estimator="ridge"), "`penalty` must be positive"),
        (lambda: regression(3, estimator="ridge", penalty=-1.0), "`penalty` must be positive"),
        (lambda: regression(3, estimator="lasso"), "`estimator` has no choice 'lasso'"),
        (lambda: regression(3, design="sam"), "did you mean 'same'"),
        (lambda: regression(0), "`dim` must be at least 1"),
        (lambda: regression(3, noise=-1.0), "`noise` must not be negative"),
        (lambda: regression(3, penalty=1.0), "no meaning under estimator='ols'"),
    ],
)
def test_bad_input_meets_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_too_few_real_rows_are_reported():
    """How many rows real data stand for is known only when they are drawn: the record says that the fit failed."""
    chain = build_chain(regression(3), replace(), lambda key: regression_truth(TRUE)(key, 2), 12)
    assert not bool(chain.init(jax.random.key(0))[1]["is_finite"])
