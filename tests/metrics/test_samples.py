"""Comparisons of samples: against scikit-learn and SciPy, on sets whose answer is known, and in chains' snapshots."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from collapse_jax.core.chain import build_chain
from collapse_jax.core.data import Samples
from collapse_jax.core.protocol import Snapshot
from collapse_jax.core.regimes import replace
from collapse_jax.core.statistics import Moments
from collapse_jax.core.streams import Stream
from collapse_jax.datasets.planes import eight_gaussians
from collapse_jax.drivers.simulate import simulate
from collapse_jax.metrics.sample_records import drawn_points, mode_shares, sample_metrics
from collapse_jax.metrics.samples import (
    component_variances,
    copies,
    density_and_coverage,
    frechet,
    own_floor,
    precision_and_recall,
    principal_axes,
    sliced_w2,
    w2,
)
from collapse_jax.models.gaussian import gaussian
from collapse_jax.models.kde import bootstrap
from collapse_jax.numerics import frame as frames

KEY = jax.random.key(0)
# each compiled once for each of few shapes
COMPARISONS = {
    name: jax.jit(function)
    for name, function in {
        "frechet": frechet,
        "precision": lambda one, other: precision_and_recall(one, other, 5)[0],
        "recall": lambda one, other: precision_and_recall(one, other, 5)[1],
        "density": lambda one, other: density_and_coverage(one, other)[0],
        "coverage": lambda one, other: density_and_coverage(one, other)[1],
        "copies": copies,
        "sliced_w2": lambda one, other: sliced_w2(KEY, one, other, 16),
    }.items()
}


def _cloud(seed, num=60, dim=2, shift=0.0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(num, dim)) + shift, jnp.float32)


def _snapshot(synthetic, training=None):
    return Snapshot(jnp.asarray(0), (), (), synthetic, synthetic if training is None else training)


def _samples(rows, weight=None, frame=None):
    return Samples(rows, jnp.ones(len(rows)) if weight is None else jnp.asarray(weight), frame)


def test_precision_and_recall_are_scikit_learns_neighbours():
    """Every point's reach is its third neighbour in its own set; no tie decides between two random sets."""
    rng = np.random.default_rng(5)
    real, made = rng.normal(size=(90, 2)), 0.6 * rng.normal(size=(70, 2)) + 1.0

    def covered(centres, points, k):
        distance, _ = NearestNeighbors(n_neighbors=k + 1).fit(centres).kneighbors(centres)
        gaps = np.linalg.norm(centres[:, None] - points, axis=-1)
        return (gaps <= distance[:, -1:]).any(axis=0).mean()

    found = precision_and_recall(jnp.asarray(real, jnp.float32), jnp.asarray(made, jnp.float32))
    np.testing.assert_allclose(found, [covered(real, made, 3), covered(made, real, 3)], rtol=1e-6)
    assert len({covered(real, made, k) for k in (2, 3, 4)}) == 3  # the number of neighbours matters here


