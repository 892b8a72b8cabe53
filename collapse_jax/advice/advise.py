"""Answers, before anything is trained, what mixing synthetic rows into real ones will cost.

    n real rows, m synthetic rows drawn by each model for the next, g generations -> E v_g and E mu_g^2

Called by users and by `collapse-jax advise`; `mixtures` has the laws, `table` the words.
"""

import math
from typing import Any

from collapse_jax.advice import mixtures
from collapse_jax.advice.answer import Advice, Outcome
from collapse_jax.advice.names import LABELS, MOST_GENERATIONS
from collapse_jax.validation import check_choice, check_count, check_numbers, check_positive, shown

_MOST_ROWS = 10**15  # sums of rows are exact in float64

CONDITIONS = (
    "fits that match mean and variance of their rows (Gaussians, categories, mixtures)",
    "averages over many chains",
    "copies out, where draws are copies of real rows",
)
_BIASED = "a bias of the draws' variance alone"
UNKNOWN = (
    "No law here knows what a network cannot express, has not learned or draws badly: measure its bias on held-out "
    "real rows."
)


def advise(
    real: int,
    synthetic: int,
    generations: int,
    regime: str = "keep",
    bias: float = 1.0,
    effective_share: float = 1.0,
    target: float = 0.9,
) -> Advice:
    """Return what is lost when each model is trained on real rows and on rows that the model before it drew.

    Exact in expectation, for fits that match the mean and the (maximum-likelihood) variance of their rows.

    Args:
        real: real rows that model 0 is fitted to, at least 2.
        synthetic: rows that each model draws for the next.
        generations: models after model 0, at most 100,000.
        regime: what they are fitted to: "keep" (the same real rows and new synthetic ones), "fresh" (as many new real
            rows each time), "accumulate" (everything so far), "replace" (the new synthetic rows alone), "deduplicate"
            (as "keep", where synthetic rows are copies of real ones and each real row counts once).
        bias: variance of a model's draws over the fitted one; below 1 for low temperatures, top-p, guidance.
        effective_share: rows that one row counts for: effective size over size. 0.64 for a median of a Gaussian.
        target: share of the variance that must be left, in (0, 1].

    Returns:
        Advice, whose `lines()` are a table of 80 columns.

    Raises:
        ValueError: a number out of its range, or an unknown regime.
        TypeError: something that is no number.

    >>> found = advise(real=10_000, synthetic=50_000, generations=5, bias=0.95)
    >>> round(found.variance_kept, 3), round(found.error_ratio, 2), found.best_weight
    (0.819, 1.33, 0.0)
    >>> found.by_regime["fresh"].error_ratio < 1
    True
    """
    real = check_count("real", real, 0, _MOST_ROWS)
    if real < 2:
        raise ValueError(
            f"`real` must be at least 2, got {real}: the first model is fitted to them; give the rows that it was "
            "trained on, and regime 'replace' where they are gone."
        )
    synthetic = check_count("synthetic", synthetic, 0, _MOST_ROWS)
    generations = check_count("generations", generations, 0, MOST_GENERATIONS)
    regime = check_choice("regime", regime, LABELS)
    bias = _number("bias", bias)
    effective_share = _number("effective_share", effective_share)
    target = _number("target", target)
    if target > 1:
        raise ValueError(
            f"`target` must lie in (0, 1], got {target}; 0.9 means that 90 % of the variance is left."
        )
    effective_real = _effective("real", real, effective_share, 2)
    effective_drawn = _effective(
        "synthetic", synthetic, effective_share, min(synthetic, 2 if regime == "replace" else 1)
    )
    if regime == "replace" and synthetic < 2 and generations:
        raise ValueError(
            f"`synthetic` must be at least 2 where it replaces everything, got {synthetic}; draw more rows, or keep "
            "the real ones."
        )
    sizes = generations, effective_real, effective_drawn, bias
    names = [name for name in LABELS if name != "replace" or effective_drawn > 1 or not generations]
    outcomes = {
        name: _outcome(mixtures.MIXTURES[name].moments(*sizes), effective_real, bias) for name in names
    }
    best = mixtures.best_weight(regime, *sizes)
    weighted = _outcome(best.moments, effective_real, bias)
    total = effective_real + effective_drawn
    fewest = mixtures.smallest_real(regime, generations, total, bias, target)
    kept_in = "keep" if regime == "replace" else regime
    laws = {
        **{name: mixtures.MIXTURES[name].law_of(bias) for name in names},
        "best_weight": mixtures.weight_law(regime),
        "smallest_real_share": mixtures.MIXTURES[kept_in].law_of(bias),
        "half_life": mixtures.HALF_LIFE,
    }
    return Advice(
        real, synthetic, generations, regime, bias, effective_share, target, *outcomes[regime],
        best_weight=best.weight,
        error_with_best_weight=weighted.error_ratio,
        variance_with_best_weight=weighted.variance_kept,
        smallest_real_share=None if fewest is None else fewest / total,
        smallest_real_rows=None if fewest is None else min(math.ceil(fewest / effective_share), real + synthetic),
        half_life=mixtures.half_life(effective_drawn, bias),
        by_regime=outcomes,
        laws={what: str(law) for what, law in laws.items()},
        conditions=(*CONDITIONS, *((_BIASED,) if bias != 1 else ())),
        unknown=UNKNOWN,
    )  # fmt: skip


def _outcome(moments: mixtures.Moments, real: int, bias: float) -> Outcome:
    """Return the outcome, n the real rows: a model of these alone errs by 1/n."""
    return Outcome(bias * moments.variance, real * moments.mean_square)


def _number(name: str, value: Any) -> float:
    known = check_numbers(name, value)
    if known.ndim:
        raise TypeError(f"`{name}` must be one number, got {shown(value)}; ask once for each.")
    return float(check_positive(name, value))


def _effective(name: str, rows: int, share: float, least: int) -> int:
    """Return how many rows they count for."""
    counted = round(share * rows)
    if not least <= counted <= _MOST_ROWS:
        raise ValueError(
            f"`effective_share` makes the {rows:,} rows of `{name}` count for {shown(counted)}; they must count for "
            f"{least} at least, and for 1e15 at most."
        )
    return counted
