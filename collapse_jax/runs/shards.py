"""The arms of a run, from their last checkpoints on: records first, then the state, for each segment of each shard.

A run that is killed at any moment so goes on from its last whole segment, or, where a fit is itself long, from its
last piece, to the same bits. From the host, where a generation may take a millisecond or a day, what is quicker than
writing it down is written now and then.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from collapse_jax.core.chunks import Chunk
from collapse_jax.drivers.compiled import Segment, run_lanes, segment_stops
from collapse_jax.drivers.host import run_host
from collapse_jax.drivers.lanes import Lanes
from collapse_jax.drivers.results import Records, join_records
from collapse_jax.runs.checkpoints import Checkpoint
from collapse_jax.runs.company import Company
from collapse_jax.runs.directory import RunDirectory, Shard
from collapse_jax.runs.group import Group
from collapse_jax.studies.plan import Arm, Plan
from collapse_jax.types import Key

_SHARE = 20  # writing pieces takes at most one part in twenty of the time
_STATES_SHARE = 5  # writing a host's generations one part in about five


class Stopped(BaseException):
    """The run was asked to stop (SIGTERM, SIGHUP) and has: its last checkpoint is on disk."""


class StopRequest:
    """Within it, SIGTERM, or a terminal that is closed (SIGHUP), asks to stop at the next checkpoint."""

    def __enter__(self) -> "StopRequest":
        self.to_stop = False
        self._before: dict[Any, Any] = {}
        if threading.current_thread() is threading.main_thread():  # elsewhere Python handles no signals
            asking = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
            heard = [number for number in asking if signal.getsignal(number) is not signal.SIG_IGN]  # not under nohup
            self._before = {number: signal.signal(number, self._note) for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, *_: object) -> None:
        self.to_stop = True


class RunContext(NamedTuple):
    """What every part of a running study needs.

    Attributes:
        directory: where it writes.
        plan: what it runs.
        key: the root of all randomness.
        asked: whether it is to stop.
        notice: told in a sentence what a reader of the screen must know.
        group: those that compute the same chains.
        company: the other processes of the run, which may end it.
    """

    directory: RunDirectory
    plan: Plan
    key: Key
    asked: StopRequest
    notice: Callable[[str], None]
    group: Group = Group()
    company: Company | None = None

    def check(self) -> None:
        """Stop here if any of the group was asked to, or another process of the run has come to an end.

        Raises:
            Stopped: it was.
            KeyboardInterrupt: the other was interrupted.
        """
        why = "" if self.company is None else self.company.asked
        if self.group.any(self.asked.to_stop or why in ("stopped", "failed")):
            raise Stopped
        if why == "interrupted":
            raise KeyboardInterrupt


def advance_arm(work: RunContext, index: int, arm: Arm, shards: Sequence[Shard], generations: int) -> Iterator[int]:
    """Run an arm's shards side by side, stop by stop; yield each stop that all of them have reached.

    Args:
        work: the run.
        index: the arm's number.
        arm: what it runs.
        shards: the seeds that this process runs.
        generations: after generation 0.
    """
    length = 1 if work.plan.on_host else work.plan.segment_length
    stops = segment_stops(generations, length)
    pace = WriteThrottle(work)
    walks = [_advance_shard(work, shard.label(index), arm, shard, stops, pace) for shard in shards]
    reached = [-1] * len(walks)
    for stop in (0, *stops):
        pace.begin(always=stop in (0, stops[-1]))
        for i, walk in enumerate(walks):
            while reached[i] < stop:
                reached[i] = next(walk, generations)
        yield stop
    for walk in walks:
        next(walk, None)  # it tidies up behind itself


class WriteThrottle:
    """When the shards of an arm write: each stop all of them or none, and not so often that writing takes long."""

    def __init__(self, work: RunContext) -> None:
        self.work, self.due, self.not_before = work, True, 0.0
        self.spent = 0.0  # at the last stop that was written, all shards together
        self.no_piece_before = 0.0

    def begin(self, *, always: bool) -> None:
        """Come to a stop; the first and the last are written, and those of compiled chains, whose segments are long."""
        now = time.monotonic()
        if self.due:
            self.not_before, self.spent = now + _STATES_SHARE * self.spent, 0.0
        due = always or not self.work.plan.on_host or self.work.asked.to_stop or now >= self.not_before
        self.due = self.work.group.any(due)


def _advance_shard(
    work: RunContext, label: str, arm: Arm, shard: Shard, stops: Sequence[int], pace: WriteThrottle
) -> Iterator[int]:
    """Run one shard from its last checkpoint on; yield each generation it reaches, on disk where that was due."""
    directory, last = work.directory, _last_state(work, label, arm)
    before = -1 if last is None else last.generation
    held: list[Records] = []
    for segment in _segments(work, label, arm, shard, stops, last, pace):
        held.append(segment.records)
        if pace.due:
            begun = time.monotonic()
            if work.group.leads:
                records, every = join_records(held), work.plan.record_every
                directory.records.append(label, before + 1, segment.stop, records, every)
            before, held = segment.stop, []
            directory.checkpoints.save(label, segment.stop, segment.state(), {})
            directory.checkpoints.drop(f"{label}-piece")
            pace.spent += time.monotonic() - begun
        work.check()
        yield segment.stop
    directory.checkpoints.keep_last(label)
    directory.checkpoints.drop(f"{label}-piece")


def _segments(
    work: RunContext, label: str, arm: Arm, shard: Shard, stops: Sequence[int], last: Checkpoint | None,
    pace: WriteThrottle,
) -> Iterator[Segment]:  # fmt: skip
    """Return what the plan's driver yields after the last checkpoint."""
    plan = work.plan
    resume = None if last is None else (last.generation, last.tree)
    if not plan.on_host:
        lanes = Lanes(
            arm.chain, shard.num_seeds, plan.lanes, shard.first_seed,
            record_every=plan.record_every, chain_of=arm.chain_of, donate=True,
        )  # fmt: skip
        return run_lanes(lanes, work.key, stops, resume)
    generation = 0 if last is None else last.generation + 1
    saved, damaged = work.directory.checkpoints.latest(f"{label}-piece")
    _tell_damaged(work, damaged)
    within = saved.tree if saved is not None and saved.generation == generation else None
    keep = _ChunkWriter(work, f"{label}-piece", generation, pace)
    return run_host(
        arm.chain, work.key, 1, stops, first_seed=shard.first_seed, resume=resume, piece=within, on_chunk=keep,
        in_place=work.group.spans,
    )  # fmt: skip


