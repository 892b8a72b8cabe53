"""Is my run collapsing? Five models and data sets that nobody here wrote, each refitted to its own output and watched.

    .venv/bin/python experiments/watch_gallery.py
    .venv/bin/python experiments/watch_gallery.py wine texts     # some of them; the figure is of all five

scikit-learn's mixture and kernel density, CTGAN, an autoencoder in PyTorch and an OPT in transformers, fitted, sampled
and fitted again as their users would, under the `Monitor`. A third of the real rows is held out as its reference. A
generation 0 that differs from it already raises the alarm, too; a second monitor has generation 0 as its reference, and
asks what has changed since. Needs the extra `peers`; CTGAN `ctgan`, and is left out where that is not installed.

Answer: all five raise the alarm, in generation 1 to 7; three lose variance or variety, two gain variance. Against real
samples, and since generation 0: a mixture of 119 wines in generation 7 and 6, by the range; half of its variance is
gone in generation 51 (foretold in 15: after 58 more, 36 to 84). Kernel density 2 and 3, by a variance that grows to 250
times. CTGAN 2 and 3: its rows lack the correlations, generation 0 has 22 times the variance (geometric mean over
directions), and what a forest learns of them falls from 0.91 to 0.36. Digits 1 and 2, with 14 % of the variance after
one generation and 0.05 % after seven. Texts 2 and 4, while real text costs 4.7, 5.4 and 6.1 nats a token in generations
0, 2 and 4. Only the mixture's generation 0 is not told from real rows.
"""

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

import collapse_jax.datasets
from collapse_jax import load_mnist, load_wikipedia, plots, to_blocks
from collapse_jax.monitor import Forecast, Monitor, Reading

MOST_LINES = 8  # of a table

Generations = Iterator[tuple[int, Any, float]]  # generation, samples, quality


class Example(NamedTuple):
    """A model that learns from itself.

    Attributes:
        reference: real samples that nobody trains on.
        generations: yields each generation's number, samples and quality.
        quality: what that is.
        options: of the monitor.
    """

    reference: Any
    generations: Generations
    quality: str
    options: Mapping[str, Any] = MappingProxyType({})


def wine(num_generations: int = 16) -> Example:
    """scikit-learn's GaussianMixture, one for each class of its wines: 13 columns of numbers, and the cultivar."""
    from sklearn.datasets import load_wine
    from sklearn.mixture import GaussianMixture

    bunch = load_wine(as_frame=True)
    table = bunch.data.assign(cultivar=bunch.target_names[bunch.target])
    reference, real = held_out(table)

    def generations() -> Generations:
        rows, rng = real, np.random.default_rng(0)
        for generation in range(num_generations):
            cultivars = rng.choice(rows["cultivar"], len(real))  # by their shares
            parts = []
            for cultivar, count in zip(*np.unique(cultivars, return_counts=True)):
                own = rows[rows["cultivar"] == cultivar].drop(columns="cultivar")
                mixture = GaussianMixture(2, covariance_type="diag", random_state=generation)
                drawn = pd.DataFrame(mixture.fit(own.to_numpy()).sample(count)[0], columns=own.columns)
                parts.append(drawn.assign(cultivar=cultivar))
            rows = pd.concat(parts, ignore_index=True)
            yield generation, rows, learnt_from(rows, reference, "cultivar")

    return Example(reference, generations(), "accuracy on real rows")


def diabetes(num_generations: int = 12) -> Example:
    """scikit-learn's KernelDensity of its diabetes data, as its manual samples: bandwidth by cross-validation."""
    from sklearn.datasets import load_diabetes
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KernelDensity
    from sklearn.preprocessing import StandardScaler

    reference, real = held_out(load_diabetes(as_frame=True, scaled=False).data)
    reference, real = reference.to_numpy(), real.to_numpy()

    def generations() -> Generations:
        rows = real
        for generation in range(num_generations):
            scaler = StandardScaler().fit(rows)
            search = GridSearchCV(KernelDensity(), {"bandwidth": np.logspace(-1, 0.25, 8)})
            density = search.fit(scaler.transform(rows)).best_estimator_
            found = density.score_samples(scaler.transform(reference)) - np.log(scaler.scale_).sum()
            rows = scaler.inverse_transform(density.sample(len(real), random_state=generation))
            yield generation, rows, found.mean()

    return Example(reference, generations(), "log-likelihood of real rows, nats")


