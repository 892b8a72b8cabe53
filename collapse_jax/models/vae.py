"""A variational autoencoder with a Bernoulli likelihood (Kingma and Welling 2014).

The loss of an image is -sum_pixels [x log p + (1 - x) log(1 - p)] + KL(q(z|x) || N(0, 1)), in nats.
The whole training is one scan, so many chains run under one `vmap`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from collapse_jax.core.data import Samples
from collapse_jax.core.data_checks import kind_of, need_array
from collapse_jax.core.protocol import Metric, Model, Snapshot
from collapse_jax.core.streams import Stream
from collapse_jax.metrics.model_free import images, pixel_variance, sharpness
from collapse_jax.models.trained import Steps, trained
from collapse_jax.networks.training import Losses, adam
from collapse_jax.networks.vae import MLP, ConvNet, init_conv, init_mlp
from collapse_jax.types import Array, ArrayLike, Key
from collapse_jax.validation import (
    check_choice,
    check_count,
    check_numbers,
    check_positive,
    is_concrete,
    static_size,
)

Net = MLP | ConvNet
# What the convolutions make of a minibatch of 256 is larger than a CPU's cache, and of eight chains eight times that:
# there chains train one after the other, on parts of so many images (16 and 32 are fastest, 64 a tenth slower).
_CONV_PART = 32


class Training(NamedTuple):
    """How an autoencoder is trained and drawn from; each field as in `vae`."""

    num_steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    start: str
    synthetic: str
    draws: str


def vae(
    *,
    num_pixels: int = 784,
    num_hidden: int = 256,
    num_latents: int = 16,
    num_steps: int = 470,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.0,
    start: str = "fresh",
    synthetic: str = "fixed",
    draws: str = "mean",
) -> Model:
    """Return the model of an MLP variational autoencoder.

    Args:
        num_pixels: length of a row.
        num_hidden: width of the hidden layers.
        num_latents: dimension of the latent code.
        num_steps: Adam steps of one fit.
        batch_size: rows of a minibatch, drawn with probability proportional to weight.
        learning_rate: Adam's.
        weight_decay: added to the gradient, as PyTorch's Adam does.
        start: "fresh", a new net every generation (published), or "warm", the same net trained on.
        synthetic: "fixed", a data set of M images drawn once a generation, or "fresh", new images for
            every minibatch (the published code), which leaves hardly any finite-sample error.
        draws: "mean", the decoder's means (the published code), or "bernoulli", binary pixels drawn from
            them, for which the real digits should be binary too.

    Returns:
        A model over rows of intensities in [0, 1]. Its fit reports `loss`, `reconstruction` and `kl`,
        nats an image, means over the last tenth of the steps.

    Raises:
        ValueError: an option out of range.
    """
    check_count("num_pixels", num_pixels), check_count("num_hidden", num_hidden)
    training = Training(num_steps, batch_size, learning_rate, weight_decay, start, synthetic, draws)
    return _autoencoder(
        lambda key: init_mlp(key, num_pixels, num_hidden, num_latents), num_pixels, num_latents, training
    )


def conv_vae(
    *,
    num_latents: int = 20,
    num_steps: int = 7031,
    batch_size: int = 256,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-5,
    start: str = "fresh",
    synthetic: str = "fresh",
    draws: str = "mean",
) -> Model:
    """Return the published model: a convolutional autoencoder of 647,081 parameters for 28 x 28 pixels.

    The defaults are the published settings (30 epochs of 60,000 digits); arguments and result as for `vae`.

    Raises:
        ValueError: an option out of range.

    Reference: the variational autoencoder experiment of Shumailov et al. (2024).
    """
    training = Training(num_steps, batch_size, learning_rate, weight_decay, start, synthetic, draws)
    return _autoencoder(lambda key: init_conv(key, num_latents), 784, num_latents, training, _CONV_PART)


def _autoencoder(
    init_net: Callable[[Key], Any],
    num_pixels: int,
    num_latents: int,
    training: Training,
    part_size: int | None = None,
) -> Model:
    num_steps, batch_size, learning_rate, weight_decay, start, synthetic, draws = training
    check_count("num_latents", num_latents)
    check_count("num_steps", num_steps), check_count("batch_size", batch_size)
    check_positive("learning_rate", learning_rate)
    check_positive("weight_decay", weight_decay, or_zero=True)
    check_choice("start", start, ("fresh", "warm"))
    check_choice("synthetic", synthetic, ("fixed", "fresh"))
    check_choice("draws", draws, ("mean", "bernoulli"))
    steps = Steps(num_steps, batch_size, start, part_size)
    fit = trained(init_net, loss, adam(learning_rate, weight_decay), steps)

    def init(key: Key, real: Any) -> Net:
        if not hasattr(real, "minibatch"):
            raise TypeError(f"the VAE is fitted to images, got {kind_of(real)}; give rows, as_samples(x).")
        if isinstance(real, Samples):
            need_array(real, "the VAE", "images, a row of intensities each", ndim=2)
        if real.num_rows and real.x.shape[1:] != (num_pixels,):
            raise ValueError(
                f"the VAE needs rows of {num_pixels} pixels, got {real.x.shape[1:]}; set `num_pixels`."
            )
        if isinstance(real, Samples) and is_concrete(real.x) and not _within_unit(real):
            raise ValueError("the VAE needs intensities in [0, 1]; divide bytes by 255.")
        return init_net(key)

    def draw(key: Key, params: Net, num: int) -> Float[Array, "num pixels"]:
        key_latent, key_pixel = jax.random.split(key)
        means = jax.nn.sigmoid(params.decode(jax.random.normal(key_latent, (num, num_latents))))
        if draws == "mean":
            return means
        return (jax.random.uniform(key_pixel, means.shape) < means).astype(means.dtype)

    def sample(key: Key, params: Net, num_samples: int) -> Samples | Stream:
        num_samples = static_size(num_samples)
        if synthetic == "fresh":
            return Stream(draw, params, jnp.asarray(float(num_samples)))
        return Samples(draw(key, params, num_samples), jnp.ones(num_samples))

    return Model(init, fit, sample)


def loss(key: Key, params: Net, images: Float[Array, "num pixels"]) -> tuple[Float[Array, ""], Losses]:
    """Return the negative ELBO of images, nats an image, with one latent draw each, and its two parts."""
    mean, log_variance = params.encode(images)
    latents = mean + jnp.exp(0.5 * log_variance) * jax.random.normal(key, mean.shape)
    logits = params.decode(latents)
    reconstruction = jnp.sum(jax.nn.softplus(logits) - images * logits) / images.shape[0]
    kl = 0.5 * jnp.sum(mean**2 + jnp.exp(log_variance) - 1 - log_variance) / images.shape[0]
    total = reconstruction + kl
    return total, {"loss": total, "reconstruction": reconstruction, "kl": kl}


def vae_metrics(num_images: int = 1000, num_shown: int = 20, *, side: int = 28) -> tuple[Metric, ...]:
    """Return what the VAE study records of a generation.

    Args:
        num_images: generated images that each number is taken over (published: 100).
        num_shown: generated images that are kept.
        side: images are side * side pixels.

    Returns:
        `latent_mean` and `latent_spread`, mean and standard deviation of all latent means of generated
        images under the encoder of generation 0 (latent units); `pixel_variance`, `sharpness`, `images`.
    """
    check_count("num_images", num_images, minimum=2), check_count("num_shown", num_shown), check_count("side", side)

    def codes(key: Key, snapshot: Snapshot) -> Array:
        return snapshot.origin.encode(snapshot.synthetic.minibatch(key, num_images))[0]

    return (
        Metric("latent_mean", (), "latent units", lambda key, s: jnp.mean(codes(key, s))),
        Metric("latent_spread", (), "latent units", lambda key, s: jnp.std(codes(key, s))),
        pixel_variance(num_images),
        sharpness(num_images, side),
        images(num_shown),
    )


def held_out_metrics(images: Float[ArrayLike, "num pixels"]) -> tuple[Metric, ...]:
    """Return what a model makes of given real images, nats an image.

    Args:
        images: that no model was fitted to, intensities in [0, 1].

    Returns:
        `held_out_loss`, the negative ELBO, and `held_out_reconstruction`, its first part: without the KL.
    """
    known = jnp.asarray(check_numbers("images", images))

    def part(name: str) -> Metric:
        return Metric(
            f"held_out_{name}", (), "nats an image", lambda key, s: loss(key, s.params, known)[1][name]
        )

    return part("loss"), part("reconstruction")


def _within_unit(real: Samples) -> bool:
    live = np.asarray(real.x)[np.asarray(real.weight) > 0]
    return bool(np.all((live >= 0) & (live <= 1)))