@pytest.mark.parametrize("dim", [2, 5, 8])
def test_the_frechet_distance_is_its_formula(dim, x64):
    rng = np.random.default_rng(dim)
    one = rng.normal(size=(60, dim)) @ rng.normal(size=(dim, dim))
    other = rng.normal(size=(50, dim)) + 1
    covariances = np.cov(one.T), np.cov(other.T)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = ((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(
        covariances[0] + covariances[1] - 2 * root
    )
    assert float(COMPARISONS["frechet"](jnp.asarray(one), jnp.asarray(other))) == pytest.approx(expected, rel=1e-6)


def test_a_set_is_at_distance_0_of_itself_and_a_point_allows_no_failure(x64):
    rows = jax.random.normal(KEY, (40, 6))
    assert float(COMPARISONS["frechet"](rows, rows)) == pytest.approx(0, abs=1e-9)
    point = jnp.ones((40, 6))
    centred = rows - rows.mean(axis=0)
    expected = ((rows.mean(axis=0) - 1) ** 2).sum() + (centred**2).sum() / 39
    assert float(COMPARISONS["frechet"](rows, point)) == pytest.approx(float(expected), rel=1e-9)


def test_precision_and_recall_of_half_a_set():
    """Made points cover one of two far clusters, real ones both: precise, half recalled; and the reverse."""
    key_one, key_two, key_three = jax.random.split(KEY, 3)
    near, far = jax.random.normal(key_one, (100, 3)), 100 + jax.random.normal(key_two, (100, 3))
    real, made = jnp.concatenate([near, far]), jax.random.normal(key_three, (100, 3))
    both = jax.jit(precision_and_recall)
    precision, recall = both(real, made)
    assert float(precision) > 0.9 and float(recall) == pytest.approx(0.5, abs=0.06)
    swapped = both(made, real)
    assert float(swapped[0]) == float(recall) and float(swapped[1]) == float(precision)


def test_the_frechet_distance_of_many_columns_is_its_formula(x64):
    """Beyond 64 columns, with fewer rows than columns: its trace is found by another way, to 1e-6 of the spread."""
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=(50, 70)) * np.geomspace(1, 1e-3, 70), rng.normal(size=(60, 70)) + 0.1
    covariances = np.cov(one.T), np.cov(other.T)
    roots = np.sqrt(np.maximum(np.linalg.eigvals(covariances[0] @ covariances[1]).real, 0)).sum()
    expected = ((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1]) - 2 * roots
    found = float(COMPARISONS["frechet"](jnp.asarray(one), jnp.asarray(other)))
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("dim", [2, 40])
def test_density_and_coverage_are_scikit_learns_neighbours(dim):
    rng = np.random.default_rng(dim)
    real, drawn = rng.normal(size=(60, dim)), {2: 0.3, 40: 0.8}[dim] * rng.normal(size=(60, dim)) + 0.3
    reach = NearestNeighbors(n_neighbors=6).fit(real).kneighbors(real)[0][:, -1]
    inside = cdist(real, drawn) <= reach[:, None]
    for name, expected in (("density", inside.sum() / (5 * 60)), ("coverage", inside.any(axis=1).mean())):
        found = COMPARISONS[name](jnp.asarray(real, jnp.float32), jnp.asarray(drawn, jnp.float32))
        assert float(found) == pytest.approx(expected, rel=1e-6) and expected not in (0, 1)


def test_coverage_of_the_same_law_is_what_counting_says():
    """1 - C(2N - k - 1, N) / C(2N - 1, N): each of the k nearest of 2N - 1 others is real. Naeem et al. (2020).

    Over 200 pairs of 60 points; the standard error of the mean is 0.002, so a k off by one (0.015) is seen.
    """
    keys = jax.random.split(KEY, (200, 2))
    one, other = (jax.vmap(lambda key: jax.random.normal(key, (60, 2)))(keys[:, side]) for side in (0, 1))
    density, coverage = jax.jit(jax.vmap(density_and_coverage))(one, other)
    chance = np.prod([(60 - i) / (120 - i) for i in range(1, 6)])
    assert abs(coverage.mean() - (1 - chance)) < 5 * coverage.std() / np.sqrt(200) < 0.015
    assert abs(density.mean() - 1) < 5 * density.std() / np.sqrt(200) < 0.1


@pytest.mark.parametrize("dim", [2, 40])
def test_identical_samples_agree_and_far_ones_share_nothing(dim):
    """In differences (2 columns) and in products (40), whose rounding must decide nothing."""
    rows = _cloud(2, dim=dim)
    same = {name: float(f(rows, rows)) for name, f in COMPARISONS.items()}
    far = {name: float(f(rows, rows[::-1] + 100)) for name, f in COMPARISONS.items()}
    for name in ("precision", "recall", "coverage", "copies"):
        assert (same[name], far[name]) == (1, 0), name
    assert same["density"] >= 1 and far["density"] == 0
    assert same["frechet"] < 1e-4 * dim and same["sliced_w2"] == 0
    assert far["frechet"] == pytest.approx(100**2 * dim, rel=1e-3)


@pytest.mark.parametrize("dim", [2, 40])
def test_points_that_stand_for_all_reach_themselves_alone(dim):
    """Two of them, thirty times each: their reach is 0, and what products of 40 columns round must be allowed for."""
    rows = jnp.concatenate([jnp.full((30, dim), 0.1), jnp.full((30, dim), 3.3)])
    for name in ("precision", "recall", "coverage"):
        assert [float(COMPARISONS[name](rows, other)) for other in (rows, rows + 0.01)] == [1, 0], name


def test_copies_are_told_from_neighbours_by_scikit_learn():
    training, noise = np.random.default_rng(3).normal(size=(2, 60, 2))
    share = jax.jit(copies)
    for spread, ratio in ((0.03, 0.2), (0.1, 1 / 3), (0.1, 0.6)):
        drawn = training + spread * noise
        near = NearestNeighbors(n_neighbors=2).fit(training).kneighbors(drawn)[0]
        expected = (near[:, 0] < ratio * near[:, 1]).mean()
        assert 0.1 < expected < 0.9
        found = share(jnp.asarray(training, jnp.float32), jnp.asarray(drawn, jnp.float32), ratio)
        assert float(found) == pytest.approx(expected)


@pytest.mark.parametrize("dim", [1, 2])
def test_points_of_the_same_law_are_copies_as_often_as_chance_has_it(dim):
    """ratio^dim in an even cloud: the second nearest point's ball holds the nearest one evenly.

    4,000 points in the middle of the cloud: the standard error is below 0.011, and 1/3 to another power is seen.
    """
    key_training, key_drawn = jax.random.split(jax.random.fold_in(KEY, dim))
    training = jax.random.uniform(key_training, (4000, dim))
    drawn = jax.random.uniform(key_drawn, (4000, dim), minval=0.2, maxval=0.8)
    chance = (1 / 3) ** dim
    found = float(jax.jit(copies)(training, drawn))
    assert abs(found - chance) < 5 * np.sqrt(2 * chance / 4000)  # neighbours in common: twice the variance


@pytest.mark.parametrize("dim", [2, 40])
def test_training_points_that_occur_twice_count_once(dim):
    share, rows = COMPARISONS["copies"], _cloud(4, dim=dim)
    drawn = jnp.concatenate([rows[:20], _cloud(5, num=40, dim=dim, shift=50.0)])
    assert float(share(rows, drawn)) == float(share(jnp.tile(rows[:20], (3, 1)), drawn)) == pytest.approx(1 / 3)
    ones = jnp.ones((20, dim))
    assert float(share(jnp.concatenate([0 * ones, -0.0 * ones, ones]), jnp.zeros((60, dim)))) == 1
    assert float(share(jnp.zeros((60, dim)), drawn)) == 1  # there is no second kind


def test_principal_axes_and_variances_are_scikit_learns(x64):
    rng = np.random.default_rng(6)
    for num in (60, 8):  # more rows than columns, and fewer
        rows, others = rng.normal(size=(2, num, 12)) @ rng.normal(size=(12, 12))
        axes = np.asarray(principal_axes(rows, 4))
        reference = PCA(4).fit(rows)
        np.testing.assert_allclose(np.abs(np.sum(axes * reference.components_, axis=1)), 1, rtol=1e-9)
        assert (np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1) > 0).all()
        np.testing.assert_allclose(component_variances(axes, rows), reference.explained_variance_, rtol=1e-9)
        expected = np.var(others @ axes.T, axis=0, ddof=1)
        np.testing.assert_allclose(component_variances(axes, others), expected, rtol=1e-9)


