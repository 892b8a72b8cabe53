"""Laws of curated and verified data: what choosing among draws does to a distribution in a round or three."""

import jax.numpy as jnp
import numpy as np
from scipy.stats import binom

from collapse_jax.core.chain import build_chain
from collapse_jax.core.combine import vmap_chain
from collapse_jax.core.data import Samples
from collapse_jax.core.protocol import Chain
from collapse_jax.core.regimes import Regime, curate, replace
from collapse_jax.models.categorical import (
    CategoricalTruth,
    categorical,
    categorical_metrics,
    categorical_points,
)
from collapse_jax.models.gaussian import gaussian, gaussian_metrics
from collapse_jax.selfcheck.laws.checks import Check, check
from collapse_jax.selfcheck.laws.running import Records
from collapse_jax.theory import curation as exact
from collapse_jax.types import Array, ArrayLike

_ROUNDS, _MANY, _HALF = 2, 64, 32
_COUNTS = np.array([4, 10, 6])
_REWARDS = np.array([1.0, 0.3, 0.0])
_TARGET, _TOLERANCE, _SLOPE = 1.0, 2.0, 0.5
_KEPT, _KEPT_WRONG, _CORRECT = 0.9, 0.6, 0.4


def chains() -> dict[str, Chain]:
    """Return classes and Gaussians whose draws are chosen by reward, and answers that a verifier lets pass."""
    return _labels() | _gaussians() | _verified()


def laws(records: Records) -> list[Check]:
    """Two rounds."""
    share = {name: record["probabilities"].astype(float) for name, record in records.items() if name in _labels()}
    checks = _pairs(share["pairs"]) + _rivals(share["four"]) + _tilted(share["many"])
    checks += _gaussian_tilts(records["gaussian"])
    return checks + _verifier(np.moveaxis(records["verified"]["probabilities"].astype(float), 2, 0))


def _luce(rewards: np.ndarray, num_candidates: int) -> Regime:
    known = jnp.asarray(rewards, float)
    return curate(lambda labels: known[labels], num_candidates, choice="luce")


def _labels() -> dict[str, Chain]:
    """Return three classes in known counts, judged in pairs and among many; two classes judged in fours."""

    def judged(counts: np.ndarray, rewards: np.ndarray, candidates: int) -> Chain:
        real = Samples(jnp.asarray(np.repeat(np.arange(len(counts)), counts), jnp.int32), jnp.ones(counts.sum()))
        model = categorical_points(len(counts))
        num = int(counts.sum()) * candidates
        return build_chain(model, _luce(rewards, candidates), real, num, categorical_metrics()[2:])

    return {
        "pairs": judged(_COUNTS, _REWARDS, 2),
        "many": judged(_COUNTS, _REWARDS, _MANY),
        "four": judged(np.array([6, 14]), _REWARDS[::2], 4),
    }


def _gaussians() -> dict[str, Chain]:
    """Return Gaussians of mean 0 and variance 1 whose draws are chosen by a linear and by a quadratic reward."""
    rows = jnp.where(jnp.arange(_MANY) % 2 == 0, 1.0, -1.0)[:, None]

    def judged(quadratic: ArrayLike) -> Chain:
        def score(rows: Array) -> Array:
            x = rows[:, 0]
            return jnp.where(quadratic == 1, -((x - _TARGET) ** 2) / (2 * _TOLERANCE**2), _SLOPE * x)

        metrics = (gaussian_metrics()[0], gaussian_metrics()[2])
        regime = curate(score, _HALF, choice="luce")
        return build_chain(gaussian(1, estimator="mle"), regime, Samples(rows, jnp.ones(_MANY)), _HALF * _MANY, metrics)

    return {"gaussian": vmap_chain(judged, (0, 1), "reward")}


def _verified() -> dict[str, Chain]:
    """Return a million answers, right or wrong, of which a verifier lets some pass."""
    pass_rates = jnp.array([_KEPT, _KEPT_WRONG])

    def passed(p: Array) -> Array:
        return p * pass_rates / jnp.sum(p * pass_rates)

    def chain(correct: ArrayLike) -> Chain:
        truth = CategoricalTruth(jnp.stack([jnp.asarray(correct, float), 1 - jnp.asarray(correct, float)]))
        model = categorical(2, transform=passed)
        return build_chain(model, replace(), truth.counts_sampler(10**6), 10**6, categorical_metrics()[2:])

    breaking = 1 - float(exact.verifier_breakdown(_KEPT, _KEPT_WRONG))
    return {"verified": vmap_chain(chain, (_CORRECT, breaking), "share")}


