"""Which regime keeps an autoencoder's digits alive?

    .venv/bin/python experiments/vae_regimes.py

Seeds are paired: every regime starts from the same nets and the same real digits. Fresh digits come from a pool
that neither model 0 saw nor the judges compare with. Takes about four minutes.
"""

import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax import (
    Samples,
    accumulate,
    as_samples,
    build_chain,
    fresh,
    load_mnist,
    original,
    plots,
    replace,
    replace_with_real,
    simulate,
    vae,
    vae_metrics,
    window,
)
from collapse_jax.metrics import JUDGEMENTS, NUM_HELD_OUT, classifier_metrics, load_classifiers

SIZE, GENERATIONS, SEEDS = 2000, 10, 3


def main(out: Path) -> None:
    digits = load_mnist().images[:-NUM_HELD_OUT]  # the others are those that the judges compare with
    first, pool = as_samples(digits[:SIZE]), jnp.asarray(digits[SIZE:])

    def unseen(key, num):
        return Samples(pool[jax.random.choice(key, len(pool), (num,), replace=False)], jnp.ones(num))

    regimes = {
        "replace": replace(),
        "window of 3": window(3),
        "10 % original": replace_with_real(original(), fraction=0.1),
        "10 % fresh": replace_with_real(fresh(unseen), fraction=0.1),
        "accumulate": accumulate(GENERATIONS),
    }
    model = vae(num_steps=400, learning_rate=4e-3)
    metrics = (*vae_metrics(num_shown=12), *classifier_metrics(load_classifiers()))
    figure, axes = plots.new_figure(1, 4, width=11.0, height=3.0)
    names = {"latent_spread": "latent spread", "unanimous_share": "unanimous share", "sharpness": "sharpness",
             "frechet_distance": "Frechet distance to real"}  # fmt: skip
    last, start = [], None
    for (name, regime), colour in zip(regimes.items(), plots.COLOURS):
        begun = time.perf_counter()
        chain = build_chain(model, regime, first, SIZE, metrics)
        result = simulate(
            chain, jax.random.key(0), SEEDS, GENERATIONS, lanes=SEEDS, segment_length=GENERATIONS
        )
        judged = result["judged"].assign_coords(judgement=list(JUDGEMENTS)).to_dataset("judgement")
        result = result.drop_vars("judged").merge(judged)
        for panel, (variable, title) in zip(axes[0], names.items()):
            plots.band(panel, result[variable], name, colour, share=1.0)
            panel.set(title=title, xlabel="generation")
        end = result.isel(generation=-1)
        start = result if start is None else start
        paired = np.log(end["frechet_distance"] / start["frechet_distance"].isel(generation=-1))
        print(
            f"{name:14s} spread {float(end.latent_spread.mean()):.3f}, "
            f"unanimous {float(end.unanimous_share.mean()):.2f}, "
            f"Frechet {float(end.frechet_distance.mean()):.1f}, log ratio to replace {float(paired.mean()):+.2f} +- "
            f"{float(paired.std(ddof=1)) / SEEDS**0.5:.2f} ({time.perf_counter() - begun:.0f} s)", flush=True,
        )  # fmt: skip
        last.append(end["images"].isel(seed=0).values)
    axes[0, 3].set_yscale("log")
    lines = axes[0, 0].get_legend_handles_labels()
    figure.legend(*lines, loc="outside lower center", ncols=5, frameon=False, fontsize=7.5)
    print(plots.save_figure(figure, out, "vae_regimes"))
    shown, panels = plots.new_figure(1, 1, width=6.0, height=2.9)
    rows = [start["images"].isel(seed=0, generation=0).values, *last]
    plots.digit_rows(panels[0, 0], np.stack(rows), ["generation 0", *regimes])
    panels[0, 0].set_ylabel("")
    print(plots.save_figure(shown, out, "vae_regimes_digits"))


if __name__ == "__main__":
    main(Path(__file__).parent / "figures")
