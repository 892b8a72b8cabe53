"""How much real data keeps how much of the variance, and for how many points a generation?

    .venv/bin/python experiments/phase_diagram.py

A Gaussian, each of M points real with probability r and else the last model's: fresh real points, or those of the one
set of M that generation 0 saw. 21 values of r, which lanes carry, x 6 of M, a program each, x 64 seeds, 1,000
generations; over it the law, 1 - G, by identity by descent.

Answer: what counts is the number of real points, r M, more than their share. Variance left at generation 1,000, 64
seeds, mean +- standard error and the law, 9 % real, M = 10, 100, 500: fresh points 0.54 +- 0.08 (0.61), 0.86 +- 0.03
(0.94), 0.970 +- 0.017 (0.988); points of the original set 0.49 +- 0.10 (0.55), 0.88 +- 0.03 (0.94), 0.974 +- 0.019
(0.987). Largest z over the 99 cells with r M >= 2 3.5 and 3.1; below that a few chains carry the mean. All cells
share their seeds and so deviate together, below the law for most M >= 50: with 1,024 other seeds, fresh points, M =
100 and five r from 0.04 to 1 it is 1.3. At r = 0 the mean log variance follows its own law, largest z 1.2 over 6
cells.
"""

import time
from functools import partial
from pathlib import Path

import jax

jax.config.update("jax_num_cpu_devices", 2)

import numpy as np  # noqa: E402
import xarray as xr  # noqa: E402
from rich.progress import Progress  # noqa: E402

from collapse_jax import (  # noqa: E402
    build_chain,
    fresh,
    gaussian,
    gaussian_metrics,
    gaussian_truth,
    original,
    plots,
    replace_with_real,
    sweep,
)
from collapse_jax.theory.gaussian import log_variance_drift, log_variance_variance  # noqa: E402
from collapse_jax.theory.identity_by_descent import ibd_fresh_fraction, ibd_original_fraction  # noqa: E402

# r as squares: most happens where it is small
FRACTIONS, SIZES = np.round(np.linspace(0, 1, 21) ** 2, 4).tolist(), [10, 20, 50, 100, 200, 500]
SEEDS, GENERATIONS, LEVELS = 64, 1000, (0.02, 0.2, 0.5, 0.8, 0.9, 0.95, 0.98)
TICKS, TRUTH = [0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1], gaussian_truth(1)
CASES = {
    "fresh real points": (fresh(TRUTH.sample), ibd_fresh_fraction),
    "the original M real points": (original(), ibd_original_fraction),
}


def build(source, real_fraction, points):
    regime = replace_with_real(source, fraction=real_fraction)
    return build_chain(gaussian(1, estimator="mle"), regime, TRUTH.sampler(points), points, gaussian_metrics()[2:])


def law_of(law, fractions, sizes) -> xr.DataArray:
    """Return E variance / truth at the last generation, dims (real_fraction, points)."""
    last = lambda r, m: 1 - law(GENERATIONS, m, m, r)[-1]  # noqa: E731
    told = jax.vmap(jax.vmap(last, (None, 0)), (0, None))(np.asarray(fractions), np.asarray(sizes, float))
    return xr.DataArray(np.asarray(told), {"real_fraction": fractions, "points": sizes})


def scores(log_share: xr.DataArray, law: xr.DataArray) -> tuple[xr.DataArray, np.ndarray]:
    """Return z of the mean share against its law where r M >= 2, and of the mean log share at r = 0.

    In between a few chains carry the mean, and 64 do not tell of it; its log has a law at r = 0 alone.
    """
    share = np.exp(log_share)
    z = (share.mean("seed") - law) / (share.std("seed", ddof=1) / SEEDS**0.5)
    sizes, fits = law.points.values, GENERATIONS + 1
    gap = log_share.sel(real_fraction=0).mean("seed") - fits * np.asarray(log_variance_drift(sizes, 0))
    return z.where(z.real_fraction * z.points >= 2), gap / np.sqrt(fits * log_variance_variance(sizes) / SEEDS)


def run(source, bar: Progress, name: str) -> xr.DataArray:
    """Return log variance / truth at the last generation, dims (real_fraction, points, seed)."""
    task = bar.add_task(name, total=len(SIZES) * GENERATIONS)
    found = sweep(
        partial(build, source), {"real_fraction": FRACTIONS, "points": SIZES}, jax.random.key(0), SEEDS, GENERATIONS,
        record_every=50, lanes=32, on_segment=lambda place, segment: bar.advance(task, 50 * (segment.start > 0)),
    )  # fmt: skip
    return found["log_total_variance"].sel(generation=GENERATIONS)


def main(out: Path) -> None:
    figure, axes = plots.new_figure(1, 2, width=10.5, height=4.0)
    with Progress() as bar:
        for panel, (name, (source, law)) in zip(axes[0], CASES.items()):
            begun = time.perf_counter(), time.process_time()
            log_share = run(source, bar, name)
            took = time.perf_counter() - begun[0], time.process_time() - begun[1]
            share, told = np.exp(log_share), law_of(law, FRACTIONS, SIZES)
            fine = law_of(law, np.linspace(0, 1, 101) ** 2, np.geomspace(SIZES[0], SIZES[-1], 60))
            label = f"share of variance left, mean of {SEEDS} seeds"
            # before the contours: their labels break the lines where they are drawn
            panel.set_xscale("function", functions=(lambda r: np.sqrt(np.maximum(r, 0)), np.square))
            panel.set_yscale("log")
            plots.phase_diagram(share.mean("seed"), "real_fraction", "points", label, fine, LEVELS, (figure, panel))
            panel.set(title=f"{name}, generation {GENERATIONS:,}", xlim=(0, 1), xticks=TICKS)
            panel.set(xlabel="share of real points r", ylabel="points of a generation M")
            z, z_log = scores(log_share, told)
            for at in ({"points": size, "real_fraction": 0.09} for size in (10, 100, 500)):
                half = float(share.sel(at).std(ddof=1)) / SEEDS**0.5
                print(f"{name}, {at}: {float(share.sel(at).mean()):.3f} +- {half:.3f}, law {float(told.sel(at)):.3f}")
            print(f"{name}: largest |z| of the mean share over {int(z.count())} cells with r M >= 2 "
                  f"{float(np.abs(z).max()):.1f}, of the mean log share over {z_log.size} cells with r = 0 "
                  f"{float(np.abs(z_log).max()):.1f} ({took[0]:.0f} s, {took[1]:.0f} s of CPU time)")  # fmt: skip
    print(plots.save_figure(figure, out, "phase_diagram"))


if __name__ == "__main__":
    main(Path(__file__).parent / "figures")