def _pairs(share: np.ndarray) -> list[Check]:
    """One round of pairs, from known counts; the second, given the first; what is gained at least."""
    section, start = "curation, pairs of three classes", _COUNTS / _COUNTS.sum()
    once = exact.luce_pair(start, _REWARDS)
    gain = np.exp(_REWARDS)
    first = share[:, 1]
    wins = 2 / (1 + np.exp(-(_REWARDS[:, None] - _REWARDS)))
    expected = first * (first @ wins.T)
    mean = first @ gain
    least = (first @ gain**2 - mean**2) / (2 * gain.max())
    return [
        *[check(section, f"E p'_{i + 1} = p sum_y p_y 2 sigma(r - r_y)", first[:, i], once[i]) for i in range(3)],
        check(section, "second round, given the first: E[p''_1 - p'_1 sum_y p'_y 2 sigma]",
              share[:, 2, 0] - expected[:, 0], 0.0),
        check(section, "E e^r rises by at least Var(e^r)/(2 max e^r): excess", share[:, 2] @ gain - mean - least, 0.0,
              relation=">="),
    ]  # fmt: skip


def _rivals(share: np.ndarray) -> list[Check]:
    """One round of fours: the gain of a draw, averaged over what its three rivals are."""
    rivals = np.arange(4)
    gains = [
        exact.luce_gain(_REWARDS[0], np.repeat(_REWARDS[::2], (count, 3 - count)).astype(float)) for count in rivals
    ]
    expected = 0.3 * np.sum(binom.pmf(rivals, 3, 0.3) * np.array(gains))
    return [check("curation, fours of two classes", "E p' = p E H", share[:, 1, 0], expected)]


def _tilted(share: np.ndarray) -> list[Check]:
    """Among 64 candidates the choice is nearly exponential in the reward."""
    tilted = exact.exponential_tilt(_COUNTS / _COUNTS.sum(), _REWARDS, 1)
    return [
        check("curation, one of 64", f"p'_{i + 1} ~ p e^r / Z", share[:, 1, i], tilted[i], allowance=0.5 / _MANY)
        for i in (0, 2)
    ]  # fmt: skip


def _gaussian_tilts(record: dict[str, np.ndarray]) -> list[Check]:
    """Two rounds of one of 32, 64 points kept: tilts but for 1/32 and 1/64."""
    section, lost = "curation, Gaussian, one of 32", (1 - 1 / _MANY) ** _ROUNDS
    linear, quadratic = record["mean"][:, -1, :, 0].astype(float).T
    variance = np.exp(record["log_total_variance"][:, -1].astype(float)).T
    to_mean, to_variance = exact.quadratic_tilt(_ROUNDS, 0.0, 1.0, _TARGET, _TOLERANCE)
    shift = _ROUNDS * _SLOPE
    return [
        check(section, "quadratic reward: mean after two rounds", quadratic, to_mean, allowance=to_mean / _HALF),
        check(section, "quadratic reward: variance", variance[1], lost * to_variance, allowance=1 / _HALF),
        check(section, "linear reward b x: mean n b v", linear, shift, allowance=2 * shift / _HALF),
        check(section, "linear reward b x: variance stays", variance[0], lost, allowance=1 / _HALF),
    ]


def _verifier(share: np.ndarray) -> list[Check]:
    """A million answers follow the odds; from the breakdown on, half of what passes is wrong."""
    odds = share[0, :, -1, 0] / share[0, :, -1, 1]
    start = _CORRECT / (1 - _CORRECT)
    return [
        check("verifier", "odds_n = odds_0 (phi/psi)^n", odds,
              exact.verifier_odds(start, _KEPT, _KEPT_WRONG, _ROUNDS)),
        check("verifier", "at breakdown half of what passes is wrong", share[1, :, 1, 1], 0.5),
    ]  # fmt: skip
