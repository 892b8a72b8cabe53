"""Closed forms for recursive training, each a function with its conditions and its source.

`identity_by_descent`: one recursion for the expected variance of every regime; `limits`: where they come to rest.
`gaussian`, `discrete`, `ancestry`, `regression`, `curation`, `samplers`: the rest, family by family; `pool`,
`filtering`, `watermarks`, `poison`: a web of many labs. n counts fits: model g of a chain has n = g + 1.

Called with numbers, a law checks that they lie in its domain (an attribute of the function), computes in float64 and
returns NumPy: the limit at an edge where there is one, otherwise a ValueError in one sentence. Under `jit` and `vmap`
it computes in JAX's precision, by forms that do not cancel in float32. `law`, `stable` and `matrices` are how.
"""

from collapse_jax.theory import (
    ancestry,
    curation,
    discrete,
    filtering,
    gaussian,
    identity_by_descent,
    limits,
    poison,
    pool,
    regression,
    samplers,
    watermarks,
)
from collapse_jax.theory.identity_by_descent import (
    he_optimal_weight,
    ibd_accumulate,
    ibd_accumulate_subsample,
    ibd_add_original,
    ibd_fresh_counts,
    ibd_fresh_fraction,
    ibd_original_counts,
    ibd_original_fraction,
    ibd_replace,
    ibd_weight_fresh,
    ibd_weight_original,
    ibd_window,
    replace_variance,
    replace_variance_error,
)

__all__ = [
    "ancestry",
    "curation",
    "discrete",
    "filtering",
    "gaussian",
    "he_optimal_weight",
    "ibd_accumulate",
    "ibd_accumulate_subsample",
    "ibd_add_original",
    "ibd_fresh_counts",
    "ibd_fresh_fraction",
    "ibd_original_counts",
    "ibd_original_fraction",
    "ibd_replace",
    "ibd_weight_fresh",
    "ibd_weight_original",
    "ibd_window",
    "identity_by_descent",
    "limits",
    "poison",
    "pool",
    "regression",
    "replace_variance",
    "replace_variance_error",
    "samplers",
    "watermarks",
]
