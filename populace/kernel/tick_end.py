"""What a shard's tick comes to, once all its turns have ended: what it sent and refused, its counts and rows. Pure."""

from __future__ import annotations

import numpy as np

from populace.core.draws import WORLD
from populace.core.tables import TableRows
from populace.interventions.at_work import Levers
from populace.kernel.bus import Frame, Outgoing, count_messages, gather, route, split
from populace.kernel.columnar_tick import merge
from populace.kernel.events import TickDone
from populace.kernel.plan import ShardPlan
from populace.kernel.settling import Unsettled
from populace.kernel.tick import Tick


def routed(plan: ShardPlan, out: Outgoing, source: int) -> list[Frame]:
    """What was sent, as frames to shards and to the world; `source` is a shard, or the world."""
    return route(out, source=source, shards=plan.shards, attempt=plan.attempt, frame_bytes=plan.frame_bytes)


def tick_done(
    plan: ShardPlan, tick: Tick, levers: Levers, size: int
) -> tuple[TickDone, list[tuple[int, list[int]]], Unsettled]:
    """The tick's end, of a population of `size`, who is to be woken in which tick, and what is left to be done."""
    counts, number = tick.counts, tick.number
    came = tick.commit()
    taken = tick.columns.commit() if tick.columns else None
    woken = [(wake, [agent]) for wake, agent in came.wakes]
    woken += [(wake, ids.tolist()) for wake, ids in taken.wakes] if taken else []
    sent = gather(number, came.sent)
    if taken is not None:
        sent = merge(sent, taken.sent)
    out, unknown = split(sent, (sent.receiver >= WORLD) & (sent.receiver < size))
    allowed, blocked_by = np.ones(len(out.sender), np.bool_), TableRows()
    if levers:
        hit, blocked_by = levers.blocked(number, out.sender, out.receiver)
        allowed = ~hit
    out, blocked = split(out, allowed)
    counts.turns = len(came.agents)
    counts.turns_failed = len(came.failures)
    counts.asked += came.asked
    counts.said = came.contributed
    counts.acted = int((out.receiver == WORLD).sum())
    sent_out = len(out.sender) - counts.acted
    if taken is not None:
        counts.turns += taken.turns
        counts.acted += taken.acted
    counts.sent += sent_out + len(unknown.sender) + len(blocked.sender)
    if len(blocked.sender):
        counts.refused["blocked"] = len(blocked.sender)
    if len(unknown.sender):
        counts.refused["unknown_recipient"] = len(unknown.sender)
    frames = routed(plan, out, plan.index)
    done = TickDone(
        tick=number,
        shard=plan.index,
        agents=came.agents,
        digests=came.digests,
        fields=came.fields,
        frames=frames,
        counts=counts,
        failures=came.failures,
        sent=count_messages(frames),
        attempt=plan.attempt,
        whole={} if taken is None else taken.whole,
        sums={} if taken is None else taken.sums,
        learnt=[] if tick.stand_ins is None else tick.stand_ins.learnt,
    )
    return done, woken, Unsettled(tick, came, unknown, blocked, blocked_by)
