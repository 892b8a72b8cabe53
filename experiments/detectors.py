"""Which detector keeps a chain alive, and how do detectors age?

    .venv/bin/python experiments/detectors.py

A positive is a row taken for generated; t and f are the shares of generated and of human rows that are taken out.

1. 41 x 41 detectors that see labels through noise. A lab with lam = 0.8 fits 1,000 rows of a web that is three quarters
   its own: the share T of the variance that it keeps, steps 15 to 60, against (1-f)(1-c)(1-T) = (1-t) c T (1-lam), a
   straight line through (1, 1). Unbiased generators, M = 100: by what a detector divides G = E mean^2, of a crawl of
   100 rows, and of 100 rows after the detector.
2. Detectors that look at the rows, on that web: |x| < 1, and logistic regression on x and x^2, frozen or not.
3. Ageing. A Gaussian that shrinks (lam = 0.9), and one that comes back from a tenth of the variance by a tenth of fresh
   rows: area under the ROC curve of |x|, which is the likelihood ratio's whatever the generation, and the rates of
   |x| < 1. Texts of 32 words by tables of 16 x 16: logistic regression on bigram counts, frozen or trained anew, and
   the best there is, while a chain refits itself to 60 texts, and while tables are fitted to more and more human
   texts. The tiny OPT refitted to 128 blocks of its own: log-loss under the pretrained net, and logistic regression on
   bigrams in 256 hashed cells.

Answer: one that is trained anew and gives weights. 1. T lies within 0.02 of the law in 99.5 % of the 1,484 cells that
leave 200 rows (largest gap 0.028; one standard error 0.011): 0.625 +- 0.006 (law 0.625) without a detector, 0.902 to
0.907 on the line of 0.9. Unbiased, no detector helps a crawl: a perfect one raises G from 0.0225 +- 0.0015 (0.0225) to
0.0414 +- 0.0022 (0.0400); of as many rows after the detector it falls to 0.0107 +- 0.0006 (0.0100), and every t > f
helps. 2. Weights 1 - q of a renewed regression keep 0.997 +- 0.002 of the variance (calibrated: 1) at an AUC of 0.55,
its verdicts 0.763 +- 0.008; frozen ones overshoot, |x| < 1 to 2.25 +- 0.06 and the regression to 2.1 +- 0.2, as they go
on removing the centre. 3. |x| ranks best for ever, what ages is its threshold: as a Gaussian shrinks AUC goes from
0.516 to 0.876 and t from 0.71 to 1, as it comes back from 0.805 to 0.506 and from 1 to f (laws: largest z 2.1). Tables
refitted to their own texts: renewed AUC 0.84 to 1.00, frozen 0.84 to 0.78 +- 0.03; fitted to more human text: renewed
0.94 to 0.54, frozen 0.94 to 0.51, the best 0.99 to 0.65. OPT, one chain: log-loss starts at 0.62 +- 0.04, is past
chance at generation 1, 0.42, and at 0.10 +- 0.02 at generation 4, as a net that collapses writes what the pretrained
one finds unlikely; bigrams renewed 0.58 to 0.97, 0.68 with half fresh text (64 texts of each kind: +- 0.05 at most).
"""

import time
from pathlib import Path

import jax

jax.config.update("jax_num_cpu_devices", 2)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from scipy import stats  # noqa: E402

import collapse_jax as lab  # noqa: E402
from collapse_jax import opt, plots, web  # noqa: E402
from collapse_jax.studies.texts import BLOCK, load_model, load_texts  # noqa: E402
from collapse_jax.theory.filtering import (  # noqa: E402
    filtered_share,
    keep_alive_rate,
    likelihood_ratio_auc,
    threshold_rates,
)
from collapse_jax.theory.pool import pool_variance_limit  # noqa: E402

TRUTH, LEVELS, BIAS, REAL = lab.gaussian_truth(1), np.linspace(0, 1, 41), 0.8, 0.25
WEB, SEEDS, LAST, LINES = 1000, 4, 60, (0.7, 0.8, 0.9, 0.95)
ROWS, HUMAN, MANY, EVERY = 100, 25, 64, 3
VOCABULARY, LENGTH, TEXTS, TESTED, TABLES, GENERATIONS = 16, 32, 60, 300, 16, [0, 2, 4, 6, 10, 15, 20, 30]
BLOCKS, ROUNDS, CELLS = 128, 4, 256
SQUARE = lambda x: jnp.hstack([x, x**2])  # noqa: E731


