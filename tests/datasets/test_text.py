"""Real text: split by document, cut into blocks, and refused in a sentence."""

import zipfile

import numpy as np
import pytest

from collapse_jax.datasets.text import (
    documents_of,
    load_addresses,
    load_text,
    load_wikipedia,
    load_wikitext2,
    split_documents,
    to_blocks,
)


@pytest.mark.parametrize(
    ("load", "num_documents", "num_words"), [(load_addresses, 116, 1.09e6), (load_wikipedia, 92, 3.64e5)]
)
def test_embedded_texts_are_whole_and_split_by_document(load, num_documents, num_words):
    corpus = load()
    words = sum(len(line.split()) for part in corpus for line in part)
    assert words == pytest.approx(num_words, rel=0.01)
    parts = [set(part) for part in corpus]
    long = [{line for line in part if len(line) > 80} for part in parts]
    # addresses quote each other and repeat stock paragraphs, a few in a thousand
    shared = [long[0] & long[1], long[0] & long[2], long[1] & long[2]]
    assert max(map(len, shared)) < 0.01 * min(map(len, long))
    assert [len(part) > 0.08 * sum(map(len, corpus)) for part in corpus] == [True] * 3
    assert num_documents // 6 <= 20


def test_of_six_documents_one_validates_and_one_tests():
    corpus = split_documents([[str(index)] for index in range(14)])
    assert corpus.validation == ["0", "6", "12"] and corpus.test == ["3", "9"]
    assert corpus.train == ["1", "2", "4", "5", "7", "8", "10", "11", "13"]
    assert all(split_documents([["a"], ["b"], ["c"]]))


def test_blocks_are_the_stream_cut_and_nothing_else():
    rng = np.random.default_rng(0)
    lines = [rng.integers(0, 9, rng.integers(0, 12)).tolist() for _ in range(40)]
    stream = [token for line in lines for token in line]
    blocks = to_blocks(lines, 7)
    assert blocks.dtype == np.int32 and blocks.ravel().tolist() == stream[: len(stream) // 7 * 7]


def test_a_text_of_one_s_own(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("one\ntwo\n\n\nthree\n\nfour\n", encoding="utf-8")
    assert documents_of(file.read_text()) == [["one", "two"], ["three"], ["four"]]
    assert load_text(file) == (["four"], ["one", "two"], ["three"])
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.txt").write_text(f"{name}\n")
    assert load_text(folder) == (["c"], ["a"], ["b"])


def test_wikitext_out_of_reach_names_the_files_to_bring(monkeypatch):
    def refuse(*_, **__):
        raise ConnectionError

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    with pytest.raises(ValueError, match=r"ConnectionError\); put wiki.train.raw, .* into a folder"):
        load_wikitext2()


def test_wikitext_from_the_hub_is_unpacked_once_fetched(monkeypatch, tmp_path):
    archive = tmp_path / "wikitext-2-raw-v1.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for part in ("train", "valid", "test"):
            packed.writestr(f"wikitext-2-raw/wiki.{part}.raw", f" = {part} = \n\n text \n")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: str(archive))
    assert load_wikitext2().test == [" = test = ", " text "]


def test_wikitext_keeps_its_own_parts(tmp_path):
    for part in ("train", "valid", "test"):
        (tmp_path / f"wiki.{part}.raw").write_text(f" = {part} = \n\n text \n")
    assert load_wikitext2(tmp_path).validation == [" = valid = ", " text "]
    (tmp_path / "wiki.test.raw").unlink()
    with pytest.raises(ValueError, match=r"has no wiki\.test\.raw"):
        load_wikitext2(tmp_path)


def test_bad_texts_are_refused_in_a_sentence(tmp_path):
    empty, latin, short = (tmp_path / name for name in ("empty.txt", "latin.txt", "short.txt"))
    empty.write_text(" \n")
    latin.write_bytes("caf\xe9".encode("latin-1"))
    short.write_text("only one document\n")
    (tmp_path / "none").mkdir()
    for path, sentence in (
        (empty, "is empty"),
        (latin, "is not UTF-8"),
        (short, r"has 1 document\(s\)"),
        (tmp_path / "none", "holds no .txt file"),
        (tmp_path / "missing", "does not exist"),
    ):
        with pytest.raises(ValueError, match=sentence):
            load_text(path)
    with pytest.raises(ValueError, match="shorter than one block of 64"):
        to_blocks([[1, 2, 3]], 64)
