"""A run as its observers see it: what the coordinator reports, with numbers that are easy to follow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from populace.core.records import Answer, Counts
from populace.monitoring.report import Observer, Pulse, TickReport
from populace.store.manifest import tally

AGENTS = 20


def tick_counts(tick: int) -> Counts:
    """The counts of one tick of a small society: every kind of end occurs."""
    counts = Counts(
        turns=AGENTS, turns_failed=tick % 2, sent=10, delivered=6, expired=1, refused={"inbox": 2, "size": 1},
        acted=5, applied=4, acts_refused={"unknown": 1}, asked=4,
    )  # fmt: skip
    for nth, (settled, reason) in enumerate(
        [("answered", ""), ("cached", ""), ("replayed", ""), ("abstained", "deadline" if tick % 2 else "schema")]
    ):
        billed = settled in ("answered", "abstained")
        answer = Answer(
            agent=nth, tick=tick, nth=0, settled=settled, reason=reason, calls=int(billed),
            tokens_in=247 * billed, tokens_out=11 * billed, cost_usd=0.0005 * billed, latency_s=0.3 * billed,
        )  # fmt: skip
        counts.settle([(answer, "revise")])
    return counts


def reports(ticks: int, tick_s: float = 2.0) -> Iterable[Pulse | TickReport]:
    """What an observer is told: four pulses a tick and its report."""
    total = Counts()
    for tick in range(ticks):
        begun = tick * tick_s
        for quarter in range(4):
            yield Pulse(
                tick=tick, turns_due=AGENTS, turns_done=quarter * AGENTS // 4, asks_waiting=3, asks_in_flight=1,
                wall_s=begun + quarter * tick_s / 4,
            )  # fmt: skip
        counts = tick_counts(tick)
        total.add(counts)
        so_far = Counts()
        so_far.add(total)
        yield TickReport(
            tick=tick + 1, ticks=ticks, agents=AGENTS, counts=counts, total=so_far,
            stages_s={"turns": 0.9 * tick_s, "resolve": 0.0005}, outcomes={"variance": float(tick)},
            wall_s=begun + tick_s,
        )  # fmt: skip


def tell(observer: Observer, events: Iterable[Pulse | TickReport]) -> None:
    """Hand the events on as the coordinator would."""
    for event in events:
        if isinstance(event, Pulse):
            observer.pulse(event)
        else:
            observer.tick(event)


def whole_manifest(ticks: int = 4, **changes: Any) -> dict[str, Any]:
    """The manifest of the run of `reports`."""
    total = Counts()
    for tick in range(ticks):
        total.add(tick_counts(tick))
    return {
        "status": "completed",
        "trace_hash": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "scenario": "polarization",
        "settings": {"model": {"kind": "scripted", "path": None}},
        "seed": 7,
        "versions": {"python": "3.11.7"},
        "agents": AGENTS,
        "ticks": ticks,
        **tally(total),
        "wall_s": 125.4,
        "peak_rss_mb": 312.6,
        **changes,
    }
