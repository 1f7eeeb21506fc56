"""The Ray transport: a shard an actor, the environment service an actor, frames as references from shard to shard.

The driver passes references on without reading them, so a frame goes from one shard's node to another's directly; a
small one, and on a Ray of this machine one of some megabytes, is in the reply and in the next call itself.
Nothing here is retried by Ray: a lost actor is an ActorLost, and `start` then makes those that are lost anew and has
the others begin again, under a higher attempt number. Where Ray itself has ended, so does the run (TransportError).
"""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import psutil
import ray
from numpy.typing import NDArray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from populace.budget.amounts import NOTHING, Amount
from populace.budget.sharing import SharedWith
from populace.cluster.agreement import Having, differences, what_is_here
from populace.cluster.early import ticks_ahead
from populace.cluster.job import Job
from populace.cluster.liveness import Liveness, aside, own_process
from populace.cluster.ray_actors import CONTROLS, EnvironmentActor, QuotaActor, ShardActor, most_bytes
from populace.cluster.ray_calls import THE_QUOTA, THE_WORLD, result, shard_name
from populace.cluster.ray_connecting import end_processes, join_ray, ports, refuse_alone
from populace.cluster.ray_placing import Placing
from populace.cluster.shared_limits import needs_account
from populace.cluster.transport import Exported, Opened, Progress
from populace.cluster.wire import (
    pack,
    pack_envelope,
    pack_frames,
    unpack_export,
    unpack_fields,
    unpack_forms,
    unpack_frames,
    unpack_piece,
    unpack_positions,
    unpack_rows,
    unpack_run,
    unpack_tables,
    unpack_tick,
    unpack_world,
)
from populace.core.draws import WORLD
from populace.core.errors import ActorLost, StorageError, TransportError
from populace.core.records import Counts
from populace.core.tables import TableRows
from populace.data.societies import Origin
from populace.kernel.barrier import ShardDone
from populace.kernel.bus import Envelope, Frame, count_messages
from populace.kernel.events import RunDone, TickDone
from populace.kernel.packing import read_seen
from populace.kernel.peeking import Peeked
from populace.kernel.reports import WorldDone
from populace.kernel.snapshot import RunState, pack_world_state, split_mail, unpack_world_state
from populace.models.dialect import EndpointForms
from populace.store.checkpoint.file import Piece
from populace.store.checkpoint.reach import answered, ask, withdraw
from populace.store.journal.recording import Missed, join_positions

_CONNECTING_S: Final = 120.0
"""How long Ray may take to start, to say what there is, to take a frame."""
_ROOM_S: Final = 10.0
"""How long a run that goes back looks for a free share of a CPU for what was lost, before it does without."""
_PLACING_S: Final = 60.0
"""How long a run that goes back may wait for another actor in a lost one's place."""
_CLOSING_S: Final = 4.0
"""How long shards may take to close their gateways."""
_ENDING_S: Final = 3.0
"""How long actors, or a Ray that was started here, may take to end."""
_NAMED: Final = 5
"""How many differences of a node an error names."""
_SILENT_S: Final = 1.0
"""How long each of these may take once the shards did not answer in time: a signal ends a run all the same."""


