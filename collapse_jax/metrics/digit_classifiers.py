"""Classifiers as judges of generated digits: what do people see in them, and is it what real digits show?

Five small nets, trained once on real digits, give the class histogram, how sure and how unanimous they are, and
features in which sets of images are compared.
"""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Integer

from collapse_jax import datasets
from collapse_jax.core.protocol import Metric, Snapshot
from collapse_jax.datasets.mnist import Digits, load_mnist
from collapse_jax.files.arrays import check_members
from collapse_jax.files.reading import open_file
from collapse_jax.metrics.samples import frechet, precision_and_recall
from collapse_jax.networks.classifier import Classifier, init_classifier, shifted
from collapse_jax.networks.training import adam, train
from collapse_jax.networks.vae import Linear
from collapse_jax.types import Array, Key

NUM_JUDGES = 5
NUM_HELD_OUT = 2000  # the last embedded digits, which the shipped judges have not seen and are examined on
SURE = 0.9  # a judge is sure of a class from this probability on
JUDGEMENTS = (
    "posterior_entropy", "unanimous_share", "frechet_distance", "precision", "recall",
    *(f"class_{digit}" for digit in range(10)),
)  # fmt: skip


class DigitClassifiers(NamedTuple):
    """An ensemble of classifiers, stacked along the first axis, and real images for comparison.

    Attributes:
        nets: params with a leading axis of judges.
        accuracy: of each judge on held-out real digits.
        real_unanimous: share of held-out real digits on which all are sure of the same class.
        real: features of held-out real digits under the first judge, [num, features].
    """

    nets: Classifier
    accuracy: Float[Array, " judges"]
    real_unanimous: Float[Array, ""]
    real: Float[Array, "num features"]


def train_judges(
    key: Key,
    images: Float[np.ndarray, "num pixels"],
    labels: Integer[np.ndarray, " num"],
    *,
    num_held_out: int = NUM_HELD_OUT,
    num_steps: int = 1200,
    batch_size: int = 128,
) -> DigitClassifiers:
    """Return judges trained on all but the last `num_held_out` images, which they are tested on.

    Raises:
        ValueError: fewer than two images for training or for the test.
    """
    if not 2 <= num_held_out <= len(images) - 2:
        raise ValueError(f"`num_held_out` must leave images for both, got {num_held_out} of {len(images)}.")
    known = len(images) - num_held_out
    nets = _fit(jax.random.split(key, NUM_JUDGES), jnp.asarray(images[:known]), jnp.asarray(labels[:known]),
                num_steps, batch_size)  # fmt: skip
    return examined(nets, images[known:], labels[known:])


def examined(
    nets: Classifier, images: Float[np.ndarray, "num pixels"], labels: Integer[np.ndarray, " num"]
) -> DigitClassifiers:
    """Return judges with what they make of real digits that they have not seen."""
    held_out, answers = jnp.asarray(images), jnp.asarray(labels)
    log_probs = jax.jit(jax.vmap(lambda net: net.log_probs(held_out)))(nets)
    accuracy = jnp.mean(jnp.argmax(log_probs, axis=-1) == answers[None], axis=1)
    features = jax.jit(lambda net: net.embed(held_out))(_first(nets))
    return DigitClassifiers(nets, accuracy, unanimous(jnp.exp(log_probs)), features)


def save_judges(judges: DigitClassifiers, path: Path) -> None:
    """Write the judges' weights, in half precision."""
    arrays: dict[str, Any] = {
        str(index): np.asarray(leaf, np.float16) for index, leaf in enumerate(jax.tree.leaves(judges.nets))
    }
    np.savez_compressed(path, **arrays)