class _ChunkWriter:
    """Writes the pieces of a generation, but not so often that writing takes a large share of the time."""

    def __init__(self, work: RunContext, label: str, generation: int, pace: WriteThrottle) -> None:
        self.work, self.label, self.generation, self.pace = work, label, generation, pace

    def __call__(self, seed: int, piece: Chunk) -> None:
        begun = time.monotonic()
        if self.work.group.any(begun >= self.pace.no_piece_before or self.work.asked.to_stop):
            self.work.directory.checkpoints.save(self.label, self.generation, piece, {})
            ended = time.monotonic()
            self.pace.no_piece_before = ended + _SHARE * (ended - begun)
        self.work.check()
        if set(piece.done) >= {"fit", "sample"}:  # the last piece of a generation
            self.generation += 1


def _last_state(work: RunContext, label: str, arm: Arm) -> Checkpoint | None:
    """Return the newest whole checkpoint whose records are all there; None to begin anew."""
    recorded = work.group.largest(work.directory.records.reached(label))  # before anybody writes
    template = None if arm.chain.on_host else jax.eval_shape(arm.chain.init, work.key)[0]
    found, damaged = work.directory.checkpoints.latest(label, template, at_most=recorded)
    _tell_damaged(work, damaged)
    if work.group.leads and (lost := work.directory.records.damaged_after(label, recorded)):
        again = 0 if found is None else found.generation + 1
        work.notice(f"{lost[0]} is damaged; generations from {again} on are computed again.")
    return found


def _tell_damaged(work: RunContext, damaged: Sequence[Path]) -> None:
    for path in damaged:
        work.notice(f"{path} is damaged; going on from the one before it.")
