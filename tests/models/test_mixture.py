"""The mixture chain against the laws of recursive fitting, and its metrics against plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats
from sklearn.mixture import GaussianMixture as SklearnMixture

from collapse_jax import build_chain, mixture, mixture_metrics, replace, simulate, theory, two_gaussians
from collapse_jax.core.data import Samples, as_samples
from collapse_jax.core.protocol import Metric, Snapshot
from collapse_jax.datasets.synthetic import GaussianMixture
from collapse_jax.models.mixture import MixtureParams, params_from_truth, total_moments
from collapse_jax.numerics import frame as frames
from collapse_jax.numerics.em import Components
from collapse_jax.numerics.mixture_distances import in_data_units
from collapse_jax.testing.laws import assert_mean

NUM_SAMPLES = 100
TRUTH = two_gaussians()
SKEWED = GaussianMixture(
    np.array([0.2, 0.8]),
    np.array([[-3.0, 1.0], [1.0, 0.5]]),
    np.array([[[1.0, 0.6], [0.6, 2.0]], [[0.5, -0.2], [-0.2, 0.3]]]),
)


def _named(truth: GaussianMixture, *names: str) -> tuple[Metric, ...]:
    return tuple(metric for metric in mixture_metrics(truth) if metric.name in names)


LOG_DET = Metric("log_det", (), "nats", lambda key, s: 2 * jnp.sum(s.params.frame.log_scale))
LOCATION = Metric("location", ("axis",), "data units", lambda key, s: s.params.frame.location)


@pytest.fixture(scope="module")
def runs():
    """1,024 seeds for 20 generations and 128 seeds for 2,000, by one compiled program."""
    metrics = (*_named(TRUTH, "log_total_variance"), LOG_DET, LOCATION)
    chain = build_chain(mixture(2), replace(), TRUTH.sampler(NUM_SAMPLES), NUM_SAMPLES, metrics)
    # the same lanes, devices and segment length: nothing is compiled again
    options = {"lanes": 32, "segment_length": 20, "devices": jax.devices()[:4]}
    short = simulate(chain, jax.random.key(0), 1024, 20, **options)
    return short, simulate(chain, jax.random.key(1), 128, 2000, **options)


@pytest.fixture(scope="module")
def first_fit():
    """Two components fitted to 500 skewed points, and the fit's info."""

    @jax.jit
    def run(key):
        key_real, key_init, key_fit = jax.random.split(key, 3)
        real, model = SKEWED.sample(key_real, 500), mixture(2)
        return model.fit(key_fit, model.init(key_init, real), real)

    return run(jax.random.key(1))


def _whitened_pair(num_components: int = 2, log_scale: jax.Array | float = 0.0) -> MixtureParams:
    """`TRUTH` in the frame that whitens it, its second component split; shrunk by e^log_scale."""
    extra = num_components - 1
    weights = jnp.array([0.5] + [0.5 / extra] * extra)
    means = jnp.array([[-2.0, 0.0]] + [[2.0, 0.0]] * extra) / 5**0.5
    tril = jnp.stack([jnp.diag(jnp.array([5**-0.5, 1.0]))] * num_components)
    frame = frames.data_frame(2)
    frame = frame._replace(log_scale=frame.log_scale + jnp.array([0.5 * np.log(5), 0.0]) + log_scale)
    return MixtureParams(Components(weights, means, tril), frame)


def _covariance(params: MixtureParams) -> np.ndarray:
    """The covariance of the whole mixture, data units: the frame's, since it whitens the mixture."""
    frame = jax.tree.map(lambda part: np.asarray(part, np.float64), params.frame)
    axes = frame.unit_tril * np.exp(frame.log_scale)[..., None, :]
    return axes @ np.swapaxes(axes, -1, -2)


def _moments(params: MixtureParams) -> tuple[np.ndarray, np.ndarray]:
    """The same from the components themselves, by plain NumPy in float64."""
    weights, means, tril = (np.asarray(part, np.float64) for part in in_data_units(*params))
    mean = weights @ means
    between = np.einsum("k,ki,kj->ij", weights, means - mean, means - mean)
    return mean, between + np.einsum("k,kij,klj->il", weights, tril, tril)


