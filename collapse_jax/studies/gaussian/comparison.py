"""The regimes that the Gaussian study sets side by side, each with the recursion that predicts it."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from collapse_jax import theory
from collapse_jax.core.protocol import Regime
from collapse_jax.core.regimes import (
    accumulate,
    add_real,
    compose,
    fresh,
    original,
    replace,
    replace_with_real,
    subsample,
    weight_real,
    window,
)
from collapse_jax.models.gaussian import gaussian_truth
from collapse_jax.studies.gaussian.config import GaussianConfig
from collapse_jax.types import Array


class Compared(NamedTuple):
    """A regime of the comparison: what it is, whether it needs single points, and its predicted G."""

    regime: Callable[[], Regime]
    needs_points: bool
    identity: Callable[[], Array]


def compared_regimes(config: GaussianConfig) -> dict[str, Compared]:
    """Return the regimes of the comparison by name, each with the recursion that predicts it."""
    m, g = config.regime_samples, config.regime_generations
    tenth, half = max(m // 10, 1), max(m // 2, 1)
    truth = gaussian_truth(1)
    best = float(theory.he_optimal_weight(1.0))
    return {
        "replace": Compared(replace, False, lambda: theory.ibd_replace(g, m, m)),
        "window of 5": Compared(lambda: window(5), False, lambda: theory.ibd_window(g, m, 5)),
        "accumulate": Compared(lambda: accumulate(g), False, lambda: theory.ibd_accumulate(g, m, m)),
        "accumulate, subsample M": Compared(
            lambda: compose(accumulate(g), subsample(m)), True, lambda: theory.ibd_accumulate_subsample(g, m)
        ),
        "10 % of the original kept": Compared(
            lambda: replace_with_real(original(), count=tenth), True, lambda: theory.ibd_original_counts(g, m, m, tenth)
        ),
        "each point fresh, 10 %": Compared(
            lambda: replace_with_real(fresh(truth.sample), fraction=0.1), True,
            lambda: theory.ibd_fresh_fraction(g, m, m, 0.1),
        ),
        "original added": Compared(lambda: add_real(original()), False, lambda: theory.ibd_add_original(g, m, m)),
        "M/2 fresh added": Compared(
            lambda: add_real(fresh(truth.moments), count=half), False, lambda: theory.ibd_fresh_counts(g, m, half, m)
        ),
        "original weighted 0.3": Compared(
            lambda: weight_real(original(), weight=0.3), False, lambda: theory.ibd_weight_original(g, m, 0.3, m)
        ),
        "M fresh weighted 0.618": Compared(
            lambda: weight_real(fresh(truth.moments), weight=best, count=m), False,
            lambda: theory.ibd_weight_fresh(g, m, best, m, m),
        ),
    }  # fmt: skip


def predicted_variance(config: GaussianConfig) -> dict[str, np.ndarray]:
    """Return E v_g / v_0 of every compared regime, generations 0 to `regime_generations`."""
    return {
        name: 1 - np.asarray(compared.identity(), float)
        for name, compared in compared_regimes(config).items()
    }
