"""Detectors that learn: the same coefficients as an optimiser of SciPy's finds, frozen or not, and their ROC area.

Coefficients are compared to 1e-3: both minimise one convex function, here in float32, there in double precision.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

from collapse_jax import (
    CategoricalTruth,
    build_chain,
    categorical,
    fresh,
    gaussian,
    gaussian_metrics,
    gaussian_truth,
    labs,
    per_lab,
    pool,
    simulate,
    web,
)
from collapse_jax.core.data import Samples
from collapse_jax.core.protocol import Snapshot
from collapse_jax.web import RowStore

TRUTH = gaussian_truth(1)
SQUARE = lambda x: jnp.hstack([x, x**2])  # noqa: E731


def store(seed: int, spread: float, num: int = 200, dim: int = 3, empty: int = 40) -> RowStore:
    """Human rows N(0, 1), those of two labs narrower and shifted, poison, and empty slots that hold what they like."""
    random = np.random.default_rng(seed)
    label = random.integers(0, 4, num)
    x = (
        random.normal(size=(num, dim)) * np.where(label > 0, spread, 1.0)[:, None]
        + 0.3 * (label > 0)[:, None]
    )
    weight = np.ones(num)
    weight[:empty] = 0
    x[:empty] = 1e6
    return RowStore(
        Samples(jnp.asarray(x, jnp.float32), jnp.asarray(weight)),
        jnp.asarray(label),
        jnp.zeros(num, int),
        jnp.ones(num),
    )


def fitted_by_scipy(held: RowStore, features: Any, ridge: float) -> np.ndarray:
    """Intercept and coefficients of scikit-learn's objective, C = 1/ridge, in double precision."""
    live = np.asarray(held.rows.weight) > 0
    seen = np.asarray(features(held.rows.x), float)[live]
    design, sign = (
        np.hstack([np.ones((len(seen), 1)), seen]),
        np.where(np.asarray(held.label)[live] > 0, 1.0, -1.0),
    )

    def loss(b: np.ndarray) -> float:
        return float(np.logaddexp(0, -sign * (design @ b)).sum() + ridge * (b[1:] ** 2).sum() / 2)

    return optimize.minimize(loss, np.zeros(design.shape[1]), method="BFGS", options={"gtol": 1e-6}).x


def asked(detector: Any, held: RowStore, step: int, known: Any = None) -> tuple[RowStore, jax.Array]:
    known = detector.init(held, 4) if known is None else known
    return jax.jit(detector.update)(jax.random.key(0), held, jnp.asarray(step), known)


