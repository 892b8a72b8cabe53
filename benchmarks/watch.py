"""Watching generations in files: wall time and peak memory against the size of the folder (Linux)."""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

COLUMNS = ("generations", "rows each", "columns", "kind", "folder, MiB", "wall time of the command", "peak memory, MiB")
_PROGRAM = """
import sys, time
begun = time.monotonic()
from collapse_jax.cli.main import run_command
code = run_command(["watch", sys.argv[1], "--out", sys.argv[2], "--quiet"])
assert code in (0, 3), code
peak = next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(time.monotonic() - begun, peak)
"""


def measured() -> list[tuple[int, str, int, str, int, str, int]]:
    """Return a row for each folder: what `COLUMNS` says."""
    sizes = [(50, 1000, "csv"), (10, 1000, "npy"), (10, 100_000, "npy"), (10, 1_000_000, "npy")]
    return [row(*size) for size in sizes]


def row(generations: int, num_rows: int, kind: str, columns: int = 20) -> tuple[int, str, int, str, int, str, int]:
    """Watch generations of a Gaussian refitted to its own draws, in a process of their own."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        folder, x = Path(place) / "generations", rng.normal(size=(num_rows, columns))
        folder.mkdir()
        for generation in range(generations):
            path = folder / f"generation{generation}.{kind}"
            if kind == "npy":
                np.save(path, x)
            else:
                pd.DataFrame(x, columns=[f"column{index}" for index in range(columns)]).to_csv(path, index=False)
            factor = np.linalg.cholesky(np.cov(x.T, bias=True))
            x = x.mean(axis=0) + rng.normal(size=x.shape) @ factor.T
        size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
        seconds, peak = min(_watched(folder, Path(place) / "report") for _ in range(3))
    return generations, f"{num_rows:,}", columns, kind, round(size), f"{seconds:.1f} s", peak


def _watched(folder: Path, out: Path) -> tuple[float, int]:
    words = [sys.executable, "-c", _PROGRAM, str(folder), str(out)]
    found = subprocess.run([*words], capture_output=True, text=True, check=True)
    seconds, peak = found.stdout.split()
    for path in sorted(out.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    return float(seconds), int(peak)
