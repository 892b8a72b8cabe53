"""Texts as other programs write them: the same lines and documents whatever the encoding, or a sentence."""

import gzip
import json
import re

import pytest

from collapse_jax.datasets.text import load_text, load_wikitext2, text_sum
from collapse_jax.studies.texts import load_texts

DOCUMENTS = [[f"Chapter {n}, café 北京 🦜.", f"It went on {n}."] for n in range(7)]
PLAIN = "\n\n".join("\n".join(lines) for lines in DOCUMENTS) + "\n"
PARTS = ([line for n in (1, 2, 4, 5) for line in DOCUMENTS[n]], DOCUMENTS[0] + DOCUMENTS[6], DOCUMENTS[3])
RECORDS = "".join(json.dumps({"id": n, "text": "\n".join(lines)}) + "\n" for n, lines in enumerate(DOCUMENTS))

ENCODED = {
    "utf-8": PLAIN.encode(),
    "with a mark": PLAIN.encode("utf-8-sig"),
    "utf-16 of this machine": PLAIN.encode("utf-16"),
    "utf-16 the other way": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "utf-32": PLAIN.encode("utf-32"),
    "of Windows": PLAIN.replace("\n", "\r\n").encode("utf-8-sig"),
    "of an old Mac": PLAIN.replace("\n", "\r").encode(),
    "with more blank lines": PLAIN.replace("\n\n", "\n \n\t\n").encode(),
    "packed": gzip.compress(PLAIN.encode("utf-8-sig")),
    "packed in two": gzip.compress(PLAIN[:50].encode()) + gzip.compress(PLAIN[50:].encode()),
}


@pytest.mark.parametrize("name", ENCODED)
def test_a_text_is_the_same_however_it_is_encoded(tmp_path, name):
    for file in ("mine.txt", "mine.txt.gz", "README"):
        (tmp_path / file).write_bytes(ENCODED[name])
        assert load_text(tmp_path / file) == PARTS


@pytest.mark.parametrize("sign", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e"])
def test_only_newlines_end_a_line(tmp_path, sign):
    """In a text, in a folder's files, in JSONL and in wikitext."""
    one = f"the{sign}spring"
    (tmp_path / "mine.txt").write_bytes("\n\n".join([one, "b", "c"]).encode())
    assert load_text(tmp_path / "mine.txt").validation == [one]
    (tmp_path / "mine.jsonl").write_bytes(
        "\n".join(json.dumps({"text": text}, ensure_ascii=False) for text in (one, "b", "c")).encode()
    )
    assert load_text(tmp_path / "mine.jsonl").validation == [one]
    folder = tmp_path / "wiki"
    folder.mkdir()
    for part in ("train", "valid", "test"):
        (folder / f"wiki.{part}.raw").write_bytes(f" {one} \n\n x \n".encode("utf-8-sig"))
    assert load_wikitext2(folder) == ([f" {one} ", " x "],) * 3
    (folder / "wiki.train.raw").rename(folder / "a.txt")
    for name in "bc":
        (folder / f"{name}.txt").write_text(name)
    assert load_text(folder).validation == [f" {one} ", " x "]


def test_hidden_files_of_a_folder_are_no_texts(tmp_path):
    for n, lines in enumerate(DOCUMENTS):
        (tmp_path / f"{n}.txt").write_text("\n".join(lines), encoding="utf-8")
    summed = text_sum(tmp_path)
    for hidden in ("._0.txt", ".DS_Store", ".git/info.txt", ".ipynb_checkpoints/0.txt", "__MACOSX/._0.txt"):
        (tmp_path / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / hidden).write_bytes(b"\0\5\x16\7")
    assert load_text(tmp_path) == PARTS and text_sum(tmp_path) == summed
    (tmp_path / ".hidden").mkdir()
    for n in range(3):
        (tmp_path / ".hidden" / f"{n}.TXT").write_text(str(n))
    assert load_text(tmp_path / ".hidden").train == ["2"]  # the folder that was named may be


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json", "a.jsonl.gz", "a.JSONL"])
def test_jsonl_has_a_document_a_line(tmp_path, name):
    content = ("\ufeff" + RECORDS.replace("\n", "\n\n")).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert load_text(tmp_path / name) == PARTS


def test_a_list_of_json_and_another_column(tmp_path):
    records = [{"body": "\r\n".join(lines), "text": 3} for lines in DOCUMENTS] + [{"body": " \n"}]
    (tmp_path / "a.json").write_text(json.dumps(records, indent=1))
    assert load_text(tmp_path / "a.json", column="body") == PARTS
    assert load_text(tmp_path / "a.json", "body") == load_text(tmp_path / "a.json", "body")
    with pytest.raises(ValueError, match=r"^record 1 of .*a\.json has 3 for 'text', no text; leave it out\.$"):
        load_text(tmp_path / "a.json")


def test_a_folder_may_mix_texts_and_jsonl(tmp_path):
    (tmp_path / "a.txt").write_text("\n".join(DOCUMENTS[0]), encoding="utf-8")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "rest.jsonl").write_text("".join(RECORDS.splitlines(keepends=True)[1:]))
    (tmp_path / "dataset_info.json").write_text("{}")
    assert load_text(tmp_path) == PARTS


