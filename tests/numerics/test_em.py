"""EM: moments kept to rounding, likelihood never lowered, deaths, and scikit-learn's numbers."""

import warnings
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats
from sklearn.mixture import GaussianMixture

from collapse_jax.numerics.em import Components, component_log_probs, em, log_prob, m_step, relative_ridge

SEEDS = st.integers(0, 2**31 - 1)
SHAPES = ((40, 1, 2), (60, 2, 3), (80, 8, 2))  # rows, dim, components; dim 8 takes the LAPACK path


@lru_cache
def _runner(max_steps: int, min_count: float, ridge: float, tol: float = 1e-9):
    """One compiled EM per configuration; shapes compile again."""
    alike = relative_ridge(ridge, jnp.ones(1), jnp.zeros(1))
    options = {"tol": tol, "max_steps": max_steps, "min_count": min_count, "ridge": alike}
    return jax.jit(lambda start, x, weight: em(start, x, weight, **options))


def _problem(seed: int, num: int, dim: int, num_components: int, spread: float = 2.0, dtype=np.float64):
    """Rows around random centres, a third of weight 0, and a start that fits none of them."""
    rng = np.random.default_rng(seed)
    centres = spread * rng.normal(size=(num_components, dim))
    x = centres[rng.integers(num_components, size=num)] + rng.normal(size=(num, dim))
    weight = rng.choice([0.0, 1.0, 2.0], num)
    weights = rng.dirichlet(np.full(num_components, 2.0))
    means = x[rng.choice(num, num_components, replace=False)] + 0.1 * rng.normal(size=(num_components, dim))
    factors = np.tril(0.3 * rng.normal(size=(num_components, dim, dim)), -1) + np.eye(dim)
    start = Components(*(jnp.asarray(part, dtype) for part in (weights, means, factors)))
    return start, jnp.asarray(x, dtype), jnp.asarray(weight, dtype)


def _sample_moments(x, weight) -> tuple[np.ndarray, np.ndarray]:
    x, weight = np.asarray(x, np.float64), np.asarray(weight, np.float64)
    mean = np.average(x, axis=0, weights=weight)
    return mean, np.einsum("n,ni,nj->ij", weight, x - mean, x - mean) / weight.sum()


def _mixture_moments(components: Components) -> tuple[np.ndarray, np.ndarray]:
    weights, means, tril = (np.asarray(part, np.float64) for part in components)
    mean = weights @ means
    between = np.einsum("k,ki,kj->ij", weights, means - mean, means - mean)
    return mean, between + np.einsum("k,kij,klj->il", weights, tril, tril)


# --- moments


@pytest.mark.parametrize("num, dim, num_components", SHAPES)
@pytest.mark.parametrize("max_steps", [1, 7])
@given(seed=SEEDS, spread=st.sampled_from([0.0, 2.0, 20.0]))
def test_moments_are_the_samples_after_any_number_of_steps(num, dim, num_components, max_steps, seed, spread):
    with jax.enable_x64(True):
        start, x, weight = _problem(seed, num, dim, num_components, spread)
        # dim + 2 is the default count under which a component dies: with weights up to 2 as few as half as many
        # points make it up, too few for a regular covariance without a ridge, so here the count is twice that
        result = _runner(max_steps, 2 * (dim + 2.0), 0.0)(start, x, weight)
        mean, cov = _sample_moments(x, weight)
        got_mean, got_cov = _mixture_moments(result.components)
    scale = np.trace(cov)
    # float64 sums of at most 80 terms: 80 * 1e-16 of the total variance, with room for products
    np.testing.assert_allclose(got_mean, mean, atol=1e-9 * np.sqrt(scale))
    np.testing.assert_allclose(got_cov, cov, atol=1e-9 * scale)


@pytest.mark.parametrize("max_steps", [1, 7])
@given(seed=SEEDS)
def test_moments_are_the_samples_also_when_components_die(max_steps, seed):
    with jax.enable_x64(True):
        start, x, weight = _problem(seed, 60, 2, 3)
        # a third of the total weight and more: of three components one at least must die
        floor = 30.0
        result = _runner(max_steps, floor, 0.0)(start, x, weight)
        mean, cov = _sample_moments(x, weight)
        got_mean, got_cov = _mixture_moments(result.components)
        assert int(jnp.sum(result.components.weights > 0)) < 3
    np.testing.assert_allclose(got_mean, mean, atol=1e-9 * np.sqrt(np.trace(cov)))  # as above
    np.testing.assert_allclose(got_cov, cov, atol=1e-9 * np.trace(cov))


