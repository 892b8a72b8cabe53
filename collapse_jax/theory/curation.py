"""Curated and verified synthetic data: what choosing among draws does to a distribution.

p' = p H: H multiplies the density by how much more often a draw is kept than made. Infinite data unless said.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from collapse_jax.types import Array, ArrayLike


def luce_pair(probabilities: Float[ArrayLike, " K"], rewards: Float[ArrayLike, " K"]) -> Float[Array, " K"]:
    """Return p' when the better of two draws is kept by Bradley and Terry's rule: p_x sum_y p_y 2 sigma(r_x - r_y).

    The order of the rewards' ratios is kept, a constant added to them changes nothing, and E e^r rises by at
    least Var(e^r)/(2 max e^r). Two classes: x' = x + x (1 - x)(2 sigma(D) - 1).

    Reference: Ferbach et al. (2024).

    >>> [round(float(x), 3) for x in luce_pair(jnp.array([0.5, 0.5]), jnp.array([1.0, 0.0]))]
    [0.616, 0.384]
    """
    p, r = jnp.asarray(probabilities, float), jnp.asarray(rewards, float)
    return p * (2 * jax.nn.sigmoid(r[:, None] - r[None, :]) @ p)


def luce_gain(log_reward: ArrayLike, others: Float[ArrayLike, " K_minus_1"]) -> Array:
    """Return K e^r / (e^r + sum e^(r_i)), in (0, K): how much K - 1 given rivals multiply a draw of reward r."""
    rivals = jnp.asarray(others, float)
    top = jnp.exp(jnp.asarray(log_reward, float))
    return (rivals.shape[-1] + 1) * top / (top + jnp.sum(jnp.exp(rivals), axis=-1))


def exponential_tilt(
    probabilities: Float[ArrayLike, " K"], rewards: Float[ArrayLike, " K"], num_rounds: ArrayLike
) -> Float[Array, " K"]:
    """Return p_n proportional to p_0 e^(n r): the choice among infinitely many candidates."""
    p = jnp.asarray(probabilities, float)
    logits = jnp.where(p > 0, jnp.log(jnp.where(p > 0, p, 1.0)), -jnp.inf)
    return jax.nn.softmax(logits + num_rounds * jnp.asarray(rewards, float))


def quadratic_tilt(
    num_rounds: ArrayLike, mean: ArrayLike, variance: ArrayLike, target: ArrayLike, tolerance: ArrayLike
) -> tuple[Array, Array]:
    """Return mean and variance of a Gaussian after n tilts by exp(-(x - target)^2 / (2 tolerance^2)).

    1/v_n = 1/v_0 + n/tau^2 and mu_n/v_n = mu_0/v_0 + n a/tau^2. A linear reward b x moves the mean by n b v and
    leaves the variance.
    """
    precision = 1 / jnp.asarray(variance, float) + num_rounds / jnp.square(tolerance)
    weighted = mean / jnp.asarray(variance, float) + num_rounds * target / jnp.square(tolerance)
    return jnp.asarray(weighted / precision), 1 / precision


def kept_ratio_bound(ratio: ArrayLike, num_candidates: ArrayLike) -> Array:
    """Return the bound 1/(1 - l (K - 1)) on p_t/p_ref, l < 1/(K - 1) curated points for each real one.

    p' = (p_ref + l p H)/(1 + l): l is a ratio, not a share. The divergence KL(p_t, p_ref) is at most the bound's
    log. Reference: Ferbach et al. (2024).
    """
    return 1 / (1 - jnp.asarray(ratio, float) * (jnp.asarray(num_candidates) - 1))


def fixation_probability(share: ArrayLike, num_samples: ArrayLike, advantage: ArrayLike) -> Array:
    """Return the probability that one of two classes takes over: (1 - e^(-2Msp))/(1 - e^(-2Ms)).

    s = 2 sigma(D) - 1 when pairs are judged by Bradley and Terry with a difference D of rewards, and M points are
    kept in each generation; p without selection. The diffusion's formula: good to O(s). Reference: Kimura (1962).
    """
    share, exponent = jnp.asarray(share, float), 2 * jnp.asarray(num_samples) * jnp.asarray(advantage, float)
    neutral = jnp.abs(exponent) < 1e-4
    safe = jnp.where(neutral, 1.0, exponent)
    return jnp.where(neutral, share, jnp.expm1(-safe * share) / jnp.expm1(-safe))


def verifier_odds(
    odds: ArrayLike, kept_correct: ArrayLike, kept_wrong: ArrayLike, num_rounds: ArrayLike
) -> Array:
    """Return the odds of a correct item after n rounds: odds_0 (phi/psi)^n; phi = psi changes nothing.

    phi and psi are the shares of correct and wrong items that a verifier keeps.

    Reference: Feng et al. (2024), Theorem 4.2.
    """
    return jnp.asarray(odds, float) * (jnp.asarray(kept_correct, float) / kept_wrong) ** num_rounds


def verifier_breakdown(kept_correct: ArrayLike, kept_wrong: ArrayLike) -> Array:
    """Return the share of wrong items above which the kept ones are mostly wrong: 1/(1 + psi/phi)."""
    return 1 / (1 + jnp.asarray(kept_wrong, float) / kept_correct)
