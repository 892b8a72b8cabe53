"""How early does a monitor see a chain collapse, and is that before the loss shows it?

    .venv/bin/python experiments/alarm_power.py

Chains under `replace`. A monitor is shown what each generation writes, and held-out real rows as its reference; it
knows nothing of the model. Its alarm (alpha = 5 %) is laid beside the loss of generation g on held-out real data, the
negative log-likelihood in nats, when that has risen by 10 % of generation 0's: for the Gaussian of five dimensions from
7.1 nats by 0.71. Lead time: how many generations the alarm came before that. Densities are exact: Gaussian, mixture,
kernels; the bigram's words have 1 % of a uniform mixed in, as a word that is lost would cost infinitely much; the
autoencoder's is the negative ELBO.

Beside them what must stay silent, fresh draws of the truth, and what power depends on: of generations of M = 1,000 the
monitor sees 50, 200 or all rows, and has 200, 1,000 or 5,000 for its reference. An alarm takes two checks at least:
with nine statistics it asks 180 of one, and no check multiplies by more than 23.

Answer: before it where many rows are seen, for the monitor has nothing but rows, and the loss all of the density.
Gaussian of five dimensions, medians of 40 seeds: M = 1,000 at generation 9, 42 before the loss; M = 100 at 9, 2 after
it, with 500 reference rows at 4, level with it. With 0.95 of the variance in every draw 9 generations before it, bigram
texts 3, mixture and kernel densities with M = 200 1, and in 52 to 80 % of seeds alone. The autoencoder's loss has risen
after one generation: no alarm can come before that. Of M = 1,000 50 rows, with 200 for the reference, are too few
(generation 53, loss 49). None of 200 monitors of the truth raised the alarm in 50 checks. 8 minutes of CPU time.
"""

import os
import resource
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import collapse_jax as lab
from collapse_jax import Metric, Model, Samples, plots
from collapse_jax.models.vae import held_out_metrics
from collapse_jax.monitor import Monitor
from collapse_jax.numerics import frame as frames
from collapse_jax.numerics.sampling import weighted_indices

ALPHA, RISE, SEEDS = 0.05, 0.1, 40
NULL_RUNS, NULL_CHECKS = 200, 50
SEEN, KNOWN = (50, 200, 1000), (200, 1000, 5000)  # rows of a sample, of the reference
WORDS, LENGTH = 30, 20
HELD_OUT = 2000


class System(NamedTuple):
    """A chain and what real data it is compared with.

    Attributes:
        model: fitted and drawn from.
        truth: (key, num) -> real rows that it is trained on.
        held_out: (key, num) -> real rows that it is not trained on.
        loss: what may rise.
        shown: rows -> what a monitor is given; a function that processes can be sent.
    """

    model: Model
    truth: Callable[[Any, int], Samples]
    held_out: Callable[[Any, int], Samples]
    loss: Metric
    shown: Callable[[np.ndarray], Any] = np.asarray


class Grown(NamedTuple):
    """Chains that ran.

    Attributes:
        rows: what each generation wrote, shape [num_seeds, num_generations, num_samples, ...].
        more: as many rows of generation 0's model again, shape [num_seeds, num_samples, ...].
        loss: shape [num_seeds, num_generations].
    """

    rows: np.ndarray
    more: np.ndarray
    loss: np.ndarray


class Seen(NamedTuple):
    """When it was seen, a number for each seed, infinite where it was not.

    Attributes:
        alarm: generation of the alarm.
        loss: generation in which the loss had risen.
        first: statistics that raised the alarm.
    """

    alarm: np.ndarray
    loss: np.ndarray
    first: list[str]


def gaussian(dim: int = 5, bias: float = 1.0) -> System:
    """Return a standard Gaussian's chain; its loss is exact, as these points have mean 0 and covariance 1."""
    points = np.concatenate([np.eye(dim), -np.eye(dim)]) * dim**0.5

    def loss(key, snapshot):
        frame = snapshot.params.frame
        squares = jnp.mean(jnp.sum(frames.to_local(frame, jnp.asarray(points)) ** 2, axis=1))
        return jnp.sum(frame.log_scale) + 0.5 * (squares + dim * np.log(2 * np.pi))

    truth = lab.gaussian_truth(dim).sample
    return System(lab.gaussian(dim, bias=bias), truth, truth, Metric("held_out", (), "nats", loss))


