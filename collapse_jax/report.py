"""A self-contained HTML page from run directories: claims, figures, configuration.

Everything is inlined and escaped; the page asks the network for nothing. A figure with a film gets a slider that
steps through its frames, where scripts run; the figure itself stays either way. Called by `cli`.
"""

import base64
import math
from pathlib import Path
from typing import Any

import jinja2

from collapse_jax.durable import write_page
from collapse_jax.gate import TOLD, read_bytes
from collapse_jax.manifest import read_captions
from collapse_jax.results import read_netcdf
from collapse_jax.rundir import RunDirectory
from collapse_jax.studies.registry import study_of

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_MARKS = {"holds": "✓", "fails": "✗", "inconclusive": "?", "not testable": "–"}


def write_report(runs: list[RunDirectory], path: Path) -> Path:
    """Write the page of one run, or of several together, and return its path."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = _number
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    views = [_view(run) for run in runs]
    moving = any("film" in figure for view in views for figure in view["figures"])
    try:
        page = template.render(runs=views, marks=_MARKS, moving=moving)
    except (jinja2.UndefinedError, TypeError) as error:
        where = ", ".join(str(run.path) for run in runs)
        raise ValueError(
            f"{where} says too little for a report ({error}); take it again from where the run was made."
        ) from error
    write_page(path, page)
    return path


def _view(run: RunDirectory) -> dict[str, Any]:
    """Return what the template shows of a run."""
    description = run.description
    claims = run.verdicts
    figures = read_captions(run.path)
    for figure in figures:
        figure["source"] = _inlined(run.path / "figures" / f"{figure['name']}.png")
        if "film" in figure:
            figure["film"]["source"] = _inlined(run.path / "figures" / f"{figure['name']}_frames.png")
    return {
        **description,
        "data": description.get("data", {}),
        "departures": _noted(claims),
        "title": description.get("title") or study_of(description).title,
        "claims": claims,
        "remarks": [*description.get("remarks", ()), *_changed(description)],
        "lost": _lost(run),
        "tally": {verdict: sum(claim["verdict"] == verdict for claim in claims) for verdict in _MARKS},
        "figures": figures,
        "seconds": description.get("seconds", math.nan),
    }


def _noted(claims: list[dict[str, Any]]) -> list[str]:
    """Return in what the analogues among claims depart from their sources, once each, and number them in the claims."""
    departures = list(dict.fromkeys(claim["departure"] for claim in claims if claim.get("departure")))
    for claim in claims:
        claim["note"] = departures.index(claim["departure"]) + 1 if claim.get("departure") else 0
    return departures


def _changed(description: dict[str, Any]) -> list[str]:
    """Return a sentence where a study's file drew and judged that is not the one that ran."""
    file = description.get("file", {})
    if file.get("drawn_by", file.get("digest")) == file.get("digest"):
        return []
    return [f"{file['path']} was changed after the run: figures and verdicts are by the changed file."]


def _lost(run: RunDirectory) -> str:
    """Return a sentence on chains that are no longer finite, "" where all are."""
    dataset = read_netcdf(run.path / "trajectory.nc")
    flags = [array for name, array in dataset.data_vars.items() if str(name).endswith("is_finite")]
    lost = total = 0
    for flag in flags:
        failed = (flag.astype(float) == 0).any("generation")  # where an arm has not come so far there is NaN
        lost, total = lost + int(failed.sum()), total + failed.size
    if not lost:
        return ""
    return f"{lost} of {total} chains did not stay finite: averages and claims leave them out."


def _inlined(image: Path) -> str:
    """Return a PNG as a data URI."""
    return "data:image/png;base64," + base64.b64encode(read_bytes(image, TOLD, "draw the run again")).decode()


def _number(value: float | None) -> str:
    """Return a number for a table: four significant digits."""
    if value is None:
        return "∞"
    return f"{value:.4g}"
