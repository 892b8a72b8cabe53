"""A categorical distribution refitted to its own counts: the Wright-Fisher model of population genetics.

p' = Multinomial(M, p) / M. A class that is not drawn is gone for good. Drawn as labels or as their counts.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from collapse_jax.core.data import Samples
from collapse_jax.core.data_checks import need_array
from collapse_jax.core.protocol import Metric, Model
from collapse_jax.core.statistics import Sums, need_sums
from collapse_jax.numerics.sampling import weighted_indices
from collapse_jax.types import Array, ArrayLike, Key
from collapse_jax.validation import (
    LARGEST_COUNT,
    check_count,
    check_float32_count,
    check_fraction,
    check_function,
    check_key,
    check_numbers,
    check_positive,
    is_concrete,
    shown,
    static_size,
)

Transform = Callable[[Float[Array, " K"]], Float[Array, " K"]]


def categorical(num_classes: int, *, transform: Transform | None = None) -> Model:
    """Return the model of a categorical distribution fitted by counting, which draws counts from the multinomial law.

    Args:
        num_classes: K.
        transform: probabilities -> probabilities used for drawing: `temperature`, `top_k`, `top_p`, `min_p`;
            default none.

    Returns:
        A model whose params are probabilities [K] and whose fit reports `support`, the classes left; M may be traced.

    Raises:
        ValueError: an option out of range; when drawn, counts beyond what float32 binomials can hold.

    >>> from collapse_jax import build_chain, replace
    >>> real = CategoricalTruth(jnp.array([0.5, 0.3, 0.2])).counts_sampler(100)
    >>> chain = build_chain(categorical(3), replace(), real, num_samples=100)
    >>> state, record = chain.init(jax.random.key(0))
    >>> round(float(state.params.sum()), 5), int(record["support"])
    (1.0, 3)
    """

    def sample(key: Key, params: Array, num_samples: ArrayLike) -> Sums:
        return count_sums(draw_counts(key, num_samples, _shown(params, transform)))

    return _fitted_by_counts(num_classes, transform, sample)


def categorical_points(num_classes: int, *, transform: Transform | None = None) -> Model:
    """Return the model of a categorical distribution that draws M labels; arguments and result as for `categorical`.

    Raises:
        ValueError: an option out of range.
    """

    def sample(key: Key, params: Array, num_samples: ArrayLike) -> Samples:
        labels = weighted_indices(key, _shown(params, transform), static_size(num_samples))
        return Samples(labels, jnp.ones(labels.shape[0]))

    return _fitted_by_counts(num_classes, transform, sample)


def _shown(params: Array, transform: Transform | None) -> Array:
    """Return the probabilities by which points are drawn."""
    return params if transform is None else transform(params)


def _fitted_by_counts(num_classes: int, transform: Transform | None, sample: Callable) -> Model:
    """Return the model that is fitted to labels or their counts, and draws by `sample`."""
    check_count("num_classes", num_classes)
    if transform is not None:
        check_function("transform", transform, "of probabilities, for example top_p(0.9)")

    def init(key: Key, real: Any) -> Array:
        return jnp.full(num_classes, 1.0 / num_classes)

    def fit(key: Key, params: Array, data: Any) -> tuple[Array, dict[str, Array]]:
        if isinstance(data, Samples):
            counts = count_labels(data, num_classes)
        else:
            need_sums(data, params, "categorical()")
            counts = data.values
        probabilities = counts / jnp.sum(counts)
        return probabilities, {"support": jnp.sum(probabilities > 0).astype(jnp.int32)}

    return Model(init, fit, sample)


def count_labels(samples: Samples, num_classes: int) -> Float[Array, " K"]:
    """Return the weight of each label; labels outside 0 ... K - 1 are left out."""
    need_array(samples, "categorical()", "labels, one integer a row", ndim=1, integers=True)
    known = jnp.where(samples.x < 0, num_classes, samples.x)  # a negative index would count from the end
    return jnp.zeros(num_classes).at[known].add(samples.weight, mode="drop")


def count_sums(counts: Float[Array, "*cells"]) -> Sums:
    """Return counts as a data set."""
    return Sums(jnp.sum(counts), counts)


def draw_counts(key: Key, num_samples: ArrayLike, probabilities: Float[Array, " K"]) -> Float[Array, " K"]:
    """Return multinomial counts.

    Raises:
        ValueError: `num_samples` is beyond what float32 binomials can hold, unless x64 is on.
    """
    check_float32_count(num_samples)
    return jax.random.multinomial(key, jnp.asarray(num_samples, probabilities.dtype), probabilities)


class CategoricalTruth:
    """A known categorical distribution.

    Args:
        probabilities: shape [K], not negative, sum 1.

    Raises:
        ValueError: they are negative, do not sum to 1, or leave only one class a chance.
    """

    def __init__(self, probabilities: ArrayLike) -> None:
        self.probabilities = jnp.asarray(check_numbers("probabilities", probabilities), float)
        if self.probabilities.ndim != 1:
            raise ValueError(
                f"`probabilities` must be one row, got shape {self.probabilities.shape}; give one for each class."
            )
        if is_concrete(self.probabilities):
            total = float(self.probabilities.sum())
            if not bool((self.probabilities >= 0).all()) or not abs(total - 1) <= 1e-4:
                raise ValueError(
                    f"`probabilities` must not be negative and must sum to 1, got sum {total:g}; normalise them."
                )
            if int((self.probabilities > 0).sum()) < 2:
                raise ValueError(
                    "`probabilities` put everything on one class, which no generation can leave; give at least two "
                    "classes a chance."
                )

    def counts_sampler(self, num: ArrayLike) -> Callable[[Key], Sums]:
        """Return the function key -> counts of `num` points."""
        check_count("num", num, maximum=LARGEST_COUNT)
        return lambda key: count_sums(draw_counts(key, num, self.probabilities))

    def sampler(self, num: int) -> Callable[[Key], Samples]:
        """Return the function key -> `num` labels."""
        check_count("num", num)
        return lambda key: self.sample(key, num)

    def sample(self, key: Key, num: int) -> Samples:
        """Return `num` labels."""
        check_key(key), check_count("num", num)
        return Samples(weighted_indices(key, self.probabilities, num), jnp.ones(num))


def temperature(tau: ArrayLike) -> Transform:
    """Return the transform p -> p^(1/tau) / Z.

    Raises:
        ValueError: `tau` is not positive.
    """
    check_positive("tau", tau)

    def transform(p: Array) -> Array:
        logits = jnp.where(p > 0, jnp.log(jnp.where(p > 0, p, 1.0)) / tau, -jnp.inf)
        return jax.nn.softmax(logits)

    return transform


def top_k(num_kept: int) -> Transform:
    """Return the transform that keeps the `num_kept` likeliest classes; applying it twice changes nothing."""
    check_count("num_kept", num_kept)

    def transform(p: Array) -> Array:
        rank = jnp.argsort(jnp.argsort(-p))  # ties go to the first
        kept = jnp.where(rank < num_kept, p, 0.0)
        return kept / jnp.sum(kept)

    return transform


def top_p(mass: float) -> Transform:
    """Return the nucleus transform: the fewest likeliest classes whose mass reaches `mass`.

    Not idempotent: iterated, it goes on until the least likely class left has more than 1 - mass.

    Reference: Holtzman et al. (2020).
    """
    if not np.all((check_numbers("mass", mass) > 0) & (np.asarray(mass) <= 1)):
        raise ValueError(f"`mass` must lie in (0, 1], got {shown(mass)}; 0.9 is usual.")

    def transform(p: Array) -> Array:
        order = jnp.argsort(-p)
        before = jnp.cumsum(p[order]) - p[order]
        # a class is kept while the mass before it is short of the target (to rounding); 1 keeps all
        kept_sorted = before < mass * (1 - 1e-6) if mass < 1 else p[order] > 0
        kept = jnp.where(jnp.zeros(p.shape, bool).at[order].set(kept_sorted), p, 0.0)
        return kept / jnp.sum(kept)

    return transform


def min_p(share: float) -> Transform:
    """Return the transform that keeps classes of at least `share` times the likeliest one's probability."""
    check_fraction("share", share)

    def transform(p: Array) -> Array:
        kept = jnp.where(p >= share * jnp.max(p), p, 0.0)
        return kept / jnp.sum(kept)

    return transform


def categorical_metrics() -> tuple[Metric, ...]:
    """Return what a categorical chain records.

    Returns:
        `heterozygosity`, 1 - sum p^2; `entropy` (nats); `probabilities`.
    """

    def entropy(p: Array) -> Array:
        return -jnp.sum(jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1.0)), 0.0))

    return (
        Metric("heterozygosity", (), "1", lambda key, s: 1 - jnp.sum(s.params**2)),
        Metric("entropy", (), "nats", lambda key, s: entropy(s.params)),
        Metric("probabilities", ("class",), "1", lambda key, s: s.params),
    )
