"""Figures from results: xarray in, matplotlib figures out; lines, bands, maps.

What they share is in `style`, pictures of what models draw in `pictures`; all can be had from here.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import xarray as xr
from matplotlib.ticker import MaxNLocator

from collapse_jax.analysis.pictures import Film, digit_film, digit_rows, mixture_snapshots, save_film
from collapse_jax.analysis.style import (
    COLOURS,
    Axes,
    Figure,
    hex_of,
    legend,
    new_figure,
    plain_ticks,
    save_figure,
)
from collapse_jax.validation import check_kind, nearest

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

_FEW = 5  # lines that a legend within a panel has room for


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
