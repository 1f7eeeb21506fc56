"""The Ray transport: a shard an actor, the environment service an actor, frames as references from shard to shard.

The only importer of ray. What crosses is bytes: MessagePack, made and read by `wire` and `bus`. The driver passes
references on without reading them, so a frame goes from one shard's node to another's directly. Nothing here is
retried by Ray: a lost actor is an ActorLost, and `start` then makes those that are lost anew and has the others begin
again, under a higher attempt number.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
import numpy as np
import ray
from numpy.typing import NDArray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from populace.budget.amounts import NOTHING, Amount
from populace.budget.ledger import marker
from populace.budget.service import AccountService, RemoteLink, account_for
from populace.cluster.host import ShardHost, build_host, split_parcels, tune_collector
from populace.cluster.job import Job, build_environment
from populace.cluster.local import add_progress, opened
from populace.cluster.transport import Opened, Progress
from populace.cluster.wire import (
    pack,
    pack_envelope,
    pack_parcel,
    unpack_envelope,
    unpack_export,
    unpack_looks,
    unpack_parcel,
    unpack_run,
    unpack_shard_state,
    unpack_tick,
    unpack_world,
)
from populace.core.errors import ActorLost, PopulaceError, StorageError, TransportError
from populace.core.records import Counts, Look, Position
from populace.kernel.barrier import ShardDone
from populace.kernel.bus import Frame, unpack_frame
from populace.kernel.delivery import Envelope, tally
from populace.kernel.environment import Environment, WorldDone
from populace.kernel.events import RunDone, TickDone
from populace.kernel.snapshot import RunState, ShardState, split_mail
from populace.kernel.snapshot import pack_world as pack_world_state
from populace.kernel.snapshot import unpack_world as unpack_world_state
from populace.store.journal.recording import Missed, join_positions, on_record, open_pasts
from populace.store.remote.mirror import Mirror, shard_mirror

T = TypeVar("T")

_FRAME_SLACK: Final = 4
"""A packed frame holds columns besides bodies, and a body may exceed `frame_bytes` by one message."""


_QUOTA_S: Final = 10.0
"""How long an exchange with the account may take before it is sent again."""


_CLOSING_S: Final = 5.0
"""How long a gateway of an attempt that is over may take to close."""


class EnvironmentActor:
    """The environment service in a process of its own."""

    def __init__(self) -> None:
        self._frame_bytes = 0
        self._environment: Environment | None = None

    def start(self, job: bytes) -> bytes:
        """Build the world; the packed `Opened`."""
        read = msgspec.msgpack.decode(job, type=Job)
        self._frame_bytes = _most_bytes(read)
        self._environment = build_environment(read)
        return pack(opened(self._environment))

    def restore(self, world: bytes) -> None:
        """Put the world, just started, where the run stood."""
        assert self._environment is not None
        self._environment.world.restore(unpack_world_state(world))

    def export(self, tick: int) -> bytes:
        """The world's packed state before a tick."""
        assert self._environment is not None
        return pack_world_state(self._environment.export(tick))

    def observe(self, agents: bytes, attempt: int) -> bytes:
        """What these agents (int32) see."""
        assert self._environment is not None
        return self._environment.observe(np.frombuffer(agents, "<i4"), attempt)

    def look(self, looks: bytes, attempt: int) -> bytes:
        """The replies to these looks."""
        assert self._environment is not None
        return self._environment.look(unpack_looks(looks), attempt)

    def close_tick(self, tick: int, envelope: bytes, *parcels: bytes) -> tuple[bytes, list[tuple[int, Any]]]:
        """End a tick; the packed `WorldDone`, and references to its frames by shard."""
        assert self._environment is not None
        read = [unpack_parcel(parcel, self._frame_bytes) for parcel in parcels]
        done = self._environment.close_tick(tick, unpack_envelope(envelope, read))
        out = [(frame.destination, ray.put(frame.pack())) for frame in done.frames]
        return pack(msgspec.structs.replace(done, frames=[])), out


class _Door:
    def __init__(self, environment: Any, attempt: int) -> None:
        self._environment = environment
        self._attempt = attempt

    async def observe(self, agents: NDArray[np.int32]) -> bytes:
        call = self._environment.observe.remote(agents.astype("<i4").tobytes(), self._attempt)
        packed: bytes = await _result(call, _THE_WORLD)
        return packed

    async def look(self, looks: Sequence[Look]) -> bytes:
        packed: bytes = await _result(self._environment.look.remote(pack(looks), self._attempt), _THE_WORLD)
        return packed


