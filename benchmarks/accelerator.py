"""Measure the package on whatever device JAX finds, in a limited time, most valuable rows first.

    python benchmarks/accelerator.py --seconds 360 --out OUT [--size full|tiny] [--rows NAME ...] [--mnist FOLDER]
    python benchmarks/accelerator.py --list

Each row is written to OUT/accelerator.jsonl the moment it is measured, and OUT/accelerator.md is made anew: an end at
any moment loses one row. A later call with the same OUT adds to it; of rows of one name the latest counts. A row that
does not fit into what is left of the time is skipped, one that fails says why, and the rest goes on.

On a machine with JAX, Flax, Optax and PyTorch but no network, from a checkout, with the package's wheel and those of
what is missing there (tyro, docstring-parser, typeguard, xarray, h5netcdf, beartype) in .whl:

    pip wheel --no-deps -w .whl .        # where there is a network
    python3 -m pip install -q --no-index --no-deps --target /tmp/site .whl/*.whl && \\
      PYTHONPATH=/tmp/site python3 benchmarks/accelerator.py --seconds 360 --out OUT

The row `digits` leaves a folder of many files: `tar czf digits.tgz -C OUT digits` makes one of them.

JAX and PyTorch share the card: JAX takes memory as it needs it, 85 % at most, and keeps what it took.
"""

import argparse
import faulthandler
import gc
import importlib
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

BEGUN = time.monotonic()
# before JAX is imported; PyTorch has the rest of the card
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.85")
_RESERVE, _WATCH = 3.0, 1.5  # seconds before the end in which nothing is begun, and in which the process ends itself
_ROOM = 1.5  # a row may take that many times what it is thought to need before its peers are cut short
_BEYOND = 5.0  # seconds after that, and a quarter, it is ended
_TINY_SHARE, _TINY_NEED = 0.15, 1.0  # of a row: how much of all the time it may take, and seconds that it needs

from clock import within  # noqa: E402
from device_rows.order import ORDER, Planned  # noqa: E402
from device_rows.written import Written  # noqa: E402


def main(arguments: list[str] | None = None) -> None:
    """Measure what the command line asks for."""
    told = _parsed(arguments)
    if told.list:
        print("\n".join(f"{row.name:26} {row.seconds:4.0f} s  {row.about}" for row in ORDER))
        return
    if told.size == "tiny":  # what it measures means nothing, so that it may compile quickly, and once
        flags = f"--xla_backend_optimization_level=0 {os.environ.get('XLA_FLAGS', '')}"
        os.environ |= {"XLA_FLAGS": flags.strip(), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3"}
        os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str((told.out / "programs").resolve()))
    Session(told).run()


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="accelerator.py", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=360.0, help="for everything; it ends itself before")
    parser.add_argument("--out", type=Path, default=Path("runs/accelerator"), help="folder for what is written")
    parser.add_argument("--size", choices=("full", "tiny"), default="full", help="tiny shows that it works")
    parser.add_argument("--rows", nargs="+", metavar="NAME", default=[], help="these alone, in the usual order")
    parser.add_argument("--mnist", type=Path, help="folder of the four MNIST files, for the row digits")
    parser.add_argument("--eager-peers", action="store_true", help="leave out peers that PyTorch compiles")
    parser.add_argument("--list", action="store_true", help="list the rows, and end")
    told = parser.parse_args(arguments)
    names = [row.name for row in ORDER]
    for name in told.rows:
        if name not in names:
            from collapse_jax.validation import nearest

            sys.exit(f"there is no row '{name}'; {nearest(name, names)}")
    if told.seconds <= 0:
        sys.exit(f"--seconds must be positive, got {told.seconds:g}.")
    return told


