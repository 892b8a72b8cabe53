"""The figures of the language-model study."""

import textwrap

import numpy as np
import xarray as xr

from collapse_jax.nn.tokenizer import decode
from collapse_jax.plots import COLOURS, band, legend, new_figure
from collapse_jax.studies.opt.config import OPTStudyConfig
from collapse_jax.studies.opt.texts import load_model
from collapse_jax.studies.plan import Illustration

_SHOWN = (0, 1, 2, 3, 5, 9)  # the generations of the published tail figure
_CHARACTERS = 260  # of a sample text


def figures(config: OPTStudyConfig, dataset: xr.Dataset) -> list[Illustration]:
    """Return the study's figures."""
    return [
        _loss(config, dataset),
        _tail(config, dataset),
        _words(dataset),
        _bands(dataset),
        _texts(config, dataset),
    ]


def _label(config: OPTStudyConfig, dataset: xr.Dataset) -> str:
    size = dataset.sizes["text"]
    return f"M = {size} blocks of 64 tokens; median and range of {dataset.sizes['seed']} seeds"


def _loss(config: OPTStudyConfig, dataset: xr.Dataset) -> Illustration:
    figure, axes = new_figure(1, 3, width=9.6, height=3.1)
    for panel, protocol in zip(axes[0], dataset["protocol"].values):
        for name, colour in zip(dataset["arm"].values, COLOURS):
            values = xr.ufuncs.exp(dataset["validation"].sel(arm=name, protocol=protocol))
            band(panel, values, str(name), colour, share=1.0)
        panel.set(title=f"perplexity, {protocol}", xlabel="generation", yscale="log")
    zero = float(np.exp(dataset["zero_shot"].isel(arm=0, seed=0, generation=0)))
    axes[0, 0].axhline(zero, color="#999999", linestyle="--", linewidth=0.9, label="before fine-tuning")
    legend(axes[0, 0])
    caption = (
        f"Perplexity on held-out real text by three protocols. A: no original data; B: {config.kept:.0%} kept; the "
        f"number is that of epochs. {_label(config, dataset)}. All seeds share one pretrained model."
    )
    return Illustration("perplexity", caption, figure)


def _tail(config: OPTStudyConfig, dataset: xr.Dataset) -> Illustration:
    names = list(dataset["arm"].values)
    figure, axes = new_figure(1, len(names), width=max(3.4 * len(names), 4.5), height=3.2)
    shown = [g for g in _SHOWN if g < dataset.sizes["generation"]]
    everything = dataset["generated_nats"].values
    edges = np.linspace(np.nanmin(everything), np.nanmax(everything), 41)
    for panel, name in zip(axes[0], names):
        for rank, generation in enumerate(shown):
            values = dataset["generated_nats"].sel(arm=name, generation=generation).values.ravel()
            share = np.histogram(values[np.isfinite(values)], edges)[0] / max(values.size, 1)
            shade = 0.15 + 0.7 * rank / max(len(shown) - 1, 1)
            panel.stairs(
                share, np.exp(edges), color=(shade, 0.25, 1 - shade), label=f"generation {generation}"
            )
        panel.set(xscale="log", title=str(name), xlabel="perplexity under model 0")
    axes[0, 0].set_ylabel("share of generated texts")
    legend(axes[0, 0])
    caption = (
        "Each generated text under model 0. Mass to the left is text that model 0 finds probable; a tail to the right "
        f"is text that it would hardly write. {dataset.sizes['text']} texts of each of {dataset.sizes['seed']} seeds."
    )
    return Illustration("tails", caption, figure)


def _words(dataset: xr.Dataset) -> Illustration:
    figure, axes = new_figure(1, 4, width=10.0, height=2.8)
    panels = {
        "different tokens written": dataset["vocabulary"],
        "entropy of tokens, nats": dataset["entropy"],
        "share of different triples": dataset["distinct"].isel(order=1),
        "repeated within a text": dataset["repetition"],
    }
    for panel, (title, values) in zip(axes[0], panels.items()):
        for name, colour in zip(dataset["arm"].values, COLOURS):
            band(panel, values.sel(arm=name), str(name), colour, share=1.0)
        panel.set(title=title, xlabel="generation", ylim=(0, None))
    legend(axes[0, 0])
    caption = (
        "What is written: vocabulary, entropy, share of different token triples in a generation, and the share \
of a text's quadruples that it has said before."
    )
    return Illustration("words", caption, figure)


def _bands(dataset: xr.Dataset) -> Illustration:
    names = list(dataset["arm"].values)
    figure, axes = new_figure(1, len(names), width=max(3.2 * len(names), 4.2), height=3.0)
    change = dataset["band_log_probs"] - dataset["band_log_probs"].sel(generation=0)
    num_bands = dataset.sizes["band"]
    for panel, name in zip(axes[0], names):
        for index in range(num_bands):
            where = {0: ", rarest", num_bands - 1: ", commonest"}.get(index, "")
            shade = 0.75 * (1 - index / max(num_bands - 1, 1))
            mean = change.sel(arm=name).isel(band=index).mean("seed")
            panel.plot(dataset["generation"], mean, color=str(shade), label=f"fifth {index + 1}{where}")
        panel.axhline(0, color="#999999", linewidth=0.7)
        panel.set(title=str(name), xlabel="generation")
    axes[0, 0].set_ylabel("change of log p, nats")
    legend(axes[0, 0])
    caption = (
        "Forgetting by frequency: how the log-probability of real held-out tokens has changed since generation \
0, by how common they are in the real training text."
    )
    return Illustration("bands", caption, figure)


def _texts(config: OPTStudyConfig, dataset: xr.Dataset) -> Illustration:
    """Return what the first prompts were continued by, generation beside generation."""
    tokenizer = load_model(config.model)[2]
    names = list(dataset["arm"].values)
    last = dataset.sizes["generation"] - 1
    shown = sorted({0, 1, last // 2, last})
    figure, axes = new_figure(len(names), len(shown), width=2.6 * len(shown), height=1.7 * len(names))
    for row, name in zip(axes, names):
        for panel, generation in zip(row, shown):
            tokens = dataset["texts"].sel(arm=name, generation=generation).isel(seed=0).values
            finite = tokens[np.isfinite(tokens).all(axis=1)].astype(int)
            written = [" ".join(text.split())[:_CHARACTERS] for text in decode(tokenizer, finite)]
            lines = ["\n".join(textwrap.wrap(text, 46)[:6]) for text in written[:2]]
            panel.text(0, 0.98, "\n\n".join(lines), fontsize=6.5, va="top", parse_math=False)
            panel.set_axis_off()
            panel.set_title(f"{name}, generation {generation}", loc="left", fontsize=8)
    return Illustration("texts", "Continuations of the same two real prompts (seed 0).", figure)