def two_clouds() -> System:
    """Return the chain of a mixture of two Gaussians."""
    truth = lab.two_gaussians()
    metrics = lab.mixture_metrics(truth, truth.sample(jax.random.key(99), HELD_OUT).x)
    loss = next(metric for metric in metrics if metric.name == "held_out_nll")
    return System(lab.mixture(2), truth.sample, truth.sample, loss._replace(name="held_out"))


def kernels(bandwidth: str, width: float = 0.1) -> System:
    """Return the chain of a kernel density estimate of the same two clouds."""
    truth = lab.two_gaussians()
    held_out = truth.sample(jax.random.key(99), HELD_OUT // 4).x  # each against every kernel

    def loss(key, snapshot):
        points, weight, kernel, shrink, frame = snapshot.params
        at, scale = (
            (held_out, 0.0) if frame is None else (frames.to_local(frame, held_out), jnp.sum(frame.log_scale))
        )
        mean = weight @ points / jnp.sum(weight)
        centres, factor = mean + shrink * (points - mean), shrink * kernel
        apart = jax.scipy.linalg.solve_triangular(
            factor, (at[:, None] - centres[None]).reshape(-1, 2).T, lower=True
        )
        squares = jnp.sum(apart**2, axis=0).reshape(len(at), -1)
        log_density = jax.nn.logsumexp(-squares / 2, b=weight / jnp.sum(weight), axis=1)
        return (
            jnp.sum(jnp.log(jnp.abs(jnp.diagonal(factor))))
            + scale
            + np.log(2 * np.pi)
            - jnp.mean(log_density)
        )

    model = lab.kde(bandwidth, width=width)
    return System(model, truth.sample, truth.sample, Metric("held_out", (), "nats", loss))


def bigrams() -> System:
    """Return the chain of a bigram table that writes texts of `LENGTH` words; its row `WORDS` begins a text."""
    rng = np.random.default_rng(5)
    known = rng.dirichlet(30 / np.arange(1, WORDS + 1), WORDS + 1).astype(np.float32)

    def write(key, table, num):
        def step(words, key_word):
            later = jax.vmap(lambda one, row: weighted_indices(one, row, 1)[0])(
                jax.random.split(key_word, num), table[words]
            )
            return later, later

        _, texts = jax.lax.scan(step, jnp.full(num, WORDS), jax.random.split(key, LENGTH))
        return Samples(texts.T, jnp.ones(num))

    def counts(texts, weight):
        before = jnp.concatenate([jnp.full((len(texts), 1), WORDS), texts[:, :-1]], axis=1)
        each = jnp.broadcast_to(weight[:, None], texts.shape)
        return jnp.zeros((WORDS + 1, WORDS)).at[before, texts].add(each)

    def fit(key, table, data):
        found = counts(data.x, data.weight)
        total = jnp.sum(found, axis=1, keepdims=True)
        return jnp.where(total > 0, found / jnp.where(total > 0, total, 1.0), table), {}

    def truth(key, num):
        return write(key, jnp.asarray(known), num)

    held_out = truth(jax.random.key(99), HELD_OUT)
    shares = counts(held_out.x, held_out.weight) / (HELD_OUT * LENGTH)

    def loss(key, snapshot):
        return -jnp.sum(shares * jnp.log(0.99 * snapshot.params + 0.01 / WORDS))

    model = Model(lambda key, real: jnp.full((WORDS + 1, WORDS), 1.0 / WORDS), fit, write)
    return System(model, truth, truth, Metric("held_out", (), "nats a word", loss), as_tokens)


def digits() -> System:
    """Return the chain of an autoencoder; real digits of three parts: to train on, to refer to, to measure the loss."""
    images = np.asarray(lab.load_mnist().images)
    training, others, measured = jnp.asarray(images[:5000]), jnp.asarray(images[5000:9000]), images[9000:]

    def some(pool):
        return lambda key, num: Samples(
            pool[jax.random.choice(key, len(pool), (num,), replace=False)], jnp.ones(num)
        )

    loss = held_out_metrics(measured)[0]._replace(name="held_out")
    model = lab.vae(num_steps=300, learning_rate=4e-3)
    return System(model, some(training), some(others), loss, as_bytes)


def as_tokens(rows: np.ndarray) -> list[list[int]]:
    """Return texts as lists of whole numbers."""
    return rows.tolist()


def as_bytes(rows: np.ndarray) -> np.ndarray:
    """Return images as bytes, which real digits are."""
    return np.round(np.asarray(rows) * 255).astype(np.uint8).reshape(-1, 28, 28)


def grow(system: System, num_samples: int, num_seeds: int, num_generations: int) -> Grown:
    """Return chains of a system, each from real data of its own."""

    def units(data):
        return data.x if data.frame is None else frames.to_data_units(data.frame, data.x)

    def again(key, snapshot):
        return units(system.model.sample(key, snapshot.origin, num_samples))

    metrics = [
        system.loss,
        Metric("rows", ("row", "axis"), "1", lambda key, snapshot: units(snapshot.synthetic)),
        Metric("again", ("row", "axis"), "1", again),
    ]
    chain = lab.build_chain(
        system.model, lab.replace(), lambda key: system.truth(key, num_samples), num_samples, metrics
    )
    result = lab.simulate(chain, jax.random.key(0), num_seeds, num_generations, lanes=min(num_seeds, 8))
    dims = ("seed", "generation", ...)
    more = result["again"].isel(generation=0)
    return Grown(
        result["rows"].transpose(*dims).values, more.values, result["held_out"].transpose(*dims).values
    )


def risen(loss: np.ndarray) -> np.ndarray:
    """Return the generation in which each loss has risen by `RISE` of that of generation 0, infinite if never."""
    above = ~(loss <= (1 + RISE) * loss[:, :1])
    return np.where(above.any(axis=1), above.argmax(axis=1), np.inf)


def watch(
    reference: np.ndarray, generations: Any, seed: int, shown: Callable[[np.ndarray], Any] = np.asarray
) -> tuple[float, tuple[str, ...]]:
    """Return the generation of the alarm, infinite if there is none, and what raised it."""
    monitor = Monitor(shown(reference), alpha=ALPHA, seed=seed)
    for samples in generations:
        reading = monitor.update(shown(samples))
        if reading.alarm:
            return float(reading.generation), reading.raised_by
    return np.inf, ()


def watch_null(seed: int, num_samples: int = 100, num_checks: int = NULL_CHECKS, dim: int = 5) -> float:
    """Return the same of fresh draws of the truth."""
    rng = np.random.default_rng([7, seed])
    draws = [rng.normal(size=(num_samples, dim)) for _ in range(num_checks + 1)]
    return watch(draws[0], draws[1:], seed)[0]


def look(
    system: System, grown: Grown, num_reference: int, num_seen: int | None = None, own: bool = False, each=map
) -> Seen:
    """Return when monitors see it.

    Args:
        system: what ran.
        grown: what it wrote.
        num_reference: rows of the reference.
        num_seen: rows of a generation that are shown; None: all.
        own: the reference is more of generation 0, not held-out real rows.
        each: `map`, or that of a pool of processes.
    """
    seeds = range(len(grown.rows))
    references = [
        grown.more[seed][:num_reference]
        if own
        else np.asarray(system.held_out(jax.random.key(1000 + seed), num_reference).x)
        for seed in seeds
    ]
    shown = list(grown.rows[:, :, :num_seen])
    found = list(each(watch, references, shown, seeds, [system.shown] * len(seeds)))
    names = [name for _, raised_by in found for name in raised_by]
    return Seen(np.array([alarm for alarm, _ in found]), risen(grown.loss), names)


def middle(values: np.ndarray, share: float = 0.5) -> float:
    """Return a quantile of values that may be infinite."""
    return float(np.quantile(values, share, method="inverted_cdf"))


def lead(seen: Seen) -> np.ndarray:
    """Return by how many generations the alarm came before the loss, where one of them was seen at all."""
    known = np.isfinite(seen.alarm) | np.isfinite(seen.loss)
    return seen.loss[known] - seen.alarm[known]


def row(name: str, num_samples: int, num_reference: int, seen: Seen) -> str:
    """Return a row of the table."""
    alarm = [middle(seen.alarm, share) for share in (0.5, 0.25, 0.75)]
    (first, often), *_ = [*Counter(seen.first).most_common(1), ("-", 0)]
    return (
        f"| {name} | {num_samples:,} | {num_reference:,} | {np.isfinite(seen.alarm).mean():.0%} "
        f"| {alarm[0]:g} ({alarm[1]:g} to {alarm[2]:g}) | {first} ({often} of {len(seen.alarm)}) "
        f"| {middle(seen.loss):g} | {middle(lead(seen)):+g} | {np.mean(seen.alarm < seen.loss):.0%} |"
    )


HEAD = (
    "| system | M | reference | alarm | its generation | first | loss + 10 % | lead | alarm first |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def main(out: Path) -> None:
    os.environ["JAX_PLATFORMS"] = "cpu"  # of the processes: a monitor needs no JAX
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    begun = time.perf_counter()
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        found = systems(jobs(), pool.map)
        table, risen_at = sizes(pool.map)
        alarms = np.array(list(pool.map(watch_null, range(NULL_RUNS), chunksize=10)))
    silent = f"{np.isfinite(alarms).sum()} of {NULL_RUNS} alarms in {NULL_CHECKS} checks"
    print(f"fresh draws of the truth: {silent}")
    print(draw(out, found, alarms, table, risen_at))
    monitors = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"{time.perf_counter() - begun:.0f} s; of CPU time {time.process_time():.0f} s the chains, "
        f"{monitors.ru_utime + monitors.ru_stime:.0f} s the monitors"
    )


class Job(NamedTuple):
    """Rows of the table: chains of a system, and references that they are compared with.

    Attributes:
        name: of the system.
        system: what runs.
        num_samples: M.
        num_generations: how many are run.
        references: rows of each, or "own": as many as a generation has, from the model of generation 0.
        num_seeds: how many chains.
    """

    name: str
    system: System
    num_samples: int
    num_generations: int
    references: tuple[Any, ...]
    num_seeds: int = SEEDS


def jobs() -> list[Job]:
    """Return what the table is made of."""
    return [
        Job("Gaussian, d = 5", gaussian(), 100, 60, (100, 500)),
        Job("Gaussian, d = 5", gaussian(), 1000, 160, (1000,)),
        Job("Gaussian, draws of 0.95 variance", gaussian(bias=0.95), 1000, 30, (1000,)),
        Job("mixture of two Gaussians", two_clouds(), 200, 80, (200, 1000)),
        Job("kernel density, Scott", kernels("scott"), 200, 30, (200,)),
        Job("kernel density, width 0.3", kernels("fixed", 0.3), 200, 40, (200,)),
        Job("bigram texts", bigrams(), 500, 20, (500,)),
        Job("autoencoder", digits(), 1000, 6, (1000, "own"), 5),
    ]


def systems(planned: list[Job], each=map) -> dict[str, tuple[Seen, int]]:
    """Print the table; return for each of its rows what was seen, and how many generations were looked at."""
    found = {}
    print(HEAD)
    for job in planned:
        begun = time.perf_counter()
        grown = grow(job.system, job.num_samples, job.num_seeds, job.num_generations)
        ran = time.perf_counter() - begun
        for reference in job.references:
            own = reference == "own"
            num_reference = job.num_samples if own else reference
            seen = look(job.system, grown, num_reference, own=own, each=each)
            name = f"{job.name}, to generation 0" if own else job.name
            print(row(name, job.num_samples, num_reference, seen), flush=True)
            found[f"{name}\nM = {job.num_samples:,}, reference {num_reference:,}"] = (
                seen,
                job.num_generations,
            )
        spent = time.perf_counter() - begun - ran
        print(f"({ran:.0f} s the chains, {spent:.0f} s the monitors)", flush=True)
    return found


def sizes(each=map, num_seeds: int = 12, num_generations: int = 100) -> tuple[np.ndarray, float]:
    """Print and return the alarm's median generation, by rows seen and of the reference; and that of the loss."""
    system = gaussian()
    grown = grow(system, 1000, num_seeds, num_generations)
    table = np.zeros((len(SEEN), len(KNOWN)))
    loss = middle(risen(grown.loss))
    print(
        "| rows seen | "
        + " | ".join(f"reference of {known:,}" for known in KNOWN)
        + " |\n"
        + "|---" * 4
        + "|"
    )
    for place, seen in enumerate(SEEN):
        table[place] = [middle(look(system, grown, known, seen, each=each).alarm) for known in KNOWN]
        print(f"| {seen:,} | " + " | ".join(f"{one:g}" for one in table[place]) + " |", flush=True)
    print(f"loss + 10 %: generation {loss:g}")
    return table, loss


def draw(
    out: Path, found: dict[str, tuple[Seen, int]], null: np.ndarray, table: np.ndarray, risen_at: float
) -> Path:
    """Draw alarms and losses of all systems, the share of seeds with an alarm by generation, and the table of sizes."""
    figure, axes = plots.new_figure(1, 3, width=13.5, height=4.6)
    panel, names = axes[0, 0], list(found)
    for place, (seen, _) in enumerate(found.values()):
        for values, colour, shift in (
            (seen.alarm, plots.COLOURS[1], -0.14),
            (seen.loss, plots.COLOURS[0], 0.14),
        ):
            low, high = middle(values, 0.25), middle(values, 0.75)
            panel.plot([low, high], [place + shift] * 2, "-", color=colour, linewidth=1.5)
            panel.plot([middle(values)], [place + shift], "o", color=colour, markersize=5)
    for colour, label in ((plots.COLOURS[1], "alarm"), (plots.COLOURS[0], "loss risen by 10 %")):
        panel.plot([], [], "o", color=colour, label=label)
    panel.set_yticks(range(len(names)), names, fontsize=7.5)
    panel.invert_yaxis()
    panel.set(title="alarm and loss: median and quartiles", xlabel="generation", xscale="log")
    plots.legend(panel, loc="lower right")
    panel = axes[0, 1]
    lines = {}  # the first reference of each, where there are seeds enough for a share
    for name, (seen, generations) in found.items():
        if len(seen.loss) > 10:
            lines.setdefault(name.split(", reference")[0].replace("\n", ", "), (seen, generations))
    for (label, (seen, generations)), colour in zip(lines.items(), plots.COLOURS):
        checked = np.arange(generations + 1)
        share = [np.mean(seen.alarm <= one) for one in checked]
        panel.step(checked / middle(seen.loss), share, where="post", color=colour, label=label)
    panel.axvline(1, color="black", linewidth=1, linestyle=":")
    panel.set(
        title="share of seeds with an alarm, reference of M rows",
        xlabel="generation, in units of the median one of loss + 10 %",
        xlim=(0, 2.5),
    )
    plots.legend(panel, loc="upper center", bbox_to_anchor=(0.45, -0.14), ncols=2)
    panel = axes[0, 2]
    for alarms, seen_rows, colour in zip(table, SEEN, plots.COLOURS):
        panel.plot(KNOWN, alarms, "o-", color=colour, label=f"{seen_rows:,} rows seen")
    panel.axhline(risen_at, color="black", linewidth=1, linestyle=":", label="loss risen by 10 %")
    panel.set(
        title="Gaussian, d = 5, M = 1,000: alarm", xlabel="rows of the reference", xscale="log", yscale="log"
    )
    panel.set_ylabel("generation")
    panel.set_xticks(KNOWN, [f"{known:,}" for known in KNOWN])
    panel.minorticks_off()
    panel.set_ylim(bottom=table.min() / 3)
    plots.legend(panel, loc="lower left")
    return plots.save_figure(figure, out, "alarm_power")


if __name__ == "__main__":
    main(Path(__file__).parent / "figures")
