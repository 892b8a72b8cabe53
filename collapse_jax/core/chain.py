"""A generation chain: state, record = step(key, state).

A generation is a plain function that asks for its fit, its draw and its metrics (`Call`). `init` and `step` answer at
once, so that loops compile them; the host driver answers in pieces. Everything else runs many chains at once
(`drivers`), or reads what they recorded.
"""

import zlib
from collections.abc import Callable, Generator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.core.chain_checks import check_traced, checked_metrics
from collapse_jax.core.data import Samples, check_samples, follow_frame
from collapse_jax.core.data_checks import need_data_units
from collapse_jax.core.protocol import Call, Chain, Metric, Model, Record, Regime, Snapshot, State, run_whole
from collapse_jax.types import Array, Key, Params, PyTree
from collapse_jax.validation import LARGEST_COUNT, check_count, check_key, check_kind, is_concrete, shown


def build_chain(
    model: Model,
    regime: Regime,
    real: Samples | Callable[[Key], Any],
    num_samples: Any,
    metrics: Sequence[Metric] = (),
) -> Chain:
    """Return the chain of `model` under `regime`, checked by tracing two generations, or on the host as it runs.

    Args:
        model: what is fitted and sampled.
        regime: what each generation trains on.
        real: the real data set, the same for every seed; or key -> data set, drawn anew for each seed.
        num_samples: M, how many points each generation draws, at least 2; or a schedule, M_0, M_1, ..., for
            models that draw statistics. A number may be traced there, too.
        metrics: what to record.

    Raises:
        ValueError: M < 2, unusable data, two metrics of one name or one whose dims do not name its axes, or a model
            or regime whose carried arrays change shape or type between generations.
        TypeError: a regime that needs single points meets data without them.

    >>> from collapse_jax import build_chain, mixture, replace, two_gaussians
    >>> chain = build_chain(mixture(num_components=2), replace(), two_gaussians().sampler(100), num_samples=100)
    >>> state, record = chain.init(jax.random.key(0))
    >>> state, record = chain.step(jax.random.key(1), state)
    >>> int(state.generation), bool(record["is_finite"])
    (1, True)
    """
    check_kind("model", model, Model, "for example gaussian(1), or external(fit, sample)")
    check_kind("regime", regime, Regime, "for example replace()")
    metrics = checked_metrics(metrics)
    size_of, sizes = _sizes(num_samples)
    rooms = [regime.max_generations, len(sizes) - 1 if sizes else None]
    real_of = _real(real)
    if model.on_host and sizes:
        raise ValueError(
            "a model in Python takes one `num_samples`; give the largest, and the regime schedule(sizes)."
        )

    def measure(key: Key, snapshot: Snapshot, info: dict[str, Array]) -> Record:
        return _record(metrics, key, snapshot, info)

    def beginning(key: Key) -> Generator[Call, Any, tuple[State, Record]]:
        check_key(key)
        key_real, key_init, key_fit, key_sample, key_metrics = jax.random.split(key, 5)
        data = real_of(key_real)
        params, info = yield Call("fit", model.fit, (key_fit, model.init(key_init, data), data))
        synthetic = yield Call("sample", model.sample, (key_sample, params, size_of(0)))
        data = _as_drawn(data, synthetic)
        snapshot = Snapshot(jnp.asarray(0), params, params, synthetic, data)
        record = yield Call("measure", measure, (key_metrics, snapshot, info))
        if model.frame is not None:
            data = data.follow(model.frame(params))
        regime_state = regime.init(data, synthetic)
        return _strong(State(snapshot.generation, params, params, synthetic, regime_state)), record

    def generation(key: Key, state: State) -> Generator[Call, Any, tuple[State, Record]]:
        check_key(key)
        key_regime, key_fit, key_sample, key_metrics = jax.random.split(key, 4)
        training, regime_state = regime.update(key_regime, state.synthetic, state.regime)
        params, info = yield Call("fit", model.fit, (key_fit, state.params, training))
        if model.frame is not None:
            regime_state = follow_frame(regime_state, model.frame(params))
        synthetic = yield Call("sample", model.sample, (key_sample, params, size_of(state.generation + 1)))
        snapshot = Snapshot(state.generation + 1, params, state.origin, synthetic, training)
        record = yield Call("measure", measure, (key_metrics, snapshot, info))
        return _strong(State(snapshot.generation, params, state.origin, synthetic, regime_state)), record

    def init(key: Key) -> tuple[State, Record]:
        return run_whole(beginning(key))

    def step(key: Key, state: State) -> tuple[State, Record]:
        return run_whole(generation(key, state))

    def calls(key: Key, state: State | None) -> Generator[Call, Any, tuple[State, Record]]:
        return beginning(key) if state is None else generation(key, state)

    if not model.on_host:
        check_traced(model, init, step, metrics, sizes)
    room = min((room for room in rooms if room is not None), default=None)
    told = f"of {model!r} under {regime!r}, M = {shown(num_samples)}"
    return Chain(init, step, metrics, room, calls, model.on_host, told)


