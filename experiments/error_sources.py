"""Which error drives the collapse of an autoencoder? A teacher plays the truth.

    .venv/bin/python experiments/error_sources.py

An autoencoder trained on real digits is the teacher; its images are the "real" data, so the truth can be drawn from
without end and the distance to it is measured, not guessed: between features of its images and of each model's
decoder means. Every arm changes one thing against the base: a fixed synthetic set (finite sample), decoder means (a
lossy draw), the net's size, the number of steps. Controls: fresh data of the teacher in every generation; accumulate;
and replace with as much data as accumulate has seen, where generation g trains on (g + 1) M images, all drawn by model
g - 1, which tells amount from memory of the real data.

Answer: with a teacher as truth, M = 2000, 3 seeds, Frechet distance of decoder means as a share of the base's (mean
+- standard error over seeds) at generation 3 and at 10, where the base has become one point: first that a decoder
mean is no draw (Bernoulli pixels 0.60 +- 0.03 and 0.88 +- 0.02) and too few steps (three times the steps 0.48 +- 0.02
and 0.90 +- 0.03); hardly the finite sample (fresh minibatches 0.90 +- 0.01 and 0.99, five times the images 0.86 +-
0.04 and 1.00) nor the width (0.98 +- 0.09 and 1.03). None of them stops it. Accumulate reaches 0.38 +- 0.01 and 0.339
+- 0.003; replace with as much data as accumulate has seen, (g + 1) M images all drawn by the latest model, 0.98 +-
0.01 and 0.986 +- 0.003: accumulate helps by keeping the old data, not by their amount. With fresh data of the teacher
nothing moves (0.161 +- 0.009 and 0.090 +- 0.006).
"""

import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax import (
    Metric,
    Samples,
    accumulate,
    as_samples,
    build_chain,
    fresh,
    load_mnist,
    plots,
    replace,
    replace_with_real,
    schedule,
    simulate,
    vae,
)
from collapse_jax.metrics import frechet, load_classifiers

SIZE, STEPS, GENERATIONS, EARLY, SEEDS = 2000, 400, 10, 3, 3


def model(**changes):
    return vae(**{"num_hidden": 256, "num_steps": STEPS, "learning_rate": 4e-3, **changes})


def make_teacher(key):
    """Return a function (key, num, binary) -> images of an autoencoder of real digits."""
    digits, made = as_samples(load_mnist().images), model(num_steps=2000, learning_rate=2e-3)
    params, _ = jax.jit(made.fit)(key, made.init(key, digits), digits)

    def draw(key, num, binary=False):
        images = made.sample(key, params, num).x
        rows = (jax.random.uniform(key, images.shape) < images).astype(float) if binary else images
        return Samples(rows, jnp.ones(num))

    return draw


def main(out: Path) -> None:
    key_teacher, key_truth, key_runs = jax.random.split(jax.random.key(0), 3)
    draw, judges, decoder = make_teacher(key_teacher), load_classifiers(), model()
    embed = jax.tree.map(lambda leaf: leaf[0], judges.nets).embed
    truth = embed(draw(key_truth, 2000).x)

    # of decoder means in every arm, whatever it trains on: one scale for all
    def measure(key, snapshot):
        return frechet(truth, embed(decoder.sample(key, snapshot.params, 1000).x))

    distance = Metric("distance", (), "squared feature units", measure)

    # what accumulate's store holds: M real images and M of each generation before
    amounts = [(generation + 1) * SIZE for generation in range(1, GENERATIONS + 1)]
    # name: changes of the model, regime, real images, images a generation, binary pixels
    sources = {
        "base": ({}, replace(), SIZE, SIZE, False),
        "fresh minibatches": ({"synthetic": "fresh"}, replace(), SIZE, SIZE, False),
        "5 x the images": ({}, replace(), 5 * SIZE, 5 * SIZE, False),
        "Bernoulli pixels": ({"draws": "bernoulli"}, replace(), SIZE, SIZE, True),
        "4 x the width": ({"num_hidden": 1024}, replace(), SIZE, SIZE, False),
        "3 x the steps": ({"num_steps": 3 * STEPS}, replace(), SIZE, SIZE, False),
    }
    controls = {
        "replace, as much as accumulate": ({}, schedule(amounts), SIZE, amounts[-1], False),
        "accumulate": ({}, accumulate(GENERATIONS), SIZE, SIZE, False),
        "fresh truth": ({}, replace_with_real(fresh(draw), fraction=1.0), SIZE, SIZE, False),
    }
    figure, axes = plots.new_figure(1, 2, width=9.5, height=3.8)
    axes[0, 1].sharey(axes[0, 0])
    found = {}
    for (name, (changes, regime, first, size, binary)), colour in zip(
        (sources | controls).items(), (*plots.COLOURS[:6], *plots.COLOURS[1:4])
    ):
        begun = time.perf_counter()
        real = lambda key, first=first, binary=binary: draw(key, first, binary)  # noqa: E731
        chain = build_chain(model(**changes), regime, real, size, [distance])
        result = simulate(chain, key_runs, SEEDS, GENERATIONS, lanes=SEEDS, segment_length=GENERATIONS)
        values = found[name] = result["distance"].values
        line = values.mean(axis=0)
        for panel, shown in zip(axes[0], (sources, {"base": None} | controls)):
            if name in shown:
                panel.plot(result["generation"], line, color=colour, label=name)
                panel.fill_between(
                    result["generation"], values.min(0), values.max(0), color=colour, alpha=0.15
                )
        # paired by seed; at the end all that collapses has reached the same distance, at EARLY it has not
        ratios = [values[:, g] / found["base"][:, g] for g in (EARLY, GENERATIONS)]
        early, end = (f"{ratio.mean():.3f} +- {ratio.std(ddof=1) / np.sqrt(SEEDS):.3f}" for ratio in ratios)
        print(
            f"{name:30s} distance {line[0]:7.1f} -> {line[EARLY]:7.1f} -> {line[-1]:7.1f}; over base's {early} at "
            f"generation {EARLY}, {end} at {GENERATIONS} ({time.perf_counter() - begun:.0f} s)", flush=True,
        )  # fmt: skip
    for panel, title in zip(axes[0], ("sources of error, replace", "controls")):
        panel.set(yscale="log", xlabel="generation", title=f"{title} (M = {SIZE:,})")
        plots.legend(panel)
    axes[0, 0].set_ylabel(f"Frechet distance to teacher\n(mean, range of {SEEDS} seeds)")
    print(plots.save_figure(figure, out, "error_sources"))


if __name__ == "__main__":
    main(Path(__file__).parent / "figures")
