"""What a run says in a sentence, and what became of its claims in another: what a terminal shows first.

A study gives its own sentence, `answer(config, dataset)` beside its claims; here is the general one, of studies of
one's own and of sweeps. A claim that the run's settings cannot decide is not open: it is counted with the preset that
decides it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from collapse_jax.analysis.claims import Evidence

_MOST_METRICS = 2


def general_answer(dataset: xr.Dataset) -> str:
    """Return how the first metrics that are one number have changed from the first to the last generation.

    Args:
        dataset: with dims seed and generation, and those along which arms or cells stand.

    >>> values = np.array([[4.0, 2.0, 1.0], [4.0, 3.0, 5.0]])
    >>> general_answer(xr.Dataset({"spread": (("seed", "generation"), values)}, {"generation": [0, 1, 2]}))
    'spread goes from 4 to 3 between generations 0 and 2 (medians), down in 1 of 2 seeds'
    """
    plain = {
        str(name): array
        for name, array in dataset.data_vars.items()
        if {"seed", "generation"} <= set(array.dims) and array.dtype.kind in "iuf" and not _is_flag(str(name))
    }
    fewest = min((array.ndim for array in plain.values()), default=0)
    shown = [name for name, array in plain.items() if array.ndim == fewest]
    told = [_change(name, plain[name]) for name in shown[:_MOST_METRICS]]
    return "; ".join(sentence for sentence in told if sentence)


def _is_flag(name: str) -> bool:
    return name.endswith("is_finite")


def _change(name: str, array: xr.DataArray) -> str:
    """Return how one metric has changed, chain by chain; "" where there are not two generations of it."""
    values = array.transpose("generation", ...).values.reshape(array.sizes["generation"], -1).astype(float)
    finite = np.isfinite(values)
    reached = np.flatnonzero(finite.any(axis=1))
    if len(reached) < 2:
        return ""
    first, last = int(reached[0]), int(reached[-1])
    both = finite[first] & finite[last]
    if not both.any():
        return f"{name} is finite in no chain from generation {_label(array, first)} to {_label(array, last)}"
    before, after = values[first, both], values[last, both]
    down, up = int((after < before).sum()), int((after > before).sum())
    unit = "seeds" if set(array.dims) == {"seed", "generation"} else "chains"
    lost = "" if both.all() else f", {int((~both).sum())} of {len(both)} without a number"
    moved = f"down in {down}" if down >= up else f"up in {up}"
    return (
        f"{name} goes from {np.median(before):.3g} to {np.median(after):.3g} between generations "
        f"{_label(array, first)} and {_label(array, last)} (medians), {moved} of {len(before)} {unit}{lost}"
    )


def _label(array: xr.DataArray, place: int) -> str:
    return f"{int(array['generation'].values[place]):,}" if "generation" in array.coords else f"{place:,}"


def needed_preset(item: Evidence, presets: Mapping[str, Any], published: Mapping[str, str]) -> str:
    """Return the first preset that can decide a claim which a run cannot test; "" where none is known to.

    Args:
        item: what the run says of the claim.
        presets: name -> configuration, of the study.
        published: source of a claim -> the preset that has its protocol.
    """
    exact = published.get(item.claim.source, "") if item.departure else ""
    if item.unmet and not item.lacks:  # the protocol, or what the run's data show
        return exact
    few = int(np.isfinite(np.asarray(item.values, float)).sum()) < item.claim.min_seeds
    if not item.lacks and not few:
        return ""
    decides = (name for name, preset in presets.items() if _is_enough(preset, item))
    return next(decides, exact)


def _is_enough(preset: Any, item: Evidence) -> bool:
    """Whether a configuration has what a run lacks."""
    lacks, fits = dict(item.lacks), preset.seeds * (preset.generations + 1)
    return (
        preset.seeds >= item.claim.min_seeds
        and preset.generations >= lacks.pop("generations", 0)
        and fits >= lacks.pop("fits", 0)
        and all(_has(getattr(preset, name), asked) for name, asked in lacks.items())
    )


def _has(given: Any, asked: Any) -> bool:
    """Whether a field of a configuration is what is asked for, or holds all of it."""
    return set(asked) <= set(given) if isinstance(asked, tuple) else given == asked


def tally(claims: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return how many claims hold, fail, are open, need which preset, and cannot be decided by such a run.

    >>> tally([{"verdict": "holds"}, {"verdict": "not testable", "needs": "paper"}])
    {'holds': 1, 'fails': 0, 'open': 0, 'needs': {'paper': 1}, 'undecidable': 0}
    """
    claims = list(claims)
    found = Counter(claim["verdict"] for claim in claims)
    needs = Counter(claim.get("needs") or "" for claim in claims if claim["verdict"] == "not testable")
    return {
        "holds": found["holds"], "fails": found["fails"], "open": found["inconclusive"],
        "needs": {name: num for name, num in needs.items() if name}, "undecidable": needs[""],
    }  # fmt: skip


def added(tallies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sum of tallies."""
    needs: Counter[str] = Counter()
    for one in tallies:
        needs.update(one["needs"])
    plain = {name: sum(one[name] for one in tallies) for name in ("holds", "fails", "open", "undecidable")}
    return {**plain, "needs": dict(needs)}


def tally_words(told: Mapping[str, Any]) -> str:
    """Return a tally as a sentence without its stop; "" where there is no claim.

    >>> tally_words({"holds": 5, "fails": 1, "open": 2, "needs": {"paper": 12}, "undecidable": 0})
    '5 claims hold, 1 fails, 2 open; 12 claims need preset paper'
    >>> tally_words({"holds": 0, "fails": 0, "open": 0, "needs": {}, "undecidable": 1})
    'no claim is decided; 1 claim cannot be decided by this run'
    """
    verbs = {"holds": ("holds", "hold"), "fails": ("fails", "fail"), "open": ("open", "open")}
    parts = [(told[name], verbs[name][told[name] != 1]) for name in verbs if told[name]]
    decided = [f"{num} {_claims(num) + ' ' if place == 0 else ''}{verb}" for place, (num, verb) in enumerate(parts)]
    folded = [f"{num} {_claims(num)} need{'s' * (num == 1)} preset {name}" for name, num in told["needs"].items()]
    if told["undecidable"]:
        folded.append(f"{told['undecidable']} {_claims(told['undecidable'])} cannot be decided by this run")
    if not decided and not folded:
        return ""
    return "; ".join(filter(None, [", ".join(decided) or "no claim is decided", ", ".join(folded)]))


def _claims(num: int) -> str:
    return "claim" if num == 1 else "claims"
