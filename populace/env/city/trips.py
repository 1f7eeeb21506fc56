"""Trips: who sets out, who arrives, who is turned away; and the digest of where agents are, kept as they move."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from populace.env.city.choosing import distances
from populace.env.city.going import REASON, WAYS, Wishes
from populace.env.city.places import NONE, Int32
from populace.env.city.present import Present
from populace.env.city.seats import admitted, first_of_each
from populace.env.digest import RowDigests, join_digests

if TYPE_CHECKING:
    from populace.env.city.part import City

TURNED_AWAY: Final = ("", "full", "closed")
_COLUMNS: Final = ("place", "to", "origin", "since", "arrives", "left_day", "turned")
_MOST_TICKS: Final = 2**30


class People:
    """Where agents are, in columns with a row an agent (int32).

    `place` is where it is and `to` where it is going (-1 for none); `origin` where it set out, or the place that
    turned it away; `since` the tick since which it is there, or in which it set out; `arrives` the tick in which it
    will be there; `left_day` the last day on which it left home (-1 for never); `turned` (int8) why it was turned
    away, a place among `TURNED_AWAY`. `assigned` are the own places by kind.
    """

    def __init__(self, agents: int, kinds: Sequence[str]) -> None:
        self.place = np.full(agents, NONE, np.int32)
        self.to = np.full(agents, NONE, np.int32)
        self.origin = np.full(agents, NONE, np.int32)
        self.since = np.zeros(agents, np.int32)
        self.arrives = np.full(agents, NONE, np.int32)
        self.left_day = np.full(agents, NONE, np.int32)
        self.turned = np.zeros(agents, np.int8)
        self.assigned = {kind: np.full(agents, NONE, np.int32) for kind in kinds}

    def __len__(self) -> int:
        return len(self.place)

    def base(self, agents: NDArray[np.integer]) -> Int32:
        """The place that agents would set out from: where they are, or before whose door; NONE on no place at all."""
        place = self.place[agents]
        return np.asarray(np.where(place == NONE, self.origin[agents], place), np.int32)

    def grow(self, agents: int) -> None:
        """So many more, who are nowhere yet."""
        more = People(agents, tuple(self.assigned))
        for name in _COLUMNS:
            setattr(self, name, np.concatenate([getattr(self, name), getattr(more, name)]))
        for kind, own in self.assigned.items():
            self.assigned[kind] = np.concatenate([own, more.assigned[kind]])

    def state(self) -> dict[str, Any]:
        """The columns."""
        return {**{name: getattr(self, name).copy() for name in _COLUMNS},
                "assigned": {kind: own.copy() for kind, own in self.assigned.items()}}  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Take what `state` gave."""
        for name in _COLUMNS:
            setattr(self, name, np.array(state[name], getattr(self, name).dtype))
        self.assigned = {kind: np.array(state["assigned"][kind], np.int32) for kind in self.assigned}