def load_classifiers(path: Path | None = None, held_out: Digits | None = None) -> DigitClassifiers:
    """Return judges from a file, examined on real images.

    Args:
        path: of the file, by default that of the package.
        held_out: images that neither they nor any model have seen, with labels; default the last 2,000 embedded digits,
            for models that are not fitted to those.
    """
    _, structure = jax.tree.flatten(Classifier(*[Linear(*jnp.zeros(2))] * 4))
    path = path or Path(datasets.__file__).parent / "files" / "judges.npz"
    with open_file(path) as file, np.load(file, allow_pickle=False) as stored:
        check_members(path, stored)
        leaves = [jnp.asarray(stored[str(index)], jnp.float32) for index in range(len(stored.files))]
    nets = jax.tree.unflatten(structure, leaves)
    if held_out is None:
        digits = load_mnist()
        held_out = Digits(digits.images[-NUM_HELD_OUT:], digits.labels[-NUM_HELD_OUT:])
    return examined(nets, held_out.images, held_out.labels)


@partial(jax.jit, static_argnums=(3, 4))
def _fit(keys: Array, images: Array, labels: Array, num_steps: int, batch_size: int) -> Classifier:
    def loss(key: Key, net: Classifier, batch: tuple[Array, Array]) -> tuple[Array, dict[str, Array]]:
        shown, answers = batch
        log_probs = net.log_probs(shifted(key, shown))
        value = -jnp.mean(jnp.take_along_axis(log_probs, answers[:, None], axis=1))
        return value, {"loss": value}

    def batch(key: Key) -> tuple[Array, Array]:
        rows = jax.random.randint(key, (batch_size,), 0, images.shape[0])
        return images[rows], labels[rows].astype(jnp.int32)

    def one(key: Key) -> Classifier:
        key_init, key_train = jax.random.split(key)
        # a rate that falls to 0 leaves sure judges: the last steps average over many batches
        optimizer = adam(optax.cosine_decay_schedule(4e-3, num_steps))
        return train(key_train, init_classifier(key_init), batch, loss, optimizer, num_steps)[0]

    return jax.vmap(one)(keys)


def classifier_metrics(judges: DigitClassifiers, num_images: int = 300) -> tuple[Metric, ...]:
    """Return what the judges say of each generation's images.

    Args:
        judges: from `train_judges`.
        num_images: generated images that each number is taken over.

    Returns:
        `judged`, the numbers that `JUDGEMENTS` names: `posterior_entropy` (nats), the mean entropy of the
        ensemble's posterior of an image; `unanimous_share`, of images of which every judge is sure of the same
        class; `frechet_distance` (squared feature units) between features of these and of held-out real images;
        `precision` and `recall` in these features; and `class_0` to `class_9`, the mean posterior. Beside it, the same
        for all generations, `judge_accuracy` and `real_unanimous_share`.

    Reference: Heusel et al. (2017) for the Frechet distance; Kynkaanniemi et al. (2019) for precision and recall.
    """

    real = judges.real[:num_images]

    def judge(key: Key, snapshot: Snapshot) -> Array:
        images = snapshot.synthetic.minibatch(key, num_images)
        # one judge after the other: all at once their patches would fill gigabytes
        log_probs = jax.lax.map(lambda net: net.log_probs(images), judges.nets)
        posterior = jnp.exp(log_probs)
        mean = jnp.mean(posterior, axis=0)
        entropy = -jnp.mean(jnp.sum(mean * jnp.log(jnp.maximum(mean, 1e-30)), axis=1))
        features = _first(judges.nets).embed(images)
        found = (
            entropy,
            unanimous(posterior),
            frechet(judges.real, features),
            *precision_and_recall(real, features),
        )
        return jnp.concatenate([jnp.stack(found), jnp.mean(mean, axis=0)])

    return (
        Metric("judged", ("judgement",), "see collapse_jax.metrics.digit_classifiers.JUDGEMENTS", judge),
        Metric("judge_accuracy", ("judge",), "1", lambda key, s: judges.accuracy),
        Metric("real_unanimous_share", (), "1", lambda key, s: judges.real_unanimous),
    )


def unanimous(posterior: Float[Array, "judges num classes"]) -> Float[Array, ""]:
    """Return the share of images of which every judge gives the same class more than `SURE`."""
    return jnp.mean(jnp.any(jnp.all(posterior > SURE, axis=0), axis=1))


def _first(nets: Classifier) -> Any:
    return jax.tree.map(lambda weight: weight[0], nets)
