"""Filters for generated rows: what is kept, which detector keeps a chain alive, and how detectors age.

A detector takes a share t of the generated rows for generated (true positives) and a share f of the real ones (false
positives); what it flags is left out. Blind: whether a row is flagged depends on where it is from, not on what it
is. A detector that looks at the rows removes the real ones that look generated, too: `curation` has such laws.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf

from collapse_jax.theory.law import NONNEGATIVE, POSITIVE, SHARE, SIZE, Domain, law, reals, require
from collapse_jax.types import Array, ArrayLike

_SOME = Domain(1e-12, 1.0, high_closed=True)
_CUT = Domain(0.0, high_closed=True)


@law(real_share=SHARE, true_positive_rate=SHARE, false_positive_rate=SHARE)
def filtered_share(
    real_share: ArrayLike, true_positive_rate: ArrayLike, false_positive_rate: ArrayLike
) -> Array:
    """Return the share of real rows that a blind filter leaves, r' = r (1 - f)/(r (1 - f) + (1 - r)(1 - t)).

    >>> round(float(filtered_share(0.1, 0.6, 0.1)), 6)
    0.2
    """
    real, drawn = _left(real_share, true_positive_rate, false_positive_rate)
    return real / (real + drawn)


@law(num_samples=SIZE, real_share=SHARE, true_positive_rate=SHARE, false_positive_rate=SHARE)
def filtered_identity(
    num_samples: ArrayLike,
    real_share: ArrayLike,
    true_positive_rate: ArrayLike,
    false_positive_rate: ArrayLike,
) -> Array:
    """Return G* when each generation fits M rows that a blind filter has left: 1/(M - (M - 1)(1 - r')^2).

    A fixed budget for training: the crawl is as large as it must be, and any detector with t > f helps. For unbiased
    generators; without a filter it is `limits.fresh_fraction_limit`.

    Args:
        num_samples: M, rows left that are fitted.
        real_share: r, of the rows before the filter, each real with that probability.
        true_positive_rate: t, of generated rows.
        false_positive_rate: f, of real rows.

    >>> [round(1000 * float(filtered_identity(1000, 0.1, t, f)), 2) for t, f in ((0.0, 0.0), (0.6, 0.1))]
    [5.24, 2.77]
    """
    (size,) = reals(num_samples)
    real, drawn = _left(real_share, true_positive_rate, false_positive_rate)
    total = real + drawn
    return 1 / (1 + (size - 1) * (real / total) * (1 + drawn / total))


@law(real_share=SHARE, true_positive_rate=SHARE, false_positive_rate=SHARE)
def crawl_gain(real_share: ArrayLike, true_positive_rate: ArrayLike, false_positive_rate: ArrayLike) -> Array:
    """Return by what a blind filter divides G* where the crawl is fixed: (1 - f)(2 - r')/(2 - r), at most 1.

    To first order in 1/n, with unbiased generators. The filter leaves fewer rows to train on, and generated rows carry
    what older real ones said: no detector whatever breaks even, a perfect one loses the factor 1/(2 - r). Only
    biased generators (`keep_alive_rate`) or a fixed budget for training (`filtered_identity`) make filters pay.
    """
    r, f = reals(real_share, false_positive_rate)
    real, drawn = _left(real_share, true_positive_rate, false_positive_rate)
    return (1 - f) * (1 + drawn / (real + drawn)) / (2 - r)


@law(false_positive_rate=SHARE, contamination=SHARE, bias=NONNEGATIVE, least_variance=SHARE)
def keep_alive_rate(
    false_positive_rate: ArrayLike, contamination: ArrayLike, bias: ArrayLike, least_variance: ArrayLike
) -> Array:
    """Return the least true positive rate t that keeps a share T of the variance: 1 - (1-f)(1-c)(1-T)/(c T (1-lam)).

    A line through (1, 1) of the ROC plane: detectors above it keep a chain of biased generators alive, however long it
    is. For infinitely many rows; 0 where no filter is needed.

    Args:
        false_positive_rate: f.
        contamination: c, the share of generated rows before the filter.
        bias: lam, variance of a model's draws over the fitted one.
        least_variance: T, in units of the truth's variance.

    >>> round(float(keep_alive_rate(0.05, 0.75, 0.9, 0.95)), 3)
    0.833
    """
    f, c, lam, least = reals(false_positive_rate, contamination, bias, least_variance)
    lost = c * least * (1 - lam)
    passed = (1 - f) * (1 - c) * (1 - least) / jnp.where(lost > 0, lost, 1.0)
    return jnp.where(lost > 0, jnp.maximum(1 - passed, 0.0), 0.0)


@law(real_share=_SOME, variance=POSITIVE)
def calibrated_effective_share(real_share: ArrayLike, variance: ArrayLike) -> Array:
    """Return ESS/n of rows weighted by P(real | x), real N(0, 1), generated N(0, v): 1/(1 + chi2(real, mixture)).

    Those weights turn the mixture into the real law exactly, if they are calibrated on the mixture of that generation;
    ESS = (sum w)^2/sum w^2 is what that costs. r at v = 0, where the two are told apart at a look, and 1 at v = 1.
    By the trapezoidal rule in log |x|, to 1e-10.

    Reference: Kong (1992) for the effective sample size.
    """
    share, v = (part[..., None] for part in jnp.broadcast_arrays(*reals(real_share, variance)))
    square, weight = (jnp.asarray(part, share.dtype) for part in _half_normal())
    # P(real | x) = sigmoid(log of the odds)
    log_odds = jnp.log(share) - jnp.log1p(-share) + jnp.log(v) / 2 - square / 2 * ((v - 1) / v)
    return share[..., 0] / jnp.sum(weight * jax.nn.sigmoid(log_odds), axis=-1)


@law(variance=NONNEGATIVE)
def likelihood_ratio_auc(variance: ArrayLike) -> Array:
    """Return the area under the ROC curve of the best detector, real N(0, 1), generated N(0, v): (2/pi) atan(1/sqrt v).

    With v > 1 it is atan(sqrt v). A detector that is trained anew in each generation has it: 1/2 while generators are
    good, near 1 as the chain collapses.

    >>> round(float(likelihood_ratio_auc(0.25)), 4)
    0.7048
    """
    (v,) = reals(variance)
    narrow = jnp.minimum(v, 1 / jnp.where(v > 1, v, 1.0))
    return 1 - 2 / jnp.pi * jnp.arctan(jnp.sqrt(narrow))


@law(cut=_CUT, variance=NONNEGATIVE)
def threshold_rates(cut: ArrayLike, variance: ArrayLike) -> tuple[Array, Array]:
    """Return false and true positive rates of a frozen detector that flags |x| < c: 2 Phi(c) - 1, 2 Phi(c/sqrt v) - 1.

    Real rows are N(0, 1), generated ones N(0, v). The first stays, the second rises as the chain collapses and falls to
    chance as generators improve: two clocks by which a detector ages.
    """
    threshold, v = reals(cut, variance)
    width = jnp.sqrt(2 * v)
    scaled = jnp.where(width > 0, threshold / jnp.where(width > 0, width, 1.0), jnp.inf)
    return erf(threshold / jnp.sqrt(2.0)), jnp.where(threshold > 0, erf(scaled), 0.0)


def _left(
    real_share: ArrayLike, true_positive_rate: ArrayLike, false_positive_rate: ArrayLike
) -> tuple[Array, Array]:
    """Return the parts of all rows that are real, or drawn, and not flagged."""
    r, t, f = reals(real_share, true_positive_rate, false_positive_rate)
    real, drawn = r * (1 - f), (1 - r) * (1 - t)
    require(
        real + drawn > 0,
        "`true_positive_rate` and `false_positive_rate` must leave a row: all that there are would be flagged.",
    )
    return real, drawn


def _half_normal() -> tuple[np.ndarray, np.ndarray]:
    """Return squares and weights of the trapezoidal rule for |z|, z standard normal, in log |z|."""
    logs = np.linspace(-30.0, 3.8, 4001)
    square = np.exp(2 * logs)
    weight = (logs[1] - logs[0]) * np.sqrt(2 / np.pi) * np.exp(logs - square / 2)
    return square, weight
