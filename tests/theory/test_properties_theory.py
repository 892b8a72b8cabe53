"""Properties P12 to P16 and P19 of the closed forms and transforms; `test_properties` has the table of all twenty."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse_jax import curate, theory
from collapse_jax.models.categorical import (
    CategoricalTruth,
    categorical,
    categorical_points,
    min_p,
    temperature,
    top_k,
    top_p,
)
from collapse_jax.numerics.mixture_distances import gaussian_w2
from collapse_jax.testing.laws import assert_mean
from collapse_jax.testing.strategies import triangles
from collapse_jax.theory import ancestry, curation, discrete, gaussian, limits, regression

pytestmark = pytest.mark.slow

LAST = 8
sizes = st.integers(2, 500)
shares = st.floats(0.01, 0.99)
NOTHING_SHARED = 1e12  # a model 0 fitted to so many points starts at G = 0


@lru_cache
def _program(name, last=LAST):
    """The recursion compiled once; its sizes are traced."""
    if name == "ibd_window":
        return jax.jit(lambda m, k: theory.ibd_window(last, m, k), static_argnums=1)
    return jax.jit(lambda *args: getattr(theory, name)(last, *args))


def _ibd(name, *args):
    """G_0 ... G_8 in float64."""
    with jax.enable_x64(True):
        args = [a if name == "window" and i else jnp.asarray(a, float) for i, a in enumerate(args)]
        return np.asarray(_program(f"ibd_{name}")(*args))


def _law(function, *args, **options):
    with jax.enable_x64(True):
        args = [jnp.asarray(a) if isinstance(a, np.ndarray) else a for a in args]
        return np.asarray(function(*args, **options))


TIGHT = {"rtol": 1e-9, "atol": 1e-12}  # float64 through eight steps of order 1


@given(m=sizes, num_real=sizes, r=shares)
def test_p12_limits_nest(m, num_real, r):
    alone = _ibd("replace", num_real, m)
    for name, args in {
        "fresh_fraction": (num_real, m, 0.0),
        "fresh_counts": (num_real, 0.0, m),
        "original_fraction": (num_real, m, 0.0),
        "original_counts": (num_real, m, 0),
        "weight_fresh": (num_real, 0.0, 7, m),
        "weight_original": (num_real, 0.0, m),
    }.items():
        np.testing.assert_allclose(_ibd(name, *args), alone, err_msg=name, **TIGHT)
    np.testing.assert_allclose(_ibd("window", m, 1), _ibd("replace", m, m), **TIGHT)
    np.testing.assert_allclose(_ibd("window", m, LAST + 1), _ibd("accumulate", m, m), **TIGHT)
    for name, args, rest in (
        ("fresh_fraction", (num_real, m, 1.0), 1 / m),
        ("original_fraction", (num_real, m, 1.0), 1 / m),
        ("original_counts", (num_real, m, m), 1 / m),
        ("fresh_counts", (num_real, m, 0), 1 / m),
        ("add_original", (num_real, 0.0), 1 / num_real),
        ("weight_fresh", (num_real, 1.0, 7, m), 1 / 7),
        ("weight_original", (num_real, 1.0, m), 1 / num_real),
    ):
        np.testing.assert_allclose(_ibd(name, *args)[1:], rest, err_msg=name, **TIGHT)
    # a weight in proportion to the counts is a pool of fresh and drawn points
    pooled = _ibd("weight_fresh", num_real, num_real / (num_real + m), num_real, m)
    np.testing.assert_allclose(pooled, _ibd("fresh_counts", num_real, num_real, m), **TIGHT)
    pooled = _ibd("weight_original", num_real, num_real / (num_real + m), m)
    np.testing.assert_allclose(pooled, _ibd("add_original", num_real, m), **TIGHT)
    np.testing.assert_allclose(_law(limits.fresh_fraction_limit, m, 0.0), 1.0, **TIGHT)
    np.testing.assert_allclose(_law(limits.fresh_fraction_limit, m, 1.0), 1 / m, **TIGHT)


def _below(low, high):
    return (np.asarray(low) <= np.asarray(high) * (1 + 1e-9) + 1e-13).all()


@given(m=sizes, width=st.sampled_from([2, 3, 5]))
def test_p13_pools_keep_their_order(m, width):
    """accumulate <= accumulate-subsample, window <= replace, at every generation."""
    pool, alone = _ibd("accumulate", m, m), _ibd("replace", m, m)
    for between in (_ibd("accumulate_subsample", m), _ibd("window", m, width)):
        assert _below(pool, between) and _below(between, alone)
    assert _below(_ibd("window", m, 5), _ibd("window", m, 2))


@given(m=sizes, r=shares, a=shares, num_real=sizes)
def test_p13_identity_never_falls_from_nothing(m, r, a, num_real):
    """And stays a probability. A fixed set of N0 starts at 1/N0, as model 0 is fitted to it."""
    kept = max(1.0, np.floor(a * m))
    runs = [_ibd(name, NOTHING_SHARED, *args) for name, args in {
        "replace": (m,), "fresh_counts": (kept, m), "fresh_fraction": (m, r), "weight_fresh": (r, kept, m),
    }.items()] + [
        _ibd("accumulate", m, m), _ibd("accumulate_subsample", m), _ibd("window", m, 3),
        _ibd("add_original", num_real, m), _ibd("original_counts", m, m, kept),
        _ibd("original_fraction", m, m, r), _ibd("weight_original", num_real, r, m),
    ]  # fmt: skip
    for run in runs:
        assert (np.diff(run) >= -1e-12).all() and run[0] >= 0 and run[-1] <= 1


@given(total=st.integers(4, 500), more=st.integers(1, 50), share=shares)
def test_p13_more_real_data_share_less(total, more, share):
    """At a fixed N; synthetic points beside them help fresh data and hurt a fixed set."""
    few, many = sorted((1 + int(share * (total - 2)), total - 1))
    assert _below(
        _ibd("fresh_counts", total, many, total - many), _ibd("fresh_counts", total, few, total - few)
    )
    assert _below(_ibd("original_counts", total, total, many), _ibd("original_counts", total, total, few))
    drawn = np.array([few, few + more, few + 10 * more])
    assert (np.diff(_law(limits.fresh_counts_limit, total, drawn)) <= 0).all()
    assert (np.diff(_law(limits.add_original_limit, total, drawn)) >= 0).all()


CLASSES = 5
tables = st.lists(st.floats(0.01, 1), min_size=CLASSES, max_size=CLASSES).map(lambda p: np.array(p) / sum(p))
rewards = st.lists(st.floats(-4, 4), min_size=CLASSES, max_size=CLASSES).map(np.array)


@given(p=tables, r=rewards, shift=st.floats(-5, 5))
def test_p14_choice_among_two(p, r, shift):
    """H in (0, 2), mass kept, E e^r up by Var(e^r)/(2 max e^r) at least, order kept, r + const the same."""
    after = _law(curation.luce_pair, p, r)
    gain, worth = after / p, np.exp(r)
    assert after.sum() == pytest.approx(1, abs=1e-12)
    assert (gain > 0).all() and (gain < 2).all() and gain[r.argmax()] >= 1 - 1e-12
    rise = after @ worth - p @ worth
    spread = p @ (worth - p @ worth) ** 2
    assert rise >= spread / (2 * worth.max()) - 1e-9 * worth.max()
    order = np.argsort(r)
    assert (np.diff(gain[order]) >= -1e-12).all()
    np.testing.assert_allclose(_law(curation.luce_pair, p, r + shift), after, rtol=1e-9)


@given(p=tables, r=rewards, shift=st.floats(-5, 5), rounds=st.integers(1, 6))
def test_p14_choice_among_infinitely_many(p, r, shift, rounds):
    runs = np.stack([_law(curation.exponential_tilt, p, r, n) for n in range(rounds + 1)])
    np.testing.assert_allclose(runs.sum(axis=1), 1)
    np.testing.assert_allclose(runs[0], p)
    assert (np.diff(runs @ np.exp(r)) >= -1e-9 * np.exp(r).max()).all()
    assert (np.diff(runs[:, r.argmax()]) >= -1e-12).all()
    np.testing.assert_allclose(_law(curation.exponential_tilt, p, r + shift, rounds), runs[-1], rtol=1e-9)


@given(r=rewards, shift=st.floats(-5, 5))
def test_p14_gain_among_many(r, shift):
    gain = _law(curation.luce_gain, r[0], r[1:])
    assert 0 < gain < CLASSES and _law(curation.luce_gain, r[0] + 0.1, r[1:]) > gain
    assert _law(curation.luce_gain, r[0] + shift, r[1:] + shift) == pytest.approx(gain, rel=1e-9)
    each = [_law(curation.luce_gain, r[k], np.delete(r, k)) for k in range(CLASSES)]
    assert np.sum(each) == pytest.approx(CLASSES)  # one of them is kept


@given(p=tables, r=rewards, amount=st.floats(0.01, 0.95))
def test_p14_real_data_bound_the_choice(p, r, amount):
    """p' = (p_ref + l p H)/(1 + l) stays below p_ref/(1 - l), K = 2, and its divergence below the log."""
    bound, q = float(_law(curation.kept_ratio_bound, amount, 2)), p
    share = amount / (1 + amount)
    for _ in range(20):
        q = (1 - share) * p + share * _law(curation.luce_pair, q, r)
        assert (q / p <= bound * (1 + 1e-9)).all() and q @ np.log(q / p) <= np.log(bound) + 1e-9


