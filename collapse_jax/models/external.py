"""A model in Python: whatever can be fitted and sampled becomes a model of a chain, one seed after the other.

`fit` and `sample` may call scikit-learn, PyTorch or a service; they see NumPy arrays and an integer seed, and what they
learn goes from one generation to the next as named arrays. JAX traces none of it, so the chain runs from the host:
`simulate` does that by itself. Regimes and metrics are those of every other model.
"""

import numbers
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.core.data import Samples
from collapse_jax.core.data_checks import need_data_units, need_rows
from collapse_jax.core.protocol import Model
from collapse_jax.types import Array, Key
from collapse_jax.validation import check_function, check_numbers, check_seed, is_concrete

HostParams = dict[str, np.ndarray]
Fit = Callable[[int, HostParams | None, np.ndarray, np.ndarray], Any]
_NUMERIC = "biufc"  # NumPy's kinds that a file can hold without pickling


def external(
    fit: Fit,
    sample: Callable[[int, HostParams, int], Any],
    init: Callable[[int, np.ndarray], Mapping[str, Any]] | None = None,
) -> Model:
    """Return the model of a `fit` and a `sample` written in Python.

    Both must take all their randomness from `seed`: the same seed, the same result. They may change the arrays that
    they receive, which are copies. An exception that they raise ends the run, with a note of the seed and generation.
    Metrics, in JAX or in Python, run as they are, uncompiled; for an expensive one in JAX
    `metric._replace(function=jax.jit(metric.function))` helps. In a file of one's own, with a `Config`, the chain is a
    study: see `collapse_jax.studies.user_file`.

    Args:
        fit: (seed, params, rows, weight) -> params, or -> (params, info). `seed` is an integer in [0, 2^32). `params`
            are the previous generation's, for warm starts; at generation 0 those of `init`, or None. `rows`, shape
            [num_rows, ...], are what to train on, in data units, rows of weight 0 left out; `weight`, shape
            [num_rows], says how many points each stands for (see `repeat_rows` for a fit that knows no weights).
            `info` is a dict of numbers that the record reports, of the same names and shapes each time.
        sample: (seed, params, num_samples) -> num_samples rows, built as those that `fit` receives.
        init: (seed, rows) -> params before the first fit.

    Returns:
        A model whose params are a flat dict of NumPy arrays, kept in their own precision; rows and records have JAX's.

    Raises:
        TypeError: when it runs: params that are no such dict, rows or info that are no numbers, or data without rows.
        ValueError: when it runs: another number of rows than asked for, or no row left to train on.

    >>> from collapse_jax import build_chain, gaussian_truth, replace, simulate
    >>> from collapse_jax.metrics.model_free import log_total_variance
    >>> def fit(seed, params, rows, weight):
    ...     mean = np.average(rows, axis=0, weights=weight)
    ...     return {"mean": mean, "std": np.sqrt(np.average((rows - mean) ** 2, axis=0, weights=weight))}
    >>> def sample(seed, params, num_samples):
    ...     noise = np.random.default_rng(seed).normal(size=(num_samples, len(params["mean"])))
    ...     return params["mean"] + params["std"] * noise
    >>> metrics = [log_total_variance()]
    >>> chain = build_chain(external(fit, sample), replace(), gaussian_truth(1).sampler(20), 20, metrics)
    >>> result = simulate(chain, jax.random.key(0), num_seeds=4, num_generations=20)
    >>> bool(result.log_total_variance.isel(generation=-1).mean() < -0.3)
    True
    """

    check_function("fit", fit, "of seed, params, rows and weight")
    check_function("sample", sample, "of seed, params and num_samples")
    if init is not None:
        check_function("init", init, "of seed and rows")

    def start(key: Key, data: Any) -> HostParams | None:
        return None if init is None else _as_params(init(_seed(key), _rows(data)[0]), "init")

    def fit_rows(key: Key, params: HostParams | None, data: Any) -> tuple[HostParams, dict[str, Array]]:
        found = fit(_seed(key), _copies(params), *_rows(data))
        found, info = found if isinstance(found, tuple) and len(found) == 2 else (found, {})
        return _as_params(found, "fit"), _as_info(info)

    def draw(key: Key, params: HostParams, num_samples: int) -> Samples:
        rows = np.asarray(sample(_seed(key), _copies(params), num_samples))  # type: ignore[arg-type]
        if rows.dtype.kind not in _NUMERIC:
            raise TypeError(f"`sample` must return rows of numbers, got {rows.dtype}; return a NumPy array.")
        if rows.shape[:1] != (num_samples,):
            raise ValueError(
                f"`sample` gave an array of shape {rows.shape} where {num_samples} rows were asked for; return "
                "[num_samples, ...]."
            )
        x = jnp.asarray(rows, jnp.result_type(float) if rows.dtype.kind == "f" else None)
        return Samples(x, jnp.ones(num_samples))

    return Model(start, fit_rows, draw, on_host=True)


