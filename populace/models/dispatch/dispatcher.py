"""The dispatcher: the queues in front of the endpoints. Shell: it runs in an event loop.

Asks wait in heaps, earliest tick first, at the cost of an entry each. A call starts when all of these let it:

- an endpoint's lane takes it: a permit of its adaptive concurrency is free, its breaker is closed or lets a probe
  through, and its server did not ask to wait (see `populace.models.dispatch.lanes`);
- the purse pays: requests, tokens and money leased from the account's quota (see `populace.budget.lease`);
- the throttlers let it pass, so that a lease is not spent in one burst (see `populace.models.dispatch.throttle`).

A call that runs is a task, and when it ends that task begins the next one if that need not wait; what has to wait is
waited for by one coroutine. A call keeps its permit for one more round of the event loop, in which what it came to is
put on record (by the journal's policy `process`), so no more calls are ever paid for and not on record than there are
permits. An ask that waits for its next try holds no permit.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from populace.budget.amounts import Amount
from populace.core.errors import PopulaceError
from populace.core.traffic import EndpointLoad, Traffic
from populace.models.dispatch.breaker import Ticket
from populace.models.dispatch.concurrency import Signal
from populace.models.dispatch.lanes import Lane, Lanes, Queued
from populace.models.dispatch.retry import Pending
from populace.models.dispatch.throttle import Limiter
from populace.models.endings import Ending, Fault, Limited, endpoint_works
from populace.models.protocol import Fence, Pressure

_IDLE_S: Final = 0.25
_SPARE_S: Final = 0.02
"""For how long nothing may wait before what is leased goes back: others may wait for it, and at a strict pace."""
_LOOK_AHEAD: Final = 4
_FULL: Final = 1.0 + 1e-9
"""Parts of a whole add up to it, but for rounding."""
_CANCELLED: Final = Fault("the call was cancelled", billed=True)


class Batches(NamedTuple):
    """Which asks one request may carry together: those of which `kind` says the same, which is not None.

    `filled` says which part of a request an ask fills; together they fill one at most. `size` is how many that are of
    the asks which fill it least, about.
    """

    size: int
    kind: Callable[[Pending], object]
    filled: Callable[[Pending], float]


class _Begun(NamedTuple):
    """A call that has its permit, its ticket and its money: the asks that it carries, and the lane it goes to."""

    batch: list[Pending]
    lane: Lane
    ticket: Ticket


class Dispatcher:
    """Queues asks and starts their calls.

    `call` makes one call for its asks and gives an outcome for each; it never raises. `done` is told each ask's
    outcome, the lane, and whether it was a breaker's probe. `pause_s` says for how long an endpoint is left alone that
    refused an ask's call by a rate limit, from how many refusals came before and what it asked for. `stop` is called
    with a reason and a detail when no further call will be made: 'budget', 'attempt', 'outage', 'account' (the quota
    is lost), 'bug'. Where `fence` says no, no call is begun.
    """

    def __init__(
        self,
        *,
        call: Callable[[list[Pending], Lane], Awaitable[Sequence[Ending]]],
        done: Callable[[Pending, Ending, Lane, bool], None],
        stop: Callable[[str, str], None],
        lanes: Lanes,
        outage_s: float,
        pause_s: Callable[[Pending, int, float | None], float],
        limiter: Limiter | None = None,
        batches: Batches | None = None,
        fence: Fence | None = None,
    ) -> None:
        self._fence = fence
        self._call = call
        self._done = done
        self._stop = stop
        self._lanes = lanes
        self._outage_s = outage_s
        self._pause_s = pause_s
        self._limiter = limiter
        self._batches = batches
        self.traffic = Traffic()
        self._waiting_tokens = 0
        self._waiting_worst_tokens = self._waiting_worst_pico_usd = 0
        self._started = 0
        self._pace = 0
        self._unreported = False
        self._delayed: dict[int, tuple[asyncio.TimerHandle, Pending]] = {}
        self._calls: dict[asyncio.Task[None], list[Pending]] = {}
        self._cancelled: set[asyncio.Task[None]] = set()
        self._unreached_s = math.inf
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The endpoints' lanes, in the order of the settings."""
        return self._lanes.lanes

    def open(self) -> None:
        """Begin to take asks out of the queues."""
        self._loop = asyncio.get_running_loop()
        self._main = self._loop.create_task(self._run(), name="populace dispatcher")

    def pressure(self) -> Pressure:
        """What waits, for a call or for its next try, and what is in flight."""
        in_flight = len(self._calls) if self._batches is None else sum(len(batch) for batch in self._calls.values())
        endpoints: dict[str, EndpointLoad] = {}
        calls: dict[str, int] = {}
        opened: dict[str, int] = {}
        for lane in self.lanes:
            permits, name = lane.permits, lane.endpoint
            load = EndpointLoad(int(permits.limit), permits.in_flight, int(lane.breaker.is_open))
            endpoints.setdefault(name, EndpointLoad()).add(load)
            calls[name] = calls.get(name, 0) + lane.calls
            opened[name] = opened.get(name, 0) + lane.breaker.opened
        self.traffic.calls, self.traffic.opened = calls, opened
        return Pressure(len(self._lanes) + len(self._delayed), in_flight, endpoints, self.traffic)

    def put(self, pending: Pending, after_s: float = 0.0) -> None:
        """Queue an ask, now or after a wait, which holds no permit."""
        assert self._loop is not None
        if after_s > 0.0:
            self._delayed[id(pending)] = (self._loop.call_later(after_s, self._ripe, pending), pending)
            return
        pending.queued_at_s = self._loop.time()
        self._lanes.put(pending, pending.queued_at_s)
        if self._limiter is not None:
            self._waiting_tokens += pending.estimate
            self._waiting_worst_tokens += pending.worst.tokens
            self._waiting_worst_pico_usd += pending.worst.pico_usd
        self._wake.set()

    def hold(self, lane: Lane, seconds: float) -> None:
        """Start no call there for so long: its server asked for it. The quota tells an only endpoint's other callers.

        With several endpoints the others are not told: the wait is this endpoint's, and the quota is the account's.
        """
        assert self._loop is not None
        lane.held_until_s = max(lane.held_until_s, self._loop.time() + seconds)
        if self._limiter is not None and len(self._lanes.lanes) == 1:
            self._limiter.purse.hold(seconds)

    def held_s(self, lane: Lane) -> float:
        """For how long the lane is still held."""
        assert self._loop is not None
        return max(0.0, lane.held_until_s - self._loop.time())

    def elsewhere(self, lane: Lane) -> int:
        """How many other endpoints work."""
        assert self._loop is not None
        return self._lanes.elsewhere(lane, self._loop.time()) if len(self._lanes.lanes) > 1 else 0

    def drain(self) -> list[Pending]:
        """Everything that waits, taken out of the queues."""
        batch = self._lanes.drain()
        self._waiting_tokens = self._waiting_worst_tokens = self._waiting_worst_pico_usd = 0
        for timer, pending in self._delayed.values():
            timer.cancel()
            batch.append(pending)
        self._delayed.clear()
        return batch

    def abort(self) -> list[Pending]:
        """Cancel what is in flight, and say what that was; each call is settled as one whose fate is unknown."""
        batch = [pending for carried in self._calls.values() for pending in carried]
        for task in self._calls:
            task.cancel()
            self._cancelled.add(task)
            task.add_done_callback(self._cancelled.discard)
        self._calls.clear()
        return batch

    async def close(self) -> None:
        """End, after `drain` and `abort`. Tells the quota what was spent last."""
        tasks = [*self._cancelled, *([self._main] if self._main is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._main = None
        if self._limiter is not None and self._loop is not None:
            want = self._limiter.purse.want(self._loop.time(), 0, 0, 0)
            try:
                await self._limiter.link.exchange(want)
            except (OSError, PopulaceError):
                return

    def _ripe(self, pending: Pending) -> None:
        del self._delayed[id(pending)]
        self.put(pending)

    async def _run(self) -> None:
        assert self._loop is not None
        passed = False
        try:
            while True:
                begun = self._begin(passed)
                passed = False
                if begun is not None:
                    task = self._loop.create_task(self._work(begun))
                    self._calls[task] = begun.batch
                else:
                    passed = await self._wait()
        except Exception as error:  # noqa: BLE001 - else a bug here would leave every ask waiting for ever
            self._stop("bug", f"{type(error).__name__}: {error}")

    def _begin(self, passed: bool = False) -> _Begun | None:
        """Take what may start a call now; None when nothing may. `passed`: the throttler has let it pass already."""
        assert self._loop is not None
        if self._fence is not None and not self._fence():
            return None
        now_s = self._loop.time()
        choice = self._lanes.next(now_s)
        if choice is None:
            return None
        lane, source = choice
        queue = source.queue
        pending = queue[0][-1]
        if not self._pay(pending, now_s, passed):
            return None
        ticket = lane.breaker.admit(now_s)
        assert ticket is not None, "a lane that admits nothing was chosen"
        batch = [self._take(queue, now_s)]
        if self._batches is not None and not ticket.probe:
            self._fill(batch, queue, self._batches, now_s)
        lane.permits.start()
        lane.calls += 1
        self._started += len(batch)
        return _Begun(batch, lane, ticket)

    def _fill(self, batch: list[Pending], queue: list[Queued], batches: Batches, now_s: float) -> None:
        """Add to a call those of the next in the queue that it can carry and that are paid for."""
        kind = batches.kind(batch[0])
        if kind is None:
            return
        aside: list[Queued] = []
        room, most = _FULL - batches.filled(batch[0]), math.ceil(_LOOK_AHEAD / batches.filled(batch[0]))
        while room > 0.0 and queue and len(aside) < most:
            pending = queue[0][-1]
            filled = batches.filled(pending)
            if batches.kind(pending) != kind or filled > room:
                aside.append(heapq.heappop(queue))
            elif self._pay(pending, now_s):
                batch.append(self._take(queue, now_s))
                room -= filled
            else:
                break
        for entry in aside:
            heapq.heappush(queue, entry)

    def _take(self, queue: list[Queued], now_s: float) -> Pending:
        pending = heapq.heappop(queue)[-1]
        self.traffic.waited(now_s - pending.queued_at_s)
        if self._limiter is not None:
            self._waiting_tokens -= pending.estimate
            self._waiting_worst_tokens -= pending.worst.tokens
            self._waiting_worst_pico_usd -= pending.worst.pico_usd
        return pending

    def _pay(self, pending: Pending, now_s: float, passed: bool = False) -> bool:
        """Pay for an ask, if that can be done at once."""
        limiter = self._limiter
        if limiter is None:
            return True
        purse = limiter.purse
        if not purse.affords(pending.estimate, pending.worst, now_s) or not (passed or limiter.passes()):
            return False
        purse.take(pending.estimate, pending.worst)
        return True

    async def _wait(self) -> bool:
        """Wait for what keeps the next call from starting; True when the throttler has let it pass."""
        assert self._loop is not None
        now_s, limiter = self._loop.time(), self._limiter
        self._wake.clear()
        if not self._lanes:
            if limiter is not None and self._unreported:
                await self._idle(limiter)
            else:
                await self._wake.wait()
            return False
        if self._fence is not None and not self._fence():
            await self._woken(_IDLE_S)
            return False
        choice = self._lanes.next(now_s)
        if choice is None:
            out_s = self._lanes.out_s(now_s)
            if out_s > self._outage_s:
                self._stop("outage", f"no call was answered for {out_s:.0f} s")
            elif math.isinf(wait_s := self._lanes.wait_s(now_s)):
                await self._wake.wait()
            else:
                await self._woken(min(_IDLE_S, max(0.0, wait_s)))
            return False
        if limiter is None:  # what kept it from starting has ended since `_begin` looked
            return False
        pending = choice[1].queue[0][-1]
        if limiter.purse.affords(pending.estimate, pending.worst, now_s):
            await limiter.pass_next()
            return True
        if limiter.purse.due(now_s) or limiter.purse.exchanging:  # no other awaits it: its answer was lost
            await self._exchange(limiter, pending)
        else:
            at_s = min(limiter.purse.again_at_s, limiter.purse.starts_s(now_s))
            await asyncio.sleep(min(_IDLE_S, max(0.001, at_s - now_s)))
        return False

    async def _woken(self, seconds: float) -> None:
        """Wait until something happens, but no longer than this."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    async def _idle(self, limiter: Limiter) -> None:
        """Nothing waits. If that lasts, give back what is leased: others may be waiting for it."""
        assert self._loop is not None
        await self._woken(_SPARE_S)
        if not self._lanes:
            self._unreported = False
            with contextlib.suppress(OSError, PopulaceError):
                want = limiter.purse.want(self._loop.time(), 0, 0, 0)
                limiter.purse.receive(await limiter.link.exchange(want), self._loop.time())

    async def _exchange(self, limiter: Limiter, head: Pending) -> None:
        """One exchange with the quota, for as many asks as may start until the next, going by the last."""
        assert self._loop is not None
        waiting = len(self._lanes)
        size = 1 if self._batches is None else self._batches.size
        permits = sum(int(lane.permits.limit) for lane in self._lanes.lanes)
        # What was used between the last exchanges, the larger the more it weighs: each tick begins as the last went on.
        self._pace, self._started = max(self._started, self._pace // 2), 0
        requests = min(waiting, 2 * (max(16, size * permits) + self._pace))
        share = requests / waiting
        tokens = max(head.estimate, math.ceil(self._waiting_tokens * share))
        worst = Amount(
            max(head.worst.tokens, math.ceil(self._waiting_worst_tokens * share)),
            max(head.worst.pico_usd, math.ceil(self._waiting_worst_pico_usd * share)),
        )
        want = limiter.purse.want(self._loop.time(), requests, tokens, head.estimate, worst, head.worst)
        try:
            lease = await limiter.link.exchange(want)
        except OSError as error:
            now_s = self._loop.time()
            self._unreached_s = min(self._unreached_s, now_s)
            if now_s - self._unreached_s > self._outage_s:
                self._stop("account", str(error))
                return
            await asyncio.sleep(0.25)
            return
        except PopulaceError as error:
            self._stop("account", str(error))
            return
        self._unreached_s = math.inf
        limiter.purse.receive(lease, self._loop.time())
        if lease.requests:
            self._unreported = True
            limiter.keep_to(lease.pace_per_s)
        if lease.refused in ("budget", "attempt"):
            self._stop(lease.refused, "")

    async def _work(self, begun: _Begun | None) -> None:
        """Make a call, and after it the next, as long as one may start at once."""
        task = asyncio.current_task()
        assert self._loop is not None
        assert task is not None
        while begun is not None:
            batch, lane, ticket = begun
            self._calls[task] = batch
            concluded = 0
            began_s = ended_s = self._loop.time()
            outcomes: Sequence[Ending] = [_CANCELLED] * len(batch)
            try:
                try:
                    outcomes = await self._call(batch, lane)
                finally:
                    ended_s = self._loop.time()
                    self._settle(task, begun, outcomes, began_s, ended_s)
                for pending, outcome in zip(batch, outcomes, strict=True):
                    self._done(pending, outcome, lane, ticket.probe)
                    concluded += 1
                await asyncio.sleep(0)  # all that came together goes on record together, before another call begins
            except Exception as error:
                for pending in batch[concluded:]:  # nobody may wait for what no call will bring
                    self.put(pending)
                self._stop("bug", f"{type(error).__name__}: {error}")
                raise
            finally:
                lane.permits.finish(_signal_of(outcomes[0]), began_s, ended_s)
            begun = self._begin_or_stop()
            if begun is None or self._lanes.more():
                self._wake.set()

    def _begin_or_stop(self) -> _Begun | None:
        try:
            return self._begin()
        except Exception as error:
            self._stop("bug", f"{type(error).__name__}: {error}")
            raise

    def _settle(
        self, task: asyncio.Task[None], begun: _Begun, outcomes: Sequence[Ending], began_s: float, now_s: float
    ) -> None:
        """Book what a call has come to, and for how long it took; its permit is still taken."""
        batch, lane, ticket = begun
        lane.breaker.report(ticket, any(map(endpoint_works, outcomes)), now_s)
        self._hold_if_limited(lane, batch[0], outcomes[0], began_s, now_s)
        for pending, outcome in zip(batch, outcomes, strict=True):
            pending.latency_s += now_s - began_s
            if self._limiter is not None:
                self._limiter.settle(pending, outcome)
                self._unreported = True
        self._calls.pop(task, None)

    def _hold_if_limited(self, lane: Lane, pending: Pending, outcome: Ending, began_s: float, now_s: float) -> None:
        """Hold a lane whose endpoint refused a call by a rate limit, the longer the more often it does."""
        if isinstance(outcome, Limited):
            refused = lane.refused(began_s, now_s)
            if refused is not None or outcome.wait_s is not None:
                self.hold(lane, self._pause_s(pending, refused or 0, outcome.wait_s))
        elif endpoint_works(outcome):
            lane.took()


def _signal_of(outcome: Ending) -> Signal:
    if isinstance(outcome, Limited):
        return "limited"
    return "ok" if endpoint_works(outcome) else "fault"
