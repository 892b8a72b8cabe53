"""The mixture study: build the chains; claims and figures stand beside.

Reference: Shumailov et al. (2024), the Gaussian mixture experiment; what is exact protocol and what an
analogue is said beside each claim.
"""

import jax

from collapse_jax.core.chain import build_chain
from collapse_jax.core.protocol import Chain
from collapse_jax.models.mixture import mixture
from collapse_jax.models.mixture_metrics import mixture_metrics
from collapse_jax.studies.gmm.answer import PUBLISHED, answer
from collapse_jax.studies.gmm.claims import evidence
from collapse_jax.studies.gmm.config import GMMConfig
from collapse_jax.studies.gmm.figures import figures
from collapse_jax.studies.gmm.paired import beside_tight
from collapse_jax.studies.gmm.protocol import truth_of
from collapse_jax.studies.plan import Arm, Plan
from collapse_jax.studies.regime_options import named_regime

__all__ = ["PUBLISHED", "answer", "build", "evidence", "figures"]

_HELD_OUT_STREAM = 0x4E4C4C  # a stream of its own, away from the chains' seeds


def build(config: GMMConfig) -> Plan:
    """Return the chains of the study, one arm for each M, checked.

    Raises:
        ValueError: a field out of range.
    """
    if not config.num_samples:
        raise ValueError("`num_samples` must name at least one M; for example --num-samples 100 1000.")
    if config.tight_tol is not None and not 0 < config.tight_tol < config.tol:
        raise ValueError(
            f"`tight_tol` must be positive and below `tol` {config.tol}, got {config.tight_tol}; "
            "lower it, or leave it out."
        )
    arms = []
    for num_samples in config.num_samples:
        chain = _chain(config, num_samples, config.tol)
        if config.tight_tol is not None:
            chain = beside_tight(chain, _chain(config, num_samples, config.tight_tol))
        arms.append(Arm(num_samples, chain))
    return Plan("num_samples", tuple(arms), segment_length=50, lanes=config.lanes)


def _chain(config: GMMConfig, num_samples: int, tol: float) -> Chain:
    truth = truth_of(config)
    held_key = jax.random.fold_in(jax.random.key(config.seed), _HELD_OUT_STREAM)
    held_out = truth.sample(held_key, config.held_out).x if config.held_out else None
    # without a ridge it is the death of small components that keeps covariances regular
    ridge, size = ("relative", 0.0) if config.ridge == "none" else (config.ridge, config.ridge_size)
    model = mixture(
        config.num_components, start=config.start, tol=tol, max_steps=config.max_steps,
        ridge=ridge, ridge_size=size,
    )  # fmt: skip
    regime = named_regime(
        config.regime, real_fraction=config.real_fraction, window_size=config.window_size,
        num_samples=num_samples, generations=config.generations,
    )  # fmt: skip
    return build_chain(
        model, regime, truth.sampler(num_samples), num_samples, mixture_metrics(truth, held_out)
    )
