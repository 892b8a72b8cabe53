"""Truths in the plane: densities that sum to 1, against SciPy's quadrature, and points that follow them."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from collapse_jax.datasets.planes import checkerboard, eight_gaussians, spiral, two_moons

KEY = jax.random.key(0)
NUM = 20_000
TRUTHS = {truth.__name__: truth() for truth in (eight_gaussians, two_moons, spiral, checkerboard)}
DENSITIES = {name: jax.jit(truth.log_density) for name, truth in TRUTHS.items()}
EDGE, NUM_CELLS, FINE = 4.0, 16, 20  # cells of a side of 1/2, each of 20 x 20 places


@pytest.fixture(scope="module", params=TRUTHS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def masses():
    """The integral of each density over each cell of [-4, 4]^2, by midpoints."""
    num = NUM_CELLS * FINE
    line = (np.arange(num) + 0.5) / num * 2 * EDGE - EDGE
    grid = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(num, num, 2).astype(np.float32)

    def mass(log_density):
        density = np.exp(np.asarray(jax.lax.map(log_density, jnp.asarray(grid)), float))
        return density.reshape(NUM_CELLS, FINE, NUM_CELLS, FINE).sum((1, 3)) * (2 * EDGE / num) ** 2

    return {name: mass(log_density) for name, log_density in DENSITIES.items()}


@pytest.fixture(scope="module")
def points():
    return {name: np.asarray(truth.sample(KEY, NUM).x) for name, truth in TRUTHS.items()}


def _misfit(rows, mass):
    """The p-value of points in cells; those of few expected points are taken together."""
    counts = np.histogram2d(*rows.T, bins=NUM_CELLS, range=[[-EDGE, EDGE]] * 2)[0]
    expected = mass * len(rows)
    full = expected > 10
    observed = np.append(counts[full], len(rows) - counts[full].sum())
    wanted = np.append(expected[full], len(rows) - expected[full].sum())
    if wanted[-1] < 1e-2:  # nothing may lie outside: the checkerboard
        if observed[-1]:
            return 0.0
        observed, wanted = observed[:-1], wanted[:-1]
    return stats.chisquare(observed, wanted * observed.sum() / wanted.sum()).pvalue


def test_the_density_is_of_mass_1(name, masses):
    assert masses[name].sum() == pytest.approx(1, abs=1e-5)  # float32


def test_points_follow_the_density(name, masses, points):
    """Chi-square of 20,000 points in about 60 cells.

    Power: points shifted by 0.05 are refused, and points 1.05 times as far out.
    """
    assert _misfit(points[name], masses[name]) > 1e-3
    assert _misfit(points[name] + 0.05, masses[name]) < 1e-6
    assert _misfit(points[name] * 1.05, masses[name]) < 1e-6


def test_points_shifted_off_the_checkerboard_have_no_density(points):
    inside = DENSITIES["checkerboard"](points["checkerboard"])
    np.testing.assert_allclose(inside, -np.log(8), rtol=1e-6)
    shifted = np.asarray(DENSITIES["checkerboard"](points["checkerboard"] + np.float32(0.05)))
    # of each square a strip of 0.05 on two sides, but for the corner that lies in the next one
    assert abs(np.isneginf(shifted).mean() - 0.095) < 5 * np.sqrt(0.095 / NUM)


def _curve(name, u):
    if name == "spiral":
        return 2 * np.sqrt(u) * np.array([np.cos(4 * np.pi * np.sqrt(u)), np.sin(4 * np.pi * np.sqrt(u))])
    t = np.pi * (2 * u if u < 0.5 else 2 * u - 1)
    x, y = (np.cos(t), np.sin(t)) if u < 0.5 else (1 - np.cos(t), 0.5 - np.sin(t))
    return 1.4 * np.array([x - 0.5, y - 0.25])


@pytest.mark.parametrize("name", ["two_moons", "spiral"])
def test_the_density_of_a_curve_is_scipys_quadrature(name, x64):
    """Up to 1 data unit from the curve, to 1e-6; the curve is written here anew, as others write it."""
    rng = np.random.default_rng(1)
    starts = np.stack([_curve(name, u) for u in rng.uniform(size=12)])
    angles, far = rng.uniform(0, 2 * np.pi, 12), np.array([0.1, 0.5, 1.0])[np.arange(12) % 3]
    places = starts + far[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def integrand(u, x):
        return np.exp(-np.sum((x - _curve(name, u)) ** 2) / 0.02) / (0.02 * np.pi)

    pieces = np.linspace(0, 1, 41)
    expected = [
        sum(integrate.quad(integrand, a, b, args=(x,), epsabs=0, epsrel=1e-9)[0] for a, b in pairwise(pieces))
        for x in places
    ]
    np.testing.assert_allclose(np.exp(TRUTHS[name].log_density(places)), expected, rtol=1e-6)


def test_the_density_of_eight_gaussians_is_scipys(x64):
    places = np.random.default_rng(2).uniform(-2, 2, (50, 2))
    angles = np.arange(8) * np.pi / 4
    parts = [stats.multivariate_normal(1.4 * np.array([np.cos(a), np.sin(a)]), 0.14**2) for a in angles]
    expected = np.log(np.mean([part.pdf(places) for part in parts], axis=0))
    np.testing.assert_allclose(TRUTHS["eight_gaussians"].log_density(places), expected, rtol=1e-9)


def test_coordinates_are_of_order_1(name, points):
    assert 1.8 < points[name].var(axis=0).sum() < 2.7 and np.abs(points[name].mean(axis=0)).max() < 0.4


def test_modes_hold_equal_shares_of_the_points(name, points):
    """And but for 3 in 10,000, beyond 4 standard deviations, all of them."""
    truth = TRUTHS[name]
    counts = np.asarray(jax.jit(truth.modes)(points[name]))
    assert counts.shape == (truth.num_modes,) == ({"spiral": 1, "two_moons": 2}.get(name, 8),)
    assert NUM - 25 < counts.sum() <= NUM
    share = 1 / truth.num_modes
    assert (np.abs(counts / NUM - share) <= 5 * np.sqrt(share * (1 - share) / NUM) + 25 / NUM).all()


def test_a_point_belongs_to_the_nearest_mode_within_four_deviations():
    angle = 2 * np.pi * 3 / 8
    centre = 1.4 * np.array([np.cos(angle), np.sin(angle)])
    near, far = (1 + np.array([3.9, 4.1]) * 0.14 / 1.4)[:, None] * centre
    found = TRUTHS["eight_gaussians"].modes(np.stack([centre, near, far, np.zeros(2), np.array([1.4, 0.5])]))
    assert found.tolist() == [1, 0, 0, 2, 0, 0, 0, 0]
    tips = 1.4 * np.array([[0.0, 1.0], [1.0, -0.5]]) - 1.4 * np.array([0.5, 0.25])
    assert TRUTHS["two_moons"].modes(np.concatenate([tips, tips[:1], [[3.0, 3.0]]])).tolist() == [2, 1]
    squares = [[-1.5, -1.5], [1.9, 1.9], [2.1, 1.9], [-0.5, -1.5], [-0.5, -0.5]]
    assert TRUTHS["checkerboard"].modes(np.array(squares)).tolist() == [1, 0, 1, 0, 0, 0, 0, 1]


def test_a_sampler_draws_anew_for_each_key(name):
    draw = TRUTHS[name].sampler(5)
    one, other = draw(KEY), draw(jax.random.key(1))
    assert one.x.shape == (5, 2) and one.weight.tolist() == [1.0] * 5
    np.testing.assert_array_equal(one.x, TRUTHS[name].sample(KEY, 5).x)
    assert not np.any(one.x == other.x)


def test_what_is_not_in_the_plane_is_refused(unchecked):
    for ask in (TRUTHS["spiral"].log_density, TRUTHS["spiral"].modes):
        with pytest.raises(ValueError, match=r"`points` must be of shape \[num, 2\], got \(3,\); give two"):
            ask(np.ones(3))
    with pytest.raises(ValueError, match="`num` must be at least 1"):
        TRUTHS["spiral"].sampler(0)
    with pytest.raises(TypeError, match="`key` must be one typed key"):
        TRUTHS["spiral"].sample(3, 5)