class Trips:
    """What follows from where agents are: how many are at each place, who arrives when, who is where, the digest."""

    def __init__(self, city: City) -> None:
        self._city = city
        people, size = city.people, len(city.places)
        there = people.place[people.place != NONE]
        self.crowd: Int32 = np.bincount(there, minlength=size).astype(np.int32)
        self.present = Present()
        self._due: dict[int, list[Int32]] = {}
        way = np.flatnonzero(people.to != NONE).astype(np.int32)
        for tick in np.unique(people.arrives[way]).tolist():
            self._due[tick] = [way[people.arrives[way] == tick]]
        self._tick: int | None = None
        self._seats = np.zeros(0, np.int64)
        self._news: list[tuple[Int32, Int32, int]] = []
        self._digests: tuple[RowDigests, RowDigests] | None = None
        self._touched: list[Int32] = []
        self._own: list[Int32] = []
        self._went: list[Int32] = []

    def set_out(self, tick: int, agents: Int32, wishes: Wishes) -> None:
        """Let agents set out; those who cannot have a reason in `wishes`.

        A further wish of an agent counts where none before it was granted, and comes after the first ones of all.
        """
        self._begin(tick)
        rows, turn = np.flatnonzero(wishes.reason == 0), 0
        while len(rows):
            first = first_of_each(agents[rows], len(self._city.people))
            self._set_out(tick, agents, wishes, rows[first], turn)
            rows, turn = rows[~first], turn + 1

    def _set_out(self, tick: int, agents: Int32, wishes: Wishes, rows: NDArray[np.intp], turn: int) -> None:
        city, people = self._city, self._city.people
        base = people.base(agents[rows])

        def refuse(which: NDArray[np.bool_], word: str) -> None:
            nonlocal rows, base
            if which.any():
                wishes.reason[rows[which]] = REASON[word]
                rows, base = rows[~which], base[~which]

        who = agents[rows]
        refuse((people.to[who] != NONE) | (people.since[who] == tick + 1), "on_the_way")
        refuse(base == NONE, "nowhere")
        stopped = [at for at, mode in enumerate(city.modes) if mode in city.stopped]
        if stopped:
            refuse(np.isin(wishes.mode[rows], stopped), "no_service")
        self._choose(tick, agents, wishes, rows, base, turn)
        refuse(wishes.place[rows] == NONE, "closed")
        refuse((wishes.place[rows] == base) & (people.place[agents[rows]] != NONE), "already_there")
        if city.impassable < np.inf:
            level = city.hazard_of_places(tick)
            refuse(np.maximum(level[base], level[wishes.place[rows]]) >= city.impassable, "impassable")
        ticks = self._ticks(base, wishes.place[rows], wishes.mode[rows])
        shut = ~city.open_at(wishes.place[rows], tick + ticks - 1)
        ticks = ticks[~shut]
        refuse(shut, "closed")
        short = ticks == 1
        place = wishes.place[rows]
        come = short.copy()
        come[short] = admitted(place[short], self._seats)
        self._depart(tick, agents[rows[come | ~short]], base[come | ~short])
        self._travel(tick, agents[rows[~short]], base[~short], place[~short], ticks[~short])
        self._arrive(tick, agents[rows[come]], base[come], place[come])
        wishes.reason[rows[short & ~come]] = REASON["full"]

    def _choose(self, tick: int, agents: Int32, wishes: Wishes, rows: NDArray[np.intp], base: Int32, turn: int) -> None:
        """Put a place where a kind was asked for."""
        city = self._city
        for code in np.unique(wishes.kind[rows]).tolist():
            if code == NONE:
                continue
            kind = city.places.kinds[code]
            mine = wishes.kind[rows] == code
            if kind in city.people.assigned:
                own = city.people.assigned[kind][agents[rows[mine]]]
                wishes.place[rows[mine]] = own
                mine[mine] = own == NONE
            if not mine.any():
                continue
            candidates = city.places.of_kind(code)
            good = city.open_at(candidates, tick) & (self._seats[candidates] > 0)
            if city.impassable < np.inf:
                good &= city.hazard_of_places(tick)[candidates] < city.impassable
            candidates = candidates[good]
            for at, way in enumerate(WAYS):
                chosen = mine & (wishes.way[rows] == at)
                if not chosen.any():
                    continue
                if way == "nearest":
                    found = city.choosing.nearest(code, base[chosen], candidates)
                else:
                    draw = partial(self._drawn, f"{kind}/{turn}")
                    found = city.choosing.gravity(code, base[chosen], agents[rows[chosen]], candidates, city.law, draw)
                wishes.place[rows[chosen]] = np.where(
                    (found == NONE) & np.isin(base[chosen], candidates), base[chosen], found
                )

    def _drawn(self, choice: str, what: str, agents: Int32) -> NDArray[np.float64]:
        return self._city.world.draw.column(f"{self._city.name}.choice/{choice}/{what}", agents)

    def _ticks(self, base: Int32, place: Int32, mode: Int32) -> NDArray[np.int32]:
        """How many ticks later one is there."""
        seconds = self.seconds(base, place, mode)
        ticks = np.ceil(seconds / self._city.tick_seconds - 1e-9)
        return np.clip(ticks, 1, _MOST_TICKS).astype(np.int32)

    def seconds(self, base: Int32, place: Int32, mode: NDArray[np.integer]) -> NDArray[np.float64]:
        """How long ways between places take by modes, given by their number."""
        city = self._city
        x, y = city.places.x, city.places.y
        modes = list(city.modes.values())
        speed = np.array([one.speed_m_s for one in modes])[mode]
        access = np.array([one.access_s for one in modes])[mode]
        found: NDArray[np.float64] = access + city.detour * distances(
            city.metric, x[place] - x[base], y[place] - y[base]
        ) / speed  # fmt: skip
        return found

    def _depart(self, tick: int, who: Int32, base: Int32) -> None:
        city, people = self._city, self._city.people
        inside = people.place[who] != NONE
        self.crowd -= np.bincount(base[inside], minlength=len(self.crowd)).astype(np.int32)
        day = city.days.last
        home = people.assigned.get("home")
        if home is not None:
            left = who[inside & (base == home[who]) & (people.left_day[who] != day)]
            people.left_day[left] = day
            city.days.count_left(day, len(left))
        people.turned[who] = 0

    def _travel(self, tick: int, who: Int32, base: Int32, place: Int32, ticks: NDArray[np.int32]) -> None:
        people = self._city.people
        people.place[who], people.origin[who], people.to[who] = NONE, base, place
        people.since[who], people.arrives[who] = tick, tick + ticks
        for length in np.unique(ticks).tolist():
            self._due.setdefault(tick + length, []).append(who[ticks == length])
        self._moved(who)

    def _arrive(self, tick: int, who: Int32, origin: Int32, place: Int32) -> None:
        city, people = self._city, self._city.people
        people.place[who], people.origin[who], people.to[who] = place, origin, NONE
        people.since[who], people.arrives[who] = tick + 1, NONE
        counts = np.bincount(place, minlength=len(self.crowd))
        self.crowd += counts.astype(np.int32)
        self._seats -= counts
        kinds = np.bincount(city.places.kind[place], minlength=len(city.places.kinds))
        city.days.count(city.days.last, kinds)
        self._moved(who)
        if city.notify:
            self._news.append((who, place, 0))

    def _begin(self, tick: int) -> None:
        """Once in a tick, before anybody sets out: those arrive who set out in an earlier one."""
        if self._tick == tick:
            return
        city, people = self._city, self._city.people
        self._tick, self._went = tick, []
        city.days.come_to(city.day(tick), len(city.world.ids()))
        self._seats = city.seats()
        due = self._due.pop(tick + 1, None)
        if due is None:
            return
        who = np.concatenate(due)
        who = who[(people.to[who] != NONE) & (people.arrives[who] == tick + 1)]
        lot = city.world.draw.words(f"{city.name}.arrivals", who)
        who = who[np.lexsort((lot, people.since[who]))]
        place = people.to[who]
        opened = city.open_at(place, tick)
        self._turn_away(tick, who[~opened], place[~opened], TURNED_AWAY.index("closed"))
        who, place = who[opened], place[opened]
        let_in = admitted(place, self._seats)
        self._turn_away(tick, who[~let_in], place[~let_in], TURNED_AWAY.index("full"))
        self._arrive(tick, who[let_in], people.origin[who[let_in]], place[let_in])

    def _turn_away(self, tick: int, who: Int32, place: Int32, why: int) -> None:
        people = self._city.people
        people.to[who], people.origin[who] = NONE, place
        people.since[who], people.arrives[who], people.turned[who] = tick + 1, NONE, why
        self._moved(who)
        if self._city.notify and len(who):
            self._news.append((who, place, why))

    def end(self, tick: int) -> list[tuple[int, Any]]:
        """End the tick; gives what those hear who have arrived or were turned away."""
        self._begin(tick)
        self._tick = None
        places, told = self._city.places, []
        for who, at, why in self._news:
            for agent, place in zip(who.tolist(), at.tolist(), strict=True):
                kind = places.kinds[int(places.kind[place])]
                if why:
                    told.append((agent, {"turned_away": place, "kind": kind, "why": TURNED_AWAY[why]}))
                else:
                    told.append((agent, {"arrived": place, "kind": kind}))
        self._news = []
        return told

    def come_in(self, ids: Int32, places: Int32) -> None:
        """At the edge of the next tick these agents are at these places (NONE for nowhere), wherever they were."""
        people, size = self._city.people, len(self.crowd)
        was = people.place[ids]
        self.crowd += np.bincount(places[places != NONE], minlength=size).astype(np.int32)
        self.crowd -= np.bincount(was[was != NONE], minlength=size).astype(np.int32)
        people.place[ids] = places
        people.to[ids] = people.origin[ids] = people.arrives[ids] = NONE
        people.since[ids] = self._city.world.tick + 1
        people.turned[ids] = 0
        self.present = Present()
        self._moved(ids)
        self._own.append(ids)

    def touched_own(self, ids: Int32) -> None:
        """Own places of these have changed."""
        self._own.append(ids)

    def _moved(self, who: Int32) -> None:
        if len(who):
            self.present.move(who)
            self._touched.append(who)
            self._went.append(who)

    def went(self) -> Int32:
        """Who is elsewhere, or on another way, since the tick that ended last: ids, sorted."""
        return _distinct(self._went, len(self._city.people)) if self._went else np.empty(0, np.int32)

    def digest(self, days: bytes) -> bytes:
        """16 bytes over people and what is given."""
        people = self._city.people
        if self._digests is None:
            self._digests = RowDigests("people", "where", "way", "ticks", "day"), RowDigests("own", *people.assigned)
            self._touched = self._own = [np.arange(len(people), dtype=np.int32)]
        if self._touched:
            rows = _distinct(self._touched, len(people))
            where, way = _pair(people.place[rows], people.to[rows]), _pair(people.origin[rows], people.since[rows])
            ticks, day = _pair(people.arrives[rows], people.turned[rows]), people.left_day[rows]
            self._digests[0].put(rows, rows, where, way, ticks, day)
        if self._own and people.assigned:
            rows = _distinct(self._own, len(people))
            self._digests[1].put(rows, rows, *(own[rows] for own in people.assigned.values()))
        self._touched, self._own = [], []
        return join_digests(len(people), *(one.digest() for one in self._digests), days)


def _pair(one: NDArray[np.signedinteger], other: NDArray[np.signedinteger]) -> NDArray[np.uint64]:
    """Two columns of int32 as one of words."""
    return (one.astype(np.int64).view(np.uint64) << np.uint64(32)) | (
        other.astype(np.int64).view(np.uint64) & np.uint64(0xFFFFFFFF)
    )


def _distinct(touched: Sequence[Int32], size: int) -> Int32:
    if len(touched) == 1 and len(touched[0]) == size:
        return touched[0]
    mark = np.zeros(size, np.bool_)
    for ids in touched:
        mark[ids] = True
    return np.flatnonzero(mark).astype(np.int32)
