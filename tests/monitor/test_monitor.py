"""A monitor as its users meet it: kinds of samples, bad input, notes, and the same readings from the same seed."""

import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from collapse_jax.monitor import Monitor

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(200, 3))


def _table(num, rng=RNG):
    return pd.DataFrame(
        {
            "age": rng.integers(20, 60, num),
            "town": rng.choice(["a", "b", "c"], num),
            "owner": rng.random(num) < 0.5,
        }
    )


def test_no_jax_in_a_training_process():
    code = (
        "import sys, numpy as np; from collapse_jax.monitor import Monitor; "
        "m = Monitor(np.random.default_rng(0).normal(size=(50, 2))); m.update(np.zeros((9, 2)) + np.arange(2)); "
        "print(sorted({'jax', 'torch', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_same_seed_reads_the_same():
    samples = [RNG.normal(size=(50, 3)) for _ in range(3)]
    read = [
        [one.update(x).measured for x in samples] for one in (Monitor(ROWS, seed=3), Monitor(ROWS, seed=3))
    ]
    assert read[0] == read[1]
    other = Monitor(ROWS, seed=4)
    assert [one.update(x).measured for one in [other] for x in samples] != read[0]


@pytest.mark.parametrize(
    ("reference", "kind"),
    [
        (ROWS, "numbers"), (ROWS.astype(np.float32), "numbers"), (ROWS[:, 0], "numbers"), (ROWS.tolist(), "tokens?"),
        (RNG.integers(0, 256, (60, 8, 8), np.uint8), "images"), (RNG.random((40, 6, 5, 3)), "images"),
        (_table(80), "table"), (["a b c", "b c d e"] * 20, "texts"), ([[1, 2, 3], [2, 3]] * 20, "tokens"),
        (np.array(["x y", "z"] * 20), "texts"), (pd.Series(["x y", "z"] * 20), "texts"),
        (pd.Series(ROWS[:, 1]), "numbers"),
        ([np.zeros((4, 4)) + place for place in range(30)], "images"),
    ],
)  # fmt: skip
def test_kinds(reference, kind):
    monitor = Monitor(reference)
    assert monitor.kind.name == kind.replace("tokens?", "numbers")
    half = reference.iloc[:9] if isinstance(reference, pd.DataFrame | pd.Series) else reference[:9]
    reading = monitor.update(half)
    for one in reading.measured:
        assert math.isfinite(one.value) and 0 < one.p <= 1 and one.low <= one.high, one
    assert set(reading.record()) >= {"generation", "evidence"}


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        (np.zeros((9, 4)), r"rows have the shape \(4,\), and those of the reference \(3,\)"),
        (np.zeros((1, 3)), "holds 1 samples; give at least 2"),
        (np.zeros((0, 3)), "holds 0 samples"),
        ([[1.0, 2.0, 3.0], [1.0, 2.0]], "differ in shape"),
        (np.zeros((9, 3), complex), "an array of numbers"),
        (5.0, "got one number"),
        (np.zeros((9, 0)), "nothing in them"),
        ({"x": [1.0]}, "an array of numbers, a DataFrame, a list of texts"),
    ],
)
def test_bad_numbers(samples, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        Monitor(ROWS).update(samples)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda t: t.drop(columns="town"), "no column 'town'"),
        (lambda t: t.rename(columns={"town": "twon"}), "no column 'town'.*did you mean 'twon'"),
        (lambda t: t.assign(extra=1), "column 'extra' is not in the reference"),
        (lambda t: t.astype({"age": object}).assign(age="old"), "`age` is a column of numbers.*'old'"),
        (lambda t: pd.concat([t, t[["age"]]], axis=1), "two columns are named 'age'"),
        (lambda t: t.to_numpy(), "the reference holds a table"),
        (lambda t: t["town"].tolist(), "the reference holds a table"),
    ],
)
def test_bad_tables(spoil, sentence):
    with pytest.raises((TypeError, ValueError), match=sentence):
        Monitor(_table(60)).update(spoil(_table(30)))


