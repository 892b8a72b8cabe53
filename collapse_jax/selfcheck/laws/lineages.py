"""Laws of single points followed for long: ancestors, coalescence, Moran's step, selection to the end."""

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.core.chain import build_chain
from collapse_jax.core.data import Samples
from collapse_jax.core.protocol import Chain, Metric, Regime, Snapshot
from collapse_jax.core.regimes import add_real, compose, curate, fresh, replace
from collapse_jax.models.categorical import (
    CategoricalTruth,
    categorical_metrics,
    categorical_points,
)
from collapse_jax.models.kde import bootstrap
from collapse_jax.selfcheck.laws.checks import Check, check
from collapse_jax.selfcheck.laws.running import Records
from collapse_jax.theory import ancestry, curation
from collapse_jax.theory import discrete as exact
from collapse_jax.types import Array, Key, PyTree

_SIZE = 20
_MORAN, _COPIES = 6, 3
_REWARD, _SHARE = 0.1, 0.3
_RARE, _REAL, _CURATED = 0.05, 20, 10


def laws(records: Records) -> list[Check]:
    """Two hundred generations, after which all but some 1e-4 of the chains are at their end."""
    return [
        *_ancestors(records["copies"]),
        *_moran(records["moran"]["share"].astype(float)),
        *_selected(
            records["judged"]["probabilities"][..., 0], records["fed"]["probabilities"][..., 0].astype(float)
        ),
    ]


def chains() -> dict[str, Chain]:
    """Return copies of twenty points, six under Moran's steps, and classes judged in pairs."""
    judge = lambda reward: curate(lambda labels: jnp.where(labels == 0, reward, 0.0), 2, choice="luce")  # noqa: E731
    points, shown = categorical_points(2), categorical_metrics()[2:]
    known = Samples((jnp.arange(10) >= 10 * _SHARE).astype(jnp.int32), jnp.ones(10))
    rare = CategoricalTruth(np.array([_RARE, 1 - _RARE]))
    fed = compose(judge(3.0), add_real(fresh(rare.sample), count=_REAL))
    share = Metric("share", (), "1", lambda key, snapshot: jnp.mean(snapshot.params.points))
    half = Samples((jnp.arange(_MORAN) < _COPIES).astype(float)[:, None], jnp.ones(_MORAN))
    ids = Samples(jnp.arange(float(_SIZE))[:, None], jnp.ones(_SIZE))
    return {
        "copies": build_chain(bootstrap(), replace(), ids, _SIZE, _lineage_metrics()),
        "moran": build_chain(bootstrap(), _moran_step(), half, 2, (share,)),
        "judged": build_chain(points, judge(_REWARD), known, 2 * _SIZE, shown),
        "fed": build_chain(points, fed, rare.sampler(_REAL), 2 * _CURATED, shown),
    }


def _lineage_metrics() -> tuple[Metric, ...]:
    """Return how many original points are left, and the share of pairs that are copies of one."""

    def counts(snapshot: Snapshot) -> Array:
        return jnp.sum(snapshot.params.points == jnp.arange(float(_SIZE))[None], axis=0)

    return (
        Metric("ancestors", (), "1", lambda key, s: jnp.sum(counts(s) > 0)),
        Metric("pairs", (), "1", lambda key, s: jnp.sum(counts(s) * (counts(s) - 1)) / (_SIZE * (_SIZE - 1))),
    )


def _moran_step() -> Regime:
    """Return the regime in which the first point drawn takes the place of any one."""

    def update(key: Key, synthetic: Samples, pool: PyTree) -> tuple[Samples, PyTree]:
        place = jax.random.randint(key, (), 0, _MORAN)
        pool = pool._replace(x=pool.x.at[place].set(synthetic.x[0]))
        return pool, pool

    return Regime(lambda real, synthetic: real, update)


def _ancestors(record: dict[str, np.ndarray]) -> list[Check]:
    section, alive = "lineages, M = 20", record["ancestors"]
    common, meets = (alive == 1).argmax(axis=1), 2 * _SIZE * (1 - 1 / _SIZE)
    early, late, rank = 4, 30, np.arange(1, 60)
    kingman = np.sum((2 * rank - 1) * np.exp(-rank * (rank - 1) * late / (2 * _SIZE)))
    branching = _SIZE * exact.branching_survival(early + 1)[-1]
    return [
        check(section, "E originals alive after 30", alive[:, late], ancestry.ancestors(_SIZE, late)),
        check(section, "E originals alive after 30 ~ sum (2k-1) e^(-k(k-1)n/2M)", alive[:, late], kingman,
              allowance=0.075 * kingman),
        check(section, "E originals alive after 4 ~ M g_(n+1)", alive[:, early], branching,
              allowance=0.055 * branching),
        check(section, "P(a pair has met by 30)", record["pairs"][:, late], ancestry.pair_coalesced(_SIZE, late)),
        check(section, "E time to the common ancestor ~ 2M (1 - 1/M)", common, meets, allowance=0.05 * meets),
    ]  # fmt: skip


def _moran(share: np.ndarray) -> list[Check]:
    section, steps = "Moran's step, M = 6", 15
    product, start = share[:, steps] * (1 - share[:, steps]), _COPIES / _MORAN
    end = ((share == 0) | (share == 1)).argmax(axis=1)
    return [
        check(section, "E p (1-p) after 15 steps", product,
              start * (1 - start) * ancestry.moran_heterozygosity(_MORAN, steps)),
        check(section, "E steps until one is left", end, ancestry.moran_absorption_time(_COPIES, _MORAN)),
    ]  # fmt: skip


def _selected(judged: np.ndarray, fed: np.ndarray) -> list[Check]:
    """Which class takes over under selection; how far it can go where real data are added."""
    advantage = 2 / (1 + np.exp(-_REWARD)) - 1
    bound = curation.kept_ratio_bound(_CURATED / _REAL, 2)
    # the bound is linear in p, so the expectation obeys it, however few points there are
    return [
        check("curation, Bradley-Terry", "P(the better class takes over) (Kimura)", judged[:, -1],
              curation.fixation_probability(_SHARE, _SIZE, advantage), allowance=0.02),
        check("curation, Bradley-Terry", "with 2 real points for each curated: E p_t/p_ref <= 2",
              fed[:, -1] / _RARE, bound, relation="<="),
    ]  # fmt: skip
