"""What the world shows turns, as it travels to their shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np

from populace.core.errors import ScenarioError
from populace.env.picked import Picked
from populace.env.plain import unwritten

_pack: Final = msgspec.msgpack.Encoder().encode  # half the time of msgpack's, and what it writes is the same
_unpack: Final = msgspec.msgpack.Decoder().decode
_Pick: TypeAlias = tuple[list[dict[str, Any]], bytes, bytes]
"""What is packed of a `Picked`: its rows, and its places and ends as int32."""


def pack_values(
    what: str, values: list[tuple[bool, Any]], picked: Sequence[tuple[Sequence[int], Picked]] = ()
) -> bytes:
    """Values, packed (`read_values`); those of `picked` at their places, whatever `values` has there.

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
    places = np.ascontiguousarray(picked.places, "<i4")
    return picked.rows, places.tobytes(), picked.ends.astype("<i4").tobytes()


def _picked(rows: list[dict[str, Any]], places: bytes, ends: bytes) -> list[list[dict[str, Any]]]:
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
                _pack(column.rows if isinstance(column, Picked) else column)
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
        lists, at = _picked(*pick), np.frombuffer(places, "<i4").tolist()
        if at == [*range(len(values))]:
            return lists  # they are the only ones
        for place, one in zip(at, lists, strict=True):
            values[place] = one
    return values
