"""Numbers of one's own from the command line: tables of many makes, the laws beside the chains, sentences."""

import gzip
import json

import jax
import numpy as np
import pandas as pd
import pytest

from collapse_jax.cli import main as cli
from collapse_jax.datasets.table import load_table
from collapse_jax.drivers.compiled import run_compiled
from collapse_jax.drivers.results import join_records, to_dataset
from collapse_jax.studies.numbers import study
from collapse_jax.studies.numbers.config import NumbersConfig

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame({"time": 1.7e9 + RNG.normal(size=60), "age": RNG.exponential(size=60), "count": np.arange(60)})


def _write(path, **options):
    FRAME.to_csv(path, **options)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {"index": False},
        {},
        {"index": False, "sep": ";"},
        {"index": False, "sep": ";", "decimal": ","},
        {"index": False, "sep": "\t"},
        {"index": False, "encoding": "utf-8-sig"},
        {"index": False, "encoding": "utf-16"},
        {"index": False, "lineterminator": "\r\n"},
    ],
)
def test_tables_of_many_makes_are_read(tmp_path, options):
    values, names = load_table(_write(tmp_path / "mine.csv", **options))
    assert names == ("time", "age", "count")
    np.testing.assert_allclose(values, FRAME.to_numpy(), rtol=1e-12)


def test_other_formats_are_read(tmp_path):
    (tmp_path / "mine.csv.gz").write_bytes(gzip.compress(FRAME.to_csv(index=False).encode()))
    FRAME.to_json(tmp_path / "mine.jsonl", orient="records", lines=True, double_precision=15)
    np.save(tmp_path / "mine.npy", FRAME.to_numpy())
    for name in ("mine.csv.gz", "mine.jsonl", "mine.npy"):
        np.testing.assert_allclose(load_table(tmp_path / name)[0], FRAME.to_numpy(), rtol=1e-9)
    values, names = load_table(tmp_path / "mine.csv.gz", ("age",))
    assert names == ("age",) and values.shape == (60, 1)


@pytest.mark.parametrize(
    ("text", "columns", "sentence"),
    [
        ("a,b\n1,2\n", ("c",), "has no column 'c'"),
        ("a,b\n", (), "holds no row"),
        ("", (), "cannot be read as a table"),
        ("1,2\n3,4\n", (), "first line holds numbers, not names"),
        ("a,b\n1,x\n2,y\n", (), "column 'b' must be numbers.*choose others by --columns"),
        ("a,b\n1,\n2,3\n", (), "missing values|NaN"),
        ("a,b\n1,2,3,4\n5\n", (), "cannot be read as a table|missing|names"),
        ("a\n\0\n", (), "cannot be read as a table|must be numbers|zero bytes"),
    ],
)
def test_tables_that_are_none_meet_a_sentence(tmp_path, text, columns, sentence):
    (tmp_path / "mine.csv").write_text(text)
    with pytest.raises((ValueError, TypeError), match=sentence) as told:
        study.build(NumbersConfig(str(tmp_path / "mine.csv"), columns, generations=2))
    assert "\n" not in str(told.value)


def _run(config, seeds=256, generations=30):
    (arm,) = study.build(config).arms
    records = [part.records for part in run_compiled(arm.chain, jax.random.key(0), seeds, [generations])]
    return to_dataset(join_records(records), arm.chain.metrics).expand_dims(num_samples=[arm.value])


@pytest.mark.parametrize("model", ["gaussian", "gmm", "kde"])
def test_the_laws_hold_for_numbers_that_are_not_gaussian(tmp_path, model):
    """Exponential numbers with an offset that float32 does not hold; 7,680 fits: the change is known to 12 % or less.

    Of a Gaussian the log variance, of the others the mean variance; a chain that lost twice as much would be 8 errors
    off. Small M, so that each fit changes much.
    """
    table = _write(tmp_path / "mine.csv", index=False, columns=["time", "age"])
    config = NumbersConfig(str(table), ("age",) if model == "kde" else (), model, num_samples=20, seeds=256)
    dataset = _run(config)
    (item,) = study.evidence(config, dataset)
    assert not item.unmet
    error = np.std(item.values) / np.sqrt(len(item.values))
    assert error < 0.13
    assert abs(np.mean(item.values) - 1) < 4.5 * error + 0.01
    assert "seeds" in study.answer(config, dataset)
    assert [one.name for one in study.figures(config, dataset)] == ["glance", "metrics"]


def test_a_law_that_does_not_hold_is_not_judged(tmp_path):
    table = _write(tmp_path / "mine.csv", index=False)
    config = NumbersConfig(str(table), ("age",), "kde", num_samples=20, regime="accumulate", generations=3)
    dataset = _run(config, seeds=4, generations=3)
    (item,) = study.evidence(config, dataset)
    assert "the law is replace()'s" in item.unmet


def test_a_run_begins_with_numbers_of_ones_own(tmp_path, capsys):
    table, out = _write(tmp_path / "mine.csv"), tmp_path / "run"
    arguments = ["run", "gaussian", "--data", str(table), "--columns", "time", "age", "--seeds", "16"]
    assert cli.run_command([*arguments, "--generations", "10", "--out", str(out)]) == 0
    assert "numbers: a Gaussian fitted to mine.csv, M = 60" in capsys.readouterr().out
    told = json.loads((out / "config.json").read_text())
    assert told["config"]["model"] == "gaussian" and len(told["data"]["numbers"]) == 64
    assert "60 rows of time, age" in (out / "report.html").read_text()
    for words in (["kde"], ["gmm", "--data", str(tmp_path / "none.csv")], ["numbers"]):
        assert cli.run_command(["run", *words]) == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert said[-1].startswith("collapse-jax: ") and said[-1].endswith(".")
