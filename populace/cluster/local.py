"""The in-process transport: every shard on one event loop, no Ray. For tests and laptops. A shell."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.budget.amounts import NOTHING, Amount
from populace.budget.ledger import marker
from populace.budget.service import AccountService, LocalLink, account_for
from populace.cluster.host import ShardRunner
from populace.cluster.job import Job, build_environment, build_shard, job_journal
from populace.cluster.transport import Opened, Progress
from populace.core.draws import WORLD
from populace.core.records import Look, Position
from populace.kernel.barrier import ShardDone
from populace.kernel.bus import Frame
from populace.kernel.delivery import tally
from populace.kernel.environment import Environment, Reports, WorldDone
from populace.kernel.events import RunDone, TickDone
from populace.kernel.snapshot import RunState, ShardState, split_mail
from populace.models.build import build_gateway
from populace.store.journal.recording import Missed, Recording, join_positions, on_record, open_pasts


class _Door:
    def __init__(self, environment: Environment, attempt: int = 0) -> None:
        self._environment = environment
        self._attempt = attempt

    async def observe(self, agents: NDArray[np.int32]) -> bytes:
        return self._environment.observe(agents, self._attempt)

    async def look(self, looks: Sequence[Look]) -> bytes:
        return self._environment.look(looks, self._attempt)


def opened(environment: Environment) -> Opened:
    """What the coordinator is told of a world that was just built."""
    columns = {name: column.tolist() for name, column in environment.world.columns.items()}
    return Opened(columns, environment.measure())


class LocalTransport:
    """Shards in this process, one gateway each; what the model's limits allow is shared by one `account`."""

    def __init__(self) -> None:
        self.runners: list[ShardRunner] = []
        self.account: AccountService | None = None
        self.spent: Amount = NOTHING
        self._environment: Environment | None = None
        self._frame_bytes = 0

    async def start(self, job: Job) -> Opened:
        """Build world and shards here."""
        await self.close()
        settings, society = job.read_settings(), job.society()
        self._environment = build_environment(job)
        self._frame_bytes = settings.bus.frame_bytes
        # The journal of a life before knows nothing of the calls that were in flight; its account does.
        spent = job.spent.at_least(self.spent)
        self.account = None if job.replay else account_for(settings.model, spent, marker(settings, job.run))
        pasts = open_pasts(job.pasts)
        for index in range(settings.shards):
            gateway = None if job.replay else build_gateway(
                settings.model,
                seed=settings.seed,
                shards=settings.shards,
                scripted=society.scripted,
                base_url=job.base_url,
                link=None if self.account is None else LocalLink(self.account),
                shard=index,
                attempt=job.attempt,
            )  # fmt: skip
            recording = Recording(gateway, job_journal(job, index), pasts)
            self.runners.append(ShardRunner(build_shard(job, index), recording, _Door(self._environment, job.attempt)))
            await recording.open()
        return msgspec.structs.replace(opened(self._environment), on_record=on_record(pasts))

    async def restore(self, state: RunState) -> tuple[dict[int, list[Frame]], dict[int, int]]:
        """Put shards and world where the run stood."""
        assert self._environment is not None
        self._environment.world.restore(state.world)
        shards = len(self.runners)
        mail: dict[int, list[Frame]] = {index: [] for index in range(shards)}
        for runner in self.runners:
            runner.shard.restore(state.tick, state.shard(runner.shard.plan.index, shards))
        attempt = self.runners[0].shard.plan.attempt
        frames = split_mail(state.mail, shards=shards, attempt=attempt, frame_bytes=self._frame_bytes)
        for frame in frames:
            mail[frame.destination].append(frame)
        return mail, tally(frames)

    async def export(self, whole: bool) -> tuple[list[ShardState], dict[str, Any], list[Position]]:
        """The state of all."""
        assert self._environment is not None
        positions = [runner.gateway.positions(runner.shard.tick + 1) for runner in self.runners]
        shards = [runner.shard.export(whole=whole) for runner in self.runners]
        return shards, self._environment.world.state(), join_positions(positions)

    async def collect(self, parcels: list[Frame]) -> list[Frame]:
        """The parcels are the frames."""
        return parcels

    @property
    def missed(self) -> list[Missed]:
        """What a replay found no answer to, so far."""
        return [one for runner in self.runners for one in runner.gateway.missed]

    async def open_tick(
        self, shard: int, tick: int, parcels: list[Frame], expected: dict[int, int], attempt: int
    ) -> tuple[ShardDone, TickDone]:
        """Run the shard's tick on this loop."""
        runner = self.runners[shard]
        done = await runner.run_tick(tick, parcels, expected, attempt)
        out: list[tuple[int, Any]] = [(frame.destination, frame) for frame in done.frames if frame.destination != WORLD]
        to_world = [frame for frame in done.frames if frame.destination == WORLD]
        out.append((WORLD, (Reports(done.agents, done.fields, shard, done.attempt), to_world)))
        event = ShardDone(shard, done.attempt, tick, done.agents, done.digests, done.counts, out, done.sent)
        return event, msgspec.structs.replace(done, frames=[], fields={})

    async def close_tick(
        self, tick: int, parcels: list[tuple[Reports, list[Frame]]], expected: dict[int, int], attempt: int
    ) -> tuple[WorldDone, list[tuple[int, Any]]]:
        """End the tick in the world."""
        assert self._environment is not None
        frames = [frame for _, sent in parcels for frame in sent]
        done = self._environment.close_tick(tick, frames, [reports for reports, _ in parcels], expected, attempt)
        out = [(frame.destination, frame) for frame in done.frames]
        return msgspec.structs.replace(done, frames=[]), out

    async def end(self, shard: int, parcels: list[Frame], expected: dict[int, int], attempt: int) -> RunDone:
        """Close the shard's books."""
        return self.runners[shard].end(parcels, expected, attempt)

    async def upload(self) -> bool:
        """The shards' journals lie in the run's folder here, with all the rest."""
        return False

    async def progress(self) -> Progress:
        """Sums over the shards."""
        progress = Progress()
        for runner in self.runners:
            add_progress(progress, runner)
        return progress

    async def close(self) -> None:
        """Close the gateways."""
        await asyncio.gather(*(runner.close() for runner in self.runners))
        self.runners = []
        if self.account is not None:
            self.spent = self.account.spent


def add_progress(progress: Progress, runner: ShardRunner) -> None:
    """Add one shard's to the sums."""
    pressure = runner.gateway.pressure()
    progress.turns_due += runner.shard.turns_due
    progress.turns_done += runner.shard.turns_done
    progress.asks_waiting += pressure.waiting
    progress.asks_in_flight += pressure.in_flight
