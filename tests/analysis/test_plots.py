"""Figures draw what they are given: lines, bands, maps, ellipses, digits and films, read back from matplotlib."""

import numpy as np
import pytest
import xarray as xr
from matplotlib.patches import Ellipse
from PIL import Image

from collapse_jax.analysis.plots import (
    band,
    digit_film,
    digit_rows,
    mixture_snapshots,
    name_lines,
    new_figure,
    phase_diagram,
    plain_ticks,
    plot,
    save_film,
)

RNG = np.random.default_rng(0)

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 5, 9), np.uint8)  # 4 generations of 5 images of 3 x 3


def test_a_film_lays_images_out_row_by_row():
    film = digit_film(IMAGES, (0, 2, 4, 6), columns=3, side=3)
    assert film.frames.shape == (4, 6, 9) and film.labels[1] == "generation 2"
    for place in range(5):
        row, column = divmod(place, 3)
        tile = film.frames[1, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
        np.testing.assert_array_equal(tile, IMAGES[1, place].reshape(3, 3))
    assert not film.frames[:, 3:, 6:].any()  # the sixth place is empty


@pytest.mark.parametrize("still", [False, True])
def test_files_hold_every_frame(still, tmp_path):
    """Also of a film in which nothing moves: a model that has collapsed draws one image for ever."""
    images = np.repeat(IMAGES[:1], 4, axis=0) if still else IMAGES
    film = digit_film(images, range(4), columns=5, side=3)
    animation = Image.open(save_film(film, tmp_path / "figures", "digits", zoom=20))
    assert animation.n_frames == 4 and animation.info["duration"] == 500
    strip = np.asarray(Image.open(tmp_path / "figures" / "digits_frames.png").convert("L"))
    np.testing.assert_array_equal(strip.reshape(film.frames.shape), film.frames)


def _values(num_seeds=11, num_generations=4):
    values = RNG.normal(size=(num_seeds, num_generations))
    axes = {"seed": np.arange(num_seeds), "generation": 5 * np.arange(num_generations)}
    return xr.DataArray(values, axes, ("seed", "generation"), name="value")


def _outline(collection):
    """x -> (lowest, highest) of what fill_between drew."""
    corners = collection.get_paths()[0].vertices
    return {x: (corners[corners[:, 0] == x, 1].min(), corners[corners[:, 0] == x, 1].max()) for x in set(corners[:, 0])}


@pytest.mark.parametrize(("options", "low", "high"), [({}, 0.05, 0.95), ({"share": 0.5}, 0.25, 0.75)])
def test_a_band_is_the_median_and_the_central_share_of_the_finite_seeds(options, low, high):
    values = _values()
    values[2, 1], values[:, 3] = np.inf, np.nan  # one seed lost once, all at the end
    panel = new_figure()[1][0, 0]
    band(panel, values.transpose("generation", "seed"), "mine", "black", **options)
    (line,) = panel.get_lines()
    finite = np.where(np.isfinite(values.values), values.values, np.nan)[:, :3]
    assert line.get_xdata().tolist() == [0, 5, 10] and line.get_label() == "mine"
    np.testing.assert_allclose(line.get_ydata(), np.nanmedian(finite, axis=0))
    edges = _outline(panel.collections[0])
    for place, generation in enumerate((0, 5, 10)):
        np.testing.assert_allclose(edges[generation], np.nanquantile(finite[:, place], [low, high]))


def test_each_metric_has_a_panel_and_a_logarithm_where_it_spans_two_decades():
    values = _values()
    wide = np.exp(values * 0 + values.generation / 3)  # from 1 to e^5
    dataset = xr.Dataset({
        "plain": values.assign_attrs(units="nats"), "wide": wide, "cost$": values * np.nan, "signed": wide - 2.0,
    })  # fmt: skip
    figure = plot(dataset)
    panels = figure.axes
    assert [panel.get_title() for panel in panels[:4]] == ["plain", "wide", r"cost\$", "signed"]
    assert [panel.get_yscale() for panel in panels[:4]] == ["linear", "log", "linear", "linear"]
    assert [panel.get_ylabel() for panel in panels[:4]] == ["nats", "", "", ""]
    assert panels[2].texts[0].get_text() == "no finite value" and not panels[2].get_lines()
    np.testing.assert_allclose(panels[1].get_lines()[0].get_ydata(), np.median(wide, axis=0))
    assert len(panels) == 6 and not panels[4].axison


def test_a_phase_diagram_has_each_value_at_its_place():
    across, up = np.array([10.0, 100.0, 1000.0]), np.array([0.0, 0.5])
    values = xr.DataArray(RNG.normal(size=(3, 2)), {"num_samples": across, "share": up}, ("num_samples", "share"))
    for given in (values, values.T):
        figure = phase_diagram(given, "num_samples", "share", "nats", contour=values, levels=(0.5, 0.0))
        panel, colours = figure.axes
        np.testing.assert_allclose(panel.collections[0].get_array(), values.values.T)
        assert (panel.get_xscale(), panel.get_yscale()) == ("log", "linear")
        assert (panel.get_xlabel(), panel.get_ylabel(), colours.get_ylabel()) == ("num samples", "share", "nats")
    near = phase_diagram(values.assign_coords(num_samples=[10.0, 20.0, 30.0]), "num_samples", "share", "nats")
    assert near.axes[0].get_xscale() == "linear"


def test_ellipses_hold_two_standard_deviations_of_truth_and_model():
    """A component along a slope of one half: its axes are the roots of the covariance's eigenvalues, four times."""
    turn = np.array([[2.0, -1.0], [1.0, 2.0]]) / np.sqrt(5)
    covariance = turn @ np.diag([4.0, 0.25]) @ turn.T
    shapes = {"weights": np.ones(1), "means": np.array([[1.0, -2.0]]), "covariances": covariance[None]}
    arm = xr.Dataset(coords={"seed": [0, 1], "generation": [0, 1]})
    for name, value in shapes.items():
        dims = ("seed", "generation", *(f"{name}_{axis}" for axis in range(value.ndim)))
        arm[name] = (dims, np.broadcast_to(value, (2, 2, *value.shape)).copy())
    arm["weights"][0, 1] = np.nan  # the run ended before
    panels = new_figure(1, 2)[1][0]
    mixture_snapshots(panels, arm, (0, 1), np.zeros((1, 2)), np.eye(2)[None])
    truth, model = (patch for patch in panels[0].patches if isinstance(patch, Ellipse))
    np.testing.assert_allclose((truth.width, truth.height, *truth.center), (4, 4, 0, 0))
    sides = sorted([(model.width, model.angle % 180), (model.height, (model.angle + 90) % 180)])
    np.testing.assert_allclose([side for side, _ in sides], [2.0, 8.0])
    np.testing.assert_allclose(sides[1][1], np.degrees(np.arctan(0.5)))
    np.testing.assert_allclose(model.center, (1, -2))
    points = np.stack(panels[0].get_lines()[0].get_data(), axis=1)
    assert len(points) == 300
    np.testing.assert_allclose(np.cov(points.T), covariance, atol=0.8)  # 5 standard errors of the largest, 3.4
    assert len(panels[1].patches) == 1 and not panels[1].get_lines()
    assert [panel.get_title() for panel in panels] == ["generation 0", "generation 1"]


def test_digits_stand_in_rows_of_their_generation():
    panel = new_figure()[1][0, 0]
    digit_rows(panel, IMAGES, (0, 2, 4, 6), side=3)
    shown = panel.get_images()[0]
    assert shown.get_clim() == (0, 255)
    for row in range(4):
        for place in range(5):
            tile = shown.get_array()[3 * row : 3 * row + 3, 3 * place : 3 * place + 3]
            np.testing.assert_array_equal(tile, IMAGES[row, place].reshape(3, 3))
    assert [label.get_text() for label in panel.get_yticklabels()] == ["0", "2", "4", "6"]
    np.testing.assert_allclose(panel.get_yticks(), [1.5, 4.5, 7.5, 10.5])


@pytest.mark.parametrize("ends", [(1.0, 1.9), (30.0, 80.0), (0.2, 40_000.0), (1e-8, 1e8)])
def test_ticks_of_a_logarithm_are_few_plain_numbers_within_the_axis(ends):
    panel = new_figure()[1][0, 0]
    panel.set(yscale="log", ylim=ends)
    plain_ticks(panel.yaxis)
    ticks = panel.get_yticks()
    assert 2 <= len(ticks) <= 17 and ticks.min() >= ends[0] and ticks.max() <= ends[1]
    assert len(ticks) <= 7 or ends[1] > 1e7
    texts = [label.get_text().replace(",", "") for label in panel.get_yticklabels()]
    np.testing.assert_allclose([float(text) for text in texts], ticks)


@pytest.mark.parametrize("num", [5, 6])
def test_many_lines_are_named_below_the_figure(num):
    figure, axes = new_figure(1, 2)
    for index in range(num):
        axes[0, index % 2].plot([0, 1], label=f"line {index}")
    name_lines(figure, axes[0, 0], axes[0, 1])
    held = figure.legends if num > 5 else [axes[0, 0].get_legend()]
    assert len(held) == 1 and (axes[0, 0].get_legend() is None) == (num > 5)
    if num > 5:
        assert {text.get_text() for text in held[0].get_texts()} == {f"line {index}" for index in range(num)}
