"""Closed forms for recursive training: what the simulations are tested against and drawn over.

Any fit that matches the sample mean and the maximum-likelihood covariance (Gaussian MLE, categorical,
full-covariance mixture after any number of EM steps, weighted or not) obeys

    E Var_g = (1 - G_g) Var_0,    Var(mean_g) = G_g Var_0,    E H_g = (1 - G_g) H_0,

where G_g, the identity by descent, is the probability that two draws from model g descend from the same
real draw and H = 1 - sum p^2. So one scalar recursion predicts a whole regime: the `ibd_*` functions
return G_0 ... G_g for generations 0 to `num_generations`, model 0 being fitted to `num_real` real points.
Everything is jit- and vmap-able in its sizes, weights and fractions; `num_generations` is static. Under jit and in
float32, 1 - G of a G near 1 is a matter of few digits: call these functions with numbers, where they are float64.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Float

from collapse_jax.theory import stable
from collapse_jax.theory.law import COUNT, FITS, LENGTH, PLURAL, SHARE, SIZE, Domain, law, reals, require
from collapse_jax.types import Array, ArrayLike

Descent = Float[Array, " num_generations_plus_1"]


@law(num_fits=FITS, num_samples=SIZE)
def replace_variance(num_fits: ArrayLike, num_samples: ArrayLike) -> Float[Array, "..."]:
    """Return E Var_n / Var_0 = (1 - 1/M)^n under `replace`, for moment-exact fits with the MLE covariance.

    Exact for every n and M, and for mixtures whatever the number of components and of EM steps. The
    mean of finitely many runs follows it only while `replace_variance_error` is small.

    Args:
        num_fits: n = generation + 1.
        num_samples: M, the same in every generation.

    Reference: Alemohammad et al. (2023), eq. 1, for the Gaussian; by identity by descent for the rest.

    >>> round(float(replace_variance(20, 100)), 4)
    0.8179
    """
    fits, size = reals(num_fits, num_samples)
    return stable.kept(fits, 1 / size)


@law(num_fits=FITS, num_samples=PLURAL, num_seeds=SIZE)
def replace_variance_error(
    num_fits: ArrayLike, num_samples: ArrayLike, num_seeds: ArrayLike
) -> Float[Array, "..."]:
    """Return the relative standard error of the mean variance of `num_seeds` Gaussian chains under `replace`.

    sqrt((((M + 1)/(M - 1))^n - 1) / R): it grows like e^(n/M), so long runs need log variances instead.

    >>> round(float(replace_variance_error(12, 1000, 64)), 4)
    0.0195
    """
    fits, size, seeds = reals(num_fits, num_samples, num_seeds)
    return jnp.sqrt(jnp.expm1(fits * jnp.log1p(2 / (size - 1))) / seeds)


@law(num_generations=LENGTH, num_real=SIZE, num_samples=SIZE)
def ibd_replace(num_generations: int, num_real: ArrayLike, num_samples: ArrayLike) -> Descent:
    """Return G under `replace`: 1 - G_g = (1 - 1/N0) prod (1 - 1/M_i).

    Args:
        num_generations: g, static.
        num_real: N0.
        num_samples: M, a number or one for each generation (a schedule).

    Shumailov et al. (2024) say the variance stays finite "only if M_i grows superlinearly"; the exact
    condition is sum 1/M_i < inf (M_i = i log i is superlinear and fails).

    >>> [round(float(g), 4) for g in ibd_replace(2, 10, 10)]
    [0.1, 0.19, 0.271]

    Reference: Wright (1931).
    """
    sizes = _schedule(num_samples, num_generations)
    kept = jnp.concatenate([jnp.log1p(-1.0 / jnp.asarray(num_real, float))[None], jnp.log1p(-1.0 / sizes)])
    return -jnp.expm1(jnp.cumsum(kept))


@law(num_generations=LENGTH, num_real=SIZE, num_samples=SIZE)
def ibd_accumulate(num_generations: int, num_real: ArrayLike, num_samples: ArrayLike) -> Descent:
    """Return G under `accumulate`: 1 - G falls by the factor 1 - m_t / N_t^2, N_t the pool's size.

    With batches of one size M the limit of 1 - G is sin(pi/sqrt M)/(pi/sqrt M), so M G -> pi^2/6 only as M
    grows (1.605 at M = 20). A growing pool converges iff sum m_t / N_t^2 < inf.

    Args:
        num_generations: g, static.
        num_real: N0.
        num_samples: M, a number or one for each generation (growing batches).

    Reference: Gerstgrasser et al. (2024); Dey and Donoho (2024) for pi^2/6.
    """
    sizes = _schedule(num_samples, num_generations)
    batches = jnp.concatenate([jnp.asarray(num_real, float)[None], sizes])
    pool = jnp.cumsum(batches)
    return -jnp.expm1(jnp.cumsum(jnp.log1p(-batches / pool**2)))


@law(num_generations=LENGTH, num_samples=SIZE)
def ibd_accumulate_subsample(num_generations: int, num_samples: ArrayLike) -> Descent:
    """Return G under `compose(accumulate(), subsample(M))` with N0 = M: bounded, M G -> pi^2/2 - 2.

    F, for two members of the pool of t batches: 1 - F' = (1 - F)(1 - (3M - 1)/((t+1)M ((t+1)M - 1))).

    Reference: the regime of Kazdan et al. (2024).
    """
    size = jnp.asarray(num_samples, float)
    rounds = jnp.arange(1, num_generations + 1) + 1.0
    losses = (3 - 1 / size) / (rounds * (rounds * size - 1))
    return -jnp.expm1(jnp.cumsum(jnp.log1p(-jnp.concatenate([1 / size[None], losses]))))


@law(num_generations=LENGTH, num_real=SIZE, fresh=COUNT, synthetic=COUNT)
def ibd_fresh_counts(
    num_generations: int, num_real: ArrayLike, fresh: ArrayLike, synthetic: ArrayLike
) -> Descent:
    """Return G when every fit sees `fresh` new real and `synthetic` points: G' = 1/N + n_s (n_s - 1) G / N^2.

    Bounded for any amount of synthetic data: G* = N / (N^2 - n_s^2 + n_s) -> 1/(2 n_r + 1).

    Reference: the fresh data loop of Alemohammad et al. (2023).
    """
    real, fresh, synthetic = reals(num_real, fresh, synthetic)
    total, start = fresh + synthetic, 1 / real
    require(total > 0, "`fresh` and `synthetic` must not both be 0: a fit needs points.")
    return _iterate(num_generations, start, (1 / total, 0.0, synthetic * (synthetic - 1) / total**2))


@law(num_generations=LENGTH, num_real=SIZE, num_samples=SIZE, fraction=SHARE)
def ibd_fresh_fraction(
    num_generations: int, num_real: ArrayLike, num_samples: ArrayLike, fraction: ArrayLike
) -> Descent:
    """Return G when each of M points is new real data with probability r: G' = 1/M + (1 - 1/M)(1 - r)^2 G."""
    real, size, fraction = reals(num_real, num_samples, fraction)
    return _iterate(num_generations, 1 / real, (1 / size, 0.0, (1 - 1 / size) * (1 - fraction) ** 2))


