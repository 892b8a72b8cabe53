"""The page of somebody else's records: the answer, what was left out, a table and a figure."""

import base64
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from collapse_jax.analysis.page import template, write_page
from collapse_jax.analysis.plots import plot, save_figure
from collapse_jax.records import words
from collapse_jax.records.verdicts import LEVEL, MOST_COMPONENTS, Movement, columns, movements, same_runs

MOST_PANELS = 24
_MOST_SENTENCES, _MOST_OPEN = 8, 3  # of what moved, of what is undecided
_MOST_ROWS = 60  # of the table; the others are folded away


def write_report(
    dataset: xr.Dataset, folder: Path, command: str = "", tell: Callable[[str], object] | None = None
) -> Path:
    """Write `report.html` and the figure of records; return the page's path.

    Args:
        dataset: of `read_records`.
        folder: where to.
        command: shown below the figure.
        tell: is called with each sentence of the answer.

    Raises:
        ValueError: the folder cannot be written, or holds a run.
    """
    if (folder / "config.json").exists():
        raise ValueError(f"{folder} holds a run, whose report this would replace; name another folder.")
    found = movements(dataset)
    if not found:
        raise ValueError(
            f"every metric of {dataset.attrs.get('source', 'the records')} has more than {MOST_COMPONENTS} numbers a "
            "generation; give means over some."
        )
    answers = _answers(found)
    remarks = _remarks(dataset, found)
    shown = _panels(found)
    drawn = xr.Dataset({name: array.drop_vars(_others(array)) for name, array in columns(dataset) if name in shown})
    picture = save_figure(plot(drawn, *map(str, drawn.data_vars)), folder / "figures", "records")
    write_page(folder / "report.html", _page(dataset, found, answers, remarks, picture, command))
    for told in [*answers, *remarks] if tell else []:
        tell(told)  # type: ignore[misc]
    return folder / "report.html"


def _others(array: xr.DataArray) -> list[str]:
    return [str(name) for name in array.coords if name not in ("seed", "generation")]


def _panels(found: Sequence[Movement]) -> set[str]:
    """Return the metrics that are drawn: those that change, the clearest first."""
    clearest = [moved.name for moved in words.in_order(found) if moved.test != "none"]
    return set((clearest or [moved.name for moved in found])[:MOST_PANELS])


def _answers(found: Sequence[Movement]) -> list[str]:
    num_tested = sum(moved.test != "none" for moved in found)
    order = [moved for moved in words.in_order(found) if moved.test != "none"]
    moved, still = ([one for one in order if (one.p < LEVEL) == decided] for decided in (True, False))
    told = moved[:_MOST_SENTENCES] + still[:_MOST_OPEN]
    answers = [words.headline(found), *(words.sentence(one, num_tested) for one in told)]
    left = [
        f"{len(of_them) - most:,} more {what}"
        for of_them, most, what in ((moved, _MOST_SENTENCES, "moved"), (still, _MOST_OPEN, "are undecided"))
        if len(of_them) > most
    ]
    return answers + ([f"{' and '.join(left)}: see the table of the page."] if left else [])


def _remarks(dataset: xr.Dataset, found: Sequence[Movement]) -> list[str]:
    """Return sentences on what was left out, what is missing, and what may be wrong with the seeds."""
    remarks = list(dataset.attrs.get("remarks", ()))
    seeds = dataset["seed"].values
    again = same_runs(dataset)
    if again and len(again) == len(seeds) - 1:
        remarks.append(
            f"All {len(seeds)} seeds hold the same numbers: are they the same run? They count as one; give each run "
            "a seed of its own."
        )
    elif again:
        pairs = ", ".join(f"{seeds[later]} as {seeds[first]}" for later, first in again[:6])
        remarks.append(f"Seeds that hold the same numbers as another count once: {pairs}; are they the same run?")
    missing = [moved for moved in found if moved.num_missing[0]]
    if missing:
        told = ", ".join(f"{m.name} {m.num_missing[0]:,} of {m.num_missing[1]:,}" for m in missing[:6])
        more = f" and {len(missing) - 6:,} more metrics" if len(missing) > 6 else ""
        remarks.append(f"Values that are missing or not finite: {told}{more}.")
    if any(moved.num_lost for moved in found):
        remarks.append("Some seeds lack finite values: they are left out of means and bands there.")
    still = [moved for moved in found if moved.moved == "no change"]
    if still:
        told = ", ".join(f"{m.name} ({words.number(m.first[0])})" for m in still[:6])
        more = f" and {len(still) - 6:,} more" if len(still) > 6 else ""
        remarks.append(f"Never change: {told}{more}.")
    large = [
        str(name) for name, array in dataset.data_vars.items()
        if array.size > MOST_COMPONENTS * array.sizes["seed"] * array.sizes["generation"]
    ]  # fmt: skip
    if large:
        told = ", ".join(large[:6])
        remarks.append(f"With more than {MOST_COMPONENTS} numbers a generation, and not judged: {told}.")
    changing = sum(moved.test != "none" for moved in found)
    if changing > MOST_PANELS:
        remarks.append(
            f"Of {changing:,} metrics that change, the {MOST_PANELS} that moved most clearly are drawn; choose others "
            "by --metrics a,b."
        )
    return remarks


def _page(
    dataset: xr.Dataset, found: Sequence[Movement], answers: list[str], remarks: list[str], picture: Path, command: str
) -> str:
    tested = [moved for moved in found if moved.test != "none"]
    order = [moved for moved in words.in_order(found) if moved.moved != "no change"]
    return template("records.html.j2", number=_number).render(
        source=dataset.attrs.get("source", "records"),
        generations=dataset["generation"].values,
        num_seeds=dataset.sizes["seed"],
        num_metrics=len(found),
        num_tested=len(tested),
        one_run=any(moved.test == "steps" for moved in tested),
        confidence=words._confidence(max((moved.level for moved in tested), default=LEVEL)),
        movements=order[:_MOST_ROWS],
        folded=order[_MOST_ROWS:],
        verdicts={moved.name: words.verdict_of(moved.name, moved.up) for moved in order},
        changes={moved.name: words.change(moved) for moved in order},
        answers=answers,
        remarks=remarks,
        figure="data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode(),
        command=command,
        moving=False,
    )


def _number(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else "–"
