"""What moved, in sentences: the answer first, with numbers and units, and what would decide what is open."""

import math
import re
from collections.abc import Sequence

from collapse_jax.records.verdicts import LEVEL, Movement

_WORSE_UP = {
    "loss", "perplexity", "ppl", "nll", "fid", "kid", "error", "mse", "rmse", "mae", "wer", "cer", "bpc", "kl", "mmd",
    "wasserstein", "crossentropy", "divergence",
}  # fmt: skip
_WORSE_DOWN = {
    "accuracy": "it gets worse", "acc": "it gets worse", "recall": "it gets worse", "precision": "it gets worse",
    "f1": "it gets worse", "bleu": "it gets worse", "diversity": "it collapses", "variance": "it collapses",
    "entropy": "it collapses", "coverage": "it collapses",
}  # fmt: skip
_TURNED = {"neg", "negative", "minus", "inverse", "inv", "gain", "reduction", "improvement", "relative", "ratio"}
_FEW_NAMES = 3  # metrics that a headline names
_FEW_MORE = 3  # seeds that one run is told to add


def verdict_of(name: str, up: bool) -> str:
    """Return what a rise or fall of a metric means, "" where its name does not say.

    >>> verdict_of("val_loss", True), verdict_of("log_variance", False), verdict_of("accuracy", True)
    ('it gets worse', 'it collapses', 'it gets better')
    >>> verdict_of("cross_entropy", True), verdict_of("loss_diversity", True), verdict_of("m1", True)
    ('it gets worse', '', '')
    """
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.split("[")[0]).lower().replace("cross_entropy", "crossentropy")
    plain = plain.replace("cross-entropy", "crossentropy").replace("negative_log_likelihood", "nll")
    words = set(re.findall(r"[a-z]+[0-9]?", plain))
    bad_up, bad_down = words & _WORSE_UP, words & _WORSE_DOWN.keys()
    if bool(bad_up) == bool(bad_down) or words & _TURNED or re.match(r"\s*(1\s*)?-", plain):
        return ""
    if bad_up:
        return "it gets worse" if up else "it gets better"
    return "it gets better" if up else _WORSE_DOWN[min(bad_down)]


def number(value: float, scale: float | None = None) -> str:
    """Return a number with three digits, and two of what it is compared by.

    >>> number(29.84, 31.8), number(0.91234, 0.008), number(3e-9), number(12345.6, 1000.0), number(2.0)
    ('29.8', '0.9123', '3e-09', '12,346', '2')
    """
    if not math.isfinite(value):
        return "–"
    if abs(value) >= 1e7:
        return f"{value:.4g}"
    places = 0 if value == int(value) else 2 - math.floor(math.log10(abs(value)))
    if scale and math.isfinite(scale):
        places = max(places, 1 - math.floor(math.log10(abs(scale))) if value != int(value) or scale < 1 else 0)
    return f"{value:.4g}" if places > 7 else f"{value:,.{max(places, 0)}f}"


def change(moved: Movement) -> str:
    """Return the interval of the change, as differences or as factors; of one run the change."""
    mean, low, high = moved.change
    if not math.isfinite(low):  # of one run
        ends = moved.first[0], moved.last[0]
        return f"{ends[1] / ends[0]:.3g}" if moved.is_log else f"{ends[1] - ends[0]:+.3g}"
    if moved.is_log:
        return f"{_factor(low)} to {_factor(high)}"
    scale = max(abs(mean), (high - low) / 2)
    told = [number(value, scale) for value in (low, high)]
    return " to ".join(text if text.startswith("-") else f"+{text}" for text in told)


def _factor(power: float) -> str:
    return f"{math.exp(power):.3g}" if power < 700 else f"e^{power:.0f}"


