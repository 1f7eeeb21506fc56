"""What the check of an agent is packed to is what a checkpoint writes of it, and is not packed a second time."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest
from support.kernel_support import make_shard, run_tick

from populace.agents.agent import Agent
from populace.core.errors import ScenarioError
from populace.kernel.saving import Keeper, pack_agent


class Note(msgspec.Struct):
    tags: set[str] = set()


class Flat(Agent):
    mood: float = 0.0
    memory: list[str] = []
    met: set[int] = set()
    groups: frozenset[str] | None = None
    ties: dict[int, float] = {}
    last: Any = None


class Deep(Agent):
    notes: list[Note] = []
    seen: set[str] = set()


def flat(draw: random.Random) -> Flat:
    met = {draw.randrange(10**6) for _ in range(draw.randrange(9))}
    groups = draw.choice([None, frozenset(f"g{one}" for one in met)])
    return Flat(memory=["a", "\u00e9"], met=met, groups=groups, ties=dict.fromkeys(met, 0.5), last={"why": [1, ["a"]]})


def deep(draw: random.Random) -> Deep:
    return Deep(notes=[Note({f"t{draw.randrange(99)}" for _ in range(5)})], seen={f"s{i}" for i in range(7)})


@pytest.mark.parametrize("make", [flat, deep])
@pytest.mark.parametrize("canonical", [True, False])
def test_the_row_of_the_check_is_the_row_of_the_checkpoint(make: Any, canonical: bool) -> None:
    draw = random.Random(3)
    agents = [make(draw) for _ in range(300)]
    keeper = Keeper(type(agents[0]), canonical=canonical)
    for _ in range(2):
        rows = keeper.keep(agents, range(300), pack=True)
        assert rows == [pack_agent(one, at) for at, one in enumerate(agents)]
    assert keeper.keep(agents, range(300)) == []


def test_a_refused_agent_leaves_the_others_as_they_were() -> None:
    agents = [Flat(met={3, 1}), Flat(met={2}, memory=["\ud800"])]
    with pytest.raises(ScenarioError, match=r"Flat\.memory of agent 1 cannot be saved"):
        Keeper(Flat).keep(agents, range(2), pack=True)
    assert [type(one.met) for one in agents] == [set, set]


@pytest.mark.parametrize("value", [{"x": []}, [[]]])
def test_a_container_deep_under_any_is_found_in_two_agents(value: Any) -> None:
    inner: list[Any] = []
    agents = [Flat(last=[value, inner]), Flat(last={"a": inner}), Flat(last=value)]
    Keeper(Flat).keep(agents[:1], [0])
    for pair in ([agents[0], agents[1]], [agents[0], agents[2]]):
        with pytest.raises(ScenarioError, match="are one and the same"):
            Keeper(Flat).keep(pair, range(2))


def test_a_list_that_holds_itself_cannot_be_saved() -> None:
    endless: list[Any] = []
    endless += [endless, endless]
    with pytest.raises(ScenarioError, match=r"Flat\.last of agent 0 cannot be saved"):
        Keeper(Flat).keep([Flat(last=endless)], [0])


class Teller(Agent):
    met: set[int] = set()
    count: int = 0

    async def turn(self, ctx: Any) -> None:
        self.met |= {ctx.tick * 64, ctx.id}
        self.count += 1


def test_a_saved_shard_packs_no_agent_again_for_its_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    shard = make_shard([Teller() for _ in range(20)], saved=True)
    for tick in range(3):
        run_tick(shard, tick)
        expected = {one: pack_agent(agent, one) for one, agent in enumerate(shard.agents)}
        with monkeypatch.context() as patched:
            patched.setattr("populace.kernel.shard.pack_agent", lambda *_: pytest.fail("packed again"))
            assert shard.export(whole=False, tick=tick + 1).agents == expected


def test_control_rows_of_before_a_turn_are_not_those_of_after_it() -> None:
    shard = make_shard([Teller() for _ in range(20)], saved=True)
    run_tick(shard, 0)
    first = shard.export(whole=False, tick=1).agents
    run_tick(shard, 1)
    assert shard.export(whole=False, tick=1).agents == first, "the tick that was opened last is abandoned"
    assert all(row != first[one] for one, row in shard.export(whole=True).agents.items())
