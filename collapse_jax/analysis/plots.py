"""Figures from results: xarray in, matplotlib figures out. No other file imports matplotlib.

Colours are Okabe and Ito's, which colour-blind readers can tell apart.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.animation import PillowWriter
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.patches import Ellipse
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from collapse_jax.files.writing import write_atomically
from collapse_jax.validation import check_kind, nearest

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",
}

_DIGITS = ((1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8), (1, 2, 5), (1, 3), (1,))  # of ticks, from close to far apart
_TICKS = [[digit * 10.0**power for power in range(-9, 10) for digit in digits] for digits in _DIGITS]
_MOST_TICKS = 7
_FEWEST_POWERS = 3  # on an axis whose ticks are powers of ten alone
_FEW = 5  # lines that a legend within a panel has room for

__all__ = [
    "COLOURS",
    "Axes",
    "Figure",
    "Film",
    "at_a_glance",
    "band",
    "digit_film",
    "digit_rows",
    "hex_of",
    "legend",
    "mixture_snapshots",
    "name_lines",
    "new_figure",
    "phase_diagram",
    "plain_ticks",
    "plot",
    "save_figure",
    "save_film",
]


class Film(NamedTuple):
    """Pictures of one size that follow each other, for example one for each generation.

    Attributes:
        frames: grey levels 0 to 255, shape [num_frames, height, width].
        labels: what is written over each frame.
    """

    frames: np.ndarray
    labels: tuple[str, ...]


class _Shown(Figure):
    """A figure that notebooks show: no window system is asked for."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        with mpl.rc_context(_STYLE):
            self.savefig(content, format="png", dpi=110)
        return content.getvalue()


def new_figure(
    rows: int = 1, columns: int = 1, width: float = 7.2, height: float = 3.2
) -> tuple[Figure, np.ndarray]:
    """Return a figure in the house style and its axes [rows, columns]; sizes in inches."""
    with mpl.rc_context(_STYLE):
        figure = _Shown(figsize=(width, height), layout="constrained", facecolor="white")
        axes = figure.subplots(rows, columns, squeeze=False)
    return figure, axes


def save_figure(figure: Figure, folder: Path, name: str) -> Path:
    """Write `name`.png and a vector `name`.svg; return the PNG's path."""
    for panel in figure.axes:
        _tidy_logarithms(panel)
    with mpl.rc_context(_STYLE):
        write_atomically(folder / f"{name}.svg", lambda part: figure.savefig(part, metadata={"Date": None}))
        write_atomically(folder / f"{name}.png", lambda part: figure.savefig(part, dpi=150))
    return folder / f"{name}.png"


def hex_of(colour: Any) -> str:
    """Return a colour of matplotlib's as "#rrggbb", without its transparency."""
    return str(to_hex(colour))


