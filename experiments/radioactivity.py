"""How long does a watermark outlive the generator that wrote it?

    .venv/bin/python experiments/radioactivity.py

Generation 0 is fitted to text whose green words were made likelier; none of the later generations is marked. First on
counts: a categorical distribution of 64 words, a quarter of them green, refitted to M = 1,000 draws of its own, each
word a fresh real one with probability r; 2,048 seeds, 40 generations. Then in text: the tiny OPT continues 192 prompts
by blocks of 64 tokens under a green list (a quarter green, 4 nats, the last token colours the next); a chain is
fine-tuned on these blocks and then on its own, and `opt.detect_watermark` looks at what each generation writes: whole
k-grams once each, under the right secret and under 200 others.
"""

import time
from pathlib import Path

import jax

jax.config.update("jax_num_cpu_devices", 2)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from scipy import stats  # noqa: E402

import collapse_jax as lab  # noqa: E402
from collapse_jax import opt, plots  # noqa: E402
from collapse_jax.models.categorical import CategoricalTruth, categorical_points  # noqa: E402
from collapse_jax.studies.texts import BLOCK, load_model, load_texts  # noqa: E402
from collapse_jax.theory.watermarks import green_mass, radioactivity  # noqa: E402

WORDS, POINTS, SEEDS, LAST, FRACTIONS, BOOST = 64, 1000, 2048, 40, [0.0, 0.02, 0.1, 0.3], 1.0
GREEN = np.arange(WORDS) % 4 == 1
PROBABILITIES = 1 / (np.arange(WORDS) + 10.0)
PROBABILITIES /= PROBABILITIES.sum()
SHARE = float(PROBABILITIES[GREEN].sum())
TRUTH = CategoricalTruth(PROBABILITIES)
TILTED = PROBABILITIES * np.exp(BOOST * GREEN)
MARKED = CategoricalTruth(TILTED / TILTED.sum())

BLOCKS, ROUNDS, SECRET, NULLS = 192, 5, 7, range(1000, 1200)
SCHEME = lambda secret: opt.green_list(secret, green_share=0.25, boost=4.0, window=1)  # noqa: E731
RULES = opt.Rules(BLOCK, ends=False)


def counted():
    """Return the green excess, dims (real_fraction, seed, generation)."""
    excess = lab.Metric("excess", (), "1", lambda key, snapshot: jnp.sum(snapshot.params[GREEN]) - SHARE)

    def build(real_fraction):
        regime = lab.replace_with_real(lab.fresh(TRUTH.sample), fraction=real_fraction)
        return lab.build_chain(categorical_points(WORDS), regime, MARKED.sampler(POINTS), POINTS, [excess])

    found = lab.sweep(build, {"real_fraction": FRACTIONS}, jax.random.key(0), SEEDS, LAST, lanes=64)
    return found["excess"].transpose("real_fraction", "seed", "generation").values


def law_of(real_fraction):
    """Return mean and standard deviation of the excess, generations 0 ... LAST.

    Generation 0 sees marked text alone: its noise is that of one more fit, and shrinks as the excess does.
    """
    mass = float(green_mass(SHARE, BOOST))
    mean, spread = radioactivity(LAST, POINTS, mass, SHARE, real_fraction)
    kept = ((1 - 1 / POINTS) * (1 - real_fraction) ** 2) ** np.arange(LAST + 1)
    return np.asarray(mean), np.sqrt(np.asarray(spread) ** 2 + kept * mass * (1 - mass) / POINTS)


def wrote():
    """Yield the name of a chain and what each of its generations writes, the marked text first."""
    config, pretrained, _ = load_model(None)
    texts = load_texts(BLOCKS, 64)
    pool, prompts = jnp.asarray(texts.pool), jnp.asarray(texts.training)
    mark = jax.jit(
        lambda key: lab.sampled_decoding(RULES, watermark=SCHEME(SECRET))(key, config, pretrained, prompts)
    )
    marked = mark(jax.random.key(1))

    def blocks(key, num):
        rows = jax.random.choice(key, len(pool), (num,), replace=False)
        return lab.Samples(pool[rows], jnp.ones(num))

    half = lab.replace_with_real(lab.fresh(blocks), fraction=0.5)
    for name, regime, start in (
        ("replace", lab.replace(), "previous"),
        ("half fresh text", half, "previous"),
        ("replace, from the pretrained net", lab.replace(), "pretrained"),
    ):
        tuning = lab.FineTuning(num_epochs=5, batch_size=16, learning_rate=1e-3, start=start)
        model = lab.language(
            config, pretrained, prompts, texts.validation, lab.sampled_decoding(RULES), tuning
        )
        chain = lab.build_chain(model, regime, lab.as_samples(marked), BLOCKS)
        segments = lab.run_host(chain, jax.random.key(0), 1, range(1, ROUNDS + 1))
        yield name, [marked, *(segment.state().synthetic.x[0] for segment in segments)]


