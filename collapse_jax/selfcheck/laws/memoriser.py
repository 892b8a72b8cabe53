"""Laws of a memoriser of Zipf's law: the mass that it has never seen, over generations and schedules."""

import jax.numpy as jnp
import numpy as np
from scipy.special import zeta

from collapse_jax.core.chain import build_chain
from collapse_jax.core.protocol import Chain
from collapse_jax.core.regimes import replace, schedule
from collapse_jax.models.categorical import (
    CategoricalTruth,
    categorical_metrics,
    categorical_points,
    temperature,
)
from collapse_jax.selfcheck.laws.checks import Check, check, check_exact
from collapse_jax.selfcheck.laws.running import Records
from collapse_jax.theory import discrete as exact

_CLASSES, _SIZE, _FITS, _CUT = 200, 200, 6, 40
_SIZES = (400, 200, 100)
_ZIPF = exact.zipf(1.5, _CLASSES)


def laws(records: Records) -> list[Check]:
    """Six fits, by a schedule three."""
    seen = {name: record["probabilities"] > 0 for name, record in records.items()}
    missed = {name: np.einsum("rgk,k->rg", ~flags, _ZIPF) for name, flags in seen.items()}
    later, worth = exact.memoriser_error(_ZIPF, _SIZE, _FITS), exact.effective_draws(np.array(_SIZES))
    scheduled = np.sum(_ZIPF * np.exp(-worth * _ZIPF))
    return [
        check("zipf", "mass never seen by one fit", missed["all"][:, 0], exact.memoriser_error(_ZIPF, _SIZE, 1)),
        check("zipf", "mass never seen after 6 fits ~ sum p e^(-M p g_n)", missed["all"][:, -1], later,
              allowance=0.02 * later),
        check("zipf", "after 400, 200, 100 draws: that of the effective draws", missed["schedule"][:, 2], scheduled,
              allowance=0.02 * scheduled),
        check("zipf", "mass never seen with the tail cut at 40", missed["cut"][:, 0],
              exact.truncated_memoriser_error(_ZIPF, _CUT, _SIZE)),
        *_rare_classes(seen["all"]),
        *_identities(),
    ]  # fmt: skip


def chains() -> dict[str, Chain]:
    """Return two hundred draws of two hundred classes, by labels; a schedule; a tail that was cut."""
    model, shown, truth = categorical_points(_CLASSES), categorical_metrics()[2:], CategoricalTruth(_ZIPF)
    head = np.where(np.arange(_CLASSES) < _CUT, _ZIPF, 0)
    cut, sizes = CategoricalTruth(head / head.sum()), (*_SIZES[1:], *[_SIZES[-1]] * (_FITS - len(_SIZES)))
    return {
        "all": build_chain(model, replace(), truth.sampler(_SIZE), _SIZE, shown),
        "schedule": build_chain(model, schedule(sizes), truth.sampler(_SIZES[0]), _SIZES[1], shown),
        "cut": build_chain(model, replace(), cut.sampler(_SIZE), _SIZE, shown),
    }


def _rare_classes(seen: np.ndarray) -> list[Check]:
    """Bounds on how many classes are alive after six fits: among all, and among the rarest half."""
    alive, half = seen[:, -1], _CLASSES // 2
    bounds = np.array([exact.survival_bounds(p, _SIZE, _FITS) for p in _ZIPF])
    section = "zipf, n = 6"
    return [
        check(section, "E support >= sum 1 - e^(-M p g_n)", alive.sum(axis=1), bounds[:, 0].sum(), relation=">="),
        check(section, "E support of the rare half >= sum 1 - e^(-M p g_n)", alive[:, half:].sum(axis=1),
              bounds[half:, 0].sum(), relation=">="),
        check(section, "E support of the rare half <= sum 1 - (1 - 3Mp^2 - 3np) e^(-M p g_n)",
              alive[:, half:].sum(axis=1), bounds[half:, 1].sum(), relation="<="),
    ]  # fmt: skip


def _identities() -> list[Check]:
    """The asymptote against its sum over infinitely many classes, and a Zipf law that is cooled three times."""
    draws, many = 3000, np.arange(1, 1_000_001)
    p = many**-1.5 / zeta(1.5)
    unseen = np.sum(p * np.exp(draws * np.log1p(-p))) + zeta(1.5, len(many) + 1) / zeta(1.5)
    cooled = jnp.asarray(exact.zipf(1.5, 50), float)
    for _ in range(3):
        cooled = temperature(0.8)(cooled)
    slope = float(jnp.log(cooled[9] / cooled[0])) / np.log(10)
    asymptote = exact.memoriser_asymptote(1.5, draws)
    survival = exact.branching_survival(1000) * np.arange(1, 1001)
    return [
        check_exact("zipf", "mass never seen in 3,000 draws, its asymptote", unseen, asymptote,
                    allowance=1e-3 * asymptote),
        check_exact("temperature", "Zipf exponent b / tau^n", -slope, 1.5 / 0.8**3, allowance=1e-4),
        check_exact("forgetting", "n g_n rises from 1 to 2, at n = 1,000", survival[-1], 2.0, allowance=0.02),
        Check("forgetting", "1 <= n g_n", float(survival.min()), 0.0, 1.0, relation=">="),
    ]  # fmt: skip
