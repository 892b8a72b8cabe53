"""What the estimands of claims have in common: seeds without a value, how far a run came, tails of a law."""

import math
from typing import Any

import numpy as np
import xarray as xr


def happened(values: Any, condition: Any) -> np.ndarray:
    """Return 1 where a condition on values is met, 0 where not, NaN where there is no value.

    >>> happened([1.0, 3.0, math.nan], np.array([1.0, 3.0, math.nan]) < 2).tolist()
    [1.0, 0.0, nan]
    """
    return np.where(np.isnan(np.asarray(values, float)), np.nan, np.asarray(condition, float))


def last_reached(values: xr.DataArray) -> int:
    """Return the last generation at which some seed has a finite value, -1 for none.

    One seed that turned NaN does not end the run for the others; of an interrupted run the rest is NaN.
    """
    by_generation = values.transpose("generation", ...)
    some = np.isfinite(by_generation.values).reshape(values.sizes["generation"], -1).any(axis=1)
    return int(values["generation"].values[some].max(initial=-1))


def upper_tail(values: np.ndarray, share: float, least: int = 1) -> tuple[np.ndarray, float]:
    """Return an edge that about a share of values lie above, and the share expected of further draws.

    The edge is the k-th largest of N values, k = `share` (N + 1) rounded up: a further draw of the same law
    lies above it with probability k/(N + 1), whatever the law, where a quantile of the N values would let
    through another, unknown share. Equal values do not lie above it, so the share of a law with atoms is less.

    Args:
        values: [..., N], finite, independent draws of one law along the last axis; for N = 0 both results are NaN.
        share: in (0, 1).
        least: smallest k.

    >>> edge, expected = upper_tail(np.arange(99.0), 0.05)
    >>> float(edge), expected
    (94.0, 0.05)
    """
    num = values.shape[-1]
    if num == 0:
        return np.full(values.shape[:-1], math.nan), math.nan
    rank = min(max(math.ceil(share * (num + 1) - 1e-9), least), num)
    return np.sort(values, axis=-1)[..., num - rank], rank / (num + 1)
