"""DigitClassifiers of digits: accurate on real ones, and their measures right on sets whose answer is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from collapse_jax.core.data import Samples
from collapse_jax.core.protocol import Snapshot
from collapse_jax.datasets.mnist import load_mnist
from collapse_jax.metrics.digit_classifiers import (
    JUDGEMENTS,
    classifier_metrics,
    load_classifiers,
    train_judges,
    unanimous,
)
from collapse_jax.metrics.samples import frechet
from collapse_jax.networks.classifier import shifted

KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def judges():
    digits = load_mnist()
    return train_judges(KEY, digits.images, digits.labels, num_steps=200)


@pytest.fixture(scope="module")
def measured(judges):
    """What the judges say of 500 images, by name."""

    @jax.jit
    def numbers(images):
        data = Samples(images, jnp.ones(500))
        return classifier_metrics(judges, 200)[0].function(KEY, Snapshot(jnp.asarray(0), (), (), data, data))

    return lambda images: dict(zip(JUDGEMENTS, np.asarray(numbers(images)), strict=True))


def test_they_know_real_digits_and_doubt_noise(judges, measured):
    """After a sixth of the training they have in the study."""
    assert float(judges.accuracy.min()) > 0.93
    real = measured(load_mnist().images[-500:])
    noise = measured(np.random.default_rng(0).uniform(size=(500, 784)).astype(np.float32))
    blank = measured(np.zeros((500, 784), np.float32))
    assert real["unanimous_share"] > 0.7 and real["posterior_entropy"] < 0.5
    shares = np.array([real[f"class_{digit}"] for digit in range(10)])
    assert shares.min() > 0.03 and shares.sum() == pytest.approx(1, abs=1e-4)
    for other in (noise, blank):
        assert other["frechet_distance"] > 5 * real["frechet_distance"]
        assert other["precision"] < 0.2 < min(real["precision"], real["recall"])


def test_the_shipped_judges_meet_the_claims_protocol():
    """97 % right and unanimous on 95 % of digits they have not seen: what "unreadable" asks of its judges."""
    shipped = load_classifiers()
    assert float(shipped.accuracy.min()) >= 0.97 and float(shipped.real_unanimous) >= 0.95


def test_judges_learn_nothing_of_the_digits_they_are_tested_on(monkeypatch):
    """Black images, of class 0, to learn from; half of the others are white, of a class that was never shown."""
    monkeypatch.setattr("collapse_jax.metrics.digit_classifiers.NUM_JUDGES", 1)
    is_white = np.arange(128) % 2 * (np.arange(128) >= 64)
    images = is_white[:, None] * np.ones((1, 784), np.float32)
    found = train_judges(KEY, images.astype(np.float32), is_white, num_held_out=64, num_steps=30, batch_size=32)
    assert found.accuracy.tolist() == [0.5] and found.real.shape[0] == 64


def test_a_judgement_is_what_its_parts_say_one_by_one():
    """The shipped judges on 0 to 4 alone: precise against all digits, and half recalled; NumPy for the rest."""
    judges, digits = load_classifiers(), load_mnist()
    images = digits.images[digits.labels < 5][:400]
    data = Samples(jnp.asarray(images), jnp.ones(len(images)))
    snapshot = Snapshot(jnp.asarray(0), (), (), data, data)
    metrics = classifier_metrics(judges, 200)
    told = dict(zip(JUDGEMENTS, np.asarray(metrics[0].function(KEY, snapshot), float), strict=True))
    shown = data.minibatch(KEY, 200)
    nets = [jax.tree.map(lambda leaf, i=i: leaf[i], judges.nets) for i in range(len(judges.accuracy))]
    posteriors = np.stack([np.exp(np.asarray(net.log_probs(shown), float)) for net in nets])
    mean = posteriors.mean(axis=0)
    assert told["posterior_entropy"] == pytest.approx(stats.entropy(mean, axis=1).mean(), rel=1e-3)
    assert told["unanimous_share"] == pytest.approx((posteriors > 0.9).all(axis=0).any(axis=1).mean())
    for digit in range(10):
        assert told[f"class_{digit}"] == pytest.approx(mean[:, digit].mean(), abs=1e-5)
    features = nets[0].embed(shown)
    assert told["frechet_distance"] == pytest.approx(float(frechet(judges.real, features)), rel=1e-4)
    assert told["precision"] > 0.75 > 0.6 > told["recall"] > 0.3
    for metric, value in zip(metrics[1:], (judges.accuracy, judges.real_unanimous)):
        np.testing.assert_array_equal(metric.function(KEY, snapshot), value)


def test_training_images_are_moved_by_a_pixel_either_way():
    """Nine places, all of them met and as often; what comes in is black."""
    images = jnp.zeros((9000, 16)).at[:, 5].set(1.0)  # row 1, column 1 of 4 x 4
    moved = np.asarray(shifted(KEY, images)).reshape(-1, 4, 4)
    assert (moved.sum(axis=(1, 2)) == 1).all()
    counts = moved.sum(axis=0)
    assert counts[3].sum() == counts[:, 3].sum() == 0
    assert stats.chisquare(counts[:3, :3].ravel()).pvalue > 1e-3  # sees a place off by a tenth
    corner = np.asarray(shifted(KEY, jnp.zeros((900, 16)).at[:, 0].set(1.0))).reshape(-1, 4, 4)
    assert set(corner.sum(axis=(1, 2))) == {0.0, 1.0} and corner[:, 2:].sum() == corner[:, :, 2:].sum() == 0


def test_unanimity_asks_every_judge_for_the_same_class():
    sure, other = np.array([0.95, 0.05]), np.array([0.05, 0.95])
    votes = np.array([[sure, sure, [0.8, 0.2]], [sure, other, sure]])  # [judges, images, classes]
    assert float(unanimous(jnp.asarray(votes))) == pytest.approx(1 / 3)
    assert [float(unanimous(jnp.full((2, 1, 1), sure))) for sure in (0.89, 0.91)] == [0, 1]


def test_images_of_few_classes_are_precise_and_recall_little(measured):
    """By name, as recorded: zeros and ones alone look real and are a fifth of what is; the whole is both."""
    digits = load_mnist()
    few = digits.images[:8000][digits.labels[:8000] < 2]
    found, whole = measured(few[:500]), measured(digits.images[:500])
    # 200 images: a share's standard error is at most 0.035
    assert found["precision"] > 0.7 and found["recall"] < 0.55, (found, whole)
    assert min(whole["precision"], whole["recall"]) > 0.7, whole
    assert found["class_0"] + found["class_1"] > 0.95 and found["class_7"] < 0.02


def test_too_few_images_are_refused():
    images, labels = np.zeros((5, 784), np.float32), np.zeros(5, int)
    with pytest.raises(ValueError, match="num_held_out"):
        train_judges(KEY, images, labels, num_held_out=4)
