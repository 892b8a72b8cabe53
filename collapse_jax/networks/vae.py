"""The networks of variational autoencoders, as plain pytrees with the two functions they are for.

`MLP`: one hidden layer each way. `ConvNet`: that of Shumailov et al. (2024), 647,081 parameters, its kernel-4
stride-2 convolutions written as matrix products, because XLA's own convolution is 19 to 49 times slower inside
loops on CPUs.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from collapse_jax.networks.product import product
from collapse_jax.types import Array, Key

_CHANNELS, _SIDE = (64, 128), 7  # of the published net; 7 x 7 places remain of 28 x 28 pixels


class Linear(NamedTuple):
    """x -> x @ weight + bias."""

    weight: Float[Array, "inputs outputs"]
    bias: Float[Array, " outputs"]

    def __call__(self, x: Float[Array, "*num inputs"]) -> Float[Array, "*num outputs"]:
        """Return the layer's output."""
        rows = product(x, self.weight)
        return rows + self.bias.reshape((1,) * (rows.ndim - 1) + (-1,))


class MLP(NamedTuple):
    """An MLP encoder to the mean and log-variance of the latents, and an MLP decoder to pixel logits."""

    encode_hidden: Linear
    encode_latent: Linear
    decode_hidden: Linear
    decode_pixels: Linear

    def encode(self, images: Float[Array, "num pixels"]) -> tuple[Array, Array]:
        """Return mean and log-variance of the latents given images, each [num, latents]."""
        hidden = jax.nn.relu(self.encode_hidden(images))
        mean, log_variance = jnp.split(self.encode_latent(hidden), 2, axis=1)
        return mean, log_variance

    def decode(self, latents: Float[Array, "num latents"]) -> Float[Array, "num pixels"]:
        """Return the logits of pixels given latents."""
        return self.decode_pixels(jax.nn.relu(self.decode_hidden(latents)))


class ConvNet(NamedTuple):
    """The published net: two convolutions 1 -> 64 -> 128, kernel 4, stride 2; the decoder mirrors them.

    A convolution's weight is [16 C, O]: its inputs are the 4 x 4 patches, in the order of `patches`. A transposed
    one's is [C, 16 O]: what a place adds to the 4 x 4 places around it, in the same order.
    """

    encode_first: Linear
    encode_second: Linear
    encode_mean: Linear
    encode_log_variance: Linear
    decode_latent: Linear
    decode_first: Linear
    decode_second: Linear

    def encode(self, images: Float[Array, "num pixels"]) -> tuple[Array, Array]:
        """Return mean and log-variance of the latents given images, each [num, latents]."""
        grid = images.reshape(-1, 4 * _SIDE, 4 * _SIDE, 1)
        for layer in (self.encode_first, self.encode_second):
            grid = jax.nn.relu(layer(patches(grid)))
        features = grid.reshape(grid.shape[0], -1)
        return self.encode_mean(features), self.encode_log_variance(features)

    def decode(self, latents: Float[Array, "num latents"]) -> Float[Array, "num pixels"]:
        """Return the logits of pixels given latents."""
        grid = self.decode_latent(latents).reshape(-1, _SIDE, _SIDE, _CHANNELS[1])
        first, second = self.decode_first, self.decode_second
        grid = jax.nn.relu(add_patches(product(grid, first.weight)) + first.bias[None, None, None])
        grid = add_patches(product(grid, second.weight)) + second.bias[None, None, None]
        return grid.reshape(latents.shape[0], -1)


def init_linear(key: Key, inputs: int, outputs: int, spread: int = 1, bound: float | None = None) -> Linear:
    """Return random weights and biases, uniform within `bound`, by default 1/sqrt(inputs)."""
    key_weight, key_bias = jax.random.split(key)
    bound = inputs**-0.5 if bound is None else bound
    weight = jax.random.uniform(key_weight, (inputs, spread * outputs), minval=-bound, maxval=bound)
    return Linear(weight, jax.random.uniform(key_bias, (outputs,), minval=-bound, maxval=bound))


def init_mlp(key: Key, num_pixels: int, num_hidden: int, num_latents: int) -> MLP:
    """Return random weights, uniform within 1/sqrt(inputs) as PyTorch's layers are."""
    shapes = (
        (num_pixels, num_hidden),
        (num_hidden, 2 * num_latents),
        (num_latents, num_hidden),
        (num_hidden, num_pixels),
    )
    return MLP(*(init_linear(k, *shape) for k, shape in zip(jax.random.split(key, 4), shapes)))


def init_conv(key: Key, num_latents: int) -> ConvNet:
    """Return random weights of the published net for 28 x 28 pixels, with PyTorch's bounds.

    >>> net = init_conv(jax.random.key(0), num_latents=20)
    >>> sum(weight.size for weight in jax.tree.leaves(net))
    647081
    """
    few, many = _CHANNELS
    flat = many * _SIDE**2
    keys = jax.random.split(key, 7)
    return ConvNet(
        init_linear(keys[0], 16, few),
        init_linear(keys[1], 16 * few, many),
        init_linear(keys[2], flat, num_latents),
        init_linear(keys[3], flat, num_latents),
        init_linear(keys[4], num_latents, flat),
        # PyTorch counts a transposed convolution's inputs by its output channels
        init_linear(keys[5], many, few, spread=16, bound=1 / math.sqrt(16 * few)),
        init_linear(keys[6], few, 1, spread=16, bound=1 / math.sqrt(16)),
    )


def patches(grid: Float[Array, "num height width channels"]) -> Float[Array, "num rows columns inputs"]:
    """Return the 4 x 4 patches at stride 2 of a grid padded by 1, their places and channels in one axis.

    The order is (2 x 2 blocks, place in a block, channel): space to depth, then the four neighbouring blocks.
    """
    num, height, width, channels = grid.shape
    padded = jnp.pad(grid, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows, columns = height // 2, width // 2
    blocks = padded.reshape(num, rows + 1, 2, columns + 1, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    blocks = blocks.reshape(num, rows + 1, columns + 1, 4 * channels)
    return jnp.concatenate(
        [blocks[:, i : i + rows, j : j + columns] for i in (0, 1) for j in (0, 1)], axis=-1
    )


def add_patches(
    spread: Float[Array, "num rows columns outputs"],
) -> Float[Array, "num height width channels"]:
    """Return the sum of 4 x 4 patches laid at stride 2, less a border of 1: the transpose of `patches`."""
    num, rows, columns, outputs = spread.shape
    channels = outputs // 16
    quarters = jnp.split(spread, 4, axis=-1)
    places = ((0, 0), (0, 1), (1, 0), (1, 1))
    blocks = jnp.zeros((num, rows + 1, columns + 1, outputs // 4), spread.dtype)
    for quarter, (i, j) in zip(quarters, places):
        blocks = blocks + jnp.pad(quarter, ((0, 0), (i, 1 - i), (j, 1 - j), (0, 0)))
    grid = blocks.reshape(num, rows + 1, columns + 1, 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    return grid.reshape(num, 2 * rows + 2, 2 * columns + 2, channels)[:, 1:-1, 1:-1]
