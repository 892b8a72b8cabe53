"""The Gaussian study: walks for several M, every regime beside its prediction, survival, time to collapse.

Reference: Shumailov et al. (2024), Theorem 3.1 and its supplement; Suresh et al. (2024); Alemohammad et al. (2023).
What each published statement needs to be true is in `collapse_jax.theory`.
"""

from collections.abc import Callable

import numpy as np

from collapse_jax.core.chain import build_chain
from collapse_jax.core.combine import stack_chains, vmap_chain
from collapse_jax.core.protocol import Chain, Metric, Model
from collapse_jax.core.regimes import replace
from collapse_jax.models.gaussian import gaussian, gaussian_metrics, gaussian_statistics, gaussian_truth
from collapse_jax.studies.gaussian.answer import answer
from collapse_jax.studies.gaussian.claims import evidence
from collapse_jax.studies.gaussian.comparison import compared_regimes
from collapse_jax.studies.gaussian.config import GaussianCell, GaussianConfig
from collapse_jax.studies.gaussian.figures import figures
from collapse_jax.studies.plan import Arm, Plan
from collapse_jax.studies.regime_options import named_regime
from collapse_jax.types import ArrayLike

__all__ = ["answer", "build", "cell", "evidence", "figures"]

def build(config: GaussianConfig) -> Plan:
    """Return the chains of the study: the walks, one program for all M, and the regimes, another.

    Raises:
        ValueError: a field out of range.
    """
    if not config.num_samples:
        raise ValueError("`num_samples` must name at least one M; for example --num-samples 100 1000.")
    truth = gaussian_truth(1)
    model = gaussian_statistics(1, estimator=config.estimator)

    def walk(size: ArrayLike) -> Chain:
        return build_chain(model, replace(), truth.moments_sampler(size), size, _metrics(""))

    for size in config.num_samples:
        walk(size)  # a bad size is refused before anything runs
    arms = [Arm("walks", vmap_chain(walk, np.asarray(config.num_samples), "num_samples"))]
    coordinates: dict[str, tuple] = {"num_samples": config.num_samples}
    if config.regime_generations:
        compared = compared_regimes(config)
        arms.append(Arm("regimes", stack_chains(_chains(config), "regime"), config.regime_generations))
        coordinates["regime"] = tuple(compared)
    return Plan(None, tuple(arms), segment_length=500, lanes=config.lanes, coordinates=coordinates)


def cell(config: GaussianCell) -> Chain:
    """Return one chain of a sweep.

    Raises:
        ValueError: a field out of range.
        TypeError: a regime that needs single points meets statistics.
    """
    truth = gaussian_truth(config.dim)
    regime = named_regime(
        config.regime, real_fraction=config.real_fraction, window_size=config.window_size,
        num_samples=config.num_samples, generations=config.generations,
    )  # fmt: skip
    sampler = truth.sampler if config.draws == "points" else truth.moments_sampler
    model = _family(config.draws)(config.dim, estimator=config.estimator, bias=config.bias)
    return build_chain(model, regime, sampler(config.num_samples), config.num_samples, gaussian_metrics())


def _family(draws: str) -> Callable[..., Model]:
    """Return the maker of Gaussians that draw points, or their statistics."""
    return gaussian_statistics if draws == "statistics" else gaussian


def _chains(config: GaussianConfig) -> dict[str, Chain]:
    truth, size = gaussian_truth(1), config.regime_samples
    chains = {}
    for name, (regime, needs_points, _) in compared_regimes(config).items():
        draws = "points" if needs_points else "statistics"
        real = truth.sampler(size) if needs_points else truth.moments_sampler(size)
        model = _family(draws)(1, estimator="mle")
        chains[name] = build_chain(model, regime(), real, size, _metrics("regime_"))
    return chains


def _metrics(prefix: str) -> tuple[Metric, ...]:
    """Return mean and log variance, named apart for each arm."""
    mean, _, total = gaussian_metrics()
    first = mean._replace(dims=(), function=lambda key, snapshot: mean.function(key, snapshot)[0])
    return first._replace(name=f"{prefix}mean"), total._replace(name=f"{prefix}log_variance")