# --- one generation


@pytest.mark.parametrize("start, max_steps", [("warm", 4), ("kmeans", 3)])
def test_one_generation_keeps_one_minus_one_over_m_of_the_covariance(start, max_steps, first_fit):
    num_samples, num_draws = 20, 40_000
    model = mixture(2, start=start, max_steps=max_steps)
    params, _ = first_fit

    def generation(key):
        key_sample, key_fit = jax.random.split(key)
        return model.fit(key_fit, params, model.sample(key_sample, params, num_samples))[0]

    fitted = jax.jit(jax.vmap(generation))(jax.random.split(jax.random.key(3), num_draws))
    mean, cov = _moments(params)
    shift = np.asarray(fitted.frame.location, np.float64) - mean
    drawn = _covariance(fitted)
    # power: a deviation of 1.2 % is seen; no loss at all would be 5 % off, and so would the unbiased
    # covariance. The ridge adds 2e-6.
    trace, kept = np.trace(cov), 1 - 1 / num_samples
    assert_mean(np.trace(drawn, axis1=1, axis2=2), kept * trace, power=0.012 * trace)
    for i in range(2):
        assert_mean(shift[:, i], 0.0, power=0.01 * trace**0.5)
        for j in range(i + 1):
            assert_mean(drawn[:, i, j], kept * cov[i, j], power=0.012 * trace)
            # the mean takes up what the covariance loses, in every direction
            assert_mean(shift[:, i] * shift[:, j], cov[i, j] / num_samples, power=0.003 * trace)


def test_draws_have_the_moments_of_the_mixture_and_skip_the_dead():
    num = 100_000
    # the dead component's mean would be seen at once
    parts = Components(
        jnp.array([0.2, 0.0, 0.8]),
        jnp.array([[-3.0, 1.0], [1e6, 1e6], [1.0, 0.5]]),
        jnp.stack([jnp.array([[1.0, 0.0], [0.8, 0.5]])] * 3),
    )
    frame = frames.data_frame(2)._replace(
        location=jnp.array([5.0, -1.0]),
        log_scale=jnp.array([1.0, -1.0]),
        unit_tril=jnp.array([[1.0, 0.0], [2.0, 1.0]]),
    )
    params = MixtureParams(parts, frame)
    data = mixture(3).sample(jax.random.key(0), params, num)
    x = np.asarray(frames.to_data_units(data.frame, data.x), np.float64)
    mean, cov = _moments(params)
    centred = x - mean
    products = centred[:, :, None] * centred[:, None, :]
    # power: 5 standard errors are 1.6 % of a standard deviation and about 3 % of a variance
    assert np.all(np.abs(centred.mean(axis=0)) < 5 * np.sqrt(np.diag(cov) / num))
    assert np.all(np.abs(products.mean(axis=0) - cov) < 5 * products.std(axis=0) / np.sqrt(num))


def test_draws_of_many_components_have_the_same_law():
    # above 64 numbers of means, rows are gathered instead of picked by masks
    num_components, num = 40, 100_000
    rng = np.random.default_rng(0)
    parts = Components(
        jnp.asarray(rng.dirichlet(np.ones(num_components)), jnp.float32),
        jnp.asarray(rng.normal(size=(num_components, 2)), jnp.float32),
        jnp.asarray(np.tril(rng.normal(size=(num_components, 2, 2))), jnp.float32),
    )
    params = MixtureParams(parts, frames.data_frame(2))
    x = np.asarray(mixture(num_components).sample(jax.random.key(0), params, num).x, np.float64)
    mean, cov = _moments(params)
    products = (x - mean)[:, :, None] * (x - mean)[:, None, :]
    assert np.all(np.abs(x.mean(axis=0) - mean) < 5 * np.sqrt(np.diag(cov) / num))  # power as above
    assert np.all(np.abs(products.mean(axis=0) - cov) < 5 * products.std(axis=0) / np.sqrt(num))