def _real(real: Samples | Callable[[Key], Any]) -> Callable[[Key], Any]:
    """Return key -> the real data of a seed, checked."""
    if isinstance(real, Samples):
        check_samples(real)
        return lambda key: real
    if not callable(real) or isinstance(real, type):
        raise TypeError(
            f"`real` must be a data set or a function of a key, got {type(real).__name__}; use as_samples(x)."
        )

    def drawn(key: Key) -> Any:
        data = real(key)
        if not hasattr(data, "total_weight"):
            raise TypeError(f"`real` must give a data set, got {shown(data)}; return as_samples(x).")
        return data

    return drawn


def _record(metrics: Sequence[Metric], key: Key, snapshot: Snapshot, info: dict[str, Array]) -> Record:
    """Return the fit's info, the metrics, each by a key of its name, and whether all is finite."""
    if "is_finite" in info:
        raise ValueError(
            "the fit's info must not hold 'is_finite', which the chain records itself; rename it."
        )
    record = dict(info)
    for metric in metrics:
        if metric.name in info:
            raise ValueError(
                f"metric '{metric.name}' has the name of a field of the fit's info; rename it."
            )
        key_metric = jax.random.fold_in(key, zlib.crc32(metric.name.encode()))
        record[metric.name] = _measured(metric, key_metric, snapshot)
    record["is_finite"] = _all_finite((snapshot.params, info))
    return record


def _measured(metric: Metric, key: Key, snapshot: Snapshot) -> Array:
    """Return a metric's value, its axes named; one of another family cannot read this model's params, and says so."""
    try:
        value = jnp.asarray(metric.function(key, snapshot))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        if is_concrete(key):  # in the midst of a run it is noted in which seed and generation
            raise
        told = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise (ValueError if isinstance(error, ValueError) else TypeError)(
            f"metric '{metric.name}' cannot read this model ({told}); record metrics of the model's own family, or "
            "mend its function."
        ) from error
    if value.ndim != len(metric.dims):
        raise ValueError(
            f"metric '{metric.name}' gives an array of shape {value.shape}, its dims {metric.dims} name "
            f"{len(metric.dims)} axes; return what they name, or name every axis."
        )
    return value


def _strong(tree: PyTree) -> PyTree:
    """Return arrays without weak types, so that the carry of a loop keeps its type; NumPy's stay as they are."""

    def settle(array: Any) -> Any:
        if isinstance(array, np.ndarray | np.generic):
            return array
        array = jnp.asarray(array)
        if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
            return array
        return jax.lax.convert_element_type(array, array.dtype)

    return jax.tree.map(settle, tree)


def _all_finite(params: Params) -> Array:
    leaves = [a if isinstance(a, np.ndarray) else jnp.asarray(a) for a in jax.tree.leaves(params)]
    floating = [a for a in leaves if jnp.issubdtype(a.dtype, jnp.floating)]
    finite = [(np if isinstance(a, np.ndarray) else jnp).isfinite(a).all() for a in floating]
    return jnp.all(jnp.stack([jnp.asarray(flag) for flag in finite] or [jnp.asarray(True)]))


def _sizes(num_samples: Any) -> tuple[Callable[[Any], Any], list[Any]]:
    """Return generation -> M, and the sizes of a schedule, none where M is one number."""
    if not (isinstance(num_samples, list | tuple | range) or getattr(num_samples, "ndim", 0) > 0):
        size = check_count("num_samples", num_samples, minimum=2, maximum=LARGEST_COUNT)
        return lambda generation: size, []
    sizes = [check_count("num_samples", size, minimum=2) for size in num_samples]
    if not sizes:
        raise ValueError("`num_samples` must name at least one M, got none; for example 100.")
    schedule = jnp.asarray(sizes)
    return lambda generation: schedule[generation], sizes


def _as_drawn(data: Any, synthetic: Any) -> Any:
    """Return real rows in the number type that the model draws, if it reads the coordinates that they are in."""
    if not isinstance(data, Samples):
        return data
    if getattr(synthetic, "frame", None) is None:
        need_data_units(data, "this model")
    if not isinstance(synthetic, Samples) or str(jax.tree.structure(data.x)) != str(jax.tree.structure(synthetic.x)):
        return data
    floats = lambda drawn: jnp.issubdtype(drawn.dtype, jnp.floating)  # noqa: E731
    return data._replace(
        x=jax.tree.map(lambda real, drawn: real.astype(drawn.dtype) if floats(drawn) else real, data.x, synthetic.x)
    )
