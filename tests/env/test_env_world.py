"""The world: names, batches in the total order, refusals, plain data out, errors that say where, state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.env_support import acts, look, opened, opening

from populace.core.errors import ScenarioError
from populace.env import Action, Batch, LookFailed, Opening, Part, World, action, query


class Fund(Part):
    """The example of the module, with a log of its batches."""

    def open(self, opening: Opening) -> None:
        self.paid = np.zeros(opening.agents)
        self.log: list[tuple[str, list[int]]] = []

    def observe(self, tick, agents):
        return {"paid": self.paid[agents], "all": [np.float64(self.paid.sum())] * len(agents)}

    @action
    def pay(self, tick: int, batch: Batch):
        self.log.append(("pay", batch.agents.tolist()))
        for i, (agent, args) in enumerate(zip(batch.agents, batch.args, strict=True)):
            if args["amount"] <= 0:
                batch.refuse(i, "not_positive")
            else:
                self.paid[agent] += args["amount"]
                yield agent, {"paid": self.paid[agent]}

    @action
    def take(self, tick: int, batch: Batch) -> None:
        self.log.append(("take", batch.agents.tolist()))
        np.subtract.at(self.paid, batch.agents, 1)

    def advance(self, tick: int):
        return [(0, ("tick", tick))] if tick == 1 else None

    @query
    def paid_by(self, agents, args):
        wrong = [one["agent"] for one in args if not 0 <= one["agent"] < len(self.paid)]
        if wrong:
            raise ValueError(f"no agents {wrong}")
        return self.paid[[one["agent"] for one in args]]

    @query
    def broken(self, agents, args):
        raise RuntimeError("a bug")

    @query
    def short(self, agents, args):
        return []

    def state(self):
        return {"paid": self.paid.copy()}

    def restore(self, state):
        self.paid = state["paid"].copy()


def test_names_of_what_there_is():
    world = World(Fund(), Fund(name="second"))
    assert world.actions == {"fund.pay", "fund.take", "second.pay", "second.take"}
    assert "columns.of" in world.queries
    assert "second.paid_by" in world.queries
    assert world.second.name == "second"
    assert world.observes
    assert not World().observes
    with pytest.raises(AttributeError, match=r"no part 'feed'; there are: fund, second, columns"):
        _ = world.feed


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "a"), "two parts are named 'a'"),
        (("tick",), "cannot be named 'tick'"),
        (("resolve",), "cannot be named 'resolve'"),
        (("columns",), "cannot be named 'columns'"),
        (("my fund",), "cannot be named 'my fund'"),
    ],
)
def test_names_that_clash(names: tuple[str, ...], message: str):
    with pytest.raises(ScenarioError, match=message):
        World(*(Fund(name=name) for name in names))


def test_a_part_belongs_to_one_world():
    fund = Fund()
    World(fund)
    with pytest.raises(ScenarioError, match="already belongs to a world"):
        World(fund)


def test_must_be_open_and_only_once():
    world = World(Fund())
    with pytest.raises(ScenarioError, match="not open"):
        world.resolve([])
    world.open(opening(3))
    with pytest.raises(ScenarioError, match="opened once"):
        world.open(opening(3))


def test_observe_gives_each_agent_plain_values():
    world = opened(3, Fund())
    world.resolve(acts((1, "fund.pay", {"amount": 2.5})))
    seen = world.observe(np.array([2, 1], dtype=np.int32))
    assert seen == [{"fund.paid": 0.0, "fund.all": 2.5}, {"fund.paid": 2.5, "fund.all": 2.5}]
    assert {type(value) for one in seen for value in one.values()} == {float}
    assert opened(3).observe([0, 1]) == [{}, {}]


def test_resolve_in_order_with_refusals_and_messages():
    world = opened(4, Fund())
    actions = acts(
        (0, "fund.pay", {"amount": 1.0}),
        (1, "fund.pay", {"amount": -1.0}),
        (1, "fund.take", {}),
        (2, "fund.nap", {}),
        (2, "fund.take", {}),
        (3, "fund.pay", {"amount": 4}),
    )
    resolved = world.resolve(actions)
    assert world.fund.log == [("pay", [0, 1]), ("take", [1, 2]), ("pay", [3])]
    assert resolved.emissions == [(0, {"paid": 1.0}), (3, {"paid": 4.0})]
    assert resolved.refused == [(actions[1], "not_positive"), (actions[3], "unknown_action")]
    assert resolved.applied + len(resolved.refused) == len(actions)
    assert world.tick == 1
    assert world.resolve([]).emissions == [(0, ("tick", 1))]


KINDS = st.sampled_from(["a.pay", "a.take", "b.take", "b.pay"])


@given(st.lists(st.tuples(st.integers(0, 4), KINDS, st.integers(-2, 3))))
def test_batches_equal_one_action_at_a_time(rows: list[tuple[int, str, int]]):
    """The slow plain version: part by part, each action in a batch of its own."""
    actions = [Action(agent, nth, kind, {"amount": amount}) for nth, (agent, kind, amount) in enumerate(sorted(rows))]
    world = opened(5, Fund(name="a"), Fund(name="b"))
    resolved = world.resolve(actions)
    paid = {"a": [0.0] * 5, "b": [0.0] * 5}
    messages, refused = [], []
    for part in ("a", "b"):
        for one in actions:
            name, kind = one.kind.split(".")
            if name != part:
                continue
            if kind == "take":
                paid[part][one.agent] -= 1
            elif one.args["amount"] <= 0:
                refused.append(one)
            else:
                paid[part][one.agent] += one.args["amount"]
                messages.append((one.agent, {"paid": paid[part][one.agent]}))
    assert world.a.paid.tolist() == paid["a"]
    assert world.b.paid.tolist() == paid["b"]
    assert resolved.emissions == messages
    assert sorted(one.nth for one, _ in resolved.refused) == sorted(one.nth for one in refused)
    assert [one.nth for one, _ in resolved.refused] == sorted(one.nth for one, _ in resolved.refused)


def test_look_answers_each_agent_and_fails_only_the_bad_ones():
    world = opened(3, Fund())
    world.resolve(acts((1, "fund.pay", {"amount": 2.0})))
    answers = world.look("fund.paid_by", [0, 1, 2, 0], [{"agent": 1}, {"agent": 9}, {"agent": 1}, {"agent": 0}])
    assert answers == [2.0, LookFailed("fund.paid_by", "no agents [9]"), 2.0, 0.0]
    assert type(answers[0]) is float
    assert world.look("fund.paid_by", [], []) == []
    with pytest.raises(LookupError, match=r"no query 'fund.owed'; there are: columns.of, fund.broken"):
        world.look("fund.owed", [0], [{}])
    with pytest.raises(ScenarioError, match=r"query 'fund.broken', agents 0, 1: RuntimeError: a bug"):
        world.look("fund.broken", [0, 1], [{}, {}])
    with pytest.raises(ScenarioError, match=r"query 'fund.short', agent 1 .*in short\): 0 values for 1 agents"):
        world.look("fund.short", [1], [{}])


def test_an_exception_names_action_and_agents():
    world = opened(9, Fund())
    with pytest.raises(ScenarioError, match=r"action 'fund.pay', agents 0, 1, 2, 3, 4, \.\.\.: KeyError: 'amount'"):
        world.resolve(acts(*((agent, "fund.pay", {}) for agent in range(7))))


class Loud(Part):
    """Emits what it is given."""

    def __init__(self, emits: Any, reason: str = "no", at: int = 0) -> None:
        super().__init__()
        self.emits, self.reason, self.at = emits, reason, at

    @action
    def say(self, tick, batch):
        batch.refuse(self.at, self.reason)

    def advance(self, tick):
        return self.emits


@pytest.mark.parametrize(
    "emits", [[(3, "x")], [(-1, "x")], [("a", "x")], [(0,)], [(True, "x")], [5], 7, [(0, object())]], ids=range(8)
)
def test_messages_that_cannot_be_sent(emits: Any):
    with pytest.raises(ScenarioError, match="part 'loud', advance"):
        opened(3, Loud(emits)).resolve([])


@pytest.mark.parametrize(("reason", "at"), [("two words", 0), ("", 0), ("no", 1), ("no", -1)])
def test_refusals_that_cannot_be(reason: str, at: int):
    with pytest.raises(ScenarioError, match=r"action 'loud.say', agent 0: (ValueError|IndexError): refuse"):
        opened(3, Loud(None, reason, at)).resolve(acts((0, "loud.say", {})))


def test_what_a_part_shows_cannot_be_changed_by_who_sees_it():
    class Board(Part):
        def open(self, opening):
            self.lines = [["a"]]

        def observe(self, tick, agents):
            return {"lines": [self.lines for _ in agents]}

        @query
        def read(self, agents, args):
            return [self.lines for _ in agents]

    world = opened(2, Board())
    world.observe([0, 1])[0]["board.lines"].append("mine")
    look(world, "board.read")[0].append("mine")
    assert world.board.lines == [["a"]]


def test_draws_are_keyed_by_tick():
    first, second = opened(2), opened(2)
    assert first.draw("x.y").word() == second.draw("x.y").word()
    first.resolve([])
    ahead = first.draw("x.y").word()
    assert ahead != opened(2).draw("x.y").word()
    second.resolve([])
    assert second.draw("x.y").word() == ahead


def test_state_restores_and_is_plain():
    world = opened(3, Fund(), columns={"x": [1.0, 2.0, 3.0]}, fields={"x": float})
    world.resolve(acts((1, "fund.pay", {"amount": 2.0})))
    world.put_fields(np.array([0], dtype=np.int32), {"x": [9.0]})
    state = world.state()
    other = opened(3, Fund(), columns={"x": [1.0, 2.0, 3.0]}, fields={"x": float})
    other.restore(state)
    assert other.tick == world.tick == 1
    assert other.observe([1]) == world.observe([1])
    assert other.columns["x"].tolist() == [9.0, 2.0, 3.0]
    assert other.start["x"].tolist() == [1.0, 2.0, 3.0]
    msgspec.msgpack.encode(state, enc_hook=lambda array: [array.tolist(), str(array.dtype)])
    with pytest.raises(ScenarioError, match=r"has the parts \['columns', 'fund'\], not \['columns'\]"):
        opened(3).restore(state)


class Poll(Part):
    """Votes stand apart, and notes do not; both tell the agent, if they are to."""

    telling: tuple[str, ...] = ()
    apart_of: Any = staticmethod(lambda acts: {"vote": np.ones(len(acts["vote"]), np.bool_)})

    def open(self, opening: Opening) -> None:
        self.took: list[tuple[str, list[int]]] = []

    def apart(self, tick: int, acts: Mapping[str, Batch]) -> Mapping[str, Any]:
        return self.apart_of(acts)

    @action
    def vote(self, tick: int, batch: Batch) -> list[tuple[int, str]]:
        self.took.append(("vote", batch.agents.tolist()))
        batch.refuse(0, "first")
        return [(0, "voted")] if "vote" in self.telling else []

    @action
    def note(self, tick: int, batch: Batch) -> list[tuple[int, str]]:
        self.took.append(("note", batch.agents.tolist()))
        return [(0, "noted")]


def polled(*kinds: str, **attributes: Any) -> tuple[World, Any]:
    world = opened(len(kinds), Poll())
    for name, value in attributes.items():
        setattr(world.poll, name, value)
    return world, world.resolve(acts(*((agent, f"poll.{kind}", {}) for agent, kind in enumerate(kinds))))


def test_actions_that_stand_apart_are_taken_last_and_at_once():
    world, done = polled("vote", "note", "vote", "note", "vote")
    assert world.poll.took == [("note", [1, 3]), ("vote", [0, 2, 4])]
    assert [(one.agent, reason) for one, reason in done.refused] == [(0, "first")]
    world, done = polled("note", "vote", "vote", "note", apart_of=lambda acts: {"vote": np.array([False, True])})
    assert world.poll.took == [("note", [0]), ("vote", [1]), ("note", [3]), ("vote", [2])]
    assert [one.agent for one, _ in done.refused] == [1, 2]
    told = {"vote": np.array([1, -1, 0, -1], np.int8)}
    world, done = polled("vote", "note", "vote", "vote", "note", "vote", apart_of=lambda acts: told)
    assert world.poll.took == [("vote", [2, 5]), ("note", [1]), ("vote", [3]), ("note", [4]), ("vote", [0])]
    assert [one.agent for one, _ in done.refused] == [0, 2, 3]
    standing: dict[str, list[int]] = {}
    polled(
        "vote", "note", "vote", apart_of=lambda acts: standing.update({name: acts[name].at.tolist() for name in acts})
    )
    assert standing == {"vote": [0, 2], "note": [1]}
    assert polled("vote", "note", "vote", apart_of=lambda acts: {})[0].poll.took == [
        ("vote", [0]), ("note", [1]), ("vote", [2])
    ]  # fmt: skip
    assert polled("vote", "vote", apart_of=None)[0].poll.took == [("vote", [0, 1])]  # nobody is asked: they are of one


def test_a_part_that_says_wrongly_what_stands_apart():
    with pytest.raises(ScenarioError, match=r"action 'poll.vote', agent 0: sends messages, and its part said"):
        polled("vote", "note", telling=("vote",))
    for no_masks in (["vote"], np.ones(2, np.bool_)):
        with pytest.raises(ScenarioError, match="part 'poll', apart: gives masks by the name of the action, not "):
            polled("vote", "note", apart_of=lambda acts, given=no_masks: given)
    with pytest.raises(ScenarioError, match="part 'poll', apart: ValueError: setting an array element"):
        polled("vote", "note", apart_of=lambda acts: {"vote": [[True], [True, False]]})
    assert polled("vote", "note", apart_of=lambda acts: None)[0].poll.took == [("vote", [0]), ("note", [1])]
    for masks in (
        {"vote": np.ones(3, np.bool_)},
        {"vote": np.ones(1)},
        {"vote": np.full(1, 2, np.int8)},
        {"vote": np.ones((1, 1), np.bool_)},
        {"vote": np.True_},
        {"none": np.ones(1, np.bool_)},
        {1: np.ones(1, np.bool_), "vote": np.ones(1, np.bool_)},
    ):
        with pytest.raises(ScenarioError, match="part 'poll', apart: gives a mask over a batch by its kind, not "):
            polled("vote", "note", apart_of=lambda acts, masks=masks: masks)
