"""Places and hours, generated cities, hazards and zones, and how a place is chosen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.cities import STREET, street
from support.env_support import Setup, acts, look, opened

from populace.core.draws import Draws
from populace.core.errors import ScenarioError
from populace.env import City, GridField, Kind, Mode, Places, Storm
from populace.env.city.choosing import Choosing, distances, weights
from populace.env.city.present import Present
from populace.env.city.zone import inside


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"kind": ""}, "row 1: kind is ''"), ({"x": "east"}, "x holds something that is no number"),
        ({"y": float("nan")}, "row 1: y is nan"), ({"capacity": -1}, "row 1: capacity is -1"),
        ({"capacity": 2.5}, "row 1: capacity is 2.5"), ({"opens": "8 am"}, "row 1: opens is '8 am'"),
        ({"opens": "25:00"}, "row 1: opens is '25:00'"), ({"opens": "08:00", "closes": "08:00"}, "another time than"),
        ({"days": "0123"}, "row 1: days is '0123'"), ({"attraction": -1.0}, "row 1: attraction is -1.0"),
        ({"name": "One"}, "row 1: name is 'One', and has to be another than that of row 0"),
        ({"opens_at": "08:00"}, "row 1: has .*opens_at"),
    ],
)  # fmt: skip
def test_places_that_cannot_be_are_named(row, said):
    rows = [{"kind": "home", "x": 0, "y": 0, "name": "One"}, {"kind": "shop", "x": 1, "y": 1} | row]
    with pytest.raises(ScenarioError, match=said):
        Places.of(rows)


def test_a_city_needs_places_of_one_length():
    with pytest.raises(ScenarioError, match="there are no places"):
        Places([], [], [])
    with pytest.raises(ScenarioError, match=r"x has the shape \(2,\), and there are 1 places"):
        Places(["home"], [0, 1], [0])
    with pytest.raises(ScenarioError, match="days has 2 values"):
        Places(["home"], [0], [0], days=["1", "2"])


HOURS = st.integers(0, 24)


@settings(max_examples=100)
@given(HOURS, HOURS, st.sets(st.integers(1, 7), min_size=1), st.integers(0, 7 * 24), st.integers(1, 60))
def test_a_place_is_open_in_a_tick_when_it_is_at_some_hour_of_it(opens, closes, days, start, length):
    if opens == closes:
        return
    text = "".join(map(str, sorted(days)))
    place = Places(["shop"], [0], [0], opens=[f"{opens}:00"], closes=[f"{closes}:00"], days=[text])
    monday = datetime(2024, 1, 1, tzinfo=UTC)
    expected = False
    for hour in range(start, start + length):
        now = monday + timedelta(hours=hour)
        before = now - timedelta(days=1)
        if opens < closes:
            expected |= now.isoweekday() in days and opens <= now.hour < closes
        else:
            expected |= now.isoweekday() in days and now.hour >= opens
            expected |= before.isoweekday() in days and now.hour < closes
    got = place.open_patterns(start % 24 * 3600.0, length * 3600.0, start // 24 % 7)
    assert got.tolist() == [expected]


def test_a_generated_city():
    agents = 1000
    city = opened(agents, City.grid(Setup(agents), block_m=150.0)).city
    places = city.places
    counts = dict(zip(places.kinds, np.bincount(places.kind).tolist(), strict=True))
    assert counts == {"home": 400, "work": 50, "school": 3, "shop": 9, "leisure": 7, "shelter": 2}
    on_street = (places.x % 150 < 1e-9) | (places.y % 150 < 1e-9)
    assert on_street.all()
    assert 0 <= places.x.min() < places.x.max() <= 4 * 150
    sizes = np.bincount(city.people.assigned["home"], minlength=len(places))[places.kind == 0]
    assert sorted(set(sizes.tolist())) == [2, 3]  # dealt out evenly
    assert abs(np.corrcoef(city.people.assigned["home"], np.arange(agents))[0, 1]) < 0.1  # and not by id
    again = City.grid(Setup(agents)).places
    assert (again.x == places.x).all()
    assert (City.grid(Setup(agents, seed=8)).places.x != places.x).any()
    middle = City.grid(Setup(agents), kinds={"home": Kind(2.5, spread=0.5)}, people_per_km2=100.0).places
    side = 22 * 150.0
    assert middle.x.min() >= side / 4 - 1e-9
    assert middle.x.max() <= 3 * side / 4 + 1e-9


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metric": "taxi"}, "metric is 'grid' or 'straight'"), ({"detour": 0.5}, "detour is 1 or more"),
        ({"modes": {}}, "there has to be a mode"), ({"modes": {"walk": Mode(0.0)}}, "speed_m_s above 0"),
        ({"sees": ["hazard"]}, "it names some of place, kind"), ({"assigned": {"moon": [0]}}, "kinds are home, shop"),
        ({"assigned": {"home": [2, 0]}}, "'home' of agent 0 is 2, and there is no such place of kind 'home'"),
        ({"assigned": {"home": [0]}}, r"of shape \(1,\), and there are 2 agents"),
        ({"assigned": {}}, "agents start at 'home', and none has a place of that kind"),
        ({"start": [4, 4]}, "2 agents start at place 4, which holds 1"),
        ({"assigned": {}, "start": [0, 9]}, "start of agent 1 is 9"), ({"choice": "best"}, "one of nearest, gravity"),
        ({"beta": 0.0}, "above zero"), ({"show": 0}, "show=0"), ({"keep_days": 0}, "keep_days=0"),
    ],
)  # fmt: skip
def test_a_city_that_cannot_be_is_told(options, said):
    with pytest.raises(ScenarioError, match=said):
        street(2, **options)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("closed", ["pub"], "no kind, name or id 'pub'; kinds are home, shop"), ("closed", [6], "id 6"),
        ("stopped", ["boat"], "no mode 'boat'; modes: walk"), ("evacuation", {"radius": 3}, "an evacuation order is"),
        ("evacuation", {"polygon": [[0, 0], [1, 1]]}, "three corners"),
        ("evacuation", {"level": 3}, "needs a hazard"),
        ("evacuation", {"x": 0, "y": 0, "radius_m": 0}, "an evacuation order is"), ("capacity_factor", -1.0, "finite"),
    ],
)  # fmt: skip
def test_what_a_lever_cannot_set_is_told(name, value, said):
    with pytest.raises(ScenarioError, match=said):
        street(2).city.set_parameter(name, value)


@pytest.mark.parametrize(
    ("query", "args"),
    [
        ("here", {"place": 9}), ("here", {"n": 0}), ("here", {"who": 1}), ("at_place", {}),
        ("nearby", {"kind": "moon"}),
        ("nearby", {"kind": "shop", "mode": "boat"}), ("forecast", {"hours": -1}), ("forecast", {"days": 1}),
    ],
)  # fmt: skip
def test_looks_that_fail_say_why(query, args):
    assert look(street(2), f"city.{query}", **args).reason


def test_wind_at_a_place_and_in_a_forecast():
    day = 86_400.0
    field = GridField.series([0, day, 2 * day], [0.0, 10.0, 0.0])
    world = street(2, hazard=field, tick_seconds=6 * 3600.0)
    levels = []
    for _ in range(5):
        levels.append(world.observe([0])[0]["city.hazard"])
        world.resolve([])
    assert levels == pytest.approx([0.0, 2.5, 5.0, 7.5, 10.0])
    assert world.city.level() == pytest.approx(7.5)
    assert world.city.exposure() == pytest.approx([7.5, 7.5])
    assert look(world, "city.forecast", hours=12) == pytest.approx(7.5)  # it is falling from tick 5 on
    world.city.set_parameter("hazard_factor", 2.0)
    world.city.set_parameter("hazard_delay_s", day)
    assert world.observe([0])[0]["city.hazard"] == pytest.approx(2 * 2.5)
    assert look(world, "city.forecast", hours=24) == pytest.approx(20.0)
    world.city.set_parameter("impassable", 4.0)
    assert [why for _, why in world.resolve(acts((0, "city.go", {"place": 3}))).refused] == ["impassable"]


def test_orders_go_by_where_one_lives():
    world = street(2, hazard=GridField([0, 3600], [0], [0, 100], [[[0, 0]], [[0, 40]]]))
    ordered = [[one["city.ordered"] for one in world.observe([0, 1])]]
    for order in ({"x": 0, "y": 0, "radius_m": 50}, {"polygon": [[90, -9], [90, 9], [400, 0]]}, {"level": 40.0}, {}):
        world.city.set_parameter("evacuation", order)
        ordered.append([one["city.ordered"] for one in world.observe([0, 1])])
    assert ordered == [[False, False], [True, False], [False, True], [False, True], [False, False]]
    world.resolve(acts((1, "city.go", {"place": 5})))
    world.city.set_parameter("evacuation", {"x": 100, "y": 0, "radius_m": 1})
    assert world.observe([1])[0]["city.ordered"]


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=3, max_size=3), st.floats(-9, 9), st.floats(-9, 9)
)
def test_a_point_in_a_triangle(corners, x, y):
    (ax, ay), (bx, by), (cx, cy) = corners
    sides = [(bx - ax) * (y - ay) - (by - ay) * (x - ax), (cx - bx) * (y - by) - (cy - by) * (x - bx),
             (ax - cx) * (y - cy) - (ay - cy) * (x - cx)]  # fmt: skip
    if min(map(abs, sides)) < 1e-6:
        return
    expected = min(sides) > 0 or max(sides) < 0
    assert inside({"polygon": [list(one) for one in corners]}, np.array([x]), np.array([y])).tolist() == [expected]


def test_a_storm_blows_hardest_at_its_radius_and_moves():
    storm = Storm([0, 21_600], [0, 100_000], [0, 0], [50.0, 40.0], [30_000, 30_000], b=1.4)
    x = np.linspace(0, 200_000, 2001)
    wind = storm.level(0.0, x, np.zeros(len(x)))
    assert x[wind.argmax()] == pytest.approx(30_000)
    assert wind.max() == pytest.approx(50.0)
    assert wind[0] == pytest.approx(0.0, abs=1e-9)
    half = storm.level(10_800.0, x, np.zeros(len(x)))
    assert half.max() == pytest.approx(45.0)
    assert x[half.argmax()] in (pytest.approx(20_000), pytest.approx(80_000))
    assert not storm.level(21_601.0, x, np.zeros(len(x))).any()
    assert {0.0, 1800.0, 21_600.0} <= set(storm.times().tolist())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Storm([0, 0], [0, 0], [0, 0], [1, 1], [1, 1]), "times_s has to increase"),
        (lambda: Storm([0], [0], [0], [-1], [1]), "wind_m_s is 0 or more"),
        (lambda: Storm([0], [0, 1], [0], [1], [1]), "x_m has to hold a finite number for each of the 1 points"),
        (lambda: GridField([0, 0], [0], [0], [[[1]], [[1]]]), "times_s has to be finite numbers that increase"),
        (lambda: GridField([0], [0], [0], [[1]]), r"of shape \(1, 1, 1\), got \(1, 1\)"),
    ],
)
def test_fields_that_cannot_be(make, said):
    with pytest.raises(ScenarioError, match=said):
        make()


def drawn(what: str, ids: Any) -> Any:
    return Draws(3).column(what, ids)


@pytest.mark.parametrize("law", [("exponential", 300.0, 100.0), ("power", 2.0, 100.0), ("exponential", 5.0, 100.0)])
@pytest.mark.parametrize("metric", ["grid", "straight"])
def test_gravity_draws_as_the_weights_say(law, metric):
    """By cells and rejection, against the probabilities of all places; also where the decay is steep."""
    rng = np.random.default_rng(1)
    size, trips = 400, 20_000
    places = Places(["shop"] * size, *(rng.random((2, size)) * 2000), attraction=rng.random(size))
    candidates = np.arange(0, size, 2, dtype=np.int32)
    for origin in (0, 1):
        ids = np.arange(trips, dtype=np.int32)
        found = Choosing(places, metric).gravity(0, np.full(trips, origin, np.int32), ids, candidates, law, drawn)
        far = distances(metric, places.x[candidates] - places.x[origin], places.y[candidates] - places.y[origin])
        far = far - far[candidates != origin].min() if law[0] == "exponential" else far
        p = np.where(candidates == origin, 0.0, places.attraction[candidates] * weights(*law, np.maximum(far, 0.0)))
        expected = trips * p / p.sum()
        counts = np.bincount(found, minlength=size)[candidates]
        few = expected < 5
        assert counts[few].sum() == pytest.approx(expected[few].sum(), abs=5 * expected[few].sum() ** 0.5 + 5)
        z = (counts[~few] - expected[~few]) / expected[~few] ** 0.5
        assert (z**2).sum() < few.size + 6 * few.size**0.5


def test_a_choice_does_not_hang_on_who_else_chooses():
    rng = np.random.default_rng(1)
    places = Places(["shop"] * 50, *(rng.random((2, 50)) * 2000))
    choosing = Choosing(places, "grid")
    ids, at = np.arange(30, dtype=np.int32), np.arange(30, dtype=np.int32)
    some = np.arange(50, dtype=np.int32)
    law = ("exponential", 200.0, 100.0)
    together = choosing.gravity(0, at, ids, some, law, drawn)
    alone = [choosing.gravity(0, at[k : k + 1], ids[k : k + 1], some, law, drawn)[0] for k in range(30)]
    assert together.tolist() == alone
    assert (together != at).all()


def test_the_nearest_is_the_nearest():
    rng = np.random.default_rng(2)
    places = Places(["shop"] * 60, *(rng.random((2, 60)) * 2000))
    for metric in ("grid", "straight"):
        choosing = Choosing(places, metric)
        for candidates in (np.arange(60), np.arange(0, 60, 3), np.array([7]), np.array([], int)):
            found = choosing.nearest(0, np.arange(60, dtype=np.int32), candidates.astype(np.int32))
            for origin in range(60):
                others = candidates[candidates != origin]
                far = distances(metric, places.x[others] - places.x[origin], places.y[others] - places.y[origin])
                assert found[origin] == (others[far.argmin()] if len(others) else -1)


def test_who_is_present_against_a_look_at_all():
    rng = np.random.default_rng(3)
    where = rng.integers(-1, 5, 40).astype(np.int32)
    present = Present()
    for _ in range(60):
        place = int(rng.integers(5))
        assert present.at(place, where, 5).tolist() == np.flatnonzero(where == place).tolist()
        movers = rng.choice(40, rng.integers(0, 4), replace=False).astype(np.int32)
        where[movers] = rng.integers(-1, 5, len(movers))
        present.move(movers)
    present.at(0, where, 5)
    where[0] = (where[0] + 2) % 5  # one who moves untold is not seen
    assert any(present.at(place, where, 5).tolist() != np.flatnonzero(where == place).tolist() for place in range(5))


def test_more_than_can_be_shown_are_shown_by_lot():
    world = street(60, assigned={"home": [0] * 60}, show=5)
    seen: set[int] = set()
    for _ in range(40):
        shown = look(world, "city.here", 0)
        assert len(shown) == 5
        seen |= set(shown)
        world.resolve([])
    assert seen == set(range(1, 60))


def test_the_street_is_as_the_tests_say():
    assert [row["name"] for row in STREET] == list(street(1).city.places.names)
