"""How a search puts listings in order: by the truth, by words, or by lot. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Ranking = Literal["perfect", "lexical", "random"]
RANKINGS: Final = ("perfect", "lexical", "random")
_WORD: Final = re.compile(r"[^\W_]+")
_K1: Final = 1.2
_B: Final = 0.75


def words_of(text: str) -> list[str]:
    """The words of a text, in lower case."""
    return _WORD.findall(text.lower())


def by_fit(
    prices: NDArray[np.int32],
    stock: NDArray[np.int32],
    attributes: NDArray[np.int64],
    quality: NDArray[np.float64],
    *,
    items: Sequence[int],
    wanted: int,
    value_cents: int | None,
) -> NDArray[np.float64]:
    """How good listings are for somebody, as keys to sort by: (3, listings), the most important last, less is better.

    First by the share of the wanted items that are there and of the wanted attributes (bits) that are so; then by the
    surplus `value_cents` * quality - price, or without a value by quality; then by price.
    """
    basket, left = prices[:, items], stock[:, items]
    there = (basket >= 0) & (left > 0)
    asked = len(items) + wanted.bit_count()
    met = there.sum(axis=1) + np.bitwise_count(attributes & wanted)
    total = np.where(there, basket, 0).sum(axis=1, dtype=np.int64)
    gain = quality if value_cents is None else value_cents * quality - total
    return np.stack((total.astype(np.float64), -gain, -met / max(1, asked)))


class Words:
    """An index of words: which listings' texts hold a word how often. Scores are Okapi BM25.

    Source: Robertson and Zaragoza 2009, doi:10.1561/1500000019, with k1 = 1.2 and b = 0.75.
    """

    def __init__(self) -> None:
        self._at: dict[str, list[int]] = {}
        self._often: dict[str, list[int]] = {}
        self._lengths: list[int] = []

    def __len__(self) -> int:
        return len(self._lengths)

    def add(self, text: str) -> None:
        """The text of the next listing."""
        number, words = len(self._lengths), words_of(text)
        self._lengths.append(len(words))
        for word in dict.fromkeys(words):
            self._at.setdefault(word, []).append(number)
            self._often.setdefault(word, []).append(words.count(word))

    def more(self, number: int, text: str) -> None:
        """Further text of a listing that is in the index."""
        words = words_of(text)
        self._lengths[number] += len(words)
        for word in dict.fromkeys(words):
            at, often = self._at.setdefault(word, []), self._often.setdefault(word, [])
            if number in at:
                often[at.index(number)] += words.count(word)
            else:
                at.append(number)
                often.append(words.count(word))

    def scores(self, query: str) -> NDArray[np.float64]:
        """Each listing's score for the words of a query; 0 where it has none of them."""
        lengths = np.array(self._lengths, np.float64)
        scores = np.zeros(len(lengths))
        if not len(lengths):
            return scores
        longer = 1.0 - _B + _B * lengths / max(1.0, lengths.mean())
        for word in dict.fromkeys(words_of(query)):
            at = np.array(self._at.get(word, ()), np.int64)
            often = np.array(self._often.get(word, ()), np.float64)
            rare = np.log(1.0 + (len(lengths) - len(at) + 0.5) / (len(at) + 0.5))
            scores[at] += rare * often * (_K1 + 1.0) / (often + _K1 * longer[at])
        return scores