@pytest.mark.parametrize("start", ["warm", "kmeans"])
def test_moments_in_data_units_are_the_training_sets_generation_after_generation(start, x64):
    model = mixture(3, start=start, ridge_size=0.0, max_steps=5)

    @jax.jit
    def generation(key, params, weight):
        key_sample, key_fit = jax.random.split(key)
        data = model.sample(key_sample, params, 60)._replace(weight=weight)
        return frames.to_data_units(data.frame, data.x), model.fit(key_fit, params, data)[0]

    params, rng = _whitened_pair(3), np.random.default_rng(0)
    for number in range(6):
        weight = rng.integers(0, 3, 60).astype(float)
        x, params = generation(jax.random.key(number), params, jnp.asarray(weight))
        mean = np.average(x, axis=0, weights=weight)
        cov = np.cov(x.T, aweights=weight, ddof=0)
        # float64 sums of 60 terms, then six changes of frame
        np.testing.assert_allclose(params.frame.location, mean, atol=1e-9)
        np.testing.assert_allclose(_covariance(params), cov, atol=1e-9)
        np.testing.assert_allclose(_moments(params)[1], cov, atol=1e-9)


def test_the_frame_whitens_the_whole_mixture(first_fit):
    params, info = first_fit
    mean, cov = total_moments(params.components)
    np.testing.assert_allclose(mean, np.zeros(2), atol=1e-5)  # float32
    np.testing.assert_allclose(cov, np.eye(2), atol=1e-5)
    assert bool(info["converged"]) and int(info["num_alive"]) == 2


def test_what_empty_rows_hold_is_never_read():
    model = mixture(2, max_steps=3)
    x = SKEWED.sample(jax.random.key(0), 50).x
    weight = jnp.ones(50).at[:5].set(0.0)
    fillings = jnp.array([0.0, 1e6, jnp.nan])

    def fit(filling):
        data = Samples(x.at[:5].set(filling), weight)
        return model.fit(jax.random.key(1), model.init(jax.random.key(2), data), data)[0]

    for leaf in jax.tree.leaves(jax.jit(jax.vmap(fit))(fillings)):
        np.testing.assert_array_equal(leaf, np.broadcast_to(leaf[0], leaf.shape))


def test_a_cold_start_ignores_the_previous_params_and_a_warm_start_does_not():
    data = SKEWED.sample(jax.random.key(0), 60)
    starts = [params_from_truth(TRUTH), params_from_truth(SKEWED)]
    for start in ("kmeans", "warm"):
        fit = jax.jit(mixture(2, start=start, max_steps=1).fit)
        weights = [
            np.asarray(fit(jax.random.key(3), params, data)[0].components.weights) for params in starts
        ]
        assert np.array_equal(*weights) == (start == "kmeans")


def test_info_reports_the_log_likelihood_in_data_units(x64):
    params, model = _whitened_pair(log_scale=-3.0), mixture(2, max_steps=1)

    @jax.jit
    def run(key):
        data = model.sample(key, params, 100)
        return frames.to_data_units(data.frame, data.x), model.fit(key, params, data)[1]

    x, info = run(jax.random.key(1))
    density = 0.0
    for weight, mean, tril in zip(*(np.asarray(part) for part in in_data_units(*params))):
        density = density + weight * stats.multivariate_normal(mean, tril @ tril.T).pdf(x)
    # the likelihood under the start, before the only step; float64
    assert float(info["log_likelihood"]) == pytest.approx(np.log(density).mean(), rel=1e-9)


# --- many generations


