"""The figures of the language-model study."""

import numpy as np
import xarray as xr

from collapse_jax.analysis.plots import (
    COLOURS,
    Axes,
    Figure,
    at_a_glance,
    band,
    legend,
    name_lines,
    new_figure,
    plain_ticks,
)
from collapse_jax.networks.opt.tokenizer import decode
from collapse_jax.studies.opt.arms import parse_arm
from collapse_jax.studies.opt.config import OPTStudyConfig
from collapse_jax.studies.plan import Illustration, Passage
from collapse_jax.studies.texts import load_model

_SHOWN = (0, 1, 2, 3, 5, 9)  # the generations of the published tail figure
_LINES = ("-", "--", ":", "-.")
_CHARACTERS = 260  # of a sample text


def figures(config: OPTStudyConfig, dataset: xr.Dataset) -> list[Illustration]:
    """Return the study's figures."""
    return [
        _glance(dataset),
        _loss(config, dataset),
        *([_divergence(dataset)] if "divergence" in dataset else []),
        _tail(config, dataset),
        _shares(dataset),
        _words(dataset),
        _bands(dataset),
        _texts(config, dataset),
    ]


def _glance(dataset: xr.Dataset) -> Illustration:
    """What the study asks: what becomes of real text."""
    perplexity: xr.DataArray = xr.ufuncs.exp(dataset["validation"].isel(protocol=0))
    arms = {str(name): perplexity.sel(arm=name) for name in dataset["arm"].values}
    caption = f"Perplexity on held-out real text, by blocks of 64: median and range of {dataset.sizes['seed']} seeds."
    return Illustration("glance", caption, at_a_glance(arms, "perplexity on real text", share=1.0))


def _label(config: OPTStudyConfig, dataset: xr.Dataset) -> str:
    size = dataset.sizes["text"]
    return f"M = {size} blocks of 64 tokens; median and range of {dataset.sizes['seed']} seeds"


def _loss(config: OPTStudyConfig, dataset: xr.Dataset) -> Illustration:
    figure, axes = new_figure(1, 4, width=11.5, height=3.1)
    for panel, protocol in zip(axes[0], dataset["protocol"].values):
        _draw(panel, dataset, xr.ufuncs.exp(dataset["validation"].sel(protocol=protocol)))
        panel.set(title=f"perplexity, {protocol}", yscale="log")
    zero = dataset["zero_shot"].isel(arm=0, seed=0, generation=0)
    axes[0, 0].axhline(
        float(np.exp(zero)), color="#999999", linestyle="-.", linewidth=0.9, label="before fine-tuning"
    )
    _draw(axes[0, 3], dataset, dataset["validation"].isel(protocol=0) / dataset["bytes_per_token"])
    axes[0, 3].set(title="nats a byte, blocks of 64")
    for panel in axes[0, :3]:
        plain_ticks(panel.yaxis)
    name_lines(figure, axes[0, 3], axes[0, 0])
    caption = (
        "Perplexity on held-out real text by three protocols, and the log-loss by bytes. "
        f"A: no original data; B: {config.kept:.0%} kept; the number is that of epochs. {_label(config, dataset)}."
    )
    return Illustration("perplexity", caption, figure)


def _divergence(dataset: xr.Dataset) -> Illustration:
    figure, axes = new_figure(1, 2, width=7.6, height=3.1)
    titles = ("KL(truth || model), on text of the truth", "KL(model || truth), on text of the model")
    for panel, direction, title in zip(axes[0], dataset["direction"].values, titles):
        _draw(panel, dataset, dataset["divergence"].sel(direction=direction))
        panel.set(title=title, yscale="log")
    axes[0, 0].set_ylabel("nats a token")
    name_lines(figure, axes[0, 0])
    caption = "Distance from the teacher that is the truth, summed exactly over all next tokens."
    return Illustration("divergence", caption, figure)


def _draw(panel: Axes, dataset: xr.Dataset, values: xr.DataArray) -> None:
    """Draw every arm: its colour is that of its setting and epochs, its line that of its way of writing."""
    arms = {str(name): parse_arm(str(name)) for name in dataset["arm"].values}
    settings = list(dict.fromkeys((arm.setting, arm.epochs) for arm in arms.values()))
    ways = list(dict.fromkeys(arm[2:] for arm in arms.values()))
    for name, arm in arms.items():
        colour = COLOURS[settings.index((arm.setting, arm.epochs)) % len(COLOURS)]
        band(panel, values.sel(arm=name), name, colour, 1.0, _LINES[ways.index(arm[2:]) % len(_LINES)])
    panel.set_xlabel("generation")


