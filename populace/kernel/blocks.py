"""What a checkpoint may hold, and how it becomes bytes: plain data only, no pickle. Pure.

A state is a mapping of names to blocks. A block is one of:

- `bytes`;
- a NumPy array of a listed dtype (bool, integers, floats, complex, fixed-width text and bytes; little-endian): its raw
  buffer in C order; it comes back equal, in C order and writable;
- a NumPy array of objects that are all `str`: a list of them;
- plain data (None, bool, int, float, str, bytes, list, dict, by exact type): MessagePack, so what comes back is equal
  in value and in type. Tuples and NumPy scalars are refused, since they would come back as something else;
- `Rows`: a table from id to bytes that is given as what changed, for instance the agents' packed states.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias

import msgpack
import msgspec
import numpy as np

from populace.core.errors import StorageError

Kind: TypeAlias = Literal["bytes", "array", "strings", "plain", "rows"]

PLAIN_BYTES: Final = 256 * 2**20
"""The largest plain block, in bytes of MessagePack (unpacked it may take a hundred times that)."""
STRINGS_BYTES: Final = 2**30

_DTYPE: Final = re.compile(r"\|b1|\|[iu]1|<[iu][248]|<f[248]|<c(8|16)|<U[1-9]\d*|\|S[1-9]\d*")
_encode: Final = msgspec.msgpack.Encoder().encode
_strings_of: Final = msgspec.msgpack.Decoder(list[str]).decode


class Rows:
    """Rows of a table from id (int64) to bytes that changed since the save before.

    `changed` holds new and changed rows, `removed` the ids that are gone; with `whole`, `changed` is all there is.
    A checkpoint gives a table back as a dict, sorted by id.
    """

    __slots__ = ("changed", "removed", "whole")

    def __init__(self, changed: Mapping[int, bytes], removed: Iterable[int] = (), *, whole: bool = False) -> None:
        self.changed = changed
        self.removed = tuple(removed)
        self.whole = whole
        both = [row for row in self.removed if row in changed]
        if both or (whole and self.removed):
            raise ValueError(f"rows cannot be changed and removed at once: {both or self.removed}")

    def delta(self) -> dict[int, bytes | None]:
        """The change as one mapping, None for what is removed."""
        return {**self.changed, **dict.fromkeys(self.removed)}


Block: TypeAlias = "bytes | np.ndarray[Any, Any] | Rows | bool | int | float | str | list[Any] | dict[Any, Any] | None"
"""A block of a state; see the module's page."""


class Shape(msgspec.Struct, frozen=True):
    """How a block's bytes are to be read: its kind, and dtype and shape of an array."""

    kind: Kind
    dtype: str = ""
    shape: tuple[int, ...] = ()


def encode_block(name: str, block: Block) -> tuple[Shape, bytes | memoryview]:
    """The block as bytes, without copying an array that is contiguous. Raises StorageError, naming the block."""
    if type(block) is bytes:
        return Shape("bytes"), block
    if type(block) is np.ndarray:
        return _encode_array(name, block)
    try:
        data = msgpack.packb(block, use_bin_type=True, strict_types=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise StorageError(
            f"block {name!r} of a checkpoint cannot be saved: {error}. Give bytes, an array, Rows, or plain data: "
            "None, bool, int of 64 bits, float, str, bytes, list, dict."
        ) from error
    return Shape("plain"), _bounded(name, data, PLAIN_BYTES)


def _encode_array(name: str, block: np.ndarray[Any, Any]) -> tuple[Shape, bytes | memoryview]:
    if block.dtype == object:
        texts = block.ravel().tolist()
        wrong = [text for text in texts if type(text) is not str]
        if wrong:
            raise StorageError(
                f"block {name!r} of a checkpoint is an array of objects that are not all str (one is {wrong[0]!r}). "
                "Save it as a list, or as an array of numbers."
            )
        try:
            data = _encode(texts)
        except UnicodeEncodeError as error:
            raise StorageError(f"block {name!r} of a checkpoint holds text that is not Unicode: {error}.") from error
        return Shape("strings", "", block.shape), _bounded(name, data, STRINGS_BYTES)
    if not _DTYPE.fullmatch(block.dtype.str):
        raise StorageError(
            f"block {name!r} of a checkpoint has dtype {block.dtype}, which is not one of those that are saved: bool, "
            "integers, floats, complex, fixed-width text and bytes, little-endian. Split a structured array by field."
        )
    flat = np.ascontiguousarray(block)
    return Shape("array", block.dtype.str, block.shape), flat.reshape(-1).view(np.uint8).data


def _bounded(name: str, data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise StorageError(
            f"block {name!r} of a checkpoint takes {len(data)} bytes, and {limit} are allowed for its kind. Split it, "
            "or save its numbers as arrays."
        )
    return data


def room_for(shape: Shape, length: int) -> bytearray | np.ndarray[Any, Any]:
    """A buffer of `length` bytes to read a block into; ValueError where the length does not fit the shape."""
    if shape.kind == "array":
        if not _DTYPE.fullmatch(shape.dtype):
            raise ValueError(f"dtype {shape.dtype!r} is not one of those that are saved")
        dtype = np.dtype(shape.dtype)
        if min(shape.shape, default=0) < 0 or math.prod(shape.shape) * dtype.itemsize != length:
            raise ValueError(f"an array of shape {shape.shape} and dtype {dtype} does not take {length} bytes")
        return np.empty(shape.shape, dtype)
    if length > {"plain": PLAIN_BYTES, "strings": STRINGS_BYTES}.get(shape.kind, length):
        raise ValueError(f"{length} bytes are too many for its kind, {shape.kind}")
    return bytearray(length)


def decode_block(shape: Shape, data: bytearray | np.ndarray[Any, Any]) -> Any:
    """The block that `room_for` and a read have filled; ValueError where it cannot be read."""
    if isinstance(data, np.ndarray):
        return data
    if shape.kind == "bytes":
        return bytes(data)
    if shape.kind == "plain":
        return msgpack.unpackb(data, strict_map_key=False, ext_hook=_refuse_extension)
    texts = np.empty(math.prod(shape.shape), dtype=object)
    texts[:] = _strings_of(data)
    return texts.reshape(shape.shape)


def _refuse_extension(code: int, data: bytes) -> Any:
    raise ValueError(f"extension type {code} ({len(data)} bytes) is not plain data")
