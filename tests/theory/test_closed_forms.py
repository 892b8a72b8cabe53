"""Closed forms beyond the regimes' recursions, against linear algebra and plain NumPy simulations.

Simulations have fixed seeds and are independent of the package's chains; |z| < 5, and the smallest deviation
that each would see is beside it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from collapse_jax import theory
from collapse_jax.testing.laws import assert_mean
from collapse_jax.theory import ancestry, curation, discrete, gaussian, limits, regression

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(7)


def _gaussian_chain(size, fits, ddof, runs, rng):
    """Return mu_n, v_n of `runs` one-dimensional chains, from chi-squares and normals."""
    mean, variance = np.zeros(runs), np.ones(runs)
    for _ in range(fits):
        mean = mean + np.sqrt(variance / size) * rng.normal(size=runs)
        variance = variance * rng.chisquare(size - 1, runs) / (size - ddof)
    return mean, variance


class TestGaussian:
    @pytest.mark.parametrize("share, fits, size", [(0.5, 30, 20), (0.1, 100, 20), (0.01, 60, 10)])
    @pytest.mark.parametrize("ddof", [0, 1])
    def test_above_probability(self, share, fits, size, ddof):
        _, variance = _gaussian_chain(size, fits, ddof, 40_000, np.random.default_rng(0))
        predicted = float(gaussian.above_probability(np.log(share), fits, size, ddof))
        # binomial error 0.0025 at most; a shift of the log variance by 5 % of its spread would show
        assert abs((variance > share).mean() - predicted) < 0.0125

    def test_the_probability_without_its_skewness_would_fail(self):
        _, variance = _gaussian_chain(10, 10, 1, 400_000, np.random.default_rng(1))
        drift, spread = (
            10 * float(f) for f in (gaussian.log_variance_drift(10, 1), gaussian.log_variance_variance(10))
        )
        plain = stats.norm.sf((np.log(0.5) - drift) / np.sqrt(spread))
        ours = float(gaussian.above_probability(np.log(0.5), 10, 10, 1))
        simulated = (variance > 0.5).mean()
        assert abs(simulated - ours) < 0.004 < abs(simulated - plain)

    @pytest.mark.parametrize("share, fits", [(0.5, 10), (0.5, 60), (0.1, 60)])
    def test_passed_probability(self, share, fits):
        """40,000 chains at M = 20: binomial error 0.0025; without the overshoot's 0.583 the first is off by 0.06."""
        rng = np.random.default_rng(20)
        log_v = np.cumsum(np.log(rng.chisquare(19, (fits, 40_000)) / 19), axis=0)
        found = (log_v < np.log(share)).any(axis=0).mean()
        assert found == pytest.approx(
            float(gaussian.passed_probability(np.log(share), fits, 20, 1)), abs=0.02
        )

    def test_fourth_moments(self):
        mean, variance = _gaussian_chain(20, 5, 1, 400_000, np.random.default_rng(2))
        expected = gaussian.fourth_moments(5, 20, 1)
        for values, law in zip((mean**4, mean**2 * variance, variance**2), expected):
            assert_mean(values, float(law), power=0.07 * float(law))

    def test_fourth_moments_tend_to_the_limit_of_the_mle(self, x64):
        assert float(gaussian.fourth_moments(100_000, 20, 0)[0]) == pytest.approx(
            float(gaussian.mle_limit_fourth_moment(20)), rel=1e-6
        )

    def test_the_three_halves_rule_is_its_first_order(self, x64):
        size = 10_000
        for fits in (1, 100):
            exact = float(gaussian.w2_mean(fits, size, 1))
            assert float(gaussian.w2_expansion(fits / size, fits / size**2)) == pytest.approx(exact, rel=1e-4)
        far = 10 * size
        assert 1.5 * far / size / float(gaussian.w2_mean(far, size, 1)) == pytest.approx(1.27, abs=0.01)

    @pytest.mark.parametrize("size, fits", [(5, 40), (20, 200), (100, 900)])
    def test_the_bound_on_the_standard_deviation_is_true_and_loose(self, size, fits):
        actual = float(gaussian.above_probability(2 * np.log(0.1), fits, size, 1))
        assert actual <= float(gaussian.small_std_bound(0.1, fits, size))

    def test_accumulating_the_unbiased_variance(self):
        size, fits, rng, runs = 10, 6, np.random.default_rng(3), 200_000
        count, mean, scatter = np.zeros(runs), np.zeros(runs), np.zeros(runs)
        mu, v, before = np.zeros(runs), np.ones(runs), None
        for _ in range(fits):
            batch_mean = mu + np.sqrt(v / size) * rng.normal(size=runs)
            gap, total = batch_mean - mean, count + size
            scatter += v * rng.chisquare(size - 1, runs) + gap**2 * count * size / total
            mean, count = mean + gap * size / total, total
            mu, v, before = mean, scatter / (count - 1), v
        assert before is not None
        variance, wander = gaussian.accumulate_unbiased(fits, size)
        assert_mean(v, float(variance), power=0.01)
        assert_mean(mu**2, float(wander), power=0.01)

    @pytest.mark.parametrize("bias, ddof", [(1.0, 1), (0.7, 1), (0.7, 0)])
    def test_fresh_mix(self, bias, ddof):
        real, drawn, rng, runs = 6, 10, np.random.default_rng(4), 200_000
        mean, variance = _gaussian_chain(real + drawn, 1, ddof, runs, rng)
        means, variances = gaussian.fresh_mix(4, real, drawn, bias, ddof)
        for _ in range(4):
            one, two = (
                rng.normal(size=runs) / np.sqrt(real),
                mean + np.sqrt(bias * variance / drawn) * rng.normal(size=runs),
            )
            total = real + drawn
            scatter = rng.chisquare(real - 1, runs) + bias * variance * rng.chisquare(drawn - 1, runs)
            scatter += (one - two) ** 2 * real * drawn / total
            mean, variance = (real * one + drawn * two) / total, scatter / (total - ddof)
        assert_mean(mean**2, float(means[-1]), power=0.02)
        assert_mean(variance, float(variances[-1]), power=0.02)

    def test_fresh_mix_without_bias_is_the_identity_by_descent(self):
        means, variances = gaussian.fresh_mix(12, 7, 13, 1.0, 0)
        identity = theory.ibd_fresh_counts(12, 20, 7, 13)
        np.testing.assert_allclose(means, identity, rtol=1e-5)  # float32
        np.testing.assert_allclose(variances, 1 - identity, rtol=1e-5)

    def test_known_variance_means(self):
        assert float(gaussian.known_variance_mean(8, 20)) == pytest.approx(0.4)
        limit = float(gaussian.known_variance_mean(100_000, 20, "accumulate"))
        assert limit == pytest.approx(np.pi**2 / 120, rel=1e-4)

    @pytest.mark.parametrize("fraction, limit", [(0.75, 2.0), (1.0, 1.0)])
    def test_accumulating_with_fresh_data_heals(self, fraction, limit):
        fits = 20_000
        variance = gaussian.accumulate_fresh_mean(fits, 10, fraction)
        # the transient falls like t^(1 - 2r); float32 sums
        assert 10 * fits * float(variance) == pytest.approx(limit, rel=0.03)


