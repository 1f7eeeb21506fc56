"""Tables of checkpoints as columns: laid over one another they are what mappings come to, row by row."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from populace.kernel.row_tables import (
    PAGE_ROWS,
    RowTable,
    decode_rows,
    decode_table,
    encode_table,
    overlay,
    pages,
    table_of,
)

Change = dict[int, bytes | None]
Overlay = Callable[[Sequence[RowTable]], RowTable]

IDS = st.integers(-3, 3 * PAGE_ROWS)
CHANGES = st.lists(st.dictionaries(IDS, st.none() | st.binary(max_size=5), max_size=12), min_size=1, max_size=5)


def read(table: RowTable) -> Change:
    """A table as a mapping, in its order."""
    ends = table.ends().tolist()
    columns = zip(table.ids.tolist(), table.lengths.tolist(), ends, strict=True)
    return {row: None if size < 0 else table.data[end - size : end].tobytes() for row, size, end in columns}


def laid_over(changes: Sequence[Change]) -> Change:
    """The changes one after another, row by row, sorted by id."""
    found: Change = {}
    for change in changes:
        found.update(change)
    return dict(sorted(found.items()))


def keeping(tables: Sequence[RowTable]) -> RowTable:
    return overlay(tables, removals=True)


def whole(tables: Sequence[RowTable]) -> RowTable:
    return overlay(tables, removals=False)


def is_laid_over(changes: Sequence[Change], kept: Overlay, left: Overlay) -> bool:
    """Whether tables come to what the mappings come to, with what is removed and without."""
    tables, right = list(map(table_of, changes)), laid_over(changes)
    there = {row: value for row, value in right.items() if value is not None}
    one, other = read(kept(tables)), read(left(tables))
    return list(one.items()) == list(right.items()) and list(other.items()) == list(there.items())


@given(CHANGES)
def test_tables_are_laid_over_as_mappings_are(changes: list[Change]) -> None:
    assert is_laid_over(changes, keeping, whole)


def test_control_what_lays_tables_over_otherwise_is_found() -> None:
    changes: list[Change] = [{1: b"old", 2: b"two", 5: b"five"}, {1: b"new", 2: None, 3: b""}]
    assert is_laid_over(changes, keeping, whole)
    assert not is_laid_over(changes, lambda tables: keeping(tables[::-1]), whole)  # the earlier over the later
    assert not is_laid_over(changes, keeping, keeping)  # what is removed stays
    assert not is_laid_over(changes, whole, whole)  # a merged change forgets what it removes
    assert not is_laid_over(changes, keeping, lambda tables: whole(tables[:1]))  # a changed row is missed


@given(CHANGES)
def test_a_table_is_read_as_it_was_written(changes: list[Change]) -> None:
    for change in changes:
        part = encode_table(table_of(change))
        assert read(decode_table(bytearray(part))) == dict(sorted(change.items()))
        assert encode_table(decode_table(part)) == part
        rows = dict.fromkeys(range(3), b"before")
        decode_rows(part, rows)
        assert rows == {
            row: one for row, one in {**dict.fromkeys(range(3), b"before"), **change}.items() if one is not None
        }


def test_a_part_is_written_as_documented() -> None:
    part = encode_table(table_of({7: b"xy", -2: None, 9: b""}))
    assert part == struct.pack("<Q6q", 3, -2, 7, 9, -1, 2, 0) + b"xy"


@given(st.dictionaries(IDS, st.binary(max_size=5), max_size=40))
def test_pages_hold_what_is_theirs_in_order(rows: dict[int, bytes]) -> None:
    found = [decode_table(page) for page in pages(table_of(rows))]
    assert [row for table in found for row in read(table).items()] == sorted(rows.items())
    of = [set((table.ids // PAGE_ROWS).tolist()) for table in found]
    assert all(len(one) == 1 for one in of)
    assert len(set.union(set(), *of)) == len(of)


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"\x01",
        struct.pack("<Q", 1),
        struct.pack("<Q2q", 1, 5, 4) + b"abc",
        struct.pack("<Q2q", 1, 5, 2) + b"abc",
        struct.pack("<Q4q", 2, 5, 6, 2**62, 2**62) + b"abc",
        struct.pack("<Q4q", 2, 5, 6, 2**63 - 1, 2**63 - 1),
        struct.pack("<Q", 2**61),
    ],
)
def test_what_is_no_table_is_refused(part: bytes) -> None:
    with pytest.raises(ValueError, match="a part of a table"):
        decode_table(part)
    with pytest.raises(ValueError, match="a part of a table"):
        decode_rows(part, {})


def test_a_table_is_read_without_a_copy_of_its_rows() -> None:
    part = encode_table(table_of(dict.fromkeys(range(1000), b"12345678")))
    assert np.shares_memory(decode_table(part).data, np.frombuffer(part, np.uint8))
