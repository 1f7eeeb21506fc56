"""Rounds within a tick, driven by hand: any order of contributions and ends of turns comes to the same exchanges."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.env_support import opened

from populace.core.errors import NotKept, ScenarioError
from populace.core.rounds import Contribution, Heard
from populace.env import LastRound, Part, Round
from populace.kernel.rounds import Rounds
from populace.kernel.trial import check_parts

AGENTS = 6


class Choir(Part):
    """Groups that a test gives; each hears who sang what, in the order of `said`, and a draw of the round's own."""

    def __init__(self, groups: Any, name: str = "choir", limit: int = 100, hold: Callable[..., Any] | None = None):
        super().__init__(name)
        self.rounds_per_tick = limit
        self.given = groups
        self.hold = hold

    def groups(self, tick: int) -> Any:
        return self.given

    def round(self, now: Round) -> Any:
        if self.hold is not None:
            return self.hold(self, now)
        lot = self.world.draw("lot").integer(10**9)
        return {agent: [now.number, [[one, said] for one, said in now.said.items()], lot] for agent in now.said}


def rounds(*parts: Part, shards: int = 1, due: Mapping[int, list[int]] | None = None) -> Rounds:
    found = Rounds(opened(AGENTS, *parts), 7, shards)
    for shard in range(shards):
        mine = list(range(shard, AGENTS, shards)) if due is None else due[shard]
        found.attend(shard, np.array(mine, np.int32))
    return found


def say(agent: int, body: Any, nth: int = 0, part: str = "choir", group: Any = None) -> Contribution:
    return Contribution(agent, part, group, msgpack.packb(body), nth)


def heard(found: list[Heard]) -> dict[int, Any]:
    return {one.agent: msgpack.unpackb(one.body) if one.fate == "heard" else (one.fate, one.reason) for one in found}


def test_a_round_is_over_when_every_member_has_contributed():
    now = rounds(Choir({"a": [0, 1, 2]}))
    now.tell(0, [say(0, "la"), say(2, "li")], [])
    assert now.take(0) == []
    now.tell(0, [say(1, "lu")], [])
    told = heard(now.take(0))
    assert set(told) == {0, 1, 2}
    assert sorted(told[0][1]) == [[0, "la"], [1, "lu"], [2, "li"]]
    assert now.take(0) == []
    assert (now.counts.rounds, now.counts.heard) == (1, 3)
    now.validate()


def test_who_has_left_is_not_waited_for():
    now = rounds(Choir({"a": [0, 1, 2], "b": [3, 4]}), due={0: [0, 1, 3, 4]})  # 2 takes no turn
    now.tell(0, [say(0, "la"), say(3, "li")], [])
    assert now.take(0) == []
    now.tell(0, [], [1])
    assert set(heard(now.take(0))) == {0}
    now.tell(0, [], [4, 5])
    assert set(heard(now.take(0))) == {3}


def test_no_round_is_over_before_every_shard_has_said_who_takes_a_turn():
    part = Choir({"a": [0, 1]})
    now = Rounds(opened(AGENTS, part), 7, 2)
    assert now.attend(0, np.array([0, 2, 4], np.int32)).tolist() == [0]
    now.tell(0, [say(0, "la")], [])
    assert now.take(0) == []
    now.attend(0, np.array([0, 2, 4], np.int32))
    assert now.take(0) == [], "said twice by one shard"
    assert now.attend(1, np.array([3], np.int32)).tolist() == []
    assert set(heard(now.take(0))) == {0}, "1 takes no turn"


def test_whose_turn_ended_before_the_other_shards_are_there_has_left():
    now = Rounds(opened(AGENTS, Choir({"a": [0, 1]})), 7, 2)
    now.attend(0, np.array([0], np.int32))
    now.tell(0, [], [0])
    now.attend(1, np.array([1], np.int32))
    now.tell(1, [say(1, "la")], [])
    assert set(heard(now.take(1))) == {1}


def test_what_comes_twice_changes_nothing():
    now = rounds(Choir({"a": [0, 1]}))
    now.tell(0, [say(0, "la"), say(0, "la")], [])
    now.tell(0, [say(1, "li"), say(0, "la")], [])
    now.tell(0, [say(1, "li")], [])
    assert set(heard(now.take(0))) == {0, 1}
    now.tell(0, [say(0, "lo", 1)], [1, 1])
    assert heard(now.take(0))[0][0] == 1
    assert (now.counts.rounds, now.counts.heard) == (2, 3)


def test_past_the_limit_the_exchange_is_closed():
    now = rounds(Choir({"a": [0, 1]}, limit=1))
    now.tell(0, [say(0, "la"), say(1, "li")], [])
    now.take(0)
    assert now.transcript()["choir"][0].closed == "", "nobody wanted more"
    now.tell(0, [say(1, "more", 1)], [])
    assert heard(now.take(0)) == {1: ("closed", "limit")}, "at once"
    now.tell(0, [say(0, "more", 1)], [])
    assert heard(now.take(0)) == {0: ("closed", "limit")}
    assert now.counts.unheard == {"limit": 2}
    assert now.transcript()["choir"][0].closed == "limit"