def main(out: Path) -> None:
    figure, axes = plots.new_figure(1, 3, width=12.0, height=3.8)
    generations, begun = np.arange(LAST + 1), time.perf_counter()
    for found, real_fraction, colour in zip(counted(), FRACTIONS, plots.COLOURS):
        law, spread = law_of(real_fraction)
        mean, error = found.mean(axis=0), spread / SEEDS**0.5
        axes[0, 0].plot(mean, color=colour, label=f"r = {real_fraction:g}")
        axes[0, 0].fill_between(
            generations, mean - 2 * error, mean + 2 * error, color=colour, alpha=0.2, linewidth=0
        )
        axes[0, 1].plot(found.std(axis=0, ddof=1), color=colour, label=f"r = {real_fraction:g}")
        for panel, told in zip(axes[0], (law, spread)):
            panel.plot(told, ":", color="black", linewidth=1.2, zorder=5)
        z = (mean - law) / error
        z_spread = np.log(found.std(axis=0, ddof=1) / spread) * (2 * (SEEDS - 1)) ** 0.5
        at = [0, 10, LAST]
        print(f"r = {real_fraction:g}, generations {at}: excess {mean[at].round(4)}, law {law[at].round(4)}; sd "
              f"{found.std(axis=0, ddof=1)[at].round(4)}, law {spread[at].round(4)}; largest |z| of the mean "
              f"{np.abs(z).max():.1f}, of log sd {np.abs(z_spread).max():.1f}")  # fmt: skip
    print(f"{time.perf_counter() - begun:.0f} s", flush=True)
    for panel in axes[0, :2]:
        panel.plot([], [], ":", color="black", linewidth=1.2, label="law")
    axes[0, 0].set(title=f"counts: mean green excess, {SEEDS:,} seeds", xlabel="generation", ylim=(-0.01, 0.3))
    axes[0, 1].set(title="counts: its standard deviation", xlabel="generation")
    plots.legend(axes[0, 0], ncols=3)
    panel, places = axes[0, 2], np.arange(ROUNDS + 2) - 1
    for (name, texts), colour in zip(wrote(), plots.COLOURS):
        found = [opt.detect_watermark(SCHEME(SECRET), text) for text in texts]
        others = [
            [opt.detect_watermark(SCHEME(secret), text).p_value for secret in NULLS] for text in texts[1:]
        ]
        panel.plot(places, [one.z for one in found], "o-", color=colour, label=name, markersize=4)
        ks = [stats.kstest(one, "uniform").pvalue for one in others]
        print(f"{name}: z {[round(one.z, 1) for one in found]}, p {[f'{one.p_value:.1g}' for one in found]}, green "
              f"{[round(one.score, 4) for one in found]}, k-grams {[one.num_scored for one in found]}; KS over "
              f"{len(NULLS)} other secrets p {[round(float(one), 2) for one in ks]} "
              f"({time.perf_counter() - begun:.0f} s)", flush=True)  # fmt: skip
    panel.axhspan(-2, 2, color="black", alpha=0.1, linewidth=0, label="95 % of other secrets")
    panel.set_yscale("symlog", linthresh=4)
    panel.set(
        title="tiny OPT: z of the watermark",
        xlabel="generation",
        xticks=places,
        yticks=[-2, 0, 2, 4, 10, 100],
    )
    panel.set_xticklabels(["marked", *map(str, places[1:])])
    panel.set_yticklabels(["-2", "0", "2", "4", "10", "100"])
    plots.legend(panel)
    print(plots.save_figure(figure, out, "radioactivity"))


if __name__ == "__main__":
    main(Path(__file__).parent / "figures")
