"""Real data for the next generation: where they come from, and three ways to mix them with synthetic data.

A source is `original`, the fixed real set of generation 0, or `fresh`, new real data each time. Published names are
examples: 10 % of the original data kept (Shumailov et al. 2024, setting B) is `replace_with_real(original(),
fraction=0.1)`; the synthetic augmentation loop (Alemohammad et al. 2023) is `add_real(original())`, the fresh data loop
`add_real(fresh(sampler), count=n)`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from collapse_jax.core.data import Samples
from collapse_jax.core.data_checks import need_rows
from collapse_jax.core.protocol import Regime
from collapse_jax.numerics.sampling import distinct_indices
from collapse_jax.types import Array, ArrayLike, Key, PyTree
from collapse_jax.validation import (
    check_count,
    check_fraction,
    check_function,
    check_kind,
)


class Source(NamedTuple):
    """Where a regime takes real data from.

    Attributes:
        init: (real, synthetic) -> state.
        draw: (key, state, num, like) -> data of `num` rows in the coordinates of `like`; None means all there are.
    """

    init: Callable[[Any, Any], PyTree]
    draw: Callable[[Key, PyTree, Any, Any], Any]


def original() -> Source:
    """Return the fixed real set of generation 0, drawn without replacement while it lasts."""

    def draw(key: Key, real: Any, num: int | None, like: Any) -> Any:
        if num is None:
            return real
        need_rows(real, "a part of original()", "take all of it with add_real(original())")
        return real.take(distinct_indices(key, real.weight, num))

    return Source(lambda real, synthetic: real, draw)


def fresh(sampler: Callable[[Key, Any], Any]) -> Source:
    """Return new real data each time, from `sampler`: (key, num) -> data in data units, or from `as_samples`.

    >>> from collapse_jax import two_gaussians
    >>> regime = add_real(fresh(two_gaussians().sample), count=100)
    """

    check_function("sampler", sampler, "of a key and a number of points, for example two_gaussians().sample")

    def draw(key: Key, state: PyTree, num: ArrayLike | None, like: Any) -> Any:
        if num is None:
            raise ValueError(
                "`count` must be given with fresh(sampler), which has no end; for example count=100."
            )
        data = sampler(key, num)
        return data.enter(like.frame) if hasattr(data, "enter") and hasattr(like, "frame") else data

    return Source(lambda real, synthetic: (), draw)


def replace_with_real(source: Source, *, fraction: ArrayLike | None = None, count: int | None = None) -> Regime:
    """Return the regime that puts real rows into slots of the synthetic data; their number stays M.

    Args:
        source: where the real rows come from.
        fraction: each slot is real with this probability; may be traced, so a sweep is one program.
        count: or exactly this many slots, chosen at random, are real.

    Raises:
        ValueError: not exactly one of the two is given, a fraction outside [0, 1], a count above M.
        TypeError: the data have no single points.

    >>> paper_setting_b = replace_with_real(original(), fraction=0.1)
    """
    _check_source(source)
    if (fraction is None) == (count is None):
        raise ValueError(
            "replace_with_real() takes exactly one of `fraction` and `count`; for example fraction=0.1."
        )
    if fraction is not None:
        check_fraction("fraction", fraction)
    if count is not None:
        check_count("count", count, minimum=0)

    def init(real: Any, synthetic: Any) -> PyTree:
        need_rows(synthetic, "replace_with_real()", "use weight_real(source, weight=...) instead")
        if count is not None and count > synthetic.num_rows:
            raise ValueError(f"`count` must be at most the {synthetic.num_rows} synthetic rows, got {count}.")
        return source.init(real, synthetic)

    def update(key: Key, synthetic: Samples, state: PyTree) -> tuple[Samples, PyTree]:
        key_source, key_slots = jax.random.split(key)
        num_rows = synthetic.num_rows
        if count == 0:
            return synthetic, state
        drawn = source.draw(key_source, state, num_rows if count is None else count, synthetic)
        if count is None:
            is_real = jax.random.uniform(key_slots, (num_rows,)) < jnp.asarray(fraction)
            return _choose(is_real, drawn, synthetic), state
        slots = jax.random.permutation(key_slots, num_rows)[:count]
        put = lambda a, b: a.at[slots].set(b)  # noqa: E731
        rows = synthetic._replace(
            x=jax.tree.map(put, synthetic.x, drawn.x), weight=put(synthetic.weight, drawn.weight)
        )
        return rows, state

    return Regime(init, update)


def add_real(source: Source, *, count: int | None = None) -> Regime:
    """Return the regime that adds real data to the synthetic data.

    Args:
        source: where the real data come from.
        count: how many points; default all of the original set.

    Raises:
        ValueError: `count` < 1, or no count for a source without end.
    """
    _check_source(source)
    if count is not None:
        check_count("count", count)

    def update(key: Key, synthetic: Any, state: PyTree) -> tuple[Any, PyTree]:
        return synthetic.merge(source.draw(key, state, count, synthetic)), state

    return Regime(source.init, update)


def weight_real(source: Source, *, weight: ArrayLike, count: int | None = None) -> Regime:
    """Return the regime in which real data carry the share `weight` of the whole, synthetic data the rest.

    The total weight stays M. He et al. (2025) minimise the error over this share: with n fresh real and m synthetic
    points `theory.he_optimal_weight(n / m)` is best, 0.618 for n = m; with the fixed original set 1 is.

    Args:
        source: where the real data come from.
        weight: share in [0, 1]; may be traced.
        count: how many real points; default all of the original set.

    Raises:
        ValueError: a weight outside [0, 1], or no count for a source without end.
    """
    _check_source(source)
    check_fraction("weight", weight)
    if count is not None:
        check_count("count", count)

    def update(key: Key, synthetic: Any, state: PyTree) -> tuple[Any, PyTree]:
        real = source.draw(key, state, count, synthetic)
        total = synthetic.total_weight
        real = real.scale(weight * total / real.total_weight)
        return synthetic.scale(1.0 - weight).merge(real), state

    return Regime(source.init, update)


def _choose(flags: Array, yes: Samples, no: Samples) -> Samples:
    """Return rows of `yes` where flagged, of `no` elsewhere."""
    pick = lambda a, b: jnp.where(flags.reshape(flags.shape + (1,) * (a.ndim - 1)), a, b)  # noqa: E731
    return no._replace(x=jax.tree.map(pick, yes.x, no.x), weight=pick(yes.weight, no.weight))


def _check_source(source: Any) -> None:
    check_kind("source", source, Source, "take original() or fresh(sampler)")