class TestLimits:
    @pytest.mark.parametrize(
        "recursion, limit",
        [
            (lambda: theory.ibd_accumulate(20_000, 20, 20), lambda: limits.accumulate_limit(20)),
            (lambda: theory.ibd_fresh_counts(400, 20, 5, 40), lambda: limits.fresh_counts_limit(5, 40)),
            (
                lambda: theory.ibd_fresh_fraction(400, 20, 20, 0.1),
                lambda: limits.fresh_fraction_limit(20, 0.1),
            ),
            (lambda: theory.ibd_add_original(400, 20, 60), lambda: limits.add_original_limit(20, 60)),
            (
                lambda: theory.ibd_original_counts(400, 50, 20, 3),
                lambda: limits.original_counts_limit(50, 20, 3),
            ),
        ],
    )
    def test_recursions_come_to_rest_there(self, recursion, limit, x64):
        assert float(recursion()[-1]) == pytest.approx(float(limit()), rel=1e-4)

    def test_the_limit_of_accumulate_subsample(self, x64):
        size = 2_000
        found = float(theory.ibd_accumulate_subsample(200_000, size)[-1]) * size
        assert found == pytest.approx(float(limits.subsample_limit()), rel=5e-3)

    @pytest.mark.parametrize("synthetic", [1, 10, 1e3, 1e6])
    def test_fixed_real_data_bound_the_error_at_one_half_more(self, synthetic):
        assert float(limits.add_original_limit(10, synthetic)) <= 3 / 21 + 1e-6
        assert float(limits.fresh_counts_limit(10, synthetic)) >= 1 / 21 - 1e-6

    @pytest.mark.parametrize("ratio", [0.2, 1.0, 5.0])
    def test_the_best_weight_is_he_s(self, ratio):
        weights = jnp.linspace(0.01, 1.0, 2_000)
        found = weights[jnp.argmin(limits.weighted_mean_error(weights, ratio))]
        best = float(theory.he_optimal_weight(ratio))
        assert float(found) == pytest.approx(best, abs=2e-3)  # the grid's step is 5e-4, the minimum is flat
        assert float(limits.weighted_mean_error(best, ratio)) == pytest.approx(best, rel=1e-5)

    def test_with_a_fixed_set_no_weight_beats_real_data(self):
        weights = jnp.linspace(0.05, 1.0, 50)
        errors = limits.weighted_original_error(weights, 10, 10)
        assert int(jnp.argmin(errors)) == 49 and bool((jnp.diff(errors) <= 0).all())


