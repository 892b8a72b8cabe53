"""The language-model study in a sentence, from its own records; the presets of its publications."""

import math

import numpy as np
import xarray as xr

from collapse_jax.analysis.estimands import last_reached
from collapse_jax.studies.opt.claims import growth, nats
from collapse_jax.studies.opt.config import OPTStudyConfig
from collapse_jax.studies.opt.protocol import CODE, PAPER

PUBLISHED = {PAPER: "paper", CODE: "published-code"}
_MOST = 4  # arms that are told


def answer(config: OPTStudyConfig, dataset: xr.Dataset) -> str:
    """Return how the perplexity on held-out real text has moved since generation 0, for each of the first arms."""
    names = [str(name) for name in dataset["arm"].values]
    told = [_moved(name, dataset.sel(arm=name)) for name in names[:_MOST]]
    more = f"; and {len(names) - _MOST} more arms" if len(names) > _MOST else ""
    return "perplexity on real text: " + "; ".join(told) + more


def _moved(name: str, arm: xr.Dataset) -> str:
    last = last_reached(arm["validation"])
    if last < 0:
        return f"{name} has no finite one"
    before, after = (math.exp(float(np.nanmean(nats(arm, generation)))) for generation in (0, last))
    if last == 0:
        return f"{name} {before:.3g} at generation 0"
    grown = growth(arm, last)
    finite = np.isfinite(grown)
    worse = f"worse in {int((grown > 0).sum())} of {int(finite.sum())} seeds"
    return f"{name} {before:.3g} to {after:.3g} by generation {last}, {worse}"
