"""Kernel density estimates: SciPy's kernels, draws from the density they stand for, weights that count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from collapse_jax import Metric, as_samples, build_chain, gaussian_truth, replace
from collapse_jax.models.kde import bootstrap, kde, kde_metrics
from collapse_jax.selfcheck.laws.running import run_all
from collapse_jax.testing.laws import assert_law, assert_mean
from collapse_jax.theory import gaussian as exact

SIZE, GENERATIONS, RUNS, WIDTH = 10, 3, 4096, 0.5
WEIGHT = np.array([1, 2, 0, 3, 1, 0, 1, 2, 1, 1])
KEY = jax.random.key(0)


def _rows(dim):
    return np.random.default_rng(dim).normal(size=(SIZE, dim)) @ np.triu(np.ones((dim, dim))) + 3.0


def _fit(model, rows, weight=None):
    data = as_samples(rows, weight)
    return model.fit(KEY, model.init(KEY, data), data)[0]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("rule", ["scott", "silverman"])
def test_the_kernel_is_that_of_scipy(rule, dim, weighted):
    """A row of weight 2 is that row twice."""
    rows = _rows(dim)
    reference = stats.gaussian_kde((np.repeat(rows, WEIGHT, axis=0) if weighted else rows).T, bw_method=rule)
    kernel = np.asarray(_fit(kde(rule), rows, WEIGHT if weighted else None).kernel)
    np.testing.assert_allclose(
        kernel @ kernel.T, reference.covariance, rtol=1e-4, atol=1e-5
    )  # float32 rounding


def test_fixed_and_shrunk_kernels():
    rows = _rows(3)
    np.testing.assert_array_equal(_fit(kde("fixed", width=0.3), rows).kernel, np.float32(0.3) * np.eye(3))
    kernel = np.asarray(_fit(kde("shrunk", width=0.3), rows).kernel)
    np.testing.assert_allclose(kernel @ kernel.T, 0.09 * np.cov(rows.T, ddof=0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weight", [np.ones(SIZE), WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("rule", ["fixed", "scott", "silverman", "shrunk"])
def test_draws_have_the_density(rule, weight):
    """Kolmogorov-Smirnov, 8,192 draws on the line, p > 1e-3: sees gaps of 0.022 between distribution functions."""
    rows, share = _rows(1)[:, 0], weight / weight.sum()
    mean = share @ rows
    variance = share @ (rows - mean) ** 2
    unbiased = variance * weight.sum() / (weight.sum() - 1)
    width = {
        "fixed": WIDTH,
        "scott": weight.sum() ** -0.2 * np.sqrt(unbiased),
        "silverman": (weight.sum() * 3 / 4) ** -0.2 * np.sqrt(unbiased),
        "shrunk": WIDTH * np.sqrt(variance / (1 + WIDTH**2)),
    }[rule]
    centres = mean + (rows - mean) / np.sqrt(1 + WIDTH**2) if rule == "shrunk" else rows
    model = kde(rule, width=WIDTH)
    drawn = model.sample(KEY, _fit(model, rows[:, None], weight), 8192)
    assert drawn.total_weight == 8192
    assert_law(drawn.x[:, 0], lambda x: stats.norm.cdf((x[:, None] - centres) / width) @ share)


def test_an_empty_slot_is_never_read():
    rows = _rows(2)
    spoiled = np.where(WEIGHT[:, None] > 0, rows, 1e6)
    for rule in ("scott", "silverman", "shrunk"):
        clean, other = (_fit(kde(rule), x, WEIGHT).kernel for x in (rows, spoiled))
        np.testing.assert_array_equal(clean, other)


def test_the_bootstrap_copies_training_points_by_their_weight():
    """Chi-square over 4,096 draws, p > 1e-3: sees a row's share of 0.25 off by 0.04."""
    rows = _rows(2)
    drawn = np.asarray(bootstrap().sample(KEY, _fit(bootstrap(), rows, WEIGHT), 4096).x)
    same = (drawn[:, None, :] == np.asarray(rows, np.float32)[None]).all(axis=2)
    assert (same.sum(axis=1) == 1).all()
    counts, live = same.sum(axis=0), WEIGHT > 0
    assert counts[~live].sum() == 0
    assert stats.chisquare(counts[live], 4096 * WEIGHT[live] / WEIGHT.sum()).pvalue > 1e-3


@pytest.fixture(scope="module")
def records():
    """Chains of every rule, one compiled program."""
    truth = gaussian_truth(1)
    points = Metric("points_variance", (), "squared data units", lambda key, s: jnp.var(s.params.points))
    models = {rule: kde(rule, width=WIDTH) for rule in ("fixed", "scott", "silverman", "shrunk")}
    chains = {
        rule: build_chain(model, replace(), truth.sampler(SIZE), SIZE, (*kde_metrics(), points))
        for rule, model in (models | {"bootstrap": bootstrap()}).items()
    }
    return run_all(chains, KEY, RUNS, GENERATIONS)


_FITS = GENERATIONS + 1
_EXPECTED = {
    "fixed": lambda: exact.kde_variance(_FITS, SIZE, WIDTH),
    "scott": lambda: exact.kde_rule_variance(_FITS, SIZE, SIZE**-0.2),
    "silverman": lambda: exact.kde_rule_variance(_FITS, SIZE, (SIZE * 3 / 4) ** -0.2),
    "bootstrap": lambda: exact.variance_mean(_FITS, SIZE, 0),
}


@pytest.mark.parametrize("rule", _EXPECTED)
def test_the_variance_follows_its_law(rule, records):
    """4,096 chains see a sixth of a variance that spreads by its own size."""
    expected = float(_EXPECTED[rule]())
    assert_mean(records[rule]["variance"][:, -1], expected, power=expected / 6)


def test_shrinking_leaves_the_variance_of_the_draws(records):
    """The points themselves lose only 1/M a fit, as the bootstrap's do; the mean is not moved either way."""
    expected = float(exact.variance_mean(_FITS, SIZE, 0))
    assert_mean(records["shrunk"]["points_variance"][:, -1], expected, power=expected / 8)
    for record in records.values():
        assert_mean(record["mean"][:, -1, 0], 0.0, power=0.12)


def test_the_metric_is_the_variance_of_the_draws():
    """65,536 draws know a variance to 0.6 %; the kernel's share is a fifth of it."""
    model = kde("shrunk", width=WIDTH)
    params = _fit(model, _rows(1))
    (metric,) = (metric for metric in kde_metrics() if metric.name == "variance")
    snapshot = type("Snapshot", (), {"params": params})
    drawn = model.sample(KEY, params, 65_536).x
    np.testing.assert_allclose(metric.function(KEY, snapshot), np.var(np.asarray(drawn)), rtol=0.03)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: kde("scot"), "did you mean 'scott'"),
        (lambda: kde("fixed", width=0.0), "`width` must be positive"),
        (lambda: kde("shrunk", width=-1.0), "`width` must be positive"),
        (lambda: kde("fixed", width=np.inf), "`width` must be positive and finite"),
    ],
)
def test_bad_input_meets_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
