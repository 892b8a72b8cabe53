"""Does whoever trains first keep an advantage?

    .venv/bin/python experiments/first_mover.py

A web of 400 human rows, N(0, 1). In each of 80 steps two labs fit a Gaussian to n = 100 of its rows each and release
60 draws, with lam times the fitted variance; 40 human rows arrive and a tenth of the web goes: it comes to rest at
1,600 rows, three quarters of them generated. Probes train once, at step t, on as many rows, and release nothing. R =
mean^2 + (1 - sd)^2 is what one errs by, and A(t) = R(t) - R(0), on the same webs, what it costs to come late. Four
webs, as lanes of one program: lam = 1, 0.9, 0.8, and one where labs release nothing. Laws: `theory.pool`, exact for the
mean; that of the sd is approximate. Then labs that share 240 rows and never mix, L = 1 to 16: what is left of the
variance of all their draws together.

Answer: only where generators are biased. Mean +- standard error of 1,536 webs, law in brackets. Unbiased, a lab that
first trains at step 5, 20 or 80 errs in its mean by 1.15 +- 0.13 (1.25), 0.88 +- 0.14 (1.04) and 0.38 +- 0.14 (0.49)
thousandths more than one at step 0, whose own error is 12.5: a tenth, and it passes. A(80)/R(0) is -0.02 (z -0.6)
there, 0.00 without releases, 0.57 with lam = 0.9 (z 14) and 1.93 with lam = 0.8 (z 40), and grows with t. What makes a
late lab as good as the first, beside 100 rows of the web of step 80: 4 +- 3 (3), 44 +- 4 (about 36) and 93 +- 3 (about
84) human rows kept from before. The unbiased web of 1,600 rows is worth 336 (334) human rows then, fewer than the 400
that lie in it, and 268 (266) at step 5; a row is worth 0.97, 0.77 or 0.25 human ones as 10, 100 or 1,000 are drawn (law
the same). Errors of two labs correlate by 0.30 +- 0.02 (0.27) at step 10, without releases by 0.20 (0.20). Isolated
labs need no language to keep more: of 240 rows, after 200 fits, one lab keeps 0.47 +- 0.03 (0.43) of the variance, 16
keep 0.91 +- 0.02 (0.94); after one fit both 0.99 (0.996).
"""

import time
from pathlib import Path

import jax

jax.config.update("jax_num_cpu_devices", 2)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

from collapse_jax import (  # noqa: E402
    Metric,
    build_chain,
    fresh,
    gaussian,
    gaussian_metrics,
    gaussian_truth,
    labs,
    per_lab,
    plots,
    pool,
    simulate,
    sweep,
    web,
)
from collapse_jax.theory.pool import (  # noqa: E402
    island_identity,
    isolated_labs_diversity,
    pool_limit,
    pool_moments,
    pool_worth,
)

TRUTH, SEEDS, LAST, EVERY = gaussian_truth(1), 1536, 80, 5
BEGINS, INFLOW, DELETION, DRAWS, RELEASED = 400, 40, 0.1, 100, 60
WEBS = {"unbiased": (1.0, 60), "lam = 0.9": (0.9, 60), "lam = 0.8": (0.8, 60), "no releases": (1.0, 0)}
ENTRIES, ARCHIVES = [0, 5, 10, 20, 40, 80], [0, 3, 10, 30, 60, 100, 150, 200, 300]
STEPS = np.arange(0, LAST + 1, EVERY)
LABS, ROWS, FITS, MANY = [1, 2, 4, 8, 16], 240, [1, 20, 50, 100, 200], 1024


def moments(key, snapshot):
    """Return mean and variance of all rows of the web: what a fit to n of them errs by is known from these."""
    rows = snapshot.training.rows if isinstance(snapshot.training, web.RowStore) else snapshot.training
    mean = jnp.sum(rows.weight * rows.live_rows()[:, 0]) / rows.total_weight
    square = jnp.sum(rows.weight * rows.live_rows()[:, 0] ** 2) / rows.total_weight
    return jnp.stack([mean, square - mean**2])


