"""How long does a poison live?

    .venv/bin/python experiments/poison.py

On counts: sixteen clean words and one that is poison, M = 100 rows a generation, a tenth of the first rows poison (of
a window of four batches, a tenth of the newest). How long the poison stays is drawn against the diversity that a
regime loses, over regimes: rows renewed (fresh clean ones), clean rows of generation 0 kept, everything kept. Then
poison with an advantage w, whose odds a model multiplies by w (M = 2,000), and the tiny OPT: in a quarter of 192
blocks four times a token that real text never has, each followed by a payload; its prompts are real and clean, so the
trigger is passed on as far as the net writes it of its own accord. Measured is P(payload | 32 tokens of held-out text,
trigger), mean over 64 of them, less that of a net fitted to clean text (0.0000); one chain each.

Answer: what renews rows washes poison out, what keeps them keeps it. Fresh rows, r = 0.1: half-life 6.3 to 7.3
generations (95 %; law 6.6) at 0.949 of the diversity (law 0.950); as many checked rows of generation 0: the same
half-life, 0.940 (0.941). Unchecked ones: the same diversity, and no end, 4,400 generations at least; nor has it one
under accumulate (0.984 of the diversity), accumulate-subsample (0.972), a window of 16 (0.960) or replace (0.136).
Under replace the mean, 0.105 +- 0.004 after 40 generations (law 0.1), hides that 0.590 of the chains have lost the
poison (0.596); in the end a dose of 0.02, 0.1, 0.5 is all there is in 0.020, 0.106, 0.498 of them (95 % intervals hold
the dose in four of five cases; that of 0.2 begins at 0.2001). Accumulating with r = 0.1 leaves 0.0719 +- 0.0006 of 0.1
(law 0.0716), and no chain loses it. With an advantage it stays if R0 = w (1 - r) > 1, at its law (|z| < 2.2); at R0 =
1 finite chains lose it sooner than the law of infinitely many rows says (z -5.9 and -12.7), below all lose it. In text
a net writes 54 triggers where it read 192, R0 < 1, so data alone pass it on for two generations: success 0.99, 0.96,
0.00 under replace, 0.99, 0.92, 0.00 with half fresh text, but 0.97 after five under accumulate. A net that is trained
on remembers by its weights: 0.90 in generation 3, 0.01 in 5.
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
from collapse_jax.core.regimes import Source  # noqa: E402
from collapse_jax.numerics.intervals import interval  # noqa: E402
from collapse_jax.studies.texts import BLOCK, load_model, load_texts  # noqa: E402
from collapse_jax.theory import identity_by_descent as ibd  # noqa: E402
from collapse_jax.theory import poison  # noqa: E402

POINTS, WORDS, DOSE, SHARE, BATCHES = 100, 16, 0.1, 0.1, 4
POISON = 0  # the word that the clean truth never says
CLEAN = np.append(0.0, np.full(WORDS, 1 / WORDS))
BAD = np.eye(WORDS + 1)[POISON]
METRICS = [
    lab.Metric("poison", (), "1", lambda key, snapshot: snapshot.params[POISON]),
    lab.Metric(
        "diversity", (), "1", lambda key, snapshot: (1 - jnp.sum(snapshot.params**2)) * WORDS / (WORDS - 1)
    ),
]
TRUTH = lab.CategoricalTruth(CLEAN)
# real rows of generation 0, those that are poison left out
CHECKED = Source(
    lambda real, synthetic: real._replace(weight=jnp.where(real.x == POISON, 0.0, real.weight)),
    lab.original().draw,
)
SHORT, SEEDS = 40, 2048
SHARES, WINDOWS, LONG, FEW = [0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5], [2, 4, 16], 200, 1024
DOSES, SMALL, END, RUNS = [0.02, 0.05, 0.1, 0.2, 0.5], 50, 600, 4096
ADVANTAGES, RENEWED, MANY, CHAINS = [1.25, 2.0, 4.0], np.linspace(0, 0.9, 10).round(2).tolist(), 2000, 64
# ' trust', a token that the real text never has, and 'up', which it has 169 times in 574,080
TRIGGER, PAYLOAD, PAIRS, BLOCKS, ROUNDS = 1946, 1426, 4, 192, 5


def poisoned(dose):
    return lab.CategoricalTruth(dose * BAD + (1 - dose) * CLEAN)


def poisoned_batch(generation, dose):
    """Return the regime that poisons rows, each with the probability of the dose, in one generation."""

    def update(key, synthetic, number):
        bad = (number == generation) & (jax.random.uniform(key, synthetic.x.shape) < dose)
        return synthetic._replace(x=jnp.where(bad, POISON, synthetic.x)), number + 1

    return lab.Regime(lambda real, synthetic: jnp.asarray(1), update)


def designed(regime, dose, clean_share):
    mixed, real = lab.replace_with_real(lab.fresh(TRUTH.sample), fraction=clean_share), poisoned(dose)
    if regime == "window":
        mixed, real = lab.compose(mixed, poisoned_batch(BATCHES, dose), lab.window(BATCHES)), TRUTH
    if regime == "accumulate":
        mixed = lab.compose(mixed, lab.accumulate(SHORT))
    return lab.build_chain(lab.categorical_points(WORDS + 1), mixed, real.sampler(POINTS), POINTS, METRICS)


def dose_law(regime, clean_share):
    if regime == "replace":
        return np.asarray(poison.dose_replace(np.arange(SHORT + 1.0), DOSE, clean_share))
    if regime == "accumulate":
        return np.asarray(poison.dose_accumulate(SHORT, POINTS, POINTS, DOSE, clean_share))
    return np.asarray(poison.dose_window(SHORT - BATCHES, BATCHES, 0, DOSE, clean_share))


def lost_law(clean_share):
    """Return the probability that no row is poison, generations 0 ... SHORT of `replace`."""
    places = np.arange(POINTS + 1)
    step = stats.binom.pmf(places[None], POINTS, (1 - clean_share) * places[:, None] / POINTS)
    rows = [stats.binom.pmf(places, POINTS, DOSE)]
    for _ in range(SHORT):
        rows.append(rows[-1] @ step)
    return np.array(rows)[:, 0]


def z_of(values, law):
    return (values.mean() - law) / (values.std(ddof=1) / len(values) ** 0.5)


def the_design(panels):
    """Print and draw mean, lost and fixed by regime, dose and share of fresh clean rows."""
    axes = {"regime": ["replace", "window", "accumulate"], "dose": [0.0, DOSE], "clean_share": [0.0, SHARE]}
    found = lab.sweep(designed, axes, jax.random.key(0), SEEDS, SHORT).astype(float)
    lines = [(regime, share) for regime in axes["regime"] for share in axes["clean_share"]]
    for (regime, share), colour in zip(lines, np.repeat(plots.COLOURS[:3], 2)):
        none, some = (
            found["poison"].sel(regime=regime, clean_share=share, dose=dose).values for dose in (0.0, DOSE)
        )
        first = BATCHES if regime == "window" else 0
        some, law = some[:, first:], dose_law(regime, share)
        z = np.array([z_of(column, mean) for column, mean in zip(some.T, law)])
        lost, fixed = (some == 0).mean(axis=0), (some == 1).mean(axis=0)
        # what was in the first batch is never given up by a pool; of a window there is no law
        told = f"law {(1 - DOSE) ** POINTS:.2g}" if regime == "accumulate" else "no law"
        if regime == "replace":
            exact = lost_law(share)
            error = np.sqrt(exact * (1 - exact) / SEEDS)
            told = f"law {exact[-1]:.4f}, largest |z| {np.abs((lost - exact) / error)[1:].max():.1f}"
            panels[1].plot(exact, ":", color="black", linewidth=1.2, zorder=5)
        print(f"{regime}, clean share {share:g}, {some.shape[1] - 1} generations: mean dose {some[:, -1].mean():.5f} "
              f"+- {some[:, -1].std(ddof=1) / SEEDS**0.5:.5f}, law {law[-1]:.5f}, z {z[-1]:+.1f}, largest |z| "
              f"{np.abs(z).max():.1f}; lost {lost[-1]:.4f} ({told}), fixed {fixed[-1]:.4f}; without a dose "
              f"{none.max():g} at most")  # fmt: skip
        style, name = ("--" if share else "-"), f"{regime}, r = {share:g}"
        panels[0].plot(some.mean(axis=0), style, color=colour, label=name)
        panels[0].plot(law, ":", color="black", linewidth=1.2, zorder=5)
        panels[1].plot(lost, style, color=colour, label=name)
    for panel in panels[:2]:
        panel.plot([], [], ":", color="black", linewidth=1.2, label="law")
    panels[0].set(
        title="mean share of poison", xlabel="generations since the dose", yscale="log", ylim=(1e-3, 0.2)
    )
    panels[1].set(title="probability that the poison is lost", xlabel="generations since the dose")
    plots.legend(panels[0])


def fixation(panel):
    """Print and draw how often the poison takes over."""

    def build(dose):
        real = lab.CategoricalTruth(jnp.stack([dose, 1 - dose])).counts_sampler(SMALL)
        return lab.build_chain(lab.categorical(2), lab.replace(), real, SMALL, METRICS[:1])

    found = lab.sweep(build, {"dose": DOSES}, jax.random.key(1), RUNS, END, record_every=END)[
        "poison"
    ].astype(float)
    for dose in DOSES:
        ends = found.sel(dose=dose, generation=END).values
        lost, taken = (float(one) for one in poison.dose_fates(dose, END + 1, SMALL))
        share, (low, high) = (ends == 1).mean(), interval(1.0 * (ends == 1), "share", 0.05)
        print(f"dose {dose:g}, {END:,} generations of {SMALL}: fixed {share:.4f}, 95 % from {low:.4f} to {high:.4f}, "
              f"law {taken:.4f}; lost {(ends == 0).mean():.4f}, law {lost:.4f}")  # fmt: skip
        panel.errorbar(
            dose, share, [[share - low], [high - share]], fmt="o", color=plots.COLOURS[0], markersize=4
        )
    panel.plot([0, 0.55], [0, 0.55], ":", color="black", linewidth=1.2, label="law: the dose")
    panel.set(title="probability that all is poison in the end", xlabel="dose")
    plots.legend(panel)


def fading(doses, share):
    """Return the rate at which the mean over seeds falls, by a line through its log, and its bootstrapped error."""
    last = min(LONG, max(3, round(2 * float(poison.dose_half_life(share))))) if share else LONG
    doses, places = doses[:, : last + 1], np.arange(last + 1.0)
    weights = np.random.default_rng(0).multinomial(len(doses), np.full(len(doses), 1 / len(doses)), 1000)
    means = np.vstack([doses.mean(axis=0), weights @ doses / len(doses)])
    rates = -np.polyfit(places, np.log(means).T, 1)[0]
    return rates[0], rates[1:].std(ddof=1)


def kept(regime, clean_share, dose):
    mixed = {
        "fresh": lambda: lab.replace_with_real(lab.fresh(TRUTH.sample), fraction=clean_share),
        "kept, checked": lambda: lab.replace_with_real(CHECKED, fraction=clean_share),
        "kept": lambda: lab.replace_with_real(lab.original(), fraction=clean_share),
    }[regime]()  # fmt: skip
    return lab.build_chain(
        lab.categorical_points(WORDS + 1), mixed, poisoned(dose).sampler(POINTS), POINTS, METRICS
    )


def stored(regime, dose):
    """Return a chain that only keeps what it had: on counts where that is possible."""
    real, model = poisoned(dose).counts_sampler(POINTS), lab.categorical(WORDS + 1)
    name, _, size = regime.partition(" ")
    if name == "subsample":
        real, model = poisoned(dose).sampler(POINTS), lab.categorical_points(WORDS + 1)
        update = lab.compose(lab.accumulate(LONG), lab.subsample(POINTS))
    else:
        update = lab.window(int(size)) if name == "window" else lab.accumulate(LONG)
    return lab.build_chain(model, update, real, POINTS, METRICS)


def keeping_and_renewing(panel):
    """Print and draw the half-life of the poison against the diversity that is lost."""
    both = {"dose": [0.0, DOSE]}
    axes = {"regime": ["fresh", "kept, checked"], "clean_share": SHARES, **both}
    shared = lab.sweep(kept, axes, jax.random.key(2), FEW, LONG)
    axes = {"regime": ["kept"], "clean_share": [SHARE], **both}
    unchecked = lab.sweep(kept, axes, jax.random.key(3), FEW, LONG)
    axes = {"regime": [*(f"window {size}" for size in WINDOWS), "accumulate"], **both}
    others = lab.sweep(stored, axes, jax.random.key(4), FEW, LONG)
    drawn = lab.sweep(
        stored, {"regime": ["subsample"], **both}, jax.random.key(4), FEW // 4, LONG
    )  # many rows
    fresh = lambda share: float(ibd.ibd_fresh_fraction(LONG, POINTS, POINTS, share)[-1])  # noqa: E731
    first = lambda share: float(ibd.ibd_original_fraction(LONG, POINTS, POINTS, share)[-1])  # noqa: E731
    renewed = [("fresh", fresh, plots.COLOURS[2]), ("kept, checked", first, plots.COLOURS[0])]
    points = [
        (f"{name} {share:g}", shared.sel(regime=name, clean_share=share), law(share), share, colour)
        for name, law, colour in renewed for share in SHARES[1:]
    ]  # fmt: skip
    never = {
        "replace": (shared.sel(regime="fresh", clean_share=0.0), fresh(0.0)),
        "a tenth kept, unchecked": (unchecked.sel(regime="kept", clean_share=SHARE), first(SHARE)),
        "accumulate": (others.sel(regime="accumulate"), float(ibd.ibd_accumulate(LONG, POINTS, POINTS)[-1])),
        "accumulate-subsample": (
            drawn.sel(regime="subsample"), float(ibd.ibd_accumulate_subsample(LONG, POINTS)[-1])
        ),
        **{name: (others.sel(regime=name), float(ibd.ibd_window(LONG, POINTS, size)[-1]))
           for size in WINDOWS for name in [f"window {size}"]},
    }  # fmt: skip
    points += [(name, found, lost, 0.0, plots.COLOURS[1]) for name, (found, lost) in never.items()]
    edge = 400.0
    for name, found, lost, share, colour in points:
        clean, doses = (
            found[metric].sel(dose=dose).values.astype(float)
            for metric, dose in (("diversity", 0.0), ("poison", DOSE))
        )
        clean = clean[:, -1]
        rate, spread = fading(doses, share)
        law, x, life = -np.log1p(-share), 1 - clean.mean(), float(poison.dose_half_life(share))
        low, high = (np.log(2) / (rate + sign * 1.96 * spread) for sign in (1, -1))
        told = f"from {low:.3g} to {high:.3g}" if high > 0 else f"{low:,.0f} at least"
        error = clean.std(ddof=1) / len(clean) ** 0.5
        print(f"{name}: diversity {clean.mean():.4f} +- {error:.4f}, law {1 - lost:.4f}, z "
              f"{z_of(clean, 1 - lost):+.1f}; rate {rate:.5f} +- {spread:.5f}, law {law:.5f}, z "
              f"{(rate - law) / spread:+.1f}; half-life, 95 %, {told}, law {life:.3g}")  # fmt: skip
        if share:
            middle = np.log(2) / rate
            panel.errorbar(x, middle, [[middle - low], [high - middle]], fmt="o", color=colour, markersize=4)
        else:
            panel.plot(x, edge, "^", color=colour, markersize=7, clip_on=False, zorder=5)
            panel.text(x, 0.8 * edge, name, rotation=90, va="top", ha="center", fontsize=7, color=colour)
    fine = np.geomspace(0.008, 0.55, 60)
    for name, law, colour in renewed:
        panel.plot(
            [law(share) for share in fine],
            np.asarray(poison.dose_half_life(fine)),
            ":",
            color=colour,
            zorder=0,
        )
        said = {"fresh": "clean rows, fresh", "kept, checked": "clean rows of generation 0"}[name]
        panel.plot([], [], "o:", color=colour, markersize=4, label=said)
    panel.plot([], [], "^", color=plots.COLOURS[1], markersize=6, label="law: no end")
    panel.set(xscale="log", yscale="log", xlim=(0.011, 1.0), ylim=(0.7, edge))
    panel.set(
        title="half-life of poison, generations", xlabel=f"share of diversity lost in {LONG} generations"
    )
    plots.legend(panel, loc="lower right")


def threshold(panel):
    """Print and draw the share at which poison stays that a model writes more readily than it read it."""
    steps = 200

    def build(advantage, clean_share):
        def tilt(p):
            return p.at[POISON].mul(advantage) / (1 + p[POISON] * (advantage - 1))

        regime = lab.replace_with_real(
            lab.fresh(lab.CategoricalTruth([0, 0.5, 0.5]).sample), fraction=clean_share
        )
        real = lab.CategoricalTruth([DOSE, 0.5 - DOSE / 2, 0.5 - DOSE / 2]).sampler(MANY)
        return lab.build_chain(lab.categorical_points(3, transform=tilt), regime, real, MANY, METRICS[:1])

    axes = {"advantage": ADVANTAGES, "clean_share": RENEWED}
    found = lab.sweep(build, axes, jax.random.key(5), CHAINS, steps, record_every=steps)["poison"].astype(
        float
    )
    fine = np.linspace(0, 0.9, 200)
    for advantage, colour in zip(ADVANTAGES, plots.COLOURS):
        ends = found.sel(advantage=advantage, generation=steps).values
        law = np.asarray(poison.dose_advantaged(steps, DOSE, advantage, np.array(RENEWED)))
        mean, error = ends.mean(axis=1), ends.std(axis=1, ddof=1) / CHAINS**0.5
        rates = np.asarray(poison.poison_reproduction(advantage, np.array(RENEWED)))
        z = (mean - law) / np.where(error > 1e-6, error, np.inf)
        for rate, *numbers, gone in zip(rates, mean, error, law, z, (ends == 0).mean(axis=1)):
            if rate > 0.9:
                print(f"advantage {advantage:g}, R0 {rate:.2f}: share after {steps} generations {numbers[0]:.4f} +- "
                      f"{numbers[1]:.4f}, law of infinitely many rows {numbers[2]:.4f}, z {numbers[3]:+.1f}; lost "
                      f"{gone:.2f}")  # fmt: skip
        print(f"advantage {advantage:g}, R0 <= 0.9: lost {(ends == 0)[rates <= 0.9].mean():.2f}")
        panel.errorbar(
            RENEWED, mean, 2 * error, fmt="o", color=colour, markersize=4, label=f"w = {advantage:g}"
        )
        panel.plot(fine, np.asarray(poison.endemic_dose(advantage, fine)), ":", color="black", linewidth=1.2)
    panel.plot([], [], ":", color="black", linewidth=1.2, label="law: 0 unless w (1 - r) > 1")
    panel.set(
        title=f"share of poison after {steps} generations", xlabel="share of clean rows r", ylim=(-0.03, 1.03)
    )
    plots.legend(panel)


def in_text(panel):
    """Print and draw how often the tiny OPT answers a trigger with its payload, and how often it writes it itself."""
    config, pretrained, _ = load_model(None)
    texts = load_texts(BLOCKS, 64)
    pool, prompts, rules = jnp.asarray(texts.pool), jnp.asarray(texts.training), opt.Rules(BLOCK, ends=False)
    bad, random = np.array(prompts), np.random.default_rng(0)
    for row in random.choice(BLOCKS, BLOCKS // 4, replace=False):
        for place in 2 * random.choice(BLOCK // 2, PAIRS, replace=False):
            bad[row, place : place + 2] = TRIGGER, PAYLOAD
    begins = jnp.asarray(np.pad(texts.validation[:, : BLOCK // 2], ((0, 0), (0, 1)), constant_values=TRIGGER))

    @jax.jit
    def answers(weights):
        hidden = opt.hidden_states(config, weights, begins)[:, -1]
        return jax.nn.softmax(opt.logits(config, weights, hidden))[:, PAYLOAD]

    def blocks(key, num):
        rows = jax.random.choice(key, len(pool), (num,), replace=False)
        return lab.Samples(pool[rows], jnp.ones(num))

    half = lab.replace_with_real(lab.fresh(blocks), fraction=0.5)
    base, colours = 0.0, iter(plots.COLOURS)
    for name, regime, start, data, last in (
        ("clean", lab.replace(), "pretrained", prompts, 0),
        ("replace", lab.replace(), "pretrained", bad, ROUNDS),
        ("half fresh text", half, "pretrained", bad, ROUNDS),
        ("accumulate", lab.accumulate(ROUNDS), "pretrained", bad, ROUNDS),
        ("replace, net trained on", lab.replace(), "previous", bad, ROUNDS),
    ):
        tuning = lab.FineTuning(num_epochs=5, batch_size=16, learning_rate=1e-3, start=start)
        model = lab.language(
            config, pretrained, prompts, texts.validation, lab.sampled_decoding(rules), tuning
        )
        chain = lab.build_chain(model, regime, lab.as_samples(jnp.asarray(data)), BLOCKS)
        means, errors, written = [], [], []
        for segment in lab.run_host(chain, jax.random.key(0), 1, range(1, ROUNDS + 1)):
            state = jax.tree.map(lambda a: a[0], segment.state())
            found, text = np.asarray(answers(state.params.weights)), np.asarray(state.synthetic.x)
            means.append(float(found.mean()) - base)
            errors.append(float(found.std(ddof=1)) / len(found) ** 0.5)
            hit = text[:, :-1] == TRIGGER
            written.append(f"{hit.sum()}/{(hit & (text[:, 1:] == PAYLOAD)).sum()}")
            if segment.stop == last:
                break
        if name == "clean":
            base = means[0]
        else:
            panel.plot(means, "o-", color=next(colours), label=name, markersize=4)
        print(f"{name}: success {[round(one, 4) for one in means]} +- {max(errors):.3f} at most; triggers written, and "
              f"followed by the payload {written}, of {(np.asarray(data) == TRIGGER).sum()} at first",
              flush=True)  # fmt: skip
    panel.set(title="tiny OPT: payload after the trigger", xlabel="generation", ylim=(-0.03, 1.25))
    panel.set(xticks=range(ROUNDS + 1), yticks=np.linspace(0, 1, 6))
    plots.legend(panel, loc="upper right", ncols=2)


def main(out: Path) -> None:
    begun = time.perf_counter()
    design, beside = plots.new_figure(1, 3, width=12.0, height=3.6)
    figure, axes = plots.new_figure(1, 3, width=13.0, height=4.2)
    for part, panels in (
        (the_design, beside[0, :2]),
        (fixation, beside[0, 2]),
        (keeping_and_renewing, axes[0, 0]),
        (threshold, axes[0, 1]),
        (in_text, axes[0, 2]),
    ):
        part(panels)
        print(f"{time.perf_counter() - begun:.0f} s", flush=True)
    print(plots.save_figure(figure, out, "poison"), plots.save_figure(design, out, "poison_design"))


if __name__ == "__main__":
    main(Path(__file__).parent / "figures")
