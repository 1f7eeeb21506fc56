"""What a turn leaves: timers, public fields of the right types, and answers that arrive typed or as `Abstained`."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest
from support.kernel_support import Doing, doing, make_shard, run_tick, send, sent

from populace.agents.activation import OnMail
from populace.agents.agent import Agent, Public
from populace.agents.context import Context
from populace.core.records import Answer
from populace.kernel.events import Answered, AskModel, LookWorld, OpenTick


def test_timers_wake_an_agent_in_their_tick_only() -> None:
    async def deed(agent: Doing, ctx: Context) -> None:
        if ctx.tick == 0:
            ctx.wake_at(2)
            ctx.wake_at(2)
            ctx.wake_at(np.int64(4))

    async def idle(agent: Doing, ctx: Context) -> None:
        assert ctx.time_s == ctx.tick * 60.0

    shard = make_shard([doing(deed), doing(idle)], activation=OnMail())
    assert [run_tick(shard, tick).agents.tolist() for tick in range(6)] == [[0, 1], [], [0], [], [0], []]


VALUES: list[Any] = []


def put(value: Any) -> int:
    """The place of a value that no agent could keep; its turn takes it from there."""
    VALUES.append(value)
    return len(VALUES) - 1


class Fields(Agent):
    a: Public[float] = 1.5
    b: Public[int] = 1
    c: Public[str] = "c"
    d: Public[bool] = True
    at: int = 0
    name: str = "a"

    async def turn(self, ctx: Context) -> None:
        ctx.send(0, "hello")
        if not self.name:
            del self.b
        else:
            setattr(self, self.name, VALUES[self.at])


@pytest.mark.parametrize(
    ("name", "value"),
    [("a", "x"), ("a", None), ("a", 10**400), ("b", 2.5), ("b", 2**63), ("b", 10**9999), ("c", 3), ("c", "\ud800"),
     ("d", 1), ("d", "yes"), ("b", [1]), ("", "delete")],
    ids=range(12),
)  # fmt: skip
def test_a_field_of_a_wrong_type_fails_its_turn_and_is_put_back(name: str, value: Any) -> None:
    bad, good = Fields(name=name, at=put(value)), Fields(name="a", at=put(9))
    done = run_tick(make_shard([bad, good]))
    assert [(failure.agent, failure.error) for failure in done.failures] == [(0, "BadField")]
    assert "Fields" in done.failures[0].message
    assert done.fields["agent"] == {"a": [1.5, 9.0], "b": [1, 1], "c": ["c", "c"], "d": [True, True]}
    assert (bad.a, bad.b, bad.c, bad.d) == (1.5, 1, "c", True)
    assert [row[0] for row in sent(done)] == [1]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("b", 2**63, "Fields.b is an int from -2**63 to 2**63 - 1, and 9223372036854775808 is beyond that"),
        ("b", -(2**63) - 1, "Fields.b is an int from -2**63 to 2**63 - 1, and -9223372036854775809 is beyond that"),
        ("b", 10**9999, "Fields.b is an int from -2**63 to 2**63 - 1, and an int of 33216 bits is beyond that"),
        ("a", 10**400, "Fields.a is a float of 64 bits, and an int of 1329 bits is beyond that"),
        ("c", 2**70, "Fields.c is a str, not 1180591620717411303424"),
    ],
    ids=range(5),
)
def test_a_number_beyond_its_fields_range_is_told_the_range(name: str, value: int, says: str) -> None:
    done = run_tick(make_shard([Fields(name=name, at=put(value))]))
    assert done.failures[0].message.startswith(says)


def test_numpy_values_and_ints_become_the_fields_type() -> None:
    values = [("a", np.float32(0.5)), ("b", np.int8(3)), ("b", True)]
    agents = [Fields(name=name, at=put(value)) for name, value in values]
    done = run_tick(make_shard(agents))
    assert not done.failures
    assert done.fields["agent"]["a"] == [0.5, 1.5, 1.5]
    assert [type(one) for one in done.fields["agent"]["b"]] == [int, int, int]


def test_answers_arrive_typed_or_as_abstained() -> None:
    heard: list[Any] = []

    class Number(msgspec.Struct):
        n: int

        def __post_init__(self) -> None:
            if self.n == 13:
                raise ZeroDivisionError("a validator of the user's")
            if self.n == 14:
                raise SystemExit

    async def deed(agent: Doing, ctx: Context) -> None:
        heard.extend([await ctx.ask("?", kind) for kind in (*[Number] * 4, str, list[Any], str)])

    texts = iter(['{"n": 3}', '{"n": "x"}', '{"n": 13}', '{"n": 14}', "\ud800", "[" * 100_000, ""])
    shard = make_shard([doing(deed)])
    effects = send(shard, OpenTick(0))
    while isinstance(effects[0], AskModel):
        (ask,) = effects[0].asks
        effects = send(shard, Answered([Answer(ask.agent, 0, ask.nth, "answered", next(texts), calls=1)]))
    (done,) = effects
    assert not isinstance(done, LookWorld)
    assert heard[0] == Number(3)
    assert [one.reason for one in heard[1:]] == ["schema"] * 6
    assert (done.counts.answered, done.counts.abstained, done.counts.calls) == (1, {"schema": 6}, 7)
    assert msgspec.msgpack.encode(shard.settle()["asks"]["answer"])
