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


def read_values(packed: bytes) -> list[Any]:
    """What `observe` and `look` packed: plain values, and a LookupError in place of one that could not be had."""
    return [value if good else LookupError(value) for good, value in _unpack(packed)]
