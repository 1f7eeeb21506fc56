"""Saves a run at a tick's edge: the state of all shards and of the world, in a checkpoint. A shell.

At the edge the state is only taken: nothing that is held of it changes any more. It is written behind the run, while
the next tick's turns are taken, one save at a time. Where the hosts of shards and of the world reach the run's folder,
each writes what it holds as a piece of the generation itself, all at once, and what passes through here is the mail,
the counts and the names of the pieces. The generation is there once its own file is, which is written last; until then
the one before counts, and nothing that it needs is removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from populace.cluster.standing import Standing
from populace.cluster.transport import Transport
from populace.cluster.uploads import Uploads
from populace.core.errors import TransportError
from populace.core.records import Counts
from populace.core.trace import WorldHashes
from populace.core.traffic import Upkeep
from populace.kernel.blocks import Rows
from populace.kernel.bus import Frame
from populace.kernel.columnar import join_columns
from populace.kernel.snapshot import RunState, ShardState, join_mail, join_shards
from populace.store.checkpoint.file import Piece
from populace.store.checkpoint.frozen import Frozen
from populace.store.checkpoint.pieces import NO_SHARD
from populace.store.folder import Store
from populace.store.tables.tables import Tables


class Saved(msgspec.Struct, frozen=True):
    """A checkpoint before `tick` that is whole: its bytes, how long its edge waited for it, and what it took in all."""

    tick: int
    written_bytes: int
    waited_s: float
    took_s: float


class Saver:
    """Writes the checkpoints of one run into its store; without a store there are none. `told` hears of each."""

    def __init__(
        self,
        store: Store | None,
        transport: Transport,
        uploads: Uploads,
        told: Callable[[Saved], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._transport = transport
        self._uploads = uploads
        self._told = told
        self._saved: tuple[int, int] | None = None
        self._saving: asyncio.Task[None] | None = None
        self._last = False
        """The save that is under way has come to the generation's own file."""
        self.upkeep = Upkeep()
        """What was done to keep the run, so far."""

    def due(self, tick: int) -> bool:
        """Whether a checkpoint is to be saved before `tick`."""
        return self._store is not None and self._store.due(tick)

    async def save(self, standing: Standing, unrecorded: Counts) -> None:
        """Take the run where it stands, once at each edge, and begin to write it; `settled` waits until it is whole.

        `unrecorded` is what calls cost whose answers are not on record: a run that goes on from there finds it in its
        totals. Raises what became of the save before; StorageError, TransportError.
        """
        began_s = time.perf_counter()
        await self.settled()
        barrier, store = standing.barrier, self._store
        edge = (barrier.attempts[0], barrier.tick)
        if store is None or (edge == self._saved and not unrecorded.calls):
            return
        whole, number = store.whole or store.keeps(barrier.tick), store.next_generation()
        exported = await self._transport.export(barrier.tick, whole)
        world = store.freeze(barrier.tick, exported.world)
        total = Counts()
        total.add(barrier.total)
        total.add(unrecorded)
        of_world = barrier.world_trace.record
        state = RunState(
            tick=barrier.tick,
            agents={},
            whole=whole,
            timer_ticks=NO_SHARD.timer_ticks,
            timer_agents=NO_SHARD.timer_agents,
            mail=join_mail(barrier.tick - 1, []),
            world={},
            total=total,
            hashes=list(barrier.trace.ticks),
            world_hashes=WorldHashes(list(of_world.hashes), {name: list(own) for name, own in of_world.parts.items()}),
            positions=exported.positions,
            parts=standing.tables.mark(barrier.tick),
            rows=standing.tables.rows,
            wall_s=standing.wall_s(),
            edge=barrier.edge,
        )
        parcels = [parcel for box in barrier.mail.values() for parcel in box]
        taken = _Taken(state, exported.shards or [NO_SHARD], world, parcels, standing.tables, number)
        self._saved, self._last = edge, False
        work = self._write(store, taken, began_s, time.perf_counter() - began_s)
        self._saving = asyncio.create_task(work, name="populace checkpoint")

    def check(self) -> None:
        """Raise what became of the save behind the run, where it has failed."""
        if self._saving is not None and self._saving.done():
            saving, self._saving = self._saving, None
            try:
                saving.result()
            except BaseException:
                self._saved = None
                raise

    async def settled(self) -> None:
        """Wait until what is being saved is whole. Raises StorageError, TransportError."""
        if self._saving is not None:
            await asyncio.wait([self._saving])  # whoever is cancelled here cancels no save
            self.check()

    async def end(self, patience_s: float) -> None:
        """The attempt is over: what is not whole by then is saved no further, unless its own file is begun.

        Raises StorageError where it has failed by one.
        """
        if (saving := self._saving) is None:
            return
        if patience_s > 0.0:
            await asyncio.wait([saving], timeout=patience_s)
        if not self._last:
            saving.cancel()
        await asyncio.wait([saving])
        with contextlib.suppress(TransportError, asyncio.CancelledError):
            self.check()

    async def _write(self, store: Store, taken: _Taken, began_s: float, waited_s: float) -> None:
        """Have it all written, the generation's own file last."""
        await self._uploads.settled()  # what it uploads is there until then
        await asyncio.to_thread(taken.tables.cut)
        pieces = await self._transport.write(taken.number)
        frames = await self._transport.collect(taken.parcels)
        self._last = True
        await asyncio.to_thread(_put_down, store, taken, frames, pieces)
        written, took_s = store.saved_bytes - self.upkeep.checkpoint_bytes, time.perf_counter() - began_s
        self.upkeep.checkpoints += 1
        self.upkeep.checkpoint_bytes = store.saved_bytes
        self.upkeep.checkpoint_s += took_s
        self.upkeep.checkpoint_waited_s += waited_s
        self._told(Saved(taken.state.tick, written, waited_s, took_s))
        self._uploads.start()


class _Taken(NamedTuple):
    """A run as it was taken at an edge: the state without what shards hold and without mail, which are beside it."""

    state: RunState
    shards: list[ShardState]
    world: Mapping[str, Frozen | Rows]
    parcels: list[Any]
    tables: Tables
    number: int


def _put_down(store: Store, taken: _Taken, frames: list[Frame], pieces: list[Piece]) -> None:
    agents, timer_ticks, timer_agents = join_shards(taken.shards)
    state = msgspec.structs.replace(
        taken.state,
        agents=agents,
        timer_ticks=timer_ticks,
        timer_agents=timer_agents,
        columns=join_columns([one.columns for one in taken.shards]),
        mail=join_mail(taken.state.tick - 1, frames),
    )
    store.save(state, taken.world, pieces)
