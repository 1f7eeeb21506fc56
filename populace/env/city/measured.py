"""What a study measures of a city: visits by kind and day, who left home, where everybody is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from populace.core.errors import ScenarioError
from populace.env.city.calendar import Days
from populace.env.city.places import NO_LIMIT, NONE, Float, Int32
from populace.env.city.surroundings import Surroundings
from populace.env.city.trips import People, Trips
from populace.env.part import signal


class Measured(Surroundings):
    """Where agents are, counted. `City` is the part; see there."""

    people: People
    days: Days
    trips: Trips

    @property
    def crowd(self) -> Int32:
        """How many are at each place."""
        return self.trips.crowd

    def seats(self) -> NDArray[np.int64]:
        """How many more may come in, by place; below 0 where a lever took seats from those inside."""
        limit = self.places.capacity.astype(np.int64)
        if self.capacity_factor != 1.0:
            limit = np.where(limit == NO_LIMIT, limit, np.floor(limit * self.capacity_factor).astype(np.int64))
        return np.asarray(limit - self.crowd)

    def position(self, tick: int, agents: NDArray[np.integer]) -> tuple[Float, Float]:
        """Metres east and north at the start of a tick; on the way by the share of its ticks gone; nan for nowhere."""
        people, places = self.people, self.places
        base = people.base(agents)
        x, y = np.where(base == NONE, np.nan, places.x[base]), np.where(base == NONE, np.nan, places.y[base])
        way = np.flatnonzero(people.to[agents] != NONE)
        if len(way):
            who = agents[way]
            to, took = people.to[who], people.arrives[who] - people.since[who]
            part = np.clip((tick - people.since[who]) / took, 0.0, 1.0)
            x[way] += part * (places.x[to] - x[way])
            y[way] += part * (places.y[to] - y[way])
        return x, y

    def exposed(self, tick: int, agents: NDArray[np.integer]) -> Float:
        """The hazard's level where agents are at the start of a tick; 0 for those who are nowhere."""
        x, y = self.position(tick, agents)
        return np.where(np.isnan(x), 0.0, self.hazard_at(tick, np.nan_to_num(x), np.nan_to_num(y)))

    def visits(self, kind: str | None = None, day: int | None = None) -> int:
        """How many arrivals there were at places of a kind, or of any: on a day (from 0), or so far on the present one.

        The present day is that of the tick that ended last, so as an outcome its value in the last tick of a day is the
        day's. Raises ScenarioError for another kind, and for a day that is kept no longer.
        """
        day = self.days.last if day is None else day
        code = NONE if kind is None else self.places.code_of(kind)
        if kind is not None and code == NONE:
            raise ScenarioError(f"visits({kind!r}): kinds are {', '.join(self.places.kinds)}")
        if not self.days.first <= day <= self.days.last:
            raise ScenarioError(f"visits(day={day}): days {self.days.first} to {self.days.last} are kept")
        row = self.days.visits[day - self.days.first]
        return int(row.sum() if kind is None else row[code])

    def left_home(self, day: int | None = None) -> float:
        """The share of agents that set out from their home on a day, or so far in the present one."""
        day = self.days.last if day is None else day
        if not self.days.first <= day <= self.days.last:
            raise ScenarioError(f"left_home(day={day}): days {self.days.first} to {self.days.last} are kept")
        at = day - self.days.first
        return float(self.days.left[at]) / max(int(self.days.alive[at]), 1)

    def share_at(self, kind: str) -> float:
        """The share of agents that are at places of a kind now. Raises ScenarioError for another kind."""
        code = self.places.code_of(kind)
        if code == NONE:
            raise ScenarioError(f"share_at({kind!r}): kinds are {', '.join(self.places.kinds)}")
        return float(self.crowd[self.places.kind == code].sum()) / max(len(self.world.ids()), 1)

    def share_on_the_way(self) -> float:
        """The share of agents that are on the way now."""
        return float(np.count_nonzero(self.people.to != NONE)) / max(len(self.world.ids()), 1)

    def together(self, kind: str | None = None) -> dict[int, Int32]:
        """Who is with whom now: by place, of a kind or of any, the ids of two or more who are there.

        Made for rounds of talk. Sorts all who are at such a place. Raises ScenarioError for another kind.
        """
        if kind is not None and kind not in self.places.kinds:
            raise ScenarioError(f"together({kind!r}): kinds are {', '.join(self.places.kinds)}")
        met = self.crowd >= 2
        if kind is not None:
            met &= self.places.kind == self.places.code_of(kind)
        place = self.people.place
        who = np.flatnonzero((place != NONE) & met[place]).astype(np.int32)
        who = who[np.argsort(place[who], kind="stable")]
        at, begins = np.unique(place[who], return_index=True)
        return dict(zip(at.tolist(), np.split(who, begins[1:]), strict=True)) if len(at) else {}

    @signal
    def level(self) -> float:
        """The highest level of the hazard at any place now: a lever may wait for a storm."""
        return float(self.hazard_of_places(self.world.tick).max())

    @signal
    def exposure(self) -> NDArray[np.float64]:
        """Of each agent, the level of the hazard where it is now; 0 for those who are nowhere."""
        return self.exposed(self.world.tick, np.arange(len(self.people)))

    @signal
    def at(self) -> Int32:
        """Of each agent, the id of the place where it is now; -1 for none."""
        return self.people.place

    def whereabouts(self) -> dict[str, NDArray[Any]]:
        """Where everybody is now, as columns for a table: agent, place, to, x, y, since, for those who live."""
        ids = self.world.ids()
        x, y = self.position(self.world.tick, ids)
        of = self.people
        return {"agent": ids, "place": of.place[ids], "to": of.to[ids], "x": x, "y": y, "since": of.since[ids]}
