"""What a run directory says is read as data from a stranger: right, or a sentence."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collapse_jax.runs.manifest import REPLACED, read_captions, read_claims, read_description, sealed

GOOD = {
    "status": "finished", "study": "gmm", "preset": "smoke", "command": "a command", "config": {"seeds": 2},
    "digest": "00000000", "seconds": 1.5, "versions": {"jax": "0.10"}, "device": "cpu", "started": "today",
    "shards": [[0, 2]], "remarks": [],
}  # fmt: skip
CLAIM = {
    "name": "n", "statement": "s", "source": "a paper", "verdict": "holds", "label": "law", "estimate": 1.0,
    "interval": [0.5, None], "region": [0.0, None], "level": 0.95, "num_seeds": 5, "num_excluded": 0, "reason": "",
}  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5), part, max_size=3), max_leaves=6,
)  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "figures").mkdir()
    return tmp_path


def _described(folder, told):
    path = folder / "config.json"
    path.write_text(told if isinstance(told, str) else json.dumps(told))
    return read_description(path)


def test_what_a_run_writes_is_read(folder):
    assert _described(folder, GOOD) == GOOD
    grid = {"axes": {"m": [1]}, "record_every": 1}
    whole = {**GOOD, "file": {"path": "a.py", "digest": "1", "versions": {}}, "grid": grid}
    assert _described(folder, whole) == whole
    assert _described(folder, {"status": REPLACED}) == {"status": REPLACED}


def test_a_number_that_was_changed_by_hand_is_seen(tmp_path):
    """The file is JSON as before and says all that it must; only its check sum knows."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(sealed(GOOD)).replace('"seconds": 1.5', '"seconds": 2.5'))
    with pytest.raises(ValueError, match=r"config\.json is not as it was written \(its check sum differs\); "):
        read_description(path)


@given(st.data())
def test_what_was_changed_after_it_was_written_is_seen(tmp_path_factory, data):
    """Any bit of any byte: the file is refused, or says the same; an object that cannot be read is refused as well."""
    content = bytearray(json.dumps(sealed(GOOD), indent=1).encode())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path_factory.mktemp("changed") / "config.json"
    path.write_bytes(bytes(content))
    try:
        told = read_description(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert {name: told[name] for name in GOOD} == GOOD  # the bit was the seal's name, or space


@pytest.mark.parametrize("name", sorted(set(GOOD) - {"remarks"}))
@pytest.mark.parametrize("value", ["missing", None, [None], True])
def test_a_field_that_is_missing_or_wrong_is_named(folder, name, value):
    told = {key: item for key, item in GOOD.items() if key != name}
    if value != "missing":
        told[name] = value
    with pytest.raises(ValueError, match=f"'{name}', which no run writes"):
        _described(folder, told)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"a"', "[" * 100_000])
def test_what_is_no_description_is_refused(folder, text):
    with pytest.raises(ValueError, match=r"config\.json"):
        _described(folder, text)


@given(st.sampled_from([*GOOD, "file", "grid", "data", "title"]), ANYTHING)
def test_whatever_stands_in_a_field_is_taken_or_refused_in_a_sentence(tmp_path_factory, name, value):
    try:
        _described(tmp_path_factory.mktemp("any"), {**GOOD, name: value})
    except ValueError as error:
        assert "config.json" in str(error)


def test_claims_are_read_and_odd_ones_refused(folder):
    path = folder / "claims.json"
    path.write_text(json.dumps([CLAIM]))
    assert read_claims(folder) == [CLAIM]
    for odd in ({**CLAIM, "verdict": "perhaps"}, {**CLAIM, "interval": [1]}, {**CLAIM, "region": ["a", 1]}, 3):
        path.write_text(json.dumps([odd]))
        with pytest.raises(ValueError, match=r"claims\.json"):
            read_claims(folder)
    path.unlink()
    with pytest.raises(ValueError, match="draw the run again"):
        read_claims(folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..", "", "a/b", "a\\b"])
def test_a_figure_lies_in_the_run(folder, name):
    captions = folder / "figures" / "captions.json"
    captions.write_text(json.dumps([{"name": "variance", "caption": "c"}]))
    assert read_captions(folder)[0]["name"] == "variance"
    captions.write_text(json.dumps([{"name": name, "caption": "c"}]))
    with pytest.raises(ValueError, match="which no run writes"):
        read_captions(folder)
