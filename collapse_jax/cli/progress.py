"""How far a command has come, all its studies and arms together: two lines on a terminal, plain lines elsewhere.

What is shown goes to stderr, so that stdout holds results alone. Time left is what is left at the pace of what this
process itself has done.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.live import Live
from rich.text import Text

from collapse_jax.cli.display import aside, note, one_line

_EVERY = 30.0  # seconds between plain lines, at most
_STEP = 0.1  # of the work between plain lines, at most
_LEAST = 1.0  # seconds between plain lines, at least
_BAR = 20  # most signs of a bar


class Watch:
    """What all jobs of a command have to do, what is done, and how long the rest takes.

    Args:
        weights: of each job, about its share of the time, in any unit.
        clock: seconds.
    """

    def __init__(self, weights: Sequence[float], clock: Callable[[], float] = time.monotonic) -> None:
        self.weights, self.clock = list(weights), clock
        self.shares = [0.0] * len(self.weights)  # of each job, what is done
        self.before = [0.0] * len(self.weights)  # what was done before this process began
        self.job, self.state, self.begun = 0, None, clock()
        self.arm: tuple[float, int] = (self.begun, 0)  # when and where the arm at work began

    def begin(self, job: int) -> None:
        """Say that a job begins."""
        self.job = job

    def hear(self, state: Any) -> None:
        """Take note of a run's `Progress`."""
        if self.state is None or self.state.label != state.label:
            self.arm = self.clock(), state.generation
        self.state = state
        self.shares[self.job], self.before[self.job] = state.share, state.begun

    def end(self) -> None:
        """Say that a job has ended; one of which nothing was heard was finished before."""
        if self.shares[self.job] == 0:
            self.before[self.job] = 1.0
        self.shares[self.job] = 1.0

    @property
    def done(self) -> float:
        """The share of all work that is done."""
        return self._weighed(self.shares) / max(sum(self.weights), 1e-9)

    @property
    def elapsed(self) -> float:
        """Seconds since this process began."""
        return self.clock() - self.begun

    @property
    def left(self) -> float | None:
        """Seconds that the rest takes at the pace of this process; None before it has done anything."""
        new = self._weighed([share - was for share, was in zip(self.shares, self.before)])
        if new <= 0:
            return None
        return self.elapsed * (sum(self.weights) - self._weighed(self.shares)) / new

    def _weighed(self, shares: Sequence[float]) -> float:
        return sum(weight * share for weight, share in zip(self.weights, shares))

    @property
    def doing(self) -> str:
        """What the arm at work does: "compiling", chain-generations a second, "drawing", or nothing yet."""
        if self.state is None:
            return ""
        if self.state.drawing:
            return "drawing"
        since, first = self.arm
        gained, seconds = self.state.generation - first, self.clock() - since
        if gained <= 0 or seconds <= 0:
            return "compiling" if self.state.generation < self.state.num_generations else ""
        return f"{gained * self.state.num_seeds / seconds:,.0f} chain-gen/s"