def test_the_mean_variance_falls_as_one_minus_one_over_m_to_the_n(runs):
    short, _ = runs
    variance = np.exp(short.log_total_variance.values.astype(np.float64))
    location = short.location.values.astype(np.float64)
    for generation in (0, 4, 9, 19):
        share = float(theory.replace_variance(generation + 1, NUM_SAMPLES))
        drawn = variance[:, generation] / TRUTH.total_variance
        # the unbiased covariance would stay at 1, 0.18 off at generation 19
        assert_mean(drawn, share, power=0.09)
        # what the variance loses, the mean's own spread gains (theory, section 7)
        moved = np.sum(location[:, generation] ** 2, axis=-1) / TRUTH.total_variance
        assert_mean(moved, 1 - share, power=0.09)


def test_two_thousand_generations_end_finite_and_collapsed(runs):
    _, long = runs
    assert long.log_total_variance.dtype == np.float32
    assert bool(long.is_finite.all())
    last = long.log_total_variance.values[:, -1]
    assert np.isfinite(last).all()
    # 1e-8 of the truth's 6; the law below puts the median near e^-40
    assert np.median(last) < np.log(1e-8 * TRUTH.total_variance)


def test_the_dead_stay_dead_all_along_the_chain(runs):
    for run in runs:
        alive = run.num_alive.values
        assert np.all(np.diff(alive, axis=1) <= 0) and np.all(alive >= 1)
    assert np.all(runs[1].num_alive.values[:, 500:] == 1)


def test_a_lone_component_loses_log_variance_at_the_known_rate(runs):
    _, long = runs
    log_det = long.log_det.values.astype(np.float64)
    lone = long.num_alive.values[:, :-1] == 1  # the draw came from a single Gaussian
    steps = np.diff(log_det, axis=1)[lone]
    # det S / det C = prod_j chi2_{M-j} / M, j = 1, 2 (theory 1.10 and 1.21, with the MLE covariance)
    halves = (NUM_SAMPLES - np.array([1, 2])) / 2
    drift = np.sum(special.digamma(halves) - np.log(NUM_SAMPLES / 2))
    variance = np.sum(special.polygamma(1, halves))
    assert steps.size > 200_000
    # the drift is -0.0507; the unbiased covariance would drift by -0.0304. The ridge of 1e-6 of the
    # trace adds 4e-6, float32 less.
    assert_mean(steps, drift, power=0.003)
    assert_mean((steps - drift) ** 2, variance, power=0.02 * variance)


def test_the_largest_direction_sets_the_rate_of_the_total_variance(runs):
    _, long = runs
    log_trace = long.log_total_variance.values[:, 1000::1000].astype(np.float64)
    slope = np.diff(log_trace, axis=1)[:, 0] / 1000
    # the first Lyapunov exponent (theory 1.25) once transients are gone
    exponent = special.digamma((NUM_SAMPLES - 1) / 2) - np.log(NUM_SAMPLES / 2)
    # the exponent is -0.0202
    assert_mean(slope, exponent, power=0.003)


def test_an_absolute_ridge_keeps_its_floor():
    num_samples, size, dim = 10, 1e-6, 2
    model = mixture(2, ridge="absolute", ridge_size=size, max_steps=5)
    truth = two_gaussians()
    chain = build_chain(
        model, replace(), truth.sampler(num_samples), num_samples, _named(truth, "log_total_variance")
    )
    run = simulate(chain, jax.random.key(0), 256, 400, lanes=64, segment_length=400)
    assert bool(run.is_finite.all())
    variance = np.exp(run.log_total_variance.values[:, 200:].astype(np.float64))
    # one generation from the floor: E V' = (1 - 1/M) V + dim * size, given V; divided by V, the
    # differences are of bounded variance and uncorrelated. Power: a tenth of the ridge's own share 1/M.
    before, after = variance[:, :-1], variance[:, 1:]
    surprise = after / before - (1 - 1 / num_samples) - dim * size / before
    assert_mean(surprise, 0.0, power=0.1 / num_samples)
    # its fixed point is M * size in each dimension. The stationary law has a heavy tail (the second
    # moment of a step is (M^2 - 1)/M^2 in one dimension), hence 15 %, not a standard error.
    assert variance.mean() / dim == pytest.approx(num_samples * size, rel=0.15)


# --- metrics


