"""What studies of language models read: a pretrained model, its tokenizer, and real text in blocks."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tokenizers import Tokenizer

import collapse_jax.datasets
from collapse_jax.datasets.text import Corpus, load_text, load_wikipedia, load_wikitext2, to_blocks
from collapse_jax.files.reading import is_there, place_of
from collapse_jax.networks.opt.config import OPTConfig
from collapse_jax.networks.opt.tokenizer import encode, load_tokenizer
from collapse_jax.networks.opt.weights import load_opt
from collapse_jax.types import Params
from collapse_jax.validation import shown

BLOCK = 64  # tokens, as published
TINY = Path(collapse_jax.datasets.__file__).parent / "files" / "opt_tiny"


class Texts(NamedTuple):
    """Real text, in blocks of `BLOCK` tokens.

    Attributes:
        pool: all blocks of the training text.
        training: the M blocks that generation 0 learns, and whose continuations are asked for.
        validation: blocks of other documents, measured in every generation.
        test: blocks of yet others.
        bytes_per_token: of the validation text.
    """

    pool: np.ndarray
    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    bytes_per_token: float


@lru_cache(maxsize=2)
def load_model(source: str | None) -> tuple[OPTConfig, Params, Tokenizer]:
    """Return a model and its tokenizer.

    Raises:
        ValueError: no such folder, a hub out of reach, a damaged file, a vocabulary that is not the model's, or too few
            positions.
    """
    place = TINY if source is None else source
    try:
        config, params = load_opt(place)  # first: of a folder of another kind it says the cause
        tokenizer = load_tokenizer(place)
    except FileNotFoundError as error:
        raise ValueError(
            f"{error} For example --model ./opt-125m, a folder that holds the weights, too."
        ) from error
    largest = max(tokenizer.get_vocab().values())  # ids may have gaps, and JAX takes the last row for one beyond
    if largest >= config.vocab_size:
        raise ValueError(
            f"the tokenizer of '{place}' has a token of id {largest}, its model {config.vocab_size} tokens; use the "
            "tokenizer that the model was trained with."
        )
    if config.max_positions < 2 * BLOCK:
        raise ValueError(
            f"'{place}' has {config.max_positions} positions, but a prompt of {BLOCK} tokens is continued by {BLOCK}; "
            f"choose a model of at least {2 * BLOCK}."
        )
    return config, params, tokenizer


def load_texts(
    num_samples: int, num_evaluated: int, model: str | None = None, text: str | None = None, text_column: str = "text"
) -> Texts:
    """Return real text.

    Args:
        num_samples: M, blocks of training, spread over the text; 0 takes all there are.
        num_evaluated: blocks of validation and of test; 0 takes all.
        model: whose tokenizer makes the blocks; as of `load_model`.
        text: where it is read; default the embedded articles.
        text_column: its name in JSONL.

    Raises:
        ValueError: the text cannot be read, or has fewer blocks than asked for.
    """
    _, _, tokenizer = load_model(model)
    corpus = _corpus(text, text_column)
    pool, validation, test = (to_blocks(encode(tokenizer, lines), BLOCK) for lines in corpus)
    if num_samples > len(pool):
        raise ValueError(
            f"`num_samples` is {num_samples}, but the training text has {len(pool)} blocks of {BLOCK} tokens; "
            "lower it, or give more text."
        )
    num_bytes = sum(len(line.encode()) + 1 for line in corpus.validation)
    return Texts(
        pool,
        spread(pool, num_samples),
        _first(validation, num_evaluated),
        _first(test, num_evaluated),
        num_bytes / (len(validation) * BLOCK),
    )


def _corpus(text: str | None, column: str) -> Corpus:
    is_plain = text is None or text == "wikitext-2" or is_wikitext2(text)
    if is_plain and column != "text":
        raise ValueError(f"`text_column` is {shown(column)}, but this text has no columns, as JSONL has; leave it out.")
    if text is None:
        return load_wikipedia()
    if text == "wikitext-2":
        return load_wikitext2()
    return load_wikitext2(text) if is_plain else load_text(text, column)


def is_wikitext2(text: str) -> bool:
    """Whether a path is that of a folder with the files of wikitext-2."""
    folder = place_of(text)
    return any(is_there(folder / f"wiki.train.{ending}") for ending in ("raw", "tokens"))


def spread(blocks: np.ndarray, num: int) -> np.ndarray:
    """Return `num` blocks, evenly over the whole text; all for 0."""
    return blocks[np.linspace(0, len(blocks) - 1, num).round().astype(int)] if num else blocks


def _first(blocks: np.ndarray, num: int) -> np.ndarray:
    """Return `num` evenly spread runs of neighbouring blocks; all for 0 or if there are fewer."""
    if not num or num >= len(blocks):
        return blocks
    run = 4  # neighbours, so that a long block is a passage of the text
    starts = np.linspace(0, len(blocks) - run, max(num // run, 1)).astype(int)
    return blocks[(starts[:, None] + np.arange(run)).ravel()]
