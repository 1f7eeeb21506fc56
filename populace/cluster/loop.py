"""Drives one attempt of a run: carries out the barrier's effects over a transport, until all ticks are closed. A shell.

A run that ends early ends in order: no call is begun any more, those in flight are given a little time, since they are
paid for, what is committed is saved, and the books are closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from populace.cluster.controlled import Controlled
from populace.cluster.host import GRACE_S
from populace.cluster.saver import Saver
from populace.cluster.standing import Comparison, Standing, TickUnderWay
from populace.cluster.tabling import FailureNotes, failed_turns, most_often, record_expired, record_tick, tick_notes
from populace.cluster.transport import Transport
from populace.core.errors import (
    DiskFull,
    Diverged,
    Interrupted,
    ModelError,
    Moving,
    PopulaceError,
    RunFailed,
    ScenarioError,
    StorageError,
    TransportError,
)
from populace.core.records import Counts
from populace.kernel.barrier import (
    Abandon,
    Begin,
    Effect,
    End,
    Event,
    Finished,
    Open,
    Resolve,
    ShardEnded,
    TickClosed,
    WorldClosed,
)
from populace.kernel.events import RunDone
from populace.monitoring.report import Audience, Pulse, TickReport

PULSE_S: Final = 0.5
_LONG_GRACE_S: Final = 30.0
"""How long calls in flight may take to end when no signal, but the model, its budget or an error, ends the run."""
_SAVING_S: Final = 60.0
"""How long the last checkpoint may take: the shards have answered just before."""
_CLOSING_S: Final = 3.0
"""How long the world may take to close a tick, and the shards to close their books, when the run ends early."""


class TickLoop:
    """The ticks of one attempt.

    `closed` is called at each edge; `probe` is awaited before each tick and after the last. `saver` takes the run's
    state where it is due, and once more where the run ends early; `failed_turns` is the share of turns that may fail.
    `controlled` does before each tick what is asked of the run in its folder. `movable` is what would stand better
    elsewhere.
    """

    def __init__(
        self,
        standing: Standing,
        transport: Transport,
        audience: Audience,
        *,
        comparison: Comparison,
        failed_turns: float,
        closed: Callable[[], None],
        saver: Saver,
        movable: Callable[[], Sequence[str]] = list,
        tick_seconds: float = 0.0,
        probe: Callable[[int], Coroutine[Any, Any, None]] | None = None,
        controlled: Controlled | None = None,
    ) -> None:
        self._standing = standing
        self._transport = transport
        self._audience = audience
        self._comparison = comparison
        self._failed_turns = failed_turns
        self._at_edge = closed
        self._saver = saver
        self._movable = movable
        self._tick_seconds = tick_seconds
        self._probe = probe
        self._controlled = controlled
        self._checkpoint_s: float | None = None
        self._events: asyncio.Queue[Event | Exception] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._hurry = asyncio.Event()
        self._done = TickUnderWay(standing.barrier.shards)
        self._failed = FailureNotes()
        self._recording: asyncio.Future[None] | None = None
        self._to_record: Callable[[], None] | None = None
        """Puts the rows of the tick that was committed last into tables: while the next one's turns are taken."""
        self._later: asyncio.Task[None] | None = None
        self._asked = False
        """Whether turns of the tick that was committed last asked the model."""
        self._waited_s = 0.0
        self._ended: list[RunDone] = []
        self._winding: asyncio.Future[Counts | None] | None = None

    def stop(self, why: PopulaceError) -> None:
        """End the attempt: the tick that is open is abandoned."""
        self._hurry.set()
        self._events.put_nowait(why)

    async def run(self) -> None:
        """Run to the end. Raises what ended the attempt early, Moving among it."""
        pulse = asyncio.create_task(self._pulse())
        try:
            await self._all_ticks()
        except Exception as error:
            await self._let_calls_end(error)
            raise
        finally:
            pulse.cancel()
            if self._later is not None:
                self._later.cancel()
            with contextlib.suppress(PopulaceError):  # what ends the run is told already, or is this
                await self._recorded()
            self._cancel_tasks()

    async def _all_ticks(self) -> None:
        barrier = self._standing.barrier
        todo: deque[Effect] = deque(barrier.handle(Begin()))
        failure: Exception | None = None
        await self._probe_at_edge(barrier.tick)
        if (failure := await self._obey()) is not None:
            todo = await self._wind_up(failure)
        while True:
            while todo:
                effect = todo.popleft()
                if isinstance(effect, Finished):
                    await self._recorded()
                    if failure is None:
                        await self._in_time(self._saver.settled())
                    record_expired(self._standing.tables, self._ended)
                    self._tick_report(barrier.tick, effect.counts, again=True)
                    if failure is not None:
                        raise failure
                    return
                if isinstance(effect, TickClosed):
                    await self._resolved()
                error = self._carry_out(effect)
                if error is not None and failure is None:
                    failure = error
                    todo = todo if barrier.ended else await self._wind_up(failure)
                elif isinstance(effect, TickClosed):
                    await self._probe_at_edge(barrier.tick)
                    self._saver.check()
                    moving = self._movable() if barrier.tick < barrier.ticks else []
                    if moving or self._saver.due(barrier.tick):
                        await self._recorded()  # which is told as `record`
                        began_s = time.perf_counter()
                        await self._save_at_edge(whole=bool(moving))
                        self._checkpoint_s = time.perf_counter() - began_s
                    if failure is None and (failure := await self._obey()) is not None:
                        todo = await self._wind_up(failure)
                    elif moving and failure is None:
                        raise Moving(moving)
            self._record_later()
            event = await self._next(failure)
            if not isinstance(event, Exception):
                todo.extend(barrier.handle(event))
            elif failure is None and isinstance(event, Interrupted | RunFailed | ModelError):
                failure = event
                todo = todo if barrier.ended else await self._wind_up(failure)
            elif failure is not None and isinstance(event, Interrupted | ModelError):
                continue  # several shards reach one ceiling; the first that said so has ended the run
            else:
                raise failure or event

    async def _probe_at_edge(self, tick: int) -> None:
        """Let probes look at the run before `tick`; given up once a signal ends it, since they change nothing of it."""
        if self._probe is None or self._hurry.is_set():
            return
        await self._recorded()
        probing = asyncio.ensure_future(self._probe(tick))
        hurry = asyncio.create_task(self._hurry.wait())
        try:
            await asyncio.wait([probing, hurry], return_when=asyncio.FIRST_COMPLETED)
            if probing.done():
                probing.result()
        finally:
            hurry.cancel()
            if not probing.done():
                probing.cancel()
                await asyncio.wait([probing], timeout=2 * _CLOSING_S)

    async def _obey(self) -> Exception | None:
        """Do what is asked of the run before its next tick; what ends it there."""
        barrier = self._standing.barrier
        if self._controlled is None or barrier.ended or self._hurry.is_set():
            return None
        stopped = await self._controlled.at_edge(barrier.tick, self._hurry, partial(self._save_at_edge, whole=True))
        if stopped is None and self._hurry.is_set():  # a signal came while it was paused: no tick is opened any more
            return await self._why()
        return stopped

    async def _save_at_edge(self, *, whole: bool) -> None:
        """Save, behind the next tick unless it is to be `whole` first."""
        await self._recorded()
        await self._in_time(self._save(Counts(), whole=whole))

    async def _in_time(self, work: Coroutine[Any, Any, None]) -> None:
        """Wait for a save; once a signal ends the run it may take little more, as whoever is asked may never answer."""
        saving = asyncio.ensure_future(work)
        hurry = asyncio.create_task(self._hurry.wait())
        try:
            await asyncio.wait([saving, hurry], return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait([saving], timeout=2 * _CLOSING_S)
            if not saving.done():
                self._audience.note("what came since the last checkpoint is not in one: it takes too long")
                raise await self._why()
            saving.result()
        finally:
            hurry.cancel()
            saving.cancel()

    async def _save(self, unrecorded: Counts, *, whole: bool) -> None:
        await self._saver.save(self._standing, unrecorded)
        if whole:
            await self._saver.settled()

    async def _why(self) -> Exception:
        """What `stop` was told."""
        while not isinstance(event := await self._events.get(), Interrupted):
            pass
        return event

    async def _next(self, failure: Exception | None) -> Event | Exception:
        """What happens next; once the run is ending, what keeps it waiting for too long is given up."""
        if failure is None:
            return await self._events.get()
        try:
            async with asyncio.timeout(_CLOSING_S):
                return await self._events.get()
        except TimeoutError:
            raise failure from None

    async def _wind_up(self, failure: Exception) -> deque[Effect]:
        """End early: what is left to do once the calls in flight have ended and the last whole tick is saved."""
        await self._let_the_world_close()
        await self._recorded()
        self._cancel_tasks()
        self._winding = asyncio.ensure_future(
            self._wind_down(GRACE_S if isinstance(failure, Interrupted) else _LONG_GRACE_S)
        )
        unrecorded = await self._winding
        if unrecorded is None:
            self._audience.note("the shards do not answer: what came since the last checkpoint is not in one")
            raise failure
        self._standing.unrecorded = unrecorded
        try:
            if not isinstance(failure, Diverged):  # such a state is not one to go on from
                async with asyncio.timeout(_SAVING_S):
                    await self._save(unrecorded, whole=True)
        except (StorageError, TransportError, TimeoutError) as error:
            self._audience.note(f"what came since the last checkpoint is not in one: {error or 'it takes too long'}")
        return deque(self._standing.barrier.handle(Abandon()))

    async def _let_calls_end(self, error: Exception) -> None:
        """Where the society's code, a full disk or a bug ends the run: no state is to be saved; calls are paid for."""
        if isinstance(error, PopulaceError) and not isinstance(error, ScenarioError | DiskFull):
            return
        self._cancel_tasks()
        self._standing.unrecorded.add(await self._wind_down(_LONG_GRACE_S) or Counts())

    async def _let_the_world_close(self) -> None:
        """Where the world is closing the tick, that tick is whole: wait for it, and commit it."""
        closing = next((task for task in self._tasks if task.get_name() == "populace world"), None)
        if closing is None:
            return
        await asyncio.wait([closing], timeout=_CLOSING_S)
        while not self._events.empty():
            event = self._events.get_nowait()
            if isinstance(event, WorldClosed):
                for effect in self._standing.barrier.handle(event):
                    if isinstance(effect, TickClosed):
                        await self._resolved()
                        self._carry_out(effect)

    async def _wind_down(self, grace_s: float) -> Counts | None:
        """Have all shards end their calls; a signal meanwhile cuts their time. None where they do not answer."""
        winding = [asyncio.ensure_future(self._transport.wind_down(grace_s))]
        hurry = asyncio.create_task(self._hurry.wait())
        try:
            await asyncio.wait([*winding, hurry], timeout=grace_s + 1.0, return_when=asyncio.FIRST_COMPLETED)
            if hurry.done() and grace_s > GRACE_S:  # what is in flight is broken off, and counts, before it is given up
                winding.append(asyncio.ensure_future(self._transport.wind_down(GRACE_S)))
            await asyncio.wait(winding, timeout=GRACE_S + 1.0)
            told = [one.result() for one in winding if one.done()]
        except TransportError as error:
            self._audience.note(f"not every call in flight may be counted: {error}")
            return Counts()
        finally:
            hurry.cancel()
            for work in winding:
                work.cancel()
        if len(told) < len(winding):
            return None
        unrecorded = Counts()
        for one in told:
            unrecorded.add(one)
        return unrecorded

    def _cancel_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _carry_out(self, effect: Effect) -> PopulaceError | None:
        match effect:
            case Open():
                if effect.shard == 0:
                    self._done = TickUnderWay(self._standing.barrier.shards)
                self._spawn(self._open(effect))
            case Resolve():
                self._done.stage("turns")
                self._spawn(self._resolve(effect), "populace world")
            case TickClosed(tick, counts):
                return self._closed(tick, counts)
            case End():
                self._spawn(self._end(effect))
        return None

    def _spawn(self, work: Coroutine[Any, Any, None], name: str = "populace shard") -> None:
        async def guarded() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001  # it goes to the loop, which raises it
                self._events.put_nowait(error)
            except (KeyboardInterrupt, asyncio.CancelledError, GeneratorExit):
                raise
            except BaseException as error:  # noqa: BLE001  # of an author's: nobody may wait for what it has ended
                self._events.put_nowait(ScenarioError(f"{type(error).__name__}: {error}"))

        task = asyncio.create_task(guarded(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # it may have been cancelled before it began

    async def _open(self, order: Open) -> None:
        event, part = await self._transport.open_tick(order.shard, order.tick, order.envelope)
        done = self._done
        self._events.put_nowait(event)
        rows = await self._transport.settle(order.shard, order.tick)
        done.settled(msgspec.structs.replace(part, rows=rows))

    async def _resolve(self, order: Resolve) -> None:
        done, out = await self._transport.close_tick(order.tick, order.envelope)
        await self._done.whole.wait()
        self._done.world = done
        closed = WorldClosed(done.tick, done.digest, done.counts, out, done.sent, done.attempt, done.parts, done.edge)
        self._events.put_nowait(closed)

    async def _end(self, order: End) -> None:
        if self._standing.barrier.until is not None and not self._hurry.is_set():  # turns may have begun past the end
            if self._winding is None:
                self._winding = asyncio.ensure_future(self._wind_down(GRACE_S))
            await self._winding
        done = await self._transport.end(order.shard, order.envelope, order.tick)
        self._ended.append(done)
        self._events.put_nowait(ShardEnded(done.shard, done.counts, done.attempt))

    def _closed(self, tick: int, counts: Counts) -> PopulaceError | None:
        """Tell of a committed tick, have its rows put into tables soon, and say whether the run has failed."""
        barrier, done = self._standing.barrier, self._done
        assert done.world is not None
        parts = sorted(done.parts, key=lambda part: part.shard)
        self._to_record = partial(record_tick, self._standing.tables, tick, parts, done.world)
        self._asked = counts.asked > 0
        for text in tick_notes(tick, parts, done.world, self._failed):
            self._audience.note(text, private=True)
        for what in failed_turns(tick, parts):
            self._audience.happened(what)
        if (diverged := self._comparison.check(tick, barrier)) is not None:
            return diverged
        done.stages_s["record"], self._waited_s = self._waited_s, 0.0
        self._tick_report(tick + 1, counts)
        self._at_edge()
        total = barrier.total
        if total.turns_failed > self._failed_turns * total.turns:
            return RunFailed(
                f"{total.turns_failed} of {total.turns} turns failed by tick {tick}, more than limits.failed_turns = "
                f"{self._failed_turns:g} allows. {most_often(parts)}All are in failures.parquet in "
                f"{self._standing.out}."
            )
        return None

    async def _resolved(self) -> None:
        """The world has closed a tick: before it is told of, the rows of the one before it are in the tables."""
        self._done.stage("resolve")
        await self._recorded()

    def _record(self) -> None:
        """Begin to put the rows of the tick that was committed last into tables, in a thread."""
        if self._to_record is not None:
            record, self._to_record = self._to_record, None
            self._recording = asyncio.get_running_loop().run_in_executor(None, record)  # no task to cancel

    def _record_later(self) -> None:
        """Begin once the next tick's turns have begun, if such turns ask: calls would wait while the thread works."""
        if not self._asked:
            self._record()
        elif self._to_record is not None and (self._later is None or self._later.done()):
            self._later = asyncio.create_task(self._record_once_begun(), name="populace record")

    async def _record_once_begun(self) -> None:
        await self._transport.begun()
        self._record()

    async def _recorded(self) -> None:
        """Wait until the rows of all ticks that are committed are in the tables. Raises StorageError."""
        began_s = time.perf_counter()
        self._record()
        if (recording := self._recording) is not None:
            await asyncio.wait([recording])  # whoever is cancelled here cancels no thread at work
            self._recording = None
            self._waited_s += time.perf_counter() - began_s
            recording.result()

    def _tick_report(self, tick: int, counts: Counts, *, again: bool = False) -> None:
        """Tell of a tick; `again`: of the last one, whose stages were told."""
        standing, done = self._standing, self._done
        stages_s = {} if again else done.shard_stages()
        if self._checkpoint_s is not None:
            stages_s["checkpoint"], self._checkpoint_s = self._checkpoint_s, None
        report = TickReport(
            tick=tick,
            ticks=standing.barrier.planned,
            agents=standing.agents,
            counts=counts,
            total=standing.barrier.total,
            stages_s=stages_s,
            outcomes=done.world.outcomes if done.world else {},
            wall_s=standing.wall_s(),
            rows=[one.rows for one in (*done.parts, done.world) if one is not None],
            vitals=[one.vitals for one in (*done.parts, done.world) if one is not None and one.vitals is not None],
            upkeep=self._saver.upkeep.copy(),
            tick_seconds=self._tick_seconds,
        )
        self._audience.tick(report)

    async def _pulse(self) -> None:
        standing = self._standing
        while True:
            await asyncio.sleep(PULSE_S)
            with contextlib.suppress(PopulaceError):
                progress = await self._transport.progress()
                self._audience.pulse(
                    Pulse(
                        standing.barrier.tick,
                        progress.turns_due,
                        progress.turns_done,
                        progress.asks_waiting,
                        progress.asks_in_flight,
                        standing.wall_s(),
                        progress.vitals,
                        self._saver.upkeep.copy(),
                        progress.batches,
                    )
                )