def test_w2_is_the_best_assignment():
    """In one dimension sorting is best (SciPy's quantiles agree); a shift is its own length in any."""
    one, other = np.random.default_rng(7).normal(size=(2, 40, 1)) * [[[1.0]], [[2.0]]]
    assert w2(one, other) == pytest.approx(np.sqrt(np.mean((np.sort(one, 0) - np.sort(other, 0)) ** 2)), rel=1e-6)
    rows = _cloud(8, num=40, dim=3)
    assert w2(rows, rows[::-1] + np.array([3.0, 0.0, 4.0], np.float32)) == pytest.approx(5, rel=1e-6)


def test_sliced_w2_of_a_shift_is_its_share_along_random_directions():
    """E (direction . shift)^2 = |shift|^2 / dim: 2 % for 4,000 slices; means of gaps would be 14 % less."""
    rows, shift = _cloud(9, num=40, dim=3), jnp.array([3.0, 0.0, 4.0])
    found = float(sliced_w2(KEY, rows, rows[::-1] + shift[None], 4000))
    assert found == pytest.approx(5 / np.sqrt(3), rel=0.04)
    other = _cloud(10, num=40, dim=3)
    assert 0 < float(sliced_w2(KEY, rows, other, 4000)) < w2(rows, other)
    flat = [cloud.at[:, 1:].set(0) for cloud in (rows, other)]  # on a line: every slice is the best assignment's
    assert float(sliced_w2(KEY, *flat, 4000)) == pytest.approx(w2(*flat) / np.sqrt(3), rel=0.04)


