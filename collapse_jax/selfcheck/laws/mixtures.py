"""Laws of mixtures by EM: moments whatever EM does, and components that come and go as classes do."""

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.core.chain import build_chain
from collapse_jax.core.combine import vmap_chain
from collapse_jax.core.data import Samples
from collapse_jax.core.protocol import Chain
from collapse_jax.core.regimes import replace
from collapse_jax.datasets.synthetic import two_gaussians
from collapse_jax.models.mixture import mixture
from collapse_jax.models.mixture_metrics import mixture_metrics
from collapse_jax.selfcheck.laws.checks import Check, check
from collapse_jax.selfcheck.laws.running import Records
from collapse_jax.theory import ancestry, matrices, replace_variance
from collapse_jax.types import ArrayLike, Key

_SIZE, _EARLY, _FITS = 40, 10, 40
_SEPARATIONS = (4.0, 40.0)
_FLOOR = 4  # points without which a component of two dimensions dies


def chains() -> dict[str, Chain]:
    """Return two components at M = 40, near each other and far apart, by warm EM."""
    return {"both": vmap_chain(_chain, _SEPARATIONS, "separation")}


def laws(records: Records) -> list[Check]:
    """Forty fits."""
    found = {name: array.astype(float) for name, array in records["both"].items()}
    log_v, mean = found["log_total_variance"][..., 0], found["mean_error"][:, _EARLY - 1, 0]
    kept, total = float(replace_variance(_EARLY, _SIZE)), two_gaussians(_SEPARATIONS[0]).total_variance
    section = "mixture, replace"
    return [
        check(section, "one step: E[tr C'/tr C | C] = 1 - 1/M", np.exp(log_v[:, -1] - log_v[:, -2]), 1 - 1 / _SIZE),
        check(section, "E tr C_n", np.exp(log_v[:, _EARLY - 1]) / total, kept),
        check(section, "E |mean_n|^2", mean**2, total * (1 - kept)),
        *_far_apart(found["weights"][:, :, 1]),
    ]


def _chain(separation: ArrayLike) -> Chain:
    """Return the chain on two equal unit Gaussians in the plane."""

    def real(key: Key) -> Samples:
        key_side, key_noise = jax.random.split(key)
        side = jnp.where(jax.random.bernoulli(key_side, 0.5, (_SIZE,)), 0.5, -0.5)
        rows = jax.random.normal(key_noise, (_SIZE, 2)).at[:, 0].add(side * separation)
        return Samples(rows, jnp.ones(_SIZE))

    # of either mixture the mean is 0, and no other metric here looks at the truth
    known = mixture_metrics(two_gaussians())
    metrics = [m for m in known if m.name in ("log_total_variance", "mean_error", "weights")]
    return build_chain(mixture(2), replace(), real, _SIZE, metrics)


def _far_apart(weights: np.ndarray) -> list[Check]:
    """Weights drift as classes do; a component of fewer than `_FLOOR` points dies, as classes of less than one do."""
    section, early = "mixture, far apart", 5
    product = weights[:, early - 1].prod(axis=1)
    pair = (weights[:, -1] > 0).all(axis=1)
    exactly, limit = matrices.between(_SIZE, _FITS, _FLOOR)[-1], ancestry.both_alive(0.5, _SIZE, _FITS)
    return [
        check(section, "E w_1 w_2 = (1/4)(1 - 1/M)^n, n = 5", product, 0.25 * replace_variance(early, _SIZE)),
        check(section, f"P(both alive at n = M), {_FLOOR} points or more", pair, exactly),
        check(section, "P(both alive at n = M) <= 6 w (1-w)(1-1/M)^n", pair, limit, relation="<="),
    ]
