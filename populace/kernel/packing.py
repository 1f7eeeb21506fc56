"""What the world shows turns, as it travels to their shards."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from populace.core.errors import ScenarioError
from populace.env.plain import unwritten

_pack: Final = msgspec.msgpack.Encoder().encode  # half the time of msgpack's, and what it writes is the same
_unpack: Final = msgspec.msgpack.Decoder().decode


def pack_values(what: str, values: list[tuple[bool, Any]]) -> bytes:
    """Values, packed (`read_values`). Raises ScenarioError for numbers and texts that cannot be written."""
    try:
        return _pack(values)
    except (OverflowError, UnicodeError) as error:
        for _, value in values:
            for name, one in value.items() if isinstance(value, dict) else [("it", value)]:
                try:
                    _pack(one)
                except (OverflowError, UnicodeError):
                    raise ScenarioError(f"{what}, {name!r}: {unwritten(error)}") from None
        raise ScenarioError(f"{what}: {unwritten(error)}") from None


def pack_seen(agents: int, columns: dict[str, list[Any]]) -> bytes:
    """What so many agents see, by column, packed (`read_seen`). Raises ScenarioError for what cannot be written.

    By column, since whoever packs is one for all shards: rows are made by each shard, of what it reads.
    """
    try:
        return _pack((agents, list(columns), list(columns.values())))
    except (OverflowError, UnicodeError):
        for name, column in columns.items():
            try:
                _pack(column)
            except (OverflowError, UnicodeError) as error:
                raise ScenarioError(f"what the parts show agents, {name!r}: {unwritten(error)}") from None
        raise


def read_seen(packed: bytes) -> list[dict[str, Any]]:
    """What `pack_seen` packed: a dict for each agent, plain values by 'part.column'."""
    agents, names, columns = _unpack(packed)
    if not names:
        return [{} for _ in range(agents)]
    if len(names) == 1:
        (name,), (column,) = names, columns
        return [{name: value} for value in column]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def read_values(packed: bytes) -> list[Any]:
    """What `look` packed: plain values, and a LookupError in place of one that could not be had."""
    return [value if good else LookupError(value) for good, value in _unpack(packed)]
