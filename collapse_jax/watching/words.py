"""What became of generations, in sentences: the answer, where things stand, and how long the variance lasts."""

import math

from collapse_jax.monitor.readings import Measured, Reading
from collapse_jax.watching.watch import Watched

_MOST_NAMES = 3  # statistics that the answer names
_FIRST_CHECKS = 5  # so many may an alarm take whose cause was there at the first


def number(value: float) -> str:
    """Return a number with three digits.

    >>> number(0.98765), number(12345.6), number(float("nan")), number(0.0)
    ('0.988', '12,346', '–', '0')
    """
    if not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def percent(share: float) -> str:
    """Return a share of the alarm's evidence.

    >>> percent(1e-9), percent(0.0031), percent(0.47), percent(1e200)
    ('< 0.1 %', '0.3 %', '47 %', '> 999 %')
    """
    if share < 0.001:
        return "< 0.1 %"
    if share > 9.99:
        return "> 999 %"
    return f"{100 * share:.1f} %" if share < 0.01 else f"{100 * share:.0f} %"


def answer(found: Watched) -> str:
    """Return whether there is an alarm, and of what."""
    first, last = found.readings[0].generation, found.readings[-1].generation
    like = "the reference" if found.since is None else f"generation {found.since}"
    if not found.judged:
        return "Nothing was judged: every generation holds the very samples of the reference."
    if found.alarm is None:
        over = f"generation {first}" if first == last else f"generations {first} to {last}"
        ever = f"(false alarms: at most {100 * found.alpha:.3g} %, ever)"
        return f"No alarm over {over}: nothing differs from {like} by more than chance {ever}."
    where = "" if first == last else f" of {first} to {last}"
    verb = "is not what it was" if len(found.raised_by) == 1 else "are not what they were"
    return f"Alarm at generation {found.alarm}{where}: {_names(found.raised_by)} {verb} in {like}."


def leading(found: Watched) -> Measured | None:
    """Return the statistic that moved most, as the last generation shows it."""
    return max(found.judged[-1].measured, key=lambda one: one.evidence) if found.judged else None


def state(found: Watched) -> str:
    """Return where the statistic that moved most stands."""
    one = leading(found)
    if one is None:
        return ""
    last = found.judged[-1]
    told = f"`{one.name}` is {number(one.value)}, usual {number(one.low)} to {number(one.high)} ({one.about})"
    nearest = f"; of all `{one.name}` is the nearest to an alarm, at {percent(one.evidence / last.needed)}"
    kept = (
        ""
        if one.name == "variance"
        else "".join(_kept(other) for other in last.measured if other.name == "variance")
    )
    return f"At generation {last.generation} {told}{kept}{'' if found.alarm is not None else nearest}."


def _kept(variance: Measured) -> str:
    """Return the variance beside another statistic: its loss is what collapse is called after."""
    return (
        f", and `variance` {number(variance.value)}, usual {number(variance.low)} to {number(variance.high)}"
    )


def outlook(found: Watched) -> str:
    """Return how many generations are left, or why that cannot be said."""
    told = found.forecast
    now = "" if math.isnan(told.kept) else f" ({100 * told.kept:.0f} % now, mean over directions)"
    until = f"until {100 * told.share:.3g} % of the reference's variance{now}"
    if math.isnan(told.generations):
        return f"How long the variance lasts cannot be said. {told.reason}"
    if told.generations == 0:
        return f"Generations left {until}: none. {told.reason}"
    if math.isinf(told.low):
        return f"Generations left {until}: no end is seen. {told.reason}"
    level = f"{100 * told.level:.0f} %"
    if math.isinf(told.generations):
        return f"Generations left {until}: {_count(told.low)} or more ({level}). {told.reason}"
    high = "no end" if math.isinf(told.high) else _count(told.high)
    left = f"{_count(told.generations)} ({level}: {_count(told.low)} to {high})"
    return f"Generations left {until}: {left}.{_stride(found)} {told.reason}"


def from_the_first(found: Watched) -> str:
    """Return a warning where generations differ from a reference that was given from the first check on, or ""."""
    checks = found.judged
    if found.since is not None or found.alarm is None:
        return ""
    soon = found.alarm in [reading.generation for reading in checks[:_FIRST_CHECKS]]
    raised = next(reading for reading in checks if reading.generation == found.alarm).raised_by
    if not soon or all(one.p > 0.05 for one in checks[0].measured if one.name in raised):
        return ""
    return (
        f"Generation {checks[0].generation} already differs from the reference: that is the model, not the recursion; "
        "leave out --reference to see change since."
    )


def compared(found: Watched) -> str:
    """Return what generations were compared with."""
    samples = f"{found.num_reference:,} samples"
    if found.since is not None:
        return f"Change since generation {found.since}: it is the reference ({samples})."
    return f"Compared with {found.reference} ({samples})."


def mark(reading: Reading, found: Watched) -> str:
    """Return what a generation is, beside one of many."""
    if reading.generation == found.alarm:
        return "alarm"
    if not reading.measured:
        return "reference" if reading.generation == found.since else "not judged"
    return ""


def _names(names: tuple[str, ...]) -> str:
    told = [f"`{name}`" for name in names[: _MOST_NAMES if len(names) > _MOST_NAMES + 1 else None]]
    if len(told) < len(names):
        told.append(f"{len(names) - len(told)} more")
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"


def _count(generations: float) -> str:
    if generations >= 1e6:
        return f"{generations:.1g}"
    return f"{generations:,.0f}" if generations >= 10 else f"{generations:.1f}"


def _stride(found: Watched) -> str:
    """Return a remark where generations are not each other's neighbours: the forecast counts those that were given."""
    first, last = found.readings[0].generation, found.readings[-1].generation
    stride = (last - first) / max(len(found.readings) - 1, 1)
    return "" if stride <= 1 else f" These count generations that were given, {stride:.3g} apart on average."
