"""Generative replay, a buffer of real rows, or nothing: what is left of the first task after many others?

    .venv/bin/python experiments/forgetting.py

On counts: task 0 has eight classes, ten tasks follow, none of whose classes (or half of the neighbour's) are its own;
each brings M = 50 rows, beside which a fit sees R rows: drawn from the last model, drawn from all real rows so far
(which is what reservoir sampling keeps), or none; 8,192 seeds. Then an autoencoder: five digits one after the other,
500 images each, 400 steps a digit, the same net trained on; three seeds. Drawn are the share of the first digit, 3,
among what it draws, as judges see it, and how its held-out loss falls when the digit is trained on again.

Answer: one task of replay multiplies mass^2 x diversity by (R/(R + M))^2 forgotten x (1 - 1/R) collapsed, and it is
forgetting that costs. With R = 50 a task is x 0.25 forgotten and x 0.98 collapsed: after ten the mass is 0.00096 +-
0.00005 (law 0.00098); with R = 200 0.107 (0.107), mass^2 x diversity 0.00932 +- 0.00007 (0.00940). Replay that grows
as t M leaves an even share, 0.0907 +- 0.0004 (0.0909), and loses 6 % of the rest to collapse; a buffer of 50 real rows
forgets as 1/t, 0.0497 +- 0.0002 (0.05). Largest |z| 2.3 over all designs and tasks. Diversity alone is no product:
0.716 +- 0.001 at R = 200, where the (1 - 1/R) give 0.816. The autoencoder follows: digit 3 is 0.048 +- 0.007 of what
it draws after four others with R = M (law of counts 0.0625), 0.179 +- 0.007 with R = t M (0.2), 0.001 without replay.
Judges see too many 3s where it saw real ones, 0.31 +- 0.01 with all images for 0.2. Forgotten is not gone: back to a
tenth above its first loss take 78 +- 3 steps without replay, 200 +- 8 for a new net, 10 and 2 with replay.
"""

import time
from pathlib import Path

import jax

jax.config.update("jax_num_cpu_devices", 2)

import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import collapse_jax as lab  # noqa: E402
from collapse_jax import plots  # noqa: E402
from collapse_jax.metrics import JUDGEMENTS, NUM_HELD_OUT, classifier_metrics, load_classifiers  # noqa: E402
from collapse_jax.models.categorical import count_sums, draw_counts  # noqa: E402
from collapse_jax.models.vae import loss  # noqa: E402
from collapse_jax.networks.training import adam, optimizer_step  # noqa: E402
from collapse_jax.numerics.hypergeometric import multivariate_hypergeometric  # noqa: E402
from collapse_jax.numerics.sampling import live_indices  # noqa: E402
from collapse_jax.theory.poison import growing_replay, replay_factors  # noqa: E402

LATER, WIDTH, NEW, SEEDS = 10, 8, 50, 8192  # tasks after the first, classes of a task, new rows of a task
ROWS = [50, 200, 800]
FIRST = 1 - 1 / WIDTH  # diversity of the first task, 1 - sum p^2
DIGITS, IMAGES, NETS, STEPS, RELEARNED = (3, 5, 8, 0, 4), 500, 3, 400, 300
RATE, BATCH, EVERY = 2e-3, 128, 5


def truths(step):
    """Return the classes' probabilities in each task; its classes begin `step` after those of the task before.

    What is no class of the first task is one class, the last: to the first task it is all the same.
    """
    table = np.zeros((LATER + 1, step * LATER + WIDTH))
    for task, row in enumerate(table):
        row[task * step : task * step + WIDTH] = 1 / WIDTH
    return np.column_stack([table[:, :WIDTH], table[:, WIDTH:].sum(axis=1)])


