"""Each statistic against the same counted by hand, for the sample and for random choices."""

import zlib
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from collapse_jax.monitor import Monitor
from collapse_jax.monitor.bag import Choices, random_places
from collapse_jax.monitor.kinds.signs import signs_of_numbers
from collapse_jax.monitor.rows import Rows
from collapse_jax.monitor.statistics import categories, neighbours, numbers, sameness, texts
from collapse_jax.monitor.statistics.statistic import BOTH, HIGHER, LOWER, share_as_extreme

RNG = np.random.default_rng(0)


def _choices(num_chosen=20, num_choices=6, **columns):
    rows = Rows(**columns)
    return Choices(rows, random_places(np.random.default_rng(1), num_choices, num_chosen, len(rows)))


def _by_hand(choices, function):
    return np.array(
        [function(chosen, np.setdiff1d(np.arange(len(choices.rows)), chosen)) for chosen in choices.places]
    )


def test_sides():
    values = np.array([1.0, 0.0, 2.0, 3.0, 4.0])
    assert share_as_extreme(values, LOWER) == 0.4
    assert share_as_extreme(values, HIGHER) == 0.8
    assert share_as_extreme(values, BOTH) == 0.8


def test_drift_and_variance():
    x = RNG.normal(size=(60, 3)) * [1.0, 2.0, 0.5]
    scale = np.array([1.0, 4.0, 0.25])
    choices = _choices(coordinates=x, rest=RNG.random(60))
    drift = _by_hand(choices, lambda c, _: np.sqrt(np.mean((x[c].mean(0) - x.mean(0)) ** 2 / scale)))
    np.testing.assert_allclose(numbers.drift(scale).measure(choices), drift)
    kept = _by_hand(choices, lambda c, _: np.exp(np.mean(np.log(x[c].var(0, ddof=1) / scale))))
    np.testing.assert_allclose(numbers.variance(scale, None).measure(choices), kept)
    rest = choices.rows["rest"]

    def with_rest(c, _):
        return np.exp(np.mean(np.log([*(x[c].var(0, ddof=1) / scale), rest[c].mean() / 0.4])))

    np.testing.assert_allclose(numbers.variance(scale, 0.4).measure(choices), _by_hand(choices, with_rest))


def test_range_is_what_geometric_tails_expect():
    """Uniform reference and samples: the expectation of the formula, +- 5 standard errors of 400 samples."""
    depth = []
    for seed in range(400):
        u = np.random.default_rng(seed).random((30, 1))
        rungs = 2.0 ** -(numbers.FIRST_RUNG + np.arange(5))
        upper = np.sum(u > 1 - rungs[:, None, None], axis=0)
        depth.append(upper.max() / 5)
    expected = numbers.reach(5).expected(30)
    assert abs(np.mean(depth) - expected) < 5 * np.std(depth) / 20
    choices = _choices(depth=RNG.integers(0, 5, (40, 4)).astype(np.int8))
    by_hand = _by_hand(choices, lambda c, _: choices.rows["depth"][c].max(0).mean() / 5)
    np.testing.assert_allclose(numbers.reach(5).measure(choices), by_hand)


def test_copies_and_repeats():
    values = RNG.integers(0, 25, (60, 1)).astype(float)
    choices = _choices(sign=signs_of_numbers(values))

    def copied(c, others):
        there = set(values[others, 0])
        return np.mean([value in there for value in values[c, 0]])

    np.testing.assert_allclose(sameness.copies().measure(choices), _by_hand(choices, copied))
    repeated = _by_hand(choices, lambda c, _: 1 - len(set(values[c, 0])) / len(c))
    np.testing.assert_allclose(sameness.repeats().measure(choices), repeated)


