"""The coordinator: carries out the barrier's effects over a transport, saves the run, tells the observers. A shell.

It owns the run's clock and its stop: Ctrl-C abandons the tick that is open, and everything committed is saved. A lost
shard or world is made anew: the whole run goes back to its newest checkpoint, under a higher attempt number, and what
came after it is recomputed from the journal. A shard that is lost three times ends the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from populace.agents.society import Society
from populace.budget.amounts import NOTHING
from populace.budget.ledger import Booking, reserve
from populace.cluster.closing import barrier_at, ended, facts, former_manifest, going_on, keep_former, spent_by
from populace.cluster.job import Job, lever_notes, plan_job
from populace.cluster.tabling import record_expired, record_opening, record_tick
from populace.cluster.transport import Transport
from populace.cluster.uploads import Uploads
from populace.core.errors import (
    ActorLost,
    Diverged,
    Interrupted,
    ModelError,
    PopulaceError,
    RunFailed,
    StorageError,
    WorldDiverged,
)
from populace.core.records import Counts
from populace.data.societies import Origin
from populace.interventions.at_work import summarize
from populace.kernel.barrier import (
    Abandon,
    Barrier,
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
from populace.kernel.environment import WorldDone
from populace.kernel.events import RunDone, TickDone
from populace.kernel.snapshot import RunState, join_mail, join_shards
from populace.models.embedded.host import ModelHost
from populace.monitoring.report import Observer, Pulse, TickReport
from populace.settings import Settings
from populace.store.folder import Course, Store, fresh_course, write_run_file
from populace.store.journal.recording import cost_of, spent_in
from populace.store.manifest import peak_rss_mb, versions, write_manifest
from populace.store.remote.mirror import Mirror
from populace.store.tables.tables import Tables, agents_touched

PULSE_S: Final = 0.5
DEATHS: Final = 3
"""How often one shard, or the world, may be lost before the run ends."""


class Coordinator:
    """One run of a society, from its first tick (or its newest checkpoint) to its manifest.

    `course` says what stands behind the run; without one it is a fresh run. Where the run's folder is a remote one,
    `out` is the folder here that `mirror` uploads.
    """

    def __init__(
        self,
        origin: Origin,
        settings: Settings,
        transport: Transport,
        out: Path,
        observers: Sequence[Observer] = (),
        course: Course | None = None,
        mirror: Mirror | None = None,
    ) -> None:
        self.origin = origin
        self.settings = settings
        self.out = out
        self.course = fresh_course(origin, settings) if course is None else course
        keeps = settings.journal != "off" and not self.course.replay
        remote = None if mirror is None else mirror.remote
        file = self.course.file
        self._store = Store(out.resolve(), file.run, settings, remote, file.salvaged) if keeps else None
        self._uploads = Uploads(mirror, transport, self._note)
        self._attempt = 0
        self._began_at_tick = 0
        self._lost: list[str] = []
        self.world_diverged: WorldDiverged | None = None
        """Where the world's state was first another than on record."""
        self._lever_notes: list[str] = []
        self._wall_before_s = 0.0
        self._stopping = False
        self._transport = transport
        self._observers = observers
        self._former: dict[str, Any] = {}
        self._job: Job | None = None
        self._barrier: Barrier | None = None
        self._tables: Tables | None = None
        self._events: asyncio.Queue[Event | Exception] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()
        self._parts: list[TickDone] = []
        self._ended: list[RunDone] = []
        self._world: WorldDone | None = None
        self._stages_s: dict[str, float] = {}
        self._stage_began_s = 0.0
        self._began_s = 0.0
        self._peak_rss_mb = 0.0

    def stop(self) -> None:
        """Abandon the tick that is open and end the run (`Interrupted`). Call it in the loop's thread."""
        self._stopping = True
        self._events.put_nowait(Interrupted("the run was interrupted; everything up to the last whole tick is saved"))

    async def run(self) -> dict[str, Any]:
        """Run to the end and give the manifest, which is written too, with the tables, whatever happens.

        Raises what ended the run early: Interrupted, RunFailed, ModelError (BudgetSpent among them), TransportError,
        ScenarioError.
        """
        self._began_s = time.perf_counter()
        job = plan_job(
            self.origin, self.settings, whole=not self.course.replay, trace_version=self.course.file.trace_version
        )
        society = job.society()
        self.out.mkdir(parents=True, exist_ok=True)
        if not self.course.replay:
            write_run_file(self.out, self.course.file)
        if self.course.resumed:
            self._former = former_manifest(self.out, self.course.file.run)
        await self._uploads.begin()
        host = ModelHost(self.settings, self._fetching(asyncio.get_running_loop()))
        failure: PopulaceError | None = None
        manifest: dict[str, Any] = {}
        booking = Booking(self.settings)
        try:
            store = self._store
            state = store.latest() if store is not None and self.course.resumed else None
            self._barrier = barrier_at(state, self.settings.shards, job.ticks)
            model = self.settings.model.label
            for observer in self._observers:
                observer.begin(society.name, job.agents, job.ticks, self.settings.shards, model)
            if not self.course.replay:
                self._lever_notes = lever_notes(job)
                for note in self._lever_notes:
                    self._note(note)
                booking = await asyncio.to_thread(reserve, self.settings, self.course.file.run, self.out)
            base_url = None if self.course.replay else await host.open()
            bounded = booking.settings.model_dump_json()
            spent = booking.spent.at_least(spent_by(self._former))
            self._job = msgspec.structs.replace(
                job, run=self.course.file.run, settings=bounded, base_url=base_url, spent=spent
            )
            await self._live_on(society, state)
        except PopulaceError as error:
            failure = booking.explained(error)
        except asyncio.CancelledError:
            failure = Interrupted("the run was cancelled; everything up to the last whole tick is saved")
        except BaseException as error:
            failure = RunFailed(f"{type(error).__name__}: {error}")
            raise
        finally:
            with contextlib.suppress(PopulaceError):
                self._peak_rss_mb = peak_rss_mb()
            try:
                await self._uploads.before_close()
                manifest, failure = self._close(society, failure)
            finally:
                try:
                    await self._transport.close()
                    await asyncio.to_thread(booking.settle, self._transport.spent)
                finally:
                    await host.close()
        try:
            await self._uploads.last()
        except StorageError as error:
            if failure is None:
                failure = error
            else:
                failure.add_note(str(error))
        if failure is not None:
            raise failure
        return manifest

    async def _live_on(self, society: Society, state: RunState | None) -> None:
        """Run to the end, through losses."""
        store = self._store
        deaths: Counter[str] = Counter()
        while True:
            try:
                await self._live(society, state)
            except ActorLost as lost:
                deaths.update(lost.names)
                self._lost.append(str(lost))
                if store is None or self._stopping:
                    raise
                if max(deaths.values()) >= DEATHS:
                    raise ActorLost(
                        lost.names, f"{lost.story}. It is the third time: look at what stands before each loss:\n"
                        + "\n".join(self._lost)
                    ) from lost
                await self._uploads.recover()
                if self._tables is not None:
                    self._tables.abandon()
                state = store.latest()
                self._note(f"{lost}; going back to tick {state.tick if state else 0}")
            else:
                return

    async def _live(self, society: Society, state: RunState | None) -> None:
        """One attempt: build everything, take up the state, run to the end."""
        assert self._job is not None
        store, job = self._store, self._job
        first = 0 if state is None else state.tick
        pasts = list(self.course.pasts)
        spent = NOTHING if state is None else cost_of(state.total)
        if store is not None:
            for why in store.skipped:
                self._note(f"a checkpoint is not good: {why}")
            self._attempt = store.next_attempt()
            if self._attempt:
                past = store.past(state, self._attempt)
                pasts.insert(0, past)
                if self.settings.budget.is_bounded:
                    spent += await asyncio.to_thread(spent_in, past, first)  # a state's total has the ticks before
            spent = spent.at_least(job.spent)
            job = msgspec.structs.replace(
                job, run=self.course.file.run, attempt=self._attempt, journal=store.journal_place, spent=spent
            )
        job = msgspec.structs.replace(job, pasts=pasts, eras=self.course.file.eras, replay=self.course.replay)
        self._began_at_tick = first
        self._wall_before_s = 0.0 if state is None else state.wall_s
        self._began_s = time.perf_counter()
        self._events = asyncio.Queue()
        self._ended = []
        barrier = Barrier(self.settings.shards, job.ticks, first, self._attempt)
        opened = await self._transport.start(job)
        if self._attempt:
            self._note(going_on(first, opened.on_record))
        self._tables = Tables(self.out, society.fields, self.settings.record, parts=0 if state is None else state.parts)
        if state is None:
            record_opening(self._tables, job.agents, opened)
        else:
            mail, waiting = await self._transport.restore(state)
            barrier.restore(state.hashes, state.total, mail, waiting, state.world_hashes)
        self._barrier = barrier  # until here the one of the life before says how far the run came
        if self._stopping:
            self.stop()
        await self._drive()

    async def _save(self) -> None:
        """Save the run at the edge where it stands."""
        assert self._store is not None
        assert self._barrier is not None
        assert self._tables is not None
        await self._uploads.settled()
        barrier, whole = self._barrier, self._store.whole
        shards, world, positions = await self._transport.export(whole)
        frames = await self._transport.collect([parcel for box in barrier.mail.values() for parcel in box])
        agents, timer_ticks, timer_agents = join_shards(shards)
        state = RunState(
            tick=barrier.tick,
            agents=agents,
            whole=whole,
            timer_ticks=timer_ticks,
            timer_agents=timer_agents,
            mail=join_mail(barrier.tick - 1, frames),
            world=world,
            total=barrier.total,
            hashes=barrier.trace.ticks,
            world_hashes=barrier.world_trace.record,
            positions=positions,
            parts=self._tables.cut(),
            rows=self._tables.rows,
            wall_s=self._wall_s(),
        )
        await asyncio.to_thread(self._store.save, state)
        self._uploads.start()

    def _wall_s(self) -> float:
        """Seconds that the run has taken, with those before it was taken up."""
        return self._wall_before_s + time.perf_counter() - self._began_s

    async def _drive(self) -> None:
        barrier = self._barrier
        assert barrier is not None
        pulse = asyncio.create_task(self._pulse())
        todo: deque[Effect] = deque(barrier.handle(Begin()))
        failure: Exception | None = None
        try:
            while True:
                while todo:
                    effect = todo.popleft()
                    if isinstance(effect, Finished):
                        if self._tables is not None:
                            record_expired(self._tables, self._ended)
                        self._tick_report(barrier.tick, effect.counts)
                        if failure is not None:
                            raise failure
                        return
                    error = self._carry_out(effect)
                    if error is not None and failure is None:
                        failure = error
                        todo = self._abandon()
                    elif isinstance(effect, TickClosed) and self._store is not None and self._store.due(barrier.tick):
                        await self._save()
                        self._stage("checkpoint")
                event = await self._events.get()
                if not isinstance(event, Exception):
                    todo.extend(barrier.handle(event))
                elif failure is None and isinstance(event, Interrupted | RunFailed | ModelError):
                    failure = event
                    todo = self._abandon()
                elif failure is not None and isinstance(event, Interrupted | ModelError):
                    continue  # several shards reach one ceiling; the first that said so has ended the run
                else:
                    raise failure or event
        finally:
            pulse.cancel()
            self._cancel_tasks()

    def _abandon(self) -> deque[Effect]:
        self._cancel_tasks()
        assert self._barrier is not None
        return deque(self._barrier.handle(Abandon()))

    def _cancel_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _carry_out(self, effect: Effect) -> PopulaceError | None:
        match effect:
            case Open():
                if effect.shard == 0:
                    self._parts, self._stages_s = [], {}
                    self._stage_began_s = time.perf_counter()
                self._spawn(self._open(effect))
            case Resolve():
                self._stage("turns")
                self._spawn(self._resolve(effect))
            case TickClosed(tick, counts):
                self._stage("resolve")
                return self._closed(tick, counts)
            case End():
                self._spawn(self._end(effect))
        return None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        async def guarded() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001  # it goes to the driver loop, which raises it
                self._events.put_nowait(error)

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # it may have been cancelled before it began

    async def _open(self, order: Open) -> None:
        event, part = await self._transport.open_tick(order.shard, order.tick, order.envelope)
        self._parts.append(part)
        self._events.put_nowait(event)

    async def _resolve(self, order: Resolve) -> None:
        done, out = await self._transport.close_tick(order.tick, order.envelope)
        self._world = done
        self._events.put_nowait(
            WorldClosed(done.tick, done.digest, done.counts, out, done.sent, done.attempt, done.parts)
        )

    async def _end(self, order: End) -> None:
        done: RunDone = await self._transport.end(order.shard, order.envelope)
        self._ended.append(done)
        self._events.put_nowait(ShardEnded(done.shard, done.counts, done.attempt))

    def _stage(self, name: str) -> None:
        now = time.perf_counter()
        self._stages_s[name] = now - self._stage_began_s
        self._stage_began_s = now

    def _closed(self, tick: int, counts: Counts) -> PopulaceError | None:
        """Record a committed tick, tell of it, and say whether the run has failed."""
        assert self._tables is not None
        assert self._world is not None
        assert self._barrier is not None
        parts = sorted(self._parts, key=lambda part: part.shard)
        record_tick(self._tables, tick, parts, self._world, self._note)
        self._compare_world(tick)
        expected = self.course.expected
        if tick < len(expected) and self._barrier.trace.hash != expected[tick]:  # its rows are there to be compared
            raise Diverged(tick, expected[tick], self._barrier.trace.hash)
        self._stage("record")
        self._tick_report(tick + 1, counts)
        total, limit = self._barrier.total, self.settings.limits.failed_turns
        if total.turns_failed > limit * total.turns:
            return RunFailed(
                f"{total.turns_failed} of {total.turns} turns failed by tick {tick}, more than limits.failed_turns = "
                f"{limit:g} allows. See failures.parquet in {self.out}."
            )
        return None

    def _compare_world(self, tick: int) -> None:
        """Find the first tick after which the world's state is another than on record. That ends no run."""
        assert self._barrier is not None
        expected, found = self.course.expected_world, self._barrier.world_trace.record
        past = tick < min(len(expected.hashes), len(found.hashes))
        if self.world_diverged is None and past and found.hashes[tick] != expected.hashes[tick]:
            parts = found.parts_other(expected, tick)
            self.world_diverged = WorldDiverged(tick, expected.hashes[tick], found.hashes[tick], parts)
            if not self.course.replay:
                self._note(str(self.world_diverged))

    def _note(self, text: str) -> None:
        for observer in self._observers:
            observer.note(text)

    def _fetching(self, loop: asyncio.AbstractEventLoop) -> Callable[[str, int, int], None]:
        """What tells of a download, from any thread: a note each tenth of the way."""
        told: set[str] = set()

        def tell(what: str, done: int, total: int) -> None:
            text = f"{what}: {10 * (10 * done // total) if total else 0} % of {total / 1e6:.0f} MB"
            if text not in told:
                told.add(text)
                loop.call_soon_threadsafe(self._note, text)

        return tell

    def _tick_report(self, tick: int, counts: Counts) -> None:
        assert self._job is not None
        assert self._barrier is not None
        report = TickReport(
            tick=tick,
            ticks=self._job.ticks,
            agents=self._job.agents,
            counts=counts,
            total=self._barrier.total,
            stages_s=dict(self._stages_s),
            outcomes=self._world.outcomes if self._world else {},
            wall_s=self._wall_s(),
            asks=[part.rows["asks"] for part in self._parts if "asks" in part.rows],
        )
        for observer in self._observers:
            observer.tick(report)

    async def _pulse(self) -> None:
        assert self._barrier is not None
        while True:
            await asyncio.sleep(PULSE_S)
            try:
                progress = await self._transport.progress()
            except PopulaceError:
                return
            pulse = Pulse(
                self._barrier.tick,
                progress.turns_due,
                progress.turns_done,
                progress.asks_waiting,
                progress.asks_in_flight,
                self._wall_s(),
            )
            for observer in self._observers:
                observer.pulse(pulse)

    def _close(
        self, society: Society, failure: PopulaceError | None
    ) -> tuple[dict[str, Any], PopulaceError | None]:
        """Finish the tables, then the manifest, then let go of what a complete run needs no more.

        Whatever moment this ends at, the run is complete by its manifest or can be resumed. Gives the manifest, and
        what has failed: the run, or else what is done here.
        """
        barrier = self._barrier or Barrier(self.settings.shards, 0)
        if self._tables is not None:
            try:
                self._tables.close(complete=failure is None)
            except PopulaceError as error:
                failure = failure or error
        manifest: dict[str, Any] = {
            **ended(failure),
            **facts(society, self.settings, barrier),
            "origin": self.origin.name,
            "versions": versions(),
            "agents": self._job.agents if self._job else 0,
            "wall_s": round(self._wall_s(), 3),
            "peak_rss_mb": self._peak_rss_mb,
            "run": self.course.file.run,
            "trace_version": self.course.file.trace_version,
            "attempt": self._attempt,
            "began_at_tick": self._began_at_tick,
            "lost": self._lost,
            "parent": msgspec.to_builtins(self.course.file.parent),
        }
        if self._tables is not None:
            levers = summarize(self.settings.levers, agents_touched(self.out))
            manifest |= {"levers": levers, "lever_notes": self._lever_notes}
        manifest = keep_former(manifest, self._former)
        try:
            write_manifest(self.out, manifest)
        except PopulaceError as error:
            failure = failure or error
            manifest |= ended(failure)
        if failure is None:
            if self._store is not None:
                self._store.discard()
            if self._tables is not None:
                self._tables.forget()
        for observer in self._observers:
            observer.end(manifest["status"], manifest)
        return manifest, failure
