"""Turns that begin before their tick is open: drawn influences, orders of answers and windows, by hand on one shard."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kernel_support import PLAN, answered, make_scope, send

from populace.agents.activation import Sometimes
from populace.agents.agent import Agent, Public, public_fields
from populace.agents.context import Context
from populace.cluster.wire import pack, unpack_notices
from populace.core.errors import TransportError
from populace.core.records import Ask
from populace.core.trace import Trace
from populace.kernel.ahead import Ahead
from populace.kernel.bus import Envelope, Frame
from populace.kernel.events import (
    Answered,
    AskModel,
    EndRun,
    HeardShards,
    Looked,
    LookWorld,
    OpenTick,
    Proceed,
    TellShards,
    TickDone,
)
from populace.kernel.influence import Influence, influence_of
from populace.kernel.notices import Notice
from populace.kernel.plan import Hosted, ShardPlan
from populace.kernel.shard import Shard

SIZE = 7
TICKS = 6


class Teller(Agent):
    """Asks, reads those who influence it, tells those whom it influences, and wakes, by its keyed draws."""

    mood: Public[float] = 0.0
    heard: list[int] = []

    async def turn(self, ctx: Context) -> None:
        by, onto = ctx.parameters
        draw = ctx.draw("what")
        self.heard = [*self.heard[-2:], *(message.body["n"] for message in ctx.inbox)]
        self.mood += sum(message.body["mood"] for message in ctx.inbox) / 7.0
        for _ in range(draw.integer(3)):
            self.mood += len(await ctx.ask(f"{ctx.id} {self.mood} {self.heard}"))
        if draw.bernoulli(0.5):
            read = await ctx.look("columns.of", agents=[ctx.id, *by[ctx.id]], fields=["mood"])
            self.mood += 0.01 * sum(read["mood"])
        if draw.bernoulli(0.15):
            raise RuntimeError("a bad day")
        ctx.send([one for one in onto[ctx.id] if draw.bernoulli(0.7)], {"n": ctx.id, "mood": self.mood})
        if draw.bernoulli(0.4):
            ctx.wake_at(ctx.tick + 1 + draw.integer(2))


def lists(influence: Influence) -> list[list[int]]:
    return [influence.of(one).tolist() for one in range(influence.agents)]


def shard_of(influence: Influence, ahead: int, live_turns: int, due: float, index: int = 0, shards: int = 1) -> Shard:
    values = {"influence": influence, "ahead": ahead, "ticks": TICKS, "live_turns": live_turns, "saved": True}
    values |= {"index": index, "shards": shards}
    plan = ShardPlan(**{**PLAN, **values})
    parameters = (lists(influence), lists(influence.reverse()))
    scope = make_scope(SIZE, parameters=parameters, queries=frozenset({"columns.of"}))
    agents: list[Agent] = [Teller(mood=float(one)) for one in range(index, SIZE, shards)]
    return Shard(plan, scope, agents, {"agent": Hosted(Teller, public_fields(Teller), Sometimes(due))})


class Play:
    """A run of one shard: the world is a column of moods, and what comes next is picked by `pick(n)` out of n."""

    def __init__(self, shard: Shard, pick: Any) -> None:
        self.shard = shard
        self.pick = pick
        self.trace = Trace()
        self.moods = [float(one) for one in range(SIZE)]
        self.asks: list[Ask] = []
        self.left: list[Any] = []
        self.most_ahead = 0
        self.states: list[dict[int, bytes]] = []

    def run(self) -> Play:
        frames: list[Frame] = []
        for tick in range(TICKS):
            self.states.append(dict(self.shard.export(whole=True, tick=tick).agents))
            done = self.tick(tick, frames)
            frames = done.frames
            self.trace.commit(tick, [(done.agents, done.digests)], b"")
            for agent, mood in zip(done.agents.tolist(), done.fields.get("agent", {}).get("mood", []), strict=True):
                self.moods[agent] = mood
        assert self.asks == []
        (ended,) = send(self.shard, EndRun(Envelope(frames)))
        self.expired = ended.counts.expired
        return self

    def tick(self, tick: int, frames: list[Frame]) -> TickDone:
        todo = [*self.left, *send(self.shard, OpenTick(tick, Envelope(list(frames))))]
        while True:
            while todo:
                match todo.pop(0):
                    case TickDone() as done:
                        self.left = todo
                        return done
                    case AskModel(asks):
                        self.asks += asks
                        self.most_ahead = max(self.most_ahead, *(ask.tick - tick for ask in asks))
                    case LookWorld(batch, looks):
                        values = [{"mood": [self.moods[one] for one in look.args["agents"]]} for look in looks]
                        todo += send(self.shard, Looked(batch, values))
                    case Proceed():
                        todo += send(self.shard, Proceed())
            ask = self.asks.pop(self.pick(len(self.asks)))
            answer = answered(ask, "x" * (1 + (ask.agent + ask.nth + ask.tick) % 4))
            todo += send(self.shard, Answered([answer]))
            assert send(self.shard, Answered([answer])) == [], "an answer that comes twice changes nothing"


def first(_: int) -> int:
    return 0


@given(st.data())
@settings(max_examples=20, deadline=None)
def test_any_influence_any_order_any_window_is_the_same_run(data: st.DataObject) -> None:
    pairs = data.draw(st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(0, SIZE - 1)), max_size=14))
    influence = influence_of(SIZE, [one for one, _ in pairs], [one for _, one in pairs])
    due, live = data.draw(st.sampled_from([0.3, 0.8, 1.0])), data.draw(st.sampled_from([1, 2, 1000]))
    base = Play(shard_of(influence, 0, 1000, due), first).run()
    ahead = data.draw(st.sampled_from([1, 2, 5]))
    play = Play(shard_of(influence, ahead, live, due), lambda n: data.draw(st.integers(0, n - 1))).run()
    assert play.trace.ticks == base.trace.ticks
    assert (play.moods, play.states, play.expired) == (base.moods, base.states, base.expired)
    assert play.most_ahead <= ahead


class Several:
    """The same over several shards: what they tell one another is lost (0), doubled (1) or comes, by `fate`, late."""

    def __init__(self, shards: list[Shard], pick: Any, fate: Any) -> None:
        self.shards = shards
        self.pick = pick
        self.fate = fate
        self.trace = Trace()
        self.moods = [float(one) for one in range(SIZE)]
        self.asks: list[tuple[int, Ask]] = []
        self.notices: list[Notice] = []
        self.done: dict[int, TickDone] = {}
        self.most_ahead = 0
        self.states: list[dict[int, bytes]] = []
        self.tick = 0

    def run(self) -> Several:
        frames: list[Frame] = []
        for tick in range(TICKS):
            states = [shard.export(whole=True, tick=tick).agents for shard in self.shards]
            self.states.append({agent: row for one in states for agent, row in one.items()})
            self.tick, self.done = tick, {}
            closed = list(range(len(self.shards)))
            while len(self.done) < len(self.shards):
                self.step(closed, frames)
            frames = [frame for index in sorted(self.done) for frame in self.done[index].frames]
            self.trace.commit(tick, [(done.agents, done.digests) for done in self.done.values()], b"")
            for done in self.done.values():
                for agent, mood in zip(done.agents.tolist(), done.fields.get("agent", {}).get("mood", []), strict=True):
                    self.moods[agent] = mood
        assert self.asks == []
        return self

    def step(self, closed: list[int], frames: list[Frame]) -> None:
        """One of all that may happen next."""
        at = self.pick(len(closed) + len(self.asks) + len(self.notices))
        if at < len(closed):
            index = closed.pop(at)
            mine = [frame for frame in frames if frame.destination == index]
            self.carry_out(index, send(self.shards[index], OpenTick(self.tick, Envelope(mine))))
        elif (at := at - len(closed)) < len(self.asks):
            index, ask = self.asks.pop(at)
            answer = answered(ask, "x" * (1 + (ask.agent + ask.nth + ask.tick) % 4))
            self.carry_out(index, send(self.shards[index], Answered([answer])))
        else:
            notice, fate = self.notices.pop(at - len(self.asks)), self.fate()
            if fate == 1:
                self.notices.append(notice)
            if fate:
                self.carry_out(notice.destination, send(self.shards[notice.destination], HeardShards([notice])))

    def carry_out(self, index: int, todo: list[Any]) -> None:
        while todo:
            match todo.pop(0):
                case TickDone() as done:
                    self.done[index] = done
                case AskModel(asks):
                    self.asks += [(index, ask) for ask in asks]
                    self.most_ahead = max(self.most_ahead, *(ask.tick - self.tick for ask in asks))
                case LookWorld(batch, looks):
                    values = [{"mood": [self.moods[one] for one in look.args["agents"]]} for look in looks]
                    todo += send(self.shards[index], Looked(batch, values))
                case Proceed():
                    todo += send(self.shards[index], Proceed())
                case TellShards(notices):
                    self.notices += unpack_notices(pack(notices))


@given(st.data())
@settings(max_examples=20, deadline=None)
def test_any_influence_over_several_shards_is_the_same_run_whatever_becomes_of_notices(data: st.DataObject) -> None:
    pairs = data.draw(st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(0, SIZE - 1)), max_size=14))
    influence = influence_of(SIZE, [one for one, _ in pairs], [one for _, one in pairs])
    due, live = data.draw(st.sampled_from([0.3, 1.0])), data.draw(st.sampled_from([1, 1000]))
    base = Play(shard_of(influence, 0, 1000, due), first).run()
    ahead, count = data.draw(st.sampled_from([1, 5])), data.draw(st.sampled_from([2, 3]))
    shards = [shard_of(influence, ahead, live, due, index, count) for index in range(count)]
    draws = data.draw(st.randoms(use_true_random=False))
    play = Several(shards, draws.randrange, lambda: draws.randrange(8)).run()
    assert play.trace.ticks == base.trace.ticks
    assert (play.moods, play.states) == (base.moods, base.states)
    assert play.most_ahead <= ahead


def behind_agent_0(play: Several) -> Any:
    """Agent 0 is answered last, whatever else there is."""

    def pick(n: int) -> int:
        closed = n - len(play.asks) - len(play.notices)
        others = (at for at, (_, ask) in enumerate(play.asks, closed) if ask.agent)
        return next(iter((*range(closed), *range(closed + len(play.asks), n), *others)), closed)

    return pick


def test_other_shards_go_ahead_of_the_one_whose_agent_holds_a_tick_open() -> None:
    base = Play(shard_of(RING, 0, 1000, 1.0), first).run()
    play = Several([shard_of(RING, 4, 1000, 1.0, index, 2) for index in range(2)], None, lambda: 2)
    play.pick = behind_agent_0(play)
    assert play.run().trace.ticks == base.trace.ticks
    assert play.most_ahead >= 3


RING = influence_of(SIZE, range(SIZE), [(one + 1) % SIZE for one in range(SIZE)])


def slowest(shard: Shard) -> Play:
    """Agent 0 is answered last, whatever else there is."""
    play = Play(shard, None)
    play.pick = lambda n: next((at for at in range(n) if play.asks[at].agent), 0)
    return play.run()


def test_those_who_wait_for_nobody_slow_are_ahead_as_far_as_they_may() -> None:
    base = Play(shard_of(RING, 0, 1000, 1.0), first).run()
    play = slowest(shard_of(RING, 4, 1000, 1.0))
    assert play.trace.ticks == base.trace.ticks
    assert play.most_ahead >= 3
    nobody = influence_of(SIZE, [], [])
    assert slowest(shard_of(nobody, 4, 1000, 1.0)).most_ahead == 4


def hasty() -> Shard:
    """Turns that wait for their own agent alone."""
    shard, nobody = shard_of(RING, 4, 1000, 1.0), influence_of(SIZE, [], [])
    assert shard.ahead is not None
    shard.ahead._needs[:] = 1
    shard.ahead._onto = nobody
    return shard


def test_control_a_turn_that_does_not_wait_for_its_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    base = Play(shard_of(RING, 0, 1000, 1.0), first).run()
    with pytest.raises(TransportError, match="began before it could know"):
        slowest(hasty())
    monkeypatch.setattr(Ahead, "_check", lambda *_: None)
    assert slowest(hasty()).trace.ticks != base.trace.ticks


def test_influence_is_what_was_declared() -> None:
    influence = influence_of(4, [0, 0, 2, 2, 3], [1, 1, 2, 3, 0])
    assert lists(influence) == [[1], [], [3], [0]]
    assert lists(influence.reverse()) == [[3], [0], [], [2]]
    assert influence.allows(0, 1)
    assert influence.allows(1, 1)
    assert not influence.allows(1, 0)
    assert influence.strays(1, [-1, -2, 1, 0, 99]) is None
    assert influence.strays(1, [-1, 0, 3]) == 3


def test_an_influence_crosses_between_processes() -> None:
    from populace.cluster.parts import ShardPart
    from populace.cluster.wire import unpack_part

    part = ShardPart({}, [], [], False, [], [], RING)
    again = unpack_part(pack(part)).influence
    assert again is not None
    assert np.array_equal(again.offsets, RING.offsets)
    assert np.array_equal(again.by, RING.by)