def test_a_part_knows_which_round_is_the_last_that_may_be():
    now = rounds(Choir({"a": [0]}, limit=2, hold=lambda _part, now: {0: now.last}))
    now.tell(0, [say(0, "la")], [])
    now.tell(0, [say(0, "li", 1)], [])
    assert [msgpack.unpackb(one.body) for one in now.take(0)] == [False, True]


def test_a_part_closes_with_what_is_heard_last():
    now = rounds(Choir({"a": [0, 1]}, hold=lambda _part, now: LastRound({0: sum(now.said.values())}, "agreed")))
    now.tell(0, [say(0, 3), say(1, 4)], [])
    assert heard(now.take(0)) == {0: 7, 1: None}
    now.tell(0, [say(0, 5, 1)], [])
    assert heard(now.take(0)) == {0: ("closed", "agreed")}


def test_an_agent_goes_through_its_groups_in_their_order():
    first, second = Choir({"a": [0, 1], "b": [0, 2]}, "first"), Choir({"c": [0, 1]}, "second")
    now = rounds(first, second)
    now.tell(0, [say(1, "la", part="first"), say(0, "li", part="first", group="b")], [])
    assert set(heard(now.take(0))) == {1}, "0 has left group a for b"
    now.tell(0, [say(2, "lo", part="first")], [])
    assert set(heard(now.take(0))) == {0, 2}
    now.tell(0, [say(0, "lu", 1, part="second"), say(1, "le", 1, part="second")], [])
    assert set(heard(now.take(0))) == {0, 1}
    now.tell(0, [say(0, "back", 2, part="first", group="a")], [])
    (told,) = now.take(0)
    assert told.fate == "failed"
    assert "has left group 'a' of 'first'" in told.reason


@pytest.mark.parametrize(
    ("contribution", "why"),
    [
        (say(5, "la"), "agent 5 is in no group of 'choir' in this tick; it is in: none"),
        (say(1, "la", group="z"), "in no group of 'choir' called 'z' in this tick; it is in: 'a'"),
        (say(0, "la"), "in several groups of 'choir': say which, group=... of 'a', 2"),
    ],
)
def test_who_cannot_contribute_is_told_why(contribution, why):
    now = rounds(Choir({"a": [0, 1], 2: [0, 2]}))
    now.tell(0, [contribution], [])
    (told,) = now.take(0)
    assert told.fate == "failed"
    assert why in told.reason
    assert now.counts.unheard == {"no_group": 1}


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Choir([[0, 1]]), r"part 'choir', groups .*gives a list"),
        (Choir(np.ones((2, 2))), r"part 'choir', groups .*gives a ndarray"),
        (Choir({"a": [0, 0]}), r"members of group 'a' have to be different ids from 0 to 5"),
        (Choir({"a": [6]}), r"members of group 'a'"),
        (Choir({"a": "x"}), r"members of group 'a' have to be ids: 'str' object"),
        (Choir({"a": 3}), r"members of group 'a' have to be ids: 'int' object"),
        (Choir({"a": [0.5]}), r"members of group 'a' have to be ids: 'float' object"),
        (Choir({2**64: [0]}), r"part 'choir', groups, the name of a group: it holds an int of more than 64 bits"),
        (Choir({"\ud800": [0]}), r"the name of a group: it holds a text with lone surrogates"),
        (Choir({"a": [0]}, limit=-1), r"part 'choir': rounds_per_tick = -1 has to be a whole number"),
        (Choir({"a": [0]}, limit=1.5), r"rounds_per_tick = 1\.5"),  # type: ignore[arg-type]
        (Choir({"a": [0]}, limit="3"), r"rounds_per_tick = '3'"),  # type: ignore[arg-type]
        (Choir({None: [0]}), r"a group's name is a text or a whole number"),
    ],
)
def test_groups_that_cannot_be_are_named(part, message):
    with pytest.raises(ScenarioError, match=message):
        rounds(part)


@pytest.mark.parametrize(
    ("hold", "message"),
    [
        (lambda _part, _now: 1 / 0, r"part 'choir', round 0 of group 'a': ZeroDivisionError.*test_rounds\.py"),
        (lambda _part, _now: None, r"gives a NoneType"),
        (lambda _part, _now: {0: object()}, r"round 0 of group 'a': TypeError: object is not plain data"),
        (lambda _part, _now: {0: {"a", "b"}}, r"round 0 of group 'a': a set has no order"),
        (lambda _part, _now: {0: 2**64}, r"round 0 of group 'a': it holds an int of more than 64 bits"),
        (lambda _part, _now: {3: "x"}, r"gives 3 something to hear, who is no member; the members are \[0\]"),
        (lambda _part, _now: {"x": 1}, r"gives 'x' something to hear"),
        (lambda _part, _now: LastRound({}, "all done"), r"the reason of LastRound is one word"),
        (lambda _part, _now: LastRound({}, "limit"), r"the reason of LastRound is one word"),
    ],
)
def test_a_round_that_fails_names_the_part(hold, message):
    now = rounds(Choir({"a": [0]}, hold=hold))
    with pytest.raises(ScenarioError, match=message):
        now.tell(0, [say(0, "la")], [])


