"""A generation chain: state, record = step(key, state).

One generation is

    training = regime.update(synthetic);  params = model.fit(training);  synthetic = model.sample(params)

and generation 0 is model 0 fitted to the real data. Everything else builds a chain, runs many of them
at once (`drivers`), or reads what they recorded (`results`).
"""

import zlib
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from collapse_jax.core.chunks import Piece, exhaust, in_pieces, whole
from collapse_jax.core.data import Samples, check_samples, follow_frame, need_data_units
from collapse_jax.core.labels import check_labels, check_record
from collapse_jax.numerics.frame import Frame
from collapse_jax.types import Array, Key, Params, PyTree
from collapse_jax.validation import (
    LARGEST_COUNT,
    check_count,
    check_function,
    check_key,
    check_kind,
    check_list,
    shown,
)


class Model(NamedTuple):
    """How parameters are fitted to data, and how data are drawn from parameters.

    Attributes:
        init: (key, real) -> params, a starting point: k-means++, random weights, a checkpoint.
        fit: (key, params, data) -> (params, info); `params` are the previous generation's, which a
            cold start ignores. `info` is a dict of arrays that the record reports.
        sample: (key, params, num_samples) -> data.
        frame: params -> Frame, for models that draw and fit in moving coordinates; None means data units.
        on_host: fit and sample are Python that JAX cannot trace, params NumPy arrays; for the host driver.
    """

    init: Callable[[Key, Any], Params]
    fit: Callable[[Key, Params, Any], tuple[Params, dict[str, Array]]]
    sample: Callable[[Key, Params, int], Any]
    frame: Callable[[Params], Frame] | None = None
    on_host: bool = False

    def __repr__(self) -> str:
        """Return what the model is, by the function that made it."""
        return f"<model {_maker(self.fit)}{' in Python' if self.on_host else ''}>"


class Regime(NamedTuple):
    """What the next generation trains on.

    Attributes:
        init: (real, synthetic) -> state; `synthetic` has the shape of a generation's draw, its values
            are not to be read.
        update: (key, synthetic, state) -> (training, state). Data kept in `state` are always in the
            coordinates of `synthetic`: the chain moves them when the frame changes.
        max_generations: how many generations the state has room for; None means any number.
    """

    init: Callable[[Any, Any], PyTree]
    update: Callable[[Key, Any, PyTree], tuple[Any, PyTree]]
    max_generations: int | None = None

    def __repr__(self) -> str:
        """Return what the regime is, by the function that made it."""
        room = "" if self.max_generations is None else f", room for {self.max_generations} generations"
        return f"<regime {_maker(self.update)}{room}>"


class Snapshot(NamedTuple):
    """What a metric sees of a generation.

    Attributes:
        generation: its number.
        params: model g.
        origin: model 0.
        synthetic: what model g drew.
        training: what model g was fitted to.
    """

    generation: Int[Array, ""]
    params: Params
    origin: Params
    synthetic: Any
    training: Any


class Metric(NamedTuple):
    """A number, or an array of them, recorded of every generation.

    Attributes:
        name: the variable's name in the results.
        dims: names of the axes of one value; () for a scalar.
        unit: for example "nats", "data units", "1".
        function: (key, snapshot) -> array.
    """

    name: str
    dims: tuple[str, ...]
    unit: str
    function: Callable[[Key, Snapshot], Array]


Record = dict[str, Array]


class State(NamedTuple):
    """What a chain carries from one generation to the next."""

    generation: Int[Array, ""]
    params: Params
    origin: Params
    synthetic: Any
    regime: PyTree