def counted(memory, step):
    """Return the function rows -> chain, one generation a task; `memory` is "generative", "buffer" or "none"."""
    table = jnp.asarray(truths(step), jnp.float32)
    metrics = [
        lab.Metric("mass", (), "1", lambda key, s: jnp.sum(s.params[:WIDTH])),
        # p_i p_j summed over pairs of the first task's classes: mass^2 x diversity
        lab.Metric(
            "pairs", (), "1", lambda key, s: jnp.sum(s.params[:WIDTH]) ** 2 - jnp.sum(s.params[:WIDTH] ** 2)
        ),
    ]

    def build(rows):
        def update(key, synthetic, state):
            task, held = state
            key_new, key_old = jax.random.split(key)
            new = count_sums(draw_counts(key_new, NEW, table[task]))
            old = synthetic
            if memory == "buffer":
                num = jnp.minimum(rows, held.total_weight)
                old = count_sums(multivariate_hypergeometric(key_old, held.values, num))
            return (new if memory == "none" else old.merge(new)), (task + 1, held.merge(new))

        regime = lab.Regime(lambda real, synthetic: (jnp.asarray(1), real), update, LATER)
        real = lab.CategoricalTruth(table[0]).counts_sampler(NEW)
        return lab.build_chain(lab.categorical(table.shape[1]), regime, real, rows, metrics)

    return build


def law_of(memory, rows, step):
    """Return E mass and E mass^2 x diversity after each task, from their second moments: for any overlap."""
    table = truths(step)
    mean, second = table[0], np.outer(table[0], table[0]) * (1 - 1 / NEW)  # off the diagonal
    found = []
    for task in range(LATER + 1):
        if task:
            truth = table[task]
            num = {"generative": rows, "none": 0, "buffer": min(rows, task * NEW)}[memory]
            if memory == "buffer":  # of task * NEW rows, without replacement
                seen = table[:task]
                mean = seen.mean(axis=0)
                same = (NEW - 1) / (task * (task * NEW - 1))
                among = sum(np.outer(one, one) for one in seen)
                second = same * among + NEW / (task * NEW - 1) / task * (
                    np.outer(seen.sum(0), seen.sum(0)) - among
                )
            cross = np.outer(mean, truth)
            second = (num * (num - 1) * second + num * NEW * (cross + cross.T)
                      + NEW * (NEW - 1) * np.outer(truth, truth)) / (num + NEW) ** 2  # fmt: skip
            mean = (num * mean + NEW * truth) / (num + NEW)
        block = second[:WIDTH, :WIDTH]
        found.append((mean[:WIDTH].sum(), block.sum() - np.trace(block)))
    return np.array(found).T


def told(name, found, mass_law, pairs_law):
    """Print the numbers of one line, each with its error and z."""
    parts, biggest = [], 0.0
    for metric, law in (("mass", mass_law), ("pairs", pairs_law)):
        values = found[metric].values.astype(float)  # sums of thousands of float32 would show their rounding
        error = values.std(axis=0, ddof=1) / SEEDS**0.5
        moves = error > 1e-6  # else it is the same in all, to rounding
        z = (values.mean(axis=0) - law)[moves] / error[moves]
        biggest = max(biggest, np.abs(z).max(initial=0.0))
        parts.append(f"{values[:, -1].mean():.3g} +- {error[-1]:.1g} (law {law[-1]:.3g})")
    print(
        f"{name}: mass {parts[0]}, mass^2 x diversity {parts[1]}, largest |z| over tasks {biggest:.1f}",
        flush=True,
    )


def draw(panels, found, laws, label, colour, line="-"):
    for panel, name, law in zip(panels, ("mass", "pairs"), laws):
        panel.plot(found[name].mean("seed"), line, color=colour, label=label)
        panel.plot(law, ":", color="black", linewidth=1.2, zorder=5)


