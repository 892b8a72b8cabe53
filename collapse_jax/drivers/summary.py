"""Records reduced over seeds where they are made: moments and histograms that merge, so memory is flat in generations.

Each device reduces its own lanes at every recorded generation; the host merges the parts in double precision
(Chan et al. 1983).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Bool, Float

from collapse_jax.core.protocol import Metric, Record
from collapse_jax.drivers.lanes import Reduce
from collapse_jax.types import Array, ArrayLike
from collapse_jax.validation import check_count, check_fraction, check_kind, check_list, check_numbers

_MOST_QUANTILES = 50


class Summary(NamedTuple):
    """What is kept of many seeds.

    Attributes:
        quantile_generations: at most 50 generations at which quantiles are exact.
        quantiles: which, in [0, 1].
        edges: metric -> edges of a histogram that is kept at every generation; values outside them are counted in its
            first and last bin.
    """

    quantile_generations: tuple[int, ...] = ()
    quantiles: tuple[float, ...] = (0.05, 0.25, 0.5, 0.75, 0.95)
    edges: Mapping[str, Sequence[float]] = {}


def check_summary(summary: Summary, num_generations: int, record_every: int, names: Sequence[str]) -> None:
    """Refuse what cannot be kept.

    Raises:
        ValueError: too many generations for quantiles, one that is not recorded, edges that do not increase, or a
            metric that does not exist.
    """
    generations = check_list("quantile_generations", summary.quantile_generations, "(50, 100)")
    if len(generations) > _MOST_QUANTILES:
        raise ValueError(
            f"`quantile_generations` may name at most {_MOST_QUANTILES}, got {len(generations)}; drop some."
        )
    check_fraction("quantiles", check_list("quantiles", summary.quantiles, "(0.05, 0.5, 0.95)"))
    check_kind("edges", summary.edges, Mapping, "for example {'mean': [-1.0, 0.0, 1.0]}")
    for generation in generations:
        check_count("quantile_generations", generation, minimum=0)
        if generation > num_generations or generation % record_every:
            raise ValueError(
                f"`quantile_generations` must be recorded generations up to {num_generations}, multiples of "
                f"`record_every` {record_every}; got {generation}."
            )
    for name, edges in summary.edges.items():
        if name not in names:
            raise ValueError(f"`edges` names '{name}', which is not recorded; there are: {', '.join(sorted(names))}.")
        check_numbers(f"edges['{name}']", check_list(f"edges['{name}']", edges, "[-1.0, 0.0, 1.0]"))
        if len(edges) < 2 or not np.all(np.diff(edges) > 0):
            raise ValueError(f"`edges` of '{name}' must be at least two increasing numbers, got {tuple(edges)}.")


def reducer(summary: Summary) -> Reduce:
    """Return the function that reduces a record of many lanes; a value that is not finite is counted, not averaged."""
    edges = {name: jnp.asarray(bounds) for name, bounds in summary.edges.items()}

    def reduce(record: Record, counts: Bool[Array, " lanes"]) -> dict[str, Array]:
        kept: dict[str, Array] = {"lanes": jnp.sum(counts)}
        for name, value in record.items():
            values = jnp.asarray(value)
            values = values if jnp.issubdtype(values.dtype, jnp.floating) else values.astype(jnp.float32)
            told = jnp.isfinite(values) & counts.reshape(-1, *[1] * (values.ndim - 1))
            kept.update({f"{name}/{what}": part for what, part in _moments(values, told).items()})
            if name in edges:
                kept[f"{name}/histogram"] = _histogram(values, told, edges[name])
        return kept

    return reduce


def _moments(values: Float[Array, "lanes ..."], told: Bool[Array, "lanes ..."]) -> dict[str, Array]:
    """Return number, mean, sum of squares about it, least and greatest of the finite values of the lanes that count."""
    num = jnp.sum(told, axis=0)
    mean = jnp.sum(jnp.where(told, values, 0.0), axis=0) / jnp.maximum(num, 1)
    squares = jnp.sum(jnp.where(told, values - mean[None], 0.0) ** 2, axis=0)
    least = jnp.min(values, axis=0, where=told, initial=jnp.inf)
    greatest = jnp.max(values, axis=0, where=told, initial=-jnp.inf)
    return {"num": num, "mean": mean, "squares": squares, "min": least, "max": greatest}


def _histogram(
    values: Float[Array, "lanes ..."], told: Bool[Array, "lanes ..."], edges: Float[Array, " bounds"]
) -> Array:
    """Return how many values fall into each bin, along a last axis."""
    bins = edges.shape[0] - 1
    place = jnp.clip(jnp.searchsorted(edges, values, side="right") - 1, 0, bins - 1)
    flat = jnp.where(told, place, bins).reshape(values.shape[0], -1)
    counted = jax.vmap(lambda column: jnp.bincount(column, length=bins + 1)[:bins], in_axes=1)(flat)
    return counted.reshape(*values.shape[1:], bins)


def merge_parts(parts: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return moments and histograms of all lanes from those of the parts [num_parts, num_generations, ...].

    >>> parts = {"x/num": [[2], [1]], "x/mean": [[1.0], [4.0]], "x/squares": [[2.0], [0.0]], "lanes": [[2], [1]]}
    >>> merged = merge_parts({name: np.asarray(part) for name, part in parts.items()})
    >>> merged["x/mean"].tolist(), merged["x/squares"].tolist()
    ([2.0], [8.0])
    """
    merged = {}
    for name, part in parts.items():
        base, _, what = name.rpartition("/")
        if what == "min":
            merged[name] = part.min(axis=0)
        elif what == "max":
            merged[name] = part.max(axis=0)
        elif what in ("mean", "squares"):
            num = parts[f"{base}/num"].astype(np.float64)
            means = parts[f"{base}/mean"].astype(np.float64)
            mean = (num * means).sum(axis=0) / np.maximum(num.sum(axis=0), 1)
            between = (num * (means - mean) ** 2).sum(axis=0)
            merged[name] = mean if what == "mean" else part.astype(np.float64).sum(axis=0) + between
        else:
            merged[name] = part.astype(np.int64).sum(axis=0)
    return merged


