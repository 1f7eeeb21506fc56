"""What the tests of the kernel share: a shard driven by hand, with no event loop and no transport."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from populace.agents.activation import Activation, EveryTick
from populace.agents.agent import Agent, Public, public_fields
from populace.agents.context import Context, Scope
from populace.core.records import Answer, Ask, Look
from populace.core.trace import TRACE_VERSION
from populace.kernel.bus import Envelope, Frame, gather, route, unpack_body
from populace.kernel.events import (
    Answered,
    AskModel,
    Effect,
    EndRun,
    Looked,
    LookWorld,
    Observe,
    OpenTick,
    Proceed,
    RunDone,
    Seen,
    TickDone,
)
from populace.kernel.plan import Hosted, ShardPlan
from populace.kernel.shard import Shard
from populace.kernel.turn import Failure

PLAN: Mapping[str, Any] = {
    "index": 0, "shards": 1, "attempt": 0, "observes": False, "live_turns": 1000, "inbox_messages": 1000,
    "frame_bytes": 2**20, "saved": False, "record_messages": True, "record_asks": True, "trace_version": TRACE_VERSION,
}  # fmt: skip
SCOPE: Mapping[str, Any] = {
    "seed": 7, "tick_seconds": 60.0, "parameters": None, "model": "scripted", "max_tokens": 50, "temperature": 0.5,
    "body_bytes": 1000, "sends_per_turn": 100, "actions": frozenset({"fund.pay"}),
    "queries": frozenset({"fund.paid", "fund.total"}),
}  # fmt: skip


def make_scope(population: int, **values: Any) -> Scope:
    return Scope(population=population, **(dict(SCOPE) | values))


def make_shard(
    agents: Sequence[Agent], *, activation: Activation | None = None, population: int | None = None, **values: Any
) -> Shard:
    """A shard of these agents; `values` change its plan and its scope. A `population` of n means n shards."""
    shards = {} if population is None else {"shards": population}
    plan = ShardPlan(**(dict(PLAN) | shards | {name: value for name, value in values.items() if name in PLAN}))
    size = len(agents) * plan.shards
    scope = make_scope(size, **{name: value for name, value in values.items() if name not in PLAN})
    kind = type(agents[0]) if agents else Agent
    return Shard(plan, scope, agents, {"agent": Hosted(kind, public_fields(kind), activation or EveryTick())})


def send(shard: Shard, event: Any) -> list[Effect]:
    """Hand the shard an event; whatever comes of it, the shard's state holds together."""
    effects = shard.handle(event)
    shard.validate()
    return effects


def answered(ask: Ask, text: str = "yes", **values: Any) -> Answer:
    return Answer(ask.agent, ask.tick, ask.nth, "answered", text, calls=1, tokens_in=3, tokens_out=2, **values)


def run_tick(
    shard: Shard,
    tick: int = 0,
    frames: Iterable[Frame] = (),
    *,
    answer: Callable[[Ask], Answer] = answered,
    look: Callable[[Look], Any] = lambda look: look.args,
    see: Callable[[int], dict[str, Any]] = lambda agent: {"me": agent},
) -> TickDone:
    """Run one tick to its end, in the plainest way."""
    todo = list(send(shard, OpenTick(tick, Envelope(list(frames)))))
    while True:
        effect = todo.pop(0)
        match effect:
            case TickDone():
                assert not todo
                return msgspec.structs.replace(effect, rows=shard.settle())
            case AskModel(asks):
                todo += send(shard, Answered([answer(ask) for ask in asks]))
            case LookWorld(batch, looks):
                todo += send(shard, Looked(batch, [look(one) for one in looks]))
            case Observe(agents):
                todo += send(shard, Seen([see(agent) for agent in agents.tolist()]))
            case Proceed():
                todo += send(shard, effect)


def end_run(shard: Shard, frames: Iterable[Frame] = ()) -> RunDone:
    (done,) = send(shard, EndRun(Envelope(list(frames))))
    assert isinstance(done, RunDone)
    return done


def failure_of(agent: Agent, **values: Any) -> Failure:
    """How the only turn of this agent fails."""
    (failure,) = run_tick(make_shard([agent], **values)).failures
    return failure


def sent(done: TickDone) -> list[tuple[int, int, int, Any]]:
    """(sender, receiver, nth, body) of what a tick sent, in the order (sender, nth)."""
    rows = []
    for frame in done.frames:
        columns = (frame.sender.tolist(), frame.receiver.tolist(), frame.nth.tolist())
        bodies = [frame.body[a:b] for a, b in zip(frame.offsets[:-1], frame.offsets[1:], strict=True)]
        rows += [(*row, unpack_body(body)) for *row, body in zip(*columns, bodies, strict=True)]
    return sorted(rows, key=lambda row: (row[0], row[2]))


def mail(tick: int, *messages: tuple[int, int, bytes], shards: int = 1, index: int = 0) -> list[Frame]:
    """Frames to shard `index` from (sender, receiver, packed body), sorted by sender."""
    by_sender: dict[int, tuple[list[int], list[bytes]]] = {}
    for sender, receiver, body in messages:
        to, bodies = by_sender.setdefault(sender, ([], []))
        to.append(receiver)
        bodies.append(body)
    turns = [(sender, *by_sender[sender]) for sender in sorted(by_sender)]
    frames = route(gather(tick, turns), source=0, shards=shards, attempt=0, frame_bytes=2**20)
    return [frame for frame in frames if frame.destination == index]


def same(one: Any, other: Any) -> bool:
    """Whether two records with arrays in them are equal."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return type(one) is type(other) and one.dtype == other.dtype and np.array_equal(one, other)
    if hasattr(one, "__struct_fields__"):
        return type(one) is type(other) and all(
            same(getattr(one, name), getattr(other, name)) for name in one.__struct_fields__
        )
    if isinstance(one, Mapping):
        return set(one) == set(other) and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


class Doing(Agent):
    """Does what a function says, so that a test reads as one piece."""

    do: int = 0
    score: Public[float] = 1.0

    async def turn(self, ctx: Context) -> None:
        await DEEDS[self.do](self, ctx)


DEEDS: list[Any] = []


def doing(deed: Any) -> Doing:
    DEEDS.append(deed)
    return Doing(do=len(DEEDS) - 1)
