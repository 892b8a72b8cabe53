"""Generations in files: what is read, in which order, and what is said of them."""

import numpy as np
import pandas as pd
import pytest
from generations import write_tables

from collapse_jax.watching import watch as module
from collapse_jax.watching import words
from collapse_jax.watching.notes import grouped
from collapse_jax.watching.table import compact, places
from collapse_jax.watching.watch import watch


@pytest.fixture(scope="module")
def collapsing(tmp_path_factory):
    return watch([write_tables(tmp_path_factory.mktemp("run") / "gens")])


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    return watch([write_tables(tmp_path_factory.mktemp("still") / "gens", range(4), 1.0)])


def test_the_first_generation_is_the_reference_and_is_not_judged(collapsing):
    assert collapsing.since == 0 and not collapsing.readings[0].measured and len(collapsing.judged) == 7
    assert "Change since generation 0" in words.compared(collapsing)
    assert not any("very samples" in note for note in collapsing.notes)
    assert collapsing.names[3] == "gen-03.csv" and collapsing.num_reference == 120


def test_an_alarm_says_when_and_of_what(collapsing):
    told = words.answer(collapsing)
    assert told.startswith(f"Alarm at generation {collapsing.alarm} of 0 to 7: `") and "`variance`" in told
    assert told.endswith("in generation 0.")
    assert words.state(collapsing).startswith("At generation 7 `") and ", usual " in words.state(collapsing)
    assert "none" in words.outlook(collapsing)  # less than half is left


def test_without_an_alarm_the_promise_is_told(quiet):
    assert quiet.alarm is None and quiet.raised_by == ()
    assert words.answer(quiet) == (
        "No alarm over generations 0 to 3: nothing differs from generation 0 by more than chance "
        "(false alarms: at most 5 %, ever)."
    )
    assert "nearest to an alarm" in words.state(quiet)
    assert words.from_the_first(quiet) == ""


def test_a_table_is_no_wider_than_a_terminal_and_has_no_more_than_a_dozen_rows(collapsing, tmp_path):
    lines = compact(collapsing)
    assert all(len(line) <= 80 for line in lines) and lines[0].count("  ") and len(lines) == 10
    assert sum(line.endswith("alarm") for line in lines) == 1 + 1  # the row, and the key
    assert lines[1].endswith("reference")
    long = watch([write_tables(tmp_path / "long", range(30), 0.97, 40)], statistics=["variance", "drift"])
    told = compact(long)
    assert len([line for line in told if line[:4].strip().isdigit()]) == 12 and any(
        "left out" in line for line in told
    )


def test_rows_that_are_shown_are_the_first_the_last_and_those_around_the_alarm():
    assert places(range(5), 2) == [0, 1, 2, 3, 4]
    assert {0, 1, 23, 24, 25, 26, 27, 98, 99} <= set(places(range(100), 25)) and len(
        places(range(100), 25)
    ) == 12
    assert len(places(range(100), None)) == len(places(range(100), 99)) == len(places(range(100), 0)) == 12


def test_a_reference_that_is_another_from_the_first_check_on_is_told(tmp_path):
    run = write_tables(tmp_path / "gens", range(1, 7), 1.0)
    wide = tmp_path / "real.csv"
    pd.DataFrame(3 * np.random.default_rng(1).normal(size=(400, 2)), columns=["a", "b"]).to_csv(
        wide, index=False
    )
    found = watch([run], wide)
    assert found.alarm is not None and found.since is None
    assert "Generation 1 already differs" in words.from_the_first(found)
    assert "leave out --reference" in words.from_the_first(found) and "real.csv" in words.compared(found)
    assert words.answer(found).endswith("in the reference.")


def test_a_reference_among_the_generations_is_not_judged(tmp_path):
    run = write_tables(tmp_path / "gens", range(3), 1.0)
    found = watch([run], run / "gen-01.csv")
    assert [bool(reading.measured) for reading in found.readings] == [True, False, True]
    assert any("very samples of the reference" in note for note in found.notes)
    assert words.answer(watch([run / "gen-01.csv"], run / "gen-01.csv")).startswith("Nothing was judged")


def test_one_generation_at_a_time_is_read(tmp_path, monkeypatch):
    run, read, told = write_tables(tmp_path / "gens", range(4), 1.0), [], []
    before = module.read_samples
    monkeypatch.setattr(module, "read_samples", lambda *a, **k: read.append(len(told)) or before(*a, **k))
    watch([run], max_rows=50, tell=lambda done, total, name: told.append((done, total, name)))
    assert read == [1, 3, 4, 5]  # the first is read once, the others when their turn comes
    assert told[-1] == (3, 4, "gen-03.csv")


def test_samples_that_were_chosen_stand_for_all(tmp_path):
    found = watch([write_tables(tmp_path / "gens", range(3), 1.0)], max_rows=50)
    assert {(reading.num_rows, reading.num_given) for reading in found.readings} == {(50, 120)}
    assert found.since == 0 and not found.readings[0].measured


def test_columns_and_statistics_are_chosen(tmp_path):
    run = write_tables(tmp_path / "gens", range(3), 1.0, columns="abc")
    found = watch([run], columns=["c", "a"], statistics=["drift", "variance"])
    assert found.statistics == ("drift", "variance") and len(found.readings[1].directions) == 2
    with pytest.raises(ValueError, match=r"columns.*'a'"):
        watch([run], columns=["aa"])
    with pytest.raises(ValueError, match="variance"):
        watch([run], statistics=["varience"])


@pytest.mark.parametrize("kind", ["texts", "images"])
def test_texts_and_images(kind, tmp_path):
    rng, words_left = np.random.default_rng(0), 300
    for generation in range(6):
        if kind == "texts":
            drawn = [" ".join(f"w{one}" for one in rng.integers(0, words_left, 12)) for _ in range(80)]
            (tmp_path / f"{generation}.txt").write_text("\n".join(drawn), encoding="utf-8")
            words_left //= 2
        else:
            np.save(tmp_path / f"{generation}.npy", 0.6**generation * rng.normal(size=(80, 4, 4)))
    found = watch([tmp_path])
    assert found.kind == kind and found.alarm is not None
    with pytest.raises(ValueError, match="columns of tables"):
        watch([tmp_path], columns=["a"])


def test_what_is_wrong_is_said_with_its_file(tmp_path):
    run = write_tables(tmp_path / "gens", range(3), 1.0)
    with pytest.raises(ValueError, match="nothing to compare it with"):
        watch([run / "gen-00.csv"])
    with pytest.raises(ValueError, match="share"):
        watch([run], share=1.5)
    (run / "gen-02.csv").write_text("a,c\n1,2\n3,4\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"^gen-02.csv: there is no column 'b'"):
        watch([run])


def test_notes_that_differ_in_numbers_are_told_once():
    notes = [f"Generation {n}: {n * 7} of 1,000 rows are empty." for n in (2, 3, 12)] + [
        "A file was left out."
    ] * 2
    assert grouped(notes) == [
        "Generation 2: 14 of 1,000 rows are empty. Likewise 2 generations more, up to 12.", "A file was left out.",
    ]  # fmt: skip
