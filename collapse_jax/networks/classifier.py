"""A small convolutional classifier of digits, as a plain pytree."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from collapse_jax.networks.vae import Linear, init_linear, patches
from collapse_jax.types import Array, Key

NUM_FEATURES = 64


class Classifier(NamedTuple):
    """Two convolutions 1 -> 16 -> 32, kernel 4, stride 2, then features and logits."""

    first: Linear
    second: Linear
    features: Linear
    logits: Linear

    def embed(self, images: Float[Array, "num pixels"]) -> Float[Array, "num features"]:
        """Return the features that the logits are linear in."""
        side = round(images.shape[1] ** 0.5)
        grid = images.reshape(-1, side, side, 1)
        for layer in (self.first, self.second):
            grid = jax.nn.relu(layer(patches(grid)))
        return jax.nn.relu(self.features(grid.reshape(grid.shape[0], -1)))

    def log_probs(self, images: Float[Array, "num pixels"]) -> Float[Array, "num classes"]:
        """Return log P(class | image), nats."""
        return jax.nn.log_softmax(self.logits(self.embed(images)))


def init_classifier(key: Key, side: int = 28, num_classes: int = 10) -> Classifier:
    """Return random weights."""
    keys = jax.random.split(key, 4)
    flat = 32 * (side // 4) ** 2
    return Classifier(
        init_linear(keys[0], 16, 16),
        init_linear(keys[1], 16 * 16, 32),
        init_linear(keys[2], flat, NUM_FEATURES),
        init_linear(keys[3], NUM_FEATURES, num_classes),
    )


def shifted(key: Key, images: Float[Array, "num pixels"], reach: int = 1) -> Float[Array, "num pixels"]:
    """Return images each moved by up to `reach` pixels either way, zeros coming in."""
    side = round(images.shape[1] ** 0.5)
    grid = jnp.pad(images.reshape(-1, side, side), ((0, 0), (reach, reach), (reach, reach)))
    corners = jax.random.randint(key, (images.shape[0], 2), 0, 2 * reach + 1)
    moved = jax.vmap(lambda image, corner: jax.lax.dynamic_slice(image, corner, (side, side)))(grid, corners)
    return moved.reshape(images.shape)
