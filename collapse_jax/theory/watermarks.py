"""Watermarks in recursive training: how strong one is, how long it is inherited, and when it is seen.

A red and green list (Kirchenbauer et al. 2023) splits the vocabulary, a share g of it green, and adds d to the green
logits. Models that are fitted to watermarked text write green tokens more often than g: the text is radioactive
(Sander et al. 2024). Generations only resample that share: x' = (r g + (1 - r) x) + the noise of M tokens.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import digamma
from jaxtyping import Float

from collapse_jax.theory.law import (
    DISTRIBUTION,
    LENGTH,
    NONNEGATIVE,
    SHARE,
    SIZE,
    WHOLE,
    Domain,
    law,
    reals,
)
from collapse_jax.types import Array, ArrayLike

_INNER = Domain(0.0, 1.0, low_closed=False)
_EXCESS = Domain(-1.0, 1.0, high_closed=True)
_FEW = 128  # contexts up to which Ramanujan's sum is taken term by term
# Ramanujan's Q(K) = sqrt(pi K/2) * (1 + a_1/K + ...) + (b_0 + b_1/K + ...); the first series is half of Stirling's
_STIRLING = (1.0, 1 / 12, 1 / 288, -139 / 51840, -571 / 2488320)
_RAMANUJAN = (-1 / 3, -4 / 135, 8 / 2835, 16 / 8505, -8992 / 12629925)


@law(green_share=SHARE, boost=NONNEGATIVE)
def green_mass(green_share: ArrayLike, boost: ArrayLike) -> Array:
    """Return the probability of green tokens once d is added to their logits: g e^d/(g e^d + 1 - g).

    g is what the model without the watermark would give to green tokens at that place.

    Args:
        green_share: g.
        boost: d, nats.

    Reference: Kirchenbauer et al. (2023).
    """
    share, nats = reals(green_share, boost)
    rest = (1 - share) * jnp.exp(-nats)
    return jnp.where(share > 0, share / jnp.where(share > 0, share + rest, 1.0), 0.0)


@law(num_generations=LENGTH, num_samples=SIZE, mass=SHARE, green_share=SHARE, real_share=SHARE)
def radioactivity(
    num_generations: int,
    num_samples: ArrayLike,
    mass: ArrayLike,
    green_share: ArrayLike,
    real_share: ArrayLike = 0.0,
) -> tuple[Float[Array, " num_generations_plus_1"], Float[Array, " num_generations_plus_1"]]:
    """Return mean and standard deviation of the green excess, 0 ... n fits after one watermarked generator.

    x_0 = q; the mean of x_n - g is (q - g)(1 - r)^n, which under `replace` (r = 0) is a martingale: what is once
    watermarked stays so, with variance q (1 - q)(1 - (1 - 1/M)^n). V' = p (1 - p)/M + (1 - 1/M)(1 - r)^2 V, where p is
    the mean of the next x. For a green list that is the same at every place, or for each context on its own.

    Args:
        num_generations: n, static.
        num_samples: M, tokens that each generation fits, one of each context and token if the text repeats itself.
        mass: q, probability of green tokens in the watermarked text; see `green_mass`.
        green_share: g, probability of green tokens in text that knows no watermark.
        real_share: r, share of such text in each generation's data.

    Reference: Sander et al. (2024) for the effect.
    """
    size, q, g, r = jnp.broadcast_arrays(*reals(num_samples, mass, green_share, real_share))
    variance = _excess_variance(num_generations, size, q, g, r)
    rounds = jnp.arange(num_generations + 1.0).reshape(-1, *[1] * q.ndim)
    return (q - g) * (1 - r) ** rounds, jnp.sqrt(variance)


@law(excess=_EXCESS, green_share=_INNER, num_tokens=SIZE)
def watermark_z(excess: ArrayLike, green_share: ArrayLike, num_tokens: ArrayLike) -> Array:
    """Return the z of a test for the watermark in T tokens: excess sqrt(T/(g (1 - g))), on average.

    A standard normal number where there is no watermark, if no context and token is scored twice and none that
    stood in the prompt.

    Reference: Kirchenbauer et al. (2023), equation 3.
    """
    over, share, tokens = reals(excess, green_share, num_tokens)
    return over * jnp.sqrt(tokens / share / (1 - share))


@law(probabilities=DISTRIBUTION)
def gumbel_score(probabilities: Float[ArrayLike, " K"]) -> Array:
    """Return the expected score -log(1 - u) of a token drawn by Gumbel's trick with a secret key: sum p H(1/p).

    H is the harmonic number; u of the drawn token i is Beta(1/p_i, 1). Text without the watermark scores 1, and so does
    a token that is certain.

    Reference: Aaronson (2022).

    >>> round(float(gumbel_score(jnp.array([0.5, 0.5]))), 6)
    1.5
    """
    (p,) = reals(probabilities)
    some = jnp.where(p > 0, p, 1.0)
    return jnp.sum(p * (digamma(1 / some + 1) + np.euler_gamma))


@law(num_contexts=WHOLE)
def key_cycle_length(num_contexts: ArrayLike) -> Array:
    """Return how long the cycle is, on average, into which text falls when a fixed key makes it deterministic.

    A watermark drawn by Gumbel's trick from the last token alone makes the next one a function of it: a random map of K
    contexts, (Q(K) + 1)/2 ~ sqrt(pi K/8) + 1/3 with Q = sum_k K!/((K - k)! K^k). Where some tokens are likelier than
    others, K is about 1/sum p^2.

    Reference: Flajolet and Odlyzko (1990).

    >>> round(float(key_cycle_length(200)), 2)
    9.2
    """
    (size,) = reals(num_contexts)
    few = jnp.minimum(size, _FEW)[..., None]
    products = jnp.cumprod(jnp.maximum(1 - jnp.arange(_FEW) / few, 0.0), axis=-1)
    large = jnp.maximum(size, _FEW)
    series = [sum(c / large**power for power, c in enumerate(terms)) for terms in (_STIRLING, _RAMANUJAN)]
    many = jnp.sqrt(jnp.pi * large / 2) * series[0] + series[1]
    return (jnp.where(size <= _FEW, jnp.sum(products, axis=-1), many) + 1) / 2


@functools.partial(jax.jit, static_argnums=0)
def _excess_variance(num_generations: int, size: Array, mass: Array, green: Array, real: Array) -> Array:
    """Return V_0 ... V_n; p and 1 - p by sums of positive terms."""
    kept = 1 - real

    def body(variance: Array, power: Array) -> tuple[Array, Array]:
        old = kept**power
        hits, misses = (
            old * one + (1 - old) * other for one, other in ((mass, green), (1 - mass, 1 - green))
        )
        after = hits * misses / size + (1 - 1 / size) * kept**2 * variance
        return after, after

    first = jnp.zeros_like(mass)
    _, later = jax.lax.scan(body, first, jnp.arange(num_generations) + 1.0)
    return jnp.concatenate([first[None], later])
