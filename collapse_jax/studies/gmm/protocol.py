"""What a configuration of the mixture study means: its truth, and which published or theoretical statement fits it."""

import dataclasses

from collapse_jax.datasets.synthetic import GaussianMixture, single_cloud, two_gaussians
from collapse_jax.studies.gmm.config import PRESETS, GMMConfig
from collapse_jax.studies.published import Publication, departure

PAPER, PUBLISHED_CODE = "Shumailov et al. 2024", "Shumailov et al. 2024, published code"
IDENTITY = "identity by descent; exact for any number of EM steps"
SURVIVAL = "Wright and Fisher's diffusion, of which a well-separated mixture is a case"
SAWTOOTH = "this laboratory's reading of the published sawtooth at M = 200,000"
PUBLISHED_GENERATION = 2050  # the last one of the published code
_WELL_SEPARATED = 4.0  # between the means, in standard deviations of a cluster
_MOST_RIDGE = 0.1  # of what a fit loses, 1/M
_FREE = {
    "generations": "each claim names the generation at which it is measured",
    "seeds": "repetitions",
    "tight_tol": "a second set of chains beside the first",
    "real_fraction": "of regimes other than replace",
    "window_size": "of the regime window",
    "held_out": "only measured",
    "lanes": "how the work is cut",
    "seed": "chance",
}
_FIXED = ("truth", "num_components", "start", "tol", "max_steps", "ridge", "ridge_size", "regime")
# the distance of the two clusters is not printed; the preset's is what two Gaussians "in 2-D" are taken to be here
THE_PAPER = Publication(PRESETS["paper"], ("num_samples", *_FIXED, "separation"), _FREE)
THE_CODE = Publication(
    PRESETS["published-code"],
    _FIXED,
    {
        **_FREE,
        "num_samples": "five of them; each claim names its own",
        "separation": "of two clusters; the code has one cloud",
    },
)
THE_SAWTOOTH = Publication(
    dataclasses.replace(PRESETS["em-stopping"], num_samples=(200_000,)),
    ("num_samples", "generations", "tight_tol", *_FIXED),  # the claim is of the mean over all generations
    {name: why for name, why in THE_CODE.free.items() if name not in ("num_samples", "generations", "tight_tol")},
)


def truth_of(config: GMMConfig) -> GaussianMixture:
    """Return the real distribution."""
    return two_gaussians(config.separation) if config.truth == "two-clusters" else single_cloud()


def code_unmet(config: GMMConfig) -> str:
    """Return how a configuration differs from the published code; "" when it does not."""
    return departure(config, THE_CODE)


def departure_of(config: GMMConfig, source: str, num_samples: int, last: int) -> str:
    """Return in what a run departs from what a claim's source did, or from the conditions of its law; "" for nothing.

    Args:
        config: of the run.
        source: of the claim.
        num_samples: M of the arm that the claim is about.
        last: generation that it reached.

    Raises:
        KeyError: a source that nobody has said the protocol of.
    """
    one = dataclasses.replace(config, num_samples=(num_samples,), generations=last)
    if source == IDENTITY:
        return identity_unmet(config, num_samples)
    if source == SURVIVAL:
        return survival_unmet(config)
    return departure(one, {PAPER: THE_PAPER, PUBLISHED_CODE: THE_CODE, SAWTOOTH: THE_SAWTOOTH}[source])


def is_law(source: str) -> bool:
    """Whether a claim's source is a law, for any settings that meet its conditions."""
    return source in (IDENTITY, SURVIVAL)


def identity_unmet(config: GMMConfig, num_samples: int) -> str:
    """Return why the mean variance does not follow identity by descent; "" when it does, for any K, start and EM."""
    if config.regime != "replace":
        return f"the law is replace()'s, the run's regime is {config.regime}"
    # an absolute one is known in data units and taken off
    if config.ridge == "relative" and config.ridge_size * num_samples > _MOST_RIDGE:
        return (
            f"the law is without a ridge, the run's adds {config.ridge_size:g} of the variance where a fit loses "
            f"{1 / num_samples:.1g}"
        )
    return ""


def survival_unmet(config: GMMConfig) -> str:
    """Return why the second component's life does not follow a resampled class's; "" when it does.

    The law counts draws of two classes that no fit confuses. Components are such classes when they are well
    separated, keep their names from one generation to the next, and can die.
    """
    if config.regime != "replace":
        return f"the law is replace()'s, the run's regime is {config.regime}"
    if config.num_components != 2:
        return f"the law is of two components, the run has {config.num_components}"
    if config.start == "kmeans":
        return "k-means starts two components in every generation, so that none dies"
    if config.ridge == "absolute":
        return "under an absolute ridge no component dies"
    if config.truth == "cloud" or config.separation < _WELL_SEPARATED:
        return f"the law is of two clusters at least {_WELL_SEPARATED:g} standard deviations apart"
    return ""


def least_count(config: GMMConfig) -> int:
    """Return the points below which a component dies, as `mixture` has it; 0 when none does."""
    return 0 if config.ridge == "absolute" else truth_of(config).means.shape[1] + 2
