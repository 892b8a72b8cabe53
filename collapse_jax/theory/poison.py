"""Poison and forgetting beside collapse: the dose of a bad source after n generations, and what replay keeps.

The dose d is the share of rows that go back to poisoned ones. Generations resample it: its mean moves by the clean
share r alone, its law is that of a class of a categorical chain. What protects from collapse by keeping old rows
keeps the poison, what protects by renewing them washes it out.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from collapse_jax.theory import matrices, stable
from collapse_jax.theory.ancestry import binomial_law
from collapse_jax.theory.law import (
    FITS,
    LENGTH,
    MATRIX,
    POSITIVE,
    SHARE,
    SIZE,
    Domain,
    law,
    reals,
    require,
)
from collapse_jax.types import Array, ArrayLike

_BATCHES = Domain(1.0, 1e4, high_closed=True, integer=True, static=True)
_AGE = Domain(0.0, integer=True, static=True)

Doses = Float[Array, " num_generations_plus_1"]


@law(num_fits=FITS, dose=SHARE, clean_share=SHARE)
def dose_replace(num_fits: ArrayLike, dose: ArrayLike, clean_share: ArrayLike = 0.0) -> Array:
    """Return the expected dose d (1 - r)^n after n fits, each with a share r of clean rows, fresh or kept.

    d itself under `replace`, r = 0: the mean does not say that most chains have lost the poison and a few are all
    poison; `dose_fates` does.

    Args:
        num_fits: n.
        dose: d, of the rows before.
        clean_share: r, of the rows that each fit sees.
    """
    fits, share, clean = reals(num_fits, dose, clean_share)
    return share * stable.kept(fits, clean)


@law(num_generations=LENGTH, num_real=SIZE, num_samples=SIZE, dose=SHARE, clean_share=SHARE)
def dose_accumulate(
    num_generations: int,
    num_real: ArrayLike,
    num_samples: ArrayLike,
    dose: ArrayLike,
    clean_share: ArrayLike = 0.0,
) -> Doses:
    """Return the expected dose of the pool under `accumulate`, batches 0 ... g: d prod (1 - r M/(N0 + t M)).

    r is the clean share of each batch of M. A martingale with r = 0, so that the poison is never forgotten; otherwise
    it falls as slowly as g^-r, where `replace` forgets by a constant factor.

    Args:
        num_generations: g, static.
        num_real: N0, rows of the first batch, of which the share `dose` is poison.
        num_samples: M, rows of the later ones.
        dose: d.
        clean_share: r.
    """
    real, size, share, clean = jnp.broadcast_arrays(*reals(num_real, num_samples, dose, clean_share))
    rounds = jnp.arange(num_generations + 1.0).reshape(-1, *[1] * share.ndim)
    rows = real / size + rounds  # in batches
    kept = jnp.where(rounds > 0, real / size + (rounds - 1) + (1 - clean), rows)
    return share * jnp.exp(jnp.cumsum(_log_part(kept, rows, jnp.where(rounds > 0, clean, 0.0)), axis=0))


@law(num_generations=LENGTH, num_batches=_BATCHES, age=_AGE, dose=SHARE, clean_share=SHARE)
def dose_window(
    num_generations: int, num_batches: int, age: int, dose: ArrayLike, clean_share: ArrayLike = 0.0
) -> Doses:
    """Return the expected dose of what generations 0 ... g train on under `window(k)`, poison in one batch of k.

    A batch is drawn from a model of the k before it: x' = (1 - r)(x_1 + ... + x_k)/k. The oldest batch is seen
    once, the newest k times.

    Args:
        num_generations: g, static.
        num_batches: k, batches of one size, all there at the start, static.
        age: how many batches are newer than the poisoned one, 0 for the newest, below k, static.
        dose: d, share of poison in that batch.
        clean_share: r, clean rows of each new batch.
    """
    require(age < num_batches, "`age` must be below `num_batches`: the window holds no older batch.")
    share, clean = jnp.broadcast_arrays(*reals(dose, clean_share))

    def body(batches: Array, _: None) -> tuple[Array, Array]:
        mean = jnp.mean(batches, axis=0)
        return jnp.concatenate([((1 - clean) * mean)[None], batches[:-1]]), mean

    first = jnp.zeros((num_batches, *share.shape)).at[age].set(share)
    return jax.lax.scan(body, first, None, num_generations + 1)[1]


@law(num_batches=_BATCHES, age=_AGE, dose=SHARE)
def dose_window_limit(num_batches: int, age: int, dose: ArrayLike) -> Array:
    """Return what `dose_window` tends to without clean data: 2 (k - j) d/(k (k + 1)) for a batch of age j.

    >>> [round(float(dose_window_limit(4, age, 1.0)), 3) for age in range(4)]
    [0.4, 0.3, 0.2, 0.1]
    """
    require(age < num_batches, "`age` must be below `num_batches`: the window holds no older batch.")
    return 2 * (num_batches - age) / (num_batches * (num_batches + 1)) * reals(dose)[0]


@law(clean_share=SHARE)
def dose_half_life(clean_share: ArrayLike) -> Array:
    """Return after how many fits with a share r of clean rows half of a dose is left: log 2/-log(1 - r), else inf."""
    (clean,) = reals(clean_share)
    return jnp.log(2.0) / -jnp.log1p(-clean)


@law(dose=SHARE, num_fits=LENGTH, num_samples=MATRIX)
def dose_fates(dose: ArrayLike, num_fits: int, num_samples: int) -> tuple[Array, Array]:
    """Return the probabilities that the poison is lost, and that it is all there is, by n fits under `replace`.

    Exact, by the (M+1) x (M+1) binomial matrix. In the end 1 - d and d: a dose takes over with the probability that it
    has. `discrete.forgetting_probability` is the first for c << M copies; for poison with an advantage see
    `curation.fixation_probability`.

    >>> [round(float(p), 3) for p in dose_fates(0.02, 2000, 100)]
    [0.98, 0.02]
    """
    (share,) = reals(dose)
    if not num_fits:
        return jnp.where(share == 0, 1.0, 0.0), jnp.where(share == 1, 1.0, 0.0)
    later = np.linalg.matrix_power(matrices.resampling(num_samples), num_fits - 1)[:, [0, -1]]
    fates = binomial_law(num_samples, share) @ jnp.asarray(later, float)
    return jnp.minimum(fates[..., 0], 1.0), jnp.minimum(fates[..., 1], 1.0)


@law(num_fits=FITS, dose=SHARE, advantage=POSITIVE, clean_share=SHARE)
def dose_advantaged(
    num_fits: ArrayLike, dose: ArrayLike, advantage: ArrayLike, clean_share: ArrayLike = 0.0
) -> Array:
    """Return the dose after n fits when a model writes poison w times as readily: p' = (1 - r) p w/(1 + p (w - 1)).

    For infinitely many rows. The recursion is a fraction of linear terms, so that with R0 = w (1 - r)
    p_n = p R0^n/((1 - p) + p (R0^n + r w (1 + R0 + ... + R0^(n-1)))).

    Args:
        num_fits: n.
        dose: p, at the start.
        advantage: w, odds of poison in what a model writes over those in what it was fitted to.
        clean_share: r, of the rows that each fit sees.
    """
    fits, share, odds, clean = reals(num_fits, dose, advantage, clean_share)
    rate = odds * (1 - clean)
    grows = rate > 1
    excess = (odds - 1) - clean * odds
    shrunk = -excess / jnp.where(grows, rate, 1.0)  # 1/R0 - 1
    # where R0 > 1 both sides are divided by R0^n, which overflows
    ratio = jnp.where(grows, shrunk, excess)
    power = stable.kept(fits, -ratio)
    total = clean * odds * stable.geometric_sum(fits, ratio)
    below = (1 - share) + share * (power + total)
    above = (1 - share) * power + share * (1 + total / jnp.where(grows, rate, 1.0))
    # nothing is below where R0^n is too small to be held, all is poison and no row is clean
    fallen = jnp.where(below > 0, share * power / jnp.where(below > 0, below, 1.0), 1.0)
    return jnp.where(grows, share / jnp.where(grows, above, 1.0), fallen)


@law(advantage=POSITIVE, clean_share=SHARE)
def poison_reproduction(advantage: ArrayLike, clean_share: ArrayLike) -> Array:
    """Return R0 = w (1 - r), how many rows a rare poisoned one has in the next generation: above 1 it is endemic."""
    odds, clean = reals(advantage, clean_share)
    return odds * (1 - clean)


@law(advantage=POSITIVE, clean_share=SHARE)
def endemic_dose(advantage: ArrayLike, clean_share: ArrayLike) -> Array:
    """Return the dose at which poison with an advantage w stays: (R0 - 1)/(w - 1) = 1 - r w/(w - 1), 0 unless R0 > 1.

    With w = 1 and no clean data every dose stays; 0 is returned.

    >>> round(float(endemic_dose(2.0, 0.4)), 6)
    0.2
    """
    odds, clean = reals(advantage, clean_share)
    excess = (odds - 1) - clean * odds
    return jnp.where(excess > 0, excess / jnp.where(excess > 0, odds - 1, 1.0), 0.0)


@law(num_replayed=SIZE, num_new=SIZE)
def replay_factors(num_replayed: ArrayLike, num_new: ArrayLike) -> tuple[Array, Array]:
    """Return by what one task of generative replay multiplies old tasks: (R/(R + M))^2 forgotten, 1 - 1/R collapsed.

    R rows are drawn from the model and M come from the new task. For an old task, E[mass^2 x diversity] is multiplied
    by the product of the two, exactly; mass^2 x diversity is sum of x_i x_j over pairs of its classes. The diversity
    alone has no such law.

    Reference: Shin et al. (2017) for generative replay.
    """
    replayed, new = reals(num_replayed, num_new)
    return (1 / (1 + new / replayed)) ** 2, (replayed - 1) / replayed


@law(num_generations=LENGTH, num_new=SIZE)
def growing_replay(num_generations: int, num_new: ArrayLike) -> tuple[Doses, Doses]:
    """Return both factors of `replay_factors` multiplied over tasks 0 ... T, when task t replays R = t M rows.

    1/(T + 1)^2, as every task has an equal share, and prod (1 - 1/(t M)) ~ T^(-1/M)/Gamma(1 - 1/M).

    Args:
        num_generations: T, tasks after the first, static.
        num_new: M, rows of each task.
    """
    (new,) = reals(num_new)
    rounds = jnp.arange(num_generations + 1.0).reshape(-1, *[1] * new.ndim)
    rows = jnp.maximum(rounds, 1.0) * new
    lost = jnp.where(rounds > 0, 1.0, 0.0)
    kept = jnp.exp(jnp.cumsum(_log_part(rows - lost, rows, lost), axis=0))
    return (1 / (rounds + 1)) ** 2 + jnp.zeros_like(kept), kept


def _log_part(kept: Array, rows: Array, lost: Array) -> Array:
    """Return log(kept / rows), kept = rows - lost."""
    return jnp.where(2 * lost < rows, jnp.log1p(-lost / rows), jnp.log(kept / rows))
