"""What do replace, accumulate and accumulate-subsample leave of a Gaussian's variance, in 1 to 100 dimensions?

    .venv/bin/python experiments/kazdan_sweep.py

The sweep of Kazdan et al. (2024): d x n x regime x 100 seeds x 100 generations, 7,500 chains, which its authors ran as
7,500 processes. Replace and accumulate draw the moments of n points from their exact law, and lanes carry n: a program
for each d and regime. Accumulate-subsample must see points: a program for each d and n. Dotted: the law of the mean.

Answer: what the laws say, whatever the dimension. The sweep of Kazdan et al. (2024), 7,500 chains, 100 seeds, mean
share of the variance at generation 100 for n = 100 and d = 1, 10, 100, and the law: replace 0.29 +- 0.04, 0.28 +-
0.03, 0.37 +- 0.05 (0.362); accumulate 0.997 +- 0.017, 0.993 +- 0.006, 0.985 +- 0.002 (0.984); accumulate-subsample
0.982 +- 0.023, 0.975 +- 0.009, 0.977 +- 0.004 (0.971). Largest z 1.4 over the 10 cells of replace with n >= 200, 1.6
and 1.7 over the 25 of the others. Under replace with n = 10 and 32 hardly any of 100 chains carries the mean: it lies
far below its expectation.
"""

import time
from pathlib import Path

import jax

jax.config.update("jax_num_cpu_devices", 2)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from rich.progress import Progress  # noqa: E402

import collapse_jax as lab  # noqa: E402
from collapse_jax import plots  # noqa: E402
from collapse_jax.numerics.triangular import semidefinite_factor  # noqa: E402
from collapse_jax.theory.identity_by_descent import ibd_accumulate, ibd_accumulate_subsample, ibd_replace  # noqa: E402

DIMS, SIZES, SEEDS, LAST, KEY = [1, 3, 10, 31, 100], [10, 32, 100, 316, 1000], 100, 100, jax.random.key(0)
REGIMES = {"replace": lab.replace(), "accumulate": lab.accumulate(LAST)}
LANES, BLOCK = 8, 20  # a pool of 101,000 points in 100 dimensions takes 40 MB a seed: so many seeds at a time
LAWS = {"replace": ibd_replace, "accumulate": ibd_accumulate}
LAWS["accumulate-subsample"] = lambda generations, _, size: ibd_accumulate_subsample(generations, size)


class Clock(Progress):
    """A bar of chain-generations; `spent` is [compilation and generation 0, all others], wall and CPU seconds."""

    spent, last = np.zeros((2, 2)), np.array([time.perf_counter(), time.process_time()])

    def tell(self, segment) -> np.ndarray:
        """Count a segment; return what it recorded of the variance."""
        found, before = segment.records["log_total_variance"], self.last
        self.last = np.array([time.perf_counter(), time.process_time()])
        self.spent[min(segment.start, 1)] += self.last - before
        task = self.tasks[0].id if self.tasks else self.add_task("7,500 chains", total=75 * SEEDS * LAST)
        self.advance(task, found.size * (segment.start > 0))
        return found


def in_data_units(dim: int) -> lab.Model:
    """Return a Gaussian without a frame, which a whole pool would have to follow: pooled data keep their spread."""

    def fit(key, params, data):
        centred = data.x - data.x.mean(axis=0)
        factor = semidefinite_factor(centred.T @ centred / data.num_rows)  # of any rank: n <= d is legal
        return (data.x.mean(axis=0), factor), {}

    def sample(key, params, num_samples):
        mean, factor = params
        return lab.Samples(mean + jax.random.normal(key, (num_samples, dim)) @ factor.T, jnp.ones(num_samples))

    return lab.Model(lambda key, real: (jnp.zeros(dim), jnp.zeros((dim, dim))), fit, sample)


