"""The house style of figures: sizes, colours, ticks, legends, and the files that they are saved in.

Colours are Okabe and Ito's, which colour-blind readers can tell apart.
"""

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from collapse_jax.files.writing import write_atomically

__all__ = ["COLOURS", "Axes", "Figure", "hex_of", "legend", "new_figure", "plain_ticks", "save_figure"]

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