def with_archive(key, snapshot):
    """Return mean and variance of n rows of the web and a rows that were kept from before it, for each a."""
    key_web, key_human = jax.random.split(key)
    store = snapshot.training
    if not isinstance(store, web.RowStore):  # step 0
        drawn = store.take(jax.random.randint(key_web, (DRAWS,), 0, BEGINS)).x[:, 0]
    else:
        drawn = store.draw(key_web, DRAWS, DRAWS, crawl=False).x[:, 0]
    human = TRUTH.sample(key_human, max(ARCHIVES)).x[:, 0]
    both = [jnp.concatenate([drawn, human[:kept]]) for kept in ARCHIVES]
    return jnp.stack([jnp.stack([jnp.mean(rows), jnp.var(rows)]) for rows in both])


def build(arm):
    bias, released = (jnp.asarray(column, float)[arm] for column in zip(*WEBS.values()))
    num = 2 + len(ENTRIES)
    model = labs(
        lambda bias: gaussian(1, estimator="mle", bias=bias), num, draws=DRAWS, values=jnp.full(num, bias),
        releases=jnp.where(jnp.arange(num) < 2, released.astype(int), 0),
        entry=[0, 0, *ENTRIES], until=[LAST + 1, LAST + 1, *(entry + 1 for entry in ENTRIES)],
    )  # fmt: skip
    regime = pool(fresh(TRUTH.sample), inflow=INFLOW, deletion=DELETION, capacity=1640)
    mean, _, variance = per_lab(gaussian_metrics())
    metrics = [mean, variance, Metric("web", ("moment",), "1", moments),
               Metric("archive", ("kept", "moment"), "1", with_archive)]  # fmt: skip
    return build_chain(model, regime, TRUTH.sampler(BEGINS), RELEASED, metrics)


def law_of(name):
    bias, released = WEBS[name]
    return pool_moments(LAST, BEGINS, DRAWS, jnp.full(2, released), INFLOW, DELETION, bias)


def risk_law(mean_square, variance):
    """Return about E R: the mean's part is exact; what makes the mean err by E mu^2 makes the sd err by half of it."""
    return 1.5 * mean_square + (1 - np.sqrt(variance)) ** 2


def archive_law(law, kept):
    """Return E mean^2 and E variance of n rows of the last web and `kept` human ones, as one sample."""
    size, second, cross = (float(part[-1]) for part in (law.size, law.second_moment, law.cross_moment))
    any_two = second / size + (1 - 1 / size) * cross
    total = DRAWS + kept
    mean_square = (kept + DRAWS * second + DRAWS * (DRAWS - 1) * any_two) / total**2
    return mean_square, (kept + DRAWS * second) / total - mean_square


def risk(mean, variance):
    return mean**2 + (1 - np.sqrt(variance)) ** 2


def mean_and_error(values):
    """Return mean and standard error over seeds, the first axis."""
    return values.mean(axis=0), values.std(axis=0, ddof=1) / len(values) ** 0.5


def crosses(grid, values, level):
    """Return where falling values first reach a level; not a number where they do not."""
    below = np.flatnonzero(values <= level)
    if not len(below) or below[0] == 0:
        return 0.0 if len(below) else np.nan
    return float(np.interp(level, values[[below[0], below[0] - 1]], grid[[below[0], below[0] - 1]]))


def points(panel, where, values, colour, label=None, mark="o"):
    middle, error = mean_and_error(values)
    panel.errorbar(where, middle, 2 * error, fmt=mark, color=colour, markersize=3.5, linewidth=1, label=label)


def dotted(panel, where, law, colour):
    panel.plot(where, law, ":", color=colour, linewidth=1.4, zorder=1)


def told(name, values, law, digits=5):
    middle, error = mean_and_error(values)
    z = (middle - law) / np.where(error > 0, error, np.inf)
    numbers = ", ".join(f"{m:.{digits}f} +- {e:.{digits}f} ({w:.{digits}f})" for m, e, w in zip(middle, error, law))
    print(f"{name}: {numbers}; largest |z| {np.abs(z).max():.1f}", flush=True)


