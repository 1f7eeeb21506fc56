"""The endpoints as a dispatcher sees them: each a lane with a queue, permits, a breaker and a hold of its own. Pure.

An ask joins the lane that its prefix belongs to (`populace.models.dispatch.router`), so that the endpoint's prefix
cache profits. Which lane starts the next call:

- the earliest tick that waits anywhere goes first, whatever lane it waits in;
- within it a lane serves its own asks; one that has none, and a free permit, takes from the longest queue, so that one
  prefix for a whole society still uses every endpoint;
- a lane that is held (Retry-After) or whose breaker is open takes nothing but its probes: the others serve its asks.

Time is an argument, in monotonic seconds.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from itertools import count
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from populace.models.dispatch.breaker import Breaker
from populace.models.dispatch.concurrency import Concurrency
from populace.models.dispatch.retry import Pending
from populace.models.dispatch.router import Endpoint, Router, shared_prefix

Queued: TypeAlias = tuple[int, int, int, int, Pending]
"""What waits: the ask's tick, agent and nth, the order it came in, and the ask itself."""

_SEVERAL_PROBE_MOST_S: Final = 60.0
_SHARDS_PROBE_MOST_S: Final = 8.0
"""No shard probes more seldom for the sake of the others: it would find an outage's end too late."""


class Lane:
    """One endpoint: how many calls it takes (`permits`), whether it works (`breaker`), when it may be called again.

    `name` is its address, which decides what it gets; `weight` its share.
    """

    __slots__ = (
        "breaker",
        "calls",
        "held_until_s",
        "index",
        "limits",
        "limits_at_s",
        "limits_since_s",
        "name",
        "permits",
        "queue",
        "weight",
    )

    def __init__(self, name: str, permits: Concurrency, breaker: Breaker | None = None, weight: float = 1.0) -> None:
        self.name = name
        self.permits = permits
        self.breaker = Breaker() if breaker is None else breaker
        self.weight = weight
        self.held_until_s = -math.inf
        self.calls = 0
        self.limits = 0
        self.limits_at_s = -math.inf
        self.limits_since_s: float | None = None
        self.index = 0
        self.queue: list[Queued] = []

    def admits_at_s(self, now_s: float) -> float:
        """When this lane may next start a call, as things stand and if it has a permit: `now_s` or later."""
        at_s = now_s if self.breaker.opened_at_s is None else self.breaker.admits_at_s(now_s)
        return max(at_s, self.held_until_s)

    def refused(self, began_s: float, now_s: float) -> int | None:
        """A call that began at `began_s` was told to come back later; how often that happened before, in a row.

        None where the call began before the last refusal: it tells of the same limit, not of another.
        """
        if self.limits_since_s is None:
            self.limits_since_s = now_s
        if began_s < self.limits_at_s:
            return None
        self.limits_at_s = now_s
        self.limits += 1
        return self.limits - 1

    def took(self) -> None:
        """A call was taken: the endpoint's limit leaves room again."""
        self.limits = 0
        self.limits_since_s = None

    @property
    def out_since_s(self) -> float | None:
        """Since when it has taken no call, by its breaker or its refusals; None while it works."""
        since = [at_s for at_s in (self.breaker.opened_at_s, self.limits_since_s) if at_s is not None]
        return min(since, default=None)

    @property
    def endpoint(self) -> str:
        """Its address as it may be shown: without what may be secret in it, and without the scheme."""
        parts = urlsplit(self.name)
        return f"{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}" or self.name

    def healthy(self, now_s: float) -> bool:
        """Whether it takes calls at all: its breaker is closed, and it is not held."""
        return self.breaker.opened_at_s is None and self.held_until_s <= now_s


