"""The folder of a watch: what it holds, who reads it, and what it replaces."""

import csv
import json
import subprocess
import sys

import pytest
from generations import write_tables

from collapse_jax.records.external import read_records
from collapse_jax.watching.files import check_folder, folder_for, summary, write_readings
from collapse_jax.watching.page import write_report
from collapse_jax.watching.watch import watch


@pytest.fixture(scope="module")
def gapped(tmp_path_factory):
    """A watch of generations 0, 1, 2, 4."""
    return watch([write_tables(tmp_path_factory.mktemp("run") / "gens", (0, 1, 2, 4), 0.5)])


def test_records_are_read_as_any_other_and_a_gap_is_a_row_without_values(gapped, tmp_path):
    write_readings(gapped, tmp_path)
    rows = list(csv.DictReader((tmp_path / "records.csv").open(encoding="utf-8")))
    assert [row["generation"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert list(rows[0]) == ["generation", *gapped.statistics, "evidence"]
    assert rows[0]["variance"] == rows[3]["variance"] == "" and float(rows[4]["variance"]) < 0.1
    dataset = read_records(tmp_path / "records.csv")
    assert dataset.variance.sizes["generation"] == 5 and float(dataset.variance[0, -1]) < 0.1
    assert any("missing" in note for note in gapped.notes)


def test_readings_hold_everything(gapped, tmp_path):
    write_readings(gapped, tmp_path, "collapse-jax watch gens")
    told = json.loads((tmp_path / "readings.json").read_text(encoding="utf-8"))
    assert told["alarm"] == gapped.alarm and told["raised_by"] == list(gapped.raised_by)
    assert told["generations"] == [0, 1, 2, 4] and told["command"] == "collapse-jax watch gens"
    assert {"collapse-jax", "numpy", "scipy", "python"} <= told["versions"].keys()
    last = told["readings"][-1]
    assert last["name"] == "gen-04.csv" and set(last["statistics"]) == set(gapped.statistics)
    assert {"value", "usual", "expected", "p", "e", "evidence", "about"} == last["statistics"]["drift"].keys()
    assert last == told["last"] and told["forecast"]["share"] == 0.5


def test_numbers_that_are_not_finite_are_null(gapped):
    endless = gapped._replace(forecast=gapped.forecast._replace(generations=float("inf"), low=float("nan")))
    told = summary(endless)["forecast"]
    assert told["generations"] is None and told["low"] is None
    json.dumps(told, allow_nan=False)


def test_a_folder_of_something_else_is_left_alone(gapped, tmp_path):
    check_folder(tmp_path / "new", overwrite=False)
    check_folder(tmp_path, overwrite=False)  # empty
    write_readings(gapped, tmp_path / "mine")
    with pytest.raises(ValueError, match="--overwrite"):
        check_folder(tmp_path / "mine", overwrite=False)
    check_folder(tmp_path / "mine", overwrite=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "readings.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="something else"):
        check_folder(tmp_path / "other", overwrite=True)
    for path in ("readings.json", "readings.json/below"):
        with pytest.raises(ValueError, match="is a file"):
            check_folder(tmp_path / "other" / path, overwrite=True)


def test_where_it_is_put_by_default(tmp_path, monkeypatch):
    (tmp_path / "data" / "gens.v2").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    place = tmp_path / "data" / "gens.v2"
    assert folder_for([place]) == tmp_path / "data" / "watch-gens.v2"
    assert folder_for([place / "0.csv", place / "1.csv"]) == tmp_path / "data" / "watch-gens.v2"
    assert folder_for([place / "0.csv"]) == place / "watch-0"
    monkeypatch.chdir(place)
    assert (
        str(folder_for([place / "0.csv", place / "1.csv"])) == "watch-gens.v2"
    )  # not above the working folder
    assert folder_for([place]) == tmp_path / "data" / "watch-gens.v2"  # nor within a folder that is watched
    monkeypatch.chdir(tmp_path)
    assert str(folder_for([place])) == "data/watch-gens.v2"


def test_the_page_needs_nothing_else_and_shows_names_as_text(tmp_path):
    run = write_tables(tmp_path / "a & b", range(3), 0.5)
    for path in run.iterdir():
        text = path.read_text(encoding="utf-8").replace("a,b", "<script>alert(1)</script>,b")
        path.write_text(text, encoding="utf-8")
        path.rename(run / path.name.replace(".csv", " <b>&.csv"))
    (run / "gen-01 <b>&.csv").write_text(
        "<script>alert(1)</script>,b\n" + "1,2\n,3\n2,\n" * 20, encoding="utf-8"
    )
    found = watch([run])
    assert any("<script>" in note for note in found.notes)
    page = write_report(found, tmp_path / "out", "collapse-jax watch '<i>'").read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script&gt;alert(1)" in page and "<i>" not in page
    assert "gen-02 &lt;b&gt;&amp;.csv" in page and "http" not in page.replace("http-equiv", "")
    assert page.count("data:image/png;base64,") == 1
    assert {path.name for path in (tmp_path / "out" / "figures").iterdir()} == {"watch.png", "watch.svg"}


def test_signs_that_steer_a_terminal_are_shown(gapped):
    run = gapped._replace(notes=("a\\x1b[31m",))
    assert summary(run)["notes"] == ["a\\x1b[31m"]


def test_watching_and_drawing_load_no_jax(tmp_path):
    run = write_tables(tmp_path / "gens", range(3), 1.0, 40)
    code = (
        "import sys; from collapse_jax.cli.main import run_command; "
        "code = run_command(['watch', sys.argv[1], '--quiet']); "
        "print(code, *sorted({'jax', 'xarray', 'flax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.split() == ["0"], done.stderr
    assert (tmp_path / "watch-gens" / "report.html").is_file()
