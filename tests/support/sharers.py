"""Runs that share an account's limits, in virtual time: late, lost and doubled writes, clocks that disagree, kills."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Generator
from itertools import count
from typing import Any

import msgspec

from populace.budget.amounts import Amount
from populace.budget.lease import Purse
from populace.budget.quota import Limits, Quota
from populace.budget.shares import Share, Terms
from populace.core.draws import Stream

LIMITS = Limits(requests_per_minute=600.0, tokens_per_minute=30_000.0)
RATES = (10.0, 500.0)
TERMS = Terms(0.5, 0.02)
SLACK_S = 2 * LIMITS.burst_s + LIMITS.lasts_s
TOKENS = 60


class Life(msgspec.Struct):
    """When a run comes and goes: from `begins_s` to `ends_s`, `killed` or not; what befalls it, what it asks for.

    `stopped_s` is when it stands still, `cut_s` when it can't reach what is shared. Its clock shows `offset_s` more
    than the true time, and runs `drift` times as fast. `waiting` is how many asks wait.
    """

    begins_s: float = 0.0
    ends_s: float = math.inf
    killed: bool = False
    stopped_s: tuple[float, float] = (math.inf, math.inf)
    cut_s: tuple[float, float] = (math.inf, math.inf)
    offset_s: float = 0.0
    drift: float = 1.0
    waiting: Callable[[float], int] = lambda _now_s: 100


class Way(msgspec.Struct):
    """How a run deals with its part. What is said here is right; controls say otherwise."""

    lowers_before: bool = True
    raises_after: bool = True
    lets_go: bool = True
    ends_later_s: float = 0.0


class Trouble(msgspec.Struct):
    """What befalls reads and writes: how long each takes at most, and how often a write or its answer is lost."""

    delay_s: float = 0.01
    lost: float = 0.0


class Seen(msgspec.Struct):
    """What happened: each request's time and run, and the most by which the runs' rates exceeded the limits."""

    at_s: list[float] = []
    run: list[int] = []
    most_over: float = -math.inf
    rates: list[tuple[float, list[float]]] = []

    def of(self, run: int, since_s: float, until_s: float) -> int:
        """How many requests a run sent then."""
        return sum(one == run and since_s <= at_s < until_s for at_s, one in zip(self.at_s, self.run, strict=True))


class _Register:
    def __init__(self) -> None:
        self.text: bytes | None = None
        self.version = 0


class _Run:
    def __init__(self, index: int, life: Life) -> None:
        self.life = life
        self.quota = Quota(LIMITS)
        self.share = Share(f"run {index}", RATES, TERMS)
        self.purse = Purse(0)
        self.quota.share((0.0, 0.0), self.clock(life.begins_s), math.inf)

    def clock(self, now_s: float) -> float:
        return self.life.offset_s + now_s * self.life.drift

    def lives(self, now_s: float) -> bool:
        return self.life.begins_s <= now_s < self.life.ends_s


def simulate(
    lives: list[Life], *, seconds: float = 25.0, seed: int = 1, trouble: Trouble | None = None, way: Way | None = None
) -> Seen:
    """Play the runs' lives. Every step of a run is an event; a run that is stopped has its events once it goes on."""
    trouble, way = trouble or Trouble(), way or Way()
    draw, number, seen, register = Stream(seed, 0, 0, "sharers"), count(), Seen(), _Register()
    runs = [_Run(index, life) for index, life in enumerate(lives)]
    events: list[tuple[float, int, int, Any]] = []

    def at(when: float, run: int, step: Any) -> None:
        heapq.heappush(events, (when, next(number), run, step))

    def renewing(run: _Run) -> Generator[float, float, None]:
        """What the thread of a run does, given the true time where it goes on; it yields how long each step takes."""
        now_s = yield 0.0
        first = True
        while True:
            if run.life.ends_s - 0.6 < now_s and not run.life.killed:
                run.quota.share((0.0, 0.0), run.clock(now_s), math.inf)
                text, version = register.text, register.version
                if register.version == version:
                    register.text, register.version = run.share.left(text, run.clock(now_s)), version + 1
                return
            if run.life.cut_s[0] <= now_s < run.life.cut_s[1]:
                now_s = yield 0.25
                continue
            text, version = register.text, register.version
            now_s = yield trouble.delay_s * draw.random()
            wants = RATES if first else run.quota.asked(run.clock(now_s))
            plan = run.share.plan(text, wants, run.clock(now_s))
            early = plan.meanwhile if way.lowers_before else run.quota.rates_per_s
            until_s = run.share.until_s + way.ends_later_s if way.lets_go else math.inf
            run.quota.share(early if way.raises_after else plan.then, run.clock(now_s), until_s)
            sent_s = run.clock(now_s)
            arrives, answered = draw.random() >= trouble.lost / 2, draw.random() >= trouble.lost / 2
            now_s = yield trouble.delay_s * draw.random()
            done = arrives and register.version == version
            if done:
                register.text, register.version = plan.text, version + 1
            now_s = yield trouble.delay_s * draw.random()
            if not done or not answered:
                now_s = yield 0.05 + 0.1 * draw.random() if arrives and answered else 0.25
                continue
            until_s = run.share.wrote(plan, sent_s) + way.ends_later_s
            run.quota.share(plan.then, run.clock(now_s), until_s if way.lets_go else math.inf)
            first = False
            now_s = yield run.share.again_s

    for index, run in enumerate(runs):
        steps = renewing(run)
        next(steps)
        at(run.life.begins_s, index, steps)
        at(run.life.begins_s + 0.2 * draw.random(), index, "exchange")
    while events:
        now_s, _, index, step = heapq.heappop(events)
        run = runs[index]
        if now_s > seconds:
            break
        if now_s >= run.life.ends_s:
            continue
        stopped_s, goes_on_s = run.life.stopped_s
        if stopped_s <= now_s < goes_on_s:
            at(goes_on_s, index, step)
            continue
        if step == "exchange":
            waiting = run.life.waiting(now_s)
            clock_s = run.clock(now_s)
            want = run.purse.want(clock_s, waiting, waiting * TOKENS, TOKENS if waiting else 0)
            lease = run.quota.handle(want, clock_s)
            run.purse.receive(lease, clock_s)
            for _ in range(waiting):
                if not run.purse.pay(TOKENS, Amount(), clock_s + lease.starts_in_s):
                    break
                seen.at_s.append(now_s + lease.starts_in_s)
                seen.run.append(index)
                run.purse.returned(TOKENS, TOKENS)
            at(now_s + max(0.1, lease.again_s), index, "exchange")
        else:
            try:
                at(now_s + step.send(now_s), index, step)
            except StopIteration:
                continue
        _note(seen, runs, now_s)
    order = sorted(range(len(seen.at_s)), key=seen.at_s.__getitem__)
    seen.at_s, seen.run = [seen.at_s[nth] for nth in order], [seen.run[nth] for nth in order]
    return seen


def _note(seen: Seen, runs: list[_Run], now_s: float) -> None:
    """See what rates the runs lease by that are not stopped now."""
    rates = [(0.0, 0.0)] * len(runs)
    for index, run in enumerate(runs):
        if run.lives(now_s) and not run.life.stopped_s[0] <= now_s < run.life.stopped_s[1]:
            run.quota.advance(max(run.clock(now_s), run.quota._at_s))
            rates[index] = run.quota.rates_per_s
    for kind, limit in enumerate(RATES):
        seen.most_over = max(seen.most_over, math.fsum(one[kind] for one in rates) / limit - 1.0)
    seen.rates.append((now_s, [one[0] for one in rates]))


def most_within(times: list[float], weight: float, rate: float) -> float:
    """The most by which any stretch of time exceeds rate times its length."""
    most = level = 0.0
    last = times[0] if times else 0.0
    for now in times:
        level = max(0.0, level - rate * (now - last)) + weight
        most, last = max(most, level), now
    return most