@law(num_generations=LENGTH, num_real=SIZE, synthetic=COUNT)
def ibd_add_original(num_generations: int, num_real: ArrayLike, synthetic: ArrayLike) -> Descent:
    """Return G under `add_real(original())`: the fixed real set beside `synthetic` points in every fit.

    C, for a draw from the model and a real point: C' = 1/N + (n_s/N) C;
    G' = 1/N + (2 n_r n_s C + n_s (n_s - 1) G)/N^2. The limit, (n_r + 3 n_s)/(n_r^2 + 2 n_r n_s + n_s), is at most
    3/(2 n_r + 1): Alemohammad et al. (2023) say that fixed real data only delay collapse; in the
    moment-exact model they bound the error at one half more than real data alone.
    """
    real, synthetic = reals(num_real, synthetic)
    total = real + synthetic
    pairs = 1 / total, 2 * real * synthetic / total**2, synthetic * (synthetic - 1) / total**2
    return _iterate(num_generations, 1 / real, pairs, (1 / total, synthetic / total))


@law(num_generations=LENGTH, num_real=SIZE, num_samples=SIZE, kept=COUNT)
def ibd_original_counts(
    num_generations: int, num_real: ArrayLike, num_samples: ArrayLike, kept: ArrayLike
) -> Descent:
    """Return G under `replace_with_real(original(), count=a)`: a of M slots hold distinct real points.

    C' = (a/M)/N0 + (b/M) C; G' = 1/M + (2 a b C + b (b - 1) G)/M^2, b = M - a. Ten per cent of N0 = M: 6.21/M.

    Reference: setting B of Shumailov et al. (2024).
    """
    real, size, kept = reals(num_real, num_samples, kept)
    _fits_in(kept, size, real)
    rest = size - kept
    pairs = 1 / size, 2 * kept * rest / size**2, rest * (rest - 1) / size**2
    return _iterate(num_generations, 1 / real, pairs, (kept / size / real, rest / size))


