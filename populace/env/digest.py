"""Digests of a part's state: kept as its rows change, or taken of the whole.

A table's digest is the sum, modulo 2**64 in each of two lanes, of the digests of its rows; so a changed row costs what
one row costs: the old digest out, the new one in (Bellare and Micciancio 1997, doi:10.1007/3-540-69053-0_13). A row's
digest mixes its index and the values of its columns with words that BLAKE2b draws from the columns' names, by the
finaliser of SplitMix64 (Steele, Lea, Flood 2014, doi:10.1145/2660193.2660195), in both lanes by other words. That is
strong against accident: two states that differ agree with a probability of about 2**-128. It is no defence against
someone who looks for a collision.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.core.draws import GAMMA, MIX_FIRST, mix

DIGEST_BYTES: Final = 16

Words = NDArray[np.uint64]
"""Of shape (n,), one 64-bit word a row; or (2, n), one a row for each lane."""

_ROW: Final = np.dtype("V16")
"""A row's digest where it is kept: rows from here and there are fetched and put several times faster than as pairs."""
_NAN: Final = np.array([np.nan]).view(np.uint64)[0] & np.uint64(0x7FFFFFFFFFFFFFFF)
_ODD: Final = np.uint64(1)
_HALF: Final = np.uint64(32)
_CHUNK: Final = 16384
"""Rows that are mixed at once: what they take stays in a processor's cache."""


class RowDigests:
    """The digest of a table with these `columns`, kept as its rows change. Names are part of it.

    Rows that come and go stand at a place (a slot of an array) and have an index, which is what they are called; `put`
    and `clear` know what stood at the place before. Where a caller knows the old values itself, `add` and `remove` do
    with no memory of places.

    >>> one, other = RowDigests("accounts", "balance"), RowDigests("accounts", "balance")
    >>> one.put(np.array([0, 1]), np.array([0, 1]), np.array([5.0, 7.0]))
    >>> one.put(np.array([1]), np.array([1]), np.array([6.0]))
    >>> other.put(np.array([0, 1]), np.array([0, 1]), np.array([5.0, 6.0]))
    >>> one.digest() == other.digest()
    True
    """

    def __init__(self, table: str, *columns: str) -> None:
        keys = [_draw(f"{table}\0{column}") for column in columns]
        self._add = np.array([key[:2] for key in keys], np.uint64).reshape(-1, 2).T[:, :, None]
        self._times = np.array([key[2:] for key in keys], np.uint64).reshape(-1, 2).T[:, :, None] | _ODD
        start = _draw(table)
        self._start = np.array(start[:2], np.uint64)[:, None]
        self._spread = np.array(start[2:], np.uint64)[:, None] | _ODD
        self._places = np.zeros(0, _ROW)
        self._total = np.zeros(2, np.uint64)

    def put(self, places: NDArray[np.integer], index: NDArray[np.integer], *values: NDArray[Any]) -> None:
        """At these (different) `places` now stand rows called `index`, of these values, a column each."""
        if len(places):
            self._room(int(places.max()) + 1)
        for start in range(0, len(places), _CHUNK):
            part = slice(start, start + _CHUNK)
            at = places[part]
            new, old = self.rows(index[part], *(one[part] for one in values)), self._places.take(at).view(np.uint64)
            gone = [old[lane::2].sum(dtype=np.uint64) for lane in range(2)]
            self._total += new.sum(axis=1, dtype=np.uint64) - np.array(gone, np.uint64)
            pairs = np.empty((len(at), 2), np.uint64)
            pairs[:, 0], pairs[:, 1] = new
            self._places[at] = pairs.view(_ROW)[:, 0]

    def clear(self, places: NDArray[np.integer]) -> None:
        """At these (different) places stands nothing any more."""
        places = places[places < len(self._places)]
        self._total -= _lanes(self._places.take(places)).sum(axis=1, dtype=np.uint64)
        self._places[places] = np.zeros(1, _ROW)

    def add(self, index: NDArray[np.integer], *values: NDArray[Any]) -> None:
        """These rows are there now."""
        for start in range(0, len(index), _CHUNK):
            part = slice(start, start + _CHUNK)
            self._total += self.rows(index[part], *(column[part] for column in values)).sum(axis=1, dtype=np.uint64)

    def total(self) -> Words:
        """What the digests of all rows add up to, two words; for `add_total` of a table with the same columns."""
        return self._total.copy()

    def add_total(self, total: Words) -> None:
        """Rows whose digests add up to this are there now."""
        self._total += total

    def remove(self, index: NDArray[np.integer], *values: NDArray[Any]) -> None:
        """These rows, which had these values, are gone."""
        self._total -= self.rows(index, *values).sum(axis=1, dtype=np.uint64)

    def rows(self, index: NDArray[np.integer], *values: NDArray[Any]) -> Words:
        """The rows' digests, (2, n)."""
        mixed = _index(index) * self._spread
        mixed += self._start
        if values:
            alike = len(index) > 0 and all(column.strides == (0,) for column in values)
            added: Words | None = None
            for at, column in enumerate(values):
                given = column_words(column[:1] if alike else column) + self._add[:, at]
                given *= self._times[:, at]
                given ^= given >> _HALF
                given *= MIX_FIRST
                given ^= given >> _HALF
                added = given if added is None else np.add(added, given, out=added)
            mixed ^= added
        return _mix(mixed)

    def digest(self) -> bytes:
        """16 bytes over the rows that are there."""
        return self._total.astype("<u8").tobytes()

    def _room(self, size: int) -> None:
        had = len(self._places)
        if size > had:
            self._places = np.concatenate([self._places, np.zeros(max(size, 2 * had) - had, _ROW)])


