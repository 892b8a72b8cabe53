"""Laws in the plane beside the digits: what is recorded of each, the same for all so that they stand side by side."""

import jax
import jax.numpy as jnp

from collapse_jax.core.protocol import Metric, Snapshot
from collapse_jax.datasets.planes import Plane
from collapse_jax.metrics.sample_records import drawn_points
from collapse_jax.metrics.samples import sliced_w2
from collapse_jax.types import Array, Key

# name in a configuration -> function of `datasets.planes`
TRUTHS = {
    "eight-gaussians": "eight_gaussians",
    "two-moons": "two_moons",
    "spiral": "spiral",
    "checkerboard": "checkerboard",
}
_NUM_SHOWN, _NUM_MEASURED = 400, 1000
_LEAST = 0.25  # of its fair share that a living mode has at least


def toy_metrics(truth: Plane) -> tuple[Metric, ...]:
    """Return what is recorded of a chain in the plane.

    `toy_distance`: sliced 2-Wasserstein distance to as many new points of the truth (data units); `toy_on_truth`: share
    of points in some mode of the truth; `toy_modes`: share of the modes with a quarter of their fair share or more;
    `toy_points`: some points.
    """

    def distance(key: Key, snapshot: Snapshot) -> Array:
        key_rows, key_truth, key_slices = jax.random.split(key, 3)
        rows = drawn_points(key_rows, snapshot, _NUM_MEASURED, "toy_distance")
        return sliced_w2(key_slices, rows, truth.draw(key_truth, rows.shape[0]))

    def on_truth(key: Key, snapshot: Snapshot) -> Array:
        rows = drawn_points(key, snapshot, _NUM_MEASURED, "toy_on_truth")
        return jnp.sum(truth.modes(rows)) / rows.shape[0]  # whole numbers add up alike on any device

    def modes(key: Key, snapshot: Snapshot) -> Array:
        rows = drawn_points(key, snapshot, _NUM_MEASURED, "toy_modes")
        return jnp.mean(truth.modes(rows) >= _LEAST * rows.shape[0] / truth.num_modes)

    def points(key: Key, snapshot: Snapshot) -> Array:
        return drawn_points(key, snapshot, _NUM_SHOWN, "toy_points")[:_NUM_SHOWN]

    return (
        Metric("toy_distance", (), "data units", distance),
        Metric("toy_on_truth", (), "1", on_truth),
        Metric("toy_modes", (), "1", modes),
        Metric("toy_points", ("point", "coordinate"), "data units", points),
    )
