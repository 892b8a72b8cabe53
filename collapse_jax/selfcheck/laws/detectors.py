"""Laws of detectors in a web: a blind one, exact for any number of rows; a frozen one; calibrated weights."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import binom, norm

from collapse_jax.core.chain import build_chain
from collapse_jax.core.combine import vmap_chain
from collapse_jax.core.protocol import Chain, Metric, Snapshot
from collapse_jax.core.real_data import fresh
from collapse_jax.models.gaussian import GaussianTruth, gaussian, gaussian_metrics, gaussian_truth
from collapse_jax.selfcheck.laws.checks import Check, check, check_exact
from collapse_jax.selfcheck.laws.running import Records
from collapse_jax.theory import filtering as exact
from collapse_jax.types import Array, ArrayLike, Key
from collapse_jax.web.filters import blind, posterior, threshold
from collapse_jax.web.labs import labs, per_lab
from collapse_jax.web.pool import Inflow, pool
from collapse_jax.web.stores import HUMAN, CountStore, RowStore

_GENERATIONS, _HUMAN, _RELEASED, _DRAWS, _BIAS, _LEAST = 8, 15, 45, 40, 0.9, 0.9
_SHARE = _RELEASED / (_HUMAN + _RELEASED)
_FALSE = 0.2
_LINE = float(exact.keep_alive_rate(_FALSE, _SHARE, _BIAS, _LEAST))
# true and false positive rates, and whether rows are counted before the detector sees them
_CELLS = {
    "none": (0.0, 0.0, False),
    "on the line": (_LINE, _FALSE, False),
    "below the line": (0.3, 0.4, False),
    "on the line, fixed crawl": (_LINE, _FALSE, True),
}
_CUT, _VARIANCES, _EACH = 0.7, (0.25, 0.64), 25


def blind_chains() -> dict[str, Chain]:
    """Return webs in four places of the ROC plane."""
    return {"blind": vmap_chain(_blind, tuple(range(len(_CELLS))), "cell")}


def blind_laws(records: Records) -> list[Check]:
    """Eight steps; and ends of recursions."""
    found, told = [], {key: values for key, values in records["blind"].items() if key != "is_finite"}
    for index, (name, cell) in enumerate(_CELLS.items()):
        found += _passed(name, cell, {key: values[:, :, index] for key, values in told.items()})
    return [*found, *_identities()]


def frozen_chains() -> dict[str, Chain]:
    """Return webs of poison that a frozen detector takes out."""
    return {"frozen": vmap_chain(_frozen, _VARIANCES, "variance")}


def frozen_laws(records: Records) -> list[Check]:
    """Its rates; and weights of a calibrated one."""
    return [*_caught(records["frozen"]), *_weights()]


def _blind(number: ArrayLike) -> Chain:
    """Return a web that is renewed at each step, before a blind detector; its place may be traced."""
    true, false, crawl = (jnp.asarray(column)[jnp.asarray(number, int)] for column in zip(*_CELLS.values()))
    truth = gaussian_truth(1)
    regime = pool(fresh(truth.sample), inflow=_HUMAN, deletion=1.0, filter=blind(true, false))
    mean, _, variance = per_lab(gaussian_metrics())
    return build_chain(
        labs(gaussian(1, estimator="mle", bias=_BIAS), 1, draws=_DRAWS, crawl=crawl), regime,
        truth.sampler(_HUMAN + _RELEASED), _RELEASED, (mean, variance, _left(2)),
    )  # fmt: skip


def _left(num_labels: int) -> Metric:
    """Return the metric of the rows of each label that a detector has left."""

    def left(key: Key, snapshot: Snapshot) -> Array:
        web = snapshot.training
        if not isinstance(web, RowStore):
            return jnp.zeros(num_labels)
        return jnp.zeros(num_labels).at[web.label].add(web.rows.weight * web.keep, mode="drop")

    return Metric("left", ("label",), "rows", left)


def _blind_law(
    cell: tuple[float, float, bool], steps: int, human: int, released: int, draws: int, bias: float
) -> tuple[float, float]:
    """Return E mu^2 and E v of the lab after some steps, by all numbers of rows that may be left, and of draws.

    Of H human and M generated rows left, T = (H + M (E mu^2 + lam E v))/N and Xp = T/N + M (M-1) E mu^2/N^2.
    """
    true, false, crawl = cell
    first = human + released
    shared = 1 / first
    mean, variance = shared + (1 - shared) / draws, (1 - 1 / draws) * (1 - shared)
    people, machines = np.arange(human + 1)[:, None], np.arange(released + 1)[None]
    chance = binom.pmf(people, human, 1 - false) * binom.pmf(machines, released, 1 - true)
    rows = np.maximum(people + machines, 1)
    num = np.arange(1, draws + 1)
    passed = (
        binom.pmf(num, draws, rows[..., None] / first)
        if crawl
        else (num == draws) * np.ones((*rows.shape, 1))
    )
    one_over = np.sum(passed / num, axis=-1)
    for _ in range(steps):
        second = (people + machines * (mean + bias * variance)) / rows
        two = second / rows + machines * (machines - 1) * mean / rows**2
        mean, variance = (
            float(np.sum(chance * part))
            for part in (two + (second - two) * one_over, (1 - one_over) * (second - two))
        )
    return mean, variance


def _passed(name: str, cell: tuple[float, float, bool], record: dict[str, np.ndarray]) -> list[Check]:
    """Both moments of a lab, and what is left to it."""
    section = f"web, detector: {name}"
    mean, variance = _blind_law(cell, _GENERATIONS, _HUMAN, _RELEASED, _DRAWS, _BIAS)
    true, false, _ = cell
    left = record["left"][:, 1:].astype(float).mean(axis=1)
    num = _HUMAN * (1 - false) + _RELEASED * (1 - true)
    share = exact.filtered_share(1 - _SHARE, true, false)
    found = [
        check(
            section,
            "E v, by all numbers of rows left",
            np.exp(record["log_total_variance"][:, -1, 0]),
            variance,
        ),
        check(section, "E mu^2, likewise", record["mean"][:, -1, 0, 0].astype(float) ** 2, mean),
    ]
    if cell != _CELLS["none"]:
        found.append(check(section, "share of human rows left r'", left[:, 0] / num, share))
    return found


def _frozen(variance: ArrayLike) -> Chain:
    """Return a web of human rows and as many of N(0, v), which a frozen detector tells apart as well as it can."""
    truth = gaussian_truth(1)
    narrow = GaussianTruth(jnp.zeros(1), jnp.sqrt(jnp.asarray(variance, float)).reshape(1, 1))
    regime = pool(
        fresh(truth.sample), inflow=_EACH, deletion=1.0, poison=Inflow(fresh(narrow.sample), _EACH),
        filter=threshold(lambda x: jnp.abs(x[:, 0]), _CUT),
    )  # fmt: skip
    model = labs(gaussian(1), 1, draws=10, releases=0)
    return build_chain(model, regime, truth.sampler(2 * _EACH), 2, (_left(3), _told_apart()))


def _told_apart() -> Metric:
    """Return the metric of pairs, a human row and a poisoned one, in which the wider is human."""

    def area(key: Key, snapshot: Snapshot) -> Array:
        web = snapshot.training
        if not isinstance(web, RowStore):
            return jnp.zeros(())
        size, weight = jnp.abs(web.rows.x[:, 0]), web.rows.weight
        pairs = (weight * (web.label == HUMAN))[:, None] * (weight * (web.label == 2))[None]
        return jnp.sum(pairs * (size[:, None] > size[None])) / jnp.sum(pairs)

    return Metric("area", (), "1", area)


def _caught(record: dict[str, np.ndarray]) -> list[Check]:
    """A frozen detector: its false positives stay, its true ones depend on what is generated."""
    flagged = 1 - record["left"][:, 1:].astype(float).mean(axis=1) / _EACH
    area = record["area"][:, 1:].astype(float).mean(axis=1)
    found = []
    for index, variance in enumerate(_VARIANCES):
        section = f"web, frozen detector, v = {variance:g}"
        false, true = exact.threshold_rates(_CUT, variance)
        found += [
            check(section, "false positives 2 Phi(c) - 1", flagged[:, index, HUMAN], false),
            check(section, "true positives 2 Phi(c/s) - 1", flagged[:, index, 2], true),
            check(section, "AUC = (2/pi) atan(1/s)", area[:, index], exact.likelihood_ratio_auc(variance)),
        ]
    return found


def _identities() -> list[Check]:
    """The line in the ROC plane, and a fixed budget, by recursions to their ends."""
    human, drawn = (1 - _SHARE) * (1 - _FALSE), _SHARE * (1 - _LINE)
    kept = below = 1.0
    real = float(exact.filtered_share(1 - _SHARE, 0.3, 0.4))
    for _ in range(400):
        kept = (human + drawn * _BIAS * kept) / (human + drawn)
        below = real + (1 - real) * _BIAS * below
    share, n = float(exact.filtered_share(0.1, 0.6, 0.1)), 100
    identity = 0.0
    for _ in range(400):
        identity = 1 / n + (1 - 1 / n) * (1 - share) ** 2 * identity
    return [
        check_exact("detectors", "on the line the share T of the variance is kept", kept, _LEAST),
        Check("detectors", "below it less is", below, 0.0, _LEAST, relation="<="),
        check_exact("detectors", "fixed budget: G* = 1/(M - (M-1)(1-r')^2)", identity,
                    exact.filtered_identity(n, 0.1, 0.6, 0.1)),
        check_exact("detectors", "no detector gains on a fixed crawl: perfect, r = 0.1",
                    exact.crawl_gain(0.1, 1.0, 0.0), 1 / 1.9),
    ]  # fmt: skip


def _weights() -> list[Check]:
    """A million rows in each of two halves, counted in narrow cells, and weighted by `posterior`."""
    variance, edges = 0.25, np.append(np.linspace(0.0, 4.0, 201), np.inf)
    real, drawn = (2 * np.diff(norm.cdf(edges, scale=scale)) for scale in (1.0, variance**0.5))
    counts = jnp.asarray(np.round(1e6 * np.array([real, np.zeros(201), drawn])), float)
    web = CountStore(counts, jnp.ones_like(counts), jnp.asarray(False))
    detector = posterior()
    found, _ = detector.update(jax.random.key(0), web, jnp.asarray(1), detector.init(web, 3))
    held, keep = np.asarray(counts, float), np.asarray(found.keep, float)
    weighted = (held * keep).sum(axis=0)
    size = weighted.sum() ** 2 / (held * keep**2).sum() / held.sum()
    gap = np.abs(weighted / weighted.sum() - held[HUMAN] / held[HUMAN].sum()).max()
    return [
        check_exact("detectors", "weights 1 - q give the human rows: largest gap", gap, 0.0, allowance=1e-6),
        check_exact("detectors", "effective size of them, v = 0.25, half real", size,
                    exact.calibrated_effective_share(0.5, variance), allowance=1e-3),
    ]  # fmt: skip