def test_p14_the_regime_chooses_as_the_formula():
    """40,000 labels pairs-wise judged: each class's share to 0.02, seen nine times in ten."""
    p, r = jnp.array([0.2, 0.5, 0.3]), jnp.array([1.0, 0.0, -0.7])
    data = CategoricalTruth(p).sample(jax.random.key(0), 80_000)
    for shift in (0.0, 3.0):
        training, _ = curate(lambda x, shift=shift: r[x] + shift, 2, choice="luce").update(
            jax.random.key(1), data, ()
        )
        for label, expected in enumerate(curation.luce_pair(p, r)):
            assert_mean(training.x == label, float(expected), power=0.02)


TRANSFORMS = {
    "top-k 1": top_k(1), "top-k 3": top_k(3), "top-p 0.5": top_p(0.5), "top-p 0.9": top_p(0.9),
    "min-p 0.1": min_p(0.1), "min-p 0.6": min_p(0.6), "hot": temperature(1.7), "cold": temperature(0.6),
}  # fmt: skip
COMPILED = {name: jax.jit(transform) for name, transform in TRANSFORMS.items()}
long_tables = st.lists(st.integers(0, 1000), min_size=12, max_size=12, unique=True).map(
    lambda p: np.array(p, np.float32) / sum(p)  # no ties; some class may be dead
)