def on_counts(panels):
    """Print and draw what is left of the first task of eleven: disjoint ones, and ones that share half."""
    tasks = np.arange(LATER + 1)
    axes, key = {"rows": ROWS}, jax.random.key(0)
    model = lab.sweep(counted("generative", WIDTH), axes, key, SEEDS, LATER)
    real = lab.sweep(counted("buffer", WIDTH), axes, key, SEEDS, LATER)
    for rows, colour in zip(ROWS, plots.COLOURS):
        mine, forgets, collapses = model.sel(rows=rows), *(float(part) for part in replay_factors(rows, NEW))
        laws = forgets ** (tasks / 2), (1 - 1 / NEW) * FIRST * (forgets * collapses) ** tasks
        assert np.allclose(laws, law_of("generative", rows, WIDTH))
        told(f"replay of {rows}, a task x {forgets:.4f} forgotten x {collapses:.4f} collapsed", mine, *laws)
        draw(panels, mine, laws, f"replay of {rows}", colour)
        alive = mine["mass"].values[:, -1] > 0
        alone = mine["pairs"].values[alive, -1] / mine["mass"].values[alive, -1] ** 2
        print(f"    its diversity alone, in the {alive.mean():.3f} of chains that know the task: {alone.mean():.4f} +- "
              f"{alone.std(ddof=1) / alive.sum()**0.5:.4f}; the product of (1 - 1/R) would be "
              f"{(1 - 1 / NEW) * FIRST * collapses**LATER:.4f}")  # fmt: skip
        laws = law_of("buffer", rows, WIDTH)
        told(f"buffer of {rows}", real.sel(rows=rows), *laws)
        draw(panels, real.sel(rows=rows), laws, f"buffer of {rows}", colour, "--")
    growing = counted("generative", WIDTH)([NEW * (task + 1) for task in tasks])
    found = lab.simulate(growing, jax.random.key(1), SEEDS, LATER, lanes=512)
    forgets, collapses = (np.asarray(part) for part in growing_replay(LATER, NEW))
    laws = forgets**0.5, (1 - 1 / NEW) * FIRST * forgets * collapses
    told(f"replay of t x {NEW}, {forgets[-1]:.4f} forgotten x {collapses[-1]:.4f} collapsed", found, *laws)
    draw(panels, found, laws, f"replay of t x {NEW}", plots.COLOURS[3])
    for memory in ("generative", "buffer", "none"):
        shared = lab.sweep(counted(memory, WIDTH // 2), {"rows": ROWS[:1]}, key, SEEDS, LATER).sel(
            rows=ROWS[0]
        )
        told(f"{memory}, {ROWS[0]} rows, tasks that share half", shared, *law_of(memory, ROWS[0], WIDTH // 2))
    for panel, title in zip(panels, ("mass of task 0", "mass$^2$ x diversity of task 0")):
        panel.plot([], [], ":", color="black", linewidth=1.2, label="law")
        panel.set(title=f"counts: {title}", xlabel="tasks since", yscale="log")
    panels[0].set(ylim=(5e-4, 1.4))
    panels[1].set(ylim=(2e-7, 1.4))
    plots.legend(panels[1], ncols=2, fontsize=7)


def remembered(memory, rows, images):
    """Return the regime of a network, over images [task, num, pixels]; `rows` replayed, or all that were seen."""
    num_tasks, new, _ = images.shape

    def update(key, synthetic, state):
        task, held = state
        fresh = lab.as_samples(images[0])._replace(x=images[task])
        if memory == "none":
            return fresh, (task + 1, held)
        old = synthetic
        if memory == "buffer":
            old = held.take(live_indices(key, held.weight > 0, rows)) if rows else held
        elif not rows:
            old = old._replace(weight=old.weight * (jnp.arange(old.num_rows) < task * new))
        return old.merge(fresh), (task + 1, held.append(fresh, task * new))

    return lab.Regime(
        lambda real, synthetic: (jnp.asarray(1), real.reserve(num_tasks * new)), update, num_tasks - 1
    )


def relearn(key, net, rows, held_out):
    """Return the held-out loss before and after every few steps of training on the first task again."""
    optimizer = adam(RATE)

    def some(carry, key_now):
        def one(index, carry):
            key_rows, key_loss = jax.random.split(jax.random.fold_in(key_now, index))
            batch = rows[jax.random.randint(key_rows, (BATCH,), 0, rows.shape[0])]
            return optimizer_step(key_loss, *carry, batch, loss, optimizer)[0]

        carry = jax.lax.fori_loop(0, EVERY, one, carry)
        return carry, loss(key, carry[0], held_out)[0]

    _, later = jax.lax.scan(some, (net, optimizer.init(net)), jax.random.split(key, RELEARNED // EVERY))
    return jnp.concatenate([loss(key, net, held_out)[0][None], later])


def on_digits(panels):
    """Print and draw what an autoencoder that learns digit after digit keeps of the first one."""
    digits = lab.load_mnist()
    known, labels = digits.images[:-NUM_HELD_OUT], digits.labels[:-NUM_HELD_OUT]
    images = jnp.asarray(np.stack([known[labels == digit][:IMAGES] for digit in DIGITS]))
    held_out = jnp.asarray(known[labels == DIGITS[0]][IMAGES : IMAGES + 200])
    metrics = (*lab.held_out_metrics(held_out), *classifier_metrics(load_classifiers()))
    model = lab.vae(num_steps=STEPS, batch_size=BATCH, learning_rate=RATE, start="warm")
    later, place = len(DIGITS) - 1, JUDGEMENTS.index(f"class_{DIGITS[0]}")
    arms = {
        f"replay of {IMAGES}": ("generative", IMAGES),
        f"replay of t x {IMAGES}": ("generative", 0),
        f"buffer of {IMAGES}": ("buffer", IMAGES),
        "all real images": ("buffer", 0),
        "none": ("none", 0),
    }
    shown, ends = {}, {}
    for name, (memory, rows) in arms.items():
        begun = time.perf_counter()
        chain = lab.build_chain(
            model,
            remembered(memory, rows, images),
            lab.as_samples(images[0]),
            rows or later * IMAGES,
            metrics,
        )
        *_, last = segments = list(lab.run_compiled(chain, jax.random.key(2), NETS, [later], lanes=NETS))
        records = {
            key: np.concatenate([part.records[key] for part in segments], axis=1)
            for key in segments[0].records
        }
        shown[name] = records["judged"][..., place], records["held_out_loss"]
        ends[name] = jax.tree.map(jnp.asarray, last.state().params)
        print(f"{name}: {time.perf_counter() - begun:.0f} s", flush=True)
    learn = jax.jit(jax.vmap(lambda key, net: relearn(key, net, images[0], held_out)))
    keys = jax.random.split(jax.random.key(3), NETS)
    level = 1.1 * shown["none"][1][:, 0]  # of each seed: within a tenth of what it was at first
    start = jax.vmap(lambda key: model.init(key, lab.as_samples(images[0])))(keys)
    for (name, net), colour in zip({**ends, "a new net": start}.items(), [*plots.COLOURS[:5], "0.5"]):
        curve = np.asarray(learn(keys, net))
        steps = EVERY * np.argmax(curve <= level[:, None], axis=1)
        if name in shown:
            share, held = shown[name]
            error = [one[:, -1].std(ddof=1) / NETS**0.5 for one in (share, held)]
            law = {"none": 0.0, f"replay of {IMAGES}": 0.5**later, f"buffer of {IMAGES}": 0.5 / later}
            print(f"{name}: digit {DIGITS[0]} is {share[:, -1].mean():.3f} +- {error[0]:.3f} of what it draws (law of "
                  f"counts {law.get(name, 1 / len(DIGITS)):.3f}), held-out loss {held[:, -1].mean():.1f} +- "
                  f"{error[1]:.1f} nats, {held[:, 0].mean():.1f} at first", flush=True)  # fmt: skip
            panels[0].plot(share.mean(axis=0), "o-", color=colour, label=name, markersize=4)
        print(f"    {name}, learning it again: {steps.mean():.0f} +- {steps.std(ddof=1) / NETS**0.5:.0f} steps to "
              f"{level.mean():.1f} nats")  # fmt: skip
        panels[1].plot(EVERY * np.arange(curve.shape[1]), curve.mean(axis=0), color=colour, label=name)
    tasks = np.arange(later + 1.0)
    panels[0].plot(tasks, 0.5**tasks, ":", color="black", linewidth=1.2)
    panels[0].plot(
        tasks, 1 / (tasks + 1), ":", color="black", linewidth=1.2, label="laws of both replays, counts"
    )
    panels[0].set(title=f"autoencoder: share of digit {DIGITS[0]} drawn", xlabel="tasks since", xticks=tasks)
    panels[0].set_xticklabels([f"{task:g}" for task in tasks])
    panels[1].axhline(
        level.mean(), color="black", linewidth=0.8, linestyle="--", label="a tenth above the first"
    )
    panels[1].set(
        title=f"learning digit {DIGITS[0]} again", xlabel="steps", ylabel="held-out loss, nats", yscale="log"
    )
    plots.legend(panels[0])
    plots.legend(panels[1])


def main(out: Path) -> None:
    begun = time.perf_counter()
    figure, axes = plots.new_figure(2, 2, width=9.0, height=6.6)
    for part, panels in ((on_counts, axes[0]), (on_digits, axes[1])):
        part(panels)
        print(f"{time.perf_counter() - begun:.0f} s", flush=True)
    print(plots.save_figure(figure, out, "forgetting"))


if __name__ == "__main__":
    main(Path(__file__).parent / "figures")
