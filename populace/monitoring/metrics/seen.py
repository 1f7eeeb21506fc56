"""What a run has told of itself, as one frozen value that a scrape shows: a tick entirely or not at all."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Final

import msgspec

from populace.core.records import Counts
from populace.core.traffic import EndpointLoad, Upkeep, Vitals

STAGE_BUCKETS_S: Final = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
"""Upper edges, in seconds, of the buckets of a tick's stages (the last bucket is +Inf).

Prometheus' own series of defaults (0.005 to 10), thinned out, down to the ticks of rule agents and up to those of
slow models.
"""


class Stage(msgspec.Struct, frozen=True):
    """The wall seconds of one stage over the ticks so far: how many ticks fell in each bucket, and the sum."""

    buckets: tuple[int, ...] = (0,) * (len(STAGE_BUCKETS_S) + 1)
    sum_s: float = 0.0

    def and_also(self, seconds: float) -> Stage:
        """One tick more."""
        at = bisect_left(STAGE_BUCKETS_S, seconds)
        buckets = (*self.buckets[:at], self.buckets[at] + 1, *self.buckets[at + 1 :])
        return Stage(buckets, self.sum_s + seconds)


class Ceilings(msgspec.Struct, frozen=True):
    """What the run may use: money and tokens altogether, and requests and tokens a minute over its accounts.

    None where nothing is limited.
    """

    usd: float | None = None
    tokens: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None


class Seen(msgspec.Struct, frozen=True):
    """What a scrape shows. Never changed once made.

    `total` and what is counted here never falls: where a run goes back after a loss, it stays until the run has come
    as far again. `turns_s` is by shard, `rss_bytes` and `lag_s` by process.
    """

    scenario: str
    model: str
    labels: dict[str, str]
    shards: int
    agents: int
    ticks: int
    ceilings: Ceilings = Ceilings()
    tick: int = 0
    furthest: int = 0
    ticked_at_s: float = 0.0
    total: Counts = msgspec.field(default_factory=Counts)
    stages: dict[str, Stage] = {}
    turns_s: dict[int, float] = {}
    critical_share: float | None = None
    simulated_s: float = 0.0
    outcomes: dict[str, float] = {}
    asks_waiting: int = 0
    asks_in_flight: int = 0
    endpoints: dict[str, EndpointLoad] = {}
    rss_bytes: dict[str, int] = {}
    lag_s: dict[str, float] = {}
    upkeep: Upkeep = msgspec.field(default_factory=Upkeep)


def by_process(vitals: list[Vitals], own: str) -> tuple[dict[str, int], dict[str, float]]:
    """Memory and lag by process; a process of several shards goes by the first, the coordinator's by its own name."""
    names: dict[str, str] = {own: "coordinator"}
    rss: dict[str, int] = {}
    lag: dict[str, float] = {}
    for one in sorted(vitals, key=lambda one: one.shard):
        name = names.setdefault(one.process, "world" if one.shard < 0 else f"shard-{one.shard}")
        rss[name] = max(rss.get(name, 0), one.rss_bytes)
        lag[name] = max(lag.get(name, 0.0), one.lag_s)
    return rss, lag


def together(vitals: list[Vitals]) -> dict[str, EndpointLoad]:
    """The endpoints' loads over all shards."""
    loads: dict[str, EndpointLoad] = {}
    for one in vitals:
        for name, load in one.endpoints.items():
            loads.setdefault(name, EndpointLoad()).add(load)
    return loads


def at_least(now: Any, before: Any) -> Any:
    """Counts that are nowhere less than they were `before`: numbers, and what is made of them."""
    match now:
        case bool() | str() | None:
            return now
        case int() | float():
            return max(now, before)
        case list():
            longer = [*now, *[0] * (len(before) - len(now))]
            return [at_least(a, b) for a, b in zip(longer, [*before, *[0] * (len(longer) - len(before))], strict=True)]
        case dict():
            return {
                key: at_least(now[key], before[key]) if key in now and key in before else now.get(key, before.get(key))
                for key in {**before, **now}
            }
    names = type(now).__struct_fields__
    if before is None:
        return now
    fields = {}
    for name in names:
        mine, theirs = getattr(now, name), getattr(before, name)
        fields[name] = theirs if mine is None else mine if theirs is None else at_least(mine, theirs)
    return type(now)(**fields)