def test_a_part_that_keeps_something_in_a_round_is_refused():
    class Keeping(Choir):
        def round(self, now: Round) -> Any:
            self.kept = now.number
            return {}

    class Counting(Choir):
        def groups(self, tick: int) -> Any:
            self.given["a"] = [0]
            return self.given

    for part, method in ((Keeping({}), "round"), (Counting({}), "groups")):
        with pytest.raises(NotKept, match=rf"part 'choir': {method} changes self\."):
            check_parts(opened(2, part), None)


Script = list[list[Any]]
"""What each agent does, one thing after another: ('say', part, group) or ('work',)."""

GROUPS = {"first": {"a": [0, 1, 2], "b": [2, 3]}, "second": {"c": [0, 3, 4], "d": [5]}}


def play(scripts: Script, order: int, shards: int, limit: int = 3) -> tuple[list[Any], Any]:
    """Play turns in an order drawn by seed, shard by shard; gives what each heard, and the transcript."""
    draw = random.Random(order)
    parts = [Choir(groups, name, limit) for name, groups in GROUPS.items()]
    now = Rounds(opened(AGENTS, *parts), 7, shards)
    told: list[list[Any]] = [[] for _ in range(AGENTS)]
    at, said, waiting, ended = [0] * AGENTS, [0] * AGENTS, [False] * AGENTS, [False] * AGENTS
    late = list(range(shards))
    draw.shuffle(late)
    while not all(ended):
        if late and draw.random() < 0.2:
            shard = late.pop()
            now.attend(shard, np.arange(shard, AGENTS, shards, dtype=np.int32))
        free = [one for one in range(AGENTS) if not (waiting[one] or ended[one]) and one % shards not in late]
        if not free:
            assert late, "a deadlock"
            continue
        agent = draw.choice(free)
        if at[agent] == len(scripts[agent]):
            ended[agent] = True
            now.tell(agent % shards, [], [agent])
        else:
            deed = scripts[agent][at[agent]]
            at[agent] += 1
            if deed is not None:
                waiting[agent] = True
                part, group = deed
                now.tell(agent % shards, [say(agent, [agent, at[agent]], said[agent], part, group)], [])
                said[agent] += 1
        now.validate()
        for shard in range(shards):
            for one in now.take(shard):
                assert one.agent % shards == shard
                waiting[one.agent] = False
                told[one.agent].append((one.nth, one.fate, one.body, one.reason))
    transcript = [(one.group, one.said, one.heard, one.closed) for held in now.transcript().values() for one in held]
    assert now.counts.heard + sum(now.counts.unheard.values()) == sum(said)
    return told, transcript


DEEDS = st.sampled_from([None, ("first", "a"), ("first", "b"), ("second", "c"), ("second", "d"), ("first", "z")])


@given(
    scripts=st.lists(st.lists(DEEDS, max_size=6), min_size=AGENTS, max_size=AGENTS),
    order=st.integers(0, 2**32),
    shards=st.sampled_from([1, 2, 3, 5]),
)
def test_whatever_agents_do_nobody_waits_for_ever_and_no_order_shows(scripts, order, shards):
    """Any scripts, also such as go back to a group or to one that is not theirs, in any order on any shards."""
    assert play(scripts, order, shards) == play(scripts, 0, 1)


SCRIPTS: Script = [
    [("first", "a")] * 2,
    [("first", "a")] * 3,
    [("first", "a"), ("first", "b")],
    [("first", "b")],
    [],
    [],
]


def test_control_a_round_that_does_not_wait_for_a_member_shows_the_order(monkeypatch):
    def hasty(self, group):
        there, group.present = group.present, set(group.waiting)
        real(self, group)
        group.present = there

    real = Rounds._end_round
    monkeypatch.setattr(Rounds, "_end_round", hasty)
    monkeypatch.setattr(Rounds, "validate", lambda _: None)
    found = []
    for order in range(6):
        try:
            found.append(repr(play(SCRIPTS, order, 1)))
        except AssertionError:
            found.append("a deadlock")
    assert len(set(found)) > 1


def test_control_contributions_in_the_order_in_which_they_arrive_show_it(monkeypatch):
    import populace.kernel.rounds as module

    monkeypatch.setattr(module, "sorted", lambda waiting, key=None: list(waiting), raising=False)
    assert len({repr(play(SCRIPTS, order, 1)) for order in range(6)}) > 1


def test_control_groups_that_are_not_left_in_their_order_can_deadlock(monkeypatch):
    """Two agents in two groups, each waiting in another one for the other."""
    monkeypatch.setattr(Rounds, "_leave", lambda self, agent, group: None)
    monkeypatch.setitem(GROUPS, "first", {"a": [0, 1], "b": [0, 1]})
    scripts = [[("first", "a")], [("first", "b")], [], [], [], []]
    with pytest.raises(AssertionError, match="a deadlock"):
        play(scripts, 1, 1)
