"""Births and exits in a world: what parts, columns and digests make of them; and what is said of mistakes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.env_support import Setup, acts, opened

from populace.core.errors import ScenarioError
from populace.env import Batch, Feed, Network, Part, World, action

COLUMNS = {"firm": {"price": [1.0, 2.0]}, "home": {"price": [3.0, 4.0, 5.0], "name": ["x", "y", "z"]}}
FIELDS: dict[str, Any] = {"firm": {"price": float}, "home": {"price": float, "name": str}}


class Births(Part):
    """Does at the tick's end what a test says."""

    name = "births"

    def __init__(self) -> None:
        super().__init__()
        self.todo: Any = None
        self.seen: list[Any] = []

    unsaved = ("todo", "seen")

    @action
    def spawn(self, tick: int, batch: Batch) -> None:
        for args in batch.args:
            self.world.spawn(**args)

    def advance(self, tick: int) -> Any:
        emitted = None if self.todo is None else self.todo(self.world)
        return emitted if isinstance(emitted, list) else None

    def grow(self, ids: Any) -> None:
        self.seen.append(("grow", ids.tolist(), self.world.agents))

    def shrink(self, ids: Any) -> None:
        self.seen.append(("shrink", ids.tolist(), self.world.agents))


def market(*parts: Part) -> World:
    network = Network.edges(Setup(5), [0, 1, 4], [1, 2, 0])
    return opened(5, network, Feed(), Births(), *parts, columns=COLUMNS, fields=FIELDS, counts={"firm": 2, "home": 3})


def ending(world: World, todo: Any, *actions: Any) -> Any:
    world.births.todo = todo
    return world.resolve(acts(*actions), digests=True)


def test_births_and_exits_take_effect_at_the_edge() -> None:
    world = market()

    def todo(world: World) -> list[Any]:
        assert world.spawn("firm", {"price": [7.0, 8.0]}).tolist() == [5, 6]
        assert world.spawn("home", {"price": 9.0, "name": "w"}, n=2).tolist() == [7, 8]
        world.retire([0, 3])
        assert world.ids().tolist() == [0, 1, 2, 3, 4]
        return [(8, "welcome"), (0, "farewell")]

    done = ending(world, todo)
    assert (done.newborn.tolist(), done.left.tolist()) == ([5, 6, 7, 8], [0, 3])
    assert done.emissions == [(8, "welcome"), (0, "farewell")]
    assert world.births.seen == [("grow", [5, 6, 7, 8], 9), ("shrink", [0, 3], 9)]
    assert (world.ids("firm").tolist(), world.ids("home").tolist()) == ([1, 5, 6], [2, 4, 7, 8])
    assert world.columns["firm"]["price"].tolist() == [2.0, 7.0, 8.0]
    assert world.columns["home"]["name"].tolist() == ["x", "z", "w", "w"]
    assert world.start["home"]["price"].tolist() == [3.0, 5.0, 9.0, 9.0]
    assert world.values_of("price", [8, 0, 5, 2]).tolist() == [9.0, 1.0, 7.0, 3.0]
    assert world.network.size == 9
    assert world.network.out.of(4).tolist() == []
    assert world.network.out.of(1).tolist() == [2]
    world.put_reports(
        np.array([1, 5, 8], np.int32), {"firm": {"price": [0.5, 0.25]}, "home": {"price": [1.5], "name": ["v"]}}
    )
    assert world.columns["firm"]["price"].tolist() == [0.5, 0.25, 8.0]
    assert world.columns["home"]["name"].tolist() == ["x", "z", "w", "v"]
    done = ending(world, None, (5, "network.follow", {"target": 8}), (6, "network.follow", {"target": 3}),
                  (7, "feed.post", {"text": "hi"}))  # fmt: skip
    assert [reason for _, reason in done.refused] == ["retired"]
    assert world.network.out.of(5).tolist() == [8]


def test_a_part_that_makes_no_room_is_told_of_grow() -> None:
    class Purse(Part):
        def open(self, opening: Any) -> None:
            self.cents = np.zeros(opening.agents)

        def observe(self, tick: int, agents: Any) -> Any:
            return {"cents": self.cents[agents]}

    world = market(Purse())
    says = r"part 'purse', observe: IndexError: .*"
    with pytest.raises(ScenarioError, match=says) as caught:
        world.observe([99])
    assert "grow" not in str(caught.value), "nobody was born yet"
    ending(world, lambda world: world.spawn("firm", {"price": 1.0}, n=1))
    with pytest.raises(ScenarioError, match=says + r"Agents 5 and up were born: give Purse a `grow\(self, ids\)`"):
        world.observe([5])


