"""Limits of a web, islands and detectors, looked at one step at a time: without a chain, each costs a second.

Statistical tests have fixed keys and say what they see: 5 standard errors, or a relative deviation.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

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
    theory,
    web,
)
from collapse_jax.core.data import Samples
from collapse_jax.core.regimes import replace
from collapse_jax.core.statistics import Sums
from collapse_jax.testing.laws import assert_mean
from collapse_jax.theory import filtering
from collapse_jax.theory.pool import island_identity
from collapse_jax.web import CountStore, Inflow, PerLab, RowStore

KEY, KEYS = jax.random.key(0), jax.random.split(jax.random.key(1), 4000)
TRUTH = gaussian_truth(1)


def _released(*counts: int, room: int = 0) -> PerLab:
    """Return rows of each lab: so many of weight 1, the first 1000, 1001, ..., those of the next lab 2000, ..."""
    slots = room or max(counts)
    x = 1000.0 * np.arange(1, len(counts) + 1)[:, None] + np.arange(slots)
    weight = np.arange(slots)[None] < np.array(counts)[:, None]
    return PerLab(Samples(jnp.asarray(x)[..., None], jnp.asarray(weight, float)))


def _store(*counts: int) -> CountStore:
    """Return a web of so many rows of each label, each label of a kind of its own."""
    held = jnp.diag(jnp.asarray(counts, float))
    return CountStore(held, jnp.ones_like(held), jnp.asarray(False))


def _rows(label: np.ndarray, x: np.ndarray) -> RowStore:
    samples = Samples(jnp.asarray(x)[:, None], jnp.ones(len(x)))
    return RowStore(samples, jnp.asarray(label, jnp.int32), jnp.zeros(len(x), jnp.int32), jnp.ones(len(x)))


def _updated(detector: web.Filter, store: Any, key: Any = KEY, step: int = 1, state: Any = None) -> Any:
    state = detector.init(store, 3) if state is None else state
    return detector.update(key, store, jnp.asarray(step), state)


def test_one_lab_and_nothing_left_is_replace() -> None:
    """Of a web of which all goes and to which nothing comes, exactly what the lab released is left."""
    released = _released(12)
    regime = pool(fresh(TRUTH.sample), inflow=0, deletion=1.0)
    store, _ = regime.update(KEY, released, regime.init(TRUTH.sample(KEY, 12), released))
    one, _ = replace().update(KEY, released.of(0), ())
    live = np.asarray(store.rows.x)[np.asarray(store.rows.weight) > 0]
    np.testing.assert_array_equal(np.sort(live, axis=0), np.asarray(one.x))


def test_a_share_goes_that_is_rounded_to_rows() -> None:
    """Of 45 rows go 0, 11 of 11.25, 22 of 22.5 and all; of any label alike: 5 errors are 0.6 rows of some 15."""
    released = PerLab(Sums(jnp.array([3.0]), jnp.array([[3.0, 0.0]])))
    truth, real = CategoricalTruth(np.array([0.5, 0.5])), Sums(jnp.asarray(45.0), jnp.array([15.0, 30.0]))

    def step(deletion: Any, key: Any) -> Any:
        regime = pool(fresh(lambda key, num: truth.counts_sampler(num)(key)), inflow=7, deletion=deletion)
        return regime.update(key, released, regime.init(real, released))[0].counts

    deletions = jnp.array([0.0, 0.25, 0.5, 1.0])
    found = np.asarray(jax.jit(jax.vmap(jax.vmap(step, (None, 0)), (0, None)))(deletions, KEYS[:500]))
    for counts, left in zip(found, (45, 34, 23, 0)):
        assert (counts[:, 0].sum(axis=1) == left + 7).all() and (counts[:, 1].sum(axis=1) == 3).all()
        assert_mean(counts[:, 0, 0], left / 3 + 3.5, power=0.7)


def test_poison_arrives_by_its_schedule_and_with_its_label() -> None:
    """Ten rows at step 1, none at 2, four ever after; of points and of counts."""
    truth = CategoricalTruth(np.array([0.5, 0.5]))
    counter = fresh(lambda key, num: truth.counts_sampler(num)(key))
    counted = PerLab(Sums(jnp.array([3.0, 2.0]), jnp.array([[3.0, 0.0], [0.0, 2.0]])))
    for source, real, released in (
        (fresh(TRUTH.sample), TRUTH.sample(KEY, 20), _released(3, 2)),
        (counter, truth.counts_sampler(20)(KEY), counted),
    ):
        regime = pool(source, inflow=6, deletion=1.0, poison=Inflow(source, [10, 0, 4]))
        state, update = regime.init(real, released), jax.jit(regime.update)
        for poison in (10, 0, 4, 4):
            store, state = update(KEY, released, state)
            assert np.asarray(store.by_label(4)).tolist() == [6, 3, 2, poison]


def test_without_releases_all_is_human() -> None:
    regime = pool(fresh(TRUTH.sample), inflow=6, deletion=0.5)
    released = _released(0, 0, room=4)
    store, _ = regime.update(KEY, released, regime.init(TRUTH.sample(KEY, 20), released))
    assert np.asarray(store.by_label(4)).tolist() == [16, 0, 0, 0]


@pytest.mark.parametrize("migration, fraction", [(0.0, 0.0), (0.3, 0.1), (1.0, 0.0), (1.0, 0.5)])
def test_islands_choose_sources_as_told(migration: float, fraction: float) -> None:
    """Shares of 60,000 rows that are real, a lab's own, or another's: 5 errors are at most 0.01."""
    num, size = 3, 10
    released = _released(*[num * size] * num)
    real = fresh(lambda key, num: Samples(jnp.zeros((num, 1)), jnp.ones(num)))
    regime = web.islands(migration, real, fraction=fraction)
    taken, _ = jax.jit(jax.vmap(lambda key: regime.update(key, released, ())))(KEYS[:2000])
    x = np.asarray(taken.data.x)[..., 0]
    source = x // 1000 - 1
    own = source == np.arange(num)[:, None]
    assert (source < 0).mean() == pytest.approx(fraction, abs=0.01)
    expected = (1 - fraction) * (1 - migration + migration / num)
    assert own.mean() == pytest.approx(expected, abs=0.01)
    for one in x[:20]:  # no row is read twice
        drawn = one[one > 0]
        assert len(np.unique(drawn)) == len(drawn)


def test_the_island_law() -> None:
    """Three labs on points, mu = 0.3 and a tenth real: G within and between, seen to 8 and 20 % of themselves."""
    model = labs(gaussian(1, estimator="mle"), 3, draws=8)
    regime = web.islands(0.3, fresh(TRUTH.sample), fraction=0.1)
    chain = build_chain(model, regime, TRUTH.sampler(500), 24, per_lab(gaussian_metrics()[:1]))
    mean = simulate(chain, KEY, 8192, 5, lanes=2048)["mean"].values[:, -1, :, 0].astype(float)
    within, between = (float(part[-1]) for part in island_identity(5, 8, 3, 8, 0.1, 0.3))
    first = 0.9**10 / 500  # labs begin with rows of one set of 500
    pairs = (mean.sum(axis=1) ** 2 - (mean**2).sum(axis=1)) / 6
    for values, law in (((mean**2).mean(axis=1), within), (pairs, between)):
        error = values.std() / np.sqrt(len(values))
        assert abs(values.mean() - law) < 5 * error + first and 5 * error < 0.2 * law


def test_mixing_is_one_population() -> None:
    """With mu = 1 the mixture of three labs of 8 rows has the law of 24 rows of one model."""
    within, between = island_identity(9, 8, 3, 8, 0.1, 1.0)
    whole = theory.ibd_fresh_fraction(9, 24, 24, 0.1)
    np.testing.assert_allclose(within / 3 + between * 2 / 3, whole, rtol=1e-6)


@pytest.mark.parametrize("crawl", [False, True])
def test_what_a_blind_detector_leaves_of_counts(crawl: bool) -> None:
    """Of human, a lab's and poisoned rows, each of a kind of its own: means to 2 %, variance to 15 %."""
    store, _ = _updated(web.blind(0.7, 0.2), _store(30, 50, 20))
    draw = jax.jit(jax.vmap(lambda key: store.draw(key, 40, 0, crawl=crawl).values))
    kept = np.array([30 * 0.8, 50 * 0.3, 20 * 0.3])
    chance = kept / 100 if crawl else kept / kept.sum()
    drawn = np.asarray(draw(KEYS), float)
    assert (drawn == np.round(drawn)).all()
    for label in range(3):
        assert_mean(drawn[:, label], 40 * chance[label], power=0.5)
        assert drawn[:, label].var() == pytest.approx(40 * chance[label] * (1 - chance[label]), rel=0.15)
    share = filtering.filtered_share(0.3, 0.7, 0.2)
    assert kept[0] / kept.sum() == pytest.approx(float(share), rel=1e-6)