class QuotaActor:
    """The run's account with its model's provider, in a process of its own."""

    def __init__(self, job: bytes) -> None:
        read = msgspec.msgpack.decode(job, type=Job)
        settings = read.read_settings()
        self._account = AccountService(settings, read.spent, marker(settings, read.run))

    def exchange(self, want: bytes) -> bytes:
        """One exchange of a packed want for a packed lease."""
        return self._account.exchange_packed(want)

    def spent(self) -> bytes:
        """What the run has spent at most; packed."""
        return pack(self._account.spent)


def _link(quota: Any) -> RemoteLink:
    """A shard's way to the `QuotaActor`."""

    async def call(want: bytes) -> bytes:
        try:
            async with asyncio.timeout(_QUOTA_S):
                lease: bytes = await quota.exchange.remote(want)
                return lease
        except (ray.exceptions.RayTaskError, ray.exceptions.ActorDiedError) as error:
            raise ActorLost([_THE_QUOTA], _first_line(error)) from error
        except ray.exceptions.RayError as error:
            raise OSError(f"the account of the run's limits does not answer: {error}") from error

    return RemoteLink(call)


class ShardActor:
    """A shard in a process of its own, on that process's event loop."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._frame_bytes = 0
        self._host: ShardHost | None = None
        self._mirror: Mirror | None = None

    async def start(self, job: bytes, environment: Any, quota: Any) -> dict[int, int]:
        """Build the shard and open its gateway; of an attempt before, nothing goes on. See `Opened.on_record`.

        `quota` is the run's `QuotaActor`; None where nothing is limited.
        """
        await self.close()
        read = msgspec.msgpack.decode(job, type=Job)
        self._frame_bytes = _most_bytes(read)
        self._mirror = shard_mirror(read.journal, self._index)
        pasts = open_pasts(read.pasts)
        link = None if quota is None else _link(quota)
        self._host = build_host(read, self._index, _Door(environment, read.attempt), link, pasts)
        await self._host.gateway.open()
        tune_collector()
        return on_record(pasts)

    async def restore(self, tick: int, state: bytes) -> None:
        """Put the shard, just started, where it stood."""
        assert self._host is not None
        self._host.shard.restore(tick, unpack_shard_state(state))

    async def export(self, tick: int, whole: bool) -> bytes:
        """The shard's packed state before a tick, and how far the journal is behind it."""
        assert self._host is not None
        return pack(await asyncio.to_thread(self._host.export, tick, whole=whole))

    async def upload(self) -> None:
        """Upload the shard's journal so far, where the run's folder is remote."""
        if self._mirror is not None:
            await asyncio.to_thread(self._mirror.push)

    async def open_tick(self, tick: int, envelope: bytes, *parcels: bytes) -> tuple[bytes, list[tuple[int, Any]]]:
        """Run a tick; the packed `TickDone`, and references to frames and to the world's parcel."""
        assert self._host is not None
        frames = [unpack_frame(parcel, self._frame_bytes) for parcel in parcels]
        done = await self._host.run_tick(tick, unpack_envelope(envelope, frames))
        out, bare = split_parcels(
            done, lambda frame: ray.put(frame.pack()), lambda reports, sent: ray.put(pack_parcel(reports, sent))
        )
        return pack(bare), out

    async def wind_down(self, grace_s: float) -> bytes:
        """Begin no further call, let those in flight end; packed, what is not on record of them cost."""
        if self._host is None:
            return pack(Counts())
        await self._host.wind_down(grace_s)
        return pack(self._host.gateway.take_unrecorded())

    async def end(self, tick: int, envelope: bytes, *parcels: bytes) -> bytes:
        """Close the shard's books; the packed `RunDone`."""
        assert self._host is not None
        frames = [unpack_frame(parcel, self._frame_bytes) for parcel in parcels]
        return pack(self._host.end(unpack_envelope(envelope, frames), tick))

    async def progress(self) -> tuple[int, int, int, int]:
        """How far the tick under way has come."""
        progress = Progress()
        if self._host is not None:
            add_progress(progress, self._host)
        return msgspec.structs.astuple(progress)

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


