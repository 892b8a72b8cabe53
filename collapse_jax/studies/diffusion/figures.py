"""Figures of the diffusion study: variances beside the sampler's null, images, half-lives, likeness, toys."""

import math

import numpy as np
import xarray as xr

from collapse_jax.analysis.estimands import last_reached
from collapse_jax.analysis.pictures import told_digits
from collapse_jax.analysis.plots import COLOURS, Axes, band, digit_film, digit_rows, legend, new_figure
from collapse_jax.studies.diffusion.arms import ArmOfSampler, parse_arm
from collapse_jax.studies.diffusion.config import DiffusionConfig
from collapse_jax.studies.plan import Illustration
from collapse_jax.studies.published import data_read
from collapse_jax.theory.samplers import sampler_half_life

_SHOWN = (0, 1, 2, 4, 8, 16, 32, 64, 100)
_MOST_ARMS = 6  # that get a panel or a line of their own
_COLUMNS = 2  # of panels of arms
_STEPS = (10, 20, 50, 100, 200, 500)
_EIGENVALUES = (0, 9, 29)  # components whose half-lives are drawn
_MOST_FRAMES = 41  # of the animation


def figures(config: DiffusionConfig, dataset: xr.Dataset) -> list[Illustration]:
    """Return the study's figures; of a run that has not come far, those that its records suffice for."""
    drawn = []
    if "log_kept" in dataset and last_reached(dataset["log_kept"].isel(component=0)) >= 0:
        drawn += [_variances(config, dataset), _digits(config, dataset), _quality(config, dataset)]
        told = _real_variances(dataset)
        if len(told):
            drawn.append(_half_lives(config, dataset, told))
        if "judged" in dataset:
            drawn.append(_judged(config, dataset))
    if "toy_points" in dataset:
        drawn.append(_toys(config, dataset))
    return drawn


def _arms(dataset: xr.Dataset) -> list[str]:
    """Return the arms that are drawn."""
    return [str(name) for name in dataset["arm"].values][:_MOST_ARMS]


def _more(dataset: xr.Dataset) -> str:
    num = dataset.sizes["arm"] - _MOST_ARMS
    return f" {num} more arms are in the records." if num > 0 else ""


def _real_variances(dataset: xr.Dataset) -> np.ndarray:
    """Return the variances of the real digits along their axes, none where a run does not say."""
    told, num = data_read(dataset) or {}, dataset.sizes["component"]
    names = [f"variance_{place}" for place in range(1, num + 1)]
    return (
        np.array([told[name] for name in names], float)
        if all(name in told for name in names)
        else np.array([])
    )


def _variances(config: DiffusionConfig, dataset: xr.Dataset) -> Illustration:
    names = _arms(dataset)
    rows = math.ceil(len(names) / _COLUMNS)
    columns = min(len(names), _COLUMNS)
    figure, axes = new_figure(rows, columns, width=4.4 * columns, height=2.7 * rows)
    for panel, name in zip(axes.flat, names):
        arm = dataset.sel(arm=name)
        last = last_reached(arm["log_kept"].isel(component=0))
        for generation, colour in zip(sorted({0, last}), COLOURS):
            _components(panel, arm, generation, colour)
        panel.axhline(0, color="0.6", linewidth=0.8)
        panel.set(title=name, xlabel="principal component of the real digits", ylabel="log variance kept")
    legend(axes[0, 0], title="dots: net ± 2 s.e.; lines: affine null, its seeds", title_fontsize=7.5)
    for panel in axes.flat[len(names) :]:
        panel.set_visible(False)
    for panel in axes[:, 1:].flat:
        panel.set_ylabel("")
    for panel in axes[:-1].flat:
        panel.set_xlabel("")
    caption = (
        "Log of the variance that draws have of the real digits' along their principal components: nets "
        f"({config.net}) beside what the sampler alone does with an exact affine score, under the same regime with the "
        f"same M = {config.num_samples:,} ({dataset.sizes['seed']} seeds each).{_more(dataset)}"
    )
    return Illustration("variances", caption, figure)


