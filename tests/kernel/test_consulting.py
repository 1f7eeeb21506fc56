"""The consultations of a tick's end, driven by hand: any grouping of answers, doubles, and what is not theirs."""

from __future__ import annotations

import random
from typing import Any

import pytest
from support.env_support import opened
from support.kernel_support import answered, make_scope

from populace.core.draws import WORLD
from populace.core.records import Abstained, Answer, Ask
from populace.env import Part
from populace.kernel.consulting import Consulting


class Asking(Part):
    """Asks three at once, then one, and keeps what it was told."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.told: list[Any] = []

    async def consult(self, ctx: Any) -> list[tuple[int, Any]]:
        self.told += await ctx.ask_all([ctx.ask(f"{self.name} {n} {ctx.draw('lot').integer(9)}") for n in range(3)])
        self.told += await ctx.ask_all([])
        self.told.append(await ctx.ask(f"{self.name}, after {self.told}"))
        return [(0, self.told[-1])]


def consulting() -> tuple[Consulting, list[Asking]]:
    parts = [Asking("one"), Asking("two")]
    return Consulting(opened(2, *parts), make_scope(2)), parts


def drive(order: int) -> tuple[list[Any], list[bytes], list[tuple[int, Any]]]:
    one, parts = consulting()
    draw = random.Random(order)
    waiting = one.begin()
    while not one.ended:
        draw.shuffle(waiting)
        now, waiting = waiting[:1], waiting[1:]
        replies = [answered(ask, f"to {ask.nth}") for ask in now]
        waiting += one.answer(replies)
        if not one.ended:
            assert one.answer(replies) == [], "an answer that comes twice changes nothing"
    assert [ask.nth for ask in one.asks] == [answer.nth for answer in one.answers] == list(range(8))
    assert one.counts.asked == one.counts.answered == 8
    return [part.told for part in parts], [ask.key for ask in one.asks], one.emissions


def test_answers_in_any_order_and_grouping_come_to_the_same():
    first = drive(0)
    assert first[0] == [["to 0", "to 1", "to 2", "to 3"], ["to 4", "to 5", "to 6", "to 7"]]
    assert first[2] == [(0, "to 3"), (0, "to 7")]
    assert all(drive(order) == first for order in range(1, 10))


def test_parts_consult_one_after_another_and_draw_each_for_itself():
    one, _ = consulting()
    asks = one.begin()
    assert [ask.agent for ask in asks] == [WORLD] * 3
    assert all(ask.messages[0][1].startswith("one ") for ask in asks)
    assert one.answer([answered(ask) for ask in asks])[0].messages[0][1].startswith("one, after")


def test_what_is_not_asked_here_changes_nothing():
    one, parts = consulting()
    asks = one.begin()
    strangers = [
        Answer(0, 0, 0, "answered", "an agent's"),
        Answer(WORLD, 1, 0, "answered", "another tick's"),
        Answer(WORLD, 0, 7, "answered", "of none"),
    ]
    assert one.answer(strangers) == []
    one.answer([answered(ask, "yes") for ask in asks])
    assert parts[0].told == ["yes"] * 3


def test_an_answer_that_cannot_be_read_is_an_abstention_that_is_counted():
    one, parts = consulting()
    asks = one.begin()
    one.answer([answered(ask, "" if ask.nth else "yes") for ask in asks])
    assert [isinstance(told, Abstained) for told in parts[0].told] == [False, True, True]
    assert one.counts.abstained == {"schema": 2}


def test_a_part_that_waits_can_be_closed():
    one, _ = consulting()
    one.begin()
    one.close()
    assert not one.ended


@pytest.mark.parametrize("nth", [0, 3])
def test_control_an_answer_that_is_dropped_keeps_the_part_waiting(nth):
    one, parts = consulting()
    waiting: list[Ask] = one.begin()
    while waiting:
        waiting = one.answer([answered(ask) for ask in waiting if ask.nth != nth])
    assert not one.ended
    assert len(parts[1].told) == 0
