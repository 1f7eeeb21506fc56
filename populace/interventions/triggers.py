"""Triggers: which levers fire at an edge, for whom and why, and when they last did. Pure.

Whether a lever fires is decided in one place, where the world is, and told to shards as plain data. What is remembered
is in which tick each lever fired last (for each agent, where it is about agents); it is part of the world's state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from populace.interventions.conditions import MATCHING
from populace.interventions.groups import Ids, Members, shown
from populace.interventions.readings import Readings, fit, fits

NEVER: Final = -1


class Firing(msgspec.Struct, frozen=True):
    """A lever, by its place, that takes effect in a tick and on whom; what it does holds to before `until`.

    `who` are the agents that met its conditions, None where these are of no agent; `why` says what was read, once or
    for each of them.
    """

    place: int
    until: int | None
    members: Members
    who: Ids | None = None
    why: list[str] = []


class Groups(Protocol):
    """Who is in the groups that a lever names, as of the edge."""

    def __call__(self, place: int) -> Members:
        """The members, by the lever's place."""


class Triggers:
    """The triggers of a run's levers, and when each fired last."""

    def __init__(self, levers: Sequence[Any]) -> None:
        self._watched = [(place, lever) for place, lever in enumerate(levers) if lever.when is not None]
        self._last: dict[int, Ids] = {place: np.full(1, NEVER, np.int32) for place, _ in self._watched}
        """By a lever's place the tick in which it fired last: a row an agent, or one row."""
        self._former: tuple[int, list[tuple[int, Ids, Ids]]] = (NEVER, [])
        """The edge that was read last, and of what fired at it the rows and their ticks before."""

    def __bool__(self) -> bool:
        return bool(self._watched)

    def read(self, tick: int, readings: Readings, groups: Groups) -> list[Firing]:
        """Which levers fire at the start of a tick, in their order."""
        self._former = tick, []
        found = []
        for place, lever in self._watched:
            if lever.at <= tick and (lever.until is None or tick < lever.until):
                firing = self._read(tick, place, lever, readings, groups)
                if firing is not None:
                    found.append(firing)
        return found

    def _read(self, tick: int, place: int, lever: Any, readings: Readings, groups: Groups) -> Firing | None:
        when, ids = lever.when, np.zeros(1, np.int32)
        if when.agents:
            ids = readings.world.ids()
            self._make_room(place, readings.world.agents)
        last = self._last[place][ids]
        ids = ids[(last == NEVER) if lever.again is None else (last == NEVER) | (tick - last >= lever.again)]
        if not len(ids):
            return None
        whole: list[str] = []
        for conditions, read in ((when.world, readings.value), (when.outcomes, readings.outcome)):
            for name, condition in conditions.items():
                value = read(name)
                if not fit(value, condition):
                    return None
                whole.append(f"{name} = {_said(value)}")
        columns: list[tuple[str, Ids, NDArray[Any]]] = []
        for name, condition in when.agents.items():
            having, values = readings.column(name, ids)
            rows = fits(values, condition)
            ids = having[rows]
            columns.append((name, ids, values[rows]))
        if not len(ids):
            return None
        members = groups(place)
        if members.among is not None:
            ids = np.sort(members.among[np.isin(members.among, ids)])
            if not len(ids):
                return None
        self._former[1].append((place, ids, self._last[place][ids]))
        self._last[place][ids] = tick
        ends = [end for end in (lever.until, tick + lever.lasts if getattr(lever, "lasts", None) else None) if end]
        return Firing(
            place,
            min(ends, default=None),
            _filled(lever, members, ids),
            ids if when.agents else None,
            _reasons(columns, ids, whole) if when.agents else [" and ".join(whole)],
        )

    def _make_room(self, place: int, agents: int) -> None:
        more = agents - len(self._last[place])
        if more > 0:
            self._last[place] = np.concatenate((self._last[place], np.full(more, NEVER, np.int32)))

    def state(self, tick: int) -> dict[str, dict[str, Ids]]:
        """When levers fired last before `tick`, for a checkpoint: ids and ticks, by a lever's place."""
        last = dict(self._last)
        if self._former[0] == tick:
            for place, ids, ticks in self._former[1]:
                last[place] = last[place].copy()
                last[place][ids] = ticks
        found = {}
        for place, ticks in last.items():
            ids = np.flatnonzero(ticks != NEVER).astype(np.int32)
            found[str(place)] = {"id": ids, "tick": ticks[ids]}
        return found

    def restore(self, state: Mapping[str, Mapping[str, Any]]) -> None:
        """Take what `state` gave."""
        self._former = NEVER, []
        for place, _ in self._watched:
            given = state.get(str(place), {"id": [], "tick": []})
            ids = np.asarray(given["id"], np.int32)
            self._last[place] = np.full(max(1, int(ids.max(initial=0)) + 1), NEVER, np.int32)
            self._last[place][ids] = np.asarray(given["tick"], np.int32)


def _filled(lever: Any, members: Members, ids: Ids) -> Members:
    """The members of a lever's groups, those who met its conditions among them."""
    group, *other = lever.groups() or [None]
    return Members(
        ids if group == MATCHING else members.group,
        ids if MATCHING in other else members.other,
    )


def _reasons(columns: Sequence[tuple[str, Ids, NDArray[Any]]], ids: Ids, whole: Sequence[str]) -> list[str]:
    """For each agent, what was read."""
    told: list[list[str]] = [
        [f"{name} = {_said(value)}" for value in values[np.searchsorted(having, ids)].tolist()]
        for name, having, values in columns
    ]
    return [" and ".join((*own, *whole)) for own in zip(*told, strict=True)]


def _said(value: Any) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    return shown(value) if value == value else "nan"
