"""Hosts one shard: builds its stack, carries its effects out on an event loop and hands the results back as events.

The same for every transport. A shell.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.cluster.job import Job, build_shard, job_batches, job_journal
from populace.cluster.parts import ShardPart
from populace.cluster.pieces import PieceWriter
from populace.cluster.vitals import Meter
from populace.core.claims import Claim, News
from populace.core.errors import Interrupted, StaleOrder, TransportError
from populace.core.records import Answer, Ask, Look, Position
from populace.core.rounds import Contribution, Heard
from populace.core.tables import TableRows
from populace.env.plain import Shown
from populace.kernel.bus import Envelope
from populace.kernel.events import (
    Answered,
    AskModel,
    Attend,
    Attended,
    ClaimAsks,
    Claimed,
    Effect,
    EndRun,
    HeardAnswers,
    HeardRounds,
    HeardShards,
    Looked,
    LookWorld,
    Observe,
    ObserveColumns,
    OpenTick,
    Proceed,
    RunDone,
    Seen,
    SeenColumns,
    TellAnswers,
    TellRounds,
    TellShards,
    TickDone,
)
from populace.kernel.notices import Notice
from populace.kernel.packing import read_seen, read_values
from populace.kernel.shard import Shard
from populace.kernel.snapshot import ShardState
from populace.models.build import build_gateway
from populace.models.dialect import EndpointForms
from populace.models.dispatch.throttle import Link
from populace.models.protocol import Gateway
from populace.settings import Settings
from populace.store.checkpoint.pieces import shard_blocks
from populace.store.journal.recording import OpenPast, Recording
from populace.store.remote.lease import fence_of

POLL_S: Final = 0.02
"""How often a gateway that winds down is asked whether a call is still in flight."""
GRACE_S: Final = 3.0
"""How long calls in flight may take to end when a signal ends the run, or when it goes back after a loss."""


class WorldDoor(Protocol):
    """How a shard reaches the environment service; replies are packed (`kernel.packing` reads them)."""

    @property
    def far(self) -> bool:
        """Whether a reply takes its time, as from another process: turns are taken meanwhile."""

    async def observe(self, agents: NDArray[np.int32]) -> bytes:
        """What each of these agents sees."""

    async def observe_columns(self, agents: NDArray[np.int32]) -> Shown:
        """What these agents see, as columns, which cannot be written to."""

    async def look(self, looks: Sequence[Look]) -> bytes:
        """The replies to these looks."""

    async def attend(self, shard: int, tick: int, due: NDArray[np.int32]) -> NDArray[np.int32]:
        """Say who of a shard takes a turn in a tick in which rounds are held; gives those that are in any group."""

    async def tell(self, shard: int, tick: int, said: Sequence[Contribution], left: Sequence[int]) -> list[Heard]:
        """Hand over contributions to rounds, and whose turns have ended; gives what members on the shard have heard."""

    async def hear(self, shard: int, tick: int) -> News:
        """Wait until there is news for the shard, and give it; none once the tick is closed."""

    async def claim(self, shard: int, tick: int, claims: Sequence[Claim]) -> list[tuple[int, int]]:
        """Say what agents of a shard want asked together; gives what the shard has to ask itself."""

    async def tell_answers(self, tick: int, answers: Sequence[Answer]) -> None:
        """Tell what such asks were answered, which agents on other shards may wait for."""


class Peers(Protocol):
    """How a shard reaches the others."""

    gap_s: float
    """How long it waits between two calls to the same one: what is told meanwhile goes together."""

    async def tell(self, shard: int, notices: list[Notice]) -> None:
        """Hand another shard these notices. Raises TransportError."""


def build_host(
    job: Job,
    index: int,
    part: ShardPart,
    world: WorldDoor,
    link: Link | None,
    pasts: Sequence[OpenPast],
    forms: EndpointForms,
) -> ShardHost:
    """Shard `index` of a job with all that it stands on: the model's gateway, the journal, the shard's own machine.

    `link` leads to the run's account, where anything is limited; `pasts` are the journals to look answers up in;
    `forms` is what is known of the endpoints, and is added to. Raises ScenarioError, ModelError, StorageError.
    """
    stack = build_stack(job, job.read_settings(), index, link, pasts, forms)
    meter = Meter(index, stack) if job.read_settings().is_measured else None
    return ShardHost(build_shard(job, index, part), stack, world, meter)


def build_stack(
    job: Job,
    settings: Settings,
    index: int,
    link: Link | None,
    pasts: Sequence[OpenPast],
    forms: EndpointForms,
) -> Recording:
    """The model stack of shard `index`, its journal outermost. `settings` are the job's, or a share of their own."""
    gateway: Gateway | None = None
    fence = None if job.replay else fence_of(job.lease)
    if not job.replay:
        society = job.society()
        gateway = build_gateway(
            settings,
            scripted=society.scripted,
            rules=society.rules,
            base_url=job.base_url,
            link=link,
            shard=index,
            attempt=job.attempt,
            forms=forms,
            fence=fence,
            batches=job_batches(job, index),
        )
    return Recording(gateway, job_journal(job, index), pasts, fence)


