"""A million exact Gaussian chains over 2,000 generations, as a summary: wall time and peak memory (Linux)."""

import subprocess
import sys

COLUMNS = ("chains", "generations", "wall time with compilation", "us / chain-generation", "peak memory, MiB")
_PROGRAM = """
import sys, time
begun = time.monotonic()
import jax, numpy as np
jax.config.update("jax_num_cpu_devices", max(__import__("os").cpu_count() or 1, 1))
from collapse_jax.models.gaussian import gaussian_statistics
from collapse_jax import Summary, build_chain, gaussian, gaussian_metrics, gaussian_truth, replace, sweep
seeds, generations = int(sys.argv[1]), int(sys.argv[2])
def build(num_samples):
    mean, _, log_variance = gaussian_metrics()
    real = gaussian_truth(1).moments_sampler(num_samples)
    return build_chain(gaussian_statistics(1), replace(), real, num_samples, (mean, log_variance))
edges = {"log_total_variance": np.linspace(-60.5, 9.5, 141)}
summary = Summary((0, 100, generations), edges=edges)
axes = {"num_samples": [100]}
found = sweep(build, axes, jax.random.key(0), seeds, generations, record_every=10, summary=summary)
# the exact drift and spread of log variance (theory.gaussian), so that a fast wrong answer is none
from collapse_jax.theory.gaussian import log_variance_drift
last = found.isel(num_samples=0, generation=-1)
law = (generations + 1) * float(log_variance_drift(100, 1))
error = float(last.log_total_variance_std) / seeds**0.5
z = (float(last.log_total_variance_mean) - law) / error
assert abs(z) < 5 and int(last.log_total_variance_num_finite) == seeds, (z, last)
peak = next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(time.monotonic() - begun, peak)
"""


def measured() -> list[tuple[int, int, str, str, int]]:
    """Return one row: what `COLUMNS` says."""
    return [row(10**6, 2000)]


def row(seeds: int, generations: int) -> tuple[int, int, str, str, int]:
    """Run so many chains in a process of their own."""
    found = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(seeds), str(generations)], capture_output=True, text=True, check=True
    )
    seconds, peak = found.stdout.split()
    each = float(seconds) / seeds / generations * 1e6
    return seeds, generations, f"{float(seconds):.0f} s", f"{each:.2f}", int(peak)
