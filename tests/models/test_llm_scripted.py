"""The scripted model: answers fit their types, are keyed by (seed, agent, tick, nth), and take no clock."""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
from collections import Counter
from typing import Annotated, Any, Literal

import msgspec
import pydantic
import pytest

from populace.agents.answers import Choice, Chosen, compile_answer
from populace.budget.amounts import Rate
from populace.core.draws import Stream
from populace.core.records import Abstained, Answer, Ask
from populace.models.scripted.gateway import Scripted
from populace.models.scripted.generate import WORDS, compile_schema
from populace.settings import Latency


class Opinion(msgspec.Struct):
    attitude: Annotated[int, msgspec.Meta(ge=0, le=10)]
    why: Annotated[str, msgspec.Meta(min_length=30, max_length=40)]


class Side(enum.Enum):
    LEFT = "left"
    RIGHT = "right"


class Tree(msgspec.Struct):
    name: str
    children: list[Tree]
    parent: Tree | None = None


class Rich(pydantic.BaseModel):
    model_config = {"extra": "forbid"}
    side: Side
    kind: Literal["a", "b"]
    fixed: Literal[3]
    share: Annotated[float, pydantic.Field(gt=0, lt=1)]
    even: Annotated[int, pydantic.Field(gt=3, lt=12, multiple_of=2)]
    opinion: dict[str, int] | None
    pair: tuple[int, str]
    when: dt.date
    tags: Annotated[list[Annotated[int, pydantic.Field(ge=0, le=9)]], pydantic.Field(min_length=2, max_length=4)]


TYPES = [str, Choice("agree", "disagree"), Choice("100 %", "a", '"b"'), Opinion, Rich, Tree, int, list[int], bool]


def ask(agent: int, answer: Any, nth: int = 0, tick: int = 2) -> Ask:
    messages = (("system", "You are a voter."), ("user", "How do you feel?"))
    return Ask(agent, tick, nth, "feel", messages, compile_answer(answer), 100, 0.8, b"key")


def replies(gateway: Scripted, asks: list[Ask]) -> list[Answer]:
    got: list[Answer] = []
    gateway.offer(asks, got.extend)
    return got


@pytest.mark.parametrize("answer", TYPES, ids=str)
def test_every_answer_fits_its_type(answer: Any) -> None:
    asks = [ask(agent, answer) for agent in range(300)]
    answers = replies(Scripted(seed=1), asks)
    assert [(a.agent, a.settled, a.calls) for a in answers] == [(agent, "answered", 1) for agent in range(300)]
    for one in answers:
        asks[0].spec.read(one.text)
    assert len({one.text for one in answers}) > 1


def test_an_answer_depends_on_seed_agent_tick_and_nth_only() -> None:
    asks = [ask(agent, Opinion, nth, tick) for agent in range(5) for nth in range(3) for tick in range(3)]
    texts = [a.text for a in replies(Scripted(seed=1), asks)]
    backwards = [a.text for a in replies(Scripted(seed=1), asks[::-1])]
    assert texts == backwards[::-1]
    assert len(set(texts)) == len(texts)
    assert not set(texts) & {a.text for a in replies(Scripted(seed=2), asks)}


@pytest.mark.parametrize("labels", [("yes", "no"), ("a", "b", "c", "d")])
def test_labels_are_drawn_with_the_probabilities_that_the_answer_states(labels: tuple[str, ...]) -> None:
    answers = [
        compile_answer(Choice(*labels)).read(a.text)
        for a in replies(Scripted(seed=3), [ask(agent, Choice(*labels)) for agent in range(8000)])
    ]
    stated = Counter[str]()
    for one in answers:
        assert sum(one.probabilities.values()) == pytest.approx(1.0, abs=1e-5)
        stated.update(one.probabilities)
    drawn = Counter(one.label for one in answers)
    for label in labels:
        assert drawn[label] == pytest.approx(stated[label], abs=4 * (8000 * 0.25) ** 0.5)
        assert stated[label] == pytest.approx(8000 / len(labels), rel=0.1)


def test_bounds_are_reached_and_not_passed() -> None:
    draw = compile_schema({"type": "integer", "minimum": -1, "exclusiveMaximum": 3})
    assert {draw(Stream(0, agent, 0, "x")) for agent in range(200)} == {-1, 0, 1, 2}


