"""Pieces of checkpoints, each written by the host that holds what stands in it. A shell: files, threads.

At a tick's edge a host takes the state aside (`take`); it is written behind the run, while the next tick's turns are
taken (`write`).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

from populace.cluster.job import Job
from populace.core.errors import StorageError
from populace.kernel.blocks import Block
from populace.store.checkpoint.file import Author, Piece
from populace.store.checkpoint.frozen import Frozen
from populace.store.checkpoint.generations import Checkpoints
from populace.store.checkpoint.reach import Probe, answer


class PieceWriter:
    """Writes what one host holds as pieces of generations, in the checkpoints' folder of a run, in one attempt."""

    def __init__(self, job: Job, shard: int, checkpoints: Path) -> None:
        self._author = Author(job.attempt, shard)
        self._checkpoints = Checkpoints(checkpoints, run=job.run)
        self._one = threading.Lock()
        self._taken: tuple[int, Mapping[str, Block | Frozen], bool] | None = None

    def take(self, tick: int, blocks: Mapping[str, Block], *, whole: bool, live: bool) -> None:
        """Take aside what the next piece is to hold: the state before `tick`, all of it or what changed.

        What is `live`, so that it may change before it is written, is frozen. Raises StorageError for what cannot be
        saved.
        """
        with self._one:  # who waited for one may have given it up
            frozen = self._checkpoints.freeze(blocks if live else {}, whole=whole)
            self._taken = tick, {**blocks, **frozen}, whole

    def write(self, number: int) -> Piece:
        """Write what was taken aside last as a piece of generation `number`; see `Checkpoints.write_piece`."""
        with self._one:
            if self._taken is None:
                raise StorageError(f"nothing was taken aside for a piece of generation {number}")
            (tick, blocks, whole), self._taken = self._taken, None
            return self._checkpoints.write_piece(self._author, number, tick, blocks, whole=whole)


def piece_writer(job: Job, shard: int, probe: Probe) -> PieceWriter | None:
    """What writes a host's pieces where the folder that was probed is reached from here; else None. See `reach`."""
    return PieceWriter(job, shard, Path(probe.folder)) if answer(probe, shard) else None
