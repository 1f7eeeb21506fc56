"""Arguments of actions as they came, packed: read one by one as dictionaries, or as columns where they are alike.

An action's arguments are a MessagePack map. Where those of many have the same names in the same order, and numbers or
truths of one kind under each, NumPy reads them out of the bytes, and no Python is spent on an action.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, overload

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.env.picked import FLAT

Places = NDArray[np.intp]
Bytes = NDArray[np.uint8]

_decode: Final = msgspec.msgpack.Decoder(list[dict[str, Any]]).decode
_FALSE: Final = 0xC2
_FLOAT: Final = 0xCB
_UNSIGNED: Final = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
_SIGNED: Final = {0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_NO_NUMBER: Final = 255
_WIDTHS: Final = np.full(256, _NO_NUMBER, np.int64)
"""How many bytes follow the first one of an integer, by that."""
_WIDTHS[:0x80] = _WIDTHS[0xE0:] = 0
for _tag, _width in (*_UNSIGNED.items(), *_SIGNED.items()):
    _WIDTHS[_tag] = _width


class PackedArgs(msgspec.Struct, frozen=True):
    """The arguments of many actions: those of one are `body[starts[i]:stops[i]]` (int64), a map."""

    body: bytes
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    def packed(self, places: Places) -> list[bytes]:
        """The arguments at these places as they are."""
        body = self.body
        bounds = zip(self.starts[places].tolist(), self.stops[places].tolist(), strict=True)
        return [body[start:stop] for start, stop in bounds]

    def args(self, places: Places) -> list[dict[str, Any]]:
        """The arguments at these places."""
        return _read_maps(self.packed(places))

    def columns(self, places: Places) -> dict[str, NDArray[Any]] | None:
        """The arguments at these places by name, int64, float64 or bool each; None where they are not such."""
        data, at, stops = np.frombuffer(self.body, np.uint8), self.starts[places], self.stops[places]
        head = int(data[at[0]]) if len(at) else 0
        if head >> 4 != 0x8 or not (data[at] == head).all():
            return None
        found: dict[str, NDArray[Any]] = {}
        at = at + 1
        for _ in range(head & 0xF):
            tag = int(data[at[0]])
            ends = at + 1 + (tag & 0x1F)
            if tag >> 5 != 0b101 or not starts_alike(data, at, stops, data[at[0] : ends[0]]) or (ends >= stops).any():
                return None
            read = _numbers(data, ends, stops)
            if read is None:
                return None
            name = self.body[int(at[0]) + 1 : int(ends[0])].decode()
            found[name], at = read
        return found if (at == stops).all() else None


class Asked(Sequence[dict[str, Any]]):
    """The arguments of many looks at one query, of which several are alike: `packed` has each once.

    Look `i` has the arguments `packed[which[i]]`. Each look's own are a dictionary that no other look has, made once
    somebody reads them.
    """

    __slots__ = ("_own", "_packed", "once", "which")

    def __init__(self, packed: Sequence[bytes], which: NDArray[np.intp]) -> None:
        self.once = _read_maps(packed)
        """Arguments that differ, each once."""
        self.which = which
        self._packed = packed
        self._own: list[dict[str, Any]] | None = None

    def __len__(self) -> int:
        return len(self.which)

    @overload
    def __getitem__(self, at: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, at: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, at: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return self._each()[at]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._each())

    def _each(self) -> list[dict[str, Any]]:
        if self._own is None:
            rows = self.which.tolist()
            if all(FLAT.issuperset(map(type, one.values())) for one in self.once):
                self._own = [self.once[row].copy() for row in rows]
            else:
                self._own = _read_maps([self._packed[row] for row in rows])
        return self._own


def of_each(args: Sequence[dict[str, Any]], read: Callable[[dict[str, Any]], int]) -> NDArray[np.int64]:
    """What `read` makes of each look's arguments; of those that are alike it is asked once."""
    if isinstance(args, Asked):
        return np.array([read(one) for one in args.once], np.int64)[args.which]
    return np.array([read(one) for one in args], np.int64)


def _read_maps(packed: Sequence[bytes]) -> list[dict[str, Any]]:
    return _decode(b"\xdd" + len(packed).to_bytes(4, "big") + b"".join(packed))


def starts_alike(data: Bytes, at: NDArray[np.int64], stops: NDArray[np.int64], prefix: Bytes) -> bool:
    """Whether all of these ranges begin so."""
    return bool(which_start(data, at, stops, prefix).all())


def which_start(data: Bytes, at: NDArray[np.int64], stops: NDArray[np.int64], prefix: Bytes) -> NDArray[np.bool_]:
    """Which of the ranges of `data` from `at` to `stops` begin with `prefix`."""
    alike: NDArray[np.bool_] = at + len(prefix) <= stops
    for place, byte in enumerate(prefix.tolist()):
        alike &= data.take(at + place, mode="clip") == byte
    return alike


def _numbers(
    data: Bytes, at: NDArray[np.int64], stops: NDArray[np.int64]
) -> tuple[NDArray[Any], NDArray[np.int64]] | None:
    """The values that begin there, and where they end; None where not all are integers, floats, or truths."""
    tags = data[at]
    if (tags & 0xFE == _FALSE).all():
        return tags != _FALSE, at + 1
    if (tags == _FLOAT).all():
        return None if (at + 9 > stops).any() else (_read(data, at, ">f8").astype(np.float64), at + 9)
    widths = _WIDTHS[tags]
    ends = at + 1 + widths
    if (widths == _NO_NUMBER).any() or (ends > stops).any():
        return None
    values = tags.view(np.int8).astype(np.int64)  # of one byte
    for kinds, sign in ((_UNSIGNED, "u"), (_SIGNED, "i")):
        for tag, width in kinds.items():
            rows = np.flatnonzero(tags == tag)
            if len(rows):
                read = _read(data, at[rows], f">{sign}{width}")
                if sign == "u" and width == 8 and (read >> np.uint64(63)).any():
                    return None  # it is of more than 63 bits
                values[rows] = read.astype(np.int64)
    return values, ends


def _read(data: Bytes, at: NDArray[np.int64], dtype: str) -> NDArray[Any]:
    """The numbers that stand behind the bytes there."""
    width = np.dtype(dtype).itemsize
    return np.ascontiguousarray(data[at[:, None] + np.arange(1, width + 1)]).view(dtype)[:, 0]