def summary_dataset(
    merged: Mapping[str, np.ndarray], summary: Summary, lasts: Mapping[int, Mapping[str, np.ndarray]],
    metrics: Sequence[Metric], generations: ArrayLike,
) -> xr.Dataset:  # fmt: skip
    """Return a labelled summary: for each metric its mean, std, min, max, and how many seeds were finite.

    Args:
        merged: from `merge_parts`, arrays [num_generations, ...].
        summary: what was asked for.
        lasts: generation -> what was recorded there, arrays [num_seeds, ...]: for the quantiles.
        metrics: names, dims and units.
        generations: those recorded.
    """
    described = {metric.name: metric for metric in metrics}
    variables: dict[str, tuple] = {}
    for name in {key.rpartition("/")[0] for key in merged} - {""}:
        metric = described.get(name)
        num, mean = merged[f"{name}/num"], merged[f"{name}/mean"]
        inner = metric.dims if metric else tuple(f"{name}_{axis}" for axis in range(mean.ndim - 1))
        unit = {"units": metric.unit if metric else "1"}
        dims = ("generation", *inner)
        empty = num == 0
        std = np.sqrt(merged[f"{name}/squares"] / np.maximum(num - 1, 1))
        told = {"mean": mean, "std": std, "min": merged[f"{name}/min"], "max": merged[f"{name}/max"]}
        for what, values in told.items():
            variables[f"{name}_{what}"] = (dims, np.where(empty, np.nan, values), unit)
        variables[f"{name}_num_finite"] = (dims, num, {"units": "seeds"})
        if f"{name}/histogram" in merged:
            variables[f"{name}_histogram"] = ((*dims, f"{name}_bin"), merged[f"{name}/histogram"], {"units": "seeds"})
        if lasts:
            found = np.stack([_quantiles(lasts[g][name], summary.quantiles) for g in sorted(lasts)])
            variables[f"{name}_quantile"] = (("quantile_generation", "quantile", *inner), found, unit)
    coordinates = {"generation": np.asarray(generations)}
    if lasts:
        coordinates |= {"quantile_generation": np.array(sorted(lasts)), "quantile": np.array(summary.quantiles)}
    for name, edges in summary.edges.items():
        bounds = np.asarray(edges, float)
        coordinates[f"{name}_bin"] = (bounds[1:] + bounds[:-1]) / 2
    return xr.Dataset(variables, coordinates)


def _quantiles(values: np.ndarray, quantiles: Sequence[float]) -> np.ndarray:
    finite = np.where(np.isfinite(values.astype(float)), values.astype(float), np.nan)
    empty = np.isnan(finite).all(axis=0)
    found = np.nanquantile(np.where(empty, 0.0, finite), quantiles, axis=0)
    return np.where(empty, np.nan, found)
