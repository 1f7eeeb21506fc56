"""The actors of a run on Ray: a shard each, the environment service, the account. They and `ray` alone import ray.

What crosses is bytes: MessagePack, made and read by `wire` and `bus`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar, cast

import msgspec
import numpy as np
import ray

from populace.budget.ledger import marker
from populace.budget.service import AccountService
from populace.cluster.agreement import what_is_here
from populace.cluster.collector import let_go, spare_what_is_loaded, tune_collector
from populace.cluster.host import ShardHost, build_host
from populace.cluster.job import Built, Job, build_run
from populace.cluster.liveness import Owner, end_with
from populace.cluster.local import add_progress, opened
from populace.cluster.pieces import PieceWriter, piece_writer
from populace.cluster.ray_calls import link_to
from populace.cluster.ray_doors import peers_of, world_door
from populace.cluster.shared_limits import shared_account
from populace.cluster.transport import Progress
from populace.cluster.wire import (
    pack,
    pack_by_shard,
    pack_parcel,
    pack_rows,
    split_parcels,
    unpack_answers,
    unpack_claims,
    unpack_envelope,
    unpack_forms,
    unpack_frames,
    unpack_looks,
    unpack_notices,
    unpack_parcel,
    unpack_part,
    unpack_said,
    unpack_shard_state,
)
from populace.cluster.world_host import WorldHost, build_world_host
from populace.core.errors import StorageError
from populace.core.records import Counts
from populace.data.societies import Origin
from populace.kernel.bus import Frame
from populace.kernel.environment import Environment
from populace.kernel.peeking import peek, present
from populace.kernel.snapshot import pack_world_state, unpack_world_state
from populace.models.dialect import EndpointForms
from populace.models.dispatch.throttle import Link
from populace.store.checkpoint.reach import Probe
from populace.store.journal.recording import OpenPast, on_record, open_pasts
from populace.store.remote.mirror import Mirror, shard_mirror

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_FRAME_SLACK: Final = 4
"""A packed frame holds columns besides bodies, and a body may exceed `frame_bytes` by one message."""


_CLOSING_S: Final = 5.0
"""How long a gateway of an attempt that is over may take to close."""


CONTROLS: Final = 3
"""How many calls of the group `control` the world's process takes at once."""


def most_bytes(job: Job) -> int:
    """The most that a packed frame of this job may hold."""
    bus = job.read_settings().bus
    return _FRAME_SLACK * (bus.frame_bytes + bus.body_bytes) + 2**20


def _group(name: str) -> Callable[[F], F]:
    """A method of an actor that is called while others are at work: it is in this group."""
    return cast("Callable[[F], F]", ray.method(concurrency_group=name))


def _end_with(owner: bytes) -> None:
    """Have this actor's process end with its packed owner: Ray may take a minute, and calls are paid for meanwhile."""
    end_with(msgspec.msgpack.decode(owner, type=Owner), ray.get_runtime_context().get_node_id())


async def _opened_host(
    job: Job, environment: Environment, link: Link | None, pasts: list[OpenPast], forms: EndpointForms
) -> WorldHost:
    host = build_world_host(job, environment, link, pasts, forms)
    await host.open()
    return host


async def _called(function: Callable[..., T], *args: Any) -> T:
    """What a function gives that is to be called on the loop."""
    return function(*args)


class EnvironmentActor:
    """The environment service in a process of its own.

    It is called in one thread, which answers looks faster than an event loop would; what its parts ask, and the rounds
    they hold, go over a loop in a thread beside it. What has to get through while a tick is being closed is in the
    group `control`, and shards that wait to hear of rounds are in the group `hear`, a thread each. None of its methods
    is async: with one that is, Ray gives each group a loop in the place of its threads, and a shard that waits would
    keep the others from hearing.
    """

    def __init__(self, owner: bytes) -> None:
        _end_with(owner)
        spare_what_is_loaded()
        self._frame_bytes = self._shards = 0
        self._host: WorldHost | None = None
        self._built: Built | None = None
        self._forms = EndpointForms()
        self._mirror: Mirror | None = None
        self._job: Job | None = None
        self._writer: PieceWriter | None = None
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="populace world", daemon=True).start()

    def _wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """What work on the loop comes to."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    @property
    def _world(self) -> WorldHost:
        assert self._host is not None
        return self._host

    def start(self, job: bytes, quota: Any) -> bytes:
        """Build the world; the packed `Opened`. `quota` is the run's `QuotaActor`; None where nothing is limited."""
        self.close()
        read = msgspec.msgpack.decode(job, type=Job)
        self._job, self._writer = read, None
        self._frame_bytes, self._shards = most_bytes(read), read.read_settings().shards
        self._built = build_run(read)
        environment = self._built.environment
        self._forms.join(read.forms)
        asks = bool(environment.world.consulting)
        self._mirror = shard_mirror(read.journal, read.read_settings().shards) if asks else None
        pasts = open_pasts(read.pasts) if asks else []
        link = None if quota is None else link_to(quota)
        self._host = self._wait_for(_opened_host(read, environment, link, pasts, self._forms))
        tune_collector()
        return pack(opened(environment))

    def parts(self, shards: int) -> list[Any]:
        """References to what each shard is given of population and world, packed."""
        assert self._built is not None
        assert self._job is not None
        built, self._built = self._built, None  # the population is held no longer than it takes
        given = [ray.put(pack(built.part(index, shards))) for index in range(shards)]
        let_go(self._job.agents)
        return given

    def restore(self, world: bytes) -> None:
        """Put the world, just started, where the run stood."""
        self._world.environment.restore(unpack_world_state(world))

    def reach(self, probe: bytes) -> bool:
        """Whether this process reaches the folder that was probed; see `store.checkpoint.reach`."""
        assert self._job is not None
        shards = self._job.read_settings().shards
        self._writer = piece_writer(self._job, shards, msgspec.msgpack.decode(probe, type=Probe))
        return self._writer is not None

    def freeze(self, tick: int, whole: bool) -> bytes:
        """Take the world's state before a tick aside for a piece of a generation; packed, positions."""
        assert self._writer is not None
        return pack(self._world.freeze(self._writer, tick, whole=whole))

    @_group("save")
    def write(self, number: int) -> bytes:
        """Sync the world's journal, and write what was taken aside as a piece of a generation, if it was; packed."""
        writer = self._writer  # by the time that a slow disk has synced, another attempt may have its own
        self._world.sync()
        return pack(None if writer is None else writer.write(number))

    def export(self, tick: int) -> tuple[bytes, bytes]:
        """The world's packed state before a tick, and how far its journal is behind it."""
        return pack_world_state(self._world.environment.export(tick)), pack(self._world.positions(tick))

    def present(self) -> bytes:
        """Packed, who lives, by type (int32)."""
        there = present(self._world.environment.world)
        return pack({of: ids.astype("<i4").tobytes() for of, ids in there.items()})

    def peek(self, agents: bytes) -> bytes:
        """What these agents (int32) see between two ticks; nothing where the world shows nothing."""
        environment = self._world.environment
        if not environment.world.observes:
            return b""
        return environment.observe(np.frombuffer(agents, "<i4"), environment.attempt)

    def observe(self, agents: bytes, attempt: int) -> bytes:
        """What these agents (int32) see."""
        return self._world.environment.observe(np.frombuffer(agents, "<i4"), attempt)

    def observe_columns(self, agents: bytes, attempt: int) -> bytes:
        """What these agents (int32) see, as columns."""
        return pack(self._world.environment.observe_columns(np.frombuffer(agents, "<i4"), attempt))

    def look(self, looks: bytes, attempt: int) -> bytes:
        """The replies to these looks."""
        return self._world.environment.look(unpack_looks(looks), attempt)

    def attend(self, shard: int, tick: int, due: bytes, attempt: int) -> bytes:
        """Who (int32) of a shard takes a turn in a tick of rounds; gives those that are in any group."""
        agents = np.frombuffer(due, "<i4")
        members = self._wait_for(_called(self._world.attend, shard, tick, agents, attempt))
        return members.astype("<i4").tobytes()

    def tell(self, shard: int, tick: int, said: bytes, left: bytes, attempt: int) -> bytes:
        """Packed contributions to rounds, and whose turns (int32) have ended; packed, what members have heard."""
        ended = np.frombuffer(left, "<i4").tolist()
        return pack(self._wait_for(_called(self._world.tell, shard, tick, unpack_said(said), ended, attempt)))

    @_group("hear")
    def hear(self, shard: int, tick: int, attempt: int) -> bytes:
        """Packed, the news for a shard, once there is some, or the tick is closed."""
        return pack(self._wait_for(self._world.hear(shard, tick, attempt)))

    def claim(self, shard: int, tick: int, claims: bytes, attempt: int) -> bytes:
        """Packed claims of a shard's columnar agents; packed, what the shard has to ask itself."""
        return pack(self._wait_for(_called(self._world.claim, shard, tick, unpack_claims(claims), attempt)))

    def tell_answers(self, tick: int, answers: bytes, attempt: int) -> None:
        """Packed, what asks of columnar agents were answered."""
        self._wait_for(_called(self._world.tell_answers, tick, unpack_answers(answers), attempt))

    def close_tick(self, tick: int, envelope: bytes, forms: bytes, *parcels: bytes) -> tuple[Any, ...]:
        """End a tick; packed, the `WorldDone`, what is known of the endpoints, and rows; then a parcel for each shard.

        `forms` is what was known of endpoints before, packed. Each value is an object of its own on Ray.
        """
        self._forms.join(unpack_forms(forms))
        read = [unpack_parcel(parcel, self._frame_bytes) for parcel in parcels]
        done = self._wait_for(self._world.close_tick(tick, unpack_envelope(envelope, read)))
        bare = msgspec.structs.replace(done, frames=[], rows={})
        told = pack(bare), pack(self._forms.learnt()), pack_rows(done.rows)
        return told, *pack_by_shard(done.frames, self._shards)

    @_group("control")
    def upload(self) -> None:
        """Upload the world's journal so far, where the run's folder is remote."""
        if self._mirror is not None:
            self._mirror.push()

    def end(self, tick: int) -> bytes:
        """Packed, what was billed since `tick` began, which is not committed."""
        return pack(self._world.end(tick))

    @_group("control")
    def wind_down(self, grace_s: float) -> bytes:
        """Abandon the end of a tick that is under way; packed, what is not on record of its calls cost."""
        host = self._host
        if host is None:
            return pack(Counts())
        self._wait_for(host.wind_down(grace_s))
        return pack(host.take_unrecorded())

    @_group("control")
    def progress(self) -> bytes:
        """What is waiting and in flight of what the world asks."""
        host = self._host
        return pack(Progress() if host is None else host.progress())

    @_group("control")
    def close(self) -> None:
        """End what is open, close the gateway."""
        if self._host is not None:
            host, self._host = self._host, None
            with suppress(TimeoutError):
                self._wait_for(asyncio.wait_for(host.close(), _CLOSING_S))
        if self._mirror is not None:
            mirror, self._mirror = self._mirror, None
            with suppress(StorageError):  # what is missing there is asked for again
                mirror.push(patience_s=_CLOSING_S)


class QuotaActor:
    """The run's account with its model's provider, in a process of its own."""

    def __init__(self, job: bytes, owner: bytes) -> None:
        _end_with(owner)
        read = msgspec.msgpack.decode(job, type=Job)
        settings = read.read_settings()
        self._make = partial(shared_account, settings, read.spent, marker(settings, read.run))
        self._opened: AccountService | None = None

    def open(self) -> None:
        """Join the runs that share its accounts, where the settings say so."""
        self._opened = self._make()

    @property
    def _account(self) -> AccountService:
        if self._opened is None:
            self.open()
        assert self._opened is not None
        return self._opened

    def exchange(self, want: bytes) -> bytes:
        """One exchange of a packed want for a packed lease."""
        return self._account.exchange_packed(want)

    def close(self) -> bytes:
        """Leave the runs that share its accounts; packed, with whom they were shared."""
        self._account.close()
        return pack(self._account.shared_with)

    def spent(self) -> bytes:
        """What the run has spent at most; packed."""
        return pack(self._account.spent)


class ShardActor:
    """A shard in a process of its own, on that process's event loop."""

    def __init__(self, index: int, owner: bytes) -> None:
        _end_with(owner)
        spare_what_is_loaded()
        self._index = index
        self._frame_bytes = self._shards = 0
        self._host: ShardHost | None = None
        self._forms = EndpointForms()
        self._mirror: Mirror | None = None
        self._job: Job | None = None
        self._writer: PieceWriter | None = None

    async def start(self, job: bytes, environment: Any, quota: Any, part: bytes) -> dict[int, int]:
        """Build the shard and open its gateway; of an attempt before, nothing goes on. See `Opened.on_record`.

        `quota` is the run's `QuotaActor`; None where nothing is limited.
        """
        await self.close()
        read = msgspec.msgpack.decode(job, type=Job)
        self._job, self._writer = read, None
        self._frame_bytes, self._shards = most_bytes(read), read.read_settings().shards
        self._mirror = shard_mirror(read.journal, self._index)
        pasts = open_pasts(read.pasts)
        link = None if quota is None else link_to(quota)
        self._forms.join(read.forms)
        door = world_door(environment, read.attempt)
        self._host = build_host(read, self._index, unpack_part(part), door, link, pasts, self._forms)
        await self._host.gateway.open()
        tune_collector()
        return on_record(pasts)

    async def meet(self, shards: list[Any]) -> None:
        """The run's shards, this one among them, all of which have started."""
        assert self._host is not None
        self._host.peers = peers_of(shards)

    async def hear(self, notices: bytes) -> None:
        """Packed, what another shard tells of turns that have ended."""
        if self._host is not None:
            self._host.hear(unpack_notices(notices))

    async def having(self, job: bytes) -> tuple[str, bytes]:
        """The address of this node, and, packed, what this process has for the job; see `agreement`."""
        read = msgspec.msgpack.decode(job, type=Job)
        return ray.util.get_node_ip_address(), pack(what_is_here(Origin(read.origin, read.source)))

    async def restore(self, tick: int, state: bytes) -> None:
        """Put the shard, just started, where it stood."""
        assert self._host is not None
        self._host.shard.restore(tick, unpack_shard_state(state))

    async def reach(self, probe: bytes) -> bool:
        """Whether this process reaches the folder that was probed; see `store.checkpoint.reach`."""
        assert self._job is not None
        left = msgspec.msgpack.decode(probe, type=Probe)
        self._writer = await asyncio.to_thread(piece_writer, self._job, self._index, left)
        return self._writer is not None

    async def freeze(self, tick: int, whole: bool) -> bytes:
        """Take the shard's state before a tick aside for a piece of a generation; packed, positions."""
        assert self._host is not None
        assert self._writer is not None
        await self._host.stand_still()
        try:
            return pack(await asyncio.to_thread(self._host.freeze, self._writer, tick, whole=whole))
        finally:
            self._host.go_on()

    async def write(self, number: int) -> bytes:
        """Sync the journal, and write what was taken aside as a piece of a generation, if it was; packed."""
        assert self._host is not None
        writer = self._writer  # by the time that a slow disk has synced, another attempt may have its own
        await asyncio.to_thread(self._host.sync)
        return pack(None if writer is None else await asyncio.to_thread(writer.write, number))

    async def export(self, tick: int, whole: bool) -> bytes:
        """The shard's packed state before a tick, and how far the journal is behind it."""
        assert self._host is not None
        await self._host.stand_still()
        try:
            return pack(await asyncio.to_thread(self._host.export, tick, whole=whole))
        finally:
            self._host.go_on()

    async def peek(self, agents: bytes) -> bytes:
        """Packed, those of these agents (int32) that stand here, as they stand between two ticks."""
        assert self._host is not None
        return pack(peek(self._host.shard, np.frombuffer(agents, "<i4").tolist()))

    async def upload(self) -> None:
        """Upload the shard's journal so far, where the run's folder is remote."""
        if self._mirror is not None:
            await asyncio.to_thread(self._mirror.push)

    async def open_tick(self, tick: int, envelope: bytes, forms: bytes, *parcels: bytes) -> tuple[Any, ...]:
        """Run a tick; packed, its `TickDone` and what is known of endpoints; then parcels for each shard and the world.

        `forms` is what was known of endpoints before, packed. Each value is an object of its own on Ray, which belongs
        to the driver: where a shard puts one there itself, all whom it passes have to tell the shard of it.
        """
        assert self._host is not None
        self._forms.join(unpack_forms(forms))
        done = await self._host.run_tick(tick, unpack_envelope(envelope, self._read(parcels)))
        frames, world, bare = split_parcels(done)
        told = pack(bare), pack(self._forms.learnt())
        return told, *pack_by_shard(frames, self._shards), pack_parcel(*world)

    def _read(self, parcels: Sequence[bytes]) -> list[Frame]:
        return [frame for parcel in parcels for frame in unpack_frames(parcel, self._frame_bytes)]

    async def settle(self, tick: int) -> bytes:
        """Do what a tick that has ended has left to be done; packed, its rows for tables."""
        assert self._host is not None
        return pack_rows(self._host.settle(tick))

    async def wind_down(self, grace_s: float) -> bytes:
        """Begin no further call, let those in flight end; packed, what is not on record of them cost."""
        if self._host is None:
            return pack(Counts())
        await self._host.wind_down(grace_s)
        return pack(self._host.gateway.take_unrecorded())

    async def end(self, tick: int, envelope: bytes, *parcels: bytes) -> bytes:
        """Close the shard's books; the packed `RunDone`."""
        assert self._host is not None
        return pack(self._host.end(unpack_envelope(envelope, self._read(parcels)), tick))

    async def progress(self) -> bytes:
        """How far the tick under way has come."""
        progress = Progress()
        if self._host is not None:
            add_progress(progress, self._host)
        return pack(progress)

    async def close(self) -> None:
        """End what is open, close the gateway."""
        if self._host is not None:
            host, self._host = self._host, None
            with suppress(TimeoutError):
                await asyncio.wait_for(host.close(), _CLOSING_S)
        if self._mirror is not None:
            mirror, self._mirror = self._mirror, None
            with suppress(StorageError):  # what is missing there is asked for again
                await asyncio.to_thread(partial(mirror.push, patience_s=_CLOSING_S))
