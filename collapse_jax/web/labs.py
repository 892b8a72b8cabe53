"""Many labs as one model: each draws rows of its own from a web, fits, and releases.

    training of lab l = n_l rows of the web + its archive;   release of lab l = m_l rows, while entry <= step < until

A lab is the same model with other numbers; labs are a mapped axis, so that two hundred of them are one program.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int

from collapse_jax.core.chunks import Chunked
from collapse_jax.core.data import Samples
from collapse_jax.core.protocol import Metric, Model, Snapshot
from collapse_jax.core.statistics import Sums
from collapse_jax.numerics import frame as frames
from collapse_jax.types import Array, ArrayLike, Key, Params, PyTree
from collapse_jax.validation import (
    check_count,
    check_float32_count,
    check_function,
    check_kind,
    check_list,
    is_concrete,
    shown,
    static_size,
)
from collapse_jax.web.stores import PerLab, drawn_from

NEVER = 2**31 - 1


class Labs(NamedTuple):
    """Several labs between two steps of the web.

    Attributes:
        step: of the web; 0 is generation 0.
        active: which of them train and release at this step.
        members: params of the model, a lab in each row of every array.
        archive: rows that each lab keeps from before the web was polluted; () for none.
    """

    step: Int[Array, ""]
    active: Bool[Array, " labs"]
    members: Params
    archive: PyTree


class _Numbers(NamedTuple):
    """What tells one lab from another, each [labs]."""

    entry: Any
    until: Any
    draws: Any
    releases: Any
    value: PyTree


def labs(
    model: Model | Callable[[Any], Model],
    num_labs: int,
    *,
    draws: ArrayLike | Sequence[int],
    releases: ArrayLike | Sequence[int] | None = None,
    entry: ArrayLike | Sequence[int] = 0,
    until: ArrayLike | Sequence[int] | None = None,
    values: PyTree = None,
    archive: ArrayLike | Sequence[int] = 0,
    human: Callable[[Key, int], Any] | None = None,
    crawl: ArrayLike = False,
) -> Model:
    """Return the model of several labs that share a web; for the regimes `pool(...)` and `islands(...)`.

    Numbers that differ between labs are given as lists of length `num_labs`. A step of the web is a generation.

    Args:
        model: what every lab trains; or a function of a lab's own value that gives it, so that labs can differ in
            the bias of their generators, say.
        num_labs: L.
        draws: n, rows that a lab draws from the web for each training, independent, with replacement.
        releases: m, rows that a lab releases after each training, at most `num_samples` of the chain; default all of
            it. A probe releases 0.
        entry: the step at which a lab begins.
        until: the step before which it ends; default never. A probe that trains once has entry + 1.
        values: a pytree of arrays [num_labs], what `model` is called with.
        archive: rows that a lab keeps for itself from before the web was polluted, beside those it draws.
        human: (key, num) -> data, where the archive comes from.
        crawl: `draws` counts rows before a detector sees them, so that labs train on what it leaves; default: rows that
            it has passed. May be traced.

    Returns:
        A model whose params are `Labs` and whose fit reports `active` [labs] and the model's own info [labs].

    Raises:
        ValueError: numbers out of range, or lists of another length.
        TypeError: a model in Python, or one that draws neither points nor counts.

    >>> from collapse_jax import build_chain, fresh, gaussian, gaussian_truth, pool
    >>> truth = gaussian_truth(1)
    >>> chain = build_chain(
    ...     labs(gaussian(1), 2, draws=100), pool(fresh(truth.sample), inflow=40, deletion=0.1), truth.sampler(200), 60
    ... )
    >>> state, record = chain.init(jax.random.key(0))
    >>> record["active"].tolist()
    [True, True]
    """
    check_count("num_labs", num_labs)
    if is_concrete(crawl):
        check_kind("crawl", np.asarray(crawl).tolist(), bool, "True or False")
    archives = _each("archive", archive, num_labs, 0)
    if not is_concrete(archives):
        raise TypeError("`archive` may not be traced: memory for it is reserved; sweep over it as an axis of values.")
    if np.any(archives) and human is None:
        raise ValueError("an `archive` needs `human`, a function (key, num) -> data; for example truth.sample.")
    if human is not None:
        check_function("human", human, "of a key and a number of rows, for example gaussian_truth(1).sample")
    make = _maker(model, values, num_labs)
    numbers = _Numbers(
        _each("entry", entry, num_labs, 0),
        _each("until", NEVER if until is None else until, num_labs, 0),
        check_float32_count(_each("draws", draws, num_labs, 1)),
        _each("releases", NEVER if releases is None else releases, num_labs, 0),
        values,
    )
    first = make(jax.tree.map(lambda a: a[0], values))
    if first.on_host:
        raise TypeError("labs() maps over labs, which a model in Python cannot be; use a model of the package.")
    whole = _Whole(make, numbers, num_labs, np.asarray(archives), human, crawl, first.frame is not None)
    fit: Any = whole.fit_chunked(first.fit) if isinstance(first.fit, Chunked) else whole.fit
    sample: Any = whole.sample_chunked(first.sample) if isinstance(first.sample, Chunked) else whole.sample
    return Model(whole.init, fit, sample)


def _maker(model: Any, values: PyTree, num_labs: int) -> Callable[[Any], Model]:
    """Return a lab's own value -> its model."""
    for leaf in jax.tree.leaves(values):
        if np.shape(leaf)[:1] != (num_labs,):
            raise ValueError(f"`values` must have a row for each of {num_labs} labs, got shape {np.shape(leaf)}.")
    if isinstance(model, Model):
        if values is not None:
            raise ValueError("`values` need a function as `model`, for example lambda bias: gaussian(1, bias=bias).")
        return lambda value: model
    check_function("model", model, "of a lab's value, which gives a Model")
    if values is None:
        raise ValueError("a function as `model` needs `values`, one for each lab; for example jnp.array([1.0, 0.9]).")
    return model


