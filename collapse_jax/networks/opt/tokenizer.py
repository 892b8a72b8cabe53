"""OPT's tokenizer: byte-level byte-pair encoding (Radford et al. 2019), with a leading `</s>`.

    tokens = [</s>] + merges(bytes of each word),    text = bytes of the tokens without the first

Whatever a file says, words are split as GPT-2 splits them, without a space in front, and the first token is `</s>`:
that is what the published models were trained on. `train_tokenizer` makes one from any text in the same files.

Reference: Radford et al. (2019), "Language Models are Unsupervised Multitask Learners"; Zhang et al. (2022).
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from collapse_jax.files.reading import TOLD, Refused, is_there, size_of
from collapse_jax.networks.opt.hub import (
    damage_named,
    find_folder,
    read_json,
    write_json,
    write_text,
    write_together,
)
from collapse_jax.validation import check_count

SPECIALS = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
_FILES = ("tokenizer.json", "merges.txt", "vocab.json")
_ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())  # a printable sign for each byte
_FIRST = "</s>"
_MOST_TOKENS = 2**22


def load_tokenizer(source: str | os.PathLike[str]) -> Tokenizer:
    """Return the tokenizer of an OPT.

    Args:
        source: a folder with vocab.json and merges.txt, or with tokenizer.json, which goes first; or a hub id when
            there is no such folder.

    Raises:
        FileNotFoundError: no such folder, hub id or file.
        ValueError: a file is damaged, or the vocabulary is not OPT's kind.

    >>> tokenizer = load_tokenizer("facebook/opt-125m")  # doctest: +SKIP
    """
    folder = find_folder(source, [_FILES])
    whole = folder / "tokenizer.json"
    if is_there(whole):
        size_of(whole, TOLD)
        with damage_named(whole):
            return _as_opt(Tokenizer.from_file(str(whole)), whole)
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    for path in (vocabulary, merges):
        if not is_there(path):
            raise FileNotFoundError(f"'{folder}' has no {path.name}; it needs vocab.json and merges.txt.")
        size_of(path, TOLD)
    read_json(vocabulary)
    with damage_named(merges):
        model = models.BPE.from_file(str(vocabulary), str(merges))
    with damage_named(vocabulary):
        return _as_opt(Tokenizer(model), vocabulary)


def train_tokenizer(lines: Iterable[str], vocab_size: int) -> Tokenizer:
    """Return a tokenizer whose merges are the commonest pairs of these lines.

    Args:
        lines: text.
        vocab_size: tokens, at most: 4 specials, 256 bytes, and as many merges as fit and the text offers.

    Raises:
        ValueError: `vocab_size` leaves no room for specials and bytes.

    >>> tokenizer = train_tokenizer(["to be or not to be"] * 2, 300)
    >>> decode(tokenizer, encode(tokenizer, ["to be"]))
    ['to be']
    """
    check_count("vocab_size", vocab_size, len(SPECIALS) + len(_ALPHABET))
    if vocab_size > _MOST_TOKENS:
        raise ValueError(f"`vocab_size` must be at most {_MOST_TOKENS:,}, got {vocab_size}; OPT's is 50,272.")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=list(SPECIALS), initial_alphabet=_ALPHABET, show_progress=False
    )
    with _panics_told("learn from these lines"):
        tokenizer.train_from_iterator(lines, trainer)
    # the model alone: the trainer marks <s> and <unk> as special too, and OPT's tokenizer reads them as text
    return _as_opt(Tokenizer(tokenizer.model), "train_tokenizer")


def save_tokenizer(tokenizer: Tokenizer, folder: str | os.PathLike[str]) -> None:
    """Write vocab.json, merges.txt, tokenizer.json and tokenizer_config.json, as `transformers` reads them.

    Args:
        tokenizer: from `load_tokenizer` or `train_tokenizer`.
        folder: made when missing; files of these names are replaced.
    """
    with _panics_told("say what it is"):
        model = json.loads(tokenizer.to_str())["model"]
    pairs = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    config = {
        "tokenizer_class": "GPT2Tokenizer", "add_bos_token": True, "add_prefix_space": False, "errors": "replace",
        "bos_token": _FIRST, "eos_token": _FIRST, "unk_token": _FIRST, "pad_token": "<pad>",
        "clean_up_tokenization_spaces": False,
    }  # fmt: skip

    writers = {
        "tokenizer_config.json": write_json(config),
        "vocab.json": write_json(dict(sorted(model["vocab"].items(), key=lambda pair: pair[1]))),
        "merges.txt": write_text("\n".join(["#version: 0.2", *pairs]) + "\n"),
        "tokenizer.json": lambda path: tokenizer.save(str(path)),
    }
    write_together(Path(folder), writers)


def encode(tokenizer: Tokenizer, lines: Sequence[str]) -> list[list[int]]:
    """Return the tokens of each line, the first of them `</s>`; nothing is cut or padded.

    `</s>` and `<pad>` within a line become those tokens; `<s>` and `<unk>` are plain text, as for the published models.
    """
    with _panics_told("read this text"):
        return [encoding.ids for encoding in tokenizer.encode_batch(list(lines))]


def decode(tokenizer: Tokenizer, tokens: Iterable[Iterable[Any]], keep_special: bool = False) -> list[str]:
    """Return the text of each row of tokens.

    Args:
        tokenizer: from `load_tokenizer` or `train_tokenizer`.
        tokens: rows of integers; bytes that are no UTF-8 become U+FFFD.
        keep_special: write `</s>` and `<pad>` out instead of leaving them out.
    """
    rows = [[int(token) for token in row] for row in tokens]
    with _panics_told("write these tokens"):
        return tokenizer.decode_batch(rows, skip_special_tokens=not keep_special)


@contextmanager
def _panics_told(work: str) -> Iterator[None]:
    """Turn whatever the library raises, its panics (which are no `Exception`), too, into one sentence.

    Raises:
        ValueError: anything failed inside.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as error:
        told = " ".join(str(error).split())[:200].rstrip(".")
        raise ValueError(
            f"the tokenizer cannot {work} ({told or type(error).__name__}); give text without lone surrogates and "
            "tokens of its own vocabulary, or take OPT's own files."
        ) from error