class RayTransport:
    """Shards and world as actors on the Ray that RAY_ADDRESS names, or on one started here."""

    def __init__(self) -> None:
        self._environment: Any = None
        self._quota: Any = None
        self._shards: list[Any] = []
        self._job: Job | None = None
        self._started_ray = False
        self._spent = NOTHING
        self._shares = False
        self.shared_limits: SharedWith | None = None
        self.forms = EndpointForms()
        self._account_lost = False
        self._silent = False
        self._liveness: Liveness | None = None
        self._placing = Placing()
        self._processes: list[psutil.Process] = []
        self._writing: frozenset[int] = frozenset()
        """Which hosts write pieces of checkpoints."""

    async def start(self, job: Job) -> Opened:
        """Connect to Ray, or start it (about ten seconds), make the actors that there are not, begin on all."""
        with self._unless_given_up():
            return await self._start(job)

    async def _start(self, job: Job) -> Opened:
        if (begun := await join_ray(_CONNECTING_S)) is not None:
            self._started_ray, self._processes = True, begun
        if self._liveness is None:
            self._liveness = Liveness(await aside(ports, patience_s=_CONNECTING_S))
        here = ray.get_runtime_context().get_node_id()
        owner = msgspec.msgpack.encode(own_process(here))
        again = self._job is not None
        self._job = job
        settings = job.read_settings()
        self._silent = False
        self.forms.join(job.forms)
        job = msgspec.structs.replace(job, forms=self.forms.learnt())
        packed = msgspec.msgpack.encode(job)
        options: dict[str, Any] = {"max_restarts": 0, "max_task_retries": 0}
        if self._shards:
            await self._close_shards()
        if self._quota is not None:
            # The journal of an attempt before knows nothing of the calls that were lost in flight; its account does.
            await self._close_quota()
            packed = msgspec.msgpack.encode(msgspec.structs.replace(job, spent=job.spent.at_least(self._spent)))
        if needs_account(settings):
            # On the driver's machine, where the experiment's ledger is.
            there = NodeAffinitySchedulingStrategy(here, soft=False)
            quota = {**options, "num_cpus": 0, "scheduling_strategy": there}
            self._quota = ray.remote(**quota)(QuotaActor).remote(packed, owner)
            if settings.endpoint.share_limits is not None:
                if self._started_ray:
                    refuse_alone(settings.endpoint.share_limits)
                await self._result(self._quota.open.remote(), THE_QUOTA)
                self._shares = True
        await self._place(settings.shards, again)
        # The world first: a shard is given its handle, which is another one where the world was lost.
        groups = {"control": CONTROLS, "hear": settings.shards, "save": 1}
        where = await self._placing.world()
        worlds = ray.remote(concurrency_groups=groups, **options, **where)(EnvironmentActor)
        self._environment = await self._there(
            self._environment,
            lambda crowded: (worlds.options(num_cpus=0) if crowded else worlds).remote(owner),
            THE_WORLD,
            again,
        )
        world = await self._result(self._environment.start.remote(packed, self._quota), THE_WORLD)
        parts = await self._result(self._environment.parts.remote(settings.shards), THE_WORLD)
        await self._placing.take(settings.shards)
        kind = ray.remote(max_concurrency=16, **options)(ShardActor)
        known = await asyncio.gather(
            *(self._start_shard(index, owner, kind, again, packed, part) for index, part in enumerate(parts))
        )
        await self._agree(job, packed)
        if ticks_ahead(job.society(), settings, job.trace_version)[0]:
            meeting = (one.meet.remote(self._shards) for one in self._shards)
            await asyncio.gather(*(self._result(one, shard_name(index)) for index, one in enumerate(meeting)))
        there = msgspec.msgpack.decode(world, type=Opened)
        return msgspec.structs.replace(
            there, fields=unpack_fields(there.fields), rows=unpack_tables(there.rows), on_record=known[0]
        )

    async def _place(self, shards: int, again: bool) -> None:
        """See what there is; the shards that have a better place now are ended, to be made anew there."""
        moving = self._placing.better() if again else range(shards)
        for index in moving if again else ():
            if (actor := self._shards[index]) is not None:  # it may be lost already
                ray.kill(actor)
            self._shards[index] = None
        if len(moving) == shards:
            await self._placing.measure(shards)
            self._shards = [None] * shards

    async def _start_shard(self, index: int, owner: bytes, kind: Any, again: bool, job: bytes, part: Any) -> Any:
        def make(crowded: bool) -> Any:
            where = self._placing.crowded(index) if crowded else self._placing.shard(index)
            return kind.options(**where).remote(index, owner)

        room = partial(self._placing.has_room, index)
        actor = self._shards[index] = await self._there(self._shards[index], make, shard_name(index), again, room)
        began = actor.start.remote(job, self._environment, self._quota, part)
        return await self._result(began, shard_name(index))

    async def _agree(self, job: Job, packed: bytes) -> None:
        """Raise TransportError, naming the node, where a shard's process has other programs than this one."""
        ours = await asyncio.to_thread(what_is_here, Origin(job.origin, job.source))
        asked = (self._result(one.having.remote(packed), shard_name(index)) for index, one in enumerate(self._shards))
        for address, theirs in await asyncio.gather(*asked):
            if found := differences(ours, msgspec.msgpack.decode(theirs, type=Having)):
                more = f", and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
                raise TransportError(
                    f"the node {address} has other programs than the driver: {'; '.join(found[:_NAMED])}{more}. A run "
                    "is the same everywhere: use one image, or one environment, on all nodes."
                )

    async def _there(
        self, actor: Any, make: Callable[[bool], Any], name: str, again: bool, room: Callable[[], Any] | None = None
    ) -> Any:
        """The actor, or one in its place where it is lost. Raises TransportError where a run that goes back finds none.

        At first it may take its time: a cluster may have to grow. Where one that ran has gone with its node, and what
        is left is full, it shares CPUs with the others: slower, but the run goes on.
        """
        try:
            async with asyncio.timeout(_PLACING_S if again else None):
                if actor is not None:
                    with suppress(ActorLost):
                        await self._result(actor.__ray_ready__.remote(), name)
                        return actor
                actor = make(False)
                if again:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_ROOM_S):
                            await self._result(actor.__ray_ready__.remote(), name)
                            return actor
                    if room is None or not await room():
                        ray.kill(actor)
                        actor = make(True)
                await self._result(actor.__ray_ready__.remote(), name)
                return actor
        except TimeoutError:
            raise TransportError(
                f"{name} was lost, and no node of the Ray took another one within {_PLACING_S:.0f} s. Resume the run "
                "where there is room for it."
            ) from None

    async def _result(self, reference: Any, name: str) -> Any:
        """What a call of `name` gave; see `result`. Raises TransportError where Ray itself has ended meanwhile."""
        waiting = asyncio.ensure_future(result(reference, name))
        try:
            return await (waiting if self._liveness is None else self._liveness.unless_down(waiting))
        finally:
            waiting.cancel()

    async def restore(self, state: RunState) -> tuple[dict[int, list[Any]], dict[int, int]]:
        """Put shards and world where the run stood; the mail's frames go into Ray's store."""
        assert self._job is not None
        shards, bus = len(self._shards), self._job.read_settings().bus
        with self._unless_given_up():
            await asyncio.gather(
                self._result(self._environment.restore.remote(pack_world_state(state.world)), THE_WORLD),
                *(
                    self._result(actor.restore.remote(state.tick, pack(state.shard(index, shards))), shard_name(index))
                    for index, actor in enumerate(self._shards)
                ),
            )
        mail: dict[int, list[Any]] = {index: [] for index in range(shards)}
        frames = split_mail(state.mail, shards=shards, attempt=self._job.attempt, frame_bytes=bus.frame_bytes)
        for frame in frames:
            mail[frame.destination].append(await aside(ray.put, pack_frames([frame]), patience_s=_CONNECTING_S))
        return mail, count_messages(frames)

    async def reach(self, checkpoints: Path) -> None:
        """Ask each host whether it finds what is left in the folder here."""
        self._writing = frozenset()
        try:
            probe = await asyncio.to_thread(ask, checkpoints)
        except StorageError:
            return  # a save will say so
        try:
            packed = pack(probe)
            said = await self._of_hosts(lambda _, actor: actor.reach.remote(packed))
            self._writing = await asyncio.to_thread(
                lambda: frozenset(who for who, yes in enumerate(said) if yes and answered(probe, who))
            )
        finally:
            await asyncio.to_thread(withdraw, probe)

    @property
    def _hosts(self) -> dict[int, tuple[str, Any]]:
        """Name and actor of each shard, and of the world, whose number is one more than there are."""
        shards = {index: (shard_name(index), actor) for index, actor in enumerate(self._shards)}
        return {**shards, len(shards): (THE_WORLD, self._environment)}

    async def export(self, tick: int, whole: bool) -> Exported:
        """The state of all, of those that do not write it themselves."""

        def begin(who: int, actor: Any) -> Any:
            if who in self._writing:
                return actor.freeze.remote(tick, whole)
            return actor.export.remote(tick, whole) if who < len(self._shards) else actor.export.remote(tick)

        with self._unless_given_up():
            given = await self._of_hosts(begin)
        shards, of_world, positions = [], dict[str, Any](), []
        for who, packed in enumerate(given):
            if who in self._writing:
                at = unpack_positions(packed)
            elif who < len(self._shards):
                state, at = unpack_export(packed)
                shards.append(state)
            else:
                of_world, at = unpack_world_state(packed[0]), unpack_positions(packed[1])
            positions.append(at)
        return Exported(shards, of_world, join_positions(positions))

    async def write(self, number: int) -> list[Piece]:
        """All at once, each in a thread of its own process."""
        with self._unless_given_up():
            given = await self._of_hosts(lambda _, actor: actor.write.remote(number))
        return [piece for piece in map(unpack_piece, given) if piece is not None]

    async def _of_hosts(self, begin: Callable[[int, Any], Any]) -> list[Any]:
        """What a call of each host gave. Raises what failed, once all have ended: nobody writes any more."""
        began = [(begin(who, actor), name) for who, (name, actor) in self._hosts.items()]
        given = await asyncio.gather(*(self._result(*one) for one in began), return_exceptions=True)
        for failed in given:
            if isinstance(failed, BaseException):
                raise failed
        return given

    async def present(self) -> dict[str, NDArray[np.int32]]:
        """The world knows who lives."""
        packed = await self._result(self._environment.present.remote(), THE_WORLD)
        there = msgspec.msgpack.decode(packed, type=dict[str, bytes])
        return {of: np.frombuffer(ids, "<i4") for of, ids in there.items()}

    async def peek(self, agents: NDArray[np.int32]) -> Peeked:
        """These agents, from all shards, and what they see."""
        ids = agents.astype("<i4").tobytes()
        asked = [self._environment.peek.remote(ids), *(one.peek.remote(ids) for one in self._shards)]
        names = [THE_WORLD, *map(shard_name, range(len(self._shards)))]
        seen, *packed = await asyncio.gather(*map(self._result, asked, names))
        found = {
            agent: row for one in packed for agent, row in msgspec.msgpack.decode(one, type=dict[int, bytes]).items()
        }
        return Peeked(found, dict(zip(agents.tolist(), read_seen(seen), strict=True)) if seen else {})

    async def collect(self, parcels: list[Any]) -> list[Frame]:
        """Fetch the frames from where they are."""
        assert self._job is not None
        packed = await asyncio.gather(*(self._result(parcel, "mail in flight") for parcel in parcels))
        return [frame for one in packed for frame in unpack_frames(one, most_bytes(self._job))]

    async def open_tick(self, shard: int, tick: int, envelope: Envelope) -> tuple[ShardDone, TickDone]:
        """Run a shard's tick on its actor."""
        forms, shards = pack(self.forms.learnt()), len(self._shards)
        method = self._shards[shard].open_tick.options(num_returns=2 + shards)
        told, *parcels = method.remote(tick, pack_envelope(envelope), forms, *envelope.parcels)
        packed, learnt = await self._result(told, shard_name(shard))
        self.forms.join(unpack_forms(learnt))
        done = unpack_tick(packed)
        out = [*((to, parcels[to]) for to in range(shards) if done.sent.get(to)), (WORLD, parcels[shards])]
        event = ShardDone(shard, done.attempt, tick, done.agents, done.digests, done.counts, out, done.sent, done.sums)
        return event, done

    async def settle(self, shard: int, tick: int) -> Mapping[str, TableRows]:
        """The shard's actor does it."""
        return unpack_rows(await self._result(self._shards[shard].settle.remote(tick), shard_name(shard)))

    async def close_tick(self, tick: int, envelope: Envelope) -> tuple[WorldDone, list[tuple[int, Any]]]:
        """End the tick on the environment's actor."""
        forms = pack(self.forms.learnt())
        method = self._environment.close_tick.options(num_returns=1 + len(self._shards))
        told, *parcels = method.remote(tick, pack_envelope(envelope), forms, *envelope.parcels)
        packed, learnt, rows = await self._result(told, THE_WORLD)
        self.forms.join(unpack_forms(learnt))
        done = unpack_world(packed, rows)
        return done, [(to, parcels[to]) for to in range(len(parcels)) if done.sent.get(to)]

    async def wind_down(self, grace_s: float) -> Counts:
        """All shards at once."""
        there = [(index, actor) for index, actor in enumerate(self._shards) if actor is not None]
        winding = [self._result(actor.wind_down.remote(grace_s), shard_name(index)) for index, actor in there]
        if self._environment is not None:
            winding.append(self._result(self._environment.wind_down.remote(grace_s), THE_WORLD))
        unrecorded = Counts()
        with self._unless_given_up():
            answered = await asyncio.gather(*winding, return_exceptions=True)
        for packed in answered:
            if isinstance(packed, bytes):
                unrecorded.add(msgspec.msgpack.decode(packed, type=Counts))
        return unrecorded

    async def end(self, shard: int, envelope: Envelope, tick: int) -> RunDone:
        """Close a shard's books."""
        call = self._shards[shard].end.remote(tick, pack_envelope(envelope), *envelope.parcels)
        done = unpack_run(await self._result(call, shard_name(shard)))
        if shard == 0:
            with suppress(ActorLost):
                packed = await self._result(self._environment.end.remote(tick), THE_WORLD)
                done.counts.add(msgspec.msgpack.decode(packed, type=Counts))
        return done

    async def upload(self) -> bool:
        """Each shard uploads its own."""
        calls = [self._result(one.upload.remote(), shard_name(at)) for at, one in enumerate(self._shards) if one]
        if self._environment is not None:
            calls.append(self._result(self._environment.upload.remote(), THE_WORLD))
        await asyncio.gather(*calls)
        return True

    async def begun(self) -> None:
        """Turns are taken elsewhere."""

    def better_placed(self) -> list[str]:
        """Shards that a node which joined has room for, and those on one that is to go."""
        return [shard_name(index) for index in self._placing.better()]

    async def progress(self) -> Progress:
        """Sums over the shards."""
        asked = [self._result(actor.progress.remote(), shard_name(index)) for index, actor in enumerate(self._shards)]
        parts = await asyncio.gather(*asked, self._result(self._environment.progress.remote(), THE_WORLD))
        together = Progress()
        for part in parts:
            together.add(msgspec.msgpack.decode(part, type=Progress))
        return together

    async def close(self) -> None:
        """End the actors, and Ray where it was started here; what does not answer is left to end by itself."""
        try:
            await self._close_shards()
            await self._close_quota()
        finally:
            there = [actor for actor in (*self._shards, self._environment, self._quota) if actor is not None]
            self._shards, self._environment, self._quota = [], None, None
            try:
                await aside(lambda: [ray.kill(actor) for actor in there], patience_s=self._patience_s(_ENDING_S))
            except TimeoutError:
                self._silent = True
            except ray.exceptions.RayError:
                pass
            await self._placing.close()
            if self._liveness is not None:
                await self._liveness.close()
            if self._started_ray:
                try:
                    await aside(ray.shutdown, patience_s=self._patience_s(_ENDING_S))
                except TimeoutError:  # it goes on aside; the process would wait for it as it exits
                    atexit.unregister(ray.shutdown)
                end_processes(self._processes)

    @contextmanager
    def _unless_given_up(self) -> Iterator[None]:
        """Where whoever waits for this gives up, what is left may take little time."""
        try:
            yield
        except asyncio.CancelledError:
            self._silent = True
            raise

    def _patience_s(self, usually_s: float) -> float:
        return _SILENT_S if self._silent else usually_s

    @property
    def spent(self) -> Amount | None:
        """What the model has cost at most; None once an account was lost. See `Transport`."""
        return None if self._account_lost else self._spent

    @property
    def missed(self) -> list[Missed]:
        """A replay takes place in one process."""
        return []

    async def _close_shards(self) -> None:
        """Have shards and world end what is open, and tell the account what they spent last."""
        there = [(index, actor) for index, actor in enumerate(self._shards) if actor is not None]
        closing = [self._result(actor.close.remote(), shard_name(index)) for index, actor in there]
        if self._environment is not None:
            closing.append(self._result(self._environment.close.remote(), THE_WORLD))
        try:
            async with asyncio.timeout(self._patience_s(_CLOSING_S)):
                await asyncio.gather(*closing, return_exceptions=True)
        except TimeoutError:
            self._silent = True

    async def _close_quota(self) -> None:
        """Ask the account what was spent, and end it."""
        if self._quota is None:
            return
        try:
            asked = self._result(self._quota.spent.remote(), THE_QUOTA)
            packed = await asyncio.wait_for(asked, timeout=self._patience_s(_CLOSING_S))
            self._spent = msgspec.msgpack.decode(packed, type=Amount)
        except (TimeoutError, TransportError):
            self._account_lost = True
        if self._shares:
            with suppress(TimeoutError, TransportError):
                asked = self._result(self._quota.close.remote(), THE_QUOTA)
                packed = await asyncio.wait_for(asked, timeout=self._patience_s(_CLOSING_S))
                self.shared_limits = msgspec.msgpack.decode(packed, type=SharedWith | None) or self.shared_limits
        with suppress(TimeoutError, ray.exceptions.RayError):
            await aside(ray.kill, self._quota, patience_s=self._patience_s(_ENDING_S))
        self._quota = None
