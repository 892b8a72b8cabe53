"""Model-free metrics: they look only at the data that a generation drew.

Metrics of one family stand beside its model.
"""

import jax.numpy as jnp

from collapse_jax.core.data import Samples
from collapse_jax.core.protocol import Metric, Snapshot
from collapse_jax.numerics import frame as frames
from collapse_jax.types import Array, ArrayLike, Key
from collapse_jax.validation import check_count, check_numbers


def _drawn(key: Key, snapshot: Snapshot, num_rows: int) -> Array:
    return snapshot.synthetic.minibatch(key, num_rows)


def log_total_variance(num_rows: int = 1000) -> Metric:
    """Return the metric log tr Cov of `num_rows` rows drawn from the synthetic data, nats.

    Works in any frame: a variance of e^-400 is reported as -400.
    """
    check_count("num_rows", num_rows, minimum=2)

    def function(key: Key, snapshot: Snapshot) -> Array:
        rows = _drawn(key, snapshot, num_rows)
        rows = rows - jnp.mean(rows, axis=0, keepdims=True)
        frame = snapshot.synthetic.frame if isinstance(snapshot.synthetic, Samples) else None
        if frame is None:
            return jnp.log(jnp.sum(rows**2) / num_rows)
        # tr(A Y'Y A'/n): the rows stand in for the factor of the covariance
        return frames.log_total_variance(frame, rows.T) - jnp.log(num_rows)

    return Metric("log_total_variance", (), "nats", function)


def sample_mean(num_rows: int = 1000) -> Metric:
    """Return the metric "mean of `num_rows` rows of the synthetic data", data units."""
    check_count("num_rows", num_rows)

    def function(key: Key, snapshot: Snapshot) -> Array:
        rows = _drawn(key, snapshot, num_rows)
        frame = snapshot.synthetic.frame if isinstance(snapshot.synthetic, Samples) else None
        if frame is not None and frame.origin is not None:  # the mean is smaller than the offset
            return frames.to_data_units(frame, jnp.mean(rows, axis=0)[None])[0]
        return jnp.mean(rows if frame is None else frames.to_data_units(frame, rows), axis=0)

    return Metric("sample_mean", ("axis",), "data units", function)


def pixel_variance(num_images: int = 1000) -> Metric:
    """Return the metric "variance of a pixel over images, averaged over pixels", squared intensity."""
    check_count("num_images", num_images, minimum=2)

    def function(key: Key, snapshot: Snapshot) -> Array:
        return jnp.mean(jnp.var(_drawn(key, snapshot, num_images), axis=0))

    return Metric("pixel_variance", (), "squared intensity", function)


def sharpness(num_images: int = 1000, side: int = 28) -> Metric:
    """Return the metric "high-frequency energy": mean squared difference of neighbouring pixels.

    Images are rows of side * side intensities. Blurring lowers it; noise raises it.
    """
    check_count("num_images", num_images), check_count("side", side)

    def function(key: Key, snapshot: Snapshot) -> Array:
        rows = _drawn(key, snapshot, num_images)
        if rows.shape[1:] != (side**2,):
            raise ValueError(
                f"`side` {side} needs rows of {side**2} pixels, got {rows.shape[1:]}; set `side`."
            )
        return high_frequency_energy(rows.reshape(-1, side, side))

    return Metric("sharpness", (), "squared intensity", function)


def high_frequency_energy(images: ArrayLike) -> Array:
    """Return the mean squared difference of neighbouring pixels of images [num, height, width]."""
    images = jnp.asarray(check_numbers("images", images))
    if images.ndim != 3:
        raise ValueError(f"`images` must be of shape [num, height, width], got {images.shape}; stack them.")
    across, down = jnp.diff(images, axis=2), jnp.diff(images, axis=1)
    return jnp.mean(across**2) + jnp.mean(down**2)


def images(num_images: int) -> Metric:
    """Return the metric that keeps `num_images` rows of the synthetic data, as bytes 0 to 255."""
    check_count("num_images", num_images)

    def function(key: Key, snapshot: Snapshot) -> Array:
        return jnp.round(_drawn(key, snapshot, num_images) * 255).astype(jnp.uint8)

    return Metric("images", ("image", "pixel"), "1/255 intensity", function)
