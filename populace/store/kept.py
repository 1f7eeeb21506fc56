"""Checkpoints that a run keeps for good, so that forks begin there. Shell: files.

Each is one generation, whole, in a folder of its own, `kept/t00000095/`: it refers to no other file. The rows of the
tables that came before it are the first ones of the run's tables, and the answers stand in the run's journal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from populace.core.errors import StorageError
from populace.kernel.blocks import Block
from populace.store.checkpoint.file import generations
from populace.store.checkpoint.frozen import Frozen
from populace.store.checkpoint.generations import Checkpoints
from populace.store.storage import make_folder, naming

KEPT: Final = "kept"
_NAME: Final = re.compile(r"t(\d{8,})")


def keep(folder: Path, run: str, tick: int, blocks: Mapping[str, Block | Frozen]) -> int:
    """Keep a whole state of a run before `tick`; gives how many bytes were written. Raises StorageError."""
    make_folder(folder / KEPT)
    return Checkpoints(folder / KEPT / f"t{tick:08}", run=run).save(tick, blocks).written_bytes


def kept_ticks(folder: Path) -> dict[int, Path]:
    """The ticks before which a run has kept its state, each with the folder that it stands in; none where none is."""
    place = folder / KEPT
    try:
        with naming(place, "listed"):
            there = sorted(place.iterdir()) if place.exists() else []
    except StorageError:
        return {}
    named = {int(match[1]): path for path in there if (match := _NAME.fullmatch(path.name))}
    return {tick: path for tick, path in named.items() if path.is_dir() and generations(path)}
