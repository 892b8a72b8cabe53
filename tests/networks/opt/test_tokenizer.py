"""The tokenizer: text comes back, files are those of GPT-2's kind, and a text begins with `</s>`."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from collapse_jax.networks.opt.tokenizer import (
    SPECIALS,
    decode,
    encode,
    load_tokenizer,
    save_tokenizer,
    train_tokenizer,
)
from collapse_jax.studies.texts import TINY, load_model

LINES = [
    "The valley of the river is long, and the river's name is older than the valley's.",
    "It isn't 1,234 metres wide; they've measured it: 987!",
    " = Valley = \n",
    "Größe und Länge — naïve café, 北京, Ωμέγα 🦜",
] * 5
TOKENIZER = train_tokenizer(LINES, 400)
plain_text = st.text().filter(lambda text: "</s>" not in text and "<pad>" not in text)


@given(plain_text)
@example("")
@example("  two  spaces \t\r\n\x00 and tabs ")
@example("<s> and <unk> are text")
@example("e\u0301 👩\u200d👩\u200d👧 \u202eabc \ufeff \U0010ffff")
def test_text_comes_back(text):
    (tokens,) = encode(TOKENIZER, [text])
    assert tokens[0] == SPECIALS["</s>"]
    assert not set(tokens[1:]) & set(SPECIALS.values())
    assert decode(TOKENIZER, [tokens]) == [text]
    assert decode(TOKENIZER, np.asarray([tokens])) == [text]


@given(st.lists(st.sampled_from(["</s>", "<pad>", "<s>", "<unk>", " ", "river", "\n"])).map("".join))
def test_specials_within_a_text_come_back_when_they_are_kept(text):
    (tokens,) = encode(TOKENIZER, [text])
    assert decode(TOKENIZER, [tokens], keep_special=True) == ["</s>" + text]
    assert decode(TOKENIZER, [tokens]) == [text.replace("</s>", "").replace("<pad>", "")]


def test_specials_come_first_and_only_two_of_them_are_read_in_a_text():
    assert [TOKENIZER.token_to_id(token) for token in SPECIALS] == [0, 1, 2, 3]
    (tokens,) = encode(TOKENIZER, ["</s><pad><s>"])
    assert tokens[:3] == [2, 2, 1] and 0 not in tokens


def test_words_are_split_as_gpt2_splits_them_without_a_space_in_front():
    (tokens,) = encode(TOKENIZER, ["the river's name"])
    assert [TOKENIZER.id_to_token(token) for token in tokens[1:2]] != ["Ġthe"]
    assert TOKENIZER.pre_tokenizer.pre_tokenize_str("the river's  12") == [
        ("the", (0, 3)), ("Ġriver", (3, 9)), ("'s", (9, 11)), ("Ġ", (11, 12)), ("Ġ12", (12, 15)),
    ]  # fmt: skip


def test_training_finds_common_words_and_is_repeatable():
    (tokens,) = encode(TOKENIZER, ["It is the river and the valley"])
    assert len(tokens) < 16
    again = train_tokenizer(iter(LINES), 400)
    assert again.to_str() == TOKENIZER.to_str()
    assert TOKENIZER.get_vocab_size() <= 400
    assert train_tokenizer(LINES, 260).get_vocab_size() == 260


def test_special_words_in_the_training_text_earn_no_special_place():
    trained = train_tokenizer(["<unk> <s> </s> <pad>"] * 50, 300)
    assert sorted(trained.get_vocab().values()) == list(range(trained.get_vocab_size()))
    assert decode(trained, encode(trained, ["a <unk> <s>"])) == ["a <unk> <s>"]


def test_too_small_a_vocabulary_is_refused():
    with pytest.raises(ValueError, match="`vocab_size` must be at least 260, got 259"):
        train_tokenizer(LINES, 259)


@pytest.fixture
def folder(tmp_path):
    save_tokenizer(TOKENIZER, tmp_path)
    return tmp_path


@pytest.mark.parametrize("without", [["tokenizer.json"], ["vocab.json", "merges.txt"]])
def test_either_kind_of_file_gives_the_same_tokenizer(folder, without):
    for name in without:
        (folder / name).unlink()
    back = load_tokenizer(str(folder))
    assert encode(back, LINES) == encode(TOKENIZER, LINES)
    assert back.get_vocab() == TOKENIZER.get_vocab()
    save_tokenizer(back, folder)
    assert load_tokenizer(folder).to_str() == back.to_str()


def test_vocabulary_and_merges_are_as_the_library_writes_them(folder, tmp_path):
    (tmp_path / "theirs").mkdir()
    TOKENIZER.model.save(str(tmp_path / "theirs"))
    assert (folder / "merges.txt").read_text() == (tmp_path / "theirs" / "merges.txt").read_text()
    vocabulary = json.loads((tmp_path / "theirs" / "vocab.json").read_text())
    assert json.loads((folder / "vocab.json").read_text()) == vocabulary
    assert list(vocabulary)[:4] == list(SPECIALS)


def test_what_a_file_says_of_splitting_cutting_and_padding_is_not_opts(folder):
    other = load_tokenizer(folder)
    other.pre_tokenizer = pre_tokenizers.Whitespace()
    other.enable_truncation(3)
    other.enable_padding(length=50)
    other.save(str(folder / "tokenizer.json"))
    assert encode(load_tokenizer(folder), LINES) == encode(TOKENIZER, LINES)


def test_bad_files_are_named(folder):
    (folder / "tokenizer.json").write_text('{"model": ')
    with pytest.raises(ValueError, match=r"tokenizer\.json' is damaged"):
        load_tokenizer(folder)
    (folder / "tokenizer.json").unlink()
    (folder / "merges.txt").write_text("#version: 0.2\nno such\n")
    with pytest.raises(ValueError, match=r"merges\.txt' is damaged"):
        load_tokenizer(folder)
    (folder / "vocab.json").write_text("[]")
    with pytest.raises(ValueError, match=r"vocab\.json' holds no JSON object"):
        load_tokenizer(folder)
    (folder / "merges.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"has no merges\.txt; it needs vocab\.json and merges\.txt"):
        load_tokenizer(folder)


def test_vocabularies_of_another_kind_are_refused(tmp_path):
    Tokenizer(models.BPE({"a": 0}, [])).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match="has <s> at None instead of 0"):
        load_tokenizer(tmp_path)
    Tokenizer(models.BPE({**SPECIALS, "a": 4}, [])).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ValueError, match="no token for 255 of the 256 bytes"):
        load_tokenizer(tmp_path)


@pytest.mark.parity
@pytest.mark.parametrize("without", [[], ["tokenizer.json"]])
@pytest.mark.parametrize("how", ["AutoTokenizer", "GPT2Tokenizer"])
def test_transformers_reads_the_same_tokens_from_these_files(folder, how, without):
    transformers = pytest.importorskip("transformers")
    for name in without:
        (folder / name).unlink()
    theirs = getattr(transformers, how).from_pretrained(folder)
    texts = [*LINES, "", " ", "a </s> b<pad>", "<s> <unk> x", "tabs\t\t  and\n\nlines ", "🦜🦜"]
    tokens = encode(TOKENIZER, texts)
    assert theirs(texts)["input_ids"] == tokens
    assert theirs.batch_decode(tokens, skip_special_tokens=True) == decode(TOKENIZER, tokens)
    assert theirs.batch_decode(tokens) == decode(TOKENIZER, tokens, keep_special=True)
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (2, 2, 1)


def _changed(folder, change):
    """Write a tokenizer whose file was changed."""
    save_tokenizer(TOKENIZER, folder)
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return folder


def test_merges_left_out_at_random_are_refused(tmp_path):
    """The same text would have other tokens each time, and no run the same bits."""
    with pytest.raises(ValueError, match=r"^'[^ ]*tokenizer\.json' leaves out merges .*dropout to null there\.$"):
        load_tokenizer(_changed(tmp_path, lambda content: content["model"].update(dropout=0.5)))


@pytest.mark.parametrize("dropout", [1e-6, 1.0])
def test_any_share_of_merges_left_out_is_refused_and_none_is_read(tmp_path, dropout):
    with pytest.raises(ValueError, match="leaves out merges at random"):
        load_tokenizer(_changed(tmp_path, lambda content: content["model"].update(dropout=dropout)))
    for none in (None, 0.0):
        read = load_tokenizer(_changed(tmp_path, lambda content, none=none: content["model"].update(dropout=none)))
        assert encode(read, LINES) == encode(TOKENIZER, LINES)


ADDED = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
BEYOND = {
    "in the vocabulary": lambda content: content["model"]["vocab"].update({"ody": 5000}),
    "just beyond": lambda content: content["model"]["vocab"].update({"ody": 2048}),
    "added": lambda content: content["added_tokens"].append({"id": 2100, "content": "<mine>", **ADDED}),
}


@pytest.mark.parametrize("name", BEYOND)
def test_a_token_beyond_the_model_s_table_is_refused(tmp_path, name):
    """JAX takes the last row for one beyond, without a word."""
    shutil.copytree(TINY, tmp_path / "model")
    path = tmp_path / "model" / "tokenizer.json"
    content = json.loads(path.read_text())
    BEYOND[name](content)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"has a token of id \d+, its model 2048 tokens; use the tokenizer that"):
        load_model(str(tmp_path / "model"))


@pytest.mark.parametrize("field", ["normalizer", "pre_tokenizer", "decoder"])
def test_a_panic_of_the_library_is_a_sentence_wherever_it_comes_from(tmp_path, field):
    odd = {"type": "Precompiled", "precompiled_charsmap": "AAAA"}
    with pytest.raises(ValueError, match=r"tokenizer\.json' is damaged"):
        load_tokenizer(_changed(tmp_path, lambda content: content.update({field: odd})))


def test_a_panic_of_the_library_is_a_sentence(tmp_path):
    odd = {"type": "Precompiled", "precompiled_charsmap": "AAAA"}
    with pytest.raises(ValueError, match=r"tokenizer\.json' is damaged"):
        load_tokenizer(_changed(tmp_path, lambda content: content.update(normalizer=odd)))
