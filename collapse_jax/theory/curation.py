"""Curated and verified synthetic data: what choosing among draws does to a distribution.

p' = p H: H multiplies the density by how much more often a draw is kept than made. Infinite data unless said.
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp, xlogy
from jaxtyping import Float

from collapse_jax.theory.law import (
    ANY,
    DISTRIBUTION,
    FITS,
    NONNEGATIVE,
    POSITIVE,
    SHARE,
    SIZE,
    Domain,
    law,
    reals,
    require,
)
from collapse_jax.types import Array, ArrayLike

_ADVANTAGE = Domain(-1.0, 1.0, high_closed=True)


@law(probabilities=DISTRIBUTION, rewards=ANY)
def luce_pair(probabilities: Float[ArrayLike, " K"], rewards: Float[ArrayLike, " K"]) -> Float[Array, " K"]:
    """Return p' when the better of two draws is kept by Bradley and Terry's rule: p_x sum_y p_y 2 sigma(r_x - r_y).

    The order of the rewards' ratios is kept, a constant added to them changes nothing, and E e^r rises by at
    least Var(e^r)/(2 max e^r). Two classes: x' = x + x (1 - x)(2 sigma(D) - 1).

    Reference: Ferbach et al. (2024).

    >>> [round(float(x), 3) for x in luce_pair(jnp.array([0.5, 0.5]), jnp.array([1.0, 0.0]))]
    [0.616, 0.384]
    """
    p, r = reals(probabilities, rewards)
    return p * (2 * jax.nn.sigmoid(r[:, None] - r[None, :]) @ p)


@law(log_reward=ANY, others=ANY)
def luce_gain(log_reward: ArrayLike, others: Float[ArrayLike, " K_minus_1"]) -> Array:
    """Return K e^r / (e^r + sum e^(r_i)), in (0, K): how much K - 1 given rivals multiply a draw of reward r."""
    own, rivals = reals(log_reward, others)
    if not rivals.shape[-1]:
        return jnp.ones_like(own)  # without rivals a draw is kept
    return (rivals.shape[-1] + 1) * jax.nn.sigmoid(own - logsumexp(rivals, axis=-1))


@law(probabilities=DISTRIBUTION, rewards=ANY, num_rounds=FITS)
def exponential_tilt(
    probabilities: Float[ArrayLike, " K"], rewards: Float[ArrayLike, " K"], num_rounds: ArrayLike
) -> Float[Array, " K"]:
    """Return p_n proportional to p_0 e^(n r): the choice among infinitely many candidates."""
    p, r, rounds = reals(probabilities, rewards, num_rounds)
    logits = jnp.where(p > 0, jnp.log(jnp.where(p > 0, p, 1.0)), -jnp.inf)
    return jax.nn.softmax(logits + rounds * r)


@law(num_rounds=FITS, mean=ANY, variance=NONNEGATIVE, target=ANY, tolerance=POSITIVE)
def quadratic_tilt(
    num_rounds: ArrayLike, mean: ArrayLike, variance: ArrayLike, target: ArrayLike, tolerance: ArrayLike
) -> tuple[Array, Array]:
    """Return mean and variance of a Gaussian after n tilts by exp(-(x - target)^2 / (2 tolerance^2)).

    1/v_n = 1/v_0 + n/tau^2 and mu_n/v_n = mu_0/v_0 + n a/tau^2. A linear reward b x moves the mean by n b v and
    leaves the variance.
    """
    rounds, mean, variance, target, tolerance = reals(num_rounds, mean, variance, target, tolerance)
    pull = rounds * variance / tolerance**2
    left = 1 / (1 + pull)
    moved = jnp.where(pull < 1, pull * left, 1 / (1 + 1 / pull))
    return mean * left + target * moved, variance * left


@law(ratio=NONNEGATIVE, num_candidates=SIZE)
def kept_ratio_bound(ratio: ArrayLike, num_candidates: ArrayLike) -> Array:
    """Return the bound 1/(1 - l (K - 1)) on p_t/p_ref, l < 1/(K - 1) curated points for each real one.

    p' = (p_ref + l p H)/(1 + l): l is a ratio, not a share. The divergence KL(p_t, p_ref) is at most the bound's
    log. Reference: Ferbach et al. (2024).
    """
    ratio, candidates = reals(ratio, num_candidates)
    bounded = ratio * (candidates - 1) <= 1
    require(bounded, "`ratio` must be at most 1/(`num_candidates` - 1), beyond which nothing is bounded.")
    return 1 / (1 - ratio * (candidates - 1))


@law(share=SHARE, num_samples=SIZE, advantage=_ADVANTAGE)
def fixation_probability(share: ArrayLike, num_samples: ArrayLike, advantage: ArrayLike) -> Array:
    """Return the probability that one of two classes takes over: (1 - e^(-2Msp))/(1 - e^(-2Ms)).

    s = 2 sigma(D) - 1 when pairs are judged by Bradley and Terry with a difference D of rewards, and M points are
    kept in each generation; p without selection. The diffusion's formula: good to O(s). Reference: Kimura (1962).
    """
    share, size, advantage = reals(share, num_samples, advantage)
    strength = 2 * size * jnp.abs(advantage)
    neutral = strength == 0
    safe = jnp.where(neutral, 1.0, strength)
    favoured = jnp.expm1(-safe * share) / jnp.expm1(-safe)
    # a handicap: the same quotient with both sides divided by e^(2M|s|), which overflows
    against = jnp.where(advantage < 0, jnp.exp(-safe * (1 - share)), 1.0)
    return jnp.where(neutral, share, favoured * against)


@law(odds=NONNEGATIVE, kept_correct=SHARE, kept_wrong=SHARE, num_rounds=FITS)
def verifier_odds(
    odds: ArrayLike, kept_correct: ArrayLike, kept_wrong: ArrayLike, num_rounds: ArrayLike
) -> Array:
    """Return the odds of a correct item after n rounds: odds_0 (phi/psi)^n; phi = psi changes nothing.

    phi and psi are the shares of correct and wrong items that a verifier keeps.

    Reference: Feng et al. (2024), Theorem 4.2.
    """
    odds, correct, wrong, rounds = reals(odds, kept_correct, kept_wrong, num_rounds)
    _keeps_some(correct, wrong)
    return jnp.where(odds == 0, 0.0, odds * jnp.exp(xlogy(rounds, correct / wrong)))


@law(kept_correct=SHARE, kept_wrong=SHARE)
def verifier_breakdown(kept_correct: ArrayLike, kept_wrong: ArrayLike) -> Array:
    """Return the share of wrong items above which the kept ones are mostly wrong: 1/(1 + psi/phi)."""
    correct, wrong = reals(kept_correct, kept_wrong)
    _keeps_some(correct, wrong)
    return correct / (correct + wrong)


def _keeps_some(correct: Array, wrong: Array) -> None:
    require(correct + wrong > 0, "`kept_correct` and `kept_wrong` must not both be 0: nothing would be left.")
