"""The autoencoder study: build the chain, draw the figures.

Reference: Shumailov et al. (2024), the variational autoencoder experiment; `--preset paper` is its protocol.
"""

from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from collapse_jax.analysis.pictures import told_digits
from collapse_jax.analysis.plots import COLOURS, Axes, band, digit_film, digit_rows, legend, new_figure
from collapse_jax.core.chain import build_chain
from collapse_jax.metrics.digit_classifiers import (
    JUDGEMENTS,
    DigitClassifiers,
    classifier_metrics,
    load_classifiers,
)
from collapse_jax.models.vae import conv_vae, held_out_metrics, vae, vae_metrics
from collapse_jax.studies.plan import Arm, Illustration, Plan
from collapse_jax.studies.regime_options import named_regime
from collapse_jax.studies.vae.answer import PUBLISHED, answer
from collapse_jax.studies.vae.claims import PUBLISHED_SPREAD, evidence
from collapse_jax.studies.vae.config import VAEConfig
from collapse_jax.studies.vae.digits import NUM_JUDGED_REAL, data_read, held_out_digits, real_digits
from collapse_jax.studies.vae.protocol import judges_unfit, why_unfit
from collapse_jax.validation import check_count

__all__ = ["PUBLISHED", "answer", "build", "evidence", "figures", "remarks"]

_STRANGERS = "The classifiers of digits do not know these images"
SHOWN = (0, 1, 2, 5, 10, 20)
_NUM_SHOWN = 20
_NUM_DRAWN = 10  # of them in the figure; the film has all
_MOST_FRAMES = 41  # of the animation: more generations are shown every second, third, ...


def build(config: VAEConfig) -> Plan:
    """Return the chain of the study, checked.

    Raises:
        ValueError: a field out of range, or digits that cannot be read.
    """
    real = real_digits(config)
    training: dict[str, Any] = {
        name: getattr(config, name)
        for name in ("num_latents", "num_steps", "batch_size", "learning_rate", "weight_decay", "start", "synthetic",
                     "draws")
    }  # fmt: skip
    model = conv_vae(**training) if config.net == "conv" else vae(num_hidden=config.num_hidden, **training)
    regime = named_regime(
        config.regime, real_fraction=config.real_fraction, window_size=config.window_size,
        num_samples=config.num_samples, generations=config.generations,
    )  # fmt: skip
    check_count("num_judged", config.num_judged, minimum=0)
    metrics = (*vae_metrics(config.num_measured, _NUM_SHOWN), *held_out_metrics(held_out_digits(config).images))
    if config.num_judged:
        metrics = (*metrics, *classifier_metrics(_examined_judges(config), config.num_judged))
    chain = build_chain(model, regime, real, config.num_samples, metrics)
    return Plan(
        "num_samples",
        (Arm(config.num_samples, chain),),
        segment_length=1,
        lanes=config.lanes,
        coordinates={"judgement": JUDGEMENTS},
        data=partial(data_read, config),
    )


def remarks(config: VAEConfig) -> tuple[str, ...]:
    """Return what a reader of the report must know about a run: whether the judges know its images."""
    if not config.num_judged or config.data_folder is None:  # the embedded digits they know
        return ()
    judges = _examined_judges(config)
    why = why_unfit(float(judges.accuracy.min()), float(judges.real_unanimous))
    return (f"{_STRANGERS}: {why}. What they say of them is neither drawn nor judged.",) if why else ()


def _examined_judges(config: VAEConfig) -> DigitClassifiers:
    """Return the judges with what they make of the run's own held-out images."""
    return load_classifiers(held_out=held_out_digits(config, NUM_JUDGED_REAL))


def figures(config: VAEConfig, dataset: xr.Dataset) -> list[Illustration]:
    """Return the study's figures."""
    arm = dataset.isel(num_samples=0)
    drawn = [_digits_figure(config, arm), _latent_figure(config, arm), _pixel_figure(config, arm)]
    if not config.num_judged:
        return drawn
    return [*drawn, _held_out_figure(config, arm) if judges_unfit(arm) else _judge_figure(config, arm)]


