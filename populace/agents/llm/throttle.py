"""The dispatcher: one queue in front of an endpoint, the only module that imports asyncio_throttle.

Asks wait in a heap, earliest tick first, at the cost of an entry each: one coroutine takes them out, when all of
these let it:

- a permit of the adaptive concurrency is free;
- the breaker is closed, or lets a probe through;
- no server asked to wait (Retry-After, x-ratelimit-*);
- the purse pays: requests, tokens and money leased from the quota (see `populace.agents.llm.lease`);
- the throttler lets it pass. It has this one waiter, and a short period, so that a lease is not spent in one burst.

A call that runs is a task; a job that waits for its next try holds no permit.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import math
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Final, Protocol

from asyncio_throttle import Throttler

from populace.agents.llm.breaker import Breaker, Ticket
from populace.agents.llm.budget import NOTHING, Amount, Rate
from populace.agents.llm.concurrency import Concurrency
from populace.agents.llm.concurrency import Outcome as Learnt
from populace.agents.llm.lease import Lease, Purse, Want
from populace.agents.llm.outcomes import Fault, Late, Limited, Outcome, endpoint_works, tokens_used
from populace.agents.llm.protocol import Pressure
from populace.agents.llm.retry import Job
from populace.core.errors import PopulaceError

_PERIOD_S: Final = 0.25
_POLL_S: Final = 0.005
_IDLE_S: Final = 0.25
_HEADROOM: Final = 1.25
"""The throttler's rate over that of the quota, which is the one that counts: it only spreads what is leased."""


class Link(Protocol):
    """The way to the central quota."""

    async def exchange(self, want: Want) -> Lease:
        """One exchange.

        Raises OSError when the quota cannot be reached: the same want is then sent again. Raises PopulaceError when
        it never will be: no further call is made.
        """


class Account:
    """What a dispatcher may spend, when anything limits it: its purse, the link to the quota, and its pace."""

    def __init__(self, purse: Purse, link: Link, rate: Rate, requests_per_minute: float = math.inf) -> None:
        self.purse = purse
        self.link = link
        self.rate = rate
        self.throttler: Throttler | None = None
        if math.isfinite(requests_per_minute):
            burst = max(1, math.ceil(requests_per_minute / 60.0 * _PERIOD_S * _HEADROOM))
            self.throttler = Throttler(rate_limit=burst, period=_PERIOD_S, retry_interval=_POLL_S)

    def settle(self, job: Job, outcome: Outcome) -> None:
        """Book what a call came to. A call whose fate is unknown may have been billed: it counts as its worst case."""
        used, ledger = tokens_used(outcome), self.purse.ledger
        if used == (0, 0):
            ledger.release(job.worst)
            self.purse.returned(job.estimate, 0)
            return
        tokens_in, tokens_out = (job.worst_in, job.ask.max_tokens) if used is None else used
        ledger.settle(job.worst, self.rate, tokens_in, tokens_out, "", job.ask.purpose)
        self.purse.returned(job.estimate, tokens_in + tokens_out)


