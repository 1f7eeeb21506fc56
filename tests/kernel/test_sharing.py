"""Who asks an archetype, and who hears of it: the world's part and the shard's, in any order of what comes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support.simulator import society

from populace.core.claims import Claim
from populace.core.errors import ScenarioError
from populace.core.records import Answer, Ask
from populace.kernel.events import AskModel, ClaimAsks, Claimed, HeardAnswers, OpenTick, SeenColumns
from populace.kernel.sharing import Sharing


def claim(number: int, rows: int = 1, *, most: int = 9, key: bytes = b"k") -> Claim:
    return Claim(-2 - number, number, "voter", "vote", 0, rows, most, key + bytes([number]), (("user", f"{number}?"),))


def answer(number: int, text: str = "yes", tick: int = 4) -> Answer:
    return Answer(-2 - number, tick, number, "answered", text)


def test_the_first_that_claims_asks_and_the_others_hear() -> None:
    sharing = Sharing(4)
    assert sharing.claim(1, [claim(0, 3), claim(1)]) == [(-2, 0), (-3, 1)]
    assert sharing.claim(0, [claim(0, 2), claim(2)]) == [(-4, 2)]
    assert sharing.claim(1, [claim(0, 3), claim(1)]) == [(-2, 0), (-3, 1)], "asked again, the same"
    sharing.tell([answer(0), answer(1), answer(9), answer(2, tick=3)])
    sharing.tell([answer(0, "no"), answer(2)])
    assert sharing.take(0) == [answer(0)]
    assert sharing.take(1) == []
    assert sharing.claim(2, [claim(2, 4)]) == []
    assert sharing.take(2) == [answer(2)], "told already"
    assert sharing.claim(1, [claim(0, 1)]) == [(-2, 0)], "an earlier claim that comes later"
    rows = sharing.rows(7)
    numbers = {name: list(rows[name]) for name in ("agent", "nth", "stands_for")}
    assert numbers == {"agent": [-1] * 3, "nth": [7, 8, 9], "stands_for": [5, 1, 5]}
    assert [one[2:] for one in sharing.covered()] == [
        (5, b"k\0", False, "", "yes"), (1, b"k\1", False, "", "yes"), (5, b"k\2", False, "", "yes"),
    ]  # fmt: skip


def test_more_archetypes_than_a_purpose_allows_are_refused_wherever_they_are() -> None:
    sharing = Sharing(4)
    sharing.claim(0, [claim(0, most=2)])
    sharing.claim(1, [claim(0, most=2), claim(1, most=2)])
    with pytest.raises(ScenarioError, match=r"tick 4: ctx\.ask: agents of 'voter' have more than 2 different sets"):
        sharing.claim(2, [claim(2, most=2)])


def test_answers_that_come_before_it_is_said_who_asks_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(society, "CROWDED", True)
    ends = []
    for early in (True, False):
        shard = society.make_shard(0, 1, 0)
        effects = shard.handle(OpenTick(0))
        claims: list[Claim] = []
        for _ in range(2):
            effects += shard.handle(SeenColumns({"fund.total": np.zeros(6, int), "fund.mine": np.zeros(6, int)}))
        (first,) = [one for one in effects if isinstance(one, ClaimAsks)]
        claims = first.claims
        of = [(one.agent, one.nth) for one in claims]
        told = HeardAnswers([Answer(one.agent, 0, one.nth, "answered", "0001aaaa") for one in claims])
        then: list[Any] = []
        for event in (told, Claimed([], of, 0)) if early else (Claimed([], of, 0), told):
            then += shard.handle(event)
        ends.append([one.claims for one in then if isinstance(one, ClaimAsks)])
        assert shard.handle(told) == []
    assert ends[0] == ends[1]
    assert len(ends[0]) == 1


def test_what_a_shard_is_said_to_ask_itself_it_asks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(society, "CROWDED", True)
    shard = society.make_shard(0, 1, 0)
    shard.handle(OpenTick(0))
    effects = shard.handle(SeenColumns({}))
    (first,) = [one for one in effects if isinstance(one, ClaimAsks)]
    mine = [(one.agent, one.nth) for one in first.claims]
    (asked,) = shard.handle(Claimed(mine, mine, 0))
    assert isinstance(asked, AskModel)
    assert [(one.agent, one.nth) for one in asked.asks if isinstance(one, Ask)] == mine
    assert shard.handle(Claimed(mine, mine, 0)) == []
