"""Peak memory of a chain against the number of generations, each in a process of its own (Linux)."""

import subprocess
import sys

_PROGRAM = """
import sys, jax
from collapse_jax import build_chain, gaussian, gaussian_metrics, gaussian_truth, replace
from collapse_jax.drivers.compiled import run_compiled
truth, generations = gaussian_truth(1), int(sys.argv[1])
chain = build_chain(gaussian(1), replace(), truth.sampler(1000), 1000, gaussian_metrics())
for _ in run_compiled(chain, jax.random.key(0), 64, range(100, generations + 1, 100), lanes=64):
    pass  # what a run directory does: each segment is written and forgotten
# not ru_maxrss, which a process inherits from the one that started it
print(next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def peak(num_generations: int) -> int:
    """Return MiB of a process that runs 64 chains of M = 1,000 points in segments of 100 generations."""
    found = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(num_generations)], capture_output=True, text=True, check=True
    )
    return int(found.stdout)


def measured() -> list[tuple[int, int]]:
    """Return (generations, MiB)."""
    return [(length, peak(length)) for length in (100, 1_000, 10_000)]
