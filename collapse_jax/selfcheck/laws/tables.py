"""Laws of bigram tables, of novelty and forgetting, and of truncation iterated."""

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.core.chain import build_chain
from collapse_jax.core.data import Samples
from collapse_jax.core.protocol import Chain, Metric, Snapshot
from collapse_jax.core.regimes import fresh, replace, replace_with_real
from collapse_jax.models.bigram import bigram, known_table, row_heterozygosity, table_metric
from collapse_jax.models.categorical import categorical, categorical_metrics, count_sums, top_p
from collapse_jax.models.kde import bootstrap
from collapse_jax.selfcheck.laws.checks import Check, check, check_exact
from collapse_jax.selfcheck.laws.running import Records
from collapse_jax.theory import discrete as exact
from collapse_jax.types import Array, Key

_TABLE = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
_VISITS, _PATH, _FITS = 12, 60, 5
_SIZE, _NEW = 20, 0.15
_COUNT, _WORDS = 4, 800


def table_chains() -> dict[str, Chain]:
    """Return bigram tables of three words, from fixed visits and from one path."""
    visits = build_chain(
        bigram(3, draws="visits"), replace(), known_table(_TABLE, _VISITS), _VISITS,
        (row_heterozygosity(), table_metric()),
    )  # fmt: skip
    path = build_chain(
        bigram(3), replace(), known_table(_TABLE, _PATH, "path"), _PATH, (table_metric(), _transitions())
    )
    return {"visits": visits, "path": path}


def table_laws(records: Records) -> list[Check]:
    """Five fits: fixed visits follow Wright-Fisher, one path does not quite."""
    start = np.mean(1 - np.sum(_TABLE**2, axis=1))
    alive = np.diff((records["path"]["table"] > 0).sum(axis=(2, 3)), axis=1)
    counts = records["path"]["transitions"][:, 0].astype(float)
    noise = counts[:, 0, 0] - counts[:, 0].sum(axis=1) * _TABLE[0, 0]
    section = "bigram, fixed visits"
    return [
        check(section, "E row heterozygosity", records["visits"]["row_heterozygosity"][:, -1],
              start * exact.heterozygosity(_FITS, _VISITS)),
        check(section, "E p_ab is a martingale", records["visits"]["table"][:, -1, 0, 0], _TABLE[0, 0]),
        check("bigram, one path", "E[n_ab - n_a p_ab] = 0", noise / noise.std(), 0.0),
        check_exact("bigram, one path", "support never grows (largest change)", max(alive.max(), 0), 0),
    ]  # fmt: skip


def _transitions() -> Metric:
    """Return the metric that keeps the counts a generation is fitted to."""
    return Metric("transitions", ("context", "word"), "1", lambda key, snapshot: snapshot.training.values)


def novelty_chains() -> dict[str, Chain]:
    """Return resampling with a share of draws that are new, and a rare word that is forgotten."""
    return {"novel": _novel_chain(), "word": _word_chain()}


def novelty_laws(records: Records) -> list[Check]:
    """Thirty generations; and top-p iterated."""
    found, word = records["novel"]["identity"][:, -1], records["word"]["probabilities"][..., 0]
    nucleus, sizes = top_p(0.9), []
    p = jnp.full(100, 0.01)
    for _ in range(60):
        p = nucleus(p)
        sizes.append(int((p > 0).sum()))
    return [
        check("novelty", "stationary identity F", found, exact.novelty_identity(_SIZE, _NEW)),
        *[
            check(f"a word of count {_COUNT} in {_WORDS}", f"P(lost by n = {n}) ~ e^(-c g_n)", word[:, n] == 0,
                  exact.forgetting_probability(_COUNT, n), allowance=_COUNT / _WORDS)
            for n in (6, 11, 30)
        ],
        check_exact("top-p", "uniform(100), p = 0.9: support after 3", sizes[2], 73),
        check_exact("top-p", "uniform(100), p = 0.9: support at rest", sizes[-1], 9),
    ]  # fmt: skip


def _word_chain() -> Chain:
    """Return counts of a rare word and of all others: a branching process until it is lost."""
    real = count_sums(jnp.array([_COUNT, _WORDS - _COUNT], float))
    return build_chain(categorical(2), replace(), lambda key: real, _WORDS, categorical_metrics()[2:])


def _novel_chain() -> Chain:
    def draw(key: Key, num: int) -> Samples:
        return Samples(jax.random.uniform(key, (num, 1)), jnp.ones(num))

    def identity(key: Key, snapshot: Snapshot) -> Array:
        points = snapshot.params.points[:, 0]
        same = jnp.sum(points[:, None] == points[None, :]) - _SIZE
        return same / (_SIZE * (_SIZE - 1))

    regime = replace_with_real(fresh(draw), fraction=_NEW)
    metric = Metric("identity", (), "1", identity)
    return build_chain(bootstrap(), regime, lambda key: draw(key, _SIZE), _SIZE, (metric,))