def _panels(names: list[str], height: float) -> tuple[Figure, list[Axes]]:
    """Return a panel for each arm, at most four beside each other."""
    columns = min(len(names), 4)
    rows = -(-len(names) // columns)
    figure, axes = new_figure(rows, columns, width=max(3.2 * columns, 4.5), height=height * rows)
    for panel in axes.ravel()[len(names) :]:
        panel.set_axis_off()
    return figure, list(axes.ravel()[: len(names)])


def _tail(config: OPTStudyConfig, dataset: xr.Dataset) -> Illustration:
    names = list(dataset["arm"].values)
    figure, panels = _panels(names, 3.0)
    shown = [g for g in _SHOWN if g < dataset.sizes["generation"]]
    everything = dataset["generated_nats"].values
    edges = np.linspace(np.nanmin(everything), np.nanmax(everything), 41)
    for panel, name in zip(panels, names):
        for rank, generation in enumerate(shown):
            values = dataset["generated_nats"].sel(arm=name, generation=generation).values.ravel()
            share = np.histogram(values[np.isfinite(values)], edges)[0] / max(values.size, 1)
            shade = 0.15 + 0.7 * rank / max(len(shown) - 1, 1)
            panel.stairs(
                share, np.exp(edges), color=(shade, 0.25, 1 - shade), label=f"generation {generation}"
            )
        panel.set(xscale="log", title=str(name), xlabel="perplexity under model 0")
        plain_ticks(panel.xaxis)
    panels[0].set_ylabel("share of generated texts")
    legend(panels[0])
    caption = (
        "Generated texts under model 0: to the left what it finds probable, to the right what it would hardly write. "
        f"{dataset.sizes['text']} texts of each of {dataset.sizes['seed']} seeds."
    )
    return Illustration("tails", caption, figure)


def _shares(dataset: xr.Dataset) -> Illustration:
    """Return how many texts lie outside of model 0's own range, generation by generation."""
    figure, axes = new_figure(1, 4, width=11.5, height=3.0)
    outside = {
        "below its 5th percentile": (0.05, lambda values, edge: values <= edge),
        "above its 99th percentile": (0.99, lambda values, edge: values > edge),
        "above its largest": (1.0, lambda values, edge: values > edge),
    }
    values = dataset["generated_nats"]
    for panel, (title, (quantile, is_outside)) in zip(axes[0], outside.items()):
        edge = values.sel(generation=0).quantile(quantile, "text")
        _draw(panel, dataset, is_outside(values, edge).where(values.notnull()).mean("text"))
        panel.axhline(quantile if quantile < 0.5 else 1 - quantile, color="#999999", linewidth=0.7)
        panel.set(title=title, ylim=(0, None))
    _draw(axes[0, 3], dataset, values.median("text"))
    axes[0, 3].set(title="median text, nats a token")
    axes[0, 0].set_ylabel("share of generated texts")
    name_lines(figure, axes[0, 3])
    caption = (
        "Generated texts under model 0 that lie outside of what model 0 itself wrote, and their median. Grey: what "
        "generation 0 has by construction."
    )
    return Illustration("shares", caption, figure)


def _words(dataset: xr.Dataset) -> Illustration:
    figure, axes = new_figure(1, 4, width=10.0, height=2.8)
    panels = {
        "vocabulary forgotten": dataset["forgotten"],
        "entropy of tokens, nats": dataset["entropy"],
        "share of different triples": dataset["distinct"].isel(order=1),
        "repeated within a text": dataset["repetition"],
    }
    for panel, (title, values) in zip(axes[0], panels.items()):
        _draw(panel, dataset, values)
        panel.set(title=title, ylim=(0, None))
    name_lines(figure, axes[0, 0])
    caption = (
        "What is written: the share of the real text's tokens that is never written, entropy, different token triples, "
        "and the share of a text's quadruples that it has said before."
    )
    return Illustration("words", caption, figure)


def _bands(dataset: xr.Dataset) -> Illustration:
    names = list(dataset["arm"].values)
    figure, panels = _panels(names, 2.9)
    for panel in panels[1:]:
        panel.sharey(panels[0])
    change = dataset["band_log_probs"] - dataset["band_log_probs"].sel(generation=0)
    num_bands = dataset.sizes["band"]
    for panel, name in zip(panels, names):
        for index in range(num_bands):
            where = {0: ", rarest", num_bands - 1: ", commonest"}.get(index, "")
            shade = 0.75 * (1 - index / max(num_bands - 1, 1))
            mean = change.sel(arm=name).isel(band=index).mean("seed")
            panel.plot(dataset["generation"], mean, color=str(shade), label=f"fifth {index + 1}{where}")
        panel.axhline(0, color="#999999", linewidth=0.7)
        panel.set(title=str(name), xlabel="generation")
    panels[0].set_ylabel("change of log p, nats")
    legend(panels[-1], loc="upper left", bbox_to_anchor=(1.0, 1.0))
    caption = (
        "Forgetting: change of the log-probability of real held-out tokens since generation 0, by how common they are."
    )
    return Illustration("bands", caption, figure)


def _texts(config: OPTStudyConfig, dataset: xr.Dataset) -> Illustration:
    """Return what the first prompts were continued by, generation after generation."""
    tokenizer = load_model(config.model)[2]
    last = dataset.sizes["generation"] - 1
    shown = sorted({0, 1, last // 2, last})

    def written(tokens: np.ndarray) -> str:
        if not np.isfinite(tokens).all():
            return "not reached"
        (text,) = decode(tokenizer, tokens[None].astype(int))
        text = " ".join(text.split())
        return text if len(text) <= _CHARACTERS else text[:_CHARACTERS] + " …"

    def passage(name: str, sample: int) -> Passage:
        arm = dataset.sel(arm=name).isel(seed=0, sample=sample)
        lines = [("prompt", written(arm["prompts"].sel(generation=0).values))]
        lines += [(f"generation {g}", written(arm["texts"].sel(generation=g).values)) for g in shown]
        return Passage(f"{name}, prompt {sample + 1}", tuple(lines))

    texts = tuple(passage(str(name), n) for name in dataset["arm"].values for n in range(dataset.sizes["sample"]))
    caption = f"Real prompts and their continuations, seed 0; prompts are {config.prompts} ones."
    return Illustration("texts", caption, None, texts=texts)
