"""Truths in the plane whose shape is seen at a glance and whose density is known: circles of clusters, curves, squares.

A point is a place on a set of centres, spread by Gaussian noise,

    p(x) = integral N(x; c(u), s^2 I) du,    u uniform on [0, 1],

or, on the checkerboard, uniform on squares. The two coordinates have a variance of about 2 together.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from collapse_jax.core.data import Samples
from collapse_jax.types import Array, ArrayLike, Key
from collapse_jax.validation import check_count, check_key, check_numbers

REACH = 4.0  # a point belongs to a mode within so many standard deviations
_NUM_NODES = 16  # of a panel, by Gauss and Legendre


class Plane(NamedTuple):
    """A known law in the plane.

    Attributes:
        draw: (key, num) -> points, shape [num, 2].
        log_density_of: points, shape [num, 2] -> log density of each, nats.
        mode_of: points, shape [num, 2] -> the mode that each belongs to, `num_modes` where none.
        num_modes: how many there are.
    """

    draw: Callable[[Key, int], Array]
    log_density_of: Callable[[Array], Array]
    mode_of: Callable[[Array], Array]
    num_modes: int

    def sample(self, key: Key, num: int) -> Samples:
        """Return `num` independent points."""
        check_key(key), check_count("num", num)
        return Samples(self.draw(key, num), jnp.ones(num))

    def sampler(self, num: int) -> Callable[[Key], Samples]:
        """Return the function key -> `num` independent points: real data drawn anew for each seed."""
        check_count("num", num)
        return lambda key: self.sample(key, num)

    def log_density(self, points: Float[ArrayLike, "num 2"]) -> Float[Array, " num"]:
        """Return the log density at each point, nats, per squared data unit.

        Raises:
            ValueError: the points are not of shape [num, 2].
        """
        return self.log_density_of(_in_the_plane(points))

    def modes(self, points: Float[ArrayLike, "num 2"]) -> Int[Array, " num_modes"]:
        """Return how many of the points lie in each mode; those in none are not counted.

        Raises:
            ValueError: the points are not of shape [num, 2].
        """
        places = jnp.arange(self.num_modes)
        return jnp.sum(self.mode_of(_in_the_plane(points))[:, None] == places[None, :], axis=0)


def eight_gaussians() -> Plane:
    """Return eight equal Gaussians on a circle: radius 1.4, standard deviation 0.14.

    A point belongs to the nearest of them, within 4 standard deviations.

    >>> eight_gaussians().modes(np.array([[1.4, 0.0], [1.5, 0.1], [0.0, 0.0]])).tolist()
    [2, 0, 0, 0, 0, 0, 0, 0]
    """
    angles = 2 * np.pi * np.arange(8) / 8
    centres = 1.4 * np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def place(uniform: Array) -> Array:
        return jnp.asarray(centres)[jnp.minimum((8 * uniform).astype(int), 7)]

    return _spread_plane(place, centres, np.full(8, 1 / 8), np.arange(8), 0.14)


def two_moons() -> Plane:
    """Return two half circles of radius 1.4 that reach into each other, with noise of standard deviation 0.1.

    The density is a quadrature over the curves, exact to 1e-6 of itself up to 1 data unit away from them, but for the
    rounding of floats. A point belongs to the moon of the nearest centre, within 4 standard deviations.

    >>> two_moons().num_modes
    2
    """

    def place(uniform: Any) -> Any:
        numpy = jnp if isinstance(uniform, jax.Array) else np
        is_lower = uniform >= 0.5
        angle = 2 * np.pi * numpy.where(is_lower, uniform - 0.5, uniform)
        across = numpy.where(is_lower, 1 - numpy.cos(angle), numpy.cos(angle))
        up = numpy.where(is_lower, 0.5 - numpy.sin(angle), numpy.sin(angle))
        return 1.4 * numpy.stack([across - 0.5, up - 0.25], axis=1)

    uniform, weights = _nodes(24)
    return _spread_plane(place, place(uniform), weights, (uniform >= 0.5).astype(int), 0.1)


def spiral() -> Plane:
    """Return two turns of a spiral out to radius 2, with noise of standard deviation 0.1.

    Turns are 1 apart, and but for the innermost one every stretch of the curve has as many points as another of its
    length. The density is a quadrature over the curve, as for `two_moons`; the whole spiral is one mode.

    >>> spiral().num_modes
    1
    """

    def place(uniform: Any) -> Any:
        numpy = jnp if isinstance(uniform, jax.Array) else np
        way = numpy.sqrt(uniform)
        angle = 4 * np.pi * way
        return 2 * way[:, None] * numpy.stack([numpy.cos(angle), numpy.sin(angle)], axis=1)

    way, weights = _nodes(40)  # in the root of u: of u itself the curve is not smooth
    return _spread_plane(place, place(way**2), 2 * way * weights, np.zeros(len(way), int), 0.1)


def checkerboard() -> Plane:
    """Return the uniform law on eight of the sixteen unit squares of [-2, 2]^2, of which no two share a side.

    Each square is a mode, by rows from below; the density is 1/8 in them and 0 outside, the log density -inf.

    >>> checkerboard().log_density(np.array([[-1.5, -1.5], [-0.5, -1.5]])).round(4)
    Array([-2.0794,    -inf], dtype=float32)
    """

    def draw(key: Key, num: int) -> Array:
        key_square, key_inside = jax.random.split(key)
        square = jax.random.randint(key_square, (num,), 0, 8)
        row = square // 2
        corner = jnp.stack([2 * (square % 2) + row % 2, row], axis=1) - 2
        return corner + jax.random.uniform(key_inside, (num, 2))

    def mode_of(points: Array) -> Array:
        column, row = jnp.floor(points + 2).astype(int).T
        is_inside = jnp.all((points >= -2) & (points < 2), axis=1) & ((column + row) % 2 == 0)
        return jnp.where(is_inside, 2 * row + column // 2, 8)

    def log_density(points: Array) -> Array:
        return jnp.where(mode_of(points) < 8, -np.log(8.0), -jnp.inf)

    return Plane(draw, log_density, mode_of, 8)


def _spread_plane(
    place: Callable[[Array], Any], centres: np.ndarray, weights: np.ndarray, modes: np.ndarray, spread: float
) -> Plane:
    """Return the law of place(u) with Gaussian noise.

    Args:
        place: numbers uniform on [0, 1) -> centres.
        centres: nodes of a quadrature over them, shape [num_nodes, 2].
        weights: of the nodes, shape [num_nodes].
        modes: to which each node belongs, shape [num_nodes].
        spread: standard deviation of the noise.
    """
    num_modes = int(modes.max()) + 1

    def draw(key: Key, num: int) -> Array:
        key_place, key_noise = jax.random.split(key)
        return place(jax.random.uniform(key_place, (num,))) + spread * jax.random.normal(key_noise, (num, 2))

    def squares(points: Array) -> Array:
        """Return squared distances from the centres in standard deviations, shape [num, num_nodes]."""
        nodes = jnp.asarray(centres, points.dtype)
        across, up = ((points[:, axis, None] - nodes[None, :, axis]) / spread for axis in (0, 1))
        return across**2 + up**2

    def log_density(points: Array) -> Array:
        exponents = jnp.log(jnp.asarray(weights, points.dtype))[None, :] - squares(points) / 2
        return jax.nn.logsumexp(exponents, axis=1) - np.log(2 * np.pi * spread**2)

    def mode_of(points: Array) -> Array:
        distances = squares(points)
        is_near = jnp.min(distances, axis=1) <= REACH**2
        return jnp.where(is_near, jnp.asarray(modes)[jnp.argmin(distances, axis=1)], num_modes)

    return Plane(draw, log_density, mode_of, num_modes)


def _nodes(num_panels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of a quadrature on [0, 1], panel by panel."""
    nodes, weights = np.polynomial.legendre.leggauss(_NUM_NODES)
    starts = np.arange(num_panels)[:, None]
    return ((starts + (nodes + 1) / 2) / num_panels).ravel(), np.tile(weights / 2 / num_panels, num_panels)


def _in_the_plane(points: ArrayLike) -> Float[Array, "num 2"]:
    places = jnp.asarray(check_numbers("points", points))
    if places.ndim != 2 or places.shape[1] != 2:
        raise ValueError(f"`points` must be of shape [num, 2], got {places.shape}; give two coordinates a point.")
    return places if jnp.issubdtype(places.dtype, jnp.floating) else places.astype(jnp.result_type(float))
