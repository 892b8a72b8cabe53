"""Laws of a web of labels, and of counts of them: heterozygosity, calibrated weights, and webs that are chains."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from collapse_jax.core.chain import build_chain
from collapse_jax.core.combine import vmap_chain
from collapse_jax.core.protocol import Chain, Metric
from collapse_jax.core.real_data import fresh
from collapse_jax.core.statistics import Sums
from collapse_jax.models.categorical import (
    CategoricalTruth,
    categorical,
    categorical_metrics,
    categorical_points,
)
from collapse_jax.selfcheck.laws.checks import Check, check, check_exact
from collapse_jax.selfcheck.laws.running import Records
from collapse_jax.theory import discrete
from collapse_jax.theory import pool as exact
from collapse_jax.types import ArrayLike, Key
from collapse_jax.web.filters import posterior
from collapse_jax.web.labs import labs, per_lab
from collapse_jax.web.pool import Inflow, islands, pool


class _Setting(NamedTuple):
    """A web of two labs.

    Attributes:
        draws: n_l, rows that each fits.
        releases: m_l, rows that each releases in a step.
        entry: the step at which each begins.
        inflow: h, human rows that arrive in a step.
        deletion: d.
    """

    draws: tuple[int, int]
    releases: tuple[int, int]
    entry: tuple[int, int]
    inflow: int
    deletion: float


_GENERATIONS, _BEGINS = 8, 20
_SHARED = _Setting((10, 5), (8, 6), (0, 2), 4, 0.25)
_WEBS = {
    "shared": _SHARED,
    "nothing left": _Setting((10, 10), (_BEGINS, 0), (0, 0), 0, 1.0),
    "no releases": _Setting((6, 6), (0, 0), (0, 6), 10, 0.5),
}
_P, _FALSE = np.array([0.6, 0.4]), np.array([0.1, 0.9])  # of humans; of poison
_START = 1 - np.sum(_P**2)
_ISOLATED, _EACH, _POOLED = 4, 6, 500


def chains() -> dict[str, Chain]:
    """Return three counted webs, the first of them of labels too, one with calibrated weights, and isolated labs."""
    truth = CategoricalTruth(_P)
    model = labs(
        categorical_points(2), 2, draws=_SHARED.draws, releases=_SHARED.releases, entry=_SHARED.entry
    )
    regime = pool(fresh(truth.sample), inflow=_SHARED.inflow, deletion=_SHARED.deletion)
    many = labs(categorical_points(2), _ISOLATED, draws=_EACH)
    return {
        "counts": vmap_chain(_counted, tuple(range(len(_WEBS))), "web"),
        "labels": build_chain(model, regime, truth.sampler(_BEGINS), max(_SHARED.releases), _metrics()[:1]),
        "weighted": _weighted(),
        "isolated": build_chain(
            many, islands(0.0), truth.sampler(_POOLED), _ISOLATED * _EACH, _metrics()[1:]
        ),
    }


def laws(records: Records) -> list[Check]:
    """Heterozygosity (1 - G_l) H_0 after eight steps; chains and their limits; the human law; what isolation keeps."""
    counts = records["counts"]["heterozygosity"][:, -1].astype(float)
    labels = records["labels"]["heterozygosity"][:, -1].astype(float)
    shared = _law(_SHARED).mean_square[-1]
    found = [
        check(f"web, {kind}", f"E H of the lab with n = {num}", values[:, lab], _START * (1 - shared[lab]))
        for kind, values in (("counts", counts[:, 0]), ("labels", labels))
        for lab, num in enumerate(_SHARED.draws)
    ]
    return [*found, *_limits(counts), *_human(records["weighted"]["probabilities"]), *_apart(records)]


def _metrics() -> tuple[Metric, ...]:
    """Return labs' heterozygosity and probabilities."""
    heterozygosity, _, probabilities = per_lab(categorical_metrics())
    return heterozygosity, probabilities


