"""Training of networks with optax, as one pure scan over steps.

Called by `models.vae`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from collapse_jax.types import Array, Key, Params, PyTree

Losses = dict[str, Array]


def train(
    key: Key,
    params: Params,
    batch: Callable[[Key], PyTree],
    loss: Callable[[Key, Params, PyTree], tuple[Array, Losses]],
    optimizer: optax.GradientTransformation,
    num_steps: int,
) -> tuple[Params, Losses]:
    """Return params after `num_steps` optimiser steps, and what every step's loss reported.

    Args:
        key: step i uses `fold_in(key, i)`.
        params: where training begins.
        batch: key -> minibatch.
        loss: (key, params, minibatch) -> (value to minimise, dict of scalars to report).
        optimizer: from optax.
        num_steps: how many steps; at least 1.

    Returns:
        The params and arrays of shape [num_steps].
    """

    def step(carry: tuple[Params, optax.OptState], index: Array) -> tuple[tuple, Losses]:
        params, opt_state = carry
        key_batch, key_loss = jax.random.split(jax.random.fold_in(key, index))
        gradient = jax.grad(loss, argnums=1, has_aux=True)
        grads, reported = gradient(key_loss, params, batch(key_batch))
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), reported

    (params, _), reported = jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(num_steps))
    return params, reported


def adam(
    learning_rate: float | Callable[[Array], Array], weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """Return Adam with PyTorch's `weight_decay`: decay is added to the gradient before the moments.

    Args:
        learning_rate: a number, or step -> number.
        weight_decay: per step, relative to the weights.
    """
    decay = optax.add_decayed_weights(weight_decay) if weight_decay else optax.identity()
    return optax.chain(decay, optax.adam(learning_rate))
