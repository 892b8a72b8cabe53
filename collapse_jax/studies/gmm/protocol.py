"""What a configuration of the mixture study means: its truth, and which published or theoretical statement fits it.

Called by the study's chains, claims and figures.
"""

from typing import Any

from collapse_jax.datasets.synthetic import GaussianMixture, single_cloud, two_gaussians
from collapse_jax.studies.gmm.config import GMMConfig

PUBLISHED_GENERATION = 2050  # the last one of the published code
_WELL_SEPARATED = 4.0  # between the means, in standard deviations of a cluster
_CODE: dict[str, Any] = {
    "truth": "cloud", "num_components": 2, "start": "kmeans", "tol": 1e-5, "max_steps": 2000,
    "ridge": "absolute", "ridge_size": 1e-6, "regime": "replace",
}  # fmt: skip


def truth_of(config: GMMConfig) -> GaussianMixture:
    """Return the real distribution."""
    return two_gaussians(config.separation) if config.truth == "two-clusters" else single_cloud()


def code_unmet(config: GMMConfig) -> str:
    """Return how a configuration differs from the published code; "" when it does not."""
    differing = [f"{name} = {value}" for name, value in _CODE.items() if getattr(config, name) != value]
    return f"the published code has {', '.join(differing)}" if differing else ""


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
