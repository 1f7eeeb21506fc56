"""Turns, driven with no event loop: what may be awaited, what may be sent, and how one turn fails alone."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Generator
from typing import Any

import msgspec
import numpy as np
import pytest
from support.kernel_support import (
    Doing,
    answered,
    doing,
    end_run,
    failure_of,
    make_scope,
    make_shard,
    run_tick,
    send,
    sent,
)

from populace.agents.agent import Agent
from populace.agents.context import UNKNOWN, Context
from populace.core.records import Abstained, Answer, Ask, Look
from populace.kernel.events import OpenTick
from populace.kernel.turn import Turn
from populace.models.reading import read_as


def line_of(marker: str) -> str:
    with open(__file__, encoding="utf-8") as source:  # noqa: PTH123
        (line,) = [at for at, text in enumerate(source, 1) if text.rstrip().endswith(f"# {marker}")]
    return f"{__file__}:{line}"


class Own:
    def __await__(self) -> Generator[str, None, None]:
        yield "something"


async def awaits_sleep(agent: Doing, ctx: Context) -> None:
    await asyncio.sleep(0)  # here: sleep


async def awaits_future(agent: Doing, ctx: Context) -> None:
    loop = asyncio.new_event_loop()
    try:
        await asyncio.Future(loop=loop)  # here: future
    finally:
        loop.close()


async def awaits_own(agent: Doing, ctx: Context) -> None:
    await deeper()


async def deeper() -> None:
    await Own()  # here: own


@pytest.mark.parametrize(
    ("deed", "marker", "yielded"),
    [
        (awaits_sleep, "here: sleep", "NoneType"),
        (awaits_future, "here: future", "Future"),
        (awaits_own, "here: own", "str"),
    ],
)
def test_awaiting_anything_but_an_effect_names_the_line(deed: Any, marker: str, yielded: str) -> None:
    failure = failure_of(doing(deed))
    assert failure.error == "ForeignAwaitable"
    assert failure.where.startswith(line_of(marker) + " in ")
    assert yielded in failure.message


def test_what_a_turn_raises_while_it_is_closed_stays_in_the_turn() -> None:
    async def deed(agent: Doing, ctx: Context) -> None:
        try:
            await asyncio.sleep(0)
        finally:
            raise KeyError("while closing")

    assert failure_of(doing(deed)).error == "ForeignAwaitable"

    async def asks(agent: Doing, ctx: Context) -> None:
        try:
            await ctx.ask("?")
        finally:
            raise KeyError("while closing")

    shard = make_shard([doing(asks)])
    send(shard, OpenTick(0))
    assert end_run(shard).counts.imbalance() == []


async def never_awaits(agent: Doing, ctx: Context) -> None:
    ctx.ask("one")
    ctx.look("fund.total")
    await ctx.ask("two")


async def awaits_twice(agent: Doing, ctx: Context) -> None:
    ask = ctx.ask("one")
    await ask
    await ask


async def awaits_twice_and_leaves_one(agent: Doing, ctx: Context) -> None:
    first, _second = ctx.ask("one"), ctx.ask("two")
    await first
    await first


STASH: list[Any] = []


async def awaits_of_another(agent: Doing, ctx: Context) -> None:
    own = ctx.ask("mine")
    STASH.append(own)
    await STASH[0]


@pytest.mark.parametrize(
    ("deed", "error"),
    [
        (never_awaits, "NotAwaited"),
        (awaits_twice, "ForeignAwaitable"),
        (awaits_twice_and_leaves_one, "ForeignAwaitable"),
    ],
)
def test_an_effect_is_awaited_once(deed: Any, error: str) -> None:
    done = run_tick(make_shard([doing(deed)]))
    assert [failure.error for failure in done.failures] == [error]
    assert done.counts.asked == done.counts.answered == len(done.rows["asks"]["nth"]) == 1
    assert error != "NotAwaited" or "2 effect(s)" in done.failures[0].message


def test_an_effect_of_another_turn_is_foreign() -> None:
    STASH.clear()
    done = run_tick(make_shard([doing(awaits_of_another), doing(awaits_of_another)]))
    assert [(failure.agent, failure.error) for failure in done.failures] == [(1, "ForeignAwaitable")]
    STASH.clear()
    shard = make_shard([doing(awaits_of_another)])
    assert not run_tick(shard, 0).failures
    assert [failure.error for failure in run_tick(shard, 1).failures] == ["ForeignAwaitable"]  # its own, of tick 0


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda ctx: ctx.send(1, {1, 2}), "BadMessage", "not plain data"),
        (lambda ctx: ctx.send(1, object()), "BadMessage", "not plain data"),
        (lambda ctx: ctx.send(1, np.int64(3)), "BadMessage", "not plain data"),
        (lambda ctx: ctx.send(1, 2**64), "BadMessage", "not plain data"),
        (lambda ctx: ctx.send(1, "\ud800"), "BadMessage", "not plain data"),
        (lambda ctx: ctx.send(1, {(1, 2): 3}), "BadMessage", "cannot be a key"),
        (lambda ctx: ctx.send(1, [{"a": ({(1,): 3},)}]), "BadMessage", "cannot be a key"),
        (lambda ctx: ctx.send(1, "x" * 1000), "BadMessage", "bus.body_bytes is 1000"),
        (lambda ctx: ctx.send("12", 1), "BadMessage", "an agent's id"),
        (lambda ctx: ctx.send(1.5, 1), "BadMessage", "an agent's id"),
        (lambda ctx: ctx.send(None, 1), "BadMessage", "an agent's id"),
        (lambda ctx: ctx.send([1, "2"], 1), "BadMessage", "an agent's id"),
        (lambda ctx: ctx.send(range(101), 1), "BadMessage", "bus.sends_per_turn = 100"),
        (lambda ctx: ctx.send(itertools.count(), 1), "BadMessage", "bus.sends_per_turn = 100"),
        (lambda ctx: [ctx.send(1, 1) for _ in range(101)], "BadMessage", "bus.sends_per_turn = 100"),
        (lambda ctx: [ctx.act("fund.pay") for _ in range(101)], "BadAction", "bus.sends_per_turn = 100"),
        (lambda ctx: ctx.act("fund.steal"), "BadAction", "it has fund.pay"),
        (lambda ctx: ctx.act("fund.pay", to={1}), "BadAction", "not plain data"),
        (lambda ctx: ctx.act("fund.pay", to={(1, 2): 3}), "BadAction", "cannot be a key"),
        (lambda ctx: ctx.act("fund.pay", to="x" * 1000), "BadAction", "bus.body_bytes is 1000"),
        (lambda ctx: ctx.look("fund.loss"), "LookupError", "it has fund.paid, fund.total"),
        (lambda ctx: ctx.look("fund.paid", to={1}), "BadAsk", "not plain data"),
        (lambda ctx: ctx.look("fund.paid", to="x" * 1000), "BadAsk", "bus.body_bytes is 1000"),
        (lambda ctx: ctx.ask(5), "BadAsk", "text"),
        (lambda ctx: ctx.ask("?", purpose=None), "BadAsk", "text"),
        (lambda ctx: ctx.ask("\ud800"), "BadAsk", "surrogates"),
        (lambda ctx: ctx.ask("?", object), "BadAsk", "object"),
        (lambda ctx: ctx.ask("?", {"a": 1}), "BadAsk", "a dict cannot be an answer type"),
        (lambda ctx: ctx.wake_at(0), "ValueError", "it is tick 0 already"),
        (lambda ctx: ctx.wake_at(2.5), "TypeError", "integer"),
    ],
)
def test_what_cannot_be_is_an_error_at_the_call_and_the_turn_can_go_on(call: Any, error: str, says: str) -> None:
    async def deed(agent: Doing, ctx: Context) -> None:
        call(ctx)

    failed = run_tick(make_shard([doing(deed)], population=5))
    (failure,) = failed.failures
    assert failure.error == error
    assert says in failure.message
    assert failure.where.startswith(__file__)
    assert not failed.frames

    async def survives(agent: Doing, ctx: Context) -> None:
        ctx.send(2, "before")
        try:
            call(ctx)
        except Exception as caught:
            ctx.send(np.int64(3), type(caught).__name__)

    done = run_tick(make_shard([doing(survives)], population=5, sends_per_turn=200))
    assert not done.failures or "bus.sends_per_turn" in says
    if "bus.sends_per_turn" not in says:
        assert sent(done) == [(0, 2, 0, "before"), (0, 3, 1, error)]


def test_a_send_that_is_refused_for_the_bound_sends_nothing() -> None:
    async def deed(agent: Doing, ctx: Context) -> None:
        ctx.send(range(3), "all")
        with pytest.raises(Exception, match="sends_per_turn = 4"):
            ctx.send([0, 1], "too many")
        ctx.send(0, "last")

    done = run_tick(make_shard([doing(deed)], population=3, sends_per_turn=4))
    assert not done.failures
    assert [row[3] for row in sent(done)] == ["all", "all", "all", "last"]


def test_recipients_that_cannot_exist_are_counted_and_no_error() -> None:
    async def deed(agent: Doing, ctx: Context) -> None:
        for to in (-1, -7, 2**31, 2**80, 5, [1, 2**31 - 1], np.array([0, 6])):
            ctx.send(to, "hello")

    done = run_tick(make_shard([doing(deed)], population=5))
    assert not done.failures
    assert [row[1] for row in sent(done)] == [1, 0]
    assert done.counts.refused == {"unknown_recipient": 7}
    assert done.counts.sent == 9
    assert done.counts.acted == 0, "a message to -1 is no action on the world"
    assert set(done.rows["messages"]["receiver"].tolist()) == {UNKNOWN, 5, 6, 2**31 - 1}


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), RecursionError(), StopIteration(3), asyncio.CancelledError(), SystemExit(4), GeneratorExit()],
)
def test_whatever_a_turn_raises_ends_that_turn_only(error: BaseException) -> None:
    async def bad(agent: Doing, ctx: Context) -> None:
        agent.score = 2.0
        ctx.send(1, "dropped")
        ctx.act("fund.pay")
        ctx.wake_at(3)
        await ctx.ask("why?", purpose="reason")
        raise error

    async def good(agent: Doing, ctx: Context) -> None:
        ctx.send(0, "kept")

    shard = make_shard([doing(bad), doing(good)])
    done = run_tick(shard)
    (failure,) = done.failures
    assert (failure.agent, failure.tick) == (0, 0)
    assert failure.error in {type(error).__name__, "RuntimeError"}  # PEP 479 turns StopIteration into RuntimeError
    assert failure.where.startswith(__file__) or isinstance(error, StopIteration)
    assert "asked (reason): answered" in failure.story
    assert "2 message(s) and action(s) dropped" in failure.story
    assert "Traceback" in failure.story
    if not isinstance(error, StopIteration):
        assert 'File "kernel_support.py", line' in failure.story, "from the society's folder"
        assert failure.where.startswith("/"), "where a person finds it now"
    assert sent(done) == [(1, 0, 0, "kept")]
    assert shard.timers == {}
    assert done.fields["agent"]["score"] == [2.0, 1.0], "what it changed in its own fields stays"
    assert (done.counts.turns, done.counts.turns_failed, done.counts.acted) == (2, 1, 0)


def test_ctrl_c_is_nobodys_turn() -> None:
    async def deed(agent: Doing, ctx: Context) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_shard([doing(deed)]).handle(OpenTick(0))


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize("error", [Mute(), ValueError("\ud800" * 5000)], ids=["mute", "surrogates"])
def test_failures_can_be_written_down(error: Exception) -> None:
    async def deed(agent: Doing, ctx: Context) -> None:
        raise error

    failure = failure_of(doing(deed))
    assert msgspec.msgpack.encode(failure)
    assert 0 < len(failure.message) <= 2000


def test_a_turn_that_is_no_coroutine_fails_alone() -> None:
    class Plain(Agent):
        def turn(self, ctx: Context) -> None:  # type: ignore[override]
            return None

    assert failure_of(Plain()).error == "AttributeError"


def test_a_look_that_could_not_be_answered_is_raised_where_it_is_awaited() -> None:
    said: list[Any] = []

    async def deed(agent: Doing, ctx: Context) -> None:
        try:
            await ctx.look("fund.paid", agent=77)  # here: look
        except LookupError as error:
            said.append(str(error))
        said.append(await ctx.look("fund.paid", agents=(1, 2)))

    replies = iter([LookupError("no agent 77"), 3.0])
    looks: list[Look] = []
    done = run_tick(make_shard([doing(deed)]), look=lambda look: looks.append(look) or next(replies))
    assert not done.failures
    assert said == ["no agent 77", 3.0]
    assert [look.args for look in looks] == [{"agent": 77}, {"agents": [1, 2]}], "as they would cross to a process"

    async def lets_it_go(agent: Doing, ctx: Context) -> None:
        await ctx.look("fund.paid")  # here: uncaught

    failed = run_tick(make_shard([doing(lets_it_go)]), look=lambda look: LookupError("gone"))
    assert failed.failures[0].where.startswith(line_of("here: uncaught"))


def test_step_gives_effects_one_by_one_and_sends_their_values_back() -> None:
    class Two(Agent):
        heard: list[Any] = msgspec.field(default_factory=list)

        async def turn(self, ctx: Context) -> None:
            self.heard.append(await ctx.ask("?", system="be brief", max_tokens=9, temperature=0.0))
            self.heard.append(await ctx.look("fund.total"))

    agent = Two()
    turn = Turn(agent, 4, 0)
    ask = turn.begin(Context(4, 0, make_scope(9), turn))
    assert isinstance(ask, Ask)
    assert (ask.agent, ask.nth, ask.messages) == (4, 0, (("system", "be brief"), ("user", "?")))
    assert (ask.max_tokens, ask.temperature) == (9, 0.0)
    look = turn.step(Abstained("deadline"))
    assert isinstance(look, Look)
    assert turn.step(3) is None
    assert agent.heard == [Abstained("deadline"), 3]


class Reader:
    """An answer type that counts how often a text is read as it."""

    kind, schema, labels, key = "json", {"type": "integer"}, (), bytes(16)

    def __init__(self) -> None:
        self.texts: list[str] = []

    def read(self, text: str) -> list[int]:
        self.texts.append(text)
        return [int(text)]


def ask_of(reader: Reader) -> Ask:
    return Ask(0, 0, 0, "count", (("user", "?"),), reader, 10, 0.0, bytes(16))


def test_an_answer_that_was_read_as_its_type_is_not_read_again() -> None:
    reader = Reader()
    ask = ask_of(reader)
    value = ask.read("7")
    assert ask.take("7") is value
    assert reader.texts == ["7"]


def test_a_text_that_nobody_read_is_read_when_the_turn_takes_it() -> None:
    reader = Reader()
    ask = ask_of(reader)
    assert ask.take("7") == [7]
    ask.read("8")
    assert ask.take("9") == [9], "what was read of another text, as before a repair, is no answer to this one"
    assert ask.take("9") == [9], "nothing is kept of what a turn was given, which may change it"
    assert reader.texts == ["7", "8", "9", "9"]


def test_a_shard_takes_what_the_model_client_read() -> None:
    reader = Reader()

    async def deed(agent: Doing, ctx: Context) -> None:
        await ctx.ask("?", int)

    def answer(ask: Ask) -> Answer:
        ask.spec = reader
        text, reading = read_as(reader, "It is 7.", lenient=False, read=ask.read)
        assert (text, reading) == ("7", "extracted")
        return answered(ask, text)

    assert run_tick(make_shard([doing(deed)]), answer=answer).counts.answered == 1
    assert reader.texts == ["It is 7.", "7"], "once each: the strict try, and the value that was found"