@given(seed=SEEDS)
def test_moments_hold_in_float32_up_to_the_ridge(seed):
    start, x, weight = _problem(seed, 60, 2, 3, dtype=np.float32)
    result = _runner(7, 4.0, 1e-6)(start, x, weight)
    mean, cov = _sample_moments(x, weight)
    got_mean, got_cov = _mixture_moments(result.components)
    scale = np.trace(cov)
    # the ridge adds at most 1e-6 of the trace to the diagonal; float32 sums of 60 terms lose a few
    # units of 1.2e-7, squared means of size up to (spread / std)^2 some more: 1e-5 in all
    np.testing.assert_allclose(got_mean, mean, atol=1e-5 * np.sqrt(scale))
    np.testing.assert_allclose(got_cov, cov, atol=1e-5 * scale)


def test_the_relative_ridge_is_all_that_is_added(x64):
    size = 1e-3
    start, x, weight = _problem(5, 60, 2, 3)
    components = _runner(3, 0.0, size)(start, x, weight).components
    mean, cov = _sample_moments(x, weight)
    got_mean, got_cov = _mixture_moments(components)
    # a component's trace grew by the factor 1 + dim * size, so that its own ridge can be taken off again
    traces = np.einsum("kij,kij->k", components.scale_tril, components.scale_tril) / (1 + 2 * size)
    ridge = size * np.sum(np.asarray(components.weights) * traces) * np.eye(2)
    np.testing.assert_allclose(got_mean, mean, atol=1e-9)
    np.testing.assert_allclose(got_cov - ridge, cov, atol=1e-9 * np.trace(cov))
    assert np.trace(ridge) > 1e-4 * np.trace(cov)


def test_a_step_from_hard_labels_gives_each_clusters_moments(x64):
    _, x, weight = _problem(6, 60, 2, 3)
    labels = np.arange(60) % 3
    no_ridge = relative_ridge(0.0, jnp.ones(1), jnp.zeros(1))
    components = m_step(jnp.asarray(labels == np.arange(3)[:, None], float), x, weight, no_ridge)
    for k in range(3):
        mean, cov = _sample_moments(x[labels == k], weight[labels == k])
        np.testing.assert_allclose(components.means[k], mean, atol=1e-12)  # rounding of 20 terms
        np.testing.assert_allclose(components.scale_tril[k] @ components.scale_tril[k].T, cov, atol=1e-12)
        share = float(weight[labels == k].sum() / weight.sum())
        assert float(components.weights[k]) == pytest.approx(share, rel=1e-12)


# --- likelihood


@pytest.mark.parametrize("dim", [1, 2, 8])
def test_log_probs_are_scipys(dim, x64):
    start, x, _ = _problem(1, 20, dim, 3)
    weights, means, tril = (np.asarray(part) for part in start)
    expected = [
        np.log(w) + stats.multivariate_normal(m, t @ t.T).logpdf(x) for w, m, t in zip(weights, means, tril)
    ]
    np.testing.assert_allclose(component_log_probs(start, x), expected, rtol=1e-10)  # two float64 formulas
    np.testing.assert_allclose(log_prob(start, x), special.logsumexp(expected, axis=0), rtol=1e-10)


def test_a_dead_component_has_no_density():
    start, x, _ = _problem(1, 20, 2, 2, dtype=np.float32)
    dead = start._replace(weights=jnp.asarray([0.0, 1.0]))
    alone = Components(*(part[1:] for part in dead))
    assert bool(jnp.all(component_log_probs(dead, x)[0] == -jnp.inf))
    np.testing.assert_allclose(log_prob(dead, x), log_prob(alone, x), rtol=1e-6)  # float32, same terms


@given(seed=SEEDS)
def test_em_never_lowers_the_likelihood(seed):
    with jax.enable_x64(True):
        components, x, weight = _problem(seed, 60, 2, 3)
        step, likelihoods = _runner(1, 0.0, 0.0), []
        for _ in range(12):
            result = step(components, x, weight)
            components = result.components
            if not float(jnp.min(jnp.diagonal(components.scale_tril, axis1=1, axis2=2))) > 1e-4:
                break  # a component shrinks onto too few points: the likelihood has no maximum
            likelihoods.append(float(result.log_likelihood))
    assert len(likelihoods) >= 3
    assert np.all(np.diff(likelihoods) >= -1e-10)  # rounding: values of order 10, float64


def test_the_reported_likelihood_is_that_before_the_last_step(x64):
    start, x, weight = _problem(3, 60, 2, 3)
    result = _runner(1, 0.0, 0.0)(start, x, weight)
    expected = np.average(log_prob(start, x), weights=np.asarray(weight))
    assert float(result.log_likelihood) == pytest.approx(expected, rel=1e-12)  # float64


# --- stopping


def test_em_stops_at_the_tolerance_or_at_the_cap(x64):
    start, x, weight = _problem(3, 60, 2, 3)
    long = _runner(500, 4.0, 1e-6, tol=1e-4)(start, x, weight)
    assert bool(long.converged) and 1 < int(long.num_steps) < 500
    short = _runner(2, 4.0, 1e-6, tol=1e-12)(start, x, weight)
    assert not bool(short.converged) and int(short.num_steps) == 2