def test_other_bad_input():
    with pytest.raises(ValueError, match="the reference holds 3 samples; give at least 20"):
        Monitor(ROWS[:3])
    with pytest.raises(ValueError, match="did you mean 'variance'"):
        Monitor(ROWS, ["varience"])
    with pytest.raises(ValueError, match="alpha"):
        Monitor(ROWS, alpha=5.0)
    with pytest.raises(ValueError, match="`num_given` must be at least 200"):
        Monitor(ROWS).update(ROWS + 1, num_given=5)
    with pytest.raises(ValueError, match=r"frame\['text'\]"):
        Monitor(pd.DataFrame({"text": [f"t{place}" for place in range(60)]}))
    with pytest.raises(ValueError, match="scorer is for texts"):
        Monitor(ROWS, scorer=len)
    with pytest.raises(TypeError, match="must be a text"):
        Monitor(["a b"] * 30).update(["a", 3])
    with pytest.raises(TypeError, match="got one text"):
        Monitor(["a b"] * 30).update("a b")
    with pytest.raises(ValueError, match="no word"):
        Monitor(["", " "] * 30)
    with pytest.raises(ValueError, match="a number for each of 60 texts"):
        Monitor(["a b", "c"] * 30, scorer=lambda texts: [1.0]).update(["a"] * 9)
    with pytest.raises(ValueError, match=r"shape \(5, 5\)"):
        Monitor(RNG.random((30, 4, 4))).update(RNG.random((9, 5, 5)))
    monitor = Monitor(ROWS)
    monitor.update(ROWS[:20] + 0.1, generation=4)
    with pytest.raises(ValueError, match="generation 4 comes after 4"):
        monitor.update(ROWS[:20] + 0.2, generation=4)
    assert monitor.update(ROWS[:20] + 0.2).generation == 5


def test_a_reference_that_is_the_first_generation_is_no_evidence():
    monitor = Monitor(ROWS)
    reading = monitor.update(ROWS[::-1])
    assert not reading.measured and "very samples of the reference" in reading.notes[0]
    again = RNG.normal(size=(50, 3))
    monitor.update(again)
    reading = monitor.update(again)
    assert reading["copies"].value == 1 and "very samples of generation 1: is a seed fixed?" in reading.notes[0]
    assert monitor.records()["evidence"].isna().tolist() == [True, False, False]


@pytest.mark.parametrize("reference", [ROWS, ["a b c", "b c d e", "f"] * 20])
def test_a_chain_that_has_collapsed_to_one_point_raises_the_alarm(reference):
    monitor = Monitor(reference)
    for _ in range(6):
        monitor.update(np.zeros((100, 3)) if reference is ROWS else ["a b c"] * 100)
    assert monitor.alarm in (1, 2, 3)