def sentence(moved: Movement, num_tested: int) -> str:
    """Return what became of one metric, in a sentence or two.

    Args:
        moved: of the metric.
        num_tested: metrics that are judged beside each other.
    """
    if moved.moved == "no values":
        return f"{moved.name}: no seed has finite values at two generations."
    span = max(abs(moved.last[0] - moved.first[0]), 0.0)
    unit = "" if moved.unit in ("1", "") else f" {moved.unit}"
    if moved.moved == "no change":
        return f"{moved.name} never changes ({number(moved.first[0])}{unit})."
    first, last = (number(value, None if moved.is_log else span or None) for value in (moved.first[0], moved.last[0]))
    ends = f"from {first} to {last}{unit}"
    if moved.is_log and moved.test == "pairs":
        ends += " (geometric means)"
    went = "rose" if moved.up else "fell"
    if moved.test == "steps":
        return _of_one_run(moved, f"{went} {ends}", num_tested)
    what = "factor" if moved.is_log else "change"
    told = f"paired {_confidence(moved.level)} interval of the {what} {change(moved)}"
    agreeing = moved.risen if moved.up else moved.fallen
    seeds = f"all {moved.num_pairs}" if agreeing == moved.num_pairs else f"{agreeing} of {moved.num_pairs}"
    if moved.p < LEVEL:
        meaning = verdict_of(moved.name, moved.up)
        return f"{moved.name} {went} {ends} in {seeds} seeds ({told})" + (f": {meaning}." if meaning else ".")
    nothing = 1 if moved.is_log else 0
    return (
        f"{moved.name}: undecided. It {went} {ends} in {seeds} seeds, but the {told} holds {nothing}"
        f"{_among(num_tested)}: {_more(moved)}."
    )


def _more(moved: Movement) -> str:
    if moved.needed is None:
        return "so small a change, if there is one, would take more than 1,000 seeds"
    more = moved.needed - moved.num_pairs
    return (
        f"if the change is as large as it looks, {moved.needed:,} seeds would show it (power 80 %): run {more:,} more"
    )


def _of_one_run(moved: Movement, ends: str, num_tested: int) -> str:
    ups, downs = moved.steps
    agreeing = ups if moved.up else downs
    steps = f"{agreeing} of {ups + downs} steps"
    if moved.p < LEVEL:
        meaning = verdict_of(moved.name, moved.up)
        return (
            f"{moved.name} {ends} in one seed, in {steps}: a run without direction does so seldom (signed ranks of the "
            f"steps, p = {moved.p:.2g})" + (f": {meaning}. " if meaning else ". ")
            + f"How other seeds fare one run cannot say; run {_FEW_MORE} more."
        )  # fmt: skip
    return (
        f"{moved.name}: undecided. One seed: it {ends}, in {steps}, which a run without direction may do, too (signed "
        f"ranks of the steps, p = {moved.p:.2g}{_beside(num_tested)}); run {_FEW_MORE} more seeds."
    )


def _among(num_tested: int) -> str:
    return f" (one of {num_tested} metrics judged together)" if num_tested > 1 else ""


def _beside(num_tested: int) -> str:
    return f" beside {num_tested - 1} others" if num_tested > 1 else ""


def _confidence(level: float) -> str:
    """Return a confidence level in per cent.

    >>> _confidence(0.05), _confidence(0.05 / 24)
    ('95 %', '99.8 %')
    """
    return f"{100 * (1 - level):.{0 if level > 0.049 else 1 if level > 0.001 else 3}f} %"


def headline(found: Sequence[Movement]) -> str:
    """Return the answer in one sentence: how many metrics moved, and which way that is."""
    tested = [moved for moved in found if moved.test != "none"]
    if not tested:
        return "Nothing changes in these records."
    decided = [moved for moved in tested if moved.p < LEVEL]
    if not decided:
        one = tested[0].test == "steps"
        return "Nothing is decided: " + (
            "one run alone does not show whether anything moved." if one
            else "no metric moved by more than seeds differ."
        )  # fmt: skip
    if len(decided) <= _FEW_NAMES:
        return " ".join(
            f"{moved.name} {'rose' if moved.up else 'fell'}" + (f": {meaning}." if meaning else ".")
            for moved in in_order(decided) for meaning in [verdict_of(moved.name, moved.up)]
        )  # fmt: skip
    meanings = [verdict_of(moved.name, moved.up) for moved in decided]
    counts = {word: meanings.count(word) for word in dict.fromkeys(meanings) if word}
    told = "; ".join(f"by {count} of them {word}" for word, count in counts.items())
    if len(counts) == 1 and sum(counts.values()) == len(decided):
        told = next(iter(counts))
    return f"{len(decided)} of {len(tested)} metrics moved" + (f": {told}." if told else ".")


def in_order(found: Sequence[Movement]) -> list[Movement]:
    """Return movements, what gets worse first, then what moved, what is open, and what never changes."""

    def rank(moved: Movement) -> tuple[int, float]:
        if moved.test == "none":
            return 4, 0.0
        if moved.p >= LEVEL:
            return 3, moved.p
        meaning = verdict_of(moved.name, moved.up)
        return (0 if meaning in ("it gets worse", "it collapses") else 1 if meaning else 2), moved.p

    return sorted(found, key=rank)
