"""What is kept of many seeds: moments, extremes, histograms and quantiles by NumPy, however the seeds were cut."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from collapse_jax import Metric, Summary
from collapse_jax.drivers.summary import merge_parts, reducer, summary_dataset

EDGES = (-1.0, 0.0, 0.5, 2.0)
METRICS = (Metric("value", (), "nats", None), Metric("pair", ("axis",), "data units", None))
VALUES = np.random.default_rng(0).normal(size=(3, 10)).astype(np.float32)  # [generation, seed]
VALUES[1, 4], VALUES[2] = np.nan, np.inf  # one seed lost at the second generation, all at the third
VALUES[0, :3] = -7.0, 9.0, 0.5  # beyond the edges, and on one


def _kept(cuts):
    """Reduce ten seeds cut into parts, each filled up with two lanes that do not count; generation by generation."""
    reduce = jax.jit(reducer(Summary(edges={"value": EDGES})))
    rows = []
    for values in VALUES:
        parts = []
        for seeds in np.split(np.arange(10), cuts):
            lanes = np.concatenate([values[seeds], np.float32([1e9, np.nan])])
            record = {"value": jnp.asarray(lanes), "pair": jnp.stack([lanes, -lanes], axis=1), "flag": lanes > 0}
            parts.append(reduce(record, jnp.arange(len(lanes)) < len(seeds)))
        rows.append({name: np.stack([part[name] for part in parts])[:, None] for name in parts[0]})
    return merge_parts({name: np.concatenate([row[name] for row in rows], axis=1) for name in rows[0]})


@pytest.fixture(scope="module", params=[(), (3, 7)], ids=["whole", "three parts"])
def told(request):
    lasts = {
        generation: {"value": values, "pair": np.stack([values, -values], axis=1), "flag": values > 0}
        for generation, values in enumerate(VALUES[:2])
    }
    summary = Summary(quantile_generations=(0, 1), edges={"value": EDGES})
    return summary_dataset(_kept(request.param), summary, lasts, METRICS, np.array([0, 5, 10]))


def test_moments_and_extremes_are_those_of_the_finite_seeds(told):
    """Float32 sums of ten numbers."""
    for generation, values in enumerate(VALUES[:2]):
        finite = values[np.isfinite(values)].astype(float)
        row = told.isel(generation=generation)
        for what, expected in {
            "mean": finite.mean(), "std": finite.std(ddof=1), "min": finite.min(), "max": finite.max(),
            "num_finite": len(finite),
        }.items():  # fmt: skip
            np.testing.assert_allclose(row[f"value_{what}"], expected, rtol=1e-5)
        np.testing.assert_allclose(row["pair_mean"], [finite.mean(), -finite.mean()], rtol=1e-5)
        np.testing.assert_allclose(row["pair_min"], [finite.min(), -finite.max()], rtol=1e-5)
        np.testing.assert_allclose(row["flag_mean"], (values > 0).mean(), rtol=1e-6)
    assert told.value_num_finite.values.tolist() == [10, 9, 0]
    lost = told.isel(generation=2)
    assert all(np.isnan(lost[f"value_{what}"]) for what in ("mean", "std", "min", "max"))
    assert told.generation.values.tolist() == [0, 5, 10] and told.pair_mean.dims == ("generation", "axis")
    assert told.value_mean.attrs == {"units": "nats"} and told.value_num_finite.attrs == {"units": "seeds"}


def test_histograms_count_what_lies_beyond_the_edges_in_the_outer_bins(told):
    for generation, values in enumerate(VALUES):
        finite = values[np.isfinite(values)]
        expected = np.histogram(np.clip(finite, -0.99, 1.99), EDGES)[0]
        assert told.value_histogram[generation].values.tolist() == expected.tolist()
    np.testing.assert_allclose(told.value_bin, [-0.5, 0.25, 1.25])


def test_quantiles_are_the_usual_five(told):
    assert told["quantile"].values.tolist() == [0.05, 0.25, 0.5, 0.75, 0.95]
    assert told.quantile_generation.values.tolist() == [0, 1]
    for place, values in enumerate(VALUES[:2]):
        expected = np.nanquantile(values.astype(float), told["quantile"].values)
        np.testing.assert_allclose(told.value_quantile[place], expected, rtol=1e-6)
        np.testing.assert_allclose(told.pair_quantile[place, :, 1], -expected[::-1], rtol=1e-6)
