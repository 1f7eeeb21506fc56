"""Scores by which memories are found: BM25 over words, cosine over vectors, recency, and the best of them. Pure.

Whoever computes them gets the same to the bit, on any processor: beyond +, -, *, / and square roots, which IEEE 754
fixes, and sums in a fixed order, there is one logarithm, which is rounded to 2**-20 before it is used; and vectors are
whole numbers of eight bits, whose products add up exactly in any order.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_HAN: Final = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_WORD: Final = re.compile(rf"[{_HAN}]|[^\W_{_HAN}]+")
_GRID: Final = 2.0**20
_AT_ONCE: Final = 2**18
"""So many comparisons of terms are made in one table."""
_FEW: Final = 512
"""Up to so many scores are sorted whole to find the best."""
_EXACT_FLOAT32: Final = 2**24 // 127**2
"""Of so many products of two numbers of eight bits a float32 holds the sum exactly."""


def words_of(text: str) -> list[str]:
    """The words of a text, case folded; each sign of Chinese, Japanese and Korean writing is a word."""
    return _WORD.findall(text.casefold())


@lru_cache(maxsize=4_096)
def terms_of(text: str) -> tuple[int, ...]:
    """The words of a text as the index holds them, each once, in the order in which they come."""
    return tuple(dict.fromkeys(map(hash_word, words_of(text))))


@lru_cache(maxsize=65_536)
def hash_word(word: str) -> int:
    """A word as the index holds it: CRC-32 of its UTF-8. Two of 10,000 words share one with a chance of 1 %."""
    return crc32(word.encode("utf-8", "surrogatepass"))


def bm25(
    query: Sequence[int],
    terms: NDArray[np.uint32],
    counts: NDArray[np.uint8],
    distinct: NDArray[Any],
    words: NDArray[Any],
    k1: float = 1.5,
    b: float = 0.75,
) -> Floats:
    """Okapi BM25 of each document for a query (Robertson and Zaragoza 2009), with the idf that is never negative.

    sum over the query's terms of idf tf (k1 + 1) / (tf + k1 (1 - b + b |d| / mean |d|)), where idf is
    ln(1 + (N - df + 0.5) / (df + 0.5)).

    `query` are hashed words, each of which counts once; `terms` and `counts` hold one document's distinct words after
    the other's, with how often each stands in it; `distinct` and `words` are (n,): how many distinct and how many
    words each document has. Gives float64 of shape (n,).
    """
    n = len(distinct)
    asked = np.array(list(dict.fromkeys(query)), terms.dtype)
    which, places = found(asked, terms)
    if not len(places):
        return np.zeros(n)
    total = int(words.sum(dtype=np.int64))
    factors = np.array(
        [idf(n, df) * (k1 + 1.0) if df else 0.0 for df in np.bincount(which, minlength=len(asked)).tolist()]
    )
    owners = np.repeat(np.arange(n), distinct)[places]
    often = counts[places].astype(np.float64)
    soft = k1 * (1.0 - b) + (k1 * b * n / total) * words
    parts = factors[which] * often / (often + soft[owners])
    scores: Floats = np.bincount(owners, parts, minlength=n).astype(np.float64, copy=False)
    return scores


def found(asked: NDArray[Any], terms: NDArray[Any]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Where these terms stand, one after the other, each in the order of its places: which one, and its place."""
    if not len(terms) or not len(asked):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    if len(asked) * len(terms) <= _AT_ONCE:
        at = (asked[:, None] == terms).ravel().nonzero()[0]
        which = at // len(terms)
        return which, at - which * len(terms)
    found = [(terms == term).nonzero()[0] for term in asked]
    return np.repeat(np.arange(len(asked)), list(map(len, found))), np.concatenate(found)


@lru_cache(maxsize=65_536)
def idf(n: int, df: int) -> float:
    """The weight of a term that stands in `df` of `n` documents, on the grid."""
    return round(math.log(1.0 + (n - df + 0.5) / (df + 0.5)) * _GRID) / _GRID


def quantise(vectors: NDArray[Any]) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Vectors (n, dimension) as whole numbers from -127 to 127, each by its largest component, and squared lengths."""
    given = np.asarray(vectors, dtype=np.float64)
    largest = np.abs(given).max(axis=1, keepdims=True)
    scaled = np.rint(given / np.where(largest > 0.0, largest, 1.0) * 127.0).astype(np.int8)
    wide = scaled.astype(np.int64)
    return scaled, (wide * wide).sum(axis=1)


def cosines(vectors: NDArray[np.int8], squares: NDArray[Any], query: NDArray[np.int8], square: int) -> Floats:
    """Cosines of quantised vectors (n, dimension) with one (dimension,), float64 of shape (n,); 0 where one is zero."""
    wide = np.float32 if vectors.shape[1] <= _EXACT_FLOAT32 else np.float64
    products = (vectors.astype(wide) @ query.astype(wide)).astype(np.float64)
    lengths = np.sqrt(squares.astype(np.float64) * float(square))
    found: Floats = products / np.where(lengths > 0.0, lengths, 1.0)
    return found


def powers(base: float, exponents: NDArray[Any]) -> Floats:
    """`base` to whole powers of at least 0, by multiplication alone, float64."""
    if not len(exponents):
        return np.zeros(0)
    steps = exponents.astype(np.int64)
    low, high = up_to(base, 255), up_to(base, 256)[-1]
    most = int(np.maximum.reduce(steps))
    found: Floats = low[steps] if most < 256 else low[steps & 255] * up_to(high, most >> 8)[steps >> 8]
    return found


@lru_cache(maxsize=256)
def up_to(base: float, most: int) -> Floats:
    """Powers 0 to `most`, one after the other."""
    found: Floats = np.full(most + 1, base)
    found[0] = 1.0
    found = np.multiply.accumulate(found)
    found.flags.writeable = False
    return found


def to_unit(values: Floats) -> Floats:
    """Values stretched over 0 to 1; all 0 where they are equal."""
    least = np.minimum.reduce(values)
    span = np.maximum.reduce(values) - least
    found: Floats = (values - least) / span if span > 0.0 else np.zeros(len(values))
    return found


def best(scores: Floats, k: int) -> NDArray[np.intp]:
    """Places of the `k` highest scores, best first; of equals the later one."""
    n = len(scores)
    if n <= _FEW:
        return n - 1 - np.argsort(-scores[::-1], kind="stable")[: max(k, 0)]
    found = (np.arange(n) if not 0 < k < n else np.flatnonzero(scores >= np.partition(scores, n - k)[n - k]))[::-1]
    return found[np.argsort(-scores[found], kind="stable")][: max(k, 0)]
