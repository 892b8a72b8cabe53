"""Laws of categorical chains over a few generations: heterozygosity, support, entropy, urns."""

import jax.numpy as jnp
import numpy as np

from collapse_jax import theory
from collapse_jax.core.chain import build_chain
from collapse_jax.core.data import Samples
from collapse_jax.core.protocol import Chain, Regime
from collapse_jax.core.regimes import accumulate, compose, fresh, replace, replace_with_real, schedule
from collapse_jax.core.statistics import Sums
from collapse_jax.models.categorical import (
    CategoricalTruth,
    categorical,
    categorical_metrics,
    categorical_points,
    count_labels,
    count_sums,
)
from collapse_jax.selfcheck.laws.checks import Check, check, check_exact
from collapse_jax.selfcheck.laws.running import Records
from collapse_jax.theory import ancestry
from collapse_jax.theory import discrete as exact
from collapse_jax.types import Key

_SIZE, _FITS = 20, 8
_P = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
_START = 1 - np.sum(_P**2)
_SCHEDULE = (10, 80, 40, 80)
_URN, _BLACK = 10, 4


def chains() -> dict[str, Chain]:
    """Return five classes at M = 20, from counts and from labels; accumulation, a schedule, fresh data, an urn."""
    return _five_classes() | _two_classes()


def laws(records: Records) -> list[Check]:
    """Eight fits."""
    checks = []
    for name in ("counts", "labels"):
        checks += _moments(f"categorical, {name}", records[name]["probabilities"].astype(float))
    pool = 1 - theory.ibd_accumulate(_FITS - 1, _SIZE, _SIZE)[-1]
    pooled = records["pool"]["heterozygosity"][:, -1]
    return [
        *checks,
        check("categorical, accumulate", "E H_n", pooled, _START * pool),
        *_schedule(records["schedule"]["heterozygosity"][:, len(_SCHEDULE) - 1].astype(float)),
        *_entropy(records["hundred"]["entropy"][:, 0].astype(float)),
        *_two_class_laws({name: records[name]["probabilities"][..., 0].astype(float) for name in _two_classes()}),
        *_eigenvalues(),
    ]


def _five_classes() -> dict[str, Chain]:
    truth, metrics = CategoricalTruth(_P), categorical_metrics()
    model, labels = categorical(5), categorical_points(5)
    sizes = (*_SCHEDULE[1:], *[_SIZE] * (_FITS - len(_SCHEDULE)))

    def counts(key: Key) -> Sums:
        return count_sums(count_labels(truth.sample(key, _SIZE), 5))

    return {
        "counts": build_chain(model, replace(), counts, _SIZE, metrics[2:]),
        "pool": build_chain(model, accumulate(_FITS - 1), counts, _SIZE, metrics[:1]),
        "labels": build_chain(labels, replace(), truth.sampler(_SIZE), _SIZE, metrics[2:]),
        "schedule": build_chain(
            labels, schedule(sizes), truth.sampler(_SCHEDULE[0]), max(_SCHEDULE), metrics[:1]
        ),
        "hundred": build_chain(labels, replace(), truth.sampler(100), 2, metrics[1:2]),
    }


def _two_classes() -> dict[str, Chain]:
    """Chains of two classes: neutral, kept alive by fresh data, and an urn that is filled one by one."""
    truth, metrics = CategoricalTruth(np.array([0.3, 0.7])), categorical_metrics()[2:]
    points, mixed = categorical_points(2), replace_with_real(fresh(truth.sample), fraction=0.3)
    one = Regime(lambda real, synthetic: (), lambda key, synthetic, state: (synthetic.take(jnp.array([0])), state))
    urn = Samples((jnp.arange(_URN) >= _BLACK).astype(jnp.int32), jnp.ones(_URN))
    return {
        "two": build_chain(points, replace(), truth.sampler(_SIZE), _SIZE, metrics),
        "mixed": build_chain(points, mixed, truth.sampler(_SIZE), _SIZE, metrics),
        "urn": build_chain(points, compose(one, accumulate(_FITS - 1)), urn, 2, metrics),
    }


