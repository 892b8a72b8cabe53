"""Networks that look at noised data and say what was added: an MLP for rows of a few numbers, a U-Net for images.

Both read x scaled to a^2 + s^2 = 1 and the angle of the noise, 2/pi atan2(s, a) in [0, 1], so that one net serves every
schedule; both return as many numbers as x has. Params are plain pytrees.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from collapse_jax.networks.vae import Linear, init_linear
from collapse_jax.types import Array, Key, Params
from collapse_jax.validation import check_count

_WAVES = 8  # sines and cosines of the angle


class Denoiser(NamedTuple):
    """A network for a diffusion or flow model.

    Attributes:
        size: numbers in a row.
        init: key -> random params.
        apply: (params, rows [num, size], angle [num]) -> rows of the same shape.
    """

    size: int
    init: Callable[[Key], Params]
    apply: Callable[[Params, Array, Array], Array]


def mlp_denoiser(size: int, *, width: int = 128, depth: int = 3) -> Denoiser:
    """Return a multilayer perceptron.

    Args:
        size: numbers in a row: 2 for points in the plane, 64 for 8 x 8 pixels.
        width: of each hidden layer.
        depth: hidden layers.

    Raises:
        ValueError: an option out of range.

    >>> net = mlp_denoiser(2, width=16, depth=2)
    >>> net.apply(net.init(jax.random.key(0)), jnp.ones((5, 2)), jnp.ones(5)).shape
    (5, 2)
    """
    check_count("size", size), check_count("width", width), check_count("depth", depth)
    sizes = [size + 2 * _WAVES, *[width] * depth, size]

    def init(key: Key) -> list[Linear]:
        keys = jax.random.split(key, depth + 1)
        # within 1/sqrt(inputs) all begins nearly linear, and a velocity, whose best linear guess is 0, stays there
        layers = [init_linear(k, *pair, bound=(6 / pair[0]) ** 0.5) for k, pair in zip(keys, pairwise(sizes))]
        return [*layers[:-1], _quiet(layers[-1])]

    def apply(layers: list[Linear], x: Array, angle: Array) -> Array:
        hidden = jnp.concatenate([x, _waves(angle)], axis=1)
        for layer in layers[:-1]:
            hidden = jax.nn.silu(layer(hidden))
        return layers[-1](hidden)

    return Denoiser(size, init, apply)


class _Block(NamedTuple):
    """Two 3 x 3 convolutions around a residual path; the angle shifts every channel between them."""

    first: Linear
    of_angle: Linear
    second: Linear
    beside: Linear

    def __call__(self, grid: Array, waves: Array) -> Array:
        """Return the grid with other channels."""
        hidden = self.first(_neighbours(jax.nn.silu(_normalised(grid))))
        hidden = hidden + self.of_angle(waves)[:, None, None]
        hidden = self.second(_neighbours(jax.nn.silu(_normalised(hidden))))
        return self.beside(grid) + hidden


class UNet(NamedTuple):
    """Down to a quarter of the side and up again, each level beside its mirror image."""

    enter: Linear
    of_angle: Linear
    down: list[_Block]
    middle: _Block
    up: list[_Block]
    leave: Linear


def unet_denoiser(side: int = 28, *, channels: tuple[int, int, int] = (24, 48, 72)) -> Denoiser:
    """Return a small U-Net for square images of one channel; its convolutions are products of matrices.

    Args:
        side: of an image, a multiple of 4.
        channels: at full, half and quarter side; the defaults make about 335,000 weights.

    Raises:
        ValueError: a side that is not a multiple of 4.

    >>> net = unet_denoiser(28)
    >>> sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(net.init, jax.random.key(0))))
    335081
    """
    check_count("side", side, minimum=4)
    if side % 4:
        raise ValueError(f"`side` must be a multiple of 4, which is halved twice, got {side}; pad the images.")
    large, mid, small = (check_count("channels", number) for number in channels)
    embedded = 4 * _WAVES

    def block(key: Key, inputs: int, outputs: int) -> _Block:
        keys = jax.random.split(key, 4)
        return _Block(
            init_linear(keys[0], 9 * inputs, outputs),
            init_linear(keys[1], embedded, outputs),
            _quiet(init_linear(keys[2], 9 * outputs, outputs)),
            init_linear(keys[3], inputs, outputs),
        )

    def init(key: Key) -> UNet:
        keys = jax.random.split(key, 9)
        return UNet(
            init_linear(keys[0], 9, large),
            init_linear(keys[1], 2 * _WAVES, embedded),
            [block(keys[2], large, large), block(keys[3], large, mid), block(keys[4], mid, small)],
            block(keys[5], small, small),
            [block(keys[6], small + mid, mid), block(keys[7], mid + large, large)],
            _quiet(init_linear(keys[8], 9 * large, 1)),
        )

    def apply(net: UNet, x: Array, angle: Array) -> Array:
        waves = jax.nn.silu(net.of_angle(_waves(angle)))
        grid = net.enter(_neighbours(x.reshape(-1, side, side, 1)))
        first = net.down[0](grid, waves)
        second = net.down[1](_halved(first), waves)
        grid = net.middle(net.down[2](_halved(second), waves), waves)
        grid = net.up[0](jnp.concatenate([_doubled(grid), second], axis=-1), waves)
        grid = net.up[1](jnp.concatenate([_doubled(grid), first], axis=-1), waves)
        return net.leave(_neighbours(jax.nn.silu(_normalised(grid)))).reshape(x.shape)

    return Denoiser(side * side, init, apply)


def _quiet(layer: Linear) -> Linear:
    """Return a layer that begins by saying nothing."""
    return Linear(0 * layer.weight, 0 * layer.bias)


def _waves(angle: Float[Array, " num"]) -> Float[Array, "num waves"]:
    """Return sines and cosines of the angle, from half a turn to many."""
    turns = math.pi * angle[:, None] * 2.0 ** jnp.arange(_WAVES)[None] / 2
    return jnp.concatenate([jnp.sin(turns), jnp.cos(turns)], axis=1)


def _neighbours(grid: Float[Array, "num side side channels"]) -> Float[Array, "num side side inputs"]:
    """Return the 3 x 3 places around each place, and their channels, in one axis."""
    side = grid.shape[1]
    padded = jnp.pad(grid, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return jnp.concatenate(
        [padded[:, i : i + side, j : j + side] for i in range(3) for j in range(3)], axis=-1
    )


def _normalised(grid: Float[Array, "num side side channels"]) -> Float[Array, "num side side channels"]:
    """Return the grid with mean square 1 over the channels of each place."""
    return grid * jax.lax.rsqrt(jnp.mean(grid**2, axis=-1, keepdims=True) + 1e-5)


def _halved(grid: Array) -> Array:
    """Return means of 2 x 2 places."""
    num, side, _, channels = grid.shape
    return grid.reshape(num, side // 2, 2, side // 2, 2, channels).mean(axis=(2, 4))


def _doubled(grid: Array) -> Array:
    """Return each place four times."""
    return jnp.repeat(jnp.repeat(grid, 2, axis=1), 2, axis=2)


