"""What every benchmark shares: warm medians, a row of the table, the machine's description."""

import os
import platform
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import jax
import numpy as np
from sides import NOISY, REPEATS, Timing


class Row(NamedTuple):
    """One piece of work, ours beside the best of its peers, timed in turn in the same run.

    Attributes:
        work: what is done.
        unit: of `ours` and `peer`, per chain-generation, image, token: "us / chain-generation".
        ours: median of warm runs.
        compile: seconds of our first call beyond a warm one.
        peer_name: what stands beside it, the quickest of what was tried, with its threads.
        peer: median of the peer's warm runs; None when there is no peer.
        target: least ratio peer/ours to reach; None for a row without one.
        tried: the other ways to use a peer, and how much longer they took than the best.
        noisy: whether runs of either side spread by more than `NOISY` of their median.
        limit: what bounds the work, and how near it is.
    """

    work: str
    unit: str
    ours: float
    compile: float
    peer_name: str = ""
    peer: float | None = None
    target: float | None = None
    tried: str = ""
    noisy: bool = False
    limit: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times faster than the peer."""
        return None if self.peer is None else self.peer / self.ours


def row(
    work: str, unit: str, found: list[Timing], target: float | None = None, *, scale: float = 1e6, limit: str = ""
) -> Row:
    """Return the row of `found`, ours first; costs are seconds times `scale`."""
    ours, peers = found[0], sorted(found[1:], key=lambda timing: timing.cost)
    cost, name, peer, tried = ours.cost * scale, "", None, ""
    if peers:
        best = peers[0]
        name, peer = best.name, best.cost * scale
        tried = "; ".join(_beside(timing, best) for timing in peers[1:])
    noisy = any(timing.spread > NOISY for timing in (ours, *peers[:1]))
    return Row(work, unit, cost, ours.first, name, peer, target, tried, noisy, limit)


def _beside(timing: Timing, best: Timing) -> str:
    """Return what was tried as well, and how long it took beside the best."""
    ratio = timing.cost / best.cost
    return timing.name if not np.isfinite(ratio) else f"{timing.name}: {ratio:.2g}x as long"


def timed(function: Callable[[], object], repeats: int = REPEATS, most: float = 20.0) -> tuple[float, float]:
    """Return the median seconds of warm calls, fewer once `most` seconds are over, and how much longer the first is."""
    begun = time.perf_counter()
    jax.block_until_ready(function())
    first, taken = time.perf_counter() - begun, []
    while len(taken) < repeats and (not taken or sum(taken) < most):
        begun = time.perf_counter()
        jax.block_until_ready(function())
        taken.append(time.perf_counter() - begun)
    median = float(np.median(taken))
    return median, first - median


def machine() -> str:
    """Return a sentence on processor, versions and date."""
    names = ("jax", "jaxlib", "numpy", "scikit-learn", "torch", "transformers")
    versions = ", ".join(f"{name} {found}" for name in names if (found := _version(name)))
    return (
        f"{_processor()}, {os.cpu_count()} cores, {jax.devices()[0].device_kind} x {jax.device_count()}; "
        f"Python {platform.python_version()}, {versions}; {datetime.now(UTC):%Y-%m-%d}."
    )


def table(rows: list[Row]) -> str:
    """Return rows as a Markdown table, and below it what else was tried and what bounds the work."""
    lines = [
        "| work | unit | ours | compile, s | peer | its time | ratio | target |",
        "|---|---|---|---|---|---|---|---|",
    ]
    notes = []
    for row in rows:
        peer, ratio, target = (
            "-" if value is None else f"{value:.3g}{mark}"
            for value, mark in ((row.peer, ""), (row.ratio, "x"), (row.target, "x"))
        )
        mark = ""
        if row.ratio is not None and row.target is not None:
            mark = " met" if row.ratio >= row.target else " missed"
        noisy = ", noisy" if row.noisy else ""
        lines.append(
            f"| {row.work} | {row.unit} | {row.ours:.3g} | {row.compile:.1f} | {row.peer_name or '-'} | {peer} | "
            f"{ratio}{noisy} | {target}{mark} |"
        )
        said = ". ".join(part for part in (row.tried and f"Tried as well: {row.tried}", row.limit) if part)
        if said:
            notes.append(f"- {row.work}: {said}.")
    return "\n".join(lines) + ("\n\n" + "\n".join(notes) if notes else "")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        text = subprocess.run(["lscpu"], capture_output=True, text=True, timeout=5).stdout
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("Model name")]
    return names[0] if names else platform.machine()