def repeat_rows(rows: np.ndarray, weight: np.ndarray, seed: int | None = None) -> np.ndarray:
    """Return rows that stand for one point each, for a fit that knows no weights.

    A row of weight 2 comes twice, one of weight 0 not at all. A fractional weight is rounded up or down at random,
    such that each row comes as often as its weight says on average, and the number of rows is their total.

    Args:
        rows: shape [num_rows, ...].
        weight: shape [num_rows], how many points each row stands for.
        seed: for fractional weights; without one they are refused.

    Raises:
        ValueError: fractional weights without a seed, or weights that add up to less than one point.

    >>> repeat_rows(np.array([5.0, 6.0, 7.0]), np.array([2, 0, 1]))
    array([5., 5., 7.])
    """
    rows, weight = np.asarray(rows), np.asarray(check_numbers("weight", weight), np.float64)
    if weight.shape != rows.shape[:1] or weight.ndim != 1:
        raise ValueError(f"`weight` must have one number per row, got shape {weight.shape} for rows of {rows.shape}.")
    if not np.all(np.isfinite(weight) & (weight >= 0)):
        raise ValueError("`weight` must be finite and non-negative; 0 marks a row to ignore.")
    counts = np.rint(weight)
    if np.abs(weight - counts).max(initial=0.0) > 1e-6:  # float32 rounds 1 to that
        if seed is None:
            raise ValueError(
                "`weight` holds fractions, for which rows cannot be repeated; pass `seed` to round them at random, "
                "or use the weights in the fit."
            )
        edges = np.cumsum(weight) + np.random.default_rng(check_seed("seed", seed)).uniform()
        counts = np.diff(np.floor(edges), prepend=0.0)
    if counts.sum() < 1:
        raise ValueError(
            f"the weights add up to {weight.sum():.3g}, less than one point; a weight is a number of points."
        )
    return np.repeat(rows, counts.astype(int), axis=0)


def _seed(key: Key) -> int:
    if not is_concrete(key):
        raise TypeError(
            "JAX cannot trace a model in Python; run its chain by simulate() or run_host(), outside of jit and vmap."
        )
    return int(jax.random.bits(key, dtype=jnp.uint32))


def _rows(data: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return copies of the rows that count, and their weights."""
    need_rows(data, "external()", "give it rows, as_samples(x)")
    if not hasattr(data.x, "shape"):
        raise TypeError(
            f"external() takes rows as one array, got {type(data.x).__name__}; join its parts along the columns."
        )
    need_data_units(data, "a model in Python")
    weight = np.asarray(data.weight)
    live = weight > 0
    if not live.any():
        raise ValueError("the regime left no row of positive weight to train on; keep at least one.")
    return np.asarray(data.x)[live], weight[live]


def _copies(params: Mapping[str, Any] | None) -> HostParams | None:
    """Return params that may be changed: earlier generations keep theirs."""
    return None if params is None else {name: np.array(array) for name, array in params.items()}


def _as_params(params: Any, source: str) -> HostParams:
    """Return params as NumPy arrays of their own, which nothing else writes to."""
    how = (
        "{'weights': array, ...}; of PyTorch {k: v.numpy(force=True) for k, v in module.state_dict().items()}"
    )
    if not isinstance(params, Mapping):
        raise TypeError(
            f"`{source}` must return params as a flat dict of named NumPy arrays, got {type(params).__name__}; "
            f"return {how}."
        )
    for name, array in params.items():
        known = isinstance(array, np.ndarray | np.generic | numbers.Number | jax.Array)
        if not isinstance(name, str) or not known or np.asarray(array).dtype.kind not in _NUMERIC:
            kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            raise TypeError(
                f"`{source}` must return params as a flat dict of named NumPy arrays of numbers, got {kind} at "
                f"{name!r}; return {how}, and text as np.frombuffer(text.encode(), np.uint8)."
            )
    return _copies(params) or {}


def _as_info(info: Any) -> dict[str, Array]:
    if not isinstance(info, Mapping):
        raise TypeError(
            f"`fit` must return params, or params and a dict of numbers, got {type(info).__name__} as the second."
        )
    arrays = {name: np.asarray(value) for name, value in info.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in _NUMERIC:
            raise TypeError(f"`fit` must report numbers in its info, got {array.dtype} at {name!r}; drop it.")
    return {name: jnp.asarray(array) for name, array in arrays.items()}
