"""The real digits of the autoencoder study: those that model 0 sees, and those that no model does."""

import jax
import numpy as np

from collapse_jax.data import Samples, as_samples
from collapse_jax.datasets.mnist import load_mnist
from collapse_jax.errors import check_count
from collapse_jax.studies.vae.config import VAEConfig
from collapse_jax.types import Key

NUM_HELD_OUT = 500


def real_digits(config: VAEConfig) -> Samples:
    """Return the digits that model 0 is fitted to: all but those held out.

    Raises:
        ValueError: more are asked for than there are.
    """
    images = load_mnist(config.data_folder).images
    if config.data_folder is None:
        images = images[:-NUM_HELD_OUT]
    if config.num_digits is not None:
        check_count("num_digits", config.num_digits)
        if config.num_digits > len(images):
            raise ValueError(
                f"`num_digits` must be at most the {len(images)} digits there are, got {config.num_digits}."
            )
        images = images[: config.num_digits]
    if config.draws == "bernoulli":
        images = _binarise(jax.random.key(config.seed), images)
    return as_samples(images)


def _binarise(key: Key, images: np.ndarray) -> np.ndarray:
    """Return binary images, each pixel 1 with its intensity as probability: what a Bernoulli decoder can draw."""
    return np.asarray(jax.random.uniform(key, images.shape) < images, np.float32)


def held_out_digits(config: VAEConfig) -> np.ndarray:
    """Return real digits that no model is fitted to: of the test set of a folder, else the last embedded ones."""
    if config.data_folder is not None:
        return load_mnist(config.data_folder, "t10k").images[:NUM_HELD_OUT]
    return load_mnist().images[-NUM_HELD_OUT:]
