"""What agents see of a city, and what it answers them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.env.city.choosing import distances
from populace.env.city.places import NO_LIMIT, NONE, Int32
from populace.env.city.trips import TURNED_AWAY

if TYPE_CHECKING:
    from populace.env.city.part import City

STATUS: Final = ("there", "on_the_way", "outside", "nowhere")


def status(city: City, agents: NDArray[np.integer]) -> NDArray[np.int8]:
    """Each agent's place among `STATUS`."""
    people = city.people
    found = np.where(people.origin[agents] != NONE, 2, 3)
    found[people.to[agents] != NONE] = 1
    found[people.place[agents] != NONE] = 0
    return found.astype(np.int8)


def observed(city: City, tick: int, agents: Int32) -> dict[str, Any]:
    """The columns that `sees` names."""
    people, places = city.people, city.places
    shown: dict[str, Any] = {}
    at = people.place[agents]
    for name in city.sees:
        if name == "place":
            shown[name] = at
        elif name == "kind":
            kinds = (*places.kinds, "")
            shown[name] = [kinds[code] for code in np.where(at == NONE, -1, places.kind[at]).tolist()]
        elif name == "name":
            names = (*places.names, "")
            shown[name] = [names[one] for one in at.tolist()]
        elif name == "status":
            shown[name] = [STATUS[one] for one in status(city, agents).tolist()]
        elif name == "turned_away":
            shown[name] = [TURNED_AWAY[one] for one in people.turned[agents].tolist()]
        elif name == "x":
            shown["x"], y = city.position(tick, agents)
            if "y" in city.sees:
                shown["y"] = y
        elif name == "y" and "x" not in city.sees:
            shown["y"] = city.position(tick, agents)[1]
        elif name == "arrived":
            shown[name] = people.since[agents]
        elif name == "crowd":
            shown[name] = np.where(at == NONE, 0, city.crowd[at])
        elif name == "hazard":
            shown[name] = city.exposed(tick, agents)
        elif name == "ordered":
            shown[name] = city.ordered(homes(city, agents))
    return shown


def homes(city: City, agents: NDArray[np.integer]) -> Int32:
    """The place whose zone an agent belongs to: its home, or where it stands."""
    own, base = city.people.assigned.get("home"), city.people.base(agents)
    return base if own is None else np.where(own[agents] == NONE, base, own[agents])


def here(city: City, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[int]]:
    """See `City.here`."""
    found = []
    for agent, one in zip(agents, args, strict=True):
        given = dict(one)
        n = count(city, given.pop("n", None))
        place = place_of(city, **given) if given else int(city.people.place[agent])
        who = city.trips.present.at(place, city.people.place, len(city.places)) if place != NONE else _NOBODY
        who = who[who != agent]
        if len(who) > n:
            lot = city.world.draw.words(f"{city.name}.here/{agent}", who)
            who = np.sort(who[np.argpartition(lot, n)[:n]])
        found.append(who.tolist())
    return found


_NOBODY: Final = np.empty(0, np.int32)


def count(city: City, n: Any) -> int:
    """How many to show. Raises ValueError."""
    n = city.show if n is None else n
    if type(n) is not int or n < 1:
        raise ValueError(f"n is how many to show, 1 or more, got {n!r}")
    return n


def place_of(city: City, /, *, place: Any = None, **rest: Any) -> int:
    """A place by id or name. Raises ValueError."""
    found = city.places.by_name.get(place, NONE) if isinstance(place, str) else place
    if rest or type(found) is not int or not 0 <= found < len(city.places):
        raise ValueError(f"place is a name, or an id from 0 to {len(city.places) - 1}, got {place!r} {rest or ''}")
    return found


def described(city: City, place: int) -> dict[str, Any]:
    """A place as plain data."""
    places = city.places
    capacity = int(places.capacity[place])
    return {
        "place": place,
        "name": places.names[place],
        "kind": places.kinds[int(places.kind[place])],
        "x": float(places.x[place]),
        "y": float(places.y[place]),
        "capacity": None if capacity == NO_LIMIT else capacity,
        "crowd": int(city.crowd[place]),
        "open": bool(city.open_at(np.array([place], np.int32), city.world.tick)[0]),
    }


def nearby(city: City, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """See `City.nearby`."""
    return [_nearby(city, agent, **one) for agent, one in zip(agents, args, strict=True)]


def _nearby(city: City, agent: int, /, *, kind: Any = None, n: Any = None, mode: Any = None, **rest: Any) -> list[Any]:
    n, names = count(city, n), list(city.modes)
    mode = names[0] if mode is None else mode
    if rest or kind not in (None, *city.places.kinds) or mode not in names:
        raise ValueError(f"kind is one of {', '.join(city.places.kinds)}, mode of {', '.join(names)}; got {kind!r}, "
                         f"{mode!r} {rest or ''}")  # fmt: skip
    base = int(city.people.base(np.array([agent]))[0])
    if base == NONE:
        return []
    places = city.places
    near = np.arange(len(places), dtype=np.int32) if kind is None else places.of_kind(places.code_of(kind))
    near = near[near != base]
    far = city.detour * distances(city.metric, places.x[near] - places.x[base], places.y[near] - places.y[base])
    first = np.argsort(far, kind="stable")[:n]
    took = city.trips.seconds(np.full(len(first), base), near[first], np.full(len(first), names.index(mode)))
    return [
        {**described(city, place), "distance_m": away, "minutes": seconds / 60.0}
        for place, away, seconds in zip(near[first].tolist(), far[first].tolist(), took.tolist(), strict=True)
    ]


def forecast(city: City, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[float]:
    """See `City.forecast`."""
    for one in args:
        hours = one.get("hours", 24)
        if not one.keys() <= {"hours"} or type(hours) not in (int, float) or not 0 <= hours < float("inf"):
            raise ValueError(f"forecast(hours=24) takes how many hours ahead, 0 or more, got {one}")
    tick, ids = city.world.tick, np.asarray(agents, np.int32)
    x, y = city.position(tick, ids)
    x, y = np.nan_to_num(x), np.nan_to_num(y)
    found = np.zeros(len(ids))
    ahead = np.array([float(one.get("hours", 24)) for one in args])
    for hours in np.unique(ahead).tolist():
        rows = ahead == hours
        found[rows] = city.peak(tick, hours, x[rows], y[rows])
    return [float(one) for one in found]
