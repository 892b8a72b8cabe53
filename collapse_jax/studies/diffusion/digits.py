"""The real digits of the diffusion study: as a net sees them, and what is measured on them before a run."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.core.data import Samples
from collapse_jax.core.protocol import Metric, Snapshot
from collapse_jax.datasets.mnist import held_out_digits, load_mnist, mnist_sums, pooled_digits
from collapse_jax.metrics.sample_records import drawn_points, rows_in_data_units
from collapse_jax.metrics.samples import (
    component_variances,
    density_and_coverage,
    frechet,
    own_floor,
    precision_and_recall,
    principal_axes,
)
from collapse_jax.types import Array, Key
from collapse_jax.validation import check_count

NUM_HELD_OUT = 2000  # the last embedded digits, which the shipped judges have not seen either
NUM_COMPONENTS = 30  # principal axes of the real digits along which variances are recorded
NUM_NEIGHBOURS = 5
_FLOOR_STREAM = 0x464C4F52  # a stream of its own, away from the chains' seeds


class RealDigits(NamedTuple):
    """Digits of a run, scaled as nets see them: each pixel's mean taken off, and all divided by one number.

    That number is the standard deviation of all pixels, so that the variances of all directions add up to the number
    of pixels.

    Attributes:
        side: of an image, pixels.
        rows: real digits for model 0, [num, side * side].
        held_out: others, for comparison.
        mean: of each pixel, an intensity.
        size: the number that all were divided by.
        axes: principal axes of `rows`, largest variance first.
        variances: of `rows` along them.
    """

    side: int
    rows: np.ndarray
    held_out: np.ndarray
    mean: np.ndarray
    size: float
    axes: Array
    variances: np.ndarray

    def intensities(self, rows: Array) -> Array:
        """Return what a net draws as intensities in [0, 1]."""
        return jnp.clip(rows * self.size + jnp.asarray(self.mean, rows.dtype)[None], 0, 1)

    def floors(self, num: int, seed: int) -> dict[str, float]:
        """Return what comparisons give between two sets of `num` real digits each: held-out ones and others.

        The Frechet distance and the like never reach 0 or 1 for samples; these are their floors.
        """
        num = min(num, len(self.held_out), len(self.rows))
        pool = np.concatenate([self.rows[:num], self.held_out[:num]])
        key = jax.random.fold_in(jax.random.key(seed), _FLOOR_STREAM)

        def compared(one: Array, other: Array) -> dict[str, Any]:
            precision, recall = precision_and_recall(one, other, NUM_NEIGHBOURS)
            density, coverage = density_and_coverage(one, other, NUM_NEIGHBOURS)
            return {
                "frechet": frechet(one, other), "precision": precision, "recall": recall, "density": density,
                "coverage": coverage,
            }  # fmt: skip

        found = own_floor(jax.jit(compared), key, pool, num)
        return {f"real_{name}": float(value) for name, value in found.items()}


def read_digits(data: str, folder: str | None, num: int) -> RealDigits:
    """Return the first `num` digits that are not held out, or all where there are fewer, and the held-out ones.

    Raises:
        ValueError: files that cannot be read.
    """
    check_count("num_samples", num, minimum=2)
    images, held = load_mnist(folder).images, held_out_digits(folder, NUM_HELD_OUT, NUM_HELD_OUT).images
    images = (images[:-NUM_HELD_OUT] if folder is None else images)[:num]
    shrunk = pooled_digits if data == "small-digits" else np.asarray
    small = shrunk(images).astype(np.float64)
    mean = small.mean(axis=0)
    size = float((small - mean).std())
    rows, others = (((shrunk(each) - mean) / size).astype(np.float32) for each in (images, held))
    axes = principal_axes(rows, min(NUM_COMPONENTS, len(rows) - 1))
    variances = np.asarray(component_variances(axes, rows), float)
    return RealDigits(math.isqrt(rows.shape[1]), rows, others, mean, size, axes, variances)


def data_read(data: RealDigits, folder: str | None, num_measured: int, seed: int) -> dict[str, Any]:
    """Return what a run says of the digits that it read, for its claims: check sums, floors, variances by component."""
    variances = {f"variance_{place}": float(value) for place, value in enumerate(data.variances, start=1)}
    sizes = {"num_real": len(data.rows), "pixel_size": data.size}
    return {**mnist_sums(folder), **sizes, **data.floors(num_measured, seed), **variances}


def log_kept(data: RealDigits) -> Metric:
    """Return the metric `log_kept`: log of what a generation's draws have of the real variance along each axis."""
    axes, real = data.axes, jnp.log(jnp.asarray(data.variances))

    def function(key: Key, snapshot: Snapshot) -> Array:
        drawn = snapshot.synthetic
        found = component_variances(axes, rows_in_data_units(drawn, drawn.x, "log_kept"))  # all, of weight 1 each
        return jnp.log(found) - real.astype(found.dtype)

    return Metric("log_kept", ("component",), "1", function)


def shown(data: RealDigits, num_images: int) -> Metric:
    """Return the metric `images`: so many drawn images as bytes 0 to 255."""

    def function(key: Key, snapshot: Snapshot) -> Array:
        rows = drawn_points(key, snapshot, num_images, "images")[:num_images]
        return jnp.round(data.intensities(rows) * 255).astype(jnp.uint8)

    return Metric("images", ("image", "pixel"), "1/255 intensity", function)


def in_intensities(data: RealDigits, metric: Metric) -> Metric:
    """Return a metric of images in [0, 1] for a chain of scaled ones."""

    def function(key: Key, snapshot: Snapshot) -> Array:
        drawn = snapshot.synthetic
        return metric.function(
            key, snapshot._replace(synthetic=Samples(data.intensities(drawn.x), drawn.weight))
        )

    return metric._replace(function=function)