def test_a_schema_that_cannot_be_drawn_from_abstains_and_says_what_to_do() -> None:
    class Plate(msgspec.Struct):
        number: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]

    [answer] = replies(Scripted(seed=1), [ask(0, Plate)])
    assert (answer.settled, answer.reason) == ("abstained", "error")
    assert "Plate" in answer.detail
    assert "answer(ask, draw)" in answer.detail


def test_a_function_of_the_users_gives_typed_values() -> None:
    def answer(asked: Ask, draw: Stream) -> Any:
        match asked.spec.kind:
            case "text":
                return f"agent {asked.agent} drew {draw.integer(10)}"
            case "choice":
                return Chosen("no", {"yes": 0.2, "no": 0.8}) if asked.agent else "yes"
        return Abstained("refusal", "rather not") if asked.agent else Opinion(3, "because I have always thought so")

    gateway = Scripted(seed=1, answer=answer)
    got = replies(gateway, [ask(agent, kind) for kind in (str, Choice("yes", "no"), Opinion) for agent in (0, 1)])
    assert got[0].text.startswith("agent 0 drew ")
    assert [msgspec.json.decode(a.text, type=Chosen).label for a in got[2:4]] == ["yes", "no"]
    assert compile_answer(Opinion).read(got[4].text) == Opinion(3, "because I have always thought so")
    assert (got[5].settled, got[5].reason, got[5].detail) == ("abstained", "refusal", "rather not")


@pytest.mark.parametrize(
    ("function", "reason", "words"),
    [
        (lambda _ask, _draw: 1 / 0, "error", "ZeroDivisionError"),
        (lambda _ask, _draw: "maybe", "schema", "maybe"),
        (lambda _ask, _draw: object(), "error", "TypeError"),
        (lambda _ask, _draw: "half a pair: \ud800", "error", "UnicodeEncodeError"),
    ],
)
def test_what_goes_wrong_in_the_function_is_told_of_it_by_file_and_line(function: Any, reason: str, words: str) -> None:
    gateway = Scripted(seed=1, answer=function)
    got = replies(gateway, [ask(0, Choice("yes", "no")), ask(1, Choice("yes", "no"))])
    assert [(a.settled, a.reason) for a in got] == [("abstained", reason)] * 2
    assert words in got[0].detail
    assert f"{__file__}:{function.__code__.co_firstlineno} in <lambda>: scripted(ask, draw)" in str(gateway.failure)


def test_tokens_and_cost_are_counted() -> None:
    [answer] = replies(Scripted(seed=1, rate=Rate.of(1.0, 2.0)), [ask(0, str)])
    assert answer.tokens_in == 8
    assert answer.tokens_out == -(-len(answer.text) // 4)
    assert answer.cost_usd == pytest.approx((answer.tokens_in + 2 * answer.tokens_out) * 1e-6)


def test_latency_is_drawn_for_each_ask_and_reported() -> None:
    async def run() -> tuple[list[Answer], Scripted]:
        gateway = Scripted(seed=1, latency=Latency(median_s=0.01, sigma=0.5))
        got: list[Answer] = []
        done = asyncio.Event()

        def deliver(batch: Any) -> None:
            got.extend(batch)
            if len(got) == 50:
                done.set()

        gateway.offer([ask(agent, str) for agent in range(50)], deliver)
        assert not got
        assert gateway.pressure().in_flight == 50
        await done.wait()
        return got, gateway

    got, gateway = asyncio.run(run())
    assert 0.003 < min(a.latency_s for a in got) < 0.01 < max(a.latency_s for a in got) < 0.1
    assert len({a.latency_s for a in got}) == 50
    assert gateway.pressure().in_flight == 0
    plain = {a.agent: a.text for a in replies(Scripted(seed=1), [ask(agent, str) for agent in range(50)])}
    assert {a.agent: a.text for a in got} == plain


def test_closing_delivers_what_latency_held_back() -> None:
    async def run() -> list[Answer]:
        gateway = Scripted(seed=1, latency=Latency(median_s=60.0))
        got: list[Answer] = []
        gateway.offer([ask(0, str), ask(1, str)], got.extend)
        await gateway.close()
        return got

    assert [(a.agent, a.settled, a.reason) for a in asyncio.run(run())] == [
        (0, "abstained", "interrupted"),
        (1, "abstained", "interrupted"),
    ]


def test_there_are_64_words() -> None:
    assert len(set(WORDS)) == 64
