"""`collapse-jax watch` as a person, a shell script or a CI job types it."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from collapse_jax.cli.main import run_command


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run that shrinks and one that does not."""
    place, rng = tmp_path_factory.mktemp("watched"), np.random.default_rng(0)
    for name, shrink in (("shrinks", 0.6), ("stays", 1.0)):
        (place / name).mkdir()
        for generation in range(6):
            frame = pd.DataFrame(shrink**generation * rng.normal(size=(100, 2)), columns=["a", "b"])
            frame.to_csv(place / name / f"g{generation}.csv", index=False)
    return place


@pytest.fixture
def here(runs, tmp_path, monkeypatch):
    """A working folder with copies of both."""
    shutil.copytree(runs, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _read(arguments, capsys):
    code = run_command(["watch", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_an_alarm_is_code_3_and_its_answer_the_first_line(here, capsys):
    code, out, _ = _read(["shrinks"], capsys)
    lines = out.splitlines()
    assert code == 3 and lines[0].startswith("Alarm at generation ")
    assert lines[-3] == "report: watch-shrinks/report.html"
    assert all(len(line) <= 80 for line in lines), out
    assert any(line.endswith("alarm") for line in lines) and "Generations left until 50 %" in out
    for name in ("report.html", "records.csv", "readings.json", "figures/watch.png", "figures/watch.svg"):
        assert (here / "watch-shrinks" / name).stat().st_size > 500


def test_no_alarm_is_code_0_and_what_was_there_is_replaced_if_asked(here, capsys):
    code, out, _ = _read(["stays", "--seed", "1"], capsys)
    assert code == 0 and out.startswith("No alarm over generations 0 to 5: nothing differs from generation 0")
    code, out, err = _read(["stays"], capsys)
    assert code == 2 and out == "" and "--overwrite" in err
    assert _read(["stays", "--overwrite", "--quiet", "--statistics", "drift"], capsys) == (0, "", "")
    (here / "full").mkdir()
    (here / "full" / "thesis.tex").write_text("x")
    code, _, err = _read(["stays", "--out", "full", "--overwrite"], capsys)
    assert code == 2 and "something else" in err and (here / "full" / "thesis.tex").read_text() == "x"


def test_json_is_one_document(here, capsys):
    files = [str(here / "shrinks" / f"g{generation}.csv") for generation in range(1, 6)]
    code, out, err = _read(
        [*files, "--reference", "shrinks/g0.csv", "--json", "--out", "o", "--share", "0.01"], capsys
    )
    told = json.loads(out)
    assert code == 3 and err == "" and told["alarm"] in told["generations"] == [1, 2, 3, 4, 5]
    assert told["answer"].startswith("Alarm") and "variance" in told["raised_by"]
    assert told["last"]["generation"] == 5 and told["forecast"]["share"] == 0.01
    assert told["paths"]["report"] == str(here / "o" / "report.html")
    assert told["reference"] == {"name": "shrinks/g0.csv", "generation": None, "num_samples": 100}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "name them"),
        (["nowhere"], "nowhere"),
        (["stays/g0.csv"], "--reference"),
        (["stays", "--alpha", "1.5"], "alpha"),
        (["stays", "--max-rows", "1"], "max_rows"),
        (["stays", "--columns", "c"], "columns"),
        (["stays", "--statistics", "varience"], "variance"),
        (["stays", "--reference", "nowhere.csv"], "nowhere.csv"),
        (["stays", "--out", "stays/g0.csv"], "is a file"),
    ],
)
def test_bad_input_is_code_2_and_one_sentence(arguments, told, here, capsys):
    code, out, err = _read(arguments, capsys)
    assert code == 2 and out == "" and told in err
    assert err.startswith("collapse-jax: ") and err.endswith(".\n") and err.count("\n") == 1
    assert sorted(path.name for path in here.iterdir()) == ["shrinks", "stays"]


def test_notes_are_few_and_names_do_not_steer_the_terminal(here, capsys):
    for generation in range(3):
        path = here / "stays" / f"g{generation}.csv"
        path.write_text("\x1b[31m<script>,b\n" + "1,2\n,3\n2,\n" * 20)
    paths = [f"stays/g{generation}.csv" for generation in range(3)]
    code, out, _ = _read([*paths, "--out", "a & b"], capsys)
    assert code in (0, 3) and "\x1b" not in out and "\\x1b[31m<script>" in out
    assert out.count("note: ") <= 9 and "report: a & b/report.html" in out
    assert all(len(line) <= 80 for line in out.splitlines())
    page = (here / "a & b" / "report.html").read_text(encoding="utf-8")
    assert "<script>" not in page and "\x1b" not in page