def test_times_and_objects_that_are_numbers_are_numbers():
    def draw(num, later=0):
        days = pd.Timestamp("2020-01-01") + pd.to_timedelta(RNG.normal(size=num) + later, unit="D")
        odd = (RNG.normal(size=num) + later).astype(object)
        return pd.DataFrame({"day": days, "odd": odd, "cells": [[1], [2]] * (num // 2)})

    monitor = Monitor(draw(200))
    assert not monitor.update(draw(100)).notes
    for _ in range(4):
        reading = monitor.update(draw(100, later=3))
    assert "drift" in reading.raised_by and len(reading.directions) == 2


def test_samples_of_other_libraries():
    class Tensor:
        """As PyTorch's: NumPy reads it once it is detached, on the CPU and in a precision that it knows."""

        detach = cpu = lambda self: self

        def double(self):
            return ROWS

    masked = np.ma.masked_array(ROWS, mask=ROWS > 1)
    assert Monitor(Tensor()).kind.name == "numbers"
    assert Monitor(ROWS).update(masked[:50])["missing"].value == pytest.approx(np.mean(ROWS[:50] > 1))


def test_what_is_missing_is_said_and_measured():
    spoilt = RNG.normal(size=(100, 3))
    spoilt[:30, 1] = np.nan
    spoilt[40, 2] = np.inf
    reading = Monitor(ROWS).update(spoilt)
    assert "31 of 100 rows hold values that are missing or not finite" in reading.notes[0]
    assert reading["missing"].value == pytest.approx(31 / 300)
    table = _table(50).astype({"age": float})
    table.loc[:9, "age"] = np.nan
    table.loc[3, "town"] = None
    reading = Monitor(_table(80)).update(table)
    assert "`age` 10, `town` 1" in reading.notes[0]
    assert reading["missing"].value == pytest.approx(11 / 150)
    assert "`town` has 1 categories that the reference lacks: '(missing)'" in reading.notes[1]


def test_categories_that_the_reference_lacks_are_named():
    reading = Monitor(_table(80)).update(_table(40).assign(town="<b>new</b>"))
    assert "'<b>new</b>'" in reading.notes[0]
    assert reading["unseen"].value == pytest.approx(0.5)  # one of two columns of categories


def test_few_samples_say_little():
    reading = Monitor(ROWS).update(RNG.normal(size=(3, 3)))
    assert "holds 3 samples; in fewer than 20 little can be seen" in reading.notes[0]
    assert not reading.alarm and reading["variance"].low < 0.3 < 1.5 < reading["variance"].high


def test_empty_texts_are_counted():
    reading = Monitor(["a b c", "b c d"] * 20).update(["", "a b", " ", "c"])
    assert "2 of 4 texts are empty" in reading.notes[0]


def test_the_alarm_stays():
    monitor = Monitor(ROWS)
    for scale in [1, 1, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 1, 1]:
        reading = monitor.update(scale * RNG.normal(size=(200, 3)))
    assert reading.alarm and monitor.alarm in (3, 4, 5) and "variance" in reading.raised_by
    assert reading.evidence > 1


def test_a_huge_sample_is_looked_at_in_part():
    monitor = Monitor(ROWS, max_rows=150)
    reading = monitor.update(RNG.normal(size=(5000, 3)))
    assert (reading.num_rows, reading.num_given) == (150, 5000)
    all_of_them = Monitor(ROWS, max_rows=5000).update(RNG.normal(size=(3000, 3)))
    assert all_of_them.num_rows == 3000 and len(all_of_them.directions) == 3
    assert monitor.update(RNG.normal(size=(100, 3)), num_given=10**7).num_given == 10**7


def test_columns_of_any_scale():
    """Units do not matter: readings of numbers are the same after a shift and a stretch of each column."""
    samples = [RNG.normal(size=(60, 3)) for _ in range(3)]
    stretch, shift = np.array([1e-9, 1.0, 1e12]), np.array([5.0, -1e3, 1e13])
    plain, other = Monitor(ROWS), Monitor(ROWS * stretch + shift)
    for x in samples:
        one, two = plain.update(x), other.update(x * stretch + shift)
        for name in ("drift", "variance", "tails", "range", "precision", "recall"):
            assert two[name].value == pytest.approx(one[name].value, rel=1e-3)
    assert other.forecast().kept == pytest.approx(plain.forecast().kept, rel=1e-3)


def test_a_column_that_stands_still_and_then_moves():
    still = np.concatenate([ROWS, np.full((200, 1), 7.0)], axis=1)
    monitor = Monitor(still)
    quiet = monitor.update(np.concatenate([RNG.normal(size=(80, 3)), np.full((80, 1), 7.0)], axis=1))
    assert 0.5 < quiet["variance"].value < 2
    for _ in range(4):
        moved = monitor.update(RNG.normal(size=(80, 4)) + np.array([0, 0, 0, 7.0]))
    assert moved["tails"].value > 0.2 and "tails" in moved.raised_by


def test_features_stand_for_the_samples():
    monitor = Monitor(list(range(100)), features=lambda numbers: np.sqrt(numbers)[:, None])
    assert monitor.kind.name == "numbers" and monitor.update(list(range(50))).measured


def test_records():
    monitor = Monitor(_table(80))
    for _ in range(3):
        monitor.update(_table(40))
    records = monitor.records()
    assert records["generation"].tolist() == [0, 1, 2] and records["evidence"].notna().all()
    assert {"drift", "variance", "categories", "entropy", "copies"} <= set(records)


@pytest.mark.parametrize("kind", ["numbers", "table", "texts"])
def test_a_monitor_that_is_restored_goes_on(kind, tmp_path):
    """Saved between two checks, it reads the later ones as the monitor does that was never stopped, to the last bit."""
    draw = {
        "numbers": lambda num: RNG.normal(size=(num, 3)), "table": _table,
        "texts": lambda num: [" ".join(f"w{word}" for word in RNG.geometric(0.2, 6)) for _ in range(num)],
    }[kind]  # fmt: skip
    reference, samples = draw(90), [draw(40) for _ in range(6)]
    whole, first, second = (Monitor(reference) for _ in range(3))
    for x in samples[:3]:
        whole.update(x), first.update(x)
    first.save(tmp_path / "seen.npz")
    second.restore(tmp_path / "seen.npz")
    for x in samples[3:]:
        assert str(whole.update(x)) == str(second.update(x))
    assert str(whole.readings) == str(second.readings)
    assert str(whole.forecast(0.9)) == str(second.forecast(0.9))
    with pytest.raises(ValueError, match="another seed"):
        Monitor(reference, seed=5).restore(tmp_path / "seen.npz")
    with pytest.raises(ValueError, match="another reference"):
        Monitor(draw(90)).restore(tmp_path / "seen.npz")
    with pytest.raises(ValueError, match=r"nothing\.npz"):
        whole.restore(tmp_path / "nothing.npz")