def tumours(num_generations: int = 7, epochs: int = 300) -> Example:
    """CTGAN on ten columns of scikit-learn's breast cancer data: diagnosis, size in five grades, eight means."""
    import torch
    from ctgan import CTGAN
    from sklearn.datasets import load_breast_cancer

    torch.set_num_threads(1)  # more of them wait for each other where cores are shared
    bunch = load_breast_cancer(as_frame=True)
    table = bunch.data.iloc[:, :8].assign(diagnosis=bunch.target_names[bunch.target])
    sizes = pd.qcut(table["mean area"], [0, 0.1, 0.5, 0.9, 0.98, 1], ["xs", "s", "m", "l", "xl"])
    table["size"] = sizes.astype(str)
    reference, real = held_out(table)

    def generations() -> Generations:
        rows = real
        for generation in range(num_generations):
            torch.manual_seed(generation)
            model = CTGAN(epochs=epochs, batch_size=100, enable_gpu=False)
            model.set_random_state(generation)
            model.fit(rows, discrete_columns=["diagnosis", "size"])
            rows = model.sample(len(real))
            yield generation, rows, learnt_from(rows, reference, "diagnosis")

    return Example(reference, generations(), "accuracy on real rows")


def digits(num_generations: int = 8, num_images: int = 1000) -> Example:
    """An autoencoder in PyTorch, the one of torch_vae.py, on handwritten digits."""
    import torch
    import torch_vae

    torch.set_num_threads(1)
    images = load_mnist().images[: 2 * num_images]
    reference, real = images[num_images:].reshape(-1, 28, 28), images[:num_images]

    def generations() -> Generations:
        rows = real
        for generation in range(num_generations):
            decoder, info = torch_vae.fit(generation, None, rows, np.ones(len(rows), np.float32))
            rows = torch_vae.sample(generation, decoder, len(real))
            yield generation, rows.reshape(-1, 28, 28), info["loss"]

    return Example(reference, generations(), "training loss, nats an image")


