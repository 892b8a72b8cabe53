"""How many generations until a chain has lost 99 % of its variance?

    .venv/bin/python experiments/time_to_collapse.py

One Gaussian in one dimension, whose law of first passage is known; one cloud fitted with two components; and two
clusters, which lose their variance only after one component has died. Under replace, without real data, 256 seeds.

Answer: about 2 M. Median over 256 seeds (quartiles) at M = 200: one Gaussian 2.1 M (1.6 to 2.9), the law says 2.1;
one cloud with K = 2 2.2 M (1.7 to 2.9); two clusters 2.0 M (1.6 to 2.8), for which one component must die first, by
the law half of them by 1.1 M. At M = 50 both mixtures take 2.4 M.
"""

import time
from pathlib import Path

import jax

jax.config.update("jax_num_cpu_devices", 2)

import numpy as np  # noqa: E402
import xarray as xr  # noqa: E402

from collapse_jax import (  # noqa: E402
    build_chain,
    gaussian_metrics,
    gaussian_statistics,
    gaussian_truth,
    mixture,
    mixture_metrics,
    plots,
    replace,
    simulate,
    single_cloud,
    two_gaussians,
    vmap_chain,
)
from collapse_jax.theory.ancestry import both_alive  # noqa: E402
from collapse_jax.theory.gaussian import passed_probability  # noqa: E402

SIZES, SEEDS, LENGTH, LOST = (50, 100, 200), 256, 6, np.log(0.01)  # LENGTH generations / M


def one_gaussian() -> dict[int, xr.DataArray]:
    def chain(size):
        return build_chain(
            gaussian_statistics(1, estimator="mle"), replace(), gaussian_truth(1).moments_sampler(size),
            size, gaussian_metrics()[2:],
        )  # fmt: skip

    result = simulate(
        vmap_chain(chain, np.asarray(SIZES), "size"), jax.random.key(0), SEEDS, LENGTH * max(SIZES), lanes=SEEDS // 2
    )
    return {size: result["log_total_variance"][..., index] for index, size in enumerate(SIZES)}


def two_components(truth) -> dict[int, xr.DataArray]:
    metrics, results = [m for m in mixture_metrics(truth) if m.name == "log_total_variance"], {}
    for size in SIZES:
        chain = build_chain(mixture(2), replace(), truth.sampler(size), size, metrics)
        result = simulate(chain, jax.random.key(0), SEEDS, LENGTH * size, lanes=SEEDS // 8, segment_length=300)
        results[size] = result["log_total_variance"] - np.log(truth.total_variance)
    return results


def main(out: Path) -> None:
    def passage(fits, size):
        return passed_probability(LOST, fits, size, 0)

    def death(fits, size):
        return np.where(fits >= size, 1 - both_alive(0.5, size, fits), np.nan)

    cases = {
        "one Gaussian, 1-D": (one_gaussian, passage, "law of first passage, 1-D"),
        "one cloud, 2-D, K = 2": (lambda: two_components(single_cloud()), passage, "law of first passage, 1-D"),
        "two clusters, 2-D, K = 2": (
            lambda: two_components(two_gaussians()), death, "law of a component's death",
        ),
    }  # fmt: skip
    figure, axes = plots.new_figure(1, len(cases), width=10.0, height=3.2)
    for panel, (name, (run, law, law_name)) in zip(axes[0], cases.items()):
        begun, said = time.perf_counter(), []
        for (size, log_ratio), colour in zip(run().items(), plots.COLOURS):
            # lost once is lost: the first passage, not the state
            passed = np.maximum.accumulate(log_ratio.values < LOST, axis=1)
            fits = np.arange(1, passed.shape[1] + 1)
            panel.plot(fits / size, passed.mean(axis=0), color=colour, label=f"M = {size}, replace")
            times = np.where(passed.any(axis=1), passed.argmax(axis=1) + 1, np.inf) / size
            predicted = np.asarray(law(fits, size))
            half = fits[np.argmax(predicted >= 0.5)] / size if (predicted >= 0.5).any() else np.nan
            low, middle, high = np.quantile(times, [0.25, 0.5, 0.75], method="nearest")
            said.append(f"M = {size}: {middle:.2f} M ({low:.2f} to {high:.2f}); dotted {half:.2f} M")
        # against fits / M the laws of the three sizes are one line
        panel.plot(fits / size, predicted, color="black", linestyle=":", linewidth=1.3, zorder=5, label=law_name)
        panel.set(title=name, xlabel="fits / M", xlim=(0, LENGTH), ylim=(-0.02, 1.02))
        plots.legend(panel, loc="lower right")
        print(f"{name}: median fits (quartiles) {'; '.join(said)} ({time.perf_counter() - begun:.0f} s)", flush=True)
    axes[0, 0].set_ylabel("share of seeds below 1 % of variance")
    print(plots.save_figure(figure, out, "time_to_collapse"))


if __name__ == "__main__":
    main(Path(__file__).parent / "figures")