def _counter(truth: CategoricalTruth) -> Callable[[Key, Any], Sums]:
    """Return the function (key, num) -> counts of so many."""
    return lambda key, num: truth.counts_sampler(num)(key)


def _counted(number: ArrayLike) -> Chain:
    """Return a web of counts; all its numbers may be traced."""
    of = lambda name: jnp.asarray([getattr(web, name) for web in _WEBS.values()])[jnp.asarray(number, int)]  # noqa: E731
    truth = CategoricalTruth(_P)
    model = labs(categorical(2), 2, draws=of("draws"), releases=of("releases"), entry=of("entry"))
    regime = pool(fresh(_counter(truth)), inflow=of("inflow"), deletion=of("deletion"))
    return build_chain(model, regime, truth.counts_sampler(_BEGINS), _BEGINS, _metrics()[:1])


def _law(web: _Setting) -> exact.PoolMoments:
    draws, releases, entry = (np.array(part, float) for part in (web.draws, web.releases, web.entry))
    return exact.pool_moments(_GENERATIONS, _BEGINS, draws, releases, web.inflow, web.deletion, entry=entry)


def _limits(counts: np.ndarray) -> list[Check]:
    """A web of which nothing is left is a chain; where nothing is released, nobody comes too late."""
    section, alone, quiet = "web, limits", _WEBS["nothing left"], _WEBS["no releases"]
    lost = (1 - 1 / _BEGINS) * (1 - 1 / alone.draws[0])
    kept = lost ** (_GENERATIONS + 1)
    knows = 1 - _law(quiet).mean_square
    whole = exact.pool_moments(_GENERATIONS, _BEGINS, 10**12, _BEGINS, 0, 1.0).mean_square[-1, 0]
    return [
        check(section, "one lab, nothing left: E H loses (1 - 1/M)(1 - 1/n) a step", counts[:, 1, 0], _START * kept),
        check_exact(section, "the same, by the recursion", 1 - _law(alone).mean_square[-1, 0], kept),
        check_exact(section, "a lab that knows all of it: replace", 1 - whole,
                    discrete.heterozygosity(_GENERATIONS + 1, _BEGINS)),
        check(section, "no releases: a late lab's E H", counts[:, 2, 1], _START * knows[-1, 1]),
        check_exact(section, "no releases: but for the web's size G is constant in entry time",
                    np.ptp(1 - knows[:, 0] - (1 - 1 / 6) / _law(quiet).size), 0.0, allowance=1e-6),
    ]  # fmt: skip


def _weighted() -> Chain:
    """Return a web half of which is poison, weighted by a calibrated detector."""
    truth, false = CategoricalTruth(_P), CategoricalTruth(_FALSE)
    regime = pool(
        fresh(_counter(truth)), inflow=20, deletion=0.5, filter=posterior(),
        poison=Inflow(fresh(_counter(false)), 20),
    )  # fmt: skip
    model = labs(categorical(2), 1, draws=30, releases=0)
    return build_chain(model, regime, truth.counts_sampler(40), 2, _metrics()[1:])


def _human(probabilities: np.ndarray) -> list[Check]:
    """The weights 1 - q give the human law."""
    share = probabilities[:, -1, 0, 0].astype(float)
    return [check("web, calibrated weights", "E p of a lab is the human one", share, _P[0])]


def _apart(records: Records) -> list[Check]:
    """Labs that share a number of rows and never meet; they begin with rows of one real set of 500."""
    mixture = records["isolated"]["probabilities"][:, -1].astype(float).mean(axis=1)
    kept = exact.isolated_labs_diversity(_GENERATIONS + 1, _ISOLATED, _ISOLATED * _EACH)
    law = f"{_ISOLATED} labs that never meet: E H of their mixture"
    start = _START * (1 - 1 / _POOLED)
    return [check("web, islands", law, 1 - np.sum(mixture**2, axis=1), start * kept)]
