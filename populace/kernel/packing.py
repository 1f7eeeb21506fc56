"""What the world shows turns, as it travels to their shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np

from populace.core.errors import ScenarioError
from populace.env.picked import Column, Picked, Rows
from populace.env.plain import unwritten

_pack: Final = msgspec.msgpack.Encoder().encode  # half the time of msgpack's, and what it writes is the same
_unpack: Final = msgspec.msgpack.Decoder().decode
_Pick: TypeAlias = tuple[list[dict[str, Any]] | dict[str, tuple[Any, ...]], bytes, bytes]
"""What is packed of a `Picked`: its rows, or columns of them, and its places and ends as int32."""
_KINDS: Final = {"b": "|b1", "i": "<i8", "u": "<i8", "f": "<f8"}


def pack_values(
    what: str, values: list[tuple[bool, Any]], picked: Sequence[tuple[Sequence[int], Picked]] = ()
) -> bytes:
    """Values, packed (`read_values`); those of `picked` at their places, whatever `values` has there.

    Without `values` there is one of `picked`, which is all of them.

    Raises ScenarioError for numbers and texts that cannot be written.
    """
    try:
        return _pack((values, [(np.array(places, "<i4").tobytes(), _packed(one)) for places, one in picked]))
    except (OverflowError, UnicodeError) as error:
        for _, value in (*values, *((True, row) for _, one in picked for row in one.rows)):
            for name, one in value.items() if isinstance(value, dict) else [("it", value)]:
                try:
                    _pack(one)
                except (OverflowError, UnicodeError):
                    raise ScenarioError(f"{what}, {name!r}: {unwritten(error)}") from None
        raise ScenarioError(f"{what}: {unwritten(error)}") from None


def _packed(picked: Picked) -> _Pick:
    places, given = np.ascontiguousarray(picked.places, "<i4"), picked.rows
    rows = {name: _column(one) for name, one in given.columns.items()} if isinstance(given, Rows) else given
    return rows, places.tobytes(), picked.ends.astype("<i4").tobytes()


def _column(column: Column) -> tuple[Any, ...]:
    """A list as it is; of an array its kind, its values and where it is masked."""
    if isinstance(column, list):
        return (column,)
    kind = _KINDS[column.dtype.kind]
    mask = np.ma.getmaskarray(column).tobytes() if isinstance(column, np.ma.MaskedArray) else b""
    return kind, np.asarray(column).astype(kind).tobytes(), mask


def _read_column(values: Any, data: bytes | None = None, mask: bytes = b"") -> Column:
    if data is None:
        return list(values)
    column = np.frombuffer(data, values)
    return np.ma.MaskedArray(column, np.frombuffer(mask, np.bool_)) if mask else column


def _picked(
    given: list[dict[str, Any]] | dict[str, tuple[Any, ...]], places: bytes, ends: bytes
) -> list[list[dict[str, Any]]]:
    rows = Rows({name: _read_column(*one) for name, one in given.items()}) if isinstance(given, dict) else given
    stops = np.frombuffer(ends, "<i4")
    width = len(places) // len(ends) if ends else 0
    return Picked(rows, np.frombuffer(places, "<i4").reshape(len(stops), width), stops).copied()


def pack_seen(agents: int, columns: Mapping[str, Sequence[Any]]) -> bytes:
    """What so many agents see, by column, packed (`read_seen`). Raises ScenarioError for what cannot be written.

    By column, since whoever packs is one for all shards: rows are made by each shard, of what it reads.
    """
    picked = {name: column for name, column in columns.items() if isinstance(column, Picked)}
    given = [None if name in picked else column for name, column in columns.items()]
    try:
        return _pack((agents, list(columns), given, {name: _packed(one) for name, one in picked.items()}))
    except (OverflowError, UnicodeError):
        for name, column in columns.items():
            try:
                _pack(_packed(column) if isinstance(column, Picked) else column)
            except (OverflowError, UnicodeError) as error:
                raise ScenarioError(f"what the parts show agents, {name!r}: {unwritten(error)}") from None
        raise


def read_seen(packed: bytes) -> list[dict[str, Any]]:
    """What `pack_seen` packed: a dict for each agent, plain values by 'part.column'."""
    agents, names, columns, picked = _unpack(packed)
    if not names:
        return [{} for _ in range(agents)]
    lists = {name: _picked(*one) for name, one in picked.items()}
    columns = [lists.get(name, column) for name, column in zip(names, columns, strict=True)]
    if len(names) == 1:
        (name,), (column,) = names, columns
        return [{name: value} for value in column]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def read_values(packed: bytes) -> list[Any]:
    """What `look` packed: plain values, and a LookupError in place of one that could not be had."""
    given, picked = _unpack(packed)
    values = [value if good else LookupError(value) for good, value in given]
    for places, pick in picked:
        lists = _picked(*pick)
        if not values:
            return lists
        for place, one in zip(np.frombuffer(places, "<i4").tolist(), lists, strict=True):
            values[place] = one
    return values
