"""What a figure shows, read back from the figure itself: in words, for who cannot see it, and as a table of numbers.

Whatever drew it, a line is where it is: `described` says how it moves and whether theory's line, which is black, lies
within the band beside it.
"""

import csv
import io
from typing import Any

import numpy as np

from collapse_jax.analysis.figure_series import MOST_ROWS, Series, plain_label, series_of
from collapse_jax.analysis.style import Axes, Figure, hex_of

_MOST_SIGNS, _MOST_PANELS = 900, 6  # of a description
_LEAST_LETTER = 9.0  # CSS pixels
_POINTS, _PIXELS = 72.0, 96.0  # an inch has so many
_STILL = 0.08  # of a panel's height: less is no movement
_STYLES = {"--": "dashed ", ":": "dotted ", "-.": "dash-dotted "}
_BLACK = "#000000"


def described(figure: Figure) -> str:
    """Return what is seen in a figure, panel by panel, from the numbers that it draws; "" if it draws no lines.

    >>> from collapse_jax.analysis.plots import new_figure
    >>> figure, axes = new_figure()
    >>> _ = axes[0, 0].plot([0, 1, 2], [1.0, 0.5, 0.25], label="spread")
    >>> _ = axes[0, 0].set(title="what is left", xlabel="generation")
    >>> described(figure)
    'what is left: spread falls from 1 to 0.25 over generation 0 to 2.'
    """
    panels = [panel for panel in figure.axes if panel.get_label() != "<colorbar>"]
    found = [sentence for panel in panels if (sentence := _panel(panel, figure))]
    told, left = "", len(found)
    for sentence in found[:_MOST_PANELS]:
        if told and len(told) + len(sentence) > _MOST_SIGNS:
            break
        told, left = f"{told} {sentence}".strip(), left - 1
    if len(told) > _MOST_SIGNS:
        told = told[: _MOST_SIGNS - 1].rsplit(" ", 1)[0] + " …"
    return told + (f" {left} more panel{'s' if left > 1 else ''}." if left else "")


def table_of(figure: Figure) -> str:
    """Return the numbers that a figure draws as CSV; "" for none, or for more than are read with the eye."""
    rows, num = [], 0
    for index, panel in enumerate(figure.axes):
        name = _name(panel) or f"panel {index + 1}"
        for series in series_of(panel):
            num += len(series.x)
            if num > MOST_ROWS:
                return ""
            blank = np.full(len(series.x), np.nan)
            edges = [blank if edge is None else edge for edge in (series.low, series.high)]
            cells = zip(series.x, series.y, *edges)
            label = series.label or f"{_told_style(series)} line"
            rows += [[name, label, *("" if np.isnan(v) else f"{v:.7g}" for v in row)] for row in cells]
    if not rows:
        return ""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["panel", "line", "x", "y", "low", "high"], *rows])
    return text.getvalue()


def least_width(figure: Figure) -> int:
    """Return how many CSS pixels wide a figure that was drawn must be shown for its smallest letters to be read."""
    found: Any = figure.findobj(lambda artist: hasattr(artist, "get_fontsize") and hasattr(artist, "get_text"))
    sizes = [text.get_fontsize() for text in found if text.get_visible() and text.get_text().strip()]
    if not sizes:
        return 0
    return int(np.ceil(figure.get_figwidth() * min(_LEAST_LETTER * _POINTS / min(sizes), 2 * _PIXELS)))


def _panel(panel: Axes, figure: Figure) -> str:
    """Return a sentence on a panel, "" where nothing is to be said."""
    mapped = _map(panel)
    phrases = [*mapped, *_lines(panel, figure)]
    if not phrases:
        return ""
    told = "; ".join(phrases)
    across = plain_label(panel.get_xlabel())
    reach = [x for series in series_of(panel) if not series.level for x in (series.x.min(), series.x.max())]
    if reach and across and not mapped:
        told += f" over {across} {short(min(reach))} to {short(max(reach))}"
    name = plain_label(panel.get_title()) if mapped else _name(panel)
    return f"{name}: {told}." if name else f"{told[0].upper()}{told[1:]}."


