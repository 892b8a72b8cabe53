"""Pictures of what models draw: mixtures with their components, digits, and films of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.animation import PillowWriter
from matplotlib.image import imsave
from matplotlib.patches import Ellipse

from collapse_jax.analysis.style import COLOURS, Axes, Figure
from collapse_jax.files.writing import write_atomically

__all__ = ["Film", "digit_film", "digit_rows", "mixture_snapshots", "save_film"]


class Film(NamedTuple):
    """Pictures of one size that follow each other, for example one for each generation.

    Attributes:
        frames: grey levels 0 to 255, shape [num_frames, height, width].
        labels: what is written over each frame.
    """

    frames: np.ndarray
    labels: tuple[str, ...]


def mixture_snapshots(
    axes: np.ndarray,
    arm: xr.Dataset,
    generations: Sequence[int],
    truth_means: np.ndarray,
    truth_covariances: np.ndarray,
    *,
    seed: int = 0,
    colour: str = COLOURS[0],
    num_points: int = 300,
) -> None:
    """Draw one seed's mixture at chosen generations: 2-sigma ellipses and points drawn from it.

    Args:
        axes: one for each generation.
        arm: variables `weights`, `means`, `covariances` with dims (seed, generation, ...), in the plane.
        generations: which to show.
        truth_means: shape [K, 2], drawn grey.
        truth_covariances: shape [K, 2, 2].
        seed: which seed.
        colour: of the model.
        num_points: drawn from the recorded mixture, for the eye.
    """
    sigma = np.sqrt(np.max(truth_covariances))
    centre, reach = truth_means.mean(axis=0), np.ptp(truth_means, axis=0) / 2 + 3 * sigma
    reach = np.maximum(reach, 0.7 * reach.max())
    rng = np.random.default_rng(0)
    for panel, generation in zip(axes, generations):
        row = arm.sel(seed=seed, generation=generation)
        weights, means, covariances = (
            row[name].values.astype(float) for name in ("weights", "means", "covariances")
        )
        for mean, covariance in zip(truth_means, truth_covariances):
            panel.add_patch(_ellipse(mean, covariance, facecolor="#dddddd", edgecolor="#aaaaaa", zorder=1))
        reached = bool(np.isfinite(weights).all())  # an interrupted run may end before
        counts: Any = rng.multinomial(num_points, weights / weights.sum()) if reached else []
        for count, mean, covariance in zip(counts, means, covariances):
            if count:
                points = rng.multivariate_normal(mean, covariance, count, check_valid="ignore")
                panel.plot(*points.T, ".", color=colour, markersize=2, alpha=0.5, zorder=2)
                panel.add_patch(
                    _ellipse(mean, covariance, fill=False, edgecolor=colour, linewidth=1.4, zorder=3)
                )
        (left, bottom), (right, top) = centre - reach, centre + reach
        panel.set(xlim=(left, right), ylim=(bottom, top), aspect="equal", xticks=[], yticks=[])
        panel.spines[:].set_visible(False)
        panel.set_title(f"generation {generation}")


def digit_rows(panel: Axes, images: np.ndarray, generations: Sequence[int], side: int = 28) -> None:
    """Draw images [num_generations, num_images, side * side] as one row for each generation, white on black."""
    num_rows, num_images = images.shape[:2]
    tiles = images.reshape(num_rows, num_images, side, side).transpose(0, 2, 1, 3)
    panel.imshow(tiles.reshape(num_rows * side, num_images * side), cmap="gray", vmin=0, vmax=255)
    panel.set_yticks([side * (row + 0.5) for row in range(num_rows)], [str(g) for g in generations])
    panel.set_xticks([])
    panel.set_ylabel("generation")
    panel.grid(False)
    for row in range(1, num_rows):
        panel.axhline(side * row - 0.5, color="#666666", linewidth=0.5)


def digit_film(images: np.ndarray, generations: Sequence[int], *, columns: int = 10, side: int = 28) -> Film:
    """Return images [num_generations, num_images, side * side] as one grid of digits for each generation.

    Args:
        images: grey levels 0 to 255; the last row of a grid is filled up with black.
        generations: their numbers.
        columns: images in a row of the grid.
        side: of an image, pixels.
    """
    num_frames, num_images = images.shape[:2]
    rows = -(-num_images // columns)
    tiles = np.zeros((num_frames, rows * columns, side * side), np.uint8)
    tiles[:, :num_images] = images
    grid = tiles.reshape(num_frames, rows, columns, side, side).transpose(0, 1, 3, 2, 4)
    return Film(
        grid.reshape(num_frames, rows * side, columns * side), tuple(f"generation {g}" for g in generations)
    )


def told_digits(images: np.ndarray, generations: Sequence[int]) -> str:
    """Return what rows of digits [num_generations, num_images, pixel], 0 to 255, show: ink, and how images differ."""
    grey = images / 255.0
    ink, differ = grey.mean(axis=(1, 2)), grey.std(axis=1).mean(axis=-1)
    told = "; ".join(
        f"generation {g}: {ink[row]:.0%} white, a pixel differs by {differ[row]:.2g} between images"
        for row, g in enumerate(generations)
    )
    return f"Rows of {images.shape[1]} images drawn by each model. {told}."


def save_film(film: Film, folder: Path, name: str, *, per_second: int = 2, zoom: int = 2) -> Path:
    """Write an animation, `name`.gif, and all frames one below the other, `name`_frames.png; return the GIF's path.

    Args:
        film: what to show.
        folder: where to.
        name: of the files.
        per_second: frames of the animation in a second.
        zoom: screen pixels of the animation for a pixel of a frame.
    """
    num_frames, height, width = film.frames.shape
    strip = film.frames.reshape(num_frames * height, width, 1)
    colours = strip.repeat(3, axis=2)  # exact, where a colour map rounds
    write_atomically(folder / f"{name}_frames.png", lambda part: imsave(part, colours))
    dpi, title = 100, 24  # a strip of 24 screen pixels holds the label
    tall = zoom * height + title
    figure = Figure(figsize=(zoom * width / dpi, tall / dpi), dpi=dpi, facecolor="white")
    axes = figure.add_axes((0, 0, 1, zoom * height / tall))
    axes.set_axis_off()
    picture = axes.imshow(
        film.frames[0], cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="auto"
    )
    label = figure.text(0.5, 1 - title / tall / 2, "", ha="center", va="center", fontsize=9)

    def write(part: Path) -> None:
        writer = PillowWriter(fps=per_second)
        with writer.saving(figure, part, dpi):
            for frame, text in zip(film.frames, film.labels):
                picture.set_data(frame)
                label.set_text(text)
                writer.grab_frame()

    write_atomically(folder / f"{name}.gif", write)
    return folder / f"{name}.gif"


def _ellipse(mean: np.ndarray, covariance: np.ndarray, sigmas: float = 2.0, **style: Any) -> Ellipse:
    values, vectors = np.linalg.eigh(covariance)
    width, height = 2 * sigmas * np.sqrt(np.maximum(values, 0))
    angle = float(np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0])))
    return Ellipse(tuple(mean), width, height, angle=angle, **style)
