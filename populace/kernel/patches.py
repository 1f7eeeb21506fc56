"""Arrays of a checkpoint given as the rows that changed since another save: which these are, and as bytes. Pure.

A row is what stands at one index of the first axis. Rows are compared by their bits, so what is put together again is
the same array to the bit.
"""

from __future__ import annotations

import struct
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Rows: TypeAlias = NDArray[np.uint32]

_HEAD: Final = struct.Struct("<QQ")
_WORDS: Final = {1: "u1", 2: "<u2", 4: "<u4", 8: "<u8"}
_MOST_ROWS: Final = 2**32


def changed_rows(was: NDArray[Any], now: NDArray[Any]) -> Rows | None:
    """The rows of `now` that `was` does not hold, in order; None where another dtype or shape makes that all of them.

    Rows may have been added at the end.
    """
    if was is now and is_frozen(now):
        return np.zeros(0, np.uint32)
    before, size = len(was), len(now)
    if was.dtype != now.dtype or was.shape[1:] != now.shape[1:] or not 0 < before <= size < _MOST_ROWS:
        return None
    found = np.flatnonzero(_differ(_words(was), _words(now[:before]))).astype(np.uint32)
    return found if size == before else np.concatenate((found, np.arange(before, size, dtype=np.uint32)))


def is_frozen(array: NDArray[Any]) -> bool:
    """Whether nobody can write to an array: neither to it nor to the one that it is a view of."""
    base = array
    while isinstance(base, np.ndarray) and not base.flags.writeable:
        if base.base is None:
            return True
        base = base.base
    return False


def _differ(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    differ = one != other
    return np.asarray(differ[:, 0] if differ.shape[1] == 1 else differ.any(axis=1))


def _words(array: NDArray[Any]) -> NDArray[Any]:
    flat = np.ascontiguousarray(array).reshape(len(array), -1)
    return flat.view(_WORDS.get(array.dtype.itemsize, "u1"))


def patch_bytes(array: NDArray[Any], rows: int) -> int:
    """How long a patch of so many rows of an array is."""
    return _HEAD.size + rows * (4 + array.nbytes // max(1, len(array)))


def encode_patch(array: NDArray[Any], rows: Rows) -> bytes:
    """These rows of an array: u64 length of the whole and number of rows, u32 rows, and the rows in C order."""
    values = np.ascontiguousarray(array[rows])
    return b"".join((_HEAD.pack(len(array), len(rows)), rows.astype("<u4").tobytes(), values.tobytes()))


def apply_patch(array: NDArray[Any], data: bytes | bytearray) -> None:
    """Put the rows of a patch into an array that may be longer than it was when the patch was made; else ValueError."""
    size, count = _HEAD.unpack_from(data) if len(data) >= _HEAD.size else (0, -1)
    if not 0 <= count <= size <= len(array) or len(data) != patch_bytes(array, count):
        raise ValueError(f"{len(data)} bytes are no change of an array of {array.shape}")
    at = _HEAD.size + 4 * count
    rows = np.frombuffer(data, "<u4", count, _HEAD.size)
    if count and int(rows.max()) >= size:
        raise ValueError(f"a change of row {rows.max()} of an array of {size}")
    array[rows] = np.frombuffer(data, array.dtype, offset=at).reshape(count, *array.shape[1:])