def movers(axes, found) -> None:
    """Draw what coming late costs: the mean's error by itself, which has an exact law, and all of R."""
    at = np.searchsorted(STEPS, ENTRIES)
    for name, colour in zip(WEBS, plots.COLOURS):
        one, law = found[name], law_of(name)
        own, variance = np.asarray(law.mean_square)[:, 0], np.asarray(law.variance)[:, 0]
        # what infinitely many probes would err by at each step, given the web
        given = one["web"][:, :, 0] ** 2 + one["web"][:, :, 1] / DRAWS
        gained = given - given[:, :1]
        if name in ("unbiased", "no releases"):
            points(axes[0], STEPS, 1e3 * gained, colour, name)
            dotted(axes[0], np.arange(LAST + 1), 1e3 * (own - own[0]), colour)
        told(f"{name}: E mean^2 of a probe less that of one at 0, entries {ENTRIES[1:]}, given the web (law)",
             gained[:, at[1:]], (own - own[0])[ENTRIES[1:]])  # fmt: skip
        mean, spread = one["mean"][:, -1, 2:], one["variance"][:, -1, 2:]
        told(f"{name}: the same of the probes themselves", mean[:, 1:] ** 2 - mean[:, :1] ** 2,
             (own - own[0])[ENTRIES[1:]])  # fmt: skip
        late = risk(mean, spread)
        law_risk = risk_law(own, variance)
        points(axes[1], ENTRIES, late - late[:, :1], colour, name)
        dotted(axes[1], np.arange(LAST + 1), law_risk - law_risk[0], colour)
        told(f"{name}: A(t) of the probes, entries {ENTRIES[1:]} (about)", late[:, 1:] - late[:, :1],
             (law_risk - law_risk[0])[ENTRIES[1:]])  # fmt: skip
        ends = (late[:, 1:] - late[:, :1])[:, -1]
        print(f"{name}: A(80) is {ends.mean() / late[:, 0].mean():.2f} of R(0) = {late[:, 0].mean():.4f}, "
              f"z {ends.mean() / mean_and_error(ends)[1]:.1f}")  # fmt: skip
    gained = found["unbiased"]["web"][:, :, 0] ** 2 + found["unbiased"]["web"][:, :, 1] / DRAWS
    back, error = mean_and_error(gained[:, at[2]] - gained[:, at[-1]])
    print(f"unbiased: entry 10 errs by {back:.5f} +- {error:.5f} more than entry 80: not monotone", flush=True)
    axes[0].set(title="unbiased: small, and it passes", xlabel="step at which a lab first trains",
                ylabel="1,000 x excess error of the mean")  # fmt: skip
    axes[1].set(title="biased generators: it stays", xlabel="step at which a lab first trains", ylabel="A(t)")
    axes[1].axhline(0, color="0.7", linewidth=0.8)


