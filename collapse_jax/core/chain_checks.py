"""What is checked of a chain: when it is built, by tracing two generations; in Python, as it runs."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from collapse_jax.core.data import Samples
from collapse_jax.core.labels import check_labels, check_record
from collapse_jax.core.protocol import Carried, Metric, Model
from collapse_jax.validation import check_function, check_kind, check_list


def checked_metrics(metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """Return metrics, of names, dims and units that a result can have."""
    if isinstance(metrics, Metric):
        raise TypeError(f"`metrics` must be a list, got the metric '{metrics.name}' itself; write [it].")
    metrics = tuple(check_list("metrics", metrics, "gaussian_metrics()"))
    for metric in metrics:
        check_kind("metrics", metric, Metric, "for example Metric('mean', (), 'data units', function)")
        check_function("function", metric.function, f"of a key and a snapshot in metric '{metric.name}'")
    check_labels(metrics)
    return metrics


def check_traced(
    model: Model, init: Callable, step: Callable, metrics: Sequence[Metric], sizes: Sequence[int]
) -> None:
    """Refuse a chain whose carry or record no loop or result can hold, and sizes that the model cannot draw.

    Args:
        model: of the chain.
        init: of the chain.
        step: of the chain.
        metrics: what it records.
        sizes: of a schedule, which the chain itself only sees traced.
    """
    key = jax.eval_shape(lambda: jax.random.key(0))
    state, record = jax.eval_shape(init, key)
    check_record(record, metrics)
    after, _ = jax.eval_shape(step, key, state)
    check_same(state, after)
    for size in {int(size) for size in (min(sizes), max(sizes))} if len(sizes) else ():
        jax.eval_shape(lambda key, params, size=size: model.sample(key, params, size), key, state.params)


def check_same(state: Carried, after: Carried) -> None:
    """Refuse a state built otherwise than the one before; NumPy params may grow in their first axis, rows kept."""
    before_leaves, before_tree = jax.tree.flatten_with_path(state)
    after_leaves, after_tree = jax.tree.flatten_with_path(after)
    if str(before_tree) != str(after_tree):
        raise ValueError(
            "the chain's state changes its structure between generations; `fit` must return params, and "
            f"`update` a state, built as `init` built them: {before_tree} became {after_tree}."
        )
    for (path, before), (_, now) in zip(before_leaves, after_leaves):
        fixed = 1 if isinstance(now, np.ndarray) and now.ndim == before.ndim else 0
        if (before.shape[fixed:], before.dtype) != (now.shape[fixed:], now.dtype):
            raise ValueError(
                f"state{jax.tree_util.keystr(path)} changes from {before.dtype}{list(before.shape)} to "
                f"{now.dtype}{list(now.shape)} between generations; keep its shape and type fixed."
            )


def check_rows(data: Any, synthetic: Any) -> None:
    """Refuse rows of a host model that are not built as the real ones; JAX's models meet this when traced."""
    if not (isinstance(data, Samples) and isinstance(synthetic, Samples)):
        return
    for (path, real), drawn in zip(jax.tree.leaves_with_path(data.x), jax.tree.leaves(synthetic.x)):
        if (real.shape[1:], real.dtype) != (drawn.shape[1:], drawn.dtype):
            raise ValueError(
                f"`sample` gave rows{jax.tree_util.keystr(path)} of {drawn.dtype}{list(drawn.shape[1:])}, the real "
                f"data are {real.dtype}{list(real.shape[1:])}; return rows built as those that `fit` receives."
            )
