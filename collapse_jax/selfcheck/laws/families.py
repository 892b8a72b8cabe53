"""Laws of one-parameter families at M = 20: exponential, Poisson, uniform."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import digamma

from collapse_jax.core.chain import build_chain
from collapse_jax.core.protocol import Chain, Metric
from collapse_jax.core.regimes import accumulate, replace
from collapse_jax.core.statistics import Sums
from collapse_jax.models.one_parameter import Largest, exponential, log_scale_metric, poisson, uniform
from collapse_jax.selfcheck.laws.checks import Check, check, check_variance
from collapse_jax.selfcheck.laws.running import Records
from collapse_jax.theory import discrete as exact
from collapse_jax.theory import gaussian
from collapse_jax.types import Key

_SIZE, _FITS, _RATE = 20, 8, 0.15


def laws(records: Records) -> list[Check]:
    """What each family's parameter does in eight fits."""
    logs = {
        name: records[name]["log_scale"][:, -1].astype(float) for name in ("exponential", "pooled", "uniform")
    }
    theta, rates = {name: np.exp(values) for name, values in logs.items()}, records["poisson"]["rate"][:, -1]
    drift = _FITS * (digamma(_SIZE) - np.log(_SIZE))
    return [
        check("exponential, replace", "E theta_n", theta["exponential"], 1.0),
        check("exponential, replace", "E theta_n^2 = (1 + 1/M)^n", theta["exponential"] ** 2,
              (1 + 1 / _SIZE) ** _FITS),
        check("exponential, replace", "E log theta_n", logs["exponential"], drift),
        check("exponential, accumulate", "E theta_n^2", theta["pooled"] ** 2,
              exact.exponential_accumulate(_FITS, _SIZE)),
        check("uniform, replace", "E theta_n = (M/(M+1))^n", theta["uniform"], (_SIZE / (_SIZE + 1)) ** _FITS),
        check("uniform, replace", "E log theta_n = -n/M", logs["uniform"], -_FITS / _SIZE),
        check_variance("poisson, replace", "Var lambda_n = n lambda / M", rates,
                       _RATE * gaussian.known_variance_mean(_FITS, _SIZE)),
        check("poisson, replace", "P(lambda_n > 0)", rates > 0, exact.poisson_survival(_RATE, _SIZE, _FITS)),
    ]  # fmt: skip


def chains() -> dict[str, Chain]:
    """Return each family under `replace`, and accumulated exponentials."""
    scale, rate = (log_scale_metric(),), (Metric("rate", (), "1", lambda key, s: s.params),)
    weight = jnp.asarray(float(_SIZE))

    def total(key: Key) -> Sums:
        return Sums(weight, jnp.sum(jax.random.exponential(key, (_SIZE,))))

    def largest(key: Key) -> Largest:
        return Largest(weight, jax.random.uniform(key, minval=1e-30) ** (1 / _SIZE))

    def count(key: Key) -> Sums:
        return Sums(weight, jax.random.poisson(key, _SIZE * _RATE).astype(float))

    return {
        "exponential": build_chain(exponential(), replace(), total, _SIZE, scale),
        "pooled": build_chain(exponential(), accumulate(_FITS - 1), total, _SIZE, scale),
        "uniform": build_chain(uniform(), replace(), largest, _SIZE, scale),
        "poisson": build_chain(poisson(), replace(), count, _SIZE, rate),
    }
