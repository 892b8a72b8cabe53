"""Laws of a polluted web of points: both moments of its rows, of four webs that labs share."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from collapse_jax.core.chain import build_chain
from collapse_jax.core.combine import vmap_chain
from collapse_jax.core.protocol import Chain, Metric, Snapshot
from collapse_jax.core.real_data import fresh
from collapse_jax.models.gaussian import gaussian, gaussian_metrics, gaussian_truth
from collapse_jax.selfcheck.laws.checks import Check, check, check_exact
from collapse_jax.selfcheck.laws.running import Records
from collapse_jax.theory import pool as exact
from collapse_jax.types import Array, ArrayLike, Key
from collapse_jax.web.labs import labs, per_lab
from collapse_jax.web.pool import pool, web_metrics
from collapse_jax.web.stores import RowStore


class _Setting(NamedTuple):
    """A web of three labs.

    Attributes:
        releases: m_l, rows that each releases in a step; 0 for a probe, or for a lab that is not there.
        deletion: d.
        bias: lam_l.
        entry: the step at which each begins.
    """

    releases: tuple[int, int, int]
    deletion: float
    bias: tuple[float, float, float] = (1.0, 1.0, 1.0)
    entry: tuple[int, int, int] = (0, 0, 0)


_GENERATIONS, _BEGINS, _INFLOW, _CAP = 8, 20, 4, 60
_READS = (10, 5, 4)  # n_l
_WEBS = {
    "three labs": _Setting((6, 4, 5), 0.5),
    "bias, late entries": _Setting((6, 4, 0), 0.25, bias=(0.8, 1.0, 0.9), entry=(0, 2, 4)),
    "all is deleted": _Setting((7, 3, 2), 1.0, bias=(0.9, 1.0, 0.9), entry=(0, 1, 0)),
    "a full web": _Setting((7, 5, 4), 0.05, bias=(0.9, 0.9, 1.0)),
}


def chains() -> dict[str, Chain]:
    """Return four webs of Gaussian labs."""
    return {"points": vmap_chain(_web, tuple(range(len(_WEBS))), "web")}


def laws(records: Records) -> list[Check]:
    """Eight steps of each web; and webs at rest."""
    found, told = [], {name: values for name, values in records["points"].items() if name != "is_finite"}
    for index, (name, setting) in enumerate(_WEBS.items()):
        found += _moments(name, setting, {key: values[:, :, index] for key, values in told.items()})
    return [*found, *_rest()]


def _web(number: ArrayLike) -> Chain:
    """Return a web of points; its number may be traced: what is reserved is the same in all."""
    index = jnp.asarray(number, int)

    def of(name: str) -> Array:
        return jnp.asarray([getattr(setting, name) for setting in _WEBS.values()])[index]

    truth = gaussian_truth(1)
    model = labs(
        lambda bias: gaussian(1, estimator="mle", bias=bias), 3, draws=_READS, releases=of("releases"),
        entry=of("entry"), values=of("bias"),
    )  # fmt: skip
    regime = pool(fresh(truth.sample), inflow=_INFLOW, deletion=of("deletion"), capacity=_CAP)
    most = max(max(setting.releases) for setting in _WEBS.values())
    return build_chain(
        model, regime, truth.sampler(_BEGINS), most, (*_lab_metrics(), *web_metrics(3)[:2], *_web_moments())
    )


def _lab_metrics() -> tuple[Metric, Metric]:
    """Return the labs' means and log variances."""
    mean, _, variance = per_lab(gaussian_metrics())
    return mean, variance


def _web_moments() -> tuple[Metric, Metric]:
    """Return E x^2 of a row of the web and E x x' of two distinct ones."""

    def sums(snapshot: Snapshot) -> tuple[Array, Array, Array]:
        web = snapshot.training
        rows = web.rows if isinstance(web, RowStore) else web
        x = rows.x[:, 0]
        return jnp.sum(rows.weight), jnp.sum(rows.weight * x), jnp.sum(rows.weight * x**2)

    def second(key: Key, snapshot: Snapshot) -> Array:
        num, _, squares = sums(snapshot)
        return squares / num

    def cross(key: Key, snapshot: Snapshot) -> Array:
        num, total, squares = sums(snapshot)
        return (total**2 - squares) / (num * (num - 1))

    unit = "squared data units"
    return Metric("second_moment", (), unit, second), Metric("cross_moment", (), unit, cross)


def _law(setting: _Setting) -> exact.PoolMoments:
    numbers = (_READS, setting.releases, setting.bias, setting.entry)
    num_samples, released, bias, entry = (np.array(part, float) for part in numbers)
    return exact.pool_moments(
        _GENERATIONS, _BEGINS, num_samples, released, _INFLOW, setting.deletion, bias, entry, _CAP
    )


def _moments(name: str, setting: _Setting, record: dict[str, np.ndarray]) -> list[Check]:
    """Both moments of the web's rows, its share of generated ones, and what its labs know."""
    law, section = _law(setting), f"web, {name}"
    last = {key: values[:, -1].astype(float) for key, values in record.items()}
    found = [
        check_exact(
            section, "rows: largest gap in any step", np.abs(record["web_size"] - law.size).max(), 0.0
        ),
        check(section, "contamination", last["contamination"], law.contamination[-1]),
        check(section, "T = E x^2", last["second_moment"], law.second_moment[-1]),
        check(section, "X = E x x'", last["cross_moment"], law.cross_moment[-1]),
    ]
    for lab, num in enumerate(_READS[:2]):
        found += [
            check(section, f"E mu^2 of the lab with n = {num}", last["mean"][:, lab, 0] ** 2,
                  law.mean_square[-1, lab]),
            check(section, f"E v of the lab with n = {num}", np.exp(last["log_total_variance"][:, lab]),
                  law.variance[-1, lab]),
        ]  # fmt: skip
    if name == "three labs":
        worth = exact.pool_worth(law.size[-1], law.cross_moment[-1])
        mean_square = last["second_moment"] / law.size[-1] + (1 - 1 / law.size[-1]) * last["cross_moment"]
        found.append(check(section, "(mean of the web)^2 = 1/worth", mean_square, 1 / worth))
    return found


def _rest() -> list[Check]:
    """Recursions run to their end, against closed forms, and against each other."""
    section = "web, at rest"
    sizes: dict[str, Any] = {"num_samples": np.array([100.0, 30.0]), "num_released": np.array([60.0, 60.0])}
    fair = exact.pool_moments(2000, 1600, inflow=40, deletion=0.1, **sizes)
    limit = exact.pool_limit(40, deletion=0.1, **sizes)
    large = exact.pool_limit(10**6, 10**6, 3 * 10**6, 0.5, bias=0.8)
    slow = exact.pool_limit(40, 100, np.array([60.0, 60.0]), 0.001)
    return [
        check_exact(section, "F after 2000 steps = B/(A + B)", fair.cross_moment[-1], limit.cross_moment,
                    allowance=1e-6),
        check_exact(section, "c = m/(h + m)", fair.contamination[-1], 0.75, allowance=1e-6),
        check_exact(section, "large webs: T = (1 - c)/(1 - c lam)", large.second_moment,
                    exact.pool_variance_limit(0.75, 0.8), allowance=1e-4),
        check_exact(section, "slow webs: F/(1 - F) ~ c d/h + c^2 d/(2 (1-c) L n)",
                    slow.cross_moment / exact.slow_pool_identity(40, 120, 0.001, 2, 100), 1.0, allowance=0.02),
    ]  # fmt: skip
