"""Texts, and texts that are split into tokens already."""

import re
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from collapse_jax.monitor.kinds.kind import Kind, Moments
from collapse_jax.monitor.kinds.signs import signs_of
from collapse_jax.monitor.rows import Rows
from collapse_jax.monitor.statistics import texts as of_texts
from collapse_jax.monitor.statistics.sameness import copies, repeats

# a sign of a script without spaces is a word, else letters and digits in a row, else any other sign
_ALONE = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD = re.compile(rf"[{_ALONE}]|[^\W{_ALONE}]+|[^\w\s]")
MOST_WORDS = 20_000  # of the reference: rarer ones count as one
_DRIFTING = 32  # words whose shares drift is read from
_OFTEN = 20  # times in the reference at least

Scorer = Callable[[list[str]], Any]


def texts(part: Sequence[Any], others: Sequence[Any], scorer: Scorer | None = None) -> Kind:
    """Return how texts are looked at.

    Args:
        part: of the reference, which words are learnt from: strings, or sequences of whole numbers.
        others: the rest of the reference.
        scorer: texts -> a number for each, for example nats a token under a frozen model.

    Raises:
        ValueError: the reference holds no word.
    """
    are_tokens = not isinstance(part[0], str)
    learnt = [_words(text) for text in part]
    words, counts = np.unique(
        np.concatenate([np.zeros(0, int if are_tokens else str), *learnt]), return_counts=True
    )
    if not len(words):
        raise ValueError("the reference holds no word; give texts that are not empty.")
    order = np.argsort(-counts, kind="stable")[:MOST_WORDS]
    code_of: dict[Any, int] = {word: place for place, word in enumerate(words[order].tolist())}
    num_words = len(code_of)
    every = np.bincount(
        [code_of.get(word, num_words) for text in others for word in _words(text)], minlength=num_words + 1
    )
    drifting = np.flatnonzero(every[:num_words] >= min(_OFTEN, every[:num_words].max()))[:_DRIFTING]

    def encode(samples: Any) -> tuple[Rows, tuple[str, ...]]:
        found = check_texts(samples, are_tokens)
        coded = np.empty(len(found), object)
        for place, text in enumerate(found):
            coded[place] = np.array([_code(word, code_of) for word in _words(text)], np.int64)
        content = np.empty(len(found), object)
        for place, text in enumerate(found):
            content[place] = _bytes(text)
        length = np.array([len(text) for text in coded])
        columns = {"words": coded, "bytes": content, "length": length, "sign": signs_of(content)}
        if scorer is not None:
            columns["loss"] = _scored(scorer, found)
        empty = int(np.sum(length == 0))
        notes = (
            (f"{empty:,} of {len(found):,} texts are empty; they count as texts of no word",) if empty else ()
        )
        return Rows(**columns), notes

    first = every[:num_words] / max(every.sum(), 1)
    diversity = float(np.sum(first * (1 - first)))

    def moments(rows: Rows) -> Moments:
        length = rows["length"].astype(float)
        total = max(length.sum(), 1.0)
        counts = np.stack(
            [np.bincount(text[text < num_words], minlength=num_words)[drifting] for text in rows["words"]]
        )
        known = np.concatenate([np.zeros(0, np.int64), *rows["words"]])
        shares = np.bincount(known[known < num_words], minlength=num_words) / total
        kept = float(np.sum(shares * (1 - shares))) / diversity
        share = shares[drifting]
        covariance = np.diag(share) - np.outer(share, share)
        apart = counts - share * length[:, None]  # of a ratio of sums over texts
        error = np.sum(apart**2, axis=0) / total**2 * len(rows) / max(len(rows) - 1, 1)
        there = share > 0
        noise = float(np.mean(error[there] / (share * (1 - share))[there])) if there.any() else 0.0
        return Moments(share, covariance, noise, kept, total)

    statistics = [
        of_texts.length(), *(of_texts.distinct(n) for n in (1, 2, 3)), of_texts.entropy(num_words),
        of_texts.frequencies(num_words), of_texts.coverage(num_words), copies(), repeats(),
        *([] if are_tokens else [of_texts.compression()]), *([of_texts.log_loss()] if scorer is not None else []),
    ]  # fmt: skip
    name = "tokens" if are_tokens else "texts"
    return Kind(
        name, encode, statistics, moments, lambda rows: np.zeros(0), "token" if are_tokens else "word"
    )


def check_texts(samples: Any, are_tokens: bool) -> list[Any]:
    """Return a list of strings, or of arrays of whole numbers.

    Raises:
        TypeError: they are something else.
    """
    if isinstance(samples, str | bytes):
        raise TypeError("samples must be a list of texts, got one text; put it into a list.")
    found = list(samples)
    for place, text in enumerate(found):
        if are_tokens:
            ids = np.asarray(text)
            if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
                raise TypeError(f"sample {place} is no list of whole numbers, as the reference's are.")
        elif not isinstance(text, str):
            raise TypeError(f"sample {place} must be a text, got a {type(text).__name__}; give strings.")
    return found


def _words(text: Any) -> list[Any]:
    return _WORD.findall(text) if isinstance(text, str) else np.asarray(text, np.int64).tolist()


def _code(word: Any, code_of: dict[Any, int]) -> int:
    """Return a word's number; those that the reference lacks have one behind its own, by which they are told apart."""
    code = code_of.get(word)
    return len(code_of) + zlib.crc32(str(word).encode("utf-8", "surrogatepass")) if code is None else code


def _bytes(text: Any) -> bytes:
    return (
        text.encode("utf-8", "surrogatepass")
        if isinstance(text, str)
        else np.asarray(text, np.int64).tobytes()
    )


def _scored(scorer: Scorer, found: list[Any]) -> np.ndarray:
    loss = np.asarray(scorer(found), float)
    if loss.shape != (len(found),):
        raise ValueError(
            f"the scorer must return a number for each of {len(found)} texts, got shape {loss.shape}."
        )
    if not np.isfinite(loss).all():
        place = int(np.argmax(~np.isfinite(loss)))
        raise ValueError(f"the scorer says {loss[place]} of sample {place}; it must return finite numbers.")
    return loss
