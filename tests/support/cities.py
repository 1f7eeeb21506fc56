"""Small cities for tests: a street of places, and what has to hold of any city after any tick."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np

from populace.env import City, Clock, Mode, Places, World
from support.env_support import opened

STREET: list[dict[str, Any]] = [
    {"kind": "home", "x": 0, "y": 0, "name": "North"},
    {"kind": "home", "x": 100, "y": 0, "name": "South"},
    {"kind": "shop", "x": 200, "y": 0, "name": "Baker", "capacity": 2, "opens": "08:00", "closes": "18:00"},
    {"kind": "shop", "x": 500, "y": 0, "name": "Grocer", "capacity": 3},
    {"kind": "leisure", "x": 900, "y": 0, "name": "Rose", "capacity": 1, "opens": "18:00", "closes": "02:00"},
    {"kind": "shelter", "x": 3000, "y": 0, "name": "Hall", "capacity": 4},
]
"""North, South, Baker, Grocer, Rose, Hall: ids 0 to 5."""


def street(
    agents: int, *, tick_seconds: float = 600.0, at: str = "2024-01-01T09:00", seed: int = 7, **options: Any
) -> World:
    """A world with a street and a clock; agents live in North and South by turns, and walk 1 m/s, so 600 m a tick."""
    homes = np.arange(agents) % 2
    options = {"assigned": {"home": homes}, "modes": {"walk": Mode(1.0), "car": Mode(10.0)}} | options
    city = City(Places.of(STREET), **options)
    return opened(agents, Clock(at), city, tick_seconds=tick_seconds, seed=seed)


def check_people(world: World, before: np.ndarray | None = None) -> None:
    """Nobody is in two places or lost, places hold no more than their seats, and whoever came in found it open."""
    city, people = world.city, world.city.people
    there, way = people.place >= 0, people.to >= 0
    assert not (there & way).any(), "somebody is at a place and on the way"
    assert (people.arrives[way] > world.tick).all(), "somebody should have arrived"
    assert (people.since[there] <= world.tick).all()
    assert (city.crowd == np.bincount(people.place[there], minlength=len(city.places))).all(), "crowds are wrong"
    assert city.crowd.sum() + way.sum() + (~there & ~way).sum() == world.agents
    assert (city.crowd <= city.places.capacity).all(), "more than a place holds"
    if before is not None:
        came = np.flatnonzero(there & (people.place != before))
        assert all(is_open(world, int(place)) for place in people.place[came]), "somebody entered a closed place"


def is_open(world: World, place: int) -> bool:
    """Whether a place of the street was open at some moment of the tick that ended, the slow and plain way."""
    kind, name = STREET[place]["kind"], STREET[place]["name"]
    if {kind, name, place} & set(world.city.closed):
        return False
    opens, closes = (
        int(str(STREET[place].get(what, usual))[:2]) for what, usual in (("opens", "00"), ("closes", "24"))
    )
    begin, length = world.clock.at(world.tick - 1), int(world.clock.tick_seconds)
    hours = {(begin + timedelta(seconds=second)).hour for second in range(0, length, 60)}
    return any(opens <= hour < closes if opens < closes else hour >= opens or hour < closes for hour in hours)