def span(seconds: float | None) -> str:
    """Return a time as a person reads it.

    >>> span(7.0), span(754.0), span(7263.0), span(None)
    ('0:07', '12:34', '2:01:03', '-:--')
    """
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(max(seconds, 0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def two_lines(watch: Watch, width: int, signs: str = "━·") -> list[str]:
    """Return what a terminal shows, no line wider than it: the arm at work, and the whole run.

    Args:
        watch: the work.
        width: columns.
        signs: of a bar, done and not done.
    """
    times = f"{span(watch.elapsed)} elapsed, {span(watch.left)} left"
    rows = [("whole run", watch.done, f"{100 * watch.done:.0f} %  {times}")]
    if (state := watch.state) is not None:
        end = f"{state.generation:,}/{state.num_generations:,}  {watch.doing}".rstrip()
        rows.insert(0, (one_line(state.label), state.generation / max(state.num_generations, 1), end))
    ends = min(max(len(end) for _, _, end in rows), width)
    bar = max(min(_BAR, width - ends - 24), 0)
    names = max(min(width - ends - bar - 4, 30, max(len(label) for label, _, _ in rows)), 0)
    return [_line(label, share, end, (names, bar), signs)[:width].rstrip() for label, share, end in rows]


def _line(label: str, share: float, end: str, widths: tuple[int, int], signs: str) -> str:
    """Return label, bar and end in columns; where there is little room the bar goes first, then the label."""
    names, bar = widths
    shown = label if len(label) <= names else f"{label[: max(names - 3, 0)]}..."[:names]
    filled = round(bar * min(share, 1.0))
    drawn = f"{signs[0] * filled}{signs[1] * (bar - filled)}"
    return "  ".join(part for part in (f"{shown:<{names}}", drawn, end) if part)


def log_line(watch: Watch) -> str:
    """Return what stands in a log."""
    state, where = watch.state, "preparing"
    if state is not None:
        where = f"{one_line(state.label)}: generation {state.generation:,} of {state.num_generations:,}"
        where += f", {watch.doing}" if watch.doing else ""
    return f"[{span(watch.elapsed)}] {where}; whole run {100 * watch.done:.0f} %, {span(watch.left)} left"


class Lines:
    """Plain lines on a stream: every 30 seconds or every tenth of the work, at most one a second, flushed.

    Args:
        watch: the work.
        write: line -> None; the default writes to what `sys.stderr` is then.
        every: seconds.
    """

    def __init__(self, watch: Watch, write: Callable[[str], None] | None = None, every: float = _EVERY) -> None:
        self.watch, self.write, self.every = watch, write or _to_stderr, every
        self.told_at, self.told = -float("inf"), -1.0
        self._lock, self._over = threading.Lock(), threading.Event()

    def __enter__(self) -> "Lines":
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def show(self) -> None:
        """Write a line, if one is due."""
        with self._lock:
            now, done = self.watch.clock(), self.watch.done
            if self.watch.state is None and self.watch.elapsed < self.every:  # it may yet be refused, in a sentence
                return
            is_due = now - self.told_at >= self.every or done - self.told >= _STEP - 1e-9
            if is_due and now - self.told_at >= _LEAST and not self._over.is_set():
                self.told_at, self.told = now, done
                self.write(log_line(self.watch))

    def _beat(self) -> None:
        """Write also while nothing is heard: a segment may take hours."""
        while not self._over.wait(min(self.every, _LEAST)):
            self.show()


def _to_stderr(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody reads it any more, or it was closed
        print(line, file=sys.stderr, flush=True)


class Bar:
    """Two lines on a terminal that change in place, and go when the work has ended."""

    def __init__(self, watch: Watch) -> None:
        signs = "━·" if "utf" in (aside.encoding or "").lower() else "#."
        draw = lambda: Text("\n".join(two_lines(watch, aside.width - 1, signs)), no_wrap=True)  # noqa: E731
        self._live = Live(
            get_renderable=draw, console=aside, transient=True, refresh_per_second=4,
            redirect_stdout=sys.stdout.isatty(),
        )  # fmt: skip

    def __enter__(self) -> "Bar":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self) -> None:
        """Nothing: the lines are drawn four times a second."""


class _Silence:
    def show(self) -> None:
        """Show nothing."""


@contextmanager
def watching(weights: Sequence[float], quiet: bool = False) -> Iterator["Watched"]:
    """Show progress within: on a terminal two lines, elsewhere plain ones; with `quiet` nothing."""
    watch = Watch(weights)
    if quiet:
        yield Watched(watch, _Silence())
        return
    display = Bar(watch) if aside.is_terminal and not aside.is_dumb_terminal else Lines(watch)
    with display:
        yield Watched(watch, display)


class Watched:
    """What jobs tell, and the display that shows it."""

    def __init__(self, watch: Watch, display: Any) -> None:
        self.watch, self.display = watch, display

    def begin(self, job: int) -> None:
        """Say that a job begins."""
        self.watch.begin(job)
        self.display.show()

    def update(self, state: Any) -> None:
        """Show how far a run has come, or what it has to say."""
        if state.notice:
            note(state.notice)
            return
        self.watch.hear(state)
        self.display.show()

    def end(self) -> None:
        """Say that the job has ended."""
        self.watch.end()
        self.display.show()
