"""What the autoencoder study's publication fixes, what all seeds of a run share, and what judges must know."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import xarray as xr

from collapse_jax.datasets.mnist import MNIST_SHA256
from collapse_jax.studies.published import KnownData, Publication, departure
from collapse_jax.studies.vae.config import PRESETS, VAEConfig

LEAST_ACCURACY, LEAST_UNANIMOUS = 0.97, 0.95  # of judges, on held-out real images
_ALL_DIGITS = 60_000
_ROUNDING = 1e-6  # of a share in float32
PUBLISHED = Publication(
    PRESETS["paper"],
    (
        "num_samples", "num_digits", "net", "num_latents", "num_steps", "batch_size", "learning_rate", "weight_decay",
        "start", "synthetic", "draws", "regime", "num_measured",
    ),
    {
        "generations": "each claim names the generation at which it is measured",
        "seeds": "repetitions",
        "data_folder": "compared by what was read in it",
        "num_hidden": "of the MLP; the published net is convolutional",
        "real_fraction": "of regimes other than replace",
        "window_size": "of the regime window",
        "num_judged": "judges are this laboratory's",
        "lanes": "how the work is cut",
        "seed": "chance",
    },
    (KnownData("MNIST's four files", {name: (value,) for name, value in MNIST_SHA256.items()}),),
)  # fmt: skip


def departure_of(config: VAEConfig, read: Mapping[str, Any] | None) -> str:
    """Return in what a run departs from the published code, "" for nothing.

    Args:
        config: of the run.
        read: what the run says of the data that it read.
    """
    whole = config.num_digits == _ALL_DIGITS  # said or left out: the same
    return departure(dataclasses.replace(config, num_digits=None) if whole else config, PUBLISHED, read)


def judges_unfit(arm: xr.Dataset) -> str:
    """Return why the judges cannot tell what a run's images show, from what they make of real ones; "" if they can.

    Args:
        arm: records, with `judge_accuracy` and `real_unanimous_share` on held-out images of the data that were read.
    """
    return why_unfit(float(arm["judge_accuracy"].min()), float(arm["real_unanimous_share"].min()))


def why_unfit(weakest: float, unanimous: float) -> str:
    """Return why judges who are so often right, and so unanimous, on held-out real images cannot tell; "" if they can.

    The least is what the shipped judges reach on digits that they have not seen (97.8 % and 96.0 %), less about two
    standard errors of 2,000 images: below it these are other images. A set is unreadable below half unanimity, which
    an error of a twentieth cannot decide.
    """
    if weakest >= LEAST_ACCURACY - _ROUNDING and unanimous >= LEAST_UNANIMOUS - _ROUNDING:
        return ""
    return (
        f"the judges must be {LEAST_ACCURACY:.0%} right on held-out real images and unanimous on "
        f"{LEAST_UNANIMOUS:.0%}; they are {weakest:.1%} right and unanimous on {unanimous:.1%}"
    )
