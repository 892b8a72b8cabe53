"""Choices out of the bag: each set as likely as any other, labels off, sums as they are summed by hand."""

import numpy as np
from scipy import sparse, stats

from collapse_jax.monitor.bag import Bag, Choices, random_places
from collapse_jax.monitor.rows import Rows


def test_every_set_is_as_likely_as_any_other():
    """chi-square over the 20 sets of 3 of 6 places, 4,000 draws: sees a set that is 1.25 times as likely."""
    for few in (True, False):
        rng = np.random.default_rng(0)
        if few:
            places = random_places(rng, 4000, 3, 6)
        else:  # as for a bag of many rows
            places = np.stack([rng.choice(6, 3, replace=False, shuffle=False) for _ in range(4000)])
        sets = np.sort(places, axis=1) @ [36, 6, 1]
        _, counts = np.unique(sets, return_counts=True)
        assert len(counts) == 20 and stats.chisquare(counts).pvalue > 1e-3


def test_many_places_are_dealt_without_one_twice():
    places = random_places(np.random.default_rng(0), 5, 100, 5000)
    assert all(len(set(row)) == 100 for row in places.tolist()) and places.max() < 5000


def test_sums_over_choices():
    rng = np.random.default_rng(2)
    rows = Rows(x=rng.normal(size=50))
    places = random_places(rng, 7, 20, 50)
    scores = rng.normal(size=(50, 3))
    choices = Choices(rows, places)
    by_hand = np.stack([scores[chosen].sum(axis=0) for chosen in places])
    np.testing.assert_allclose(choices.sums(scores), by_hand, rtol=1e-12)
    np.testing.assert_allclose(choices.counts(sparse.csr_matrix(scores)).toarray(), by_hand, rtol=1e-12)


def test_the_bag_keeps_its_size_and_knows_no_labels():
    """Who leaves is chosen by chance: of 100 reference rows among 300 a third stays, +- 5 sd (4.7) of 300 draws."""
    rng, stayed = np.random.default_rng(3), []
    for _ in range(300):
        bag = Bag(Rows(is_reference=np.ones(100, bool)), 100)
        bag.add(Rows(is_reference=np.zeros(200, bool)), rng)
        assert len(bag.rows) == 100
        stayed.append(bag.rows["is_reference"].sum())
    assert abs(np.mean(stayed) - 100 / 3) < 5 * 4.7 / 300**0.5


def test_the_sample_itself_is_the_first_choice():
    bag = Bag(Rows(x=np.arange(10)), 10)
    choices = bag.choices(Rows(x=np.array([70, 71])), 4, np.random.default_rng(0))
    assert choices.rows["x"][choices.places[0]].tolist() == [70, 71]
    assert choices.places.shape == (5, 2)
