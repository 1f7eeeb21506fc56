"""The Ray transport: a shard an actor, the environment service an actor, frames as references from shard to shard.

The only importer of ray. What crosses is bytes: MessagePack, made and read by `wire` and `bus`. The driver passes
references on without reading them, so a frame goes from one shard's node to another's directly. Nothing here is
retried by Ray: a lost actor ends the run with a TransportError, and what is on disk stands.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec
import numpy as np
import ray
from numpy.typing import NDArray

from populace.agents.llm.build import build_gateway
from populace.cluster.account import AccountService, RemoteLink, account_for
from populace.cluster.barrier import ShardDone
from populace.cluster.build import Job, build_environment, build_shard
from populace.cluster.bus import unpack_frame
from populace.cluster.environment import Environment, Reports, WorldDone
from populace.cluster.events import RunDone, TickDone
from populace.cluster.local import add_progress, opened
from populace.cluster.runner import ShardRunner, tune_collector
from populace.cluster.transport import Opened, Progress
from populace.cluster.wire import (
    pack,
    pack_parcel,
    unpack_looks,
    unpack_parcel,
    unpack_run,
    unpack_tick,
    unpack_world,
)
from populace.core.draws import WORLD
from populace.core.errors import PopulaceError, TransportError
from populace.core.records import Look

T = TypeVar("T")

_FRAME_SLACK: Final = 4
"""A packed frame holds columns besides bodies, and a body may exceed `frame_bytes` by one message."""


_QUOTA_S: Final = 10.0
"""How long an exchange with the account may take before it is sent again."""


class EnvironmentActor:
    """The environment service in a process of its own."""

    def __init__(self, job: bytes) -> None:
        self._job = msgspec.msgpack.decode(job, type=Job)
        self._frame_bytes = _most_bytes(self._job)
        self._environment: Environment | None = None

    def start(self) -> bytes:
        """Build the world; the packed `Opened`."""
        self._environment = build_environment(self._job)
        return pack(opened(self._environment))

    def observe(self, agents: bytes) -> bytes:
        """What these agents (int32) see."""
        assert self._environment is not None
        return self._environment.observe(np.frombuffer(agents, "<i4"))

    def look(self, looks: bytes) -> bytes:
        """The replies to these looks."""
        assert self._environment is not None
        return self._environment.look(unpack_looks(looks))

    def close_tick(
        self, tick: int, expected: dict[int, int], attempt: int, *parcels: bytes
    ) -> tuple[bytes, list[tuple[int, Any]]]:
        """End a tick; the packed `WorldDone`, and references to its frames by shard."""
        assert self._environment is not None
        read = [unpack_parcel(parcel, self._frame_bytes) for parcel in parcels]
        frames = [frame for _, sent in read for frame in sent]
        done = self._environment.close_tick(tick, frames, [reports for reports, _ in read], expected, attempt)
        out = [(frame.destination, ray.put(frame.pack())) for frame in done.frames]
        return pack(msgspec.structs.replace(done, frames=[])), out


class _Door:
    def __init__(self, environment: Any) -> None:
        self._environment = environment

    async def observe(self, agents: NDArray[np.int32]) -> bytes:
        packed: bytes = await self._environment.observe.remote(agents.astype("<i4").tobytes())
        return packed

    async def look(self, looks: Sequence[Look]) -> bytes:
        packed: bytes = await self._environment.look.remote(pack(looks))
        return packed


class QuotaActor:
    """The run's account with its model's provider, in a process of its own."""

    def __init__(self, job: bytes) -> None:
        read = msgspec.msgpack.decode(job, type=Job)
        self._account = AccountService(read.read_settings().model, read.spent)

    def exchange(self, want: bytes) -> bytes:
        """One exchange of a packed want for a packed lease."""
        return self._account.exchange_packed(want)


def _link(quota: Any) -> RemoteLink:
    """A shard's way to the `QuotaActor`."""

    async def call(want: bytes) -> bytes:
        try:
            async with asyncio.timeout(_QUOTA_S):
                lease: bytes = await quota.exchange.remote(want)
                return lease
        except (ray.exceptions.RayTaskError, ray.exceptions.ActorDiedError) as error:
            raise TransportError(f"the account of the run's limits was lost: {error}") from error
        except ray.exceptions.RayError as error:
            raise OSError(f"the account of the run's limits does not answer: {error}") from error

    return RemoteLink(call)


