"""What the claims of the Gaussian study rest on: theorems, and laws that hold for any settings. No JAX here.

For one Gaussian no experiment is published whose numbers a run could repeat; a claim is labelled "law" where the
conditions of its source are met.
"""

from collapse_jax.studies.gaussian.config import GaussianConfig
from collapse_jax.studies.published import Publication, departure

_ANY = "stated for any"
_COMPARISON = "the comparison of regimes is this laboratory's, and its laws are of any M and any generation"
FREE = {
    "num_samples": f"{_ANY} M; each claim names its own",
    "generations": f"{_ANY} generation; each claim names its own",
    "seeds": "repetitions",
    "regime_samples": _COMPARISON,
    "regime_generations": _COMPARISON,
    "lanes": "how the work is cut",
    "seed": "chance",
}
UNBIASED = Publication(GaussianConfig(estimator="unbiased"), ("estimator",), FREE)
EITHER = Publication(GaussianConfig(), (), {**FREE, "estimator": "stated for both"})

# by source: the conditions of its statement
STATED: dict[str, Publication] = {
    "exact law": EITHER,
    "identity by descent": EITHER,
    "Shumailov et al. 2024, supplement, eq. 6": UNBIASED,
    "Shumailov et al. 2024, Theorem 3.1, read path by path": UNBIASED,
    "Suresh et al. 2024, abstract": EITHER,  # "ML or near ML estimation"
    "Suresh et al. 2024, Theorem 3": UNBIASED,
    "Gerstgrasser et al. 2024; Dey and Donoho 2024": EITHER,
}
_FOR_NETWORKS = {
    "Alemohammad et al. 2023 find this for deep networks": "published: deep networks of images, here one Gaussian",
}


def departure_of(config: GaussianConfig, source: str) -> str:
    """Return in what a run departs from what a claim's source is about, "" for nothing.

    Raises:
        KeyError: a source that nobody has said the conditions of.
    """
    return _FOR_NETWORKS.get(source) or departure(config, STATED[source])