def _moments(section: str, p: np.ndarray) -> list[Check]:
    """What counts and labels must both obey."""
    first, last = p[:, 0], p[:, -1]
    covariance = exact.covariance(_P, _FITS, _SIZE)
    alive, support = exact.survival(_P[4], _FITS, _SIZE), exact.expected_support(_P, _FITS, _SIZE)
    return [
        check(section, "E H_n", 1 - np.sum(last**2, axis=1), _START * exact.heterozygosity(_FITS, _SIZE)),
        check(section, "E p_n is a martingale", last[:, 0], _P[0]),
        check(section, "Cov(p_1, p_2)", (last[:, 0] - _P[0]) * (last[:, 1] - _P[1]), covariance[0, 1]),
        check(section, "Var p_1", (last[:, 0] - _P[0]) ** 2, covariance[0, 0]),
        check(section, "P(class of 5 % unseen in one fit)", first[:, 4] == 0, exact.unseen(_P[4], _SIZE)),
        check(section, "P(class of 5 % alive after n fits)", last[:, 4] > 0, alive),
        check(section, "E support after n fits (exact)", (last > 0).sum(axis=1), support),
    ]


def _schedule(heterozygosity: np.ndarray) -> list[Check]:
    """A schedule loses the product of its steps; its harmonic mean, used throughout, loses nearly the same."""
    sizes = np.array(_SCHEDULE)
    section, kept = "categorical, schedule", heterozygosity / _START
    harmonic = exact.heterozygosity(len(sizes), ancestry.effective_size(sizes))
    return [
        check(section, "E H_n = H_0 prod (1 - 1/M_i)", kept, np.prod(exact.heterozygosity(1, sizes))),
        check(section, "E H_n ~ that of the harmonic mean size", kept, harmonic,
              allowance=np.sum(1 / sizes**2) / 2),
    ]  # fmt: skip


def _entropy(entropy: np.ndarray) -> list[Check]:
    """One fit to 100 draws loses (K - 1)/(2M) nats, and to second order (sum 1/p - 1)/(12 M^2) more."""
    second = (np.sum(1 / _P) - 1) / (12 * 100**2)
    dropped = -np.sum(_P * np.log(_P)) - entropy
    law = "entropy drops by ~ (K - 1)/(2M), and in second order"
    return [check("categorical, M = 100", law, dropped - second, exact.entropy_drop(5, 100), allowance=second / 5)]


def _two_class_laws(share: dict[str, np.ndarray]) -> list[Check]:
    two, mixed, urn = share["two"][:, -1], share["mixed"][:, -1], share["urn"][:, -1]
    alive, black = (two > 0) & (two < 1), _BLACK / _URN
    exactly = exact.survival(0.3, _FITS, _SIZE) + exact.survival(0.7, _FITS, _SIZE) - 1
    identity = theory.ibd_fresh_fraction(_FITS - 1, _SIZE, _SIZE, 0.3)[-1]
    return [
        check("two classes", "P(both alive)", alive, exactly),
        check("two classes", "P(class of 30 % alive)", two > 0, exact.survival(0.3, _FITS, _SIZE)),
        check("categorical, fresh mixing", "Var p", (mixed - 0.3) ** 2, 0.21 * identity),
        check("urn, one by one", "E p_T is a martingale", urn, black),
        check("urn, one by one", "Var p_T = p (1-p) T/((n0+1)(n0+T))", (urn - black) ** 2,
              ancestry.polya_variance(black, _URN, _FITS - 1)),
    ]  # fmt: skip


def _eigenvalues() -> list[Check]:
    """The matrix's own eigenvalues against the product."""
    found = np.sort(np.linalg.eigvals(ancestry.transition_matrix(_SIZE)).real)
    gap = np.abs(found - np.sort(ancestry.transition_eigenvalues(_SIZE))).max()
    return [check_exact("two classes", "eigenvalues prod (1 - j/M), M = 20, largest gap", gap, 0.0, allowance=1e-6)]
