"""Training of networks with optax, as one pure scan over steps."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float, Int

from collapse_jax.types import Array, ArrayLike, Key, Params, PyTree
from collapse_jax.validation import check_count

Losses = dict[str, Array]


def train(
    key: Key,
    params: Params,
    batch: Callable[[Key], PyTree],
    loss: Callable[[Key, Params, PyTree], tuple[Array, Losses]],
    optimizer: optax.GradientTransformation,
    num_steps: int,
    num_parts: int = 1,
) -> tuple[Params, Losses]:
    """Return params after `num_steps` optimiser steps, and what every step's loss reported.

    Args:
        key: step i uses `fold_in(key, i)`.
        params: where training begins.
        batch: key -> minibatch.
        loss: (key, params, minibatch) -> (value to minimise, dict of scalars to report).
        optimizer: from optax.
        num_steps: how many steps; at least 1.
        num_parts: a minibatch's gradient is the mean of the gradients of so many equal parts, one at a time, which
            takes that much less memory.

    Returns:
        The params and arrays of shape [num_steps].

    Raises:
        ValueError: a minibatch that does not divide into `num_parts`.
    """

    def step(carry: tuple[Params, optax.OptState], index: Array) -> tuple[tuple, Losses]:
        return train_step(jax.random.fold_in(key, index), *carry, batch, loss, optimizer, num_parts)

    (params, _), reported = jax.lax.scan(step, (params, optimizer.init(params)), jnp.arange(num_steps))
    return params, reported


def train_step(
    key: Key,
    params: Params,
    opt_state: optax.OptState,
    batch: Callable[[Key], PyTree],
    loss: Callable[[Key, Params, PyTree], tuple[Array, Losses]],
    optimizer: optax.GradientTransformation,
    num_parts: int = 1,
) -> tuple[tuple[Params, optax.OptState], Losses]:
    """Return params and optimiser state after one step, and what its loss reported; arguments as for `train`."""
    key_batch, key_loss = jax.random.split(key)
    return optimizer_step(key_loss, params, opt_state, batch(key_batch), loss, optimizer, num_parts)


def optimizer_step(
    key: Key,
    params: Params,
    opt_state: optax.OptState,
    minibatch: PyTree,
    loss: Callable[[Key, Params, PyTree], tuple[Array, Losses]],
    optimizer: optax.GradientTransformation,
    num_parts: int = 1,
) -> tuple[tuple[Params, optax.OptState], Losses]:
    """Return what `train_step` does, of a minibatch that is known; the key is the loss's alone."""
    check_count("num_parts", num_parts)
    gradient = jax.grad(loss, argnums=1, has_aux=True)
    if num_parts == 1:
        grads, reported = gradient(key, params, minibatch)
    else:
        parts = jax.tree.map(lambda rows: _parts(rows, num_parts), minibatch)
        keys = jax.random.split(key, num_parts)
        zero = jax.tree.map(jnp.zeros_like, params)

        def add(total: Params, part: tuple[Key, PyTree]) -> tuple[Params, Losses]:
            grads, reported = gradient(part[0], params, part[1])
            return jax.tree.map(lambda a, b: a + b / num_parts, total, grads), reported

        grads, reported = jax.lax.scan(add, zero, (keys, parts))
        reported = jax.tree.map(lambda values: jnp.mean(values, axis=0), reported)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return (optax.apply_updates(params, updates), opt_state), reported


def _parts(rows: Array, num_parts: int) -> Array:
    if rows.shape[0] % num_parts:
        raise ValueError(
            f"a minibatch of {rows.shape[0]} does not divide into {num_parts} parts; choose a divisor."
        )
    return rows.reshape(num_parts, -1, *rows.shape[1:])


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


def adamw(
    learning_rate: float | Callable[[Array], Array],
    weight_decay: float = 0.01,
    *,
    clip: float | None = None,
    decay_vectors: bool = True,
) -> optax.GradientTransformation:
    """Return AdamW: decay is apart from the gradient (Loshchilov & Hutter 2019).

    Args:
        learning_rate: a number, or step -> number.
        weight_decay: per step, relative to the weights, times the learning rate.
        clip: largest norm of the whole gradient; None leaves it.
        decay_vectors: whether norms and biases decay, too.
    """
    mask = None if decay_vectors else (lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params))
    before = optax.identity() if clip is None else optax.clip_by_global_norm(clip)
    return optax.chain(before, optax.adamw(learning_rate, weight_decay=weight_decay, mask=mask))


def cosine_by_epoch(
    peak: float, end: float, steps_per_epoch: int, num_epochs: int
) -> Callable[[ArrayLike], Array]:
    """Return step -> learning rate, from `peak` along a cosine towards `end`, constant within an epoch.

    Args:
        peak: of the first epoch.
        end: would be reached after the last epoch.
        steps_per_epoch: optimiser steps.
        num_epochs: of the whole training.

    >>> schedule = cosine_by_epoch(2.0, 0.0, steps_per_epoch=10, num_epochs=4)
    >>> [round(float(schedule(step)), 3) for step in (0, 9, 10, 20, 39)]
    [2.0, 2.0, 1.707, 1.0, 0.293]
    """
    check_count("steps_per_epoch", steps_per_epoch)
    check_count("num_epochs", num_epochs)

    def schedule(step: ArrayLike) -> Array:
        epoch = jnp.minimum(jnp.asarray(step) // steps_per_epoch, num_epochs)
        return end + 0.5 * (peak - end) * (1 + jnp.cos(jnp.pi * epoch / num_epochs))

    return schedule


def epoch_order(key: Key, weight: Float[Array, " rows"], num: int) -> Int[Array, " num"]:
    """Return the rows that one epoch reads, in random order: for equal weights each once.

    Args:
        key: of the order, and of which rows are read once more than others where weights do not divide.
        weight: of each row; one of weight 0 is never read.
        num: how many rows the epoch reads.
    """
    key_offset, key_order = jax.random.split(key)
    # clear of the edges and their rounding
    offset = jax.random.uniform(key_offset, (), minval=0.01, maxval=0.99)
    return jax.random.permutation(key_order, spread_rows(weight, num, offset))


def spread_rows(weight: Float[Array, " rows"], num: int, offset: ArrayLike) -> Int[Array, " num"]:
    """Return `num` rows in order, each as often as its share of the weight says, to within one.

    Args:
        weight: of each row.
        num: how many are returned.
        offset: in (0, 1), where within the first share counting begins.

    >>> spread_rows(jnp.asarray([2.0, 0.0, 1.0]), 3, 0.5).tolist()
    [0, 0, 2]
    """
    edges = jnp.cumsum(weight) / jnp.sum(weight) * num
    places = jnp.searchsorted(edges, jnp.arange(num) + offset, side="right")
    last = jnp.max(jnp.where(weight > 0, jnp.arange(weight.shape[0]), 0))
    return jnp.minimum(places, last)
