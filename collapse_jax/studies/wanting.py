"""Which preset could decide a claim that a run cannot: read from what the verdict says that the run lacks.

Called by `report`.
"""

import re
from collections.abc import Mapping
from typing import Any

from collapse_jax.studies.registry import STUDIES

_NUMBER = r"([\d,]+)"
_SEEDS = re.compile(rf"needs {_NUMBER} seeds, the run has")
_GENERATION = re.compile(rf"needs generation {_NUMBER}, the run ends at")
_FITS = re.compile(rf"needs {_NUMBER} fits over all seeds")
_ARMS = re.compile(r"needs the arms? (.+)")
_TIGHT, _PROTOCOL = "needs a second tolerance", "published: "
_SPAN = re.compile(rf"generations? {_NUMBER}(?: (?:to|and) {_NUMBER})?")
_SIZE = re.compile(rf"M ?= ?{_NUMBER}:")
_OF_THE_CODE = "published-code"


def preset_for(description: Mapping[str, Any], claim: Mapping[str, Any]) -> str:
    """Return the first preset that has what a claim lacks, "" for a claim that is decided or that no preset decides.

    Args:
        description: of the run, as `config.json` has it. A study of one's own has no other presets: its file is not
            run for this.
        claim: a verdict, as `claims.json` has it.

    >>> reason = "needs 64 seeds, the run has 16"
    >>> preset_for({"study": "gmm"}, {"verdict": "not testable", "statement": "It falls.", "reason": reason})
    'laptop'
    """
    study = STUDIES.get(description["study"])
    if study is None or "file" in description or "grid" in description or claim["verdict"] != "not testable":
        return ""
    reason = claim["reason"]
    if reason.startswith(_PROTOCOL):
        named = [name for name in (_OF_THE_CODE, "paper") if name in study.presets]
        return next((name for name in named if name == "paper" or "code" in claim["source"]), "")
    known = [pattern.match(reason) for pattern in (_SEEDS, _GENERATION, _FITS, _ARMS)]
    if not any(known) and not reason.startswith(_TIGHT):
        return ""
    able = [name for name, config in study.presets.items() if _has(config, claim)]
    sizes = [_whole(size) for size in _SIZE.findall(claim["statement"])]
    of_size = [name for name in able if not sizes or set(sizes) <= set(_sizes(study.presets[name]))]
    return next(iter(of_size or able), "")


def _has(config: Any, claim: Mapping[str, Any]) -> bool:
    """True for a configuration with the seeds, generations, fits, arms and tolerances that a claim asks for."""
    reason, seeds, generations = claim["reason"], config.seeds, config.generations
    asked = [_whole(number) for span in _SPAN.findall(claim["statement"]) for number in span if number]
    if (found := _GENERATION.match(reason)) is not None:
        asked.append(_whole(found[1]))
    needed = max(claim.get("min_seeds", 0), _first(_SEEDS, reason))
    arms = found[1].split(", ") if (found := _ARMS.match(reason)) is not None else []
    return (
        generations >= max(asked, default=0)
        and seeds >= needed
        and seeds * (generations + 1) >= _first(_FITS, reason)
        and set(arms) <= set(getattr(config, "arms", ()))
        and (not reason.startswith(_TIGHT) or config.tight_tol is not None)
    )


def _first(pattern: re.Pattern, reason: str) -> int:
    return _whole(found[1]) if (found := pattern.match(reason)) is not None else 0


def _sizes(config: Any) -> tuple[int, ...]:
    size = config.num_samples
    return size if isinstance(size, tuple) else (size,)


def _whole(number: str) -> int:
    return int(number.replace(",", "") or 0)
