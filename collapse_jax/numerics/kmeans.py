"""k-means: the start of a mixture fit, seeded by k-means++ (Arthur and Vassilvitskii 2007)."""

import jax
import jax.numpy as jnp
from jaxtyping import Float

from collapse_jax.numerics.sampling import weighted_indices
from collapse_jax.types import Array, Key


def kmeans(
    key: Key, x: Float[Array, "n dim"], weight: Float[Array, " n"], num_clusters: int, max_steps: int = 100
) -> Float[Array, "K n"]:
    """Return hard responsibilities: 1 where row i belongs to cluster k.

    Lloyd's iteration, until the centres move by less than 1e-4 of the data's variance (scikit-learn's
    rule) or `max_steps`. A cluster that loses all its points keeps its centre.

    >>> x = jnp.array([[0.0], [0.1], [5.0], [5.1]])
    >>> labels = kmeans(jax.random.key(0), x, jnp.ones(4), 2)
    >>> bool(labels[0, 0] == labels[0, 1]), bool(labels[0, 0] == labels[0, 2])
    (True, False)
    """
    total = jnp.sum(weight)
    mean = jnp.sum(weight[:, None] * x, axis=0) / total
    tol = 1e-4 * jnp.mean(jnp.sum(weight[:, None] * (x - mean[None, :]) ** 2, axis=0) / total)

    def unfinished(carry: tuple) -> Array:
        _, moved, num_steps = carry
        return (moved > tol) & (num_steps < max_steps)

    def body(carry: tuple) -> tuple:
        centres, _, num_steps = carry
        member = _nearest(x, centres) * weight[None, :]
        counts = jnp.sum(member, axis=1)[:, None]
        sums = jnp.matmul(member, x, precision=jax.lax.Precision.HIGHEST)
        after = jnp.where(counts > 0, sums / jnp.where(counts > 0, counts, 1.0), centres)
        return after, jnp.sum((after - centres) ** 2), num_steps + 1

    first = (_seed_centres(key, x, weight, num_clusters), jnp.asarray(jnp.inf, x.dtype), jnp.asarray(0))
    centres, _, _ = jax.lax.while_loop(unfinished, body, first)
    return _nearest(x, centres)


def _seed_centres(key: Key, x: Array, weight: Array, num_clusters: int) -> Array:
    """Return k-means++ centres: each next one is a row drawn by its squared distance to the chosen."""
    keys = jax.random.split(key, num_clusters)
    centres = [x[weighted_indices(keys[0], weight, 1)[0]]]
    distance = jnp.sum((x - centres[0][None, :]) ** 2, axis=1)
    for k in range(1, num_clusters):
        # identical points everywhere leave no distance; then any row will do
        chances = jnp.where(jnp.sum(weight * distance) > 0, weight * distance, weight)
        centres.append(x[weighted_indices(keys[k], chances, 1)[0]])
        distance = jnp.minimum(distance, jnp.sum((x - centres[k][None, :]) ** 2, axis=1))
    return jnp.stack(centres)


def _nearest(x: Array, centres: Array) -> Array:
    distance = jnp.stack([jnp.sum((x - centre[None, :]) ** 2, axis=1) for centre in centres])
    labels = jnp.argmin(distance, axis=0)
    return (labels[None, :] == jnp.arange(centres.shape[0])[:, None]).astype(x.dtype)
