"""What a row says, and how it is measured: our way and its peers in turn, against the ceiling that binds it."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from sides import NOISY, Side, Timing, timings


class Found(NamedTuple):
    """One row of the table.

    Attributes:
        work: what was done.
        unit: what is counted: "images", "tokens".
        rate: units a second, median of warm runs.
        ceiling: what binds the work, by name.
        share: of that ceiling, in [0, 1].
        compile: seconds of compiling.
        program_mib: device memory of the compiled program, arguments included, by its own account.
        peer: the quickest of the peers.
        peer_rate: its units a second.
        target: in words.
        met: whether it is.
        note: what else is to be known, the other peers among it.
        error: why there is no number.
        part: of a row that has several.
        numbers: whatever else was measured, by name.
    """

    work: str
    unit: str = ""
    rate: float | None = None
    ceiling: str = ""
    share: float | None = None
    compile: float | None = None
    program_mib: float | None = None
    peer: str = ""
    peer_rate: float | None = None
    target: str = ""
    met: bool | None = None
    note: str = ""
    error: str = ""
    part: str = ""
    numbers: dict[str, Any] = {}  # noqa: RUF012  (never changed)


class Setting(NamedTuple):
    """What a row is given.

    Attributes:
        tiny: whether it is to be as small as shows that it works.
        until: moment of `time.monotonic()` after which no peer is begun and no turn taken.
        out: folder for files.
        mnist: folder of the four MNIST files; None for none.
        before: the rows measured before on this kind of device, by name.
        tell: takes a row as soon as it is measured.
        compile_peers: whether peers that PyTorch compiles are tried.
    """

    tiny: bool
    until: float
    out: Path
    mnist: Path | None
    before: dict[str, dict]
    tell: Callable[[Found], None]
    compile_peers: bool = True

    @property
    def left(self) -> float:
        """Seconds until `until`."""
        return self.until - time.monotonic()


class Program(NamedTuple):
    """A compiled function: what runs it, the seconds that compiling took, and the MiB it takes on the device."""

    run: Callable[..., Any]
    seconds: float
    mib: float | None


class Target(NamedTuple):
    """A rate to reach: so many times that of the quickest of the peers that count, or so much by itself.

    Attributes:
        words: "10x transformers eager".
        times: that many times the peer's rate; 0 where `rate` or `share` is asked for.
        counts: whether a peer of that name is meant.
        rate: units a second.
        share: of the ceiling.
    """

    words: str
    times: float = 0.0
    counts: Callable[[str], bool] = lambda name: True
    rate: float = 0.0
    share: float = 0.0


def compiled(function: Callable, *arguments: Any, donate: tuple[int, ...] = ()) -> Program:
    """Return a function compiled for these arguments."""
    begun = time.perf_counter()
    program: Any = jax.jit(function, donate_argnums=donate).lower(*arguments).compile()
    return Program(program, time.perf_counter() - begun, program_mib(program))


def program_mib(program: Any) -> float | None:
    """Return what a compiled program takes on the device: arguments, results and what is between; None unsaid."""
    used = program.memory_analysis()
    if used is None:
        return None
    total = used.temp_size_in_bytes + used.argument_size_in_bytes + used.output_size_in_bytes
    return (total - used.alias_size_in_bytes) / 2**20


def gathered(setting: Setting, make: Callable[[], Iterable[Side]]) -> tuple[list[Side], str]:
    """Return the peers that can be had, and a sentence where one cannot."""
    sides: list[Side] = []
    try:
        for side in make():
            if setting.compile_peers or not is_compiled(side.name):
                sides.append(side)
    except ImportError as error:
        return sides, f"no peer: {_first_line(error)}"
    except Exception as error:  # of another library, of whatever kind
        return sides, f"a peer failed ({type(error).__name__}: {_first_line(error)})"
    return sides, ""


def is_compiled(name: str) -> bool:
    """Return whether a peer of that name is one that PyTorch compiles; transformers does so with a static cache."""
    return ("compiled" in name and "not compiled" not in name) or name == "transformers, static cache"


def measured(
    setting: Setting, work: str, unit: str, ours: Side, program: Program, *, peers: Iterable[Side] = (), note: str = "",
    cost: tuple[str, float] | None = None, target: Target | None = None,
) -> Found:  # fmt: skip
    """Time our way and its peers in turn, and return the row.

    Args:
        setting: of the row.
        work: what is done.
        unit: what `ours.work` counts.
        ours: our way.
        program: what it runs.
        peers: other ways.
        note: what else is to be known.
        cost: name of the ceiling that binds, and the seconds that a unit takes at that ceiling.
        target: what is to be reached.
    """
    mine, *others = timings([ours, *peers], *((2, setting.until, 0.0) if setting.tiny else (5, setting.until)))
    rate = 1 / mine.cost
    finite = sorted((timing for timing in others if np.isfinite(timing.cost)), key=lambda timing: timing.cost)
    best = finite[0] if finite else None
    share = None if cost is None else cost[1] / mine.cost
    notes = [note, *_told(others, best)]
    if mine.spread > NOISY:
        notes.append(f"noisy: half of our runs spread by {mine.spread:.0%}")
    return Found(
        work, unit, rate, "" if cost is None else cost[0], share, program.seconds, program.mib,
        "" if best is None else best.name, None if best is None else 1 / best.cost,
        "" if target is None else target.words, None if target is None else _met(target, rate, share, finite),
        "; ".join(filter(None, notes)), numbers={"spread": mine.spread, "runs": mine.num_runs},
    )  # fmt: skip


def _met(target: Target, rate: float, share: float | None, peers: list[Timing]) -> bool | None:
    """Return whether a target is met; None where nothing can say so."""
    if target.share:
        return None if share is None else share >= target.share
    if target.rate:
        return rate >= target.rate
    counted = [1 / timing.cost for timing in peers if target.counts(timing.name)]
    return rate >= target.times * max(counted) if counted else None


def _told(others: list[Timing], best: Timing | None) -> list[str]:
    """Return what each other peer took beside the best, or why it could not be timed."""
    told = []
    for timing in others:
        if not np.isfinite(timing.cost):
            told.append(timing.name)
        elif best is not None and timing is not best:
            told.append(f"{timing.name}: {timing.cost / best.cost:.2g}x as long as the best peer")
    return told


def sentence(error: BaseException) -> str:
    """Return an error as one sentence."""
    return f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip()[:200] if lines else "without a word"
