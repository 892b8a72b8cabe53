"""The lines, marks, steps and bands of a figure's panel, as numbers, whatever drew them."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from collapse_jax.analysis.style import Axes, hex_of

MOST_ROWS = 20_000  # of a table


class Series(NamedTuple):
    """One line of a panel, or a row of marks.

    Attributes:
        label: from the legend, "" without one.
        colour: "#rrggbb".
        style: of the line: "-", "--", ":", "-." or "None" for marks.
        x: places, in data units.
        y: heights.
        low: lower edge of the band of its colour, as long as x; None without a band.
        high: upper edge.
        level: a line across the whole panel.
    """

    label: str
    colour: str
    style: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    level: bool = False


def series_of(panel: Axes) -> list[Series]:
    """Return the lines, marks and steps of a panel, each with the band of its colour."""
    boxes: Any = [box for box in panel.containers if hasattr(box, "has_yerr")]
    held = {id(box.lines[0]): box for box in boxes}
    found = []
    for line in panel.get_lines():
        x, y = (np.asarray(values, float) for values in (line.get_xdata(orig=False), line.get_ydata(orig=False)))
        level = len(x) == 2 and line.get_transform() != panel.transData
        if not len(x) or (level and y[0] != y[1]):
            continue
        box = held.get(id(line))
        if box is None and len(x) > 1 and line.get_linestyle() == "None" and line.get_marker() in ("_", "|"):
            continue  # a cap of an error bar
        label = plain_label(box.get_label() if box is not None else line.get_label())
        series = Series(label, hex_of(line.get_color()), str(line.get_linestyle()), x, y, level=level)
        if box is not None and box.has_yerr and box.lines[2]:
            ends = np.array([segment[:, 1] for segment in box.lines[2][-1].get_segments()])
            if ends.shape == (len(x), 2):
                series = series._replace(low=ends[:, 0], high=ends[:, 1])
        found.append(series)
    return [*_with_bands(panel, found), *_others(panel)]


def _with_bands(panel: Axes, found: list[Series]) -> list[Series]:
    """Give the first line of a colour the band of that colour."""
    found = list(found)
    for area in panel.collections:
        if not hasattr(area, "get_paths") or len(area.get_facecolor()) != 1 or not len(area.get_paths()):
            continue
        colour, edges = hex_of(area.get_facecolor()[0]), _edges(area.get_paths())
        for index, series in enumerate(found):
            if series.colour == colour and series.low is None and not series.level:
                if all(x in edges for x in series.x.tolist()):
                    low, high = np.array([edges[x] for x in series.x.tolist()]).T
                    found[index] = series._replace(low=low, high=high)
                break
    return found


def _edges(paths: Sequence[Any]) -> dict[float, tuple[float, float]]:
    """Return x -> lowest and highest of what `fill_between` drew."""
    corners = np.concatenate([path.vertices for path in paths])
    if len(corners) > 4 * MOST_ROWS:
        return {}
    order = np.lexsort((corners[:, 1], corners[:, 0]))
    places, first = np.unique(corners[order, 0], return_index=True)
    heights = np.split(corners[order, 1], first[1:])
    return {float(x): (float(ys[0]), float(ys[-1])) for x, ys in zip(places, heights)}


def _others(panel: Axes) -> list[Series]:
    """Return what is no line: labelled upright bars, and the steps of histograms."""
    found = []
    areas: Any = panel.collections
    for area in areas:
        if hasattr(area, "get_segments") and (label := plain_label(area.get_label())):
            bars = [segment for segment in area.get_segments() if len(segment) == 2]
            if bars and all(bar[0, 0] == bar[1, 0] for bar in bars):
                x, low, high = np.array([(bar[0, 0], bar[:, 1].min(), bar[:, 1].max()) for bar in bars]).T
                colour = hex_of(area.get_colors()[0])
                found.append(Series(label, colour, "None", x, (low + high) / 2, low, high))
    for patch in panel.patches:
        if hasattr(patch, "get_data"):
            heights, edges, _ = patch.get_data()
            places, colour = np.asarray(edges, float)[:-1], hex_of(patch.get_edgecolor())
            found.append(Series(plain_label(patch.get_label()), colour, "steps", places, np.asarray(heights, float)))
    return found


def plain_label(label: Any) -> str:
    r"""Return a label without its mathematics' marks, "" for one that matplotlib made up.

    >>> plain_label(r"law, $(1-1/M)^n$"), plain_label("_child3"), plain_label(r"cost\$")
    ('law, (1-1/M)^n', '', 'cost$')
    """
    text = " ".join(str(label).split())
    if text.startswith("_"):
        return ""
    text = re.sub(r"(?<!\\)\$", "", text).replace(r"\$", "$")
    return text.replace(r"\geq", ">=").replace(r"\leq", "<=")