def test_the_floor_is_taken_between_disjoint_rows():
    real = jnp.arange(20.0)[:, None]
    one, other = own_floor(lambda one, other: (one, other), KEY, real, 10)
    assert sorted(np.concatenate([one, other]).ravel().tolist()) == list(range(20))
    assert one.ravel().tolist() != list(range(10))


@pytest.mark.parametrize("name", ["frechet", "sliced_w2"])
def test_the_floor_tells_a_shifted_sample_from_real_ones(name):
    """Of 40 floors of 60 points none is as large as the distance of points shifted by a standard deviation."""
    real, statistic = _cloud(11, num=400), COMPARISONS[name]
    floors = jax.jit(jax.vmap(lambda key: own_floor(statistic, key, real, 60)))(jax.random.split(KEY, 40))
    assert statistic(real[:60], real[:60]) < floors.min()
    assert floors.max() < statistic(real[:60], _cloud(12, shift=1.0))


@pytest.mark.parametrize("name", ["precision", "recall", "density", "coverage"])
def test_counts_fail_under_a_shifted_sample(name):
    """60 points, moved by 2 standard deviations each way: all lose more than 0.3; a share's own error is 0.065."""
    real, same, shifted = _cloud(13), _cloud(14), _cloud(15, shift=2.0)
    assert COMPARISONS[name](real, shifted) < COMPARISONS[name](real, same) - 0.3


def test_comparisons_are_mapped():
    one, other = (jnp.stack([_cloud(seed) for seed in seeds]) for seeds in ((0, 1), (2, 3)))
    functions = COMPARISONS.values()
    mapped = jax.jit(jax.vmap(lambda a, b: [function(a, b) for function in functions]))(one, other)
    for lane in range(2):
        alone = [function(one[lane], other[lane]) for function in functions]
        np.testing.assert_allclose([values[lane] for values in mapped], alone, rtol=1e-5)


# --- of a chain


def _measured(metrics, snapshot):
    return jax.jit(lambda s: {metric.name: metric.function(KEY, s) for metric in metrics})(snapshot)


FRAME = frames.data_frame(2)._replace(
    location=jnp.array([1.0, -0.5]),
    log_scale=jnp.array([0.5, -0.5]),
    unit_tril=jnp.array([[1.0, 0.0], [0.7, 1.0]]),
)


def test_metrics_are_the_comparisons_of_all_that_was_drawn():
    """In data units, whatever coordinates the points are in; images for rows; beside empty slots and repeated rows."""
    real, drawn = _cloud(0), _cloud(1, shift=0.3)
    training = jnp.concatenate([drawn[:30], _cloud(2, num=30)])
    expected = {name: float(f(real, drawn)) for name, f in COMPARISONS.items() if name != "sliced_w2"}
    expected["copies"] = float(COMPARISONS["copies"](training, drawn))
    assert 0.5 <= expected["copies"] < 1
    expected["component_variance"] = component_variances(principal_axes(real, 2), drawn)
    plain = _measured(sample_metrics(real, num_rows=60), _snapshot(_samples(drawn), _samples(training)))
    slots = jnp.concatenate([training, training, drawn])
    framed = _snapshot(
        _samples(frames.to_local(FRAME, drawn), frame=FRAME),
        _samples(frames.to_local(FRAME, slots), [1.0] * 120 + [0.0] * 60, FRAME),
    )
    shaped = _measured(sample_metrics(np.asarray(real).reshape(60, 1, 2), num_rows=60), framed)
    assert plain.keys() == shaped.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(plain[name], value, rtol=1e-4, err_msg=name)
        np.testing.assert_allclose(shaped[name], value, rtol=1e-3, err_msg=name)  # rounded on the way


def test_chains_record_what_their_models_do():
    """A bootstrap copies always and forgets; a Gaussian by chance alone, a ninth of the time; half its points miss.

    Two seeds, 200 points: the standard error of a share is 0.035 at most.
    """
    truth = eight_gaussians()
    of_samples = sample_metrics(truth.sample(KEY, 400), num_rows=200)
    metrics = (*of_samples[1:3], *of_samples[4:6], mode_shares(truth))
    ends = {}
    for name, model in (("bootstrap", bootstrap()), ("gaussian", gaussian(2))):
        chain = build_chain(model, replace(), truth.sampler(200), 200, metrics)
        told = simulate(chain, KEY, num_seeds=2, num_generations=6, lanes=2)
        ends[name] = told.isel(generation=-1).mean("seed")
    copying, smooth = ends["bootstrap"], ends["gaussian"]
    assert copying["copies"] == 1 and abs(smooth["copies"] - 1 / 9) < 5 * 0.016
    assert copying["precision"] > 0.85 and copying["mode_shares"].sum() > 0.99 and copying["coverage"] < 0.75
    assert smooth["precision"] < 0.6 and smooth["mode_shares"].sum() < 0.7 and smooth["recall"] > 0.85


def test_rows_are_drawn_as_often_as_they_weigh_and_none_twice():
    """Others in each of 200 generations, and in one of them the same for all who ask."""

    def drawn(weight, num, key=KEY):
        rows = jnp.arange(len(weight), dtype=float)[:, None]
        snapshot = _snapshot(_samples(rows, weight))
        at = lambda g: drawn_points(key, snapshot._replace(generation=g), num, "it")[:, 0]  # noqa: E731
        return jax.jit(jax.vmap(at))(jnp.arange(200))

    np.testing.assert_array_equal(drawn([1.0] * 12, 7), drawn([1.0] * 12, 7, jax.random.fold_in(KEY, 1)))

    for num in (12, 7):
        equal = np.sort(drawn([1.0] * 12, num), axis=1)
        assert (np.diff(equal, axis=1) > 0).all() and equal.shape == (200, num)
    # 200 draws of 7 out of 12: 117 +- 7 of each, and of neighbours 64 +- 7 together, or every other row would be none
    assert np.ptp(np.bincount(equal.astype(int).ravel())) < 45
    together = [sum(i in row and i + 1 in row for row in equal.tolist()) for i in range(11)]
    assert 64 - 35 < min(together) <= max(together) < 64 + 35
    counts = np.stack([np.bincount(row.astype(int), minlength=3) for row in np.asarray(drawn([2.0, 0.0, 1.0], 3))])
    assert (counts == [2, 0, 1]).all()


def test_a_stream_is_asked_for_as_many_rows_as_are_compared():
    stream = Stream(lambda key, scale, num: scale * jax.random.normal(key, (num, 2)), jnp.asarray(1.0), 10.0)
    metrics = {metric.name: metric for metric in sample_metrics(_cloud(0))}
    found = jax.jit(lambda s: metrics["coverage"].function(KEY, s))(_snapshot(stream))
    assert float(found) > 0.99  # by 1,000 rows; by 60 it is 0.97 on average
    with pytest.raises(TypeError, match="`copies` must see single points, got Stream; let a model"):
        metrics["copies"].function(KEY, _snapshot(stream))