def test_a_lane_that_turns_nan_stops():
    start, x, weight = _problem(3, 60, 2, 3, dtype=np.float32)
    result = _runner(500, 4.0, 1e-6)(start, x.at[0].set(jnp.nan), jnp.ones_like(weight))
    assert int(result.num_steps) == 1 and not bool(result.converged)


# --- deaths


@given(seed=SEEDS)
def test_the_dead_stay_dead_and_the_largest_lives(seed):
    start, x, weight = _problem(seed, 60, 2, 3, dtype=np.float32)
    killed = _runner(1, 25.0, 1e-6)(start, x, weight).components
    dead = np.asarray(killed.weights) == 0
    # a warm start of many more steps, with nothing that could kill
    later = _runner(7, 0.0, 1e-6)(killed, x, weight).components
    assert np.all(np.asarray(later.weights)[dead] == 0)
    assert all(np.isfinite(part).all() for part in map(np.asarray, later))
    # nobody reaches this count, so that all but the largest die
    log_joint = component_log_probs(start, x)
    counts = np.sum(np.asarray(jax.nn.softmax(log_joint, axis=0)) * np.asarray(weight), axis=1)
    last = _runner(1, 1e9, 1e-6)(start, x, weight).components
    np.testing.assert_allclose(last.weights, np.arange(3) == counts.argmax(), atol=1e-6)  # c / c, rounded
    assert int(jnp.sum(last.weights > 0)) == 1
    mean, cov = _sample_moments(x, weight)
    np.testing.assert_allclose(
        last.means[counts.argmax()], mean, atol=1e-5 * np.sqrt(np.trace(cov))
    )  # float32


def test_a_component_dies_exactly_below_its_count(x64):
    # hard labels by distance: 10 points at 0, 40 at 1000
    x = jnp.concatenate([jnp.linspace(-1, 1, 10), 1000 + jnp.linspace(-1, 1, 40)])[:, None]
    start = Components(jnp.array([0.5, 0.5]), jnp.array([[0.0], [1000.0]]), jnp.ones((2, 1, 1)))
    at, above = (_runner(1, count, 1e-6)(start, x, jnp.ones(50)).components for count in (10.0, 10.5))
    np.testing.assert_allclose(at.weights, [0.2, 0.8], rtol=1e-12)  # exact counts
    np.testing.assert_array_equal(above.weights, [0.0, 1.0])


def test_points_of_the_dead_beyond_float_range_go_to_the_nearest_living():
    # the three points at (1e3, 0) have density 0 under both living components, in float32
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(100, 2)) + np.array(centre) for centre in ([-50, 0], [50, 0])])
    x = jnp.asarray(np.concatenate([x, rng.normal(size=(3, 2)) + np.array([1000, 0])]), jnp.float32)
    means = jnp.array([[-50.0, 0.0], [50.0, 0.0], [1000.0, 0.0]])
    start = Components(jnp.full(3, 1 / 3), means, jnp.broadcast_to(jnp.eye(2), (3, 2, 2)))
    result = _runner(1, 5.0, 1e-6)(start, x, jnp.ones(203)).components
    np.testing.assert_allclose(result.weights, [100 / 203, 103 / 203, 0], rtol=1e-6)  # float32 counts
    mean, cov = _sample_moments(x, np.ones(203))
    got_mean, got_cov = _mixture_moments(result)
    # float32 sums of terms up to 1e3 and 1e6
    np.testing.assert_allclose(got_mean, mean, atol=1e-5 * np.sqrt(np.trace(cov)))
    np.testing.assert_allclose(got_cov, cov, atol=1e-5 * np.trace(cov))


# --- the reference implementation


@pytest.mark.parametrize("dim", [4, 8])
@pytest.mark.parametrize("tol", [1e-3, 1e-5])
def test_em_is_scikit_learns_from_the_same_start(dim, tol, x64):
    start, x, _ = _problem(dim, 400, dim, 3, spread=0.7)
    weights, means, tril = (np.asarray(part) for part in start)
    precisions = np.linalg.inv(tril @ np.swapaxes(tril, 1, 2))
    reference = GaussianMixture(
        3,
        tol=tol,
        reg_covar=1e-3,
        max_iter=1000,
        weights_init=weights,
        means_init=means,
        precisions_init=precisions,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it must converge
        reference.fit(np.asarray(x))
    result = em(
        start, x, jnp.ones(400), tol=tol, max_steps=1000, min_count=0.0, ridge=lambda cov: 1e-3 * jnp.eye(dim)
    )
    assert int(result.num_steps) == reference.n_iter_ > 5
    got = result.components
    # the same steps in float64; 1e-6 leaves room for LAPACK's order of sums over some 100 steps
    np.testing.assert_allclose(got.weights, reference.weights_, atol=1e-6)
    np.testing.assert_allclose(got.means, reference.means_, atol=1e-6)
    np.testing.assert_allclose(got.scale_tril @ got.scale_tril.mT, reference.covariances_, atol=1e-6)