def _digits_figure(config: VAEConfig, arm: xr.Dataset) -> Illustration:
    num_generations = arm.sizes["generation"]
    shown = [g for g in SHOWN if g < num_generations]
    images = arm["images"].sel(seed=0).transpose("generation", "image", "pixel").values
    figure, axes = new_figure(1, 1, width=4.6, height=0.42 * len(shown) + 0.2)
    digit_rows(axes[0, 0], images[shown, :_NUM_DRAWN], shown)
    steps = range(0, num_generations, -(-num_generations // _MOST_FRAMES))
    caption = (
        f"Images drawn by model g ({config.net}, {config.regime}, M = {config.num_samples:,}, decoder {config.draws}, "
        "seed 0)."
    )
    film = digit_film(images[steps], steps)
    return Illustration("digits", caption, figure, film, told_digits(images[shown, :_NUM_DRAWN], shown))


def _arm_label(config: VAEConfig, arm: xr.Dataset) -> str:
    """Return what a line and its band are, for the legends."""
    drawn = f"median, 90 % of {arm.sizes['seed']} seeds"
    return f"{config.net}, {config.regime}, M = {config.num_samples:,}\n{drawn}"


def _latent_figure(config: VAEConfig, arm: xr.Dataset) -> Illustration:
    figure, axes = new_figure(1, 2, width=8.0)
    band(axes[0, 0], arm["latent_spread"], _arm_label(config, arm), COLOURS[0])
    low, high = np.array(PUBLISHED_SPREAD).T
    axes[0, 0].vlines(
        np.arange(1, 6),
        low,
        high,
        color=COLOURS[1],
        linewidth=4,
        label="published, convolutional net, 5 runs",
    )
    axes[0, 0].set(title="latent spread, encoder of generation 0", xlabel="generation", ylim=(0, None))
    legend(axes[0, 0])
    band(axes[0, 1], arm["latent_mean"], "", COLOURS[0])
    axes[0, 1].axhspan(-0.075, 0.075, color="#bbbbbb", alpha=0.3, label="published: within 0.075 of 0")
    axes[0, 1].set(title="latent mean, encoder of generation 0", xlabel="generation")
    legend(axes[0, 1])
    caption = "How model 0's encoder sees later images: their codes shrink towards one point."
    return Illustration("latent", caption, figure)


def _judge_figure(config: VAEConfig, arm: xr.Dataset) -> Illustration:
    figure, axes = new_figure(2, 3, width=9.0, height=5.0)
    judged = lambda name: arm["judged"].sel(judgement=name)  # noqa: E731
    panels = {
        "unanimous share of images": judged("unanimous_share"),
        "posterior entropy, nats": judged("posterior_entropy"),
        "Frechet distance to real digits": judged("frechet_distance"),
    }
    for panel, (title, values) in zip(axes.flat, panels.items()):
        band(panel, values, _arm_label(config, arm), COLOURS[0])
        panel.set(title=title, ylim=(0, None))
    axes[0, 0].set_ylim(0, 1.02)
    axes[0, 0].axhline(float(arm["real_unanimous_share"].isel(seed=0, generation=0)), color="#999999", linestyle="--",
                       linewidth=0.9, label="real digits")  # fmt: skip
    legend(axes[0, 0])
    pairs = {
        "held-out digits, nats an image": {
            "negative ELBO": arm["held_out_loss"],
            "reconstruction": arm["held_out_reconstruction"],
        },
        "precision and recall": {name: judged(name) for name in ("precision", "recall")},
    }
    for panel, (title, lines) in zip(axes[1], pairs.items()):
        for (name, values), colour in zip(lines.items(), COLOURS):
            band(panel, values, name, colour)
        panel.set(title=title, xlabel="generation", ylim=(0, None))
        legend(panel)
    axes[1, 1].set_ylim(0, 1.02)
    _stack_classes(axes[1, 2], arm["generation"], judged([f"class_{digit}" for digit in range(10)]))
    accuracy = float(arm["judge_accuracy"].isel(seed=0, generation=0).min())
    return Illustration(
        "judges",
        f"What five classifiers of real digits (accuracy {accuracy:.1%} or better on held-out real images) see "
        "in each generation's images: median and 90 % of seeds.",
        figure,
    )


def _stack_classes(panel: Axes, generations: xr.DataArray, shares: xr.DataArray) -> None:
    means = shares.mean("seed").transpose("judgement", "generation")
    greys = [str(0.1 + 0.085 * index) for index in range(10)]
    panel.stackplot(generations, means.values, colors=greys, linewidth=0)
    panel.set(title="classes seen, 0 (bottom) to 9", xlabel="generation", ylim=(0, 1))


def _held_out_figure(config: VAEConfig, arm: xr.Dataset) -> Illustration:
    """What is left of the judges' figure where they know nothing of the images: what no judge has a part in."""
    figure, axes = new_figure(1, 1, width=4.5)
    lines = {"negative ELBO": arm["held_out_loss"], "reconstruction": arm["held_out_reconstruction"]}
    for (name, values), colour in zip(lines.items(), COLOURS):
        band(axes[0, 0], values, name, colour)
    axes[0, 0].set(title="held-out images, nats an image", xlabel="generation", ylim=(0, None))
    legend(axes[0, 0])
    caption = (
        f"Each model on held-out real images: median and 90 % of {arm.sizes['seed']} seeds. {_STRANGERS}, so that what "
        "they see is not drawn."
    )
    return Illustration("held_out", caption, figure)


def _pixel_figure(config: VAEConfig, arm: xr.Dataset) -> Illustration:
    figure, axes = new_figure(1, 3, width=9.0)
    panels = {
        "pixel variance over images": "pixel_variance",
        "high-frequency energy": "sharpness",
        "training loss, nats an image": "loss",
    }
    for panel, (title, name) in zip(axes[0], panels.items()):
        band(panel, arm[name], _arm_label(config, arm), COLOURS[0])
        panel.set(title=title, xlabel="generation", ylim=(0, None))
    legend(axes[0, 0])
    caption = (
        "Images grow alike (pixel variance) and smooth (high-frequency energy). The loss of grey targets has their "
        "own entropy as its floor, so losses of different generations are not on one scale."
    )
    return Illustration("pixels", caption, figure)
