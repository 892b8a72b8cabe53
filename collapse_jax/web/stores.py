"""What lies in a web: rows, or counts of them, each with who made it.

Label 0 is human, labels 1, 2, ... are labs, the last one is poison. A store is training data: a lab draws its own rows
from it. Rows know when they were born; counts do not, and cost the same at any size.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from collapse_jax.core.data import Samples
from collapse_jax.core.statistics import Sums
from collapse_jax.core.streams import as_column
from collapse_jax.numerics.hypergeometric import multivariate_hypergeometric
from collapse_jax.numerics.sampling import distinct_flags, least_with, weighted_indices
from collapse_jax.types import Array, ArrayLike, Key

HUMAN = 0


class RowStore(NamedTuple):
    """Rows of a web in a fixed number of slots.

    Attributes:
        rows: in data units; weight 1 where a slot is filled, 0 where it is empty.
        label: who made each.
        birth: the step at which each arrived.
        keep: what a detector leaves of each, in [0, 1].
    """

    rows: Samples
    label: Int[Array, " slots"]
    birth: Int[Array, " slots"]
    keep: Float[Array, " slots"]

    @property
    def num_rows(self) -> int:
        """Number of slots."""
        return self.rows.num_rows

    @property
    def total_weight(self) -> Array:
        """Number of rows."""
        return self.rows.total_weight

    def by_label(self, num_labels: int) -> Float[Array, " labels"]:
        """Return the number of rows of each label."""
        return jnp.zeros(num_labels).at[self.label].add(self.rows.weight)

    def draw(self, key: Key, num: ArrayLike, room: int, *, crawl: ArrayLike) -> Samples:
        """Return `num` rows, independent, in `room` slots.

        Args:
            key: randomness.
            num: how many; may be traced.
            room: how many at most.
            crawl: rows are drawn before the detector sees them, and what it leaves are fewer.
        """
        chosen = weighted_indices(key, jnp.where(crawl, self.rows.weight, self.rows.weight * self.keep), room)
        wanted = (jnp.arange(room) < num).astype(self.rows.weight.dtype)
        drawn = self.rows.take(chosen)
        return drawn._replace(weight=wanted * jnp.where(crawl, self.keep[chosen], 1.0))

    def delete(self, key: Key, num: Array, *, oldest_first: bool) -> "RowStore":
        """Return the store without `num` of its rows: uniform without replacement, or the oldest, ties at random."""
        live = self.rows.weight > 0
        if oldest_first:
            last = least_with(jnp.where(live, self.birth, jnp.iinfo(jnp.int32).max).astype(jnp.uint32), num)
            older, now = live & (self.birth < last), live & (self.birth == last)
            gone = older | distinct_flags(key, now, num - jnp.sum(older))
        else:
            gone = distinct_flags(key, live, num)
        return self._replace(rows=self.rows._replace(weight=jnp.where(live & ~gone, 1.0, 0.0)))

    def insert(self, rows: Samples, label: Int[Array, " num"], step: Array) -> "RowStore":
        """Return the store with the rows of weight 1 in empty slots; the caller has made room."""
        comes, empty = rows.weight > 0, self.rows.weight == 0
        # the r-th of the rows that come goes to the r-th empty slot: read by the slots, which is soon done on CPUs
        rank, num = jnp.cumsum(empty) - 1, rows.num_rows
        place = jnp.where(comes, jnp.cumsum(comes) - 1, num)
        coming = jnp.zeros(num, jnp.int32).at[place].set(jnp.arange(num, dtype=jnp.int32), mode="drop")
        filled, source = empty & (rank < jnp.sum(comes)), coming[jnp.minimum(rank, num - 1)]
        put = lambda held, new: jnp.where(as_column(filled, held), new[source], held)  # noqa: E731
        held = self.rows._replace(
            x=jax.tree.map(put, self.rows.x, rows.x), weight=jnp.where(filled, 1.0, self.rows.weight)
        )
        birth = jnp.where(filled, step, self.birth).astype(self.birth.dtype)
        return RowStore(held, put(self.label, label), birth, jnp.ones_like(self.keep))


class CountStore(NamedTuple):
    """How many rows of each kind are in a web, by who made them.

    Attributes:
        counts: whole numbers.
        keep: what a detector leaves of each, in [0, 1].
        soft: whether `keep` are weights, not chances to pass.
    """

    counts: Float[Array, "labels *cells"]
    keep: Float[Array, "labels *cells"]
    soft: Bool[Array, ""]

    @property
    def num_rows(self) -> int:
        """No slots."""
        return 0

    @property
    def total_weight(self) -> Array:
        """Number of rows."""
        return jnp.sum(self.counts)

    def by_label(self, num_labels: int) -> Float[Array, " labels"]:
        """Return the number of rows of each label."""
        return jnp.sum(self.counts.reshape(num_labels, -1), axis=1)

    def draw(self, key: Key, num: ArrayLike, room: int, *, crawl: ArrayLike) -> Sums:
        """Return the counts of `num` rows, independent; arguments as of `RowStore.draw`."""
        key_draw, key_keep = jax.random.split(key)
        if crawl is False:  # who made a row no longer matters: fewer cells to draw
            passed = jnp.sum(self.counts * self.keep, axis=0)
            shares = (passed / jnp.sum(passed)).reshape(-1)
            drawn = jax.random.multinomial(key_draw, jnp.asarray(num, shares.dtype), shares)
            return Sums(jnp.sum(drawn), drawn.reshape(passed.shape))
        shares = jnp.where(crawl, self.counts, self.counts * self.keep)
        shares = (shares / jnp.sum(shares)).reshape(-1)
        drawn = jax.random.multinomial(key_draw, jnp.asarray(num, shares.dtype), shares).reshape(self.counts.shape)
        passed = jnp.where(self.soft, drawn * self.keep, jax.random.binomial(key_keep, drawn, self.keep))
        drawn = jnp.where(crawl, passed, drawn)
        kept = jnp.sum(drawn, axis=0)
        return Sums(jnp.sum(kept), kept)

    def delete(self, key: Key, num: Array, *, oldest_first: bool) -> "CountStore":
        """Return the store without `num` of its rows, uniform without replacement."""
        return self._replace(counts=self.counts - multivariate_hypergeometric(key, self.counts, num))

    def insert(self, rows: Sums, label: Int[Array, " num"], step: Array) -> "CountStore":
        """Return the store with counts [num, *cells] added to those of their labels."""
        return self._replace(
            counts=self.counts.at[label].add(rows.values), keep=jnp.ones_like(self.keep), soft=jnp.asarray(False)
        )


class PerLab(NamedTuple):
    """Data of several labs, a lab in each row of every array.

    Attributes:
        data: `Samples` [labs, num, ...] or `Sums` [labs, ...], in data units.
    """

    data: Any

    @property
    def num_labs(self) -> int:
        """How many labs there are."""
        return int(self.data.weight.shape[0])

    @property
    def num_rows(self) -> int:
        """Slots of a lab; 0 for counts."""
        return int(self.data.weight.shape[1]) if isinstance(self.data, Samples) else 0

    @property
    def total_weight(self) -> Array:
        """How many points the data of all labs stand for."""
        return jnp.sum(self.data.weight)

    def of(self, lab: ArrayLike) -> Any:
        """Return the data of one lab."""
        return jax.tree.map(lambda a: a[lab], self.data)


def drawn_from(data: Any, key: Key, num: ArrayLike, room: int, *, crawl: ArrayLike) -> Any:
    """Return what a lab draws for itself: from a store, or from data without labels.

    Raises:
        TypeError: data that have neither rows nor counts.
    """
    if isinstance(data, RowStore | CountStore):
        return data.draw(key, num, room, crawl=crawl)
    if isinstance(data, Samples):
        slots = data.num_rows
        every = jnp.zeros(slots, jnp.int32)
        return RowStore(data, every, every, jnp.ones(slots)).draw(key, num, room, crawl=False)
    if isinstance(data, Sums) and getattr(data.values, "ndim", 0) > 0:
        one = data.values[None]
        return CountStore(one, jnp.ones_like(one), jnp.asarray(False)).draw(key, num, room, crawl=False)
    raise TypeError(
        f"labs draw rows of their own from single points or counts, got {type(data).__name__}; use a model that draws "
        "points, or counts of labels."
    )

