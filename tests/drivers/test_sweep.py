"""Grids in one call: every cell is the chain it would be alone, and a summary says what all seeds say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from collapse_jax import (
    Metric,
    Model,
    Samples,
    Summary,
    build_chain,
    fresh,
    gaussian,
    gaussian_metrics,
    gaussian_truth,
    replace,
    replace_with_real,
    simulate,
    sweep,
)
from collapse_jax.drivers.lanes import Lanes
from collapse_jax.drivers.sweep import slabs, widened
from collapse_jax.models.categorical import CategoricalTruth, categorical, categorical_metrics
from collapse_jax.models.gaussian import gaussian_statistics
from collapse_jax.models.regression import regression, regression_truth, risk_metric
from collapse_jax.studies.axes import Grid, parse_axis
from collapse_jax.studies.gaussian.config import GaussianCell
from collapse_jax.studies.loading import load
from collapse_jax.studies.registry import find_study
from collapse_jax.theory import ibd_fresh_fraction

KEY = jax.random.key(3)


def statistics(num_samples, bias=1.0):
    real = gaussian_truth(1).moments_sampler(num_samples)
    return build_chain(gaussian_statistics(1, bias=bias), replace(), real, num_samples, gaussian_metrics())


def points(num_samples, fraction):
    truth = gaussian_truth(1)
    regime = replace_with_real(fresh(truth.sample), fraction=fraction)
    model = gaussian(1, estimator="mle")
    return build_chain(model, regime, truth.sampler(num_samples), num_samples, gaussian_metrics())


@pytest.fixture(scope="module")
def grid():
    return sweep(statistics, {"num_samples": [10, 10**6], "bias": [0.8, 0.9, 1.0]}, KEY, 40, 20)


def test_a_cell_is_the_chain_it_would_be_alone(grid):
    """To float32 rounding of twenty steps: another program, with the same keys."""
    assert dict(grid.log_total_variance.sizes) == {"num_samples": 2, "bias": 3, "seed": 40, "generation": 21}
    for cell in ({"num_samples": 10, "bias": 0.9}, {"num_samples": 10**6, "bias": 1.0}):
        alone = simulate(statistics(**cell), KEY, num_seeds=40, num_generations=20)
        for name in ("mean", "log_total_variance"):
            np.testing.assert_allclose(grid[name].sel(cell), alone[name], rtol=1e-3, atol=1e-4)
    assert grid.log_total_variance.attrs["units"] == "nats"


def test_traced_axes_are_one_program_and_others_one_each():
    both = slabs(statistics, {"num_samples": [10, 20], "bias": [0.9, 1.0]}, 4)
    assert [slab.place for slab in both] == [{}] and both[0].num_cells == 4
    mixed = slabs(points, {"num_samples": [10, 20], "fraction": [0, 0.5, 1]}, 4)
    assert [slab.place for slab in mixed] == [{"num_samples": 10}, {"num_samples": 20}]
    assert [slab.num_cells for slab in mixed] == [3, 3]
    # the size may be traced for the first regime, not for the second
    kinds = {"statistics": statistics, "points": lambda num_samples: points(num_samples, 0.5)}
    axes = {"kind": list(kinds), "num_samples": [5, 6]}
    assert len(slabs(lambda num_samples, kind: kinds[kind](num_samples), axes, 4)) == 4
    named = slabs(lambda which: statistics({"few": 5, "many": 50}[which]), {"which": ["few", "many"]}, 4)
    assert [slab.place["which"] for slab in named] == ["few", "many"]


def test_regimes_by_fraction_obey_their_law():
    """E Var = 1 - G for shares from 0 to 1 at M = 20, generation 20: 4,000 seeds, |z| < 5; sees 2 to 12 per cent."""
    axes = {"fraction": [0.0, 0.1, 0.5, 1.0]}
    found = sweep(lambda fraction: points(20, fraction), axes, KEY, 4000, 20, record_every=20)
    variance = np.exp(found.log_total_variance.sel(generation=20))
    for fraction in found.fraction.values:
        law = 1 - float(ibd_fresh_fraction(20, 20, 20, float(fraction))[20])
        one = variance.sel(fraction=fraction)
        assert abs(float(one.mean()) - law) < 5 * float(one.std(ddof=1)) / np.sqrt(4000)


def test_record_every_leaves_out_the_rest(grid):
    thin = sweep(statistics, {"num_samples": [10], "bias": [0.8]}, KEY, 40, 20, record_every=5)
    assert thin.generation.values.tolist() == [0, 5, 10, 15, 20]
    expected = grid.sel(num_samples=[10], bias=[0.8], generation=thin.generation)
    np.testing.assert_allclose(thin.log_total_variance, expected.log_total_variance, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("devices", [1, 2])
def test_a_summary_says_what_all_seeds_say(grid, devices):
    """40 seeds in three blocks of 16: moments and histograms of the parts merge; quantiles are exact."""
    edges = np.linspace(-20.3, 0.9, 43)  # none of them near 0, where many values are
    summary = Summary(quantile_generations=(0, 7, 20), quantiles=(0.25, 0.5), edges={"log_total_variance": edges})
    axes = {"num_samples": [10, 10**6], "bias": [0.8, 0.9, 1.0]}
    told = sweep(
        statistics, axes, KEY, 40, 20, summary=summary, lanes=16, devices=jax.devices()[:devices]
    )
    whole = grid.log_total_variance.astype(float)
    close = {"rtol": 1e-3, "atol": 1e-4}
    np.testing.assert_allclose(told.log_total_variance_mean, whole.mean("seed"), **close)
    np.testing.assert_allclose(told.log_total_variance_std, whole.std("seed", ddof=1), **close)
    np.testing.assert_allclose(told.log_total_variance_max, whole.max("seed"), **close)
    np.testing.assert_allclose(told.log_total_variance_min, whole.min("seed"), **close)
    assert (told.log_total_variance_num_finite == 40).all()
    assert (told.log_total_variance_histogram.sum("log_total_variance_bin") == 40).all()
    by_hand = np.apply_along_axis(lambda v: np.histogram(v, edges)[0], 2, np.clip(whole.values, -20.2, 0.8))
    moved = np.abs(np.moveaxis(by_hand, 2, 3) - told.log_total_variance_histogram.values).sum(axis=3)
    assert (moved <= 2).mean() > 0.99  # a value at an edge may fall on its other side
    quantiles = whole.sel(generation=[0, 7, 20]).quantile([0.25, 0.5], "seed")
    ordered = quantiles.transpose("num_samples", "bias", "generation", "quantile")
    np.testing.assert_allclose(told.log_total_variance_quantile, ordered, **close)


def test_a_seed_that_diverges_is_counted_and_poisons_no_other():
    """A model whose odd seeds become infinite at generation 2."""

    def build(size):
        def fit(key, params, data):
            count = params["count"] + 1
            odd = params["odd"]
            return {"count": count, "odd": odd, "value": jnp.where((count > 2) & odd, jnp.inf, size)}, {}

        def init(key, real):
            return {"count": jnp.zeros(()), "odd": jax.random.bernoulli(key, 0.5), "value": jnp.zeros(())}

        model = Model(init, fit, lambda key, params, num: Samples(jnp.zeros((num, 1)), jnp.ones(num)))
        value = Metric("value", (), "1", lambda key, snapshot: snapshot.params["value"])
        return build_chain(model, replace(), Samples(jnp.zeros((2, 1)), jnp.ones(2)), 2, [value])

    told = sweep(build, {"size": [1.5, 2.5]}, KEY, 50, 4, summary=Summary(quantile_generations=(4,)))
    lost = 50 - told.value_num_finite.sel(generation=4)
    assert (lost > 10).all() and (lost < 40).all() and (told.value_num_finite.sel(generation=0) == 50).all()
    np.testing.assert_allclose(told.value_mean.sel(generation=4), [1.5, 2.5])
    np.testing.assert_allclose(told.value_quantile.sel(quantile_generation=4, quantile=0.95), [1.5, 2.5])
    assert (told.is_finite_mean.sel(generation=4) == 1 - lost / 50).all()


def test_a_block_is_as_wide_as_memory_holds():
    (slab,) = slabs(lambda bias: statistics(100, bias), {"bias": [0.9, 1.0]}, 2000)
    lanes = Lanes(slab.chain, 4000)
    roomy, tight = (widened(lanes, KEY.dtype, 10, memory).width for memory in (2**30, 50_000))
    assert roomy == 512 and 1 <= tight < roomy


@pytest.mark.parametrize(
    ("axes", "options", "sentence"),
    [
        ({}, {}, "`axes` must name at least one axis"),
        ({"bias": []}, {}, "axis 'bias' must have values, each once"),
        ({"bias": [1.0, 1.0]}, {}, "axis 'bias' must have values, each once"),
        ({"num_samples": [10, 1]}, {}, "axis 'num_samples' at 1: `num_samples` must be at least 2"),
        ({"bias": [1.0]}, {"record_every": 3}, "`num_generations` 4 must be a multiple of `record_every` 3"),
        ({"bias": [1.0]}, {"summary": Summary(quantile_generations=tuple(range(51)))}, "at most 50, got 51"),
        ({"bias": [1.0]}, {"summary": Summary(quantile_generations=(5,))}, "recorded generations up to 4"),
        ({"bias": [1.0]}, {"summary": Summary(edges={"men": (0, 1)})}, "`edges` names 'men', which is not recorded"),
        ({"bias": [1.0]}, {"summary": Summary(edges={"mean": (1, 0)})}, "at least two increasing numbers"),
    ],
)
def test_what_cannot_be_swept_meets_a_sentence(unchecked, axes, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        sweep(lambda **cell: statistics(**{"num_samples": 10, **cell}), axes, KEY, 2, 4, **options)


def test_a_bad_value_is_named_with_its_axis(unchecked):
    with pytest.raises(ValueError, match=r"axis 'fraction' at 1.5: `fraction` must lie in \[0, 1\]"):
        sweep(lambda fraction: points(10, fraction), {"fraction": [0.5, 1.5]}, KEY, 2, 4)


def test_a_study_is_swept_with_its_arms(unchecked):
    """A share of real data is traced, in a field for floats; the study's two M are an axis of their own."""
    study = find_study("gmm")
    config = study.preset("smoke")
    config = type(config)(num_samples=(20, 30), generations=2, seeds=3, regime="replace-part", held_out=0)
    plan = load(study, Grid({"real_fraction": (0.0, 0.5)})).build(config)
    assert [arm.value for arm in plan.arms] == ["num_samples=20", "num_samples=30"] and plan.num_lanes == 6
    with pytest.raises(ValueError, match="has no field 'real_fractoin' to sweep; did you mean 'real_fraction'"):
        load(study, Grid({"real_fractoin": (0.0,)})).build(config)