def test_precision_and_recall():
    """With every row listed, the published definition; rows that are equally far do not occur."""
    x = RNG.normal(size=(13, 2))
    choices = _choices(6, coordinates=x)
    distances = np.linalg.norm(x[:, None] - x[None], axis=2)

    def reached(centres, points):
        near = np.sort(distances[np.ix_(centres, centres)], axis=1)[:, neighbours.NUM_NEIGHBOURS]
        return np.mean(np.any(distances[np.ix_(centres, points)] <= near[:, None], axis=0))

    precision = _by_hand(choices, lambda c, others: reached(others, c))
    recall = _by_hand(choices, reached)
    np.testing.assert_allclose(neighbours.precision().measure(choices), precision)
    np.testing.assert_allclose(neighbours.recall().measure(choices), recall)


def test_categories():
    codes = np.stack([RNG.choice(4, 60, p=[0.7, 0.2, 0.07, 0.03]), 4 + RNG.choice(4, 60)], axis=1)
    num, shares = (
        7,
        np.bincount(codes.ravel(), minlength=8)[:7] / 60,
    )  # code 7 is one that the reference lacks
    choices = _choices(codes=codes)
    met = _by_hand(choices, lambda c, _: len(set(codes[c].ravel()) - {7}) / num)
    np.testing.assert_allclose(categories.categories(shares).measure(choices), met)
    strange = _by_hand(choices, lambda c, _: np.mean(codes[c] == 7))
    np.testing.assert_allclose(categories.unseen(num).measure(choices), strange)

    def nats(c, _):
        found = [Counter(column.tolist()) for column in codes[c].T]
        return -sum(n / 20 * np.log(n / 20) for book in found for code, n in book.items() if code < 7) / 2

    np.testing.assert_allclose(
        categories.entropy(np.array([0] * 4 + [1] * 3)).measure(choices), _by_hand(choices, nats)
    )

    def moved(c, _):
        found = np.bincount(codes[c].ravel(), minlength=8)[:7] / 20
        return np.mean((found - shares) ** 2 / np.maximum(shares, 1 / 60))

    np.testing.assert_allclose(categories.frequencies(shares).measure(choices), _by_hand(choices, moved))


def test_a_rare_category_is_expected_as_often_as_it_comes():
    """SDV's example: 1 % of 200 rows is absent with probability (1 - .01)^200 = 13 %."""
    assert categories.categories(np.array([0.01])).expected(200) == pytest.approx(1 - 0.99**200)


def _texts(num=50):
    vocabulary = [f"w{rank}" for rank in range(12)]
    return [[vocabulary[word] for word in RNG.integers(0, 12, RNG.integers(0, 9))] for _ in range(num)]


def _rows_of(found):
    words, content = np.empty(len(found), object), np.empty(len(found), object)
    for place, text in enumerate(found):
        words[place] = np.array([int(word[1:]) for word in text], np.int64)
        content[place] = " ".join(text).encode()
    length = np.array([len(text) for text in found])
    return {
        "words": words,
        "bytes": content,
        "length": length,
        "sign": np.arange(len(found), dtype=np.uint64),
    }


def test_texts():
    found = _texts()
    choices = _choices(**_rows_of(found))
    for n in (1, 2, 3):

        def distinct(c, _, n=n):
            grams = [
                tuple(found[place][at : at + n]) for place in c for at in range(len(found[place]) - n + 1)
            ]
            return len(set(grams)) / len(grams)

        np.testing.assert_allclose(texts.distinct(n).measure(choices), _by_hand(choices, distinct))
    flat = lambda c: [min(int(word[1:]), 8) for place in c for word in found[place]]  # noqa: E731
    counts = lambda c: np.bincount(flat(c), minlength=9)  # noqa: E731
    shares = lambda c: counts(c) / counts(c).sum()  # noqa: E731
    every = shares(range(len(found)))
    nats = _by_hand(
        choices, lambda c, _: -np.sum(shares(c)[shares(c) > 0] * np.log(shares(c)[shares(c) > 0]))
    )
    np.testing.assert_allclose(texts.entropy(8).measure(choices), nats)
    np.testing.assert_allclose(
        texts.coverage(8).measure(choices), _by_hand(choices, lambda c, _: np.mean(counts(c)[:8] > 0))
    )
    moved = _by_hand(choices, lambda c, _: np.sum((shares(c) - every) ** 2 / every))
    np.testing.assert_allclose(texts.frequencies(8).measure(choices), moved)
    length = choices.rows["length"]
    mean = _by_hand(choices, lambda c, _: np.expm1(np.mean(np.log1p(length[c]))))
    np.testing.assert_allclose(texts.length().measure(choices), mean)

    def ratio(c, _):
        joined = b"\n".join(choices.rows["bytes"][np.sort(c)])
        return len(joined) / len(zlib.compress(joined, 6))

    np.testing.assert_allclose(texts.compression().measure(choices), _by_hand(choices, ratio))