DONE = st.lists(
    st.tuples(st.sampled_from(["firm", "home"]), st.integers(0, 3), st.lists(st.integers(0, 12), max_size=2)),
    min_size=1, max_size=5,
)  # fmt: skip


@given(DONE)
def test_a_restored_world_is_the_same(ticks) -> None:
    """Digests too, which are kept as rows change."""
    world = market()
    for of, n, left in ticks:

        def todo(world: World, of: str = of, n: int = n, left: Any = left) -> None:
            world.spawn(of, {"price": 1.5} | ({"name": "n"} if of == "home" else {}), n)
            world.retire([one for one in left if one < world.agents])

        living = world.ids().tolist()
        one = living[0] if living else 0
        ending(
            world,
            todo,
            (one, "network.follow", {"target": (one + 1) % world.agents}),
            (one, "feed.post", {"text": "t"}),
        )
        again = market()
        again.restore(world.state())
        assert again.digests() == world.digests()
        assert again.ids().tolist() == world.ids().tolist()
        assert {of: {name: one[name].tolist() for name in one} for of, one in again.columns.items()} == {
            of: {name: one[name].tolist() for name in one} for of, one in world.columns.items()
        }


def test_births_and_exits_are_in_the_digest() -> None:
    def digest(todo: Any) -> bytes:
        return bytes(ending(market(), todo).digests["columns"])

    found = {
        digest(todo)
        for todo in (
            None,
            lambda world: world.retire(0),
            lambda world: world.retire(1),
            lambda world: world.spawn("firm", {"price": 1.0}, 1),
            lambda world: world.spawn("firm", {"price": 2.0}, 1),
            lambda world: world.spawn("home", {"price": 1.0, "name": ""}, 1),
        )
    }
    assert len(found) == 6


def test_one_class_of_agents_is_born_as_agent() -> None:
    world = opened(2, Births(), columns={"x": [1.0, 2.0]}, fields={"x": float})
    ending(world, lambda world: (world.spawn("agent", {"x": [3.0]}), world.retire(0)))
    assert world.columns["x"].tolist() == [2.0, 3.0]
    assert world.ids().tolist() == [1, 2]
    assert world.values_of("x", [0, 2]).tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("todo", "says"),
    [
        (lambda world: world.spawn("bank"), "no type of agents 'bank'; there are firm, home"),
        (lambda world: world.spawn("firm"), "spawn.'firm'.: the newborns have no value for the public field 'price'"),
        (
            lambda world: world.spawn("firm", {"price": 1.0}),
            "'price' has to be a column, with a value for each newborn",
        ),
        (lambda world: world.spawn("firm", {"price": "ab"}), "'price' has to be a column"),
        (lambda world: world.spawn("home", {"price": [1.0], "name": []}), "columns have to be of one length"),
        (lambda world: world.spawn("firm", [1.0]), "the fields are a dictionary"),
        (lambda world: world.spawn("firm", {"price": 1.0}, -1), "n = -1"),
        (lambda world: world.spawn("firm", {"price": 1.0}, 2**31), "n = 2,147,483,648: there cannot be more than"),
        (lambda world: world.spawn("firm", {"price": {1.0, 2.0}}), "'price' has to be a column"),
        (lambda world: world.spawn("firm", {"price": ["a"]}), "'price': its values are float"),
        (lambda world: world.spawn("firm", {"price": [object()]}), "object is not plain data"),
        (lambda world: world.retire(5), "there is no such agent; ids go from 0 to 4"),
        (lambda world: world.retire("a"), "takes an agent's id, or several"),
        (lambda world: world.retire(world.spawn("firm", {"price": [1.0]})), "is born at this tick's end"),
    ],
)
def test_mistakes_are_named(todo: Any, says: str) -> None:
    with pytest.raises(ScenarioError, match=f"part 'births', advance: .*{says}"):
        ending(market(), todo)


def test_births_are_of_a_ticks_end() -> None:
    world = market()
    with pytest.raises(ScenarioError, match=r"world\.spawn: agents are born and leave while a tick ends"):
        world.spawn("firm", {"price": [1.0]})
    with pytest.raises(ScenarioError, match=r"world\.retire: agents are born"):
        world.retire(1)
    ending(world, lambda world: world.retire([1, 1]))
    done = ending(world, lambda world: world.retire(1))
    assert done.left.tolist() == [], "who has left already stays so"


def test_a_message_that_holds_a_set_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"part 'births', advance, messages: a set has no order.*sorted"):
        ending(market(), lambda world: [(0, {"a", "b"})])
