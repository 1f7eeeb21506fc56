"""Who writes a run's journals at this moment. Shell: files.

A driver that is killed leaves its shards behind for as long as it takes them, or Ray, to notice. What such a shard is
answered meanwhile is paid for and goes on record, so who reads the record to go on with the run waits for it to end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from populace.store.journal.write import segments
from populace.store.lock import is_locked

PATIENCE_S: Final = 30.0
"""Ray ends the actors of a driver that is gone after seconds, in rare cases after a minute."""
_EVERY_S: Final = 0.05


def outlast_writers(
    journal: Path, patience_s: float = PATIENCE_S, waiting: Callable[[list[str]], object] = lambda _: None
) -> list[str]:
    """Wait until no process writes to the journals in a folder; the files that one still writes to after `patience_s`.

    Blocks; `waiting` is told at once for whose end it does. Raises StorageError.
    """
    until_s = time.monotonic() + patience_s
    if found := _written(journal):
        waiting(found)
    while found and time.monotonic() < until_s:
        time.sleep(_EVERY_S)
        found = _written(journal)
    return found


def _written(journal: Path) -> list[str]:
    while True:
        last = _last(journal)
        found = [path.name for path in last if is_locked(path)]
        if found or last == _last(journal):  # else one was ended meanwhile, and who wrote to it is at the next
            return found


def _last(journal: Path) -> list[Path]:
    """The segment of each shard and attempt that was begun last."""
    return [files[max(files)] for files in segments(journal).values()] if journal.exists() else []