class Session:
    """One call: its time, its rows, and what is written."""

    def __init__(self, told: argparse.Namespace) -> None:
        self.told, self.tiny = told, told.size == "tiny"
        self.end = BEGUN + told.seconds
        self.written = Written(told.out)
        self.now: Planned | None = None  # the row at work
        self.over = threading.Event()
        self.device = ""

    def run(self) -> None:
        """Measure row after row, and let nothing outlast the time."""
        threading.Thread(target=self._watch, daemon=True).start()
        # should even that thread not be let run
        faulthandler.dump_traceback_later(max(self.end + 2 - time.monotonic(), 0.1), exit=True)
        self.measure()
        faulthandler.cancel_dump_traceback_later()
        print(f"written: {self.written.page}", flush=True)

    def measure(self) -> None:
        """Measure row after row."""
        import jax

        self.device = jax.devices()[0].device_kind
        self.written.head = _head(self.told)
        print("\n".join(self.written.head), flush=True)
        for planned in ORDER:
            if not self.told.rows or planned.name in self.told.rows:
                self._row(planned)
        self.over.set()

    def _row(self, planned: Planned) -> None:
        begun, left = time.monotonic(), self.end - _RESERVE - time.monotonic()
        need = _TINY_NEED if self.tiny else planned.seconds
        if left < need:
            self._write(planned, {"skipped": f"it needs about {need:.0f} s, and {max(left, 0):.0f} s were left"})
            return
        usual = _TINY_SHARE * self.told.seconds if self.tiny else _ROOM * planned.seconds
        share = left if planned.takes_all else min(left, usual)
        self.now = planned
        try:
            with within(min(left, 1.25 * share + _BEYOND)):
                self._measure(planned, begun + share)
        except Exception as error:  # whatever it is, the next row may do
            told = str(error).strip().splitlines() or ["without a word"]
            self._write(planned, {"error": f"{type(error).__name__}: {told[0][:300]}"})
        self.now = None
        _freed()

    def _measure(self, planned: Planned, until: float) -> None:
        module: Any = importlib.import_module(f"device_rows.{planned.module}")
        from device_rows.found import Found, Setting

        begun = time.monotonic()

        def tell(found: Found) -> None:
            nonlocal begun
            taken, begun = time.monotonic() - begun, time.monotonic()
            self._write(planned, found._asdict() | {"seconds": round(taken, 2)}, found.part)

        alike = {n: row for n, row in self.written.rows().items() if row.get("device") == self.device}
        before = {n: row for n, row in alike.items() if row.get("size") == self.told.size}
        compile_peers = not (self.tiny or self.told.eager_peers)
        setting = Setting(self.tiny, until, self.told.out, self.told.mnist, before, tell, compile_peers)
        module.ROWS[planned.name](setting)

    def _write(self, planned: Planned, record: dict[str, Any], part: str = "") -> None:
        name = f"{planned.name}: {part}" if part else planned.name
        about = {"name": name, "row": planned.name, "device": self.device, "size": self.told.size}
        when = {"when": datetime.now(UTC).isoformat(timespec="seconds"), "peak_mib": _peak_mib()}
        self.written.append(about | record | when)
        print(_line(name, record), flush=True)

    def _watch(self) -> None:
        """End the process at the end of its time, whatever the row at work does."""
        if self.over.wait(max(self.end - _WATCH - time.monotonic(), 0)):
            return
        if self.now is not None:
            self._write(self.now, {"error": "the time was over while it ran"})
        os._exit(0)


def _line(name: str, record: dict[str, Any]) -> str:
    if record.get("skipped") or record.get("error"):
        return f"{name}: {record.get('skipped') or record['error']}"
    said = [record["note"]] if not record.get("rate") else [f"{record['rate']:.3g} {record['unit']} a second"]
    if record.get("share") is not None:
        said.append(f"{record['share']:.1%} of {record['ceiling']}")
    if record.get("peer_rate"):
        said.append(f"{record['rate'] / record['peer_rate']:.3g}x {record['peer']}")
    if record.get("target"):
        said.append(f"target {record['target']}: {({True: 'met', False: 'missed'}).get(record['met'], 'unknown')}")
    return f"{name}: {', '.join(said)} ({record.get('seconds', 0):.0f} s)"


def _head(told: argparse.Namespace) -> list[str]:
    import jax
    from harness import machine

    client = getattr(jax.devices()[0], "client", None)
    runtime = str(getattr(client, "platform_version", "unknown")).replace("\n", " ").strip()
    settings = {name: value for name, value in os.environ.items() if name.startswith(("XLA_", "JAX_"))}
    return [
        f"{machine()[:-1]} UTC.",
        f"Card and driver: {_card()}; runtime: {runtime}.",
        f"Size {told.size}, {told.seconds:g} s for everything, rows: {' '.join(told.rows) or 'all that fit'}.",
        f"Settings: {', '.join(f'{name}={value}' for name, value in sorted(settings.items()))}.",
        "Rates are medians of warm runs, each waited for, ours and peers in turn; compiling is apart.",
        "`program` is the compiled program's own account of its memory; `peak_mib` in the lines of JSON is the most "
        "that JAX held on the device in this process so far.",
    ]  # fmt: skip


def _card() -> str:
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "no NVIDIA card"
    return found.stdout.strip().replace("\n", "; ") or "no NVIDIA card"


def _peak_mib() -> float | None:
    """Return the most memory that JAX held on the device so far; None where the device does not say."""
    with suppress(Exception):  # of a device that is lost, too
        told = sys.modules["jax"].local_devices()[0].memory_stats() or {}
        return told["peak_bytes_in_use"] / 2**20
    return None


def _freed() -> None:
    """Give back what the row held."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        with suppress(Exception):
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
