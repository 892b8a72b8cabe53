"""Judges of digits: accurate on real ones, and their measures right on sets whose answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from collapse_jax.chain import Snapshot
from collapse_jax.data import Samples
from collapse_jax.datasets.mnist import load_mnist
from collapse_jax.judges import (
    JUDGEMENTS,
    frechet,
    judge_metrics,
    load_judges,
    precision_and_recall,
    train_judges,
    unanimous,
)

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def judges():
    digits = load_mnist()
    return train_judges(KEY, digits.images, digits.labels, num_steps=200)


def _measured(judges, images):
    data = Samples(jnp.asarray(images), jnp.ones(len(images)))
    snapshot = Snapshot(jnp.asarray(0), (), (), data, data)
    numbers = np.asarray(judge_metrics(judges, 200)[0].function(KEY, snapshot))
    return dict(zip(JUDGEMENTS, numbers, strict=True))


def test_they_know_real_digits_and_doubt_noise(judges):
    """After a sixth of the training they have in the study."""
    assert float(judges.accuracy.min()) > 0.93
    real = _measured(judges, load_mnist().images[-500:])
    noise = _measured(judges, np.random.default_rng(0).uniform(size=(500, 784)).astype(np.float32))
    blank = _measured(judges, np.zeros((500, 784), np.float32))
    assert real["unanimous_share"] > 0.7 and real["posterior_entropy"] < 0.5
    shares = np.array([real[f"class_{digit}"] for digit in range(10)])
    assert shares.min() > 0.03 and shares.sum() == pytest.approx(1, abs=1e-4)
    for other in (noise, blank):
        assert other["frechet_distance"] > 5 * real["frechet_distance"]
        assert other["precision"] < 0.2 < min(real["precision"], real["recall"])


def test_the_shipped_judges_meet_the_claims_protocol():
    """97 % right and unanimous on 95 % of digits they have not seen: what "unreadable" asks of its judges."""
    shipped = load_judges()
    assert float(shipped.accuracy.min()) >= 0.97 and float(shipped.real_unanimous) >= 0.95


def test_unanimity_asks_every_judge_for_the_same_class():
    sure, other = np.array([0.95, 0.05]), np.array([0.05, 0.95])
    votes = np.array([[sure, sure, [0.8, 0.2]], [sure, other, sure]])  # [judges, images, classes]
    assert float(unanimous(jnp.asarray(votes))) == pytest.approx(1 / 3)


@pytest.mark.parametrize("dim", [2, 5, 8])
def test_the_frechet_distance_is_its_formula(dim, x64):
    rng = np.random.default_rng(dim)
    one = rng.normal(size=(60, dim)) @ rng.normal(size=(dim, dim))
    other = rng.normal(size=(50, dim)) + 1
    covariances = np.cov(one.T), np.cov(other.T)
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    expected = ((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(
        covariances[0] + covariances[1] - 2 * root
    )
    assert float(frechet(jnp.asarray(one), jnp.asarray(other))) == pytest.approx(expected, rel=1e-6)


def test_a_set_is_at_distance_0_of_itself_and_a_point_allows_no_failure(x64):
    rows = jax.random.normal(KEY, (40, 6))
    assert float(frechet(rows, rows)) == pytest.approx(0, abs=1e-9)
    point = jnp.ones((40, 6))
    centred = rows - rows.mean(axis=0)
    expected = ((rows.mean(axis=0) - 1) ** 2).sum() + (centred**2).sum() / 39
    assert float(frechet(rows, point)) == pytest.approx(float(expected), rel=1e-9)


def test_precision_and_recall_of_half_a_set():
    """Made points cover one of two far clusters, real ones both: precise, half recalled; and the reverse."""
    key_one, key_two, key_three = jax.random.split(KEY, 3)
    near, far = jax.random.normal(key_one, (100, 3)), 100 + jax.random.normal(key_two, (100, 3))
    real, made = jnp.concatenate([near, far]), jax.random.normal(key_three, (100, 3))
    precision, recall = precision_and_recall(real, made)
    assert float(precision) > 0.9 and float(recall) == pytest.approx(0.5, abs=0.06)
    swapped = precision_and_recall(made, real)
    assert float(swapped[0]) == float(recall) and float(swapped[1]) == float(precision)


def test_too_few_images_are_refused():
    images, labels = np.zeros((5, 784), np.float32), np.zeros(5, int)
    with pytest.raises(ValueError, match="num_held_out"):
        train_judges(KEY, images, labels, num_held_out=4)