def archives(panel, found) -> None:
    """Draw what a late lab errs by, by how many human rows it has kept."""
    grid = np.arange(0, max(ARCHIVES) + 1)
    for name, colour in list(zip(WEBS, plots.COLOURS))[:3]:
        one, law = found[name], law_of(name)
        first = float(risk_law(np.asarray(law.mean_square)[0, 0], np.asarray(law.variance)[0, 0]))
        late = risk(one["archive"][:, -1, :, 0], one["archive"][:, -1, :, 1])
        by_law = risk_law(*archive_law(law, grid))
        points(panel, ARCHIVES, late, colour, name)
        dotted(panel, grid, by_law, colour)
        told(f"{name}: E mean^2 of a lab at step 80 with {ARCHIVES} human rows kept (law)",
             one["archive"][:, -1, :, 0] ** 2, archive_law(law, grid)[0][ARCHIVES])  # fmt: skip
        told(f"{name}: R of a lab at step 80 with {ARCHIVES} human rows kept (about)", late, by_law[ARCHIVES])
        early = one["archive"][:, 0, 0]
        level, needed = mean_and_error(risk(early[:, 0], early[:, 1])), []
        draw = np.random.default_rng(0)
        for _ in range(400):
            chosen = draw.integers(0, len(late), len(late))
            middle = late[chosen].mean(axis=0), risk(early[chosen, 0], early[chosen, 1]).mean()
            needed.append(crosses(np.array(ARCHIVES, float), *middle))
        print(f"{name}: rows kept that give a late lab R(0) = {level[0]:.4f} +- {level[1]:.4f}: "
              f"{crosses(np.array(ARCHIVES, float), late.mean(axis=0), level[0]):.0f} +- {np.nanstd(needed):.0f}, law "
              f"{crosses(grid, by_law, first):.0f}", flush=True)  # fmt: skip
    panel.axhline(first, color="0.5", linestyle="--", linewidth=0.9, label="R(0)")
    panel.set(title="an archive, at step 80", xlabel="human rows kept, beside 100 of the web", ylabel="R", yscale="log")
    plots.legend(panel)


def worths(panel, found) -> None:
    """Draw how many human rows the web is worth, over time."""
    one, law = found["unbiased"], law_of("unbiased")
    size, cross = np.asarray(law.size), np.asarray(law.cross_moment)
    worth, human = np.asarray(pool_worth(size, cross)), size * (1 - np.asarray(law.contamination))
    square, error = mean_and_error(one["web"][:, :, 0] ** 2)
    panel.plot(np.arange(LAST + 1), size, color="0.6", label="rows of the web")
    panel.plot(np.arange(LAST + 1), human, color=plots.COLOURS[2], label="human rows among them")
    panel.errorbar(STEPS, 1 / square, 2 * error / square**2, fmt="o", color=plots.COLOURS[0], markersize=3.5,
                   linewidth=1, label="human rows it is worth")  # fmt: skip
    dotted(panel, np.arange(LAST + 1), worth, plots.COLOURS[0])
    panel.set(title="unbiased: what the web is worth", xlabel="step", ylabel="rows", yscale="log", ylim=(50, 3000))
    plots.legend(panel, loc="lower left")
    told(f"1/worth of the web at {ENTRIES} (law)", one["web"][:, np.searchsorted(STEPS, ENTRIES), 0] ** 2,
         1 / worth[ENTRIES], 6)  # fmt: skip
    print(f"worth {np.round(1 / square[np.searchsorted(STEPS, ENTRIES)])}, law {np.round(worth[ENTRIES])}, human rows "
          f"{np.round(human[ENTRIES])}; at rest {float(pool_worth(*_rest())):.0f}")  # fmt: skip
    for num in (10, 100, 1000):
        rate = 1 / (num * (one["web"][:, -1, 0] ** 2 + one["web"][:, -1, 1] / num).mean())
        both = float(1 / size[-1] + (1 - 1 / size[-1]) * cross[-1])
        print(f"a row of {num} drawn from the web at step 80 is worth {rate:.3f} human rows, law "
              f"{1 / (num * both + 1 - both):.3f}", flush=True)  # fmt: skip


def _rest():
    rest = pool_limit(INFLOW, jnp.full(2, DRAWS), RELEASED, DELETION)
    return rest.size, rest.cross_moment