def _as_opt(tokenizer: Tokenizer, origin: str | Path) -> Tokenizer:
    """Return the tokenizer with OPT's way of splitting, joining and beginning a text.

    Raises:
        Refused: it is no BPE, a special token is elsewhere, merges are left out at random, or a byte has no token
            and would be lost without a word.
    """
    model = tokenizer.model
    if not isinstance(model, models.BPE):
        raise Refused(f"'{origin}' is a {type(model).__name__}, where OPT's is a BPE; take OPT's own files.")
    if model.continuing_subword_prefix or model.end_of_word_suffix:
        raise Refused(f"'{origin}' marks beginnings or ends of words, which OPT's does not; take OPT's own files.")
    for token, place in SPECIALS.items():
        if tokenizer.token_to_id(token) != place:
            found = tokenizer.token_to_id(token)
            raise Refused(f"'{origin}' has {token} at {found} instead of {place}; take OPT's own files.")
    if dropout := model.dropout:
        raise Refused(
            f"'{origin}' leaves out merges at random (dropout {dropout:g}), so that a text has other tokens each time; "
            "set dropout to null there."
        )
    largest = max(tokenizer.get_vocab().values())
    if largest >= _MOST_TOKENS:  # the library counts up to it
        raise Refused(
            f"'{origin}' has a token of id {largest}, where at most {_MOST_TOKENS:,} are read; take OPT's own files."
        )
    lost = [sign for sign in _ALPHABET if tokenizer.token_to_id(sign) is None]
    if lost:
        raise Refused(
            f"'{origin}' has no token for {len(lost)} of the 256 bytes; take a byte-level vocabulary."
        )
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in (_FIRST, "<pad>")]
    )
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{_FIRST} $A", pair=f"{_FIRST} $A {_FIRST} $B", special_tokens=[(_FIRST, SPECIALS[_FIRST])]
    )
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer
