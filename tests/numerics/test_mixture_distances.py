"""Distances of mixtures against numerical integration, SciPy, and the asymptotics of collapse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg, stats

from collapse_jax.numerics import frame as frames
from collapse_jax.numerics import mixture_distances as distances
from collapse_jax.numerics.em import Components

# compiled once for each pair of shapes
log_l2_distance, log_overlap = jax.jit(distances.log_l2_distance), jax.jit(distances.log_overlap)
gaussian_w2, in_data_units = jax.jit(distances.gaussian_w2), jax.jit(distances.in_data_units)

UNIT = Components(np.array([1.0]), np.zeros((1, 2)), np.eye(2)[None])
PAIR = Components(
    np.array([0.3, 0.7]),
    np.array([[-1.0, 0.5], [0.8, 0.0]]),
    np.array([[[0.6, 0.0], [0.3, 0.5]], [[0.9, 0.0], [-0.2, 0.4]]]),
)
OTHER = Components(
    np.array([0.5, 0.2, 0.3]),
    np.array([[0.0, 1.0], [1.5, 0.0], [-0.5, -0.5]]),
    np.array([[[0.7, 0.0], [0.1, 0.7]], [[0.4, 0.0], [0.0, 0.8]], [[0.5, 0.0], [-0.3, 0.6]]]),
)


def _jax(components: Components) -> Components:
    return Components(*(jnp.asarray(part, float) for part in components))


def _frame(log_scale: float = 0.0) -> frames.Frame:
    """A frame that moves, scales and shears; `log_scale` is added to both axes."""
    base = frames.data_frame(2)
    return base._replace(
        location=jnp.array([0.4, -0.3]),
        log_scale=jnp.array([0.2, -0.3]) + log_scale,
        unit_tril=jnp.array([[1.0, 0.0], [0.5, 1.0]]),
    )


def _grid(half: float = 9.0, num: int = 601) -> tuple[np.ndarray, float]:
    axis = np.linspace(-half, half, num)
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1), (axis[1] - axis[0]) ** 2


def _density(components: Components, frame: frames.Frame, points: np.ndarray) -> np.ndarray:
    axes = np.asarray(frame.unit_tril) * np.exp(np.asarray(frame.log_scale))
    density = 0.0
    for weight, mean, tril in zip(*components):
        factor = axes @ tril
        centre = np.asarray(frame.location) + axes @ mean
        density = density + weight * stats.multivariate_normal(centre, factor @ factor.T).pdf(points)
    return density


@pytest.mark.parametrize("p, q", [(UNIT, PAIR), (PAIR, OTHER)], ids=["1-2", "2-3"])
def test_l2_distance_is_the_integral(p, q, x64):
    points, cell = _grid()
    p_frame, q_frame = _frame(), frames.data_frame(2)
    integral = np.sum((_density(p, p_frame, points) - _density(q, q_frame, points)) ** 2) * cell
    got = log_l2_distance(_jax(p), p_frame, _jax(q), q_frame)
    # the rectangle rule on smooth, decaying functions converges exponentially: nothing but rounding
    # is left at a spacing of 0.03 against widths above 0.3
    assert float(got) == pytest.approx(np.log(integral), abs=1e-9)


def test_overlap_is_the_integral(x64):
    points, cell = _grid()
    frame = frames.data_frame(2)
    integral = np.sum(_density(PAIR, frame, points) * _density(OTHER, frame, points)) * cell
    assert float(log_overlap(_jax(PAIR), _jax(OTHER))) == pytest.approx(
        np.log(integral), abs=1e-9
    )  # as above


def test_l2_distance_is_symmetric_and_free_of_the_frame(x64):
    p, q, frame = _jax(PAIR), _jax(OTHER), _frame()
    plain = frames.data_frame(2)
    there, back = log_l2_distance(p, frame, q, plain), log_l2_distance(q, plain, p, frame)
    assert float(there) == pytest.approx(float(back), abs=1e-12)  # the same sums in float64
    moved = in_data_units(p, frame)
    assert float(log_l2_distance(moved, plain, q, plain)) == pytest.approx(float(there), abs=1e-12)


def test_a_mixture_is_at_its_own_rounding_from_itself():
    p, frame = _jax(PAIR), frames.data_frame(2)
    floor = float(log_l2_distance(p, frame, p, frame) - log_overlap(p, p))
    # stated floor: near 1e-7 of the integral of p^2 in float32
    assert np.log(0.5e-7) < floor < np.log(1e-6)


def test_a_dead_component_changes_no_distance():
    dead = Components(
        jnp.array([0.0, *PAIR.weights]),
        jnp.zeros((3, 2)).at[1:].set(PAIR.means),
        jnp.stack([jnp.eye(2), *PAIR.scale_tril]),
    )
    plain = frames.data_frame(2)
    expected = log_l2_distance(_jax(PAIR), plain, _jax(OTHER), plain)
    got = log_l2_distance(dead, plain, _jax(OTHER), plain)
    assert float(got) == pytest.approx(float(expected), abs=1e-5)  # float32


@pytest.mark.parametrize("log_scale", [-10.0, -40.0, -200.0, -2000.0])
def test_a_collapsed_gaussian_is_at_one_over_four_pi_s1_s2(log_scale):
    frame = _frame(log_scale)
    got = float(log_l2_distance(_jax(UNIT), frame, _jax(OTHER), frames.data_frame(2)))
    expected = -np.log(4 * np.pi) - float(np.sum(np.asarray(frame.log_scale, np.float64)))
    # the other terms are at most e^(2 log_scale) = 2e-9 of this one; float32 holds 4000 to 2.4e-4
    assert got == pytest.approx(expected, rel=1e-6, abs=1e-5)
    back = float(log_l2_distance(_jax(OTHER), frames.data_frame(2), _jax(UNIT), frame))
    assert back == pytest.approx(expected, rel=1e-6, abs=1e-5)


def test_a_collapsed_mixture_keeps_its_shape_in_the_distance():
    frame = _frame(-200.0)
    got = float(log_l2_distance(_jax(PAIR), frame, _jax(UNIT), frames.data_frame(2)))
    points, cell = _grid()
    own = np.log(np.sum(_density(PAIR, frames.data_frame(2), points) ** 2) * cell)
    assert got == pytest.approx(own - float(jnp.sum(frame.log_scale)), rel=1e-6)  # float32 of 400


# --- Wasserstein


def _gaussians(dim: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    trils = np.tril(rng.normal(size=(2, dim, dim)))
    trils[:, range(dim), range(dim)] = rng.uniform(0.3, 2.0, (2, dim))
    return rng.normal(size=dim), trils[0], rng.normal(size=dim), trils[1]


def _textbook_w2(mean_p, tril_p, mean_q, tril_q) -> float:
    cov_p, cov_q = tril_p @ tril_p.T, tril_q @ tril_q.T
    root = linalg.sqrtm(cov_p)
    cross = np.real(linalg.sqrtm(root @ cov_q @ root))
    return float(np.sum((mean_p - mean_q) ** 2) + np.trace(cov_p + cov_q - 2 * cross))


@pytest.mark.parametrize("dim", [1, 2, 3, 8])
def test_w2_is_gelbrichs_formula(dim, x64):
    for seed in range(3):
        problem = _gaussians(dim, seed)
        # sqrtm is good to about 1e-8 where eigenvalues are small
        assert float(gaussian_w2(*map(jnp.asarray, problem))) == pytest.approx(
            _textbook_w2(*problem), abs=1e-7
        )


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_w2_is_symmetric_and_zero_at_itself(dim):
    mean_p, tril_p, mean_q, tril_q = (jnp.asarray(part, jnp.float32) for part in _gaussians(dim))
    there, back = gaussian_w2(mean_p, tril_p, mean_q, tril_q), gaussian_w2(mean_q, tril_q, mean_p, tril_p)
    size = float(jnp.sum(tril_p**2) + jnp.sum(tril_q**2))
    assert float(there) == pytest.approx(float(back), abs=1e-5 * size)  # float32 cancellation
    assert 0 <= float(gaussian_w2(mean_p, tril_p, mean_p, tril_p)) <= 1e-5 * size


def test_w2_in_one_dimension_is_the_difference_of_quantiles(x64):
    # integrated numerically over the unit interval, which no formula of Gaussians enters
    levels = (np.arange(400_000) + 0.5) / 400_000
    quantiles = stats.norm.ppf(levels)
    squared = np.mean(((1.0 + 2.0 * quantiles) - (-0.5 + 0.7 * quantiles)) ** 2)
    got = gaussian_w2(jnp.array([1.0]), jnp.array([[2.0]]), jnp.array([-0.5]), jnp.array([[0.7]]))
    # the midpoint rule loses about 1e-5 of the variance in the last cells of the tails
    assert float(got) == pytest.approx(squared, abs=1e-4)


def test_w2_to_a_point_is_its_total_variance():
    _, tril, _, _ = (jnp.asarray(part, jnp.float32) for part in _gaussians(2))
    point = jnp.zeros((2, 2))
    assert float(gaussian_w2(jnp.zeros(2), point, jnp.zeros(2), tril)) == pytest.approx(
        float(jnp.sum(tril**2))
    )


def test_in_data_units_moves_means_and_factors(x64):
    frame = _frame()
    moved = in_data_units(_jax(PAIR), frame)
    axes = np.asarray(frame.unit_tril) @ np.diag(np.exp(np.asarray(frame.log_scale)))
    np.testing.assert_allclose(moved.means, np.asarray(frame.location) + PAIR.means @ axes.T, rtol=1e-12)
    np.testing.assert_allclose(moved.scale_tril, axes @ PAIR.scale_tril, atol=1e-12)  # float64


def test_distances_map_over_lanes():
    frame, q = frames.data_frame(2), _jax(OTHER)
    shifts = jnp.array([0.0, 1.0, 2.0])

    def distance(shift):
        return log_l2_distance(_jax(PAIR)._replace(means=jnp.asarray(PAIR.means) + shift), frame, q, frame)

    lanes = jax.jit(jax.vmap(distance))(shifts)
    # other fusions in float32; the last distance cancels nothing
    np.testing.assert_allclose(lanes, [distance(shift) for shift in shifts], atol=1e-5)