@law(num_generations=LENGTH, num_real=SIZE, num_samples=SIZE, fraction=SHARE)
def ibd_original_fraction(
    num_generations: int, num_real: ArrayLike, num_samples: ArrayLike, fraction: ArrayLike
) -> Descent:
    """Return G under `replace_with_real(original(), fraction=r)`: each slot is real with probability r.

    C' = r/N0 + (1 - r) C; G' = 1/M + (1 - 1/M)(2 r (1 - r) C + (1 - r)^2 G), for M <= N0.
    """
    real, size, fraction = reals(num_real, num_samples, fraction)
    require(
        size <= real,
        "`num_samples` must be at most `num_real`: the law holds while no real point is drawn twice.",
    )
    rest, distinct = 1 - fraction, 1 - 1 / size
    pairs = 1 / size, distinct * 2 * fraction * rest, distinct * rest**2
    return _iterate(num_generations, 1 / real, pairs, (fraction / real, rest))


@law(num_generations=LENGTH, num_real=SIZE, weight=SHARE, fresh=SIZE, synthetic=SIZE)
def ibd_weight_fresh(
    num_generations: int, num_real: ArrayLike, weight: ArrayLike, fresh: ArrayLike, synthetic: ArrayLike
) -> Descent:
    """Return G under `weight_real(fresh(sampler), weight=w, count=n)`: G' = w^2/n + (1 - w)^2 (1/m + (1 - 1/m) G).

    Reference: the mixed loop of He et al. (2025).
    """
    real, weight, fresh, synthetic = reals(num_real, weight, fresh, synthetic)
    rest = (1 - weight) ** 2
    pairs = weight**2 / fresh + rest / synthetic, 0.0, rest * (1 - 1 / synthetic)
    return _iterate(num_generations, 1 / real, pairs)


@law(num_generations=LENGTH, num_real=SIZE, weight=SHARE, synthetic=SIZE)
def ibd_weight_original(
    num_generations: int, num_real: ArrayLike, weight: ArrayLike, synthetic: ArrayLike
) -> Descent:
    """Return G under `weight_real(original(), weight=w)`: the fixed real set carries the share w.

    C' = w/N0 + (1 - w) C; G' = w^2/N0 + 2 w (1 - w) C + (1 - w)^2 (1/m + (1 - 1/m) G). No share beats w = 1.
    """
    real, weight, synthetic = reals(num_real, weight, synthetic)
    rest = 1 - weight
    pairs = weight**2 / real + rest**2 / synthetic, 2 * weight * rest, rest**2 * (1 - 1 / synthetic)
    return _iterate(num_generations, 1 / real, pairs, (weight / real, rest))


