"""Statistics of texts: length, distinct n-grams, entropy, compression, words met, and log-loss under a scorer.

Rows hold `words`, an array of whole numbers for each text (ragged), `length`, how many there are, `bytes`, the text
itself, and `loss` where there is a scorer. Words that the reference lacks are numbered behind its own.
"""

import zlib

import numpy as np
from scipy import sparse

from collapse_jax.monitor.bag import Choices
from collapse_jax.monitor.statistics.statistic import BOTH, HIGHER, LOWER, Statistic

MOST_BYTES = 2**15  # the compressor looks back so far
MOST_CHOICES = 99


def length() -> Statistic:
    """Return the mean of log(1 + number of words), as words: a geometric mean."""

    def measure(choices: Choices) -> np.ndarray:
        return np.expm1(choices.means(np.log1p(choices.rows["length"].astype(float))[:, None])[:, 0])

    return Statistic("length", "words a text, geometric mean", measure, BOTH)


def distinct(n: int) -> Statistic:
    """Return the number of different n-grams over the number of all.

    Reference: Li et al., A diversity-promoting objective (NAACL 2016).
    """

    def measure(choices: Choices) -> np.ndarray:
        grams, texts = _grams(choices.rows["words"], n)
        _, kind, there = np.unique(grams, return_inverse=True, return_counts=True)
        num_rows = len(choices.rows)
        once = np.bincount(texts[there[kind] == 1], minlength=num_rows)  # whoever holds these adds them
        every = np.bincount(texts, minlength=num_rows)
        often = there > 1
        column = np.cumsum(often) - 1
        kept = often[kind]
        one_hot = sparse.csr_matrix(
            (np.ones(int(kept.sum()), np.int32), (texts[kept], column[kind[kept]])),
            (num_rows, max(int(often.sum()), 1)),
        )
        alone, total = choices.sums(np.stack([once, every], axis=1).astype(float)).T
        shared = np.diff(choices.counts(one_hot).indptr)
        return (alone + shared) / np.maximum(total, 1)

    return Statistic(f"distinct-{n}", f"different {n}-grams over all", measure, BOTH, None, 399)


def entropy(num_words: int) -> Statistic:
    """Return the entropy of the sample's words, nats; a small sample has less of it.

    Args:
        num_words: how many the reference has; the others count as one.
    """

    def measure(choices: Choices) -> np.ndarray:
        found = word_counts(choices, num_words)
        shares = found / np.maximum(found.sum(axis=1, keepdims=True), 1)
        return -np.sum(shares * np.log(np.maximum(shares, 1e-300)), axis=1)

    return Statistic("entropy", "nats a word", measure, BOTH, None, 399)


def coverage(num_words: int) -> Statistic:
    """Return the share of the reference's words that a sample meets.

    Args:
        num_words: how many the reference has.
    """

    def measure(choices: Choices) -> np.ndarray:
        return np.mean(word_counts(choices, num_words)[:, :-1] > 0, axis=1)

    return Statistic("coverage", "share of the reference's words that are met", measure, LOWER, None, 399)


def frequencies(num_words: int) -> Statistic:
    """Return the distance of the words' shares from the bag's: chi-square a word, over the number of words.

    Args:
        num_words: how many the reference has; the others count as one.
    """

    def measure(choices: Choices) -> np.ndarray:
        found = word_counts(choices, num_words)
        every = np.bincount(_clipped(choices.rows["words"], num_words)[0], minlength=num_words + 1)
        every = every / max(every.sum(), 1)
        shares = found / np.maximum(found.sum(axis=1, keepdims=True), 1)
        return np.sum((shares - every) ** 2 / np.maximum(every, 1e-12), axis=1)

    return Statistic(
        "frequencies", "shift of the words' shares, chi-square a word", measure, HIGHER, None, 399
    )


def compression() -> Statistic:
    """Return how many times smaller the sample's texts become: the more, the more they repeat themselves.

    Reference: Shaib et al., Standardizing the measurement of text diversity (2024).
    """

    def measure(choices: Choices) -> np.ndarray:
        texts, signs = choices.rows["bytes"], choices.rows["sign"]  # in the order of the signs: that of a set
        return np.array([_ratio(texts[chosen[np.argsort(signs[chosen])]]) for chosen in choices.places])

    about = "times smaller by zlib, of at most 32 KiB"
    return Statistic("compression", about, measure, BOTH, None, MOST_CHOICES)


def log_loss() -> Statistic:
    """Return the mean of what the frozen scorer says of each text."""

    def measure(choices: Choices) -> np.ndarray:
        return choices.means(choices.rows["loss"][:, None])[:, 0]

    return Statistic("log-loss", "mean of the scorer", measure, BOTH)


def word_counts(choices: Choices, num_words: int) -> np.ndarray:
    """Return how often each choice holds each word, shape [num_choices, num_words + 1]: the last are all others."""
    words, texts = _clipped(choices.rows["words"], num_words)
    shape = (len(choices.rows), num_words + 1)
    return choices.counts(sparse.csr_matrix((np.ones(len(words)), (texts, words)), shape)).toarray()


def _clipped(words: np.ndarray, num_words: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all words, those that the reference lacks as one, and whose they are."""
    flat, texts = _grams(words, 1)
    return np.minimum(flat, num_words), texts


def _grams(words: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return all n-grams as whole numbers and which text each is of."""
    lengths = np.array([len(text) for text in words])
    flat = np.concatenate([np.zeros(0, np.int64), *words])
    text = np.repeat(np.arange(len(words)), lengths)
    num = max(len(flat) - n + 1, 0)
    grams = flat[:num].astype(np.uint64)
    for later in range(1, n):
        grams = (
            grams * np.uint64(0x9E3779B97F4A7C15) + flat[later : later + num].astype(np.uint64) + np.uint64(1)
        )
    whole = text[:num] == text[n - 1 : n - 1 + num]
    return (flat if n == 1 else grams[whole].view(np.int64)), text[:num][whole]


def _ratio(texts: np.ndarray) -> float:
    joined = b"\n".join(texts)[:MOST_BYTES]
    return len(joined) / len(zlib.compress(joined, 6)) if joined else 1.0