class RayTransport:
    """Shards and world as actors on the Ray that RAY_ADDRESS names, or on one started here."""

    def __init__(self) -> None:
        self._environment: Any = None
        self._quota: Any = None
        self._shards: list[Any] = []
        self._job: Job | None = None
        self._started_ray = False
        self._spent = NOTHING
        self._account_lost = False

    async def start(self, job: Job) -> Opened:
        """Connect to Ray, or start it (about ten seconds), make the actors that there are not, begin on all."""
        if not ray.is_initialized():
            await asyncio.to_thread(_connect)
            _take_signals_back()
            self._started_ray = True
        self._job = job
        settings = job.read_settings()
        packed = msgspec.msgpack.encode(job)
        cpus = float(ray.cluster_resources().get("CPU", 1.0))
        share = min(1.0, 0.9 * cpus / (settings.shards + 1))
        options = {"num_cpus": share, "max_restarts": 0, "max_task_retries": 0}
        self._make_environment = ray.remote(**options)(EnvironmentActor).remote
        self._make_shard = ray.remote(scheduling_strategy="SPREAD", max_concurrency=16, **options)(ShardActor).remote
        if self._shards:
            await self._close_shards()
        if self._quota is not None:
            # The journal of a life before knows nothing of the calls that were lost in flight; its account does.
            await self._close_quota()
            packed = msgspec.msgpack.encode(msgspec.structs.replace(job, spent=job.spent.at_least(self._spent)))
        if account_for(settings) is not None:
            # On the driver's machine, where the experiment's ledger is.
            here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
            quota = {**options, "num_cpus": 0, "scheduling_strategy": here}
            self._quota = ray.remote(**quota)(QuotaActor).remote(packed)
        self._shards = self._shards or [None] * settings.shards
        # The world first: a shard is given its handle, which is another one where the world was lost.
        world = await self._start_environment(packed)
        known = await asyncio.gather(*(self._start_shard(index, packed) for index in range(settings.shards)))
        return msgspec.structs.replace(msgspec.msgpack.decode(world, type=Opened), on_record=known[0])

    async def _start_environment(self, packed: bytes) -> bytes:
        if self._environment is not None:
            with suppress(ActorLost):
                again: bytes = await _result(self._environment.start.remote(packed), _THE_WORLD)
                return again
        self._environment = self._make_environment()
        opened: bytes = await _result(self._environment.start.remote(packed), _THE_WORLD)
        return opened

    async def _start_shard(self, index: int, packed: bytes) -> dict[int, int]:
        if self._shards[index] is not None:
            with suppress(ActorLost):
                return await self._began(index, packed)
        self._shards[index] = self._make_shard(index)
        return await self._began(index, packed)

    async def _began(self, index: int, packed: bytes) -> dict[int, int]:
        began = self._shards[index].start.remote(packed, self._environment, self._quota)
        known: dict[int, int] = await _result(began, _shard(index))
        return known

    async def restore(self, state: RunState) -> tuple[dict[int, list[Any]], dict[int, int]]:
        """Put shards and world where the run stood; the mail's frames go into Ray's store."""
        assert self._job is not None
        shards = len(self._shards)
        await asyncio.gather(
            _result(self._environment.restore.remote(pack_world_state(state.world)), _THE_WORLD),
            *(
                _result(actor.restore.remote(state.tick, pack(state.shard(index, shards))), _shard(index))
                for index, actor in enumerate(self._shards)
            ),
        )
        mail: dict[int, list[Any]] = {index: [] for index in range(shards)}
        bus = self._job.read_settings().bus
        frames = split_mail(state.mail, shards=shards, attempt=self._job.attempt, frame_bytes=bus.frame_bytes)
        for frame in frames:
            mail[frame.destination].append(ray.put(frame.pack()))
        return mail, tally(frames)

    async def export(self, tick: int, whole: bool) -> tuple[list[ShardState], dict[str, Any], list[Position]]:
        """The state of all."""
        world, *packed = await asyncio.gather(
            _result(self._environment.export.remote(tick), _THE_WORLD),
            *(_result(actor.export.remote(tick, whole), _shard(index)) for index, actor in enumerate(self._shards)),
        )
        read = [unpack_export(one) for one in packed]
        return [state for state, _ in read], unpack_world_state(world), join_positions(at for _, at in read)

    async def collect(self, parcels: list[Any]) -> list[Frame]:
        """Fetch the frames from where they are."""
        assert self._job is not None
        packed = await asyncio.gather(*(_result(parcel, "mail in flight") for parcel in parcels))
        most_bytes = _most_bytes(self._job)
        return [unpack_frame(one, most_bytes) for one in packed]

    async def open_tick(self, shard: int, tick: int, envelope: Envelope) -> tuple[ShardDone, TickDone]:
        """Run a shard's tick on its actor."""
        call = self._shards[shard].open_tick.remote(tick, pack_envelope(envelope), *envelope.parcels)
        packed, out = await _result(call, _shard(shard))
        done = unpack_tick(packed)
        event = ShardDone(shard, done.attempt, tick, done.agents, done.digests, done.counts, out, done.sent)
        return event, done

    async def close_tick(self, tick: int, envelope: Envelope) -> tuple[WorldDone, list[tuple[int, Any]]]:
        """End the tick on the environment's actor."""
        call = self._environment.close_tick.remote(tick, pack_envelope(envelope), *envelope.parcels)
        packed, out = await _result(call, _THE_WORLD)
        return unpack_world(packed), out

    async def wind_down(self, grace_s: float) -> Counts:
        """All shards at once."""
        there = [(index, actor) for index, actor in enumerate(self._shards) if actor is not None]
        winding = [_result(actor.wind_down.remote(grace_s), _shard(index)) for index, actor in there]
        unrecorded = Counts()
        for packed in await asyncio.gather(*winding, return_exceptions=True):
            if isinstance(packed, bytes):
                unrecorded.add(msgspec.msgpack.decode(packed, type=Counts))
        return unrecorded

    async def end(self, shard: int, envelope: Envelope, tick: int) -> RunDone:
        """Close a shard's books."""
        call = self._shards[shard].end.remote(tick, pack_envelope(envelope), *envelope.parcels)
        return unpack_run(await _result(call, _shard(shard)))

    async def upload(self) -> bool:
        """Each shard uploads its own."""
        calls = [_result(actor.upload.remote(), _shard(index)) for index, actor in enumerate(self._shards) if actor]
        await asyncio.gather(*calls)
        return True

    async def progress(self) -> Progress:
        """Sums over the shards."""
        asked = [_result(actor.progress.remote(), _shard(index)) for index, actor in enumerate(self._shards)]
        parts = await asyncio.gather(*asked)
        return Progress(*(sum(column) for column in zip(*parts, strict=True)))

    async def close(self) -> None:
        """End the actors, and Ray where it was started here."""
        try:
            await self._close_shards()
            await self._close_quota()
        finally:
            for actor in (*self._shards, self._environment, self._quota):
                if actor is not None:
                    ray.kill(actor)
            self._shards, self._environment, self._quota = [], None, None
            if self._started_ray:
                await asyncio.to_thread(ray.shutdown)

    @property
    def spent(self) -> Amount | None:
        """What the model has cost at most; None once an account was lost. See `Transport`."""
        return None if self._account_lost else self._spent

    @property
    def missed(self) -> list[Missed]:
        """A replay takes place in one process."""
        return []

    async def _close_shards(self) -> None:
        """Have the shards end what is open, and tell the account what they spent last."""
        there = [(index, actor) for index, actor in enumerate(self._shards) if actor is not None]
        closing = [_result(actor.close.remote(), _shard(index)) for index, actor in there]
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*closing, return_exceptions=True), timeout=10.0)

    async def _close_quota(self) -> None:
        """Ask the account what was spent, and end it."""
        if self._quota is None:
            return
        try:
            packed = await asyncio.wait_for(_result(self._quota.spent.remote(), _THE_QUOTA), timeout=_QUOTA_S)
            self._spent = msgspec.msgpack.decode(packed, type=Amount)
        except (TimeoutError, TransportError):
            self._account_lost = True
        ray.kill(self._quota)
        self._quota = None


