"""What became of each study in one sentence, computed from its records.

    (study, sentence) for each run, in their order: all that the report's page takes from here

Called by `report`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from collapse_jax.drawn import short


def answers(runs: Sequence[tuple[Mapping[str, Any], xr.Dataset]]) -> list[tuple[str, str]]:
    """Return the study and the sentence of each run: its own, where `config.json` has an `answer`, or one from records.

    Args:
        runs: what `config.json` says of each, and its records.
    """
    return [
        (description["study"], _sentence(str(description.get("answer") or "") or _answer(description, dataset)))
        for description, dataset in runs
    ]


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _answer(description: Mapping[str, Any], dataset: xr.Dataset) -> str:
    known = {"gaussian": _gaussian, "gmm": _gmm, "vae": _vae, "opt": _opt}
    if "file" not in description and "grid" not in description and description["study"] in known:
        try:
            return known[description["study"]](description["config"], dataset)
        except (KeyError, IndexError, ValueError, TypeError):  # records of other versions may lack what is asked for
            pass
    return _any(dataset)


def _gaussian(config: Mapping[str, Any], dataset: xr.Dataset) -> str:
    return f"Refitted to its own draws alone, a Gaussian keeps {_kept(xr.ufuncs.exp(dataset['log_variance']))}."


def _gmm(config: Mapping[str, Any], dataset: xr.Dataset) -> str:
    # two unit clusters along one axis, or one unit cloud, in the plane
    total = 2 + config["separation"] ** 2 / 4 if config["truth"] == "two-clusters" else 2
    return f"Under {config['regime']} a mixture keeps {_kept(xr.ufuncs.exp(dataset['log_total_variance']) / total)}."


def _vae(config: Mapping[str, Any], dataset: xr.Dataset) -> str:
    varied = _ends(dataset["pixel_variance"].isel(num_samples=0))
    grown = "alike" if varied[1] < varied[0] else "more varied"
    told = f"Images grow {grown}: their pixel variance goes {_between(varied)}"
    if "judged" in dataset:
        agreed = _ends(dataset["judged"].isel(num_samples=0).sel(judgement="unanimous_share"))
        told += f", and five classifiers agree on {_share(agreed[1])} of them, at first on {_share(agreed[0])}"
    return f"{told} ({_medians(dataset)})."


def _opt(config: Mapping[str, Any], dataset: xr.Dataset) -> str:
    perplexity: xr.DataArray = xr.ufuncs.exp(dataset["validation"].isel(protocol=0))
    arms = "; ".join(f"{_between(_ends(perplexity.sel(arm=name)))} in {name}" for name in dataset["arm"].values)
    return f"Perplexity on real text goes {arms} ({_medians(dataset)})."


def _any(dataset: xr.Dataset) -> str:
    """Return how the first metric of one number moved, or where it ends in the cells of a sweep."""
    for name, array in dataset.data_vars.items():
        is_number = array.dtype.kind in "iuf" and not str(name).endswith("is_finite")
        if not (is_number and {"seed", "generation"} <= set(array.dims)):
            continue
        others = [dim for dim in array.dims if dim not in ("seed", "generation")]
        if not set(others) <= set(dataset.coords):
            continue
        last = array.astype(float).where(np.isfinite(array)).isel(generation=-1).median("seed").values
        if others and np.isfinite(last).any():
            where = f"between {short(np.nanmin(last))} and {short(np.nanmax(last))}"
            return f"{name} ends {where} over {last.size} settings ({_medians(dataset)})."
        if not others and np.isfinite(ends := _ends(array)).all():
            verb = "rises" if ends[1] > ends[0] else "falls" if ends[1] < ends[0] else "stays,"
            return f"{name} {verb} {_between(ends)} ({_medians(dataset)})."
    return "No metric of one number was recorded."


def _kept(share: xr.DataArray) -> str:
    sizes = np.atleast_1d(share["num_samples"].values)
    parts = [f"{_share(_ends(share.sel(num_samples=size))[1])}{{}} at M = {size:,}" for size in sizes]
    parts[0] = parts[0].format(" of its variance")
    return f"{', '.join(part.format('') for part in parts)} ({_medians(share)})"


def _share(value: float) -> str:
    if value == 0 or value >= 0.1:
        return f"{100 * value:.0f} %"
    # digits, not powers of ten, of a percentage; of what is smaller the share itself
    return f"{float(f'{100 * value:.2g}'):f}".rstrip("0") + " %" if value >= 1e-6 else short(value)


def _ends(array: xr.DataArray) -> tuple[float, float]:
    """Return the medians over seeds at the first and the last generation that has any."""
    values = array.transpose("seed", "generation").values.astype(float)
    values = np.where(np.isfinite(values), values, np.nan)
    reached = np.flatnonzero(np.isfinite(values).any(axis=0))
    if not len(reached):
        return np.nan, np.nan
    first, last = (float(np.nanmedian(values[:, g])) for g in (reached[0], reached[-1]))
    return first, last


def _between(ends: tuple[float, float]) -> str:
    return f"from {short(ends[0])} to {short(ends[1])}"


def _medians(dataset: xr.Dataset | xr.DataArray) -> str:
    seeds, last = dataset.sizes["seed"], int(dataset["generation"][-1])
    return f"median of {seeds:,} chain{'s' if seeds > 1 else ''}, {last:,} generation{'s' if last > 1 else ''}"
