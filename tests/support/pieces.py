"""Hosts that write pieces of checkpoints themselves, in this process; some may not reach the folder."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path
from typing import Any

from populace.cluster.job import Job
from populace.cluster.local import LocalTransport
from populace.cluster.pieces import PieceWriter, piece_writer
from populace.cluster.transport import Exported
from populace.store.checkpoint.file import Piece
from populace.store.checkpoint.reach import answered, ask, withdraw
from populace.store.journal.recording import join_positions


class InPieces(LocalTransport):
    """Each host writes its piece but for those that are `far`: shards by number, the world one more than there are."""

    def __init__(self, far: Collection[int] = ()) -> None:
        super().__init__()
        self.far = far
        self.wrote = 0
        self._job: Job | None = None
        self._writers: dict[int, PieceWriter] = {}

    async def start(self, job: Job) -> Any:
        self._job, self._writers = job, {}
        return await super().start(job)

    async def reach(self, checkpoints: Path) -> None:
        assert self._job is not None
        probe = ask(checkpoints)
        for who in range(len(self.hosts) + 1):
            writer = None if who in self.far else piece_writer(self._job, who, probe)
            assert (writer is not None) == answered(probe, who) == (who not in self.far)
            if writer is not None:
                self._writers[who] = writer
        withdraw(probe)
        assert not list(checkpoints.glob(".reach-*"))

    async def export(self, tick: int, whole: bool) -> Exported:
        world, states, positions = {}, [], []
        for who, host in enumerate((*self.hosts, self._world)):
            assert host is not None
            if writer := self._writers.get(who):
                at = await asyncio.to_thread(host.freeze, writer, tick, whole=whole)
            elif host is self._world:
                world, at = host.environment.export(tick), host.positions(tick)
            else:
                state, at = host.export(tick, whole=whole)
                states.append(state)
            positions.append(at)
        return Exported(states, world, join_positions(positions))

    async def write(self, number: int) -> list[Piece]:
        await super().write(number)
        pieces = []
        for writer in self._writers.values():
            pieces.append(await asyncio.to_thread(writer.write, number))
            self.wrote += 1
        return pieces