def _connect() -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        if address := os.environ.get("RAY_ADDRESS"):
            _knock(address)
            ray.init(log_to_driver=False, configure_logging=False)
        else:
            # Without "local" Ray would join any other that runs on this machine.
            ray.init("local", include_dashboard=False, log_to_driver=False, configure_logging=False)
    except Exception as error:
        address = os.environ.get("RAY_ADDRESS")
        where = f"RAY_ADDRESS={address}" if address else "a Ray on this machine"
        raise TransportError(
            f"cannot reach {where}: {error}. Run `populace doctor`, or use --transport local."
        ) from error


def _take_signals_back() -> None:
    """Ray's core puts a handler of its own in the place of the process's, which ends it with a stack trace."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if (handler := signal.getsignal(number)) is not None:
                signal.signal(number, handler)
                signal.siginterrupt(number, False)


def _knock(address: str) -> None:
    """Raise OSError at once where nothing listens; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=5.0).close()


def _most_bytes(job: Job) -> int:
    bus = job.read_settings().bus
    return _FRAME_SLACK * (bus.frame_bytes + bus.body_bytes) + 2**20


_THE_WORLD: Final = "the world"
_THE_QUOTA: Final = "the quota"


def _shard(index: int) -> str:
    return f"shard {index}"


async def _result(reference: Any, name: str) -> Any:
    """What a call of `name` gave. An error of populace's own comes out as itself; a lost actor as ActorLost."""
    try:
        return await reference
    except ray.exceptions.RayTaskError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, PopulaceError):
            raise cause from None
        if isinstance(cause, ray.exceptions.RayError) and not isinstance(cause, ray.exceptions.RayTaskError):
            raise ActorLost([name], _first_line(cause)) from error
        raise TransportError(f"{name} failed: {cause!r}\n{error}") from error
    except ray.exceptions.RayError as error:
        raise ActorLost([name], _first_line(error)) from error


def _first_line(error: Exception) -> str:
    """What Ray says in its first lines; the rest is its own troubleshooting."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:500] or type(error).__name__