def texts(num_generations: int = 6, num_texts: int = 400, epochs: int = 3) -> Example:
    """A tiny OPT, read, fine-tuned on Wikipedia, sampled and fine-tuned on its samples by transformers."""
    import copy

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    folder = Path(collapse_jax.datasets.__file__).parent / "files" / "opt_tiny"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def blocks(lines: list[str]) -> torch.Tensor:  # 8 tokens of prompt and 56 to write
        return torch.tensor(to_blocks(tokenizer(lines, add_special_tokens=False).input_ids, 64)).long()

    def fine_tune(rows: torch.Tensor) -> None:
        optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)
        for batch in torch.cat([rows[torch.randperm(len(rows))] for _ in range(epochs)]).split(32):
            model(batch, labels=batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    @torch.no_grad()
    def nats(judge: torch.nn.Module, written: list[str]) -> list[float]:
        found = [tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids for text in written]
        return [float(judge(ids, labels=ids).loss) if ids.shape[1] > 1 else 0.0 for ids in found]

    corpus = load_wikipedia()
    real, unread = blocks(corpus.train)[:num_texts], blocks(corpus.validation)[:num_texts]
    reference = tokenizer.batch_decode(unread[:, 8:])
    torch.manual_seed(0)
    fine_tune(real)
    first = copy.deepcopy(model)

    def generations() -> Generations:
        for generation in range(num_generations):
            written = model.generate(real[:, :8], do_sample=True, min_new_tokens=56, max_new_tokens=56)
            samples = tokenizer.batch_decode(written[:, 8:])
            yield generation, samples, float(np.mean(nats(model, reference[:100])))
            fine_tune(written)

    options = {"scorer": lambda written: nats(first, written)}
    return Example(reference, generations(), "log-loss of real text, nats a token", options)


MODELS = {
    "wine": "scikit-learn's mixture", "diabetes": "kernel density", "tumours": "CTGAN",
    "digits": "an autoencoder in PyTorch", "texts": "OPT in transformers",
}  # fmt: skip
EXAMPLES: dict[str, Callable[[], Example]] = {
    "wine": wine, "diabetes": diabetes, "tumours": tumours, "digits": digits, "texts": texts,
}  # fmt: skip


def held_out(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a third of the rows, which nobody trains on, and the others."""
    rows = table.sample(frac=1, random_state=0)
    return rows[: len(rows) // 3], rows[len(rows) // 3 :]


def learnt_from(rows: pd.DataFrame, reference: pd.DataFrame, label: str) -> float:
    """Return the accuracy on real rows of a forest that learnt from these."""
    from sklearn.ensemble import RandomForestClassifier

    numbers = rows.select_dtypes("number").columns
    forest = RandomForestClassifier(50, random_state=0).fit(rows[numbers], rows[label])
    return float(forest.score(reference[numbers], reference[label]))


class Watched(NamedTuple):
    """What a monitor said of all generations."""

    monitor: Monitor
    forecasts: list[Forecast]


def watch(reference: Any, generations: list[tuple[int, Any]], options: Mapping[str, Any]) -> Watched:
    """Return what a monitor says of them."""
    monitor, forecasts = Monitor(reference, **options), []
    for generation, samples in generations:
        monitor.update(samples, generation)
        forecasts.append(monitor.forecast())
    return Watched(monitor, forecasts)


def at_alarm(monitor: Monitor) -> Reading:
    """Return what the monitor said when it raised the alarm, or last."""
    return next((one for one in monitor.readings if one.alarm), monitor.readings[-1])


def left(forecast: Forecast) -> str:
    """Return how many generations are left until half of the variance."""
    if np.isnan(forecast.generations):
        return "-"
    if np.isinf(forecast.low):
        return "does not fall"
    return f"{forecast.generations:,.0f} ({forecast.low:,.0f} to {forecast.high:,.0f})"


def show(watched: Watched, quality: list[float]) -> None:
    """Print a line for each generation: the three statistics with the most evidence, and what they come to."""
    readings = watched.monitor.readings
    told = sorted(at_alarm(watched.monitor).measured, key=lambda one: -one.evidence)
    names = [one.name for one in told[:3]]
    print("  gen " + "".join(f"{name:>13s}" for name in names) + f"{'evidence':>12s}{'quality':>9s}   left")
    shown = [round(place) for place in np.linspace(0, len(readings) - 1, MOST_LINES)]
    for place in sorted({*shown, readings.index(at_alarm(watched.monitor))}):
        reading, forecast, value = readings[place], watched.forecasts[place], quality[place]
        cells = [f"{reading[name].value:.3g}{' ' if reading[name].is_usual else '*'}" for name in names]
        told = f"{reading.evidence:.2g}{'!' if reading.alarm else ' '}"
        print(
            f"  {reading.generation:3d} " + "".join(f"{cell:>13s}" for cell in cells) + f"{told:>12s}{value:9.3g}"
            f"   {left(forecast)}"
        )  # fmt: skip


def named(statistics: Sequence[str]) -> str:
    """Return the first of these names, and how many more there are."""
    more = [f"{len(statistics) - 3} more"] if len(statistics) > 3 else []
    return " and ".join([", ".join(statistics[:3]), *more])


def says(monitor: Monitor, since: str) -> str:
    """Return one sentence."""
    if monitor.alarm is None:
        return f"{since}: no alarm in {len(monitor.readings)} generations."
    return f"{since}: alarm in generation {monitor.alarm}, by {named(at_alarm(monitor).raised_by)}."


def differs(first: Reading) -> str:
    """Return which statistics of the first generation differ already, counting how many there are (Bonferroni)."""
    told = [one.name for one in first.measured if one.p * len(first.measured) <= 0.05]
    if not told:
        return "Nothing in generation 0 tells it from the reference."
    return f"Generation 0 differs from the reference already, by {named(told)}."


def main(names: list[str], out: Path) -> None:
    found = {}
    for name in names:
        begun = time.perf_counter()
        try:
            example = EXAMPLES[name]()
        except ModuleNotFoundError as error:
            print(f"{name}: left out, {error}.\n")
            continue
        quality, generations = [], []
        for generation, drawn, value in example.generations:
            generations.append((generation, drawn))
            quality.append(value)
        trained = time.perf_counter() - begun
        real = watch(example.reference, generations, example.options)
        since = watch(generations[0][1], generations[1:], example.options)
        watched = time.perf_counter() - begun - trained
        print(f"{name}: {EXAMPLES[name].__doc__}")
        print(f"  {len(generations[0][1])} samples a generation, {len(example.reference)} real ones held out")
        print(f"  quality: {example.quality}; *: not as usual; !: alarm; left: until half of the variance is")
        show(real, quality)
        print(f"  {real.forecasts[-1].reason}")
        print(f"  {differs(real.monitor.readings[0])}")
        print(f"  {says(real.monitor, 'Against real samples')}")
        print(f"  {says(since.monitor, 'Since generation 0')}")
        show(since, quality[1:])
        print(f"  {since.forecasts[-1].reason}")
        print(f"  {trained:.0f} s of training, {watched:.0f} s of watching\n", flush=True)
        found[name] = (example, real, since, quality)
    if len(found) == len(EXAMPLES):
        print(draw(found, out))


def draw(found: dict[str, tuple[Example, Watched, Watched, list[float]]], out: Path) -> Path:
    """Write the figure, a panel for each example: evidence as a share of the alarm's, and the quality."""
    figure, axes = plots.new_figure(2, 3, width=10.2, height=5.4)
    blue, orange, green = plots.COLOURS[:3]
    *panels, last = axes.flat
    for panel, (name, (example, real, since, quality)) in zip(panels, found.items(), strict=True):
        for watched, colour in ((real, blue), (since, orange)):
            readings = watched.monitor.readings
            places = [one.generation for one in readings]
            panel.plot(places, [one.evidence for one in readings], ".-", color=colour)
            if watched.monitor.alarm is not None:
                first = at_alarm(watched.monitor)
                panel.plot(first.generation, first.evidence, "o", color=colour, markersize=8)
        panel.axhline(1, color="black", linewidth=0.8)
        panel.set(title=f"{name}: {MODELS[name]}", xlabel="generation", yscale="log", ylim=(1e-3, 1e7))
        panel.set_ylabel("evidence over the alarm's")
        panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        other = panel.twinx()
        other.plot(range(len(quality)), quality, ":", color=green)
        other.set_ylabel(example.quality, color=green, fontsize=7.5)
        other.tick_params(axis="y", colors=green, labelsize=7.5)
        other.grid(visible=False)
        other.spines["top"].set_visible(False)
    last.set_axis_off()
    for colour, line, label in (
        (blue, ".-", "evidence against held-out real samples"), (orange, ".-", "evidence since generation 0"),
        ("black", "-", "alarm; false in 1 run of 20 at most"), (green, ":", "quality, right axis"),
    ):  # fmt: skip
        last.plot([], [], line, color=colour, label=label)
    last.plot([], [], "o", color="grey", markersize=8, label="the generation that raised the alarm")
    plots.legend(last, loc="center", fontsize=8)
    return plots.save_figure(figure, out, "watch_gallery")


if __name__ == "__main__":
    main(sys.argv[1:] or list(EXAMPLES), Path(__file__).parent / "figures")