class Lanes:
    """All lanes of a dispatcher, and the queues of what waits. Raises ValueError for none, or two of one name."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self.lanes = tuple(lanes)
        self._router = Router([Endpoint(lane.name, lane.weight) for lane in lanes])
        self._named = {lane.name: lane for lane in lanes}
        self._only = self.lanes[0] if len(self.lanes) == 1 else None
        self._entries = count()
        for index, lane in enumerate(self.lanes):
            lane.index = index

    def __len__(self) -> int:
        if self._only is not None:
            return len(self._only.queue)
        return sum(len(lane.queue) for lane in self.lanes)

    def put(self, pending: Pending, now_s: float) -> None:
        """Queue an ask at the lane of its prefix, or at the next best where that one is ill or has just failed it."""
        ask = pending.ask
        lane = self._only or self._lane_for(pending, now_s)
        heapq.heappush(lane.queue, (ask.tick, ask.agent, ask.nth, next(self._entries), pending))

    def next(self, now_s: float) -> tuple[Lane, Lane] | None:
        """The lane that may start a call now, and the lane whose queue it takes from; None when none may."""
        only = self._only
        if only is not None:
            if only.queue and only.permits.room and only.admits_at_s(now_s) <= now_s:
                return only, only
            return None
        waiting = [lane for lane in self.lanes if lane.queue]
        if not waiting:
            return None
        able = [lane for lane in self.lanes if lane.permits.room and lane.admits_at_s(now_s) <= now_s]
        if not able:
            return None
        tick = min(lane.queue[0][0] for lane in waiting)
        # A probe that is due goes first, else an endpoint would stay out for as long as the others manage without it.
        able.sort(key=lambda lane: lane.breaker.opened_at_s is None)
        for lane in able:
            if lane.queue and lane.queue[0][0] == tick:
                return lane, lane
            if lane.breaker.opened_at_s is not None:
                break
        return able[0], max((lane for lane in waiting if lane.queue[0][0] == tick), key=lambda lane: len(lane.queue))

    def more(self) -> bool:
        """Whether something waits, and some lane has a permit free."""
        only = self._only
        if only is not None:
            return bool(only.queue) and only.permits.room > 0
        return any(lane.queue for lane in self.lanes) and any(lane.permits.room for lane in self.lanes)

    def elsewhere(self, lane: Lane, now_s: float) -> int:
        """How many other lanes than this one work."""
        return sum(other.healthy(now_s) for other in self.lanes if other is not lane)

    def wait_s(self, now_s: float) -> float:
        """How long until a lane with a free permit admits a call; infinite when every permit is taken."""
        return min((lane.admits_at_s(now_s) for lane in self.lanes if lane.permits.room), default=math.inf) - now_s

    def out_s(self, now_s: float) -> float:
        """For how long every endpoint has been out; 0.0 while one works."""
        opened = [lane.out_since_s for lane in self.lanes]
        return 0.0 if None in opened else min(now_s - at_s for at_s in opened if at_s is not None)

    def drain(self) -> list[Pending]:
        """Everything that waits, taken out, in order."""
        entries = sorted((entry for lane in self.lanes for entry in lane.queue), key=lambda entry: entry[:-1])
        for lane in self.lanes:
            lane.queue.clear()
        return [entry[-1] for entry in entries]

    def _lane_for(self, pending: Pending, now_s: float) -> Lane:
        ranked = [self._named[name] for name in self._router.rank(shared_prefix(pending.ask.messages))]
        tried = self.lanes[pending.failed_at] if pending.failed_at >= 0 else None
        well = [lane for lane in ranked if lane.healthy(now_s)] or ranked
        return next((lane for lane in well if lane is not tried), well[0])


def lane_breaker(lanes: int, shards: int = 1) -> Breaker:
    """The breaker of one of so many lanes, in one of so many shards.

    Every shard probes for itself, so each does it the more seldom, for all of them to send about one probe a second.
    Where other lanes serve its asks, probes of a dead endpoint become seldom.
    """
    every_s = min(float(shards), _SHARDS_PROBE_MOST_S)
    most_s = None if lanes == 1 else _SEVERAL_PROBE_MOST_S
    return Breaker(probe_every_s=every_s, probe_most_s=most_s)
