"""Which error drives the collapse of an autoencoder? A teacher plays the truth.

    .venv/bin/python experiments/error_sources.py

An autoencoder trained on real digits is the teacher; its images are the "real" data, so the truth can be drawn from
without end and the distance to it is measured, not guessed. Every arm changes one thing against the base: a fixed
synthetic set (finite sample), decoder means (a lossy draw), the net's size, the number of steps. Controls: fresh
data of the teacher in every generation, and as much data as accumulating would have seen. Takes about five minutes.
"""

import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax import (
    Metric,
    Samples,
    as_samples,
    build_chain,
    fresh,
    load_mnist,
    replace,
    replace_part,
    simulate,
    vae,
)
from collapse_jax.judges import frechet, load_judges
from collapse_jax.plots import COLOURS, legend, new_figure, save_figure

SIZE, STEPS, GENERATIONS, SEEDS = 2000, 400, 10, 3


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
    draw, judges = make_teacher(key_teacher), load_judges()
    embed = jax.tree.map(lambda leaf: leaf[0], judges.nets).embed

    def distance(binary):
        truth = embed(draw(key_truth, 2000, binary).x)
        measure = lambda key, s: frechet(truth, embed(s.synthetic.minibatch(key, 1000)))  # noqa: E731
        return Metric("distance", (), "squared feature units", measure)

    # name: changes of the model, regime, images a generation, binary pixels
    arms = {
        "base": ({}, replace(), SIZE, False),
        "fresh minibatches": ({"synthetic": "fresh"}, replace(), SIZE, False),
        "5 x the images": ({}, replace(), 5 * SIZE, False),
        "Bernoulli pixels": ({"draws": "bernoulli"}, replace(), SIZE, True),
        "4 x the width": ({"num_hidden": 1024}, replace(), SIZE, False),
        "3 x the steps": ({"num_steps": 3 * STEPS}, replace(), SIZE, False),
        "control: fresh truth": ({}, replace_part(fresh(draw), fraction=1.0), SIZE, False),
    }
    figure, axes = new_figure(1, 1, width=7.2, height=4.0)
    panel, found = axes[0, 0], {}
    for (name, (changes, regime, size, binary)), colour in zip(arms.items(), COLOURS):
        begun = time.perf_counter()
        real = lambda key, size=size, binary=binary: draw(key, size, binary)  # noqa: E731
        chain = build_chain(model(**changes), regime, real, size, [distance(binary)])
        result = simulate(chain, key_runs, SEEDS, GENERATIONS, lanes=SEEDS, segment_length=GENERATIONS)
        found[name] = result["distance"].values
        line = found[name].mean(axis=0)
        panel.plot(result["generation"], line, color=colour, label=name)
        panel.fill_between(
            result["generation"], found[name].min(0), found[name].max(0), color=colour, alpha=0.15
        )
        grown = found[name][:, -1] - found[name][:, 0]
        against = found[name][:, -1] / found["base"][:, -1]
        print(
            f"{name:22s} distance {line[0]:7.2f} -> {line[-1]:7.2f}, grown by {grown.mean():7.2f} +- "
            f"{grown.std(ddof=1) / np.sqrt(SEEDS):.2f}; end / base's {against.mean():.2f} +- "
            f"{against.std(ddof=1) / np.sqrt(SEEDS):.2f} ({time.perf_counter() - begun:.0f} s)", flush=True,
        )  # fmt: skip
    panel.set(yscale="log", xlabel="generation", ylabel="Frechet distance to the teacher")
    panel.set_title(f"MLP autoencoder, M = {SIZE}, replace, {SEEDS} seeds: mean and range")
    legend(panel, ncols=2)
    print(save_figure(figure, out, "error_sources"))


if __name__ == "__main__":
    main(Path(__file__).parent / "figures")