def _components(panel: Axes, arm: xr.Dataset, generation: int, colour: str) -> None:
    """Draw one generation: the net's means over seeds with their errors, and the null's seeds."""
    place = (
        arm["component"].values + 1 if "component" in arm.coords else np.arange(1, arm.sizes["component"] + 1)
    )
    values = arm["log_kept"].sel(generation=generation).transpose("seed", "component").values.astype(float)
    error = values.std(axis=0, ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.zeros(len(place))
    panel.errorbar(
        place,
        values.mean(axis=0),
        2 * error,
        fmt=".",
        color=colour,
        markersize=4,
        label=f"generation {generation}",
    )
    if "null_log_kept" in arm:
        null = (
            arm["null_log_kept"]
            .sel(generation=generation)
            .transpose("seed", "component")
            .values.astype(float)
        )
        panel.fill_between(place, null.min(axis=0), null.max(axis=0), color=colour, alpha=0.2, linewidth=0)
        panel.plot(place, null.mean(axis=0), "-", color=colour, linewidth=1)


def _digits(config: DiffusionConfig, dataset: xr.Dataset) -> Illustration:
    names = _arms(dataset)
    images = dataset["images"].sel(seed=0, arm=names).transpose("arm", "generation", "image", "pixel")
    side = math.isqrt(images.sizes["pixel"])
    reached = [last_reached(dataset["log_kept"].sel(arm=name).isel(component=0)) for name in names]
    pixels = np.nan_to_num(images.values.astype(float)).astype(np.uint8)
    shown = [g for g in _SHOWN if g <= reached[0]]
    rows = max(len(shown), len(names))
    figure, axes = new_figure(1, 2, width=9.0, height=0.42 * rows + 0.6)
    digit_rows(axes[0, 0], pixels[0, shown], shown, side)
    axes[0, 0].set_title(names[0])
    digit_rows(axes[0, 1], np.stack([pixels[i, last] for i, last in enumerate(reached)]), reached, side)
    axes[0, 1].set_yticks(
        [side * (row + 0.5) for row in range(len(names))],
        [f"{name}, {last}" for name, last in zip(names, reached)],
    )
    axes[0, 1].set(title="each arm's last generation", ylabel="")
    steps = range(0, min(reached) + 1, -(-(min(reached) + 1) // _MOST_FRAMES))
    frames = pixels[:, list(steps)].transpose(1, 0, 2, 3).reshape(len(steps), -1, side * side)
    zoomed = frames if side >= 28 else _enlarged(frames, side)
    film = digit_film(zoomed, steps, side=math.isqrt(zoomed.shape[-1]))
    caption = (
        f"Digits drawn by each generation's net (M = {config.num_samples:,}, seed 0). In motion, rows from above: "
        f"{', '.join(names)}.{_more(dataset)}"
    )
    return Illustration("digits", caption, figure, film, told_digits(pixels[0, shown], shown))


def _enlarged(frames: np.ndarray, side: int, times: int = 3) -> np.ndarray:
    """Return small images with every pixel as a square."""
    grid = frames.reshape(*frames.shape[:2], side, side)
    return grid.repeat(times, axis=2).repeat(times, axis=3).reshape(*frames.shape[:2], -1)


def _half_lives(config: DiffusionConfig, dataset: xr.Dataset, variances: np.ndarray) -> Illustration:
    names = _arms(dataset)
    samplers = list(dict.fromkeys(_sampler(parse_arm(name)) for name in names))
    figure, axes = new_figure(1, len(samplers), width=max(4.4, 3.2 * len(samplers)), height=3.2)
    places = [place for place in _EIGENVALUES if place < len(variances)]
    for panel, (solver, schedule, label) in zip(axes[0], samplers):
        values = variances[places]
        lives = np.stack([np.asarray(sampler_half_life(values, solver, schedule, steps)) for steps in _STEPS])
        for value, place, line, colour in zip(values, places, np.abs(lives).T, COLOURS):
            panel.plot(
                _STEPS, line, "-", color=colour, linewidth=1, label=f"component {place + 1}, variance {value:.2g}"
            )
        for name in names:
            arm = parse_arm(name)
            if _sampler(arm) == (solver, schedule, label) and arm.is_plain:
                _net_lives(panel, dataset.sel(arm=name), arm, places)
        panel.set(xscale="log", yscale="log", xlabel="steps of the solver", title=label)
        panel.set_ylim(top=30 * panel.get_ylim()[1] if panel is axes[0, 0] else None)  # room for the legend
    axes[0, 0].set_ylabel("generations to half, or to twice, the variance")
    legend(axes[0, 0], title="lines: solver alone; dots: nets", title_fontsize=7.5, loc="upper left")
    caption = (
        "Generations after which a variance has halved (or, where a solver inflates, doubled): the law of the solver "
        "with an exact affine score, by its number of steps, and nets under replace; a hollow dot is a net whose "
        "variance goes the other way than the law's."
    )
    return Illustration("half_lives", caption, figure)


def _sampler(arm: ArmOfSampler) -> tuple[str, str, str]:
    return arm.solver, arm.schedule, arm.sampler


def _net_lives(panel: Axes, arm: xr.Dataset, told: ArmOfSampler, places: list[int]) -> None:
    """Draw what the slope of a net's log variances says."""
    last = last_reached(arm["log_kept"].isel(component=0))
    if last < 1:
        return
    generations = np.arange(last + 1.0)
    for place, colour in zip(places, COLOURS):
        means = arm["log_kept"].sel(generation=slice(0, last)).isel(component=place).mean("seed").values
        if not np.isfinite(means).all():
            continue
        slope = float(np.polyfit(generations, means, 1)[0])
        inflates = told.sampler == "edm"
        panel.plot(
            told.num_steps, abs(math.log(2) / slope), "o", color=colour, markersize=5,
            fillstyle="full" if (slope > 0) == inflates else "none",
        )  # fmt: skip


def _quality(config: DiffusionConfig, dataset: xr.Dataset) -> Illustration:
    figure, axes = new_figure(2, 2, width=9.0, height=5.0)
    real = data_read(dataset) or {}
    panels = {
        "Frechet distance to held-out digits": "frechet",
        "precision": "precision",
        "recall": "recall",
        "share of copies of training images": "copies",
    }
    for panel, (title, name) in zip(axes.flat, panels.items()):
        for label, colour in zip(_arms(dataset), COLOURS):
            band(panel, dataset[name].sel(arm=label), label, colour)
        if f"real_{name}" in real:
            panel.axhline(
                real[f"real_{name}"],
                color="#999999",
                linestyle="--",
                linewidth=0.9,
                label="real against real",
            )
        panel.set(title=title, ylim=(0, max(panel.get_ylim()[1], 0.1)))
    for panel in axes[1]:
        panel.set_xlabel("generation")
    legend(axes[0, 0])
    caption = (
        f"How {min(config.num_measured, config.num_samples):,} drawn digits compare with as many held-out ones: median "
        f"and 90 % of {dataset.sizes['seed']} seeds. A Frechet distance is never 0 for samples: the dashed line is "
        f"that of real digits to others.{_more(dataset)}"
    )
    return Illustration("likeness", caption, figure)


def _judged(config: DiffusionConfig, dataset: xr.Dataset) -> Illustration:
    figure, axes = new_figure(1, 2, width=9.0)
    panels = {
        "Frechet distance in a classifier's features": "frechet_distance",
        "unanimous share of images": "unanimous_share",
    }
    for panel, (title, name) in zip(axes[0], panels.items()):
        for label, colour in zip(_arms(dataset), COLOURS):
            band(panel, dataset["judged"].sel(arm=label, judgement=name), label, colour)
        panel.set(title=title, xlabel="generation", ylim=(0, None))
    legend(axes[0, 0])
    accuracy = float(dataset["judge_accuracy"].min())
    caption = (
        f"What five classifiers of real digits (accuracy {accuracy:.1%} or better on held-out ones) see in "
        f"{config.num_judged} drawn ones: median and 90 % of {dataset.sizes['seed']} seeds."
    )
    return Illustration("judges", caption, figure)


def _toys(config: DiffusionConfig, dataset: xr.Dataset) -> Illustration:
    names = [str(name) for name in dataset["toy"].values]
    figure, axes = new_figure(len(names), 3, width=9.0, height=2.7 * len(names))
    for row, name in enumerate(names):
        toy = dataset.sel(toy=name)
        last = last_reached(toy["toy_distance"])
        for panel, generation in zip(axes[row], (0, last)):
            points = (
                toy["toy_points"].sel(seed=0, generation=generation).transpose("point", "coordinate").values
            )
            panel.plot(*points.T, ".", color=COLOURS[0], markersize=2.5)
            panel.set(title=f"{name}, generation {generation}", xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
            panel.grid(False)
        lines = {
            "on the truth's modes": "toy_on_truth",
            "modes alive": "toy_modes",
            "distance": "toy_distance",
        }
        for (label, kind), colour in zip(lines.items(), COLOURS):
            band(axes[row, 2], toy[kind], label, colour)
        axes[row, 2].set(ylim=(0, None), xlabel="generation")
    legend(axes[0, 2])
    caption = (
        f"Laws in the plane under replace, M = {config.toy_samples:,}, drawn by {config.arms[0]}: points of the first "
        "and the last generation (seed 0), share of points within 4 standard deviations of the truth, share of its "
        "modes with a quarter of their points or more, and sliced 2-Wasserstein distance (data units)."
    )
    return Illustration("toys", caption, figure)
