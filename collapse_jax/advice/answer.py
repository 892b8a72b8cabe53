"""Advice as numbers and in words: an answer, a table of 80 columns with a law in each line, its conditions. No JAX."""

import dataclasses
import math
import textwrap
from collections.abc import Mapping
from typing import Any, NamedTuple

from collapse_jax.advice.names import LABELS

WIDTH = 80
_WAYS = {
    "keep": "the same {real} real rows kept beside {synthetic} synthetic ones",
    "fresh": "{real} new real rows beside {synthetic} synthetic ones each time",
    "accumulate": "{real} real rows and {synthetic} more synthetic ones each time",
    "replace": "{synthetic} synthetic rows in place of the {real} real ones",
    "deduplicate": "the same {real} real rows kept, and of {synthetic} synthetic ones no copies of them",
}


class Outcome(NamedTuple):
    """What is left in the end.

    Attributes:
        variance_kept: variance of the last model's draws, over the truth's.
        error_ratio: mean squared error of its mean, over that of a model of the real rows alone.
    """

    variance_kept: float
    error_ratio: float


@dataclasses.dataclass(frozen=True)
class Advice:
    """What mixing costs, and what would cost less; made by `advise`.

    Attributes:
        real: rows.
        synthetic: rows of each generation.
        generations: models after the first.
        regime: what each of them is fitted to.
        bias: variance of a model's draws over the fitted one.
        effective_share: rows that one row counts for.
        target: share of the variance that must be left.
        variance_kept: variance of the last model's draws, over the truth's, in expectation.
        error_ratio: mean squared error of the last model's mean, over that of a model of the real rows alone.
        best_weight: weight of the synthetic rows, of 1 for all, with which the last model's mean errs least.
        error_with_best_weight: its `error_ratio`; at most 1.
        variance_with_best_weight: its `variance_kept`.
        smallest_real_share: least share of real rows, in a training set of as many rows, that reaches the target;
            None where real rows alone do not reach it.
        smallest_real_rows: as rows, or None.
        half_life: generations in which the variance halves without real rows; infinite where it never does.
        by_regime: what each way of mixing leaves.
        laws: functions of `collapse_jax.theory`, and their equations, by what was computed with them.
        conditions: under which all of it holds.
        unknown: what is not known of networks.
    """

    real: int
    synthetic: int
    generations: int
    regime: str
    bias: float
    effective_share: float
    target: float
    variance_kept: float
    error_ratio: float
    best_weight: float
    error_with_best_weight: float
    variance_with_best_weight: float
    smallest_real_share: float | None
    smallest_real_rows: int | None
    half_life: float
    by_regime: Mapping[str, Outcome]
    laws: Mapping[str, str]
    conditions: tuple[str, ...]
    unknown: str

    def answer(self) -> str:
        """Return the answer in plain English."""
        return _answer(self)

    def lines(self) -> list[str]:
        """Return answer, table and conditions as lines of at most 80 signs."""
        return _lines(self)

    def as_json(self) -> dict[str, Any]:
        """Return what JSON can hold: the answer, then every field; an infinite half-life is None."""
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        found["half_life"] = self.half_life if math.isfinite(self.half_life) else None
        found["by_regime"] = {name: outcome._asdict() for name, outcome in self.by_regime.items()}
        return {
            "answer": self.answer(),
            **found,
            "laws": dict(self.laws),
            "conditions": list(self.conditions),
        }


def _answer(advice: Advice) -> str:
    """Return what is lost, and what would help most, in plain English."""
    way = _WAYS[advice.regime].format(real=f"{advice.real:,}", synthetic=f"{advice.synthetic:,}")
    num = advice.generations
    return (
        f"With {way}, after {num:,} generation{'' if num == 1 else 's'} {_percent(advice.variance_kept)} of the "
        f"variance is left, and the squared error of the mean is {advice.error_ratio:.3g} times that of the real rows "
        f"alone. {_remedy(advice)}"
    ).rstrip()


