"""The figures of a run as a page shows them: inlined, with what is seen in words, and links to their data."""

import base64
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from collapse_jax.files.reading import TOLD, read_bytes

_MOST_INLINED = 24 * 2**20  # bytes of all pictures and tables of a page together
_MOST_TABLE = 24 * 2**10  # bytes of one table
_FIGURE_DPI, _SCREEN_DPI = 150, 96
_USUAL_LETTERS = 88 / _SCREEN_DPI  # of its width a figure needs at least, whose smallest letters nobody measured
_REMEDY = "draw the run again"


class Budget:
    """What a page may still inline."""

    def __init__(self, left: int = _MOST_INLINED) -> None:
        self.left = left

    def takes(self, size: int) -> bool:
        """True, and so much less is left, where something of `size` bytes may be inlined."""
        if size > self.left:
            return False
        self.left -= size
        return True


def pictured(figure: dict[str, Any], folder: Path, beside: Path, budget: Budget) -> dict[str, Any]:
    """Return what a page shows of a figure.

    Args:
        figure: its entry in `captions.json`.
        folder: of the run.
        beside: the folder in which the page lies.
        budget: what the page may still inline; what is beyond is linked.

    Raises:
        ValueError: a file of the figure is missing or cannot be read.
    """
    figures, name = folder / "figures", figure["name"]
    shown: dict[str, Any] = {
        "texts": [], **figure,
        "slug": re.sub(r"[^A-Za-z0-9_-]+", "-", name),
        "alt": figure.get("alt") or f"{name}: {figure['caption']}",
        "source": "", "width": 0, "height": 0, "least_width": 0,
    }  # fmt: skip
    image = figures / f"{name}.png"
    drawn = "alt" in figure or not shown["texts"]  # what was drawn of texts once may still lie there
    if drawn:
        content = read_bytes(image, TOLD, _REMEDY)
        width, height = (round(side * _SCREEN_DPI / _FIGURE_DPI) for side in _size(content))
        least = min(figure.get("least_width") or round(width * _USUAL_LETTERS), 2 * width)
        source = _source(content, "image/png", image, beside, budget)
        shown |= {"source": source, "width": width, "height": height, "least_width": least}
    if "film" in figure:
        frames = figures / f"{name}_frames.png"
        source = _source(read_bytes(frames, TOLD, _REMEDY), "image/png", frames, beside, budget)
        shown["film"] = {**figure["film"], "source": source}
    shown["links"] = _links(figures, name, folder, beside, budget, drawn)
    return shown


def _links(figures: Path, name: str, folder: Path, beside: Path, budget: Budget, drawn: bool) -> list[dict[str, str]]:
    """Return links to the numbers of a figure and to its drawing, where it is drawn, and to the whole run's records."""
    links = []
    table, drawing = figures / f"{name}.csv", figures / f"{name}.svg"
    if drawn and table.is_file():
        content = read_bytes(table, TOLD, _REMEDY)
        small = len(content) <= _MOST_TABLE
        href = _source(content, "text/csv", table, beside, budget) if small else _relative(table, beside)
        links.append({"name": "numbers (CSV)", "href": href, "download": f"{name}.csv"})
    if drawn and drawing.is_file():
        links.append({"name": "drawing (SVG)", "href": _relative(drawing, beside), "download": f"{name}.svg"})
    records = _relative(folder / "trajectory.nc", beside)
    return [*links, {"name": "records (netCDF)", "href": records, "download": ""}]


def _source(content: bytes, kind: str, path: Path, beside: Path, budget: Budget) -> str:
    """Return a file as a data URI, or, where the page has enough of them, a link to it."""
    if not budget.takes(len(content)):
        return _relative(path, beside)
    return f"data:{kind};base64," + base64.b64encode(content).decode()


def _relative(path: Path, beside: Path) -> str:
    return quote(os.fsencode(Path(os.path.relpath(path, beside)).as_posix()))


def _size(png: bytes) -> tuple[int, int]:
    """Return width and height of a PNG, pixels; its first part, IHDR, begins with them."""
    if len(png) < 24 or png[12:16] != b"IHDR":
        return 0, 0
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")