def _measure(metrics: tuple[Metric, ...], snapshot: Snapshot) -> dict[str, jax.Array]:
    return {metric.name: metric.function(jax.random.key(0), snapshot) for metric in metrics}


@pytest.fixture(scope="module")
def fitted():
    """A three-component model in a frame of its own, another as origin, held-out points; float64."""
    with jax.enable_x64(True):
        model = mixture(3)

        def first(key):
            real = SKEWED.sample(key, 80)
            return model.fit(key, model.init(key, real), real)[0]

        both = jax.jit(jax.vmap(first))(jax.random.split(jax.random.key(0)))
        states = [jax.tree.map(lambda leaf, i=i: leaf[i], both) for i in range(2)]
        held_out = np.asarray(SKEWED.sample(jax.random.key(9), 50).x)
        zero = jnp.asarray(0)
        data = Samples(jnp.zeros((1, 2)), jnp.ones(1))
        snapshot = Snapshot(zero, states[0], states[1], data, data)
        metrics = mixture_metrics(SKEWED, held_out)
        values = jax.tree.map(np.asarray, jax.jit(lambda s: _measure(metrics, s))(snapshot))
        plain = [Components(*(np.asarray(part) for part in in_data_units(*params))) for params in states]
    return values, plain, held_out, metrics


def _log_l2(p: Components, q: Components) -> float:
    def overlap(a, b):
        return sum(
            v * w * stats.multivariate_normal(m - n, s @ s.T + t @ t.T).pdf(np.zeros(2))
            for v, m, s in zip(*a)
            for w, n, t in zip(*b)
        )

    return float(np.log(overlap(p, p) + overlap(q, q) - 2 * overlap(p, q)))


def _truth() -> Components:
    return Components(SKEWED.weights, SKEWED.means, np.linalg.cholesky(SKEWED.covariances))


# all tolerances below: float64 on both sides, by two formulas


def test_variances_are_the_traces(fitted):
    values, (p, _), _, _ = fitted
    mean = p.weights @ p.means
    within = sum(w * np.trace(t @ t.T) for w, t in zip(p.weights, p.scale_tril))
    between = np.sum(p.weights * np.sum((p.means - mean) ** 2, axis=1))
    assert values["log_within_variance"] == pytest.approx(np.log(within), abs=1e-9)
    assert values["log_total_variance"] == pytest.approx(np.log(within + between), abs=1e-9)


def test_components_are_reported_in_data_units(fitted):
    values, (p, _), _, _ = fitted
    np.testing.assert_allclose(values["weights"], p.weights, rtol=1e-12)
    np.testing.assert_allclose(values["means"], p.means, rtol=1e-12)
    np.testing.assert_allclose(
        values["covariances"], p.scale_tril @ np.swapaxes(p.scale_tril, 1, 2), rtol=1e-9
    )


def test_l2_distances_are_those_to_truth_and_to_model_0(fitted):
    values, (p, origin), _, _ = fitted
    assert values["log_l2_truth"] == pytest.approx(_log_l2(p, _truth()), abs=1e-8)
    assert values["log_l2_origin"] == pytest.approx(_log_l2(p, origin), abs=1e-8)


def test_w2_and_mean_error_are_between_total_moments(fitted):
    values, (p, _), _, _ = fitted
    mean = p.weights @ p.means
    cov = np.einsum("k,kij,klj->il", p.weights, p.scale_tril, p.scale_tril)
    cov = cov + np.einsum("k,ki,kj->ij", p.weights, p.means - mean, p.means - mean)
    # tr (S^1/2 S' S^1/2)^1/2 is the sum of the roots of the eigenvalues of S S'
    roots = np.sqrt(np.linalg.eigvals(cov @ SKEWED.covariance).real).sum()
    squared = np.sum((mean - SKEWED.mean) ** 2)
    expected = squared + np.trace(cov) + SKEWED.total_variance - 2 * roots
    assert values["w2_truth"] == pytest.approx(expected, abs=1e-9)
    assert values["mean_error"] == pytest.approx(np.sqrt(squared), abs=1e-9)


