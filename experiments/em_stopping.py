"""Is the published sawtooth at M = 200,000 EM's stopping error, or sampling error?

    .venv/bin/python experiments/em_stopping.py

The published code's protocol (one cloud, two components, k-means start, at most 2,000 steps) at its tolerance of
1e-5 nats and at 1e-8, on the same seeds, in double precision: float32 cannot see a change below 2e-7. Two fits of
the same points differ by stopping error alone. Mean and covariance of a mixture are those of its training set
after any number of EM steps: the part of the distance that they make is sampling error alone.

Answer: stopping error, early in the chain. Same seeds, log L2 to generation 0 at tolerance 1e-5 less at 1e-8, 8
seeds, 95 %: +2.5 +- 0.3 at M = 200,000 (generations 1 to 4), +0.34 +- 0.35 at 20,000 (1 to 12), -0.04 +- 0.42 at
1,000 (1 to 100). At M = 200,000 two fits of the same points differ ten times as much as a generation of sampling
does; sampling error grows and is near half of L2 by generation 40, so later generations are not decided here.
"""

import time
from pathlib import Path

import jax

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import xarray as xr  # noqa: E402
from scipy import stats  # noqa: E402

from collapse_jax import (  # noqa: E402
    build_chain,
    mixture,
    mixture_metrics,
    plots,
    replace,
    simulate,
    single_cloud,
)
from collapse_jax.numerics.em import Components  # noqa: E402
from collapse_jax.numerics.mixture_distances import log_overlap  # noqa: E402

SEEDS, PUBLISHED, TIGHT = 8, 1e-5, 1e-8
SIZES = {1000: (100, 100), 20_000: (50, 12), 200_000: (40, 4)}  # M: generations at each tolerance
NEEDED = ("log_l2_origin", "log_l2_truth", "weights", "means", "covariances")


def chains(size: int, tol: float, generations: int) -> xr.Dataset:
    truth = single_cloud()
    model = mixture(2, start="kmeans", tol=tol, max_steps=2000, ridge="absolute")
    metrics = [metric for metric in mixture_metrics(truth) if metric.name in NEEDED]
    chain = build_chain(model, replace(), truth.sampler(size), size, metrics)
    return simulate(chain, jax.random.key(0), SEEDS, generations, lanes=SEEDS // 2, segment_length=20)


def mixtures(result: xr.Dataset) -> Components:
    tril = np.linalg.cholesky(result["covariances"].values)
    return Components(*map(jnp.asarray, (result["weights"].values, result["means"].values, tril)))


def moments(result: xr.Dataset) -> Components:
    """The one Gaussian of each mixture's mean and covariance."""
    weights, means = result["weights"].values, result["means"].values
    mean = np.einsum("...k,...ki->...i", weights, means)
    centred = means - mean[..., None, :]
    covariance = np.einsum("...k,...kij->...ij", weights, result["covariances"].values)
    covariance += np.einsum("...k,...ki,...kj->...ij", weights, centred, centred)
    one = np.ones((*mean.shape[:-1], 1))
    return Components(*map(jnp.asarray, (one, mean[..., None, :], np.linalg.cholesky(covariance)[..., None, :, :])))


def log10_l2(p: Components, q: Components) -> np.ndarray:
    """log10 of the squared L2 distance, over all leading axes."""

    def distance(p: Components, q: Components) -> jax.Array:
        overlaps = [jnp.exp(log_overlap(*pair)) for pair in ((p, p), (q, q), (p, q))]
        return jnp.log10(overlaps[0] + overlaps[1] - 2 * overlaps[2])

    return np.asarray(jax.vmap(jax.vmap(distance))(p, q))


def against_first(parts: Components) -> np.ndarray:
    return log10_l2(parts, jax.tree.map(lambda a: jnp.broadcast_to(a[:, :1], a.shape), parts))


def main(out: Path) -> None:
    figure, axes = plots.new_figure(1, len(SIZES), width=10.5, height=3.2)
    for panel, (size, lengths) in zip(axes[0], SIZES.items()):
        begun = time.perf_counter()
        loose, tight = (chains(size, tol, num) for tol, num in zip((PUBLISHED, TIGHT), lengths))
        both = slice(1, lengths[1])
        excess = (loose["log_l2_origin"] - tight["log_l2_origin"]).sel(generation=both).mean("generation").values
        half = stats.t.ppf(0.975, SEEDS - 1) * excess.std(ddof=1) / SEEDS**0.5
        first = [result.isel(generation=slice(0, 1)) for result in (loose, tight)]
        stopping = log10_l2(*map(mixtures, first)).mean()
        sampling = float(tight["log_l2_origin"].sel(generation=1).mean()) / np.log(10)
        part = loose["log_l2_origin"].copy(data=against_first(moments(loose)))
        share = 10 ** float((part - loose["log_l2_origin"] / np.log(10)).isel(generation=-1).mean())
        print(
            f"M = {size:,}: log L2 at {PUBLISHED:g} less at {TIGHT:g}, generations 1 to {lengths[1]}: "
            f"{excess.mean():+.2f} +- {half:.2f} (95 %, {SEEDS} seeds)\n"
            f"  log10 L2: two fits of the same points {stopping:.2f}, one generation of sampling {sampling:.2f}; "
            f"mean and covariance alone give {share:.0%} of L2 at generation {lengths[0]}\n"
            f"  EM steps {float(loose.em_steps.mean()):.0f} and {float(tight.em_steps.mean()):.0f}, converged "
            f"{float(loose.converged.mean()):.0%} and {float(tight.converged.mean()):.0%} "
            f"({time.perf_counter() - begun:.0f} s)", flush=True,
        )  # fmt: skip
        for result, tol, colour in ((loose, PUBLISHED, plots.COLOURS[1]), (tight, TIGHT, plots.COLOURS[0])):
            distance = result["log_l2_origin"][:, 1:] / np.log(10)
            plots.band(panel, distance, f"M = {size:,}, tol {tol:g}", colour, share=1.0)
        panel.plot(part["generation"][1:], part.median("seed")[1:], color="black", linestyle=":",
                   label="its mean and covariance alone")  # fmt: skip
        grey = {"color": plots.COLOURS[4], "linestyle": "--", "linewidth": 1.1}
        panel.axhline(stopping, label="two fits of the same points", **grey)
        panel.set(xlabel="generation", xscale="log", title=f"replace, M = {size:,}")
        plots.legend(panel)
    axes[0, 0].set_ylabel("log10 squared L2 to generation 0")
    print(plots.save_figure(figure, out, "em_stopping"))


if __name__ == "__main__":
    main(Path(__file__).parent / "figures")