def _each(name: str, given: Any, num_labs: int, minimum: int) -> Array | np.ndarray:
    """Return a whole number for each lab."""
    if is_concrete(given):
        given = np.asarray(given).tolist() if hasattr(given, "dtype") else given
        many = isinstance(given, list | tuple | range)
        listed = check_list(name, given, "[1, 2]") if many else [given]
        known = [check_count(name, one, minimum=minimum) for one in listed]
        if many and len(known) != num_labs:
            raise ValueError(f"`{name}` must be one number, or one for each of {num_labs} labs, got {shown(given)}.")
        return np.broadcast_to(np.asarray(known, np.int64), (num_labs,)).astype(np.int32)
    return jnp.broadcast_to(jnp.asarray(given), (num_labs,))


class _Whole:
    """The three functions of the model."""

    def __init__(
        self, make: Callable, numbers: _Numbers, num_labs: int, archives: np.ndarray, human: Any, crawl: ArrayLike,
        framed: bool,
    ) -> None:  # fmt: skip
        self.make, self.numbers, self.num_labs = make, numbers, num_labs
        self.archives, self.human, self.crawl, self.framed = archives, human, crawl, framed
        self.archive = int(np.max(archives))

    def keys(self, key: Key) -> Array:
        """Return a key for each lab, the same however many there are."""
        return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(self.num_labs))

    def active(self, step: Array) -> Array:
        """Return which labs train and release at a step."""
        return (step >= jnp.asarray(self.numbers.entry)) & (step < jnp.asarray(self.numbers.until))

    def init(self, key: Key, real: Any) -> Labs:
        """Return labs before generation 0."""
        key_members, key_archive, key_rows = jax.random.split(key, 3)
        kept: Any = ()
        if self.archive:
            kept = jax.vmap(self.stored)(self.keys(key_archive), jnp.asarray(self.archives))
        before = Labs(jnp.asarray(-1), jnp.zeros(self.num_labs, bool), (), kept)
        # of rows such as they will train on: some params are as many as these
        members = self.begun(key_members, self.trainings(key_rows, before, real))
        return before._replace(members=members)

    def stored(self, key: Key, num: Array) -> Any:
        """Return the archive of one lab, with room for the largest."""
        probe = jax.eval_shape(lambda key: self.human(key, self.archive), key)
        if isinstance(probe, Samples):
            rows = self.human(key, self.archive)
            return rows._replace(weight=jnp.where(jnp.arange(self.archive) < num, rows.weight, 0.0))
        alike = np.ptp(self.archives) == 0
        counts = self.human(key, self.archive if alike else jnp.maximum(num, 1))
        return counts.scale(jnp.where(num > 0, 1.0, 0.0))

    def training(self, key: Key, data: Any, draws: Array, kept: Any) -> Any:
        """Return what one lab trains on."""
        room = int(np.max(self.numbers.draws)) if is_concrete(self.numbers.draws) else 0
        if not room and not isinstance(getattr(data, "counts", getattr(data, "values", None)), jax.Array):
            raise TypeError("`draws` may be traced for counts alone; labs that draw points need fixed numbers.")
        rows = drawn_from(data, key, draws, room, crawl=self.crawl)
        return rows.merge(kept) if self.archive else rows

    def trainings(self, key: Key, labs: Labs, data: Any) -> Any:
        """Return what each lab trains on, mapped."""
        if isinstance(data, PerLab):
            rows = data.data
            rows = jax.vmap(lambda one, kept: one.merge(kept))(rows, labs.archive) if self.archive else rows
        else:
            pick = jax.vmap(self.training, (0, None, 0, 0))
            rows = pick(self.keys(key), data, jnp.asarray(self.numbers.draws), labs.archive)
        # a sum that is fused with the draw of its rows has other bits on one device than on two
        return jax.lax.optimization_barrier(rows)

    def begun(self, key: Key, trainings: Any) -> Params:
        """Return params to start from, of each lab."""
        begin = lambda key, value, data: self.make(value).init(key, data)  # noqa: E731
        return jax.vmap(begin)(self.keys(key), self.numbers.value, trainings)

    def settled(self, labs: Labs, fitted: Params, info: dict) -> tuple[Labs, dict[str, Array]]:
        """Return labs after a step: those that are not active stay as they were."""
        step = labs.step + 1
        active = self.active(step)
        choose = lambda new, old: jnp.where(_along(active, new), new, old)  # noqa: E731
        after = Labs(step, active, jax.tree.map(choose, fitted, labs.members), labs.archive)
        return after, {**info, "active": active}

    def fit(self, key: Key, labs: Labs, data: Any) -> tuple[Labs, dict[str, Array]]:
        """Return labs that have trained, each on rows of its own."""
        key_draw, key_start, key_fit = jax.random.split(key, 3)
        trainings = self.trainings(key_draw, labs, data)
        # params in moving coordinates start anew: rows are in data units
        starts = self.begun(key_start, trainings) if self.framed else labs.members
        fit_one = lambda key, value, params, data: self.make(value).fit(key, params, data)  # noqa: E731
        fitted, info = jax.vmap(fit_one)(self.keys(key_fit), self.numbers.value, starts, trainings)
        return self.settled(labs, fitted, info)

    def sample(self, key: Key, labs: Labs, num_samples: ArrayLike) -> PerLab:
        """Return what labs release, in data units."""
        releases = jnp.minimum(jnp.asarray(self.numbers.releases), num_samples) * labs.active
        alike = is_concrete(self.numbers.releases) and np.ptp(self.numbers.releases) == 0
        most = min(int(self.numbers.releases[0]), static_size(num_samples)) if alike and is_concrete(num_samples) else 0

        def draw(key: Key, value: Any, params: Params, num: Array) -> Any:
            one = self.make(value)
            probe = jax.eval_shape(lambda key, params: one.sample(key, params, num_samples), key, params)
            if not isinstance(probe, Sums):
                return self.released(one.sample(key, params, num_samples), num)
            # of counts exactly so many are drawn; a lab that releases none draws one, for nothing
            drawn = one.sample(key, params, most or jnp.maximum(num, 1))
            return drawn.scale(jnp.where(num > 0, 1.0, 0.0))

        return PerLab(jax.vmap(draw)(self.keys(key), self.numbers.value, labs.members, releases))

    def released(self, drawn: Any, num: Array) -> Samples:
        """Return the first `num` of a lab's rows, in data units."""
        if not isinstance(drawn, Samples):
            raise TypeError(
                f"labs release single points or counts, got {type(drawn).__name__}; use a model that draws points."
            )
        if drawn.frame is not None:
            drawn = Samples(frames.to_data_units(drawn.frame, drawn.x), drawn.weight)
        slots = jnp.arange(drawn.num_rows)
        return drawn._replace(weight=jnp.where(slots < num, drawn.weight, 0.0))

    def fit_chunked(self, inner: Chunked) -> Chunked:
        """Return the fit of labs whose model trains in pieces."""

        def start(key: Key, labs: Labs, data: Any) -> PyTree:
            key_draw, key_fit = jax.random.split(key)
            trainings = self.trainings(key_draw, labs, data)
            begun = jax.vmap(lambda *given: inner.start(*given))(self.keys(key_fit), labs.members, trainings)
            return labs, begun

        def advance(index: Any, carry: PyTree) -> PyTree:
            labs, inside = carry
            return labs, jax.vmap(lambda one: inner.advance(index, one))(inside)

        def finish(carry: PyTree) -> Any:
            labs, inside = carry
            return self.settled(labs, *jax.vmap(inner.finish)(inside))

        return Chunked(jax.jit(start), jax.jit(advance), jax.jit(finish), inner.num_chunks)

    def sample_chunked(self, inner: Chunked) -> Chunked:
        """Return the draw of labs whose model writes in pieces."""

        def start(key: Key, labs: Labs, num_samples: int) -> PyTree:
            begun = jax.vmap(lambda key, params: inner.start(key, params, num_samples))(self.keys(key), labs.members)
            return labs, jnp.asarray(num_samples), begun

        def advance(index: Any, carry: PyTree) -> PyTree:
            labs, num, inside = carry
            return labs, num, jax.vmap(lambda one: inner.advance(index, one))(inside)

        def finish(carry: PyTree) -> PerLab:
            labs, num, inside = carry
            releases = jnp.minimum(jnp.asarray(self.numbers.releases), num) * labs.active
            return PerLab(jax.vmap(self.released)(jax.vmap(inner.finish)(inside), releases))

        return Chunked(jax.jit(start, static_argnums=2), jax.jit(advance), jax.jit(finish), inner.num_chunks)


