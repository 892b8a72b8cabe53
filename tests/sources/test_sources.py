"""Samples of a generation: what is read of each kind of file, that rows are as likely, and that memory is bounded."""

import gzip
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from PIL import Image

from collapse_jax.sources import arrays, tables
from collapse_jax.sources.reading import read_samples


def _written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def _image(path, pixels, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path)
    return path


def _idx(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


# Tables


@pytest.mark.parametrize(
    "content",
    [
        "x,y\n1.5,2\n3,4\n", "x;y\n1,5;2\n3,0;4\n", "x\ty\n1.5\t2\n3\t4\n", "\ufeffx,y\r\n1.5,2\r\n3,4\r\n",
        "x,y\n1.5,2\n\n3,4\n\n", "# made by hand\nx,y\n1.5,2\n3,4", '"x", "y"\n"1.5", 2\n3, 4\n',
        "x,y,\n1.5,2,\n3,4,\n",
        "x,y\n1.5,2,\n3,4,\n", "sep=;\nx;y\n1.5;2\n3;4\n", ",x,y\n0,1.5,2\n1,3,4\n", "x,y\na,1.5,2\nb,3,4\n",
        "# x,y\n1.5,2\n3,4\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_table_is_read_however_it_is_written(tmp_path, content, packed, encoding):
    written = content.removeprefix("\ufeff" if encoding == "utf-16" else "").encode(encoding)
    path = _written(tmp_path / f"a.csv{'.gz' * packed}", gzip.compress(written, mtime=0) if packed else written)
    frame, num_rows, notes = read_samples(path)
    assert frame.to_dict("list") == {"x": [1.5, 3.0], "y": [2, 4]} and num_rows == 2
    has_index = content.startswith(",") or "\na," in content
    assert notes == (
        ("The first column, which has no name, numbers or names the rows and was left out.",)
        if has_index
        else ()
    )


def test_a_table_without_names_numbers_its_columns(tmp_path):
    for name, content in {
        "a.csv": "1,2.5\n3,4\n", "b.tsv": "1\t2.5\n3\t4\n", "c.txt": "1 2.5\n3 4\n", "d.csv": "1;2,5\n3;4,0\n",
        "e.csv": "1,0;2,5\n3,0;4,0\n",
    }.items():  # fmt: skip
        values, _, notes = read_samples(_written(tmp_path / name, content))
        assert values.to_dict("list") == {"0": [1, 3], "1": [2.5, 4.0]}
        assert notes == (("c.txt is read as a table, not as texts.",) if name == "c.txt" else ())
    np.savetxt(tmp_path / "f.txt", [[1.0, 2.5], [3, 4]], header="x y")
    assert list(read_samples(tmp_path / "f.txt").values) == ["x", "y"]


def test_categories_are_strings_and_what_is_missing_stays_so(tmp_path):
    path = _written(tmp_path / "a.csv", 'kind,flag,n,m\n"a, ""b""",True,1,\n,False,,\n#c,,3,\n')
    frame, _, notes = read_samples(path)
    assert frame["kind"].tolist()[::2] == ['a, "b"', "#c"] and frame["kind"].isna().tolist() == [
        False,
        True,
        False,
    ]
    assert frame["flag"].tolist()[:2] == ["True", "False"] and frame["flag"].isna().sum() == 1
    assert frame["n"].dtype == float and frame["m"].isna().all() and notes == ()


def test_a_first_line_with_a_number_in_it_is_told(tmp_path):
    path = _written(tmp_path / "a.csv", "a,1.5\nb,2\n")
    assert read_samples(path).notes == ("The first line of a.csv is read as names, though 1.5 is a number.",)


@pytest.mark.parametrize("odd", [2, 40, 99])
def test_a_column_that_is_no_number_once_is_text_from_the_first_line_on(tmp_path, monkeypatch, odd):
    monkeypatch.setattr(tables, "_CELLS", 20)  # ten rows a chunk
    cells = [f"{index}.50" for index in range(100)]  # not as Python would write it
    cells[odd] = "n\n/a"  # over two lines, so that rows are not lines
    path = _written(
        tmp_path / "a.csv", "x,y\n\n" + "".join(f'"{cell}",{i}\n' for i, cell in enumerate(cells))
    )
    frame, num_rows, notes = read_samples(path)
    assert frame["x"].tolist() == cells and num_rows == 100 and frame["y"].tolist() == list(range(100))
    assert notes == (
        f"Column 'x' holds numbers and text, first 'n\\n/a' in line {odd + 4} of a.csv; it is taken as text.",
    )


def test_truth_values_that_meet_text_keep_their_spelling(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_CELLS", 4)
    path = _written(tmp_path / "a.csv", "x,y\ntrue,1\ntrue,2\nfalse,3\nmaybe,4\n")
    frame, _, notes = read_samples(path)
    assert frame["x"].tolist() == ["true", "true", "false", "maybe"] and notes == ()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is empty"),
        ("x,y\n", "holds names and no row; it needs one for each sample"),
        ("x,y\n1,2\n3\n", "line 3 of .* has 1 cells, where there are 2 columns; fix the row"),
        ("x,y\n" + "1,2\n" * 200 + "3\n", "line 202 of .* has 1 cells"),
        ("x,y\n" + "1,2\n" * 200 + "3,4,5\n", "line 202 of .* has 3 cells"),
        ("x,y\n1,2,3\n3,4\n", "line 2 of .* has 3 cells"),
        ("x,x\n1,2\n", "has two columns named 'x'; name each"),
        (b"x,y\n1,\xff\n", "is not UTF-8; save it as UTF-8"),
        (b"x,y\n" + b"1,2\n" * 9999 + b"1,\xff\n", "is not UTF-8; save it as UTF-8"),
        (b"x\0y\n", "holds zero bytes"),
        ('x,y\n1,"2\n', "cannot be read as a table"),
        (gzip.compress(b"x,y\n1,2\n" * 99, mtime=0)[:-12], r"cannot be read \(.*\); pack it again"),
    ],
)
def test_what_is_no_table_meets_a_sentence(tmp_path, content, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        read_samples(_written(tmp_path / "a.csv", content))
    assert "\n" not in str(caught.value)


def test_parts_of_a_table_are_one(tmp_path):
    one = _written(tmp_path / "gen/part-0.csv", "x,y\n1,a\n2,b\n")
    two = _written(tmp_path / "gen/part-1.csv", "y,x\nc,3\n")
    assert read_samples(tmp_path / "gen").values.to_dict("list") == {"x": [1, 2, 3], "y": ["a", "b", "c"]}
    _written(two, "x,z\n1,2\n")
    with pytest.raises(
        ValueError, match=r"part-1.csv has no column 'y', which is in .*part-0.csv; give parts of one"
    ):
        read_samples([one, two])


def test_a_table_of_nothing_but_texts_is_texts(tmp_path):
    assert read_samples(_written(tmp_path / "a.csv", "text\nhello\nworld\n")).values == ["hello", "world"]


def test_parquet(tmp_path):
    pytest.importorskip("pyarrow", reason="170 MB, no extra of ours")
    frame = pd.DataFrame({
        "x": np.arange(1000.0), "n": range(1000), "kind": list("ab") * 500, "flag": [True, None] * 500, "when":
        pd.Timestamp(0), "lists": [[1]] * 1000, "cat": pd.Categorical(list("uv") * 500),
    }, index=[f"r{i}" for i in range(1000)])  # fmt: skip
    frame.loc["r3", "x"] = np.nan
    path = tmp_path / "a.parquet"
    frame.to_parquet(path, row_group_size=64)
    values, num_rows, notes = read_samples(path, max_rows=2000)
    assert num_rows == 1000 and values["n"].tolist() == list(range(1000)) and values["x"].isna().sum() == 1
    assert (
        values["flag"].dropna().unique().tolist() == ["True"] and values["cat"].tolist() == list("uv") * 500
    )
    assert list(values) == ["x", "n", "kind", "flag", "cat"] and len(notes) == 3
    some, num_rows, _ = read_samples(path, max_rows=50)
    assert num_rows == 1000 and len(some) == 50 and some["n"].is_monotonic_increasing
    pd.testing.assert_frame_equal(some, values.loc[some["n"]].reset_index(drop=True))
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        read_samples(_written(path, path.read_bytes()[:900]))


def test_parquet_needs_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        ValueError, match=r"needs pyarrow to be read; install it \(pip install pyarrow\), or write a CSV"
    ):
        read_samples(_written(tmp_path / "a.parquet", b"PAR1"))


# Arrays


@pytest.mark.parametrize("max_rows", [7, 2000])
@pytest.mark.parametrize("shape", [(50,), (50, 3), (50, 4, 2, 3)])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "u1", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_hold_the_same_rows_however_they_are_stored(
    tmp_path, shape, dtype, order, max_rows, monkeypatch
):
    monkeypatch.setattr(arrays, "_BLOCK", 8)
    array = np.asarray(np.arange(np.prod(shape)).reshape(shape) % 251, dtype, order=order)
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "b.npz", array)
    np.savez_compressed(tmp_path / "c.npz", samples=array, labels=np.zeros(3))
    for name in ("a.npy", "b.npz", "c.npz"):
        values, num_rows, notes = read_samples(tmp_path / name, max_rows=max_rows)
        assert (
            num_rows == 50
            and len(values) == min(max_rows, 50)
            and values.dtype == np.dtype(dtype).newbyteorder("=")
        )
        rows = read_samples(tmp_path / "a.npy", max_rows=max_rows).values
        np.testing.assert_array_equal(values, rows)
        assert notes == (("Of c.npz, 'samples' is read; left out: labels.",) if name == "c.npz" else ())
    whole = array.reshape(50, -1).tolist()
    places = [whole.index(row) for row in values.reshape(len(values), -1).tolist()]
    assert dtype == "?" or (places == sorted(places) and len(set(places)) == len(places))


@pytest.mark.parametrize("packed", [False, True])
def test_idx_images(tmp_path, packed):
    images = np.random.default_rng(0).integers(0, 256, (30, 5, 4), np.uint8)
    content = _idx(images)
    path = tmp_path / f"train-images-idx3-ubyte{'.gz' * packed}"
    _written(path, gzip.compress(content, mtime=0) if packed else content)
    values, num_rows, _ = read_samples(path)
    np.testing.assert_array_equal(values, images)
    assert num_rows == 30 and len(read_samples(path, max_rows=9).values) == 9
    for wrong in (content[:-1], content + b"\0"):
        with pytest.raises(
            ValueError, match=r"truncated or too long: its header \(30, 5, 4\) asks for|is cut off before"
        ):
            read_samples(_written(path, gzip.compress(wrong, mtime=0) if packed else wrong))


def test_parts_of_an_array_are_one_and_must_be_alike(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 2), np.float32))
    np.save(tmp_path / "b.npy", np.ones((4, 2)))
    values, num_rows, _ = read_samples([tmp_path / "a.npy", tmp_path / "b.npy"])
    assert num_rows == 7 and values[:, 0].tolist() == [0] * 3 + [1] * 4
    np.save(tmp_path / "b.npy", np.ones((4, 3)))
    with pytest.raises(
        ValueError, match=r"a.npy has rows of the shape \(2,\) .*b.npy of \(3,\).*; give parts of one"
    ):
        read_samples(tmp_path)