@pytest.mark.parametrize("name", TRANSFORMS)
@given(p=long_tables, order=st.permutations(range(12)))
def test_p15_transforms(name, p, order):
    """Mass 1, no class is born, ranks stay, labels mean nothing; top-k and min-p twice are once."""
    once = np.asarray(COMPILED[name](p))
    assert once.sum() == pytest.approx(1, abs=1e-6) and (once[p == 0] == 0).all()
    assert (np.diff(once[np.argsort(p)]) >= 0).all()
    np.testing.assert_allclose(COMPILED[name](p[np.array(order)]), once[np.array(order)], rtol=1e-5)
    if name.startswith(("top-k", "min-p")):
        np.testing.assert_allclose(COMPILED[name](once), once, rtol=1e-6)
    if name in ("hot", "cold"):
        assert ((once > 0) == (p > 0)).all() and (
            np.diff(once[np.argsort(p)][p[np.argsort(p)] > 0]) > 0
        ).all()


@pytest.mark.parametrize(("name", "mass"), [("top-p 0.5", 0.5), ("top-p 0.9", 0.9)])
@given(p=long_tables)
def test_p15_the_nucleus_comes_to_rest(name, mass, p):
    """Where every class left has more than 1 - mass, so fewer than 1/(1 - mass) are."""
    for _ in range(12):
        before, p = p, np.asarray(COMPILED[name](p))
    np.testing.assert_allclose(p, before, rtol=1e-6)
    assert (p > 0).sum() < 1 / (1 - mass) + 1e-6 and p[p > 0].min() > 1 - mass - 1e-5


@given(p=long_tables, one=st.floats(0.5, 2), two=st.floats(0.5, 2))
def test_p15_temperatures_multiply(p, one, two):
    p = jnp.asarray(p)
    twice = temperature(two)(temperature(one)(p))
    np.testing.assert_allclose(twice, temperature(one * two)(p), rtol=2e-4, atol=1e-7)  # float32 powers


@pytest.mark.parametrize("draws", ["points", "statistics"])
def test_p15_a_model_draws_what_its_transform_shows(draws):
    model = {"points": categorical_points, "statistics": categorical}[draws](4, transform=top_k(2))
    for seed in range(5):
        drawn = model.sample(jax.random.key(seed), jnp.asarray([0.1, 0.4, 0.3, 0.2]), 60)
        assert np.flatnonzero(model.fit(jax.random.key(0), jnp.ones(4) / 4, drawn)[0]).tolist() == [1, 2]


@given(odds=st.floats(0.01, 100), phi=shares, psi=shares, n=st.integers(0, 20), m=st.integers(0, 20))
def test_p16_verifiers(odds, phi, psi, n, m):
    """Equal rates change nothing, rounds compose, and the breakdown point is where kept odds are even."""
    assert _law(curation.verifier_odds, odds, phi, phi, n) == pytest.approx(odds)
    both = _law(curation.verifier_odds, _law(curation.verifier_odds, odds, phi, psi, n), phi, psi, m)
    assert both == pytest.approx(_law(curation.verifier_odds, odds, phi, psi, n + m), rel=1e-9)
    wrong = _law(curation.verifier_breakdown, phi, psi)
    assert _law(curation.verifier_odds, (1 - wrong) / wrong, phi, psi, 1) == pytest.approx(1, rel=1e-9)
    assert (_law(curation.verifier_odds, odds, phi, psi, 1) >= odds) == (phi >= psi)