def _lanes(rows: NDArray[np.void]) -> Words:
    return np.ascontiguousarray(rows.view(np.uint64).reshape(-1, 2).T)


def column_words(values: NDArray[Any]) -> Words:
    """A column's values as words: numbers by their bits (every NaN alike), text by its digest.

    Words of 64 bits stand for themselves, so a column may come as words already.
    """
    if values.dtype == np.uint64:
        return values
    if values.dtype.kind == "f":
        bits = np.ascontiguousarray(values, np.float64).view(np.uint64)
        return np.where(np.isnan(values), _NAN, bits)
    if values.dtype.kind in "biu":
        return values.astype(np.int64).view(np.uint64)
    return text_words(values.tolist())


def text_words(texts: Sequence[str]) -> Words:
    """Two words a text, of BLAKE2b-128 over its UTF-8, one for each lane: (2, n)."""
    try:
        packed = b"".join([blake2b(text.encode(), digest_size=DIGEST_BYTES).digest() for text in texts])
    except UnicodeEncodeError:
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        packed = b"".join([blake2b(text, digest_size=DIGEST_BYTES).digest() for text in encoded])
    return np.frombuffer(packed, "<u8").reshape(-1, 2).T if packed else np.empty((2, 0), np.uint64)


def join_digests(*digests: bytes | int) -> bytes:
    """16 bytes over several digests and integers, in their order."""
    return blake2b(_encode(digests), digest_size=DIGEST_BYTES).digest()


def state_digest(state: Any) -> bytes:
    """16 bytes over plain data and NumPy arrays, whatever the order of their dicts. Takes about 1 ms a megabyte.

    Raises TypeError or ValueError for what is neither.
    """
    try:
        packed = _encode_sorted(state)
    except TypeError:  # a dict whose keys are not all text: these are sorted here, at Python's speed
        packed = _encode(_sorted(state))
    return blake2b(packed, digest_size=DIGEST_BYTES).digest()


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        pairs = sorted(((_encode(key), _sorted(one)) for key, one in value.items()), key=lambda pair: pair[0])
        return ["dict", *pairs]
    if isinstance(value, list | tuple):
        return list(map(_sorted, value))
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            return ["array", value.shape, value.ravel().tolist()]
        little = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
        return ["array", little.dtype.str, little.shape, little.tobytes()]
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not plain data: give None, bool, int, float, str, bytes, list, dict")


_encode: Final = msgspec.msgpack.Encoder(enc_hook=_plain).encode
_encode_sorted: Final = msgspec.msgpack.Encoder(enc_hook=_plain, order="deterministic").encode


def _draw(name: str) -> Sequence[int]:
    """Four words of 64 bits by a name."""
    drawn = blake2b(name.encode(), digest_size=32, person=b"populace.rows1").digest()
    return [int(word) for word in np.frombuffer(drawn, "<u8")]


def _index(index: NDArray[np.integer]) -> Words:
    return np.ascontiguousarray(index).astype(np.int64).view(np.uint64)


def _mix(word: Words) -> Words:
    word *= GAMMA
    return mix(word)