class ShardActor:
    """A shard in a process of its own, on that process's event loop.

    `quota` is the run's `QuotaActor`; None where nothing is limited. `attempt` rises when a lost shard is rebuilt.
    """

    def __init__(self, job: bytes, index: int, environment: Any, quota: Any, attempt: int) -> None:
        self._job = msgspec.msgpack.decode(job, type=Job)
        self._index = index
        self._frame_bytes = _most_bytes(self._job)
        self._environment = environment
        self._quota = quota
        self._attempt = attempt
        self._runner: ShardRunner | None = None

    async def start(self) -> None:
        """Build the shard and open its gateway."""
        settings = self._job.read_settings()
        gateway = build_gateway(
            settings.model,
            seed=settings.seed,
            shards=settings.shards,
            scripted=self._job.society().scripted,
            base_url=self._job.base_url,
            link=None if self._quota is None else _link(self._quota),
            shard=self._index,
            attempt=self._attempt,
        )
        shard = build_shard(self._job, self._index, self._attempt)
        self._runner = ShardRunner(shard, gateway, _Door(self._environment))
        await gateway.open()
        tune_collector()

    async def open_tick(
        self, tick: int, expected: dict[int, int], attempt: int, *parcels: bytes
    ) -> tuple[bytes, list[tuple[int, Any]]]:
        """Run a tick; the packed `TickDone`, and references to frames and to the world's parcel."""
        assert self._runner is not None
        frames = [unpack_frame(parcel, self._frame_bytes) for parcel in parcels]
        done = await self._runner.run_tick(tick, frames, expected, attempt)
        out = [(frame.destination, ray.put(frame.pack())) for frame in done.frames if frame.destination != WORLD]
        to_world = [frame for frame in done.frames if frame.destination == WORLD]
        reports = Reports(done.agents, done.fields, self._index, done.attempt)
        out.append((WORLD, ray.put(pack_parcel(reports, to_world))))
        return pack(msgspec.structs.replace(done, frames=[], fields={})), out

    async def end(self, expected: dict[int, int], attempt: int, *parcels: bytes) -> bytes:
        """Close the shard's books; the packed `RunDone`."""
        assert self._runner is not None
        frames = [unpack_frame(parcel, self._frame_bytes) for parcel in parcels]
        return pack(self._runner.end(frames, expected, attempt))

    async def progress(self) -> tuple[int, int, int, int]:
        """How far the tick under way has come."""
        progress = Progress()
        if self._runner is not None:
            add_progress(progress, self._runner)
        return msgspec.structs.astuple(progress)

    async def close(self) -> None:
        """Close the gateway."""
        if self._runner is not None:
            await self._runner.close()


