"""Tables of a checkpoint from id to bytes, as columns: read, laid over one another and written without a row touched.

A table's part is u64 count, ids and lengths (-1: removed) as int64 columns, and the rows joined, all in the order of
ids. A whole table is parts of one page each. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

PAGE_ROWS: Final = 1024
"""Ids to a page: page p holds the ids from p * PAGE_ROWS on."""
_COUNT: Final = struct.Struct("<Q")


class RowTable(NamedTuple):
    """Rows in the order of ids: their ids, their lengths in bytes (-1: removed), and what they hold, joined."""

    ids: NDArray[np.int64]
    lengths: NDArray[np.int64]
    data: NDArray[np.uint8]

    def ends(self) -> NDArray[np.int64]:
        """Where each row ends in `data`."""
        return np.cumsum(np.maximum(self.lengths, 0))


def table_of(rows: Mapping[int, bytes | None]) -> RowTable:
    """A mapping as a table; None is a row that is removed."""
    ids = sorted(rows)
    values = [rows[row] for row in ids]
    lengths = [-1 if row is None else len(row) for row in values]
    joined = b"".join(filter(None, values))
    return RowTable(np.array(ids, np.int64), np.array(lengths, np.int64), np.frombuffer(joined, np.uint8))


def encode_table(table: RowTable) -> bytes:
    """A table as one part."""
    ids, lengths = (column.astype("<i8", copy=False).tobytes() for column in (table.ids, table.lengths))
    return b"".join((_COUNT.pack(len(table.ids)), ids, lengths, table.data.data))


def decode_table(part: bytes | bytearray) -> RowTable:
    """What `encode_table` gave, without a copy; ValueError where it cannot be read."""
    size = len(part)
    (count,) = _COUNT.unpack_from(part) if size >= _COUNT.size else (-1,)
    at = _COUNT.size + 16 * count
    if not 0 <= count <= size // 16 or at > size:
        raise ValueError(f"a part of a table of {size} bytes cannot hold {count} rows")
    ids, lengths = np.frombuffer(part, "<i8", 2 * count, _COUNT.size).reshape(2, count)
    table = RowTable(ids, lengths, np.frombuffer(part, np.uint8, offset=at) if at < size else np.empty(0, np.uint8))
    if lengths.max(initial=0) > size or lengths.sum(where=lengths > 0) != size - at:
        raise ValueError("the rows of a part of a table do not add up to its length")
    return table


def decode_rows(part: bytes | bytearray, into: dict[int, bytes]) -> None:
    """Apply a part of a table; ValueError where it cannot be read."""
    table, whole = decode_table(part), memoryview(part)
    ends = table.ends() + (len(part) - len(table.data))
    for row, length, end in zip(table.ids.tolist(), table.lengths.tolist(), ends.tolist(), strict=True):
        if length < 0:
            into.pop(row, None)
        else:
            into[row] = bytes(whole[end - length : end])


def overlay(tables: Sequence[RowTable], *, removals: bool) -> RowTable:
    """Tables as one, the later ones over the earlier; with `removals` what is removed stands as removed, else is gone.

    What it costs beside passes over the columns follows how many stretches of rows it is put together from.
    """
    ids, lengths, data = (np.concatenate([table[at] for table in tables]) for at in range(3))
    order = np.argsort(ids, kind="stable")
    sorted_ids = ids[order]
    last = np.ones(len(order), np.bool_)
    np.not_equal(sorted_ids[1:], sorted_ids[:-1], out=last[:-1])
    rows = order[last]
    if not removals:
        rows = rows[lengths[rows] >= 0]
    ends = np.cumsum(np.maximum(lengths, 0))
    kept = np.maximum(lengths[rows], 0)
    begins, stops = ends[rows] - kept, ends[rows]
    apart = np.flatnonzero(begins[1:] != stops[:-1])
    firsts = begins[np.concatenate(([0], apart + 1))].tolist() if len(rows) else []
    lasts = stops[np.concatenate((apart, [len(rows) - 1]))].tolist() if len(rows) else []
    whole = data.data
    joined = b"".join([whole[first:stop] for first, stop in zip(firsts, lasts, strict=True)])
    return RowTable(ids[rows], lengths[rows], np.frombuffer(joined, np.uint8))


def pages(table: RowTable) -> Iterator[bytes]:
    """A table without removals as parts, a page each, in the order of ids."""
    if not len(table.ids):
        return
    turns = np.flatnonzero(np.diff(table.ids // PAGE_ROWS)) + 1
    bounds, ends = [0, *turns.tolist(), len(table.ids)], [0, *table.ends().tolist()]
    for begin, stop in pairwise(bounds):
        data = table.data[ends[begin] : ends[stop]]
        yield encode_table(RowTable(table.ids[begin:stop], table.lengths[begin:stop], data))
