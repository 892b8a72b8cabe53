"""Records in the shapes in which people have them: separators, marks, indices, components, formats, and in memory."""

import gzip
import sys
import time

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from collapse_jax.cli.main import run_command
from collapse_jax.drivers.results import write_netcdf
from collapse_jax.records import page
from collapse_jax.records.external import read_records, report_records

VALUES = np.array([[2.5, 1.25, 0.5], [2.0, 1.0, 0.75]])  # seeds 0 and 1, generations 0 to 2


def _file(tmp_path, content, name="mine.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _text(separator=",", comma=False, head="seed,generation,loss", first=""):
    rows = [f"{s},{g},{VALUES[s, g]!s}" for s in range(2) for g in range(3)]
    if comma:
        rows = [row.replace(",", ";").replace(".", ",") for row in rows]
        return "\n".join([head.replace(",", ";"), *rows]) + "\n"
    return first + "\n".join([head, *rows]).replace(",", separator) + "\n"


FORMS = {
    "semicolons": _text(";"),
    "tabs": _text("\t"),
    "decimal commas": _text(comma=True),
    "a comma within a name": _text(comma=True, head='seed,generation,"loss"').replace("loss", "loss"),
    "a spreadsheet's sep": "sep=;\r\n" + _text(comma=True),
    "comments": "# made by hand\n\n" + _text().replace("0,1,", "# between\n0,1,", 1),
    "savetxt's header": "# " + _text(),
    "capitals": _text(head="Seed,Generation,loss"),
    "quotes": _text(head='"seed", "generation", "loss"'),
    "a mark": "\ufeff" + _text(),
    "UTF-16": _text().encode("utf-16"),
    "old line ends": _text().replace("\n", "\r"),
    "trailing separators": _text().replace("\n", ",\n"),
    "names of rows, as R writes them": "\n".join(
        [line if n == 0 else f'"{n}",{line}' for n, line in enumerate(_text().splitlines())]
    ),
    "gzip": gzip.compress(_text().encode()),
    "whole numbers as floats": _text().replace("\n0,", "\n0.0,").replace("\n1,", "\n1.0,"),
}


@pytest.mark.parametrize("form", FORMS)
def test_one_table_in_many_forms(tmp_path, form):
    for name in ("mine.csv", "mine.csv.gz") if form == "gzip" else ("mine.csv",):
        result = read_records(_file(tmp_path, FORMS[form], name))
        np.testing.assert_array_equal(result.loss, VALUES)
        assert list(result.data_vars) == ["loss"] and result.seed.dtype == np.int64


def test_other_formats(tmp_path):
    frame = pd.DataFrame({"seed": np.repeat([0, 1], 3), "generation": [0, 1, 2] * 2, "loss": VALUES.ravel()})
    frame.to_json(tmp_path / "list.json", orient="records")
    frame.to_json(tmp_path / "lines.jsonl.gz", orient="records", lines=True)
    frame.to_csv(tmp_path / "index.csv")
    frame.iloc[::-1].to_csv(tmp_path / "again.csv")
    pd.read_csv(tmp_path / "index.csv").to_csv(tmp_path / "twice.csv", index=False)
    frame.to_csv(tmp_path / "mine.tsv", sep="\t", index=False)
    for name in ("list.json", "lines.jsonl.gz", "index.csv", "again.csv", "twice.csv", "mine.tsv"):
        result = read_records(tmp_path / name)
        np.testing.assert_array_equal(result.loss, VALUES)
        assert list(result.data_vars) == ["loss"], name
    assert "numbers the rows" in read_records(tmp_path / "twice.csv").attrs["remarks"][0]


@pytest.mark.parametrize("shape", ["columns", "levels", "wide", "nullable", "words"])
def test_frames_in_memory(shape):
    frame = pd.DataFrame({"seed": np.repeat([0, 1], 3), "generation": [0, 1, 2] * 2, "loss": VALUES.ravel()})
    if shape == "levels":
        frame = frame.set_index(["seed", "generation"])
    elif shape == "wide":
        frame = frame.assign(fid=1.0).pivot(index="generation", columns="seed", values=["loss", "fid"])
    elif shape == "nullable":
        frame = frame.convert_dtypes()
    elif shape == "words":  # one number a row
        frame = frame.assign(fid=1.0).melt(["seed", "generation"], var_name="metric")
    np.testing.assert_array_equal(read_records(frame).loss, VALUES)


def _vectors():
    rng, dims = np.random.default_rng(0), ("seed", "generation")
    return xr.Dataset(
        {
            "loss": (dims, rng.normal(size=(3, 4)), {"units": "nats"}),
            "weights": ((*dims, "component"), rng.normal(size=(3, 4, 2))),
            "means": ((*dims, "component", "axis"), rng.normal(size=(3, 4, 2, 3))),
            "steps": (dims, rng.integers(1, 9, (3, 4))),
        },
        {"seed": range(3), "generation": range(4)},
    )


@pytest.mark.parametrize("form", ["csv", "shuffled", "jsonl", "memory", "frame", "netcdf", "theirs", "classic"])
def test_metrics_of_several_numbers_come_back_with_their_dims(tmp_path, form):
    dataset = _vectors()
    frame = dataset.to_dataframe()
    if form == "csv":
        frame.to_csv(source := tmp_path / "mine.csv")
    elif form == "shuffled":
        frame.reset_index().sample(frac=1, random_state=1).to_csv(source := tmp_path / "mine.csv", index=False)
    elif form == "jsonl":
        source = tmp_path / "mine.jsonl"
        frame.reset_index().to_json(source, orient="records", lines=True, double_precision=15)
    elif form == "netcdf":
        write_netcdf(dataset, source := tmp_path / "trajectory.nc")
    elif form == "theirs":
        dataset.assign_coords(generation=np.arange(4.0)).to_netcdf(source := tmp_path / "a.nc", engine="h5netcdf")
    elif form == "classic":
        dataset.to_netcdf(source := tmp_path / "a.nc", engine="scipy")
    else:
        source = dataset if form == "memory" else frame
    result = read_records(source)
    assert set(result.data_vars) == {"loss", "weights", "means", "steps"}
    for name, array in dataset.data_vars.items():
        assert result[name].dims == array.dims, name
        np.testing.assert_allclose(result[name], array, rtol=1e-12)


def test_components_have_names_and_repeated_ones_their_lines(tmp_path):
    frame = _vectors().to_dataframe().reset_index()
    pd.concat([frame, frame.iloc[[7]]]).to_csv(tmp_path / "mine.csv", index=False)
    with pytest.raises(ValueError, match=r"line 74 of .* repeats seed 0, generation 1, component 0, axis 1, of line 9"):
        read_records(tmp_path / "mine.csv")
    arms = pd.DataFrame({"arm": ["a", "a", "b", "b"], "generation": [0, 1, 0, 1], "loss": [1.0, 2.0, 3.0, 5.0]})
    assert read_records(arms).loss.sel(arm="b").values.tolist() == [[3.0, 5.0]]
    with pytest.raises(ValueError, match=r"no column 'seed'.* if 'fold' says which run a row is of, name it 'seed'"):
        read_records(pd.DataFrame({"fold": [0, 0, 1, 1], "generation": [0, 1, 0, 1], "loss": [1.0, 2.0, 3.5, 5.0]}))


HEAD = "seed,generation,loss\n0,0,1\n0,1,2\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("generation,loss\n", "holds no row beside its header; write one"),
        ("# generation,loss\n", "has no column|is empty|holds no row"),
        (HEAD + "0,1700000000,1\n", "lacks generation 2; .*: line 4 of .* has 1700000000"),
        (HEAD + "0,2,1\n1,1e15,1\n", "lacks generation 3; .*: line 5 of .* has 1000000000000000"),
        ("generation,loss\n0,1\n1,2\n1,2\n", "line 4 of .* repeats generation 1, of line 3; .*or add a column `seed`"),
        ("generation loss\n0 1\n1 2\n", "separate columns by commas"),
        ("generation;loss\n0;1,5\n1;2.5\n", "line 2 of .* `loss` is '1,5' with a comma, and line 3 .* a point"),
        ('generation,loss\n0,"1,5"\n1,2\n', "line 2 of .* `loss` is '1,5', not a number"),
        (",loss\n0,1\n1,2\n", "no column 'generation'; name the first column"),
        ("generation,name\n0,a\n1,b\n", "line 2 of .* `name` is 'a', not a number"),
        ("generation,run,loss\n0,1,1\n1,b,2\n", "line 3 of .* `run` is 'b', not a number"),
        ("seed,generation,loss\n-3,0,1\n", "`seed` is '-3', not a whole number from 0 on; number the seeds"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line_and_quickly(tmp_path, text, sentence):
    begun = time.monotonic()
    with pytest.raises(ValueError, match=sentence) as caught:
        read_records(_file(tmp_path, text))
    assert "\n" not in str(caught.value) and time.monotonic() - begun < 5


def test_packed_files_that_are_broken_or_far_too_large(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"cannot be read .*; pack it again"):
        read_records(_file(tmp_path, gzip.compress(HEAD.encode())[:-9], "mine.csv.gz"))
    monkeypatch.setattr("collapse_jax.files.decoding.DATA", 10**5)
    with pytest.raises(ValueError, match="would become more than 100,000 bytes"):
        read_records(_file(tmp_path, gzip.compress(b"0" * 10**7), "mine.csv.gz"))
    with pytest.raises(ValueError, match="cannot be read as netCDF"):
        read_records(_file(tmp_path, b"\x89HDF\r\n", "mine.nc"))
    with pytest.raises(ValueError, match="cannot be read as netCDF"):
        read_records(_file(tmp_path, b"CDF\x01abc", "mine.nc"))


def test_parquet_needs_pyarrow(tmp_path, monkeypatch):
    path = _file(tmp_path, b"PAR1", "mine.parquet")
    with monkeypatch.context() as context:
        context.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(ValueError, match=r"needs pyarrow to be read; install it \(pip install pyarrow\)"):
            read_records(path)
    pytest.importorskip("pyarrow")
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        read_records(path)
    _vectors().to_dataframe().to_parquet(path)
    assert read_records(path).means.dims == ("seed", "generation", "component", "axis")


def test_labels_stay_whole_numbers(tmp_path):
    """2^53 + 1 is no float; PyTorch's seeds have 64 bits."""
    seeds = [2**53, 2**53 + 1, 2**64 - 1]
    text = "seed,generation,loss\n" + "".join(f"{seed},{g},{g}.5\n" for seed in seeds for g in range(2))
    assert read_records(_file(tmp_path, text)).seed.values.tolist() == seeds


def test_text_and_missing_values_are_told(tmp_path):
    text = "generation,note,loss,fid\n" + "".join(f"{g},run {g},{g * 0.3},{'NA' if g else 1}\n" for g in range(4))
    told = []
    path = report_records(_file(tmp_path, text), tell=told.append)
    everything = " ".join(told)
    assert "Text, and left out: `note`." in everything and "fid 3 of 4" in everything
    assert all(one.replace("'", "&#39;") in path.read_text() for one in told)


def test_metrics_may_be_chosen_and_many_are_drawn_in_part(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(page, "MOST_PANELS", 3)
    names = [f"m{index}" for index in range(400)]
    rows = [f"{s},{g}," + ",".join(str((s + 1.37) * g + i) for i in range(400)) for s in range(2) for g in range(3)]
    path = _file(tmp_path, "\n".join(["seed,generation," + ",".join(names), *rows]))
    begun = time.monotonic()
    assert run_command(["report", "--records", str(path)]) == 0
    assert time.monotonic() - begun < 20
    shown = " ".join(capsys.readouterr().out.split())
    assert "Of 400 metrics that change, the 3 that moved most clearly are drawn; choose others by --metrics" in shown
    assert run_command(["report", "--records", str(path), "--metrics", "m3,m5"]) == 0
    text = (tmp_path / "mine-report" / "report.html").read_text()
    assert "<td>m5<" in text and "<td>m7<" not in text
    assert run_command(["report", "--records", str(path), "--metrics", "n3"]) == 2
    assert "has no metric 'n3'; did you mean" in capsys.readouterr().err
    assert run_command(["report", str(tmp_path), "--metrics", "m3"]) == 2
    assert "add --records" in capsys.readouterr().err


def test_what_is_no_record(tmp_path, unchecked):
    with pytest.raises(TypeError, match="`records` must be a str or Path or Dataset"):
        read_records(3)
    with pytest.raises(ValueError, match="need a folder"):
        report_records(_vectors())
    with pytest.raises(ValueError, match="has no dimension 'generation'"):
        read_records(_vectors().rename(generation="time"))
    told = []
    assert report_records(_vectors(), tmp_path / "out", tell=told.append).exists() and "nats" in " ".join(told)