@law(num_generations=LENGTH, num_samples=SIZE, num_batches=Domain(1.0, integer=True, static=True))
def ibd_window(num_generations: int, num_samples: ArrayLike, num_batches: int) -> Descent:
    """Return G under `window(k)` with N0 = M, by the recursion of batch-by-batch identities.

    F_ij, for distinct members of batches i and j; a draw from the model is a uniform member of the last k
    batches. k = 1 is `replace`, k > g is `accumulate`; in between G still goes to 1.
    """
    return _window(num_generations, num_batches, *reals(num_samples))


@law(ratio=Domain(0.0, high_closed=True))
def he_optimal_weight(ratio: ArrayLike) -> Array:
    """Return the best share of fresh real data, w* = (sqrt(k^2 + 4 k) - k)/2, k = n_real/n_synthetic.

    The golden ratio's reciprocal, 0.618, at k = 1. Exact for the mean of known variance with one fresh real
    batch in every generation; the MLE variance agrees to O(1/m). With a fixed real set no share beats 1.

    Reference: He et al. (2025).

    >>> round(float(he_optimal_weight(1.0)), 4)
    0.618
    """
    return 2 / (1 + jnp.sqrt(1 + 4 / jnp.asarray(ratio, float)))


def _schedule(num_samples: ArrayLike, num_generations: int) -> Array:
    (sizes,) = reals(num_samples)
    fits = sizes.shape in ((), (num_generations,))
    require(fits, f"`num_samples` must be one size, or one for each of the {num_generations} generations.")
    return jnp.broadcast_to(sizes, (num_generations,))


def _fits_in(kept: Array, size: Array, real: Array) -> None:
    require(kept <= size, "`kept` must be at most `num_samples`, the slots there are.")
    require(kept <= real, "`kept` must be at most `num_real`: the kept points are distinct.")


@functools.partial(jax.jit, static_argnums=0)
def _iterate(
    num_generations: int,
    start: ArrayLike,
    pairs: tuple[ArrayLike, ArrayLike, ArrayLike],
    crossed: tuple[ArrayLike, ArrayLike] = (0.0, 0.0),
) -> Descent:
    """Return G from G' = p + q C + r G and C' = c + d C, both from `start`; pairs = (p, q, r), crossed = (c, d)."""
    base, with_real, among = reals(*pairs)
    arrived, carried = reals(*crossed)

    def body(state: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        cross, g = state
        after = base + with_real * cross + among * g
        return (arrived + carried * cross, after), after

    (first,) = reals(start)
    _, later = jax.lax.scan(body, (first, first), None, num_generations)
    return jnp.concatenate([first[None], later])


@functools.partial(jax.jit, static_argnums=(0, 1))
def _window(num_generations: int, num_batches: int, size: Array) -> Descent:
    def step(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        shared, alive = carry  # F [k, k], newest last; 1 for batches that exist
        within = (
            shared + jnp.eye(num_batches) * (1 - jnp.diagonal(shared)) / size
        )  # two draws may be one member
        weight = alive / jnp.sum(alive)
        with_each = within @ weight
        g = weight @ with_each
        shifted = jnp.zeros_like(shared).at[:-1, :-1].set(shared[1:, 1:])
        shifted = shifted.at[-1, :-1].set(with_each[1:]).at[:-1, -1].set(with_each[1:]).at[-1, -1].set(g)
        return (shifted, jnp.concatenate([alive[1:], jnp.ones(1)])), g

    alive = jnp.zeros(num_batches).at[-1].set(1.0)
    _, identities = jax.lax.scan(
        step, (jnp.zeros((num_batches, num_batches)), alive), None, num_generations + 1
    )
    return identities
