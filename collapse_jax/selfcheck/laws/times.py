"""Laws of times: until a class is lost, fixed or forgotten, by chains that are followed to their end."""

import jax.numpy as jnp
import numpy as np

from collapse_jax.core.chain import build_chain
from collapse_jax.core.data import Samples
from collapse_jax.core.protocol import Chain
from collapse_jax.core.regimes import add_real, fresh, replace
from collapse_jax.models.categorical import (
    CategoricalTruth,
    categorical_metrics,
    categorical_points,
)
from collapse_jax.selfcheck.laws.checks import Check, check
from collapse_jax.selfcheck.laws.running import Records
from collapse_jax.theory import ancestry, limits

_SIZE = 60
_THREE, _RARE, _FRESH = (30, 18, 12), 15, 2


def laws(records: Records) -> list[Check]:
    """Four hundred and fifty generations: (1 - 1/M)^450 = 5e-4 of the chains are not at their end."""
    share = {name: record["probabilities"].astype(float) for name, record in records.items()}
    return [
        *_absorption(share["two"][..., 0]),
        *_rare_loss(share["rare"][..., 0]),
        *_three_classes(share["three"]),
        *_stationary(share["fed"][..., 0]),
    ]


def chains() -> dict[str, Chain]:
    """Return two and three classes at M = 60, from known counts, and two classes that fresh data keep alive."""
    metrics = categorical_metrics()[2:]

    def neutral(*counts: int) -> Chain:
        real = Samples(jnp.asarray(np.repeat(np.arange(len(counts)), counts), jnp.int32), jnp.ones(sum(counts)))
        return build_chain(categorical_points(len(counts)), replace(), real, sum(counts), metrics)

    truth, model = CategoricalTruth(np.array([0.3, 0.7])), categorical_points(2)
    feed = add_real(fresh(truth.sample), count=_FRESH)
    return {
        "two": neutral(_SIZE // 2, _SIZE // 2),
        "rare": neutral(_RARE, _SIZE - _RARE),
        "three": neutral(*_THREE),
        "fed": build_chain(model, feed, truth.sampler(_SIZE), _SIZE - _FRESH, metrics),
    }


def _first(event: np.ndarray) -> np.ndarray:
    """Return the fits until an event [num_runs, generations]; where it never came, the end of the run."""
    return np.where(event.any(axis=1), event.argmax(axis=1), event.shape[1])


def _absorption(share: np.ndarray) -> list[Check]:
    section, p, late = "two classes, M = 60", 0.5, _SIZE
    time = _first((share == 0) | (share == 1))
    alive = (share[:, late] > 0) & (share[:, late] < 1)
    limit, both = ancestry.absorption_time_limit(p, _SIZE), ancestry.both_alive(p, _SIZE, late)
    low, high = ancestry.both_alive_bounds(p, _SIZE, late)
    return [
        check(section, "P(a class takes over) = p", share[:, -1], p),
        check(section, "E time to absorption = (I - Q)^-1 1", time, ancestry.absorption_times(_SIZE)[_SIZE // 2]),
        check(section, "E time to absorption, diffusion", time, limit, allowance=0.03 * limit),
        check(section, "P(both alive at n = M) ~ 6 p (1-p)(1-1/M)^n", alive, both, allowance=0.03 * both),
        check(section, "P(both alive at n = M) >= 4 p (1-p)(1-1/M)^n", alive, low, relation=">="),
        check(section, "P(both alive at n = M) <= M p (1-p)(1-1/M)^(n-1)", alive, high, relation="<="),
    ]


def _rare_loss(share: np.ndarray) -> list[Check]:
    """Of the chains that lose the rarer class, the mean time."""
    p, section = _RARE / _SIZE, "two classes, M = 60"
    limit = -2 * _SIZE * p * np.log(p) / (1 - p)
    lost = _first(share == 0)[share[:, -1] == 0]
    return [
        check(section, "P(the class takes over) = p = 0.25", share[:, -1], p),
        check(section, "E time, given loss, ~ -2M p ln p/(1-p)", lost, limit, allowance=0.035 * limit),
    ]


def _three_classes(share: np.ndarray) -> list[Check]:
    """From the first loss to the last."""
    section, p, alive = "three classes, M = 60", np.array(_THREE) / _SIZE, (share > 0).sum(axis=2)
    to_first, to_last = _first(alive < 3), _first(alive < 2)
    first, last = ancestry.first_loss_time_limit(p, _SIZE), ancestry.fixation_time_limit(p, _SIZE)
    return [
        check(section, "E time until one is left, diffusion", to_last, last, allowance=0.03 * last),
        check(section, "E time of the first loss, diffusion", to_first, first, allowance=0.05 * first),
        *[
            check(section, f"P(first loss by {n}) ~ 1 - prod (1 - e^(-2Mp/n))", to_first <= n,
                  ancestry.first_loss_probability(p, _SIZE, n), allowance=allowance)
            for n, allowance in ((25, 0.029), (45, 0.02))
        ],
    ]  # fmt: skip


def _stationary(share: np.ndarray) -> list[Check]:
    """Two fresh points among 60 keep both classes alive: at rest, nearly Beta(2 n_r p, 2 n_r (1-p)).

    A run's values are averaged over time, from 150 generations on, when all but e^-20 of the start is forgotten.
    """
    a, b = 2 * _FRESH * 0.3, 2 * _FRESH * 0.7
    raw = np.cumprod([(a + j) / (a + b + j) for j in range(4)])
    fourth = raw[3] - 4 * 0.3 * raw[2] + 6 * 0.09 * raw[1] - 3 * 0.3**4
    section, gap = "two classes, 2 fresh points of 60, at rest", share[:, 150:] - 0.3
    square, power = (gap**2).mean(axis=1), (gap**4).mean(axis=1)
    return [
        check(section, "Var p", square, 0.21 * limits.fresh_counts_limit(_FRESH, _SIZE - _FRESH)),
        check(section, "E (p_n - p)^4 ~ that of Dirichlet(2 n_r p)", power, fourth, allowance=0.045 * fourth),
    ]