@pytest.mark.parametrize("ridge", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("spread", [0.01, 0.5, 1.0])
def test_coefficients_are_those_of_logistic_regression(ridge: float, spread: float) -> None:
    held = store(0, spread)
    seen, known = asked(web.trained(SQUARE, ridge=ridge), held, 1)
    expected = fitted_by_scipy(held, SQUARE, ridge)
    assert np.asarray(known) == pytest.approx(expected, rel=1e-3, abs=1e-3)
    live = np.asarray(held.rows.weight) > 0
    logits = expected[0] + np.asarray(SQUARE(held.rows.x), float)[live] @ expected[1:]
    assert np.asarray(seen.keep)[live] == pytest.approx(1 / (1 + np.exp(logits)), abs=2e-3)


@pytest.mark.parity
def test_coefficients_are_those_of_scikit_learn() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    held = store(1, 0.7)
    live = np.asarray(held.rows.weight) > 0
    model = linear.LogisticRegression(C=1 / 3.0, tol=1e-8, max_iter=1000)
    model.fit(np.asarray(SQUARE(held.rows.x))[live], np.asarray(held.label)[live] > 0)
    known = np.asarray(asked(web.trained(SQUARE, ridge=3.0), held, 1)[1])
    assert known == pytest.approx(np.hstack([model.intercept_, model.coef_[0]]), rel=1e-3, abs=1e-3)


def test_rows_of_one_kind_alone_give_a_sure_detector() -> None:
    held = store(2, 0.7)
    for label, at_least, at_most in ((0, 0.99, 1.0), (1, 0.0, 0.01)):
        seen, known = asked(web.trained(SQUARE), held._replace(label=jnp.full(200, label)), 1)
        live = np.asarray(held.rows.weight) > 0
        keep = np.asarray(seen.keep)[live]
        assert np.isfinite(np.asarray(known)).all() and (keep >= at_least).all() and (keep <= at_most).all()


def test_a_frozen_detector_stays_as_it_was() -> None:
    first, later = store(3, 0.5), store(4, 0.9)
    frozen, renewed = web.trained(SQUARE, frozen_at=2), web.trained(SQUARE)
    known = asked(frozen, first, 2)[1]
    seen, same = asked(frozen, later, 3, known)
    np.testing.assert_array_equal(same, known)
    np.testing.assert_allclose(
        seen.keep, jax.nn.sigmoid(-known[0] - SQUARE(later.rows.live_rows()) @ known[1:]), 1e-5
    )
    assert np.abs(np.asarray(asked(renewed, later, 3, known)[1] - known)).max() > 0.1


def test_a_verdict_is_where_the_weight_is_below() -> None:
    held = store(5, 0.5)
    soft, hard = (asked(web.trained(SQUARE, below=below), held, 1)[0].keep for below in (None, 0.3))
    np.testing.assert_array_equal(hard, np.asarray(soft) >= 0.3)
    assert 0 < np.asarray(hard).mean() < 1


def test_many_at_once_are_as_one_by_one() -> None:
    detector, stores = web.trained(SQUARE), [store(seed, 0.6) for seed in range(4)]
    together = jax.tree.map(lambda *parts: jnp.stack(parts), *stores)
    update = jax.vmap(
        lambda held: detector.update(jax.random.key(0), held, jnp.asarray(1), detector.init(held, 4))[1]
    )
    for one, many in zip(stores, jax.jit(update)(together)):
        assert np.asarray(many) == pytest.approx(np.asarray(asked(detector, one, 1)[1]), rel=1e-4, abs=1e-4)


def test_area_under_the_curve_is_that_of_ranks() -> None:
    metric = web.detector_auc()
    random = np.random.default_rng(6)
    held = store(6, 1.0)._replace(keep=jnp.asarray(np.round(random.random(200), 1)))  # with ties
    live, human = np.asarray(held.rows.weight) > 0, np.asarray(held.label) == 0
    keep = np.asarray(held.keep)
    told = float(jax.jit(lambda: metric.function(jax.random.key(0), Snapshot(0, (), (), (), held)))())
    pairs = stats.mannwhitneyu(keep[live & human], keep[live & ~human]).statistic
    assert told == pytest.approx(pairs / (live & human).sum() / (live & ~human).sum(), abs=1e-5)


def _web(detector: Any, released: int = 750, steps: int = 30) -> Any:
    model = labs(gaussian(1, estimator="mle", bias=0.8), 1, draws=500, releases=released)
    regime = pool(fresh(TRUTH.sample), inflow=250, deletion=1.0, filter=detector)
    chain = build_chain(
        model, regime, TRUTH.sampler(1000), released, [*per_lab(gaussian_metrics()[2:]), web.detector_auc()]
    )
    return simulate(chain, jax.random.key(7), 32, steps, lanes=32)


def test_one_that_learns_at_every_step_keeps_a_chain_alive() -> None:
    """Weights 1 - q turn the mixture into the human law; without, T* = (1 - c)/(1 - c lam) = 0.625 of it is left.

    32 webs, steps 20 to 30: one standard error is below 0.01.
    """
    found = _web(web.trained(SQUARE, ridge=1e-3))
    assert np.isnan(found["detector_auc"].sel(generation=0)).all()
    kept = {name: float(np.exp(one["log_total_variance"].sel(generation=slice(20, None))).mean())
            for name, one in (("trained", found), ("none", _web(None)))}  # fmt: skip
    assert kept["none"] == pytest.approx(0.625, abs=0.05)
    assert kept["trained"] == pytest.approx(1.0, abs=0.05)


def _counts_web(detector: Any) -> Any:
    truth = CategoricalTruth(np.array([0.5, 0.5]))
    regime = pool(
        fresh(lambda key, num: truth.counts_sampler(num)(key)), inflow=10, deletion=0.1, filter=detector
    )  # fmt: skip
    return build_chain(labs(categorical(2), 2, draws=20), regime, truth.counts_sampler(30), 10)


def test_what_it_cannot_see_is_refused() -> None:
    with pytest.raises(TypeError, match=r"trained\(\) reads rows, and the web holds counts"):
        _counts_web(web.trained(SQUARE))
    with pytest.raises(ValueError, match=r"got shape \(\d+,\); for one number each, end it by"):
        _web(web.trained(lambda x: x[:, 0]))
    with pytest.raises(TypeError, match="features"):
        web.trained("words")  # type: ignore[arg-type]
    for given, sentence in (
        ({"ridge": 0.0}, "ridge"),
        ({"below": 1.5}, "below"),
        ({"frozen_at": -1}, "frozen_at"),
    ):
        with pytest.raises(ValueError, match=sentence):
            web.trained(SQUARE, **given)  # type: ignore[arg-type]