def alike(panel, found) -> None:
    """Draw the correlation of two labs' errors: on one web, and on islands that exchange rows."""
    draw = np.random.default_rng(1)
    for name, colour in zip(WEBS, plots.COLOURS):
        law = law_of(name)
        own = np.asarray(law.mean_square)[:, 0]
        shared = own - np.asarray(law.variance)[:, 0] / (DRAWS - 1)
        first, second = found[name]["mean"][:, :, 0], found[name]["mean"][:, :, 1]

        def correlation(chosen, first=first, second=second):
            a, b = first[chosen], second[chosen]
            return 2 * (a * b).mean(axis=0) / (a**2 + b**2).mean(axis=0)

        value = correlation(np.arange(len(first)))
        error = np.std([correlation(draw.integers(0, len(first), len(first))) for _ in range(200)], axis=0)
        if name in ("unbiased", "no releases"):
            panel.errorbar(STEPS, value, 2 * error, fmt="o", color=colour, markersize=3.5, linewidth=1, label=name)
            dotted(panel, np.arange(LAST + 1), shared / own, colour)
        at = np.searchsorted(STEPS, ENTRIES)
        z = np.abs((value - (shared / own)[STEPS]) / error).max()
        print(f"{name}: correlation of two labs' errors at {ENTRIES}: {value[at].round(3)} +- {error[at].round(3)}, "
              f"law {(shared / own)[ENTRIES].round(3)}; largest |z| {z:.1f}", flush=True)  # fmt: skip
    within, between = island_identity(LAST, 10**9, 2, DRAWS, 0.25, 1.0)
    alike_there = float(between[-1] / within[-1])
    print(f"two islands that are one population, a quarter of the rows real: Gb/Gw {alike_there:.3f} by the law")
    panel.set(title="correlation of two labs' errors", xlabel="step", ylim=(0, 0.5))
    plots.legend(panel, ncols=2)


def isolated(panel) -> None:
    """Draw what is left of the variance of all draws together, of labs that share rows and never mix."""
    for num, colour in zip(LABS, plots.COLOURS):
        model = labs(gaussian(1, estimator="mle"), num, draws=ROWS // num)
        mean, _, variance = per_lab(gaussian_metrics())
        chain = build_chain(model, web.islands(0.0), TRUTH.sampler(5000), ROWS, [mean, variance])
        found = simulate(chain, jax.random.key(1), MANY, FITS[-1] - 1, lanes=64)
        means = found["mean"].values[..., 0]
        whole = np.mean(means**2 + np.exp(found["log_total_variance"].values), axis=2) - means.mean(axis=2) ** 2
        at = np.array(FITS) - 1
        law = np.asarray(isolated_labs_diversity(np.arange(1, FITS[-1] + 1), num, ROWS))
        points(panel, FITS, whole[:, at], colour, f"{num} lab{'s' * (num > 1)}")
        dotted(panel, np.arange(1, FITS[-1] + 1), law, colour)
        told(f"{num} isolated labs: variance of the mixture after {FITS} fits (law)", whole[:, at], law[at], 3)
    panel.set(title=f"isolated labs share {ROWS} rows", xlabel="fits", ylabel="variance of all draws", ylim=(0, 1.05))
    plots.legend(panel, loc="lower left")


def main(out: Path) -> None:
    begun = time.perf_counter()
    figure, axes = plots.new_figure(2, 3, width=11.5, height=6.4)
    arms = {"arm": list(range(len(WEBS)))}
    records = sweep(build, arms, jax.random.key(0), SEEDS, LAST, record_every=EVERY, lanes=64)
    found = {}
    for index, name in enumerate(WEBS):
        one = records.isel(arm=index).transpose("seed", "generation", ...)
        found[name] = {
            "mean": one["mean"].values[..., 0].astype(float), "variance": np.exp(one["log_total_variance"].values),
            "web": one["web"].values.astype(float), "archive": one["archive"].values.astype(float),
        }  # fmt: skip
    print(f"{SEEDS} webs of each kind ({time.perf_counter() - begun:.0f} s)", flush=True)
    movers(axes[0], found)
    for panel in axes[0, :2]:
        panel.plot([], [], ":", color="black", linewidth=1.4, label="law")
        plots.legend(panel)
    archives(axes[0, 2], found)
    worths(axes[1, 0], found)
    alike(axes[1, 1], found)
    isolated(axes[1, 2])
    print(plots.save_figure(figure, out, "first_mover"))
    print(f"{time.perf_counter() - begun:.0f} s, {time.process_time():.0f} s of CPU time")


if __name__ == "__main__":
    main(Path(__file__).parent / "figures")