class Chain(NamedTuple):
    """Model, regime and metrics over real data, ready to run.

    Attributes:
        init: key -> (state, record): model 0, fitted to the real data, and what it draws.
        step: (key, state) -> (state, record): one generation. Use each key once.
        pieces: (key, state, piece) -> generator of `Piece`, returning what `step` returns, or what `init` returns
            where state is None; it goes on after the given piece, where one is given. For the host driver.
        metrics: what the record holds beside the fit's info and `is_finite`.
        max_generations: how many generations the regime has room for; None means any number.
        on_host: only the host driver can run it; see `Model`.
        told: what it is, in words.
    """

    init: Callable[[Key], tuple[State, Record]]
    step: Callable[[Key, State], tuple[State, Record]]
    pieces: Callable[[Key, State | None, Piece | None], Generator[Piece, None, tuple[State, Record]]]
    metrics: tuple[Metric, ...]
    max_generations: int | None
    on_host: bool = False
    told: str = ""

    def __repr__(self) -> str:
        """Return what the chain is."""
        names = ", ".join(metric.name for metric in self.metrics) or "nothing"
        room = "" if self.max_generations is None else f"; at most {self.max_generations} generations"
        return f"<chain {self.told or 'of its own making'}; records {names}{room}>"


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
    metrics = _checked_metrics(metrics)
    size_of, num_sizes = _sizes(num_samples)
    rooms = [room for room in (regime.max_generations, num_sizes) if room is not None]
    if isinstance(real, Samples):
        check_samples(real)
    elif not callable(real):
        raise TypeError(
            f"`real` must be a data set or a function of a key, got {type(real).__name__}; use as_samples(x)."
        )
    if model.on_host and num_sizes is not None:
        raise ValueError(
            "a model in Python takes one `num_samples`; give the largest, and the regime schedule(sizes)."
        )

    def measure(key: Key, snapshot: Snapshot, info: dict[str, Array]) -> Record:
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
            record[metric.name] = _named_axes(metric, _measured(metric, key_metric, snapshot, model.on_host))
        record["is_finite"] = _all_finite((snapshot.params, info))
        return record

    def beginning(
        key: Key, run: Callable[..., Generator[Piece, None, Any]], record_of: Callable[..., Record]
    ) -> Generator[Piece, None, tuple[State, Record]]:
        check_key(key)
        key_real, key_init, key_fit, key_sample, key_metrics = jax.random.split(key, 5)
        data = real if isinstance(real, Samples) else real(key_real)
        if not hasattr(data, "total_weight"):
            raise TypeError(f"`real` must give a data set, got {shown(data)}; return as_samples(x).")
        params, info = yield from run("fit", model.fit, key_fit, model.init(key_init, data), data)
        synthetic = yield from run("sample", model.sample, key_sample, params, size_of(0))
        data = _as_drawn(data, synthetic)
        record = record_of(key_metrics, Snapshot(jnp.asarray(0), params, params, synthetic, data), info)
        if model.frame is not None:
            data = data.follow(model.frame(params))
        if model.on_host:
            check_record(record, metrics)
            _check_rows(data, synthetic)
        regime_state = regime.init(data, synthetic)
        return settle(State(jnp.asarray(0), params, params, synthetic, regime_state)), record

    def generation(
        key: Key,
        state: State,
        run: Callable[..., Generator[Piece, None, Any]],
        record_of: Callable[..., Record],
    ) -> Generator[Piece, None, tuple[State, Record]]:
        check_key(key)
        key_regime, key_fit, key_sample, key_metrics = jax.random.split(key, 4)
        training, regime_state = regime.update(key_regime, state.synthetic, state.regime)
        params, info = yield from run("fit", model.fit, key_fit, state.params, training)
        if model.frame is not None:
            regime_state = follow_frame(regime_state, model.frame(params))
        synthetic = yield from run("sample", model.sample, key_sample, params, size_of(state.generation + 1))
        snapshot = Snapshot(state.generation + 1, params, state.origin, synthetic, training)
        record = record_of(key_metrics, snapshot, info)
        after = settle(State(snapshot.generation, params, state.origin, synthetic, regime_state))
        if model.on_host:
            _check_same(state, after)
        return after, record

    def init(key: Key) -> tuple[State, Record]:
        return exhaust(beginning(key, whole, measure))

    def step(key: Key, state: State) -> tuple[State, Record]:
        return exhaust(generation(key, state, whole, measure))

    settle = _strong_beside_params if model.on_host else _strong
    # compiled for the host driver, too: else each generation would compile its metrics again
    compiled_measure = measure if model.on_host else jax.jit(measure)

    def pieces(
        key: Key, state: State | None, piece: Piece | None = None
    ) -> Generator[Piece, None, tuple[State, Record]]:
        run = in_pieces(piece)
        if state is None:
            return beginning(key, run, compiled_measure)
        return generation(key, state, run, compiled_measure)

    if not model.on_host:
        _check_carry(init, step, metrics)
        _check_schedule(model, init, num_samples)
    told = f"of {model!r} under {regime!r}, M = {shown(num_samples)}"
    return Chain(init, step, pieces, tuple(metrics), min(rooms, default=None), model.on_host, told)