GOOD = {
    "numbers": lambda rng, num: rng.normal(size=(num, 3)),
    "table": lambda rng, num: pd.DataFrame(
        {"x": rng.normal(size=num), "town": rng.choice(list("abcde"), num, p=[0.5, 0.25, 0.15, 0.07, 0.03])}
    ),
    "texts": lambda rng, num: [" ".join(f"w{word}" for word in rng.geometric(0.1, 12)) for _ in range(num)],
}
BAD = {
    "drift": ("numbers", lambda good, rng: good + 0.4),
    "variance": ("numbers", lambda good, rng: 0.7 * good),
    "tails": ("numbers", lambda good, rng: np.clip(good, -1.7, 1.7)),
    "range": ("numbers", lambda good, rng: np.clip(good, -1.2, 1.2)),
    "precision": ("numbers", lambda good, rng: 3.0 * good),
    "recall": ("numbers", lambda good, rng: 0.4 * good),
    "missing": ("numbers", lambda good, rng: np.where(rng.random(good.shape) < 0.05, np.nan, good)),
    "repeats": ("numbers", lambda good, rng: good[rng.integers(0, 100, len(good))]),
    "copies": ("numbers", lambda good, rng: np.concatenate([REFERENCE["numbers"][:10], good[10:]])),
    "categories": ("table", lambda good, rng: good.replace({"town": {"d": "a", "e": "a"}})),
    "frequencies": ("table", lambda good, rng: good.assign(town=rng.choice(list("abcde"), len(good)))),
    "entropy": ("table", lambda good, rng: good.replace({"town": {"c": "a"}})),
    "unseen": (
        "table",
        lambda good, rng: good.assign(town=good.town.where(rng.random(len(good)) > 0.05, "z")),
    ),
    "length": ("texts", lambda good, rng: [text[: 3 * len(text) // 4] for text in good]),
    "distinct-1": ("texts", lambda good, rng: [" ".join(text.split()[:6] * 2) for text in good]),
    "distinct-2": ("texts", lambda good, rng: [" ".join(text.split()[:6] * 2) for text in good]),
    "distinct-3": ("texts", lambda good, rng: [" ".join(text.split()[:6] * 2) for text in good]),
    "coverage": (
        "texts",
        lambda good, rng: [" ".join(w for w in text.split() if len(w) < 3) for text in good],
    ),
    "compression": ("texts", lambda good, rng: [" ".join(text.split()[:6] * 2) for text in good]),
}
REFERENCE = {kind: draw(np.random.default_rng(11), 1600) for kind, draw in GOOD.items()}


@pytest.mark.parametrize("name", list(BAD))
def test_each_statistic_fires_on_its_own_failure(name):
    """Alone, it raises the alarm within eight checks of what it is there for, and in none of eight good ones."""
    kind, spoil = BAD[name]
    rng = np.random.default_rng(7)
    for fires in (False, True):
        monitor = Monitor(REFERENCE[kind], [name])
        for _ in range(8):
            good = GOOD[kind](rng, 200)
            reading = monitor.update(spoil(good, rng) if fires else good)
        assert (monitor.alarm is not None) == fires, [one.p for one in reading.measured]
