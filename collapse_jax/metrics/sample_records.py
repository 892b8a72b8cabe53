"""What is recorded of the points that a generation drew: their comparison with real ones, and with those it learnt."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from collapse_jax.core.data import as_samples
from collapse_jax.core.data_checks import need_data_units, need_rows
from collapse_jax.core.protocol import Metric, Snapshot
from collapse_jax.metrics.samples import (
    check_least,
    check_neighbours,
    component_variances,
    frechet,
    paired_rows,
    precision_and_recall,
    principal_axes,
)
from collapse_jax.numerics import frame as frames
from collapse_jax.numerics import neighbours
from collapse_jax.types import Array, Key
from collapse_jax.validation import check_count

_CHOICE_STREAM = 0x43484F53  # a stream of its own, away from the chains' seeds


def sample_metrics(
    real: Any, *, num_rows: int = 1000, num_neighbours: int = 5, num_components: int = 10
) -> tuple[Metric, ...]:
    """Return how the points that a generation drew compare with real points, and with those it was fitted to.

    Args:
        real: points, best ones that no model was fitted to: whatever `as_samples` takes, images as rows of pixels or
            as arrays. The first `num_rows` are compared, but for the moments and the principal axes, which all decide.
            Those of weight 0 are left out.
        num_rows: drawn points that each number is taken over, where a generation drew so many.
        num_neighbours: how far a point reaches, for precision, recall, density and coverage.
        num_components: real principal axes along which variances are recorded, where there are so many.

    Returns:
        `frechet` (squared data units), `precision`, `recall`, `density`, `coverage`, `copies` of the training points
        (all "1") and `component_variance` (squared data units, along `component`).

    Raises:
        ValueError: too few real points for so many neighbours, or real points that are not numbers in data units; of
            the metrics, drawn points of another dimension.
        TypeError: of the metrics, data without points; of `copies`, training data that are drawn anew.

    >>> [metric.name for metric in sample_metrics([[0.0], [1.0], [3.0]], num_rows=3, num_neighbours=1)]
    ['frechet', 'precision', 'recall', 'density', 'coverage', 'copies', 'component_variance']
    """
    check_count("num_rows", num_rows, minimum=2), check_count("num_neighbours", num_neighbours)
    check_count("num_components", num_components)
    known = real if hasattr(real, "live_rows") else as_samples(real)
    need_data_units(known, "a comparison of samples")
    points = rows_in_data_units(known, known.x, "real")
    points = points[np.asarray(known.weight) > 0]
    check_least("real", points, 2)
    few = points[:num_rows]
    check_neighbours("real", few, num_neighbours)
    reach = neighbours.squared_reach(few, num_neighbours)  # once and for all generations
    reached = lambda rows: neighbours.reached_by(few, reach, rows)  # noqa: E731
    axes = principal_axes(points, min(num_components, points.shape[1], points.shape[0] - 1))

    def compared(
        name: str, unit: str, function: Callable[[Array], Array], dims: tuple[str, ...] = ()
    ) -> Metric:
        def measure(key: Key, snapshot: Snapshot) -> Array:
            return function(paired_rows("real", few, "synthetic", drawn_points(key, snapshot, num_rows, name))[1])

        return Metric(name, dims, unit, measure)

    def copied(key: Key, snapshot: Snapshot) -> Array:
        training = snapshot.training
        need_rows(training, "copies", "let a model draw a fixed set of rows, or leave this metric out")
        rows = paired_rows("real", few, "training", rows_in_data_units(training, training.x, "copies"))[1]
        # kinds are told by the bits as stored: a change of coordinates may round equal rows to different bits
        kept = neighbours.first_of_its_kind(jnp.asarray(training.x).reshape(rows.shape[0], -1), training.weight > 0)
        return neighbours.share_of_copies(rows, drawn_points(key, snapshot, num_rows, "copies"), 1 / 3, kept)

    return (
        compared("frechet", "squared data units", lambda rows: frechet(points, rows)),
        compared("precision", "1", lambda rows: jnp.mean(jnp.any(reached(rows), axis=0))),
        compared("recall", "1", lambda rows: precision_and_recall(few, rows, num_neighbours)[1]),
        compared("density", "1", lambda rows: jnp.mean(jnp.sum(reached(rows), axis=0)) / num_neighbours),
        compared("coverage", "1", lambda rows: jnp.mean(jnp.any(reached(rows), axis=1))),
        Metric("copies", (), "1", copied),
        compared(
            "component_variance", "squared data units", lambda rows: component_variances(axes, rows), ("component",)
        ),
    )


def mode_shares(truth: Any, num_rows: int = 1000) -> Metric:
    """Return the metric `mode_shares`: the share of drawn points in each mode of a truth.

    Args:
        truth: with a method `modes`, points -> number of points in each mode, as those of `datasets.planes` have.
        num_rows: drawn points that the shares are taken over, where a generation drew so many.

    Raises:
        TypeError: `truth` does not know its modes.
    """
    check_count("num_rows", num_rows)
    if not hasattr(truth, "modes"):
        raise TypeError(f"`truth` must have modes, got {type(truth).__name__}; give for example eight_gaussians().")

    def function(key: Key, snapshot: Snapshot) -> Array:
        rows = drawn_points(key, snapshot, num_rows, "mode_shares")
        return truth.modes(rows) / rows.shape[0]

    return Metric("mode_shares", ("mode",), "1", function)


def drawn_points(key: Key, snapshot: Snapshot, num_rows: int, metric: str) -> Float[Array, "num dim"]:
    """Return points that a generation drew, as flat rows in data units.

    Of stored rows each is taken as often as its weight asks, up to rounding: none twice where all weigh the same, since
    a repeated point would be its own neighbour. All who ask in one generation get the same rows.

    Args:
        key: of what is drawn anew; which stored rows are taken is a matter of the generation alone.
        snapshot: of the generation.
        num_rows: how many, or as many as are stored.
        metric: that asks, for the sentence.

    Raises:
        TypeError: the data have no points.
    """
    data = snapshot.synthetic
    if not hasattr(data, "minibatch"):
        need_rows(data, metric, "let the model draw points instead of statistics")
    if not hasattr(data, "live_rows"):  # what is drawn anew differs each time
        return rows_in_data_units(data, data.minibatch(key, num_rows), metric)
    num = min(num_rows, data.num_rows)
    key_order, key_offset = jax.random.split(jax.random.fold_in(jax.random.key(_CHOICE_STREAM), snapshot.generation))
    # every k-th of a random order: rows may lie in one that repeats itself
    order = jax.random.permutation(key_order, data.num_rows)
    edges = jnp.cumsum(data.weight[order])
    steps = (jnp.arange(num) + jax.random.uniform(key_offset)) * (edges[-1] / num)
    last = jnp.searchsorted(edges, edges[-1])  # rounding must not lead to an empty slot
    chosen = order[jnp.minimum(jnp.searchsorted(edges, steps, side="right"), last)]
    return rows_in_data_units(data, jax.tree.map(lambda leaf: jnp.asarray(leaf)[chosen], data.x), metric)


def rows_in_data_units(data: Any, x: Any, asker: str) -> Float[Array, "num dim"]:
    """Return rows of a data set as flat rows in data units."""
    if not hasattr(x, "reshape"):
        raise TypeError(f"`{asker}` compares rows of one array, got {type(x).__name__}; choose one array of them.")
    rows = jnp.asarray(x).reshape(x.shape[0], -1)
    rows = rows if jnp.issubdtype(rows.dtype, jnp.floating) else rows.astype(jnp.result_type(float))
    frame = getattr(data, "frame", None)
    return rows if frame is None else frames.to_data_units(frame, rows)
