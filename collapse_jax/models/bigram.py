"""A bigram table refitted to the transitions that it generated.

Row a of the table is a categorical distribution refitted to its own draws; rows that a generation does not
visit keep their old value, so the support can only shrink.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from collapse_jax.core.protocol import Metric, Model
from collapse_jax.core.statistics import Sums, need_sums
from collapse_jax.numerics.sampling import weighted_indices
from collapse_jax.types import Array, ArrayLike, Key
from collapse_jax.validation import check_choice, check_count, check_float32_count, check_numbers


def bigram(vocabulary: int, *, draws: str = "path") -> Model:
    """Return the model of a bigram table fitted by counting transitions.

    Args:
        vocabulary: V.
        draws: "path", one sequence of `num_samples` transitions from a uniform start; "pairs", that many
            independent transitions from uniform contexts; or "visits", `num_samples` from each context.
            On one path n_ab / n_a is a biased estimate of p_ab, so row heterozygosity does not follow
            (1 - 1/n) exactly.

    Raises:
        ValueError: an option out of range.
    """
    check_count("vocabulary", vocabulary, minimum=2)
    check_choice("draws", draws, ("path", "pairs", "visits"))

    def init(key: Key, real: Sums) -> Array:
        return jnp.full((vocabulary, vocabulary), 1.0 / vocabulary)

    def fit(key: Key, table: Array, data: Sums) -> tuple[Array, dict[str, Array]]:
        need_sums(data, table, "bigram()")
        visits = jnp.sum(data.values, axis=1, keepdims=True)
        fitted = jnp.where(visits > 0, data.values / jnp.where(visits > 0, visits, 1.0), table)
        return fitted, {"support": jnp.sum(fitted > 0).astype(jnp.int32)}

    def sample(key: Key, table: Array, num_samples: Any) -> Sums:
        return _as_data(draw_transitions(key, table, num_samples, draws))

    return Model(init, fit, sample)


def draw_transitions(
    key: Key, table: Float[Array, "V V"], num: int, draws: str = "path"
) -> Float[Array, "V V"]:
    """Return counts of transitions drawn from a table; `draws` as in `bigram`."""
    check_choice("draws", draws, ("path", "pairs", "visits"))
    vocabulary = table.shape[0]
    if draws == "visits":
        check_float32_count(num)
        rows = jax.vmap(lambda k, row: jax.random.multinomial(k, jnp.asarray(num, float), row))
        return rows(jax.random.split(key, vocabulary), table)
    if draws == "pairs":
        cells = weighted_indices(key, (table / vocabulary).reshape(-1), num)
        return jnp.zeros(vocabulary**2).at[cells].add(1.0).reshape(vocabulary, vocabulary)
    key_start, key_path = jax.random.split(key)
    edges = jnp.cumsum(table, axis=1)
    last = vocabulary - 1 - jnp.argmax((table > 0)[:, ::-1], axis=1)

    def step(context: Array, point: Array) -> tuple[Array, tuple[Array, Array]]:
        # inverse CDF: one uniform a transition; rounding at the upper edge lands on the last word with weight
        word = jnp.minimum(jnp.sum(point * edges[context, -1] >= edges[context]), last[context])
        return word, (context, word)

    start = jax.random.randint(key_start, (), 0, vocabulary)
    _, (contexts, words) = jax.lax.scan(step, start, jax.random.uniform(key_path, (num,)))
    return jnp.zeros((vocabulary, vocabulary)).at[contexts, words].add(1.0)


def row_heterozygosity() -> Metric:
    """Return the metric 1 - sum_b p_ab^2, averaged over contexts a."""
    return Metric("row_heterozygosity", (), "1", lambda key, s: jnp.mean(1 - jnp.sum(s.params**2, axis=1)))


def table_metric() -> Metric:
    """Return the metric that keeps the table."""
    return Metric("table", ("context", "word"), "1", lambda key, snapshot: snapshot.params)


def known_table(table: ArrayLike, num: int, draws: str = "visits") -> Any:
    """Return the function key -> counts of `num` real transitions of a known table.

    Raises:
        ValueError: it is not square, a row is negative or does not sum to 1, or every row has only one word.
    """
    known = np.asarray(check_numbers("table", table), float)
    check_count("num", num)
    check_choice("draws", draws, ("path", "pairs", "visits"))
    if known.ndim != 2 or known.shape[0] != known.shape[1]:
        raise ValueError(f"`table` must be square, contexts by words, got shape {known.shape}.")
    if not (known >= 0).all() or not (np.abs(known.sum(axis=1) - 1) <= 1e-4).all():
        raise ValueError("every row of `table` must be non-negative and sum to 1; normalise the rows.")
    if (np.sum(known > 0, axis=1) < 2).all():
        raise ValueError(
            "every row of `table` has only one word, so no generation can change it; give some row two."
        )
    return lambda key: _as_data(draw_transitions(key, jnp.asarray(known, float), num, draws))


def _as_data(counts: Float[Array, "V V"]) -> Sums:
    return Sums(jnp.sum(counts), counts)