BAD = {
    "no JSON": ("a.jsonl", '{"text": "a"}\n{"text": \n', r"line 2 of .*a\.jsonl is no JSON .*; write one"),
    "no object": ("a.jsonl", '{"text": "a"}\n\n3\n', r"line 3 of .*a\.jsonl is 3, no object"),
    "no list": ("a.json", "[1, ", r"the list of .*a\.json is no JSON"),
    "no such column": (
        "a.jsonl", '{"content": "a", "url": "b"}\n',
        r"line 1 of .*a\.jsonl has no column 'text'; there are: 'content', 'url'; name .* by --text-column\.$",
    ),
    "many columns": ("a.jsonl", json.dumps({f"c{n}": n for n in range(99)}), r"'c11', \.\.\.; name"),
    "nothing": ("a.jsonl", '{"text": null}', r"line 1 of .*has None for 'text', no text"),
    "half a sign": ("a.jsonl", '{"text": "\\ud800"}', "lone surrogates"),
    "nested": ("a.jsonl", "[" * 100_000, "no JSON"),
    "table": ("a.csv", "text\nx\n", r"a\.csv is a table; .*\.read_csv\('a\.csv'\)\.to_json\('a\.jsonl'.*--text-column"),
    "parquet": ("a.parquet", "PAR1", r"read_parquet\('a\.parquet'\)"),
    "archive": ("a.zip", "PK", r"a\.zip is packed; unpack it"),
    "cut off": ("a.txt.gz", gzip.compress(PLAIN.encode())[:-9], r"cannot be read .*take it again"),
    "half a mark": ("a.txt", b"\xff\xfea", r"is not UTF-16, as its first bytes say"),
    "latin": ("a.txt", "é".encode("latin-1"), "is not UTF-8"),
    "no mark": ("a.txt", "ab".encode("utf-16-le"), "zero bytes"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_text_is_told_with_file_and_line(tmp_path, name):
    file, content, sentence = BAD[name]
    (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=sentence):
        load_text(tmp_path / file)
    if re.search(r"parquet|zip", file):  # in a folder, too
        with pytest.raises(ValueError, match=sentence):
            load_text(tmp_path)


def test_a_packed_text_that_would_fill_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("collapse_jax.files.decoding.DATA", 100)
    (tmp_path / "a.txt").write_bytes(gzip.compress(b"a\n" * 51, mtime=0))
    with pytest.raises(ValueError, match="would become more than 100 bytes"):
        load_text(tmp_path / "a.txt")


def test_the_study_reads_the_column_that_is_named(tmp_path):
    lines = [json.dumps({"body": " ".join(f"word {n} {m}" for m in range(60))}) for n in range(9)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    text = str(tmp_path / "a.jsonl")
    with pytest.raises(ValueError, match="there are: 'body'"):
        load_texts(4, 0, text=text)
    assert load_texts(4, 0, text=text, text_column="body").training.shape == (4, 64)
    for text in (None, "wikitext-2"):
        with pytest.raises(ValueError, match="`text_column` is 'body', but this text has no columns"):
            load_texts(4, 0, text=text, text_column="body")
    (tmp_path / "b.txt").write_text(PLAIN)
    with pytest.raises(ValueError, match="holds no JSONL"):
        load_texts(4, 0, text=str(tmp_path / "b.txt"), text_column="body")