@given(m=st.integers(3, 5000), fits=st.integers(1, 2000), share=st.floats(0.01, 1))
def test_p19_standard_deviations(m, fits, share):
    """Suresh et al.: c4(M) <= e^(-1/(4M-1)), so by Markov P(sigma_n > share) <= e^(-n/(4M-1))/share."""
    bound = float(_law(gaussian.small_std_bound, share, fits, m))
    assert _law(gaussian.std_mean, fits, m, 1) / share <= bound * (1 + 1e-9)
    if fits >= 20:  # the probability is a normal approximation, good to 1/n
        assert _law(gaussian.above_probability, 2 * np.log(share), fits, m, 1) <= bound + 0.01
    assert _law(gaussian.w2_mean, fits, m, 1) >= _law(gaussian.mean_variance, fits, m, 1)  # Gelbrich


@lru_cache
def _survival(m, fits):
    """P(alive), P(not fixed) after n fits, from each share i/M of the truth."""
    with jax.enable_x64(True):
        powers = jnp.linalg.matrix_power(ancestry.transition_matrix(m), fits)
        return np.asarray(1 - powers[:, 0]), np.asarray(1 - powers[:, 0] - powers[:, -1])


_support = jax.jit(discrete.expected_support, static_argnums=(1, 2))


@given(m=st.sampled_from([5, 40]), fits=st.sampled_from([1, 7, 40]), share=shares)
def test_p19_classes(m, fits, share):
    """Suresh et al., Theorem 1 and its corollary; Seddik et al., both sides; k g_k rises from 1 to 2."""
    alive, unfixed = _survival(m, fits)
    p = np.arange(m + 1) / m
    low, high = (_law(bound, p, m, fits) for bound in (lambda *a: discrete.survival_bounds(*a)[0],
                                                       lambda *a: discrete.survival_bounds(*a)[1]))  # fmt: skip
    assert _below(low, alive) and _below(alive[high < 1], high[high < 1])
    low, high = (np.asarray(b) for b in _law(ancestry.both_alive_bounds, p, m, fits))
    assert _below(low, unfixed + 1e-10) and _below(unfixed, high + 1e-10)
    scaled = np.arange(1, 201) * _law(discrete.branching_survival, 200)
    assert (np.diff(scaled) > 0).all() and scaled[0] == 1 and scaled[-1] < 2
    table = np.array([share, (1 - share) * 0.7, (1 - share) * 0.3])
    kept = np.sum(-np.expm1(-m * table * scaled[fits - 1] / fits))
    assert _law(_support, table, fits, m) >= kept - 1e-9


@given(m=sizes)
def test_p19_accumulation_stays_below_pi_squared_over_six(m):
    limit = float(_law(limits.accumulate_limit, m))
    assert _below(_ibd("accumulate", m, m), limit) and limit < np.pi**2 / (6 * m)
    rows = m + 6
    same, fresh = (
        _law(risk, 8, rows, 4) for risk in (regression.accumulate_same_risk, regression.accumulate_fresh_risk)
    )
    base = _law(regression.base_risk, rows, 4)
    assert fresh <= same * (1 + 1e-12) <= base * np.pi**2 / 6 <= _law(regression.replace_risk, 8, rows, 4)


compiled_w2 = jax.jit(gaussian_w2)


@pytest.mark.parametrize("dim", [1, 2, 3])
@given(data=st.data())
def test_p19_gelbrich(dim, data):
    """W2^2 >= |m - m'|^2 + (sqrt tr S - sqrt tr S')^2, equal along a common shape; float32 sums of order 10."""
    one, two = data.draw(triangles(dim)), data.draw(triangles(dim))
    mean = np.float32(data.draw(st.lists(st.floats(-3, 3, width=32), min_size=dim, max_size=dim)))
    zero = np.zeros(dim, np.float32)
    lengths = [float(np.linalg.norm(tril)) for tril in (one, two)]
    least = mean @ mean + (lengths[0] - lengths[1]) ** 2
    assert compiled_w2(mean, one, zero, two) >= least - 1e-4 * (1 + lengths[0] ** 2 + lengths[1] ** 2)
    same = compiled_w2(mean, one, zero, 2 * one)
    assert float(same) == pytest.approx(
        float(mean @ mean) + lengths[0] ** 2, abs=1e-4 * (1 + lengths[0] ** 2)
    )