def test_samples_that_would_fill_memory_are_fewer(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "MOST", 2**22)
    np.save(tmp_path / "a.npy", np.zeros((20, 2**17)))
    values, num_rows, notes = read_samples(tmp_path / "a.npy")
    assert (
        len(values) == 4 and num_rows == 20 and notes == ("Only 4 samples are read, for each takes 1 MiB.",)
    )


def test_what_is_no_array_meets_a_sentence(tmp_path):
    path = tmp_path / "a.npy"
    for array, sentence in (
        (np.float64(1), "holds a single value"), (np.array([None]), "of the type object"),
        (np.zeros(2, complex), "save real numbers"), (np.zeros(2, [("a", int)]), "save its columns as a table"),
        (np.zeros((0, 2)), "holds no sample"),
    ):  # fmt: skip
        np.save(path, array)
        with pytest.raises(ValueError, match=sentence):
            read_samples(path)
    np.save(path, np.zeros((9, 9)))
    with pytest.raises(
        ValueError, match=r"is cut off: its shape \(9, 9\) asks for 648 bytes, and 647 are there"
    ):
        read_samples(_written(path, path.read_bytes()[:-1]))
    for name in ("b.npy", "b.npz", "b.idx"):
        with pytest.raises(ValueError, match=r"cannot be read as an array|is not an IDX file"):
            read_samples(_written(tmp_path / name, b"anything"))
    np.savez(tmp_path / "c.npz", a=1, b=2)
    with pytest.raises(ValueError, match=r"holds the arrays a, b; call the one of the samples 'samples'"):
        read_samples(tmp_path / "c.npz")


