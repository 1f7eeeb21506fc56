"""Asks in batches: gathered until no more come, sent as one file, waited for, and found again by a run that is resumed.

It stands where a client has its dispatcher, and over one: embeddings go on to that. Shell: it runs in an event loop.

```
put -> gathered -- quiet_s --> paid for, written down, uploaded, created -> watched -> files -> each call's ending
        |                                                                      ^
        +-- a call that is in a batch already (`BatchRecord`) -----------------+
```
What the client makes of an ending is what it makes of a call's: a repair or another try is a line of the next batch.
When a run ends, what is out stays out; its asks end as interrupted, and the next attempt finds their batches.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final

import msgspec

from populace.core.errors import StorageError
from populace.models.batch_chat import Chat, Times
from populace.models.batch_http import BatchApi
from populace.models.batch_purse import BatchPurse, Unaffordable
from populace.models.batch_record import BatchRecord, Sent, states_of
from populace.models.batches import ENDED, Batch, Came, custom_id, ending_of, fitting, line, read_files, refusal_of
from populace.models.cache.keys import Mode as Sampling
from populace.models.dispatch.dispatcher import Dispatcher
from populace.models.dispatch.lanes import Lane
from populace.models.dispatch.retry import Pending
from populace.models.endings import Ending, Fatal, Fault, Late, Limited, Rejected, Said
from populace.models.protocol import Fence, Pressure
from populace.settings import BatchSettings

_GROWS: Final = 1.5
_FENCED_S: Final = 0.1
_PAUSE_S: Final = 1.0
_STRIDE: Final = 500
"""So many endings are told before others have their turn."""
_CANCELLING_S: Final = 900.0
"""How long a batch may take to be cancelled."""


class _Out(msgspec.Struct, eq=False):
    """A batch that is out since then (monotonic), and those of its calls that somebody waits for, by custom_id."""

    sent: Sent
    waiting: dict[str, Pending]
    since_s: float
    status: str = "created"


class Batching:
    """Queues asks and puts their chats into batches. The face is a dispatcher's.

    `sampling` and `seed` are those by which an ask is told from all others. Where `fence` says no, nothing is begun.
    """

    def __init__(
        self,
        direct: Dispatcher,
        chat: Chat,
        *,
        api: BatchApi,
        record: BatchRecord,
        terms: BatchSettings,
        times: Times,
        sampling: Sampling,
        seed: int,
        purse: BatchPurse | None = None,
        fence: Fence | None = None,
    ) -> None:
        self._direct = direct
        self._chat = chat
        self._api = api
        self._record = record
        self._terms = terms
        self._times = times
        self._sampling: Sampling = sampling
        self._seed = seed
        self._purse = purse
        self._fence = fence
        self._gathered: dict[str, Pending] = {}
        self._delayed: dict[int, tuple[asyncio.TimerHandle, Pending]] = {}
        self._outs: dict[str, _Out] = {}
        self._sending: dict[str, Pending] = {}
        self._submitting = 0
        self._last_s = 0.0
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._most = terms.most_requests
        self._draining = False
        self._read = False
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The endpoint's lane."""
        return self._direct.lanes

    @property
    def traffic(self) -> Any:
        """What is counted of it."""
        return self._direct.traffic

    def open(self) -> None:
        """Read what is known of batches, and begin to gather."""
        self._loop = asyncio.get_running_loop()
        self._direct.open()
        self._begin(self._run())

    def pressure(self) -> Pressure:
        """What waits to be sent, and what is out; once the run is ending, only what is being sent."""
        pressure = self._direct.pressure()
        pressure.waiting += len(self._gathered) + len(self._delayed)
        out = sum(len(out.waiting) for out in self._outs.values()) + len(self._sending)
        pressure.in_flight += self._submitting if self._draining else out
        pressure.batches = states_of([one.status for one in self._outs.values()], self._submitting)
        return pressure

    def put(self, pending: Pending, after_s: float = 0.0) -> None:
        """Queue an ask, now or after a wait."""
        assert self._loop is not None
        if pending.mode == "embedding":
            self._direct.put(pending, after_s)
        elif after_s > 0.0 or not self._read:
            timer = self._loop.call_later(max(after_s, 0.01), self._ripe, pending)
            self._delayed[id(pending)] = (timer, pending)
        else:
            self._take(pending)

    def hold(self, lane: Lane, seconds: float) -> None:
        """Pass on that direct calls are to wait."""
        self._direct.hold(lane, seconds)

    def held_s(self, lane: Lane) -> float:
        """For how long direct calls are to wait."""
        return self._direct.held_s(lane)

    def elsewhere(self, lane: Lane) -> int:
        """How many other endpoints work."""
        return self._direct.elsewhere(lane)

    def drain(self) -> list[Pending]:
        """Everything that waits or is out. What is out stays out, and is on record; nothing more is sent."""
        self._draining = True
        batch = [*self._direct.drain(), *self._gathered.values(), *self._sending.values()]
        for timer, pending in self._delayed.values():
            timer.cancel()
            batch.append(pending)
        for out in self._outs.values():
            batch += out.waiting.values()
            out.waiting.clear()
        self._gathered.clear()
        self._delayed.clear()
        self._sending.clear()
        self._wake.set()
        return batch

    def abort(self) -> list[Pending]:
        """Cancel direct calls, and say what they were."""
        return self._direct.abort()

    async def close(self) -> None:
        """End, after `drain` and `abort`. Batches that are out stay out."""
        for task in (tasks := list(self._tasks)):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._purse is not None:
            await self._purse.report()
        await self._direct.close()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(self._guarded(work), name="populace batches")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # where it ended before it began

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Have nobody wait for ever for what went wrong here."""
        try:
            await work
        except StorageError as error:
            self._chat.fail(error)
        except Unaffordable as error:
            self._chat.stop(error.why, str(error))
        except Exception as error:  # noqa: BLE001 - else a bug here would leave its asks waiting
            self._chat.stop("bug", f"{type(error).__name__}: {error}")

    def _ripe(self, pending: Pending) -> None:
        del self._delayed[id(pending)]
        self.put(pending)

    def _take(self, pending: Pending) -> None:
        """Gather an ask, or have it wait for the batch that has it already."""
        assert self._loop is not None
        call = custom_id(self._sampling, self._seed, pending.ask, pending.mode, pending.more, pending.in_batches)
        pending.in_batches += 1
        pending.queued_at_s = self._loop.time()
        sent = self._record.find(call)
        if sent is None:
            self._gather(call, pending)
            return
        self._chat.begun(pending)
        out = self._outs.get(sent.name)
        if out is None:
            out = self._outs[sent.name] = _Out(sent, {}, self._loop.time())
            self._begin(self._found_again(out))
        out.waiting[call] = pending

    def _gather(self, call: str, pending: Pending) -> None:
        assert self._loop is not None
        self._gathered[call] = pending
        self._last_s = self._loop.time()
        self._wake.set()

    async def _run(self) -> None:
        """Send what is gathered once nothing more comes for a while, or there is enough of it."""
        assert self._loop is not None
        await asyncio.to_thread(self._record.read)
        self._read = True
        terms = self._terms
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._gathered and len(self._gathered) < terms.most_requests:
                left_s = self._last_s + terms.quiet_s - self._loop.time()
                if left_s <= 0.0:
                    break
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left_s):
                        await self._wake.wait()
                        self._wake.clear()
            while self._fence is not None and not self._fence():  # noqa: ASYNC110
                await asyncio.sleep(_FENCED_S)  # nobody tells when it opens
            by_model: dict[str, dict[str, Pending]] = {}
            for call, pending in self._gathered.items():
                by_model.setdefault(self._chat.label(pending), {})[call] = pending
            self._gathered.clear()
            for calls in by_model.values():
                self._sending.update(calls)
                self._begin(self._send(calls))

    async def _send(self, calls: dict[str, Pending]) -> None:
        """Send these calls of one model, in as many batches as they need."""
        order = sorted(calls, key=lambda call: (calls[call].ask.tick, calls[call].ask.agent, calls[call].ask.nth))
        order = [] if self._draining else order
        while order:
            names = order[: self._most]
            if self._purse is not None:
                names = names[: await self._purse.pay([calls[call] for call in names])]
            if self._draining:
                self._unpay([calls[call] for call in names])
                return
            lines = [line(call, self._chat.write(calls[call])) for call in names]
            taken = fitting([len(one) for one in lines], len(lines))
            self._unpay([calls[call] for call in names[taken:]])
            await self._submit({call: calls[call] for call in names[:taken]}, lines[:taken])
            order = [] if self._draining else order[taken:]

    async def _submit(self, calls: dict[str, Pending], lines: list[bytes]) -> None:
        """Send one batch: it is on record before anything is sent, and again before it is created."""
        assert self._loop is not None
        self._submitting += 1
        try:
            sent = await asyncio.to_thread(self._record.gathered, list(calls), time.time())
            file = await self._patient(lambda: self._api.upload(sent.name, lines))
            if not isinstance(file, str):
                await self._never(sent, calls, file)
                return
            made = await self._create(sent, file, calls)
            if made is None:
                return
            now_s = self._loop.time()
            self.lanes[0].calls += len(calls)
            for pending in calls.values():
                self.traffic.waited(now_s - pending.queued_at_s)
            self._watch_new(sent, calls, now_s)
        finally:
            self._submitting -= 1

    async def _create(self, sent: Sent, file: str, calls: dict[str, Pending]) -> Batch | None:
        """Create the batch of an uploaded file; None where there is none, and its calls are taken care of."""
        assert self._loop is not None
        limits, since_s = 0, self._loop.time()
        while not self._draining:
            await asyncio.to_thread(self._record.creating, sent, time.time())
            made = await self._api.create(file, self._terms.window, self._record.run, sent.name)
            if isinstance(made, Limited):  # it is certain that there is none
                if self._loop.time() - since_s > self._terms.give_up_s:
                    why = f"{made.detail}, for endpoint.batches.give_up_s ({self._terms.give_up_s:g} s)"
                    self._chat.stop("outage", why)
                    return None
                limits += 1
                pause_s = made.wait_s or min(self._terms.poll_most_s, self._terms.poll_s * _GROWS**limits)
                await self._sleep(pause_s)
                continue
            if isinstance(made, Fault | Late):
                found = await self._resolve(sent, calls)
                if found is None:
                    self._again({call: pending for call, pending in calls.items() if call in self._sending})
                return found
            if isinstance(made, Batch):
                await asyncio.to_thread(self._record.made, sent, made.id, time.time())
                return made
            await self._never(sent, calls, made)
            return None
        if sent.since_s is None:
            self._unpay(list(calls.values()))
        return None

    async def _resolve(self, sent: Sent, calls: dict[str, Pending]) -> Batch | None:
        """Find out whether a batch was created, by its metadata; None where none is found for as long as a call lasts.

        Where it is found, it is on record then; where not, it is void.
        """
        while True:
            found = await self._patient(lambda: self._api.find(self._record.run, sent))
            if isinstance(found, Batch):
                await asyncio.to_thread(self._record.made, sent, found.id, time.time())
                return found
            if found is not None:
                await self._never(sent, calls, found)
                return None
            if time.time() - (sent.since_s or 0.0) > self._times.call_s:
                await asyncio.to_thread(self._record.void, sent, "the endpoint has no such batch", time.time())
                return None
            await asyncio.sleep(min(_PAUSE_S, self._times.call_s / 4))

    async def _found_again(self, out: _Out) -> None:
        """Take up a batch of a former attempt, once those who may wait for it have come."""
        assert self._loop is not None
        await asyncio.sleep(self._terms.quiet_s)
        if self._purse is not None:
            await self._purse.owe(list(out.waiting.values()))
        sent = out.sent
        if not sent.id:
            found = None if sent.since_s is None else await self._resolve(sent, out.waiting)
            if found is None:
                calls = dict(out.waiting)
                self._outs.pop(sent.name, None)
                if not sent.void:
                    await asyncio.to_thread(self._record.void, sent, "it was never created", time.time())
                self._again({call: pending for call, pending in calls.items() if call in out.waiting})
                return
        await self._watch(out, 0.0)

    def _watch_new(self, sent: Sent, calls: dict[str, Pending], now_s: float) -> None:
        waiting = {call: pending for call, pending in calls.items() if self._sending.pop(call, None) is not None}
        out = self._outs[sent.name] = _Out(sent, waiting, now_s)
        if waiting:
            self._begin(self._watch(out, self._terms.poll_s))

    async def _watch(self, out: _Out, wait_s: float) -> None:
        """Look after a batch until it has ended, and tell how each of its calls did."""
        terms, cancelled_s = self._terms, 0.0
        while out.waiting:
            await self._sleep(wait_s)
            batch = await self._patient(lambda: self._api.get(out.sent.id))
            if not isinstance(batch, Batch):
                gone = isinstance(batch, Rejected)
                lost = Fault(f"batch {out.sent.id} is gone: {batch.detail}", billed=True) if gone else batch
                await self._tell(out, dict.fromkeys(out.waiting, lost))
                return
            out.status = batch.status
            if batch.status in ENDED:
                await self._ended(out, batch, late=bool(cancelled_s))
                return
            now_s = time.time()
            if cancelled_s and now_s - cancelled_s > _CANCELLING_S:
                late = Late(f"batch {batch.id} was still {batch.status} after {terms.give_up_s:g} s, and was given up")
                await self._tell(out, dict.fromkeys(out.waiting, late))
                return
            if not cancelled_s and now_s - (out.sent.since_s or now_s) > terms.give_up_s:
                await self._api.cancel(batch.id)
                cancelled_s = now_s
            wait_s = min(terms.poll_most_s, max(terms.poll_s, wait_s * _GROWS))

    async def _ended(self, out: _Out, batch: Batch, *, late: bool) -> None:
        if batch.status == "failed":
            await self._refused(out, batch)
            return
        came: dict[str, Came] = {}
        files = [file for file in (batch.output_file_id, batch.error_file_id) if file]
        for file in files:
            content = await self._patient(partial(self._api.content, file))
            if not isinstance(content, bytes):
                lost = Fault(f"file {file} of batch {batch.id} cannot be fetched: {content.detail}", billed=True)
                await self._tell(out, dict.fromkeys(out.waiting, lost))
                return
            for call, one in (await asyncio.to_thread(read_files, [content])).items():
                came.setdefault(call, one)
        endings: dict[str, Ending] = {}
        for call, pending in out.waiting.items():
            read = partial(self._chat.read, pending)
            ending = ending_of(came.get(call), batch.status, read)
            if late and isinstance(ending, Fault):
                why = f"batch {batch.id} had no answer within {self._terms.give_up_s:g} s"
                ending = Late(why, billed=ending.billed)
            endings[call] = ending
        await self._tell(out, endings)

    async def _refused(self, out: _Out, batch: Batch) -> None:
        """A batch failed its validation: what is wrong with single lines is theirs, and the others are put again."""
        await asyncio.to_thread(self._record.void, out.sent, "it failed its validation", time.time())
        refusal = refusal_of(batch)
        if isinstance(refusal.whole, Limited):
            self._most = max(1, len(out.sent.calls) // 2)  # it may be more than the endpoint ever takes
            await self._sleep(min(self._terms.poll_most_s, 3 * self._terms.poll_s))
        elif refusal.whole is not None:
            whole = refusal.whole
            if not isinstance(whole, Fatal):
                whole = Fatal("batches", f"batch {batch.id} failed: {getattr(whole, 'detail', '')}", 400)
            await self._tell(out, dict.fromkeys(out.waiting, whole))
            return
        endings = {call: refusal.lines[at] for at, call in enumerate(out.sent.calls) if at in refusal.lines}
        again = {call: pending for call, pending in out.waiting.items() if call not in endings}
        for call in again:
            del out.waiting[call]
        await self._tell(out, {call: ending for call, ending in endings.items() if call in out.waiting})
        self._again(again)

    async def _tell(self, out: _Out, endings: dict[str, Ending]) -> None:
        """Tell how calls ended: answers first, so that a refusal is judged in the light of them."""
        assert self._loop is not None
        self._outs.pop(out.sent.name, None)
        took_s = self._loop.time() - out.since_s
        for nth, call in enumerate(sorted(endings, key=lambda call: not isinstance(endings[call], Said))):
            pending = out.waiting.pop(call, None)
            if pending is None:
                continue
            pending.latency_s += took_s
            if self._purse is not None:
                self._purse.settle(pending, endings[call])
            self._chat.done(pending, endings[call], self.lanes[0], False)
            if nth % _STRIDE == _STRIDE - 1:
                await asyncio.sleep(0)
        if self._purse is not None:
            await self._purse.report()
        if out.waiting:  # who came meanwhile
            other = self._outs.setdefault(out.sent.name, out)
            if other is out:
                self._begin(self._watch(out, 0.0))
            else:
                other.waiting.update(out.waiting)

    def _again(self, calls: dict[str, Pending]) -> None:
        """Gather calls anew that were in no batch, under the names that they have."""
        self._unpay(list(calls.values()))
        for call, pending in () if self._draining else calls.items():
            self._sending.pop(call, None)
            self._gather(call, pending)

    def _unpay(self, batch: list[Pending]) -> None:
        if self._purse is not None:
            self._purse.unpay(batch)

    async def _never(self, sent: Sent, calls: dict[str, Pending], why: Ending) -> None:
        """A batch could not be sent, and none of its kind could: the run stops. Nothing of it was billed."""
        await asyncio.to_thread(self._record.void, sent, "it was refused", time.time())
        fatal = why if isinstance(why, Fatal) else Fatal("batches", getattr(why, "detail", ""), 400)
        out, told = self._outs.get(sent.name), list(calls.items())
        self._unpay([pending for _, pending in told])
        for call, pending in told:
            waited = self._sending.pop(call, None) or (None if out is None else out.waiting.pop(call, None))
            if waited is not None:
                self._chat.done(pending, fatal, self.lanes[0], False)

    async def _patient(self, call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """Make a request again as long as it fails in a way that another try may mend; what it came to.

        An endpoint that does not answer for `outage_s` stops the run.
        """
        assert self._loop is not None
        tries, since_s = 0, self._loop.time()
        while True:
            reply = await call()
            if not isinstance(reply, Fault | Late | Limited):
                return reply
            most_s = self._terms.give_up_s if isinstance(reply, Limited) else self._times.outage_s
            if self._loop.time() - since_s > most_s:
                self._chat.stop("outage", f"{reply.detail}, for {most_s:g} s")
                await asyncio.Event().wait()  # until it is closed
            tries += 1
            asked_s = reply.wait_s if isinstance(reply, Limited) else None
            await self._sleep(asked_s or min(_PAUSE_S * _GROWS**tries, self._terms.poll_most_s))

    async def _sleep(self, seconds: float) -> None:
        if seconds > 0.0:
            await asyncio.sleep(seconds)
