"""The categorical model: counts and labels agree in law, lost classes stay lost, transforms keep their promises."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from collapse_jax import as_samples, build_chain, replace, theory
from collapse_jax.core import regimes
from collapse_jax.core.protocol import Snapshot
from collapse_jax.models.categorical import (
    CategoricalTruth,
    categorical,
    categorical_metrics,
    categorical_points,
    count_labels,
    draw_counts,
    min_p,
    temperature,
    top_k,
    top_p,
)
from collapse_jax.selfcheck.laws.running import run_all
from collapse_jax.testing.laws import assert_mean

MODELS = {"points": categorical_points, "statistics": categorical}

SIZE, GENERATIONS, RUNS = 12, 4, 4096
P = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
TRUTH = CategoricalTruth(P)
H0 = 1 - np.sum(P**2)
KINDS = ("points", "statistics")


_weight = partial(regimes.weight_real, weight=0.4)
# every regime that both kinds of data support, of a source of fresh data; and its identity by descent
_BOTH = {
    "replace": (lambda new: replace(), theory.ibd_replace, (12, 12)),
    "accumulate": (lambda new: regimes.accumulate(GENERATIONS), theory.ibd_accumulate, (12, 12)),
    "window": (lambda new: regimes.window(2), theory.ibd_window, (12, 2)),
    "add original": (lambda new: regimes.add_real(regimes.original()), theory.ibd_add_original, (12, 12)),
    "add fresh": (lambda new: regimes.add_real(new, count=5), theory.ibd_fresh_counts, (12, 5, 12)),
    "weight original": (lambda new: _weight(regimes.original()), theory.ibd_weight_original, (12, 0.4, 12)),
    "weight fresh": (lambda new: _weight(new, count=9), theory.ibd_weight_fresh, (12, 0.4, 9, 12)),
}


@pytest.fixture(scope="module")
def both_kinds():
    """Records of every regime from labels and from counts, one compiled program each."""
    records = {}
    for index, draws in enumerate(KINDS):
        model, sampler = MODELS[draws](5), (TRUTH.sampler, TRUTH.counts_sampler)[index]
        source = regimes.fresh(lambda key, num, sampler=sampler: sampler(num)(key))
        chains = {
            name: build_chain(model, make(source), sampler(SIZE), SIZE, categorical_metrics())
            for name, (make, *_) in _BOTH.items()
        }
        if draws == "statistics":  # two draws fewer: seen by the tests below
            chains["wrong"] = build_chain(model, replace(), sampler(10), 10, categorical_metrics())
        records[draws] = run_all(chains, jax.random.key(index), RUNS, GENERATIONS)
    return records


def _p_values(first, second):
    """Kolmogorov-Smirnov of the heterozygosity, chi-square of two classes' probabilities: last generation."""
    one, other = (np.round(record["heterozygosity"][:, -1], 4) for record in (first, second))
    found = [stats.ks_2samp(one, other).pvalue]  # ties make its p-value too large, never too small
    for column in (0, 4):
        both = np.concatenate([record["probabilities"][:, -1, column] for record in (first, second)])
        table = stats.contingency.crosstab(np.repeat([0, 1], RUNS), np.round(both, 4)).count
        common = table.sum(axis=0) >= 20  # the rare values count as one
        table = np.column_stack([table[:, common], table[:, ~common].sum(axis=1) + 1])
        found.append(stats.chi2_contingency(table).pvalue)
    return found


@pytest.mark.parametrize("name", _BOTH)
def test_counts_and_labels_agree_in_law(name, both_kinds):
    """4,096 chains each, p > 1e-3: sees gaps of 0.043 between distribution functions."""
    assert min(_p_values(*(both_kinds[draws][name] for draws in KINDS))) > 1e-3


def test_two_draws_fewer_are_seen(both_kinds):
    """The same tests tell M = 10 from M = 12: they can fail."""
    assert max(_p_values(both_kinds["points"]["replace"], both_kinds["statistics"]["wrong"])) < 1e-3