# Images


def test_images_of_all_modes_become_one(tmp_path):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    colour = np.stack([grey, grey + 1, grey + 2], -1)
    _image(tmp_path / "grey/1.png", grey)
    _image(tmp_path / "grey/2.png", grey > 5)
    _image(tmp_path / "grey/3.png", grey.astype(np.uint16) * 256)
    values, num_rows, notes = read_samples(tmp_path / "grey")
    assert values.shape == (3, 3, 4) and num_rows == 3 and notes == () and (values[2] == grey).all()
    _image(tmp_path / "mixed/10.png", grey)
    _image(tmp_path / "mixed/2.png", colour)
    _image(tmp_path / "mixed/3.png", colour, "P")
    values, _, notes = read_samples(tmp_path / "mixed")
    assert (
        values.shape == (3, 3, 4, 3) and (values[0] == colour).all() and (values[2] == grey[..., None]).all()
    )
    assert notes == ("Grey, coloured and transparent images are mixed; all are read as the richest of them.",)
    _image(tmp_path / "mixed/4.png", np.dstack([colour, grey]))
    values = read_samples(tmp_path / "mixed").values
    assert values.shape == (4, 3, 4, 4) and (values[0, ..., 3] == 255).all()
    _image(tmp_path / "one/a.jpg", colour)
    assert read_samples(tmp_path / "one/a.jpg").values.shape == (1, 3, 4, 3)