def _maker(function: Any) -> str:
    """Return the name of the factory that a function was defined in, or its own."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    return name.split(".<locals>")[0].lstrip("_") or "unnamed"


def _strong(tree: PyTree) -> PyTree:
    """Return arrays without weak types, so that the carry of a loop keeps its type."""

    def settle(array: Any) -> Array:
        array = jnp.asarray(array)
        if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
            return array
        return jax.lax.convert_element_type(array, array.dtype)

    return jax.tree.map(settle, tree)


def _strong_beside_params(state: State) -> State:
    """Return a host model's state as `_strong` does, with its params as they are: NumPy's, in their own precision."""
    rest = _strong(state._replace(params=(), origin=()))
    return rest._replace(params=state.params, origin=state.origin)


def _all_finite(params: Params) -> Array:
    leaves = [a if isinstance(a, np.ndarray) else jnp.asarray(a) for a in jax.tree.leaves(params)]
    floating = [a for a in leaves if jnp.issubdtype(a.dtype, jnp.floating)]
    finite = [(np if isinstance(a, np.ndarray) else jnp).isfinite(a).all() for a in floating]
    return jnp.all(jnp.stack([jnp.asarray(flag) for flag in finite] or [jnp.asarray(True)]))


def _sizes(num_samples: Any) -> tuple[Callable[[Any], Any], int | None]:
    """Return generation -> M, and for how many generations a schedule lasts."""
    if not _is_schedule(num_samples):
        size = check_count("num_samples", num_samples, minimum=2, maximum=LARGEST_COUNT)
        return lambda generation: size, None
    sizes = [check_count("num_samples", size, minimum=2) for size in num_samples]
    if not sizes:
        raise ValueError("`num_samples` must name at least one M, got none; for example 100.")
    schedule = jnp.asarray(sizes)
    return lambda generation: schedule[generation], len(sizes) - 1


def _is_schedule(num_samples: Any) -> bool:
    return isinstance(num_samples, list | tuple | range) or getattr(num_samples, "ndim", 0) > 0


def _checked_metrics(metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """Return metrics, of names, dims and units that a result can have."""
    if isinstance(metrics, Metric):
        raise TypeError(f"`metrics` must be a list, got the metric '{metrics.name}' itself; write [it].")
    metrics = tuple(check_list("metrics", metrics, "gaussian_metrics()"))
    for metric in metrics:
        check_kind("metrics", metric, Metric, "for example Metric('mean', (), 'data units', function)")
        check_function("function", metric.function, f"of a key and a snapshot in metric '{metric.name}'")
    check_labels(metrics)
    return metrics


def _measured(metric: Metric, key: Key, snapshot: Snapshot, on_host: bool) -> Array:
    """Return a metric's value; one of another family cannot read this model's params, and says so."""
    try:
        return jnp.asarray(metric.function(key, snapshot))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        if on_host:  # in the midst of a run it is noted in which seed and generation
            raise
        told = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise (ValueError if isinstance(error, ValueError) else TypeError)(
            f"metric '{metric.name}' cannot read this model ({told}); record metrics of the model's own family, or "
            "mend its function."
        ) from error


def _named_axes(metric: Metric, value: Array) -> Array:
    """Return a metric's value, if its dims name its axes."""
    if value.ndim != len(metric.dims):
        raise ValueError(
            f"metric '{metric.name}' gives an array of shape {value.shape}, its dims {metric.dims} name "
            f"{len(metric.dims)} axes; return what they name, or name every axis."
        )
    return value


def _check_schedule(model: Model, init: Callable, num_samples: Any) -> None:
    """Let the model refuse the sizes of a schedule: in the chain itself they are traced."""
    if not _is_schedule(num_samples):
        return
    key = jax.eval_shape(lambda: jax.random.key(0))
    state, _ = jax.eval_shape(init, key)
    for size in {int(min(num_samples)), int(max(num_samples))}:
        jax.eval_shape(lambda key, params, size=size: model.sample(key, params, size), key, state.params)


def _check_carry(init: Callable, step: Callable, metrics: Sequence[Metric]) -> None:
    """Refuse a chain whose carried arrays change between generations, or whose record no result can hold."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    state, record = jax.eval_shape(init, key)
    check_record(record, metrics)
    after, _ = jax.eval_shape(step, key, state)
    _check_same(state, after)


def _check_same(state: State, after: State) -> None:
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


def _check_rows(data: Any, synthetic: Any) -> None:
    """Refuse rows of a host model that are not built as the real ones; JAX's models meet this when traced."""
    if not (isinstance(data, Samples) and isinstance(synthetic, Samples)):
        return
    for (path, real), drawn in zip(jax.tree.leaves_with_path(data.x), jax.tree.leaves(synthetic.x)):
        if (real.shape[1:], real.dtype) != (drawn.shape[1:], drawn.dtype):
            raise ValueError(
                f"`sample` gave rows{jax.tree_util.keystr(path)} of {drawn.dtype}{list(drawn.shape[1:])}, the real "
                f"data are {real.dtype}{list(real.shape[1:])}; return rows built as those that `fit` receives."
            )
