"""Levers at work: what holds in a tick, whom it touches.

Of levers without a trigger all of it is a function of (levers, seed, population, tick) and keeps no state between
ticks, so a run that was restored, or forked with other levers, has in every tick what it should have. One with a
trigger acts as often as it is fired (`triggers`): each time it is another act, which begins in that tick. Acts that
still hold are saved.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from populace.core.roster import Roster
from populace.env import World
from populace.env.guarding import guard
from populace.interventions.acts import Act, BlockAct, ChangeAct, HeldAct, SendAct, SetAct
from populace.interventions.groups import Ids, Members
from populace.interventions.levers import KINDS, label_of
from populace.interventions.triggers import Firing

FIRST_NTH: Final = 2**30
"""Where the numbers of levers' messages begin among those that the world (-1) sends in a tick."""

EVERYBODY: Final = -1
"""Stands in the table of levers for an agent where a parameter was set, which touches no one in particular."""


_EVERYBODY: Final[Ids] = np.array([EVERYBODY], np.int32)


class Whole(Protocol):
    """The columnar types of a shard, as levers change them."""

    def among(self, ids: Ids) -> NDArray[np.bool_]:
        """Which of these agents are of a columnar type."""

    def change(self, ids: Ids, name: str, values: Sequence[Any]) -> None:
        """Give a field of these agents other values."""


Stretches = Callable[[Sequence[Act], int], list[tuple[int, Any]]]
"""Gives, of some acts, the society's parameters from a tick on, and the tick from which each holds."""


def _order(act: Act) -> tuple[int, int]:
    return act.at, act.index