def test_only_chosen_images_are_opened(tmp_path):
    for index in range(20):
        _image(tmp_path / f"{index}.png", np.full((2, 2), index, np.uint8))
    values, num_rows, _ = read_samples(tmp_path, max_rows=5)
    chosen = values[:, 0, 0].tolist()
    assert num_rows == 20 and chosen == sorted(chosen)
    for index in set(range(1, 20)) - set(chosen):
        _written(tmp_path / f"{index}.png", b"")
    np.testing.assert_array_equal(read_samples(tmp_path, max_rows=5).values, values)


def test_images_that_do_not_fit_meet_a_sentence(tmp_path):
    good = _image(tmp_path / "0.png", np.zeros((40, 40), np.uint8))
    _image(tmp_path / "1.png", np.zeros((40, 30), np.uint8))
    with pytest.raises(
        ValueError, match=r"0.png has 40 x 40 pixels and .*1.png has 30 x 40; bring all images"
    ):
        read_samples(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), np.uint8)
    for content in (_image(good, noise).read_bytes()[:900], b"no image"):
        _written(tmp_path / "1.png", content)
        with pytest.raises(
            ValueError, match=r"1.png cannot be read as an image \(.*\); write it again, or leave it out"
        ):
            read_samples(tmp_path)


def test_images_beside_labels_and_figures_beside_tables(tmp_path):
    for index in range(11):
        _image(tmp_path / f"a/{index}.png", np.zeros((2, 2), np.uint8))
    _written(tmp_path / "a/labels.csv", "x\n1\n")
    assert read_samples(tmp_path / "a").values.shape == (11, 2, 2)
    _image(tmp_path / "b/loss.png", np.zeros((2, 2), np.uint8))
    _written(tmp_path / "b/samples.csv", "x\n1\n")
    assert read_samples(tmp_path / "b").notes == (
        "Left out: loss.png (no samples, or of another kind than the rest).",
    )


# Texts


def test_texts_a_line_and_a_file(tmp_path):
    path = _written(tmp_path / "a.txt", "Hello, you.\r\n\n  two\u2028words \n\nend")
    values, num_rows, notes = read_samples(path)
    assert values == ["Hello, you.", "  two\u2028words ", "end"] and num_rows == 3
    assert notes == ("2 lines are blank and left out.",)
    for name, text in (("10.txt", "ten\nlines\n"), ("2.txt", ""), ("3.txt", "three")):
        _written(tmp_path / "texts" / name, text)
    assert read_samples(tmp_path / "texts") == (["", "three", "ten\nlines"], 3, ("1 text is empty.",))
    assert read_samples([tmp_path / "texts/10.txt", tmp_path / "texts/3.txt"]).values == [
        "ten",
        "lines",
        "three",
    ]
    with pytest.raises(ValueError, match="is not UTF-8"):
        read_samples(_written(path, b"caf\xe9"))
    with pytest.raises(ValueError, match="holds no text; write one a line"):
        read_samples(_written(path, b"\n\n"))