class RayTransport:
    """Shards and world as actors on the Ray that RAY_ADDRESS names, or on one started here."""

    def __init__(self) -> None:
        self._environment: Any = None
        self._quota: Any = None
        self._shards: list[Any] = []
        self._started_ray = False

    async def start(self, job: Job) -> Opened:
        """Connect to Ray, or start it (about ten seconds), and build actors."""
        if not ray.is_initialized():
            await asyncio.to_thread(_connect)
            self._started_ray = True
        settings = job.read_settings()
        packed = msgspec.msgpack.encode(job)
        cpus = float(ray.cluster_resources().get("CPU", 1.0))
        share = min(1.0, 0.9 * cpus / (settings.shards + 1))
        options = {"num_cpus": share, "max_restarts": 0, "max_task_retries": 0}
        environment = ray.remote(**options)(EnvironmentActor)
        shard = ray.remote(scheduling_strategy="SPREAD", max_concurrency=16, **options)(ShardActor)
        self._environment = environment.remote(packed)
        if account_for(settings.model) is not None:
            self._quota = ray.remote(**{**options, "num_cpus": 0})(QuotaActor).remote(packed)
        self._shards = [
            shard.remote(packed, index, self._environment, self._quota, 0) for index in range(settings.shards)
        ]
        world, *_ = await asyncio.gather(
            _result(self._environment.start.remote()), *(_result(one.start.remote()) for one in self._shards)
        )
        return msgspec.msgpack.decode(world, type=Opened)

    async def open_tick(
        self, shard: int, tick: int, parcels: list[Any], expected: dict[int, int], attempt: int
    ) -> tuple[ShardDone, TickDone]:
        """Run a shard's tick on its actor."""
        packed, out = await _result(self._shards[shard].open_tick.remote(tick, expected, attempt, *parcels))
        done = unpack_tick(packed)
        event = ShardDone(shard, done.attempt, tick, done.agents, done.digests, done.counts, out, done.sent)
        return event, done

    async def close_tick(
        self, tick: int, parcels: list[Any], expected: dict[int, int], attempt: int
    ) -> tuple[WorldDone, list[tuple[int, Any]]]:
        """End the tick on the environment's actor."""
        packed, out = await _result(self._environment.close_tick.remote(tick, expected, attempt, *parcels))
        return unpack_world(packed), out

    async def end(self, shard: int, parcels: list[Any], expected: dict[int, int], attempt: int) -> RunDone:
        """Close a shard's books."""
        return unpack_run(await _result(self._shards[shard].end.remote(expected, attempt, *parcels)))

    async def progress(self) -> Progress:
        """Sums over the shards."""
        parts = await asyncio.gather(*(_result(shard.progress.remote()) for shard in self._shards))
        return Progress(*(sum(column) for column in zip(*parts, strict=True)))

    async def close(self) -> None:
        """End the actors, and Ray where it was started here."""
        try:
            closing = [_result(shard.close.remote()) for shard in self._shards]
            await asyncio.wait_for(asyncio.gather(*closing, return_exceptions=True), timeout=10.0)
        except TimeoutError:
            pass
        finally:
            for actor in (*self._shards, self._environment, self._quota):
                if actor is not None:
                    ray.kill(actor)
            self._shards, self._environment, self._quota = [], None, None
            if self._started_ray:
                await asyncio.to_thread(ray.shutdown)


def _connect() -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        if address := os.environ.get("RAY_ADDRESS"):
            _knock(address)
            ray.init(log_to_driver=False, configure_logging=False)
        else:
            ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)
    except Exception as error:
        address = os.environ.get("RAY_ADDRESS")
        where = f"RAY_ADDRESS={address}" if address else "a Ray on this machine"
        raise TransportError(
            f"cannot reach {where}: {error}. Run `populace doctor`, or use --transport local."
        ) from error


def _knock(address: str) -> None:
    """Raise OSError at once where nothing listens; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=5.0).close()


def _most_bytes(job: Job) -> int:
    bus = job.read_settings().bus
    return _FRAME_SLACK * (bus.frame_bytes + bus.body_bytes) + 2**20


async def _result(reference: Any) -> Any:
    """What a call gave. An error of populace's own comes out as itself; a lost actor as TransportError."""
    try:
        return await reference
    except ray.exceptions.RayTaskError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, PopulaceError):
            raise cause from None
        raise TransportError(f"an actor failed: {cause!r}\n{error}") from error
    except ray.exceptions.RayError as error:
        raise TransportError(f"an actor was lost: {error}. What was recorded so far is saved.") from error
