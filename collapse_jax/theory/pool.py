"""Many labs: one polluted web, a pool of rows that they read and write, or islands that exchange rows.

A row of the truth has mean 0 and variance 1. With T = E x^2 of a row of the pool, X = E x x' of two distinct rows and
Xp = T/N + (1 - 1/N) X of two rows drawn with replacement, lab l fits n_l such draws, and its mean and (MLE) variance
have

    E mu_l^2 = Xp + (T - Xp)/n_l,    E v_l = (1 - 1/n_l)(T - Xp).

In a step every lab that has entered fits the pool as it is; a share d of the rows is deleted, whichever they are; the
labs release m_l rows each, with lam_l times the fitted variance; h human rows arrive. With lam = 1 X is the identity by
descent F of two distinct rows, T is 1 and E mu_l^2 the identity G of lab l. For every fit that matches the sample mean
and the maximum-likelihood variance; with lam = 1 the same F is that of a categorical web, E H = (1 - F) H_0.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from collapse_jax.theory import stable
from collapse_jax.theory.law import (
    COUNT,
    FITS,
    LENGTH,
    NONNEGATIVE,
    SHARE,
    SIZE,
    WHOLE,
    Domain,
    law,
    reals,
    require,
)
from collapse_jax.types import Array, ArrayLike

_DELETED = Domain(0.0, 1.0, low_closed=False, high_closed=True)
_CAP = Domain(1.0, high_closed=True, integer=True)
_Parts = tuple[Array, ...]
_LABS = "`num_samples`, `num_released`, `bias` and `entry` must each be a number, or one for each lab."


class PoolMoments(NamedTuple):
    """A web in two moments, at the start of each step, and what each lab would learn from it then.

    Attributes:
        size: N, rows.
        contamination: c, the expected share of rows that labs have released.
        second_moment: T = E x^2 of a row, in units of the truth's variance.
        cross_moment: X = E x x' of two distinct rows, likewise.
        mean_square: E mu_l^2 of a lab that fits the web then, whether it has entered or not; labs are the last axis.
        variance: E v_l of that fit.
    """

    size: Array
    contamination: Array
    second_moment: Array
    cross_moment: Array
    mean_square: Array
    variance: Array


@law(
    num_generations=LENGTH, num_real=WHOLE, num_samples=SIZE, num_released=COUNT, inflow=COUNT, deletion=SHARE,
    bias=NONNEGATIVE, entry=COUNT, cap=_CAP,
)  # fmt: skip
def pool_moments(
    num_generations: int,
    num_real: ArrayLike,
    num_samples: ArrayLike,
    num_released: ArrayLike,
    inflow: ArrayLike,
    deletion: ArrayLike,
    bias: ArrayLike = 1.0,
    entry: ArrayLike = 0,
    cap: ArrayLike = jnp.inf,
) -> PoolMoments:
    """Return size, contamination and both moments of a web, and each lab's E mu^2 and E v, at steps 0 ... g.

    With K = min(N - round(d N), cap - h - m) survivors, m = sum m_l of the labs that have entered and N' = K + h + m:
    N' T' = K T + h + sum m_l (E mu_l^2 + lam_l E v_l),
    N' (N' - 1) X' = K (K - 1) X + 2 K m Xp + sum m_l (m_l - 1) E mu_l^2 + (m^2 - sum m_l^2) Xp, c' = (c K + m)/N'.
    Exact, and computed by forms in which nothing cancels. Labs draw with replacement: with n near N it matters.

    Args:
        num_generations: g, steps, static.
        num_real: N_0, human rows at the start.
        num_samples: n_l, rows that lab l draws and fits in each step; a number, or one for each lab.
        num_released: m_l, rows that it releases in each step; 0 for a probe.
        inflow: h, human rows that arrive in each step; a number, or one for each step.
        deletion: d, the share of the rows that is deleted in each step, likewise; halves round to even numbers.
        bias: lam_l, variance of a lab's draws over the fitted one.
        entry: the step in which lab l begins, 0 for the first.
        cap: rows that the web holds at most; more of the old ones are deleted for that, whichever they are.

    Returns:
        PoolMoments: the first four of shape [g + 1], the last two [g + 1, num_labs].

    Raises:
        ValueError: an argument outside of its domain or of another shape, a cap too small for what arrives in one
            step, or a web that falls below two rows.

    >>> web = pool_moments(80, 400, num_samples=jnp.array([100, 100]), num_released=60, inflow=40, deletion=0.1)
    >>> [round(float(web.mean_square[step, 0]), 5) for step in (0, 5, 10, 80)]
    [0.01248, 0.01373, 0.01374, 0.01297]
    """
    labs = reals(num_samples, num_released, bias, entry)
    require(all(part.ndim <= 1 for part in labs), _LABS)
    num_samples, num_released, bias, entry = jnp.broadcast_arrays(*(jnp.atleast_1d(part) for part in labs))
    size, limit = reals(num_real, cap)
    steps = [
        _each_step(num_generations, name, part) for name, part in (("inflow", inflow), ("deletion", deletion))
    ]
    require(
        limit >= jnp.max(steps[0], initial=0.0) + jnp.sum(num_released),
        "`cap` must be at least `inflow` and all of `num_released` together: they arrive in one step.",
    )
    web = _follow(num_generations, size, limit, (num_samples, num_released, bias, entry), tuple(steps))
    size, contamination, cross, apart = web
    return _moments(size, contamination, cross, apart, num_samples)


@law(inflow=WHOLE, num_samples=SIZE, num_released=COUNT, deletion=_DELETED, bias=NONNEGATIVE)
def pool_limit(
    inflow: ArrayLike,
    num_samples: ArrayLike,
    num_released: ArrayLike,
    deletion: ArrayLike,
    bias: ArrayLike = 1.0,
) -> PoolMoments:
    """Return where a web comes to rest: N = (h + m)/d, c = m/(h + m) whatever d, and with lam = 1 F/(1 - F) = B/A.

    B = 2 m K/N + sum m_l (m_l - 1) (1/N + (1 - 1/N)/n_l) + sum m_l (m - m_l)/N, K = N (1 - d), A = h (2 N - h - 1), and
    T - X = h/(h + h B/A + (1 - 1/N) sum (1 - lam_l) m_l (1 - 1/n_l)). Exact where d N is a whole number.

    Args:
        inflow: h, human rows that arrive in each step.
        num_samples: n_l, rows that lab l fits in each step; a number, or one for each lab.
        num_released: m_l, rows that it releases in each step, likewise.
        deletion: d, the share of the rows that is deleted in each step.
        bias: lam_l, likewise for each lab.

    Returns:
        PoolMoments: numbers, the last two of shape [num_labs].

    >>> rest = pool_limit(40, num_samples=jnp.array([100, 100]), num_released=60, deletion=0.1)
    >>> round(float(rest.contamination), 4), round(float(pool_worth(rest.size, rest.cross_moment)))
    (0.75, 338)
    """
    labs = reals(num_samples, num_released, bias)
    require(all(part.ndim <= 1 for part in labs), _LABS)
    num_samples, num_released, bias = jnp.broadcast_arrays(*(jnp.atleast_1d(part) for part in labs))
    human, deleted = reals(inflow, deletion)
    total = jnp.sum(num_released)
    size = (human + total) / deleted
    require(size >= 2, "`inflow` and `num_released` over `deletion` must be at least 2 rows, the web's size.")
    shared = _shared(size, size * (1 - deleted), num_samples, num_released) / (2 * size - human - 1)
    lost = (1 - 1 / size) * jnp.sum((1 - bias) * num_released * (1 - 1 / num_samples))
    whole = human + shared + lost
    require(whole > 0, "`bias` is too large: the variance of the web grows without end; lower it.")
    return _moments(size, total / (human + total), shared / whole, human / whole, num_samples)


@law(contamination=SHARE, bias=NONNEGATIVE)
def pool_variance_limit(contamination: ArrayLike, bias: ArrayLike) -> Array:
    """Return the variance T* = (1 - c)/(1 - c lam) of a large web that is contaminated to c, in units of the truth's.

    As all n_l and N grow. Fresh data in the share 1 - c do the same to a single chain. Labs of several lam count by the
    mean of lam over the rows released. 1 where c = lam = 1, when nothing is lost.

    >>> float(pool_variance_limit(0.75, 0.8))
    0.625
    """
    share, lam = reals(contamination, bias)
    lost = (1 - share) + share * (1 - lam)
    require(
        (lost > 0) | (lam == 1),
        "`bias` times `contamination` must be below 1: beyond, the variance has no limit.",
    )
    return jnp.where(lam == 1, 1.0, (1 - share) / jnp.where(lost > 0, lost, 1.0))


@law(inflow=WHOLE, released=COUNT, deletion=SHARE, num_labs=WHOLE, num_samples=SIZE)
def slow_pool_identity(
    inflow: ArrayLike, released: ArrayLike, deletion: ArrayLike, num_labs: ArrayLike, num_samples: ArrayLike
) -> Array:
    """Return about the F of a web at rest for a small d and lam = 1: F/(1 - F) ~ c d/h + c^2 d/(2 (1 - c) L n).

    The first part is what the web's own finite size does, the second what the finite samples of L equal labs do. For
    large h, n and m/L; `pool_limit` is exact.

    Args:
        inflow: h, human rows that arrive in each step.
        released: m, rows that all labs together release in each step; c = m/(h + m).
        deletion: d.
        num_labs: L, labs that are alike.
        num_samples: n, rows that each fits.
    """
    human, total, deleted, labs, size = reals(inflow, released, deletion, num_labs, num_samples)
    odds = deleted * (total / (human + total)) / human * (1 + total / (2 * labs * size))
    return odds / (1 + odds)


@law(num_rows=SIZE, identity=SHARE)
def pool_worth(num_rows: ArrayLike, identity: ArrayLike) -> Array:
    """Return how many human rows a web of N rows is worth: 1/(F + (1 - F)/N), about 1/(1/N + F).

    The size of a sample whose mean errs as much as that of the whole web, never more than 1/F, for lam = 1. The
    effective size of a cluster sample with F for the correlation within clusters.

    Reference: Kish (1965) for cluster samples.

    >>> round(float(pool_worth(10**9, 0.002)), 3)
    500.0
    """
    size, shared = reals(num_rows, identity)
    return 1 / (shared + (1 - shared) / size)


@law(num_archive=COUNT, num_samples=SIZE, identity=SHARE)
def archive_pooled_error(num_archive: ArrayLike, num_samples: ArrayLike, identity: ArrayLike) -> Array:
    """Return E mu^2 of a fit to a archived human rows and n rows of a web, as one: 1/(a+n) + n (n-1)/(a+n)^2 Fp.

    Fp = 1/N + (1 - 1/N) F, for two rows of the web drawn with replacement; lam = 1. The archive is no part of the web.
    """
    archive, size, shared = reals(num_archive, num_samples, identity)
    total = archive + size
    return (1 + size / total * (size - 1) * shared) / total


@law(num_archive=COUNT, num_samples=SIZE, identity=SHARE)
def archive_best_weight(
    num_archive: ArrayLike, num_samples: ArrayLike, identity: ArrayLike
) -> tuple[Array, Array]:
    """Return the best weight of an archive of a human rows beside n rows of a web, and the E mu^2 that it gives.

    w = a/(a + 1/Vp) and 1/(a + 1/Vp), Vp = Fp + (1 - Fp)/n the web's own error, Fp as in `archive_pooled_error`:
    1/Vp is what the rows of the web are worth.
    """
    archive, size, shared = reals(num_archive, num_samples, identity)
    own = shared + (1 - shared) / size
    return archive * own / (1 + archive * own), own / (1 + archive * own)


@law(num_generations=LENGTH, num_real=SIZE, num_labs=WHOLE, num_samples=SIZE, fraction=SHARE, migration=SHARE)
def island_identity(
    num_generations: int,
    num_real: ArrayLike,
    num_labs: ArrayLike,
    num_samples: ArrayLike,
    fraction: ArrayLike,
    migration: ArrayLike,
) -> tuple[Float[Array, " num_generations_plus_1"], Float[Array, " num_generations_plus_1"]]:
    """Return G within and G between L labs, each row real with probability r, else drawn from a model.

    From the lab's own with probability 1 - mu, else from that of a random lab, its own among them. Two draws have one
    source with probability sw = (1 - mu)^2 + b within a lab and b = (2 mu (1 - mu) + mu^2)/L between two:
    Gw' = 1/M + (1 - 1/M)(1 - r)^2 (sw Gw + (1 - sw) Gb), Gb' = (1 - r)^2 (b Gw + (1 - b) Gb); Gw_0 = 1/N0, Gb_0 = 0.
    Gb/Gw is the correlation of two labs' errors. One lab: `ibd_fresh_fraction`; mu = 1: one population.

    Args:
        num_generations: g, static.
        num_real: N0, real points that each lab's model 0 is fitted to, its own.
        num_labs: L.
        num_samples: M, rows that each lab fits in a generation.
        fraction: r, fresh real data.
        migration: mu.

    Reference: Wright (1951) for the island model.
    """
    real, labs, size, r, mu = reals(num_real, num_labs, num_samples, fraction, migration)
    between = mu * (2 - mu) / labs  # 2 mu (1 - mu) + mu^2 = mu (2 - mu)
    apart = mu * (2 - mu) * (1 - 1 / labs)  # 1 - sw
    return _islands(num_generations, real, size, (1 - r) ** 2, between, apart)


@law(num_fits=FITS, num_labs=WHOLE, num_rows=SIZE)
def isolated_labs_diversity(num_fits: ArrayLike, num_labs: ArrayLike, num_rows: ArrayLike) -> Array:
    """Return E H_n/H_0 of the mixture of L models that share `num_rows` rows and never mix: 1 - (1 - (1 - L/M)^n)/L.

    M rows in all, M/L for each lab, under `replace`. At n = 1 every L gives 1 - 1/M; later more models keep more,
    although each of them errs more.

    >>> [round(float(isolated_labs_diversity(200, labs, 240)), 2) for labs in (1, 16)]
    [0.43, 0.94]
    """
    fits, labs, size = reals(num_fits, num_labs, num_rows)
    require(size >= labs, "`num_rows` must be at least `num_labs`: each lab needs a row.")
    return (1 - 1 / labs) + stable.kept(fits, labs / size) / labs


def _each_step(num_generations: int, name: str, value: ArrayLike) -> Array:
    (each,) = reals(value)
    fits = each.shape in ((), (num_generations,))
    require(fits, f"`{name}` must be one number, or one for each of the {num_generations} steps.")
    return jnp.broadcast_to(each, (num_generations,))


def _moments(
    size: Array, contamination: Array, cross: Array, apart: Array, num_samples: Array
) -> PoolMoments:
    """Return the record from N, c, X and T - X."""
    distinct = (1 - 1 / size)[..., None]
    own = cross[..., None] + apart[..., None] * (1 / size[..., None] + distinct / num_samples)
    variance = (1 - 1 / num_samples) * distinct * apart[..., None]
    return PoolMoments(size, contamination, cross + apart, cross, own, variance)


def _shared(size: Array, survivors: Array, num_samples: Array, released: Array) -> Array:
    """Return N' (N' - 1) times what T - X adds to the next X: pairs that may go back to one row."""
    total = jnp.sum(released)
    same = 1 / size + (1 - 1 / size) / num_samples  # two draws of a lab's model are one row of the pool
    of_labs = jnp.sum(released * ((released - 1) * same + (total - released) / size))
    return 2 * survivors * total / size + of_labs


@functools.partial(jax.jit, static_argnums=0)
def _follow(num_generations: int, size: Array, cap: Array, labs: _Parts, steps: _Parts) -> _Parts:
    """Return N, c, X and T - X of steps 0 ... g; all terms are positive."""
    num_samples, num_released, bias, entry = labs

    def body(web: _Parts, now: _Parts) -> tuple[_Parts, _Parts]:
        size, contamination, cross, apart = web
        step, human, deleted = now
        released = jnp.where(step >= entry, num_released, 0.0)
        total = jnp.sum(released)
        kept = jnp.minimum(size - jnp.round(deleted * size), cap - human - total)
        after = kept + human + total
        old, pairs = kept + total, after * (after - 1)
        distinct = 1 - 1 / size
        chance = distinct / num_samples
        drawn = bias * (1 - 1 / num_samples) * distinct
        rest = (released - 1) * drawn + (total - released) * (drawn + chance)
        rest = rest + human * (1 / size + chance + drawn) + kept * (chance + drawn)
        remains = kept * (kept - 1 + human) + kept * total * distinct + jnp.sum(released * rest)
        new_cross = (old * (old - 1) * cross + _shared(size, kept, num_samples, released) * apart) / pairs
        new_apart = (human * (after - 1) + human * old * cross + remains * apart) / pairs
        web = after, (contamination * kept + total) / after, new_cross, new_apart
        return web, web

    nothing, one = jnp.zeros_like(size), jnp.ones_like(size)
    first: _Parts = (size, nothing, nothing, one)
    _, later = jax.lax.scan(body, first, (jnp.arange(num_generations) * one, *steps))
    return tuple(jnp.concatenate([start[None], rest]) for start, rest in zip(first, later))


@functools.partial(jax.jit, static_argnums=0)
def _islands(
    num_generations: int, real: Array, size: Array, synthetic: Array, between: Array, apart: Array
) -> tuple[Array, Array]:
    """Return G within and between; `synthetic`: chance that two rows are; `apart`: of two sources within a lab."""
    real, size, synthetic, between, apart = jnp.broadcast_arrays(real, size, synthetic, between, apart)

    def body(both: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        within, across = both
        mixed = (1 - apart) * within + apart * across
        both = (
            1 / size + (1 - 1 / size) * synthetic * mixed,
            synthetic * (between * within + (1 - between) * across),
        )
        return both, both

    first = 1 / real, jnp.zeros_like(real)
    _, later = jax.lax.scan(body, first, None, num_generations)
    within, across = (jnp.concatenate([start[None], rest]) for start, rest in zip(first, later))
    return within, across
