"""The figure of a watch: each statistic over generations with its usual interval, evidence, and shares of variance."""

import textwrap
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np

from collapse_jax.analysis.style import COLOURS, Axes, Figure, legend, new_figure, plain_ticks
from collapse_jax.monitor.readings import Measured, Reading

_COLUMNS, _WIDTH, _HEIGHT = 3, 10.8, 2.4  # inches: of all, of a row
_ABOVE, _BELOW = 0.56, 0.42  # inches of a row for titles and labels
_BLUE, _RED = COLOURS[0], COLOURS[1]
_MOST_DOTS = 80
_MOST_NAMED = 4  # statistics whose evidence has a colour
UNUSUAL = 0.05  # p of a generation alone
_LEAST, _MOST = 1e-3, 1e6  # of evidence that is drawn


def watch_figure(readings: Sequence[Reading], alarm: int | None) -> Figure:
    """Return small multiples: evidence, shares of variance where there are directions, and every statistic.

    Args:
        readings: of which one at least is judged.
        alarm: the generation that raised it, if one did.
    """
    judged = [reading for reading in readings if reading.measured]
    order = sorted(judged[-1].measured, key=lambda one: -one.evidence)
    names = [one.name for one in order]
    still = constant(readings)
    drawn = [one for one in order if one.name not in still]
    with_directions = len(readings[0].directions) > 1
    num = len(drawn) + 1 + with_directions
    num_rows = -(-num // _COLUMNS)
    figure, axes = new_figure(num_rows, _COLUMNS, _WIDTH, _HEIGHT * num_rows)
    height = _HEIGHT * num_rows
    figure.set_layout_engine(None)  # panels are alike, and fitting them takes longer than drawing them
    figure.subplots_adjust(
        left=0.055, right=0.99, wspace=0.2, bottom=_BELOW / height, top=1 - _ABOVE / height,
        hspace=(_ABOVE + _BELOW) / (_HEIGHT - _ABOVE - _BELOW),
    )  # fmt: skip
    panels = list(axes.flat)
    for panel in panels[num:]:
        panel.set_axis_off()
    _evidence(panels[0], judged, names)
    if with_directions:
        _directions(panels[1], readings)
    for panel, one in zip(panels[1 + with_directions :], drawn):
        _statistic(panel, judged, one.name, one.about)
    first, last = readings[0].generation, readings[-1].generation
    margin = max(0.02 * (last - first), 0.3)
    for panel in panels[:num]:
        panel.set_xlim(first - margin, last + margin)
        ticks = mpl.ticker.MaxNLocator(5, integer=True) if first < last else mpl.ticker.FixedLocator([first])
        panel.xaxis.set_major_locator(ticks)
        if alarm is not None:
            panel.axvline(alarm, color=_RED, linewidth=1.1, linestyle=(0, (4, 2)), zorder=1)
    for panel in panels[max(num - _COLUMNS, 0) : num]:
        panel.set_xlabel("generation")
    return figure


def is_unusual(one: Measured) -> bool:
    """Return whether fewer than one random sample in twenty is as extreme, towards the side that counts."""
    return one.p <= UNUSUAL


def constant(readings: Sequence[Reading]) -> list[str]:
    """Return the statistics that are one number in all generations, usual intervals included: they are not drawn."""
    judged = [reading for reading in readings if reading.measured]
    names = [one.name for one in judged[-1].measured] if judged else []
    ends = {
        name: {end for one in _of(judged, name) for end in (one.value, one.low, one.high)} for name in names
    }
    return [name for name in names if len(ends[name]) == 1]


def _of(judged: Sequence[Reading], name: str) -> list[Measured]:
    """Return what one statistic shows of each generation."""
    return [one for reading in judged for one in reading.measured if one.name == name]


def _statistic(panel: Axes, judged: Sequence[Reading], name: str, about: str) -> None:
    generation = np.array([reading.generation for reading in judged])
    measured = _of(judged, name)
    value, low, high = np.array([(one.value, one.low, one.high) for one in measured]).T
    panel.fill_between(generation, low, high, color="#c9d3dd", alpha=0.75, linewidth=0, zorder=0)
    if len(judged) == 1:
        panel.errorbar(
            generation, (low + high) / 2, (high - low) / 2, color="#c9d3dd", linewidth=6, fmt="none"
        )
    many = len(judged) > _MOST_DOTS
    panel.plot(generation, value, color=_BLUE, linewidth=0.6 if many else 1.3, alpha=0.7 if many else 1.0)
    if many:  # the interval's ends above the line, which hides its band
        panel.plot(generation, np.stack([low, high], axis=1), color="#3d4853", linewidth=0.4)
    else:
        odd = np.array([is_unusual(one) for one in measured])
        panel.plot(generation[~odd], value[~odd], "o", color=_BLUE, markersize=3)
        panel.plot(generation[odd], value[odd], "o", color=_RED, markersize=3.6)
    _title(panel, name, about)


def _evidence(panel: Axes, judged: Sequence[Reading], names: Sequence[str]) -> None:
    generation = [reading.generation for reading in judged]
    colours = (COLOURS[0], COLOURS[2], COLOURS[3], COLOURS[4])
    marker = "o" if len(judged) == 1 else ""
    for place, name in reversed(list(enumerate(names))):
        share = [one.evidence / judged[0].needed for one in _of(judged, name)]
        is_named = place < _MOST_NAMED
        panel.plot(
            generation, np.clip(share, _LEAST, _MOST), marker=marker, markersize=3, linewidth=1.4 if is_named else 0.8,
            color=colours[place] if is_named else "#b8bfc6", label=name if is_named else None,
        )  # fmt: skip
    panel.axhline(1.0, color="black", linewidth=1.0)
    panel.set_yscale("log")
    largest = max(min(reading.evidence, _MOST) for reading in judged)
    panel.set_ylim(_LEAST, max(8.0, 2 * largest))
    ticks = [
        tick for tick in (0.001, 0.01, 0.1, 1, 10, 100, 1e3, 1e4, 1e5, 1e6) if tick <= max(8.0, 2 * largest)
    ]
    ticks = ticks if len(ticks) < 6 else ticks[1::2]
    panel.yaxis.set_major_locator(mpl.ticker.FixedLocator(ticks))
    panel.yaxis.set_minor_locator(mpl.ticker.NullLocator())
    shown = mpl.ticker.FuncFormatter(
        lambda tick, _: f"{tick:,.0f}" if 1 <= tick < 1e5 else f"{tick:g}".replace("e+0", "e")
    )
    panel.yaxis.set_major_formatter(shown)
    handles, labels = panel.get_legend_handles_labels()
    legend(panel, handles=handles[::-1], labels=labels[::-1], loc="best")
    _title(panel, "evidence", "share of what raises the alarm; the line is 1")


def _directions(panel: Axes, readings: Sequence[Reading]) -> None:
    generation = [reading.generation for reading in readings]
    shares = np.array([reading.directions for reading in readings])
    num = shares.shape[1]
    colour = mpl.colormaps["viridis"](np.linspace(0.0, 0.88, num))
    for place in reversed(range(num)):
        label = {0: "leading", num - 1: "finest"}.get(place)
        panel.plot(generation, shares[:, place], color=colour[place], linewidth=0.9 if num > 4 else 1.3, label=label,
                   marker="o" if len(readings) == 1 else "", markersize=3)  # fmt: skip
    panel.set_yscale("log")
    low, high = np.min(shares), np.max(shares)
    panel.set_ylim(max(low / 1.15, 1e-6), max(high, 1e-5) * 1.15)
    plain_ticks(panel.yaxis)
    handles, labels = panel.get_legend_handles_labels()
    legend(panel, handles=handles[::-1], labels=labels[::-1], loc="best")
    _title(panel, "variance by direction", "share of the reference's, along its principal directions")


def _title(panel: Axes, name: str, about: str) -> None:
    lines = textwrap.wrap(about, 52)
    panel.set_title("\n".join(lines), loc="left", fontsize=7.5, color="#55626f")
    panel.annotate(
        name, (0, 1), xycoords="axes fraction", xytext=(0, 7 + 9.2 * len(lines)), textcoords="offset points",
        fontsize=9.5, fontweight="bold", va="bottom", annotation_clip=False,
    )  # fmt: skip