@pytest.mark.parametrize(
    ("lines", "values", "notes"),
    [
        (['"a"', '""'], ["a", ""], ("1 text is empty.",)),
        (['{"text": "a"}', "", '{"text": null}'], ["a", ""], ("1 text is empty.",)),
        (['{"id": 1, "completion": "a"}'], ["a"], ("Of each line, 'completion' is read; left out: id.",)),
        (["[1, 2]", "[3]"], [[1, 2], [3]], ()),
        (['{"input_ids": [1, 2]}'], [[1, 2]], ()),
    ],
)
def test_json_lines_of_texts_and_tokens(tmp_path, lines, values, notes):
    assert read_samples(_written(tmp_path / "a.jsonl", "\n".join(lines))) == (values, len(values), notes)


def test_json_lines_of_numbers_and_cells(tmp_path, monkeypatch):
    path = _written(tmp_path / "a.jsonl", "[1, 2.5]\n[3, 4]\n")
    np.testing.assert_array_equal(read_samples(path).values, [[1, 2.5], [3, 4]])
    lines = [
        '{"x": 1, "k": "12", "f": true}',
        '{"x": null, "k": "b", "y": 2}',
        '{"x": 2.5, "k": 7, "z": [1], "f": 1}',
    ]
    frame, _, notes = read_samples(_written(path, "\n".join(lines)))
    assert frame["x"].tolist()[::2] == [1, 2.5] and frame["k"].tolist() == ["12", "b", "7"]
    assert frame["y"].isna().tolist() == [True, False, True] and frame["f"].tolist()[::2] == ["True", "1"]
    assert list(frame) == ["x", "k", "f", "y"]
    assert notes == (
        "Column 'k' holds numbers and text, first '12' in line 1 of a.jsonl; it is taken as text.",
        "Column 'f' holds numbers and truth values, first True in line 1 of a.jsonl; it is taken as text.",
        "Column 'z' holds lists or objects and was left out.",
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is empty"),
        ('"a"\n{"b"', r"line 2 of .* is not JSON \(.*\); write one sample a line"),
        ('{"text": "a"}\n{"other": 1}', "line 2 of .* is no text"),
        ('{"text": "a"}\n{"text": 1}', "'text' in line 2 of .* is no text, got 1"),
        ("[1]\n3", "line 2 of .* is no list of numbers, got 3"),
        ('[1]\n["a"]', "write lists of numbers alone"),
        ("[1.5]\n[1, 2]", "lists of 1 and of 2 numbers"),
        ('{"x": 1}\n[1]', "line 2 of .* is no object"),
        ('{"x": [1]}', "holds objects without a number or a text"),
        ("17", "line 1 of .* is 17; write texts"),
        ("[" * 10**5, "line 1 of .* is not JSON"),
    ],
)
def test_json_that_is_no_samples_meets_a_sentence(tmp_path, content, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_samples(_written(tmp_path / "a.jsonl", content))


def test_what_holds_no_samples_meets_a_sentence(tmp_path):
    for name, sentence in (
        ("a.pt", "is no file of samples that is known; save them as .csv"),
        ("b.csv", "cannot be read"),
    ):
        path = tmp_path / name
        if name == "a.pt":
            _written(path, b"PK")
        with pytest.raises(ValueError, match=sentence):
            read_samples(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no samples; put files there"):
        read_samples(tmp_path / "empty")
    np.save(tmp_path / "c.npy", np.zeros(3))
    with pytest.raises(ValueError, match="hold samples of different kinds; give parts of one kind"):
        read_samples([tmp_path / "c.npy", _written(tmp_path / "d.csv", "x\n1\n")])
    with pytest.raises(ValueError, match="`max_rows` must be at least 1"):
        read_samples(tmp_path / "c.npy", max_rows=0)


# Law


def _csv(path, num):
    _written(path / "a.csv", "x,k\n" + "".join(f"{i},k{i}\n" for i in range(num)))
    return lambda values: values["x"].to_numpy()


def _npy(path, num):
    np.save(path / "a.npy", np.arange(num))
    return lambda values: values


def _jsonl(path, num):
    _written(path / "a.jsonl", "".join(json.dumps({"text": str(i)}) + "\n" for i in range(num)))
    return lambda values: np.array(values, int)


def _parts(path, num):
    _written(path / "a.txt", "".join(f"t{i}\n" for i in range(num // 3)))
    _written(path / "b.txt", "".join(f"t{i}\n" for i in range(num // 3, num)))
    return lambda values: np.array([int(text[1:]) for text in values])


def _png(path, num):
    for i in range(num):
        _image(path / f"{i}.png", np.full((1, 1), i, np.uint8))
    return lambda values: values[:, 0, 0].astype(int)


@pytest.mark.parametrize(
    ("write", "num", "num_seeds"),
    [(_csv, 30, 100), (_npy, 60, 300), (_jsonl, 240, 100), (_parts, 240, 100), (_png, 20, 150)],
)
def test_each_row_is_as_likely(tmp_path, monkeypatch, write, num, num_seeds):
    """Chi-square over rows, a third of which is kept: it sees, in 99 of 100 cases, a tenth of them twice as likely.

    Kept without replacement, so the statistic times (num - 1) / (num - kept) has the law of chi-square.
    """
    monkeypatch.setattr(tables, "_CELLS", 14)  # seven rows a chunk
    rows_of, size = write(tmp_path, num), num // 3
    where = sorted(tmp_path.iterdir()) if write is not _png else tmp_path
    counts = np.zeros(num)
    for seed in range(num_seeds):
        values, num_rows, _ = read_samples(where, max_rows=size, seed=seed)
        rows = rows_of(values)
        assert num_rows == num and len(rows) == size and (np.diff(rows) > 0).all()
        counts[rows] += 1
    expected = num_seeds * size / num
    statistic = ((counts - expected) ** 2 / expected).sum() * (num - 1) / (num - size)
    p = scipy.stats.chi2.sf(statistic, num - 1)
    assert 1e-4 < p < 1 - 1e-4, (statistic, num - 1)


def test_a_seed_keeps_the_same_rows_however_they_are_cut(tmp_path, monkeypatch):
    rows_of = _csv(tmp_path, 500)
    kept = rows_of(read_samples(tmp_path / "a.csv", max_rows=40, seed=3).values)
    monkeypatch.setattr(tables, "_CELLS", 50)
    np.testing.assert_array_equal(rows_of(read_samples(tmp_path / "a.csv", max_rows=40, seed=3).values), kept)
    assert set(rows_of(read_samples(tmp_path / "a.csv", max_rows=40, seed=4).values)) != set(kept)


_GROWTH = """
import re, sys
from pathlib import Path
from collapse_jax.sources.reading import read_samples
def peak():
    return int(re.search(r"VmHWM:\\s+([0-9]+) kB", Path("/proc/self/status").read_text())[1])
read_samples(Path(sys.argv[2]))
before = peak()
sample = read_samples(Path(sys.argv[1]))
print(len(sample.values), sample.num_rows, (peak() - before) / 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only there a process's own peak is told")
@pytest.mark.parametrize("name", ["a.npy", "columns.npy", "a.csv", "a.txt"])
def test_memory_does_not_grow_with_the_file(tmp_path, name):
    """MiB beyond what reading a small file of the kind takes; the files have 400 and 150.

    Not by `getrusage`, whose peak a process inherits from the one that starts it.
    """
    path, small = tmp_path / name, tmp_path / f"small{Path(name).suffix}"
    try:
        if name.endswith(".npy"):
            array = np.zeros((10**6, 50), order="F" if name == "columns.npy" else "C")
            np.save(path, array)
            np.save(small, array[:10])
            num_rows = len(array)
        else:
            lines = [f"{i / 7:.12f},{i / 3:.12f},{i % 9},kind{i % 5}\n" for i in range(4000)]
            block, head = "".join(lines), "x,y,n,kind\n" if name == "a.csv" else "some words,\n"
            times = 150 * 2**20 // len(block)
            with path.open("w") as file:
                file.write(head)
                file.writelines(block if name == "a.csv" else block.replace(",", " ") for _ in range(times))
            small.write_text(head + lines[1])
            num_rows = times * len(lines) + (name == "a.txt")
        run = [sys.executable, "-c", _GROWTH, str(path), str(small)]
        done = subprocess.run(run, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
        assert done.returncode == 0, done.stderr
        kept, found, growth = done.stdout.split()
        assert int(kept) == 2000 and int(found) == num_rows and float(growth) < 100
    finally:
        path.unlink(missing_ok=True)
