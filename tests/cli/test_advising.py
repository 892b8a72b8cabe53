"""`collapse-jax advise`: the answer first, one JSON document, measured models, a sentence for every mistake."""

import json
import math
import re

import numpy as np
import pandas as pd
import pytest

from collapse_jax import advise
from collapse_jax.cli.main import run_command

ASKED = ["advise", "--real", "1000", "--synthetic", "4000", "--generations", "5"]


def _read(arguments, capsys):
    code = run_command(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_answer_comes_first_in_80_columns(capsys):
    code, out, err = _read([*ASKED, "--bias", "0.95"], capsys)
    assert code == 0 and not err
    assert out.startswith("With the same 1,000 real rows kept beside 4,000 synthetic ones, after 5")
    assert out.splitlines() == advise(1000, 4000, 5, bias=0.95).lines()
    assert max(map(len, out.splitlines())) <= 80


def test_json_is_one_document_with_every_number(capsys):
    words = ["--regime", "fresh", "--target", "0.5", "--effective-share", "0.5", "--bias", "1.2", "--json"]
    code, out, _ = _read([*ASKED, *words], capsys)
    told = json.loads(out)
    advice = advise(1000, 4000, 5, "fresh", 1.2, 0.5, 0.5)
    assert code == 0 and told == {**advice.as_json(), "measured": None}
    assert told["half_life"] is None and advice.half_life == math.inf
    assert told["by_regime"]["keep"]["error_ratio"] == advice.by_regime["keep"].error_ratio


@pytest.mark.parametrize(
    "words, told",
    [
        (["--regime", "replcae"], "did you mean 'replace'?"),
        (["--bias", "0"], "`bias` must be positive"),
        (["--target", "2"], "`target` must lie in"),
        (["--generations", "1000000000"], "`generations` must be at most 100,000"),
        (["--measure", "drawn.csv"], "go together"),
    ],
)
def test_a_mistake_is_told_in_a_sentence_with_code_2(words, told, capsys):
    code, out, err = _read([*ASKED, *words], capsys)
    assert code == 2 and not out and told in err and len(err.splitlines()) == 1


def test_what_is_missing_is_named(capsys):
    with pytest.raises(SystemExit) as stopped:
        run_command(["advise", "--real", "10"])
    assert stopped.value.code == 2 and "--synthetic" in capsys.readouterr().err


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Return a writer of a model's rows and real rows to the files that `_FILES` names."""
    monkeypatch.chdir(tmp_path)

    def write(drawn, real):
        names = [f"column {place}" for place in range(drawn.shape[1])]  # numbers would be taken for a row
        pd.DataFrame(drawn, columns=names).to_csv("drawn.csv", index=False)
        np.save("real.npy", real)

    return write


_FILES = ["--measure", "drawn.csv", "--reference", "real.npy"]


def test_a_model_is_measured_and_reckoned_with(files, capsys):
    rng = np.random.default_rng(0)
    step = rng.normal(size=30) / math.sqrt(200)
    files(0.9 * rng.normal(size=(4000, 30)) + step, rng.normal(size=(4000, 30)))
    code, out, err = _read([*ASKED, *_FILES, "--json"], capsys)
    told = json.loads(out)
    assert code == 0, err
    assert told["bias"] == told["measured"]["bias"] and told["bias"] == pytest.approx(0.81, rel=0.02)
    assert told["effective_share"] == told["measured"]["effective_size"] / 1000 < 0.5
    code, out, _ = _read(
        [*ASKED, *_FILES, "--bias", "1"], capsys
    )  # what is said goes before what is measured
    assert re.search(
        r"Measured: bias 0\.8\d* \(0\.\d+ to\s0\.\d+\)", out
    ) and "reckoned with bias 1 and" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80


def test_what_cannot_be_told_from_none_is_none(files, capsys):
    rng = np.random.default_rng(5)
    real = rng.normal(size=(300, 2))
    files(rng.normal(size=(300, 2)), real)
    told = json.loads(_read([*ASKED, *_FILES, "--json"], capsys)[1])
    assert (told["bias"], told["effective_share"]) == (1.0, 1.0) and told["measured"][
        "effective_high"
    ] is None


def test_rows_that_are_too_near_are_questioned(files, capsys):
    real = np.random.default_rng(2).normal(size=(300, 40))
    files(real, real)
    assert "was the model trained on the reference?" in " ".join(_read([*ASKED, *_FILES], capsys)[1].split())


def test_only_numbers_can_be_measured(files, capsys):
    files(np.ones((9, 2)), np.ones((9, 2)))
    with open("drawn.txt", "w", encoding="utf-8") as lines:
        lines.write("a text\nanother\n")
    code, out, err = _read([*ASKED, "--measure", "drawn.txt", "--reference", "real.npy"], capsys)
    assert code == 2 and not out and "holds texts or images" in err
