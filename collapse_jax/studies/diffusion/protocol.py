"""What the publications of diffusion chains fix, and in what a run departs from them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from collapse_jax.datasets.mnist import MNIST_SHA256
from collapse_jax.studies.diffusion.config import PRESETS, DiffusionConfig
from collapse_jax.studies.published import KnownData, Publication, departure

REPOSITORY = "repository of feature-selective model collapse, digits"
MAD = "Alemohammad et al. 2023"
ACCUMULATION = "Gerstgrasser et al. 2024"
ERRORS = "collapse errors of deterministic samplers (2508.16154)"
LAW_OF_SOLVERS = "law of solvers of an affine score"
_UNLIKE = "a U-Net of 339,617 weights, here another net"
_OTHERS = {
    MAD: "published: images and nets of their own, here digits",
    ACCUMULATION: "published: diffusion of molecules' shapes, here of digits",
    ERRORS: "published: one generation of images and nets of their own, here of digits",
    LAW_OF_SOLVERS: "law: an exact affine score, here a trained net's",
}
PUBLISHED = Publication(
    PRESETS["paper"],
    ("arms", "data", "num_samples", "net", "predicts", "average", "start", "num_fit_steps", "learning_rate"),
    {
        "generations": "each claim names the generation at which it is measured",
        "seeds": "repetitions",
        "data_folder": "compared by what was read in it",
        "toys": "beside the digits",
        "toy_samples": "of the toys",
        "toy_width": "of the toys",
        "toy_fit_steps": "of the toys",
        "width": "of the perceptron; the published net is a U-Net",
        "batch_size": "not published; the epochs are, and decide the steps",
        "real_fraction": "of regimes that the arms name not",
        "window_size": "of the regime window",
        "num_measured": "only measured",
        "num_judged": "judges are this laboratory's",
        "lanes": "how the work is cut",
        "seed": "chance",
    },
    (KnownData("MNIST's four files", {name: (value,) for name, value in MNIST_SHA256.items()}),),
)  # fmt: skip


def departure_of(config: DiffusionConfig, source: str, arm: str, read: Mapping[str, Any] | None) -> str:
    """Return in what a run departs from what a claim's source did; never "", as no net here is a published one.

    Args:
        config: of the run.
        source: of the claim.
        arm: that the claim is about.
        read: what the run says of the data that it read.
    """
    if source in _OTHERS:
        return _OTHERS[source]
    # the repository's arms are two, and a claim is about one of them
    known = arm in PUBLISHED.settings.arms
    one = dataclasses.replace(config, arms=PUBLISHED.settings.arms) if known else config
    return departure(one, PUBLISHED, read, (_UNLIKE,))
