"""The real digits of the autoencoder study: those that model 0 sees, and those that no model does."""

from typing import Any

import jax
import numpy as np
from scipy import ndimage, special

from collapse_jax.core.data import Samples, as_samples
from collapse_jax.datasets import mnist
from collapse_jax.datasets.mnist import Digits, load_mnist, mnist_sums
from collapse_jax.metrics.model_free import high_frequency_energy
from collapse_jax.studies.vae.config import VAEConfig
from collapse_jax.types import Key
from collapse_jax.validation import check_count

NUM_HELD_OUT = 500  # of the embedded digits, and of a folder's those that a model's loss is measured on
NUM_JUDGED_REAL = 2000  # of a folder's, that the judges are examined on: all of 10,000 would take minutes
_NUM_BLURRED = 1000
_PIXEL_STREAM = 0x50495845  # a stream of its own, away from the chains' seeds


def real_digits(config: VAEConfig) -> Samples:
    """Return the digits that model 0 is fitted to: all but those held out.

    Raises:
        ValueError: more are asked for than there are.
    """
    images = _training_images(config)
    if config.draws == "bernoulli":
        images = _binarise(jax.random.fold_in(jax.random.key(config.seed), _PIXEL_STREAM), images)
    return as_samples(images)


def held_out_digits(config: VAEConfig, num: int = NUM_HELD_OUT) -> Digits:
    """Return real digits, with labels, that no model is fitted to: of a folder's test set, else the last embedded ones.

    Args:
        config: of the run.
        num: at most, spread over all that there are.

    Raises:
        ValueError: a folder whose test set is too small, or holds nothing but its training images.
    """
    return mnist.held_out_digits(config.data_folder, NUM_HELD_OUT, num)


def data_read(config: VAEConfig) -> dict[str, Any]:
    """Return what is to be known of the digits once they may be gone: check sums, entropy and sharpness.

    `targets_entropy` is the least loss that targets of these intensities allow, nats an image; `sharpness` the
    high-frequency energy of the first 1,000, and `blurred_sharpness` what a Gaussian blur of one pixel leaves of it.
    """
    images = _training_images(config)
    plain = images[:_NUM_BLURRED].reshape(-1, 28, 28)
    blurred = ndimage.gaussian_filter(plain, sigma=(0, 1, 1))
    return {
        **mnist_sums(config.data_folder),
        "targets_entropy": targets_entropy(images),
        "sharpness": float(high_frequency_energy(plain)),
        "blurred_sharpness": float(high_frequency_energy(blurred)),
    }


def targets_entropy(digits: np.ndarray) -> float:
    """Return the least loss that targets of these intensities allow, nats an image: their own entropy."""
    return float(np.mean(np.sum(special.entr(digits) + special.entr(1 - digits), axis=1, dtype=float)))


def _training_images(config: VAEConfig) -> np.ndarray:
    """Return what model 0 is fitted to, as intensities."""
    images = load_mnist(config.data_folder).images
    if config.data_folder is None:
        images = images[:-NUM_HELD_OUT]
    if config.num_digits is None:
        return images
    check_count("num_digits", config.num_digits)
    if config.num_digits > len(images):
        raise ValueError(
            f"`num_digits` must be at most the {len(images)} digits there are, got {config.num_digits}."
        )
    return images[: config.num_digits]


def _binarise(key: Key, images: np.ndarray) -> np.ndarray:
    """Return binary images, each pixel 1 with its intensity as probability: what a Bernoulli decoder can draw."""
    return np.asarray(jax.random.uniform(key, images.shape) < images, np.float32)
