"""Webs of many labs, filters, watermarks and poison, against plain NumPy simulations of their rows.

As in `test_closed_forms`: fixed seeds, |z| < 5, and the smallest deviation that each would see is beside it.
"""

import numpy as np
import pytest

from collapse_jax import theory
from collapse_jax.testing.laws import assert_mean
from collapse_jax.theory import curation, filtering, gaussian, limits, poison, pool, watermarks

pytestmark = pytest.mark.slow

RUNS = 20_000


def _drawn(rng, mean, variance, num):
    """Draw `num` rows in each run from a Gaussian of its own."""
    return mean[:, None] + np.sqrt(variance)[:, None] * rng.normal(size=(len(mean), num))


def _fitted(rng, rows, num):
    """Return mean and MLE variance of `num` draws with replacement from each run's rows."""
    found = np.take_along_axis(rows, rng.integers(0, rows.shape[1], (len(rows), num)), axis=1)
    return found.mean(axis=1), found.var(axis=1)


def _web(rng, steps, first, labs, inflow, deletion, cap=np.inf):
    """Return rows [runs, N] and marks of generated ones after some steps; labs are (n, m, lam, entry)."""
    rows, generated = rng.normal(size=(RUNS, first)), np.zeros((RUNS, first))
    for step in range(steps):
        active = [lab for lab in labs if step >= lab[3]]
        fits = [_fitted(rng, rows, n) for n, _, _, _ in active]
        arrived = [rng.normal(size=(RUNS, inflow))]
        arrived += [_drawn(rng, mu, lam * v, m) for (mu, v), (_, m, lam, _) in zip(fits, active)]
        new = sum(m for _, m, _, _ in active)
        kept = int(min(rows.shape[1] - round(deletion * rows.shape[1]), cap - inflow - new))
        order = np.argsort(rng.random(rows.shape), axis=1)[:, :kept]
        rows = np.concatenate([np.take_along_axis(rows, order, axis=1), *arrived], axis=1)
        marks = np.take_along_axis(generated, order, axis=1), np.zeros((RUNS, inflow)), np.ones((RUNS, new))
        generated = np.concatenate(marks, axis=1)
    return rows, generated


def _pairs(rows):
    """Return the mean of x x' over distinct rows, of each run."""
    num = rows.shape[1]
    return (rows.sum(axis=1) ** 2 - (rows**2).sum(axis=1)) / (num * (num - 1))


WEBS = {
    "three labs": (6, 20, [(10, 6, 1.0, 0), (5, 4, 0.8, 2), (3, 5, 0.9, 0)], 4, 0.25, np.inf),
    "all is deleted": (4, 10, [(4, 7, 1.0, 0), (8, 3, 1.0, 1)], 2, 1.0, np.inf),
    "a closed loop with a cap": (5, 12, [(6, 5, 0.9, 0), (3, 2, 1.2, 0)], 0, 0.1, 15),
}


