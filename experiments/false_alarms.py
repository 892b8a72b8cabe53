"""How often does a monitor raise a false alarm, over 200 checks of samples that are just like its reference?

    .venv/bin/python experiments/false_alarms.py [numbers] [table] [images] [texts] [fixed]

For each kind of data 2,000 monitors, each with a reference of its own and 200 samples of the same law; the share that
ever raised the alarm must be at most alpha = 5 %. Beside it what one statistic with one fixed reference would do: the
same statistics and permutations, but a bag that stays the reference. Its error is in every check, and the evidence of
one check says again what the last one said. All 2,000 take about 2 hours on
2 cores; it tells after every hundred how far it is.
"""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from collapse_jax.monitor import Monitor

RUNS, CHECKS, ALPHA = 2000, 200, 0.05
BATCH = 100
FIXED = "fixed"  # numbers, with a bag that stays the reference
REFERENCE, SAMPLE = 100, 25
_WORDS = np.array([f"w{rank}" for rank in range(300)])
_SHARES = 1 / np.arange(1, 301) ** 1.1
_SHARES /= _SHARES.sum()
_IMAGES = np.random.default_rng(1).normal(size=(6, 64))


def numbers(rng: np.random.Generator, num: int) -> np.ndarray:
    """Return rows with tails and a column that rounds, so that values repeat."""
    return np.stack(
        [rng.normal(size=num), rng.standard_t(4, size=num), rng.exponential(size=num).round(1)], axis=1
    )


def table(rng: np.random.Generator, num: int) -> pd.DataFrame:
    """Return numbers that lack now and then, rare categories, flags, and rows so plain that they occur twice."""
    rows = pd.DataFrame(
        {
            "income": np.where(rng.random(num) < 0.05, np.nan, rng.lognormal(size=num).round(2)),
            "age": rng.integers(18, 90, num),
            "town": rng.choice(list("abcdefgh"), size=num, p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.03, 0.01, 0.01]),
            "owner": rng.random(num) < 0.1,
        }
    )
    plain = rng.random(num) < 0.2
    rows.loc[plain, ["income", "age", "owner"]] = [1.0, 30, False]
    return rows


def images(rng: np.random.Generator, num: int) -> np.ndarray:
    """Return pictures of 8 by 8 with six degrees of freedom and some noise."""
    return (rng.normal(size=(num, 6)) @ _IMAGES + 0.3 * rng.normal(size=(num, 64))).reshape(num, 8, 8)


def texts(rng: np.random.Generator, num: int) -> list[str]:
    """Return sentences of words with Zipf's shares, the short ones so plain that they occur twice."""
    return [" ".join(rng.choice(_WORDS, size=rng.integers(1, 12), p=_SHARES)) for _ in range(num)]


KINDS: dict[str, Callable[[np.random.Generator, int], Any]] = {
    "numbers": numbers, "table": table, "images": images, "texts": texts
}  # fmt: skip


def first_alarm(
    kind: str, run: int, checks: int = CHECKS, *, fixed: bool = False, statistics: list[str] | None = None
) -> int:
    """Return the check that raised the alarm, -1 if none did.

    Args:
        kind: of the data.
        run: its number, which is its seed.
        checks: how many samples are looked at.
        fixed: the bag stays the reference, as it must not.
        statistics: names of those to judge; None: all.
    """
    rng = np.random.default_rng([run, list(KINDS).index(kind)])
    monitor = Monitor(KINDS[kind](rng, REFERENCE), statistics, ALPHA, seed=run)
    if fixed:
        monitor._bag.add = lambda *_: None  # type: ignore[method-assign]
    for check in range(checks):
        if monitor.update(KINDS[kind](rng, SAMPLE)).alarm:
            return check
    return -1


def _one(task: tuple[str, int, bool]) -> int:
    kind, run, fixed = task
    return first_alarm(kind, run, fixed=fixed)


def main(kinds: list[str]) -> None:
    print(f"{RUNS:,} monitors, {CHECKS} checks each, reference {REFERENCE}, samples {SAMPLE}, alpha {ALPHA}")
    found: dict[str, list[int]] = {}
    begun = time.perf_counter()
    with ProcessPoolExecutor(2) as pool:
        for first in range(0, RUNS, BATCH):  # all kinds together, so that a run that is cut says something of each
            for kind in kinds or [*KINDS, FIXED]:
                if kind == FIXED and first:
                    continue
                task = ("numbers", True) if kind == FIXED else (kind, False)
                checks = found.setdefault(kind, [])
                checks += pool.map(_one, [(task[0], run, task[1]) for run in range(first, first + BATCH)], chunksize=5)
                alarms = sum(check >= 0 for check in checks)
                high = stats.beta.ppf(0.95, alarms + 1, len(checks) - alarms)
                print(
                    f"{kind:8s} {alarms:4d} of {len(checks):,} raised the alarm: {alarms / len(checks):.2%}, "
                    f"at most {high:.2%} (95 %); {time.perf_counter() - begun:.0f} s", flush=True,
                )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
