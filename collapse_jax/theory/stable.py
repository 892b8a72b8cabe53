"""Functions that plain formulas lose to cancellation: powers near 1, logs of gamma ratios, digamma less log.

Each is good to a few roundings in float32 and in float64, for every size that a chain may have.
"""

import math
from collections.abc import Callable
from fractions import Fraction

import jax.numpy as jnp
from jax.scipy.special import digamma, xlog1py

from collapse_jax.types import Array

# Bernoulli's numbers B_2, B_4, ...
_BERNOULLI = [
    float(Fraction(*pair))
    for pair in ((1, 6), (-1, 30), (1, 42), (-1, 30), (5, 66), (-691, 2730), (7, 6), (-3617, 510))
]
_LARGE = 16.0  # from here on eight terms of a series in 1/x^2 are exact in float64


def kept(rounds: Array, loss: Array) -> Array:
    """Return (1 - loss)^rounds; 1 after no round, even when all is lost in one."""
    return jnp.exp(xlog1py(rounds, -loss))


def lost(rounds: Array, loss: Array) -> Array:
    """Return 1 - (1 - loss)^rounds."""
    return -jnp.expm1(xlog1py(rounds, -loss))


def geometric_sum(rounds: Array, excess: Array) -> Array:
    """Return 1 + r + ... + r^(rounds - 1) for r = 1 + excess; `rounds` itself where r = 1."""
    neutral = excess == 0
    safe = jnp.where(neutral, 1.0, excess)
    return jnp.where(neutral, rounds, jnp.expm1(xlog1py(rounds, excess)) / safe)


def digamma_less_log(x: Array) -> Array:
    """Return psi(x) - log(x), x > 0: about -1/(2x), which the difference of the two loses when x is large."""
    large = x >= _LARGE
    far, near = jnp.where(large, x, _LARGE), jnp.where(large, 1.0, x)
    series = -0.5 / far - _series(far, lambda k: 1 / (2 * k), 0)
    return jnp.where(large, series, digamma(near) - jnp.log(near))


def trigamma(x: Array) -> Array:
    """Return psi1(x), x > 0, by its series beyond 16 and by recurrence below."""
    return _shifted(x, lambda y: 1 / y + 0.5 / y**2 + _series(y, lambda k: 1.0, 1), lambda y: 1 / y**2)


def tetragamma(x: Array) -> Array:
    """Return psi2(x) < 0, x > 0, likewise."""
    series = lambda y: -1 / y**2 - 1 / y**3 - _series(y, lambda k: 2 * k + 1.0, 2)  # noqa: E731
    return _shifted(x, series, lambda y: -2 / y**3)


def log_half_step(x: Array) -> Array:
    """Return log Gamma(x + 1/2) - log Gamma(x) - log(x)/2, x > 0: about -1/(8x)."""
    far = lambda y: -_series(y, lambda k: (1 - 0.25**k) / (k * (2 * k - 1)), -1)  # noqa: E731
    # Gamma(y + 3/2) / Gamma(y + 1) = (y + 1/2)/y Gamma(y + 1/2)/Gamma(y), and the root moves on by one, too
    return _shifted(x, far, lambda y: 0.5 * jnp.log1p(1 / y) - jnp.log1p(0.5 / y))


def log_c4(num_samples: Array) -> Array:
    """Return log c4(M), c4 = sqrt(2/(M-1)) Gamma(M/2)/Gamma((M-1)/2): about -1/(4M). M > 1."""
    return log_half_step((num_samples - 1) / 2)


def one_less_sinc(x: Array) -> Array:
    """Return 1 - sin(x)/x, x >= 0: x^2/6 to first order."""
    near = x < 1
    small, large = jnp.where(near, x, 0.0) ** 2, jnp.where(near, 1.0, x)
    series = sum(-((-small) ** k) / float(math.factorial(2 * k + 1)) for k in range(1, 10))
    return jnp.where(near, series, 1 - jnp.sin(large) / large)


def log_one_less_exp(x: Array) -> Array:
    """Return log(1 - exp(-x)), x >= 0."""
    near = x < 0.7
    small, large = jnp.where(near, x, 1.0), jnp.where(near, 1.0, x)
    return jnp.where(near, jnp.log(-jnp.expm1(-small)), jnp.log1p(-jnp.exp(-large)))


def _series(x: Array, factor: Callable[[int], float], extra: int) -> Array:
    """Return sum_k factor(k) B_2k / x^(2k + extra), k = 1, 2, ..."""
    terms = [factor(k) * number * x ** -(2.0 * k + extra) for k, number in enumerate(_BERNOULLI, 1)]
    return sum(reversed(terms), jnp.zeros_like(x))


def _shifted(x: Array, series: Callable[[Array], Array], step: Callable[[Array], Array]) -> Array:
    """Return f(x) = f(x + 1) + step(x), by the series where x is large, and by 16 steps up to there elsewhere."""
    large = x >= _LARGE
    near = jnp.where(large, 1.0, x)
    steps = sum(step(near + k) for k in range(int(_LARGE)))
    start = jnp.where(large, x, near + _LARGE)
    return series(start) + jnp.where(large, 0.0, steps)
