"""The networks of variational autoencoders, as plain pytrees and functions.

Called by `models.vae`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from collapse_jax.types import Array, Key


class Linear(NamedTuple):
    """x -> x @ weight + bias."""

    weight: Float[Array, "inputs outputs"]
    bias: Float[Array, " outputs"]

    def __call__(self, x: Float[Array, "num inputs"]) -> Float[Array, "num outputs"]:
        """Return the layer's output."""
        return x @ self.weight + self.bias


class VAEParams(NamedTuple):
    """An MLP encoder to the mean and log-variance of the latents, and an MLP decoder to pixel logits."""

    encode_hidden: Linear
    encode_latent: Linear
    decode_hidden: Linear
    decode_pixels: Linear


def init_mlp(key: Key, num_pixels: int, num_hidden: int, num_latents: int) -> VAEParams:
    """Return random weights, uniform within 1/sqrt(inputs) as PyTorch's linear layers are."""
    shapes = (
        (num_pixels, num_hidden),
        (num_hidden, 2 * num_latents),
        (num_latents, num_hidden),
        (num_hidden, num_pixels),
    )
    return VAEParams(*(_init_linear(k, *shape) for k, shape in zip(jax.random.split(key, 4), shapes)))


def encode(params: VAEParams, images: Float[Array, "num pixels"]) -> tuple[Array, Array]:
    """Return mean and log-variance of the latents given images, each [num, latents]."""
    hidden = jax.nn.relu(params.encode_hidden(images))
    mean, log_variance = jnp.split(params.encode_latent(hidden), 2, axis=1)
    return mean, log_variance


def decode(params: VAEParams, latents: Float[Array, "num latents"]) -> Float[Array, "num pixels"]:
    """Return the logits of pixels given latents."""
    return params.decode_pixels(jax.nn.relu(params.decode_hidden(latents)))


def _init_linear(key: Key, inputs: int, outputs: int) -> Linear:
    key_weight, key_bias = jax.random.split(key)
    bound = inputs**-0.5
    weight = jax.random.uniform(key_weight, (inputs, outputs), minval=-bound, maxval=bound)
    return Linear(weight, jax.random.uniform(key_bias, (outputs,), minval=-bound, maxval=bound))