def test_shares_of_modes_are_those_of_the_weights():
    """A third of all in one Gaussian, a third nowhere, the others even: 2,000 points, to 5 standard errors."""
    centres = 1.4 * np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1)
    rows = np.concatenate([np.repeat(centres, 300, axis=0), np.full((600, 2), 9.0)])
    weight = np.concatenate([np.full(300, 7.0), np.ones(2100), np.full(600, 4.0)])
    metric = mode_shares(eight_gaussians(), 2000)
    assert metric.dims == ("mode",) and metric.unit == "1"
    data = _samples(jnp.asarray(rows, jnp.float32), weight)
    shares = jax.jit(lambda s: metric.function(KEY, s))(_snapshot(data))
    expected = np.array([2100, *[300] * 7]) / weight.sum()
    assert (np.abs(shares - expected) < 5 * np.sqrt(expected / 2000)).all()


def test_names_dims_and_units():
    assert [(m.name, m.dims, m.unit) for m in sample_metrics(_cloud(0))] == [
        ("frechet", (), "squared data units"),
        *((name, (), "1") for name in ("precision", "recall", "density", "coverage", "copies")),
        ("component_variance", ("component",), "squared data units"),
    ]


REFUSED = {  # each in the package's own sentence, which annotations would forestall
    "a vector": (lambda: frechet(jnp.ones(3), jnp.ones((3, 1))), "`one` must be of shape"),
    "columns": (lambda: copies(jnp.ones((3, 2)), jnp.ones((3, 1))), "`training` has 2 columns and `drawn` 1"),
    "one row": (lambda: frechet(jnp.ones((1, 2)), jnp.ones((3, 2))), "`one` must have at least 2 rows"),
    "neighbours": (lambda: precision_and_recall(_cloud(0), jnp.ones((3, 2))), "below the 3 rows of `made`"),
    "few real": (lambda: density_and_coverage(jnp.ones((5, 2)), _cloud(0)), "below the 5 rows of `real`"),
    "ratio": (lambda: copies(_cloud(0), _cloud(1), 0.0), "`ratio` must be positive"),
    "components": (lambda: principal_axes(_cloud(0), 3), "`num_components` must be at most 2"),
    "sizes": (lambda: w2(jnp.ones((3, 2)), jnp.ones((4, 2))), "`one` has 3 rows and `other` 4"),
    "slices": (lambda: sliced_w2(KEY, _cloud(0), _cloud(1), 0), "`num_slices` must be"),
    "halves": (lambda: own_floor(frechet, KEY, _cloud(0), 31), "at most half of the 60 rows, got 31"),
    "few rows": (lambda: sample_metrics(_cloud(0), num_rows=5), "below the 5 rows of `real`"),
    "offset": (lambda: sample_metrics(np.array([[1.7e9], [1.7e9 + 2], [1.7e9 + 9]])), "subtract an offset"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_compared_is_refused(case, unchecked):
    call, sentence = REFUSED[case]
    with pytest.raises(ValueError, match=sentence) as caught:
        call()
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_data_without_points_are_refused():
    metric = sample_metrics(_cloud(0))[0]
    moments = Moments(jnp.ones(()), jnp.zeros(2), jnp.eye(2))
    with pytest.raises(TypeError, match="`frechet` must see single points, got Moments"):
        metric.function(KEY, _snapshot(moments))
    with pytest.raises(TypeError, match="compares rows of one array, got dict"):
        metric.function(KEY, _snapshot(Samples({"a": jnp.ones((3, 2))}, jnp.ones(3))))
    with pytest.raises(ValueError, match="`real` has 2 columns and `synthetic` 3"):
        metric.function(KEY, _snapshot(_samples(jnp.ones((4, 3)))))
    with pytest.raises(TypeError, match="`truth` must have modes"):
        mode_shares(3)
