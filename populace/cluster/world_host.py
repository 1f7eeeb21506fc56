"""Hosts the world: carries out what its parts ask as a tick ends, through a model stack of the world's own.

The same for every transport, in the process where the world is. A world whose parts ask nothing has no gateway, and
its ticks are closed in one call. A shell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.cluster.host import GRACE_S, build_stack, let_end
from populace.cluster.job import Job
from populace.cluster.pieces import PieceWriter
from populace.cluster.transport import Progress
from populace.cluster.vitals import Meter
from populace.core.claims import Claim, News
from populace.core.draws import WORLD
from populace.core.errors import Interrupted
from populace.core.records import Answer, Ask, Counts, Position
from populace.core.rounds import Contribution, Heard
from populace.kernel.bus import Envelope
from populace.kernel.environment import Environment
from populace.kernel.events import AskModel
from populace.kernel.reports import WorldDone
from populace.models.dialect import EndpointForms
from populace.models.dispatch.throttle import Link
from populace.models.protocol import Pressure
from populace.store.checkpoint.pieces import world_blocks
from populace.store.journal.recording import Missed, OpenPast, Recording


def build_world_host(
    job: Job, environment: Environment, link: Link | None, pasts: Sequence[OpenPast], forms: EndpointForms
) -> WorldHost:
    """The host of a job's world; see `cluster.host.build_host` for the arguments. Raises ModelError, StorageError."""
    settings = job.read_settings()
    watched = settings.is_measured
    if not environment.world.consulting:
        return WorldHost(environment, None, Meter(WORLD, None) if watched else None)
    # Shards have no call open while the world asks: it may have as many as all of them together.
    alone = settings.model_copy(update={"shards": 1})
    stack = build_stack(job, alone, settings.shards, link, pasts, forms)
    return WorldHost(environment, stack, Meter(WORLD, stack) if watched else None)


