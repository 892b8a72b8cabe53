"""Fits by many optimiser steps on minibatches, in pieces between which the host driver may stop."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from collapse_jax.core.chunks import Chunked
from collapse_jax.networks.in_turn import in_turn
from collapse_jax.networks.training import Losses, train_step
from collapse_jax.numerics.threefry import written_out
from collapse_jax.types import Array, Key, Params, PyTree

Loss = Callable[[Key, Params, PyTree], tuple[Array, Losses]]
_STEPS_PER_PIECE = 1000  # seconds of a small net


class Steps(NamedTuple):
    """How a fit is made of optimiser steps.

    Attributes:
        num_steps: how many.
        batch_size: rows of a minibatch, drawn with probability proportional to weight.
        start: "fresh", a new net every generation, or "warm", the same net trained on.
        part_size: on CPUs chains train one after the other, on parts of a minibatch of about so many rows; None:
            together, on all of it.
        average: the params of a fit are their running mean, p <- average p + (1 - average) new, over fewer steps at the
            beginning; 0 gives those of the last step.
    """

    num_steps: int
    batch_size: int
    start: str = "fresh"
    part_size: int | None = None
    average: float = 0.0


class _Fit(NamedTuple):
    """A fit under way."""

    key: Key
    data: Any
    params: Params
    opt_state: PyTree
    mean: Params  # of the params so far; None of no average
    totals: Losses  # of the last tenth of the steps


def trained(
    init_net: Callable[[Key], Params], loss: Loss, optimizer: optax.GradientTransformation, steps: Steps
) -> Chunked:
    """Return a `fit`: (key, params, data) -> (params, mean of what the loss reported over the last tenth of the steps).

    Args:
        init_net: key -> a new net.
        loss: (key, params, minibatch) -> (value to minimise, dict of scalars to report).
        optimizer: from optax.
        steps: of it.
    """
    num_steps, batch_size, start_from, part_size, average = steps
    per_piece = min(num_steps, _STEPS_PER_PIECE)
    tail = max(num_steps // 10, 1)
    num_parts = batch_size // part_size if part_size and batch_size % part_size == 0 else 1

    def start(key: Key, params: Params, data: Any) -> _Fit:
        key_init, key_train = jax.random.split(key)  # JAX's own, which checkpoints know
        first = init_net(written_out(key_init)) if start_from == "fresh" else params
        batch = jax.eval_shape(lambda k: data.minibatch(k, batch_size), key)
        reported = jax.eval_shape(lambda k, b: loss(k, first, b)[1], key, batch)
        totals = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), reported)
        return _Fit(key_train, data, first, optimizer.init(first), first if average else None, totals)

    def advance(parts: int, index: Array, carry: _Fit) -> _Fit:
        key = written_out(carry.key)

        def step(number: Array, state: tuple) -> tuple:
            params, opt_state, mean, totals = state
            key_step = jax.random.fold_in(key, number)
            (params, opt_state), told = train_step(
                key_step, params, opt_state, lambda k: carry.data.minibatch(k, batch_size), loss, optimizer, parts
            )
            if average:
                kept = jnp.minimum(average, (1 + number) / (10 + number))
                mean = jax.tree.map(lambda old, new: kept * old + (1 - kept) * new, mean, params)
            counts = number >= num_steps - tail
            totals = jax.tree.map(lambda total, value: total + jnp.where(counts, value, 0.0), totals, told)
            return params, opt_state, mean, totals

        first = index * per_piece
        state = (carry.params, carry.opt_state, carry.mean, carry.totals)
        last = jnp.minimum(first + per_piece, num_steps)  # the last piece may be short
        params, opt_state, mean, totals = jax.lax.fori_loop(first, last, step, state)
        return carry._replace(params=params, opt_state=opt_state, mean=mean, totals=totals)

    def finish(carry: _Fit) -> tuple[Params, Losses]:
        return carry.mean if average else carry.params, jax.tree.map(lambda total: total / tail, carry.totals)

    whole = partial(advance, 1)
    go_on = whole if part_size is None else in_turn(partial(advance, num_parts), whole)
    # compiled here: the host driver calls each piece from Python
    return Chunked(jax.jit(start), jax.jit(go_on), jax.jit(finish), -(-num_steps // per_piece))
