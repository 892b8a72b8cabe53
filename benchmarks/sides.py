"""Ways to do one piece of work, timed in turn so that all of them meet the same machine."""

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from clock import within

NOISY = 0.2  # spread of a row's runs, as a share of their median, from which the row is said to be noisy
REPEATS, LEAST_SECONDS, MOST_REPEATS = 5, 1.0, 25
_HOPELESS = 2.0  # a peer that takes so many times as long as the best in its second run is not timed again


class Side(NamedTuple):
    """One way to do a piece of work.

    Attributes:
        name: library, and how it is used: "PyTorch compiled, 2 threads".
        run: does the work once; what it returns is waited for.
        work: units that one run does: images, tokens, chain-generations.
    """

    name: str
    run: Callable[[], object]
    work: int


class Timing(NamedTuple):
    """What one side took.

    Attributes:
        name: of the side.
        cost: median seconds a unit of its warm runs.
        spread: of the warm runs' seconds, (75 % - 25 %) / median; 0 of fewer than three.
        first: seconds of the first run beyond a warm one: compiling.
        num_runs: warm runs.
    """

    name: str
    cost: float
    spread: float
    first: float
    num_runs: int


def timings(
    sides: Sequence[Side], repeats: int = REPEATS, until: float = math.inf, least_seconds: float = LEAST_SECONDS
) -> list[Timing]:
    """Return what each side took, ours being the first: one warm run each in turn, at least `repeats` of them.

    A peer that is hopeless after one warm run is left out of the later turns, one that fails says why in its name and
    costs infinitely much. Short runs take turns until `least_seconds` of ours are over. At `until`, a moment of
    `time.monotonic()`, a peer that has not had its first two runs has failed, and there are no more turns.
    """
    tried = [_try(side, until if i > 0 else None) for i, side in enumerate(sides)]
    warm = [[seconds] for _, _, seconds in tried]
    each = [seconds / side.work for (_, _, seconds), side in zip(tried, sides)]
    best = min(each[1:], default=each[0])
    kept = [i for i in range(len(sides)) if i == 0 or (np.isfinite(each[i]) and each[i] <= _HOPELESS * best)]
    turns = int(np.clip(least_seconds / max(warm[0][0], 1e-9), repeats, max(MOST_REPEATS, repeats)))
    for _ in range(turns - 1):
        if time.monotonic() > until:
            break
        for i in kept:
            warm[i].append(_seconds(sides[i].run))
    found = []
    for side, (name, first, _), seconds in zip(sides, tried, warm):
        median = float(np.median(seconds))
        spread = float(np.subtract(*np.quantile(seconds, (0.75, 0.25)))) / median if len(seconds) > 2 else 0.0
        compiling = max(first - median, 0.0) if np.isfinite(median) else 0.0
        found.append(Timing(name, median / side.work, spread, compiling, len(seconds)))
    return found


def _try(side: Side, until: float | None) -> tuple[str, float, float]:
    """Return the name, and the seconds of a first and of a second run; None for what may not fail."""
    if until is None:
        return side.name, _seconds(side.run), _seconds(side.run)
    try:
        with within(until - time.monotonic()):
            return side.name, _seconds(side.run), _seconds(side.run)
    except Exception as error:  # of another library, of whatever kind: the row says so and goes on
        reason = (str(error).strip().splitlines() or [""])[0][:80]
        return f"{side.name} (failed: {type(error).__name__}: {reason})", float("inf"), float("inf")


def _seconds(function: Callable[[], object]) -> float:
    begun = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - begun