@pytest.mark.parametrize("draws", KINDS)
@pytest.mark.parametrize("name", _BOTH)
def test_heterozygosity_follows_identity_by_descent(name, draws, both_kinds):
    """E H_n = (1 - G_n) H_0: 4,096 chains see 3 % of H_0."""
    _, descent, sizes = _BOTH[name]
    expected = (1 - float(descent(GENERATIONS, *sizes)[-1])) * H0
    assert_mean(both_kinds[draws][name]["heterozygosity"][:, -1], expected, power=0.03 * H0)


@pytest.mark.parametrize("draws", KINDS)
def test_a_lost_class_stays_lost(draws, both_kinds):
    record = both_kinds[draws]["replace"]
    alive = record["probabilities"] > 0
    assert not (alive[:, 1:] & ~alive[:, :-1]).any()
    np.testing.assert_array_equal(alive.sum(axis=-1), record["support"])
    assert (record["support"][:, -1] < record["support"][:, 0]).mean() > 0.5  # no idle test
    back = np.diff(both_kinds[draws]["add fresh"]["support"], axis=1)
    assert (back > 0).any()  # fresh data bring them back


@pytest.mark.parametrize("draws", KINDS)
@pytest.mark.parametrize("transform", [None, temperature(2.0), top_k(2), top_p(0.9), min_p(0.1)])
def test_a_delta_is_absorbing(draws, transform):
    model, delta = MODELS[draws](3, transform=transform), jnp.array([0.0, 1.0, 0.0])
    params, info = model.fit(jax.random.key(0), delta, model.sample(jax.random.key(1), delta, 50))
    assert params.tolist() == [0, 1, 0] and int(info["support"]) == 1


@given(st.integers(0, 2**16), st.sampled_from([2, 17, 1000, 1_000_000]))
def test_counts_sum_to_the_draws(seed, size):
    p = np.random.default_rng(seed).dirichlet(np.full(40, 0.1)).astype(np.float32)
    p[p < 0.01] = 0
    draw = jax.jit(draw_counts)
    counts = np.asarray(draw(jax.random.key(seed), jnp.asarray(float(size)), jnp.asarray(p / p.sum())))
    assert counts.sum() == size and (counts >= 0).all() and (counts == np.round(counts)).all()
    assert (counts[p == 0] == 0).all()


def _spread(size):
    """Return the ratio of the standard deviation of 4,000 binomial counts, known to 1.1 %, to its law."""
    draw = jax.vmap(lambda key: draw_counts(key, size, jnp.array([0.3, 0.5, 0.2]))[0])
    counts = np.asarray(draw(jax.random.split(jax.random.key(0), 4000)), np.float64)
    return counts.std() / np.sqrt(size * 0.3 * 0.7)


def test_counts_have_their_variance_up_to_the_limit():
    assert abs(_spread(1_000_000) - 1) < 5 * 0.0112


def test_double_precision_lifts_the_limit(x64):
    truth = CategoricalTruth(P)
    chain = build_chain(categorical(5), replace(), truth.counts_sampler(10**9), 10**9)
    assert float(chain.init(jax.random.key(0))[0].synthetic.values.sum()) == 10**9
    assert abs(_spread(10**9) - 1) < 5 * 0.0112


def test_labels_count_with_their_weights():
    weighted = as_samples(jnp.array([0, 2, 2, 1]), np.array([2.0, 0.5, 0.0, 1.0]))
    assert count_labels(weighted, 3).tolist() == [2.0, 1.0, 0.5]
    strange = as_samples(jnp.array([0, -1, 3, 1]), np.ones(4))  # a negative label counts for no class from the end
    assert count_labels(strange, 3).tolist() == [1.0, 1.0, 0.0]
    fitted, info = categorical(4).fit(jax.random.key(0), jnp.ones(4) / 4, weighted)
    np.testing.assert_allclose(fitted, np.array([4, 2, 1, 0]) / 7, rtol=1e-6)  # float32 rounding
    assert int(info["support"]) == 3


_TAUS = (0.5, 1.0, 2.0)
_ONE = {tau: jax.jit(temperature(tau)) for tau in _TAUS}
_ONE |= {"k": jax.jit(top_k(3)), "min": jax.jit(min_p(0.3)), "mass": jax.jit(top_p(0.7))}
_probabilities = st.integers(0, 2**16).map(
    lambda seed: np.random.default_rng(seed).dirichlet(np.ones(7)).astype(np.float32)
)


