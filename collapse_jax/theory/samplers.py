"""What a diffusion or flow model's sampler does to a Gaussian whose score it knows exactly.

The score of N(m, L) noised to signal a and noise s is -(x - a m) / (a^2 L + s^2), so every solver is a linear map of
x - a m, and one generation with infinite data takes a variance L to F(L): what the solver alone keeps or loses, before
any error of a net. L is the variance of one principal component, in the units that the net sees.

Schedules, from noise to data: "linear" (beta 1e-4 to 0.02 in 1,000 times; Ho et al. 2020), "cosine" (Nichol and
Dhariwal 2021), "flow" (x_t = t x + (1 - t) z; Lipman et al. 2023) and "edm" (a = 1, noise from 80 to 0.002 with rho 7,
then 0; Karras et al. 2022). Solvers: "ddim" (eta 0; Song et al. 2021), "ddpm" (noise of variance beta, none in the last
step), "ddpm-noisy" (in the last step, too), "ddpm-tilde" (the posterior's variance), "euler", "heun", and "exact", the
limit of infinitely many steps.
"""

import jax
import jax.numpy as jnp
import numpy as np

from collapse_jax.theory import stable
from collapse_jax.theory.law import (
    FITS,
    LENGTH,
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

SCHEDULES = ("linear", "cosine", "flow", "edm")
SOLVERS = ("ddim", "ddpm", "ddpm-noisy", "ddpm-tilde", "euler", "heun", "exact")
_TIMES = 1000  # of the schedules in discrete time
_MOST_NOISE, _LEAST_NOISE, _RHO = 80.0, 0.002, 7.0

_SOLVER, _SCHEDULE = Domain(choices=SOLVERS, static=True), Domain(choices=SCHEDULES, static=True)
_STEPS = Domain(2.0, 1e5, high_closed=True, integer=True, static=True)
_STOP = Domain(0.0, _MOST_NOISE, static=True)  # and below 1 for all schedules but edm's
_SAMPLER = {"solver": _SOLVER, "schedule": _SCHEDULE, "num_steps": _STEPS, "stop": _STOP}


@law(variance=NONNEGATIVE, **_SAMPLER)
def variance_drawn(
    variance: ArrayLike, solver: str = "ddim", schedule: str = "linear", num_steps: int = 100, stop: float = 0.0
) -> Array:
    """Return F(L), the variance of what the sampler draws by the exact score of a Gaussian of variance L.

    `stop` is the time at which the solver stops: a share of all times (linear, cosine), 1 - t (flow), the noise (edm).

    Reference: each solver is linear in x - a m; with G its factor of a step, v' = G^2 v + (noise of the step).
    """
    _check_pair(solver, schedule, stop)
    (known,) = reals(variance)
    signal, noise = _path(schedule, num_steps, stop)
    start = _MOST_NOISE**2 if schedule == "edm" else 1.0
    if solver == "exact":
        first, last = (signal[i] ** 2 * known + noise[i] ** 2 for i in (0, -1))
        return start * last / first
    factors, added = _steps(known, solver, signal, noise)

    def follow(value: Array, step: tuple[Array, Array]) -> tuple[Array, None]:
        return step[0] ** 2 * value + step[1], None

    return jax.lax.scan(follow, jnp.full(known.shape, start), (factors, added))[0]


@law(variance=POSITIVE, **_SAMPLER)
def variance_kept(
    variance: ArrayLike, solver: str = "ddim", schedule: str = "linear", num_steps: int = 100, stop: float = 0.0
) -> Array:
    """Return F(L) / L, the share of a direction's variance that one generation keeps; more than 1 is inflation."""
    return _drawn(variance, solver, schedule, num_steps, stop) / reals(variance)[0]


@law(variance=NONNEGATIVE, **_SAMPLER)
def mean_kept(
    variance: ArrayLike, solver: str = "ddim", schedule: str = "linear", num_steps: int = 100, stop: float = 0.0
) -> Array:
    """Return by what the sampler multiplies the mean of a direction of variance L: a - G a_T.

    G is the factor of x - a m over all steps, a and a_T the signal at the end and at the start: noise is drawn around
    0, not around a_T m.
    """
    _check_pair(solver, schedule, stop)
    (known,) = reals(variance)
    signal, noise = _path(schedule, num_steps, stop)
    if solver == "exact":
        first, last = (signal[i] ** 2 * known + noise[i] ** 2 for i in (0, -1))
        return signal[-1] - jnp.sqrt(last / first) * signal[0]
    return signal[-1] - jnp.prod(_steps(known, solver, signal, noise)[0], axis=0) * signal[0]


@law(variance=POSITIVE, **_SAMPLER)
def sampler_half_life(
    variance: ArrayLike, solver: str = "ddim", schedule: str = "linear", num_steps: int = 100, stop: float = 0.0
) -> Array:
    """Return after how many generations half of a variance is left at this rate; negative where it grows, else inf.

    The rate is that at L itself: as the variance falls, DDIM's losses grow; see `variance_after`.
    """
    rate = jnp.log(_drawn(variance, solver, schedule, num_steps, stop) / reals(variance)[0])
    return jnp.where(rate == 0, jnp.inf, jnp.log(0.5) / jnp.where(rate == 0, 1.0, rate))


@law(variance=NONNEGATIVE, num_generations=LENGTH, **_SAMPLER)
def variance_after(
    variance: ArrayLike, num_generations: int, solver: str = "ddim", schedule: str = "linear", num_steps: int = 100,
    stop: float = 0.0,
) -> Array:  # fmt: skip
    """Return F(F(...F(L))), the variance after n generations with infinite data: the sampler's null."""
    _check_pair(solver, schedule, stop)
    once = lambda _, value: _drawn(value, solver, schedule, num_steps, stop)  # noqa: E731
    return jax.lax.fori_loop(0, num_generations, once, reals(variance)[0])


@law(order=Domain(1.0, integer=True), stop=NONNEGATIVE, real_share=SHARE)
def hermite_fixed_point(order: ArrayLike, stop: ArrayLike, real_share: ArrayLike) -> Array:
    """Return what is left in the long run of the truth's Hermite mode k >= 1, sampling exactly down to time t_0.

    With a share al of real data in every generation: al q / (1 - (1 - al) q), q = e^(-k t_0), where time is that of
    the Ornstein-Uhlenbeck process, a = e^(-t), s^2 = 1 - e^(-2t). Fine features (large k) are lost the most.

    Reference: Khelifa, Turner and Venkataramanan (2026).
    """
    k, time, share = reals(order, stop, real_share)
    passed = jnp.exp(-k * time)
    left = -jnp.expm1(-k * time)  # 1 - (1 - al) q = (1 - q) + al q, without cancelling
    below = left + share * passed
    return jnp.where(below > 0, share * passed / jnp.where(below > 0, below, 1.0), 1.0)


@law(num_fits=FITS, num_samples=SIZE, variance=NONNEGATIVE, signal=SHARE, noise=NONNEGATIVE)
def kernel_score_variance(
    num_fits: ArrayLike, num_samples: ArrayLike, variance: ArrayLike, signal: ArrayLike, noise: ArrayLike
) -> Array:
    """Return E of the (MLE) variance of M points after n rounds of the exact empirical score, stopped at (a, s).

    A draw is a x_i + s z with x_i one of the points: v' = (1 - 1/M) (a^2 v + s^2), the law of a kernel density
    estimate of bandwidth s shrunk by a; with a = 1 and s = 0 the bootstrap's. `variance` is that of the first points.
    """
    fits, size, value, a, s = reals(num_fits, num_samples, variance, signal, noise)
    loss = (1 - a) * (1 + a) + a**2 / size  # 1 - (1 - 1/M) a^2
    return stable.kept(fits, loss) * value + (1 - 1 / size) * s**2 * stable.geometric_sum(fits, -loss)


@law(real_variance=POSITIVE, own_variance=POSITIVE, weight=NONNEGATIVE)
def negative_guidance_variance(real_variance: ArrayLike, own_variance: ArrayLike, weight: ArrayLike) -> Array:
    """Return the variance of the Gaussian whose score is (1 + w) s_real - w s_own: precisions extrapolate.

    1/v = (1 + w)/v_r - w/v_s, which must be positive. It is the score at the end of the path: a solver of the noised
    scores ends elsewhere.

    Reference: Alemohammad et al. (2024), SIMS, on Gaussians.
    """
    real, own, w = reals(real_variance, own_variance, weight)
    precision = (1 + w) / real - w / own
    require(precision > 0, "`weight` is too large: the extrapolated precision is not positive; lower it.")
    return 1 / precision


@law(weight=NONNEGATIVE, num_real=SIZE, num_samples=SIZE, bias=NONNEGATIVE)
def neon_variance(weight: ArrayLike, num_real: ArrayLike, num_samples: ArrayLike, bias: ArrayLike = 1.0) -> Array:
    """Return E v / sigma^2 of (1 + w) theta_real - w theta_own for a Gaussian's fitted (MLE) variance.

    The base is fitted to n real points, the other to M draws of it with sampling bias lam:
    (1 - 1/n)(1 + w (1 - lam (1 - 1/M))). At lam = 1 this is the bootstrap's correction of bias, and nothing else.

    Reference: Alemohammad et al. (2025), Neon, on Gaussians.
    """
    w, real, size, lam = reals(weight, num_real, num_samples, bias)
    return (1 - 1 / real) * (1 + w * ((1 - lam) + lam / size))


@law(num_real=Domain(1.0, low_closed=False), num_samples=SIZE, bias=NONNEGATIVE)
def neon_weight(num_real: ArrayLike, num_samples: ArrayLike, bias: ArrayLike = 1.0) -> Array:
    """Return the w at which `neon_variance` is 1: M / (n - 1) for lam = 1."""
    real, size, lam = reals(num_real, num_samples, bias)
    lost = (1 - lam) + lam / size
    require(lost > 0, "`bias` is too large: the own data do not lose variance, and no positive weight mends that.")
    return 1 / ((real - 1) * lost)


_drawn = variance_drawn.__wrapped__  # type: ignore[attr-defined]


def _check_pair(solver: str, schedule: str, stop: float) -> None:
    """Refuse a schedule that a solver does not take, and a time that a schedule does not have."""
    discrete = schedule in ("linear", "cosine")
    require(
        solver == "exact" or discrete == solver.startswith("dd"),
        f"`solver` '{solver}' does not take the `schedule` '{schedule}'; "
        f"give {'linear or cosine' if solver.startswith('dd') else 'flow or edm'}.",
    )
    require(schedule == "edm" or stop < 1, f"`stop` must be below 1 for the `schedule` '{schedule}', got {stop}.")


def _path(schedule: str, num_steps: int, stop: float) -> tuple[np.ndarray, np.ndarray]:
    if schedule == "flow":
        signal = np.linspace(0.0, 1 - stop, num_steps + 1)
        return signal, 1 - signal
    if schedule == "edm":
        inner = num_steps if stop else num_steps - 1
        ends = _MOST_NOISE ** (1 / _RHO), (stop or _LEAST_NOISE) ** (1 / _RHO)
        noise = (ends[0] + np.arange(inner + 1) / inner * (ends[1] - ends[0])) ** _RHO
        noise = noise if stop else np.append(noise, 0.0)
        return np.ones(num_steps + 1), noise
    signal, noise = _discrete_path(schedule)
    last = round(stop * _TIMES)
    left = np.arange(num_steps)[::-1]
    places = last + 1 + (2 * left * (_TIMES - 1 - last) + num_steps - 1) // (2 * (num_steps - 1))  # halves up
    places = np.append(places, last)
    return signal[places], noise[places]


def _discrete_path(schedule: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a and s at the 1,001 times of the "linear" or "cosine" schedule, from data to noise."""
    times = np.arange(_TIMES + 1)
    if schedule == "linear":
        beta = np.linspace(1e-4, 0.02, _TIMES)
    else:
        level = np.cos((times / _TIMES + 0.008) / 1.008 * np.pi / 2) ** 2
        beta = np.minimum(1 - level[1:] / level[:-1], 0.999)
    kept = np.concatenate([[0.0], np.cumsum(np.log1p(-beta))])
    return np.exp(kept / 2), np.sqrt(-np.expm1(kept))


def _steps(variance: Array, solver: str, signal: np.ndarray, noise: np.ndarray) -> tuple[Array, Array]:
    """Return the factor of x - a m in each step, and the variance of the noise that it adds, [num_steps, *shape]."""
    beta = np.zeros(len(signal) - 1) if signal[0] == 0 else 1 - (signal[:-1] / signal[1:]) ** 2
    a, a_next, s, s_next, beta = (jnp.asarray(part, variance.dtype).reshape(-1, *[1] * variance.ndim)
                                  for part in (signal[:-1], signal[1:], noise[:-1], noise[1:], beta))  # fmt: skip
    total = a**2 * variance + s**2
    towards, noise_part = a * variance / total, s / total  # of the estimates of x and of the noise
    none = jnp.zeros_like(total)
    if solver in ("ddim", "euler"):
        return a_next * towards + s_next * noise_part, none
    if solver == "heun":
        slope = (a_next - a) * towards + (s_next - s) * noise_part
        total = a_next**2 * variance + s_next**2
        total = jnp.where(total > 0, total, 1.0)
        after = (a_next - a) * a_next * variance / total + (s_next - s) * s_next / total
        is_euler = (a == a_next) & (s_next == 0)  # EDM's last step
        return 1 + jnp.where(is_euler, slope, (slope + after * (1 + slope)) / 2), none
    factor = (1 - beta / total) / jnp.sqrt(1 - beta)
    if solver == "ddpm-tilde":
        return factor, beta * s_next**2 / s**2 + none
    is_last = jnp.arange(len(signal) - 1).reshape(a.shape) == len(signal) - 2
    return factor, jnp.where(is_last & (solver == "ddpm"), 0.0, beta) + none
