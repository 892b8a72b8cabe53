"""A web of up to 10^9 rows that eight labs read and fill in 500 steps, on counts: wall time and peak memory (Linux)."""

import subprocess
import sys

COLUMNS = ("rows of the web", "webs", "steps", "wall time with compilation", "ms / web and step", "peak memory, MiB")
_PROGRAM = """
import sys, time
begun = time.monotonic()
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", max(__import__("os").cpu_count() or 1, 1))
from collapse_jax import (
    CategoricalTruth, build_chain, categorical, categorical_metrics, fresh, labs, per_lab, pool, sweep, web
)
from collapse_jax.theory.pool import pool_moments
rows, seeds, steps = (int(word) for word in sys.argv[1:])
LABS, CLASSES, DRAWS, DELETION = 8, 64, 20, 0.1
inflow, released = rows // 40, 3 * rows // (40 * LABS)  # what keeps a web as large as it begins
truth = CategoricalTruth(np.full(CLASSES, 1 / CLASSES))
def build(draws):
    regime = pool(fresh(lambda key, num: truth.counts_sampler(num)(key)), inflow=inflow, deletion=DELETION)
    (diversity,) = [one for one in per_lab(categorical_metrics()) if one.name == "heterozygosity"]
    metrics = (diversity, *web.web_metrics(LABS)[:2])
    model = labs(categorical(CLASSES), LABS, draws=draws)
    return build_chain(model, regime, truth.counts_sampler(rows), released, metrics)
found = sweep(build, {"draws": [DRAWS]}, jax.random.key(0), seeds, steps, record_every=100)
# what labs of 20 rows leave of the diversity, by the exact law, so that a fast wrong answer is none
law = pool_moments(steps, rows, np.full(LABS, DRAWS), np.full(LABS, released), inflow, DELETION)
kept = found["heterozygosity"].isel(draws=0, generation=-1).mean("lab") / (1 - 1 / CLASSES)
error = float(kept.std("seed", ddof=1)) / seeds**0.5
z = (float(kept.mean()) - (1 - float(law.mean_square[-1, 0]))) / error
assert abs(z) < 5, (z, kept, law)
peak = next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(time.monotonic() - begun, peak)
"""


def measured() -> list[tuple[str, int, int, str, str, int]]:
    """Return a row for each size of the web: what `COLUMNS` says."""
    return [row(rows, 64, 500) for rows in (10**4, 10**6, 10**9)]


def row(rows: int, seeds: int, steps: int) -> tuple[str, int, int, str, str, int]:
    """Run webs of one size in a process of their own."""
    found = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(rows), str(seeds), str(steps)], capture_output=True, text=True, check=True
    )
    seconds, peak = found.stdout.split()
    each = float(seconds) / seeds / steps * 1e3
    return f"{rows:,}", seeds, steps, f"{float(seconds):.0f} s", f"{each:.2f}", int(peak)