class TestPool:
    @pytest.mark.parametrize("name", WEBS)
    def test_moments(self, name):
        steps, first, labs, inflow, deletion, cap = WEBS[name]
        rng = np.random.default_rng(0)
        rows, generated = _web(rng, *WEBS[name])
        num_samples, released, bias, entry = (np.array(part, float) for part in zip(*labs))
        law = pool.pool_moments(steps, first, num_samples, released, inflow, deletion, bias, entry, cap)
        assert law.size[-1] == rows.shape[1]
        assert generated.mean() == pytest.approx(law.contamination[-1], abs=5e-3)  # of 400,000 rows
        assert_mean((rows**2).mean(axis=1), law.second_moment[-1], power=0.07)
        assert_mean(_pairs(rows), law.cross_moment[-1], power=0.07)
        for lab, (n, *_) in enumerate(labs):
            mean, variance = _fitted(rng, rows, n)
            assert_mean(mean**2, law.mean_square[-1, lab], power=0.1)
            assert_mean(variance, law.variance[-1, lab], power=0.07)

    def test_an_archive_beside_a_web(self):
        rng, labs = np.random.default_rng(1), [(5, 6, 1.0, 0), (5, 6, 1.0, 0)]
        rows, _ = _web(rng, 6, 20, labs, 4, 0.5)
        law = pool.pool_moments(6, 20, np.array([5.0, 5.0]), 6, 4, 0.5)
        identity = 1 / law.size[-1] + (1 - 1 / law.size[-1]) * law.cross_moment[-1]
        of_web = _fitted(rng, rows, 12)[0]
        of_archive = rng.normal(size=RUNS) / np.sqrt(8)
        pooled = pool.archive_pooled_error(8, 12, identity)
        assert_mean(((8 * of_archive + 12 * of_web) / 20) ** 2, pooled, power=0.01)
        weight, best = pool.archive_best_weight(8, 12, identity)
        assert_mean((weight * of_archive + (1 - weight) * of_web) ** 2, best, power=0.01)
        assert best < pooled and weight > 8 / 20
        assert_mean(
            rows.mean(axis=1) ** 2, 1 / pool.pool_worth(law.size[-1], law.cross_moment[-1]), power=0.02
        )

    def test_webs_come_to_rest(self):
        labs = {
            "num_samples": np.array([100, 30, 50]),
            "num_released": np.array([60, 40, 20]),
            "bias": np.array([1.0, 0.9, 0.8]),
        }
        web = pool.pool_moments(4000, 1600, inflow=40, deletion=0.1, **labs)
        for found, limit in zip(web, pool.pool_limit(inflow=40, deletion=0.1, **labs)):
            np.testing.assert_allclose(found[-1], limit, rtol=1e-9)

    def test_slow_and_large_webs(self):
        exact = pool.pool_limit(40, 100, np.array([60, 60]), 0.001).cross_moment
        assert pool.slow_pool_identity(40, 120, 0.001, 2, 100) == pytest.approx(exact, rel=0.02)
        large = pool.pool_limit(10**6, 10**6, 3 * 10**6, 0.5, bias=0.8)
        assert large.second_moment == pytest.approx(pool.pool_variance_limit(0.75, 0.8), rel=1e-4)

    def test_limits_of_webs_are_chains(self):
        alone = pool.pool_moments(9, 12, 7, 12, 0, 1.0)  # M rows, of which the lab draws n
        np.testing.assert_allclose(1 - alone.cross_moment, ((1 - 1 / 12) * (1 - 1 / 7)) ** np.arange(10))
        fresh = pool.pool_moments(9, 30, 10**12, 20, 10, 1.0)  # the lab knows the whole web
        np.testing.assert_allclose(fresh.mean_square[:, 0], theory.ibd_fresh_counts(9, 30, 10, 20), rtol=1e-6)
        quiet = pool.pool_moments(80, 400, 100, 0, 40, 0.1)
        assert (quiet.contamination == 0).all() and (quiet.cross_moment == 0).all()

    def test_late_movers_recover_from_noise_and_not_from_bias(self):
        labs = {"num_samples": np.array([100, 100]), "num_released": 60, "inflow": 40, "deletion": 0.1}
        fair, biased = (pool.pool_moments(80, 400, bias=bias, **labs) for bias in (1.0, 0.9))
        error = fair.mean_square[[0, 5, 10, 20, 40, 80], 0]
        np.testing.assert_allclose(error, [0.01248, 0.01373, 0.01374, 0.01351, 0.01317, 0.01297], atol=6e-6)
        assert (np.diff(biased.second_moment) < 0).all()

    @pytest.mark.parametrize("migration", [0.0, 0.3, 1.0])
    def test_islands(self, migration):
        rng, labs, size, real = np.random.default_rng(2), 3, 8, 0.1
        start = rng.normal(size=(RUNS, labs, size))
        mean, variance = start.mean(axis=2), start.var(axis=2)
        for _ in range(5):
            shape = (RUNS, labs, size)
            source = np.broadcast_to(np.arange(labs)[:, None], shape)
            source = np.where(rng.random(shape) < migration, rng.integers(0, labs, shape), source)
            mu, v = (np.take_along_axis(part[:, None], source.reshape(RUNS, 1, -1), 2).reshape(shape)
                     for part in (mean, variance))  # fmt: skip
            is_real = rng.random(shape) < real
            noise = rng.normal(size=shape)
            rows = np.where(is_real, noise, mu + np.sqrt(v) * noise)
            mean, variance = rows.mean(axis=2), rows.var(axis=2)
        within, between = pool.island_identity(5, size, labs, size, real, migration)
        assert_mean((mean**2).mean(axis=1), within[-1], power=0.03)
        assert_mean(1 - variance.mean(axis=1), within[-1], power=0.03)
        assert_mean(_pairs(mean), between[-1], power=0.03)
        if migration == 1:
            one, _ = pool.island_identity(5, size, 1, size, real, 1.0)
            np.testing.assert_allclose(one, theory.ibd_fresh_fraction(5, size, size, real))

    def test_more_isolated_labs_keep_more(self):
        rng, total, fits = np.random.default_rng(3), 40, 30
        for labs in (1, 4, 10):
            share = np.full((RUNS, labs), 0.5)
            for _ in range(fits):
                share = rng.binomial(total // labs, share) / (total // labs)
            mixed = share.mean(axis=1)
            assert_mean(4 * mixed * (1 - mixed), pool.isolated_labs_diversity(fits, labs, total), power=0.02)


class TestFiltering:
    def test_a_filter_on_a_fixed_budget_and_on_a_fixed_crawl(self):
        """Gaussian means, n = 400 rows, 60 generations from the truth; the law's next order is 1 %."""
        rng, real, n = np.random.default_rng(4), 0.2, 400
        for true_positive, false_positive in ((0.0, 0.0), (0.75, 0.05), (1.0, 0.0)):
            budget, crawl = np.zeros(RUNS), np.zeros(RUNS)
            share = filtering.filtered_share(real, true_positive, false_positive)
            for _ in range(60):
                num = rng.binomial(n, share, RUNS)
                budget = (n - num) / n * budget + rng.normal(size=RUNS) / np.sqrt(n)
                humans = rng.binomial(n, real, RUNS)
                drawn = rng.binomial(n - humans, 1 - true_positive)
                humans = rng.binomial(humans, 1 - false_positive)
                total = humans + drawn
                crawl = drawn / total * crawl + rng.normal(size=RUNS) / np.sqrt(total)
            law = filtering.filtered_identity(n, real, true_positive, false_positive)
            assert np.mean(budget**2) == pytest.approx(law, rel=0.06)  # 5 errors; known variance: O(G)
            gain = filtering.crawl_gain(real, true_positive, false_positive)
            plain = limits.fresh_fraction_limit(n, real)
            assert np.mean(crawl**2) == pytest.approx(plain / gain, rel=0.07)

    def test_no_detector_breaks_even_on_a_fixed_crawl(self):
        r, t, f = np.meshgrid(np.linspace(0, 1, 21), np.linspace(0, 0.95, 20), np.linspace(0, 0.95, 20))
        gain = filtering.crawl_gain(r, t, f)
        assert (gain <= 1 + 1e-12).all() and gain[0, -1, 0] == 1  # all is real and none is flagged

    @pytest.mark.parametrize(
        "c, lam, least, f, t", [(0.75, 0.9, 0.95, 0.05, 0.833), (0.6, 0.8, 0.9, 0.2, 0.704)]
    )
    def test_a_detector_on_the_line_keeps_the_chain_alive(self, c, lam, least, f, t):
        """300,000 rows a generation: the variance of the last has an error of 0.004."""
        rng, n = np.random.default_rng(5), 300_000
        line = filtering.keep_alive_rate(f, c, lam, least)
        assert line == pytest.approx(t, abs=1e-3)
        variance = 1.0
        for _ in range(60):
            drawn = rng.binomial(rng.binomial(n, c), 1 - line)
            real = rng.binomial(n - int(c * n), 1 - f)
            rows = np.concatenate([rng.normal(size=real), np.sqrt(lam * variance) * rng.normal(size=drawn)])
            variance = rows.var()
        assert variance == pytest.approx(least, abs=0.02)

    @pytest.mark.parametrize("share, variance", [(0.5, 0.25), (0.2, 0.49), (0.7, 4.0)])
    def test_calibrated_weights(self, share, variance):
        rng, n = np.random.default_rng(6), 2_000_000
        is_real = rng.random(n) < share
        x = rng.normal(size=n) * np.where(is_real, 1.0, np.sqrt(variance))
        real, drawn = np.exp(-(x**2) / 2), np.exp(-(x**2) / (2 * variance)) / np.sqrt(variance)
        weight = share * real / (share * real + (1 - share) * drawn)
        assert np.average(x**2, weights=weight) == pytest.approx(1, abs=0.01)  # exactly the real law
        ess = weight.sum() ** 2 / (weight**2).sum() / n
        assert ess == pytest.approx(filtering.calibrated_effective_share(share, variance), rel=3e-3)

    @pytest.mark.parametrize("variance", [0.81, 0.25, 0.04, 2.0])
    def test_detectors(self, variance):
        rng, n = np.random.default_rng(7), 400_000
        real, drawn = abs(rng.normal(size=n)), np.sqrt(variance) * abs(rng.normal(size=n))
        right = (drawn < real) == (variance < 1)
        assert_mean(right, filtering.likelihood_ratio_auc(variance), power=6e-3)
        flagged = filtering.threshold_rates(0.7, variance)
        assert_mean(real < 0.7, flagged[0], power=6e-3)
        assert_mean(drawn < 0.7, flagged[1], power=6e-3)


class TestWatermarks:
    @pytest.mark.parametrize("real_share", [0.0, 0.1])
    def test_radioactivity(self, real_share):
        rng, size, mass, green = np.random.default_rng(8), 500, 0.8, 0.5
        x = np.full(RUNS, mass)
        for _ in range(10):
            x = rng.binomial(size, real_share * green + (1 - real_share) * x) / size
        excess, spread = watermarks.radioactivity(10, size, mass, green, real_share)
        assert_mean(x - green, excess[-1], power=3e-3)
        assert_mean((x - green - excess[-1]) ** 2, spread[-1] ** 2, power=0.1 * spread[-1] ** 2)
        if not real_share:
            kept = (1 - 1 / size) ** np.arange(11)
            np.testing.assert_allclose(spread, np.sqrt(mass * (1 - mass) * (1 - kept)), atol=1e-12)

    def test_detection(self):
        rng, green, tokens = np.random.default_rng(9), 0.25, 200
        for excess in (0.0, 0.1):
            counts = rng.binomial(tokens, green + excess, RUNS)
            z = (counts - green * tokens) / np.sqrt(tokens * green * (1 - green))
            assert_mean(z, watermarks.watermark_z(excess, green, tokens), power=0.06)

    def test_the_boost_is_of_logits(self):
        logits, green = np.log([0.1, 0.2, 0.3, 0.4]), np.array([1.0, 0.0, 1.0, 0.0])
        boosted = np.exp(logits + 2 * green)
        found = watermarks.green_mass(0.4, 2.0)
        assert found == pytest.approx((boosted * green).sum() / boosted.sum(), rel=1e-12)

    def test_gumbel_scores(self):
        rng, p = np.random.default_rng(10), np.array([0.6, 0.3, 0.1])
        u = rng.random((400_000, 3))
        first = u[np.arange(len(u)), np.argmax(np.log(u) / p, axis=1)]
        assert_mean(-np.log1p(-first), watermarks.gumbel_score(p), power=0.02)
        assert_mean(-np.log1p(-u[:, 0]), 1.0, power=0.02)

    @pytest.mark.parametrize("contexts", [3, 200])
    def test_cycles(self, contexts):
        rng, lengths = np.random.default_rng(11), []
        for _ in range(4_000):
            following, seen, place, step = rng.integers(0, contexts, contexts), {}, 0, 0
            while place not in seen:
                seen[place], place, step = step, following[place], step + 1
            lengths.append(step - seen[place])
        assert_mean(lengths, watermarks.key_cycle_length(contexts), power=1.0)


class TestPoison:
    @pytest.mark.parametrize("clean", [0.0, 0.1])
    def test_replace(self, clean):
        rng, size, dose = np.random.default_rng(12), 20, np.full(RUNS, 0.3)
        for _ in range(15):
            dose = rng.binomial(size, (1 - clean) * dose) / size
        assert_mean(dose, poison.dose_replace(15, 0.3, clean), power=0.02)
        if not clean:
            lost, fixed = poison.dose_fates(0.3, 15, size)
            assert_mean(dose == 0, lost, power=0.03)
            assert_mean(dose == 1, fixed, power=0.03)
        half = poison.dose_half_life(0.1)
        assert poison.dose_replace(half, 0.3, 0.1) == pytest.approx(0.15)

    @pytest.mark.parametrize("clean", [0.0, 0.25])
    def test_accumulate(self, clean):
        rng, first, size = np.random.default_rng(13), 30, 10
        rows, total = np.full(RUNS, 3.0), first
        for _ in range(20):
            rows, total = rows + rng.binomial(size, (1 - clean) * rows / total), total + size
        assert_mean(rows / total, poison.dose_accumulate(20, first, size, 0.1, clean)[-1], power=5e-3)

    @pytest.mark.parametrize("age", [0, 3])
    def test_window(self, age):
        rng, size = np.random.default_rng(14), 50
        for clean, rounds in ((0.1, 6), (0.0, 40)):
            batches = [np.full(RUNS, 0.5 * (j == age)) for j in range(4)]
            for _ in range(rounds):
                new = rng.binomial(size, (1 - clean) * np.mean(batches, axis=0)) / size
                batches = [new, *batches[:-1]]
            law = poison.dose_window(rounds, 4, age, 0.5, clean)[-1]
            assert_mean(np.mean(batches, axis=0), law, power=0.015)
        assert law == pytest.approx(poison.dose_window_limit(4, age, 0.5), rel=1e-6)

    def test_poison_takes_over_as_often_as_its_dose(self):
        lost, fixed = poison.dose_fates(np.array([0.02, 0.3]), 3000, 100)
        np.testing.assert_allclose(
            fixed, curation.fixation_probability(np.array([0.02, 0.3]), 100, 0.0), rtol=1e-9
        )
        np.testing.assert_allclose(lost + fixed, 1, rtol=1e-9)

    @pytest.mark.parametrize("odds, clean", [(2.0, 0.4), (1.5, 0.5), (1.25, 0.0), (5.0, 0.6)])
    def test_poison_with_an_advantage(self, odds, clean):
        """A million rows: the share wanders by about 0.001."""
        rng, size, dose = np.random.default_rng(15), 10**6, 0.05
        for fits in range(1, 81):
            written = dose * odds / (1 + dose * (odds - 1))
            dose = rng.binomial(size, (1 - clean) * written) / size
            if fits == 5:
                assert dose == pytest.approx(poison.dose_advantaged(5, 0.05, odds, clean), abs=5e-3)
        endemic = poison.endemic_dose(odds, clean)
        assert (endemic > 0) == (poison.poison_reproduction(odds, clean) > 1)
        assert dose == pytest.approx(endemic, abs=5e-3)
        assert poison.dose_advantaged(10**6, 0.05, odds, clean) == pytest.approx(endemic, abs=1e-9)

    def test_replay_forgets_and_collapses(self):
        """E of the sum of x_i x_j over pairs of old classes, the first task's among them."""
        rng, replayed, new = np.random.default_rng(16), 12, 6
        shares = np.tile([0.5, 0.3, 0.2, 0.0, 0.0, 0.0], (RUNS, 1))
        fresh = np.array([[0.0, 0.0, 0.0, 0.5, 0.25, 0.25]])
        for _ in range(3):
            old = rng.multinomial(replayed, shares)
            shares = (old + new * fresh) / (replayed + new)
            pairs = shares[:, :3].sum(axis=1) ** 2 - (shares[:, :3] ** 2).sum(axis=1)
        factor = np.prod(poison.replay_factors(replayed, new)) ** 3
        assert_mean(pairs, (1 - 0.38) * factor, power=2e-3)

    def test_replay_that_grows(self):
        forgotten, collapsed = poison.growing_replay(50, 10)
        each = np.array([poison.replay_factors(10 * t, 10) for t in range(1, 51)])
        np.testing.assert_allclose(forgotten[1:], np.cumprod(each[:, 0]))
        np.testing.assert_allclose(collapsed[1:], np.cumprod(each[:, 1]))


def test_a_web_with_infinitely_informed_labs_is_a_fresh_mix():
    """The recursion of mixed real and drawn points, biased: every row is replaced, the lab knows all of them."""
    means, variances = gaussian.fresh_mix(9, 10, 20, 0.8, 0)
    web = pool.pool_moments(9, 30, 10**12, 20, 10, 1.0, 0.8)
    np.testing.assert_allclose(web.mean_square[:, 0], means, rtol=1e-6)
    np.testing.assert_allclose(web.variance[:, 0], variances, rtol=1e-6)