def _tidy_logarithms(panel: Axes) -> None:
    """Give logarithmic axes powers of ten that do not overlap, or, where they span few, plain numbers.

    Axes whose ticks somebody chose keep them.
    """
    for axis in (panel.xaxis, panel.yaxis):
        if axis.get_scale() != "log" or type(axis.get_major_locator()) is not LogLocator:
            continue
        low, high = axis.get_view_interval()
        if not 0 < low < high < np.inf:
            continue
        first, last = int(np.ceil(np.log10(low) - 1e-9)), int(np.floor(np.log10(high) + 1e-9))
        if last - first < _FEWEST_POWERS - 1:
            if _TICKS[-1][0] <= low and high <= _TICKS[-1][-1]:
                plain_ticks(axis)
            continue
        step = -(-(last - first) // (_MOST_TICKS - 1))
        powers = range(-(-first // step) * step, last + 1, step)
        axis.set_ticks([10.0**power for power in powers], [f"$10^{{{power}}}$" for power in powers])
        axis.set_minor_locator(NullLocator())


def band(
    axes: Axes, values: xr.DataArray, label: str, colour: str, share: float = 0.9, line: str = "-"
) -> None:
    """Draw the median over seeds as a line and the central `share` of seeds as a band.

    Args:
        axes: where to draw.
        values: dims (seed, generation); seeds without a finite value are left out of each generation.
        label: for the legend.
        colour: line and band.
        share: of seeds inside the band.
        line: the line's style.
    """
    data = values.transpose("seed", "generation").values.astype(float)
    data = np.where(np.isfinite(data), data, np.nan)
    drawn = ~np.all(np.isnan(data), axis=0)
    generation = values["generation"].values[drawn]
    low, middle, high = np.nanquantile(data[:, drawn], [(1 - share) / 2, 0.5, (1 + share) / 2], axis=0)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.fill_between(generation, low, high, color=colour, alpha=0.18, linewidth=0)
    axes.plot(generation, middle, line, color=colour, label=label)


def at_a_glance(
    lines: Mapping[str, xr.DataArray], title: str, *, laws: Mapping[str, np.ndarray] = MappingProxyType({}),
    law: str = "law", share: float = 0.9, logarithmic: bool = False,
) -> Figure:  # fmt: skip
    """Return one small panel that answers a study's question: a band for each line, and theory's beside it.

    Args:
        lines: label -> values, dims (seed, generation).
        title: what is drawn.
        laws: label of a line -> what theory says of it, at the same generations.
        law: what that is called.
        share: of seeds inside the bands.
        logarithmic: the vertical axis.
    """
    figure, axes = new_figure(width=4.4, height=2.5)
    panel = axes[0, 0]
    for index, (label, values) in enumerate(lines.items()):
        band(panel, values, label, COLOURS[index % (len(COLOURS) - 1)], share)  # the last is black, as theory is
        if label in laws:
            panel.plot(values["generation"], laws[label], ":", color="black", linewidth=1.2, zorder=5)
    if laws:
        panel.plot([], [], ":", color="black", linewidth=1.2, label=law)
    panel.set(title=title, xlabel="generation", yscale="log" if logarithmic else "linear")
    legend(panel, fontsize=8.5, ncols=1 + (len(lines) > _FEW))
    return figure


def plot(result: xr.Dataset, *names: str) -> Figure:
    """Return a figure of a result: a panel for each metric, the median over seeds and the central 90 %.

    A notebook shows it; `figure.savefig("mine.png")` writes it. A metric with axes has a line for each place on them.

    Args:
        result: from `simulate`, `load` or `read_records`: dims seed and generation.
        names: of metrics; default all that are numbers with at most eight lines.

    Raises:
        TypeError: something else.
        ValueError: an unknown name, or nothing that can be drawn.

    >>> values = np.exp(-np.arange(5.0)) * np.ones((3, 1))
    >>> figure = plot(xr.Dataset({"variance": (("seed", "generation"), values)}))
    >>> figure.axes[0].get_title()
    'variance'
    """
    check_kind("result", result, xr.Dataset, "give what simulate(...) or load(folder) returns")
    if "generation" not in result.dims:
        raise ValueError("`result` has no dim `generation`; give what simulate(...) or load(folder) returns.")
    for name in names:
        if name not in result.data_vars:
            raise ValueError(f"`result` has no '{name}'; {nearest(str(name), map(str, result.data_vars))}")
    wanted = [str(name) for name in names or result.data_vars if names or _drawable(result[name])]
    wanted = [name for name in wanted if names or name != "is_finite"] or wanted
    if not wanted:
        raise ValueError("`result` holds nothing to draw: no number for each generation; record a metric.")
    columns = min(3, len(wanted))
    rows = -(-len(wanted) // columns)
    figure, axes = new_figure(rows, columns, width=max(3.6 * columns, 4.4), height=2.6 * rows)
    for panel in axes.flat[len(wanted) :]:
        panel.set_axis_off()
    for panel, name in zip(axes.flat, wanted):
        lines = list(_lines(result[name]))
        for index, (label, line) in enumerate(lines):
            if np.isfinite(line.values).any():
                band(panel, line, label or name, COLOURS[index % len(COLOURS)])
        unit = result[name].attrs.get("units", "1")
        panel.set(title=name.replace("$", r"\$"), xlabel="generation", ylabel="" if unit == "1" else unit)
        if len(lines) > 1:
            legend(panel, fontsize=7)
        values = np.concatenate([line.values[np.isfinite(line.values)] for _, line in lines])
        if not values.size:
            panel.text(0.5, 0.5, "no finite value", transform=panel.transAxes, ha="center")
        elif values.min() > 0 and values.max() > 100 * values.min():
            panel.set_yscale("log")
    return figure


_MOST_LINES = 8  # of one metric, that a panel tells apart


def _drawable(array: xr.DataArray) -> bool:
    others = [size for dim, size in array.sizes.items() if dim not in ("seed", "generation")]
    return "generation" in array.dims and array.dtype.kind in "fiub" and int(np.prod(others)) <= _MOST_LINES


def _lines(array: xr.DataArray) -> Iterator[tuple[str, xr.DataArray]]:
    """Yield a label and an array [seed, generation] for each place on the other dims."""
    array = array.astype(float) if "seed" in array.dims else array.astype(float).expand_dims("seed")
    others = [dim for dim in array.dims if dim not in ("seed", "generation")]
    if not others:
        yield "", array.transpose("seed", "generation")
        return
    for place in np.ndindex(*(array.sizes[dim] for dim in others)):
        label = ", ".join(f"{dim} {index}" for dim, index in zip(others, place))
        yield label, array.isel(dict(zip(others, place))).transpose("seed", "generation")


def phase_diagram(
    values: xr.DataArray, x: str, y: str, label: str,
    contour: xr.DataArray | None = None, levels: Sequence[float] = (), on: tuple[Figure, Axes] | None = None,
) -> Figure:  # fmt: skip
    """Return a map of one number over two axes, with theory's contour lines over it.

    Args:
        values: dims (x, y), any order.
        x: name of the horizontal axis; drawn by logarithm where its values span twentyfold.
        y: of the vertical one.
        label: of the colours.
        contour: what theory says, on the same or a finer grid.
        levels: where its lines are drawn.
        on: a figure and its axes; default a new one.
    """
    figure, panel = on or (lambda made: (made[0], made[1][0, 0]))(new_figure(1, 1, width=5.2, height=3.8))
    data = values.transpose(y, x)
    drawn = panel.pcolormesh(data[x], data[y], data, shading="nearest", cmap="cividis", rasterized=True)
    figure.colorbar(drawn, ax=panel, label=label)
    # before the contours, whose labels cut gaps to scale
    for name, scale in ((x, panel.set_xscale), (y, panel.set_yscale)):
        places = data[name].values.astype(float)
        if places.min() > 0 and places.max() >= 20 * places.min():
            scale("log")
    if contour is not None:
        told = contour.transpose(y, x)
        lines = panel.contour(told[x], told[y], told, levels=sorted(levels), colors="white", linewidths=1.2)
        panel.clabel(lines, fontsize=7.5)
    panel.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "))
    panel.grid(False)
    return figure


def legend(axes: Axes, **options: Any) -> None:
    """Draw the legend, small and without a frame."""
    axes.legend(**{"fontsize": 7.5, "frameon": False, **options})


def plain_ticks(axis: Axis) -> None:
    """Give a logarithmic axis ticks that read as numbers, and not too many."""
    low, high = axis.get_view_interval()
    inside = [[tick for tick in ticks if low <= tick <= high] for ticks in _TICKS]
    ticks = next((ticks for ticks in inside if len(ticks) <= _MOST_TICKS), inside[-1])
    axis.set_minor_locator(NullLocator())
    axis.set_ticks(ticks, [f"{tick:,g}" for tick in ticks])


def name_lines(figure: Figure, panel: Axes, *others: Axes) -> None:
    """Say which line is which: within the panel, or, of many, below the figure; `others` have lines of their own."""
    lines = {
        label: line for axes in (panel, *others) for line, label in zip(*axes.get_legend_handles_labels())
    }
    if len(lines) <= _FEW:
        legend(panel)
        return
    figure.legend(
        lines.values(),
        lines.keys(),
        loc="outside lower center",
        ncols=min(len(lines), 5),
        fontsize=7.5,
        frameon=False,
    )


def mixture_snapshots(
    axes: np.ndarray,
    arm: xr.Dataset,
    generations: Sequence[int],
    truth_means: np.ndarray,
    truth_covariances: np.ndarray,
    *,
    seed: int = 0,
    colour: str = COLOURS[0],
    num_points: int = 300,
) -> None:
    """Draw one seed's mixture at chosen generations: 2-sigma ellipses and points drawn from it.

    Args:
        axes: one for each generation.
        arm: variables `weights`, `means`, `covariances` with dims (seed, generation, ...), in the plane.
        generations: which to show.
        truth_means: shape [K, 2], drawn grey.
        truth_covariances: shape [K, 2, 2].
        seed: which seed.
        colour: of the model.
        num_points: drawn from the recorded mixture, for the eye.
    """
    sigma = np.sqrt(np.max(truth_covariances))
    centre, reach = truth_means.mean(axis=0), np.ptp(truth_means, axis=0) / 2 + 3 * sigma
    reach = np.maximum(reach, 0.7 * reach.max())
    rng = np.random.default_rng(0)
    for panel, generation in zip(axes, generations):
        row = arm.sel(seed=seed, generation=generation)
        weights, means, covariances = (
            row[name].values.astype(float) for name in ("weights", "means", "covariances")
        )
        for mean, covariance in zip(truth_means, truth_covariances):
            panel.add_patch(_ellipse(mean, covariance, facecolor="#dddddd", edgecolor="#aaaaaa", zorder=1))
        reached = bool(np.isfinite(weights).all())  # an interrupted run may end before
        counts: Any = rng.multinomial(num_points, weights / weights.sum()) if reached else []
        for count, mean, covariance in zip(counts, means, covariances):
            if count:
                points = rng.multivariate_normal(mean, covariance, count, check_valid="ignore")
                panel.plot(*points.T, ".", color=colour, markersize=2, alpha=0.5, zorder=2)
                panel.add_patch(
                    _ellipse(mean, covariance, fill=False, edgecolor=colour, linewidth=1.4, zorder=3)
                )
        (left, bottom), (right, top) = centre - reach, centre + reach
        panel.set(xlim=(left, right), ylim=(bottom, top), aspect="equal", xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
        panel.set_title(f"generation {generation}")


def digit_rows(panel: Axes, images: np.ndarray, generations: Sequence[int], side: int = 28) -> None:
    """Draw images [num_generations, num_images, side * side] as one row for each generation, white on black."""
    num_rows, num_images = images.shape[:2]
    tiles = images.reshape(num_rows, num_images, side, side).transpose(0, 2, 1, 3)
    panel.imshow(tiles.reshape(num_rows * side, num_images * side), cmap="gray", vmin=0, vmax=255)
    panel.set_yticks([side * (row + 0.5) for row in range(num_rows)], [str(g) for g in generations])
    panel.set_xticks([])
    panel.set_ylabel("generation")
    panel.grid(False)
    for row in range(1, num_rows):
        panel.axhline(side * row - 0.5, color="#666666", linewidth=0.5)


def digit_film(images: np.ndarray, generations: Sequence[int], *, columns: int = 10, side: int = 28) -> Film:
    """Return images [num_generations, num_images, side * side] as one grid of digits for each generation.

    Args:
        images: grey levels 0 to 255; the last row of a grid is filled up with black.
        generations: their numbers.
        columns: images in a row of the grid.
        side: of an image, pixels.
    """
    num_frames, num_images = images.shape[:2]
    rows = -(-num_images // columns)
    tiles = np.zeros((num_frames, rows * columns, side * side), np.uint8)
    tiles[:, :num_images] = images
    grid = tiles.reshape(num_frames, rows, columns, side, side).transpose(0, 1, 3, 2, 4)
    return Film(
        grid.reshape(num_frames, rows * side, columns * side), tuple(f"generation {g}" for g in generations)
    )


def save_film(film: Film, folder: Path, name: str, *, per_second: int = 2, zoom: int = 2) -> Path:
    """Write an animation, `name`.gif, and all frames one below the other, `name`_frames.png; return the GIF's path.

    Args:
        film: what to show.
        folder: where to.
        name: of the files.
        per_second: frames of the animation in a second.
        zoom: screen pixels of the animation for a pixel of a frame.
    """
    num_frames, height, width = film.frames.shape
    strip = film.frames.reshape(num_frames * height, width, 1)
    colours = strip.repeat(3, axis=2)  # exact, where a colour map rounds
    write_atomically(folder / f"{name}_frames.png", lambda part: imsave(part, colours))
    dpi, title = 100, 24  # a strip of 24 screen pixels holds the label
    tall = zoom * height + title
    figure = Figure(figsize=(zoom * width / dpi, tall / dpi), dpi=dpi, facecolor="white")
    axes = figure.add_axes((0, 0, 1, zoom * height / tall))
    axes.set_axis_off()
    picture = axes.imshow(
        film.frames[0], cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto"
    )
    label = figure.text(0.5, 1 - title / tall / 2, "", ha="center", va="center", fontsize=9)

    def write(part: Path) -> None:
        writer = PillowWriter(fps=per_second)
        with writer.saving(figure, part, dpi):
            for frame, text in zip(film.frames, film.labels):
                picture.set_data(frame)
                label.set_text(text)
                writer.grab_frame()

    write_atomically(folder / f"{name}.gif", write)
    return folder / f"{name}.gif"


def _ellipse(mean: np.ndarray, covariance: np.ndarray, sigmas: float = 2.0, **style: Any) -> Ellipse:
    values, vectors = np.linalg.eigh(covariance)
    width, height = 2 * sigmas * np.sqrt(np.maximum(values, 0))
    angle = float(np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0])))
    return Ellipse(tuple(mean), width, height, angle=angle, **style)
