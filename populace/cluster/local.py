"""The in-process transport: every shard on one event loop, no Ray. For tests and laptops. A shell."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.budget.amounts import NOTHING, Amount
from populace.budget.ledger import marker
from populace.budget.service import AccountService, LocalLink
from populace.budget.sharing import SharedWith
from populace.cluster.collector import let_go
from populace.cluster.host import ShardHost, build_host
from populace.cluster.job import Job, build_run
from populace.cluster.shared_limits import shared_account
from populace.cluster.transport import Exported, Opened, Progress
from populace.cluster.wire import split_parcels
from populace.cluster.world_host import WorldHost, build_world_host
from populace.core.claims import Claim, News
from populace.core.draws import WORLD
from populace.core.records import Answer, Counts, Look
from populace.core.rounds import Contribution, Heard
from populace.core.tables import TableRows
from populace.env.plain import Shown
from populace.kernel.barrier import ShardDone
from populace.kernel.bus import Envelope, Frame, count_messages
from populace.kernel.environment import Environment
from populace.kernel.events import RunDone, TickDone
from populace.kernel.notices import Notice
from populace.kernel.packing import read_seen
from populace.kernel.peeking import Peeked, peek, present
from populace.kernel.reports import WorldDone
from populace.kernel.rows import part_rows
from populace.kernel.snapshot import RunState, split_mail
from populace.models.dialect import EndpointForms
from populace.models.protocol import add_states
from populace.store.checkpoint.file import Piece
from populace.store.journal.recording import Missed, join_positions, on_record, open_pasts

_ROUNDS: Final = 4
"""In so many rounds of the event loop what a gateway was offered is sent: its dispatcher wakes, and makes tasks."""


class _Door:
    far = False

    def __init__(self, host: WorldHost, attempt: int = 0) -> None:
        self._host = host
        self._environment = host.environment
        self._attempt = attempt

    async def observe(self, agents: NDArray[np.int32]) -> bytes:
        return self._environment.observe(agents, self._attempt)

    async def observe_columns(self, agents: NDArray[np.int32]) -> Shown:
        return self._environment.observe_columns(agents, self._attempt)

    async def look(self, looks: Sequence[Look]) -> bytes:
        return self._environment.look(looks, self._attempt)

    async def attend(self, shard: int, tick: int, due: NDArray[np.int32]) -> NDArray[np.int32]:
        return self._host.attend(shard, tick, due, self._attempt)

    async def tell(self, shard: int, tick: int, said: Sequence[Contribution], left: Sequence[int]) -> list[Heard]:
        return self._host.tell(shard, tick, said, left, self._attempt)

    async def hear(self, shard: int, tick: int) -> News:
        return await self._host.hear(shard, tick, self._attempt)

    async def claim(self, shard: int, tick: int, claims: Sequence[Claim]) -> list[tuple[int, int]]:
        return self._host.claim(shard, tick, claims, self._attempt)

    async def tell_answers(self, tick: int, answers: Sequence[Answer]) -> None:
        self._host.tell_answers(tick, answers, self._attempt)


class _Peers:
    """The shards of a run in one process."""

    gap_s = 0.0

    def __init__(self, hosts: Sequence[ShardHost]) -> None:
        self._hosts = hosts

    async def tell(self, shard: int, notices: list[Notice]) -> None:
        self._hosts[shard].hear(notices)


def opened(environment: Environment) -> Opened:
    """What the coordinator is told of a world that was just built."""
    world = environment.world
    rows = part_rows(world, environment.part_tables, opening=True)
    return Opened(world.rows_of(world.ids()), environment.measure(), rows=rows)


class LocalTransport:
    """Shards in this process, one gateway each; what the model's limits allow is shared by one `account`."""

    def __init__(self) -> None:
        self.hosts: list[ShardHost] = []
        self.account: AccountService | None = None
        self.spent: Amount = NOTHING
        self.shared_limits: SharedWith | None = None
        self.forms = EndpointForms()
        self._world: WorldHost | None = None
        self._frame_bytes = 0
        self._missed: list[Missed] = []

    async def start(self, job: Job) -> Opened:
        """Build world and shards here."""
        await self.close()
        settings = job.read_settings()
        built = build_run(job)
        environment = built.environment
        self._frame_bytes = settings.bus.frame_bytes
        # The journal of an attempt before knows nothing of the calls that were in flight; its account does.
        spent = job.spent.at_least(self.spent)
        self.account = None
        if not job.replay:
            make = partial(shared_account, settings, spent, marker(settings, job.run))
            shares = settings.endpoint.share_limits is not None
            self.account = await asyncio.to_thread(make) if shares else make()
        self.forms.join(job.forms)
        pasts = open_pasts(job.pasts)
        link = None if self.account is None else LocalLink(self.account)
        self._world = build_world_host(job, environment, link, pasts, self.forms)
        await self._world.open()
        for index in range(settings.shards):
            link = None if self.account is None else LocalLink(self.account)
            door = _Door(self._world, job.attempt)
            part = built.part(index, settings.shards)
            host = build_host(job, index, part, door, link, pasts, self.forms)
            self.hosts.append(host)  # whatever is raised from here on, its journal is closed
            await host.gateway.open()
        peers = _Peers(self.hosts)
        for host in self.hosts:
            host.peers = peers
        let_go(job.agents)
        return msgspec.structs.replace(opened(environment), on_record=on_record(pasts))

    async def restore(self, state: RunState) -> tuple[dict[int, list[Frame]], dict[int, int]]:
        """Put shards and world where the run stood."""
        assert self._world is not None
        self._world.environment.restore(state.world)
        shards = len(self.hosts)
        mail: dict[int, list[Frame]] = {index: [] for index in range(shards)}
        for host in self.hosts:
            host.shard.restore(state.tick, state.shard(host.shard.plan.index, shards))
        attempt = self.hosts[0].shard.plan.attempt
        frames = split_mail(state.mail, shards=shards, attempt=attempt, frame_bytes=self._frame_bytes)
        for frame in frames:
            mail[frame.destination].append(frame)
        return mail, count_messages(frames)

    async def reach(self, checkpoints: Path) -> None:
        """One process writes all of a generation."""

    async def export(self, tick: int, whole: bool) -> Exported:
        """The state of all."""
        assert self._world is not None
        shards, positions = zip(*(host.export(tick, whole=whole) for host in self.hosts), strict=True)
        joined = join_positions([*positions, self._world.positions(tick)])
        return Exported(list(shards), self._world.environment.export(tick), joined)

    async def write(self, number: int) -> list[Piece]:
        """No piece: all is in the generation's own file."""
        hosts, world = list(self.hosts), self._world

        def sync() -> None:
            for host in hosts:
                host.sync()
            if world is not None:
                world.sync()

        await asyncio.to_thread(sync)
        return []

    async def present(self) -> dict[str, NDArray[np.int32]]:
        """Who lives."""
        assert self._world is not None
        return present(self._world.environment.world)

    async def peek(self, agents: NDArray[np.int32]) -> Peeked:
        """These agents, from all shards, and what they see."""
        assert self._world is not None
        environment, ids = self._world.environment, agents.tolist()
        found = {one: packed for host in self.hosts for one, packed in peek(host.shard, ids).items()}
        if not environment.world.observes:
            return Peeked(found, {})
        seen = read_seen(environment.observe(agents, environment.attempt))
        return Peeked(found, dict(zip(ids, seen, strict=True)))

    async def collect(self, parcels: list[Frame]) -> list[Frame]:
        """The parcels are the frames."""
        return parcels

    @property
    def missed(self) -> list[Missed]:
        """What a replay found no answer to, so far."""
        world = [] if self._world is None else self._world.missed
        return [*self._missed, *(one for host in self.hosts for one in host.gateway.missed), *world]

    async def open_tick(self, shard: int, tick: int, envelope: Envelope) -> tuple[ShardDone, TickDone]:
        """Run the shard's tick on this loop."""
        done = await self.hosts[shard].run_tick(tick, envelope)
        frames, world, bare = split_parcels(done)
        out = [*((frame.destination, frame) for frame in frames), (WORLD, world)]
        event = ShardDone(shard, done.attempt, tick, done.agents, done.digests, done.counts, out, done.sent, done.sums)
        return event, bare

    async def settle(self, shard: int, tick: int) -> Mapping[str, TableRows]:
        """At once."""
        return self.hosts[shard].settle(tick)

    async def close_tick(self, tick: int, envelope: Envelope) -> tuple[WorldDone, list[tuple[int, Any]]]:
        """End the tick in the world."""
        assert self._world is not None
        done = await self._world.close_tick(tick, envelope)
        out = [(frame.destination, frame) for frame in done.frames]
        return msgspec.structs.replace(done, frames=[]), out

    async def wind_down(self, grace_s: float) -> Counts:
        """All shards at once."""
        world = [] if self._world is None else [self._world]
        winding = (*(one.wind_down(grace_s) for one in self.hosts), *(one.wind_down(grace_s) for one in world))
        await asyncio.gather(*winding)
        unrecorded = Counts()
        for host in self.hosts:
            unrecorded.add(host.gateway.take_unrecorded())
        for one in world:
            unrecorded.add(one.take_unrecorded())
        return unrecorded

    async def end(self, shard: int, envelope: Envelope, tick: int) -> RunDone:
        """Close the shard's books."""
        done = self.hosts[shard].end(envelope, tick)
        if shard == 0 and self._world is not None:
            done.counts.add(self._world.end(tick))
        return done

    async def upload(self) -> bool:
        """The shards' journals lie in the run's folder here, with all the rest."""
        return False

    async def begun(self) -> None:
        """Of all shards, and their calls are sent."""
        for host in self.hosts:
            await host.begun.wait()
        for _ in range(_ROUNDS):
            await asyncio.sleep(0)

    def better_placed(self) -> list[str]:
        """All is here."""
        return []

    async def progress(self) -> Progress:
        """Sums over the shards."""
        progress = Progress()
        for host in self.hosts:
            add_progress(progress, host)
        if self._world is not None:
            progress.add(self._world.progress())
        return progress

    async def close(self) -> None:
        """Close the gateways."""
        world = [] if self._world is None else [self._world]
        await asyncio.gather(*(one.close() for one in world), *(one.close() for one in self.hosts))
        self._missed = self.missed
        self.hosts, self._world = [], None
        if self.account is not None:
            self.spent = self.account.spent
            await asyncio.to_thread(self.account.close)
            self.shared_limits = self.account.shared_with or self.shared_limits


def add_progress(progress: Progress, host: ShardHost) -> None:
    """Add one shard's to the sums."""
    pressure = host.gateway.pressure()
    progress.turns_due += host.shard.turns_due
    progress.turns_done += host.shard.turns_done
    progress.asks_waiting += pressure.waiting
    progress.asks_in_flight += pressure.in_flight
    add_states(progress.batches, pressure.batches)
    if host.meter is not None:
        progress.vitals.append(host.meter.read())
