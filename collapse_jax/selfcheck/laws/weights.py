"""Laws of a mean of known spread, which the rate of a Poisson family is: which weight real data should have.

Its variance, in units of lambda, obeys V' = w^2/n + (1 - w)^2 (1/m + V) with n real and m synthetic points.
"""

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax import theory
from collapse_jax.core.chain import build_chain
from collapse_jax.core.combine import vmap_chain
from collapse_jax.core.protocol import Chain, Metric, Regime
from collapse_jax.core.regimes import accumulate, add_real, compose, fresh, original, weight_real
from collapse_jax.core.statistics import Sums
from collapse_jax.models.one_parameter import poisson
from collapse_jax.selfcheck.laws.checks import Check, check, check_exact
from collapse_jax.selfcheck.laws.running import Records
from collapse_jax.theory import gaussian as exact
from collapse_jax.theory import limits
from collapse_jax.types import ArrayLike, Key

_SIZE, _RATE, _GENERATIONS = 20, 2.0, 16
_WEIGHTS = (0.4, 0.618034, 0.85)


def chains() -> dict[str, Chain]:
    """Return fresh or original real data under several weights, and accumulation with and without fresh data."""
    fresh_rate, double = fresh(_real), float(theory.he_optimal_weight(2.0))
    return {
        "weights": vmap_chain(lambda w: _chain(weight_real(fresh_rate, weight=w, count=_SIZE)), _WEIGHTS, "weight"),
        "two real for one": _chain(weight_real(fresh_rate, weight=double, count=2 * _SIZE)),
        "original": _chain(weight_real(original(), weight=0.5)),
        "accumulate": _chain(accumulate(_GENERATIONS)),
        "accumulate with fresh": _chain(compose(add_real(fresh_rate, count=6), accumulate(_GENERATIONS)), 14),
    }


def laws(records: Records) -> list[Check]:
    """Sixteen generations, all but accumulation at rest from the eighth on."""
    golden, double = float(theory.he_optimal_weight(1.0)), float(theory.he_optimal_weight(2.0))
    every = {name: (record["rate"].astype(float) - _RATE) ** 2 / _RATE for name, record in records.items()}
    errors = {name: squares[:, -1] for name, squares in every.items()}
    section, fits = "known spread", _GENERATIONS + 1
    # later generations are averaged
    by_weight = every["weights"][:, _GENERATIONS // 2 :].mean(axis=1) * _SIZE
    return [
        *[
            check(section, f"n V at weight {weight:.3f} of fresh data, n = m", by_weight[:, index],
                  limits.weighted_mean_error(weight, 1.0))
            for index, weight in enumerate(_WEIGHTS)
        ],
        *_best(by_weight, golden),
        check(section, f"n V = w* = {double:.3f} at the best weight, n = 2 m", errors["two real for one"] * 2 * _SIZE,
              double),
        check_exact(section, "n V pooled: (k + 1)/(k + 2), k = 2", limits.weighted_mean_error(2 / 3, 2.0), 3 / 4),
        check(section, "n V with weight 1/2 on original data, n = m", errors["original"] * _SIZE,
              _SIZE * limits.weighted_original_error(0.5, _SIZE, _SIZE)),
        check(section, "V under accumulation: (1/M) sum 1/k^2", errors["accumulate"],
              exact.known_variance_mean(fits, _SIZE, "accumulate")),
        check(section, "V under accumulation with 30 % fresh data", errors["accumulate with fresh"],
              exact.accumulate_fresh_mean(fits, _SIZE, 0.3)),
    ]  # fmt: skip


def _best(by_weight: np.ndarray, golden: float) -> list[Check]:
    """The golden weight's error is that weight, and less than its neighbours', which share its randomness."""
    section = "known spread, golden weight"
    return [
        check(section, "n V = w* = 0.618, n = m", by_weight[:, 1], golden),
        *[
            check(section, f"weight {_WEIGHTS[other]} is worse than 0.618 by", by_weight[:, other] - by_weight[:, 1],
                  limits.weighted_mean_error(_WEIGHTS[other], 1.0) - golden)
            for other in (0, 2)
        ],
    ]  # fmt: skip


def _chain(regime: Regime, num_samples: int = _SIZE) -> Chain:
    metric = Metric("rate", (), "1", lambda key, snapshot: snapshot.params)
    return build_chain(poisson(), regime, lambda key: _real(key, _SIZE), num_samples, (metric,))


def _real(key: Key, num: ArrayLike) -> Sums:
    """Return the total of `num` draws of the truth."""
    weight = jnp.asarray(num, float)
    return Sums(weight, jax.random.poisson(key, weight * _RATE).astype(float))
