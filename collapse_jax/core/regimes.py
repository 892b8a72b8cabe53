"""Regimes: what the next generation trains on. Each is a pair init, update; `compose` joins them.

    training, state = update(key, synthetic, state)

What mixes real data in is in `real_data` and can be had from here, too. Accumulate-subsample (Kazdan et al. 2024) is
`compose(accumulate(g), subsample(M))`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.core.data import Samples
from collapse_jax.core.data_checks import need_data_units, need_rows
from collapse_jax.core.protocol import Regime
from collapse_jax.core.real_data import Source, add_real, fresh, original, replace_with_real, weight_real
from collapse_jax.numerics.frame import to_data_units
from collapse_jax.numerics.sampling import live_indices
from collapse_jax.types import Array, ArrayLike, Key, PyTree
from collapse_jax.validation import (
    check_choice,
    check_count,
    check_function,
    check_kind,
    check_list,
    check_numbers,
    is_concrete,
)

__all__ = [
    "Source", "accumulate", "add_real", "compose", "curate", "fresh", "original", "replace", "replace_with_real",
    "schedule", "subsample", "weight_real", "window",
]  # fmt: skip


def replace() -> Regime:
    """Return the regime that trains on the latest synthetic data alone (Shumailov et al. 2024, setting A)."""
    return Regime(lambda real, synthetic: (), lambda key, synthetic, state: (synthetic, state))


def accumulate(max_generations: int) -> Regime:
    """Return the regime that trains on the real data and all synthetic data so far (Gerstgrasser et al. 2024).

    Args:
        max_generations: room for this many batches is reserved at the start; a longer run is refused.

    Raises:
        ValueError: `max_generations` < 1.
        TypeError: the model's data cannot be stored (a stream of fresh minibatches).
    """
    check_count("max_generations", max_generations)

    def init(real: Any, synthetic: Any) -> PyTree:
        _need_store(synthetic, "accumulate()")
        store = real.reserve(real.num_rows + max_generations * synthetic.num_rows)
        return store, jnp.asarray(real.num_rows)

    def update(key: Key, synthetic: Any, state: PyTree) -> tuple[Any, PyTree]:
        store, used = state
        store = store.append(synthetic, used)
        return store, (store, used + synthetic.num_rows)

    return Regime(init, update, max_generations)


def window(num_batches: int) -> Regime:
    """Return the regime that trains on the last `num_batches` batches; the real data are the first batch.

    `window(1)` is `replace()`, a window longer than the run is `accumulate()`.

    Raises:
        ValueError: `num_batches` < 1.
        TypeError: the model's data cannot be stored (a stream of fresh minibatches).
    """
    check_count("num_batches", num_batches)

    def init(real: Any, synthetic: Any) -> PyTree:
        _need_store(synthetic, "window()")
        size = max(real.num_rows, synthetic.num_rows)
        real = real.reserve(size)
        return (real.scale(0.0),) * (num_batches - 1) + (real,)

    def update(key: Key, synthetic: Any, batches: PyTree) -> tuple[Any, PyTree]:
        size = batches[-1].num_rows
        batches = (*batches[1:], synthetic.reserve(size))
        training = batches[-1]
        for batch in batches[:-1]:
            training = training.merge(batch)
        return training, batches

    return Regime(init, update)


def subsample(num_samples: int) -> Regime:
    """Return the regime that trains on `num_samples` of the rows, uniform without replacement.

    Rows of weight 0 are never chosen; where fewer rows live, the rest of the slots stay empty.

    Raises:
        ValueError: `num_samples` < 1, or more than there are slots.
        TypeError: the data have no single points.
    """
    check_count("num_samples", num_samples)

    def init(real: Any, synthetic: Any) -> PyTree:
        need_rows(synthetic, "subsample()", "use it with a model that draws points")
        if num_samples > synthetic.num_rows:
            raise ValueError(
                f"`num_samples` of subsample() must be at most the {synthetic.num_rows} rows it receives, "
                f"got {num_samples}."
            )
        return ()

    def update(key: Key, synthetic: Samples, state: PyTree) -> tuple[Samples, PyTree]:
        return synthetic.take(live_indices(key, synthetic.weight > 0, num_samples)), state

    return Regime(init, update)


def schedule(sizes: Sequence[int]) -> Regime:
    """Return the regime that trains generation g on the first `sizes[g - 1]` rows of what it receives.

    A schedule M_n for models that draw points: they draw the largest size. Models that draw statistics take
    the schedule as `num_samples` itself.

    Raises:
        ValueError: no size, a size below 2, or above the rows there are.
        TypeError: the data have no single points.
    """
    sizes = check_list("sizes", sizes, "[100, 200, 400]")
    if not sizes:
        raise ValueError("`sizes` must name at least one M; for example schedule([100, 200, 400]).")
    limits = jnp.asarray([check_count("sizes", size, minimum=2) for size in sizes])

    def init(real: Any, synthetic: Any) -> PyTree:
        need_rows(synthetic, "schedule()", "give the sizes as `num_samples` to build_chain")
        if max(sizes) > synthetic.num_rows:
            raise ValueError(
                f"`sizes` ask for {max(sizes)} rows, but {synthetic.num_rows} are drawn; raise `num_samples`."
            )
        return jnp.asarray(0)

    def update(key: Key, synthetic: Samples, done: PyTree) -> tuple[Samples, PyTree]:
        kept = jnp.arange(synthetic.num_rows) < limits[done]
        return synthetic._replace(weight=synthetic.weight * kept), done + 1

    return Regime(init, update, len(sizes))


def curate(
    score: Callable[[Array], Array], num_candidates: int, *, choice: str = "best", sharpness: ArrayLike = 1.0
) -> Regime:
    """Return the regime in which someone picks one of every `num_candidates` rows.

    M rows give M / num_candidates for training: draw that many times more.

    Args:
        score: rows in data units -> one score a row.
        num_candidates: K; 1 is `replace()`.
        choice: "best", the highest score, or "luce", with probability proportional to exp(sharpness * score)
            (Bradley and Terry 1952, for K = 2).
        sharpness: of the choice; may be traced.

    Raises:
        ValueError: M is not a multiple of K, an unknown choice, or a sharpness that is not finite.
        TypeError: the data have no single points.

    Reference: Ferbach et al. (2024).
    """
    check_function("score", score, "of rows in data units")
    check_count("num_candidates", num_candidates)
    check_choice("choice", choice, ("best", "luce"))
    if is_concrete(sharpness) and not np.isfinite(check_numbers("sharpness", sharpness)).all():
        raise ValueError(f"`sharpness` must be finite, got {sharpness}; choice='best' is the sharpest.")

    def init(real: Any, synthetic: Any) -> PyTree:
        need_rows(synthetic, "curate()", "use it with a model that draws points")
        if synthetic.num_rows % num_candidates:
            raise ValueError(
                f"`num_candidates` {num_candidates} must divide the {synthetic.num_rows} rows; draw a multiple."
            )
        return ()

    def update(key: Key, synthetic: Samples, state: PyTree) -> tuple[Samples, PyTree]:
        rows = synthetic.live_rows()
        if synthetic.frame is not None and synthetic.frame.origin is not None:
            need_data_units(synthetic, "the score of curate()")
        scores = score(rows if synthetic.frame is None else to_data_units(synthetic.frame, rows))
        scores = scores.reshape(-1, num_candidates)
        if choice == "luce":
            # a Gumbel for each candidate turns the best into a draw from exp(score)
            scores = jnp.asarray(sharpness) * scores + jax.random.gumbel(key, scores.shape)
        scores = jnp.where(
            synthetic.weight.reshape(scores.shape) > 0, scores, -jnp.inf
        )  # no empty slot is chosen
        picked = jnp.argmax(scores, axis=1) + num_candidates * jnp.arange(scores.shape[0])
        return synthetic.take(picked), state

    return Regime(init, update)


def compose(*regimes: Regime) -> Regime:
    """Return the regime that applies each of `regimes` to what the one before it gives.

    Raises:
        ValueError: no regime is given.

    >>> accumulate_subsample = compose(accumulate(50), subsample(100))
    """
    if not regimes:
        raise ValueError("compose() needs at least one regime; replace() is the plainest.")
    for regime in regimes:
        check_kind("regimes", regime, Regime, "for example compose(accumulate(50), subsample(100))")
    rooms = [regime.max_generations for regime in regimes if regime.max_generations is not None]

    def init(real: Any, synthetic: Any) -> PyTree:
        states = []
        for regime in regimes:
            state = regime.init(real, synthetic)
            states.append(state)
            # the next regime sees data of the shape that this one gives; the values are never read
            shape, _ = jax.eval_shape(regime.update, jax.random.key(0), synthetic, state)
            synthetic = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shape)
        return tuple(states)

    def update(key: Key, synthetic: Any, states: PyTree) -> tuple[Any, PyTree]:
        after = []
        for key_regime, regime, state in zip(jax.random.split(key, len(regimes)), regimes, states):
            synthetic, state = regime.update(key_regime, synthetic, state)
            after.append(state)
        return synthetic, tuple(after)

    return Regime(init, update, min(rooms, default=None))


def _need_store(data: Any, regime: str) -> None:
    if not hasattr(data, "append"):
        raise TypeError(
            f"`{regime}` must store data, got {type(data).__name__}, which holds none; "
            "draw a fixed synthetic set, or mix with weight_real(original(), weight=...)."
        )