def _lines(panel: Axes, figure: Figure) -> list[str]:
    """Return a phrase for each line, and for lines of one look without a name together."""
    low, high = _scaled(panel, np.asarray(panel.get_ylim()))
    height = abs(high - low) or 1.0
    series = [one for one in series_of(panel) if np.isfinite(_scaled(panel, one.y)).any()]
    coloured = [one for one in series if not _is_theory(one) and not one.level]
    named = any(one.label for one in coloured)
    looks: dict[tuple[str, str, str], list[Series]] = {}
    for one in series:
        looks.setdefault((one.label, one.colour, one.style), []).append(one)
    phrases = []
    for (label, colour, style), alike in looks.items():
        if alike[0].level:
            if label:
                phrases.append(f"{label} is at {short(alike[0].y[0])}")
            continue
        if style == "steps":
            phrases.append(_steps(label or "the steps", alike[0]))
            continue
        borrowed = label or (_label_of(figure, colour, style) if colour == _BLACK else "")
        name = borrowed or _unnamed(alike)
        if _is_theory(alike[0]) and coloured and (named or len(alike) == 1):
            name = borrowed or _unnamed(alike[:1])
            phrases += [f"{name} {_beside(panel, one, coloured, height)}" for one in alike]
            continue
        one = alike[0] if len(alike) == 1 else _middle(alike)
        plural = len(alike) > 1 and not borrowed
        phrases.append(f"{name}{', of which the middle one' if plural else ''} {_movement(panel, one, height)}")
    return phrases


def _is_theory(one: Series) -> bool:
    """True for what this package draws theory as: in black, broken or named a law."""
    return one.colour == _BLACK and (one.style in _STYLES or not one.label or "law" in one.label)


def _map(panel: Axes) -> list[str]:
    """Return a phrase for a map of colours: where it is lowest and highest."""
    for area in panel.collections:
        if not hasattr(area, "get_coordinates") or area.get_array() is None:
            continue
        values, corners = np.asarray(area.get_array(), float), area.get_coordinates()
        if values.shape != tuple(size - 1 for size in corners.shape[:2]) or not np.isfinite(values).any():
            continue
        across, up = plain_label(panel.get_xlabel()) or "x", plain_label(panel.get_ylabel()) or "y"
        bar = getattr(area, "colorbar", None)
        name = plain_label(bar.ax.get_ylabel()) if bar is not None else ""
        ends = []
        for index in (np.nanargmin(values), np.nanargmax(values)):
            row, column = np.unravel_index(index, values.shape)
            box = corners[row : row + 2, column : column + 2].reshape(-1, 2)
            where = _within(box[:, 0], panel.get_xscale()), _within(box[:, 1], panel.get_yscale())
            place = f"{across} near {short(where[0])}, {up} near {short(where[1])}"
            ends.append(f"{short(values[row, column])} at {place}")
        return [f"{name or 'the value'} goes from {ends[0]}, to {ends[1]}"]
    return []


def _movement(panel: Axes, one: Series, height: float) -> str:
    """Return how a line goes from its first finite point to its last."""
    y = _scaled(panel, one.y)
    finite = np.isfinite(y)
    drawn, y = one.y[finite], y[finite]
    first, last = short(drawn[0]), short(drawn[-1])
    top, bottom = y.argmax(), y.argmin()
    if len(y) == 1:
        told = f"is at {first}"
    elif abs(y[-1] - y[0]) > _STILL * height:
        rises = y[-1] > y[0]
        verb, peak = ("rises", top) if rises else ("falls", bottom)
        if abs(y[peak] - y[-1]) > 2 * _STILL * height:
            told = f"{verb} from {first} to {short(drawn[peak])} and ends at {last}"
        else:
            told = f"{verb} from {first} to {last}"
    elif y[top] - y[bottom] <= 2 * _STILL * height:
        told = f"stays near {short(np.median(drawn))}"
    else:
        told = f"moves between {short(drawn[bottom])} and {short(drawn[top])} and ends at {last}, near its start"
    if one.low is not None and one.high is not None and len(y) > 1:
        told += f" (band at the end {short(one.low[finite][-1])} to {short(one.high[finite][-1])})"
    return told