def test_what_a_blind_detector_leaves_of_rows() -> None:
    """Of 30 human rows and 60 others, in 4,000 verdicts: rates to half a per cent; labs draw none that is out."""
    label = np.repeat([0, 1, 2], 30)
    store = _rows(label, np.arange(90.0))
    update = jax.jit(jax.vmap(lambda key: _updated(web.blind(0.7, 0.2), store, key)[0]))
    seen = update(KEYS)
    for of, rate in enumerate((0.8, 0.3, 0.3)):
        assert np.asarray(seen.keep)[:, label == of].mean() == pytest.approx(rate, abs=0.007)
    draws = jax.jit(jax.vmap(lambda one, key: one.draw(key, 20, 25, crawl=False)))(seen, KEYS)
    x, weight = np.asarray(draws.x)[..., 0].astype(int), np.asarray(draws.weight)
    assert (weight.sum(axis=1) == 20).all()
    assert np.take_along_axis(np.asarray(seen.keep), x, axis=1).all()
    crawled = jax.jit(jax.vmap(lambda one, key: one.draw(key, 20, 25, crawl=True)))(seen, KEYS)
    assert_mean(np.asarray(crawled.weight).sum(axis=1), 20 * (0.8 + 0.3 + 0.3) / 3, power=0.3)