def drawn_as_moments(clock: Clock) -> np.ndarray:
    """Return log total variance [d, regime, n, seed, generation] under replace and accumulate."""

    def build(dim, regime, size):
        model, metric = lab.gaussian_statistics(dim, estimator="mle"), lab.gaussian_metrics()[2]
        chosen, real = REGIMES[regime], lab.gaussian_truth(dim).moments_sampler(size)
        return lab.build_chain(model, chosen, real, size, [metric])

    axes = {"dim": DIMS, "regime": list(REGIMES), "size": SIZES}
    found = lab.sweep(build, axes, KEY, SEEDS, LAST, lanes=LANES, on_segment=lambda _, segment: clock.tell(segment))
    return found["log_total_variance"].sel(regime=axes["regime"]).values


def drawn_as_points(clock: Clock, dim: int, size: int) -> np.ndarray:
    """Return log total variance [seed, generation] under accumulate-subsample, one block of seeds after the other."""
    total = lab.Metric("log_total_variance", (), "nats", lambda key, s: jnp.log(jnp.sum(s.params[1] ** 2)))
    regime, real = lab.compose(lab.accumulate(LAST), lab.subsample(size)), lab.gaussian_truth(dim).sampler(size)
    chain, blocks = lab.build_chain(in_data_units(dim), regime, real, size, [total]), []
    for first in range(0, SEEDS, BLOCK):
        segments = lab.run_compiled(chain, KEY, BLOCK, (LAST,), lanes=BLOCK // 2, first_seed=first)
        blocks.append(np.concatenate([clock.tell(segment) for segment in segments], axis=1))
    return np.concatenate(blocks)


def main(out: Path) -> None:
    with Clock() as clock:
        moments = drawn_as_moments(clock)
        points = np.asarray([[drawn_as_points(clock, dim, size) for size in SIZES] for dim in DIMS])
    shares = np.exp(np.concatenate([moments, points[:, None]], axis=1)) / np.reshape(DIMS, (-1, 1, 1, 1, 1))
    mean, error = shares.mean(axis=3), shares.std(axis=3, ddof=1) / SEEDS**0.5
    figure, axes = plots.new_figure(3, len(DIMS), width=11.0, height=6.4)
    for (row, column), panel in np.ndenumerate(axes):
        for n, (size, colour) in enumerate(zip(SIZES, plots.COLOURS)):
            middle, half = mean[column, row, n], 2 * error[column, row, n]
            panel.fill_between(range(LAST + 1), middle - half, middle + half, color=colour, alpha=0.2, linewidth=0)
            panel.plot(middle, color=colour, label=f"n = {size}")
            law = 1 - np.asarray(list(LAWS.values())[row](LAST, size, size))
            panel.plot(law, ":", color="black", linewidth=1.0, zorder=5, label="law" if size == SIZES[-1] else None)
        panel.set(yscale=("log", "linear", "linear")[row], ylim=((1e-8, 3), (0.6, 1.05), (0.6, 1.05))[row])
        panel.set(title=f"d = {DIMS[column]}" if row == 0 else "", xlabel="generation" if row == 2 else "")
    plots.legend(axes[1, 0], loc="lower left", ncols=2)
    for row, (regime, law) in enumerate(LAWS.items()):
        axes[row, 0].set_ylabel(f"{regime}\nvariance left")
        last = 1 - np.asarray([law(LAST, size, size)[-1] for size in SIZES])
        z = (mean[:, row, :, -1] - last) / error[:, row, :, -1]
        if regime == "replace":  # where there are more fits than n / 2, a few chains carry the mean: 100 do not tell
            z = z[:, np.asarray(SIZES) >= 2 * LAST]
        said = [f"{m:.3f} +- {e:.3f}" for m, e in zip(mean[:, row, 2, -1], error[:, row, 2, -1])]
        print(f"{regime}, n = {SIZES[2]}, left at generation 100, d = {DIMS}: {', '.join(said)}; law {last[2]:.3f}; "
              f"largest |z| over {z.size} cells {np.abs(z).max():.1f}")  # fmt: skip
    for phase, (wall, cpu) in zip(("compilation and generation 0", "generations 1 to 100"), clock.spent):
        print(f"{phase}: {wall:.0f} s, {cpu:.0f} s of CPU time")
    print(plots.save_figure(figure, out, "kazdan_sweep"))


if __name__ == "__main__":
    main(Path(__file__).parent / "figures")