def _remedy(advice: Advice) -> str:
    least = advice.smallest_real_share
    if least is None:
        return f"No share of real rows leaves {_percent(advice.target)} of the variance: {_limit(advice)}."
    if advice.variance_kept < advice.target:
        beside = " beside the synthetic ones" if advice.regime == "replace" else ""
        return (
            f"For {_percent(advice.target)} of it {_percent(least)} of as many rows have to be real"
            f"{beside}: {advice.smallest_real_rows:,}."
        )
    if not advice.synthetic or not advice.generations:
        return ""
    if advice.regime == "fresh":
        return (
            f"With a weight of {advice.best_weight:.2g} on the synthetic rows it is "
            f"{advice.error_with_best_weight:.3g} times, and {_percent(advice.variance_with_best_weight)} is left."
        )
    fresh = advice.by_regime["fresh"].error_ratio
    return (
        "Draws from models of these real rows know nothing that the rows do not; new real rows each time would make "
        f"it {fresh:.3g} times."
    )


def _limit(advice: Advice) -> str:
    if advice.bias < 1:
        return f"the draws of a model of real rows alone have {_percent(advice.bias)} of it"
    return "a fit to N rows loses 1/N of it"


def _lines(advice: Advice) -> list[str]:
    """Return the answer, the table, conditions and what is not known."""
    found = [
        *textwrap.wrap(_answer(advice), WIDTH),
        "",
        _row("", "variance", "error", "law (collapse_jax.theory)"),
    ]
    for name, (kept, error) in advice.by_regime.items():
        mark = "* " if name == advice.regime else "  "
        found.append(_row(mark + LABELS[name], _percent(kept), _times(error), advice.laws[name]))
    best = f"{advice.best_weight:.3g}", _times(advice.error_with_best_weight)
    found += [
        _row("  best synthetic weight", *best, advice.laws["best_weight"]),
        _row(f"  least real: {_percent(advice.target)}", *_least(advice), advice.laws["smallest_real_share"]),
        _row("  half-life, none real", *_half_life(advice.half_life), advice.laws["half_life"]),
        "",
    ]
    share = advice.effective_share
    counted = "" if share == 1 else f" A row counts for {share:.3g} rows."
    told = f"n real, m synthetic, N all rows, g generations, l bias; error: squared, of the mean.{counted}"
    for paragraph in (told, f"Holds for {'; '.join(advice.conditions)}.", advice.unknown):
        found += textwrap.wrap(paragraph, WIDTH)
    return found


def _percent(share: float) -> str:
    """Return a share in per cent, never rounded to all or nothing.

    >>> _percent(0.80951), _percent(0.99999999), _percent(1e-9), _percent(1.0), _percent(0.0)
    ('80.95 %', '> 99.99 %', '< 0.01 %', '100 %', '0 %')
    """
    if 0.9999 < share < 1:
        return "> 99.99 %"
    if 0 < share < 0.0001:
        return "< 0.01 %"
    return f"{100 * share:.4g} %"


def _times(ratio: float) -> str:
    return f"x {ratio:.3g}"


def _least(advice: Advice) -> tuple[str, str]:
    rows = advice.smallest_real_rows
    if advice.smallest_real_share is None or rows is None:
        return "none", ""
    return _percent(advice.smallest_real_share), f"{rows:,}" if rows < 10**6 else f"{rows:.1e}"


def _half_life(generations: float) -> tuple[str, str]:
    if math.isinf(generations):
        return "never", ""
    return f"{generations:,.1f}" if generations < 1e5 else f"{generations:.1e}", "gen."


def _row(label: str, first: str, second: str, law: str) -> str:
    name, _, equation = law.partition(": ")
    told = f"{name.rpartition('.')[2]}: {equation}" if equation else law
    return f"{label:<23}{first:>9} {second:>8} {told}"
