"""Several chains as one: they run side by side in one compiled program, and their records are stacked.

A study of many sizes or regimes compiles once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.core.protocol import Chain, Composite, Metric, Record
from collapse_jax.types import ArrayLike, Key
from collapse_jax.validation import check_function, check_key, check_kind, check_list, check_numbers, shown


def stack_chains(chains: Mapping[str, Chain], dim: str) -> Chain:
    """Return the chain that takes one step of each of `chains`; records are stacked along the axis `dim`.

    Each has randomness of its own, that of its place in the mapping. Only metrics are recorded, and whether all
    params are finite.

    Args:
        chains: label -> chain, all with the same metrics.
        dim: name of the new axis, which comes first in every metric.

    Raises:
        ValueError: no chain, or chains that record different metrics.

    >>> from collapse_jax import accumulate, build_chain, gaussian_metrics, gaussian_statistics, gaussian_truth, replace
    >>> real = gaussian_truth(1).moments_sampler(50)
    >>> parts = {
    ...     regime_name: build_chain(gaussian_statistics(1), regime, real, 50, gaussian_metrics())
    ...     for regime_name, regime in {"replace": replace(), "accumulate": accumulate(10)}.items()
    ... }
    >>> _, record = stack_chains(parts, "regime").init(jax.random.key(0))
    >>> record["mean"].shape
    (2, 1)
    """
    check_kind("chains", chains, Mapping, "for example {'replace': chain, 'accumulate': other}")
    check_kind("dim", dim, str, "name the new axis, for example 'regime'")
    members = tuple(chains.values())
    if not members:
        raise ValueError("`chains` must hold at least one chain, got none; for example {'replace': chain}.")
    for label, member in chains.items():
        check_kind("chains", member, Chain, "make each with build_chain(model, regime, real, num_samples)")
        _check_traceable(label, member)
    names = [sorted(metric.name for metric in chain.metrics) for chain in members]
    if any(found != names[0] for found in names):
        raise ValueError(
            f"chains side by side must record the same metrics, got {dict(zip(chains, names))}; "
            "give them the same ones."
        )

    def init(key: Key) -> tuple[Composite, Record]:
        return together([chain.init(jax.random.fold_in(key, i)) for i, chain in enumerate(members)])

    def step(key: Key, state: Composite) -> tuple[Composite, Record]:
        return together(
            [chain.step(jax.random.fold_in(key, i), state.members[i]) for i, chain in enumerate(members)]
        )

    def together(parts: list[tuple[Any, Record]]) -> tuple[Composite, Record]:
        records = [record for _, record in parts]
        stacked = {name: jnp.stack([record[name] for record in records]) for name in names[0]}
        stacked["is_finite"] = jnp.all(jnp.stack([record["is_finite"] for record in records]))
        states = tuple(state for state, _ in parts)
        return Composite(states[0].generation, states), stacked

    rooms = [chain.max_generations for chain in members if chain.max_generations is not None]
    return _chain(init, step, members[0].metrics, dim, min(rooms, default=None))


def vmap_chain(make: Callable[[Any], Chain], values: ArrayLike | Sequence[Any], dim: str) -> Chain:
    """Return the chain that runs `make(value)` for each of `values` under one `vmap`; records get the axis `dim`.

    All values share the randomness of a seed: what differs between them is the value alone.

    Args:
        make: value -> chain; the value is traced, so it must be one that may be (see each model).
        values: shape [num_values].
        dim: name of the new axis, which comes first in every metric.

    >>> from collapse_jax import build_chain, gaussian_metrics, gaussian_statistics, gaussian_truth, replace
    >>> def make(size):
    ...     real = gaussian_truth(1).moments_sampler(size)
    ...     return build_chain(gaussian_statistics(1), replace(), real, size, gaussian_metrics())
    >>> _, record = vmap_chain(make, jnp.array([10, 10**9]), "num_samples").init(jax.random.key(0))
    >>> record["log_total_variance"].shape
    (2,)
    """
    check_function("make", make, "of a value, which gives a chain")
    check_kind("dim", dim, str, "name the new axis, for example 'num_samples'")
    check_numbers("values", check_list("values", values, "jnp.array([10, 100])"))
    swept = jnp.asarray(values)
    if swept.ndim != 1:
        raise ValueError(f"`values` must be one row of numbers, got shape {swept.shape}; flatten them.")
    first = make(np.asarray(values)[0].item())  # concrete: this one is checked
    _check_traceable(shown(np.asarray(values)[0].item()), first)
    kept = [metric.name for metric in first.metrics]

    def choose(record: Record) -> Record:
        return {**{name: record[name] for name in kept}, "is_finite": jnp.all(record["is_finite"])}

    def init(key: Key) -> tuple[Composite, Record]:
        states, record = jax.vmap(lambda value: make(value).init(key))(swept)
        return Composite(states.generation[0], states), choose(record)

    def step(key: Key, state: Composite) -> tuple[Composite, Record]:
        states, record = jax.vmap(lambda value, one: make(value).step(key, one))(swept, state.members)
        return Composite(states.generation[0], states), choose(record)

    return _chain(init, step, first.metrics, dim, first.max_generations)


def _chain(
    init: Callable, step: Callable, metrics: tuple[Metric, ...], dim: str, max_generations: int | None
) -> Chain:
    def begin(key: Key) -> tuple[Composite, Record]:
        check_key(key)
        return init(key)

    def advance(key: Key, state: Composite) -> tuple[Composite, Record]:
        check_key(key)
        return step(key, state)

    described = tuple(metric._replace(dims=(dim, *metric.dims)) for metric in metrics)
    return Chain(begin, advance, described, max_generations)


def _check_traceable(label: str, chain: Chain) -> None:
    if chain.on_host:
        raise ValueError(
            f"chain '{label}' is Python, which does not compile, so it cannot run beside others; simulate "
            "each by itself."
        )