async def let_end(gateway: Gateway, grace_s: float) -> None:
    """Begin no further call, let those in flight end, which are paid for, and break off what takes longer."""
    gateway.wind_down()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(grace_s):
            while gateway.pressure().in_flight:  # noqa: ASYNC110 - a gateway tells no more
                await asyncio.sleep(POLL_S)
    gateway.abort()


class ShardHost:
    """A shard, its gateway to the model and its door to the world."""

    def __init__(self, shard: Shard, gateway: Recording, world: WorldDoor, meter: Meter | None = None) -> None:
        self.shard = shard
        self.gateway = gateway
        self.meter = meter
        self._world = world
        self._observe_s = 0.0
        self._answers: list[Answer] = []
        self._asked: list[list[Ask]] = []
        self._arrived = asyncio.Event()
        self._heard: list[Heard] = []
        self._listening: asyncio.Task[News] | None = None
        self._looking: dict[int, asyncio.Task[bytes]] = {}
        """Looks that the world has yet to answer, by batch."""
        self._abandoned = False
        self._wound_down = False
        self._left: deque[Effect] = deque()
        """What is still to be carried out for ticks that are not open yet."""
        self.peers: Peers | None = None
        self._notices: list[Notice] = []
        """What has come from other shards."""
        self._untold: dict[int, list[Notice]] = {}
        self._telling: dict[int, asyncio.Task[None]] = {}
        self._between: asyncio.Task[TickDone | None] | None = None
        """Goes on with ticks that are not open yet, while none is."""
        self._opening = False
        self.begun = asyncio.Event()
        """The turns of the open tick wait for something, or have ended: for now there is nothing to do."""

    async def run_tick(self, tick: int, envelope: Envelope) -> TickDone:
        """Run one tick to its end; the envelope's parcels are frames.

        Raises ModelError when the model refuses for good, and Interrupted when the run ends meanwhile.
        """
        self.begun.clear()
        await self.stand_still()
        if self.shard.ahead is None:
            self._answers.clear()
            self._asked.clear()
        else:
            self._asked = [asks for asks in self._asked if asks[0].tick >= tick]
        self._heard.clear()
        self.gateway.mark(tick)
        if self.meter is not None:
            self.meter.begin()
        began_s, self._observe_s = time.perf_counter(), 0.0
        try:
            todo, self._left = self._left, deque()
            todo.extend(self.shard.handle(OpenTick(tick, envelope)))
            done = await self._drive(tick, todo)
            assert done is not None
            if self.meter is not None:
                done.counts.traffic = self.meter.take_traffic()
                self.meter.ticked(time.perf_counter() - began_s, self._observe_s)
                done = msgspec.structs.replace(done, vitals=self.meter.read())
            self.go_on()
            return done
        finally:
            self.begun.set()
            if self.shard.ahead is None:
                self._stop_listening()
            for looking in self._looking.values():
                looking.cancel()
            self._looking.clear()

    async def stand_still(self) -> None:
        """Between two ticks, begin nothing until `go_on`. Raises what ended the turns of ticks that are not open."""
        between, self._between = self._between, None
        if between is not None:
            self._opening = True
            self._arrived.set()
            try:
                await between
            finally:
                self._opening = False

    def go_on(self) -> None:
        """Between two ticks, go on with turns of ticks that are not open yet."""
        if self.shard.ahead is not None and not self._abandoned and self._between is None:
            todo, self._left = self._left, deque()
            self._between = asyncio.create_task(self._drive(self.shard.tick, todo, between=True), name="populace ahead")

    async def _drive(self, tick: int, todo: deque[Effect], *, between: bool = False) -> TickDone | None:
        """Carry out what is to be done and what follows from it until the tick ends, or another one is to be opened."""
        index = self.shard.plan.index
        while True:
            while todo:
                if between and self._ends(between):
                    self._left = todo
                    return None
                match todo.popleft():
                    case TickDone() as done:
                        self._left = todo
                        done.counts.saved_calls, done.counts.saved_usd = self.gateway.take_saved()
                        return done
                    case AskModel(asks):
                        self._asked.append(asks)
                        if asks[0].tick > tick:
                            self.gateway.mark(asks[0].tick, early=True)
                        self.gateway.offer(asks, self._deliver)
                    case LookWorld(batch, looks) if self._world.far and self.shard.ahead is None:
                        self._look(batch, looks)
                    case LookWorld(batch, looks):
                        reply = await self._world.look(looks)
                        if self._abandoned:
                            continue
                        todo.extend(self.shard.handle(Looked(batch, read_values(reply))))
                    case Observe(agents):
                        asked_s = time.perf_counter()
                        reply = await self._world.observe(agents)
                        self._observe_s += time.perf_counter() - asked_s
                        todo.extend(self.shard.handle(Seen(read_seen(reply))))
                    case ObserveColumns(agents):
                        asked_s = time.perf_counter()
                        shown = await self._world.observe_columns(agents)
                        self._observe_s += time.perf_counter() - asked_s
                        todo.extend(self.shard.handle(SeenColumns(shown)))
                    case Attend(agents):
                        members = await self._world.attend(index, tick, agents)
                        todo.extend(self.shard.handle(Attended(members)))
                    case TellRounds(said, left):
                        self._heard += await self._world.tell(index, tick, said, left)
                    case TellShards(notices):
                        self._tell(notices)
                    case Proceed() as proceed:
                        if self._asked or self._looking:
                            await asyncio.sleep(0)  # calls go out while further turns begin
                            if self._abandoned:
                                continue
                        todo.extend(self.shard.handle(proceed))
                    case ClaimAsks(claims, of_tick):
                        mine = await self._world.claim(index, of_tick, claims)
                        if self._abandoned:
                            continue
                        of = [(one.agent, one.nth) for one in claims]
                        todo.extend(self.shard.handle(Claimed(mine, of, of_tick)))
                    case TellAnswers(answers):
                        await self._world.tell_answers(answers[0].tick, answers)
                if self._has_news() and not self._abandoned:
                    todo.extend(self._take_answers())
            self._listen(tick)
            if self._has_news():
                await asyncio.sleep(0)
            elif not self._ends(between):
                self._arrived.clear()
                self.begun.set()
                await self._arrived.wait()
            if self._ends(between):
                if between:
                    return None
                raise Interrupted(f"shard {index}: tick {tick} was abandoned")
            todo.extend(self._take_answers())

    def settle(self, tick: int) -> Mapping[str, TableRows]:
        """Do what a tick that has ended has left to be done; its rows for tables. See `Shard.settle`."""
        if tick != self.shard.tick or self.shard.open is not None:
            raise StaleOrder(f"shard {self.shard.plan.index}: tick {tick} is to be settled, not {self.shard.tick}")
        return self.shard.settle()

    def _ends(self, between: bool) -> bool:
        """Whether nothing is to go on: the attempt is over, or, between two ticks, one is to be opened."""
        return self._abandoned or (between and self._opening)

    def hear(self, notices: Sequence[Notice]) -> None:
        """Take what another shard tells."""
        self._notices += notices
        self._arrived.set()

    def _tell(self, notices: Sequence[Notice]) -> None:
        """Have other shards told; while one is, what comes meanwhile waits, and goes together."""
        if self.peers is None:
            return
        for one in notices:
            self._untold.setdefault(one.destination, []).append(one)
            if one.destination not in self._telling:
                telling = self._tell_shard(self.peers, one.destination)
                self._telling[one.destination] = asyncio.create_task(telling, name="populace notices")

    async def _tell_shard(self, peers: Peers, shard: int) -> None:
        try:
            while (notices := self._untold.pop(shard, None)) and not self._abandoned:
                await peers.tell(shard, notices)
                await asyncio.sleep(peers.gap_s)
        except TransportError:  # whoever opens ticks there hears of it too, and what is lost here is known then
            self._untold.pop(shard, None)
        finally:
            del self._telling[shard]

    def _has_news(self) -> bool:
        """Whether answers have come, the replies to looks, or something of rounds or of other shards."""
        listening = self._listening is not None and self._listening.done()
        came = self._answers or self._heard or self._notices or listening
        return bool(came or any(task.done() for task in self._looking.values()))

    def _look(self, batch: int, looks: Sequence[Look]) -> None:
        """Put looks to the world, and go on with other turns."""
        self._looking[batch] = task = asyncio.create_task(self._world.look(looks), name="populace look")
        task.add_done_callback(lambda _: self._arrived.set())

    def _take_replies(self) -> list[Effect]:
        """Hand over the replies to looks that have come. Raises what became of the world."""
        effects: list[Effect] = []
        for batch in [batch for batch, task in self._looking.items() if task.done()]:
            effects += self.shard.handle(Looked(batch, read_values(self._looking.pop(batch).result())))
        return effects

    def _listen(self, tick: int) -> None:
        """Where turns wait in rounds, or for what another shard asks, have the news come."""
        waits_in = tick if self.shard.exchanging else self.shard.sharing
        if self._listening is None and waits_in is not None:
            hearing = self._world.hear(self.shard.plan.index, waits_in)
            self._listening = asyncio.create_task(hearing, name="populace news")
            self._listening.add_done_callback(lambda _: self._arrived.set())

    def _stop_listening(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            self._listening = None

    def _take_news(self) -> News:
        """What has come. Raises what became of whoever tells it."""
        answers: list[Answer] = []
        if self._listening is not None and self._listening.done():
            listening, self._listening = self._listening, None
            news = listening.result()
            self._heard += news.heard
            answers = news.answers
        heard, self._heard = self._heard, []
        return News(heard, answers)

    def abandon(self) -> None:
        """Let a tick that is still open end as Interrupted: this attempt is over."""
        self._abandoned = True
        self._stop_listening()
        self._arrived.set()

    async def wind_down(self, grace_s: float) -> None:
        """Begin no further call, and let those in flight end, which are paid for: their answers go on record.

        The tick that is open is abandoned. Calls that take longer than `grace_s` are broken off, and count as paid for.
        """
        self.abandon()
        self._wound_down = True
        await let_end(self.gateway, grace_s)

    async def close(self) -> None:
        """Close the gateway, once the calls in flight have had a little time to end."""
        if self.meter is not None:
            self.meter.close()
        if not self._wound_down:
            await self.wind_down(GRACE_S)
        with contextlib.suppress(Exception):  # nothing is to go on
            await self.stand_still()
        await self.gateway.close()

    def export(self, tick: int, *, whole: bool) -> tuple[ShardState, list[Position]]:
        """The shard's state before `tick`, which changes no more, and where the journal stands behind it."""
        return self.shard.export(whole=whole, tick=tick), self.gateway.positions(tick)

    def freeze(self, to: PieceWriter, tick: int, *, whole: bool) -> list[Position]:
        """The same, with the state taken aside for a piece of a generation. Raises StorageError."""
        state, positions = self.export(tick, whole=whole)
        to.take(tick, shard_blocks(state, whole=whole), whole=whole, live=False)  # columns are never changed in place
        return positions

    def sync(self) -> None:
        """Put the shard's journal on the disk. Raises StorageError."""
        self.gateway.sync()

    def end(self, envelope: Envelope, tick: int) -> RunDone:
        """Close the shard's books, a tick still open being abandoned. What was billed since `tick` began counts."""
        self.abandon()
        (done,) = self.shard.handle(EndRun(envelope, tick))
        assert isinstance(done, RunDone)
        asked = {(ask.agent, ask.tick, ask.nth): ask for asks in self._asked for ask in asks}
        for answer in self._answers:
            ask = asked[answer.agent, answer.tick, answer.nth]
            answer.model_role = ask.model_role
            done.counts.bill(answer, ask.purpose)
        self._answers = []
        return done

    def _deliver(self, answers: Sequence[Answer]) -> None:
        self._answers.extend(answers)
        self._arrived.set()

    def _take_answers(self) -> list[Effect]:
        if self.gateway.failure is not None:
            raise self.gateway.failure
        answers, self._answers = self._answers, []
        effects = self._take_replies() if self._looking else []
        if answers:
            effects += self.shard.handle(Answered(answers))
        if self._notices:
            notices, self._notices = self._notices, []
            effects += self.shard.handle(HeardShards(notices))
        news = self._take_news()
        if news.heard:
            effects += self.shard.handle(HeardRounds(news.heard))
        if news.answers:
            effects += self.shard.handle(HeardAnswers(news.answers))
        return effects
