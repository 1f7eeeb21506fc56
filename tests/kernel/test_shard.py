"""A shard's results do not depend on how answers come: in any order, in any grouping, doubled, strayed."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.kernel_support import Doing, answered, doing, end_run, mail, make_shard, run_tick, same, send, sent

from populace.agents.activation import Every, OnMail, Sometimes
from populace.agents.agent import Agent, Public
from populace.agents.answers import Choice
from populace.agents.context import Context
from populace.core.errors import TransportError
from populace.core.records import Abstained, Answer, Ask, Counts
from populace.core.trace import DIGEST_BYTES
from populace.kernel import committed
from populace.kernel import tick as tick_module
from populace.kernel.bus import Envelope
from populace.kernel.events import Answered, AskModel, Looked, LookWorld, Observe, OpenTick, Proceed, Seen, TickDone
from populace.kernel.shard import Shard


class Citizen(Agent):
    """Asks, looks, sends, acts, draws and now and then fails, by its keyed draws."""

    mood: Public[float] = 0.0
    heard: int = 0

    async def turn(self, ctx: Context) -> None:
        draw = ctx.draw("what")
        self.heard += sum(message.body["n"] for message in ctx.inbox)
        for _ in range(draw.integer(4)):
            if draw.bernoulli(0.5):
                answer = await ctx.ask(f"agent {ctx.id}", Choice("yes", "no"), purpose=draw.choice(["a", "b"]))
                self.mood += -1.0 if isinstance(answer, Abstained) else len(answer.label)
            else:
                self.mood += await ctx.look("fund.paid", agent=ctx.id)
            ctx.send(draw.integer(12), {"n": ctx.id, "mood": self.mood})
        ctx.act("fund.pay", amount=self.mood)
        if draw.bernoulli(0.2):
            raise RuntimeError("a bad day")
        ctx.wake_at(ctx.tick + 1 + draw.integer(3))


def reply(ask: Ask) -> Answer:
    match (ask.agent * 7 + ask.nth) % 5:
        case 0:
            return Answer(ask.agent, ask.tick, ask.nth, "abstained", reason="deadline", calls=2)
        case 1:
            return answered(ask, "not json")
        case 2:
            return answered(ask, '{"label": "no"}', latency_s=0.25)
    return answered(ask, '{"label": "yes"}', cost_usd=0.5)


def society(**values: Any) -> Shard:
    return make_shard([Citizen() for _ in range(10)], observes=True, activation=Sometimes(0.3), **values)


def letters(tick: int) -> list[Any]:
    body = msgpack.packb({"n": 1})
    return mail(tick, (1, 2, body), (1, 2, body), (1, 9, body), (4, 2, body)) if tick >= 0 else []


def disordered(shard: Shard, tick: int, data: st.DataObject) -> TickDone:
    """One tick in which results come in an order, in groups and with doubles and strays that hypothesis picks."""
    effects, asks, looks, old = list(send(shard, OpenTick(tick, Envelope(letters(tick - 1))))), [], [], []
    more_to_begin = False
    while True:
        for effect in effects:
            match effect:
                case TickDone():
                    assert effect is effects[-1]
                    assert not asks
                    assert not looks
                    for event in (Answered(old), Looked(1, [0.0]), Seen([{}])):
                        assert send(shard, event) == [], "late events change nothing"
                    return msgspec.structs.replace(effect, rows=shard.settle())
                case Observe(agents):
                    assert send(shard, Answered([stray(tick)])) == [], "no turn begins before the world is seen"
                    effects = send(shard, Seen([{"me": agent} for agent in agents.tolist()]))
                    break
                case AskModel(more):
                    asks += more
                case LookWorld():
                    looks.append(effect)
                case Proceed():
                    assert not more_to_begin, "one is enough"
                    more_to_begin = True
        else:
            pick = data.draw(st.integers(0, len(asks) + len(looks) - 1 + more_to_begin))
            if pick == len(asks) + len(looks):
                more_to_begin = False
                effects = send(shard, Proceed())
            elif pick < len(looks):
                look = looks.pop(pick)
                values = [1.0 * one.agent for one in look.looks]
                effects = send(shard, Looked(look.batch, values))
                send_again = send(shard, Looked(look.batch, values))
                assert send_again == []
            else:
                group = data.draw(st.lists(st.sampled_from(asks), min_size=1, max_size=4, unique_by=id))
                asks = [ask for ask in asks if not any(ask is one for one in group)]
                answers = [reply(ask) for ask in group]
                known = st.sampled_from([*answers, *old, stray(tick), stray(tick - 1)])
                doubles = data.draw(st.lists(known, max_size=4))
                old += answers
                effects = send(shard, Answered([*answers, *doubles]))


def stray(tick: int) -> Answer:
    return Answer(99, tick, 0, "answered", "stray", calls=5)


def ordered(shard: Shard, tick: int) -> TickDone:
    return run_tick(shard, tick, letters(tick - 1), answer=reply, look=lambda look: 1.0 * look.agent)


def plain(done: TickDone) -> TickDone:
    """Without what is wall time or where in a file it happened."""
    return msgspec.structs.replace(done, failures=[(one.agent, one.error, one.story) for one in done.failures])


@settings(max_examples=60)
@given(st.data(), st.integers(1, 12), st.sampled_from([1, 2, 5, 256]))
def test_any_order_and_grouping_of_results_gives_the_same_tick(data: st.DataObject, live: int, stride: int) -> None:
    one, other = society(), society(live_turns=live)
    for tick in range(3):
        done = ordered(one, tick)
        with patch.multiple(tick_module, STRIDE=stride, LOOKS=2 * stride), patch.object(committed, "STRIDE", stride):
            assert same(plain(done), plain(disordered(other, tick, data)))
    assert {k: sorted(v) for k, v in one.timers.items()} == {k: sorted(v) for k, v in other.timers.items()}
    assert [agent.mood for agent in one.agents] == [agent.mood for agent in other.agents]


def test_a_tick_that_differs_is_seen_to_differ() -> None:
    first, changed = ordered(society(), 0), society()
    last = first.agents.tolist()[-1]
    changed.agents[last].mood = 0.5
    second = ordered(changed, 0)
    assert not same(plain(first), plain(second))
    at = (len(first.agents) - 1) * DIGEST_BYTES
    assert first.digests[at : at + DIGEST_BYTES] != second.digests[at : at + DIGEST_BYTES]
    assert first.digests[:at] == second.digests[:at]


def test_a_shards_books_balance_over_a_run_and_are_seen_not_to() -> None:
    shard, total, frames, acted = society(), Counts(), [], 0
    for tick in range(6):
        done = run_tick(shard, tick, frames, answer=reply, look=lambda look: 1.0)
        total.add(done.counts)
        frames = [frame for frame in done.frames if frame.destination == 0]
        acted += sum(len(frame) for frame in done.frames if frame.destination == -1)
    last = end_run(shard, frames)
    total.add(last.counts)
    total.applied = acted  # the world's side of the books
    assert total.turns_failed > 0
    assert total.refused["unknown_recipient"] > 0
    assert sum(total.abstained.values()) > 0
    assert total.imbalance() == []
    assert len(last.rows["messages"]["fate"]) == total.expired
    total.delivered -= 1
    total.answered += 1
    assert len(total.imbalance()) == 2


def asks_forever() -> Doing:
    async def deed(agent: Doing, ctx: Context) -> None:
        if ctx.id % 2:
            await ctx.look("fund.total")
        await ctx.ask("?")

    return doing(deed)


def live(shard: Shard) -> int:
    turns = [] if shard.open is None else shard.open.live()
    return sum(turn.coroutine is not None and turn.coroutine.cr_frame is not None for turn in turns)


@given(st.integers(1, 7), st.randoms())
def test_no_more_turns_are_open_than_the_bound(bound: int, random: Any) -> None:
    shard = make_shard([asks_forever() for _ in range(20)], live_turns=bound)
    todo, peak = list(send(shard, OpenTick(0))), 0
    while not isinstance(todo[0], TickDone):
        peak = max(peak, live(shard))
        effect = todo.pop(random.randrange(len(todo)))
        match effect:
            case AskModel(asks):
                for ask in asks:
                    todo += send(shard, Answered([answered(ask)]))
            case LookWorld(batch, looks):
                todo += send(shard, Looked(batch, [0] * len(looks)))
    assert peak == bound
    assert todo[0].counts.answered == 20
    assert shard.turns_due == 20


def test_mail_wakes_an_agent_and_the_bound_refuses_the_same_messages() -> None:
    async def deed(agent: Doing, ctx: Context) -> None:
        read.append((ctx.id, [message.body for message in ctx.inbox]))

    read: list[Any] = []
    bounds = {"activation": OnMail(), "inbox_messages": 2}
    shard = make_shard([doing(deed) for _ in range(5)], trace_version=1, **bounds)
    run_tick(shard, 0)
    assert [agent for agent, _ in read] == [0, 1, 2, 3, 4]
    read.clear()
    frames = mail(0, (3, 1, b"\x05"), (0, 1, b"\x06"), (4, 1, b"\x07"), (4, 2, b"\x08"))
    done = run_tick(shard, 1, frames)
    assert read == [(1, [6, 5]), (2, [8])], "in the order of version 1: by sender"
    assert (done.counts.delivered, done.counts.refused) == (3, {"inbox_full": 1})
    told = done.rows["messages"]
    assert told["sender"].tolist() == [0, 3, 4, 4]
    assert told["fate"] == ["delivered", "delivered", "refused:inbox_full", "delivered"]

    read.clear()
    for seed in range(20):
        fair = make_shard([doing(deed) for _ in range(5)], seed=seed, **bounds)
        run_tick(fair, 0)
        assert run_tick(fair, 1, frames).counts.refused == {"inbox_full": 1}
    assert {frozenset(bodies) for agent, bodies in read if agent == 1 and bodies} == {
        frozenset(two) for two in ([5, 6], [5, 7], [6, 7])
    }, "in that of version 2 it depends on the seed who has the places"


def test_who_is_due_follows_activation_mail_and_timers_together() -> None:
    async def deed(agent: Doing, ctx: Context) -> None:
        if ctx.tick == 0:
            ctx.wake_at(1)

    shard = make_shard([doing(deed) for _ in range(4)], index=1, shards=3, activation=Every(3, staggered=True))
    assert shard.roster.own("agent", 1, 3).tolist() == [1, 4, 7, 10]
    assert run_tick(shard, 0).agents.tolist() == []
    due = run_tick(shard, 2, mail(1, (0, 10, b"\x05"), shards=3, index=1)).agents.tolist()
    assert due == [1, 4, 7, 10]
    assert run_tick(shard, 3, mail(2, (0, 10, b"\x05"), shards=3, index=1)).agents.tolist() == [10]


def test_a_shard_with_nobody_due_closes_at_once() -> None:
    done = run_tick(make_shard([doing(None)], observes=True, activation=Sometimes(0.0)))
    assert done.agents.tolist() == []
    assert done.digests == b""
    assert done.counts == Counts()


def test_frames_of_another_tick_or_shard_and_a_tick_opened_twice_are_refused() -> None:
    for frames in (mail(5, (0, 0, b"\x05")), mail(0, (0, 1, b"\x05"), shards=2, index=1)):
        with pytest.raises(TransportError, match="got a frame of tick"):
            make_shard([asks_forever()]).handle(OpenTick(1, Envelope(frames)))
    shard = make_shard([asks_forever()])
    send(shard, OpenTick(0))
    with pytest.raises(TransportError, match="was opened while 0 is open"):
        shard.handle(OpenTick(1))


def test_an_end_in_the_middle_of_a_tick_counts_what_was_billed_and_drops_the_rest() -> None:
    closed: list[int] = []

    async def deed(agent: Doing, ctx: Context) -> None:
        try:
            await ctx.ask("one")
            ctx.send(0, "never sent")
            await (ctx.ask("two") if ctx.id else ctx.look("fund.total"))
        finally:
            closed.append(ctx.id)

    shard = make_shard([doing(deed) for _ in range(3)])
    unread = mail(-1, (1, 1, b"\x05"), (2, 1, b"\x06"))
    (effect,) = send(shard, OpenTick(0, Envelope(unread)))
    send(shard, Answered([answered(ask) for ask in effect.asks[:2]]))
    done = end_run(shard, unread)
    assert sorted(closed) == [0, 1, 2]
    assert (done.counts.expired, done.counts.calls, done.counts.tokens_in) == (2, 2, 6)
    assert done.counts.imbalance() == ["0 messages were sent and 2 were delivered, expired or refused"]
    assert done.rows["messages"]["fate"] == ["expired", "expired"]
    for event in (Answered([answered(ask) for ask in effect.asks]), Looked(1, [0]), Seen([])):
        assert send(shard, event) == [], "nothing lives on"


def test_what_is_not_recorded_takes_no_room_and_changes_no_digest() -> None:
    quiet, loud = society(record_messages=False, record_asks=False), society()
    for tick in range(3):
        one, other = ordered(quiet, tick), ordered(loud, tick)
        assert one.rows == {}
        assert one.digests == other.digests
        assert sent(one) == sent(other)
    assert other.rows["messages"]["fate"]
