"""Laws of labs beside a web: on islands, where they exchange rows, and with archives of their own."""

import jax.numpy as jnp
import numpy as np

from collapse_jax import theory
from collapse_jax.core.chain import build_chain
from collapse_jax.core.combine import vmap_chain
from collapse_jax.core.protocol import Chain, Metric
from collapse_jax.core.real_data import fresh
from collapse_jax.models.gaussian import gaussian, gaussian_metrics, gaussian_truth
from collapse_jax.selfcheck.laws.checks import Check, check, check_exact
from collapse_jax.selfcheck.laws.running import Records
from collapse_jax.theory import pool as exact
from collapse_jax.types import ArrayLike
from collapse_jax.web.labs import NEVER, labs, per_lab
from collapse_jax.web.pool import islands, pool

_GENERATIONS, _BEGINS = 8, 20
_MIGRATIONS, _LABS, _ROWS, _REAL, _ISLAND_BEGINS = (0.0, 0.3, 1.0), 3, 8, 0.1, 500
_ARCHIVE, _DRAWS, _RELEASED = 8, 12, 10


def chains() -> dict[str, Chain]:
    """Return islands at three rates of migration, and labs with archives."""
    return {"islands": vmap_chain(_islands, _MIGRATIONS, "migration"), "archives": _archives()}


def laws(records: Records) -> list[Check]:
    """Eight steps."""
    return [*_mixed(records["islands"]), *_one_population(), *_kept(records["archives"])]


def _lab_metrics() -> tuple[Metric, Metric]:
    """Return the labs' means and log variances."""
    mean, _, variance = per_lab(gaussian_metrics())
    return mean, variance


def _islands(migration: ArrayLike) -> Chain:
    """Return three labs that exchange rows."""
    truth = gaussian_truth(1)
    return build_chain(
        labs(gaussian(1, estimator="mle"), _LABS, draws=_ROWS), islands(migration, fresh(truth.sample), fraction=_REAL),
        truth.sampler(_ISLAND_BEGINS), _LABS * _ROWS, _lab_metrics(),
    )  # fmt: skip


def _mixed(record: dict[str, np.ndarray]) -> list[Check]:
    """Identity within and between labs.

    They begin with rows of one real set of 500, where two are the same with probability 1/500; most of it is forgotten.
    """
    found, section = [], "web, islands"
    rest = (1 - _REAL) ** (2 * _GENERATIONS) / _ISLAND_BEGINS
    for index, migration in enumerate(_MIGRATIONS):
        mean = record["mean"][:, -1, index, :, 0].astype(float)
        variance = np.exp(record["log_total_variance"][:, -1, index].astype(float))
        within, between = exact.island_identity(_GENERATIONS, _ROWS, _LABS, _ROWS, _REAL, migration)
        pairs = (mean.sum(axis=1) ** 2 - (mean**2).sum(axis=1)) / (_LABS * (_LABS - 1))
        for law, values, predicted in (
            ("E mu^2 = G within", np.mean(mean**2, axis=1), within[-1]),
            ("E v = 1 - G within", variance.mean(axis=1), 1 - within[-1]),
            ("E mu mu' = G between", pairs, between[-1]),
        ):
            found.append(check(section, f"mu = {migration:g}: {law}", values, predicted, allowance=rest))
    return found


def _archives() -> Chain:
    """Return a lab that releases once, and one that reads that, each beside rows of its own archive.

    The web is full: what the first releases takes the place of half of the human rows, and nothing else arrives.
    """
    truth = gaussian_truth(1)
    model = labs(
        gaussian(1, estimator="mle"), 2, draws=_DRAWS, releases=[_RELEASED, 0], entry=[0, 1], until=[1, NEVER],
        archive=_ARCHIVE, human=truth.sample,
    )  # fmt: skip
    regime = pool(fresh(truth.sample), inflow=0, deletion=0.0, capacity=_BEGINS)
    of_archive = Metric(
        "archive_mean", ("lab",), "data units", lambda key, s: jnp.mean(s.params.archive.x[..., 0], axis=1)
    )
    return build_chain(model, regime, truth.sampler(_BEGINS), _RELEASED, (*_lab_metrics(), of_archive))


def _kept(record: dict[str, np.ndarray]) -> list[Check]:
    """An archive as part of the data, and at its best weight."""
    law = exact.archive_pooled_error
    of_first = law(_ARCHIVE, _DRAWS, 1 / _BEGINS)
    # of two rows of the web both are released, or one is and the other is of those that it may go back to
    stays, back = _BEGINS - _RELEASED, _DRAWS / (_ARCHIVE + _DRAWS) / _BEGINS
    pairs = _RELEASED * (_RELEASED - 1) * of_first + 2 * _RELEASED * stays * back
    shared = 1 / _BEGINS + (1 - 1 / _BEGINS) * pairs / (_BEGINS * (_BEGINS - 1))
    weight, best = exact.archive_best_weight(_ARCHIVE, _DRAWS, shared)
    mean, own = record["mean"][..., 0].astype(float), record["archive_mean"].astype(float)
    read = ((_ARCHIVE + _DRAWS) * mean - _ARCHIVE * own) / _DRAWS
    combined = (weight * own + (1 - weight) * read)[:, 1:, 1]
    variance = np.exp(record["log_total_variance"][:, 1:, 1].astype(float))
    section, pooled = "web, archive", law(_ARCHIVE, _DRAWS, shared)
    return [
        check(section, "the polluter's E mu^2", mean[:, 0, 0] ** 2, of_first),
        check(section, "E mu^2 = 1/(a+n) + n (n-1)/(a+n)^2 Fp", np.mean(mean[:, 1:, 1] ** 2, axis=1), pooled),
        check(section, "E v = 1 - E mu^2", variance.mean(axis=1), 1 - pooled),
        check(section, "at the best weight: 1/(a + 1/Vp)", np.mean(combined**2, axis=1), best),
    ]


def _one_population() -> list[Check]:
    """With mu = 1 the mixture of all labs is one population of all their rows."""
    within, between = exact.island_identity(9, _ROWS, _LABS, _ROWS, _REAL, 1.0)
    mixture = within / _LABS + (1 - 1 / _LABS) * between
    whole = theory.ibd_fresh_fraction(9, _LABS * _ROWS, _LABS * _ROWS, _REAL)
    law = "mu = 1: one population of all their rows"
    return [check_exact("web, islands", law, mixture[-1], whole[-1])]
