"""The web as a regime: rows arrive from people and from labs, a share goes, labs train on what is there.

    web' = (web without a share of its rows, at random or the oldest) + human rows + what labs released + poison

Reference: Bakshi and Chakraborty (2026), arXiv 2602.10531, have the recursion of one lab; the laws are in `theory`.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from collapse_jax.core.data import Samples
from collapse_jax.core.protocol import Metric, Regime, Snapshot
from collapse_jax.core.real_data import Source
from collapse_jax.core.statistics import Sums
from collapse_jax.types import Array, ArrayLike, Key, PyTree
from collapse_jax.validation import (
    FLOAT32_COUNT_LIMIT,
    check_choice,
    check_count,
    check_fraction,
    check_kind,
    check_numbers,
    is_concrete,
    shown,
)
from collapse_jax.web.filters import Filter
from collapse_jax.web.stores import HUMAN, CountStore, PerLab, RowStore, drawn_from


class Inflow(NamedTuple):
    """Rows that arrive at each step.

    Attributes:
        source: where they come from: `fresh(sampler)`.
        num: how many; or how many at step 1, 2, ..., the last number for all later steps.
    """

    source: Source
    num: ArrayLike | Sequence[int]


class _Web(NamedTuple):
    """What the regime carries."""

    step: Int[Array, ""]
    store: Any
    sources: tuple[PyTree, PyTree]
    detector: PyTree


def pool(
    human: Source,
    *,
    inflow: ArrayLike | Sequence[int],
    deletion: ArrayLike,
    capacity: int | None = None,
    order: str = "uniform",
    filter: Filter | None = None,
    poison: Inflow | None = None,
) -> Regime:
    """Return the regime of a web that labs share; for models made by `labs(...)`.

    The real data are the web of step 0. At each later step round(deletion N) of its N rows go, more where `capacity`
    asks for it, human rows arrive, and what labs released at the step before.

    Args:
        human: where human rows come from: `fresh(sampler)`.
        inflow: h, how many arrive at each step; or a schedule, as of `Inflow`. May be traced for counts.
        deletion: d, share of the web that goes at each step, in [0, 1]; may be traced.
        capacity: the most rows that the web holds; default as many as `deletion` lets it grow to. For points it is
            memory that is reserved.
        order: which rows go: "uniform", or "oldest" first, for points alone.
        filter: a detector that labs ask.
        poison: rows that arrive with the label of poison.

    Raises:
        ValueError: numbers out of range, a web smaller than what arrives in a step, counts that float32 cannot hold.
        TypeError: a model that is not of labs, or counts where rows have to be known one by one.
    """
    check_kind("human", human, Source, "take fresh(sampler)")
    check_choice("order", order, ("uniform", "oldest"))
    check_fraction("deletion", deletion)
    if filter is not None:
        check_kind("filter", filter, Filter, "for example blind(0.9, 0.1)")
    if poison is not None:
        check_kind("poison", poison, Inflow, "for example Inflow(fresh(sampler), [10, 0])")
    if capacity is not None:
        check_count("capacity", capacity)
    flows = [Inflow(human, _schedule("inflow", inflow))]
    if poison is not None:
        flows.append(Inflow(poison.source, _schedule("poison", poison.num)))
    plan = _Plan(flows, deletion, capacity, order, filter)
    return Regime(plan.init, plan.update)


def _schedule(name: str, count: Any) -> Any:
    """Return the numbers of rows at step 1, 2, ..., as an array of one axis."""
    known = check_numbers(name, count)
    if is_concrete(known):
        known = np.atleast_1d(np.asarray(known))
        if known.ndim != 1 or np.any(known < 0) or np.any(known != np.round(known)):
            raise ValueError(f"`{name}` must be whole numbers of rows, not negative, got {shown(count)}.")
        return known
    return jnp.atleast_1d(jnp.asarray(count))


class _Plan:
    """The two functions of the regime."""

    def __init__(self, flows: list[Inflow], deletion: Any, capacity: int | None, order: str, filter: Any) -> None:
        self.flows, self.deletion, self.capacity = flows, deletion, capacity
        self.order, self.filter = order, filter

    def init(self, real: Any, synthetic: Any) -> _Web:
        """Return the web of step 0."""
        if not isinstance(synthetic, PerLab):
            raise TypeError(
                f"pool() is shared by labs, got the draws of one model ({type(synthetic).__name__}); train "
                "labs(model, 1, draws=n)."
            )
        labels = synthetic.num_labs + 2
        if isinstance(synthetic.data, Sums):
            store: Any = self._counted(real, labels)
        else:
            store = self._rows(real, synthetic)
        sources = tuple(flow.source.init(real, real) for flow in self.flows)
        detector = () if self.filter is None else self.filter.init(store, labels)
        return _Web(jnp.asarray(0), store, sources, detector)

    def _counted(self, real: Any, labels: int) -> CountStore:
        if self.order == "oldest":
            raise TypeError("counts do not know which rows are the oldest; use order='uniform', or a model of points.")
        drawn_from(real, jax.random.key(0), 1, 1, crawl=False)  # refuses what has no counts
        counts = jnp.zeros((labels, *real.values.shape), real.values.dtype).at[HUMAN].set(real.values)
        wide = counts.dtype == jnp.float64
        if not wide and is_concrete(counts) and float(jnp.sum(counts)) > FLOAT32_COUNT_LIMIT:
            raise ValueError(
                f"a web of {float(jnp.sum(counts)):,.0f} rows is counted in float32, which holds "
                f"{FLOAT32_COUNT_LIMIT:,}; turn on jax_enable_x64."
            )
        return CountStore(counts, jnp.ones_like(counts), jnp.asarray(False))

    def _rows(self, real: Any, synthetic: PerLab) -> RowStore:
        if not isinstance(real, Samples):
            raise TypeError(f"a web of points begins with points, got {type(real).__name__}; use as_samples(x).")
        if real.frame is not None:
            raise ValueError("a web holds rows in data units; subtract an offset and divide by a scale first.")
        slots = self._slots(real.num_rows, synthetic.num_labs * synthetic.num_rows)
        rows = real._replace(weight=jnp.where(real.weight > 0, 1.0, 0.0)).reserve(slots)
        every = jnp.zeros(slots, jnp.int32)
        return RowStore(rows, every, every, jnp.ones(slots))

    def _slots(self, begins: int, released: int) -> int:
        """Return how many rows the web has room for."""
        if not all(is_concrete(flow.num) for flow in self.flows):
            raise TypeError("`inflow` may be traced for counts alone; a web of points needs fixed numbers.")
        arrives = released + sum(int(np.max(np.asarray(flow.num))) for flow in self.flows)
        if self.capacity is not None:
            if self.capacity < max(begins, arrives):
                raise ValueError(
                    f"`capacity` must hold the {begins} rows of the beginning and the {arrives} that can arrive in a "
                    f"step, {released} from labs, got {self.capacity}."
                )
            return self.capacity
        if not is_concrete(self.deletion) or not float(self.deletion) > 0:
            raise ValueError("`capacity` must be given where `deletion` is 0 or traced: the web may grow without end.")
        return max(begins, arrives, math.ceil((arrives + 0.5) / float(self.deletion)))

    def update(self, key: Key, released: PerLab, web: _Web) -> tuple[Any, _Web]:
        """Return the web of the next step, as labs see it."""
        key_delete, key_filter, *keys = jax.random.split(key, 2 + len(self.flows))
        step, store = web.step + 1, web.store
        arrivals = [
            self._arrival(flow, state, key_flow, step, store)
            for flow, state, key_flow in zip(self.flows, web.sources, keys)
        ]
        total = store.total_weight
        leaving = jnp.round(jnp.asarray(self.deletion, total.dtype) * total)
        if self.capacity is not None:
            arriving = released.total_weight + sum(rows.total_weight for rows in arrivals)
            leaving = jnp.maximum(leaving, jnp.minimum(total + arriving - self.capacity, total))
        store = store.delete(key_delete, leaving, oldest_first=self.order == "oldest")
        for rows, labels in _pooled(store, arrivals, released):
            store = store.insert(rows, labels, step)
        detector = web.detector
        if self.filter is not None:
            store = jax.lax.optimization_barrier(store)  # as labs do: a detector's sums keep their bits
            store, detector = self.filter.update(key_filter, store, step, detector)
        return store, _Web(step, store, web.sources, detector)

    def _arrival(self, flow: Inflow, state: PyTree, key: Key, step: Array, store: Any) -> Any:
        """Return the rows of one source at a step."""
        schedule: Any = flow.num
        count = jnp.asarray(schedule)[jnp.minimum(step, len(schedule)) - 1]
        if isinstance(store, CountStore):
            drawn = flow.source.draw(key, state, count, store)
            return drawn.scale(jnp.where(count > 0, 1.0, 0.0))
        most = int(np.max(np.asarray(flow.num)))
        drawn = flow.source.draw(key, state, max(most, 1), store.rows)
        wanted = (jnp.arange(drawn.num_rows) < count).astype(drawn.weight.dtype)
        x = jax.tree.map(lambda new, held: new.astype(held.dtype), drawn.x, store.rows.x)
        return Samples(x, wanted)


def _pooled(store: Any, arrivals: list[Any], released: PerLab) -> list[tuple[Any, Array]]:
    """Return what comes into a web, and its labels: rows all at once, counts one after the other."""
    num_labs = released.num_labs
    of_labs = jnp.arange(1, num_labs + 1, dtype=jnp.int32)
    others = [HUMAN, num_labs + 1][: len(arrivals)]
    if isinstance(store, CountStore):
        alone = [
            (jax.tree.map(lambda a: a[None], rows), jnp.asarray([label])) for rows, label in zip(arrivals, others)
        ]
        return [*alone, (released.data, of_labs)]
    flat = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), released.data)
    labels = [jnp.full(rows.num_rows, label, jnp.int32) for rows, label in zip(arrivals, others)]
    together = jax.tree.map(lambda *parts: jnp.concatenate(parts), *arrivals, flat)
    return [(together, jnp.concatenate([*labels, jnp.repeat(of_labs, released.num_rows)]))]


def islands(migration: ArrayLike, source: Source | None = None, *, fraction: ArrayLike = 0.0) -> Regime:
    """Return the regime of labs that train on their own draws, on each other's and on real data; no web is kept.

    Each of a lab's rows is real with probability `fraction`; else, with probability `migration`, of a lab chosen at
    random, itself among them; else its own. No row is read twice: each lab releases `num_labs` times the rows that one
    trains on, so the chain's `num_samples` is a multiple of the number of labs.

    Args:
        migration: mu in [0, 1]; may be traced. 0: labs are isolated; 1: one population.
        source: where real rows come from; needed for a fraction above 0.
        fraction: r in [0, 1]; may be traced.

    Raises:
        ValueError: a share outside [0, 1], a fraction without a source, rows that cannot be shared out.
        TypeError: a model that is not of labs, or one that draws counts.

    Reference: the island model of Wright (1931).
    """
    check_fraction("migration", migration)
    check_fraction("fraction", fraction)
    if source is not None:
        check_kind("source", source, Source, "take fresh(sampler)")
    elif not is_concrete(fraction) or np.max(np.asarray(fraction)) > 0:
        raise ValueError("a `fraction` of real rows needs a `source`; for example fresh(sampler).")

    def init(real: Any, synthetic: Any) -> PyTree:
        if not isinstance(synthetic, PerLab) or not isinstance(synthetic.data, Samples):
            raise TypeError("islands() mixes points of labs; train labs(model, 2, draws=n) of a model of points.")
        if synthetic.num_rows % synthetic.num_labs:
            raise ValueError(
                f"`num_samples` must be a multiple of the {synthetic.num_labs} labs, a part for each, got "
                f"{synthetic.num_rows}; give {synthetic.num_labs} times the rows that a lab trains on."
            )
        return () if source is None else source.init(real, real)

    def update(key: Key, released: PerLab, state: PyTree) -> tuple[PerLab, PyTree]:
        key_moves, key_from, key_real, key_source = jax.random.split(key, 4)
        labs, num = released.num_labs, released.num_rows // released.num_labs
        moves = jax.random.uniform(key_moves, (labs, num)) < migration
        lab, place = jnp.arange(labs)[:, None], jnp.arange(num)[None, :]
        donor = jnp.where(moves, jax.random.randint(key_from, (labs, num), 0, labs), lab)
        taken = jax.tree.map(lambda a: a[donor, lab * num + place], released.data)
        if source is not None:
            drawn = source.draw(key_source, state, labs * num, taken)
            is_real = jax.random.uniform(key_real, (labs, num)) < fraction
            pick = lambda new, old: jnp.where(  # noqa: E731
                is_real.reshape(is_real.shape + (1,) * (old.ndim - 2)), new.reshape(old.shape), old
            )
            taken = jax.tree.map(pick, Samples(drawn.x, drawn.weight), taken)
        return PerLab(taken), state

    return Regime(init, update)


def web_metrics(num_labs: int) -> tuple[Metric, ...]:
    """Return what is recorded of the web that labs train on.

    Returns:
        `web_size` (rows); `contamination`, the share that no human made; `share_by_label` [label]: human, each lab,
        poison. Of generation 0, whose web is the real data, they are its size, 0, and human alone.

    Raises:
        ValueError: `num_labs` < 1.
    """
    check_count("num_labs", num_labs)
    labels = num_labs + 2

    def shares(snapshot: Snapshot) -> Array:
        web = snapshot.training
        if not isinstance(web, RowStore | CountStore):
            return jnp.zeros(labels).at[HUMAN].set(1.0)
        return web.by_label(labels) / web.total_weight

    return (
        Metric("web_size", (), "rows", lambda key, s: s.training.total_weight),
        Metric("contamination", (), "1", lambda key, s: 1 - shares(s)[HUMAN]),
        Metric("share_by_label", ("label",), "1", lambda key, s: shares(s)),
    )


