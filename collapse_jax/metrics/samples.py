"""Two samples of points compared: are the drawn ones like the real ones, as varied, and their own?

Most of these count points within reach of others: with r_k(x) the distance of x to its k-th nearest neighbour in its
own sample, the drawn y is covered by the real x where

    |x - y| <= r_k(x).

Points are rows of coordinates, pixels or features. All but `w2` and `principal_axes` may be compiled and mapped.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from collapse_jax.numerics import neighbours, triangular
from collapse_jax.types import Array, ArrayLike, Key
from collapse_jax.validation import check_count, check_key, check_numbers, check_positive

_HIGHEST = jax.lax.Precision.HIGHEST
_ROTATED = 8  # up to here Jacobi rotations are as fast a way to singular values


def frechet(one: Float[ArrayLike, "num dim"], other: Float[ArrayLike, "num_2 dim"]) -> Float[Array, ""]:
    """Return |m - m'|^2 + tr S + tr S' - 2 tr (S S')^1/2 between the Gaussians with these sets' moments.

    The last trace is the nuclear norm of L'L', which needs no square root of a matrix and allows any rank. It is
    positive for two sets of one law, too: `own_floor` says how large.

    Args:
        one: points, at least 2.
        other: points, at least 2.

    Returns:
        The squared distance, squared data units.

    Raises:
        ValueError: one set has another number of columns than the other, or fewer than 2 rows.

    Reference: Dowson and Landau (1982); Heusel et al. (2017) for features of images.

    >>> round(float(frechet(np.array([[0.0], [2.0]]), np.array([[1.0], [3.0]]))), 4)
    1.0
    """
    means, factors = [], []
    for rows in paired_rows("one", one, "other", other, least=2):
        means.append(jnp.mean(rows, axis=0))
        centred = (rows - means[-1][None]) / jnp.sqrt(rows.shape[0] - 1.0)
        factors.append(triangular.join_factors(centred.T))
    cross = jnp.matmul(factors[0].T, factors[1], precision=_HIGHEST)
    squares = jnp.sum((means[0] - means[1]) ** 2) + sum(jnp.sum(factor**2) for factor in factors)
    return jnp.maximum(squares - 2 * _nuclear_norm(cross), 0.0)


def precision_and_recall(
    real: Float[ArrayLike, "num dim"], made: Float[ArrayLike, "num_2 dim"], num_neighbours: int = 3
) -> tuple[Array, Array]:
    """Return the share of made points within reach of the real ones, and the reverse.

    Args:
        real: points.
        made: points that a model drew, about as many.
        num_neighbours: a point reaches as far as this nearest neighbour in its own set.

    Returns:
        Precision and recall, each in [0, 1].

    Raises:
        ValueError: a set has no more rows than neighbours, or another number of columns than the other.

    Reference: Kynkaanniemi et al. (2019).

    >>> shares = precision_and_recall(np.array([[0.0], [1.0]]), np.array([[0.5], [9.0]]), num_neighbours=1)
    >>> [float(share) for share in shares]
    [0.5, 1.0]
    """
    real, made = _neighbourly("real", real, "made", made, num_neighbours)
    precise = jnp.any(neighbours.reached_by(real, neighbours.squared_reach(real, num_neighbours), made), axis=0)
    recalled = jnp.any(neighbours.reached_by(made, neighbours.squared_reach(made, num_neighbours), real), axis=0)
    return jnp.mean(precise), jnp.mean(recalled)


def density_and_coverage(
    real: Float[ArrayLike, "num dim"], drawn: Float[ArrayLike, "num_2 dim"], num_neighbours: int = 5
) -> tuple[Array, Array]:
    """Return how often real points reach a drawn one, over what is expected, and the share of real ones that do.

    Unlike precision and recall, one real point far from all others decides little, and drawn ones nothing.

    Args:
        real: points.
        drawn: points that a model drew.
        num_neighbours: a real point reaches as far as this nearest neighbour among the real ones.

    Returns:
        Density, not negative and about 1 for points of the same law, more where they gather in the middle; and
        coverage in [0, 1], about 1 - 2^-k for as many points of the same law.

    Raises:
        ValueError: `real` has no more rows than neighbours, or another number of columns than `drawn`.

    Reference: Naeem et al. (2020).

    >>> pair = density_and_coverage(np.array([[0.0], [1.0]]), np.array([[0.5], [0.5]]), num_neighbours=1)
    >>> [float(value) for value in pair]
    [2.0, 1.0]
    """
    real, drawn = _neighbourly("real", real, "drawn", drawn, num_neighbours, both=False)
    reached = neighbours.reached_by(real, neighbours.squared_reach(real, num_neighbours), drawn)
    return jnp.mean(jnp.sum(reached, axis=0)) / num_neighbours, jnp.mean(jnp.any(reached, axis=1))


def copies(
    training: Float[ArrayLike, "num dim"], drawn: Float[ArrayLike, "num_2 dim"], ratio: ArrayLike = 1 / 3
) -> Float[Array, ""]:
    """Return the share of drawn points that copy a training point.

    A copy is nearer to its nearest training point than `ratio` times its distance to the second nearest. Training
    points that occur several times, as in a chain that copies, count once; of a single one every point is a copy.

    Args:
        training: points that a model was fitted to.
        drawn: points that it drew.
        ratio: between 0 and 1. Points of a smooth law in d dimensions fall below it by chance with probability about
            ratio^d, which is a ninth in the plane.

    Returns:
        The share, in [0, 1].

    Raises:
        ValueError: the sets have different numbers of columns, or no rows; `ratio` is not positive.

    Reference: Yoon et al. (2023), Gu et al. (2023).

    >>> float(copies(np.array([[0.0], [1.0]]), np.array([[0.1], [0.5]])))
    0.5
    """
    training, drawn = paired_rows("training", training, "drawn", drawn)
    kept = neighbours.first_of_its_kind(training)
    return neighbours.share_of_copies(training, drawn, check_positive("ratio", ratio), kept)


def principal_axes(rows: Float[ArrayLike, "num dim"], num_components: int) -> Float[Array, "num_components dim"]:
    """Return the directions along which points vary most, largest variance first.

    Args:
        rows: points, read on the host.
        num_components: how many directions.

    Returns:
        Unit vectors at right angles to each other, as rows; the largest entry of each is positive.

    Raises:
        ValueError: more directions are asked for than there are columns, or than points less one.

    >>> principal_axes(np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]]), 1)
    Array([[0.6, 0.8]], dtype=float32)
    """
    points = np.asarray(_points("rows", rows), np.float64)
    check_count("num_components", num_components, maximum=max(min(len(points) - 1, points.shape[1]), 1))
    centred = points - points.mean(axis=0)
    if len(points) > points.shape[1]:  # the smaller of two problems with the same answer
        axes = np.linalg.eigh(centred.T @ centred)[1].T[::-1][:num_components]
    else:
        axes = np.linalg.svd(centred, full_matrices=False)[2][:num_components]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    return jnp.asarray(axes * np.sign(largest), jnp.result_type(float))


def component_variances(
    basis: Float[ArrayLike, "num_components dim"], rows: Float[ArrayLike, "num dim"]
) -> Float[Array, " num_components"]:
    """Return the variance of points along each of some directions.

    Args:
        basis: unit vectors as rows, from `principal_axes` of the real points.
        rows: points, at least 2.

    Returns:
        Unbiased variances, squared data units.

    Raises:
        ValueError: directions and points have different numbers of columns, or there are fewer than 2 points.

    >>> component_variances(np.array([[1.0, 0.0]]), np.array([[0.0, 5.0], [2.0, 7.0]]))
    Array([2.], dtype=float32)
    """
    basis, rows = paired_rows("basis", basis, "rows", rows)
    check_least("rows", rows, 2)
    centred = rows - jnp.mean(rows, axis=0)[None]
    return jnp.sum(jnp.matmul(centred, basis.T, precision=_HIGHEST) ** 2, axis=0) / (rows.shape[0] - 1)


def sliced_w2(
    key: Key, one: Float[ArrayLike, "num dim"], other: Float[ArrayLike, "num dim"], num_slices: int = 64
) -> Float[Array, ""]:
    """Return the sliced 2-Wasserstein distance of two samples of equal size.

    It is the root of the mean squared distance of the samples' projections on random directions, sorted.

    Args:
        key: of the directions.
        one: points.
        other: as many points.
        num_slices: number of directions.

    Returns:
        The distance, data units: at most `w2`, and |shift| / sqrt(dim) on average for a sample that was shifted.

    Raises:
        ValueError: the samples have different shapes, or `num_slices` is not positive.

    Reference: Bonneel et al. (2015).

    >>> round(float(sliced_w2(jax.random.key(0), np.array([[0.0], [1.0]]), np.array([[3.0], [2.0]]))), 4)
    2.0
    """
    check_key(key), check_count("num_slices", num_slices)
    one, other = _equal("one", one, "other", other)
    directions = jax.random.normal(key, (num_slices, one.shape[1]), one.dtype)
    directions = directions / jnp.sqrt(jnp.sum(directions**2, axis=1, keepdims=True))

    def gap(direction: Array) -> Array:
        shadows = [jnp.sort(jnp.matmul(rows, direction, precision=_HIGHEST)) for rows in (one, other)]
        return jnp.mean((shadows[0] - shadows[1]) ** 2)

    return jnp.sqrt(jnp.mean(jax.lax.map(gap, directions)))


def w2(one: Float[ArrayLike, "num dim"], other: Float[ArrayLike, "num dim"]) -> float:
    """Return the 2-Wasserstein distance of two samples of equal size, by the best assignment, on the host.

    Args:
        one: points; time grows with the cube of their number, 1,000 take a tenth of a second.
        other: as many points.

    Returns:
        The distance, data units.

    Raises:
        ValueError: the samples have different shapes.

    Reference: Peyre and Cuturi (2019).

    >>> w2(np.array([[0.0], [1.0]]), np.array([[3.0], [2.0]]))
    2.0
    """
    pair = _equal("one", one, "other", other)
    costs = cdist(*(np.asarray(rows, np.float64) for rows in pair), "sqeuclidean")
    return float(np.sqrt(costs[linear_sum_assignment(costs)].mean()))


def own_floor(
    statistic: Callable[[Array, Array], Any], key: Key, real: Float[ArrayLike, "num_rows dim"], num: int
) -> Any:
    """Return a statistic between two samples of real points: what no model of them can be expected to beat.

    The Frechet distance and the likes are biased: they depend on the number of points as much as on the law. This
    floor, for the same number, stands beside them.

    Args:
        statistic: (points, other points) -> a number, for example `frechet`.
        key: of the choice of rows.
        real: points, at least 2 * num.
        num: of points in each sample; no row is in both.

    Returns:
        What `statistic` returns.

    Raises:
        ValueError: there are fewer than 2 * num rows.

    >>> own_floor(lambda one, other: one.shape + other.shape, jax.random.key(0), np.array([[0.0], [1.0]]), 1)
    (1, 1, 1, 1)
    """
    check_key(key), check_count("num", num)
    rows = _points("real", real)
    if 2 * num > rows.shape[0]:
        raise ValueError(f"`num` must be at most half of the {rows.shape[0]} rows, got {num}; choose a smaller one.")
    order = jax.random.permutation(key, rows.shape[0])
    return statistic(rows[order[:num]], rows[order[num : 2 * num]])


def _points(name: str, rows: Any) -> Float[Array, "num dim"]:
    points = jnp.asarray(check_numbers(name, rows))
    if points.ndim != 2:
        raise ValueError(f"`{name}` must be of shape [num, dim], got {points.shape}; make each point a row.")
    return points if jnp.issubdtype(points.dtype, jnp.floating) else points.astype(jnp.result_type(float))


def paired_rows(name: str, one: Any, other_name: str, other: Any, least: int = 1) -> tuple[Array, Array]:
    """Return two sets of points of the same number of columns."""
    points, others = _points(name, one), _points(other_name, other)
    if points.shape[1] != others.shape[1]:
        raise ValueError(
            f"`{name}` has {points.shape[1]} columns and `{other_name}` {others.shape[1]}; compare points of one space."
        )
    for asked, rows in ((name, points), (other_name, others)):
        check_least(asked, rows, least)
    return points, others


def _equal(name: str, one: Any, other_name: str, other: Any) -> tuple[Array, Array]:
    points, others = paired_rows(name, one, other_name, other)
    if len(points) != len(others):
        raise ValueError(
            f"`{name}` has {len(points)} rows and `{other_name}` {len(others)}; give samples of equal size."
        )
    return points, others


def _neighbourly(
    name: str, one: Any, other_name: str, other: Any, num_neighbours: int, both: bool = True
) -> tuple[Array, Array]:
    """Return two sets of points, of which the first one, or both, have so many neighbours."""
    check_count("num_neighbours", num_neighbours)
    points, others = paired_rows(name, one, other_name, other)
    check_neighbours(name, points, num_neighbours)
    if both:
        check_neighbours(other_name, others, num_neighbours)
    return points, others


def check_least(name: str, rows: Array, least: int) -> None:
    """Refuse fewer rows than `least`."""
    if rows.shape[0] < least:
        raise ValueError(f"`{name}` must have at least {least} rows, got {rows.shape[0]}; give more points.")


def check_neighbours(name: str, rows: Array, num_neighbours: int) -> None:
    """Refuse a set whose points have fewer neighbours than are asked for."""
    if rows.shape[0] <= num_neighbours:
        raise ValueError(
            f"`num_neighbours` must be below the {rows.shape[0]} rows of `{name}`, got {num_neighbours}; give more "
            "points, or ask for fewer neighbours."
        )


def _nuclear_norm(matrix: Float[Array, "dim dim"]) -> Float[Array, ""]:
    """Return the sum of the singular values, those of a large matrix by its polar factor (Newton and Schulz)."""
    if matrix.shape[0] <= _ROTATED:
        return triangular.nuclear_norm(matrix)
    size = jnp.sqrt(jnp.sum(matrix**2))
    start = matrix / jnp.where(size > 0, size, 1.0)

    def turn(_: Array, factor: Array) -> Array:
        inner = jnp.matmul(factor.T, factor, precision=_HIGHEST)
        return 1.5 * factor - 0.5 * jnp.matmul(factor, inner, precision=_HIGHEST)

    # a singular value grows by half each time: what is below the rounding of the largest is left out
    num_turns = math.ceil(-math.log(jnp.finfo(matrix.dtype).eps) / math.log(1.5)) + 4
    return jnp.sum(jax.lax.fori_loop(0, num_turns, turn, start) * matrix)