@given(_probabilities)
def test_temperature_keeps_ranks(p):
    for tau in _TAUS:
        shown = np.asarray(_ONE[tau](p))
        assert (np.argsort(shown) == np.argsort(p)).all()
        expected = p.astype(float) ** (1 / tau)
        np.testing.assert_allclose(shown, expected / expected.sum(), rtol=1e-4)  # float32 logarithms


@given(_probabilities)
def test_top_k_and_min_p_are_idempotent(p):
    kept = {"k": p >= np.sort(p)[-3], "min": p >= np.float32(0.3) * p.max()}
    for name, expected in kept.items():
        once = np.asarray(_ONE[name](p))
        assert ((once > 0) == expected).all()
        np.testing.assert_allclose(once, expected * p / p[expected].sum(), rtol=1e-5)  # float32 sums
        np.testing.assert_allclose(_ONE[name](once), once, rtol=1e-6)


@given(_probabilities)
def test_the_nucleus_keeps_its_mass_and_comes_to_rest(p):
    kept = np.asarray(_ONE["mass"](p)) > 0
    assert p[kept].sum() > 0.7 - 1e-5 and p[kept].sum() - p[kept].min() < 0.7  # the fewest that reach it
    for _ in range(7):
        p, before = np.asarray(_ONE["mass"](p)), p
    assert ((p > 0) == (before > 0)).all() and p[p > 0].min() > 1 - 0.7 - 1e-5
    assert (p > 0).sum() < 1 / (1 - 0.7)


@pytest.mark.parametrize("draws", KINDS)
@pytest.mark.parametrize("transform", [None, temperature(0.5), top_k(2), top_p(0.75), min_p(0.5)])
def test_what_is_drawn_has_the_transformed_probabilities(draws, transform):
    """20,000 draws, chi-square, p > 1e-3: a share off by 0.02 is seen."""
    p = jnp.asarray(P, jnp.float32)
    drawn = MODELS[draws](5, transform=transform).sample(jax.random.key(0), p, 20_000)
    counts = np.asarray(drawn.values if draws == "statistics" else count_labels(drawn, 5))
    law = np.asarray(p if transform is None else transform(p), float)
    assert counts.sum() == 20_000 and counts[law == 0].sum() == 0
    kept = law > 0
    assert stats.chisquare(counts[kept], law[kept] / law.sum() * 20_000).pvalue > 1e-3
    assert transform is None or np.abs(law - P).max() > 0.04


def test_metrics_are_scipys():
    p = np.array([0.5, 0.0, 0.3, 0.2])
    snapshot = Snapshot(jnp.asarray(2), jnp.asarray(p, jnp.float32), None, None, None)
    measured = {m.name: np.asarray(m.function(jax.random.key(0), snapshot)) for m in categorical_metrics()}
    np.testing.assert_allclose(measured["entropy"], stats.entropy(p), rtol=1e-6)
    np.testing.assert_allclose(measured["heterozygosity"], 1 - 0.25 - 0.09 - 0.04, rtol=1e-6)
    np.testing.assert_allclose(measured["probabilities"], p, rtol=1e-6)


_build = partial(build_chain, categorical(5), replace(), TRUTH.counts_sampler(10))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: CategoricalTruth(np.array([1.2, -0.2])), "must not be negative"),
        (lambda: CategoricalTruth(np.array([0.5, 0.4])), "sum to 1, got sum 0.9"),
        pytest.param(lambda: CategoricalTruth(np.array([np.nan, 1.0])), "sum to 1"),
        (lambda: categorical(0), "`num_classes` must be at least 1"),
        (lambda: top_k(0), "`num_kept` must be at least 1"),
        *((lambda mass=mass: top_p(mass), "`mass` must lie in") for mass in (0.0, 1.1, np.nan)),
        *((lambda share=share: min_p(share), "`share` must lie in") for share in (-0.1, 1.1, np.nan)),
        (lambda: _build(2_000_000), "at most 1,000,000 for counts in float32"),
        pytest.param(lambda: _build([10, 2_000_000]), "at most 1,000,000"),
        pytest.param(lambda: temperature(0.0), "`tau` must be positive"),
        pytest.param(lambda: temperature(-1.0), "`tau` must be positive"),
    ],
)
def test_bad_input_meets_a_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