def mean_and_error(values, axis=0):
    return values.mean(axis=axis), values.std(axis=axis, ddof=1) / values.shape[axis] ** 0.5


# 1. the ROC plane


def polluted(detector, released=3 * WEB // 4):
    """Return the chain of a lab with biased generators, on a web that is three quarters its own."""
    model = lab.labs(lab.gaussian(1, estimator="mle", bias=BIAS), 1, draws=WEB)
    regime = lab.pool(
        lab.fresh(TRUTH.sample), inflow=WEB - released, deletion=1.0, capacity=WEB + 1, filter=detector
    )
    metrics = [*lab.per_lab(lab.gaussian_metrics()[2:]), web.detector_auc()]
    return lab.build_chain(model, regime, TRUTH.sampler(WEB), released, metrics)


def crawled(t, f):
    """Return the chain of 75 rows of its own and 25 human ones, less what a detector takes out."""
    inner = lab.add_real(lab.fresh(TRUTH.sample), count=HUMAN)

    def update(key, synthetic, state):
        key_rows, key_verdict = jax.random.split(key)
        rows, state = inner.update(key_rows, synthetic, state)
        passes = 1 - jnp.where(jnp.arange(ROWS) < ROWS - HUMAN, t, f)  # its own come first
        return rows._replace(weight=rows.weight * (jax.random.uniform(key_verdict, (ROWS,)) < passes)), state

    model, regime = lab.gaussian(1, estimator="mle"), lab.Regime(inner.init, update)
    return lab.build_chain(model, regime, TRUTH.sampler(ROWS), ROWS - HUMAN, lab.gaussian_metrics()[:1])


def budgeted(t, f):
    """Return the chain that fits 100 rows, of those that a detector has left."""
    real, drawn = REAL * (1 - f), (1 - REAL) * (1 - t)
    regime = lab.replace_with_real(lab.fresh(TRUTH.sample), fraction=real / jnp.maximum(real + drawn, 1e-9))
    return lab.build_chain(
        lab.gaussian(1, estimator="mle"), regime, TRUTH.sampler(ROWS), ROWS, lab.gaussian_metrics()[:1]
    )


def crawl_law(t, f):
    """Return G of steps 30 to 60: G' = E[1/K] + E[D (D - 1)/K^2] G, of K = D + H rows left, D of them generated."""
    drawn, human = np.arange(ROWS - HUMAN + 1)[:, None], np.arange(HUMAN + 1)[None, :]
    chance = stats.binom.pmf(drawn, ROWS - HUMAN, 1 - t) * stats.binom.pmf(human, HUMAN, 1 - f)
    left = np.maximum(drawn + human, 1)
    return settling((chance / left).sum(), (chance * drawn * (drawn - 1) / left**2).sum())


def budget_law(t, f):
    """Return the same of M rows left, each human with probability r': G' = 1/M + (1 - 1/M)(1 - r')^2 G."""
    human = float(filtered_share(REAL, t, f))
    return settling(1 / ROWS, (1 - 1 / ROWS) * (1 - human) ** 2)


def settling(gained, kept):
    """Return the mean of G over the recorded steps, from 1/M at step 0."""
    rest = gained / (1 - kept)
    return np.mean(rest + (1 / ROWS - rest) * kept ** np.arange(30, LAST + 1, EVERY))


def plane(build, name, seeds, first):
    """Return a record from step `first` to 60, dims (t, f, seed, generation)."""
    axes = {"t": LEVELS.tolist(), "f": LEVELS.tolist()}
    found = lab.sweep(build, axes, jax.random.key(0), seeds, LAST, record_every=EVERY, lanes=64)[name]
    return found.squeeze(drop=True).sel(generation=slice(first, None)).transpose("t", "f", "seed", "generation").values


def show(figure, panel, values, label, **options):
    mesh = panel.pcolormesh(LEVELS, LEVELS, values, shading="nearest", rasterized=True, **options)
    figure.colorbar(mesh, ax=panel, shrink=0.9, pad=0.02).set_label(label)
    panel.set(xlabel="f, human rows taken out", ylabel="t, generated rows taken out", xlim=(0, 1), ylim=(0, 1))
    panel.grid(visible=False)


def kept_plane(figure, panel) -> None:
    """Draw what a lab with biased generators keeps of the variance."""
    build = lambda t, f: polluted(web.blind(t, f))  # noqa: E731
    kept = np.exp(plane(build, "log_total_variance", SEEDS, 15)).mean(axis=3)
    share, error = mean_and_error(kept, axis=2)
    t, f = np.meshgrid(LEVELS, LEVELS, indexing="ij")
    inside = (t < 1) | (f < 1)
    human = np.ones_like(t)
    human[inside] = np.asarray(filtered_share(REAL, t[inside], f[inside]))
    law = np.asarray(pool_variance_limit(1 - human, BIAS))
    left = WEB * (REAL * (1 - f) + (1 - REAL) * (1 - t))
    share = np.where(inside, share, np.nan)
    show(figure, panel, share, "share of the variance kept", cmap="viridis", vmin=0, vmax=1)
    plain = left >= 200
    off = np.abs(share - law)[plain]
    print(f"kept by lam = {BIAS}: {plain.sum()} of {inside.sum()} cells leave at least 200 rows; there |T - law| is at "
          f"most {off.max():.3f}, within 0.02 {np.mean(off <= 0.02):.1%}, mean {np.mean((share - law)[plain]):+.4f}; "
          f"one standard error {np.median(error[plain]):.4f}; no detector {share[0, 0]:.3f} +- {error[0, 0]:.3f}, law "
          f"{law[0, 0]:.3f}", flush=True)  # fmt: skip
    for level in LINES:
        rate = np.asarray(keep_alive_rate(LEVELS[:-1], 1 - REAL, BIAS, level))
        panel.plot(LEVELS, np.append(rate, 1.0), color="white", linewidth=1.2)
        high = np.interp(0.06, LEVELS[:-1], rate) + 0.01
        panel.text(0.02, high, f"{level:g}", color="white", fontsize=7, va="bottom")
        place = np.array([np.interp(one, LEVELS, share[:, index]) for index, one in enumerate(rate)])
        at = [0, 8, 20, 28]
        near = WEB * (REAL * (1 - LEVELS[at]) + (1 - REAL) * (1 - rate[at]))
        print(f"on the line of T = {level}: f {LEVELS[at]}, t {rate[at].round(3)}, rows left {near.round()}: T "
              f"{place[at].round(3)}")  # fmt: skip
    panel.set(title=f"lam = {BIAS}: T, and lines of equal T")


def gain_planes(figure, panels) -> None:
    """Draw by what a detector divides the error of an unbiased generator."""
    t, f = np.meshgrid(LEVELS, LEVELS, indexing="ij")
    cases = {"unbiased, fixed crawl": crawled, "unbiased, fixed training set": budgeted}
    for panel, (title, build) in zip(panels, cases.items()):
        square = plane(build, "mean", MANY, 30).astype(float) ** 2
        error_mean, error = mean_and_error(square.mean(axis=3), axis=2)
        # of a crawl, where rows are left in all generations
        fine = (ROWS * (REAL * (1 - f) + (1 - REAL) * (1 - t)) >= 10) if build is crawled else (t < 1) | (f < 1)
        law = np.full_like(t, np.nan)
        law[fine] = [(crawl_law if build is crawled else budget_law)(*cell) for cell in zip(t[fine], f[fine])]
        fine &= np.isfinite(error_mean)  # a generation without a row has no mean
        z = ((error_mean - law) / error)[fine]
        gain = np.where(fine, law[0, 0] / error_mean, np.nan)
        show(figure, panel, np.log2(gain), "log2 of the gain", cmap="RdBu", vmin=-1.5, vmax=1.5)
        panel.contour(LEVELS, LEVELS, law[0, 0] / law, levels=[0.999999], colors="black")
        panel.set(title=title)
        better = (law[0, 0] - error_mean) / error
        above = fine & (t > f)
        told = "; ".join(
            f"(t, f) = ({LEVELS[i]:g}, {LEVELS[j]:g}) {error_mean[i, j]:.4f} +- {error[i, j]:.4f}, law {law[i, j]:.4f}"
            for i, j in ((0, 0), (24, 4), (40, 0))
        )
        print(f"{title}: G at {told}; against the law over {fine.sum()} cells mean z {z.mean():+.2f}, largest |z| "
              f"{np.abs(z).max():.1f}; by the law {np.sum((law < law[0, 0] * (1 - 1e-6)) & fine)} cells help, "
              f"{np.sum((law < law[0, 0]) & above)} of the {above.sum()} with t > f; measured better than none by 3.5 "
              f"standard errors: {np.sum(better[fine] > 3.5)}, worse {np.sum(better[fine] < -3.5)}",
              flush=True)  # fmt: skip


# 2. detectors that look


def in_the_loop(panel) -> None:
    """Draw the variance of a lab whose web is filtered by detectors that look at the rows."""
    looks = {
        "none": None,
        "|x| < 1, frozen": web.threshold(lambda x: jnp.abs(x[:, 0]), below=1.0),
        "regression, frozen at step 1": web.trained(SQUARE, ridge=1e-2, frozen_at=1),
        "regression, renewed": web.trained(SQUARE, ridge=1e-2),
        "renewed, verdicts at 1/4": web.trained(SQUARE, ridge=1e-2, below=0.25),
    }
    for (name, detector), colour in zip(looks.items(), plots.COLOURS):
        found = lab.simulate(polluted(detector), jax.random.key(1), 64, 40, lanes=32)
        kept = np.exp(found["log_total_variance"].transpose("seed", "generation", "lab").values[..., 0])
        middle, error = mean_and_error(kept)
        panel.fill_between(range(41), middle - 2 * error, middle + 2 * error, color=colour, alpha=0.25, linewidth=0)
        panel.plot(middle, color=colour, label=name)
        rest, spread = mean_and_error(kept[:, 20:].mean(axis=1))
        area = found["detector_auc"].sel(generation=slice(20, None)).mean("generation").values
        print(f"in the loop, {name}: T {rest:.3f} +- {spread:.3f}, AUC {area.mean():.3f} +- "
              f"{area.std(ddof=1) / 8:.3f}", flush=True)  # fmt: skip
    law = float(pool_variance_limit(1 - REAL, BIAS))
    print(f"law without a detector {law:.3f}, with calibrated weights 1, AUC {float(likelihood_ratio_auc(BIAS)):.3f}")
    panel.axhline(law, color="black", linestyle=":", linewidth=1.2, label="law: none, and calibrated")
    panel.axhline(1, color="black", linestyle=":", linewidth=1.2)
    panel.set(title=f"lam = {BIAS}: detectors that look", xlabel="step", ylabel="variance kept", yscale="log")
    panel.set_ylim(0.4, 60)
    panel.set_yticks([0.5, 1, 2, 4, 8], ["0.5", "1", "2", "4", "8"])
    panel.minorticks_off()
    plots.legend(panel, loc="upper left")


# 3. ageing


def gaussians(panel) -> None:
    """Draw the area of |x| and the rates of |x| < 1, as a Gaussian shrinks and as one comes back."""
    points, seeds, last, begins = 10_000, 32, 30, 0.1

    def measure(key, snapshot):
        model = snapshot.synthetic
        scale, centre = jnp.exp(snapshot.params.frame.log_scale[0]), snapshot.params.frame.location[0]
        rows = jnp.abs(centre + scale * model.x[:, 0])
        human = jnp.abs(TRUTH.sample(key, points).x[:, 0])
        theirs = jnp.sort(human)
        beaten = jnp.searchsorted(theirs, rows) + jnp.searchsorted(theirs, rows, side="right")
        return jnp.stack([1 - jnp.mean(beaten) / (2 * points), jnp.mean(human < 1), jnp.mean(rows < 1)])

    narrow = lambda key: lab.as_samples(begins**0.5 * TRUTH.sample(key, points).x)  # noqa: E731
    back = lab.replace_with_real(lab.fresh(TRUTH.sample), fraction=0.1)
    generation = np.arange(last + 1)
    clocks = {
        "shrinks": (lab.gaussian(1, estimator="mle", bias=0.9), lab.replace(), TRUTH.sampler(points),
                    0.9 * (0.9 * (1 - 1 / points)) ** generation),
        "comes back": (lab.gaussian(1, estimator="mle"), back, narrow, 1 - (1 - begins) * 0.9**generation),
    }  # fmt: skip
    for (name, (model, regime, real, variance)), colour in zip(clocks.items(), plots.COLOURS):
        chain = lab.build_chain(model, regime, real, points, [lab.Metric("rates", ("what",), "1", measure)])
        found = lab.simulate(chain, jax.random.key(2), seeds, last, lanes=16)["rates"]
        found = found.transpose("seed", "generation", "what").values.astype(float)
        false, true = threshold_rates(1.0, variance)
        laws = np.stack([likelihood_ratio_auc(variance), np.broadcast_to(false, variance.shape), true], axis=-1)
        middle, error = mean_and_error(found)
        for what, (label, line) in enumerate(((f"{name}: AUC", "-"), ("", ""), (f"{name}: t of |x| < 1", "--"))):
            if label:
                panel.plot(generation, middle[:, what], line, color=colour, label=label)
                panel.plot(generation, laws[:, what], ":", color="black", linewidth=1.2, zorder=5)
        at, z = [0, 10, 20, 30], (middle - laws) / np.maximum(error, 1e-9)
        print(f"Gaussian {name}, generations {at}: AUC {middle[at, 0].round(4)} +- {error[at, 0].round(4)}, law "
              f"{laws[at, 0].round(4)}; t of |x| < 1 {middle[at, 2].round(4)} +- {error[at, 2].round(4)}, law "
              f"{laws[at, 2].round(4)}; f {middle[:, 1].mean():.4f}, law {float(false):.4f}; largest |z| of AUC "
              f"{np.abs(z[:, 0]).max():.1f}, f {np.abs(z[:, 1]).max():.1f}, t "
              f"{np.abs(z[laws[:, 2] < 0.99, 2]).max():.1f}", flush=True)  # fmt: skip
    panel.axhline(float(false), color="0.5", linewidth=1, label="f of |x| < 1")
    panel.set(title="Gaussians: two clocks", xlabel="generation", ylim=(0, 1.02))
    plots.legend(panel, loc="lower center")


def counted(cells, hashed):
    """Return what counts the bigrams of each row, in so many cells."""

    def features(tokens):
        pairs = hashed(tokens[:, :-1], tokens[:, 1:])
        return jax.vmap(lambda row: jnp.zeros(cells).at[row].add(1.0))(pairs)

    return features


def area(of_human, of_generated):
    return stats.mannwhitneyu(of_human, of_generated).statistic / (len(of_human) * len(of_generated))


class Learner:
    """Logistic regression of the package on two samples of rows, many seeds at once."""

    def __init__(self, features, ridge) -> None:
        held = web.trained(features, ridge=ridge, frozen_at=1)  # trained at step 1, asked at step 2

        def store(human, generated):
            rows = jnp.concatenate([human, generated])
            label = jnp.repeat(jnp.arange(2), len(human), total_repeat_length=2 * len(human))
            return web.RowStore(lab.Samples(rows, jnp.ones(len(rows))), label, label, jnp.ones(len(rows)))

        def learn(human, generated):
            rows = store(human, generated)
            return held.update(jax.random.key(0), rows, jnp.asarray(1), held.init(rows, 2))[1]

        def ask(known, human, generated):
            rows = store(human, generated)
            seen, _ = held.update(jax.random.key(0), rows, jnp.asarray(2), known)
            return web.detector_auc().function(jax.random.key(0), lab.Snapshot(1, (), (), (), seen))

        self.learn, self.ask = jax.jit(jax.vmap(learn)), jax.jit(jax.vmap(ask))


def wrote_by(key, table, num):
    """Return texts of a table's words, [num, LENGTH]."""
    edges = jnp.cumsum(table, axis=1)

    def step(word, point):
        word = jnp.minimum(jnp.sum(point[:, None] >= edges[word], axis=1), VOCABULARY - 1)
        return word, word

    key_first, key_rest = jax.random.split(key)
    first = jax.random.randint(key_first, (num,), 0, VOCABULARY)
    _, rest = jax.lax.scan(step, first, jax.random.uniform(key_rest, (LENGTH - 1, num)))
    return jnp.concatenate([first[None], rest]).T


def tables(panels) -> None:
    """Draw how well bigram counts tell texts, as tables are refitted to their own, and as they improve."""
    truth = np.random.default_rng(0).dirichlet(np.full(VOCABULARY, 0.5), VOCABULARY)
    fits = TEXTS * (LENGTH - 1)

    chain = lab.build_chain(
        lab.bigram(VOCABULARY), lab.replace(), lab.known_table(truth, fits, "path"), fits,
        [lab.Metric("table", ("context", "word"), "1", lambda key, s: s.params)],
    )  # fmt: skip
    found = lab.simulate(chain, jax.random.key(3), TABLES, GENERATIONS[-1], lanes=TABLES)["table"]

    def improved(generation):
        """Return tables fitted to as many human words after each word, twice as many six generations later."""
        num = int(fits / VOCABULARY * 2 ** (generation / 6 - 1))
        counts = jax.vmap(lab.known_table(truth, num))(jax.random.split(jax.random.key(5), TABLES)).values
        return np.asarray(counts, float) / num

    chains = {
        "own texts": found.transpose("generation", "seed", "context", "word").values[GENERATIONS],
        "more human texts": np.stack([improved(generation) for generation in GENERATIONS]),
    }
    learner = Learner(counted(VOCABULARY**2, lambda a, b: a * VOCABULARY + b), 1.0)
    write = jax.jit(jax.vmap(lambda key, table: wrote_by(key, table, TESTED)))
    human_table = jnp.broadcast_to(jnp.asarray(truth, jnp.float32), (TABLES, VOCABULARY, VOCABULARY))
    for panel, (name, found) in zip(panels, chains.items()):
        areas, frozen = {"frozen": [], "renewed": [], "best": []}, None
        for place, table in enumerate(found):
            keys = jax.random.split(jax.random.fold_in(jax.random.key(4), place), (4, TABLES))
            train = [write(keys[0], human_table), write(keys[1], jnp.asarray(table))]
            test = [write(keys[2], human_table), write(keys[3], jnp.asarray(table))]
            known = learner.learn(*train)
            frozen = known if frozen is None else frozen
            areas["frozen"].append(learner.ask(frozen, *test))
            areas["renewed"].append(learner.ask(known, *test))
            ratio = np.log(truth) - np.log(np.maximum(table, 1e-9))
            told = [
                [own[row[:, :-1], row[:, 1:]].sum(axis=1) for own, row in zip(ratio, np.asarray(rows))] for rows in test
            ]
            areas["best"].append([area(a, b) for a, b in zip(*told)])
        for (kind, values), colour in zip(areas.items(), (*plots.COLOURS[:2], "black")):
            middle, error = mean_and_error(np.asarray(values), axis=1)
            panel.errorbar(GENERATIONS, middle, 2 * error, fmt=":" if kind == "best" else "o-", color=colour,
                           markersize=3, label=f"{kind}, by the tables" if kind == "best" else kind)  # fmt: skip
            at = [0, 1, 3, 4, 7]
            print(f"tables, {name}, {kind}: generations {[GENERATIONS[i] for i in at]}: AUC {middle[at].round(3)} +- "
                  f"{error[at].round(3)}", flush=True)  # fmt: skip
        panel.set(title=f"tables fitted to {name}", xlabel="generation", ylabel="AUC", ylim=(0.4, 1.02))
        plots.legend(panel, loc="lower left")


def opts(panel) -> None:
    """Draw how well the texts of a net that is refitted to its own are told."""
    config, pretrained, _ = load_model(None)
    texts = load_texts(BLOCKS, 64)
    everything = np.asarray(texts.pool)
    order = np.random.default_rng(0).permutation(len(everything))
    real = jnp.asarray(everything[order[: 2 * BLOCKS]])
    prompts = jnp.asarray(texts.training)
    score = jax.jit(lambda rows: -opt.sequence_log_probs(config, pretrained, rows))
    learner = Learner(counted(CELLS, lambda a, b: (a * 31 + b * 17 + a * b) % CELLS), 10.0)
    half = BLOCKS // 2
    blocks = lambda key, num: lab.Samples(  # noqa: E731
        jnp.asarray(everything)[jax.random.choice(key, len(everything), (num,), replace=False)], jnp.ones(num)
    )
    draw = np.random.default_rng(1)
    half_fresh = lab.replace_with_real(lab.fresh(blocks), fraction=0.5)
    for (name, regime), line in zip({"replace": lab.replace(), "half fresh text": half_fresh}.items(), ("-", "--")):
        tuning = lab.FineTuning(num_epochs=5, batch_size=16, learning_rate=1e-3, start="previous")
        decode = lab.sampled_decoding(opt.Rules(BLOCK, ends=False))
        model = lab.language(config, pretrained, prompts, texts.validation, decode, tuning)
        chain = lab.build_chain(model, regime, lab.as_samples(prompts), BLOCKS)
        segments = lab.run_host(chain, jax.random.key(0), 1, range(1, ROUNDS + 1))
        wrote = [jnp.asarray(segment.state().synthetic.x[0]) for segment in segments]
        told = {"log-loss": [], "frozen": [], "renewed": []}
        spread, frozen = [], None
        for rows in wrote:
            mine, theirs = np.asarray(score(rows)), np.asarray(score(real[:BLOCKS]))
            told["log-loss"].append(area(theirs, mine))
            spread.append(np.std([area(draw.choice(theirs, BLOCKS), draw.choice(mine, BLOCKS)) for _ in range(200)]))
            known = learner.learn(real[None, :half], rows[None, :half])
            tested = real[None, half:BLOCKS], rows[None, half:]
            frozen = known if frozen is None else frozen
            for kind, given in (("frozen", frozen), ("renewed", known)):
                told[kind].append(float(learner.ask(given, *tested)[0]))
        for values, colour in zip(told.values(), plots.COLOURS):
            panel.plot(range(len(values)), values, line, color=colour, marker="o", markersize=3)
        print(f"OPT, {name}: AUC by generation, log-loss {np.round(told['log-loss'], 3)} +- {np.round(spread, 3)}, "
              f"bigrams frozen {np.round(told['frozen'], 3)}, renewed {np.round(told['renewed'], 3)}; mean log-loss of "
              f"what it wrote {[round(float(score(rows).mean()) / (BLOCK - 1), 3) for rows in wrote]} nats a token, of "
              f"real text {float(score(real).mean()) / (BLOCK - 1):.3f}", flush=True)  # fmt: skip
    for kind, colour in zip(("log-loss, pretrained net", "bigrams, frozen", "bigrams, renewed"), plots.COLOURS):
        panel.plot([], [], color=colour, marker="o", markersize=3, label=kind)
    for name, line in (("replace", "-"), ("half fresh text", "--")):
        panel.plot([], [], line, color="0.4", label=name)
    panel.axhline(0.5, color="0.6", linewidth=0.9)
    panel.set(title="texts of the tiny OPT", xlabel="generation", ylabel="AUC", ylim=(0, 1.55))
    panel.set_xticks(range(ROUNDS + 1))
    panel.set_yticks([0, 0.25, 0.5, 0.75, 1])
    plots.legend(panel, loc="upper left")


def main(out: Path) -> None:
    begun = time.perf_counter()
    figure, axes = plots.new_figure(2, 4, width=15.0, height=6.4)
    kept_plane(figure, axes[0, 0])
    print(f"{time.perf_counter() - begun:.0f} s", flush=True)
    gain_planes(figure, axes[0, 1:3])
    print(f"{time.perf_counter() - begun:.0f} s", flush=True)
    in_the_loop(axes[0, 3])
    gaussians(axes[1, 0])
    tables(axes[1, 1:3])
    print(f"{time.perf_counter() - begun:.0f} s", flush=True)
    opts(axes[1, 3])
    print(plots.save_figure(figure, out, "detectors"))
    print(f"{time.perf_counter() - begun:.0f} s, {time.process_time():.0f} s of CPU time")


if __name__ == "__main__":
    main(Path(__file__).parent / "figures")
