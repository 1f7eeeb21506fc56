"""What went between a run's shards and its model, and how its processes fare: for those who watch. In no hash."""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

import msgspec

WAITING_BUCKETS_S: Final = (
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
)  # fmt: skip
"""Upper edges, in seconds, of the buckets in which an ask's wait for its call is counted (the last bucket is +Inf).

They are those that OpenTelemetry's semantic conventions for generative AI name for `gen_ai.client.operation.duration`.
"""

RETRIED: Final = ("rate_limit", "fault", "late", "repair", "form", "batch", "denied")
"""Why an ask has a further call: the endpoint's limit, its fault, no answer in time, an answer that needs repair, a
form of request that it does not take, a request of several that one prompt spoilt, a key that it denied for now."""


class Traffic(msgspec.Struct):
    """Calls and waits, added up over a shard's tick, a tick, or a run; counted only while a run's metrics are on.

    `calls` (begun, answered or not) and `opened` (how often a circuit breaker opened) are by endpoint, `retries` by
    reason. `joined` counts asks that shared the call of an identical one in flight. `waiting` counts how long asks
    waited for each of their calls to begin, in buckets, and `waiting_s` is the sum. `journal_bytes` were written.
    """

    calls: dict[str, int] = {}
    opened: dict[str, int] = {}
    retries: dict[str, int] = {}
    joined: int = 0
    waiting: list[int] = []
    waiting_s: float = 0.0
    journal_bytes: int = 0

    def waited(self, seconds: float) -> None:
        """Count one wait."""
        if not self.waiting:
            self.waiting = [0] * (len(WAITING_BUCKETS_S) + 1)
        self.waiting[bisect_left(WAITING_BUCKETS_S, seconds)] += 1
        self.waiting_s += seconds

    def retried(self, reason: str) -> None:
        """Count one more call for an ask that had one."""
        self.retries[reason] = self.retries.get(reason, 0) + 1

    def add(self, other: Traffic, sign: int = 1) -> None:
        """Add another count to this one, or take it away."""
        for mine, theirs in ((self.calls, other.calls), (self.opened, other.opened), (self.retries, other.retries)):
            for name, n in theirs.items():
                mine[name] = mine.get(name, 0) + sign * n
        self.joined += sign * other.joined
        self.waiting_s += sign * other.waiting_s
        self.journal_bytes += sign * other.journal_bytes
        if other.waiting:
            mine_waiting = self.waiting or [0] * (len(WAITING_BUCKETS_S) + 1)
            self.waiting = [a + sign * b for a, b in zip(mine_waiting, other.waiting, strict=True)]

    def since(self, before: Traffic) -> Traffic:
        """What came to these counts after `before`, an earlier state of them."""
        more = Traffic()
        more.add(self)
        more.add(before, -1)
        return more


class EndpointLoad(msgspec.Struct):
    """One endpoint at this moment, as one shard or all of them have it.

    `permits` is how many calls may be open, `in_use` how many are; `breakers_open` counts open circuit breakers, of
    which each shard has one.
    """

    permits: int = 0
    in_use: int = 0
    breakers_open: int = 0

    def add(self, other: EndpointLoad) -> None:
        """Add another shard's."""
        self.permits += other.permits
        self.in_use += other.in_use
        self.breakers_open += other.breakers_open


class Vitals(msgspec.Struct):
    """How a shard fares (-1: the world), and the process that it is in, which it may share.

    `lag_s` is the most that its event loop was late since it was told last, `rss_bytes` the resident memory;
    `turns_s` is what its last tick took there, and `observe_s` how much of that it waited to be shown the world.
    """

    shard: int
    process: str = ""
    rss_bytes: int = 0
    lag_s: float = 0.0
    turns_s: float = 0.0
    observe_s: float = 0.0
    endpoints: dict[str, EndpointLoad] = {}


class Upkeep(msgspec.Struct):
    """What a run's coordinator did to keep it, so far: losses by who was lost, and the checkpoints that it saved.

    `checkpoint_s` is wall seconds of these, most of them behind the run, and `checkpoint_waited_s` what of them ticks
    waited for.
    """

    losses: dict[str, int] = {}
    recoveries: int = 0
    checkpoints: int = 0
    checkpoint_bytes: int = 0
    checkpoint_s: float = 0.0
    checkpoint_waited_s: float = 0.0

    def copy(self) -> Upkeep:
        """These counts as they are now."""
        return msgspec.structs.replace(self, losses=dict(self.losses))