def test_a_frozen_detector_has_two_clocks() -> None:
    """False positives stay, true ones are 2 Phi(c/s) - 1, of 20,000 rows each: 5 errors are 0.018."""
    rng, cut = np.random.default_rng(0), 0.7
    for spread in (1.0, 0.8, 0.4):
        x = np.concatenate([rng.normal(size=20_000), spread * rng.normal(size=20_000)])
        store = _rows(np.repeat([0, 1], 20_000), x)
        seen, _ = _updated(web.threshold(lambda rows: jnp.abs(rows[:, 0]), cut), store)
        flagged = 1 - np.asarray(seen.keep).reshape(2, -1).mean(axis=1)
        assert flagged[0] == pytest.approx(2 * norm.cdf(cut) - 1, abs=0.018)
        assert flagged[1] == pytest.approx(2 * norm.cdf(cut / spread) - 1, abs=0.018)
        law = filtering.threshold_rates(cut, spread**2)
        assert flagged == pytest.approx(np.array(law), abs=0.018)


def test_calibrated_weights_give_the_human_law() -> None:
    counts = jnp.array([[30.0, 10.0, 0.0, 60.0], [5.0, 40.0, 8.0, 0.0], [0.0, 10.0, 0.0, 20.0]])
    store = CountStore(counts, jnp.ones_like(counts), jnp.asarray(False))
    seen, share = _updated(web.posterior(), store)
    weighted = np.asarray(seen.counts * seen.keep).sum(axis=0)
    np.testing.assert_allclose(weighted, counts[0], rtol=1e-6)
    np.testing.assert_allclose(share, [5 / 35, 50 / 60, 1, 20 / 80], rtol=1e-6)
    tilted, _ = _updated(web.posterior(exponent=2.0), store)
    np.testing.assert_allclose(np.asarray(tilted.keep), np.asarray(seen.keep) ** 2, rtol=1e-6)


def test_a_frozen_posterior_keeps_what_it_knew() -> None:
    """Frozen at step 2 it learns at 1 and 2, and at 3 says of another web what it said of the second."""
    detector = web.posterior(frozen_at=2)
    webs = [jnp.array([[30.0, 10.0], [10.0, 30.0], [0.0, 0.0]]) * scale for scale in (1.0, 1.0)]
    webs[1], other = webs[1].at[1, 0].set(90.0), webs[0].at[1].set(0.0)
    state, found = None, []
    for step, counts in enumerate((webs[0], webs[1], other), start=1):
        store = CountStore(counts, jnp.ones_like(counts), jnp.asarray(False))
        _, state = _updated(detector, store, step=step, state=state)
        found.append(np.asarray(state)[0])
    assert found == pytest.approx([10 / 40, 90 / 120, 90 / 120])


def test_soft_weights_are_weights_and_hard_ones_chances() -> None:
    """On a fixed crawl the weighted rows of a soft detector are no whole numbers; their mean is that of chances."""
    counts = jnp.array([[40.0, 20.0], [10.0, 30.0], [0.0, 0.0]])
    store = CountStore(counts, jnp.ones_like(counts), jnp.asarray(False))
    seen, _ = _updated(web.posterior(), store)
    drawn = jax.jit(jax.vmap(lambda key: seen.draw(key, 50, 0, crawl=True).values))(KEYS)
    assert (np.asarray(drawn) % 1 > 0).any()
    for kind in range(2):
        assert_mean(np.asarray(drawn)[:, kind], 50 * counts[0, kind] / 100, power=0.7)


def test_a_counted_lab_draws_exactly_so_many() -> None:
    """What is traced, draws among it, may differ from lab to lab."""
    truth = CategoricalTruth(np.array([0.5, 0.5]))
    model = labs(categorical(2), 2, draws=[8, 20], releases=[3, 0])
    data = truth.counts_sampler(40)(KEY)
    fitted, _ = jax.jit(lambda: model.fit(KEY, model.init(KEY, data), data))()
    shares = np.asarray(fitted.members)
    for lab, draws in enumerate((8, 20)):
        assert shares[lab] * draws == pytest.approx(np.round(shares[lab] * draws), abs=1e-4)
    assert model.sample(KEY, fitted, 5).data.weight.tolist() == [3, 0]