def test_held_out_nll_is_the_mean_surprise(fitted):
    values, (p, _), held_out, _ = fitted
    density = sum(w * stats.multivariate_normal(m, t @ t.T).pdf(held_out) for w, m, t in zip(*p))
    assert values["held_out_nll"] == pytest.approx(-np.log(density).mean(), abs=1e-9)


def test_metrics_have_the_dims_they_declare(fitted):
    values, _, _, metrics = fitted
    sizes = {"component": 3, "axis": 2, "axis_2": 2}
    for metric in metrics:
        assert values[metric.name].shape == tuple(sizes[dim] for dim in metric.dims)
        assert metric.unit


def test_nll_is_asked_for_by_giving_points():
    assert "held_out_nll" not in {metric.name for metric in mixture_metrics(TRUTH)}


def test_metrics_of_a_collapsed_model_are_never_nan():
    data = Samples(jnp.zeros((1, 2)), jnp.ones(1))
    held_out = TRUTH.sample(jax.random.key(0), 100).x
    metrics = mixture_metrics(TRUTH, held_out)
    log_scales = jnp.array([-30.0, -200.0])

    def run(log_scale):
        collapsed = _whitened_pair(log_scale=log_scale)
        return _measure(metrics, Snapshot(jnp.asarray(0), collapsed, params_from_truth(TRUTH), data, data))

    values = jax.tree.map(np.asarray, jax.jit(jax.vmap(run))(log_scales))
    # logs of hundreds in float32
    np.testing.assert_allclose(values["log_total_variance"], np.log(6) + 2 * log_scales, rtol=1e-6)
    np.testing.assert_allclose(values["log_within_variance"], np.log(2) + 2 * log_scales, rtol=1e-6)
    # integral of the truth's own square, shrunk: two unit Gaussians at a distance of 4
    own = np.log((1 + np.exp(-4)) / (8 * np.pi)) - 2 * log_scales
    for name in ("log_l2_truth", "log_l2_origin"):
        np.testing.assert_allclose(values[name], own, rtol=1e-6)
    # all that is left of the distance is the truth's own variance, for its mean is right
    np.testing.assert_allclose(values["w2_truth"], TRUTH.total_variance, rtol=1e-5)
    nll = values.pop("held_out_nll")
    assert 1e20 < nll[0] < np.inf and nll[1] == np.inf  # infinite where the square overflows, never NaN
    assert all(np.isfinite(value).all() for value in values.values())


# --- defaults


def _started(num_components: int = 3, dim: int = 2):
    """400 rows of overlapping clusters, and a start that fits none of them."""
    rng = np.random.default_rng(5)
    centres = 2 * rng.normal(size=(num_components, dim))
    x = centres[rng.integers(num_components, size=400)] + rng.normal(size=(400, dim))
    start = (np.array([0.2, 0.3, 0.5]), x[:num_components], np.stack([np.eye(dim)] * num_components))
    return x, start, MixtureParams(Components(*map(jnp.asarray, start)), frames.data_frame(dim))


def test_the_defaults_are_scikit_learns(x64):
    """Tolerance, cap and absolute ridge: the same number of steps to the same mixture, in float64."""
    x, (weights, means, _), start = _started()
    reference = SklearnMixture(
        3, weights_init=weights, means_init=means, precisions_init=np.stack([np.eye(2)] * 3)
    ).fit(x)
    data = as_samples(x)
    model = mixture(3, ridge="absolute")
    params, info = jax.jit(model.fit)(jax.random.key(0), start, data)
    assert int(info["em_steps"]) == reference.n_iter_ and 5 < reference.n_iter_ < 100 and bool(info["converged"])
    got = in_data_units(*params)
    np.testing.assert_allclose(got.weights, reference.weights_, atol=1e-9)
    np.testing.assert_allclose(got.means, reference.means_, atol=1e-9)
    np.testing.assert_allclose(got.scale_tril @ got.scale_tril.mT, reference.covariances_, atol=1e-9)
    capped = jax.jit(mixture(3, ridge="absolute", tol=1e-15).fit)(jax.random.key(0), start, data)[1]
    assert int(capped["em_steps"]) == 100 and not bool(capped["converged"])


