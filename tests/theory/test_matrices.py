"""Wright and Fisher's chain on the host, where float32 went wrong: M = 1000, n = 2000."""

import numpy as np
import pytest

from collapse_jax.theory import ancestry, discrete, matrices

SIZE, FITS = 1000, 2000


@pytest.fixture(scope="module")
def later():
    return np.linalg.matrix_power(matrices.resampling(SIZE), FITS)


def test_rows_stay_probabilities(later):
    assert abs(matrices.resampling(SIZE).sum(axis=1) - 1).max() < 1e-13
    assert abs(later.sum(axis=1) - 1).max() < 1e-11 and later.min() >= 0


def test_shares_are_a_martingale_that_loses_variance_by_its_law(later):
    copies = np.arange(SIZE + 1.0)
    np.testing.assert_allclose(later @ copies, copies, rtol=1e-10)
    mixed = copies * (SIZE - copies)
    np.testing.assert_allclose((later @ mixed)[1:-1], mixed[1:-1] * (1 - 1 / SIZE) ** FITS, rtol=1e-9)


@pytest.mark.parametrize("least", [1, 4])
def test_two_classes_live_on_as_the_matrix_says_step_by_step(least):
    """The blocks of `between` against one step after the other, at a size that is no multiple of them."""
    size, fits = 57, 150
    step = np.array(matrices.resampling(size))
    step[:, :least] = step[:, size - least + 1 :] = 0  # lost
    law, expected = np.ones(1), []
    for _ in range(size):  # Pascal's triangle, halved: Bin(M, 1/2)
        law = (np.pad(law, (0, 1)) + np.pad(law, (1, 0))) / 2
    law[:least] = law[size - least + 1 :] = 0
    for _ in range(fits):
        expected.append(law.sum())
        law = law @ step
    np.testing.assert_allclose(matrices.between(size, fits, least), expected, rtol=1e-11)
    assert matrices.between(size, 1, least).shape == (1,) and matrices.between(size, 0, least).shape == (0,)


def test_pairs_of_a_thousand_points_agree_with_a_simulation():
    """4,000 chains: 5 binomial errors are 0.04; float32 gave 0.609 for 0.533 and 0.253 for 0.194."""
    law = matrices.between(SIZE, FITS, 4)
    rng, copies, alive = np.random.default_rng(0), np.full(4_000, SIZE // 2), np.ones(4_000, bool)
    for fit in range(FITS):
        copies = rng.binomial(SIZE, copies / SIZE)
        alive &= (copies >= 4) & (copies <= SIZE - 4)
        if fit in (999, 1999):
            assert abs(alive.mean() - law[fit]) < 0.04
    assert law[999] == pytest.approx(0.5333, abs=1e-4) and law[1999] == pytest.approx(0.1939, abs=1e-4)


def test_one_ancestor_at_least_is_certain():
    assert float(ancestry.ancestors(300, 3000)) >= 1
    assert float(ancestry.ancestors(300, 100_000)) == pytest.approx(1, abs=1e-10)


def test_times_to_absorption_are_near_the_diffusion_s():
    """Exact times are 2/(3M) or so below it at the middle: 4 % were missing in float32."""
    times = ancestry.absorption_times(300)
    assert float(times[150]) == pytest.approx(413.4959, rel=1e-6)
    residual = times - 1 - matrices.resampling(300) @ times
    assert abs(residual[1:-1]).max() < 1e-9


def test_a_rare_class_keeps_its_digits():
    """P(alive) of p = 1e-9: to first order p times the fate of one copy."""
    one = matrices.alive(100, 4)[1]
    assert float(discrete.survival(1e-9, 5, 100)) == pytest.approx(100 * 1e-9 * one, rel=1e-6)