class Dispatcher:
    """Queues jobs and starts their calls.

    `call` makes one call and never raises; `done` is told its outcome, and whether it was a breaker's probe. `stop` is
    called with a reason and a detail when no further call will be made: 'budget', 'attempt', 'outage', 'account' (the
    quota is lost), 'bug'.
    """

    def __init__(
        self,
        *,
        call: Callable[[Job], Awaitable[Outcome]],
        done: Callable[[Job, Outcome, bool], None],
        stop: Callable[[str, str], None],
        permits: Concurrency,
        breaker: Breaker,
        outage_s: float,
        account: Account | None = None,
    ) -> None:
        self._call = call
        self._done = done
        self._stop = stop
        self.permits = permits
        self.breaker = breaker
        self._outage_s = outage_s
        self._account = account
        self._heap: list[tuple[int, int, int, int, Job]] = []
        self._entries = count()
        self._waiting_tokens = 0
        self._waiting_worst = NOTHING
        self._started = 0
        self._unreported = False
        self._delayed: dict[int, tuple[asyncio.TimerHandle, Job]] = {}
        self._calls: dict[asyncio.Task[None], Job] = {}
        self._cancelled: set[asyncio.Task[None]] = set()
        self._not_before_s = -math.inf
        self._unreached_s = math.inf
        self._wake = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to take jobs out of the queue."""
        self._loop = asyncio.get_running_loop()
        self._main = self._loop.create_task(self._run(), name="populace dispatcher")

    def pressure(self) -> Pressure:
        """What waits, for a call or for its next try, and what is in flight."""
        return Pressure(len(self._heap) + len(self._delayed), len(self._calls))

    def put(self, job: Job, after_s: float = 0.0) -> None:
        """Queue a job, now or after a wait, which holds no permit."""
        if after_s > 0.0:
            assert self._loop is not None
            self._delayed[id(job)] = (self._loop.call_later(after_s, self._ripe, job), job)
            return
        ask = job.ask
        heapq.heappush(self._heap, (ask.tick, ask.agent, ask.nth, next(self._entries), job))
        if self._account is not None:
            self._waiting_tokens += job.estimate
            self._waiting_worst += job.worst
        self._wake.set()

    def hold(self, seconds: float) -> None:
        """Start no call for so long: a server asked for it. The quota tells the other dispatchers."""
        assert self._loop is not None
        self._not_before_s = max(self._not_before_s, self._loop.time() + seconds)
        if self._account is not None:
            self._account.purse.hold(seconds)

    def drain(self) -> list[Job]:
        """Everything that waits, taken out of the queue."""
        jobs = [entry[-1] for entry in sorted(self._heap, key=lambda entry: entry[:-1])]
        self._heap.clear()
        self._waiting_tokens, self._waiting_worst = 0, NOTHING
        for timer, job in self._delayed.values():
            timer.cancel()
            jobs.append(job)
        self._delayed.clear()
        return jobs

    def abort(self) -> list[Job]:
        """Cancel what is in flight, and say what that was; each call is settled as one whose fate is unknown."""
        jobs = list(self._calls.values())
        for task in self._calls:
            task.cancel()
        self._cancelled.update(self._calls)
        self._calls.clear()
        return jobs

    async def close(self) -> None:
        """End, after `drain` and `abort`. Tells the quota what was spent last."""
        tasks = [*self._cancelled, *([self._main] if self._main is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._main = None
        if self._account is not None and self._loop is not None:
            want = self._account.purse.want(self._loop.time(), 0, 0, 0)
            try:
                await self._account.link.exchange(want)
            except (OSError, PopulaceError):
                return

    def _ripe(self, job: Job) -> None:
        del self._delayed[id(job)]
        self.put(job)

    async def _run(self) -> None:
        try:
            while True:
                if not self._heap or not self.permits.room:
                    self._wake.clear()
                    if not self._heap and self._account is not None and self._unreported:
                        await self._idle(self._account)
                    else:
                        await self._wake.wait()
                elif (wait_s := self._wait_s()) > 0.0:
                    await asyncio.sleep(min(wait_s, 0.25))
                elif self._account is None:
                    self._start()
                else:
                    await self._pay(self._account)
        except Exception as error:  # noqa: BLE001 - else a bug here would leave every ask waiting for ever
            self._stop("bug", f"{type(error).__name__}: {error}")

    def _wait_s(self) -> float:
        """How long no call may start, whatever its price."""
        assert self._loop is not None
        now_s = self._loop.time()
        opened_at_s = self.breaker.opened_at_s
        if opened_at_s is None:
            return self._not_before_s - now_s
        if now_s - opened_at_s > self._outage_s:
            self._stop("outage", f"no call was answered for {now_s - opened_at_s:.0f} s")
        return max(self._not_before_s, self.breaker.admits_at_s(now_s)) - now_s

    async def _pay(self, account: Account) -> None:
        """Start the first job when the purse pays for it, or get the purse filled."""
        assert self._loop is not None
        if account.throttler is not None:
            requests, _ = account.purse.holds(self._loop.time())
            if requests:
                await account.throttler.acquire()
                if not self._heap:
                    return
        job = self._heap[0][-1]
        now_s = self._loop.time()
        while not account.purse.pay(job.estimate, job.worst, now_s):
            if not account.purse.due(now_s):
                await asyncio.sleep(min(0.25, max(0.001, account.purse.again_at_s - now_s)))
            elif not await self._exchange(account):
                return
            if not self._heap:
                return
            job, now_s = self._heap[0][-1], self._loop.time()
        self._start()

    async def _idle(self, account: Account) -> None:
        """Nothing waits. If that lasts, give back what is leased: others may be waiting for it."""
        assert self._loop is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_IDLE_S):
                await self._wake.wait()
        if not self._heap and account.purse.due(self._loop.time()):
            self._unreported = False
            with contextlib.suppress(OSError, PopulaceError):
                want = account.purse.want(self._loop.time(), 0, 0, 0)
                account.purse.receive(await account.link.exchange(want), self._loop.time())

    async def _exchange(self, account: Account) -> bool:
        """One exchange with the quota, for as many asks as may start until the next, going by the last."""
        assert self._loop is not None
        waiting = len(self._heap)
        requests = min(waiting, 2 * (max(16, int(self.permits.limit)) + self._started))
        self._started = 0
        head, share = self._heap[0][-1], requests / waiting
        tokens = max(head.estimate, math.ceil(self._waiting_tokens * share))
        worst = Amount(
            max(head.worst.tokens, math.ceil(self._waiting_worst.tokens * share)),
            max(head.worst.pico_usd, math.ceil(self._waiting_worst.pico_usd * share)),
        )
        want = account.purse.want(self._loop.time(), requests, tokens, head.estimate, worst, head.worst)
        try:
            lease = await account.link.exchange(want)
        except OSError as error:
            now_s = self._loop.time()
            self._unreached_s = min(self._unreached_s, now_s)
            if now_s - self._unreached_s > self._outage_s:
                self._stop("account", str(error))
                return False
            await asyncio.sleep(0.25)
            return True
        except PopulaceError as error:
            self._stop("account", str(error))
            return False
        self._unreached_s = math.inf
        account.purse.receive(lease, self._loop.time())
        if lease.refused in ("budget", "attempt"):
            self._stop(lease.refused, "")
            return False
        return True

    def _start(self) -> None:
        assert self._loop is not None
        now_s = self._loop.time()
        job = heapq.heappop(self._heap)[-1]
        if self._account is not None:
            self._waiting_tokens -= job.estimate
            self._waiting_worst -= job.worst
        ticket = self.breaker.admit(now_s)
        if ticket is None:  # it opened while the purse was being filled
            if self._account is not None:
                self._account.purse.ledger.release(job.worst)
                self._account.purse.returned(job.estimate, 0, sent=False)
            self.put(job)
            return
        self.permits.start()
        self._started += 1
        task = self._loop.create_task(self._perform(job, ticket, now_s))
        self._calls[task] = job
        task.add_done_callback(self._cancelled.discard)

    async def _perform(self, job: Job, ticket: Ticket, began_s: float) -> None:
        assert self._loop is not None
        outcome: Outcome = Fault("the call was cancelled", billed=True)
        try:
            outcome = await self._call(job)
        finally:
            now_s = self._loop.time()
            job.latency_s += now_s - began_s
            self.permits.finish(_learnt(outcome), began_s, now_s)
            self.breaker.report(ticket, endpoint_works(outcome), now_s)
            if self._account is not None:
                self._account.settle(job, outcome)
                self._unreported = True
            task = asyncio.current_task()
            if task is not None:
                self._calls.pop(task, None)
            self._wake.set()
        try:
            self._done(job, outcome, ticket.probe)
        except Exception as error:
            self._stop("bug", f"{type(error).__name__}: {error}")
            raise


def _learnt(outcome: Outcome) -> Learnt:
    if isinstance(outcome, Limited):
        return "limited"
    return "fault" if isinstance(outcome, Fault | Late) else "ok"