class TestAncestry:
    def test_eigenvalues(self, x64):
        found = np.sort(np.linalg.eigvals(np.asarray(ancestry.transition_matrix(12))).real)[::-1]
        np.testing.assert_allclose(found, ancestry.transition_eigenvalues(12), atol=1e-9)

    @pytest.mark.parametrize("size, ratio", [(10, 0.908), (40, 0.969), (100, 0.985)])
    def test_absorption_times(self, size, ratio, x64):
        times = ancestry.absorption_times(size)
        assert float(times[size // 2] / ancestry.absorption_time_limit(0.5, size)) == pytest.approx(
            ratio, abs=1e-3
        )

    def test_first_and_last_losses(self):
        """M = 100, four classes, 1,500 chains: 5 standard errors are about 6 % of either time."""
        p, size, rng = np.array([0.4, 0.3, 0.2, 0.1]), 100, np.random.default_rng(5)
        first, last = [], []
        counts = rng.multinomial(size, p, 1_500)
        alive = np.ones(1_500, bool)
        lost_at, fixed_at, n = np.zeros(1_500), np.zeros(1_500), 1
        while alive.any():
            lost_at[(lost_at == 0) & (counts == 0).any(axis=1)] = n
            fixed_at[(fixed_at == 0) & (counts.max(axis=1) == size)] = n
            alive = fixed_at == 0
            counts = rng.multinomial(size, counts / size)
            n += 1
        first, last = lost_at, fixed_at
        assert first.mean() == pytest.approx(float(ancestry.first_loss_time_limit(p, size)), rel=0.08)
        assert last.mean() == pytest.approx(float(ancestry.fixation_time_limit(p, size)), rel=0.08)
        share = float(ancestry.first_loss_probability(p, size, 50))
        assert (first <= 50).mean() == pytest.approx(share, abs=0.06)  # independence is an approximation

    def test_two_classes_first_loss_is_absorption(self):
        p = jnp.array([0.3, 0.7])
        assert float(ancestry.first_loss_time_limit(p, 50)) == pytest.approx(
            float(ancestry.absorption_time_limit(0.3, 50)), rel=1e-5
        )

    def test_both_alive_lies_in_its_bounds(self, x64):
        matrix = np.linalg.matrix_power(np.asarray(ancestry.transition_matrix(40)), 80)
        exact = 1 - matrix[12, 0] - matrix[12, 40]
        low, high = ancestry.both_alive_bounds(0.3, 40, 80)
        assert float(low) <= exact <= float(high)
        assert float(ancestry.both_alive(0.3, 40, 80)) == pytest.approx(exact, rel=0.05)  # the diffusion

    def test_ancestors(self):
        size, runs, rng = 30, 4_000, np.random.default_rng(6)
        origin = np.tile(np.arange(size), (runs, 1))
        for _ in range(20):
            origin = np.take_along_axis(origin, rng.integers(0, size, (runs, size)), axis=1)
        found = [len(set(row)) for row in origin]
        assert_mean(found, float(ancestry.ancestors(size, 20)), power=0.2)
        assert_mean(origin[:, 0] == origin[:, 1], float(ancestry.pair_coalesced(size, 20)), power=0.06)

    def test_effective_size(self):
        sizes = np.array([10.0, 1000.0, 1000.0, 1000.0])
        kept = np.prod(1 - 1 / sizes)
        assert (1 - 1 / float(ancestry.effective_size(sizes))) ** 4 == pytest.approx(kept, abs=0.005)

    def test_moran(self, x64):
        size = 12
        up = np.array([i * (size - i) / size**2 for i in range(size + 1)])
        matrix = np.diag(1 - 2 * up) + np.diag(up[:-1], 1) + np.diag(up[1:], -1)
        times = np.linalg.solve(np.eye(size - 1) - matrix[1:-1, 1:-1], np.ones(size - 1))
        for copies in (1, 5, 11):
            found = float(ancestry.moran_absorption_time(copies, size))
            assert found == pytest.approx(times[copies - 1], rel=1e-9)
        shares = np.arange(size + 1) / size
        after = np.linalg.matrix_power(matrix, 7)[5] @ (shares * (1 - shares))
        assert after == pytest.approx(
            shares[5] * (1 - shares[5]) * float(ancestry.moran_heterozygosity(size, 7))
        )

    def test_polya(self):
        start, steps, rng, runs = 10, 30, np.random.default_rng(8), 100_000
        hits, total = np.full(runs, 4.0), start
        for _ in range(steps):
            hits += rng.random(runs) < hits / total
            total += 1
        assert_mean((hits / total - 0.4) ** 2, float(ancestry.polya_variance(0.4, start, steps)), power=0.001)


class TestDiscrete:
    @pytest.mark.parametrize("fits", [3, 10, 30])
    def test_survival_lies_in_its_bounds(self, fits, x64):
        low, high = discrete.survival_bounds(0.02, 50, fits)
        exact = float(discrete.survival(0.02, fits, 50))
        assert float(low) - 1e-12 <= exact <= float(high)

    @pytest.mark.parametrize("count, median", [(1, 2), (5, 13)])
    def test_the_median_time_to_forget_a_word(self, count, median):
        before, at = (float(discrete.forgetting_probability(count, n)) for n in (median - 1, median))
        assert before < 0.5 <= at + 0.03

    def test_entropy_drop(self):
        p, rng = np.full(4, 0.25), np.random.default_rng(9)
        q = rng.multinomial(200, p, 50_000) / 200
        loss = np.log(4) + np.sum(np.where(q > 0, q * np.log(np.where(q > 0, q, 1)), 0), axis=1)
        assert_mean(loss, float(discrete.entropy_drop(4, 200)), power=2e-4)

    def test_the_memoriser_s_asymptote(self, x64):
        p = np.arange(1, 2_000_001.0) ** -1.5
        total = float(jax.scipy.special.zeta(1.5, 1.0))
        head = np.sum(p / total * np.exp(3000 * np.log1p(-p / total)))
        exact = head + (2 / np.sqrt(2_000_000.5)) / total  # the rest is never seen
        assert float(discrete.memoriser_asymptote(1.5, 3000)) == pytest.approx(exact, rel=1e-3)

    def test_a_memoriser_without_its_tail(self):
        p = discrete.zipf(1.5, 100)
        rng = np.random.default_rng(10)
        head = np.asarray(p[:20], float)
        seen = rng.multinomial(60, head / head.sum(), 20_000) > 0
        missed = (~seen) @ head + float(p[20:].sum())
        assert_mean(missed, float(discrete.truncated_memoriser_error(p, 20, 60)), power=1.2e-3)

    def test_effective_draws(self):
        rng, p = np.random.default_rng(11), np.asarray(discrete.zipf(1.5, 400), float)
        p, missed = p / p.sum(), []
        for _ in range(3_000):
            first = rng.multinomial(300, p) / 300
            last = rng.multinomial(200, first)
            missed.append(p[last == 0].sum())
        worth = float(discrete.effective_draws(jnp.array([300.0, 200.0])))
        # to the order of the Poisson approximation, a few per cent
        assert np.mean(missed) == pytest.approx(np.sum(p * np.exp(-p * worth)), rel=0.02)
        assert 1 / worth == pytest.approx(1 / 200 + 0.5 / 300, rel=0.05)


class TestRegression:
    def test_marchenko_pastur_is_the_limit_of_its_moments(self, x64):
        rng, dim, rows, penalty = np.random.default_rng(12), 400, 800, 0.3
        x = rng.normal(size=(rows, dim))
        eigenvalues = np.linalg.eigvalsh(x.T @ x / rows)
        shrunk = eigenvalues / (eigenvalues + penalty)
        found = shrunk.mean(), (shrunk**2).mean(), (eigenvalues / (eigenvalues + penalty) ** 2).sum() / rows
        np.testing.assert_allclose(found, regression.marchenko_pastur(penalty, dim / rows), rtol=0.01)

    def _moments(self, rows, dim, penalty, rng, runs=4_000):
        x = rng.normal(size=(runs, rows, dim))
        eigenvalues = np.linalg.eigvalsh(np.einsum("rti,rtj->rij", x, x) / rows)
        shrunk = eigenvalues / (eigenvalues + penalty)
        return (
            shrunk.mean(),
            (shrunk**2).mean(),
            (eigenvalues / (eigenvalues + penalty) ** 2).sum(axis=1).mean() / rows,
        )

    def test_ridge_chains(self):
        rng, rows, dim, penalty, fits, runs = np.random.default_rng(13), 12, 3, 0.4, 4, 20_000
        truth = np.ones(dim) / np.sqrt(dim)
        w = np.tile(truth, (runs, 1))
        for _ in range(fits):
            x = rng.normal(size=(runs, rows, dim))
            y = np.einsum("rti,ri->rt", x, w) + 0.5 * rng.normal(size=(runs, rows))
            gram = np.einsum("rti,rtj->rij", x, x) / rows + penalty * np.eye(dim)
            w = np.linalg.solve(gram, np.einsum("rti,rt->ri", x, y)[..., None] / rows)[..., 0]
        shrinkage = self._moments(rows, dim, penalty, rng, 20_000)
        risk = np.sum((w - truth) ** 2, axis=1)
        assert_mean(risk, float(regression.ridge_risk(fits, shrinkage, 1.0, 0.5)), power=0.02)

    def test_generators_then_ridge(self):
        rng, rows, dim, penalty, runs = np.random.default_rng(14), 12, 3, 0.4, 20_000
        truth, given = np.ones(dim) / np.sqrt(dim), 10
        w = np.tile(truth, (runs, 1))
        for _ in range(2):
            x = rng.normal(size=(runs, given, dim))
            noise = np.einsum("rti,rt->ri", x, rng.normal(size=(runs, given)))
            w = w + np.linalg.solve(np.einsum("rti,rtj->rij", x, x), noise[..., None])[..., 0]
        x = rng.normal(size=(runs, rows, dim))
        y = np.einsum("rti,ri->rt", x, w) + 0.5 * rng.normal(size=(runs, rows))
        gram = np.einsum("rti,rtj->rij", x, x) / rows + penalty * np.eye(dim)
        w = np.linalg.solve(gram, np.einsum("rti,rt->ri", x, y)[..., None] / rows)[..., 0]
        shrinkage = self._moments(rows, dim, penalty, rng, 20_000)
        predicted = regression.generators_risk(2, regression.base_risk(given, dim), shrinkage, 1.0, 0.5)
        assert_mean(np.sum((w - truth) ** 2, axis=1), float(predicted), power=0.05)

    @pytest.mark.parametrize("real, wrong", [(10, 10), (6, 14), (20, 0)])
    def test_two_sources(self, real, wrong):
        rng, dim, runs = np.random.default_rng(15), 4, 20_000
        shift = np.array([0.6, 0.0, 0.8, 0.0])
        x = rng.normal(size=(runs, real + wrong, dim))
        y = rng.normal(size=(runs, real + wrong))
        y[:, real:] += x[:, real:] @ shift
        w = np.linalg.solve(np.einsum("rti,rtj->rij", x, x), np.einsum("rti,rt->ri", x, y)[..., None])[..., 0]
        predicted = float(regression.two_source_risk(real, wrong, dim, 1.0))
        assert_mean(np.sum(w**2, axis=1), predicted, power=0.05)

    def test_mixed_labels_rest_at_the_golden_ratio(self):
        risk = float(regression.label_mix_risk(60, 30, 5, theory.he_optimal_weight(1.0)))
        assert risk == pytest.approx(0.618034 * float(regression.base_risk(30, 5)), rel=1e-4)


class TestCuration:
    def test_two_classes(self):
        x, gap = 0.3, 0.8
        after = curation.luce_pair(jnp.array([x, 1 - x]), jnp.array([gap, 0.0]))[0]
        assert float(after) == pytest.approx(x + x * (1 - x) * (2 / (1 + np.exp(-gap)) - 1), rel=1e-5)

    def test_infinitely_many_candidates_tilt(self):
        p, r = jnp.array([0.2, 0.5, 0.3]), jnp.array([0.1, -0.4, 1.0])
        once = curation.exponential_tilt(curation.exponential_tilt(p, r, 2), r, 3)
        np.testing.assert_allclose(once, curation.exponential_tilt(p, r, 5), rtol=1e-5)
        many = np.random.default_rng(16).choice(3, (200, 20_000), p=[0.2, 0.5, 0.3])
        weight = np.exp(np.asarray(r))[many]
        share = np.mean([weight[many == k].sum() / weight.sum() for k in range(3)][2])
        assert share == pytest.approx(float(curation.exponential_tilt(p, r, 1)[2]), rel=0.01)

    def test_quadratic_tilts_compose(self):
        mean, variance = curation.quadratic_tilt(3, 0.5, 2.0, -1.0, 1.5)
        again = curation.quadratic_tilt(4, mean, variance, -1.0, 1.5)
        np.testing.assert_allclose(again, curation.quadratic_tilt(7, 0.5, 2.0, -1.0, 1.5), rtol=1e-5)

    def test_fixation(self):
        """M = 50, 20,000 chains: 5 standard errors are 0.018; the diffusion is off by O(s)."""
        size, gap, rng, runs = 50, 0.06, np.random.default_rng(17), 20_000
        advantage = 2 / (1 + np.exp(-gap)) - 1
        x = np.full(runs, 0.3)
        for _ in range(600):
            x = rng.binomial(size, np.clip(x + x * (1 - x) * advantage, 0, 1)) / size
        assert ((x == 0) | (x == 1)).mean() > 0.999
        assert x.mean() == pytest.approx(float(curation.fixation_probability(0.3, size, advantage)), abs=0.03)
        assert float(curation.fixation_probability(0.3, size, 0.0)) == pytest.approx(0.3)

    def test_verifiers(self):
        assert float(curation.verifier_odds(3.0, 0.4, 0.4, 9)) == pytest.approx(3.0)
        share = float(curation.verifier_breakdown(0.9, 0.3))
        odds = (1 - share) / share
        assert float(curation.verifier_odds(odds, 0.9, 0.3, 1)) == pytest.approx(1.0, rel=1e-5)
        assert float(curation.kept_ratio_bound(0.2, 3)) == pytest.approx(1 / 0.6)
        assert 0 < float(curation.luce_gain(1.0, jnp.array([0.5, 3.0]))) < 3


def test_the_binomial_law_is_scipy_s(x64):
    np.testing.assert_allclose(
        ancestry.binomial_law(9, 0.3), stats.binom.pmf(np.arange(10), 9, 0.3), rtol=1e-10
    )
    np.testing.assert_allclose(ancestry.binomial_law(9, 1.0), np.eye(10)[9], atol=1e-12)


@pytest.mark.parametrize("ddof", [0, 1])
def test_the_loss_time_is_when_half_of_all_chains_are_below(ddof):
    """Up to the skewness of log chi-squares, a few hundredths of the share at n = 60 and more."""
    fits = float(gaussian.loss_time(0.01, 40, ddof))
    assert float(gaussian.above_probability(np.log(0.01), fits, 40, ddof)) == pytest.approx(0.5, abs=0.01)