def test_a_sweep_is_drawn_as_a_map_of_means_at_its_end():
    """Two axes of three values or more: the mean over seeds at the last generation; else lines, each a cell's."""
    study = find_study("gaussian")
    rng, last = np.random.default_rng(0), 4
    values = {"num_samples": (10, 100, 1000), "real_fraction": (0.0, 0.5, 1.0)}
    sizes = (3, 3, 5, last + 1)
    dims = (*values, "seed", "generation")
    axes = {**{name: list(v) for name, v in values.items()}, "seed": range(5), "generation": range(last + 1)}
    dataset = xr.Dataset({"log_total_variance": (dims, rng.normal(size=sizes), {"units": "nats"})}, axes)
    (picture,) = load(study, Grid(values)).figures(study.cell, dataset)
    expected = dataset.log_total_variance.sel(generation=last).mean("seed")
    panel = picture.figure.axes[0]
    across = panel.get_xlabel().replace(" ", "_")
    shown = np.asarray(panel.collections[0].get_array())
    np.testing.assert_allclose(shown, expected.transpose(..., across).values)
    assert "generation 4" in picture.caption and "5 seeds" in picture.caption
    one = dataset.isel(real_fraction=[1])
    (lines,) = load(study, Grid({**values, "real_fraction": (0.5,)})).figures(study.cell, one)
    drawn = {line.get_label(): line.get_ydata() for line in lines.figure.axes[0].get_lines()}
    for size in values["num_samples"]:
        cell = one.log_total_variance.sel(num_samples=size, real_fraction=0.5)
        np.testing.assert_allclose(drawn[f"num_samples = {size}, real_fraction = 0.5"], cell.median("seed"))


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("num_samples=10:1000:4", (10, 340, 670, 1000)),
        ("num-samples=10:11:4", (10, 11)),  # rounded, each once
        ("bias=0.5:2:4", (0.5, 1.0, 1.5, 2.0)),
        ("regime=replace, add", ("replace", "add")),
        ("bias= 1, 2", (1.0, 2.0)),
    ],
)
def test_an_axis_is_read_as_it_is_written(text, values):
    name, found = parse_axis(text, GaussianCell())
    assert name == text.partition("=")[0].replace("-", "_") and found == values
    assert {type(value) for value in found} == {type(values[0])}


