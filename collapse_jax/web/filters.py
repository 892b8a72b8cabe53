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

from collapse_jax.core.protocol import Metric, Snapshot
from collapse_jax.numerics import triangular
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
            raise TypeError("posterior() counts kinds of rows; use threshold(...) or trained(...) for points.")
        return jnp.zeros(web.counts.shape[1:], web.counts.dtype)

    def update(key: Key, web: CountStore, step: Array, known: Array) -> tuple[CountStore, Array]:
        human = web.counts[HUMAN] + smoothing
        generated = jnp.sum(web.counts, axis=0) - web.counts[HUMAN] + smoothing
        now = generated / jnp.where(human + generated > 0, human + generated, 1.0)
        generated_share = now if frozen_at is None else jnp.where(step <= frozen_at, now, known)
        keep = jnp.broadcast_to((1 - generated_share) ** exponent, web.counts.shape)
        return web._replace(keep=keep, soft=jnp.asarray(True)), generated_share

    return Filter(init, update)


def trained(
    features: Callable[[Any], Float[Array, "num p"]],
    *,
    ridge: ArrayLike = 1.0,
    frozen_at: int | None = None,
    below: ArrayLike | None = None,
) -> Filter:
    """Return the logistic regression that learns from the rows of the web, and who made them, which are generated.

    It weighs each row by 1 - q(x), q = sigmoid(b0 + b features(x)) the chance that it is generated; b minimises the
    log-loss of the web's rows, in nats, plus ridge |b|^2/2, without b0, as scikit-learn's does with C = 1/ridge. Poison
    counts as generated. Ten steps of Newton, halved where that is better; the state is (b0, b).

    Args:
        features: rows -> [num, p]: what the detector sees, such as counts of words; of comparable size, as one ridge
            holds for all.
        ridge: above 0; may be traced.
        frozen_at: the last step at which it is trained; default at every step.
        below: take rows out where 1 - q is below this, and leave the others whole; default: weights. May be traced.

    Raises:
        ValueError: a number out of range; when the chain is built: features of another shape.
        TypeError: when the chain is built: the web holds counts.
    """
    check_function("features", features, "of rows, for example lambda x: jnp.hstack([x, x**2])")
    check_positive("ridge", ridge)
    if frozen_at is not None:
        check_count("frozen_at", frozen_at, minimum=0)
    if below is not None:
        check_fraction("below", below)

    def init(web: Any, labels: int) -> Array:
        _need_row_store(web, "trained()")
        seen: tuple[int, ...] = getattr(jax.eval_shape(features, web.rows.live_rows()), "shape", ())
        if len(seen) != 2 or seen[0] != web.num_rows:
            raise ValueError(
                f"`features` must give a row of numbers for each of {web.num_rows} rows, got shape {seen}; for one "
                "number each, end it by [:, None]."
            )
        return jnp.zeros(1 + seen[1])

    def update(key: Key, web: RowStore, step: Array, known: Array) -> tuple[RowStore, Array]:
        seen = jnp.asarray(features(web.rows.live_rows()), known.dtype)
        design = jnp.hstack([jnp.ones((len(seen), 1), known.dtype), seen])
        fitted = _logistic_fit(design, web.label != HUMAN, web.rows.weight, ridge)
        now = fitted if frozen_at is None else jnp.where(step <= frozen_at, fitted, known)
        human = jax.nn.sigmoid(-design @ now)
        keep = human if below is None else human >= below
        return web._replace(keep=keep.astype(web.keep.dtype)), now

    return Filter(init, update)


def detector_auc() -> Metric:
    """Return the metric `detector_auc`: the area under the ROC curve of what a web's detector leaves of each row.

    The chance that it leaves more of a human row than of a generated one, ties counting half; of the web that was
    trained on, of points. Not a number where rows of one kind alone are there, as at generation 0.
    """

    def measure(key: Key, snapshot: Snapshot) -> Array:
        web = snapshot.training
        if not isinstance(web, RowStore):
            return jnp.asarray(jnp.nan)
        human, live = web.label == HUMAN, web.rows.weight > 0
        theirs = jnp.sort(jnp.where(human & live, web.keep, jnp.inf))
        beaten = jnp.searchsorted(theirs, web.keep) + jnp.searchsorted(theirs, web.keep, side="right")
        num_human, generated = jnp.sum(human & live), ~human & live
        chance = jnp.sum(jnp.where(generated, beaten, 0)) / (2.0 * num_human * jnp.sum(generated))
        return 1 - chance

    return Metric("detector_auc", (), "1", measure)


def _logistic_fit(
    design: Float[Array, "num q"], positive: Array, weight: Float[Array, " num"], ridge: ArrayLike
) -> Float[Array, " q"]:
    """Return what minimises the weighted log-loss and the ridge, by ten steps of Newton.

    Full steps can overshoot, and do where one kind of row is rare: of four sizes the best is taken.
    """
    pulled = jnp.asarray(ridge, design.dtype) * jnp.ones(design.shape[1], design.dtype).at[0].set(0.0)
    signed = jnp.where(positive, 1.0, -1.0)
    sizes = jnp.array([1.0, 0.5, 0.25, 0.0625])

    def loss(logits: Array, at: Array) -> Array:
        return jnp.sum(weight * jax.nn.softplus(-signed * logits)) + jnp.sum(pulled * at**2) / 2

    def newton(step: Array, at: Array) -> Array:
        logits = design @ at
        chance = jax.nn.sigmoid(logits)
        slope = design.T @ (weight * (chance - positive)) + pulled * at
        curved = (design * (weight * chance * (1 - chance))[:, None]).T @ design + jnp.diag(pulled)
        # where only one kind of row is there, the intercept has no end, and its curvature vanishes
        curved = curved.at[0, 0].add(1e-6 * jnp.sum(weight))
        move = triangular.solve(curved, slope)
        moved = design @ move
        losses = jax.vmap(lambda size: loss(logits - size * moved, at - size * move))(sizes)
        return at - sizes[jnp.argmin(losses)] * move

    return jax.lax.fori_loop(0, 10, newton, jnp.zeros(design.shape[1], design.dtype))


def _need_row_store(web: Any, who: str) -> None:
    if not isinstance(web, RowStore):
        raise TypeError(f"{who} reads rows, and the web holds counts; use blind(...) or posterior(...).")
