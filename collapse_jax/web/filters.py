"""Detectors of generated rows, as what a web's labs leave out.

    keep, state = update(key, web, step, state):  a share in [0, 1] for each row, or for each kind of row and label

What a detector does is its true positive rate t and its false positive rate f, where a positive is a row that it takes
for generated. A soft one weighs rows by what it thinks that they are human.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from collapse_jax.types import Array, ArrayLike, Key, PyTree
from collapse_jax.validation import check_count, check_fraction, check_function, check_positive
from collapse_jax.web.stores import HUMAN, CountStore, RowStore


class Filter(NamedTuple):
    """A detector.

    Attributes:
        init: (web, number of labels) -> state.
        update: (key, web, step, state) -> (the web with `keep` set, state).
    """

    init: Callable[[Any, int], PyTree]
    update: Callable[[Key, Any, Array, PyTree], tuple[Any, PyTree]]


def blind(true_positive_rate: ArrayLike, false_positive_rate: ArrayLike) -> Filter:
    """Return the detector that sees labels through noise, and nothing of the content: two rates say all of it.

    Args:
        true_positive_rate: t, the share of generated rows, poison among them, that it takes out; may be traced, so that
            a whole ROC plane is one program.
        false_positive_rate: f, the share of human rows that it takes out.

    Raises:
        ValueError: a rate outside [0, 1].
    """
    check_fraction("true_positive_rate", true_positive_rate)
    check_fraction("false_positive_rate", false_positive_rate)

    def update(key: Key, web: Any, step: Array, state: PyTree) -> tuple[Any, PyTree]:
        passes = lambda label: 1 - jnp.where(label == HUMAN, false_positive_rate, true_positive_rate)  # noqa: E731
        if isinstance(web, CountStore):
            labels = jnp.arange(web.counts.shape[0])
            chance = passes(labels).reshape(-1, *(1,) * (web.counts.ndim - 1))
            keep = jnp.broadcast_to(chance, web.counts.shape).astype(web.counts.dtype)
            return web._replace(keep=keep, soft=jnp.asarray(False)), state
        verdict = jax.random.uniform(key, web.label.shape) < passes(web.label)
        return web._replace(keep=verdict.astype(web.keep.dtype)), state

    return Filter(lambda web, labels: (), update)


def threshold(score: Callable[[Any], Float[Array, " num"]], below: ArrayLike) -> Filter:
    """Return the detector that takes out rows whose score is below a threshold; frozen for ever.

    The likelihood ratio of N(0, s^2) against N(0, 1) rises with |x|: for Gaussians `threshold(lambda x: abs(x[:, 0]),
    below=c)` is the best detector there is, whatever s < 1.

    Args:
        score: rows -> [num], high for what looks human.
        below: may be traced.

    Raises:
        TypeError: when the chain is built: the web holds counts.
    """
    check_function("score", score, "of rows, for example lambda x: abs(x[:, 0])")

    def init(web: Any, labels: int) -> PyTree:
        _need_row_store(web, "threshold()")
        return ()

    def update(key: Key, web: RowStore, step: Array, state: PyTree) -> tuple[RowStore, PyTree]:
        keep = score(web.rows.live_rows()) >= below
        return web._replace(keep=keep.astype(web.keep.dtype)), state

    return Filter(init, update)


def posterior(
    *,
    exponent: ArrayLike = 1.0,
    frozen_at: int | None = None,
    smoothing: float = 0.0,
) -> Filter:
    """Return the weights 1 - q(x) of a calibrated detector, for counts: q is the generated share of each kind of row.

    With the exponent 1 the weighted web has exactly the law of its human rows.

    Args:
        exponent: weights are (1 - q)^exponent; another one than 1 tilts (Drayson et al. 2025, bias factor).
        frozen_at: the step at which the detector was trained; default at every step.
        smoothing: rows that are added to each kind, human and generated.

    Raises:
        ValueError: a number out of range.
        TypeError: when the chain is built: the web holds points.
    """
    check_positive("exponent", exponent, or_zero=True)
    check_positive("smoothing", smoothing, or_zero=True)
    if frozen_at is not None:
        check_count("frozen_at", frozen_at)

    def init(web: Any, labels: int) -> Array:
        if not isinstance(web, CountStore):
            raise TypeError("posterior() counts kinds of rows; use threshold(score, below) for points.")
        return jnp.zeros(web.counts.shape[1:], web.counts.dtype)

    def update(key: Key, web: CountStore, step: Array, known: Array) -> tuple[CountStore, Array]:
        human = web.counts[HUMAN] + smoothing
        generated = jnp.sum(web.counts, axis=0) - web.counts[HUMAN] + smoothing
        now = generated / jnp.where(human + generated > 0, human + generated, 1.0)
        generated_share = now if frozen_at is None else jnp.where(step <= frozen_at, now, known)
        keep = jnp.broadcast_to((1 - generated_share) ** exponent, web.counts.shape)
        return web._replace(keep=keep, soft=jnp.asarray(True)), generated_share

    return Filter(init, update)


def _need_row_store(web: Any, who: str) -> None:
    if not isinstance(web, RowStore):
        raise TypeError(f"{who} reads rows, and the web holds counts; use blind(...) or posterior(...).")
