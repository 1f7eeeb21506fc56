"""The coordinator: carries out the barrier's effects over a transport, keeps the tables, tells the observers. A shell.

It owns the run's clock and its stop: Ctrl-C abandons the tick that is open, and everything committed is saved.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from populace.agents.llm.host import ModelHost
from populace.cluster.barrier import (
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
from populace.cluster.build import Job, plan_job
from populace.cluster.environment import WorldDone
from populace.cluster.events import RunDone, TickDone
from populace.cluster.transport import Transport
from populace.core.errors import BudgetSpent, Interrupted, ModelError, PopulaceError, RunFailed
from populace.core.records import Counts
from populace.monitoring.manifest import peak_rss_mb, redact, tally, versions, write_manifest
from populace.monitoring.report import Observer, Pulse, TickReport
from populace.monitoring.tables import Tables
from populace.settings import Settings
from populace.society import Origin, Society

PULSE_S: Final = 0.5
_NOTES_A_TICK: Final = 3


class Coordinator:
    """One run of a society, from its first tick to its manifest."""

    def __init__(
        self, origin: Origin, settings: Settings, transport: Transport, out: Path, observers: Sequence[Observer] = ()
    ) -> None:
        self.origin = origin
        self.settings = settings
        self.out = out
        self._transport = transport
        self._observers = observers
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
        self._events.put_nowait(Interrupted("the run was interrupted; everything up to the last whole tick is saved"))

    async def run(self) -> dict[str, Any]:
        """Run to the end and give the manifest, which is written too, with the tables, whatever happens.

        Raises what ended the run early: Interrupted, RunFailed, ModelError (BudgetSpent among them), TransportError,
        ScenarioError.
        """
        self._began_s = time.perf_counter()
        job = plan_job(self.origin, self.settings)
        society = job.society()
        self.out.mkdir(parents=True, exist_ok=True)
        host = ModelHost(self.settings.model, self._fetching(asyncio.get_running_loop()))
        failure: PopulaceError | None = None
        manifest: dict[str, Any] = {}
        try:
            self._barrier = Barrier(self.settings.shards, job.ticks)
            model = self.settings.model.label
            for observer in self._observers:
                observer.begin(society.name, job.agents, job.ticks, self.settings.shards, model)
            base_url = await host.open()
            job = self._job = msgspec.structs.replace(job, base_url=base_url)
            opened = await self._transport.start(job)
            self._tables = Tables(self.out, society.fields, self.settings.record)
            everyone = np.arange(job.agents, dtype=np.int32)
            self._record_agents(0, everyone, opened.fields)
            self._record_outcomes(0, opened.outcomes)
            await self._drive()
        except PopulaceError as error:
            failure = error
        except asyncio.CancelledError:
            failure = Interrupted("the run was cancelled; everything up to the last whole tick is saved")
        finally:
            with contextlib.suppress(PopulaceError):
                self._peak_rss_mb = peak_rss_mb()
            try:
                manifest = self._close(society, failure)
            finally:
                await self._transport.close()
                await host.close()
        if failure is not None:
            raise failure
        return manifest

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
                        self._record_expired()
                        self._tick_report(barrier.tick, effect.counts)
                        if failure is not None:
                            raise failure
                        return
                    error = self._carry_out(effect)
                    if error is not None and failure is None:
                        failure = error
                        todo = self._abandon()
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

    async def _open(self, order: Open) -> None:
        event, part = await self._transport.open_tick(
            order.shard, order.tick, order.parcels, order.expected, order.attempt
        )
        self._parts.append(part)
        self._events.put_nowait(event)

    async def _resolve(self, order: Resolve) -> None:
        done, out = await self._transport.close_tick(order.tick, order.parcels, order.expected, order.attempt)
        self._world = done
        self._events.put_nowait(WorldClosed(done.tick, done.digest, done.counts, out, done.sent, done.attempt))

    async def _end(self, order: End) -> None:
        done: RunDone = await self._transport.end(order.shard, order.parcels, order.expected, order.attempt)
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
        tables, world = self._tables, self._world
        parts = sorted(self._parts, key=lambda part: part.shard)
        for add, batches in (
            (tables.messages, [part.messages for part in parts if part.messages]),
            (tables.asks, [part.asks for part in parts if part.asks]),
        ):
            if batches:
                add(_stack(batches))
        self._record_agents(tick + 1, world.changed, world.fields)
        self._record_outcomes(tick + 1, world.outcomes)
        failures = [failure for part in parts for failure in part.failures]
        if failures:
            failures.sort(key=lambda failure: failure.agent)
            names = ("tick", "agent", "error", "story")
            rows = [(one.tick, one.agent, str(one), one.story) for one in failures]
            tables.failures(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
            for one in failures[:_NOTES_A_TICK]:
                self._note(f"a turn failed: {one}")
            if len(failures) > _NOTES_A_TICK:
                self._note(f"and {len(failures) - _NOTES_A_TICK} more in tick {tick}; see failures.parquet")
        self._stage("record")
        self._tick_report(tick + 1, counts)
        total, limit = self._barrier.total, self.settings.limits.failed_turns
        if total.turns_failed > limit * total.turns:
            return RunFailed(
                f"{total.turns_failed} of {total.turns} turns failed by tick {tick}, more than limits.failed_turns = "
                f"{limit:g} allows. See failures.parquet in {self.out}."
            )
        return None

    def _record_expired(self) -> None:
        batches = [done.messages for done in self._ended if done.messages]
        if batches and self._tables is not None:
            self._tables.messages(_stack(batches))

    def _record_agents(self, tick: int, agents: Any, fields: dict[str, list[Any]]) -> None:
        if fields and len(agents) and self._tables is not None:
            self._tables.agents({"tick": np.full(len(agents), tick, np.int32), "agent": agents, **fields})

    def _record_outcomes(self, tick: int, outcomes: dict[str, float]) -> None:
        if outcomes and self._tables is not None:
            names = list(outcomes)
            self._tables.outcomes({"tick": [tick] * len(names), "name": names, "value": list(outcomes.values())})

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
            wall_s=time.perf_counter() - self._began_s,
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
                time.perf_counter() - self._began_s,
            )
            for observer in self._observers:
                observer.pulse(pulse)

    def _close(self, society: Society, failure: PopulaceError | None) -> dict[str, Any]:
        match failure:
            case None:
                status = "complete"
            case BudgetSpent():
                status = "budget"
            case Interrupted():
                status = "interrupted"
            case _:
                status = "failed"
        barrier = self._barrier or Barrier(self.settings.shards, 0)
        manifest: dict[str, Any] = {
            "status": status,
            "error": str(failure) if failure else None,
            "trace_hash": barrier.trace.hash,
            "trace_hashes": barrier.trace.ticks,
            "scenario": society.name,
            "origin": self.origin.name,
            "settings": redact(self.settings.model_dump(mode="json")),
            "parameters": redact(_parameters(society, self.settings)),
            "seed": self.settings.seed,
            "model": self.settings.model.label,
            "versions": versions(),
            "agents": self._job.agents if self._job else 0,
            "ticks": barrier.tick,
            **tally(barrier.total),
            "wall_s": round(time.perf_counter() - self._began_s, 3),
            "peak_rss_mb": self._peak_rss_mb,
        }
        if self._tables is not None:
            self._tables.close(complete=failure is None)
        write_manifest(self.out, manifest)
        for observer in self._observers:
            observer.end(status, manifest)
        return manifest


def _parameters(society: Society, settings: Settings) -> Any:
    return msgspec.to_builtins(society.with_parameters(settings.society))


def _stack(batches: list[dict[str, Any]]) -> dict[str, Any]:
    """One batch from several with the same columns."""
    if len(batches) == 1:
        return batches[0]
    return {
        name: np.concatenate([batch[name] for batch in batches])
        if isinstance(batches[0][name], np.ndarray)
        else [value for batch in batches for value in batch[name]]
        for name in batches[0]
    }
