"""The coordinator: takes a run from its first tick, or its newest checkpoint, to its manifest. A shell.

A lost shard or world is made anew: the whole run goes back to its newest checkpoint, under a higher attempt number, and
what came after it is recomputed from the journal. A shard that is lost three times ends the run. Each attempt's ticks
are driven by `loop`, saved by `saver`; the run's end is written by `closing`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from populace.agents.probes import asking
from populace.agents.society import Society
from populace.budget.amounts import NOTHING
from populace.budget.ledger import Booking, reserve
from populace.cluster.closing import Closer, barrier_at, going_on
from populace.cluster.controlled import Controlled
from populace.cluster.early import ticks_ahead
from populace.cluster.host import GRACE_S
from populace.cluster.job import Job, lever_notes, plan_job
from populace.cluster.loop import TickLoop
from populace.cluster.saver import Saved, Saver
from populace.cluster.standing import Comparison, Standing
from populace.cluster.surveying import AtEdge, surveys_of
from populace.cluster.tabling import record_opening
from populace.cluster.transport import Transport
from populace.cluster.uploads import Uploads
from populace.core.errors import (
    ActorLost,
    Interrupted,
    Moving,
    PopulaceError,
    RunFailed,
    SettingsError,
    StorageError,
    TransportError,
    WorldDiverged,
)
from populace.core.records import Counts
from populace.data.societies import Origin
from populace.kernel.barrier import MOST_TICKS, Barrier
from populace.kernel.bus import Envelope
from populace.kernel.snapshot import Past, RunState
from populace.models.dialect import EndpointForm
from populace.models.embedded.host import ModelHost
from populace.monitoring.report import Audience, Happening, Observer
from populace.monitoring.summary import unset_role
from populace.settings import Settings
from populace.settings.minds import plain_minds, purpose_notes
from populace.store.folder import (
    Course,
    Store,
    fresh_course,
    read_endpoint_forms,
    write_endpoint_forms,
    write_run_file,
)
from populace.store.graft import take_over
from populace.store.journal.recording import billed_in, cost_of, spent_in
from populace.store.journal.write import Policy
from populace.store.manifest import peak_rss_mb
from populace.store.register import named_whole
from populace.store.remote.lease import fence_of
from populace.store.remote.mirror import Mirror
from populace.store.tables.tables import Tables
from populace.store.trust import remember

T = TypeVar("T")

_SILENT: Final = frozenset({100, 1_000, 10_000, 100_000, 1_000_000})
"""So many ticks without an interaction are told of, where interactions are to end the run."""
DEATHS: Final = 3
"""How often one shard, or the world, may be lost before the run ends."""

_SAVING_S: Final = 20.0
"""How long a checkpoint may take to become whole once its attempt is over."""

_STOPPED: Final = "the run was interrupted; everything up to the last whole tick is saved"


class Coordinator:
    """One run of a society, from its first tick (or its newest checkpoint) to its manifest.

    `course` says what stands behind the run; without one it is a fresh run. Where the run's folder is a remote one,
    `out` is the folder here that `mirror` uploads. `probe` looks at the run between ticks, in the place of the surveys
    that settings and society declare; a replay asks none of these.
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
        probe: AtEdge | None = None,
    ) -> None:
        self.origin = origin
        self.settings = settings
        self.out = out
        self.course = fresh_course(origin, settings) if course is None else course
        keeps = settings.journal != "off" and not self.course.replay
        remote = None if mirror is None else mirror.remote
        self._audience = Audience(observers)
        self._transport = transport
        file = self.course.file
        self._store = Store(out.resolve(), file.run, settings, remote, file.salvaged) if keeps else None
        self._uploads = Uploads(mirror, transport, self._audience.note, settings.remote.upload_every_s)
        self._probe = probe
        self._saver = Saver(self._store, transport, self._uploads, self._is_saved)
        self._comparison = Comparison(self.course, self._audience.note)
        self._standing: Standing | None = None
        self._reached: Barrier | None = None
        self._unrecorded = Counts()
        """What attempts that were lost were billed without an answer on record, as far as no checkpoint tells."""
        self._forms: dict[str, EndpointForm] = {}
        self._unset: set[str] = set()
        self._own: Past | None = None
        self._known_up_to = -1
        self._taken_over = False
        self._stopped = asyncio.Event()
        self._controlled = None if self.course.replay else Controlled(out, self._audience.note)

    @property
    def world_diverged(self) -> WorldDiverged | None:
        """Where the world's state was first another than on record."""
        return self._comparison.world_diverged

    @property
    def has_begun(self) -> bool:
        """Whether the first tick was begun, in this attempt or before it."""
        return self.course.resumed or self._standing is not None

    def stop(self) -> None:
        """Abandon the tick that is open and end the run (`Interrupted`). Call it in the loop's thread."""
        self._stopped.set()

    async def run(self) -> dict[str, Any]:
        """Run to the end and give the manifest, which is written too, with the tables, whatever happens.

        Raises what ended the run early: Interrupted, RunFailed, ModelError (BudgetSpent among them), TransportError,
        ScenarioError.
        """
        file = self.course.file
        job = plan_job(self.origin, self.settings, whole=not self.course.replay, trace_version=file.trace_version)
        self.settings = job.read_settings()
        society = job.society()
        if self._probe is None and not self.course.replay:
            told = partial(self._audience.note, private=True)
            self._probe = surveys_of(society, self.settings, self.out, self.course, told, job.ticks)
        self.out.mkdir(parents=True, exist_ok=True)
        if not self.course.replay:
            write_run_file(self.out, file)
            remember(file)
        if self._controlled is not None:
            self._controlled.begin()
        closer = Closer(job, self.settings, self.out, self.course)
        await self._uploads.begin()
        host = ModelHost(self.settings, self._fetching(asyncio.get_running_loop()))
        failure: PopulaceError | None = None
        manifest: dict[str, Any] = {}
        booking = Booking(self.settings)
        try:
            self._taken_over = await self._take_over()
            resumed = self.course.resumed or self._taken_over
            state = self._store.latest() if self._store is not None and resumed else self.course.standing
            self._reached = barrier_at(state, self.settings.shards, job.ticks)
            if self._store is not None and resumed:
                self._own = self._store.past(state)
            ticks = job.ticks if job.ticks < MOST_TICKS else 0
            self._audience.begin(society.name, job.agents, ticks, self.settings.shards, self.settings.model.label)
            if not self.course.replay:
                closer.lever_notes = lever_notes(job)
                for note in closer.lever_notes:
                    self._audience.note(note, private=True)
                if why := ticks_ahead(society, self.settings, job.trace_version)[1]:
                    self._audience.note(why)
                minds, probes = plain_minds(self.settings), (asking.PURPOSE, asking.INTERVIEW)
                for note in purpose_notes(society.classes, minds, society.rules, probes):
                    self._audience.note(note)
                booking = await asyncio.to_thread(reserve, self.settings, file.run, self.out)
            base_url = None if self.course.replay else await self._unless_stopped(host.open())
            if self._probe is not None and base_url is not None:
                self._probe.base_url = base_url
            bounded = named_whole(booking.settings).model_dump_json()
            spent = booking.spent.at_least(closer.spent_before)
            self._forms = read_endpoint_forms(self.out) if self.course.resumed else {}
            job = msgspec.structs.replace(
                job, run=file.run, settings=bounded, base_url=base_url, spent=spent, forms=self._forms
            )
            await self._attempts(job, society, state, closer)
        except PopulaceError as error:
            failure = booking.explained(error)
        except asyncio.CancelledError:
            failure = Interrupted("the run was cancelled; everything up to the last whole tick is saved")
        except BaseException as error:
            failure = RunFailed(f"{type(error).__name__}: {error}")
            raise
        finally:
            with contextlib.suppress(PopulaceError):
                closer.peak_rss_mb = peak_rss_mb()
            try:
                with contextlib.suppress(StorageError):  # it ends the run already, or was told
                    await self._saver.end(0.0 if self._stopped.is_set() else _SAVING_S)
                await self._uploads.before_close()
                self._keep_forms()
                if failure is not None:
                    await self._count_what_is_on_record()
                reached = self._reached or Barrier(self.settings.shards, 0)
                if self._controlled is not None:
                    closer.controlled = self._controlled.done
                    self._controlled.end()
                manifest, failure = closer.close(self._standing, reached, self._store, failure)
                self._audience.end(manifest["status"], manifest)
            finally:
                try:
                    await self._transport.close()
                    await asyncio.to_thread(booking.settle, self._transport.spent)
                    transport = self._transport
                    closer.settle(manifest, transport.spent, self._store, transport.shared_limits)
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

    async def _take_over(self) -> bool:
        """Whether a fork begins where its parent kept its state; where that is not good, it is recomputed, and said."""
        course, graft, store = self.course, self.course.graft, self._store
        if graft is None or store is None:
            return False
        policy: Policy = "machine" if self.settings.journal == "machine" else "process"
        try:
            positions = await asyncio.to_thread(
                take_over, store.folder, course.file.run, graft, course.expected, policy
            )
        except (StorageError, SettingsError) as error:
            self._audience.note(f"the parent's state before tick {graft.tick} is recomputed: {error}")
            return False
        parent = msgspec.structs.replace(course.pasts[0], since=positions)
        self.course = msgspec.structs.replace(course, pasts=(parent, *course.pasts[1:]))
        return True

    async def _attempts(self, job: Job, society: Society, state: RunState | None, closer: Closer) -> None:
        """Run to the end, through losses."""
        store = self._store
        losses: Counter[str] = Counter()
        while True:
            try:
                await self._attempt(job, society, state, closer.former_ticks)
            except ActorLost as lost:
                losses.update(lost.names)
                self._saver.upkeep.losses = dict(losses)
                closer.lost.append(str(lost))
                told = {"names": lost.names, "losses": dict(losses)}
                self._audience.happened(Happening("lost", "error", fields=told, text=str(lost), private=True))
                if store is None or self._stopped.is_set():
                    await self._count_what_is_left()
                    raise
                if max(losses.values()) >= DEATHS:
                    await self._count_what_is_left()
                    raise ActorLost(
                        lost.names,
                        f"{lost.story}. It is the third time: look at what stands before each loss:\n"
                        + "\n".join(closer.lost),
                    ) from lost
                await self._go_back()
                state = store.latest()
                self._saver.upkeep.recoveries += 1
                back = state.tick if state else 0
                self._audience.note(f"{lost}; going back to tick {back}", private=True)
                self._audience.happened(Happening("recovered", "warning", back, fields={"lost": lost.names}))
            except Moving as moving:
                assert store is not None
                await self._go_back()
                state = store.latest()
                self._audience.note(f"{moving}, at tick {state.tick if state else 0}")
            else:
                return

    async def _go_back(self) -> None:
        """What is open of an attempt ends; what it was billed without an answer on record counts."""
        await self._unless_stopped(self._saver.end(_SAVING_S))
        with contextlib.suppress(TransportError):
            unrecorded = await self._unless_stopped(self._transport.wind_down(GRACE_S))
            self._unrecorded.add(unrecorded)
            if self._reached is not None:
                self._reached.total.add(unrecorded)
        await self._uploads.recover()

    async def _attempt(self, job: Job, society: Society, state: RunState | None, former_ticks: int) -> None:
        """One attempt: build everything, restore the state, run to the end."""
        store, course = self._store, self.course
        first = 0 if state is None else state.tick
        pasts = list(course.pasts)
        spent = NOTHING if state is None else cost_of(state.total)
        if store is not None:
            for why in store.skipped:
                self._audience.note(f"a checkpoint is not good: {why}")
            attempt = store.next_attempt()
            self._own, self._known_up_to = store.past(state), job.ticks
            if attempt:
                past = store.past(state, attempt)
                pasts.insert(0, past)
                if self.settings.budget.is_bounded:
                    spent += await asyncio.to_thread(spent_in, past, first)  # a state's total has the ticks before
            spent = spent.at_least(job.spent)
            job = msgspec.structs.replace(job, attempt=attempt, journal=store.journal_place, spent=spent)
        lease = self._uploads.ticket
        job = msgspec.structs.replace(job, pasts=pasts, eras=course.file.eras, replay=course.replay, lease=lease)
        if self._probe is not None:
            self._probe.fence = fence_of(lease)
        until = self.settings.until_interactions
        barrier = Barrier(self.settings.shards, job.ticks, first, job.attempt, until=until)
        opened = await self._unless_stopped(self._transport.start(job))
        self._known_up_to = max(opened.on_record, default=-1)
        known = {"on_record": int(sum(opened.on_record.values()))}
        self._audience.happened(Happening("attempt", tick=first, fields={"attempt": job.attempt, **known}))
        if job.attempt and not (self._taken_over and job.attempt == 1):
            self._audience.note(going_on(first, opened.on_record))
        if state is not None:
            mail, waiting = await self._unless_stopped(self._transport.restore(state))
            barrier.restore(state.hashes, state.total, mail, waiting, state.world_hashes, state.edge)
        barrier.total.add(self._unrecorded)
        if self._standing is not None:  # until here the attempt before says how far the run came, in its tables too
            self._standing.tables.abandon()
        parts, wall_s = (0, 0.0) if state is None else (state.parts, state.wall_s)
        fields = {"type": str, **society.fields} if society.types else society.fields
        tables = Tables(self.out, fields, self.settings.record, parts=parts, former_ticks=former_ticks)
        await self._uploads.go_on()
        self._standing = standing = Standing(self.out, job.agents, barrier, tables, first, wall_s)
        self._reached = barrier
        if state is None:
            record_opening(tables, job.agents, opened)
        del opened  # its rows may be many
        if store is not None:
            await self._unless_stopped(self._transport.reach(store.checkpoints))
        await self._drive(standing, society.tick_seconds)

    async def _drive(self, standing: Standing, tick_seconds: float) -> None:
        async def probe(at_edge: AtEdge, tick: int) -> None:
            if at_edge.due(tick):
                await self._saver.settled()
                await at_edge.at(self._transport, tick)

        loop = TickLoop(
            standing,
            self._transport,
            self._audience,
            comparison=self._comparison,
            failed_turns=self.settings.limits.failed_turns,
            closed=self._at_edge,
            saver=self._saver,
            movable=self._transport.better_placed if self._store is not None else list,
            tick_seconds=tick_seconds,
            probe=None if self._probe is None else partial(probe, self._probe),
            controlled=self._controlled,
        )

        async def stop() -> None:
            await self._stopped.wait()
            loop.stop(Interrupted(_STOPPED))

        async def give_way() -> None:
            loop.stop(await self._uploads.taken_over())

        ending = [asyncio.create_task(stop()), asyncio.create_task(give_way())]
        try:
            await loop.run()
        finally:
            for one in ending:
                one.cancel()

    def _is_saved(self, saved: Saved) -> None:
        """A checkpoint is whole: what attempts that were lost were billed stands in it."""
        self._unrecorded = Counts()
        told = {"checkpoint_bytes": saved.written_bytes, "waited_s": round(saved.waited_s, 6)}
        told["took_s"] = round(saved.took_s, 6)
        self._audience.happened(Happening("checkpoint", tick=saved.tick, fields=told))

    def _at_edge(self) -> None:
        """After each tick: keep what was learnt, and tell at once of model roles that may have been misspelt."""
        self._keep_forms()
        asked, named = set() if self._reached is None else self._reached.total.roles.keys(), self.settings.model.roles
        for role in sorted(asked - named.keys() - self._unset):
            self._unset.add(role)
            if others := named.keys() - asked:
                self._audience.note(unset_role(role, others))
        until, reached = self.settings.until_interactions, self._reached
        if until is not None and reached is not None and not reached.total.interactions and reached.tick in _SILENT:
            self._audience.note(
                f"{reached.tick:,} ticks, and no message was delivered and no action applied: until_interactions = "
                f"{until:,} is not coming nearer. Ctrl-C ends the run; --ticks N bounds it."
            )

    def _keep_forms(self) -> None:
        """Keep what was learnt of the endpoints since the last time: a later attempt begins with it."""
        learnt = self._transport.forms.learnt()
        if self.course.replay or learnt == self._forms:
            return
        with contextlib.suppress(StorageError):  # else it is learnt again
            write_endpoint_forms(self.out, learnt)
            self._forms = learnt

    async def _count_what_is_left(self) -> None:
        """The run ends with a loss: count what the open tick was billed by those that are there."""
        if self._reached is None or self._standing is None or self._reached is not self._standing.barrier:
            return
        with contextlib.suppress(PopulaceError, TimeoutError):
            async with asyncio.timeout(2 * GRACE_S):
                self._standing.unrecorded = await self._transport.wind_down(GRACE_S)
                for shard in range(self.settings.shards):
                    with contextlib.suppress(PopulaceError):
                        handed = Envelope([], None, self._reached.world_attempt)
                        done = await self._transport.end(shard, handed, self._reached.tick)
                        spent = done.counts.spend()
                        self._reached.total.add(spent)
                        self._reached.abandoned.add(spent)

    async def _count_what_is_on_record(self) -> None:
        """The run ends early: count what was paid for ticks that are not committed and no shard has told.

        That is what lost shards had put on record, and what an attempt that had come further had.
        """
        reached, standing = self._reached, self._standing
        if self._own is None or reached is None or (reached.all_ended and self._known_up_to < reached.tick):
            return
        try:
            found = await asyncio.to_thread(billed_in, self._own, reached.tick)
        except StorageError as error:
            self._audience.note(f"what was paid for ticks that are not whole is not counted: {error}")
            return
        if standing is not None and standing.barrier is reached:
            found.add(standing.unrecorded)
        reached.total.add(found.beyond(reached.abandoned))

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """What the work comes to; it is given up, and Interrupted raised, once the run is to stop."""
        task, stopped = asyncio.ensure_future(work), asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Interrupted(_STOPPED)
            return task.result()
        finally:
            stopped.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=GRACE_S)

    def _fetching(self, loop: asyncio.AbstractEventLoop) -> Callable[[str, int, int], None]:
        """What tells of a download, from any thread: a note each tenth of the way."""
        told: set[str] = set()

        def tell(what: str, done: int, total: int) -> None:
            text = f"{what}: {10 * (10 * done // total) if total else 0} % of {total / 1e6:.0f} MB"
            if text not in told:
                told.add(text)
                loop.call_soon_threadsafe(self._audience.note, text)

        return tell
