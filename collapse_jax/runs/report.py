"""A self-contained HTML page from run directories: answers first, then claims, figures, configuration.

Everything is inlined and escaped; the page asks the network for nothing, and links only to what lies in the runs'
folders. Scripts sort and filter the claims and step through films; without them all is there, too.
"""

import math
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from collapse_jax.analysis.answers import general_answer
from collapse_jax.analysis.page import Undefined, template, write_page
from collapse_jax.drivers.results import read_netcdf
from collapse_jax.runs.directory import RunDirectory
from collapse_jax.runs.manifest import read_captions
from collapse_jax.runs.pictures import Budget, pictured
from collapse_jax.studies.registry import study_of

_MARKS = {"holds": "✓", "fails": "✗", "inconclusive": "?", "not testable": "–"}
_WORDS = {
    "holds": ("holds", "hold"), "fails": ("fails", "fail"), "inconclusive": ("is open", "are open"),
    "not testable": ("cannot be tested here", "cannot be tested here"),
}  # fmt: skip


def write_report(runs: list[RunDirectory], path: Path) -> Path:
    """Write the page of one run, or of several together, and return its path.

    Args:
        runs: what to show, in this order.
        path: of the page; links to data are relative to it.

    Raises:
        ValueError: a run's files are missing, damaged or say too little, or the page cannot be written.
    """
    layout, budget = template("report.html.j2", number=_number), Budget()
    views: list[dict[str, Any]] = []
    for run in runs:
        dataset = read_netcdf(run.path / "trajectory.nc")
        view = _view(run, run.description, dataset, path.parent, budget)
        view["anchor"] = _anchor(view["study"], [other["anchor"] for other in views])
        views.append(view)
    try:
        page = layout.render(runs=views, marks=_MARKS, moving=any(map(_moves, views)), **_top(views))
    except (Undefined, TypeError) as error:
        where = ", ".join(str(run.path) for run in runs)
        raise ValueError(
            f"{where} says too little for a report ({error}); take it again from where the run was made."
        ) from error
    write_page(path, page)
    return path


def _view(
    run: RunDirectory, description: dict[str, Any], dataset: xr.Dataset, beside: Path, budget: Budget
) -> dict[str, Any]:
    """Return what the template shows of a run; links are relative to the folder `beside`."""
    claims = [_with_keys(claim) for claim in run.verdicts]
    figures = [pictured(figure, run.path, beside, budget) for figure in read_captions(run.path)]
    wanted = [claim.get("needs", "") for claim in claims]  # the presets that can decide what this run could not
    judged = [claim for claim, preset in zip(claims, wanted) if not preset]
    counted = {verdict: sum(claim["verdict"] == verdict for claim in judged) for verdict in _MARKS}
    return {
        **description,
        "answer": _answer(description, dataset),
        "data": description.get("data", {}),
        "departures": _noted(claims),
        "title": description.get("title") or study_of(description).title,
        "claims": claims,
        "judged": judged,
        "folded": [
            {
                "preset": preset,
                "command": f"collapse-jax run {description['study']} --preset {preset}",
                "claims": [claim for claim, other in zip(claims, wanted) if other == preset],
            }
            for preset in dict.fromkeys(filter(None, wanted))
        ],
        "counts": [(v, n, _WORDS[v][n > 1]) for v, n in counted.items() if n],
        "remarks": [*description.get("remarks", ()), *_changed(description)],
        "lost": _lost(dataset),
        "lead": figures[0] if figures else None,
        "figures": figures[1:],
        "own_command": _own_command(description, run.path),
        "seconds": description.get("seconds", math.nan),
    }


def _answer(description: dict[str, Any], dataset: xr.Dataset) -> str:
    """Return what the run found, as it was said when it was drawn, or what changed most plainly, as a sentence."""
    told = str(description.get("answer") or general_answer(dataset) or "no metric of one number was recorded")
    begins = told[:1].upper() if told.split(" ")[0].isalpha() else told[:1]  # not the name of a metric
    return f"{begins}{told[1:]}" + ("" if told.endswith((".", "!", "?")) else ".")


def _top(views: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Return the page's heading and what was run."""
    presets = list(dict.fromkeys(f"preset {view['preset']}" for view in views))
    devices = list(dict.fromkeys(str(view["device"]) for view in views))
    seconds = sum(float(view["seconds"] or 0) for view in views)
    day = min((str(view["started"])[:10] for view in views), default="")
    shared = f"on {', '.join(devices)}, {seconds:,.0f} s, {day}"
    if len(views) == 1:
        view = views[0]
        seeds, generations = view["config"].get("seeds"), view["config"].get("generations")
        axes = view.get("grid", {}).get("axes", {})
        named = " and ".join(f"{name} ({len(values)} values)" for name, values in axes.items())
        swept = f" swept over {named}" if axes else ""
        what = f"Study {view['study']}, {presets[0]}{swept}: {seeds} seeds, {generations} generations, {shared}."
        return {"heading": view["title"], "about": what}
    what = f"{len(views)} studies of models trained on what the model before them generated"
    return {"heading": "Model collapse, measured", "about": f"{what}: {', '.join(presets)}, {shared}."}


def _moves(view: dict[str, Any]) -> bool:
    """True for a run of which a script shows more."""
    shown = [view["lead"], *view["figures"]] if view["lead"] else []
    return bool(view["claims"]) or any("film" in figure for figure in shown)


def _anchor(study: str, taken: Sequence[str]) -> str:
    """Return a name for links within the page; two runs of one study have different ones."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", study) or "study"
    number = 1
    while (anchor := plain if number == 1 else f"{plain}--{number}") in taken:
        number += 1
    return anchor


def _own_command(description: dict[str, Any], path: Path) -> str:
    """Return the command that makes a run and its figures again; of one among several, that one alone."""
    command = description["command"]
    if not re.match(r"collapse-jax reproduce\b", command):
        return str(command)
    return f"collapse-jax run {description['study']} --preset {description['preset']} --out {shlex.quote(path.name)}"


def _with_keys(claim: dict[str, Any]) -> dict[str, Any]:
    """Return a claim with the numbers by which its columns are sorted."""
    low, high = claim["region"]
    found = {"estimate": claim["estimate"], "interval": claim["interval"][0], "region": high if low is None else low}
    return {**claim, "sorted_by": {name: "" if value is None else f"{value:.9g}" for name, value in found.items()}}


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


def _lost(dataset: xr.Dataset) -> str:
    """Return a sentence on chains that are no longer finite, "" where all are."""
    flags = [array for name, array in dataset.data_vars.items() if str(name).endswith("is_finite")]
    lost = total = 0
    for flag in flags:
        failed = (flag.astype(float) == 0).any("generation")  # where an arm has not come so far there is NaN
        lost, total = lost + int(failed.sum()), total + failed.size
    if not lost:
        return ""
    return f"{lost} of {total} chains did not stay finite: averages and claims leave them out."


def _number(value: float | None) -> str:
    """Return a number for a table: four significant digits."""
    if value is None:
        return "∞"
    return f"{value:.4g}"
