"""Columns of tables that say many rows at once: few values by code, and packed values joined as they lie.

Both are sequences like the list of their values, so whoever reads one row need not know of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray


class _Rows(Sequence[Any]):
    """A column that is the same as any other sequence of its values."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)!r})"


class Coded(_Rows):
    """A column in which few values come again and again: row `i` holds `values[codes[i]]`, `codes` being integers."""

    __slots__ = ("codes", "values")

    def __init__(self, values: Sequence[Any], codes: NDArray[Any]) -> None:
        self.values = values
        self.codes = codes

    def __len__(self) -> int:
        return len(self.codes)

    @overload
    def __getitem__(self, at: int) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> Coded: ...
    def __getitem__(self, at: int | slice) -> Any:
        return Coded(self.values, self.codes[at]) if isinstance(at, slice) else self.values[self.codes[at]]

    def __iter__(self) -> Iterator[Any]:
        return map(self.values.__getitem__, self.codes.tolist())


class Joined(_Rows):
    """A column of bytes, joined in the order of rows: `ends` (int64) says where each row's end in `data`."""

    __slots__ = ("data", "ends")

    def __init__(self, data: bytes, ends: NDArray[np.int64]) -> None:
        self.data = data
        self.ends = ends

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> Joined: ...
    def __getitem__(self, at: int | slice) -> bytes | Joined:
        if isinstance(at, slice):
            begin, stop, step = at.indices(len(self))
            if step != 1:
                return joined(list(self)[at])
            first = int(self.ends[begin - 1]) if begin else 0
            last = int(self.ends[stop - 1]) if stop > begin else first
            return Joined(self.data[first:last], self.ends[begin : max(begin, stop)] - first)
        place = range(len(self))[at]
        return self.data[self.ends[place - 1] if place else 0 : self.ends[place]]

    def __iter__(self) -> Iterator[bytes]:
        data = self.data
        return (data[start:stop] for start, stop in pairwise(chain((0,), self.ends.tolist())))


def repeated(value: Any, rows: int) -> Coded:
    """A column in which every row holds this value."""
    return Coded((value,), np.broadcast_to(np.uint8(0), rows))


def joined(values: Sequence[bytes]) -> Joined:
    """These values as one column."""
    return Joined(b"".join(values), np.fromiter(accumulate(map(len, values)), np.int64, len(values)))


def stacked(columns: Sequence[Any]) -> Any:
    """Columns of one name, one after another, as one: as arrays, codes or bytes where all are, else as a list."""
    if len(columns) == 1:
        return columns[0]
    if all(isinstance(one, np.ndarray) for one in columns):
        return np.concatenate(columns)
    if all(isinstance(one, Coded) for one in columns):
        return _recoded(columns)
    if all(isinstance(one, Joined) for one in columns):
        bases = accumulate((len(one.data) for one in columns[:-1]), initial=0)
        ends = [one.ends + base for one, base in zip(columns, bases, strict=True)]
        return Joined(b"".join(one.data for one in columns), np.concatenate(ends))
    return list(chain.from_iterable(one.tolist() if isinstance(one, np.ndarray) else one for one in columns))


def _recoded(columns: Sequence[Coded]) -> Coded:
    """Columns of few values with one code for each value."""
    values: list[Any] = []
    codes = []
    for one in columns:
        fresh = [value for value in one.values if value not in values]
        values += fresh
        to = np.array([values.index(value) for value in one.values], np.int32)
        codes.append(to[one.codes])
    return Coded(values, np.concatenate(codes))
