"""When a variance that falls by more than drift does will have fallen so far, if its slope goes on changing as it did.

    b_t = a_t + noise,   a_(t+1) = a_t exp(c_t),   c_(t+1) = c_t + s normal,   c_0 = s normal,   s = .03, .1, .25 or .4

b_t = log V_(t-1) - log V_t is how far the log variance falls in a step. The noise is what drift and finite samples make
of it, and known. That a slope grows or fades by s or so, and by another s in the next generation, is an assumption,
under which autoencoders whose loss speeds up and others that come to rest are covered alike; a bias that is always the
same is covered too often. Random walks of c are weighed by how well the last steps fit, and drawn on.
"""

import math

import numpy as np

_MISFIT = 0.03  # of the slope: no loss is that smooth
_CHANGES = (0.03, 0.1, 0.25, 0.4)  # standard deviations, of the logarithm of the slope a generation
_BELIEFS = (0.02, 0.08, 0.4, 0.5)  # in each of them, before the steps are seen
_NUM_STEPS = 8  # the last ones, by which walks are weighed
_NUM_WALKS, _NUM_KEPT, _FARTHEST = (
    40_000,
    2000,
    400,
)  # those drawn, those drawn on, and for how many generations


def crossing_times(falls: np.ndarray, noise: float, left: float, levels: tuple[float, ...]) -> list[float]:
    """Return quantiles of how many generations it takes until the log variance has fallen by so much; inf: it does not.

    Args:
        falls: b_t of each step, nats.
        noise: variance of a step's noise, nats^2.
        left: how far it has to fall, nats.
        levels: of the quantiles.
    """
    rng = np.random.default_rng(0)
    slope, change, size = _walks(falls[-_NUM_STEPS:], noise, rng)
    fallen, times = np.zeros(_NUM_KEPT), np.full(_NUM_KEPT, math.inf)
    for generation in range(_FARTHEST):
        change = change + size * rng.standard_normal(_NUM_KEPT)
        slope = slope * np.exp(change)
        step = slope + math.sqrt(noise) * rng.standard_normal(_NUM_KEPT)
        crosses = np.isinf(times) & (fallen + step >= left)
        times[crosses] = generation + (left - fallen[crosses]) / step[crosses]
        fallen = np.minimum(fallen + step, 1e6)
        change, slope = np.clip(change, -3, 3), np.clip(slope, -1e6, 1e6)
    return [float(one) for one in np.quantile(times, levels, method="inverted_cdf")]


def _walks(
    falls: np.ndarray, noise: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return slopes now, how they change, and the size of changes, as likely as the last steps make them."""
    num_steps = len(falls)
    size = rng.choice(_CHANGES, _NUM_WALKS, p=_BELIEFS)
    steps = size[:, None] * rng.standard_normal((_NUM_WALKS, num_steps))
    changes = np.cumsum(steps, axis=1)  # the last is that from now on
    shape = np.ones((_NUM_WALKS, num_steps))
    for step in range(num_steps - 1, 0, -1):  # relative to the slope now
        shape[:, step - 1] = shape[:, step] * np.exp(-changes[:, step - 1])
    total = noise + (_MISFIT * float(np.mean(np.abs(falls)))) ** 2
    squares, along = np.sum(shape**2, axis=1), shape @ falls
    slope = along / squares  # least squares: nothing is known of the slope itself
    likelihood = 0.5 * along**2 / squares / total - 0.5 * np.log(squares)
    weights = np.exp(likelihood - likelihood.max())
    kept = rng.choice(_NUM_WALKS, _NUM_KEPT, p=weights / weights.sum())
    now = slope[kept] + np.sqrt(total / squares[kept]) * rng.standard_normal(_NUM_KEPT)
    return now, changes[kept, -1], size[kept]