def test_a_fit_starts_where_the_last_one_ended_unless_told_otherwise():
    """One step from another start is another mixture: the default is a warm start."""
    x, _, start = _started()
    data, start = as_samples(x), jax.tree.map(jnp.float32, start)
    told = [
        float(jax.jit(mixture(3, max_steps=1, **options).fit)(jax.random.key(0), start, data)[1]["log_likelihood"])
        for options in ({}, {"start": "warm"}, {"start": "kmeans"})
    ]
    assert told[0] == told[1] != told[2]


def test_the_relative_ridge_is_a_millionth_of_the_trace_and_the_absolute_one_of_a_unit(x64):
    x = np.random.default_rng(2).normal(size=(50, 2)) @ np.diag([3.0, 0.1])
    cov = np.cov(x.T, ddof=0)
    start = MixtureParams(Components(jnp.ones(1), jnp.zeros((1, 2)), jnp.eye(2)[None]), frames.data_frame(2))
    for ridge, size in (("relative", np.trace(cov)), ("absolute", 1.0)):
        model, data = mixture(1, ridge=ridge), as_samples(x)
        params, _ = jax.jit(model.fit)(jax.random.key(0), start, data)
        np.testing.assert_allclose((_covariance(params) - cov) * 1e6, size * np.eye(2), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("ridge", ["relative", "absolute"])
def test_a_component_needs_two_points_more_than_dimensions(dim, ridge):
    """A far cluster of d + 1 and of d + 2 points beside one of 40: at the k-means start, and in EM.

    Under an absolute ridge a single point is enough.
    """
    model = mixture(2, ridge=ridge, max_steps=1)
    far = np.random.default_rng(0).normal(size=(40 + dim + 2, dim)).astype(np.float32)
    far[40:] += 100.0
    centres = np.stack([np.zeros(dim), np.full(dim, 100.0)])
    parts = Components(jnp.array([0.9, 0.1]), jnp.asarray(centres, jnp.float32), jnp.stack([jnp.eye(dim)] * 2))
    start = MixtureParams(parts, frames.data_frame(dim))

    def alive(count):
        data = Samples(jnp.asarray(far), (jnp.arange(len(far)) < 40 + count).astype(jnp.float32))
        begun = model.init(jax.random.key(3), data).components.weights > 0
        return jnp.sum(begun), model.fit(jax.random.key(1), start, data)[1]["num_alive"]

    begun, ended = jax.jit(jax.vmap(alive))(jnp.array([1 if ridge == "absolute" else dim + 1, dim + 2]))
    assert begun.tolist() == ended.tolist() == ([2, 2] if ridge == "absolute" else [1, 2])


# --- refusals


@pytest.mark.parametrize(
    "options, words",
    [
        ({"num_components": 0}, "`num_components` must be at least 1"),
        ({"num_components": 2, "start": "wram"}, "did you mean 'warm'"),
        ({"num_components": 2, "ridge": "relativ"}, "did you mean 'relative'"),
        ({"num_components": 2, "tol": 0.0}, "`tol` must be positive"),
        ({"num_components": 2, "max_steps": 0}, "`max_steps` must be at least 1"),
        ({"num_components": 2, "ridge_size": -1e-6}, "`ridge_size` must not be negative"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        mixture(**options)


def test_too_few_points_and_rows_that_are_no_vectors_are_refused():
    with pytest.raises(ValueError, match="5 components need at least as many points, got 3"):
        build_chain(mixture(5), replace(), as_samples(jnp.zeros((3, 2))), 100)
    with pytest.raises(ValueError, match=r"fitted to points, a row of coordinates each, got rows of shape \(10,\)"):
        build_chain(mixture(2), replace(), as_samples(jnp.arange(10.0)), 100)