class WorldHost:
    """The environment service, and its gateway to the model where its parts ask.

    What it puts on record has the journal of shard number `shards`, one more than there are.
    """

    def __init__(self, environment: Environment, gateway: Recording | None, meter: Meter | None = None) -> None:
        self.environment = environment
        self.meter = meter
        self.gateway = gateway
        self._answers: list[Answer] = []
        self._arrived = asyncio.Event()
        self._abandoned = False
        self._wound_down = False
        self._over = False
        self._bells: dict[int, asyncio.Event] = {}
        self._asked: dict[int, tuple[str, str]] = {}
        """Purpose and model role by `nth`."""
        self._billed: tuple[int, Counts] = (-1, Counts())
        """What the calls of the tick that was closed last, or is being closed, cost."""

    async def open(self) -> None:
        """Open the gateway."""
        if self.gateway is not None:
            await self.gateway.open()

    def attend(self, shard: int, tick: int, due: NDArray[np.int32], attempt: int) -> NDArray[np.int32]:
        """See `Environment.attend`. Shards that wait are told where that ends a round."""
        members = self.environment.attend(shard, tick, due, attempt)
        self._ring()
        return members

    def tell(
        self, shard: int, tick: int, said: Sequence[Contribution], left: Sequence[int], attempt: int
    ) -> list[Heard]:
        """See `Environment.tell`; gives what members on the shard have heard. Shards that wait are told, too."""
        self.environment.tell(shard, tick, said, left, attempt)
        self._ring()
        return self.environment.hear(shard, tick, attempt)

    def claim(self, shard: int, tick: int, claims: Sequence[Claim], attempt: int) -> list[tuple[int, int]]:
        """See `Environment.claim`."""
        mine = self.environment.claim(shard, tick, claims, attempt)
        self._ring()
        return mine

    def tell_answers(self, tick: int, answers: Sequence[Answer], attempt: int) -> None:
        """See `Environment.tell_answers`. Shards that wait are told."""
        self.environment.tell_answers(tick, answers, attempt)
        self._ring()

    async def hear(self, shard: int, tick: int, attempt: int) -> News:
        """The news for a shard, once there is some; none once the tick is closed."""
        environment = self.environment
        while not self._over and environment.is_open(tick):
            heard = environment.hear(shard, tick, attempt) if environment.world.exchanging else []
            answers = environment.hear_answers(shard, tick, attempt)
            if heard or answers:
                return News(heard, answers)
            bell = self._bells[shard] = asyncio.Event()
            await bell.wait()
        return News()

    def _ring(self) -> None:
        """Wake every shard that waits to hear something."""
        bells, self._bells = self._bells, {}
        for bell in bells.values():
            bell.set()

    async def close_tick(self, tick: int, envelope: Envelope) -> WorldDone:
        """End a tick in the world; the envelope's parcels are reports and frames.

        Raises ModelError when the model refuses for good, and Interrupted when the run ends meanwhile.
        """
        if self.meter is None:
            return await self._close_tick(tick, envelope)
        self.meter.begin()
        done = await self._close_tick(tick, envelope)
        done.counts.traffic = self.meter.take_traffic()
        return msgspec.structs.replace(done, vitals=self.meter.read())

    async def _close_tick(self, tick: int, envelope: Envelope) -> WorldDone:
        step = self.environment.close_tick(tick, envelope)
        self._ring()
        if self.gateway is None or isinstance(step, WorldDone):
            assert isinstance(step, WorldDone)
            return step
        self._answers.clear()
        self._billed = (tick, Counts())
        while isinstance(step, AskModel):
            self._offer(step.asks)
            while not self._answers:
                self._arrived.clear()
                await self._arrived.wait()
                self._check()
            self._check()
            answers, self._answers = self._answers, []
            step = self.environment.answer(answers)
        step.counts.saved_calls, step.counts.saved_usd = self.gateway.take_saved()
        return step

    def _check(self) -> None:
        if self.gateway is not None and self.gateway.failure is not None:
            raise self.gateway.failure
        if self._abandoned:
            raise Interrupted(f"the world: the end of tick {self._billed[0]} was abandoned")

    def _offer(self, asks: Sequence[Ask]) -> None:
        assert self.gateway is not None
        self._asked.update((ask.nth, (ask.purpose, ask.model_role)) for ask in asks)
        if asks:
            self.gateway.offer(asks, self._deliver)

    def _deliver(self, answers: Sequence[Answer]) -> None:
        for answer in answers:
            purpose, answer.model_role = self._asked[answer.nth]
            self._billed[1].bill(answer, purpose)
        self._answers.extend(answers)
        self._arrived.set()

    async def wind_down(self, grace_s: float) -> None:
        """Abandon the tick that is being closed: begin no further call, let those in flight end; see `ShardHost`."""
        self._abandoned = self._over = True
        self._arrived.set()
        self._ring()
        if self.gateway is None:
            return
        self._wound_down = True
        await let_end(self.gateway, grace_s)

    async def close(self) -> None:
        """Close the gateway, once the calls in flight have had a little time to end."""
        self._over = True
        self._ring()
        if self.meter is not None:
            self.meter.close()
        if self.gateway is not None:
            if not self._wound_down:
                await self.wind_down(GRACE_S)
            await self.gateway.close()

    def positions(self, tick: int) -> list[Position]:
        """Where the world's journal stands behind a checkpoint before `tick`."""
        return [] if self.gateway is None else self.gateway.positions(tick)

    def freeze(self, to: PieceWriter, tick: int, *, whole: bool) -> list[Position]:
        """The same, with the world's state taken aside for a piece of a generation. Raises StorageError."""
        to.take(tick, world_blocks(self.environment.export(tick)), whole=whole, live=True)
        return self.positions(tick)

    def sync(self) -> None:
        """Put the world's journal on the disk. Raises StorageError."""
        if self.gateway is not None:
            self.gateway.sync()

    def end(self, tick: int) -> Counts:
        """What was billed for ticks since `tick` began, which are not committed."""
        at, billed = self._billed
        return billed.spend() if at >= tick else Counts()

    def take_unrecorded(self) -> Counts:
        """What calls cost whose answers were not put on record, since the last time."""
        return Counts() if self.gateway is None else self.gateway.take_unrecorded()

    def progress(self) -> Progress:
        """What is waiting and in flight now."""
        pressure = Pressure() if self.gateway is None else self.gateway.pressure()
        vitals = [] if self.meter is None else [self.meter.read()]
        return Progress(asks_waiting=pressure.waiting, asks_in_flight=pressure.in_flight, vitals=vitals)

    @property
    def missed(self) -> list[Missed]:
        """What a replay found no answer to."""
        return [] if self.gateway is None else self.gateway.missed