class Levers:
    """The levers of a run, resolved against its population. `NO_LEVERS` are none.

    `acts` are those of levers without a trigger; `triggered` are those of the others as they would be if they were
    fired in their first tick, which are only tried and never act.
    """

    def __init__(
        self,
        acts: Iterable[Act] = (),
        remake: Callable[[int, Members, Roster], Act] | None = None,
        stretches: Stretches | None = None,
        triggered: Iterable[Act] = (),
        watched: Sequence[Any] = (),
    ) -> None:
        self.watched = watched
        """All levers as settings have them, where any has a trigger."""
        self._remake = remake
        self._stretches = stretches
        self._own = sorted(acts, key=_order)
        self._triggered = list(triggered)
        self._fired: list[Act] = []
        self._before: tuple[int, list[Act]] = (-1, [])
        """The edge at which levers were fired last, and what had been fired before and was not over."""
        self._told: tuple[int, list[tuple[Act, Firing]]] = (-1, [])
        self._join(0)

    def __bool__(self) -> bool:
        return bool(self._own or self._triggered)

    @property
    def blocks(self) -> list[str]:
        """The levers that block, each by what it is called."""
        return [act.label for act in (*self._own, *self._triggered) if isinstance(act, BlockAct)]

    def _join(self, tick: int) -> None:
        """Put those that were fired among the others, as of a tick."""
        self._acts = sorted((*self._own, *self._fired), key=_order)
        parameters = [] if self._stretches is None else self._stretches(self._acts, tick)
        self._starts = [start for start, _ in parameters]
        self._parameters = [values for _, values in parameters]

    def fix(self, members: Mapping[int, Members], roster: Roster) -> None:
        """Give levers, by place, the members that their groups have in their tick. Raises SettingsError."""
        if members:
            assert self._remake is not None
            self._own = [
                self._remake(act.index, members[act.index], roster) if act.index in members else act
                for act in self._own
            ]
            self._acts = sorted((*self._own, *self._fired), key=_order)

    def fire(self, tick: int, firings: Sequence[Firing], roster: Roster) -> None:
        """Let levers with triggers act from the start of a tick on. Raises SettingsError for what they cannot do."""
        self._before = tick, self._fired
        if not firings:
            return
        live = [act for act in self._fired if not act.is_over(tick)]
        told = []
        for one in firings:
            act = self._act_of(one.place, tick, one.until, one.members, roster)
            told.append((act, one))
            if isinstance(act, SetAct) and not act.matching:
                live = [other for other in live if other.index != act.index]
            elif isinstance(act, HeldAct):
                live, act = self._with_alike(live, act, roster)
            live.append(act)
        self._fired, self._told = live, (tick, told)
        self._join(tick)

    def _act_of(self, place: int, tick: int, until: int | None, members: Members, roster: Roster) -> Act:
        assert self._remake is not None
        act = self._remake(place, members, roster)
        act.at, act.until, act.members = tick, until, members
        return act

    def _with_alike(self, live: list[Act], act: Act, roster: Roster) -> tuple[list[Act], Act]:
        """What holds and those of the same lever that differ in the group only, as one; so as many stay as ends do."""
        alike = [
            other
            for other in live
            if (other.index, other.until) == (act.index, act.until) and _same(other.members.other, act.members.other)
        ]
        if not alike:
            return live, act
        group = np.unique(np.concatenate([one.members.group for one in (*alike, act)]))
        at = min(other.at for other in alike)
        joined = self._act_of(act.index, at, act.until, Members(group, act.members.other), roster)
        return [other for other in live if other not in alike], joined

    def fired(self, tick: int) -> dict[str, dict[str, Ids]]:
        """What was fired before `tick` and may still hold, as plain arrays, for a checkpoint."""
        live = self._before[1] if self._before[0] == tick else self._fired
        found = {}
        for at, act in enumerate(act for act in live if not act.is_over(tick)):
            span = np.array([act.index, act.at, -1 if act.until is None else act.until], np.int32)
            other = {} if act.members.other is None else {"other": act.members.other}
            found[str(at)] = {"span": span, "group": act.members.group, **other}
        return found

    def restore(self, state: Mapping[str, Mapping[str, Any]], tick: int, roster: Roster) -> None:
        """Take what `fired` gave, in the tick that it was given for."""
        self._fired = []
        for at in sorted(state, key=int):
            place, begun, until = np.asarray(state[at]["span"]).tolist()
            group, other = (None if (ids := state[at].get(key)) is None else np.asarray(ids, np.int32)
                            for key in ("group", "other"))  # fmt: skip
            assert group is not None
            members = Members(group, other)
            self._fired.append(self._act_of(place, begun, None if until < 0 else until, members, roster))
        self._before, self._told = (-1, []), (-1, [])
        self._join(tick)

    def beginning(self, tick: int) -> dict[int, list[int]]:
        """The places of the levers on groups that take effect by a tick, by the tick in which they do."""
        found: dict[int, list[int]] = {}
        for act in self._own:
            if act.at <= tick and not isinstance(act, SetAct):
                found.setdefault(act.at, []).append(act.index)
        return found

    def parameters(self, tick: int) -> Any:
        """The society's parameters in a tick; None where no lever ever sets them."""
        return self._parameters[bisect_right(self._starts, tick) - 1] if self._parameters else None

    def world_values(self, tick: int) -> dict[tuple[str, str], tuple[Any, str]]:
        """What holds in a tick, by part and name: the value, and the lever that sets it."""
        found: dict[tuple[str, str], tuple[Any, str]] = {}
        for act in self._acts:
            if isinstance(act, SetAct) and act.holds(tick):
                for key, value in act.values.items():
                    room, *path = key.split(".")
                    if room == "world":
                        given = self._held_by(act, tick).tolist() if key in act.matching else value
                        found[path[0], path[1]] = given, act.label
        return found

    def _held_by(self, act: Act, tick: int) -> Ids:
        """The group of an act that holds, and of those of the same lever that hold beside it: sorted."""
        groups = [one.members.group for one in self._fired if one.index == act.index and one.holds(tick)]
        return np.unique(np.concatenate([_EVERYBODY[:0], *groups]))

    def world_keys(self) -> list[tuple[str, str]]:
        """What levers set of the world at any time, by part and name."""
        acts = [act for act in (*self._own, *self._triggered) if isinstance(act, SetAct)]
        keys = {key for act in acts for key in act.values if key.startswith("world.")}
        return [(part, name) for _, part, name in (key.split(".") for key in sorted(keys))]

    def triggered_values(self) -> list[tuple[str, str, Any, str]]:
        """What levers with triggers would set of the world: part, name, value, and the lever."""
        acts = [act for act in self._triggered if isinstance(act, SetAct)]
        found = [(key.split("."), value, act.label) for act in acts for key, value in act.values.items()]
        return [(path[1], path[2], value, label) for path, value, label in found if path[0] == "world"]

    def edges(self) -> list[int]:
        """The ticks at whose start a parameter begins or ends of levers without a trigger, sorted."""
        acts = [act for act in self._own if isinstance(act, SetAct)]
        return sorted({act.at for act in acts} | {act.until for act in acts if act.until is not None})

    def acts_at(self, tick: int) -> bool:
        """Whether levers do anything at the start of a tick, or keep back what is sent in the one before.

        One with a trigger may do something in any of its ticks; once it is fired, it is as any other.
        """
        return any(_may_fire(lever, tick) for lever in self.watched) or any(
            act.at == tick
            or (isinstance(act, HeldAct) and act.until == tick)
            or (isinstance(act, BlockAct) and act.holds(tick - 1))
            for act in self._acts
        )

    def changes(
        self, tick: int, fields: Iterable[str], *, fired: bool = False
    ) -> list[tuple[Ids, dict[str, list[Any]]]]:
        """What changes of these fields at the start of a tick: members, and a column for each field.

        By levers without a trigger, or by those that were `fired`.
        """
        found = []
        for act in self._fired if fired else self._own:
            if isinstance(act, ChangeAct) and act.at == tick:
                columns = {
                    name: [act.makers[name](place) for place in range(len(act.changed))]
                    for name in fields
                    if name in act.makers
                }
                if columns:
                    found.append((act.changed, columns))
        return found

    def changing(self, tick: int, index: int, shards: int, roster: Roster) -> set[int]:
        """Whose fields `change` is about to change."""
        acts = [act for act in self._acts if isinstance(act, ChangeAct) and act.at == tick]
        return {
            one
            for act in acts
            for one in act.changed[(act.changed % shards == index) & roster.lives(act.changed)].tolist()
        }

    def change(
        self, tick: int, agents: Sequence[Any], index: int, shards: int, roster: Roster, whole: Whole | None = None
    ) -> set[int]:
        """Change fields of a shard's agents at the start of a tick; gives whose.

        `whole` takes those of columnar types, who are not among them.
        """
        touched: set[int] = set()
        for act in (*self._own, *self._fired):  # as the world takes them
            if isinstance(act, ChangeAct) and act.at == tick:
                places = np.flatnonzero((act.changed % shards == index) & roster.lives(act.changed)).tolist()
                members = act.changed[places].tolist()
                if whole is not None:
                    is_whole = whole.among(act.changed[places]).tolist()
                    rest = [place for place, one in zip(places, is_whole, strict=True) if one]
                    for name, make in act.makers.items() if rest else ():
                        whole.change(act.changed[rest], name, [make(place) for place in rest])
                    places = [place for place, one in zip(places, is_whole, strict=True) if not one]
                    members = act.changed[places].tolist()
                touched.update(members)
                for name, make in act.makers.items():
                    for place, member in zip(places, members, strict=True):
                        setattr(agents[member // shards], name, make(place))
        return touched

    def mail(self, tick: int, index: int, shards: int) -> list[tuple[Ids, Ids, bytes]]:
        """What levers send to a shard's agents to be read in `tick`: receivers, the messages' numbers, their body."""
        found: list[tuple[Ids, Ids, bytes]] = []
        first = FIRST_NTH
        for act in self._acts:
            if isinstance(act, SendAct) and act.at == tick:
                places = np.flatnonzero(act.to % shards == index)
                found.append((act.to[places], (first + places).astype(np.int32), act.body))
                first += len(act.to)
        return found

    def blocked(self, tick: int, sender: Ids, receiver: Ids) -> tuple[NDArray[np.bool_], dict[str, list[Any]]]:
        """Which of a tick's messages are refused, and rows for the table of levers."""
        mask = np.zeros(len(sender), np.bool_)
        rows = _Rows()
        acts: dict[int, list[BlockAct]] = {}
        for act in self._acts:
            if isinstance(act, BlockAct) and act.holds(tick):
                acts.setdefault(act.index, []).append(act)
        for same in acts.values():
            hit = np.zeros(len(sender), np.bool_)
            for act in same:
                hit |= act.covers(sender, receiver)
            mask |= hit
            rows.add(tick, same[0], np.unique(sender[hit]).tolist())
        return mask, rows.columns

    def touched(self, tick: int) -> dict[str, list[Any]]:
        """Rows for the table of levers: whom they touch at the start of a tick, and why those with triggers do."""
        rows = _Rows()
        for act in self._acts:
            if isinstance(act, SetAct) and act.until == tick:
                ended = np.setdiff1d(act.members.group, self._held_by(act, tick)) if act.matching else _EVERYBODY
                rows.add(tick, act, ended.tolist(), f"end of {act.what}")
        for act in self._own:
            if isinstance(act, SetAct) and act.at == tick:
                rows.add(tick, act, [EVERYBODY])
            elif isinstance(act, SendAct) and act.at == tick:
                rows.add(tick, act, np.sort(act.to).tolist())
            elif isinstance(act, ChangeAct) and act.at == tick:
                rows.add(tick, act, np.sort(act.changed).tolist())
        for act, one in self._told[1] if self._told[0] == tick else ():
            if one.who is not None:
                rows.add(tick, act, one.who.tolist(), why=one.why)
            else:
                whom = [EVERYBODY] if isinstance(act, HeldAct) else np.sort(one.members.group).tolist()
                rows.add(tick, act, whom, why=one.why * len(whom))
        return rows.columns

    def seal(self, tick: int) -> bytes:
        """What the tick's digest covers of levers: which are at work in it, and on whom; empty where none is.

        Of those with triggers, which fire in it: how long that holds is nothing that a tick before should show.
        """
        own = (act.seal for act in self._own if (act.holds(tick) if isinstance(act, HeldAct) else act.at == tick))
        fired = (act.seal for act, _ in (self._told[1] if self._told[0] == tick else ()))
        return b"".join((*own, *fired))


NO_LEVERS: Final = Levers()


class _Rows:
    """Columns of the table of levers; without rows, no columns."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {}

    def add(self, tick: int, act: Act, agents: list[int], what: str = "", why: Sequence[str] = ()) -> None:
        if agents:
            columns = self.columns or {"tick": [], "lever": [], "agent": [], "what": [], "why": []}
            columns["tick"] += [tick] * len(agents)
            columns["lever"] += [act.label] * len(agents)
            columns["agent"] += agents
            columns["what"] += [what or act.what] * len(agents)
            columns["why"] += why or [""] * len(agents)
            self.columns = columns


def _may_fire(lever: Any, tick: int) -> bool:
    return lever.when is not None and lever.at <= tick and (lever.until is None or tick < lever.until)


def _same(one: Ids | None, other: Ids | None) -> bool:
    return one is other or (one is not None and other is not None and bool(np.array_equal(one, other)))


def set_world(world: World, levers: Levers, base: Mapping[tuple[str, str], Any], tick: int) -> None:
    """Give the world's parts what holds in a tick, `base` where no lever does. Raises ScenarioError."""
    held = levers.world_values(tick)
    for (part, name), usual in base.items():
        set_parameter(world, part, name, *held.get((part, name), (usual, "")))


def set_parameter(world: World, part: str, name: str, value: Any, label: str) -> None:
    """Give a part a value; `label` is the lever that sets it, empty for none. Raises ScenarioError."""
    by = f"lever {label!r}" if label else "where no lever holds"
    guard(f"{by}: set 'world.{part}.{name}' = {value!r}", world.parts[part].set_parameter, name, value)


def summarize(levers: Sequence[Any], touched: Mapping[str, int] | None) -> list[dict[str, Any]]:
    """For the manifest: each lever with its kind and ticks, and how many different agents it touched.

    None stands for a parameter, which touches no one in particular, and where it is not on record.
    """
    return [
        {
            "lever": (label := label_of(lever, index)),
            "kind": (kind := next(kind for kind in KINDS if hasattr(lever, kind))),
            "at": lever.at,
            "until": lever.until,
            "agents_touched": None if touched is None else touched.get(label, None if kind == "set" else 0),
        }
        for index, lever in enumerate(levers)
    ]