@pytest.mark.parametrize("text", ["bias=1:2:1", "bias=1:2:x", "num_samples=1.5", "bias=", "num_samples=a:b:3"])
def test_an_axis_that_cannot_be_read_says_how_it_is_written(text):
    with pytest.raises(ValueError, match="cannot be read; write --axis"):
        parse_axis(text, GaussianCell())


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "real",
    [
        lambda share: CategoricalTruth([share, 1 - share]).counts_sampler(20),
        lambda share: CategoricalTruth(jnp.array([share, 1 - share])).counts_sampler(20),
    ],
)
def test_what_the_truth_is_may_be_an_axis_of_one_program(real):
    """Checks see numbers, and let pass what stands for them in a program, in a list, too."""

    def build(share):
        return build_chain(categorical(2), replace(), real(share), 20, categorical_metrics())

    assert len(slabs(build, {"share": [0.1, 0.3, 0.5]}, 2)) == 1


@pytest.mark.usefixtures("unchecked")
def test_the_true_coefficients_may_be_an_axis():
    def build(slope):
        truth = [slope, 1.0]
        real = regression_truth(truth)
        return build_chain(regression(2), replace(), lambda key: real(key, 20), 20, [risk_metric(truth)])

    assert len(slabs(build, {"slope": [0.0, 3.0]}, 2)) == 1
