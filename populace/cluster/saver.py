"""Saves a run at a tick's edge: the state of all shards and of the world, in a checkpoint. A shell.

Where the hosts of shards and of the world reach the run's folder, each writes what it holds as a piece of the
generation itself, all at once, and what passes through here is the mail, the counts and the names of the pieces. The
generation is there once its own file is, which is written last.
"""

from __future__ import annotations

import asyncio

from populace.cluster.standing import Standing
from populace.cluster.transport import Transport
from populace.cluster.uploads import Uploads
from populace.core.records import Counts
from populace.core.traffic import Upkeep
from populace.kernel.columnar import join_columns
from populace.kernel.snapshot import RunState, join_mail, join_shards
from populace.store.checkpoint.pieces import NO_SHARD
from populace.store.folder import Store


class Saver:
    """Writes the checkpoints of one run into its store; without a store there are none."""

    def __init__(self, store: Store | None, transport: Transport, uploads: Uploads) -> None:
        self._store = store
        self._transport = transport
        self._uploads = uploads
        self._saved: tuple[int, int] | None = None
        self.upkeep = Upkeep()
        """What was done to keep the run, so far."""

    def due(self, tick: int) -> bool:
        """Whether a checkpoint is to be saved before `tick`."""
        return self._store is not None and self._store.due(tick)

    async def save(self, standing: Standing, unrecorded: Counts) -> None:
        """Save the run where it stands, once at each edge.

        `unrecorded` is what calls cost whose answers are not on record: a run that goes on from there finds it in its
        totals. Raises StorageError, TransportError.
        """
        barrier, store = standing.barrier, self._store
        edge = (barrier.attempts[0], barrier.tick)
        if store is None or (edge == self._saved and not unrecorded.calls):
            return
        await self._uploads.settled()
        whole = store.whole or store.keeps(barrier.tick)
        exported = await self._transport.export(barrier.tick, whole, store.next_generation())
        shards = exported.shards or [NO_SHARD]
        frames = await self._transport.collect([parcel for box in barrier.mail.values() for parcel in box])
        agents, timer_ticks, timer_agents = join_shards(shards)
        total = Counts()
        total.add(barrier.total)
        total.add(unrecorded)
        state = RunState(
            tick=barrier.tick,
            agents=agents,
            whole=whole,
            timer_ticks=timer_ticks,
            timer_agents=timer_agents,
            mail=join_mail(barrier.tick - 1, frames),
            world=exported.world,
            total=total,
            hashes=barrier.trace.ticks,
            world_hashes=barrier.world_trace.record,
            positions=exported.positions,
            parts=standing.tables.cut(barrier.tick),
            rows=standing.tables.rows,
            wall_s=standing.wall_s(),
            edge=barrier.edge,
            columns=join_columns([one.columns for one in shards]),
        )
        await asyncio.to_thread(store.save, state, exported.pieces)
        self._saved = edge
        self.upkeep.checkpoints += 1
        self.upkeep.checkpoint_bytes = store.saved_bytes
        self._uploads.start()
