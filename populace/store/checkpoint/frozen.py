"""Blocks of a checkpoint as they were at a tick's edge, whatever becomes of them since: what is saved behind the run.

A large array is held anyway as it was saved last, so that what changed in it can be found; that copy is brought up to
date, and is the frozen one until the next. So freezing takes a pass over the arrays and no further memory. Pure.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from populace.kernel.blocks import Block, Rows, Shape, encode_block
from populace.kernel.patches import Rows as Changed
from populace.kernel.patches import changed_rows, is_frozen

PATCHED_BYTES: Final = 2**16
"""Arrays as large as this are saved as what changed in them."""


class Frozen(NamedTuple):
    """A block that nothing changes any more: in bytes, with how to read them, or as an array.

    Of an array of PATCHED_BYTES or more, `rows` are those that had changed since it was frozen before, and `last` those
    that had changed then; None: all.
    """

    held: tuple[Shape, bytes] | NDArray[Any]
    rows: Changed | None = None
    last: Changed | None = None


class Freezer:
    """Freezes the blocks of one line of saves; each is to be written before the next is frozen."""

    def __init__(self) -> None:
        self._kept: dict[str, Frozen] = {}

    def freeze(self, name: str, block: Block | Frozen) -> Frozen | Rows:
        """A block as it is now; rows are given as they are. Raises StorageError, naming the block."""
        if isinstance(block, Frozen | Rows):
            return block
        if not is_patched(block):
            self._kept.pop(name, None)  # once it is large again, it changed since another save than the one before
            if isinstance(block, np.ndarray):
                return Frozen(block.copy())
            shape, data = encode_block(name, block)
            return Frozen((shape, bytes(data)))
        encode_block(name, block[:0])  # whether it can be saved at all
        kept = self._kept.get(name)
        was = kept.held if kept is not None and isinstance(kept.held, np.ndarray) else None
        rows = None if was is None else changed_rows(was, block)
        frozen = Frozen(_copied(was, block, rows), rows, None if kept is None else kept.rows)
        self._kept[name] = frozen
        return frozen

    def again(self, name: str) -> Frozen | Rows | None:
        """A large array as it was frozen before; None where none of this name was."""
        kept = self._kept.get(name)
        return self.freeze(name, kept.held) if kept is not None and isinstance(kept.held, np.ndarray) else None

    def retain(self, names: Collection[str]) -> None:
        """Let go of arrays of other names."""
        self._kept = {name: kept for name, kept in self._kept.items() if name in names}

    def forget(self) -> None:
        """Let go of all: the next save is whole."""
        self._kept.clear()


def is_patched(block: Block) -> TypeGuard[NDArray[Any]]:
    """Whether a block is an array of which the changes are saved."""
    return isinstance(block, np.ndarray) and block.dtype != object and block.ndim > 0 and block.nbytes >= PATCHED_BYTES


def _copied(was: NDArray[Any] | None, array: NDArray[Any], rows: Changed | None) -> NDArray[Any]:
    """A copy of the array, made from the one that is kept where that is less work; itself if nobody can change it."""
    if is_frozen(array) or was is array:
        return array
    if was is None or rows is None or len(was) != len(array) or not was.flags.writeable:
        return array.copy()
    was[rows] = array[rows]
    return was