def _along(flags: Bool[Array, " labs"], like: Array) -> Array:
    return flags.reshape(flags.shape + (1,) * (like.ndim - 1))


def per_lab(metrics: Sequence[Metric]) -> tuple[Metric, ...]:
    """Return metrics of a model as metrics of labs that train it: each with an axis `lab` before its own.

    A lab's synthetic data are what it released; its training data are the web's.

    >>> from collapse_jax import gaussian_metrics
    >>> [metric.dims for metric in per_lab(gaussian_metrics())]
    [('lab', 'axis'), ('lab', 'axis'), ('lab',)]
    """

    def mapped(metric: Metric) -> Metric:
        check_kind("metrics", metric, Metric, "for example gaussian_metrics()")

        def function(key: Key, snapshot: Snapshot) -> Array:
            def one(key: Key, params: Params, origin: Params, synthetic: Any) -> Array:
                return metric.function(key, Snapshot(snapshot.generation, params, origin, synthetic, snapshot.training))

            num = snapshot.params.active.shape[0]
            keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(num))
            return jax.vmap(one)(keys, snapshot.params.members, snapshot.origin.members, snapshot.synthetic.data)

        return metric._replace(dims=("lab", *metric.dims), function=function)

    return tuple(mapped(metric) for metric in check_list("metrics", metrics, "gaussian_metrics()"))