def _beside(panel: Axes, law: Series, coloured: list[Series], height: float) -> str:
    """Return where theory's line lies: within the nearest line's band, or how far from the line."""
    best, words = np.inf, ""
    for one in coloured:
        places = np.isin(one.x, law.x)
        own = np.interp(one.x, law.x, _scaled(panel, law.y)) if len(law.x) > 1 else np.full(len(one.x), np.nan)
        inside = (one.x >= law.x.min()) & (one.x <= law.x.max()) if not places.any() else places
        other = _scaled(panel, one.y)
        known = inside & np.isfinite(own) & np.isfinite(other)
        if not known.any():
            continue
        gap = float(np.max(np.abs(own - other)[known])) / height
        if gap >= best:
            continue
        best = gap
        name = one.label or "the line"
        if one.low is not None and one.high is not None:
            low, high = _scaled(panel, one.low)[known], _scaled(panel, one.high)[known]
            within = float(np.mean((own[known] >= low - 1e-3 * height) & (own[known] <= high + 1e-3 * height)))
            words = f"lies within the band of {name}" + ("" if within == 1 else f" at {within:.0%} of its points")
        else:
            off = f"at most {gap:.0%} of the panel's height off {name}"
            words = f"lies {f'on {name}' if gap < _STILL / 4 else off}"
    return words or _movement(panel, law, height)


def _steps(label: str, one: Series) -> str:
    total = one.y.sum()
    if not total > 0:
        return f"{label} is empty"
    middle = one.x[np.searchsorted(np.cumsum(one.y), total / 2)]
    return f"half of {label} lies below {short(middle)}"


def _middle(alike: list[Series]) -> Series:
    """Return the median of lines of one look, where they have the same places; else the first."""
    if len({len(one.x) for one in alike}) > 1:
        return alike[0]
    with np.errstate(all="ignore"):
        return alike[0]._replace(y=np.median([one.y for one in alike], axis=0))


def _unnamed(alike: list[Series]) -> str:
    style = _told_style(alike[0])
    return f"a {style} line" if len(alike) == 1 else f"{len(alike)} {style} lines"


def _told_style(series: Series) -> str:
    return f"{_STYLES.get(series.style, '')}{'black' if series.colour == _BLACK else 'coloured'}"


def _label_of(figure: Figure, colour: str, style: str) -> str:
    """Return what a line of this look is called elsewhere in the figure."""
    for panel in figure.axes:
        for line in panel.get_lines():
            look, label = (hex_of(line.get_color()), str(line.get_linestyle())), plain_label(line.get_label())
            if look == (colour, style) and label:
                return label
    return ""


def _name(panel: Axes) -> str:
    title, up = plain_label(panel.get_title() or panel.get_title(loc="left")), plain_label(panel.get_ylabel())
    return f"{title}, {up}" if title and up else title or up


def _scaled(panel: Axes, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, float)
    if panel.get_yscale() != "log":
        return np.where(np.isfinite(values), values, np.nan)
    with np.errstate(all="ignore"):
        return np.where(values > 0, np.log10(values), np.nan)


def _within(edges: np.ndarray, scale: str) -> float:
    low, high = edges.min(), edges.max()
    return float(np.sqrt(low * high)) if scale == "log" and low > 0 else float((low + high) / 2)


def short(value: float) -> str:
    """Return a number as one says it: three digits, a minus that is one, powers of ten where it is very small or large.

    >>> short(1234.56), short(-0.03456), short(2.5e-9), short(3.0)
    ('1,235', '-0.0346', '2.5e-9', '3')
    """
    if not np.isfinite(value):
        return "∞" if value == np.inf else "no number"
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
