"""Trips in a city: when one arrives, what is refused, who gets a seat; and what holds after any acts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from support.cities import STREET, check_people, street
from support.env_support import acts, look, opened

from populace.core.errors import ScenarioError
from populace.env import Action, City, Mode, Part, Places, World
from populace.env.acts import Acting, Acts
from populace.env.city import surroundings, trips
from populace.env.city.places import NONE
from populace.kernel.order import fair_actions

NORTH, SOUTH, BAKER, GROCER, ROSE, HALL = range(6)


def go(world: World, *wishes: tuple[int, dict[str, Any]]) -> list[str]:
    """Let a tick pass in which agents act so; gives the reasons of those refused, in order."""
    return [why for _, why in world.resolve(acts(*((agent, "city.go", args) for agent, args in wishes))).refused]


def at(world: World, agent: int = 0) -> dict[str, Any]:
    seen = world.observe([agent])[0]
    return {key.removeprefix("city."): value for key, value in seen.items() if key.startswith("city.")}


def test_a_trip_within_a_tick_and_one_that_takes_six():
    world = street(2)
    assert go(world, (0, {"place": "Baker"}), (1, {"place": HALL})) == []
    expected = {"place": BAKER, "kind": "shop", "name": "Baker", "status": "there", "turned_away": "", "x": 200.0,
                "y": 0.0, "arrived": 1, "crowd": 1, "ordered": False}  # fmt: skip
    assert at(world) == expected
    seen = at(world, 1)
    assert (seen["status"], seen["place"], seen["kind"], seen["crowd"]) == ("on_the_way", -1, "", 0)
    ways = []
    for _ in range(4):
        ways.append(seen["x"])
        assert go(world, (1, {"kind": "home"})) == ["on_the_way"]
        seen = at(world, 1)
    assert seen["status"] == "there"
    assert (seen["place"], seen["arrived"]) == (HALL, 5)  # 2,900 m at 600 m a tick
    assert ways == pytest.approx([100 + 2900 * k / 5 for k in (1, 2, 3, 4)])
    assert go(world, (1, {"place": NORTH, "mode": "car"})) == []
    assert at(world, 1)["place"] == NORTH  # 3,000 m at 10 m/s


def test_the_days_work_of_a_small_town():
    world = street(4)
    go(world, (0, {"kind": "shop"}), (1, {"kind": "shop"}), (2, {"place": GROCER}))
    assert [at(world, one)["place"] for one in range(4)] == [BAKER, BAKER, GROCER, SOUTH]
    assert look(world, "city.here", 0) == [1]
    assert look(world, "city.here", 3, place="Baker") == [0, 1]
    assert look(world, "city.own", 3) == {"home": SOUTH}
    assert look(world, "city.at_place", 0, place=BAKER) == {
        "place": BAKER, "name": "Baker", "kind": "shop", "x": 200.0, "y": 0.0, "capacity": 2, "crowd": 2, "open": True,
    }  # fmt: skip
    near = look(world, "city.nearby", 3, kind="shop", n=1)
    assert [(one["name"], one["distance_m"], one["minutes"]) for one in near] == [("Baker", 100.0, 100 / 60)]
    assert (world.city.visits("shop"), world.city.visits(), world.city.left_home()) == (3, 3, 0.75)
    go(world, (0, {"kind": "home"}))
    assert (world.city.visits("home"), world.city.left_home(), world.city.share_at("home")) == (1, 0.75, 0.5)
    for _ in range(90):  # until midnight, and the first trip of the next day
        go(world)
    go(world, (0, {"place": GROCER}))
    assert (world.city.visits(day=0), world.city.visits("shop"), world.city.left_home()) == (4, 1, 0.25)
    assert {place: who.tolist() for place, who in world.city.together().items()} == {GROCER: [0, 2]}
    assert world.city.together("home") == {}
    assert world.city.at().tolist() == [GROCER, BAKER, GROCER, SOUTH]
    assert [one["name"] for one in look(world, "city.nearby", 3, n=2)] == ["North", "Baker"]
    rows = world.city.whereabouts()
    assert rows["place"].tolist() == [GROCER, BAKER, GROCER, SOUTH]


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ({}, "bad_arguments"), ({"place": 1.0}, "bad_arguments"), ({"place": True}, "bad_arguments"),
        ({"place": 2, "speed": 3}, "bad_arguments"), ({"kind": 3}, "bad_arguments"), ({"place": -1}, "bad_arguments"),
        ({"kind": "shop", "choice": "best"}, "bad_arguments"), ({"place": 2, "mode": 1}, "bad_arguments"),
        ({"place": 6}, "unknown_place"), ({"place": -2}, "unknown_place"), ({"place": "Moon"}, "unknown_place"),
        ({"kind": "moon"}, "unknown_kind"), ({"place": 2, "mode": "boat"}, "unknown_mode"),
        ({"place": 0}, "already_there"), ({"kind": "home"}, "already_there"), ({"place": "Rose"}, "closed"),
        ({"kind": "leisure"}, "closed"), ({"place": 2, "mode": "car"}, "no_service"),
    ],
)  # fmt: skip
def test_what_is_refused(args, reason):
    world = street(1)
    world.city.set_parameter("stopped", ["car"])
    assert go(world, (0, args)) == [reason]
    assert at(world)["place"] == NORTH


def test_seats_and_who_is_turned_away():
    world = street(6, notify=True)
    assert go(world, *((agent, {"place": BAKER}) for agent in (3, 0, 4))) == ["full"]
    assert [at(world, one)["kind"] for one in (3, 0, 4)] == ["shop", "shop", "home"]
    assert go(world, (0, {"kind": "home"}), (4, {"place": BAKER})) == ["full"]  # what is left is free from the next on
    assert go(world, (4, {"place": BAKER})) == []
    assert go(world, (0, {"kind": "shop"})) == []  # the nearest is full, so it is the next one
    assert at(world)["place"] == GROCER
    told = []
    for agent in (1, 2, 3, 4, 5):
        told += world.resolve(acts((agent, "city.go", {"place": HALL}))).emissions
    told += [message for _ in range(6) for message in world.resolve([]).emissions]
    assert sorted(agent for agent, body in told if "arrived" in body) == [1, 2, 3, 4]
    assert [(agent, body) for agent, body in told if "arrived" not in body] == [
        (5, {"turned_away": HALL, "kind": "shelter", "why": "full"})
    ]
    seen = at(world, 5)
    assert (seen["status"], seen["turned_away"], seen["x"], seen["place"]) == ("outside", "full", 3000.0, -1)
    assert go(world, (5, {"kind": "shelter"})) == ["closed"]  # none with a seat
    assert go(world, (1, {"kind": "home", "mode": "car"})) == []
    assert go(world, (5, {"kind": "shelter"})) == []  # the one before whose door it stands
    assert at(world, 5)["status"] == "there"


def test_a_place_that_closes_meanwhile_turns_away_and_keeps_who_is_inside():
    world = street(3, at="2024-01-01T17:30", tick_seconds=300.0)
    go(world, (0, {"place": BAKER}))
    world.city.set_parameter("closed", [])
    for _ in range(4):
        go(world)
    assert go(world, (1, {"place": BAKER})) == []  # 17:55, there as it closes
    assert go(world, (2, {"place": BAKER})) == ["closed"]
    assert at(world)["place"] == BAKER
    world = street(1)
    go(world, (0, {"place": HALL}))
    world.city.set_parameter("closed", ["shelter"])
    for _ in range(6):
        go(world)
    assert (at(world)["status"], at(world)["turned_away"]) == ("outside", "closed")


def test_levers_close_kinds_names_and_ids_and_take_seats():
    world = street(4)
    world.city.set_parameter("closed", ["Baker", GROCER])
    assert go(world, (0, {"kind": "shop"}), (1, {"place": "Grocer"})) == ["closed", "closed"]
    world.city.set_parameter("closed", [])
    world.city.set_parameter("capacity_factor", 0.5)
    assert go(world, *((agent, {"place": BAKER}) for agent in range(4))) == ["full"] * 3
    world.city.set_parameter("capacity_factor", 0.0)
    assert go(world, (1, {"place": GROCER})) == ["full"]
    assert at(world)["place"] == BAKER


def test_a_second_wish_counts_where_the_first_was_refused():
    world = street(2)
    wishes = [(0, {"place": "Rose"}), (0, {"place": GROCER}), (0, {"place": BAKER}), (1, {"kind": "shop"})]
    assert go(world, *wishes) == ["closed", "on_the_way"]
    assert [at(world, one)["place"] for one in (0, 1)] == [GROCER, BAKER]


WISHES = st.one_of(
    st.fixed_dictionaries({"place": st.integers(0, 6)}, optional={"mode": st.sampled_from(["walk", "car"])}),
    st.fixed_dictionaries({"kind": st.sampled_from(["home", "shop", "leisure", "shelter"])},
                          optional={"choice": st.sampled_from(["nearest", "gravity"])}),
)  # fmt: skip
TICKS = st.lists(st.lists(st.tuples(st.integers(0, 7), WISHES), max_size=14), min_size=1, max_size=6)
CLOSED = st.lists(st.sampled_from(["shop", "shelter", "Rose", 2]), max_size=2)


def play(ticks: list[list[tuple[int, dict[str, Any]]]], closed: list[Any], start: str) -> World:
    """Let agents act so, and check what has to hold after every tick."""
    world = street(8, at=start, tick_seconds=300.0)
    world.digests()
    for n, wishes in enumerate(ticks):
        if n == len(ticks) // 2:
            world.city.set_parameter("closed", closed)
        before = world.city.people.place.copy()
        world.resolve(acts(*((a, "city.go", args) for a, args in sorted(wishes, key=lambda one: one[0]))))
        check_people(world, before)
    return world


@settings(max_examples=60)
@given(TICKS, CLOSED, st.sampled_from(["2024-01-01T07:50", "2024-01-01T17:45"]))
def test_what_holds_after_any_acts(ticks, closed, start):
    world = play(ticks, closed, start)
    again = street(8, at=start, tick_seconds=300.0)
    again.city.set_parameter("closed", closed)
    again.restore(world.state())
    assert again.digests() == world.digests()  # taken of all, and kept as they moved
    for _ in range(12):
        before = world.city.people.place.copy()
        world.resolve([])
        again.resolve([])
        check_people(world, before)
    assert again.digests() == world.digests()
    assert again.observe(range(8)) == world.observe(range(8))
    assert not (world.city.people.to >= 0).any()


BUSY = [[(agent, {"place": place}) for agent in range(8)] for place in (ROSE, BAKER, HALL, GROCER, HALL, BAKER)]


@pytest.mark.parametrize(
    ("where", "name", "broken"),
    [
        (trips, "admitted", lambda wanted, seats: np.ones(len(wanted), bool)),
        (surroundings.Surroundings, "open_at", lambda self, places, ticks: np.ones(len(places), bool)),
        (trips.Trips, "_depart", lambda self, tick, who, base: None),
        (trips.Trips, "_travel", lambda self, tick, who, base, place, ticks: None),
    ],
)
def test_control_what_is_broken_is_seen(monkeypatch, where, name, broken):
    play(BUSY, [], "2024-01-01T09:00")
    monkeypatch.setattr(where, name, broken)
    with pytest.raises(AssertionError):
        play(BUSY, [], "2024-01-01T09:00")


def test_control_a_move_that_is_not_told_shows_in_the_digest():
    world = play(BUSY, [], "2024-01-01T09:00")
    world.digests()
    world.city.people.since[3] += 1
    again = street(8, tick_seconds=300.0)
    again.restore(world.state())
    assert again.digests()["city"] != world.digests()["city"]


def test_columns_and_single_actions_are_one():
    """The same trips, taken one by one and in columns, and mixed; text, ids, and by kind."""
    ids = np.arange(8, dtype=np.int32)
    zero = np.zeros(8, np.int32)
    place = np.array([2, 3, -1, 5, 3, -1, 2, 9])
    whole = street(8)
    columns = Acts("city.go", ids, zero, {"place": place}, {"kind": "shop", "mode": "car"})
    refused = [why for _, why in whole.resolve(Acting([], [columns])).refused]
    single = street(8)
    rows = [(int(a), {"place": int(p), "kind": "shop", "mode": "car"}) for a, p in zip(ids, place, strict=True)]
    assert go(single, *rows) == refused == ["full", "full", "unknown_place"]
    assert single.digests() == whole.digests()
    mixed = street(8)
    first = [Action(a, 0, "city.go", args) for a, args in rows[:3]]
    rest = Acts("city.go", ids[3:], zero[3:], {"place": place[3:]}, {"kind": "shop", "mode": "car"})
    assert [why for _, why in mixed.resolve(Acting(first, [rest])).refused] == refused
    assert mixed.digests() == whole.digests()


AGENTS, SEEDS = 10, 300


def winners(*, far: bool, fair: bool = True) -> np.ndarray:
    """How often each of ten agents got one of the seats, over seeds."""
    won = np.zeros(AGENTS)
    for seed in range(SEEDS):
        world = street(AGENTS, seed=seed, assigned={"home": [0] * AGENTS})
        sender, nth = np.arange(AGENTS, dtype=np.int32), np.zeros(AGENTS, np.int32)
        order = fair_actions(world.draw, ["city"] * AGENTS, sender, nth) if fair else sender
        target = HALL if far else GROCER
        world.resolve([Action(int(agent), 0, "city.go", {"place": target}) for agent in order])
        for _ in range(5):
            world.resolve([])
        won += world.city.people.place == target
    return won


@pytest.mark.parametrize("far", [False, True])
def test_no_id_is_favoured_for_the_last_seat(far):
    won = winners(far=far)
    assert won.sum() == SEEDS * (4 if far else 3)
    assert chisquare(won).pvalue > 1e-3


def test_control_seats_by_id_are_seen():
    assert chisquare(winners(far=False, fair=False) + 1e-9).pvalue < 1e-12


class Stork(Part):
    """Two are born at the end of tick 0, of whom one says where it lives; one leaves at the end of tick 2."""

    def advance(self, tick: int) -> None:
        if tick == 0:
            self.world.spawn("agent", {"home": [SOUTH, -1]})
        if tick == 2:
            self.world.retire([0])


def test_births_exits_and_moves_to_another_home():
    city = City(Places.of(STREET), assigned={"home": [NORTH, NORTH]}, modes={"walk": Mode(1.0)})
    world = opened(2, city, Stork(), tick_seconds=600.0, columns={"home": [0, 0]}, fields={"home": int})
    world.digests()
    world.resolve([])
    homes = city.people.assigned["home"].tolist()
    assert homes[:3] == [NORTH, NORTH, SOUTH]
    assert city.places.kind[homes[3]] == city.places.code_of("home")
    assert city.people.place.tolist() == homes
    city.settle([1], "home", [SOUTH])
    assert go(world, (0, {"place": HALL}), (1, {"kind": "home"}), (2, {"place": GROCER})) == []
    assert look(world, "city.here", 1) == [agent for agent in (3,) if homes[3] == SOUTH]
    assert go(world) == []
    assert city.people.to[0] == NONE  # it was on the way as it left, and arrives nowhere
    for _ in range(6):
        go(world)
        check_people(world)
    assert city.people.place[0] == NONE
    assert city.crowd[HALL] == 0
    again = opened(2, City(Places.of(STREET), assigned={"home": [NORTH, NORTH]}, modes={"walk": Mode(1.0)}), Stork(),
                   tick_seconds=600.0, columns={"home": [0, 0]}, fields={"home": int})  # fmt: skip
    again.restore(world.state())
    assert again.digests() == world.digests()
    with pytest.raises(ScenarioError, match="no such place of kind 'home'"):
        city.settle([1], "home", [HALL])
    with pytest.raises(ScenarioError, match="'shop' is none of the kinds"):
        city.settle([1], "shop", [BAKER])
