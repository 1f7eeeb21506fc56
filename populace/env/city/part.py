"""A city as a part of the world: where agents are, the trips they make, hazards and orders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from populace.core.errors import ScenarioError
from populace.env.city import looking
from populace.env.city.calendar import Days
from populace.env.city.choosing import Choosing, Decay, Metric
from populace.env.city.going import MODES, REASONS, Mode, read_wishes
from populace.env.city.grid import KINDS, Kind, assign, grid_places
from populace.env.city.hazard import Hazard
from populace.env.city.measured import Measured
from populace.env.city.places import NONE, Int32, Places
from populace.env.city.trips import People, Trips
from populace.env.digest import state_digest
from populace.env.network.graphs import Setup
from populace.env.part import Batch, Opening, action, query
from populace.env.wholes import check_whole

SEES: Final = (
    "place", "kind", "name", "status", "turned_away", "x", "y", "arrived", "crowd", "hazard", "ordered",
)  # fmt: skip


class City(Measured):
    """Places that agents go to, hazards over them, and orders to leave.

    Make one with `City.grid` (generated), `City.of` (places that are given, a home drawn for each agent), or the
    constructor. Every agent is at a place, on the way, or outside of one that turned it away.

    Agents act with `go(place=, mode=)` or `go(kind=, mode=, choice=)`. `place` is an id or a name. `kind` means one's
    own place where each agent has one (`assigned`, such as home and work), and else another of that kind that is open
    and has a seat, chosen as `choice` says: "nearest", or "gravity" (drawn in proportion to attraction times a decay
    with distance). Who sets out in tick t is there in tick t + 1 where the way takes no longer than a tick, and else
    as many ticks later as it takes; until then it is on the way and cannot set out. Refusals are `bad_arguments`,
    `unknown_place`, `unknown_kind`, `unknown_mode`, `nowhere` (it is at no place), `on_the_way`, `no_service` (the
    mode is stopped), `already_there`, `impassable` (the hazard at either end), `closed` (when it would arrive; or no
    place of the kind is open with a seat) and `full`.

    Of those who want the same seats in a tick, who set out in an earlier tick comes first, and among others the
    batch's fair order counts. A seat that is left is free from the next tick on. Who comes from further away than a
    tick and finds it closed or full by then is turned away, and stands outside. Who is inside as a place closes stays
    until it goes. A place is open in a tick when it is at some moment of it; the time of day is that of a part named
    "clock".

    With `notify`, who arrives is sent {'arrived': place, 'kind': kind}, who is turned away {'turned_away': place,
    'kind': kind, 'why': 'full'}, which makes it due.

    Agents see what `sees` names, as `city.place` and so on: `place` (id, -1 for none), `kind` and, where places
    have names, `name` ("" for none), `status`
    ("there", "on_the_way", "outside", "nowhere"), `turned_away` ("", "full" or "closed"), `x` and `y` in metres,
    `arrived` (the tick since which it is there, or in which it set out), `crowd` (how many are at the place, it
    included), `hazard` (the level where it is), `ordered` (whether its home, or where it stands if it has none, is
    under an evacuation order).

    Levers may set `closed` (kinds, names and ids of places), `stopped` (modes), `capacity_factor`, `evacuation` ({x,
    y, radius_m}, {polygon} or {level}; {} for none), `hazard_factor`, `hazard_delay_s`, `impassable` (the level from
    which nobody sets out or arrives by choice), `choice`, `beta`, `show` and `notify`. Triggers of levers may read
    `level`, and of each agent `exposure` and `at`.
    """

    name = "city"
    unsaved = ("trips", "choosing", "_shut", "_zone", "_levels")

    def __init__(
        self,
        places: Places,
        *,
        assigned: Mapping[str, ArrayLike] | None = None,
        start: str | ArrayLike = "home",
        modes: Mapping[str, Mode] = MODES,
        metric: Metric = "grid",
        detour: float = 1.0,
        choice: Literal["nearest", "gravity"] = "nearest",
        decay: Decay = "exponential",
        beta: float = 1000.0,
        nearest_m: float = 100.0,
        hazard: Hazard | None = None,
        sees: Sequence[str] | None = None,
        show: int = 20,
        notify: bool = False,
        keep_days: int = 366,
        clock: str = "clock",
        name: str | None = None,
    ) -> None:
        """Agents `start` at their own place of a kind, or at places given by id; `assigned` has own places by kind.

        A column of `assigned` has the id of each agent's own place of that kind, -1 for none.
        The first of `modes` is the one of who names none. A way is `detour` times as long as its `metric` says.
        `decay` "exponential" is exp(-d/beta) with beta in metres, "power" d**-beta, with what is nearer than
        `nearest_m` counted as that far. Raises ScenarioError for what cannot be.
        """
        super().__init__(places, modes, metric, detour, decay, nearest_m, hazard, clock, name)
        where = type(self).__name__
        check_whole(where, 1, keep_days=keep_days, show=show)
        absent = {"hazard"} if hazard is None else set()
        absent |= set() if places.by_name else {"name"}
        usual = tuple(one for one in SEES if one not in absent)
        self.sees = usual if sees is None else tuple(sees)
        if set(self.sees) - set(usual):
            raise ScenarioError(f"{where}(sees={list(self.sees)}): it names some of {', '.join(usual)}")
        self._given = {} if assigned is None else {kind: np.array(ids, np.int32) for kind, ids in assigned.items()}
        for kind in self._given:
            if places.code_of(kind) == NONE:
                raise ScenarioError(f"{where}(assigned={{{kind!r}: ...}}): kinds are {', '.join(places.kinds)}")
        self._start = start if isinstance(start, str) else np.array(start, np.int32)
        self.keep_days = keep_days
        self.people = People(0, ())
        self.days = Days(len(places.kinds), keep_days)
        self.choosing = Choosing(places, metric)
        self.trips = Trips(self)
        for what, value in (("choice", choice), ("beta", beta), ("show", show), ("notify", notify)):
            self.set_parameter(what, value)

    @classmethod
    def grid(
        cls,
        setup: Setup,
        *,
        kinds: Mapping[str, Kind] = KINDS,
        people_per_km2: float = 4000.0,
        block_m: float = 150.0,
        name: str | None = None,
        assigned: Sequence[str] = ("home", "work"),
        **options: Any,
    ) -> Self:
        """A generated city: a square of streets `block_m` apart, as large as its people need.

        Of each kind there are so many places as `kinds` says, at spots on streets that are drawn. Other options are
        those of `of` and of the constructor.
        """
        called = name or cls.name
        places = grid_places(setup, called, kinds=kinds, people_per_km2=people_per_km2, block_m=block_m)
        own = tuple(kind for kind in assigned if kind in places.kinds)
        return cls.of(setup, places, assigned=own, name=name, **options)

    @classmethod
    def of(
        cls,
        setup: Setup,
        places: Places,
        *,
        assigned: Sequence[str] = ("home",),
        name: str | None = None,
        **options: Any,
    ) -> Self:
        """A city of these places, with an own place drawn for each agent of each of the `assigned` kinds.

        Homes (the first kind) are dealt out evenly by lot; of the others each has one drawn by the gravity model from
        its home. Of a file: `City.of(setup, Places(**populace.read_places(path)))`.
        """
        city = cls(places, assigned={}, name=name, **options)
        ids = np.arange(setup.agents, dtype=np.int32)
        own = assign(places, city.choosing, assigned, ids, setup.draw, name or cls.name, city.law)
        city._given.update(own)
        return city

    def open(self, opening: Opening) -> None:
        """Everybody is where it starts. Raises ScenarioError for places there are not, and another number of agents."""
        self.tick_seconds = opening.tick_seconds
        for kind, ids in self._given.items():
            self._check_ids(f"assigned {kind!r}", ids, opening.agents, kind)
        if isinstance(self._start, str):
            if self._start not in self._given:
                raise ScenarioError(
                    f"part '{self.name}': agents start at {self._start!r}, and none has a place of that kind: give "
                    f"`assigned` for it, or `start` as a column of places"
                )
            begin = self._given[self._start]
        else:
            begin = self._start
            self._check_ids("start", begin, opening.agents, None)
        crowd = np.bincount(begin[begin != NONE], minlength=len(self.places))
        if (crowd > self.places.capacity).any():
            at = int(np.argmax(crowd > self.places.capacity))
            raise ScenarioError(
                f"part '{self.name}': {crowd[at]} agents start at place {at}, which holds {self.places.capacity[at]}: "
                "give it more seats, or none (no limit)"
            )
        self.people = People(opening.agents, tuple(self._given))
        for kind, ids in self._given.items():
            self.people.assigned[kind][:] = ids
        self.people.place[:] = begin
        self.trips = Trips(self)
        for mode in self.stopped:
            self._known_mode(mode)

    def _check_ids(self, what: str, ids: Int32, agents: int, kind: str | None) -> None:
        if ids.shape != (agents,):
            raise ScenarioError(f"part '{self.name}': {what} is of shape {ids.shape}, and there are {agents} agents")
        good = (ids >= NONE) & (ids < len(self.places))
        if kind is not None:
            good &= (ids == NONE) | (self.places.kind[ids] == self.places.code_of(kind))
        if not good.all():
            at = int(np.argmin(good))
            raise ScenarioError(
                f"part '{self.name}': {what} of agent {at} is {int(ids[at])}, and there is no such place"
                + (f" of kind {kind!r}" if kind else "")
            )

    @action
    def go(self, tick: int, batch: Batch) -> None:
        """`go(place=, mode=)` or `go(kind=, mode=, choice=)`: set out."""
        wishes = read_wishes(batch, self.places, tuple(self.modes), self.choice)
        self.trips.set_out(tick, batch.agents, wishes)
        for code in np.unique(wishes.reason).tolist():
            if code:
                batch.refuse_all(wishes.reason == code, REASONS[code])

    def advance(self, tick: int) -> Iterable[tuple[int, Any]]:
        """Let those arrive who come from further away."""
        return self.trips.end(tick)

    def observe(self, tick: int, agents: NDArray[np.int32]) -> Mapping[str, Sequence[Any] | NDArray[Any]]:
        """What `sees` names."""
        return looking.observed(self, tick, agents)

    @query
    def here(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[int]]:
        """`here(place=, n=show)`: who else is at a place, by id; one's own place unless named.

        Of more than n, some n by lot.
        """
        return looking.here(self, agents, args)

    @query
    def at_place(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """`at_place(place=)`: what a place is, as {'place', 'name', 'kind', 'x', 'y', 'capacity', 'crowd', 'open'}."""
        return [looking.described(self, looking.place_of(self, **one)) for one in args]

    @query
    def nearby(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """`nearby(kind=None, n=show, mode=)`: the nearest other places of a kind or of any, open or not.

        As `at_place` gives them, with `distance_m` and `minutes` by a mode, the first unless named.
        """
        return looking.nearby(self, agents, args)

    @query
    def own(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[dict[str, int]]:
        """`own()`: one's own places by kind, as {'home': 3, 'work': 17}; -1 for none."""
        return [{kind: int(ids[agent]) for kind, ids in self.people.assigned.items()} for agent in agents]

    @query
    def forecast(self, agents: Sequence[int], args: Sequence[dict[str, Any]]) -> list[float]:
        """`forecast(hours=24)`: the highest level of the hazard within so many hours where the agent is."""
        return looking.forecast(self, agents, args)

    def settle(self, agents: ArrayLike, kind: str, places: ArrayLike) -> None:
        """Give agents own places of a kind, for another part (one of housing, one of jobs). Raises ScenarioError."""
        ids, own = np.array(agents, np.int32), np.array(places, np.int32)
        if kind not in self.people.assigned:
            raise ScenarioError(f"part '{self.name}': {kind!r} is none of the kinds that agents have of their own")
        self._check_ids(f"settle, {kind!r}", own, len(ids), kind)
        self.people.assigned[kind][ids] = own
        self.trips.touched_own(ids)

    def grow(self, ids: NDArray[np.int32]) -> None:
        """Newborns begin at home, has it seats or not: own places are public fields named by kind, or drawn."""
        draw = self.world.draw
        own = assign(self.places, self.choosing, tuple(self._given), ids, draw, f"{self.name}.newborn", self.law)
        for kind, places in own.items():
            if kind in self.world.public_names:
                told = np.asarray(self.world.values_of(kind, ids))
                code = self.places.code_of(kind)
                good = (told >= 0) & (told < len(self.places))
                good &= self.places.kind[np.where(good, told, 0)] == code
                places[good] = told[good]
        self.people.grow(len(ids))
        for kind, places in own.items():
            self.people.assigned[kind][ids] = places
        first = next(iter(own.values()), None)
        self.trips.come_in(ids, np.full(len(ids), NONE, np.int32) if first is None else first)

    def shrink(self, ids: NDArray[np.int32]) -> None:
        """Who leaves is nowhere."""
        self.trips.come_in(ids, np.full(len(ids), NONE, np.int32))

    def table_rows(self, opening: bool) -> Mapping[str, Mapping[str, Any]]:
        """Its places as the run begins, and where agents are: all then, later those who are elsewhere than before."""
        people, places = self.people, self.places
        who = np.arange(len(people), dtype=np.int32) if opening else self.trips.went()
        where = {"agent": who, **{name: getattr(people, name)[who] for name in ("place", "origin", "to", "arrives")}}
        if not opening:
            return {"whereabouts": where}
        ids, kinds = np.arange(len(places), dtype=np.int32), np.array(places.kinds)[places.kind]
        about = {
            "place": ids, "kind": kinds.tolist(), "name": list(places.names), "x": places.x, "y": places.y,
            "block_m": [places.block_m] * len(ids),
        }  # fmt: skip
        return {"places": about, "whereabouts": where}

    def digest(self) -> bytes:
        """16 bytes over all that `state` gives. The first takes all agents; from then on those who moved."""
        return self.trips.digest(state_digest(self.days.state()))

    def state(self) -> dict[str, Any]:
        """Where agents are, and the days' counts."""
        return {"people": self.people.state(), "days": self.days.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take a state of a city of as many agents and the same kinds of own places."""
        there = state["people"]
        if len(there["place"]) != self.world.agents or set(there["assigned"]) != set(self._given):
            raise ScenarioError(
                f"part '{self.name}' has {self.world.agents} agents with own places {sorted(self._given)}; the "
                f"checkpoint's has {len(there['place'])} with {sorted(there['assigned'])}"
            )
        self.people.restore(there)
        self.days.restore(state["days"])
        self.trips = Trips(self)
        self._zone = self._levels = None
